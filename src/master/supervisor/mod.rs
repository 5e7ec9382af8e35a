//! The supervisor: decides which workers there should be.
//!
//! A pure state machine. Events and the time go in, actions come out; it
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
//! worn, a phase begins. [`Supervisor::reconcile`] alone compares it with
//! what should be and starts what is missing. So a death and a disconnect of
//! the same worker cannot both be answered with a replacement: whichever
//! comes first vacates the seat, and a vacant seat is filled once.
//!
//! Where to read what: the contract in `interface`, one place's life in
//! `slot`, who is started when in `restart`, reload and recycling in
//! `reload`, the way out in `stop`.

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

pub use interface::{
    Abandon, Action, Event, Exit, Failure, Outcome, Policy, Reason, Report,
};
use reload::Reload;
use restart::Past;
use slot::{
    Awaited, Departed, Doom, LIVED, Member, Newcomer, Removed, Seat, Slot,
    Verdict, Worker, has_lived,
};
pub use status::{State, Status};
use stop::Phase;

/// At most so many workers of one slot are leaving at a time. Each further
/// one costs the oldest its life: a request that makes its worker leave,
/// sent again and again, must not fill the memory with workers.
const LEAVING: usize = 4;

/// The state machine. Call [`tick`](Self::tick) once to start the workers,
/// then again whenever [`deadline`](Self::deadline) has come.
#[derive(Debug)]
pub struct Supervisor {
    policy: Policy,
    phase: Phase,
    reload: Reload,
    generation: u32,
    newest: WorkerId,
    past: Past,
    degraded: bool,
    slots: Vec<Slot>,
    /// In the order in which they lost their places.
    departed: Vec<Departed>,
}

