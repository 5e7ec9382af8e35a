//! The naive model of the dispatcher: one list of all connections with the
//! place of each, sorted and searched anew at every step. It knows nothing of
//! queues, runs of numbers or counts kept up to date.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use crate::WorkerId;
use crate::master::scheduler::{
    Candidate, IpHash, LeastConnections, Peer, Rotation, RoundRobin, Scheduler,
};

/// A walk has no time for as many as may be parked.
pub(super) const PARKED_MAX: usize = 6;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Policy {
    RoundRobin,
    LeastConnections,
    IpHash,
}

impl Policy {
    pub(super) fn scheduler(self) -> Box<dyn Scheduler> {
        match self {
            Self::RoundRobin => Box::new(RoundRobin),
            Self::LeastConnections => Box::new(LeastConnections),
            Self::IpHash => Box::new(IpHash),
        }
    }
}

pub(super) fn peer(client: u32) -> Peer {
    Peer::Ip(Ipv4Addr::from_bits(client).into())
}

/// Where a connection is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Place {
    /// In line since this moment, those taken back before all others.
    Line { fresh: bool, since: u64 },
    /// Handed to this worker at this moment.
    Worker { id: u32, since: u64, state: State },
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum State {
    Unsent,
    Sent,
    Received,
    Closed,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Standing {
    Takes,
    Cools,
    Leaves,
}

#[derive(Debug)]
pub(super) struct Worker {
    slot: usize,
    pub(super) window: u64,
    capacity: Option<u64>,
    pub(super) standing: Standing,
    pub(super) skipped: u64,
}

#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) workers: BTreeMap<u32, Worker>,
    /// Client and place, by connection: its index.
    pub(super) connections: Vec<(u32, Place)>,
    last: Option<usize>,
    moment: u64,
    pub(super) taken_back: u64,
}

impl Model {
    fn now(&mut self) -> u64 {
        self.moment += 1;
        self.moment
    }

    /// The connections of a worker in these states, as handed over.
    pub(super) fn of(&self, worker: u32, states: &[State]) -> Vec<usize> {
        let mut found = Vec::new();
        for (connection, &(_, place)) in self.connections.iter().enumerate() {
            if let Place::Worker { id, since, state } = place
                && id == worker
                && states.contains(&state)
            {
                found.push((since, connection));
            }
        }
        found.sort();
        found.into_iter().map(|(_, connection)| connection).collect()
    }

    pub(super) fn count(&self, worker: u32, states: &[State]) -> u64 {
        self.of(worker, states).len() as u64
    }

    /// The connections in line, in order.
    pub(super) fn line(&self) -> Vec<usize> {
        let mut found = Vec::new();
        for (connection, &(_, place)) in self.connections.iter().enumerate() {
            if let Place::Line { fresh, since } = place {
                found.push((fresh, since, connection));
            }
        }
        found.sort();
        found.into_iter().map(|(.., connection)| connection).collect()
    }

    pub(super) fn set(&mut self, connection: usize, to: State) {
        match &mut self.connections[connection].1 {
            Place::Worker { state, .. } => *state = to,
            Place::Line { .. } => panic!("{connection} is in line"),
        }
    }

    pub(super) fn has_room(&self, worker: u32) -> bool {
        use State::{Received, Sent, Unsent};
        let w = &self.workers[&worker];
        let open = self.count(worker, &[Unsent, Sent, Received]);
        self.count(worker, &[Unsent, Sent]) < w.window
            && w.capacity.is_none_or(|capacity| open < capacity)
    }

    /// The workers in the rotation, by slot.
    pub(super) fn rotation(&self) -> Vec<u32> {
        let taking =
            self.workers.iter().filter(|(_, w)| w.standing == Standing::Takes);
        let mut ids: Vec<_> = taking.map(|(&id, _)| id).collect();
        ids.sort_by_key(|id| self.workers[id].slot);
        ids
    }

    fn pick(&mut self, policy: Policy, client: u32) -> u32 {
        use State::{Received, Sent, Unsent};
        let rotation = self.rotation();
        let last = self.last;
        let later = |id: &&u32| Some(self.workers[*id].slot) > last;
        let turn = rotation.iter().position(|id| later(&id)).unwrap_or(0);
        let mut in_turn = rotation.clone();
        in_turn.rotate_left(turn);
        match policy {
            Policy::RoundRobin => {
                while !self.has_room(in_turn[0]) {
                    let skipped = in_turn.remove(0);
                    self.workers.get_mut(&skipped).unwrap().skipped += 1;
                }
                in_turn[0]
            }
            Policy::LeastConnections => {
                in_turn.retain(|&id| self.has_room(id));
                let open = |id| self.count(id, &[Unsent, Sent, Received]);
                let least = in_turn.iter().map(|&id| open(id)).min();
                in_turn.retain(|&id| Some(open(id)) == least);
                in_turn[0]
            }
            // Which slot an address prefers is not the dispatcher's matter:
            // ask, among idle workers.
            Policy::IpHash => {
                let mut idle = Rotation::default();
                for &id in &rotation {
                    let slot = self.workers[&id].slot;
                    let id = WorkerId(id);
                    idle.join(Candidate::new(id, slot, 0, 1, 0));
                }
                let index = IpHash.pick(&peer(client), &mut idle);
                idle[index].worker().0
            }
        }
    }

    /// Goes along the line once.
    pub(super) fn dispatch(&mut self, policy: Policy) {
        for connection in self.line() {
            self.place(connection, policy);
        }
    }

    fn place(&mut self, connection: usize, policy: Policy) {
        let rotation = self.rotation();
        if !rotation.iter().any(|&id| self.has_room(id)) {
            return;
        }
        let id = self.pick(policy, self.connections[connection].0);
        if self.has_room(id) {
            let (since, state) = (self.now(), State::Unsent);
            self.connections[connection].1 =
                Place::Worker { id, since, state };
            self.last = Some(self.workers[&id].slot);
        }
    }

    pub(super) fn admit(
        &mut self,
        id: u32,
        slot: usize,
        window: u64,
        capacity: Option<u64>,
    ) {
        let fills =
            |w: &Worker| w.slot == slot && w.standing != Standing::Leaves;
        let old = self.workers.iter().find(|(_, w)| fills(w));
        if let Some((&old, _)) = old {
            self.withdraw(old);
        }
        let (standing, skipped) = (Standing::Takes, 0);
        self.workers
            .insert(id, Worker { slot, window, capacity, standing, skipped });
    }

    pub(super) fn offer(&mut self, client: u32, policy: Policy) {
        self.dispatch(policy);
        let (fresh, since) = (true, self.now());
        self.connections.push((client, Place::Line { fresh, since }));
        self.dispatch(policy);
        let line = self.line();
        if line.len() > PARKED_MAX
            && line.last() == Some(&(self.connections.len() - 1))
        {
            self.place(self.connections.len() - 1, Policy::RoundRobin);
        }
    }

    pub(super) fn take_back(&mut self, connections: &[usize]) {
        for &connection in connections {
            let (fresh, since) = (false, self.now());
            self.connections[connection].1 = Place::Line { fresh, since };
            self.taken_back += 1;
        }
    }

    pub(super) fn withdraw(&mut self, id: u32) {
        let w = self.workers.get_mut(&id).unwrap();
        w.standing = Standing::Leaves;
        self.take_back(&self.of(id, &[State::Unsent]));
    }
}
