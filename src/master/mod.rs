//! The master: accepts, hands over, and watches over the workers.
//!
//! ```text
//!             ┌────────────────── epoll_wait ◀──────────────────┐
//!             ▼                                                 │
//!   signals · listeners · channels · pidfds · the time          │
//!      │          │           │         │         │             │
//!      ▼          ▼           ▼         ▼         ▼             │
//!   supervisor  dispatcher ◀─ lines   a death   tick            │
//!      │          │ ▲                                           │
//!      ▼          ▼ │ scheduler                                 │
//!   spawn, kill  sendmsg(SCM_RIGHTS) ───────────────────────────┘
//! ```
//!
//! The decisions are made in [`supervisor`], [`scheduler`] and
//! [`dispatcher`], which know no process and no socket. This file waits, asks
//! them, and carries out what they say. It parses no byte of a client, and no
//! worker can end it: what a worker does wrong costs that worker.

pub mod dispatcher;
mod doors;
mod link;
mod listener;
pub mod scheduler;
mod spawn;
pub mod supervisor;

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use log::{debug, error, info, warn};

use self::dispatcher::Dispatcher;
use self::doors::Doors;
use self::link::Link;
use self::listener::Listener;
use self::scheduler::Scheduler;
use self::spawn::Launcher;
use self::supervisor::{
    Action, Event, Exit, Outcome, Policy, Report, Supervisor,
};
use crate::WorkerId;
use crate::channel::{Channel, Heard};
use crate::config::Serve;
use crate::error::Error;
use crate::ipc::Message;
use crate::ipc::message::{Act, Answer, Cluster};
use crate::slab::{Key, Slab};
use crate::sys;
use crate::sys::epoll::{self, Epoll, Events, Interest};
use crate::sys::signal::{self, Signal, SignalFd};

/// Events taken at once.
const EVENTS: usize = 256;

/// How long a stop serves on as if nothing had been asked, so that clients
/// which are in the kernel's queue are answered.
const LINGER: Duration = Duration::from_millis(100);

/// Descriptors kept free for starting workers, beside those in use.
const RESERVE: usize = 16;

/// How long to wait when the system has too many descriptors on their way.
const CONGESTION: Duration = Duration::from_millis(10);

/// How long a worker that ran out of descriptors gets no more connections.
const COOL_DOWN: Duration = Duration::from_millis(100);

/// How soon the counters are looked at again, at first and at most, while
/// connections are on their way. Workers wake a master that waits for them;
/// this is for the copies that nobody waits for.
const LOOK_AGAIN: (Duration, Duration) =
    (Duration::from_millis(10), Duration::from_secs(1));

/// The same while somebody does wait: a net under the wake-up.
const LOOK_SOON: Duration = Duration::from_millis(1);

/// What an event is about.
#[derive(Clone, Copy, Debug)]
enum Source {
    Signals,
    Listener,
    Channel(WorkerId),
    Process(WorkerId),
}

/// The life of a master: until it is told to stop, or gives up.
pub(crate) fn run(
    settings: &Serve,
    scheduler: Box<dyn Scheduler>,
) -> Result<ExitCode, Error> {
    let mut master = Master::new(settings, scheduler)?;
    let mut events = Events::with_capacity(EVENTS);
    loop {
        master.tick();
        loop {
            master.act();
            if let Some(outcome) = master.outcome.take() {
                return Ok(master.exit(&outcome));
            }
            master.hand_over()?;
            if master.actions.is_empty() {
                break;
            }
        }
        master.epoll.wait(&mut events, master.timeout())?;
        master.now = Instant::now();
        master.look_at_counters();
        for index in 0..events.len() {
            let event = events.get(index);
            let key = Key::from_bits(event.data);
            match master.sources.get_mut(key).copied() {
                None => {} // It was closed earlier in this turn.
                Some(Source::Signals) => master.obey()?,
                Some(Source::Listener) => master.accept(key),
                Some(Source::Channel(worker)) => master.hear(worker, event),
                Some(Source::Process(worker)) => master.bury(worker)?,
            }
        }
    }
}

