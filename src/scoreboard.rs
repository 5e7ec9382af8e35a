//! What a worker lets the master know without a message: counters in shared
//! memory, each with exactly one writer.
//!
//! ```text
//!   line 0, written by the worker   received · closed · requests
//!                                   turns · waiting · refused
//!   line 1, written by the master   layout · wake_me
//!   line 3, written by both         slots that were given back
//!   behind them                     the [`journal`] of connections, if they
//!                                   are guarded
//! ```
//!
//! Reading a counter costs the master nothing, and publishing one costs the
//! worker no system call; but a counter wakes nobody. A master that is about
//! to sleep *because* it waits for a counter to move says so first:
//!
//! ```text
//!   master                             worker
//!   wake_me := 1                       received := n
//!   look at `received` once more       wake_me was 1? then := 0, and write
//!   sleep, if it has not moved         one line on the channel
//! ```
//!
//! All four are sequentially consistent, so one of the two sees the other's
//! store, and none sleeps through (Dekker's argument).
//!
//! `turns` and `waiting` tell whether the worker moves (`workers::watch` of
//! the master): plain stores, which cost it nothing and are looked at a few
//! times in ten seconds.
//!
//! To the master the worker is a stranger: what it reads here is judged by
//! the dispatcher (monotonic, never more than was handed over).

mod journal;

use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering::{Relaxed, SeqCst};

pub(crate) use journal::{
    Half, INBOUND_BUFFERS, Return, SLOTS, SharedBuffer, SharedBuffers, Word,
};

use crate::sys;
use crate::sys::memory::Region;

const RECEIVED: usize = 0;
const CLOSED: usize = 1;
const REQUESTS: usize = 2;
const TURNS: usize = 3;
const WAITING: usize = 4;
const REFUSED: usize = 5;
const LAYOUT: usize = 8;
const WAKE_ME: usize = 9;
/// As many as lie before the slots of a journal, in both kinds.
const WORDS: usize = 32;

/// Changes with the meaning of any word: master and worker may be different
/// builds, since a reload picks up the program that is there then.
const THIS_LAYOUT: u64 = 0x68616e64_00000005;

/// What became of requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Requests {
    /// By a handler.
    pub(crate) answered: u64,
    /// Turned away before one has seen them.
    pub(crate) refused: u64,
}

impl Requests {
    /// Both together; a worker's word may be any number.
    pub(crate) fn plus(self, other: Requests) -> Requests {
        Requests {
            answered: self.answered.wrapping_add(other.answered),
            refused: self.refused.wrapping_add(other.refused),
        }
    }
}

/// One worker's counters. Each end uses its own half of the methods.
#[derive(Debug)]
pub(crate) struct Scoreboard {
    region: Region,
}

/// The master's end.
impl Scoreboard {
    /// With the descriptor that the worker inherits. `guarded`: with a
    /// journal.
    pub(crate) fn create(guarded: bool) -> sys::Result<(Scoreboard, OwnedFd)> {
        let words = if guarded { journal::END } else { WORDS };
        let (region, fd) = Region::create(words)?;
        region.word(LAYOUT).store(THIS_LAYOUT, SeqCst);
        Ok((Scoreboard { region }, fd))
    }

    /// The highest contiguous sequence number that the worker has.
    pub(crate) fn received(&self) -> u64 {
        self.region.word(RECEIVED).load(SeqCst)
    }

    /// How many connections the worker has ended.
    pub(crate) fn closed(&self) -> u64 {
        self.region.word(CLOSED).load(SeqCst)
    }

    /// What became of the worker's requests.
    pub(crate) fn requests(&self) -> Requests {
        Requests {
            answered: self.region.word(REQUESTS).load(Relaxed),
            refused: self.region.word(REFUSED).load(Relaxed),
        }
    }

    /// Counts whatever the worker does; 0 before its loop has begun.
    pub(crate) fn turns(&self) -> u64 {
        self.region.word(TURNS).load(Relaxed)
    }

    /// Whether the worker lies in epoll_wait, or is about to.
    pub(crate) fn is_waiting(&self) -> bool {
        self.region.word(WAITING).load(Relaxed) != 0
    }

    /// From now on the next move of `received` or `closed` is to be followed
    /// by a line on the channel. Look at the counters once more after this.
    pub(crate) fn ask_to_be_woken(&self) {
        self.region.word(WAKE_ME).store(1, SeqCst);
    }
}

