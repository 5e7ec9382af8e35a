//! Who is started, and when: replacements, crash loops, giving up.
//!
//! A slot whose workers do not live waits 100 ms, 200 ms … 5 s between them
//! (`slot`). That bounds one slot; two rules bound N of them:
//!
//! * As long as no worker in rotation has lived for a second and some slot is
//!   failing, only the one that has failed most often tries, for all of them.
//! * At most [`AT_ONCE`] replacements are untested: not ready yet or, while
//!   nobody has lived, not lived yet.
//!
//! So if everything dies and nothing can live any more, at most 6 + 6 workers
//! are started in the next 5 s, and fewer later, whatever N is. First starts
//! are not restarts: N at once.

use std::cmp::Reverse;
use std::time::Duration;

use super::departure::LEAVING;
use super::{
    Action, Awaited, Failure, Newcomer, Outcome, Phase, Report, Seat, Slot,
    Supervisor, Worker,
};
use crate::WorkerId;

/// Replacements under way of which it is not known whether they can live.
const AT_ONCE: usize = 6;

/// So many failures without one success, and the program will not start.
const HOPELESS: u32 = 5;

/// So many failures of one slot in a row are no accident any more.
const FAILING: u32 = 2;

/// Whether this program has ever worked.
#[derive(Debug)]
pub(super) enum Past {
    NeverReady { failures: u32 },
    BeenReady,
}

/// Who may be started, beside those that never were.
enum Licence {
    All,
    Nobody,
    /// The one that tries for all.
    Only(usize),
}

impl Licence {
    fn covers(&self, at: usize) -> bool {
        match self {
            Licence::All => true,
            Licence::Nobody => false,
            Licence::Only(one) => at == *one,
        }
    }
}

impl Supervisor {
    pub(super) fn fill_vacancies(
        &mut self,
        now: Duration,
        out: &mut Vec<Action>,
    ) {
        while let Some(slot) = self.next_vacancy()
            && self.slots[slot].retry <= now
        {
            let new = self.spawn(now, slot, out);
            self.slots[slot].starts += 1;
            self.slots[slot].seat = Seat::Starting(new);
        }
    }

    /// The vacant slot to be filled next, at its `retry`.
    pub(super) fn next_vacancy(&self) -> Option<usize> {
        let wanted = match self.phase {
            Phase::Serving | Phase::Lingering { .. } => true,
            // One worker is enough for what is left, none if all is settled.
            Phase::Closing { .. } => {
                self.slots.iter().all(|slot| slot.seat.is_vacant())
            }
            Phase::Draining { .. } | Phase::Ending(_) | Phase::Done => false,
        };
        if !wanted {
            return None;
        }
        let licence = self.licence();
        (0..self.slots.len())
            .filter(|&at| self.slots[at].seat.is_vacant())
            .filter(|&at| self.slots[at].starts == 0 || licence.covers(at))
            .filter(|&at| self.departed_of(at) <= LEAVING)
            .min_by_key(|&at| self.slots[at].retry)
    }

    fn licence(&self) -> Licence {
        let lives = self.slots.iter().any(|slot| {
            slot.seat.member().is_some_and(|member| member.settled)
        });
        let untested = |slot: &&Slot| match slot.seat {
            Seat::Starting(_) => slot.starts > 1 && slot.failures == 0,
            Seat::Ready(_) | Seat::Replacing { .. } => {
                slot.starts > 1 && !lives
            }
            Seat::Vacant => false,
        };
        let room = self.slots.iter().filter(untested).count() < AT_ONCE;
        // Among equals the one that tries already, lest each has its turn.
        let worst = (0..self.slots.len())
            .filter(|&at| self.slots[at].failures > 0)
            .max_by_key(|&at| {
                let slot = &self.slots[at];
                (slot.failures, !slot.seat.is_vacant(), Reverse(at))
            });
        match worst {
            Some(worst) if !lives => Licence::Only(worst),
            Some(_) | None if room => Licence::All,
            Some(_) | None => Licence::Nobody,
        }
    }

    /// Starts a worker that is to hold `slot`.
    pub(super) fn spawn(
        &mut self,
        now: Duration,
        slot: usize,
        out: &mut Vec<Action>,
    ) -> Newcomer {
        self.newest.0 += 1;
        let worker = Worker {
            id: self.newest,
            generation: self.generation,
            started: now,
        };
        out.push(Action::Spawn {
            worker: worker.id,
            slot,
            generation: worker.generation,
        });
        Newcomer {
            worker,
            awaited: Awaited::Ready,
            deadline: now.saturating_add(self.policy.boot_timeout),
        }
    }

    /// A program that does not exist is one line, not five attempts.
    pub(super) fn cannot_start(
        &mut self,
        now: Duration,
        id: WorkerId,
        why: &str,
        out: &mut Vec<Action>,
    ) {
        match self.past {
            Past::NeverReady { .. } if id == WorkerId(1) => {
                self.give_up(now, Outcome::CannotStart(why.to_owned()), out);
            }
            Past::NeverReady { .. } | Past::BeenReady => {}
        }
    }

    /// A program that has never worked is given up for the service manager
    /// to see; one that has is tried for ever.
    pub(super) fn count_failure(
        &mut self,
        now: Duration,
        last: WorkerId,
        why: Failure,
        out: &mut Vec<Action>,
    ) {
        match &mut self.past {
            Past::BeenReady => {}
            Past::NeverReady { failures } => {
                *failures += 1;
                if *failures >= HOPELESS {
                    let failures = *failures;
                    let outcome = Outcome::GaveUp { failures, last, why };
                    self.give_up(now, outcome, out);
                }
            }
        }
    }

    pub(super) fn report_health(&mut self, out: &mut Vec<Action>) {
        let never = matches!(self.past, Past::NeverReady { .. });
        if never || !self.phase.is_serving() {
            return;
        }
        let failing = self.slots.iter().any(|slot| slot.failures >= FAILING);
        if failing && !self.degraded {
            let in_rotation = self
                .slots
                .iter()
                .filter(|slot| slot.seat.member().is_some())
                .count();
            let workers = self.slots.len();
            out.push(Action::Report(Report::Degraded {
                in_rotation,
                workers,
            }));
        }
        if !failing && self.degraded {
            out.push(Action::Report(Report::Recovered));
        }
        self.degraded = failing;
    }
}
