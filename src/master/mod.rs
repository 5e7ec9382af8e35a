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

mod activation;
mod asked;
mod bind;
mod control;
mod crew;
pub mod dispatcher;
mod doors;
mod guest;
mod heir;
mod identity;
mod link;
mod listener;
mod node;
mod notify;
mod orders;
mod readiness;
mod recycle;
mod salvage;
pub mod scheduler;
mod server;
mod servers;
mod spawn;
mod start;
pub mod supervisor;
mod traffic;
mod trust;
mod upgrade;
mod usage;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use log::{error, info};

use self::control::Control;
use self::crew::Past;
use self::guest::Guest;
use self::heir::Heir;
use self::link::Link;
use self::notify::Notifier;
use self::recycle::Recycling;
use self::salvage::Lending;
use self::scheduler::Scheduler;
use self::server::{Server, ServerId};
use self::spawn::Launcher;
use self::supervisor::{Action, Outcome, Supervisor};
use self::upgrade::{Inheritance, Successor};
use self::watch::Watch;
use crate::WorkerId;
use crate::channel::Channel;
use crate::config::Serve;
use crate::error::Error;
use crate::event::Observer;
use crate::ipc::Message;
use crate::salvage::ward::Ward;
use crate::slab::{Key, Slab};
use crate::sys::epoll::{Epoll, Events};
use crate::sys::signal::SignalFd;

/// Events taken at once.
const EVENTS: usize = 256;

/// What the workers are.
#[derive(Debug)]
pub(crate) enum Job {
    /// This program again.
    Serve,
    /// Another program.
    Run(Vec<OsString>),
}

/// What an event is about.
#[derive(Clone, Copy, Debug)]
enum Source {
    Signals,
    Listener(ServerId),
    Channel(WorkerId),
    Process(WorkerId),
    /// The new master of an upgrade.
    Successor,
    /// The same, when it is ready: it gets what our workers have.
    Heir,
    /// The old one: what its workers had comes from there.
    Testator,
    /// The control socket.
    Control,
    /// A client of it.
    Operator,
}

/// The life of a master: until it is told to stop, or gives up.
pub(crate) fn run(
    settings: &Serve,
    job: Job,
    scheduler: Box<dyn Scheduler>,
    observer: Option<Observer>,
) -> Result<ExitCode, Error> {
    let mut master = Master::new(settings, job, scheduler)?;
    master.observer = observer;
    let mut events = Events::with_capacity(EVENTS);
    loop {
        master.tick()?;
        loop {
            master.act();
            master.relieve_predecessor()?;
            if master.has_handed_down()
                && let Some(outcome) = master.outcome.take()
            {
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
                Some(Source::Listener(id)) => master.accept(id, key),
                Some(Source::Channel(worker)) => master.hear(worker, event),
                Some(Source::Process(worker)) => master.bury(worker)?,
                Some(Source::Successor) => master.watch_successor()?,
                Some(Source::Heir) => master.attend_heir(event),
                Some(Source::Testator) => master.inherit(),
                Some(Source::Control) => master.receive_operators()?,
                Some(Source::Operator) => {
                    master.attend(key, event.is_gone())?;
                }
            }
        }
    }
}

