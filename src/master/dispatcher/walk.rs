//! Random walks: whatever happens in whatever order, the dispatcher and its
//! [model](super::model) agree about every connection.

use proptest::prelude::*;

use super::Dispatcher;
use super::model::{Model, PARKED_MAX, Policy, Standing, State, peer};
use crate::WorkerId;
use crate::master::scheduler::{Peer, RoundRobin};

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
    CutOff,
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
        1 => Just(WorkerEvent::CutOff),
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
                    if w.standing == Standing::Takes {
                        w.standing = Standing::Cools;
                    }
                }
            }
            WorkerEvent::Resume => {
                let next = model.count(id, &[Unsent, Sent]) + known + 1;
                let w = model.workers.get_mut(&id).unwrap();
                let cools = w.standing == Standing::Cools;
                if cools {
                    w.standing = Standing::Takes;
                }
                let expected = cools.then_some(next);
                prop_assert_eq!(dispatcher.resume(worker), expected);
            }
            WorkerEvent::Withdraw => {
                let back = model.count(id, &[Unsent]) as usize;
                prop_assert_eq!(dispatcher.withdraw(worker), back);
                model.withdraw(id);
            }
            WorkerEvent::CutOff => {
                let back = model.of(id, &[Sent, Unsent]);
                prop_assert_eq!(dispatcher.cut_off(worker), back.len());
                model.take_back(&back);
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
        prop_assert_eq!(dispatcher.has_room(), room);
        for &id in model.workers.keys() {
            let unreleased = model.count(id, &[Sent]) > 0;
            prop_assert_eq!(
                dispatcher.has_unreleased(WorkerId(id)),
                unreleased
            );
        }
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
            dispatcher: Dispatcher {
                parked_max: PARKED_MAX,
                ..Dispatcher::new()
            },
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
