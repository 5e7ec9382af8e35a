//! The master: accepts, hands over, and watches over the workers.
//!
//! ```text
//!             ┌────────────────── epoll_wait ◀──────────────────┐
//!             ▼                                                 │
//!   signals · listeners · channels · pidfds · the time          │
//!      │          │           │         │         │             │
//!      ▼          ▼           ▼         ▼         ▼             │
//!   supervisor  traffic ◀── lines     reap      tick            │
//!      │          │                                             │
//!      ▼          ▼                                             │
//!   workers     sendmsg(SCM_RIGHTS) ────────────────────────────┘
//! ```
//!
//! It is made of parts that own their state, and that nobody else can touch:
//!
//! | part | owns |
//! |---|---|
//! | `poller` | what is waited for |
//! | `supervisor` | which workers there should be: decides, and does nothing |
//! | `workers` | the processes, and the channels to them |
//! | `traffic` | the listeners, and every connection |
//! | `primary` | what Node's workers were promised |
//! | `upgrade` | the masters before and after this one |
//! | `control` | the operators' socket |
//!
//! This file is where they meet: it waits, and says who does what, in which
//! order. What the supervisor and the workers say is carried out in `orders`,
//! what operators say in `commands`, and `start` puts all of it together. The
//! master parses no byte of a client, and no worker can end it.

mod activation;
mod bind;
mod commands;
mod control;
pub mod dispatcher;
mod listener;
mod notify;
mod orders;
mod poller;
mod primary;
mod readiness;
mod refusals;
pub mod scheduler;
mod server;
mod start;
pub mod supervisor;
mod traffic;
mod trust;
mod upgrade;
mod workers;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use log::{error, info, warn};

use self::control::Control;
use self::notify::Notifier;
use self::poller::{Poller, Source};
use self::primary::Primary;
use self::scheduler::Scheduler;
use self::supervisor::{Action, Event, Exit, Outcome, State, Supervisor};
use self::traffic::{Faulty, Traffic};
use self::upgrade::{Progress, Upgrade};
use self::workers::{Death, Workers};
use crate::WorkerId;
use crate::config::Settings;
use crate::error::Error;
use crate::event::{Event as ClusterEvent, Observer};
use crate::ipc::Message;
use crate::sys::epoll::Events;
use crate::sys::lock;
use crate::sys::process;
use crate::sys::signal::{self, SignalFd};

/// Events taken at once.
const EVENTS: usize = 256;

/// How often the channel of a dead worker is read at most; each time brings
/// some kilobytes, of a few hundred that a channel holds.
const DRAIN_READS: usize = 1024;

/// What the workers are.
#[derive(Debug)]
pub(crate) enum Mode {
    /// This program again.
    Serve,
    /// Another program.
    Run(Vec<OsString>),
}

/// The life of a master: until it is told to stop, or gives up.
///
/// Three fixed points are nested here. A decision of the supervisor may make
/// the next one due at once, so `act` goes on until there is none. What is
/// sent and seen in `turn` may bring worse: a worker that lies is ended, and
/// a listener that is empty ends a stop; so both are repeated until nothing is
/// left to do. Within it the traffic has a loop of its own, over what only
/// the counters tell (`Traffic::turn`). The loop may sleep only when all
/// three have come to rest: no event tells of what was left undone.
pub(crate) fn run(
    settings: &Settings,
    mode: Mode,
    scheduler: Box<dyn Scheduler>,
    observer: Option<Observer>,
) -> Result<ExitCode, Error> {
    let mut master = Master::new(settings, mode, scheduler)?;
    master.observer = observer;
    let mut events = Events::with_capacity(EVENTS);
    loop {
        master.tick()?;
        loop {
            master.act();
            master.relieve_previous()?;
            master.turn()?;
            if master.upgrade.is_done(&master.traffic)
                && let Some(outcome) = master.outcome.take()
            {
                return Ok(master.exit(&outcome));
            }
            if master.actions.is_empty() {
                break;
            }
        }
        master.poller.wait(&mut events, master.timeout())?;
        master.now = Instant::now();
        master.look();
        for index in 0..events.len() {
            let event = events.get(index);
            let Some((key, source)) = master.poller.source(event) else {
                continue; // It was closed earlier in this turn.
            };
            match source {
                Source::Signals => master.obey()?,
                Source::Listener(id) => {
                    let (poller, now) = (&mut master.poller, master.now);
                    master.traffic.accept(id, key, poller, now);
                }
                Source::Channel(worker) => master.attend(worker, event),
                Source::Process(worker) => {
                    master.reap(worker)?;
                    // Behind its zombie others may have been overlooked.
                    if process::is_reaper() {
                        master.reap_strangers()?;
                    }
                }
                Source::NextMaster => master.watch_next()?,
                Source::Handover => {
                    let poller = &mut master.poller;
                    master.upgrade.attend(event, &mut master.traffic, poller);
                }
                Source::PreviousMaster => master.receive(),
                Source::Control => master.accept_commands()?,
                Source::ControlClient => {
                    master.attend_client(key, event.is_gone())?;
                }
            }
        }
    }
}

