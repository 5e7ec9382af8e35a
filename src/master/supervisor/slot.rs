//! A slot: one of the N places that a worker can hold.
//!
//! ```text
//!              spawn                  ready, admitted
//!   Vacant ───────────▶ Starting ───────────────────▶ Ready ◀──────┐
//!     ▲                    │  ▲                       │   │        │
//!     │  dies, too late    │  │ the old one           │   │ reload,│ the new
//!     ├────────────────────┘  │ goes first            │   │ recycle│ one is
//!     │                       └──────────┐            │   ▼        │ ready,
//!     │  dies, leaves, hangs             └───────── Replacing ─────┘ or dies
//!     └───────────────────────────────────────────────┘
//! ```
//!
//! Two workers that both hold the slot, or a successor without somebody to
//! succeed, cannot be written down. Whoever has lost its place but still has
//! a process has departed, and only its end is of interest.

use std::time::Duration;

use super::interface::{Exit, Failure};
use crate::WorkerId;

/// A worker that has been ready for this long has lived: its death is
/// replaced at once, and a generation that has one such worker is trusted.
pub(super) const LIVED: Duration = Duration::from_secs(1);

/// The pause before the second attempt; each failure doubles the pause.
const PAUSE_FIRST: Duration = Duration::from_millis(100);

/// The longest pause between two attempts.
const PAUSE_LAST: Duration = Duration::from_secs(5);

/// How signal(7) numbers them on every Linux.
const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;

/// One process, from its start to its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Worker {
    pub(super) id: WorkerId,
    pub(super) generation: u32,
    pub(super) started: Duration,
}

/// A worker that is not in rotation yet, and what it owes by `deadline`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Newcomer {
    pub(super) worker: Worker,
    pub(super) awaited: Awaited,
    pub(super) deadline: Duration,
}

/// What a [`Newcomer`] is waited for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Awaited {
    /// That it says it is ready; else it is killed.
    Ready,
    /// That it stays alive: ready since then, the first of a new generation.
    /// It takes over at the deadline.
    Lived { ready: Duration },
    /// That it exits: its channel is gone, and how it exits tells why. Else
    /// it is killed.
    Exit { since: Duration, ready: Option<Duration> },
}

/// A worker in rotation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    pub(super) worker: Worker,
    pub(super) ready: Duration,
    /// It has been ready for [`LIVED`], and the slot knows it.
    pub(super) settled: bool,
    /// It is to be recycled.
    pub(super) over_limit: bool,
}

/// Who holds a slot.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Seat {
    /// Nobody.
    #[default]
    Vacant,
    /// Somebody who does not serve yet.
    Starting(Newcomer),
    /// Somebody who serves.
    Ready(Member),
    /// Somebody who serves until the successor can.
    Replacing { old: Member, new: Newcomer },
}

impl Seat {
    pub(super) fn member(&self) -> Option<&Member> {
        match self {
            Seat::Ready(member) | Seat::Replacing { old: member, .. } => {
                Some(member)
            }
            Seat::Vacant | Seat::Starting(_) => None,
        }
    }

    pub(super) fn member_mut(&mut self) -> Option<&mut Member> {
        match self {
            Seat::Ready(member) | Seat::Replacing { old: member, .. } => {
                Some(member)
            }
            Seat::Vacant | Seat::Starting(_) => None,
        }
    }

    pub(super) fn newcomer(&self) -> Option<&Newcomer> {
        match self {
            Seat::Starting(new) | Seat::Replacing { new, .. } => Some(new),
            Seat::Vacant | Seat::Ready(_) => None,
        }
    }

    pub(super) fn is_vacant(&self) -> bool {
        matches!(self, Seat::Vacant)
    }

    /// Takes the worker off its seat, if it has it. The other one of a
    /// replacement keeps the seat for itself.
    pub(super) fn remove(&mut self, id: WorkerId) -> Option<Removed> {
        let (rest, removed) = match *self {
            Seat::Starting(new) if new.worker.id == id => {
                (Seat::Vacant, Removed::Newcomer(new))
            }
            Seat::Ready(member) if member.worker.id == id => {
                (Seat::Vacant, Removed::Member(member))
            }
            Seat::Replacing { old, new } if old.worker.id == id => {
                (Seat::Starting(new), Removed::Member(old))
            }
            Seat::Replacing { old, new } if new.worker.id == id => {
                (Seat::Ready(old), Removed::Newcomer(new))
            }
            Seat::Vacant
            | Seat::Starting(_)
            | Seat::Ready(_)
            | Seat::Replacing { .. } => return None,
        };
        *self = rest;
        Some(removed)
    }
}

/// Who was taken off a [`Seat`].
#[derive(Debug)]
pub(super) enum Removed {
    Member(Member),
    Newcomer(Newcomer),
}

