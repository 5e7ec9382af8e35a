//! A walk through random lives, watched by a world that knows processes and
//! nothing of the supervisor's states.
//!
//! The world keeps a list of processes. It lets them become ready, announce,
//! hang up, hang, exit, or ignore all they are asked, in any order, and holds
//! every action of the supervisor against what a process can bear. In the end
//! everybody behaves, and the world must come to rest with N workers; then
//! nobody does, and it must still come to an end.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::master::supervisor::departure::LEAVING;

#[derive(Clone, Debug)]
enum Op {
    /// Time passes; the master wakes up at every deadline.
    Pass(u64),
    /// Time passes, and the master sleeps through it.
    Oversleep(u64),
    /// This one (modulo the living) …
    Does(usize, Deed),
    /// All that are to be killed are gone.
    Reap,
    Reload,
    Resize(usize),
    Emptied,
    Stranded,
    Stop,
    StopNow,
}

#[derive(Clone, Debug)]
enum Deed {
    Ready,
    Leave(bool),
    HangUp(bool),
    Exit(Exit, bool),
    NeverStart,
    Hang,
    Break,
    Wear,
}

fn deed() -> impl Strategy<Value = Deed> {
    let how = prop_oneof![
        (0..4).prop_map(Exit::Code),
        prop_oneof![Just(9), Just(11), Just(15)].prop_map(Exit::Signal),
    ];
    prop_oneof![
        12 => Just(Deed::Ready),
        2 => any::<bool>().prop_map(Deed::Leave),
        2 => any::<bool>().prop_map(Deed::HangUp),
        5 => (how, any::<bool>()).prop_map(|(how, yes)| Deed::Exit(how, yes)),
        1 => Just(Deed::NeverStart),
        1 => Just(Deed::Hang),
        1 => Just(Deed::Break),
        2 => Just(Deed::Wear),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        12 => (0..1_500u64).prop_map(Op::Pass),
        1 => (0..40_000u64).prop_map(Op::Pass),
        2 => (0..20_000u64).prop_map(Op::Oversleep),
        40 => (any::<usize>(), deed()).prop_map(|(at, d)| Op::Does(at, d)),
        6 => Just(Op::Reap),
        3 => Just(Op::Reload),
        1 => (1..6usize).prop_map(Op::Resize),
    ]
}

/// The way out, with everything that can happen on it.
fn last_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        20 => op(),
        4 => Just(Op::Emptied),
        4 => Just(Op::Stranded),
        2 => Just(Op::Stop),
        1 => Just(Op::StopNow),
    ]
}

/// A process, seen from outside.
#[derive(Debug, Default)]
struct Process {
    slot: usize,
    ready: bool,
    in_rotation: bool,
    was_in_rotation: bool,
    /// It has announced its leave, or its channel is gone.
    left: bool,
    over_limit: bool,
    disconnected: bool,
    terminated: bool,
    killed: bool,
    /// Its exit is being told: on our list only to be withdrawn.
    dead: bool,
}

impl Process {
    /// Nothing has happened that would end it.
    fn is_current(&self) -> bool {
        let ended = [
            self.left,
            self.disconnected,
            self.terminated,
            self.killed,
            self.dead,
        ];
        !ended.contains(&true)
    }
}

struct World {
    supervisor: Supervisor,
    policy: Policy,
    now: Duration,
    processes: BTreeMap<u32, Process>,
    born: u32,
    workers: usize,
    reloads: usize,
    stopping: bool,
    accepting: bool,
    /// Some worker has served.
    served: bool,
    exit: Option<Outcome>,
}

impl World {
    fn new(policy: Policy) -> World {
        let now = ms(1);
        let mut world = World {
            supervisor: Supervisor::new(policy.clone(), now),
            workers: policy.workers,
            policy,
            now,
            processes: BTreeMap::new(),
            born: 0,
            reloads: 0,
            stopping: false,
            accepting: true,
            served: false,
            exit: None,
        };
        world.tick();
        world
    }

    fn in_rotation(&self) -> usize {
        self.processes.values().filter(|one| one.in_rotation).count()
    }

    /// Tells an event that takes nothing from the rotation by itself.
    fn tell(&mut self, event: Event) {
        let before = self.in_rotation();
        let mut out = Vec::new();
        self.supervisor.handle(self.now, event, &mut out);
        self.carry_out(out, before);
    }

    fn tick(&mut self) {
        let before = self.in_rotation();
        let mut out = Vec::new();
        self.supervisor.tick(self.now, &mut out);
        self.carry_out(out, before);
    }

