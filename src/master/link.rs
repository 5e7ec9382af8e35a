//! A worker as the master knows it: a process, and what it understands.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use super::guest::{Guest, Lent};
use super::readiness::Readiness;
use super::server::{Server, ServerId};
use super::spawn::Started;
use super::supervisor::Exit;
use crate::WorkerId;
use crate::channel::Channel;
use crate::ipc::Message;
use crate::ipc::message::{Act, Cluster, HandleKind, Inner, Seat};
use crate::salvage::custody::{Custody, UNGUARDED};
use crate::scoreboard::{GIFTS, Piece, Requests, SLOTS, Scoreboard};
use crate::slab::Key;
use crate::sys;
use crate::sys::epoll::{Epoll, Interest};
use crate::sys::poll;
use crate::sys::process::{Child, Ended};

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Link {
    pub(super) slot: usize,
    pub(super) child: Child,
    pub(super) process_key: Key,
    pub(super) tongue: Tongue,
    /// The connection that it could not take when it last ran out of
    /// descriptors: the log says so once.
    pub(super) missed: Option<u64>,
    /// It has done enough, and the supervisor knows.
    pub(super) worn: bool,
    /// It was killed because it did not move.
    pub(super) hung: bool,
    /// It was killed because it broke the rules: nothing that it has written
    /// down is to be relied on more than must be.
    pub(super) broken: bool,
    /// It was told to go, and another has its place.
    pub(super) leaving: bool,
    /// Numbers what is said to it.
    seq: u64,
    started: Instant,
    line: Option<Line>,
}

/// What a worker understands.
#[derive(Debug)]
pub(super) enum Tongue {
    /// It is on this library: many connections in a message, and counters
    /// instead of answers.
    Ours {
        scoreboard: Scoreboard,
        /// The connections that it has, if they are guarded.
        custody: Custody<Lent>,
        /// Most connections that it can have open, as it said itself.
        capacity: Option<u64>,
    },
    /// It is Node, or speaks as Node does.
    Node(Foreign),
}

/// What is known of a worker that speaks as Node does.
#[derive(Debug)]
pub(super) struct Foreign {
    pub(super) readiness: Readiness,
    /// Since when it takes connections, if it does.
    pub(super) admitted: Option<Instant>,
    /// When it is judged by what it has got ready; `None` once it is ready.
    pub(super) judged_at: Option<Instant>,
    /// Descriptors on their way, oldest first: it answers in that order.
    pub(super) handles: VecDeque<Handle>,
    /// How many connections it has taken.
    pub(super) accepted: u64,
    /// Those, and how many it has given back.
    pub(super) answered: u64,
}

/// A descriptor on its way to a worker that answers for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Handle {
    /// A socket that it shares with others.
    Shared { server: ServerId, ack: u64 },
    /// A connection; `arrived` says that the descriptor did, not that the
    /// worker wants it.
    Connection { server: ServerId, number: u64, seq: u64, arrived: bool },
}

/// The channel, as long as it is open.
#[derive(Debug)]
struct Line {
    channel: Channel,
    key: Key,
    interest: Interest,
}

impl Link {
    /// A worker that has just been started, before epoll knows of it.
    pub(super) fn new(
        slot: usize,
        started: Started,
        readiness: Readiness,
        keys: (Key, Key),
        now: Instant,
        boot_timeout: Duration,
    ) -> Link {
        let (process_key, channel_key) = keys;
        let tongue = match started.scoreboard {
            Some(scoreboard) => {
                let slots = if scoreboard.is_guarded() { SLOTS } else { 0 };
                let custody = Custody::new(slots, GIFTS);
                Tongue::Ours { scoreboard, custody, capacity: None }
            }
            None => Tongue::Node(Foreign {
                readiness,
                admitted: None,
                judged_at: Some(now + boot_timeout),
                handles: VecDeque::new(),
                accepted: 0,
                answered: 0,
            }),
        };
        Link {
            slot,
            child: started.child,
            process_key,
            tongue,
            missed: None,
            worn: false,
            hung: false,
            broken: false,
            leaving: false,
            seq: 0,
            started: now,
            line: Some(Line {
                channel: Channel::new(started.channel),
                key: channel_key,
                interest: Interest::Read,
            }),
        }
    }

