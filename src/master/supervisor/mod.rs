//! PURE: decides which workers there should be.
//!
//! A state machine. Events and the time go in, actions come out; it
//! knows no process, no signal and no clock, and whether a worker is Rust or
//! anything else it knows from one line of its [`Policy`]. Time is a
//! `Duration` since any fixed instant of a clock that never goes back.
//!
//! ```text
//!    Event ──▶ handle ──┐                          ┌──▶ Spawn, Kill, …
//!                       ├──▶ expire ──▶ reconcile ──┤
//!  deadline ──▶ tick ───┘   what time    what is,   └──▶ Admit, Withdraw, …
//!                           has ended    against what
//!                                        should be
//! ```
//!
//! An event or a timer only notes what *is*: a seat falls vacant, a worker is
//! over_limit, a phase begins. `reconcile` alone compares it with
//! what should be and starts what is missing. So a death and a disconnect of
//! the same worker cannot both be answered with a replacement: whichever
//! comes first vacates the seat, and a vacant seat is filled once.
//!
//! Where to read what: the contract in `interface`, one place's life in
//! `slot`, how workers go in `departure`, who is started when in `restart`,
//! reload and recycling in `reload`, the way out in `stop`.

mod departure;
mod interface;
mod reload;
mod restart;
mod slot;
mod status;
mod stop;
#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::WorkerId;

use departure::{Departed, Termination, kill};
pub use interface::{
    Abandon, Action, Event, Exit, Failure, Outcome, Parting, Policy, Reason,
    Report,
};
use reload::Reload;
use restart::{CrashLoop, Past};
use slot::{
    Awaited, Backoff, LIVED, Member, Newcomer, Removed, Seat, Slot, Verdict,
    Worker, has_lived,
};
pub use status::{State, Status};
use stop::Phase;

/// The state machine. Call [`tick`](Self::tick) once to start the workers,
/// then again whenever [`deadline`](Self::deadline) has come.
#[derive(Debug)]
pub struct Supervisor {
    /// The time of the event or tick that is being dealt with.
    now: Duration,
    /// What is to be done about that, as far as it is decided.
    out: Vec<Action>,
    policy: Policy,
    phase: Phase,
    reload: Reload,
    generation: u32,
    newest: WorkerId,
    past: Past,
    crash_loop: CrashLoop,
    degraded: bool,
    slots: Vec<Slot>,
    /// In the order in which they lost their places.
    departed: Vec<Departed>,
}

impl Supervisor {
    /// A supervisor that wants `policy.workers` workers and has none.
    pub fn new(policy: Policy, now: Duration) -> Supervisor {
        Supervisor {
            now,
            out: Vec::new(),
            slots: (0..policy.workers).map(|_| Slot::new(now)).collect(),
            departed: Vec::new(),
            policy,
            phase: Phase::Serving,
            reload: Reload::Idle,
            generation: 1,
            newest: WorkerId(0),
            past: Past::NeverReady { failures: 0 },
            crash_loop: CrashLoop::new(now),
            degraded: false,
        }
    }

    /// Takes note of `event` and appends what is to be done about it.
    pub fn handle(
        &mut self,
        now: Duration,
        event: Event,
        out: &mut Vec<Action>,
    ) {
        self.now = now;
        match event {
            Event::SpawnFailed { worker, why } => {
                self.spawn_failed(worker, why);
            }
            Event::Ready { worker } => self.ready(worker),
            Event::Leaving { worker, proven } => {
                self.leaving(worker, proven);
            }
            Event::ChannelEnded { worker, proven } => {
                self.channel_ended(worker, proven);
            }
            Event::Exited { worker, how, proven } => {
                self.exited(worker, how, proven);
            }
            Event::Refused { worker, why } => self.refused(worker, why),
            Event::Hung { worker } => {
                self.fail(worker, Reason::Hung, Failure::Hung);
            }
            Event::Broken { worker } => {
                let (why, failure) = (Reason::Broken, Failure::Broken);
                self.fail(worker, why, failure);
            }
            Event::Recycle { worker } => self.recycle(worker),
            Event::Reload => self.ask_reload(),
            Event::Resize(workers) => self.resize(workers),
            Event::Stop => self.stop(),
            Event::StopNow => self.stop_now(),
            Event::Emptied => self.emptied(),
            Event::Stranded => self.stranded(),
        }
        self.tick(now, out);
    }

    /// Lets time pass and appends what is to be done.
    pub fn tick(&mut self, now: Duration, out: &mut Vec<Action>) {
        self.now = now;
        self.expire();
        self.reconcile();
        out.append(&mut self.out);
    }

