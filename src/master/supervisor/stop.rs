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

use super::{Abandon, Action, Doom, Outcome, Reason, Supervisor, kill};

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
    pub(super) fn stop(&mut self, now: Duration, out: &mut Vec<Action>) {
        if !self.phase.is_serving() {
            return;
        }
        let until = now.saturating_add(self.policy.linger);
        let deadline = until.saturating_add(self.policy.grace);
        // Without a single process there is nothing to be polite to; what
        // waits in the backlog would wait for a program that cannot live.
        self.phase = match self.is_alone() {
            true => Phase::Ending(Outcome::Stopped),
            false => Phase::Lingering { until, deadline },
        };
        self.abandon_reload(now, Abandon::Stopping, out);
        self.cancel_steps(now, out);
    }

    pub(super) fn stop_now(&mut self, now: Duration, out: &mut Vec<Action>) {
        match self.phase {
            Phase::Serving
            | Phase::Lingering { .. }
            | Phase::Closing { .. }
            | Phase::Draining { .. } => {
                self.end(now, Outcome::Stopped, Reason::StopNow, out);
            }
            Phase::Ending(_) | Phase::Done => {}
        }
    }

    pub(super) fn emptied(&mut self, now: Duration, out: &mut Vec<Action>) {
        match self.phase {
            Phase::Closing { deadline } => self.drain(now, deadline, out),
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
    pub(super) fn advance_phase(
        &mut self,
        now: Duration,
        out: &mut Vec<Action>,
    ) {
        if let Phase::Lingering { until, deadline } = self.phase
            && until <= now
        {
            out.push(Action::StopAccepting);
            self.phase = Phase::Closing { deadline };
        }
        if let Phase::Closing { deadline } = self.phase
            && deadline <= now
        {
            self.drain(now, deadline, out);
        }
    }

    fn drain(
        &mut self,
        now: Duration,
        deadline: Duration,
        out: &mut Vec<Action>,
    ) {
        self.phase = Phase::Draining { deadline };
        for slot in 0..self.slots.len() {
            self.vacate(now, slot, Doom::Grace { deadline }, out);
        }
        for gone in &mut self.departed {
            gone.doom = match gone.doom {
                Doom::Grace { deadline: own } => {
                    Doom::Grace { deadline: own.min(deadline) }
                }
                Doom::Terminated { .. } | Doom::Killed => gone.doom,
            };
        }
    }

    /// Ends a program that cannot live. On the way out the deadline does it.
    pub(super) fn give_up(
        &mut self,
        now: Duration,
        outcome: Outcome,
        out: &mut Vec<Action>,
    ) {
        if self.phase.is_serving() {
            self.end(now, outcome, Reason::GivingUp, out);
        }
    }

    fn end(
        &mut self,
        now: Duration,
        outcome: Outcome,
        why: Reason,
        out: &mut Vec<Action>,
    ) {
        self.phase = Phase::Ending(outcome);
        self.abandon_reload(now, Abandon::Stopping, out);
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
            if let Some((slot, _)) = self.unseat(worker.id, out) {
                let doom = Doom::Grace { deadline: now };
                self.depart(now, slot, worker, doom, out);
            }
        }
        for gone in &mut self.departed {
            if !gone.doom.is_killed() {
                gone.doom = kill(gone.worker.id, why, out);
            }
        }
    }

    fn is_alone(&self) -> bool {
        self.departed.is_empty()
            && self.slots.iter().all(|slot| slot.seat.is_vacant())
    }

    pub(super) fn exit_when_alone(&mut self, out: &mut Vec<Action>) {
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
        out.push(Action::Exit(outcome));
        self.phase = Phase::Done;
    }
}