    /// Has epoll watch for the end of the process and the words it says.
    pub(super) fn register(&self, epoll: &Epoll) -> sys::Result<()> {
        let key = self.process_key.bits();
        epoll.add(self.child.as_fd(), Interest::Read, key)?;
        match &self.line {
            Some(Line { channel, key, interest }) => {
                epoll.add(channel.as_fd(), *interest, key.bits())
            }
            None => Ok(()),
        }
    }

    pub(super) fn channel(&mut self) -> Option<&mut Channel> {
        self.line.as_mut().map(|line| &mut line.channel)
    }

    pub(super) fn foreign(&mut self) -> Option<&mut Foreign> {
        match &mut self.tongue {
            Tongue::Ours { .. } => None,
            Tongue::Node(foreign) => Some(foreign),
        }
    }

    /// The number of the next message to it.
    pub(super) fn next_seq(&mut self) -> u64 {
        self.seq += 1;
        self.seq - 1
    }

    /// So much waits in its channel that it seems not to read.
    pub(super) fn is_behind(&self) -> bool {
        self.line.as_ref().is_some_and(|line| line.channel.is_behind())
    }

    /// Says something; what the channel does not take yet waits in it. An
    /// error is the worker's end, which is heard of in another way.
    pub(super) fn say(&mut self, message: &Message<'_>, epoll: &Epoll) {
        let Some(line) = &mut self.line else { return };
        if let Err(error) = line.channel.say(message) {
            log::debug!("worker pid {}: {error}", self.child.pid());
        }
        self.watch(false, epoll);
    }

    /// Says something and gives it a socket to share.
    pub(super) fn share(
        &mut self,
        message: &Message<'_>,
        socket: OwnedFd,
        (server, ack): (ServerId, u64),
        epoll: &Epoll,
    ) {
        let Some(line) = &mut self.line else { return };
        if let Err(error) = line.channel.share(message, socket) {
            log::debug!("worker pid {}: {error}", self.child.pid());
        }
        if let Tongue::Node(foreign) = &mut self.tongue {
            foreign.handles.push_back(Handle::Shared { server, ack });
        }
        self.watch(false, epoll);
    }

    /// How many connections of which a copy is to be kept are on their way.
    pub(super) fn on_their_way(&self) -> usize {
        match &self.tongue {
            Tongue::Ours { custody, .. } => custody.on_their_way(),
            Tongue::Node(_) => 0,
        }
    }

