//! Orders: what workers say, told to the supervisor or to the primary; and
//! what these two have decided, carried out.
//!
//! ```text
//!            ┌─▶ Event ─▶ supervisor ─▶ Action ─┐   ┌─▶ workers: spawn, kill
//!   lines ───┤                                  ├───┼─▶ traffic: admit, open
//!            └─▶ Node's words ─▶ primary ─▶ Order   └─▶ operators: reports
//! ```
//!
//! What a worker does wrong is an event like any other. It costs that worker.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use log::{debug, error, info, warn};

use super::listener::advice;
use super::primary::{Answer, Opened, Order, Query, place};
use super::supervisor::{Action, Event, Parting, Report};
use super::{Master, Shutdown};
use crate::WorkerId;
use crate::channel;
use crate::error::Error;
use crate::event::{Event as ClusterEvent, Post};
use crate::ipc::Message;
use crate::ipc::json::Reason as JsonFault;
use crate::ipc::message::{Act, Cluster, Malformed};
use crate::sys::{self, epoll};

/// How long idle clients may take for one more request while we stop.
const IDLE_AT_STOP: Duration = Duration::from_millis(500);

/// With what Bun begins a line on a channel that is to carry JSON.
const BUNS: u8 = 2;

/// What workers say.
impl Master {
    /// Something about a worker's channel.
    pub(super) fn attend(&mut self, worker: WorkerId, event: epoll::Event) {
        if self.workers.attend(worker, event, &self.poller) {
            self.hear(worker);
        }
    }

    /// Reads a worker's channel once. Whether there may be more.
    pub(super) fn hear(&mut self, worker: WorkerId) -> bool {
        let Some(heard) = self.workers.hear(worker) else { return false };
        let mut then = heard.then;
        let mut orders = Vec::new();
        for line in &heard.lines {
            if self.workers.line(worker).is_none() {
                return false; // It has been ended for what it said before.
            }
            if let Err(fault) = self.understand(worker, line, &mut orders) {
                then = Err(fault);
                break;
            }
        }
        match then {
            Ok(channel::Heard::Something)
                if self.workers.is_choking(worker) =>
            {
                error!("worker {worker} asks, and does not listen");
                self.fail(worker);
                false
            }
            Ok(channel::Heard::Something) => true,
            Ok(channel::Heard::Nothing) => false,
            Ok(channel::Heard::End) => {
                self.hang_up(worker);
                self.cut_off(worker);
                false
            }
            Err(fault) => {
                error!("worker {worker}: {fault}");
                self.fail(worker);
                false
            }
        }
    }

