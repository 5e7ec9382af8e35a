//! What the supervisor shows of itself.

use std::fmt;
use std::time::Duration;

use super::{
    Awaited, Departed, Member, Newcomer, Phase, Reload, Seat, Slot,
    Supervisor, Termination, Worker,
};
use crate::WorkerId;

/// One line of the status table: a process, or a slot without one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Its place.
    pub slot: usize,
    /// `None` for a slot that waits for its next attempt.
    pub worker: Option<WorkerId>,
    /// What it is doing.
    pub state: State,
    /// Of the worker, or of the one that will be started.
    pub generation: u32,
    /// How many workers this slot lost and got replaced.
    pub restarts: u32,
    /// Since when it is in this state. `Waiting`: until when.
    pub since: Duration,
}

/// The states that an operator tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// No process; the next attempt is due later.
    Waiting,
    /// Not ready yet.
    Starting,
    /// Ready, not in rotation: the first of its generation is being watched.
    Watched,
    /// In rotation.
    Ready,
    /// Its channel is gone, its exit is awaited.
    Dying,
    /// Out of rotation, finishing what it has.
    Leaving,
    /// It got SIGTERM.
    Terminated,
    /// It got SIGKILL.
    Killed,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            State::Waiting => "waiting",
            State::Starting => "starting",
            State::Watched => "watched",
            State::Ready => "ready",
            State::Dying => "dying",
            State::Leaving => "leaving",
            State::Terminated => "terminated",
            State::Killed => "killed",
        })
    }
}

impl Supervisor {
    /// The generation that workers are started with: 1, and 1 more with each
    /// reload that began.
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// The newest generation that any worker has, or that a reload under way
    /// brings: one that was abandoned leaves a number that nobody has.
    pub fn newest_generation(&self) -> u32 {
        if self.is_reloading() {
            return self.generation;
        }
        let lines = self.status().into_iter();
        let lines = lines.filter(|line| line.worker.is_some());
        let newest = lines.map(|line| line.generation).max();
        newest.unwrap_or(self.generation)
    }

    /// How many workers there should be.
    pub fn workers(&self) -> usize {
        self.slots.len()
    }

    /// Whether a rolling reload is under way.
    pub fn is_reloading(&self) -> bool {
        matches!(self.reload, Reload::Rolling { .. })
    }

    /// Whether it is on its way out: asked to stop, or giving up.
    pub fn is_stopping(&self) -> bool {
        !self.phase.is_serving()
    }

    /// Whether a stop waits for [`Event::Emptied`](super::Event::Emptied).
    pub fn is_closing(&self) -> bool {
        matches!(self.phase, Phase::Closing { .. })
    }

    /// Whether a worker is to come, or to be replaced.
    pub fn expects_workers(&self) -> bool {
        self.status().iter().any(|status| match status.state {
            State::Waiting
            | State::Starting
            | State::Watched
            | State::Dying => true,
            State::Ready
            | State::Leaving
            | State::Terminated
            | State::Killed => false,
        })
    }

    /// Whatever happens now is part of an end that has been told, or will be.
    pub fn is_ending(&self) -> bool {
        matches!(self.phase, Phase::Ending(_) | Phase::Done)
    }

    /// All slots and their workers, then all that have lost their places.
    pub fn status(&self) -> Vec<Status> {
        let seated = self
            .slots
            .iter()
            .enumerate()
            .flat_map(|(at, slot)| self.seated(at, slot));
        let departed = self.departed.iter().map(|gone| self.gone(gone));
        seated.chain(departed).collect()
    }

    fn seated(&self, at: usize, slot: &Slot) -> Vec<Status> {
        let newcomer = |new: Newcomer| {
            let (state, since) = match new.awaited {
                Awaited::Ready => (State::Starting, new.worker.started),
                Awaited::Lived { ready } => (State::Watched, ready),
                Awaited::Exit { since, .. } => (State::Dying, since),
            };
            self.line(at, new.worker, state, since)
        };
        let member = |Member { worker, ready, .. }| {
            self.line(at, worker, State::Ready, ready)
        };
        match slot.seat {
            Seat::Vacant => vec![Status {
                slot: at,
                worker: None,
                state: State::Waiting,
                generation: self.generation,
                restarts: slot.starts.saturating_sub(1),
                since: slot.backoff.retry,
            }],
            Seat::Starting(new) => vec![newcomer(new)],
            Seat::Ready(old) => vec![member(old)],
            Seat::Replacing { old, new } => vec![member(old), newcomer(new)],
        }
    }

    fn gone(&self, gone: &Departed) -> Status {
        let state = match gone.termination {
            Termination::Grace { .. } => State::Leaving,
            Termination::Terminated { .. } => State::Terminated,
            Termination::Killed => State::Killed,
        };
        self.line(gone.slot, gone.worker, state, gone.since)
    }

    fn line(
        &self,
        slot: usize,
        worker: Worker,
        state: State,
        since: Duration,
    ) -> Status {
        let restarts = self
            .slots
            .get(slot)
            .map_or(0, |slot| slot.starts.saturating_sub(1));
        Status {
            slot,
            worker: Some(worker.id),
            state,
            generation: worker.generation,
            restarts,
            since,
        }
    }
}