    /// Sends what the dispatcher of a server has for it. Whether some of that
    /// must wait for room in the channel. `room`: of so many new ones may a
    /// copy be kept.
    pub(super) fn hand_over(
        &mut self,
        worker: WorkerId,
        id: ServerId,
        server: &mut Server,
        room: &mut usize,
    ) -> sys::Result<bool> {
        let Some(line) = &mut self.line else { return Ok(false) };
        let Server { dispatcher, asked, .. } = server;
        while let Some(batch) = dispatcher.batch(worker) {
            let first = batch.first;
            let fds = || batch.connections().map(AsFd::as_fd);
            let mut seated = Vec::new();
            let (all, message): (Vec<BorrowedFd<'_>>, _) = match &mut self
                .tongue
            {
                Tongue::Ours { scoreboard, custody, .. } => {
                    let mut count = fds().len();
                    if custody.is_there() {
                        let guests = batch.connections();
                        seated = find_seats(guests, scoreboard, custody, room);
                        count = seated.len();
                    }
                    if count == 0 {
                        // Those on their way bring room when they arrive.
                        return Ok(false);
                    }
                    let slots = seated.iter().map(|taken| taken.seat);
                    let slots = slots.collect();
                    let all = fds().take(count).collect();
                    let count = count as u64;
                    (all, Message::Connections { first, count, slots })
                }
                // One descriptor a message is all that Node can take.
                Tongue::Node(_) => {
                    let key = asked.as_ref().map_or("", |asked| &asked.key);
                    let act = Act::NewConnection { key: key.into() };
                    let seq = Some(self.seq);
                    let kind = HandleKind::NetNative;
                    let inner = Inner::Cluster(Cluster { seq, act });
                    (fds().take(1).collect(), Message::Handle { kind, inner })
                }
            };
            let sent = line.channel.hand_over(&message, &all);
            let count = all.len();
            drop((all, message));
            if let Tongue::Ours { custody, .. } = &mut self.tongue {
                let left = matches!(sent, Ok(true));
                // Backwards, so that the next finds them in this order.
                for Taken { seat, gift } in seated.iter().rev() {
                    if !left {
                        custody.unused(seat.slot, *gift);
                    }
                }
                for Taken { seat, gift } in seated {
                    if left {
                        custody.sent(seat.slot, gift);
                    }
                }
            }
            if !sent? {
                return Ok(true);
            }
            dispatcher.sent(worker, count);
            if let Tongue::Node(foreign) = &mut self.tongue {
                foreign.handles.push_back(Handle::Connection {
                    server: id,
                    number: first,
                    seq: self.seq,
                    arrived: false,
                });
                self.seq += 1;
            }
        }
        Ok(false)
    }

    /// Has epoll tell when the channel takes more, if something waits for
    /// that: in the channel, or with the caller.
    pub(super) fn watch(&mut self, blocked: bool, epoll: &Epoll) {
        let Some(line) = &mut self.line else { return };
        let interest = if blocked || line.channel.is_waiting() {
            Interest::ReadWrite
        } else {
            Interest::Read
        };
        if interest == line.interest {
            return;
        }
        let key = line.key.bits();
        match epoll.modify(line.channel.as_fd(), interest, key) {
            Ok(()) => line.interest = interest,
            Err(error) => log::error!("a channel is not watched: {error}"),
        }
    }

    /// Closes the channel. The child that is between fork and exec at this
    /// instant may hold a copy, so epoll is told first. Returns the key that
    /// is free now.
    pub(super) fn hang_up(&mut self, epoll: &Epoll) -> Option<Key> {
        let line = self.line.take()?;
        unregister(line.channel.as_fd(), epoll);
        Some(line.key)
    }

    /// When it is judged, if it is one to be judged and is not ready yet.
    pub(super) fn judged_at(&self) -> Option<Instant> {
        match &self.tongue {
            Tongue::Ours { .. } => None,
            Tongue::Node(foreign) => foreign.judged_at,
        }
    }

    /// How many connections it has taken.
    pub(super) fn received(&self) -> u64 {
        match &self.tongue {
            Tongue::Ours { scoreboard, .. } => scoreboard.received(),
            Tongue::Node(foreign) => foreign.accepted,
        }
    }

    /// A signal has stopped it, and one of its clients has sent something, or
    /// has something in hand: that would wait for ever. We only see clients of
    /// which we have copies.
    pub(super) fn is_kept_from_work(&self) -> bool {
        let Tongue::Ours { scoreboard, custody, .. } = &self.tongue else {
            return false;
        };
        // One that cannot be looked at is accused of nothing.
        self.child.is_stopped().unwrap_or(false)
            && custody.lent().any(|(slot, lent)| {
                scoreboard.words(slot).place != 0
                    || poll::is_readable(lent.socket.as_fd())
            })
    }

    /// What became of its requests, if it tells.
    pub(super) fn requests(&self) -> Option<Requests> {
        match &self.tongue {
            Tongue::Ours { scoreboard, .. } => Some(scoreboard.requests()),
            Tongue::Node(_) => None,
        }
    }

    /// Whether it has taken a connection.
    pub(super) fn is_proven(&self) -> bool {
        self.received() > 0
    }

    /// How it ended, once the pidfd is readable. The last thing to ask.
    pub(super) fn reap(&self, epoll: &Epoll) -> sys::Result<Option<Exit>> {
        let ended = self.child.reap()?;
        if ended.is_some() {
            unregister(self.child.as_fd(), epoll);
        }
        Ok(ended.map(|ended| match ended {
            Ended::Code(code) => Exit::Code(code),
            Ended::Signal(number) => Exit::Signal(number),
        }))
    }

    pub(super) fn age(&self, now: Instant) -> Duration {
        now - self.started
    }
}

/// A seat for a connection that is to be sent.
struct Taken {
    seat: Seat,
    gift: Option<u32>,
}

/// Finds a slot for each, and puts there what another worker has left: for as
/// many as there is room. Where there is none, one with nothing in hand goes
/// without, lest it keep those behind it waiting for as long as others stay.
fn find_seats<'a>(
    guests: impl Iterator<Item = &'a Guest>,
    scoreboard: &Scoreboard,
    custody: &mut Custody<Lent>,
    room: &mut usize,
) -> Vec<Taken> {
    let mut seated = Vec::new();
    for guest in guests {
        let heavy = guest.is_heavy();
        let slot = match heavy || (guest.guarded && *room > 0) {
            true => custody.take(),
            false => UNGUARDED,
        };
        let bag = match &guest.bag {
            Some(bag) if heavy || slot != UNGUARDED => bag,
            Some(_) | None => {
                *room = room.saturating_sub(1);
                let seat = Seat { slot, moved: false };
                seated.push(Taken { seat, gift: None });
                continue;
            }
        };
        let gift = match heavy {
            true => custody.take_gift(),
            false => None,
        };
        if slot == UNGUARDED || (heavy && gift.is_none()) {
            custody.unused(slot, gift);
            break;
        }
        if let Some(gift) = gift {
            scoreboard.fill_gift(gift, Piece::Input, &bag.input);
            scoreboard.fill_gift(gift, Piece::Output, &bag.output);
        }
        scoreboard.set_words(slot, bag.words(gift));
        *room = room.saturating_sub(1);
        let seat = Seat { slot, moved: true };
        seated.push(Taken { seat, gift });
    }
    seated
}