    /// One line of a worker. `orders` is room for what Node's need.
    fn understand<'a>(
        &mut self,
        worker: WorkerId,
        line: &'a [u8],
        orders: &mut Vec<Order<'a>>,
    ) -> Result<(), Error> {
        let message = match Message::parse(line) {
            Ok(message) => message,
            Err(_)
                if line.first() == Some(&BUNS) && self.primary.is_some() =>
            {
                return Err(Error::protocol(
                    "it speaks as Bun does, which takes no connections from \
                     a parent: start it without handoff, or the app with node",
                ));
            }
            // JSON.stringify writes what no strict reader takes, such as half
            // an emoji. That is the app's, and no reason to end it.
            Err(Malformed::NotJson(error))
                if !matches!(error.reason, JsonFault::Syntax { .. }) =>
            {
                debug!("worker {worker} is passed over: {error}");
                return Ok(());
            }
            Err(malformed) => return Err(malformed.into()),
        };
        let now = self.elapsed();
        let Some(primary) = &mut self.primary else {
            return self.understand_ours(worker, message);
        };
        if let Err(fault) = primary.hear(worker, message, now, orders) {
            return Err(Error::protocol(&fault.to_string()));
        }
        self.follow(orders);
        Ok(())
    }

    fn understand_ours(
        &mut self,
        worker: WorkerId,
        message: Message<'_>,
    ) -> Result<(), Error> {
        match message {
            Message::Cluster(Cluster { act, .. }) => match act {
                Act::Online { handoff: Some(_) } => {
                    self.emit(ClusterEvent::Online { worker });
                }
                Act::Listening { capacity, .. } => {
                    self.traffic.set_capacity(worker, capacity);
                    self.note(Event::Ready { worker });
                }
                Act::ExitedAfterDisconnect => {
                    self.leaving(worker);
                    self.dismiss(worker, None);
                }
                Act::Online { handoff: None }
                | Act::QueryServer(_)
                | Act::NewConnection { .. }
                | Act::Close { .. }
                | Act::Disconnect { .. }
                | Act::Reply { .. } => return Err(no_worker_of_ours()),
            },
            Message::HandleNack { first: Some(first) } => {
                self.traffic.nack(worker, first, self.now)?;
            }
            // It was asked to wake us, or gives something back.
            Message::HandleAck => self.traffic.look_at(worker)?,
            Message::User(json) => {
                debug!("worker {worker} says {json}");
                self.emit(ClusterEvent::Message { worker, json });
            }
            Message::Handle { .. }
            | Message::Connections { .. }
            | Message::Snapshot(_)
            | Message::HandleNack { first: None }
            | Message::Resume { .. }
            | Message::SocketGetCount { .. }
            | Message::SocketCount { .. }
            | Message::SocketNotifyClose { .. }
            | Message::SocketAllClosed { .. }
            | Message::Internal(_) => return Err(no_worker_of_ours()),
        }
        Ok(())
    }

    /// A worker announces that it will leave. It is taken out of the rotation
    /// at once: what it is answered is the last that it hears from us.
    fn leaving(&mut self, worker: WorkerId) {
        let proven = self.traffic.is_proven(worker);
        self.workers.announced(worker);
        self.withdraw(worker);
        self.note(Event::Leaving { worker, proven });
    }

    /// What a worker that closed its channel did not accept goes to others, if
    /// it answers for each.
    fn cut_off(&mut self, worker: WorkerId) {
        let Some(primary) = &mut self.primary else { return };
        primary.cut_off(worker);
        let others = self.traffic.cut_off(worker);
        if others > 0 {
            let had = "connections it had not accepted go to others";
            warn!("worker {worker} has closed its channel; {others} {had}");
        }
        self.look_for_the_stranded();
    }
}

/// What is done about the words of Node's workers.
impl Master {
    /// Carries out what the primary wants done.
    fn follow(&mut self, orders: &mut Vec<Order<'_>>) {
        let mut more = Vec::new();
        for order in orders.drain(..) {
            self.follow_one(order, &mut more);
        }
        // What came of an order may be worth another: an answer, at most.
        if !more.is_empty() {
            self.follow(&mut more);
        }
    }