    /// When [`tick`](Self::tick) wants to be called, if nothing happens
    /// before. Right after a call of it or of [`handle`](Self::handle) it
    /// lies in the future; it changes by these two calls only.
    pub fn deadline(&self) -> Option<Duration> {
        let vacancy = self.next_vacancy().map(|(at, _)| at);
        let step = self.next_step().map(|(at, _)| at);
        let newcomers = self
            .slots
            .iter()
            .filter_map(|slot| slot.seat.newcomer().map(|new| new.deadline));
        let members = self.slots.iter().filter_map(|slot| {
            slot.seat
                .member()
                .filter(|member| !member.settled)
                .map(|member| member.ready + LIVED)
        });
        let departed = self
            .departed
            .iter()
            .filter_map(|gone| gone.termination.deadline());
        newcomers
            .chain(members)
            .chain(departed)
            .chain(self.phase.deadline())
            .chain(vacancy)
            .chain(step)
            .min()
    }

    /// Compares the workers that are with those that should be.
    fn reconcile(&mut self) {
        self.promote_successors();
        self.roll();
        self.fill_vacancies();
        self.report_health();
        self.exit_when_alone();
    }

    /// Ends what has reached its deadline.
    fn expire(&mut self) {
        self.advance_phase();
        for slot in 0..self.slots.len() {
            self.expire_newcomer(slot);
            self.settle_member(slot);
        }
        for index in 0..self.departed.len() {
            self.expire_departed(index);
        }
    }

    fn expire_newcomer(&mut self, slot: usize) {
        let Some(&new) = self.slots[slot].seat.newcomer() else { return };
        if new.deadline > self.now {
            return;
        }
        let (why, failure) = match new.awaited {
            Awaited::Lived { .. } => return self.succeed(slot),
            Awaited::Ready => {
                (Reason::NotReady, Failure::NotReady(self.policy.boot_timeout))
            }
            Awaited::Exit { .. } => {
                (Reason::ChannelEnded, Failure::ChannelEnded)
            }
        };
        self.put_down(new.worker.id, why, failure);
    }

    fn settle_member(&mut self, slot: usize) {
        if let Some(member) = self.slots[slot].seat.member_mut()
            && !member.settled
            && has_lived(self.now, Some(member.ready), false)
        {
            member.settled = true;
            let worker = member.worker;
            self.judge(slot, worker, Verdict::Lived);
        }
    }

    fn spawn_failed(&mut self, id: WorkerId, why: String) {
        self.forget(id);
        let Some((slot, removed)) = self.unseat(id) else { return };
        self.cannot_start(id, &why);
        let verdict = Verdict::Failed(Failure::NotStarted(why));
        self.judge(slot, removed.worker(), verdict);
    }

    fn ready(&mut self, id: WorkerId) {
        let Some(slot) = self.slots.iter().position(|slot| {
            slot.seat.newcomer().is_some_and(|new| {
                new.worker.id == id && matches!(new.awaited, Awaited::Ready)
            })
        }) else {
            return;
        };
        self.past = Past::BeenReady;
        match self.slots[slot].seat {
            Seat::Starting(new) => self.admit(slot, new.worker, self.now),
            Seat::Replacing { old, mut new } => {
                let canary = self.is_canary(&new.worker);
                new.awaited = Awaited::Lived { ready: self.now };
                new.deadline =
                    if canary { self.now + LIVED } else { self.now };
                self.slots[slot].seat = Seat::Replacing { old, new };
            }
            Seat::Vacant | Seat::Ready(_) => {}
        }
    }

    fn refused(&mut self, id: WorkerId, why: String) {
        let mut newcomers =
            self.slots.iter().filter_map(|slot| slot.seat.newcomer());
        if newcomers.any(|new| new.worker.id == id) {
            self.put_down(id, Reason::Refused, Failure::Refused(why));
        }
    }

    fn leaving(&mut self, id: WorkerId, proven: bool) {
        let Some((slot, removed)) = self.unseat(id) else { return };
        let worker = removed.worker();
        let verdict = match removed {
            Removed::Newcomer(_) => Verdict::Failed(Failure::Left),
            Removed::Member(_) => {
                match has_lived(self.now, removed.ready(), proven) {
                    true => Verdict::Lived,
                    false => Verdict::Left,
                }
            }
        };
        self.depart(slot, worker, self.grace());
        self.judge(slot, worker, verdict);
    }