fn unregister(fd: BorrowedFd<'_>, epoll: &Epoll) {
    if let Err(error) = epoll.remove(fd) {
        log::error!("a descriptor stays registered: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::salvage::bag::Bag;

    fn moved(input: &[u8]) -> Guest {
        let bag = Bag { input: input.to_vec(), ..Bag::default() };
        let socket = crate::sys::unix::pair().unwrap().0;
        Guest { socket, bag: Some(Box::new(bag)), guarded: true }
    }

    fn seats(guests: &[Guest], slots: u32, mut room: usize) -> Vec<Seat> {
        let (board, _) = Scoreboard::create(true).unwrap();
        let mut custody = Custody::new(slots, 1);
        let seated =
            find_seats(guests.iter(), &board, &mut custody, &mut room);
        seated.into_iter().map(|taken| taken.seat).collect()
    }

    #[test]
    fn an_idle_one_that_was_moved_does_not_wait_for_a_slot() {
        let guests = [moved(b""), moved(b""), Guest::from(moved(b"").socket)];
        let guarded = Seat { slot: 0, moved: true };
        let bare = Seat { slot: UNGUARDED, moved: false };
        assert_eq!(seats(&guests, 1, 9), [guarded, bare, bare]);
        assert_eq!(seats(&guests, 9, 0), [bare; 3]);
    }

    #[test]
    fn one_that_is_not_to_be_guarded_has_no_slot() {
        let plain = || Guest::from(moved(b"").socket);
        let bare = Guest { guarded: false, ..plain() };
        let guests = [plain(), bare, plain()];
        let found = seats(&guests, 9, 9);
        let slots: Vec<u32> = found.iter().map(|seat| seat.slot).collect();
        assert_eq!(slots, [0, UNGUARDED, 1]);
    }

    #[test]
    fn one_with_something_in_hand_waits_for_a_slot_and_a_gift() {
        let guests = [moved(b"GET"), moved(b"GET")];
        let guarded = Seat { slot: 0, moved: true };
        assert_eq!(seats(&guests, 1, 0), [guarded]);
        assert_eq!(seats(&guests, 9, 9), [guarded], "there is one gift");
    }
}