    fn follow_one<'a>(&mut self, order: Order<'a>, more: &mut Vec<Order<'a>>) {
        match order {
            Order::Say { worker, message } => {
                self.workers.say(worker, &message, &self.poller);
            }
            Order::Reply { worker, reply } => {
                if let Answer::Denied { key, errno } = &reply.answer {
                    let why = refusal(key, *errno);
                    warn!("worker {worker} cannot listen on {why}");
                }
                self.workers.act(worker, reply.act(), &self.poller);
            }
            Order::Share(share) => {
                let shared = self.traffic.shared(share.server).map(|copy| {
                    let (worker, act) = (share.worker, share.reply.act());
                    self.workers.share(worker, act, copy, &self.poller);
                });
                if let Some(primary) = &mut self.primary {
                    primary.shared(&share, shared, more);
                }
            }
            Order::Open(query) => {
                let opened = self.open(&query);
                let now = self.elapsed();
                if let Some(primary) = &mut self.primary {
                    primary.opened(query, opened, now, more);
                }
            }
            Order::Close { server, key } => {
                info!("closing {}, nobody listens", place(&key));
                self.traffic.close(server, &mut self.poller);
                self.traffic.make_room_for(self.supervisor.workers());
            }
            Order::Join { worker, slot, server } => {
                self.traffic.join(worker, slot, server);
            }
            Order::Leave { worker, server } => {
                self.traffic.leave(worker, server);
            }
            Order::Taken { worker, server, number } => {
                let taken = self.traffic.taken(worker, server, number);
                if let Err(fault) = taken {
                    error!("worker {worker}: {fault}");
                    self.fail(worker);
                }
            }
            Order::Refused { worker, server, answered } => {
                if !answered {
                    warn!("worker {worker} is out of descriptors");
                }
                self.traffic.refused(worker, server, answered, self.now);
            }
            Order::Online { worker } => {
                self.emit(ClusterEvent::Online { worker });
            }
            Order::Ready { worker, missing } => {
                for key in missing {
                    let place = place(&key);
                    warn!("worker {worker} does not listen on {place}");
                }
                self.note(Event::Ready { worker });
            }
            Order::Refuse { worker, key, errno } => {
                let why = refusal(&key, errno);
                self.note(Event::Refused { worker, why });
            }
            Order::Leaving { worker } => self.leaving(worker),
            Order::User { worker, json } => {
                debug!("worker {worker} says {json:.200}");
                self.emit(ClusterEvent::Message { worker, json });
            }
        }
    }

    /// A worker takes connections from now on.
    fn admit(&mut self, worker: WorkerId) {
        let now = self.elapsed();
        let Some(primary) = &mut self.primary else {
            return self.traffic.admit(worker, self.now);
        };
        let mut orders = Vec::new();
        primary.admitted(worker, now, &mut orders);
        self.follow(&mut orders);
    }

    /// Opens what a worker asks for; the error is the system's number.
    fn open(&mut self, query: &Query<'_>) -> Result<Opened, i32> {
        if !self.traffic.has_room_for_a_server() {
            return Err(sys::Error::TOO_MANY_OPEN.errno());
        }
        let inherited = self.upgrade.claim(query.key.as_ref()).pop();
        let poller = &mut self.poller;
        let opened = self.traffic.open_asked(query, inherited, poller)?;
        self.traffic.make_room_for(self.supervisor.workers());
        Ok(opened)
    }

    /// The primary's part of whatever is due.
    pub(super) fn tick_primary(&mut self) {
        let now = self.elapsed();
        let mut orders = Vec::new();
        let Some(primary) = &mut self.primary else { return };
        primary.judge(now, &mut orders);
        // Whoever is ready by that is not awaited any more.
        self.follow(&mut orders);
        let Some(primary) = &mut self.primary else { return };
        let supervisor = &self.supervisor;
        let awaited = || supervisor.expects_workers();
        let slots = supervisor.workers();
        primary.close_deserted(now, slots, awaited, &mut orders);
        self.follow(&mut orders);
    }
}

/// What the supervisor hears, and decides.
impl Master {
    /// Tells the supervisor.
    pub(super) fn note(&mut self, event: Event) {
        let now = self.elapsed();
        if let Event::Ready { worker } = event {
            self.emit(ClusterEvent::Listening { worker });
        }
        self.supervisor.handle(now, event, &mut self.actions);
    }

    /// Lets the program that we run in know, and sends what it says.
    pub(super) fn emit(&mut self, event: ClusterEvent<'_>) {
        let Some(observer) = &mut self.observer else { return };
        let mut post = Post::default();
        let observe = AssertUnwindSafe(|| observer(event, &mut post));
        if catch_unwind(observe).is_err() {
            error!("the program's observer panicked, and is told no more");
            self.observer = None;
        }
        for (worker, json) in post.outgoing {
            if !self.workers.post(worker, &json, &self.poller) {
                warn!("worker {worker} does not listen: a message is dropped");
            }
        }
    }