impl Removed {
    pub(super) fn worker(&self) -> Worker {
        match self {
            Removed::Member(member) => member.worker,
            Removed::Newcomer(new) => new.worker,
        }
    }

    /// Since when it is ready, if it ever was.
    pub(super) fn ready(&self) -> Option<Duration> {
        match self {
            Removed::Member(member) => Some(member.ready),
            Removed::Newcomer(new) => match new.awaited {
                Awaited::Ready => None,
                Awaited::Lived { ready } => Some(ready),
                Awaited::Exit { ready, .. } => ready,
            },
        }
    }
}

/// A place, and what its workers have been through.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) seat: Seat,
    pub(super) backoff: Backoff,
    /// How many workers were started because the slot had none.
    pub(super) starts: u32,
    /// The newest generation that has served here.
    pub(super) reached: u32,
}

impl Slot {
    pub(super) fn new(now: Duration) -> Slot {
        Slot {
            seat: Seat::Vacant,
            backoff: Backoff::new(now),
            starts: 0,
            reached: 0,
        }
    }
}

/// A pause that grows with each failure and ends with a success.
#[derive(Debug)]
pub(super) struct Backoff {
    /// Workers in a row that did not live.
    pub(super) failures: u32,
    /// When the next may be started.
    pub(super) retry: Duration,
}

impl Backoff {
    pub(super) fn new(now: Duration) -> Backoff {
        Backoff { failures: 0, retry: now }
    }

    /// Learns how a worker ended, or that it has lived.
    pub(super) fn judge(&mut self, now: Duration, verdict: &Verdict) {
        match verdict {
            Verdict::Lived => {
                self.failures = 0;
                self.retry = now;
            }
            Verdict::Left => {
                self.retry = now + pause(self.failures);
                self.failures += 1;
            }
            Verdict::Failed(_) => {
                self.failures += 1;
                self.retry = now + pause(self.failures);
            }
        }
    }
}

/// What a worker's end says about its program.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Nothing bad: replace it at once.
    Lived,
    /// It was ready and took its leave before it had lived. Nothing bad
    /// either, once; but a series of them is a loop.
    Left,
    /// It cannot live: replace it after a pause.
    Failed(Failure),
}

impl Verdict {
    /// Judges an exit that nobody here asked for.
    ///
    /// SIGKILL and SIGTERM come from outside (an operator, the OOM killer)
    /// and say nothing against a program that had got as far as ready.
    pub(super) fn of_exit(
        now: Duration,
        ready: Option<Duration>,
        how: Exit,
        proven: bool,
    ) -> Verdict {
        let from_outside = match how {
            Exit::Code(_) => false,
            Exit::Signal(signal) => signal == SIGKILL || signal == SIGTERM,
        };
        if ready.is_some() && (from_outside || has_lived(now, ready, proven)) {
            Verdict::Lived
        } else {
            Verdict::Failed(Failure::Exited(how))
        }
    }
}

/// Whether a worker has shown that its program works.
pub(super) fn has_lived(
    now: Duration,
    ready: Option<Duration>,
    proven: bool,
) -> bool {
    ready.is_some_and(|at| proven || now.saturating_sub(at) >= LIVED)
}

/// The pause after so many failures: 0, 100 ms, 200 ms, … 5 s.
fn pause(failures: u32) -> Duration {
    match failures.checked_sub(1) {
        None => Duration::ZERO,
        Some(doublings) => PAUSE_FIRST
            .saturating_mul(2u32.saturating_pow(doublings))
            .min(PAUSE_LAST),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_from_100_ms_to_5_s() {
        let pauses: Vec<u128> =
            (0..=8).map(|failures| pause(failures).as_millis()).collect();
        assert_eq!(pauses, [0, 100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(pause(u32::MAX), PAUSE_LAST);
    }

    #[test]
    fn a_death_is_excused_by_work_by_age_or_by_a_killer_but_never_before_ready()
     {
        let now = Duration::from_secs(100);
        let young = Some(now - LIVED + Duration::from_millis(1));
        let old = Some(now - LIVED);
        for (ready, how, proven, lived) in [
            (young, Exit::Code(1), false, false),
            (young, Exit::Code(0), false, false),
            (young, Exit::Signal(11), false, false),
            (young, Exit::Signal(SIGKILL), false, true),
            (young, Exit::Signal(SIGTERM), false, true),
            (young, Exit::Code(SIGKILL), false, false),
            (young, Exit::Code(1), true, true),
            (old, Exit::Code(1), false, true),
            (old, Exit::Signal(11), false, true),
            (None, Exit::Code(0), false, false),
            (None, Exit::Signal(SIGKILL), false, false),
            (None, Exit::Code(1), true, false),
        ] {
            let verdict = Verdict::of_exit(now, ready, how, proven);
            assert_eq!(
                matches!(verdict, Verdict::Lived),
                lived,
                "{ready:?} {how:?} {proven}"
            );
        }
    }
}