struct Master {
    window: u64,
    epoll: Epoll,
    sources: Slab<Source>,
    signals: SignalFd,
    doors: Doors,
    launcher: Launcher,
    supervisor: Supervisor,
    dispatcher: Dispatcher<OwnedFd>,
    scheduler: Box<dyn Scheduler>,
    links: BTreeMap<WorkerId, Link>,
    /// What the supervisor wants done.
    actions: Vec<Action>,
    /// It wants us to exit.
    outcome: Option<Outcome>,
    /// Copies of connections that we hold, and how many we may.
    held: usize,
    most_held: usize,
    /// Workers that ran out of descriptors, and until when they rest.
    cooling: Vec<(Instant, WorkerId)>,
    /// Nothing is sent before this.
    congested_until: Option<Instant>,
    /// When to look at the counters although nobody woke us.
    patience: Duration,
    stopping: bool,
    /// The supervisor knows that nothing waits any more.
    emptied: bool,
    start: Instant,
    now: Instant,
}

/// Start and end.
impl Master {
    fn new(
        settings: &Serve,
        scheduler: Box<dyn Scheduler>,
    ) -> Result<Master, Error> {
        let limit = sys::limit::raise_descriptors()?;
        let epoll = Epoll::new()?;
        let mut sources = Slab::new();
        let signals = SignalFd::new()?;
        let key = sources.insert(Source::Signals).bits();
        epoll.add(signals.as_fd(), Interest::Read, key)?;
        let mut listeners = Vec::new();
        for address in &settings.listen {
            for listener in Listener::bind(address, settings.defer_accept)? {
                let key = sources.insert(Source::Listener);
                let interest = Interest::Read;
                epoll.add(listener.as_fd(), interest, key.bits())?;
                listeners.push((listener, key));
            }
        }
        announce(&listeners, settings.workers, scheduler.name());
        let ours = 8 + RESERVE + listeners.len() + 3 * settings.workers;
        let start = Instant::now();
        let policy = Policy {
            workers: settings.workers,
            grace: settings.grace,
            linger: LINGER,
            boot_timeout: settings.boot_timeout,
            terminate_before_kill: None,
        };
        Ok(Master {
            window: settings.window as u64,
            epoll,
            sources,
            signals,
            doors: Doors::new(listeners),
            launcher: Launcher::this_program()?,
            supervisor: Supervisor::new(policy, Duration::ZERO),
            dispatcher: Dispatcher::new(),
            scheduler,
            links: BTreeMap::new(),
            actions: Vec::new(),
            outcome: None,
            held: 0,
            most_held: limit.saturating_sub(ours).max(1),
            cooling: Vec::new(),
            congested_until: None,
            patience: LOOK_AGAIN.0,
            stopping: false,
            emptied: false,
            start,
            now: start,
        })
    }

    fn exit(&mut self, outcome: &Outcome) -> ExitCode {
        self.doors.slam(&self.epoll);
        match outcome {
            Outcome::Stopped => {
                info!("{outcome}");
                ExitCode::SUCCESS
            }
            Outcome::CannotStart(_) | Outcome::GaveUp { .. } => {
                error!("{outcome}");
                ExitCode::FAILURE
            }
        }
    }
}

/// Time.
impl Master {
    fn elapsed(&self) -> Duration {
        self.now - self.start
    }

    fn timeout(&self) -> Option<Duration> {
        let supervisor =
            self.supervisor.deadline().map(|after| self.start + after);
        let counters = (self.held > 0 || self.is_waiting())
            .then(|| self.now + self.patience);
        let cooling = self.cooling.iter().map(|(until, _)| *until).min();
        [
            supervisor,
            counters,
            cooling,
            self.congested_until,
            self.doors.deadline(),
        ]
        .into_iter()
        .flatten()
        .min()
        .map(|at| at.saturating_duration_since(self.now))
    }

