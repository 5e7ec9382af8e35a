//! Random walks: whatever happens in whatever order, the dispatcher and a
//! naive model of it agree about every connection.
//!
//! The model keeps one list of all connections with the place of each, sorts
//! and searches it anew at every step, and knows nothing of queues, windows
//! of numbers or counts kept up to date.

use super::*;
use crate::master::scheduler::{IpHash, LeastConnections, RoundRobin};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

#[derive(Clone, Copy, Debug)]
enum Event {
    Admit {
        slot: usize,
        window: u64,
        capacity: Option<u64>,
    },
    Offer {
        client: u32,
    },
    DispatchParked,
    /// To the worker of this rank among those that live, counted round.
    Of(usize, WorkerEvent),
}

/// A claim is given by how far it is ahead of what is known: by less than 0
/// or by more than there is, it is false.
#[derive(Clone, Copy, Debug)]
enum WorkerEvent {
    Sent(usize),
    Received(i64),
    Closed(i64),
    Nack(i64),
    Resume,
    Withdraw,
    Lost,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let capacity = prop_oneof![Just(None), (0..12_u64).prop_map(Some)];
    let admit = (0..5_usize, 0..9_u64, capacity).prop_map(
        |(slot, window, capacity)| Event::Admit { slot, window, capacity },
    );
    let of_worker = prop_oneof![
        8 => (0..6_usize).prop_map(WorkerEvent::Sent),
        8 => (-1..5_i64).prop_map(WorkerEvent::Received),
        6 => (-1..5_i64).prop_map(WorkerEvent::Closed),
        3 => (-1..5_i64).prop_map(WorkerEvent::Nack),
        2 => Just(WorkerEvent::Resume),
        2 => Just(WorkerEvent::Withdraw),
        1 => Just(WorkerEvent::Lost),
    ];
    let event = prop_oneof![
        2 => admit,
        24 => (0..40_u32).prop_map(|client| Event::Offer { client }),
        4 => Just(Event::DispatchParked),
        30 => (0..8_usize, of_worker).prop_map(|(n, e)| Event::Of(n, e)),
    ];
    prop::collection::vec(event, 1..400)
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Policy {
    RoundRobin,
    LeastConnections,
    IpHash,
}

impl Policy {
    fn scheduler(self) -> Box<dyn Scheduler> {
        match self {
            Self::RoundRobin => Box::new(RoundRobin),
            Self::LeastConnections => Box::new(LeastConnections),
            Self::IpHash => Box::new(IpHash),
        }
    }
}

fn peer(client: u32) -> Peer {
    Peer::Ip(Ipv4Addr::from_bits(client).into())
}

/// Where a connection is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    /// In line since this moment, those taken back before all others.
    Line { fresh: bool, since: u64 },
    /// Handed to this worker at this moment.
    Worker { id: u32, since: u64, state: State },
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Unsent,
    Sent,
    Received,
    Closed,
}

#[derive(Debug)]
struct ModelWorker {
    slot: usize,
    window: u64,
    capacity: Option<u64>,
    /// In the rotation; else it cools down, or is leaving.
    takes: bool,
    cools: bool,
    skipped: u64,
}

#[derive(Debug, Default)]
struct Model {
    workers: BTreeMap<u32, ModelWorker>,
    /// Client and place, by connection: its index.
    connections: Vec<(u32, Place)>,
    last: Option<usize>,
    moment: u64,
    taken_back: u64,
}

impl Model {
    fn now(&mut self) -> u64 {
        self.moment += 1;
        self.moment
    }

    /// The connections of a worker in these states, as handed over.
    fn of(&self, worker: u32, states: &[State]) -> Vec<usize> {
        let mut found = Vec::new();
        for (connection, &(_, place)) in self.connections.iter().enumerate() {
            match place {
                Place::Worker { id, since, state }
                    if id == worker && states.contains(&state) =>
                {
                    found.push((since, connection));
                }
                _ => {}
            }
        }
        found.sort();
        found.into_iter().map(|(_, connection)| connection).collect()
    }

    fn count(&self, worker: u32, states: &[State]) -> u64 {
        self.of(worker, states).len() as u64
    }

    /// The connections in line, in order.
    fn line(&self) -> Vec<usize> {
        let mut found = Vec::new();
        for (connection, &(_, place)) in self.connections.iter().enumerate() {
            if let Place::Line { fresh, since } = place {
                found.push((fresh, since, connection));
            }
        }
        found.sort();
        found.into_iter().map(|(.., connection)| connection).collect()
    }

    fn set(&mut self, connection: usize, to: State) {
        match &mut self.connections[connection].1 {
            Place::Worker { state, .. } => *state = to,
            Place::Line { .. } => panic!("{connection} is in line"),
        }
    }

    fn has_room(&self, worker: u32) -> bool {
        use State::{Received, Sent, Unsent};
        let w = &self.workers[&worker];
        let open = self.count(worker, &[Unsent, Sent, Received]);
        self.count(worker, &[Unsent, Sent]) < w.window
            && w.capacity.is_none_or(|capacity| open < capacity)
    }

