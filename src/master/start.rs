//! A master before its first turn: what it is given, what it opens, and in
//! which order.
//!
//! Whatever may be refused comes before what others can see: a mistake in the
//! options leaves no socket file, and no client waits for a master that does
//! not come to be.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use log::info;

use super::control::Control;
use super::listener::Listener;
use super::notify::Notifier;
use super::poller::{Poller, Source};
use super::primary::Primary;
use super::scheduler::Scheduler;
use super::server::ServerId;
use super::supervisor::{Policy, Supervisor};
use super::traffic::{Listeners, Traffic, find_host};
use super::upgrade::Upgrade;
use super::workers::{Launcher, Recycling, Workers};
use super::{Master, Mode, Shutdown, activation, bind, refusals};
use crate::config::Settings;
use crate::error::Error;
use crate::sys::epoll::Interest;
use crate::sys::lock;
use crate::sys::process;
use crate::sys::signal::SignalFd;

/// How long a stop serves on as if nothing had been asked, so that clients
/// which are in the kernel's queue are answered.
const LINGER: Duration = Duration::from_millis(100);

/// What a worker that never says that it is ready gets beyond its time, so
/// that it is judged before it is given up.
const JUDGEMENT: Duration = Duration::from_millis(100);

/// How long a worker may be paused in a debugger before it is ready.
const PAUSED: Duration = Duration::from_secs(86_400);

/// A foreign program may know SIGTERM: how long it has between that and
/// SIGKILL.
const TERMINATE_FIRST: Duration = Duration::from_secs(2);

impl Master {
    pub(super) fn new(
        settings: &Settings,
        mode: Mode,
        scheduler: Box<dyn Scheduler>,
    ) -> Result<Master, Error> {
        let (mut launcher, passed) = match &mode {
            Mode::Serve => {
                let guarded = settings.salvage && refusals::can_guard();
                let launcher = Launcher::this_program(guarded)?;
                (launcher, activation::take()?)
            }
            Mode::Run(program) => (Launcher::another(program)?, Vec::new()),
        };
        let debugged = launcher.is_debugged();
        process::set_name("handoff: master");
        if let Some(user) = &settings.user {
            launcher.set_user(user)?;
        }
        let descriptors = refusals::descriptors();
        refusals::tell_of_cpus(settings);
        let mut poller = Poller::new()?;
        let signals = match process::is_reaper() {
            true => SignalFd::with_deaths()?,
            false => SignalFd::new()?,
        };
        poller.add(signals.as_fd(), Interest::Read, Source::Signals)?;
        process::keep_ended_children();
        let start = Instant::now();
        let mut upgrade =
            Upgrade::from_environment(settings.boot_timeout, start)?;
        let (window, follows) = (settings.window as u64, upgrade.is_waiting());
        let host = settings.host.as_deref().map(find_host).transpose()?;
        let mut traffic =
            Traffic::new(scheduler, window, descriptors, follows, host, start);
        let mut primary = None;
        match mode {
            Mode::Serve => {
                let (upgrade, poller) = (&mut upgrade, &mut poller);
                let guarded = launcher.is_guarded();
                let listeners =
                    listen(settings, guarded, passed, upgrade, poller)?;
                traffic.open(ServerId::OWN, String::new(), listeners, None);
            }
            Mode::Run(_) => {
                let (wait, time) =
                    (settings.wait_ready, settings.boot_timeout);
                primary = Some(Primary::new(wait, time));
            }
        }
        let workers = upgrade.scaled().unwrap_or(settings.workers);
        traffic.make_room_for(workers);
        let mut policy = policy(settings, workers, primary.is_some());
        let mut hang_timeout = settings.hang_timeout;
        if debugged {
            policy.boot_timeout = PAUSED;
            hang_timeout = None;
        }
        let recycling = Recycling::new(settings, start);
        let mut master = Master {
            poller,
            signals,
            supervisor: Supervisor::new(policy, Duration::ZERO),
            actions: Vec::new(),
            outcome: None,
            shutdown: Shutdown::No,
            workers: Workers::new(launcher, hang_timeout, recycling),
            traffic,
            primary,
            upgrade,
            control: Control::new(settings.control.clone()),
            notifier: Notifier::from_environment(start),
            observer: None,
            start,
            now: start,
        };
        let is_own = |path: &Path| master.traffic.is_at(path);
        let (control, poller) = (&mut master.control, &mut master.poller);
        let turn = lock::folder_of;
        if !follows
            && let Err(error) = control.open(false, is_own, turn, poller)
        {
            master.traffic.close_all(&mut master.poller);
            return Err(error);
        }
        if process::is_reaper() {
            // Whoever ended before we were told of ends.
            master.reap_strangers()?;
        }
        Ok(master)
    }

    /// The one line that a person needs at the start: of a program that
    /// cannot be started, that is the one that says why.
    pub(super) fn announce(&self) {
        let workers = self.supervisor.workers();
        let what = match self.primary {
            Some(_) => format!("running {}", self.workers.name()),
            None => {
                let all = self.traffic.listeners().map(ToString::to_string);
                format!("listening on {}", all.collect::<Vec<_>>().join(", "))
            }
        };
        let plural = if workers == 1 { "" } else { "s" };
        let (policy, pid) = (self.traffic.policy(), std::process::id());
        info!("{what}, {workers} worker{plural}, {policy}, pid {pid}");
    }
}

/// Listens where `serve` is to: on the sockets that this process was given,
/// or where the options say.
fn listen(
    settings: &Settings,
    guarded: bool,
    passed: Vec<OwnedFd>,
    upgrade: &mut Upgrade,
    poller: &mut Poller,
) -> Result<Listeners, Error> {
    let defer = settings.defer_accept;
    let mut bound = activation::listen(passed, upgrade, defer)?;
    if bound.is_empty() {
        let claim = |name: &OsStr| upgrade.claim(name);
        bound = bind::all(&settings.listen, defer, claim)?;
    }
    if guarded {
        bound.iter_mut().for_each(Listener::guard);
    }
    let mut listeners = Vec::new();
    for listener in bound {
        let source = Source::Listener(ServerId::OWN);
        let key = poller.add(listener.as_fd(), Interest::Read, source)?;
        listeners.push((listener, key));
    }
    upgrade.discard_rest();
    Ok(Listeners::new(listeners))
}

/// What the supervisor is to hold to; `foreign`: the workers are another
/// program.
fn policy(settings: &Settings, workers: usize, foreign: bool) -> Policy {
    Policy {
        workers,
        grace: settings.grace,
        linger: LINGER,
        // Whoever does not say that it is ready is judged first.
        boot_timeout: settings.boot_timeout
            + if foreign { JUDGEMENT } else { Duration::ZERO },
        terminate_before_kill: foreign.then_some(TERMINATE_FIRST),
    }
}
