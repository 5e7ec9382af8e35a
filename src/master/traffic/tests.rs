//! The traffic without a process: workers are scoreboards, of which the test
//! holds the other end, and what they are sent is read off a pair of sockets.

use super::answers::COOL_DOWN;
use super::*;
use crate::channel::{Channel, Heard};
use crate::ipc::Message;
use crate::master::poller::Poller;
use crate::master::scheduler::RoundRobin;
use crate::master::supervisor::Exit;
use crate::master::workers::Line;
use crate::scoreboard::Return;
use crate::sys::unix;
use std::os::fd::{AsFd, OwnedFd};

const ONE: WorkerId = WorkerId(1);
const TWO: WorkerId = WorkerId(2);

/// A worker, from outside.
struct Worker {
    board: Scoreboard,
    line: Line,
    channel: Channel,
}

struct Scene {
    traffic: Traffic,
    poller: Poller,
    now: Instant,
}

impl Scene {
    fn new() -> Scene {
        let now = Instant::now();
        let scheduler = Box::new(RoundRobin);
        let mut traffic = Traffic::new(scheduler, 64, 1024, false, None, now);
        let poller = Poller::new().unwrap();
        let listeners = Listeners::new(Vec::new());
        traffic.open(ServerId::OWN, String::new(), listeners, None);
        traffic.make_room_for(2);
        Scene { traffic, poller, now }
    }

    fn start(&mut self, id: WorkerId) -> Worker {
        let (board, region) = Scoreboard::create(true).unwrap();
        let worker = Scoreboard::open(region.as_fd()).unwrap().unwrap();
        self.traffic.attach(id, id.0 as usize, Some(board));
        self.traffic.admit(id, self.now);
        let (ours, theirs) = unix::pair().unwrap();
        let line = Line::open(ours, id, &mut self.poller).unwrap();
        Worker { board: worker, line, channel: Channel::new(theirs) }
    }

    /// A connection that comes in; the client's end.
    fn connect(&mut self) -> OwnedFd {
        let (ours, theirs) = unix::pair().unwrap();
        self.traffic.adopt(Connection::from(ours));
        theirs
    }

    /// Sends this worker what is its own. How many connections it gets.
    fn send(&mut self, id: WorkerId, worker: &mut Worker) -> usize {
        let Traffic { servers, accounts, scheduler, .. } = &mut self.traffic;
        let server = servers.get_mut(&ServerId::OWN).unwrap();
        server.dispatcher.dispatch_parked(&mut **scheduler);
        let Some(Account::Handoff(ours)) = accounts.get_mut(&id) else {
            panic!("no such worker");
        };
        let dispatcher = &mut server.dispatcher;
        let mut room = 100;
        ours.send(id, dispatcher, &mut worker.line, &mut room).unwrap();
        let mut count = 0;
        while worker.channel.hear().unwrap() == Heard::Something {
            while let Some((line, came)) = worker.channel.line().unwrap() {
                let message = Message::parse(line).unwrap();
                assert!(matches!(message, Message::Connections { .. }));
                count += came.take(message.descriptors()).count();
            }
        }
        count
    }
}

const KILLED: Death = Death {
    pid: 1,
    how: Exit::Signal(9),
    age: Duration::ZERO,
    hung: false,
    broken: false,
    leaving: None,
    announced: false,
};

#[test]
fn a_copy_is_held_until_the_worker_says_that_the_connection_has_ended() {
    let mut scene = Scene::new();
    let mut worker = scene.start(ONE);
    let _clients = [scene.connect(), scene.connect()];
    assert_eq!(scene.send(ONE, &mut worker), 2);
    assert!(scene.traffic.look().is_empty());
    assert_eq!(scene.traffic.held, 2, "nothing is received yet");
    assert!(!scene.traffic.is_proven(ONE));
    worker.board.publish_received(2);
    scene.traffic.look_at(ONE).unwrap();
    assert_eq!(scene.traffic.held, 2, "they are retained");
    assert_eq!(scene.traffic.limits.retained.count, 2);
    worker.board.publish_closed(1);
    worker.board.give_back(&[Return { slot: 0, lives: false }]);
    scene.traffic.look_at(ONE).unwrap();
    assert_eq!(scene.traffic.held, 1);
    assert!(scene.traffic.is_proven(ONE));
}

#[test]
fn what_a_dead_worker_had_not_received_goes_to_others_before_what_is_new() {
    let mut scene = Scene::new();
    let mut first = scene.start(ONE);
    let _clients = [scene.connect(), scene.connect()];
    assert_eq!(scene.send(ONE, &mut first), 2);
    let mut second = scene.start(TWO);
    let (loss, looked) = scene.traffic.lost(ONE, KILLED);
    looked.unwrap();
    assert_eq!((loss.moved, loss.proven), (2, false));
    assert!(scene.traffic.is_stranded(), "no listener, and they wait");
    assert!(!scene.traffic.is_stranded(), "said once");
    assert_eq!(scene.send(TWO, &mut second), 2);
    assert_eq!(scene.traffic.totals().redispatched, 2);
}

#[test]
fn a_worker_that_counts_what_it_was_never_sent_is_named() {
    let mut scene = Scene::new();
    let worker = scene.start(ONE);
    let _honest = scene.start(TWO);
    worker.board.publish_received(1);
    let faults = scene.traffic.look();
    let named: Vec<WorkerId> = faults.iter().map(|(id, _)| *id).collect();
    assert_eq!(named, [ONE]);
    let (_, looked) = scene.traffic.lost(ONE, KILLED);
    looked.unwrap_err();
}

#[test]
fn who_gives_back_what_it_has_not_is_named() {
    let mut scene = Scene::new();
    let worker = scene.start(ONE);
    worker.board.give_back(&[Return { slot: 3, lives: true }]);
    assert_eq!(scene.traffic.look().len(), 1);
}

#[test]
fn out_of_descriptors_a_worker_rests_and_goes_on_from_a_number() {
    let mut scene = Scene::new();
    let mut worker = scene.start(ONE);
    let _clients = [scene.connect(), scene.connect()];
    assert_eq!(scene.send(ONE, &mut worker), 2);
    scene.traffic.nack(ONE, 9, scene.now).unwrap_err();
    worker.board.publish_received(1);
    scene.traffic.nack(ONE, 2, scene.now).unwrap();
    assert_eq!(scene.send(ONE, &mut worker), 0, "it rests");
    assert_eq!(scene.traffic.deadline(scene.now), {
        let poll = scene.traffic.poll_interval;
        Some((scene.now + poll).min(scene.now + COOL_DOWN))
    });
    assert_eq!(scene.traffic.tick(scene.now), []);
    let later = scene.now + COOL_DOWN;
    assert_eq!(scene.traffic.tick(later), [(ONE, 2)]);
    assert_eq!(scene.send(ONE, &mut worker), 1);
}

#[test]
fn a_stop_ends_what_is_idle_and_a_successor_gets_it() {
    let mut scene = Scene::new();
    scene.traffic.hand_over();
    let _client = scene.connect();
    assert!(scene.traffic.outbound().is_some());
    scene.traffic.stop();
    assert!(scene.traffic.goes_on(), "the next master is there already");
    scene.traffic.outbound_sent();
    assert!(scene.traffic.outbound().is_none());
    assert_eq!(scene.traffic.held, 0);
    let _client = scene.connect();
    assert_eq!(scene.traffic.end_outbound(), 1);
    let _client = scene.connect();
    assert!(!scene.traffic.goes_on());
    assert_eq!(scene.traffic.held, 0, "nobody comes, and it had no request");
}
