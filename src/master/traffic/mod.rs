//! The master's traffic: connections in, connections out.
//!
//! ```text
//!   accept ─▶ dispatcher ─▶ one sendmsg a worker ─▶ (the worker has them)
//!      ▲                                                   │
//!      └── room ◀────── look ◀────── scoreboard ◀──────────┘
//! ```
//!
//! Our copy of a connection is kept until the worker says that the connection
//! has ended, so that it can go to another whatever becomes of the worker.
//! With `--no-salvage` the copy is closed when the worker's counter covers
//! it, and not before. Node's workers have no counters and answer for each
//! ([`taken`](Traffic::taken), [`refused`](Traffic::refused)).
//!
//! It owns every listening socket and every connection, and knows workers
//! only as somebody who is sent things: not how they live or die. Where to
//! read what: the way in and out in `flow`, what is listened on in `servers`,
//! what one worker has in `account`, how it is sent more in `send`, what it
//! answers in `answers`; and of connections without a worker, what each
//! brings in `assess`, what a death leaves in `salvage`, and where they go in
//! `onward`.

mod account;
mod answers;
mod assess;
mod connection;
mod facts;
mod flow;
mod limits;
mod listeners;
mod onward;
mod open;
mod salvage;
mod send;
mod servers;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use self::account::{Account, Handoff};
pub(super) use self::connection::Connection;
use self::facts::Past;
use self::limits::Limits;
pub(super) use self::listeners::Listeners;
use self::onward::Onward;
pub(super) use self::open::find_host;
use self::servers::Server;
use super::scheduler::Scheduler;
use super::server::ServerId;
use super::workers::Death;
use crate::WorkerId;
use crate::control::Salvage;
use crate::error::Error;
use crate::salvage::quarantine::Quarantine;
use crate::scoreboard::{Requests, Scoreboard};

/// How long to wait when the system has too many descriptors on their way.
const CONGESTION: Duration = Duration::from_millis(10);

/// See the [module](self).
pub(super) struct Traffic {
    servers: BTreeMap<ServerId, Server>,
    accounts: BTreeMap<WorkerId, Account>,
    scheduler: Box<dyn Scheduler>,
    limits: Limits,
    /// Copies of connections that we hold.
    held: usize,
    /// Suspects of a death, tried one by one.
    quarantine: Quarantine<Connection>,
    admission: Admission,
    onward: Onward,
    /// Connections came back since somebody asked whether any is stranded.
    returned: bool,
    /// Workers that ran out of descriptors, and until when they rest.
    cooling: Vec<(Instant, WorkerId, ServerId)>,
    congestion: Congestion,
    /// Some cannot be sent before others that were sent have been received.
    starved: bool,
    /// When to look at the counters although nobody woke us.
    poll_interval: Duration,
    /// What became of connections that outlived their worker.
    tally: Salvage,
    past: Past,
    /// `run`: where a listen on every address goes instead.
    host: Option<Vec<SocketAddr>>,
    start: Instant,
}

/// Whether connections are accepted, as far as the whole is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Admission {
    /// The previous master accepts.
    NotYet,
    Open,
    /// A listener whose queue is empty is closed.
    Closing,
}

/// The system has too many descriptors on their way: ETOOMANYREFS of unix(7).
#[derive(Debug, Default)]
struct Congestion {
    /// Nothing is sent before this.
    until: Option<Instant>,
    /// The last attempt failed of it, and the log says so.
    told: bool,
}

/// A worker that counts what cannot be, and how.
pub(super) type Faulty = (WorkerId, Error);

/// What there is to say of a worker that has ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Loss {
    /// How many connections that it had not received go to others.
    pub(super) moved: usize,
    /// It has taken at least one connection.
    pub(super) proven: bool,
}

impl Traffic {
    /// No server and no worker yet. `descriptors` is how many this process
    /// may have. A master that follows another does not accept before
    /// [`take_over`](Self::take_over).
    pub(super) fn new(
        scheduler: Box<dyn Scheduler>,
        max_window: u64,
        descriptors: usize,
        follows: bool,
        host: Option<Vec<SocketAddr>>,
        start: Instant,
    ) -> Traffic {
        Traffic {
            servers: BTreeMap::new(),
            accounts: BTreeMap::new(),
            scheduler,
            limits: Limits::new(descriptors, max_window),
            held: 0,
            quarantine: Quarantine::new(),
            admission: match follows {
                true => Admission::NotYet,
                false => Admission::Open,
            },
            onward: Onward::Worker,
            returned: false,
            cooling: Vec::new(),
            congestion: Congestion::default(),
            starved: false,
            poll_interval: Duration::ZERO,
            tally: Salvage::default(),
            past: Past::default(),
            host,
            start,
        }
    }
}

/// Workers come and go.
impl Traffic {
    /// A worker has been started; with its scoreboard, if it is on this
    /// library.
    pub(super) fn attach(
        &mut self,
        worker: WorkerId,
        slot: usize,
        scoreboard: Option<Scoreboard>,
    ) {
        self.accounts.insert(worker, Account::new(slot, scoreboard));
    }

    /// Most connections that it can have open, as it says itself.
    pub(super) fn set_capacity(
        &mut self,
        worker: WorkerId,
        capacity: Option<u64>,
    ) {
        if let Some(ours) = self.handoff(worker) {
            ours.capacity = capacity;
        }
    }