impl Supervisor {
    /// A supervisor that wants `policy.workers` workers and has none.
    pub fn new(policy: Policy, now: Duration) -> Supervisor {
        Supervisor {
            slots: (0..policy.workers).map(|_| Slot::new(now)).collect(),
            departed: Vec::new(),
            policy,
            phase: Phase::Serving,
            reload: Reload::Idle,
            generation: 1,
            newest: WorkerId(0),
            past: Past::NeverReady { failures: 0 },
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
        match event {
            Event::SpawnFailed { worker, why } => {
                self.spawn_failed(now, worker, why, out);
            }
            Event::Ready { worker } => self.ready(now, worker, out),
            Event::Leaving { worker, proven } => {
                self.leaving(now, worker, proven, out);
            }
            Event::ChannelEnded { worker, proven } => {
                self.channel_ended(now, worker, proven, out);
            }
            Event::Exited { worker, how, proven } => {
                self.exited(now, worker, how, proven, out);
            }
            Event::Hung { worker } => self.hung(now, worker, out),
            Event::Recycle { worker } => self.recycle(worker),
            Event::Reload => self.ask_reload(now, out),
            Event::Resize(workers) => self.resize(now, workers, out),
            Event::Stop => self.stop(now, out),
            Event::StopNow => self.stop_now(now, out),
            Event::Emptied => self.emptied(now, out),
            Event::Stranded => self.stranded(now),
        }
        self.tick(now, out);
    }

    /// Lets time pass and appends what is to be done.
    pub fn tick(&mut self, now: Duration, out: &mut Vec<Action>) {
        self.expire(now, out);
        self.reconcile(now, out);
    }

    /// When [`tick`](Self::tick) wants to be called, if nothing happens
    /// before. Right after a call it lies in the future.
    pub fn deadline(&self) -> Option<Duration> {
        let vacancy = self.next_vacancy().map(|slot| self.slots[slot].retry);
        let step = self.next_step().map(|slot| self.slots[slot].retry);
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
        let departed =
            self.departed.iter().filter_map(|gone| gone.doom.deadline());
        newcomers
            .chain(members)
            .chain(departed)
            .chain(self.phase.deadline())
            .chain(vacancy)
            .chain(step)
            .min()
    }

    /// Compares the workers that are with those that should be.
    fn reconcile(&mut self, now: Duration, out: &mut Vec<Action>) {
        self.promote_heirs(out);
        self.roll(now, out);
        self.fill_vacancies(now, out);
        self.report_health(out);
        self.exit_when_alone(out);
    }

    /// Ends what has reached its deadline.
    fn expire(&mut self, now: Duration, out: &mut Vec<Action>) {
        self.advance_phase(now, out);
        for slot in 0..self.slots.len() {
            self.expire_newcomer(now, slot, out);
            self.settle_member(now, slot);
        }
        for index in 0..self.departed.len() {
            self.expire_departed(now, index, out);
        }
    }

    fn expire_newcomer(
        &mut self,
        now: Duration,
        slot: usize,
        out: &mut Vec<Action>,
    ) {
        let Some(&new) = self.slots[slot].seat.newcomer() else { return };
        if new.deadline > now {
            return;
        }
        let (why, failure) = match new.awaited {
            Awaited::Lived { .. } => return self.succeed(now, slot, out),
            Awaited::Ready => {
                (Reason::NotReady, Failure::NotReady(self.policy.boot_timeout))
            }
            Awaited::Exit { .. } => {
                (Reason::ChannelEnded, Failure::ChannelEnded)
            }
        };
        self.put_down(now, new.worker.id, why, failure, out);
    }

    fn settle_member(&mut self, now: Duration, slot: usize) {
        let slot = &mut self.slots[slot];
        if let Some(member) = slot.seat.member_mut()
            && !member.settled
            && has_lived(now, Some(member.ready), false)
        {
            member.settled = true;
            slot.judge(now, &Verdict::Lived);
        }
    }

    fn expire_departed(
        &mut self,
        now: Duration,
        index: usize,
        out: &mut Vec<Action>,
    ) {
        let Departed { worker, doom, .. } = self.departed[index];
        let due = doom.deadline().is_some_and(|deadline| deadline <= now);
        self.departed[index].doom = match doom {
            Doom::Grace { .. } if due => {
                self.sign_off(now, worker.id, Reason::GraceOver, out)
            }
            Doom::Terminated { .. } if due => {
                kill(worker.id, Reason::TerminateIgnored, out)
            }
            Doom::Grace { .. } | Doom::Terminated { .. } | Doom::Killed => {
                doom
            }
        };
    }

    fn spawn_failed(
        &mut self,
        now: Duration,
        id: WorkerId,
        why: String,
        out: &mut Vec<Action>,
    ) {
        self.forget(id);
        let Some((slot, removed)) = self.unseat(id, out) else { return };
        let (Removed::Member(Member { worker, .. })
        | Removed::Newcomer(Newcomer { worker, .. })) = removed;
        self.cannot_start(now, id, &why, out);
        let verdict = Verdict::Failed(Failure::NotStarted(why));
        self.judge(now, slot, worker, verdict, out);
    }

    fn ready(&mut self, now: Duration, id: WorkerId, out: &mut Vec<Action>) {
        let Some(slot) = self.slots.iter().position(|slot| {
            slot.seat.newcomer().is_some_and(|new| {
                new.worker.id == id && matches!(new.awaited, Awaited::Ready)
            })
        }) else {
            return;
        };
        self.past = Past::BeenReady;
        match self.slots[slot].seat {
            Seat::Starting(new) => self.admit(slot, new.worker, now, out),
            Seat::Replacing { old, mut new } => {
                let canary = self.is_canary(&new.worker);
                new.awaited = Awaited::Lived { ready: now };
                new.deadline = if canary { now + LIVED } else { now };
                self.slots[slot].seat = Seat::Replacing { old, new };
            }
            Seat::Vacant | Seat::Ready(_) => {}
        }
    }

    fn leaving(
        &mut self,
        now: Duration,
        id: WorkerId,
        proven: bool,
        out: &mut Vec<Action>,
    ) {
        let Some((slot, removed)) = self.unseat(id, out) else { return };
        let (worker, verdict) = match removed {
            Removed::Member(Member { worker, ready, .. })
                if has_lived(now, Some(ready), proven) =>
            {
                (worker, Verdict::Lived)
            }
            Removed::Member(Member { worker, .. }) => (worker, Verdict::Left),
            Removed::Newcomer(Newcomer { worker, .. }) => {
                (worker, Verdict::Failed(Failure::Left))
            }
        };
        self.depart(now, slot, worker, self.grace_from(now), out);
        self.judge(now, slot, worker, verdict, out);
    }

    /// A worker that has lived is replaced at once. Of any other it is first
    /// awaited that it exits, since only its exit tells a crash, which has to
    /// be paid for with a pause, from a kill.
    fn channel_ended(
        &mut self,
        now: Duration,
        id: WorkerId,
        proven: bool,
        out: &mut Vec<Action>,
    ) {
        let Some((slot, removed)) = self.unseat(id, out) else { return };
        let (worker, ready, since) = match removed {
            Removed::Member(Member { worker, ready, .. }) => {
                (worker, Some(ready), now)
            }
            Removed::Newcomer(new) => match new.awaited {
                Awaited::Ready => (new.worker, None, now),
                Awaited::Lived { ready } => (new.worker, Some(ready), now),
                Awaited::Exit { since, ready } => (new.worker, ready, since),
            },
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
                self.depart(now, slot, worker, self.grace_from(now), out);
                if lived {
                    self.judge(now, slot, worker, Verdict::Lived, out);
                }
            }
        }
    }