/// The worker's end.
impl Scoreboard {
    /// `None`: the master is of a build that lays it out differently.
    pub(crate) fn open(fd: BorrowedFd<'_>) -> sys::Result<Option<Scoreboard>> {
        let region = Region::open(fd, WORDS)?;
        let layout = region.word(LAYOUT).load(SeqCst);
        Ok((layout == THIS_LAYOUT).then_some(Scoreboard { region }))
    }

    pub(crate) fn publish_received(&self, sequence: u64) {
        self.region.word(RECEIVED).store(sequence, SeqCst);
    }

    pub(crate) fn publish_closed(&self, count: u64) {
        self.region.word(CLOSED).store(count, SeqCst);
    }

    pub(crate) fn publish_requests(&self, count: Requests) {
        self.region.word(REQUESTS).store(count.answered, Relaxed);
        self.region.word(REFUSED).store(count.refused, Relaxed);
    }

    /// Something was done.
    pub(crate) fn count_turn(&self) {
        let turns = self.region.word(TURNS);
        turns.store(turns.load(Relaxed) + 1, Relaxed);
    }

    pub(crate) fn publish_waiting(&self, waiting: bool) {
        self.region.word(WAITING).store(u64::from(waiting), Relaxed);
    }

    /// After publishing: whether the master asked to be woken. It is told
    /// once.
    pub(crate) fn must_wake(&self) -> bool {
        let wake_me = self.region.word(WAKE_ME);
        wake_me.load(SeqCst) != 0 && wake_me.swap(0, SeqCst) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn each_end_sees_what_the_other_wrote() {
        let (master, fd) = Scoreboard::create(false).unwrap();
        let worker = Scoreboard::open(fd.as_fd()).unwrap().unwrap();
        worker.publish_received(7);
        worker.publish_closed(3);
        let requests = Requests { answered: 9, refused: 2 };
        worker.publish_requests(requests);
        worker.count_turn();
        worker.count_turn();
        worker.publish_waiting(true);
        assert_eq!(master.received(), 7);
        assert_eq!(master.closed(), 3);
        assert_eq!(master.requests(), requests);
        assert_eq!(master.turns(), 2);
        assert!(master.is_waiting());
        worker.publish_waiting(false);
        assert!(!master.is_waiting());
    }

    #[test]
    fn a_wake_up_is_asked_for_and_told_once() {
        let (master, fd) = Scoreboard::create(false).unwrap();
        let worker = Scoreboard::open(fd.as_fd()).unwrap().unwrap();
        assert!(!worker.must_wake());
        master.ask_to_be_woken();
        assert!(worker.must_wake());
        assert!(!worker.must_wake());
    }

    #[test]
    fn another_layout_is_refused() {
        let (region, fd) = Region::create(WORDS).unwrap();
        region.word(LAYOUT).store(THIS_LAYOUT + 1, SeqCst);
        assert!(Scoreboard::open(fd.as_fd()).unwrap().is_none());
    }

    /// The race of the module's picture, for real: the worker moves the
    /// counter and the master goes to sleep, over and over. A lost wake-up
    /// would be a round in which neither saw the other.
    #[test]
    fn no_wake_up_is_lost_between_two_threads() {
        let (master, fd) = Scoreboard::create(false).unwrap();
        let worker = Scoreboard::open(fd.as_fd()).unwrap().unwrap();
        let gate = std::sync::Barrier::new(2);
        const ROUNDS: u64 = 20_000;
        std::thread::scope(|scope| {
            let other = scope.spawn(|| {
                (1..=ROUNDS)
                    .map(|round| {
                        gate.wait();
                        worker.publish_received(round);
                        let wakes = worker.must_wake();
                        gate.wait();
                        wakes
                    })
                    .collect::<Vec<_>>()
            });
            let seen: Vec<bool> = (1..=ROUNDS)
                .map(|round| {
                    gate.wait();
                    master.ask_to_be_woken();
                    let seen = master.received() == round;
                    gate.wait();
                    seen
                })
                .collect();
            let woken = other.join().unwrap();
            for (round, (seen, woken)) in seen.iter().zip(woken).enumerate() {
                assert!(*seen || woken, "lost in round {round}");
            }
        });
    }
}