    /// A worker on this library takes connections from now on.
    pub(super) fn admit(&mut self, worker: WorkerId, now: Instant) {
        let Some(ours) = self.handoff(worker) else { return };
        let (slot, capacity) = (ours.slot, ours.capacity);
        let window = self.limits.window;
        if let Some(server) = self.servers.get_mut(&ServerId::OWN) {
            server.dispatcher.admit(worker, slot, window, capacity);
            self.try_suspects_with(worker, now - self.start);
        }
    }

    /// A worker takes connections of this server from now on.
    pub(super) fn join(
        &mut self,
        worker: WorkerId,
        slot: usize,
        id: ServerId,
    ) {
        let window = self.limits.window;
        if let Some(server) = self.servers.get_mut(&id)
            && !server.listeners.are_closed()
        {
            server.dispatcher.admit(worker, slot, window, None);
            server.dispatcher.rejoin(worker);
        }
    }

    /// A worker takes no more connections of this server.
    pub(super) fn leave(&mut self, worker: WorkerId, id: ServerId) {
        if let Some(server) = self.servers.get_mut(&id) {
            server.dispatcher.withdraw(worker);
        }
    }

    /// A worker takes no more connections at all.
    pub(super) fn withdraw(&mut self, worker: WorkerId) {
        for server in self.servers.values_mut() {
            server.dispatcher.withdraw(worker);
        }
        self.quarantine.lost(worker);
    }

    /// A Node worker that has closed its channel has not touched what it did
    /// not say that it accepted. It may live on for long, and need not. How
    /// many connections go to others.
    pub(super) fn cut_off(&mut self, worker: WorkerId) -> usize {
        self.returned = true;
        let servers = self.servers.values_mut();
        servers.map(|server| server.dispatcher.cut_off(worker)).sum()
    }

    /// A worker is dead. First in line for others is what it had, then what
    /// it was sent and had not received.
    ///
    /// # Errors
    /// Its counters say what cannot be, in the second place: all the rest is
    /// done.
    pub(super) fn lost(
        &mut self,
        worker: WorkerId,
        mut death: Death,
    ) -> (Loss, Result<(), Error>) {
        // While it is known who had what: the last that it has published.
        let looked = self.look_at(worker);
        death.broken |= looked.is_err();
        self.quarantine.lost(worker);
        self.returned = true;
        let account = self.accounts.remove(&worker);
        let proven = account.as_ref().is_some_and(|had| had.received() > 0);
        let requests = account.as_ref().and_then(Account::requests);
        if let Some(Account::Handoff(mut ours)) = account {
            self.salvage(worker, &mut ours, &death);
        }
        // Before the dispatchers forget it. What it had not received will be
        // another's.
        for server in self.servers.values() {
            let mut counts = server.dispatcher.counts();
            if let Some(counts) = counts.find(|one| one.worker == worker) {
                self.past.handed_over += counts.handed - counts.pending;
            }
        }
        let requests = requests.into_iter().chain(self.past.requests);
        self.past.requests = requests.reduce(Requests::plus);
        let servers = self.servers.values_mut();
        let moved = servers.map(|server| server.dispatcher.lost(worker)).sum();
        (Loss { moved, proven }, looked)
    }

    fn handoff(&mut self, worker: WorkerId) -> Option<&mut Handoff> {
        match self.accounts.get_mut(&worker)? {
            Account::Handoff(ours) => Some(ours),
            Account::Node(_) => None,
        }
    }
}

/// Time.
impl Traffic {
    /// Ends what has reached its time. Yields the workers of ours that take
    /// connections again, and the number of the next for each.
    pub(super) fn tick(&mut self, now: Instant) -> Vec<(WorkerId, u64)> {
        if self.congestion.until.is_some_and(|until| until <= now) {
            self.congestion.until = None;
        }
        let mut resumed = Vec::new();
        let rested = self.cooling.extract_if(.., |(until, ..)| *until <= now);
        for (_, worker, id) in rested {
            let Some(server) = self.servers.get_mut(&id) else { continue };
            let first = server.dispatcher.resume(worker);
            // Node discards nothing, so it needs no number to go on from.
            let first = first.filter(|_| id == ServerId::OWN);
            resumed.extend(first.map(|first| (worker, first)));
        }
        self.attend_quarantine(now - self.start);
        resumed
    }

    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        let cooling = self.cooling.iter().map(|(until, ..)| *until);
        let servers = self.servers.values();
        let pauses = servers.filter_map(|one| one.listeners.deadline());
        let quarantine = self.quarantine.deadline();
        cooling
            .chain(pauses)
            .chain(self.congestion.until)
            .chain(quarantine.map(|after| self.start + after))
            .chain(self.poll_interval().map(|after| now + after))
            .min()
    }

    /// How long the loop may sleep before it looks at the counters; `None`:
    /// no counter matters.
    fn poll_interval(&self) -> Option<Duration> {
        let counted = self.servers.contains_key(&ServerId::OWN);
        let matters = self.held > 0 || self.is_waiting();
        (counted && matters).then_some(self.poll_interval)
    }
}

#[cfg(test)]
mod tests;
