//! Replacing workers that still serve: rolling reload and recycling.
//!
//! One slot at a time: start the successor, wait until it is ready, admit
//! it, and only then let the old one go. So the rotation never shrinks.
//!
//! ```text
//!   slot 0   old old old old│new new new new new new new
//!   slot 1   old old old old old old│new new new new new
//!   slot 2   old old old old old old old old│new new new
//!                start─ready─lived   │
//!                 the canary      start─ready, one after the other
//! ```
//!
//! A release that breaks must not take the service down. The first ready
//! worker of a generation is its canary: it has to stay alive for a second
//! *before* it is admitted, so that a program which says "ready" and dies of
//! its next line costs nothing. Any worker of the new generation that fails
//! ends the reload. Old workers that were not reached serve on. New workers
//! that have taken over stay: they were ready, they serve, and the program
//! they replaced may not be on the disk any more; to throw them out would
//! trade what works for what is not known to.
//!
//! A slot with [`DRAINING`] workers still leaving waits with its next step.
//! However often it is asked to reload, the master has a bounded number of
//! processes, and each had its whole grace.

use std::time::Duration;

use super::{
    Abandon, Action, Awaited, Parting, Report, Seat, Slot, Supervisor, Worker,
};
use crate::WorkerId;

/// Workers of one slot that may be leaving when a further step begins.
const DRAINING: usize = 2;

/// Whether a rolling reload is under way.
#[derive(Debug)]
pub(super) enum Reload {
    Idle,
    /// `again`: it was asked for anew, and one more will follow.
    Rolling {
        again: bool,
    },
}

impl Supervisor {
    pub(super) fn ask_reload(&mut self) {
        if !self.phase.is_serving() {
            return;
        }
        match &mut self.reload {
            Reload::Idle => self.begin_reload(),
            Reload::Rolling { again } => *again = true,
        }
    }

    /// Slots that wait after failures get their next attempt now: the new
    /// release may well be the cure.
    fn begin_reload(&mut self) {
        self.generation += 1;
        self.reload = Reload::Rolling { again: false };
        for slot in &mut self.slots {
            slot.backoff.retry = self.now;
        }
        self.crash_loop.retry_now(self.now);
        let generation = self.generation;
        self.out.push(Action::Report(Report::ReloadBegan { generation }));
    }

    /// Ends a reload early, if there is one.
    pub(super) fn abandon_reload(&mut self, why: Abandon) {
        let Reload::Rolling { again } = self.reload else { return };
        self.reload = Reload::Idle;
        self.cancel_steps();
        let generation = self.generation;
        self.out
            .push(Action::Report(Report::ReloadAbandoned { generation, why }));
        if again && self.phase.is_serving() {
            self.begin_reload();
        }
    }

    /// Ends all successors that have not taken over.
    pub(super) fn cancel_steps(&mut self) {
        for at in 0..self.slots.len() {
            if let Seat::Replacing { old, new } = self.slots[at].seat {
                self.slots[at].seat = Seat::Ready(old);
                self.dismiss(at, new.worker);
            }
        }
    }

    pub(super) fn recycle(&mut self, id: WorkerId) {
        for slot in &mut self.slots {
            if let Some(member) = slot.seat.member_mut()
                && member.worker.id == id
            {
                member.over_limit = true;
            }
        }
    }

    /// Ends a reload that is complete, and takes the next step.
    pub(super) fn roll(&mut self) {
        let generation = self.generation;
        let reached = |slot: &Slot| slot.reached == generation;
        match self.reload {
            Reload::Rolling { again } if self.slots.iter().all(reached) => {
                self.reload = Reload::Idle;
                let report = Report::ReloadFinished { generation };
                self.out.push(Action::Report(report));
                if again {
                    self.begin_reload();
                }
            }
            Reload::Rolling { .. } | Reload::Idle => {}
        }
        if let Some((at, slot)) = self.next_step()
            && at <= self.now
            && let Seat::Ready(old) = self.slots[slot].seat
        {
            let new = self.spawn(slot);
            self.slots[slot].seat = Seat::Replacing { old, new };
        }
    }

    /// Which slot's worker is to be replaced next, and when.
    pub(super) fn next_step(&self) -> Option<(Duration, usize)> {
        let under_way = self
            .slots
            .iter()
            .any(|slot| matches!(slot.seat, Seat::Replacing { .. }));
        if under_way || !self.phase.is_serving() {
            return None;
        }
        let rolling = matches!(self.reload, Reload::Rolling { .. });
        let outdated =
            |worker: &Worker| rolling && worker.generation < self.generation;
        (0..self.slots.len())
            .filter(|&at| match &self.slots[at].seat {
                Seat::Ready(old) => old.over_limit || outdated(&old.worker),
                Seat::Vacant | Seat::Starting(_) | Seat::Replacing { .. } => {
                    false
                }
            })
            .filter(|&at| self.departed_of(at) < DRAINING)
            .map(|at| (self.slots[at].backoff.retry, at))
            .min()
    }

    /// Whether a worker is the first of its generation to be ready.
    pub(super) fn is_canary(&self, worker: &Worker) -> bool {
        let generation = self.generation;
        let trusted = self.slots.iter().any(|slot| {
            slot.seat.member().is_some_and(|member| {
                member.settled && member.worker.generation == generation
            })
        });
        matches!(self.reload, Reload::Rolling { .. })
            && worker.generation == generation
            && !trusted
    }

    /// The successor takes over.
    pub(super) fn succeed(&mut self, at: usize) {
        if let Seat::Replacing { old, new } = self.slots[at].seat
            && let Awaited::Lived { ready } = new.awaited
        {
            self.admit(at, new.worker, ready);
            let why = match old.over_limit {
                true => Parting::Recycle,
                false => Parting::Reload,
            };
            self.retire(at, old.worker, self.grace(), why);
        }
    }

    /// A successor that was ready need not wait for anything when the worker
    /// it was to succeed is gone before its time.
    pub(super) fn promote_successors(&mut self) {
        for at in 0..self.slots.len() {
            if let Seat::Starting(new) = self.slots[at].seat
                && let Awaited::Lived { ready } = new.awaited
            {
                self.admit(at, new.worker, ready);
            }
        }
    }
}