    /// Whatever is due.
    fn tick(&mut self) {
        if self.congested_until.is_some_and(|until| until <= self.now) {
            self.congested_until = None;
        }
        let now = self.now;
        let rested: Vec<WorkerId> = self
            .cooling
            .extract_if(.., |(until, _)| *until <= now)
            .map(|(_, worker)| worker)
            .collect();
        for worker in rested {
            if let Some(first) = self.dispatcher.resume(worker) {
                self.tell(worker, &Message::Resume { first });
            }
        }
        self.supervisor.tick(self.elapsed(), &mut self.actions);
    }
}

/// Connections.
impl Master {
    fn may_accept(&self) -> bool {
        self.dispatcher.has_room()
            && self.held < self.most_held
            && self.congested_until.is_none()
    }

    /// Only counters can help: somebody waits for room.
    fn is_waiting(&self) -> bool {
        self.dispatcher.parked() > 0
            || (!self.may_accept() && !self.doors.are_closed())
    }

    fn accept(&mut self, key: Key) {
        while self.may_accept() {
            let next = self.doors.accept(key, &self.epoll, self.now);
            let Some((socket, peer)) = next else { break };
            self.held += 1;
            self.dispatcher.offer(socket, peer, &mut *self.scheduler);
        }
    }

    /// Hands over what there is, and shuts or opens the doors. Before it lets
    /// the loop sleep with somebody waiting, it asks the workers to wake it,
    /// and looks once more (`scoreboard`).
    fn hand_over(&mut self) -> Result<(), Error> {
        loop {
            for key in self.doors.to_be_closed() {
                self.accept(key);
            }
            self.dispatcher.dispatch_parked(&mut *self.scheduler);
            self.send();
            self.doors.arm(self.may_accept(), &self.epoll, self.now)?;
            if !self.is_waiting() {
                break;
            }
            for link in self.links.values() {
                link.scoreboard.ask_to_be_woken();
            }
            if !self.look_at_counters() {
                break;
            }
        }
        let settled = self.doors.are_closed()
            && self.dispatcher.parked() == 0
            && self
                .links
                .keys()
                .all(|id| self.dispatcher.batch(*id).is_none());
        if settled && !self.emptied {
            self.emptied = true;
            self.note(Event::Emptied);
        }
        Ok(())
    }

    fn send(&mut self) {
        if self.congested_until.is_some() {
            return;
        }
        for (&worker, link) in &mut self.links {
            let mut blocked = false;
            while let Some(batch) = self.dispatcher.batch(worker) {
                let Some(channel) = link.channel() else { break };
                let connections: Vec<BorrowedFd<'_>> =
                    batch.connections().map(AsFd::as_fd).collect();
                let count = connections.len();
                let line = Message::Connections {
                    first: batch.first,
                    count: count as u64,
                };
                match channel.hand_over(&line, &connections) {
                    Ok(true) => self.dispatcher.sent(worker, count),
                    Ok(false) => {
                        blocked = true;
                        break;
                    }
                    Err(error) if error.is_too_many_in_flight() => {
                        debug!("{error}");
                        self.congested_until = Some(self.now + CONGESTION);
                        return;
                    }
                    Err(error) => {
                        // Its end is about to be heard.
                        debug!("worker {worker}: {error}");
                        break;
                    }
                }
            }
            link.watch(blocked, &self.epoll);
        }
    }

    /// Reads what the workers have published, and lets go of the connections
    /// that they have. Whether any counter has moved.
    fn look_at_counters(&mut self) -> bool {
        let held = self.held;
        let mut liars = Vec::new();
        for (&worker, link) in &self.links {
            if let Err(fault) =
                look_at(worker, link, &mut self.dispatcher, &mut self.held)
            {
                error!("worker {worker} cannot be trusted: {fault}");
                liars.push(worker);
            }
        }
        for worker in liars {
            self.condemn(worker);
        }
        let moved = self.held != held;
        let (first, most) = if self.is_waiting() {
            (LOOK_SOON, LOOK_AGAIN.1)
        } else {
            LOOK_AGAIN
        };
        self.patience =
            if moved { first } else { (self.patience * 2).clamp(first, most) };
        moved
    }
}

