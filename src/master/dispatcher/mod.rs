//! PURE: who owns which connection until a worker has it for certain.
//!
//! A connection that was offered is always in exactly one place. Whatever
//! happens moves connections along an arrow; none is dropped, none is in two
//! places, and only `received` lets go of one.
//!
//! ```text
//!                    pick              sent                 received
//!   offer ──┬───────────▶ to be sent ──────▶ un-acknowledged ─────▶ caller
//!           │ or park  ▲       │                   │
//!           ▼          │       │                   │
//!         fresh ───────┤       │ withdraw,         │
//!         again ───────┘       │ nack, lost        │ nack, lost
//!           ▲                  ▼                   ▼
//!           └──────────────────┴───────────────────┘
//! ```
//!
//! It knows no file descriptors: `C` is whatever stands for a connection. It
//! does not send, close or wait, and it asks a [`Scheduler`] who is to get a
//! connection. The caller's turn is: hand in the workers' counters
//! ([`received`], then [`closed`]), [`dispatch_parked`], accept and
//! [`offer`] while [`has_room`], then send each worker its [`batch`].
//!
//! [`received`]: Dispatcher::received
//! [`closed`]: Dispatcher::closed
//! [`dispatch_parked`]: Dispatcher::dispatch_parked
//! [`offer`]: Dispatcher::offer
//! [`has_room`]: Dispatcher::has_room
//! [`batch`]: Dispatcher::batch

mod ledger;
#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod walk;
mod worker;

pub use ledger::{Batch, Claim, Fault};
pub use worker::Counts;

use std::collections::VecDeque;
use std::mem;

use super::scheduler::{Candidate, Peer, Rotation, RoundRobin, Scheduler};
use crate::WorkerId;
use ledger::Ledger;
use worker::{Standing, Worker};

/// How many connections may wait for workers that the scheduler insists on
/// while others have room: more than one address's clients are likely to be
/// at a time, so that a burst of them stays together. Those taken back from
/// workers count, but are parked in any case.
pub const PARKED_MAX: usize = 512;

/// A connection, and what it takes to place it again.
#[derive(Debug)]
struct Connection<C> {
    handle: C,
    peer: Peer,
}

/// See the [module](self).
#[derive(Debug)]
pub struct Dispatcher<C> {
    /// Sorted by id.
    workers: Vec<Worker<C>>,
    /// The workers that take connections; each candidate's `place` is its
    /// index in `workers`.
    rotation: Rotation,
    /// Parked, taken back from a worker: first in line.
    again: VecDeque<Connection<C>>,
    /// Parked since the offer.
    fresh: VecDeque<Connection<C>>,
    /// Since the last look at the line something happened that may have
    /// found room for one of those parked.
    line_may_move: bool,
    /// [`PARKED_MAX`]; less in tests.
    parked_max: usize,
    redispatched: u64,
}

impl<C> Default for Dispatcher<C> {
    fn default() -> Self {
        Self {
            workers: Vec::new(),
            rotation: Rotation::default(),
            again: VecDeque::new(),
            fresh: VecDeque::new(),
            line_may_move: false,
            parked_max: PARKED_MAX,
            redispatched: 0,
        }
    }
}

/// Workers come and go.
impl<C> Dispatcher<C> {
    /// A dispatcher without workers: everything is parked.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes `worker` into the rotation as the one that fills `slot`. Should
    /// a predecessor still fill it, that one is withdrawn.
    ///
    /// `window` bounds the connections handed to it that it is not known to
    /// have received, `capacity` those that it has open at a time. A worker
    /// is admitted once; again changes nothing.
    pub fn admit(
        &mut self,
        worker: WorkerId,
        slot: usize,
        window: u64,
        capacity: Option<u64>,
    ) {
        let Err(place) = self.place_of(worker) else { return };
        let fills = |w: &&Worker<C>| w.slot == slot && w.is_staying();
        if let Some(predecessor) = self.workers.iter().find(fills) {
            self.withdraw(predecessor.id);
        }
        let admitted = Worker {
            id: worker,
            slot,
            standing: Standing::InRotation,
            ledger: Ledger::new(),
            window,
            capacity,
            redispatched: 0,
        };
        self.workers.insert(place, admitted);
        self.join(place, 0);
    }