    /// Carries out what the supervisor has decided.
    pub(super) fn act(&mut self) {
        while !self.actions.is_empty() {
            for action in std::mem::take(&mut self.actions) {
                self.carry_out(action);
            }
        }
    }

    fn carry_out(&mut self, action: Action) {
        match action {
            Action::Spawn { worker, slot, generation } => {
                debug!("worker {worker}: generation {generation}");
                self.spawn(worker, slot);
            }
            Action::Admit { worker } => {
                let age = self.workers.age(worker, self.now);
                let age = age.unwrap_or_default().as_secs_f32();
                info!("worker {worker} serves, {age:.1} s after its start");
                self.admit(worker);
                self.notifier.ready();
            }
            Action::Withdraw { worker } => self.withdraw(worker),
            Action::Disconnect { worker, why } => {
                self.dismiss(worker, Some(why));
            }
            Action::Terminate { worker, why } => {
                self.workers.terminate(worker, why);
            }
            Action::Kill { worker, why } => self.workers.kill(worker, why),
            Action::StopAccepting => self.traffic.begin_closing(),
            Action::Report(report) => {
                tell_operator(&report);
                self.notifier.report(&report);
                self.control.report(&report, &mut self.poller, self.now);
            }
            Action::Exit(outcome) => self.outcome = Some(outcome),
        }
    }

    fn spawn(&mut self, worker: WorkerId, slot: usize) {
        let (poller, now) = (&mut self.poller, self.now);
        let spawned = match self.workers.spawn(worker, slot, poller, now) {
            Ok(spawned) => spawned,
            Err(why) => {
                let line = format!("worker {worker} cannot be started: {why}");
                self.note(Event::SpawnFailed { worker, why });
                // The end of everything has a line of its own.
                if !self.supervisor.is_ending() {
                    warn!("{line}");
                }
                return;
            }
        };
        if worker == WorkerId(1) {
            self.announce();
        }
        info!("worker {worker}: pid {}", spawned.pid);
        self.traffic.attach(worker, slot, spawned.scoreboard);
        if let Some(primary) = &mut self.primary {
            primary.started(worker, slot, now - self.start);
        }
        let (pid, index) = (spawned.pid.cast_unsigned(), slot);
        self.emit(ClusterEvent::Fork { worker, pid, index });
    }

    /// A worker gets no more connections.
    fn withdraw(&mut self, worker: WorkerId) {
        self.traffic.withdraw(worker);
        if let Some(primary) = &mut self.primary {
            primary.withdrawn(worker);
        }
    }

    /// The last word to a worker: it is to finish, and to go. If others
    /// serve on, here or at the master that follows, it gives them what it
    /// has.
    fn dismiss(&mut self, worker: WorkerId, why: Option<Parting>) {
        debug!("worker {worker} is asked to leave");
        let give = self.workers.is_guarded() && self.traffic.goes_on();
        let ours = self.primary.is_none();
        let idle = (self.shutdown == Shutdown::Asked && ours)
            .then_some(IDLE_AT_STOP.as_millis() as u64);
        let word = Act::Disconnect { idle, give };
        self.workers.dismiss(worker, why, word, &self.poller);
    }
}

/// Where a worker cannot listen, why, what to do, and the system's words.
fn refusal(key: &str, errno: i32) -> String {
    let error = sys::Error::of_listen(errno);
    let (place, told, advice) = (place(key), error.to_string(), advice(error));
    match advice == told {
        true => format!("{place}: {told}"),
        false => format!("{place}: {advice} ({told})"),
    }
}

fn no_worker_of_ours() -> Error {
    Error::protocol("it is no worker of handoff")
}

fn tell_operator(report: &Report) {
    match report {
        Report::Degraded { .. } | Report::ReloadAbandoned { .. } => {
            warn!("{report}");
        }
        Report::Recovered
        | Report::ReloadBegan { .. }
        | Report::ReloadFinished { .. } => info!("{report}"),
    }
}
