//! The commands of operators, by signals and at the control socket: what each
//! does to the whole.

use std::collections::BTreeMap;

use log::{debug, error, info, warn};

use super::dispatcher::Counts;
use super::supervisor::{self, Event, State};
use super::{Master, Shutdown};
use crate::WorkerId;
use crate::control::{self, Format, Phase, Reply, Request, Status};
use crate::error::Error;
use crate::slab::Key;
use crate::sys::process;
use crate::sys::signal::Signal;

/// Signals, and what they ask for.
impl Master {
    /// Signals to the master.
    pub(super) fn obey(&mut self) -> Result<(), Error> {
        while let Some(signal) = self.signals.read()? {
            let name = signal.name();
            match signal {
                Signal::Terminate | Signal::Interrupt
                    if self.shutdown == Shutdown::Asked =>
                {
                    info!("{name} again: stopping now");
                    // Else our end would wait for a new master that hangs.
                    let (traffic, poller) =
                        (&mut self.traffic, &mut self.poller);
                    self.upgrade.lose_next("stopping now", traffic, poller);
                    self.note(Event::StopNow);
                }
                Signal::Terminate | Signal::Interrupt | Signal::Quit => {
                    info!("{name}: stopping");
                    self.stop()?;
                }
                Signal::HangUp => {
                    info!("{name}: reloading");
                    self.note(Event::Reload);
                }
                Signal::User2 => self.start_upgrade(),
                Signal::User1 | Signal::WindowChange => {
                    debug!("{name}: ignored");
                }
                Signal::Child => self.reap_strangers()?,
            }
        }
        Ok(())
    }

    /// Stops, and loses nothing that was accepted.
    pub(super) fn stop(&mut self) -> Result<(), Error> {
        self.shutdown = Shutdown::Asked;
        self.notifier.stopping();
        self.upgrade.abandon(&mut self.poller)?;
        if self.upgrade.stand_down() {
            self.traffic.close_all(&mut self.poller);
        }
        self.traffic.stop();
        self.note(Event::Stop);
        Ok(())
    }

    /// SIGUSR2: a new master is to take over.
    fn start_upgrade(&mut self) {
        if std::process::id() == 1 {
            // Our exit would end the container and the new master with it.
            warn!("no upgrade: process 1 cannot be replaced by its child");
        } else if self.shutdown != Shutdown::No {
            warn!("no upgrade: stopping");
        } else if self.upgrade.is_under_way() {
            warn!("no upgrade: one is under way");
        } else {
            let (workers, poller) = (&mut self.workers, &mut self.poller);
            let sockets = self.traffic.sockets();
            let started =
                self.upgrade.start(sockets, workers, poller, self.now);
            if let Err(error) = started {
                error!("no upgrade: {error}");
            }
        }
    }

    /// As the first process of a container we are everybody's parent who has
    /// lost theirs: whoever of them ends is to be waited for, or stays a
    /// zombie. Our own are left to those who know them by their pidfds.
    pub(super) fn reap_strangers(&mut self) -> Result<(), Error> {
        while let Some(pid) = process::ended_child()? {
            match self.workers.find(pid) {
                Some(worker) => {
                    self.reap(worker)?;
                    // It lingers: nobody is seen behind its zombie.
                    if self.workers.pid(worker).is_some() {
                        break;
                    }
                }
                None if self.upgrade.is_next(pid) => self.watch_next()?,
                None => {
                    debug!("process {pid} has ended: not one of ours");
                    process::forget_child(pid)?;
                }
            }
        }
        Ok(())
    }
}

/// The control socket.
impl Master {
    /// Clients at the control socket, and what they want.
    pub(super) fn accept_commands(&mut self) -> Result<(), Error> {
        while let Some((key, request)) =
            self.control.accept(&mut self.poller, self.now)
        {
            self.execute(key, request)?;
        }
        Ok(())
    }

    /// Something about a client of the control socket.
    pub(super) fn attend_client(
        &mut self,
        key: Key,
        gone: bool,
    ) -> Result<(), Error> {
        let (poller, now) = (&mut self.poller, self.now);
        match self.control.attend(key, gone, poller, now) {
            Some((key, request)) => self.execute(key, request),
            None => Ok(()),
        }
    }

