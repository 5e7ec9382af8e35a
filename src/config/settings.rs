//! What a master is told: the values behind the options.

use std::{
    fmt::{self, Display, Formatter},
    num::NonZero,
    ops::RangeInclusive,
    path::PathBuf,
    time::Duration,
};

use log::LevelFilter;

use super::{Address, Command, User};
use crate::control::WORKERS;

/// Of the connections on their way to one worker.
pub(super) const WINDOW: RangeInclusive<usize> = 1..=4096;

pub(super) const DAY: Duration = Duration::from_secs(86_400);

/// A timeout of 0 would end what it watches before it begins.
pub(super) const TIMEOUT: RangeInclusive<Duration> =
    Duration::from_millis(100)..=DAY;

/// What `handoff serve` was asked for; `handoff serve --help` explains it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Where to accept. Empty: nothing was typed, and [`Address::default`]
    /// holds, unless a Node process sends connections.
    pub(crate) listen: Vec<Address>,
    /// How many worker processes: 1 to 1024.
    pub(crate) workers: usize,
    /// Nobody has said how many: they are as many as the usable CPUs.
    pub(crate) workers_counted: bool,
    /// Who gets the next connection.
    pub(crate) schedule: Schedule,
    /// How many connections a worker may have been handed and not yet taken.
    pub(crate) window: usize,
    /// `TCP_DEFER_ACCEPT`, see tcp(7); Unix sockets have no such thing.
    pub(crate) defer_accept: bool,
    /// How long a new worker may take to be ready.
    pub(crate) boot_timeout: Duration,
    /// How long requests in hand may take to finish; may be 0.
    pub(crate) grace: Duration,
    /// How long a worker that goes waits for one more request of each idle
    /// client; at a stop half a second at most.
    pub(crate) idle_grace: Duration,
    /// How long a worker that has something to do may not move; `None`: as
    /// long as it likes.
    pub(crate) hang_timeout: Option<Duration>,
    /// Who the workers are; `None`: who the master is.
    pub(crate) user: Option<User>,
    /// Connections outlive the worker that has them.
    pub(crate) salvage: bool,
    /// The least important lines that are logged.
    pub(crate) log_level: LevelFilter,
    /// From a request's first byte to the end of its head.
    pub(crate) header_timeout: Duration,
    /// From one request to the next.
    pub(crate) idle_timeout: Duration,
    /// Without a byte of a body that is still to come.
    pub(crate) body_timeout: Duration,
    /// Without a byte taken of a response.
    pub(crate) write_timeout: Duration,
    /// Bytes of a request line and its fields.
    pub(crate) max_head: usize,
    /// Fields of one request.
    pub(crate) max_fields: usize,
    /// Bytes of a request's body; 0 refuses bodies.
    pub(crate) max_body: usize,
    /// After how many requests a connection is closed; `None`: never.
    pub(crate) max_requests_per_connection: Option<NonZero<usize>>,
    /// Open connections of one worker; `None`: what its fd limit allows.
    pub(crate) max_connections: Option<NonZero<usize>>,
    /// Requests after about which a worker is replaced; `None`: never.
    pub(crate) max_requests: Option<NonZero<usize>>,
    /// Resident bytes above which a worker is replaced; `None`: never.
    pub(crate) max_rss: Option<NonZero<usize>>,
    /// Where the master can be asked.
    pub(crate) control: Control,
    /// `run`: where a listen on every address is bound instead.
    pub(crate) host: Option<String>,
    /// `run`: a worker is ready only when it has said so.
    pub(crate) wait_ready: bool,
}

/// A master's control socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Control {
    /// `handoff-PID.sock`, where the system keeps such things. If it cannot
    /// be made, the master does without.
    Default,
    /// Here; if it cannot be made, the master does not start.
    At(PathBuf),
    /// Nowhere.
    Off,
}

/// A policy for choosing the next connection's worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Schedule {
    /// Each in turn.
    RoundRobin,
    /// The one with the fewest open connections.
    LeastConnections,
    /// The same one for a client's address.
    IpHash,
}

/// The policy's name, as typed.
impl Display for Schedule {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RoundRobin => "round-robin",
            Self::LeastConnections => "least-connections",
            Self::IpHash => "ip-hash",
        })
    }
}

impl Settings {
    /// What holds when nothing is typed behind `serve`.
    pub(crate) fn with_defaults(cpus: usize) -> Self {
        match super::serve(std::iter::empty(), cpus) {
            Ok(Command::Serve(settings)) => settings,
            _ => unreachable!("every default is one that could be typed"),
        }
    }

    /// Checks what did not come through [`parse`]: the library's builder
    /// takes any number.
    ///
    /// # Errors
    ///
    /// One line says what is out of range.
    pub(crate) fn check(&self) -> Result<(), String> {
        let range =
            |what: &str, value: usize, range: &RangeInclusive<usize>| {
                if range.contains(&value) {
                    return Ok(());
                }
                let (least, most) = (range.start(), range.end());
                Err(format!("{what} takes {least} to {most}, not {value}"))
            };
        range("workers", self.workers, &WORKERS)?;
        range("window", self.window, &WINDOW)?;
        let timeouts = [
            ("boot_timeout", self.boot_timeout),
            ("header_timeout", self.header_timeout),
            ("idle_timeout", self.idle_timeout),
            ("body_timeout", self.body_timeout),
            ("write_timeout", self.write_timeout),
        ];
        let graces = [("grace", self.grace), ("idle_grace", self.idle_grace)];
        if let Some((what, _)) = graces.iter().find(|(_, time)| *time > DAY) {
            return Err(format!("{what} takes 0 s to a day"));
        }
        if self.hang_timeout.is_some_and(|time| !TIMEOUT.contains(&time)) {
            return Err("hang_timeout takes 0 s, or 0.1 s to a day".into());
        }
        match timeouts.iter().find(|(_, time)| time.is_zero()) {
            Some((what, _)) => Err(format!("{what} takes more than 0 s")),
            None => Ok(()),
        }
    }

    /// Somebody has said how many workers.
    pub(crate) fn set_workers(&mut self, workers: usize) {
        self.workers = workers;
        self.workers_counted = false;
    }

    /// The beginning, before the table's defaults are put in.
    pub(super) fn new(cpus: usize) -> Self {
        Self {
            listen: Vec::new(),
            workers: cpus.clamp(*WORKERS.start(), *WORKERS.end()),
            workers_counted: true,
            schedule: Schedule::RoundRobin,
            window: 0,
            defer_accept: false,
            boot_timeout: Duration::ZERO,
            grace: Duration::ZERO,
            idle_grace: Duration::ZERO,
            hang_timeout: None,
            user: None,
            salvage: true,
            log_level: LevelFilter::Off,
            header_timeout: Duration::ZERO,
            idle_timeout: Duration::ZERO,
            body_timeout: Duration::ZERO,
            write_timeout: Duration::ZERO,
            max_head: 0,
            max_fields: 0,
            max_body: 0,
            max_requests_per_connection: None,
            max_connections: None,
            max_requests: None,
            max_rss: None,
            control: Control::Default,
            host: None,
            wait_ready: false,
        }
    }
}
