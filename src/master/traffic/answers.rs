//! What workers answer, and what their counters say.

use std::time::{Duration, Instant};

use log::warn;

use super::account::{Account, Seen};
use super::{Faulty, Traffic};
use crate::WorkerId;
use crate::error::Error;
use crate::master::dispatcher::Fault;
use crate::master::server::ServerId;
use crate::sys::close::close_all;

/// How soon the counters are looked at again, at first and at most, while
/// connections are on their way. Workers wake a master that waits for them;
/// this is for the copies that nobody waits for.
const LOOK_AGAIN: (Duration, Duration) =
    (Duration::from_millis(10), Duration::from_secs(1));

/// The same while somebody does wait: a net under the wake-up.
const LOOK_SOON: Duration = Duration::from_millis(1);

/// How long a worker that ran out of descriptors gets no more connections.
pub(super) const COOL_DOWN: Duration = Duration::from_millis(100);

/// The same of a worker of Node's, which gave back one connection and takes
/// those behind it.
const NODE_COOL_DOWN: Duration = Duration::from_millis(50);

impl Traffic {
    /// A worker has run out of descriptors: it did not get connection number
    /// `first`, nor any behind it.
    ///
    /// # Errors
    /// No such connection is on its way.
    pub(crate) fn nack(
        &mut self,
        worker: WorkerId,
        first: u64,
        now: Instant,
    ) -> Result<(), Error> {
        // What came before it has been received.
        self.look_at(worker)?;
        let Some(Account::Handoff(ours)) = self.accounts.get_mut(&worker)
        else {
            return Ok(());
        };
        let id = ServerId::OWN;
        let Some(server) = self.servers.get_mut(&id) else { return Ok(()) };
        // Who has no descriptors hears nobody, and rests as any other until
        // it is told to go on.
        if self.quarantine.probe() == Some(worker) {
            self.quarantine.lost(worker);
            server.dispatcher.rejoin(worker);
        }
        server.dispatcher.nack(worker, first).map_err(faulty)?;
        if ours.missing(first) {
            warn!("worker {worker} is out of descriptors");
        }
        self.cooling.push((now + COOL_DOWN, worker, id));
        Ok(())
    }

    /// A Node worker keeps the connection with this number.
    ///
    /// # Errors
    /// No such connection is on its way.
    pub(crate) fn taken(
        &mut self,
        worker: WorkerId,
        id: ServerId,
        number: u64,
    ) -> Result<(), Error> {
        if let Some(Account::Node(node)) = self.accounts.get_mut(&worker) {
            node.answered += 1;
            node.taken += 1;
        }
        let Some(server) = self.servers.get_mut(&id) else { return Ok(()) };
        let released = server.dispatcher.received(worker, number);
        self.held -= released.map_err(faulty)?.count();
        // It does not tell when it closes one: only what is on its way counts
        // as open.
        server.dispatcher.closed(worker, number).map_err(faulty)
    }

    /// A Node worker gives the oldest connection back, which goes to another,
    /// while this one rests. `answered`: it had the connection, and said no.
    pub(crate) fn refused(
        &mut self,
        worker: WorkerId,
        id: ServerId,
        answered: bool,
        now: Instant,
    ) {
        if let Some(Account::Node(node)) = self.accounts.get_mut(&worker) {
            node.answered += u64::from(answered);
        }
        if let Some(server) = self.servers.get_mut(&id)
            && server.dispatcher.refused(worker)
        {
            self.cooling.push((now + NODE_COOL_DOWN, worker, id));
        }
    }

    /// Looks at what one worker has published.
    ///
    /// # Errors
    /// It says what cannot be.
    pub(crate) fn look_at(&mut self, worker: WorkerId) -> Result<(), Error> {
        let server = self.servers.get_mut(&ServerId::OWN);
        let account = self.accounts.get_mut(&worker);
        let (Some(server), Some(Account::Handoff(ours))) = (server, account)
        else {
            return Ok(());
        };
        let (dispatcher, tally) = (&mut server.dispatcher, &mut self.tally);
        let budget = &mut self.limits.retained;
        let mut seen = Seen::default();
        let looked = ours.look(worker, dispatcher, budget, tally, &mut seen);
        self.take_over_seen(seen);
        looked
    }

    /// Looks at what all workers have published, and lets go of the
    /// connections that they have. Who says what cannot be.
    pub(super) fn look_at_all(&mut self) -> Vec<Faulty> {
        let mut faults = Vec::new();
        let Some(server) = self.servers.get_mut(&ServerId::OWN) else {
            return faults;
        };
        let (dispatcher, tally) = (&mut server.dispatcher, &mut self.tally);
        let budget = &mut self.limits.retained;
        let mut seen = Seen::default();
        for (&worker, account) in &mut self.accounts {
            let Account::Handoff(ours) = account else { continue };
            let looked =
                ours.look(worker, dispatcher, budget, tally, &mut seen);
            faults.extend(looked.err().map(|fault| (worker, fault)));
        }
        self.take_over_seen(seen);
        faults
    }

    fn take_over_seen(&mut self, seen: Seen) {
        self.held -= seen.over.len();
        close_all(seen.over);
        self.take_in(seen.given);
    }

    /// The look at the counters of every turn of the loop. The less it finds,
    /// the longer the loop may sleep before the next.
    pub(crate) fn look(&mut self) -> Vec<Faulty> {
        let before = self.held;
        let faults = self.look_at_all();
        let (first, most) = if self.is_waiting() {
            (LOOK_SOON, LOOK_AGAIN.1)
        } else {
            LOOK_AGAIN
        };
        self.poll_interval = if self.held == before {
            (self.poll_interval * 2).clamp(first, most)
        } else {
            first
        };
        faults
    }
}

/// What the dispatcher has found, as a breach of the channel's rules.
fn faulty(fault: Fault) -> Error {
    Error::protocol(&fault.to_string())
}