    fn exited(
        &mut self,
        now: Duration,
        id: WorkerId,
        how: Exit,
        proven: bool,
        out: &mut Vec<Action>,
    ) {
        self.forget(id);
        let Some((slot, removed)) = self.unseat(id, out) else { return };
        let (worker, ready) = match removed {
            Removed::Member(Member { worker, ready, .. }) => {
                (worker, Some(ready))
            }
            Removed::Newcomer(new) => (new.worker, new.ready()),
        };
        let verdict = Verdict::of_exit(now, ready, how, proven);
        self.judge(now, slot, worker, verdict, out);
    }

    fn hung(&mut self, now: Duration, id: WorkerId, out: &mut Vec<Action>) {
        for gone in &mut self.departed {
            if gone.worker.id == id && !gone.doom.is_killed() {
                gone.doom = kill(id, Reason::Hung, out);
            }
        }
        self.put_down(now, id, Reason::Hung, Failure::Hung, out);
    }

    fn resize(
        &mut self,
        now: Duration,
        workers: usize,
        out: &mut Vec<Action>,
    ) {
        if !self.phase.is_serving() {
            return;
        }
        for slot in workers..self.slots.len() {
            self.vacate(now, slot, self.grace_from(now), out);
        }
        self.slots.resize_with(workers, || Slot::new(now));
    }

    /// Kills a worker that holds a seat, and judges it.
    fn put_down(
        &mut self,
        now: Duration,
        id: WorkerId,
        why: Reason,
        failure: Failure,
        out: &mut Vec<Action>,
    ) {
        let Some((slot, removed)) = self.unseat(id, out) else { return };
        let (worker, ready) = match removed {
            Removed::Member(Member { worker, ready, .. }) => {
                (worker, Some(ready))
            }
            Removed::Newcomer(new) => (new.worker, None),
        };
        let doom = kill(id, why, out);
        self.depart(now, slot, worker, doom, out);
        let verdict = match has_lived(now, ready, false) {
            true => Verdict::Lived,
            false => Verdict::Failed(failure),
        };
        self.judge(now, slot, worker, verdict, out);
    }

    /// The one place where a worker's end has consequences beyond its seat.
    fn judge(
        &mut self,
        now: Duration,
        slot: usize,
        worker: Worker,
        verdict: Verdict,
        out: &mut Vec<Action>,
    ) {
        self.slots[slot].judge(now, &verdict);
        let why = match verdict {
            Verdict::Lived => return,
            Verdict::Left => Failure::Left,
            Verdict::Failed(why) => why,
        };
        if worker.generation == self.generation {
            let why = why.clone();
            let why = Abandon::Failed { worker: worker.id, why };
            self.abandon_reload(now, why, out);
        }
        self.count_failure(now, worker.id, why, out);
    }