struct Master {
    poller: Poller,
    signals: SignalFd,
    supervisor: Supervisor,
    /// What the supervisor wants done.
    actions: Vec<Action>,
    /// The supervisor wants us to exit.
    outcome: Option<Outcome>,
    shutdown: Shutdown,
    workers: Workers,
    traffic: Traffic,
    /// `run`: what Node's workers were promised.
    primary: Option<Primary>,
    upgrade: Upgrade,
    control: Control,
    notifier: Notifier,
    /// Whom to tell of the workers in the program that we run in.
    observer: Option<Observer>,
    start: Instant,
    now: Instant,
}

/// Whether the master is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shutdown {
    No,
    /// An operator asked for it: to ask again means: now.
    Asked,
    /// The next master is ready. Nobody has asked for anything yet.
    Superseded,
}

/// A worker's end.
impl Master {
    /// A worker has ended, or seems to have. What it had goes to others.
    fn reap(&mut self, worker: WorkerId) -> Result<(), Error> {
        if self.workers.lingers(worker, &mut self.poller)? {
            return Ok(());
        }
        // What it said last may lie in the channel, and counts. That is read
        // before the process is waited for: should a line be worth a kill,
        // its pid is still its own.
        self.drain(worker);
        let (poller, now) = (&mut self.poller, self.now);
        let ended = self.workers.reap(worker, poller, now)?;
        let Some(death) = ended else { return Ok(()) };
        // First in line again is what it had, then what it was sent and had
        // not received: nobody else is given anything in between.
        let (loss, looked) = self.traffic.lost(worker, death);
        if let Err(fault) = looked {
            error!("worker {worker} left wrong counters: {fault}");
        }
        if let Some(primary) = &mut self.primary {
            primary.lost(worker);
        }
        log_exit(worker, &death, loss.moved);
        // Before its end is told, which may otherwise be the end of all.
        self.look_for_the_stranded();
        let (how, proven) = (death.how, loss.proven);
        self.note(Event::Exited { worker, how, proven });
        self.emit(exit_event(worker, how));
        Ok(())
    }

    /// Reads the channel of a worker to its end, and closes it. That is
    /// bounded: whatever was not in the channel by now comes from somebody
    /// who has inherited it, and may write for ever.
    fn drain(&mut self, worker: WorkerId) {
        for _ in 0..DRAIN_READS {
            if !self.hear(worker) {
                break;
            }
        }
        self.hang_up(worker);
    }

    /// A worker that breaks the rules: it costs its life, nobody else's.
    fn fail(&mut self, worker: WorkerId) {
        self.workers.fail(worker);
        self.note(Event::Broken { worker });
        self.hang_up(worker);
    }

    /// The channel is of no use any more.
    fn hang_up(&mut self, worker: WorkerId) {
        if self.workers.hang_up(worker, &mut self.poller) {
            let proven = self.traffic.is_proven(worker);
            self.note(Event::ChannelEnded { worker, proven });
            self.emit(ClusterEvent::Disconnect { worker });
        }
    }

    fn fail_all(&mut self, faults: Vec<Faulty>) {
        for (worker, fault) in faults {
            error!("worker {worker} cannot be trusted: {fault}");
            self.fail(worker);
        }
    }

    /// Tells if connections wait for a worker and there may be none to come.
    fn look_for_the_stranded(&mut self) {
        if self.traffic.is_stranded() {
            self.note(Event::Stranded);
        }
    }

