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

use super::{Action, Reason, Seat, Supervisor, Worker};
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
    pub(super) doom: Doom,
}

/// What comes next for a [`Departed`].
#[derive(Clone, Copy, Debug)]
pub(super) enum Doom {
    /// It may finish what it has until then.
    Grace { deadline: Duration },
    /// It got SIGTERM, and until then its chance to heed it.
    Terminated { deadline: Duration },
    /// It got SIGKILL: its exit is as good as sure.
    Killed,
}

impl Doom {
    pub(super) fn deadline(self) -> Option<Duration> {
        match self {
            Doom::Grace { deadline } | Doom::Terminated { deadline } => {
                Some(deadline)
            }
            Doom::Killed => None,
        }
    }

    pub(super) fn is_killed(self) -> bool {
        matches!(self, Doom::Killed)
    }
}

impl Supervisor {
    pub(super) fn expire_departed(&mut self, index: usize) {
        let Departed { worker, doom, .. } = self.departed[index];
        let due = doom.deadline().is_some_and(|deadline| deadline <= self.now);
        self.departed[index].doom = match doom {
            Doom::Grace { .. } if due => {
                self.sign_off(worker.id, Reason::GraceOver)
            }
            Doom::Terminated { .. } if due => {
                kill(worker.id, Reason::TerminateIgnored, &mut self.out)
            }
            Doom::Grace { .. } | Doom::Terminated { .. } | Doom::Killed => {
                doom
            }
        };
    }

    /// Empties a seat: who serves may finish, who does not is ended.
    pub(super) fn vacate(&mut self, slot: usize, grace: Doom) {
        match std::mem::take(&mut self.slots[slot].seat) {
            Seat::Vacant => {}
            Seat::Starting(new) => self.dismiss(slot, new.worker),
            Seat::Ready(old) => {
                self.retire(slot, old.worker, grace);
            }
            Seat::Replacing { old, new } => {
                self.dismiss(slot, new.worker);
                self.retire(slot, old.worker, grace);
            }
        }
    }

    /// Lets go a worker that was in rotation.
    pub(super) fn retire(&mut self, slot: usize, worker: Worker, grace: Doom) {
        self.out.push(Action::Withdraw { worker: worker.id });
        self.out.push(Action::Disconnect { worker: worker.id });
        self.depart(slot, worker, grace);
    }

    /// Ends a worker that was not in rotation: it has nothing to finish.
    pub(super) fn dismiss(&mut self, slot: usize, worker: Worker) {
        let doom = self.sign_off(worker.id, Reason::NotNeeded);
        self.depart(slot, worker, doom);
    }

    pub(super) fn depart(&mut self, slot: usize, worker: Worker, doom: Doom) {
        self.departed.push(Departed { worker, slot, since: self.now, doom });
        let leaving =
            |gone: &&mut Departed| gone.slot == slot && !gone.doom.is_killed();
        if self.departed.iter_mut().filter(leaving).count() > LEAVING
            && let Some(oldest) = self.departed.iter_mut().find(leaving)
        {
            oldest.doom =
                kill(oldest.worker.id, Reason::Crowded, &mut self.out);
        }
    }

    /// Sends the first signal that this program is to get.
    fn sign_off(&mut self, id: WorkerId, why: Reason) -> Doom {
        match self.policy.terminate_before_kill {
            Some(pause) => {
                self.out.push(Action::Terminate { worker: id, why });
                Doom::Terminated { deadline: self.now.saturating_add(pause) }
            }
            None => kill(id, why, &mut self.out),
        }
    }

    pub(super) fn grace(&self) -> Doom {
        Doom::Grace { deadline: self.now.saturating_add(self.policy.grace) }
    }

    pub(super) fn departed_of(&self, slot: usize) -> usize {
        self.departed.iter().filter(|gone| gone.slot == slot).count()
    }

    pub(super) fn forget(&mut self, id: WorkerId) {
        self.departed.retain(|gone| gone.worker.id != id);
    }
}

/// SIGKILL.
pub(super) fn kill(id: WorkerId, why: Reason, out: &mut Vec<Action>) -> Doom {
    out.push(Action::Kill { worker: id, why });
    Doom::Killed
}