    /// Takes `worker` out of the rotation for good. What was sent stays its
    /// own, what was not goes to others. Returns how many those are.
    pub fn withdraw(&mut self, worker: WorkerId) -> usize {
        let Ok(place) = self.place_of(worker) else { return 0 };
        let skipped = self.leave(place);
        self.workers[place].standing = Standing::Leaving { skipped };
        self.take_back(place, self.workers[place].ledger.first_unsent())
    }

    /// `worker` is dead, and its channel and counters have been read to the
    /// end: what it is not known to have received goes to others, in order
    /// and first in line. Returns how many those are.
    pub fn lost(&mut self, worker: WorkerId) -> usize {
        let Ok(place) = self.place_of(worker) else { return 0 };
        self.leave(place);
        let first = self.workers[place].ledger.first_pending();
        let taken = self.take_back(place, first);
        self.workers.remove(place);
        self.relocate();
        taken
    }

    /// `worker` has closed its channel unread and lives on: what it is not
    /// known to have received goes to others, as if it were
    /// [`lost`](Self::lost). Returns how many those are.
    pub fn cut_off(&mut self, worker: WorkerId) -> usize {
        let Ok(place) = self.place_of(worker) else { return 0 };
        let skipped = self.leave(place);
        self.workers[place].standing = Standing::Leaving { skipped };
        self.take_back(place, self.workers[place].ledger.first_pending())
    }

    /// `worker` did not get connection number `first_missing`, nor any after
    /// it: they go to others, first in line, and this worker gets none until
    /// [`resume`](Self::resume). Returns how many those are.
    ///
    /// # Errors
    /// No connection of that number is on its way.
    pub fn nack(
        &mut self,
        worker: WorkerId,
        first_missing: u64,
    ) -> Result<usize, Fault> {
        let Ok(place) = self.place_of(worker) else { return Ok(0) };
        self.workers[place].ledger.missing(first_missing)?;
        if let Standing::InRotation = self.workers[place].standing {
            let skipped = self.leave(place);
            self.workers[place].standing = Standing::CoolingDown { skipped };
        }
        Ok(self.take_back(place, first_missing))
    }

    /// `worker` gives back the oldest connection that is on its way to it,
    /// and takes those behind it: the connection goes to others, first in
    /// line, and this worker gets none until [`resume`](Self::resume), lest
    /// two that have no room play ball. Returns whether there was one.
    pub fn refused(&mut self, worker: WorkerId) -> bool {
        let Ok(place) = self.place_of(worker) else { return false };
        let Some(connection) = self.workers[place].ledger.given_back() else {
            return false;
        };
        if let Standing::InRotation = self.workers[place].standing {
            let skipped = self.leave(place);
            self.workers[place].standing = Standing::CoolingDown { skipped };
        }
        self.line_may_move = true;
        self.again.push_back(connection);
        self.workers[place].redispatched += 1;
        self.redispatched += 1;
        true
    }

    /// A connection that a worker had goes to another: first in line, behind
    /// those taken back before.
    pub fn put_back(&mut self, handle: C, peer: Peer) {
        self.line_may_move = true;
        self.again.push_back(Connection { handle, peer });
    }

    /// Hands this connection to this worker, in rotation or not.
    ///
    /// # Errors
    /// There is no such worker; the connection is given back.
    pub fn assign(
        &mut self,
        worker: WorkerId,
        handle: C,
        peer: Peer,
    ) -> Result<(), C> {
        let Ok(place) = self.place_of(worker) else { return Err(handle) };
        self.workers[place].ledger.push(Connection { handle, peer });
        self.refresh(place);
        Ok(())
    }

    /// `worker` was withdrawn, and takes connections again.
    pub fn rejoin(&mut self, worker: WorkerId) {
        let Ok(place) = self.place_of(worker) else { return };
        if let Standing::Leaving { skipped } = self.workers[place].standing {
            self.workers[place].standing = Standing::InRotation;
            self.join(place, skipped);
        }
    }