    fn exit(&mut self, outcome: &Outcome) -> ExitCode {
        self.traffic.close_all(&mut self.poller);
        self.control.close(&mut self.poller);
        self.notifier.exit(outcome);
        match outcome {
            Outcome::Stopped => {
                info!("{outcome}");
                ExitCode::SUCCESS
            }
            Outcome::CannotStart(_) if self.workers.is_mistyped() => {
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

/// The flow of connections.
impl Master {
    /// What workers have published since the loop slept.
    fn look(&mut self) {
        let faults = self.traffic.look();
        self.fail_all(faults);
    }

    /// Sends and takes what can be, and tells the supervisor when there is
    /// nothing left.
    fn turn(&mut self) -> Result<(), Error> {
        let (poller, now) = (&mut self.poller, self.now);
        let primary = self.primary.as_mut();
        let faults =
            self.traffic.turn(&mut self.workers, primary, poller, now)?;
        self.fail_all(faults);
        let (traffic, poller) = (&mut self.traffic, &mut self.poller);
        self.upgrade.flush(traffic, poller, now);
        self.look_for_the_stranded();
        if self.supervisor.is_closing() && self.traffic.is_settled() {
            self.note(Event::Emptied);
        }
        Ok(())
    }

    /// Takes over what the previous master's workers had.
    fn receive(&mut self) {
        for connection in self.upgrade.receive(&mut self.poller) {
            self.traffic.adopt(connection);
        }
    }

    /// Tells the master before this one to go, once every worker is ready.
    fn relieve_previous(&mut self) -> Result<(), Error> {
        if !self.upgrade.may_relieve(self.now) {
            return Ok(());
        }
        let workers = self.supervisor.status();
        if workers.iter().all(|worker| worker.state == State::Ready) {
            self.upgrade.discard_rest();
            let is_own = |path: &Path| self.traffic.is_at(path);
            let (turn, poller) = (lock::folder_if_free, &mut self.poller);
            self.control.open(true, is_own, turn, poller)?;
            self.upgrade.relieve(&mut self.poller)?;
            self.traffic.take_over();
        }
        Ok(())
    }

    /// Something about the next master: it is ready, or has ended, or is late.
    fn watch_next(&mut self) -> Result<(), Error> {
        match self.upgrade.watch(&mut self.poller, self.now)? {
            Progress::Nothing => {}
            Progress::Ready { pid } => {
                self.shutdown = Shutdown::Superseded;
                self.traffic.hand_over();
                self.control.close(&mut self.poller);
                self.notifier.hand_over(pid);
                self.note(Event::Stop);
            }
            Progress::Abandoned => self.control.restore(&mut self.poller),
        }
        Ok(())
    }
}

/// Time.
impl Master {
    fn elapsed(&self) -> Duration {
        self.now - self.start
    }

    /// How long the loop may sleep.
    fn timeout(&self) -> Option<Duration> {
        let supervisor = self.supervisor.deadline();
        let primary = self.primary.as_ref().and_then(Primary::deadline);
        [
            supervisor.map(|after| self.start + after),
            self.traffic.deadline(self.now),
            self.workers.deadline(),
            primary.map(|after| self.start + after),
            self.upgrade.deadline(self.now),
            self.control.deadline(),
            self.notifier.deadline(),
        ]
        .into_iter()
        .flatten()
        .min()
        .map(|at| at.saturating_duration_since(self.now))
    }

    /// Whatever is due.
    fn tick(&mut self) -> Result<(), Error> {
        let now = self.now;
        if self.upgrade.is_late(now) {
            self.watch_next()?;
        }
        for (worker, first) in self.traffic.tick(now) {
            let message = Message::Resume { first };
            self.workers.say(worker, &message, &self.poller);
        }
        self.tick_primary();
        self.look_at_the_late();
        self.look_for_the_hung();
        self.control.tick(&mut self.poller, now);
        self.look_for_the_overgrown();
        self.notifier.tick(now);
        self.supervisor.tick(self.elapsed(), &mut self.actions);
        Ok(())
    }

    fn look_at_the_late(&mut self) {
        let Some(primary) = &self.primary else { return };
        let lack = |worker| primary.lack(worker);
        self.workers.look_at_the_late(self.now, lack);
    }

    fn look_for_the_hung(&mut self) {
        let hung = self.workers.look(self.now, |worker, is_stopped| {
            self.traffic.sample(worker, is_stopped)
        });
        if let Some(worker) = hung {
            self.note(Event::Hung { worker });
        }
    }

    /// Has workers replaced that have done enough, or grown too large.
    fn look_for_the_overgrown(&mut self) {
        if !self.workers.is_check_due(self.now) {
            return;
        }
        for status in self.supervisor.status() {
            if let Some(worker) = status.worker
                && status.state == State::Ready
                && let requests = self.traffic.requests(worker)
                && let Some(why) = self.workers.over_limit(worker, requests)
            {
                info!("worker {worker} is to be replaced: {why}");
                self.note(Event::Recycle { worker });
            }
        }
    }
}

/// One line for a worker that has ended, whatever it ended of.
fn log_exit(worker: WorkerId, death: &Death, others: usize) {
    let Death { pid, how, .. } = *death;
    let words = match how {
        Exit::Code(code) => format!("exited with status {code}"),
        Exit::Signal(number) => {
            format!("was killed by {}", signal::name_of(number))
        }
    };
    let age = death.age.as_secs_f32();
    let moved = match others {
        0 => String::new(),
        n => format!("; {n} connections it had not received go to others"),
    };
    let why = match (death.leaving, death.announced) {
        (Some(why), _) => format!(": {why}"),
        (None, true) => ": it wanted to".to_owned(),
        (None, false) => String::new(),
    };
    let life = format!("{words} after {age:.1} s{why}");
    let line = format!("worker {worker}, pid {pid}, {life}{moved}");
    match how {
        Exit::Code(0) => info!("{line}"),
        Exit::Code(_) | Exit::Signal(_) => warn!("{line}"),
    }
}

/// The same for the program that we run in.
fn exit_event(worker: WorkerId, how: Exit) -> ClusterEvent<'static> {
    let (code, signal) = match how {
        Exit::Code(code) => (Some(code), None),
        Exit::Signal(signal) => (None, Some(signal)),
    };
    ClusterEvent::Exit { worker, code, signal }
}