    /// Tells an event after which there may be less workers in rotation.
    fn tell_loss(&mut self, event: Event) {
        let mut out = Vec::new();
        self.supervisor.handle(self.now, event, &mut out);
        self.carry_out(out, 0);
    }

    fn carry_out(&mut self, out: Vec<Action>, floor: usize) {
        for action in out {
            assert!(self.exit.is_none(), "{action:?} after the end");
            self.carry_out_one(action);
            assert!(
                self.stopping || self.in_rotation() >= floor,
                "the rotation shrank without a loss"
            );
        }
        let deadline = self.supervisor.deadline();
        assert!(deadline.is_none_or(|at| at > self.now), "it spins");
        for slot in 0..8 {
            let here = self.processes.values().filter(|p| p.slot == slot);
            let most = LEAVING + 1; // and somebody on the seat
            assert!(here.count() <= most, "too many processes in {slot}");
        }
    }

    fn carry_out_one(&mut self, action: Action) {
        match action {
            Action::Spawn { worker, slot, .. } => self.spawn(worker.0, slot),
            Action::Admit { worker } => {
                let process = self.living(worker);
                assert!(process.ready && process.is_current());
                assert!(!process.was_in_rotation);
                process.in_rotation = true;
                process.was_in_rotation = true;
                self.served = true;
            }
            Action::Withdraw { worker } => {
                let process = self.processes.get_mut(&worker.0).unwrap();
                assert!(process.in_rotation);
                process.in_rotation = false;
            }
            Action::Disconnect { worker, .. } => {
                let process = self.living(worker);
                assert!(process.is_current() && process.was_in_rotation);
                assert!(!process.in_rotation);
                process.disconnected = true;
            }
            Action::Terminate { worker, .. } => {
                let foreign = self.policy.terminate_before_kill.is_some();
                let process = self.living(worker);
                assert!(foreign && !process.terminated && !process.killed);
                assert!(!process.in_rotation);
                process.terminated = true;
            }
            Action::Kill { worker, .. } => {
                let process = self.living(worker);
                assert!(!process.killed && !process.in_rotation);
                process.killed = true;
            }
            Action::StopAccepting => {
                assert!(self.stopping && self.accepting);
                self.accepting = false;
            }
            Action::Report(_) => {}
            Action::Exit(outcome) => {
                let alive = self.all(|process| !process.dead);
                assert!(alive.is_empty(), "it left {alive:?} behind");
                let gave_up = outcome != Outcome::Stopped;
                assert!(!(gave_up && self.served), "{outcome:?}");
                self.exit = Some(outcome);
            }
        }
    }

    fn living(&mut self, worker: WorkerId) -> &mut Process {
        let process = self.processes.get_mut(&worker.0).unwrap();
        assert!(!process.dead, "an action on the dead");
        process
    }

    fn spawn(&mut self, worker: u32, slot: usize) {
        assert_eq!(worker, self.born + 1, "a name used twice");
        assert!(slot < self.workers);
        self.born = worker;
        let current: Vec<_> = self
            .processes
            .values()
            .filter(|other| other.slot == slot && other.is_current())
            .collect();
        match current[..] {
            [] => {}
            // The step of a reload, or of a recycling.
            [old] => assert!(
                old.in_rotation
                    && (old.over_limit || self.reloads > 0)
                    && !self.stopping
            ),
            [..] => panic!("three current workers in slot {slot}"),
        }
        self.processes.insert(worker, Process { slot, ..Process::default() });
    }

    fn pass(&mut self, millis: u64) {
        let end = self.now + ms(millis);
        while let Some(at) = self.supervisor.deadline()
            && at <= end
        {
            self.now = at;
            self.tick();
        }
        self.now = end;
    }

    fn exits(&mut self, id: u32, how: Exit, proven: bool) {
        let worker = WorkerId(id);
        self.ends(id, Event::Exited { worker, how, proven });
    }

