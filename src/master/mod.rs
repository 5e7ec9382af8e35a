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

mod asked;
mod crew;
pub mod dispatcher;
mod doors;
mod link;
mod listener;
pub mod readiness;
pub mod scheduler;
mod spawn;
pub mod supervisor;
mod traffic;
mod upgrade;
mod watch;

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use log::{debug, error, info, warn};

use self::dispatcher::Dispatcher;
use self::doors::Doors;
use self::link::Link;
use self::listener::Listener;
use self::scheduler::Scheduler;
use self::spawn::Launcher;
use self::supervisor::{Action, Event, Outcome, Policy, Report, Supervisor};
use self::upgrade::{Inheritance, Successor};
use self::watch::Watch;
use crate::WorkerId;
use crate::config::Serve;
use crate::error::Error;
use crate::ipc::Message;
use crate::ipc::message::Act;
use crate::slab::{Key, Slab};
use crate::sys;
use crate::sys::clock;
use crate::sys::epoll::{Epoll, Events, Interest};
use crate::sys::signal::{Signal, SignalFd};

/// Events taken at once.
const EVENTS: usize = 256;

/// How long a stop serves on as if nothing had been asked, so that clients
/// which are in the kernel's queue are answered.
const LINGER: Duration = Duration::from_millis(100);

/// How long idle clients may take for one more request while we stop.
const IDLE_AT_STOP: Duration = Duration::from_millis(500);

/// Descriptors kept free for starting workers, beside those in use.
const RESERVE: usize = 16;

/// What an event is about.
#[derive(Clone, Copy, Debug)]
enum Source {
    Signals,
    Listener,
    Channel(WorkerId),
    Process(WorkerId),
    /// The new master of an upgrade.
    Successor,
}

/// The life of a master: until it is told to stop, or gives up.
pub(crate) fn run(
    settings: &Serve,
    scheduler: Box<dyn Scheduler>,
) -> Result<ExitCode, Error> {
    let mut master = Master::new(settings, scheduler)?;
    let mut events = Events::with_capacity(EVENTS);
    loop {
        master.tick()?;
        loop {
            master.act();
            master.relieve_predecessor();
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
        master.release();
        for index in 0..events.len() {
            let event = events.get(index);
            let key = Key::from_bits(event.data);
            match master.sources.get_mut(key).copied() {
                None => {} // It was closed earlier in this turn.
                Some(Source::Signals) => master.obey()?,
                Some(Source::Listener) => master.accept(key),
                Some(Source::Channel(worker)) => master.hear(worker, event),
                Some(Source::Process(worker)) => master.bury(worker)?,
                Some(Source::Successor) => master.watch_successor()?,
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
    /// Who hangs; and when to look again, while there are workers.
    watch: Option<Watch>,
    next_look: Option<Instant>,
    /// How long a worker may take to be ready.
    boot_timeout: Duration,
    /// The master that is to follow this one, until it is ready.
    successor: Option<Successor>,
    /// To tell the master before this one that it may go.
    predecessor: Option<OwnedFd>,
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
        let launcher = Launcher::this_program()?;
        let mut inheritance = Inheritance::take()?;
        let bound = Listener::bind_all(
            &settings.listen,
            settings.defer_accept,
            |name| inheritance.listeners_of(name),
        );
        for listener in bound? {
            let key = sources.insert(Source::Listener);
            epoll.add(listener.as_fd(), Interest::Read, key.bits())?;
            listeners.push((listener, key));
        }
        inheritance.discard_rest();
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
            launcher,
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
            patience: Duration::ZERO,
            stopping: false,
            emptied: false,
            watch: settings
                .hang_timeout
                .map(|timeout| Watch::new(timeout, clock::boottime())),
            next_look: None,
            boot_timeout: settings.boot_timeout,
            successor: None,
            predecessor: inheritance.ready,
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
            self.upgrade_deadline(),
            self.doors.deadline(),
            self.next_look,
        ]
        .into_iter()
        .flatten()
        .min()
        .map(|at| at.saturating_duration_since(self.now))
    }

    /// Whatever is due.
    fn tick(&mut self) -> Result<(), Error> {
        if self.upgrade_deadline().is_some_and(|at| at <= self.now) {
            self.watch_successor()?;
        }
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
        self.look_for_the_hung();
        self.supervisor.tick(self.elapsed(), &mut self.actions);
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
                    self.abandon_upgrade()?;
                    self.doors.stop_deferring();
                    self.note(Event::Stop);
                }
                Signal::HangUp => {
                    info!("{name}: reloading");
                    self.note(Event::Reload);
                }
                Signal::User2 => self.upgrade(),
                Signal::User1 | Signal::WindowChange => {
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
                let idle = self.stopping.then_some(IDLE_AT_STOP);
                let idle = idle.map(|idle| idle.as_millis() as u64);
                self.say(worker, Act::Disconnect { idle });
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
