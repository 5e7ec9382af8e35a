//! What the pure parts take for one step: a line of a channel, a connection
//! on its way through dispatcher and scheduler, a death and what follows.

use std::time::Duration;

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use handoff::internals::dispatcher::Dispatcher;
use handoff::internals::ipc::Message;
use handoff::internals::ipc::message::Inner;
use handoff::internals::supervisor::{
    Action, Event, Exit, Policy, Supervisor,
};
use handoff::{
    IpHash, LeastConnections, Peer, RoundRobin, Scheduler, WorkerId,
};

/// What goes with up to 253 descriptors to a worker of ours.
const CONNECTIONS: &[u8] = br#"{"cmd":"NODE_HANDLE","first":12345,"count":4}"#;

/// What goes with each descriptor to a worker of Node's.
const NEWCONN: &[u8] = br#"{"cmd":"NODE_HANDLE","type":"net.Native","msg":{"cmd":"NODE_CLUSTER","act":"newconn","key":"127.0.0.1:3000:4:undefined:0","seq":12345}}"#;

const LINES: [usize; 2] = [CONNECTIONS.len(), NEWCONN.len()];

const WORKERS: [usize; 3] = [1, 4, 16];

/// Connections that are accepted at once.
const BATCH: usize = 64;

fn line(length: usize) -> &'static [u8] {
    if length == CONNECTIONS.len() { CONNECTIONS } else { NEWCONN }
}

fn main() {
    let ours = Message::parse(CONNECTIONS);
    assert_eq!(
        ours,
        Ok(Message::Connections {
            first: 12345,
            count: 4,
            slots: Vec::new().into()
        })
    );
    let handle = Message::parse(NEWCONN);
    let is_understood =
        matches!(handle, Ok(Message::Handle { inner: Inner::Cluster(_), .. }));
    assert!(is_understood, "{handle:?}");
    divan::main();
}

#[divan::bench(args = LINES, sample_size = 1000)]
fn line_parsed(bencher: Bencher<'_, '_>, length: usize) {
    let line = line(length);
    bencher.bench_local(|| Message::parse(black_box(line)).is_ok());
}

/// The same by a parser that keeps everything.
#[divan::bench(args = LINES, sample_size = 1000)]
fn line_parsed_by_serde_json(bencher: Bencher<'_, '_>, length: usize) {
    let line = line(length);
    bencher.bench_local(|| {
        serde_json::from_slice::<serde_json::Value>(black_box(line)).is_ok()
    });
}

#[divan::bench(args = LINES, sample_size = 1000)]
fn line_written(bencher: Bencher<'_, '_>, length: usize) {
    let message = Message::parse(line(length)).expect("a message");
    let mut out = Vec::with_capacity(256);
    bencher.bench_local(|| {
        out.clear();
        black_box(&message).encode(&mut out);
        black_box(&out).len()
    });
}

#[divan::bench(args = WORKERS)]
fn round_robin(bencher: Bencher<'_, '_>, workers: usize) {
    dispatch(bencher, workers, RoundRobin);
}

#[divan::bench(args = WORKERS)]
fn least_connections(bencher: Bencher<'_, '_>, workers: usize) {
    dispatch(bencher, workers, LeastConnections);
}

#[divan::bench(args = WORKERS)]
fn ip_hash(bencher: Bencher<'_, '_>, workers: usize) {
    dispatch(bencher, workers, IpHash);
}

/// A turn of the master: connections are offered, each worker's share is
/// sent, received and closed. The items are connections.
fn dispatch(
    bencher: Bencher<'_, '_>,
    workers: usize,
    mut scheduler: impl Scheduler,
) {
    let mut dispatcher = Dispatcher::new();
    let crew: Vec<WorkerId> = (1..=workers as u32).map(WorkerId).collect();
    for (slot, worker) in crew.iter().enumerate() {
        dispatcher.admit(*worker, slot, 4 * BATCH as u64, None);
    }
    let mut total = vec![0; workers];
    let mut client = 0_u32;
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
        for connection in 0..BATCH {
            client = client.wrapping_add(1);
            let peer = Peer::Ip(client.to_be_bytes().into());
            dispatcher.offer(connection, peer, &mut scheduler);
        }
        for (worker, total) in crew.iter().zip(&mut total) {
            while let Some(batch) = dispatcher.batch(*worker) {
                let count = black_box(batch.connections()).len();
                dispatcher.sent(*worker, count);
                *total += count as u64;
            }
            let released = dispatcher.received(*worker, *total);
            black_box(released.expect("it was sent").count());
            dispatcher.closed(*worker, *total).expect("it was received");
        }
    });
    assert_eq!(dispatcher.parked(), 0);
}

/// A worker that had lived dies; its successor is started and ready.
#[divan::bench(args = WORKERS, sample_size = 100)]
fn death_and_successor(bencher: Bencher<'_, '_>, workers: usize) {
    let policy = Policy { workers, ..Policy::default() };
    let mut now = Duration::ZERO;
    let mut supervisor = Supervisor::new(policy, now);
    let mut actions = Vec::new();
    supervisor.tick(now, &mut actions);
    let mut newest = WorkerId(workers as u32);
    for worker in (1..=newest.0).map(WorkerId) {
        supervisor.handle(now, Event::Ready { worker }, &mut actions);
    }
    bencher.bench_local(|| {
        now += Duration::from_secs(60);
        let (worker, how) = (newest, Exit::Signal(9));
        let death = Event::Exited { worker, how, proven: true };
        actions.clear();
        supervisor.handle(now, black_box(death), &mut actions);
        newest.0 += 1;
        let worker = newest;
        supervisor.handle(now, Event::Ready { worker }, &mut actions);
        black_box(supervisor.deadline());
    });
    let spawned = |action: &Action| matches!(action, Action::Spawn { worker, .. } if *worker == newest);
    assert!(actions.iter().any(spawned), "{actions:?}");
}