    /// Ends the cool-down after a [`nack`](Self::nack) or a
    /// [refusal](Self::refused): back into the rotation. Returns the number
    /// of the next connection, which the worker must be told before that is
    /// sent; `None` if it was not cooling down.
    pub fn resume(&mut self, worker: WorkerId) -> Option<u64> {
        let place = self.place_of(worker).ok()?;
        match self.workers[place].standing {
            Standing::CoolingDown { skipped } => {
                self.workers[place].standing = Standing::InRotation;
                self.join(place, skipped);
                Some(self.workers[place].ledger.first_unsent())
            }
            Standing::InRotation | Standing::Leaving { .. } => None,
        }
    }
}

/// Connections on their way.
impl<C> Dispatcher<C> {
    /// Whether another connection should be accepted: somebody has room.
    ///
    /// While it says no, only the workers' counters bring room, and they
    /// wake nobody: the caller must look at them again before long.
    pub fn has_room(&self) -> bool {
        self.rotation.has_room()
    }

    /// How many connections wait for a worker.
    pub fn parked(&self) -> usize {
        self.again.len() + self.fresh.len()
    }

    /// Takes over a connection and hands it to the worker that `scheduler`
    /// picks, or parks it behind those already parked. It is never refused:
    /// ask [`has_room`](Self::has_room) before accepting it.
    pub fn offer(
        &mut self,
        handle: C,
        peer: Peer,
        scheduler: &mut dyn Scheduler,
    ) {
        self.dispatch_parked(scheduler);
        let connection = Connection { handle, peer };
        let mut handed = self.hand_over(connection, scheduler);
        if let Err(parked) = handed {
            // A worker that stands still must not keep out the clients of
            // all others: its own, beyond so many, go to whoever has room.
            handed = if self.parked() < self.parked_max {
                Err(parked)
            } else {
                self.hand_over(parked, &mut RoundRobin)
            };
        }
        if let Err(parked) = handed {
            self.fresh.push_back(parked);
        }
    }

    /// Hands over what is parked and has found room, those taken back from
    /// workers first. Costs nothing if nothing changed.
    pub fn dispatch_parked(&mut self, scheduler: &mut dyn Scheduler) {
        if !mem::take(&mut self.line_may_move) {
            return;
        }
        let mut again = mem::take(&mut self.again);
        self.hand_over_all(&mut again, scheduler);
        self.again = again;

        let mut fresh = mem::take(&mut self.fresh);
        self.hand_over_all(&mut fresh, scheduler);
        self.fresh = fresh;
    }

    /// What is to be sent to `worker` next, in one message or in several;
    /// `None` if nothing is. Then say by [`sent`](Self::sent) how many went.
    pub fn batch(&self, worker: WorkerId) -> Option<Batch<'_, C>> {
        let place = self.place_of(worker).ok()?;
        self.workers[place].ledger.batch()
    }

    /// The first `n` connections of the [`batch`](Self::batch) are on their
    /// way; the others stay to be sent.
    pub fn sent(&mut self, worker: WorkerId, n: usize) {
        if let Ok(place) = self.place_of(worker) {
            self.workers[place].ledger.sent(n);
        }
    }

    /// Whether `worker` was sent a connection that it is not known to have
    /// received. Then, too, the caller must look at the counters again before
    /// long.
    pub fn has_unreleased(&self, worker: WorkerId) -> bool {
        self.place_of(worker)
            .is_ok_and(|place| self.workers[place].ledger.has_unreleased())
    }

    /// `worker` has received every connection up to number `upto`: they are
    /// its own. Yields the master's copies.
    ///
    /// # Errors
    /// `upto` is less than before or more than was sent; nothing is released.
    pub fn received(
        &mut self,
        worker: WorkerId,
        upto: u64,
    ) -> Result<impl Iterator<Item = C>, Fault> {
        let place = self.place_of(worker).ok();
        if let Some(place) = place {
            self.workers[place].ledger.received(upto)?;
            self.refresh(place);
        }
        let released = place.map(|at| self.workers[at].ledger.release());
        Ok(released.into_iter().flatten())
    }

    /// `worker` has closed `total` connections of those that it received.
    ///
    /// A worker counts what it received first. So *read* this counter before
    /// that one, and hand it in after, or an honest worker looks like a faulty
    /// one.
    ///
    /// # Errors
    /// `total` is less than before or more than it received.
    pub fn closed(
        &mut self,
        worker: WorkerId,
        total: u64,
    ) -> Result<(), Fault> {
        if let Ok(place) = self.place_of(worker) {
            self.workers[place].ledger.closed(total)?;
            self.refresh(place);
        }
        Ok(())
    }
}

