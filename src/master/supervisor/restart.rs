//! Who is started, and when: replacements, crash loops, giving up.
//!
//! A slot whose workers do not live waits 100 ms, 200 ms … 5 s between them.
//! That bounds one slot, but N slots of a program that cannot live would still
//! start N at a time. So there is a [`CrashLoop`]: from the first failure
//! while no worker in rotation has lived for a second, until one has, all
//! slots fail as one. They share one more pause of the same kind, and one slot
//! at a time, the least failed, tries for all.
//!
//! Before that first failure nothing is known against the program, but after
//! all workers have died at once nothing speaks for it either: at most
//! [`AT_ONCE`] replacements are untested at a time.
//!
//! So if everything dies and nothing can live any more, at most 6 + 6 workers
//! are started in the next 5 s, and fewer later, whatever N is. First starts
//! are not restarts: N at once.

use std::time::Duration;

use super::departure::LEAVING;
use super::{
    Action, Awaited, Backoff, Failure, Newcomer, Outcome, Phase, Report, Seat,
    Slot, Supervisor, Verdict, Worker,
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

/// What the slots have in common while no worker lives.
#[derive(Debug)]
pub(super) struct CrashLoop {
    /// No failures: no crash loop.
    backoff: Backoff,
    /// Who tries for all.
    attempt: Option<WorkerId>,
}

impl CrashLoop {
    pub(super) fn new(now: Duration) -> CrashLoop {
        CrashLoop { backoff: Backoff::new(now), attempt: None }
    }

    /// Lets the next one try at once.
    pub(super) fn retry_now(&mut self, now: Duration) {
        self.backoff.retry = now;
        self.attempt = None;
    }
}

impl Supervisor {
    pub(super) fn fill_vacancies(&mut self) {
        while let Some((at, slot)) = self.next_vacancy()
            && at <= self.now
        {
            let new = self.spawn(slot);
            let slot = &mut self.slots[slot];
            if slot.starts > 0 && self.crash_loop.backoff.failures > 0 {
                self.crash_loop.attempt = Some(new.worker.id);
            }
            slot.starts += 1;
            slot.seat = Seat::Starting(new);
        }
    }

    /// Which vacant slot is to be filled next, and when.
    pub(super) fn next_vacancy(&self) -> Option<(Duration, usize)> {
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
        let restart = self.restart_from();
        (0..self.slots.len())
            .filter(|&at| self.slots[at].seat.is_vacant())
            .filter(|&at| self.departed_of(at) <= LEAVING)
            .filter_map(|at| {
                let Slot { starts, backoff, .. } = &self.slots[at];
                let from = if *starts == 0 { backoff.retry } else { restart? };
                Some((backoff.retry.max(from), backoff.failures, at))
            })
            .min()
            .map(|(from, _, at)| (from, at))
    }

    /// From when on a slot that is not on its first worker may start one, as
    /// far as the others are concerned; `None`: when something has happened.
    fn restart_from(&self) -> Option<Duration> {
        let CrashLoop { backoff, attempt } = &self.crash_loop;
        if backoff.failures > 0 {
            let holds = |seat: &Seat| {
                let old = seat.member().map(|old| old.worker.id);
                let new = seat.newcomer().map(|new| new.worker.id);
                attempt.is_some() && (old == *attempt || new == *attempt)
            };
            let trying = self.slots.iter().any(|slot| holds(&slot.seat));
            return if trying { None } else { Some(backoff.retry) };
        }
        let somebody_lives = self.somebody_lives();
        let untested = |slot: &&Slot| match slot.seat {
            Seat::Starting(_) => slot.starts > 1 && slot.backoff.failures == 0,
            Seat::Ready(_) | Seat::Replacing { .. } => {
                slot.starts > 1 && !somebody_lives
            }
            Seat::Vacant => false,
        };
        let room = self.slots.iter().filter(untested).count() < AT_ONCE;
        room.then_some(Duration::ZERO)
    }

    fn somebody_lives(&self) -> bool {
        self.slots.iter().any(|slot| {
            slot.seat.member().is_some_and(|member| member.settled)
        })
    }

    /// A crash loop begins with a failure while nobody lives, deepens with
    /// each failure of who tries for all, and ends with the first who lives.
    /// Other failures meanwhile are those of the wave that it began with.
    pub(super) fn judge_crash_loop(
        &mut self,
        id: WorkerId,
        verdict: &Verdict,
    ) {
        let counts = match verdict {
            Verdict::Lived => true,
            Verdict::Left | Verdict::Failed(_) => {
                let begins = self.crash_loop.backoff.failures == 0;
                let tried = self.crash_loop.attempt == Some(id);
                tried || begins && !self.somebody_lives()
            }
        };
        if counts {
            self.crash_loop.backoff.judge(self.now, verdict);
            self.crash_loop.attempt = None;
        }
    }

    /// Starts a worker that is to hold `slot`.
    pub(super) fn spawn(&mut self, slot: usize) -> Newcomer {
        self.newest.0 += 1;
        let worker = Worker {
            id: self.newest,
            generation: self.generation,
            started: self.now,
        };
        self.out.push(Action::Spawn {
            worker: worker.id,
            slot,
            generation: worker.generation,
        });
        Newcomer {
            worker,
            awaited: Awaited::Ready,
            deadline: self.now.saturating_add(self.policy.boot_timeout),
        }
    }

    /// A program that does not exist is one line, not five attempts.
    pub(super) fn cannot_start(&mut self, id: WorkerId, why: &str) {
        match self.past {
            Past::NeverReady { .. } if id == WorkerId(1) => {
                self.give_up(Outcome::CannotStart(why.to_owned()));
            }
            Past::NeverReady { .. } | Past::BeenReady => {}
        }
    }

    /// A program that has never worked is given up for the service manager
    /// to see; one that has is tried for ever.
    pub(super) fn count_failure(&mut self, last: WorkerId, why: Failure) {
        match &mut self.past {
            Past::BeenReady => {}
            Past::NeverReady { failures } => {
                *failures += 1;
                if *failures >= HOPELESS {
                    let failures = *failures;
                    let outcome = Outcome::GaveUp { failures, last, why };
                    self.give_up(outcome);
                }
            }
        }
    }

    pub(super) fn report_health(&mut self) {
        let never = matches!(self.past, Past::NeverReady { .. });
        if never || !self.phase.is_serving() {
            return;
        }
        let failing = |backoff: &Backoff| backoff.failures >= FAILING;
        let failing = failing(&self.crash_loop.backoff)
            || self.slots.iter().any(|slot| failing(&slot.backoff));
        if failing && !self.degraded {
            let in_rotation = self
                .slots
                .iter()
                .filter(|slot| slot.seat.member().is_some())
                .count();
            let workers = self.slots.len();
            self.out.push(Action::Report(Report::Degraded {
                in_rotation,
                workers,
            }));
        }
        if !failing && self.degraded {
            self.out.push(Action::Report(Report::Recovered));
        }
        self.degraded = failing;
    }
}
