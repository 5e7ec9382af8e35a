//! A master before its first turn: what it is given, what it opens, and in
//! which order.
//!
//! Whatever may be refused comes before what others can see: a mistake in the
//! options leaves no socket file, and no client waits for a master that does
//! not come to be.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use log::info;

use super::control::{self, Control};
use super::crew::Past;
use super::doors::Doors;
use super::listener::guard;
use super::notify::Notifier;
use super::recycle::Recycling;
use super::salvage::Lending;
use super::scheduler::Scheduler;
use super::server::{Server, ServerId};
use super::spawn::Launcher;
use super::supervisor::{Policy, Supervisor};
use super::upgrade::Inheritance;
use super::watch::Watch;
use super::{Job, Master, Source, activation, bind};
use crate::config::Serve;
use crate::error::Error;
use crate::salvage::ward::Ward;
use crate::slab::Slab;
use crate::sys;
use crate::sys::clock;
use crate::sys::epoll::{Epoll, Interest};
use crate::sys::process;
use crate::sys::signal::SignalFd;

/// How long a stop serves on as if nothing had been asked, so that clients
/// which are in the kernel's queue are answered.
const LINGER: Duration = Duration::from_millis(100);

/// Descriptors kept free for starting workers, beside those in use.
const RESERVE: usize = 16;

/// What a worker that never says that it is ready gets beyond its time, so
/// that it is judged before it is given up.
const JUDGEMENT: Duration = Duration::from_millis(100);

/// A foreign program may know SIGTERM: how long it has between that and
/// SIGKILL.
const TERMINATE_FIRST: Duration = Duration::from_secs(2);

impl Master {
    pub(super) fn new(
        settings: &Serve,
        job: Job,
        scheduler: Box<dyn Scheduler>,
    ) -> Result<Master, Error> {
        let (mut launcher, passed) = match &job {
            Job::Serve => {
                let launcher = Launcher::this_program(settings.salvage)?;
                (launcher, activation::take()?)
            }
            Job::Run(program) => (Launcher::another(program)?, Vec::new()),
        };
        process::set_name("handoff: master");
        if let Some(user) = &settings.user {
            launcher.set_user(user)?;
        }
        let limit = sys::limit::raise_descriptors()?;
        let epoll = Epoll::new()?;
        let mut sources = Slab::new();
        let signals = match process::is_reaper() {
            true => SignalFd::with_deaths()?,
            false => SignalFd::new()?,
        };
        let key = sources.insert(Source::Signals).bits();
        epoll.add(signals.as_fd(), Interest::Read, key)?;
        process::keep_ended_children();
        let mut inheritance = Inheritance::take()?;
        let mut servers = BTreeMap::new();
        if let Job::Serve = job {
            let defer = settings.defer_accept;
            let mut bound =
                activation::listen(passed, &mut inheritance, defer)?;
            if bound.is_empty() {
                let places = &settings.listen;
                bound = bind::all(places, defer, |name| {
                    inheritance.listeners_of(name)
                })?;
            }
            if settings.salvage {
                guard(&mut bound);
            }
            let mut listeners = Vec::new();
            for listener in bound {
                let source = Source::Listener(ServerId::OWN);
                let key = sources.insert(source);
                let interest = Interest::Read;
                epoll.add(listener.as_fd(), interest, key.bits())?;
                listeners.push((listener, key));
            }
            inheritance.discard_rest();
            let own = Server::new(Doors::new(listeners), None);
            servers.insert(ServerId::OWN, own);
        }
        let foreign = !servers.contains_key(&ServerId::OWN);
        let scaled = inheritance.scaled;
        let workers = scaled.unwrap_or(settings.workers);
        let start = Instant::now();
        let policy = Policy {
            workers,
            grace: settings.grace,
            linger: LINGER,
            // Whoever does not say that it is ready is judged first.
            boot_timeout: settings.boot_timeout
                + if foreign { JUDGEMENT } else { Duration::ZERO },
            terminate_before_kill: foreign.then_some(TERMINATE_FIRST),
        };
        let mut master = Master {
            widest: settings.window as u64,
            window: 1,
            epoll,
            sources,
            signals,
            servers,
            next_server: ServerId::OWN.0 + 1,
            launcher,
            supervisor: Supervisor::new(policy, Duration::ZERO),
            scheduler,
            links: BTreeMap::new(),
            actions: Vec::new(),
            outcome: None,
            held: 0,
            most_held: 1,
            lending: Lending::default(),
            ward: Ward::new(),
            limit,
            cooling: Vec::new(),
            congested_until: None,
            congested: false,
            short: false,
            patience: Duration::ZERO,
            stopping: false,
            told_to_stop: false,
            closing: false,
            emptied: false,
            watch: settings
                .hang_timeout
                .map(|timeout| Watch::new(timeout, clock::boottime())),
            next_look: None,
            boot_timeout: settings.boot_timeout,
            scaled,
            successor: None,
            heir: None,
            predecessor: inheritance.ready.take(),
            testator: None,
            inheritance,
            wanted: BTreeMap::new(),
            host: settings.host.clone(),
            wait_ready: settings.wait_ready,
            control: Control::new(settings.control.clone()),
            notifier: Notifier::from_environment(start),
            recycling: Recycling::new(settings, start),
            past: Past::default(),
            observer: None,
            start,
            now: start,
        };
        master.make_room_for(workers);
        if master.predecessor.is_none()
            && let Err(error) = master.open_control()
        {
            for server in master.servers.values_mut() {
                server.doors.slam(&master.epoll);
            }
            return Err(error);
        }
        if process::is_reaper() {
            // Whoever ended before we were told of ends.
            master.reap_strangers()?;
        }
        Ok(master)
    }

    /// Leaves so many workers the descriptors that they need.
    pub(super) fn make_room_for(&mut self, workers: usize) {
        let servers = self.servers.values();
        let listeners = servers.map(|server| server.doors.listeners().count());
        let listeners = listeners.sum::<usize>() + 1;
        let ours = 8 + RESERVE + listeners + control::CLIENTS + 3 * workers;
        self.most_held = self.limit.saturating_sub(ours).max(1);
        self.lending.most = self.most_held / 8 * 7;
        // One worker that takes none must leave room for the others'.
        let share = (self.most_held / workers).max(1);
        self.window = self.widest.min(share as u64);
    }

    /// The one line that a person needs at the start: of a program that
    /// cannot be started, that is the one that says why.
    pub(super) fn announce(&self) {
        let workers = self.supervisor.workers();
        let what = match &self.servers.get(&ServerId::OWN) {
            Some(own) => {
                let places = own.doors.listeners().map(ToString::to_string);
                let places: Vec<String> = places.collect();
                format!("listening on {}", places.join(", "))
            }
            None => format!("running {}", self.launcher.name()),
        };
        let plural = if workers == 1 { "" } else { "s" };
        let (policy, pid) = (self.scheduler.name(), std::process::id());
        info!("{what}, {workers} worker{plural}, {policy}, pid {pid}");
    }
}