    fn ends(&mut self, id: u32, event: Event) {
        self.living(WorkerId(id)).dead = true;
        self.tell_loss(event);
        let process = self.processes.remove(&id).unwrap();
        assert!(!process.in_rotation, "a dead worker in rotation");
        if self.exit.is_some() {
            assert_eq!(self.supervisor.deadline(), None);
        }
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Pass(millis) => self.pass(millis),
            Op::Oversleep(millis) => {
                self.now += ms(millis);
                self.tick();
            }
            Op::Does(nth, deed) => self.does(nth, deed),
            Op::Reap => self.reap(),
            Op::Reload => {
                self.reloads += 1;
                self.tell(Event::Reload);
            }
            Op::Resize(workers) => {
                if !self.supervisor.is_stopping() {
                    self.workers = workers;
                }
                self.tell_loss(Event::Resize(workers));
            }
            Op::Emptied => self.tell_loss(Event::Emptied),
            Op::Stranded => self.tell_loss(Event::Stranded),
            Op::Stop => {
                self.stopping = true;
                self.tell_loss(Event::Stop);
            }
            Op::StopNow => {
                self.stopping = true;
                self.tell_loss(Event::StopNow);
            }
        }
    }

    fn does(&mut self, nth: usize, deed: Deed) {
        if self.processes.is_empty() {
            return;
        }
        let nth = nth % self.processes.len();
        let (&id, process) = self.processes.iter_mut().nth(nth).unwrap();
        let worker = WorkerId(id);
        match deed {
            Deed::Ready => {
                // What a dying worker still had in its channel may be read.
                process.ready |= !process.left;
                self.tell(Event::Ready { worker });
            }
            Deed::Leave(proven) => {
                process.left = true;
                self.tell_loss(Event::Leaving { worker, proven });
            }
            Deed::HangUp(proven) => {
                process.left = true;
                self.tell_loss(Event::ChannelEnded { worker, proven });
            }
            Deed::Exit(how, proven) => self.exits(id, how, proven),
            Deed::NeverStart => {
                if !process.ready {
                    let why = "no".to_owned();
                    self.ends(id, Event::SpawnFailed { worker, why });
                }
            }
            Deed::Hang => self.tell_loss(Event::Hung { worker }),
            Deed::Break => self.tell_loss(Event::Broken { worker }),
            Deed::Wear => {
                process.over_limit = true;
                self.tell(Event::Recycle { worker });
            }
        }
    }

    fn reap(&mut self) {
        for id in self.all(|process| process.killed) {
            self.exits(id, Exit::Signal(9), false);
        }
    }

    fn all(&self, is: impl Fn(&Process) -> bool) -> Vec<u32> {
        let chosen = self.processes.iter().filter(|(_, one)| is(one));
        chosen.map(|(&id, _)| id).collect()
    }

    /// Some 40 s in which every process does what it is asked.
    fn good_times(&mut self) {
        for _ in 0..160 {
            for id in self.all(|process| !process.is_current()) {
                self.exits(id, Exit::Code(0), false);
            }
            for id in self.all(|process| !process.ready) {
                let worker = WorkerId(id);
                self.living(worker).ready = true;
                self.tell(Event::Ready { worker });
            }
            self.pass(250);
        }
    }

    fn check_rest(&self) {
        assert_eq!(self.supervisor.deadline(), None, "something is owed");
        assert_eq!(self.processes.len(), self.workers);
        assert_eq!(self.in_rotation(), self.workers);
    }

    /// From here on no process does anything but die when it is killed.
    fn bad_times_after_stop(&mut self) {
        self.stopping = true;
        self.tell_loss(Event::Stop);
        let pause = self.policy.terminate_before_kill.unwrap_or_default();
        let end = self.now + self.policy.linger + self.policy.grace + pause;
        while self.exit.is_none() {
            assert!(self.now <= end, "a stop without an end");
            self.reap();
            let next = self.supervisor.deadline();
            if let Some(at) = next {
                self.now = at;
                self.tick();
            }
        }
    }
}

fn policies() -> impl Strategy<Value = Policy> {
    (1..6usize, any::<bool>(), 0..12_000u64).prop_map(
        |(workers, foreign, grace)| Policy {
            workers,
            grace: ms(grace),
            terminate_before_kill: foreign.then_some(ms(2_000)),
            ..Policy::default()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 100,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn whatever_workers_do_n_are_ready_when_the_faults_cease(
        policy in policies(),
        ops in vec(op(), 1..250),
    ) {
        let mut world = World::new(policy);
        for op in ops {
            world.apply(op);
        }
        world.good_times();
        if world.exit.is_some() {
            return Ok(()); // It has given up, before any had served.
        }
        world.check_rest();
        world.apply(Op::Reload);
        let generation = world.supervisor.generation();
        world.good_times();
        world.check_rest();
        prop_assert!(!world.supervisor.is_reloading());
        for line in world.supervisor.status() {
            prop_assert_eq!(line.generation, generation);
        }
        world.bad_times_after_stop();
        prop_assert_eq!(world.exit, Some(Outcome::Stopped));
    }

    #[test]
    fn whatever_happens_on_the_way_out_no_process_is_left(
        policy in policies(),
        before in vec(op(), 1..60),
        after in vec(last_op(), 1..100),
    ) {
        let mut world = World::new(policy);
        for op in before.into_iter().chain([Op::Stop]).chain(after) {
            world.apply(op);
        }
        if world.exit.is_none() {
            world.bad_times_after_stop();
        }
    }
}