struct Master {
    /// Connections that may be on their way to one worker: as the operator
    /// wants it, and as there are descriptors.
    widest: u64,
    window: u64,
    epoll: Epoll,
    sources: Slab<Source>,
    signals: SignalFd,
    servers: BTreeMap<ServerId, Server>,
    /// Names the next server that is asked for.
    next_server: u32,
    launcher: Launcher,
    supervisor: Supervisor,
    scheduler: Box<dyn Scheduler>,
    links: BTreeMap<WorkerId, Link>,
    /// What the supervisor wants done.
    actions: Vec<Action>,
    /// It wants us to exit.
    outcome: Option<Outcome>,
    /// Copies of connections that we hold, and how many we may.
    held: usize,
    most_held: usize,
    /// Of those: the ones that workers have.
    lending: Lending,
    /// Suspects of a death, heard one by one.
    ward: Ward<Guest>,
    /// Descriptors that this process may have.
    limit: usize,
    /// Workers that ran out of descriptors, and until when they rest.
    cooling: Vec<(Instant, WorkerId, ServerId)>,
    /// Nothing is sent before this.
    congested_until: Option<Instant>,
    /// The last attempt failed of that, and the log says so.
    congested: bool,
    /// Some cannot be sent before others have arrived.
    short: bool,
    /// When to look at the counters although nobody woke us.
    patience: Duration,
    stopping: bool,
    /// Somebody told us to, so that to tell us again means: now. A master
    /// that was relieved stops of itself.
    told_to_stop: bool,
    /// The doors are being closed, or are.
    closing: bool,
    /// The supervisor knows that nothing waits any more.
    emptied: bool,
    /// Who hangs; and when to look again, while there are workers.
    watch: Option<Watch>,
    next_look: Option<Instant>,
    /// How long a worker may take to be ready.
    boot_timeout: Duration,
    /// How many workers an operator has asked for: that outlives an upgrade.
    scaled: Option<usize>,
    /// The master that is to follow this one, until it is ready.
    successor: Option<Successor>,
    /// The one that follows this one, and gets what the workers have.
    heir: Option<Heir>,
    /// To tell the master before this one that it may go.
    predecessor: Option<OwnedFd>,
    /// It has gone, or is about to, and what it has left comes here.
    testator: Option<(Channel, Key, usize)>,
    /// What it left that nobody has asked for yet.
    inheritance: Inheritance,
    /// `run`: the servers that the worker of each slot had when it began to
    /// serve, and still has; its successor is measured by them.
    wanted: BTreeMap<usize, BTreeSet<String>>,
    /// `run`: where a listen on every address goes instead.
    host: Option<String>,
    /// `run`: a worker must say "ready".
    wait_ready: bool,
    control: Control,
    notifier: Notifier,
    recycling: Recycling,
    past: Past,
    /// Whom to tell of the workers in the program that we run in.
    observer: Option<Observer>,
    start: Instant,
    now: Instant,
}

/// The end.
impl Master {
    fn exit(&mut self, outcome: &Outcome) -> ExitCode {
        for server in self.servers.values_mut() {
            server.doors.slam(&self.epoll);
        }
        self.shut_control();
        self.notifier.exit(outcome);
        match outcome {
            Outcome::Stopped => {
                info!("{outcome}");
                ExitCode::SUCCESS
            }
            // The program was typed wrong.
            Outcome::CannotStart(_)
                if !self.servers.contains_key(&ServerId::OWN) =>
            {
                error!("{outcome}");
                ExitCode::from(2)
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
        let counters = self.patience().map(|patience| self.now + patience);
        let cooling = self.cooling.iter().map(|(until, ..)| *until).min();
        let doors = self.servers.values();
        let doors = doors.filter_map(|server| server.doors.deadline()).min();
        [
            supervisor,
            counters,
            cooling,
            self.congested_until,
            self.upgrade_deadline(),
            self.claims_end(),
            self.judgement(),
            self.closing_time(),
            doors,
            self.control.deadline(),
            self.recycling.deadline(),
            self.notifier.deadline(),
            self.next_look,
            self.ward.deadline().map(|after| self.start + after),
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
            self.hand_down();
        }
        let now = self.now;
        let rested: Vec<(Instant, WorkerId, ServerId)> =
            self.cooling.extract_if(.., |(until, ..)| *until <= now).collect();
        for (_, worker, id) in rested {
            let Some(server) = self.servers.get_mut(&id) else { continue };
            let resumed = server.dispatcher.resume(worker);
            // Node discards nothing, so it needs no number to go on from.
            if let Some(first) = resumed.filter(|_| id == ServerId::OWN) {
                self.tell(worker, &Message::Resume { first });
            }
        }
        self.judge();
        self.close_deserted();
        self.look_for_the_hung();
        self.expire_operators();
        self.recycle();
        self.attend_ward();
        self.notifier.tick(self.now);
        self.supervisor.tick(self.elapsed(), &mut self.actions);
        Ok(())
    }
}