    /// Puts a worker into rotation and on the empty seat.
    fn admit(
        &mut self,
        slot: usize,
        worker: Worker,
        ready: Duration,
        out: &mut Vec<Action>,
    ) {
        let slot = &mut self.slots[slot];
        slot.reached = worker.generation;
        slot.seat =
            Seat::Ready(Member { worker, ready, settled: false, worn: false });
        out.push(Action::Admit { worker: worker.id });
    }

    /// Takes a worker off its seat and, if it was in it, out of rotation.
    fn unseat(
        &mut self,
        id: WorkerId,
        out: &mut Vec<Action>,
    ) -> Option<(usize, Removed)> {
        let found =
            self.slots.iter_mut().enumerate().find_map(|(at, slot)| {
                slot.seat.remove(id).map(|removed| (at, removed))
            });
        match found {
            Some((_, Removed::Member(_))) => {
                out.push(Action::Withdraw { worker: id });
            }
            Some((_, Removed::Newcomer(_))) | None => {}
        }
        found
    }

    /// Empties a seat: who serves may finish, who does not is ended.
    fn vacate(
        &mut self,
        now: Duration,
        slot: usize,
        grace: Doom,
        out: &mut Vec<Action>,
    ) {
        match std::mem::take(&mut self.slots[slot].seat) {
            Seat::Vacant => {}
            Seat::Starting(new) => self.dismiss(now, slot, new.worker, out),
            Seat::Ready(old) => {
                self.retire(now, slot, old.worker, grace, out);
            }
            Seat::Replacing { old, new } => {
                self.dismiss(now, slot, new.worker, out);
                self.retire(now, slot, old.worker, grace, out);
            }
        }
    }

    /// Lets go a worker that was in rotation.
    fn retire(
        &mut self,
        now: Duration,
        slot: usize,
        worker: Worker,
        grace: Doom,
        out: &mut Vec<Action>,
    ) {
        out.push(Action::Withdraw { worker: worker.id });
        out.push(Action::Disconnect { worker: worker.id });
        self.depart(now, slot, worker, grace, out);
    }

    /// Ends a worker that was not in rotation: it has nothing to finish.
    fn dismiss(
        &mut self,
        now: Duration,
        slot: usize,
        worker: Worker,
        out: &mut Vec<Action>,
    ) {
        let doom = self.sign_off(now, worker.id, Reason::NotNeeded, out);
        self.depart(now, slot, worker, doom, out);
    }

    fn depart(
        &mut self,
        now: Duration,
        slot: usize,
        worker: Worker,
        doom: Doom,
        out: &mut Vec<Action>,
    ) {
        self.departed.push(Departed { worker, slot, since: now, doom });
        let leaving =
            |gone: &&mut Departed| gone.slot == slot && !gone.doom.is_killed();
        if self.departed.iter_mut().filter(leaving).count() > LEAVING
            && let Some(oldest) = self.departed.iter_mut().find(leaving)
        {
            oldest.doom = kill(oldest.worker.id, Reason::Crowded, out);
        }
    }

    /// Sends the first signal that this program is to get.
    fn sign_off(
        &self,
        now: Duration,
        id: WorkerId,
        why: Reason,
        out: &mut Vec<Action>,
    ) -> Doom {
        match self.policy.terminate_before_kill {
            Some(pause) => {
                out.push(Action::Terminate { worker: id, why });
                Doom::Terminated { deadline: now.saturating_add(pause) }
            }
            None => kill(id, why, out),
        }
    }

    fn grace_from(&self, now: Duration) -> Doom {
        Doom::Grace { deadline: now.saturating_add(self.policy.grace) }
    }

    fn departed_of(&self, slot: usize) -> usize {
        self.departed.iter().filter(|gone| gone.slot == slot).count()
    }

    fn forget(&mut self, id: WorkerId) {
        self.departed.retain(|gone| gone.worker.id != id);
    }
}

fn kill(id: WorkerId, why: Reason, out: &mut Vec<Action>) -> Doom {
    out.push(Action::Kill { worker: id, why });
    Doom::Killed
}