    /// A worker that has lived is replaced at once. Of any other it is first
    /// awaited that it exits, since only its exit tells a crash, which has to
    /// be paid for with a pause, from a kill.
    fn channel_ended(&mut self, id: WorkerId, proven: bool) {
        let Some((slot, removed)) = self.unseat(id) else { return };
        let worker = removed.worker();
        let ready = removed.ready();
        let since = match removed {
            Removed::Newcomer(Newcomer {
                awaited: Awaited::Exit { since, .. },
                ..
            }) => since,
            Removed::Newcomer(_) | Removed::Member(_) => self.now,
        };
        let new = Newcomer {
            worker,
            awaited: Awaited::Exit { since, ready },
            deadline: since + LIVED,
        };
        let lived = has_lived(since, ready, proven);
        match self.slots[slot].seat {
            Seat::Vacant if !lived => {
                self.slots[slot].seat = Seat::Starting(new);
            }
            // The successor of somebody who serves on.
            Seat::Ready(old) => {
                self.slots[slot].seat = Seat::Replacing { old, new };
            }
            // It has lived, or its successor is under way.
            Seat::Vacant | Seat::Starting(_) | Seat::Replacing { .. } => {
                self.depart(slot, worker, self.grace());
                if lived {
                    self.judge(slot, worker, Verdict::Lived);
                }
            }
        }
    }

    fn exited(&mut self, id: WorkerId, how: Exit, proven: bool) {
        self.forget(id);
        let Some((slot, removed)) = self.unseat(id) else { return };
        let verdict = Verdict::of_exit(self.now, removed.ready(), how, proven);
        self.judge(slot, removed.worker(), verdict);
    }

    /// Kills a worker wherever it is.
    fn fail(&mut self, id: WorkerId, why: Reason, failure: Failure) {
        for gone in &mut self.departed {
            if gone.worker.id == id && !gone.termination.is_killed() {
                gone.termination = kill(id, why, &mut self.out);
            }
        }
        self.put_down(id, why, failure);
    }

    fn resize(&mut self, workers: usize) {
        if !self.phase.is_serving() {
            return;
        }
        for slot in workers..self.slots.len() {
            self.vacate(slot, self.grace(), Parting::Resize);
        }
        self.slots.resize_with(workers, || Slot::new(self.now));
    }

    /// Kills a worker that holds a seat, and judges it.
    fn put_down(&mut self, id: WorkerId, why: Reason, failure: Failure) {
        let Some((slot, removed)) = self.unseat(id) else { return };
        let termination = kill(id, why, &mut self.out);
        self.depart(slot, removed.worker(), termination);
        let lived = match &removed {
            Removed::Member(_) => has_lived(self.now, removed.ready(), false),
            Removed::Newcomer(_) => false,
        };
        let verdict = match lived {
            true => Verdict::Lived,
            false => Verdict::Failed(failure),
        };
        self.judge(slot, removed.worker(), verdict);
    }

    /// The one place where a worker's life or end has consequences beyond its
    /// seat.
    fn judge(&mut self, slot: usize, worker: Worker, verdict: Verdict) {
        self.slots[slot].backoff.judge(self.now, &verdict);
        self.judge_crash_loop(worker.id, &verdict);
        let why = match verdict {
            Verdict::Lived => return,
            Verdict::Left => Failure::Left,
            Verdict::Failed(why) => why,
        };
        if worker.generation == self.generation {
            let why = why.clone();
            let why = Abandon::Failed { worker: worker.id, why };
            self.abandon_reload(why);
        }
        self.count_failure(worker.id, why);
    }

    /// Puts a worker into rotation and on the empty seat.
    fn admit(&mut self, slot: usize, worker: Worker, ready: Duration) {
        let slot = &mut self.slots[slot];
        slot.reached = worker.generation;
        slot.seat = Seat::Ready(Member {
            worker,
            ready,
            settled: false,
            over_limit: false,
        });
        self.out.push(Action::Admit { worker: worker.id });
    }

    /// Takes a worker off its seat and, if it was in it, out of rotation.
    fn unseat(&mut self, id: WorkerId) -> Option<(usize, Removed)> {
        let found =
            self.slots.iter_mut().enumerate().find_map(|(at, slot)| {
                slot.seat.remove(id).map(|removed| (at, removed))
            });
        match found {
            Some((_, Removed::Member(_))) => {
                self.out.push(Action::Withdraw { worker: id });
            }
            Some((_, Removed::Newcomer(_))) | None => {}
        }
        found
    }
}