/// Hands a worker's counters to the dispatcher.
fn look_at(
    worker: WorkerId,
    link: &Link,
    dispatcher: &mut Dispatcher<OwnedFd>,
    held: &mut usize,
) -> Result<(), dispatcher::Fault> {
    // In this order: it counts what it received before what it closed.
    let closed = link.scoreboard.closed();
    let received = link.scoreboard.received();
    for connection in dispatcher.received(worker, received)? {
        *held -= 1;
        drop(connection);
    }
    dispatcher.closed(worker, closed)
}

/// Workers: what they say, and their ends.
impl Master {
    fn tell(&mut self, worker: WorkerId, message: &Message<'_>) {
        if let Some(link) = self.links.get_mut(&worker) {
            link.say(message, &self.epoll);
        }
    }

    /// Something about a worker's channel.
    fn hear(&mut self, worker: WorkerId, event: epoll::Event) {
        let Some(link) = self.links.get_mut(&worker) else { return };
        if event.is_writable()
            && let Some(channel) = link.channel()
        {
            if let Err(error) = channel.flush() {
                debug!("worker {worker}: {error}");
            }
            link.watch(false, &self.epoll);
        }
        if event.is_readable() || event.is_gone() {
            self.listen(worker);
        }
    }

    /// Reads the channel once. Whether there may be more.
    fn listen(&mut self, worker: WorkerId) -> bool {
        let Some(link) = self.links.get_mut(&worker) else { return false };
        let Some(channel) = link.channel() else { return false };
        let mut said = Vec::new();
        let result = hear_lines(channel, &mut said);
        for word in said {
            self.understand(worker, word);
        }
        match result {
            Ok(Heard::Something) => true,
            Ok(Heard::Nothing) => false,
            Ok(Heard::End) => {
                self.hang_up(worker);
                false
            }
            Err(fault) => {
                error!("worker {worker} is not understood: {fault}");
                self.condemn(worker);
                false
            }
        }
    }

    fn understand(&mut self, worker: WorkerId, word: Word) {
        let Some(link) = self.links.get_mut(&worker) else { return };
        let proven = link.is_proven();
        match word {
            Word::Ready { capacity } => {
                debug!("worker {worker} is ready for {capacity:?}");
                link.capacity = capacity;
                self.note(Event::Ready { worker });
            }
            Word::Leaves { seq } => {
                self.note(Event::Leaving { worker, proven });
                // Out of the rotation first: the reply is the last that it
                // hears from us.
                self.act();
                let answer = Answer::Done;
                self.say(worker, Act::Reply { ack: seq, answer });
            }
            Word::Misses { first } => {
                warn!("worker {worker} is out of descriptors");
                match self.dispatcher.nack(worker, first) {
                    Ok(_) => {
                        self.cooling.push((self.now + COOL_DOWN, worker));
                    }
                    Err(fault) => {
                        error!("worker {worker} cannot be trusted: {fault}");
                        self.condemn(worker);
                    }
                }
            }
            Word::Says(text) => debug!("worker {worker} says {text}"),
        }
    }

    /// Says something of Node's `cluster`.
    fn say(&mut self, worker: WorkerId, act: Act<'_>) {
        if let Some(link) = self.links.get_mut(&worker) {
            let seq = Some(link.next_seq());
            let message = Message::Cluster(Cluster { seq, act });
            link.say(&message, &self.epoll);
        }
    }

    /// The channel is of no use any more.
    fn hang_up(&mut self, worker: WorkerId) {
        let Some(link) = self.links.get_mut(&worker) else { return };
        let Some(key) = link.hang_up(&self.epoll) else { return };
        let proven = link.is_proven();
        self.sources.remove(key);
        self.note(Event::ChannelEnded { worker, proven });
    }