    /// The workers in the rotation, by slot.
    fn rotation(&self) -> Vec<u32> {
        let taking = self.workers.iter().filter(|(_, w)| w.takes);
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
    fn dispatch(&mut self, policy: Policy) {
        for connection in self.line() {
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
    }

    fn admit(
        &mut self,
        id: u32,
        slot: usize,
        window: u64,
        capacity: Option<u64>,
    ) {
        let fills = |w: &ModelWorker| w.slot == slot && (w.takes || w.cools);
        let old = self.workers.iter().find(|(_, w)| fills(w));
        if let Some((&old, _)) = old {
            self.withdraw(old);
        }
        let (takes, cools, skipped) = (true, false, 0);
        self.workers.insert(
            id,
            ModelWorker { slot, window, capacity, takes, cools, skipped },
        );
    }

    fn offer(&mut self, client: u32, policy: Policy) {
        self.dispatch(policy);
        let (fresh, since) = (true, self.now());
        self.connections.push((client, Place::Line { fresh, since }));
        self.dispatch(policy);
    }

    fn take_back(&mut self, connections: &[usize]) {
        for &connection in connections {
            let (fresh, since) = (false, self.now());
            self.connections[connection].1 = Place::Line { fresh, since };
            self.taken_back += 1;
        }
    }

    fn withdraw(&mut self, id: u32) {
        let w = self.workers.get_mut(&id).unwrap();
        (w.takes, w.cools) = (false, false);
        self.take_back(&self.of(id, &[State::Unsent]));
    }
}

/// The dispatcher beside its model; every step is done by both.
struct Walk {
    dispatcher: Dispatcher<usize>,
    model: Model,
    policy: Policy,
    workers: u32,
}

impl Walk {
    fn step(&mut self, event: Event) -> Result<(), TestCaseError> {
        let Walk { dispatcher, model, policy, workers } = self;
        let scheduler = &mut *policy.scheduler();
        match event {
            Event::Admit { slot, window, capacity } => {
                *workers += 1;
                dispatcher.admit(WorkerId(*workers), slot, window, capacity);
                model.admit(*workers, slot, window, capacity);
            }
            Event::Offer { client } => {
                let connection = model.connections.len();
                dispatcher.offer(connection, peer(client), scheduler);
                model.offer(client, *policy);
            }
            Event::DispatchParked => {
                dispatcher.dispatch_parked(scheduler);
                model.dispatch(*policy);
            }
            Event::Of(n, event) => {
                let ids = model.workers.keys();
                let rank = n % ids.len().max(1);
                if let Some(&id) = model.workers.keys().nth(rank) {
                    self.step_of(id, event)?;
                }
            }
        }
        Ok(())
    }

    fn step_of(
        &mut self,
        id: u32,
        event: WorkerEvent,
    ) -> Result<(), TestCaseError> {
        use State::{Closed, Received, Sent, Unsent};
        let Walk { dispatcher, model, .. } = self;
        let worker = WorkerId(id);
        let known = model.count(id, &[Received, Closed]);
        let on_its_way = model.of(id, &[Sent]);
        // How many connections a claim is about, if it can be true.
        let believed = |ahead: i64, of: &[usize]| {
            usize::try_from(ahead).ok().filter(|&n| n <= of.len())
        };
        match event {
            WorkerEvent::Sent(n) => {
                dispatcher.sent(worker, n);
                for &c in model.of(id, &[Unsent]).iter().take(n) {
                    model.set(c, Sent);
                }
            }
            WorkerEvent::Received(ahead) => {
                let upto = known.wrapping_add_signed(ahead);
                let released = dispatcher.received(worker, upto);
                let released = released.map(Iterator::collect::<Vec<_>>).ok();
                let n = believed(ahead, &on_its_way);
                let taken = n.map(|n| on_its_way[..n].to_vec());
                prop_assert_eq!(&released, &taken);
                for c in taken.into_iter().flatten() {
                    model.set(c, Received);
                }
            }
            WorkerEvent::Closed(ahead) => {
                let total = model.count(id, &[Closed]);
                let total = total.wrapping_add_signed(ahead);
                let open = model.of(id, &[Received]);
                let n = believed(ahead, &open);
                let closed = dispatcher.closed(worker, total);
                prop_assert_eq!(closed.is_ok(), n.is_some());
                for &c in open.iter().take(n.unwrap_or(0)) {
                    model.set(c, Closed);
                }
            }
            WorkerEvent::Nack(ahead) => {
                let first = (known + 1).wrapping_add_signed(ahead);
                let arrived = believed(ahead, &on_its_way)
                    .filter(|&n| n < on_its_way.len());
                let back = arrived.map(|n| {
                    let unsent = model.of(id, &[Unsent]);
                    [&on_its_way[n..], &unsent].concat()
                });
                let n = back.as_ref().map(Vec::len);
                prop_assert_eq!(dispatcher.nack(worker, first).ok(), n);
                if let Some(back) = back {
                    model.take_back(&back);
                    let w = model.workers.get_mut(&id).unwrap();
                    w.cools |= w.takes;
                    w.takes = false;
                }
            }
            WorkerEvent::Resume => {
                let next = model.count(id, &[Unsent, Sent]) + known + 1;
                let w = model.workers.get_mut(&id).unwrap();
                let expected = w.cools.then_some(next);
                w.takes |= w.cools;
                w.cools = false;
                prop_assert_eq!(dispatcher.resume(worker), expected);
            }
            WorkerEvent::Withdraw => {
                let back = model.count(id, &[Unsent]) as usize;
                prop_assert_eq!(dispatcher.withdraw(worker), back);
                model.withdraw(id);
            }
            WorkerEvent::Lost => {
                let back = model.of(id, &[Sent, Unsent]);
                prop_assert_eq!(dispatcher.lost(worker), back.len());
                model.take_back(&back);
                model.workers.remove(&id);
            }
        }
        Ok(())
    }

    /// Everything that can be seen is the same in both.
    fn compare(&self) -> Result<(), TestCaseError> {
        use State::{Closed, Received, Sent, Unsent};
        let Walk { dispatcher, model, .. } = self;
        let line = dispatcher.again.iter().chain(&dispatcher.fresh);
        let line: Vec<_> = line.map(|parked| parked.handle).collect();
        prop_assert_eq!(line, model.line());
        prop_assert_eq!(dispatcher.redispatched(), model.taken_back);

        let ids: Vec<_> = dispatcher.counts().map(|c| c.worker.0).collect();
        prop_assert!(ids.iter().eq(model.workers.keys()));
        for counts in dispatcher.counts() {
            let id = counts.worker.0;
            let count = |states: &[State]| model.count(id, states);
            let all = [Unsent, Sent, Received, Closed];
            prop_assert_eq!(counts.handed, count(&all));
            prop_assert_eq!(counts.open, count(&all[..3]));
            prop_assert_eq!(counts.pending, count(&all[..2]));
            let w = &model.workers[&id];
            prop_assert!(counts.pending <= w.window);
            prop_assert_eq!(counts.skipped, w.skipped);
            let to_send = dispatcher.batch(counts.worker).map(|batch| {
                let connections = batch.connections().copied();
                (batch.first, connections.collect::<Vec<_>>())
            });
            let unsent = model.of(id, &[Unsent]);
            let first = count(&all[1..]) + 1;
            let expected = (!unsent.is_empty()).then_some((first, unsent));
            prop_assert_eq!(to_send, expected);
        }

        let ids = model.rotation();
        let room = ids.iter().any(|&id| model.has_room(id));
        prop_assert_eq!(dispatcher.rotation.has_room(), room);
        let accepts = room && model.line().len() < PARKED_MAX;
        prop_assert_eq!(dispatcher.has_room(), accepts);
        let unreleased =
            model.workers.keys().any(|&id| model.count(id, &[Sent]) > 0);
        prop_assert_eq!(dispatcher.has_unreleased(), unreleased);
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 48,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn dispatcher_and_model_agree_about_every_connection(
        policy in prop_oneof![
            Just(Policy::RoundRobin),
            Just(Policy::LeastConnections),
            Just(Policy::IpHash),
        ],
        events in events(),
    ) {
        let mut walk = Walk {
            dispatcher: Dispatcher::new(),
            model: Model::default(),
            policy,
            workers: 0,
        };
        for event in events {
            walk.step(event)?;
            walk.compare()?;
        }
    }

    #[test]
    fn no_claim_makes_it_panic_or_release_twice(
        claims in prop::collection::vec(
            (0..4_u8, prop_oneof![0..12_u64, u64::MAX - 3.., any::<u64>()]),
            1..60,
        ),
    ) {
        let mut d = Dispatcher::new();
        let worker = WorkerId(1);
        d.admit(worker, 0, 10, Some(20));
        let (mut offered, mut released) = (0, Vec::new());
        for (claim, number) in claims {
            while d.has_room() {
                offered += 1;
                d.offer(offered, Peer::Unix, &mut RoundRobin);
            }
            match claim {
                0 => d.sent(worker, number as usize),
                1 => released.extend(
                    d.received(worker, number).into_iter().flatten()
                ),
                2 => _ = d.closed(worker, number),
                _ => {
                    if d.nack(worker, number).is_ok() {
                        d.resume(worker);
                    }
                    d.dispatch_parked(&mut RoundRobin);
                }
            }
        }
        d.lost(worker);
        let left = d.again.iter().chain(&d.fresh);
        released.extend(left.map(|parked| parked.handle));
        released.sort();
        prop_assert!(released.into_iter().eq(1..=offered));
    }
}
