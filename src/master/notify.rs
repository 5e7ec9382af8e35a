//! Tells a service manager what becomes of the service: sd_notify(3).
//!
//! ```text
//!   start ──▶ READY=1 ──▶ RELOADING=1 ──▶ READY=1 ──▶ STOPPING=1
//!             the first   a reload        it ended,
//!             worker is   began           or was
//!             ready                       abandoned
//! ```
//!
//! It is ready with the first worker, since from then on every client is
//! answered; how many more there are is not for the manager to know. With
//! `WatchdogSec=` it says `WATCHDOG=1` twice in that time, as long as the
//! master's loop turns.
//!
//! Nothing is ever waited for, and a message that cannot be sent is worth a
//! line for the curious: the service is there for its clients. But a manager
//! that is behind with its reading would end a service that it has not heard
//! of, so what finds no room is said later, in its order.

use std::collections::VecDeque;
use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

use log::debug;

use super::supervisor::{Outcome, Report};
use crate::sys::clock;

/// Messages that wait for room; beyond that the oldest are given up.
const WAITING: usize = 64;

/// How soon a manager without room is tried again.
const PAUSE: Duration = Duration::from_millis(100);

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Notifier {
    /// Where to send; `None`: there is nobody to tell.
    manager: Option<(UnixDatagram, SocketAddr)>,
    /// What it had no room for, and when it is tried again.
    unsent: VecDeque<String>,
    retry: Option<Instant>,
    /// Another process speaks to it from now on.
    handed_over: bool,
    watchdog: Option<Watchdog>,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Starting,
    Serving,
    Stopping,
}

#[derive(Clone, Copy, Debug)]
struct Watchdog {
    every: Duration,
    next: Instant,
}

impl Notifier {
    /// Whoever `NOTIFY_SOCKET` names.
    pub(super) fn from_environment(now: Instant) -> Notifier {
        let manager = env::var_os("NOTIFY_SOCKET").and_then(|name| {
            let opened = open(&name);
            opened.inspect_err(|error| debug!("{name:?}: {error}")).ok()
        });
        let variable = |name| env::var(name).ok();
        let every = period(
            variable("WATCHDOG_USEC").as_deref(),
            variable("WATCHDOG_PID").as_deref(),
            std::process::id(),
        );
        let watchdog = every
            .filter(|_| manager.is_some())
            .map(|every| Watchdog { every, next: now });
        Notifier {
            manager,
            unsent: VecDeque::new(),
            retry: None,
            handed_over: false,
            watchdog,
            phase: Phase::Starting,
        }
    }

    /// A worker takes connections.
    pub(super) fn ready(&mut self) {
        if self.phase == Phase::Starting {
            self.phase = Phase::Serving;
            self.tell("READY=1\nSTATUS=serving");
        }
    }

    /// What the log says, the manager's status line says too.
    pub(super) fn report(&mut self, report: &Report) {
        if self.phase == Phase::Stopping {
            return;
        }
        // Before its first worker it is not ready, whatever becomes of a
        // reload meanwhile.
        let state = match report {
            _ if self.phase == Phase::Starting => String::new(),
            Report::ReloadBegan { .. } => {
                let now = clock::monotonic().as_micros();
                format!("RELOADING=1\nMONOTONIC_USEC={now}\n")
            }
            Report::ReloadFinished { .. } | Report::ReloadAbandoned { .. } => {
                "READY=1\n".to_owned()
            }
            Report::Degraded { .. } | Report::Recovered => String::new(),
        };
        self.tell(&format!("{state}STATUS={report}"));
    }

    /// The service is about to end.
    pub(super) fn stopping(&mut self) {
        if self.phase != Phase::Stopping {
            self.phase = Phase::Stopping;
            self.tell("STOPPING=1\nSTATUS=stopping");
        }
    }

    /// The service goes on in another process, which is the manager's main
    /// one from now on. It hears nothing more from this one.
    pub(super) fn hand_over(&mut self, pid: i32) {
        self.tell(&format!("MAINPID={pid}"));
        self.handed_over = true;
        self.watchdog = None;
    }

    /// Why the service ends.
    pub(super) fn exit(&mut self, outcome: &Outcome) {
        self.tell(&format!("STATUS={outcome}"));
    }

    /// When [`tick`](Self::tick) has something to say.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let watchdog = self.watchdog.map(|watchdog| watchdog.next);
        watchdog.into_iter().chain(self.retry).min()
    }

    pub(super) fn tick(&mut self, now: Instant) {
        if self.retry.is_some_and(|retry| retry <= now) {
            self.send();
        }
        if let Some(watchdog) = &mut self.watchdog
            && watchdog.next <= now
        {
            watchdog.next = now + watchdog.every;
            // Late it would be as good as nothing.
            if self.unsent.is_empty() {
                self.tell("WATCHDOG=1");
            }
        }
    }

    fn tell(&mut self, state: &str) {
        if self.manager.is_none() || self.handed_over {
            return;
        }
        if self.unsent.len() == WAITING {
            self.unsent.pop_front();
        }
        self.unsent.push_back(state.to_owned());
        self.send();
    }

    /// Sends what there is room for.
    fn send(&mut self) {
        self.retry = None;
        let Some((socket, manager)) = &self.manager else { return };
        while let Some(state) = self.unsent.front() {
            match socket.send_to_addr(state.as_bytes(), manager) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.retry = Some(Instant::now() + PAUSE);
                    return;
                }
                Err(error) => {
                    debug!("the manager is not told {state:?}: {error}");
                }
                Ok(_) => {}
            }
            self.unsent.pop_front();
        }
    }
}

/// A socket to write to that address: a path, or `@` and an abstract name.
fn open(name: &OsStr) -> io::Result<(UnixDatagram, SocketAddr)> {
    let manager = match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        [b'/', ..] => SocketAddr::from_pathname(name)?,
        _ => return Err(io::ErrorKind::AddrNotAvailable.into()),
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    Ok((socket, manager))
}

/// Half of `WATCHDOG_USEC`, which is in microseconds, if it is meant for the
/// process `own` (sd_watchdog_enabled(3)).
fn period(
    microseconds: Option<&str>,
    pid: Option<&str>,
    own: u32,
) -> Option<Duration> {
    let microseconds = microseconds?.parse().ok().filter(|count| *count > 0);
    let is_ours = pid.is_none_or(|pid| pid.parse() == Ok(own));
    Some(Duration::from_micros(microseconds?) / 2).filter(|_| is_ours)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watchdog_is_fed_twice_in_its_time_by_the_process_it_watches() {
        let half = |microseconds| Some(Duration::from_micros(microseconds));
        for (microseconds, pid, expected) in [
            (Some("3000000"), Some("7"), half(1_500_000)),
            (Some("3000000"), None, half(1_500_000)),
            (Some("3000000"), Some("8"), None),
            (Some("3000000"), Some("seven"), None),
            (Some("0"), Some("7"), None),
            (Some("-1"), Some("7"), None),
            (Some("soon"), Some("7"), None),
            (None, Some("7"), None),
        ] {
            assert_eq!(period(microseconds, pid, 7), expected);
        }
    }

    #[test]
    fn only_paths_and_abstract_names_are_addresses() {
        for name in ["/run/systemd/notify", "@handoff"] {
            assert!(open(OsStr::new(name)).is_ok(), "{name}");
        }
        for name in ["", "relative", "vsock:2:1234"] {
            assert!(open(OsStr::new(name)).is_err(), "{name}");
        }
    }
}