    /// Does what a client asks for, and answers it.
    fn execute(&mut self, key: Key, request: Request) -> Result<(), Error> {
        let stopping = self.supervisor.is_stopping();
        let reply = match request {
            Request::Status(Format::Json) => {
                Reply::Status(self.status().to_json())
            }
            Request::Status(Format::Table) => {
                Reply::Table(self.status().to_table())
            }
            Request::Stop if stopping => {
                Reply::Done("stopping already".to_owned())
            }
            Request::Stop => {
                info!("handoff stop: stopping");
                self.stop()?;
                Reply::Done("stopping".to_owned())
            }
            Request::Reload | Request::Scale(_) if stopping => {
                Reply::Error("the master is stopping".to_owned())
            }
            // It has been told a number already, and would not hear of it.
            Request::Scale(_) if self.upgrade.is_starting() => {
                let why = "a new master is starting: ask it when it is ready";
                Reply::Error(why.to_owned())
            }
            Request::Scale(workers) => self.scale(workers),
            Request::Reload => match self.reload_for(key) {
                Ok(()) => return Ok(()),
                Err(why) => Reply::Error(why),
            },
        };
        self.control.answer(key, &reply, &mut self.poller, self.now);
        Ok(())
    }

    fn scale(&mut self, workers: usize) -> Reply {
        let before = self.supervisor.workers();
        let words = format!("workers: {workers} wanted, {before} before");
        info!("handoff scale: {words}");
        self.upgrade.scale(workers);
        self.traffic.make_room_for(workers);
        self.note(Event::Resize(workers));
        Reply::Done(words)
    }

    /// Reloads; the client hears of it at the end.
    fn reload_for(&mut self, key: Key) -> Result<(), String> {
        let next = self.supervisor.generation() + 1;
        self.control.wait(key, next, &self.poller)?;
        info!("handoff reload: reloading");
        self.note(Event::Reload);
        Ok(())
    }

    fn status(&self) -> Status {
        let counts = self.traffic.counts();
        // What is empty at a stop waits for nothing.
        let stopping = self.supervisor.is_stopping();
        let seated = self.supervisor.status().into_iter();
        let seated: Vec<supervisor::Status> =
            seated.filter(|one| one.worker.is_some() || !stopping).collect();
        let ready = seated.iter().filter(|one| one.state == State::Ready);
        let ready = ready.count();
        let workers: Vec<control::Worker> = seated
            .into_iter()
            .map(|seated| self.line(seated, &counts))
            .collect();
        let phase = if stopping {
            Phase::Stopping
        } else if self.supervisor.is_reloading() {
            Phase::Reloading
        } else {
            Phase::Serving
        };
        let handed = workers.iter().map(|one| one.handed_over);
        let totals = self.traffic.totals();
        let requests = totals.requests;
        let listeners = self.traffic.listeners().map(ToString::to_string);
        let master = control::Master {
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION"),
            uptime: self.elapsed(),
            phase,
            generation: self.supervisor.newest_generation(),
            last_reload: self.control.last_reload().map(str::to_owned),
            listeners: listeners.collect(),
            policy: self.traffic.policy().to_owned(),
            wanted: self.supervisor.workers(),
            ready,
            handed_over: handed.fold(totals.handed_over, u64::wrapping_add),
            redispatched: totals.redispatched,
            requests: requests.map(|requests| requests.answered),
            refused: requests.map(|requests| requests.refused),
            salvage: self.workers.is_guarded().then_some(totals.salvage),
        };
        Status { master, workers }
    }

    fn line(
        &self,
        seated: supervisor::Status,
        counts: &BTreeMap<WorkerId, Counts>,
    ) -> control::Worker {
        let worker = seated.worker;
        let counts = worker.and_then(|worker| counts.get(&worker));
        let pid = worker.and_then(|worker| self.workers.pid(worker));
        let requests = worker.and_then(|it| self.traffic.requests(it));
        control::Worker {
            worker: seated.worker,
            pid: pid.map(i32::cast_unsigned),
            slot: seated.slot,
            state: seated.state.to_string(),
            age: worker.and_then(|it| self.workers.age(it, self.now)),
            generation: seated.generation,
            open: counts.map_or(0, |counts| counts.open),
            handed_over: counts.map_or(0, |counts| counts.handed),
            redispatched: counts.map_or(0, |counts| counts.redispatched),
            skipped: counts.map_or(0, |counts| counts.skipped),
            requests: requests.map(|requests| requests.answered),
            refused: requests.map(|requests| requests.refused),
            restarts: seated.restarts,
            usage: worker.and_then(|it| self.workers.usage(it)),
        }
    }
}
