//! The way out.
//!
//! ```text
//!            Stop             linger             Emptied
//!  Serving ────────▶ Lingering ─────▶ Closing ─────────────▶ Draining
//!     │              serve on,        the backlog is        all are asked
//!     │              also replace     drained; if nobody    to leave, then
//!     │                               serves, one comes     made to
//!     │                                  ▲                      │    │
//!     │                                  └──────────────────────┘    │
//!     │ gives up                              Stranded               │ none
//!     │                                                              │ left
//!     └──────────▶ Ending ───────────────────────────────────────▶ Done
//!        StopNow   all are killed            none left             Exit
//!     (from any)
//! ```
//!
//! One deadline, `linger + grace` after the Stop, ends both Closing and
//! Draining, however often they alternate.

use std::time::Duration;

use super::{
    Abandon, Action, Outcome, Parting, Reason, Supervisor, Termination, kill,
};

/// How far the master is on its way out.
#[derive(Debug)]
pub(super) enum Phase {
    Serving,
    Lingering { until: Duration, deadline: Duration },
    Closing { deadline: Duration },
    Draining { deadline: Duration },
    Ending(Outcome),
    Done,
}

impl Phase {
    pub(super) fn is_serving(&self) -> bool {
        matches!(self, Phase::Serving)
    }

    /// Draining has no timer of its own: each leaving worker has one.
    pub(super) fn deadline(&self) -> Option<Duration> {
        match self {
            Phase::Lingering { until, .. } => Some(*until),
            Phase::Closing { deadline } => Some(*deadline),
            Phase::Serving
            | Phase::Draining { .. }
            | Phase::Ending(_)
            | Phase::Done => None,
        }
    }
}

impl Supervisor {
    pub(super) fn stop(&mut self) {
        if !self.phase.is_serving() {
            return;
        }
        let until = self.now.saturating_add(self.policy.linger);
        let deadline = until.saturating_add(self.policy.grace);
        // Without a single process there is nothing to be polite to; what
        // waits in the backlog would wait for a program that cannot live.
        self.phase = match self.is_alone() {
            true => Phase::Ending(Outcome::Stopped),
            false => Phase::Lingering { until, deadline },
        };
        self.abandon_reload(Abandon::Stopping);
        self.cancel_steps();
    }

    pub(super) fn stop_now(&mut self) {
        match self.phase {
            Phase::Serving
            | Phase::Lingering { .. }
            | Phase::Closing { .. }
            | Phase::Draining { .. } => {
                self.end(Outcome::Stopped, Reason::StopNow);
            }
            Phase::Ending(_) | Phase::Done => {}
        }
    }

    pub(super) fn emptied(&mut self) {
        match self.phase {
            Phase::Closing { deadline } => self.drain(deadline),
            Phase::Serving
            | Phase::Lingering { .. }
            | Phase::Draining { .. }
            | Phase::Ending(_)
            | Phase::Done => {}
        }
    }

    /// After the deadline this is undone before anything comes of it.
    pub(super) fn stranded(&mut self) {
        match self.phase {
            Phase::Draining { deadline } => {
                self.phase = Phase::Closing { deadline };
            }
            Phase::Serving
            | Phase::Lingering { .. }
            | Phase::Closing { .. }
            | Phase::Ending(_)
            | Phase::Done => {}
        }
    }

    /// Ends a phase whose time is over.
    pub(super) fn advance_phase(&mut self) {
        if let Phase::Lingering { until, deadline } = self.phase
            && until <= self.now
        {
            self.out.push(Action::StopAccepting);
            self.phase = Phase::Closing { deadline };
        }
        if let Phase::Closing { deadline } = self.phase
            && deadline <= self.now
        {
            self.drain(deadline);
        }
    }

    fn drain(&mut self, deadline: Duration) {
        self.phase = Phase::Draining { deadline };
        for slot in 0..self.slots.len() {
            self.vacate(slot, Termination::Grace { deadline }, Parting::Stop);
        }
        for gone in &mut self.departed {
            gone.termination = match gone.termination {
                Termination::Grace { deadline: own } => {
                    Termination::Grace { deadline: own.min(deadline) }
                }
                Termination::Terminated { .. } | Termination::Killed => {
                    gone.termination
                }
            };
        }
    }

    /// Ends a program that cannot live. On the way out the deadline does it.
    pub(super) fn give_up(&mut self, outcome: Outcome) {
        if self.phase.is_serving() {
            self.end(outcome, Reason::GivingUp);
        }
    }

    fn end(&mut self, outcome: Outcome, why: Reason) {
        self.phase = Phase::Ending(outcome);
        self.abandon_reload(Abandon::Stopping);
        let seated: Vec<_> = self
            .slots
            .iter()
            .flat_map(|slot| {
                let old = slot.seat.member().map(|old| old.worker);
                let new = slot.seat.newcomer().map(|new| new.worker);
                old.into_iter().chain(new)
            })
            .collect();
        for worker in seated {
            if let Some((slot, _)) = self.unseat(worker.id) {
                let termination = Termination::Grace { deadline: self.now };
                self.depart(slot, worker, termination);
            }
        }
        for gone in &mut self.departed {
            if !gone.termination.is_killed() {
                gone.termination = kill(gone.worker.id, why, &mut self.out);
            }
        }
    }

    fn is_alone(&self) -> bool {
        self.departed.is_empty()
            && self.slots.iter().all(|slot| slot.seat.is_vacant())
    }

    pub(super) fn exit_when_alone(&mut self) {
        if !self.is_alone() {
            return;
        }
        let outcome = match &self.phase {
            Phase::Draining { .. } => Outcome::Stopped,
            Phase::Ending(outcome) => outcome.clone(),
            Phase::Serving
            | Phase::Lingering { .. }
            | Phase::Closing { .. }
            | Phase::Done => return,
        };
        self.out.push(Action::Exit(outcome));
        self.phase = Phase::Done;
    }
}