    /// A worker that breaks the rules: it costs its life, nobody else's.
    fn condemn(&mut self, worker: WorkerId) {
        if let Some(link) = self.links.get(&worker) {
            link.child.kill();
        }
        self.hang_up(worker);
    }

    /// A worker that has ended. What it had not received goes to others.
    fn bury(&mut self, worker: WorkerId) -> Result<(), Error> {
        let Some(link) = self.links.get(&worker) else { return Ok(()) };
        let Some(how) = link.reap(&self.epoll)? else { return Ok(()) };
        // Its last words may lie in the channel, and count.
        while self.listen(worker) {}
        self.hang_up(worker);
        let Some(link) = self.links.remove(&worker) else { return Ok(()) };
        self.sources.remove(link.process_key);
        let mut held = self.held;
        if let Err(fault) =
            look_at(worker, &link, &mut self.dispatcher, &mut held)
        {
            error!("worker {worker} left wrong counters: {fault}");
        }
        self.held = held;
        let others = self.dispatcher.lost(worker);
        obituary(worker, &link, how, others, self.now);
        if self.doors.are_closed() && self.dispatcher.parked() > 0 {
            self.emptied = false;
            self.note(Event::Stranded);
        }
        let proven = link.is_proven();
        self.note(Event::Exited { worker, how, proven });
        Ok(())
    }
}

/// What the supervisor is told, and what it wants.
impl Master {
    fn note(&mut self, event: Event) {
        let now = self.elapsed();
        self.supervisor.handle(now, event, &mut self.actions);
    }

    /// Signals to the master.
    fn obey(&mut self) -> Result<(), Error> {
        while let Some(signal) = self.signals.read()? {
            let name = signal.name();
            match signal {
                Signal::Terminate | Signal::Interrupt if self.stopping => {
                    info!("{name} again: stopping now");
                    self.note(Event::StopNow);
                }
                Signal::Terminate | Signal::Interrupt | Signal::Quit => {
                    info!("{name}: stopping");
                    self.stopping = true;
                    self.doors.stop_deferring();
                    self.note(Event::Stop);
                }
                Signal::HangUp => {
                    info!("{name}: reloading");
                    self.note(Event::Reload);
                }
                Signal::User1 | Signal::User2 | Signal::WindowChange => {
                    debug!("{name}: ignored");
                }
            }
        }
        Ok(())
    }

    /// Carries out what the supervisor has decided.
    fn act(&mut self) {
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
                if let Some(link) = self.links.get(&worker) {
                    let (slot, capacity) = (link.slot, link.capacity);
                    let window = self.window;
                    self.dispatcher.admit(worker, slot, window, capacity);
                }
            }
            Action::Withdraw { worker } => {
                self.dispatcher.withdraw(worker);
            }
            Action::Disconnect { worker } => {
                debug!("worker {worker} is asked to leave");
                self.say(worker, Act::Disconnect);
            }
            Action::Terminate { worker, why } => {
                if let Some(link) = self.links.get(&worker) {
                    warn!("worker {worker} is sent SIGTERM: {why}");
                    link.child.terminate();
                }
            }
            Action::Kill { worker, why } => {
                if let Some(link) = self.links.get(&worker) {
                    warn!("worker {worker} is killed: {why}");
                    link.child.kill();
                }
            }
            Action::StopAccepting => self.doors.begin_closing(),
            Action::Report(report) => tell_operator(&report),
            Action::Exit(outcome) => self.outcome = Some(outcome),
        }
    }

    fn spawn(&mut self, worker: WorkerId, slot: usize) {
        let started = match self.launcher.spawn(worker, slot) {
            Ok(started) => started,
            Err(error) => {
                warn!("worker {worker} cannot be started: {error}");
                let why = error.to_string();
                return self.note(Event::SpawnFailed { worker, why });
            }
        };
        let process_key = self.sources.insert(Source::Process(worker));
        let channel_key = self.sources.insert(Source::Channel(worker));
        let link =
            Link::new(slot, started, process_key, channel_key, self.now);
        match link.register(&self.epoll) {
            Ok(()) => {
                info!("worker {worker}: pid {}", link.child.pid());
                self.links.insert(worker, link);
            }
            Err(error) => {
                warn!("worker {worker} cannot be watched: {error}");
                self.sources.remove(process_key);
                self.sources.remove(channel_key);
                link.child.kill();
                let why = match link.child.wait() {
                    Ok(_) => error.to_string(),
                    Err(error) => error.to_string(),
                };
                self.note(Event::SpawnFailed { worker, why });
            }
        }
    }
}

