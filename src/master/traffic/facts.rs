//! What the status and the supervisor want to know of the traffic.

use std::collections::BTreeMap;

use super::Traffic;
use super::account::Account;
use crate::WorkerId;
use crate::control::Salvage;
use crate::master::dispatcher::Counts;
use crate::master::workers::Sample;
use crate::scoreboard::Requests;

/// What workers that are gone have done.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Past {
    pub(super) handed_over: u64,
    /// `None` as long as none of them has told.
    pub(super) requests: Option<Requests>,
}

/// What all workers have done, and what became of their connections.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Totals {
    pub(crate) redispatched: u64,
    /// Of workers that are gone.
    pub(crate) handed_over: u64,
    /// Of all workers; `None` if none of them has told.
    pub(crate) requests: Option<Requests>,
    pub(crate) salvage: Salvage,
}

impl Traffic {
    /// Whether this worker has taken a connection.
    pub(crate) fn is_proven(&self, worker: WorkerId) -> bool {
        let account = self.accounts.get(&worker);
        account.is_some_and(|account| account.received() > 0)
    }

    /// What became of a worker's requests, if it tells.
    pub(crate) fn requests(&self, worker: WorkerId) -> Option<Requests> {
        self.accounts.get(&worker)?.requests()
    }

    /// What the hang detector sees of a worker; see `account`.
    pub(crate) fn sample(
        &self,
        worker: WorkerId,
        is_stopped: impl FnOnce() -> bool,
    ) -> Option<Sample> {
        let mut servers = self.servers.values();
        let owes =
            servers.any(|server| server.dispatcher.has_unreleased(worker));
        Some(self.accounts.get(&worker)?.sample(owes, is_stopped))
    }

    /// Every worker's counts, over all that it serves.
    pub(crate) fn counts(&self) -> BTreeMap<WorkerId, Counts> {
        let mut all: BTreeMap<WorkerId, Counts> = BTreeMap::new();
        for server in self.servers.values() {
            for one in server.dispatcher.counts() {
                let sum = all.entry(one.worker).or_default();
                sum.handed += one.handed;
                sum.pending += one.pending;
                sum.open += one.open;
                sum.skipped += one.skipped;
                sum.redispatched += one.redispatched;
            }
        }
        all
    }

    pub(crate) fn totals(&self) -> Totals {
        let servers = self.servers.values();
        let redispatched = servers.map(|one| one.dispatcher.redispatched());
        let living = self.accounts.values().filter_map(Account::requests);
        let requests = self.past.requests.into_iter().chain(living);
        Totals {
            redispatched: redispatched.sum(),
            handed_over: self.past.handed_over,
            requests: requests.reduce(Requests::plus),
            salvage: self.tally,
        }
    }

    /// What the scheduler calls itself.
    pub(crate) fn policy(&self) -> &str {
        self.scheduler.name()
    }
}
