//! How a worker goes: asked, then made to.
//!
//! ```text
//!   retire: withdraw, disconnect     dismiss: it has nothing to finish
//!      │                                │
//!      ▼       grace over               ▼         pause over
//!    Grace ─────────────────────▶ Terminated ─────────────────▶ Killed
//!      │                           (SIGTERM)                  (SIGKILL)
//!      └────────────────────────────────────────────────────────▶
//!        a Rust worker, or hung, crowded out, stopped now
//! ```
//!
//! A worker is here from the moment it has lost its place until it has
//! exited. Nothing is owed for it any more: its replacement is a matter of
//! the seat it left.

use std::time::Duration;

use super::{Action, Parting, Reason, Seat, Supervisor, Worker};
use crate::WorkerId;

/// At most so many workers of one slot are leaving at a time. Each further
/// one costs the oldest its life: a request that makes its worker leave,
/// sent again and again, must not fill the memory with workers.
pub(super) const LEAVING: usize = 16;

/// A process that has lost its place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Departed {
    pub(super) worker: Worker,
    pub(super) slot: usize,
    pub(super) since: Duration,
    pub(super) termination: Termination,
}

/// What comes next for a [`Departed`].
#[derive(Clone, Copy, Debug)]
pub(super) enum Termination {
    /// It may finish what it has until then.
    Grace { deadline: Duration },
    /// It got SIGTERM, and until then its chance to heed it.
    Terminated { deadline: Duration },
    /// It got SIGKILL: its exit is as good as sure.
    Killed,
}

impl Termination {
    pub(super) fn deadline(self) -> Option<Duration> {
        match self {
            Termination::Grace { deadline }
            | Termination::Terminated { deadline } => Some(deadline),
            Termination::Killed => None,
        }
    }

    pub(super) fn is_killed(self) -> bool {
        matches!(self, Termination::Killed)
    }
}

impl Supervisor {
    pub(super) fn expire_departed(&mut self, index: usize) {
        let Departed { worker, termination, .. } = self.departed[index];
        let due = termination
            .deadline()
            .is_some_and(|deadline| deadline <= self.now);
        self.departed[index].termination = match termination {
            Termination::Grace { .. } if due => {
                self.sign_off(worker.id, Reason::GraceOver)
            }
            Termination::Terminated { .. } if due => {
                kill(worker.id, Reason::TerminateIgnored, &mut self.out)
            }
            Termination::Grace { .. }
            | Termination::Terminated { .. }
            | Termination::Killed => termination,
        };
    }

    /// Empties a seat: who serves may finish, who does not is ended.
    pub(super) fn vacate(
        &mut self,
        slot: usize,
        grace: Termination,
        why: Parting,
    ) {
        match std::mem::take(&mut self.slots[slot].seat) {
            Seat::Vacant => {}
            Seat::Starting(new) => self.dismiss(slot, new.worker),
            Seat::Ready(old) => {
                self.retire(slot, old.worker, grace, why);
            }
            Seat::Replacing { old, new } => {
                self.dismiss(slot, new.worker);
                self.retire(slot, old.worker, grace, why);
            }
        }
    }

    /// Lets go a worker that was in rotation.
    pub(super) fn retire(
        &mut self,
        slot: usize,
        worker: Worker,
        grace: Termination,
        why: Parting,
    ) {
        self.out.push(Action::Withdraw { worker: worker.id });
        self.out.push(Action::Disconnect { worker: worker.id, why });
        self.depart(slot, worker, grace);
    }

    /// Ends a worker that was not in rotation: it has nothing to finish.
    pub(super) fn dismiss(&mut self, slot: usize, worker: Worker) {
        let termination = self.sign_off(worker.id, Reason::NotNeeded);
        self.depart(slot, worker, termination);
    }

    pub(super) fn depart(
        &mut self,
        slot: usize,
        worker: Worker,
        termination: Termination,
    ) {
        self.departed.push(Departed {
            worker,
            slot,
            since: self.now,
            termination,
        });
        let leaving = |gone: &&mut Departed| {
            gone.slot == slot && !gone.termination.is_killed()
        };
        if self.departed.iter_mut().filter(leaving).count() > LEAVING
            && let Some(oldest) = self.departed.iter_mut().find(leaving)
        {
            oldest.termination =
                kill(oldest.worker.id, Reason::Crowded, &mut self.out);
        }
    }

    /// Sends the first signal that this program is to get.
    fn sign_off(&mut self, id: WorkerId, why: Reason) -> Termination {
        match self.policy.terminate_before_kill {
            Some(pause) => {
                self.out.push(Action::Terminate { worker: id, why });
                Termination::Terminated {
                    deadline: self.now.saturating_add(pause),
                }
            }
            None => kill(id, why, &mut self.out),
        }
    }

    pub(super) fn grace(&self) -> Termination {
        Termination::Grace {
            deadline: self.now.saturating_add(self.policy.grace),
        }
    }

    pub(super) fn departed_of(&self, slot: usize) -> usize {
        self.departed.iter().filter(|gone| gone.slot == slot).count()
    }

    pub(super) fn forget(&mut self, id: WorkerId) {
        self.departed.retain(|gone| gone.worker.id != id);
    }
}

/// SIGKILL.
pub(super) fn kill(
    id: WorkerId,
    why: Reason,
    out: &mut Vec<Action>,
) -> Termination {
    out.push(Action::Kill { worker: id, why });
    Termination::Killed
}