/// What a worker may say, in our own words: the line it stood in is gone when
/// it is acted on.
#[derive(Debug)]
enum Word {
    Ready { capacity: Option<u64> },
    Leaves { seq: u64 },
    Misses { first: u64 },
    Says(String),
}

/// Reads a channel once and appends what was said.
fn hear_lines(
    channel: &mut Channel,
    said: &mut Vec<Word>,
) -> Result<Heard, Error> {
    let heard = match channel.hear() {
        Ok(heard) => heard,
        // The worker died with something of ours unread.
        Err(error) if error.is_peer_gone() => Heard::End,
        Err(error) => return Err(error.into()),
    };
    while let Some((line, _)) = channel.line()? {
        let not_ours = || Err(Error::protocol("it is no worker of handoff"));
        said.push(match Message::parse(line)? {
            Message::Cluster(Cluster { seq, act }) => match act {
                Act::Online { handoff: Some(_) } => continue,
                Act::Listening { capacity, .. } => Word::Ready { capacity },
                Act::ExitedAfterDisconnect => {
                    Word::Leaves { seq: seq.unwrap_or_default() }
                }
                Act::Online { handoff: None }
                | Act::QueryServer(_)
                | Act::NewConnection { .. }
                | Act::Close { .. }
                | Act::Disconnect
                | Act::Reply { .. } => return not_ours(),
            },
            Message::HandleNack { first: Some(first) } => {
                Word::Misses { first }
            }
            // It was asked to wake us, and has.
            Message::HandleAck => continue,
            Message::User(text) => Word::Says(text.to_owned()),
            Message::Handle { .. }
            | Message::Connections { .. }
            | Message::HandleNack { first: None }
            | Message::Resume { .. }
            | Message::SocketGetCount { .. }
            | Message::SocketCount { .. }
            | Message::SocketNotifyClose { .. }
            | Message::SocketAllClosed { .. }
            | Message::Internal(_) => return not_ours(),
        });
    }
    Ok(heard)
}

/// The one line that a person needs at the start.
fn announce(listeners: &[(Listener, Key)], workers: usize, policy: &str) {
    let places: Vec<String> =
        listeners.iter().map(|(listener, _)| listener.to_string()).collect();
    let places = places.join(", ");
    let plural = if workers == 1 { "" } else { "s" };
    let pid = std::process::id();
    info!(
        "listening on {places}, {workers} worker{plural}, {policy}, pid {pid}"
    );
}

/// One line for a worker that has ended, whatever it ended of.
fn obituary(
    worker: WorkerId,
    link: &Link,
    how: Exit,
    others: usize,
    now: Instant,
) {
    let pid = link.child.pid();
    let words = match how {
        Exit::Code(code) => format!("exited with status {code}"),
        Exit::Signal(number) => {
            format!("was killed by {}", signal::name_of(number))
        }
    };
    let age = link.age(now).as_secs_f32();
    let moved = match others {
        0 => String::new(),
        n => format!("; {n} connections it had not received go to others"),
    };
    let line =
        format!("worker {worker}, pid {pid}, {words} after {age:.1} s{moved}");
    match how {
        Exit::Code(0) => info!("{line}"),
        Exit::Code(_) | Exit::Signal(_) => warn!("{line}"),
    }
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