/// What the status shows.
impl<C> Dispatcher<C> {
    /// The counts of every worker that was admitted and is not lost.
    pub fn counts(&self) -> impl Iterator<Item = Counts> {
        self.workers.iter().map(|w| Counts {
            worker: w.id,
            slot: w.slot,
            handed: w.ledger.handed(),
            pending: w.ledger.pending(),
            open: w.ledger.open(),
            skipped: match w.standing {
                Standing::InRotation => self.rotation.skipped(w.slot),
                Standing::CoolingDown { skipped }
                | Standing::Leaving { skipped } => skipped,
            },
            redispatched: w.redispatched,
        })
    }

    /// How many times a connection was taken back from a worker, dead ones
    /// included.
    pub fn redispatched(&self) -> u64 {
        self.redispatched
    }
}

/// Inside.
impl<C> Dispatcher<C> {
    /// Where `worker` is kept, or would be.
    fn place_of(&self, worker: WorkerId) -> Result<usize, usize> {
        self.workers.binary_search_by_key(&worker, |w| w.id)
    }

    fn join(&mut self, place: usize, skipped: u64) {
        let w = &self.workers[place];
        let (open, room) = (w.ledger.open(), w.room());
        self.rotation.join(Candidate::new(w.id, w.slot, open, room, skipped));
        self.relocate();
        self.line_may_move = true;
    }

    /// Out of the rotation, if it is in it; returns its count of skips.
    fn leave(&mut self, place: usize) -> u64 {
        let worker = &self.workers[place];
        match worker.standing {
            Standing::InRotation => self.rotation.leave(worker.slot),
            Standing::CoolingDown { skipped }
            | Standing::Leaving { skipped } => skipped,
        }
    }

    fn relocate(&mut self) {
        let workers = &self.workers;
        self.rotation
            .relocate(|worker| workers.partition_point(|w| w.id < worker));
    }

    /// Brings a worker's counts into the rotation after they changed.
    fn refresh(&mut self, place: usize) {
        let w = &self.workers[place];
        if let Standing::InRotation = w.standing {
            let (open, room) = (w.ledger.open(), w.room());
            self.line_may_move |= self.rotation.update(w.slot, open, room);
        }
    }

    /// Puts a worker's pending number `first` and all after it in line.
    fn take_back(&mut self, place: usize, first: u64) -> usize {
        let worker = &mut self.workers[place];
        let taken = worker.ledger.take_back(first);
        let n = taken.len();
        self.line_may_move = true;
        self.again.extend(taken);
        worker.redispatched += n as u64;
        self.redispatched += n as u64;
        n
    }

    /// Hands one over, or gives it back if it has to wait.
    fn hand_over(
        &mut self,
        connection: Connection<C>,
        scheduler: &mut dyn Scheduler,
    ) -> Result<(), Connection<C>> {
        if !self.rotation.has_room() {
            return Err(connection);
        }
        let mut index = scheduler.pick(&connection.peer, &mut self.rotation);
        if index >= self.rotation.len() {
            index %= self.rotation.len();
        }
        let candidate = &self.rotation[index];
        if !candidate.has_room() {
            return Err(connection);
        }
        let place = candidate.place();
        self.rotation.give(index);
        self.workers[place].ledger.push(connection);
        Ok(())
    }

    /// Hands over what can be of a queue; the rest keeps its order.
    fn hand_over_all(
        &mut self,
        queue: &mut VecDeque<Connection<C>>,
        scheduler: &mut dyn Scheduler,
    ) {
        for _ in 0..queue.len() {
            let Some(parked) = queue.pop_front() else { break };
            if let Err(parked) = self.hand_over(parked, scheduler) {
                queue.push_back(parked);
            }
        }
    }
}
