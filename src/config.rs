//! From what was typed to what is meant.
//!
//! ```text
//!  serve --workers 4 --listen=8080     words of any bytes, from the shell
//!        │
//!        ▼  parse ◀── options: one table of names, bounds, defaults, help
//!        │                                                          │
//!        ├─▶ Command::Serve(Serve { workers: 4, listen: [..], .. }) │
//!        ├─▶ Command::Help(Topic::Serve) ──▶ help ◀─────────────────┘
//!        └─▶ Usage: `--workers takes a number from 1 to 1024, not "0"`
//! ```
//!
//! It refuses to know the machine: no name is resolved, no file opened, no
//! CPU counted, nothing printed. The caller does, and knows that a [`Usage`]
//! is one line for stderr and exit status 2.

mod address;
mod errand;
mod help;
mod options;
mod usage;
mod value;

use std::{
    ffi::{OsStr, OsString},
    fmt::{self, Display, Formatter},
    num::NonZero,
    ops::RangeInclusive,
    os::unix::ffi::OsStrExt,
    path::PathBuf,
    time::Duration,
};

use log::LevelFilter;

use errand::{ERRANDS, errand};
use help::COMMANDS;
use options::{Fallback, Flag, SERVE, TIMEOUT, WINDOW, flags};
use usage::{did_you_mean, quoted};

pub use address::{Address, AddressError};
pub use errand::Errand;
pub use help::help;
pub(crate) use options::WORKERS;
pub use usage::Usage;

/// The line that `handoff --version` prints.
pub const VERSION: &str = concat!("handoff ", env!("CARGO_PKG_VERSION"));

/// What the program is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Print [`help()`] of this topic.
    Help(Topic),
    /// Print [`VERSION`].
    Version,
    /// Run the cluster with the built-in application.
    Serve(Serve),
    /// Ask a running master for something.
    Errand(Errand),
    /// Run a demo of the article.
    Demo(Demo),
}

/// What to explain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    /// The program and its commands.
    Handoff,
    /// The `serve` command and its options.
    Serve,
    /// The commands that ask a running master.
    Errand,
    /// The `demo` command and the demos.
    Demo,
}

/// What `handoff serve` was asked for; `handoff serve --help` explains it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Serve {
    /// Where to accept. Empty: nothing was typed, and [`Address::default`]
    /// holds, unless a Node process sends connections.
    pub listen: Vec<Address>,
    /// How many worker processes: 1 to 1024.
    pub workers: usize,
    /// Who gets the next connection.
    pub schedule: Schedule,
    /// How many connections a worker may have been handed and not yet taken.
    pub window: usize,
    /// `TCP_DEFER_ACCEPT`, see tcp(7); Unix sockets have no such thing.
    pub defer_accept: bool,
    /// How long a new worker may take to be ready.
    pub boot_timeout: Duration,
    /// How long requests in hand may take to finish; may be 0.
    pub grace: Duration,
    /// How long a worker that has something to do may not move; `None`: as
    /// long as it likes.
    pub hang_timeout: Option<Duration>,
    /// The least important lines that are logged.
    pub log_level: LevelFilter,
    /// From a request's first byte to the end of its head.
    pub header_timeout: Duration,
    /// From one request to the next.
    pub idle_timeout: Duration,
    /// Without a byte of a body that is still to come.
    pub body_timeout: Duration,
    /// Without a byte taken of a response.
    pub write_timeout: Duration,
    /// Bytes of a request line and its fields.
    pub max_head: usize,
    /// Fields of one request.
    pub max_fields: usize,
    /// Bytes of a request's body; 0 refuses bodies.
    pub max_body: usize,
    /// After how many requests a connection is closed; `None`: never.
    pub max_requests_per_connection: Option<NonZero<usize>>,
    /// Open connections of one worker; `None`: what its fd limit allows.
    pub max_connections: Option<NonZero<usize>>,
    /// Requests after about which a worker is replaced; `None`: never.
    pub max_requests: Option<NonZero<usize>>,
    /// Resident bytes above which a worker is replaced; `None`: never.
    pub max_rss: Option<NonZero<usize>>,
    /// Where the master can be asked.
    pub control: Control,
}

/// A master's control socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// `handoff-PID.sock`, where the system keeps such things. If it cannot
    /// be made, the master does without.
    Default,
    /// Here; if it cannot be made, the master does not start.
    At(PathBuf),
    /// Nowhere.
    Off,
}

/// What was typed behind `handoff run`, besides what it shares with `serve`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The program and its arguments.
    pub program: Vec<OsString>,
    /// Where a listen on every address is bound instead.
    pub host: Option<String>,
    /// A worker is ready only when it has said so.
    pub wait_ready: bool,
}

/// A policy for choosing the next connection's worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schedule {
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

/// A demo of the article.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demo {
    /// Two processes greet each other over a socketpair.
    Socketpair(Ends),
    /// The same in Node's protocol.
    Ipc,
    /// A worker disconnects, and is replaced before it is gone.
    Disconnect,
    /// The master accepts, and hands to each worker in turn.
    RoundRobin,
    /// All workers accept on one socket: the model that is argued against.
    Uneven,
}

/// Which ends of the socketpair's dialogue this program plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// It makes the pair, and forks.
    Both,
    /// The parent's, over this inherited descriptor (not negative).
    Parent(i32),
    /// The child's, over this inherited descriptor (not negative).
    Child(i32),
}

static DEMOS: [(&str, &str, Demo); 5] = [
    (
        "socketpair",
        "parent and child greet each other, as ffi/socketpair.c does",
        Demo::Socketpair(Ends::Both),
    ),
    ("ipc", "master and worker greet each other in JSON", Demo::Ipc),
    ("disconnect", "a worker leaves and is replaced", Demo::Disconnect),
    ("round-robin", "connections go to each worker in turn", Demo::RoundRobin),
    (
        "uneven",
        "all workers accept on one socket: how uneven that gets",
        Demo::Uneven,
    ),
];

/// Understands the program's arguments, its own name not among them.
///
/// `cpus` is the default of `--workers`, cut to what that takes.
///
/// # Errors
///
/// If they mean nothing: one line says what was wrong and what to type.
pub fn parse(
    words: impl IntoIterator<Item = OsString>,
    cpus: usize,
) -> Result<Command, Usage> {
    let mut words = words.into_iter();
    let Some(first) = words.next() else {
        let names = COMMANDS.map(|(name, _)| name).join(", ");
        return Err(Usage::new(format!("type a command: {names}")));
    };
    match first.to_str() {
        Some("serve") => serve(words, cpus),
        Some(name) if ERRANDS.contains(&name) => errand(name, words),
        Some("demo") => demo(words),
        Some("help" | "--help" | "-h") => explain(words.next()),
        Some("version" | "--version" | "-V") => Ok(Command::Version),
        _ => Err(unknown_command(&first)),
    }
}

fn explain(command: Option<OsString>) -> Result<Command, Usage> {
    let Some(command) = command else {
        return Ok(Command::Help(Topic::Handoff));
    };
    match command.to_str() {
        Some("help" | "version") => Ok(Command::Help(Topic::Handoff)),
        Some("serve") => Ok(Command::Help(Topic::Serve)),
        Some(name) if ERRANDS.contains(&name) => {
            Ok(Command::Help(Topic::Errand))
        }
        Some("demo") => Ok(Command::Help(Topic::Demo)),
        _ => Err(unknown_command(&command)),
    }
}

/// `-h` and `-V` hold wherever an option may stand.
fn special(word: &OsStr, topic: Topic) -> Option<Command> {
    match word.to_str() {
        Some("-h" | "--help") => Some(Command::Help(topic)),
        Some("-V" | "--version") => Some(Command::Version),
        _ => None,
    }
}

fn serve(
    mut words: impl Iterator<Item = OsString>,
    cpus: usize,
) -> Result<Command, Usage> {
    let mut serve = Serve::new(cpus);
    let mut given = Vec::new();
    while let Some(word) = words.next() {
        if let Some(command) = special(&word, Topic::Serve) {
            return Ok(command);
        }
        if word == "--" {
            match words.next() {
                Some(extra) => return Err(no_option(&extra)),
                None => break,
            }
        }
        let (name, value) = split(&word);
        let flag = find(name)?;
        if given.contains(&flag.name) && !flag.value.repeatable() {
            return Err(flag.usage(" is given twice: type it once"));
        }
        let Some(value) = value.or_else(|| words.next()) else {
            return Err(flag.usage(&format!(" needs {}", flag.value)));
        };
        flag.store(&mut serve, &value)?;
        given.push(flag.name);
    }
    for flag in flags(SERVE).filter(|flag| !given.contains(&flag.name)) {
        match flag.default {
            Fallback::Typed(text) => flag.store(&mut serve, text.as_ref())?,
            Fallback::Found(_) => {} // by Serve::new
        }
    }
    Ok(Command::Serve(serve))
}

impl Serve {
    /// What holds when nothing is typed behind `serve`.
    pub fn with_defaults(cpus: usize) -> Self {
        match serve(std::iter::empty(), cpus) {
            Ok(Command::Serve(serve)) => serve,
            _ => unreachable!("every default is one that could be typed"),
        }
    }

    /// Checks what did not come through [`parse`]: the library's builder
    /// takes any number.
    ///
    /// # Errors
    ///
    /// One line says what is out of range.
    pub fn check(&self) -> Result<(), String> {
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
        if self.hang_timeout.is_some_and(|time| !TIMEOUT.contains(&time)) {
            return Err("hang_timeout takes 0 s, or 0.1 s to a day".into());
        }
        match timeouts.iter().find(|(_, time)| time.is_zero()) {
            Some((what, _)) => Err(format!("{what} takes more than 0 s")),
            None => Ok(()),
        }
    }

    /// The beginning, before the table's defaults are put in.
    fn new(cpus: usize) -> Self {
        Self {
            listen: Vec::new(),
            workers: cpus.clamp(*WORKERS.start(), *WORKERS.end()),
            schedule: Schedule::RoundRobin,
            window: 0,
            defer_accept: false,
            boot_timeout: Duration::ZERO,
            grace: Duration::ZERO,
            hang_timeout: None,
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
        }
    }
}

/// `--name=value` in its two parts.
fn split(word: &OsStr) -> (&OsStr, Option<OsString>) {
    let bytes = word.as_bytes();
    match bytes.iter().position(|&byte| byte == b'=') {
        Some(i) if bytes.starts_with(b"--") => (
            OsStr::from_bytes(&bytes[..i]),
            Some(OsStr::from_bytes(&bytes[i + 1..]).to_owned()),
        ),
        _ => (word, None),
    }
}

/// The row of that name.
fn find(name: &OsStr) -> Result<&'static Flag, Usage> {
    if !name.as_bytes().starts_with(b"-") {
        return Err(no_option(name));
    }
    flags(SERVE).find(|flag| name == flag.name).ok_or_else(|| {
        let names = flags(SERVE).map(|flag| flag.name);
        let near = did_you_mean(name, names).unwrap_or_else(|| {
            ": type handoff serve --help for a list".into()
        });
        Usage::new(format!("unknown option {}{near}", quoted(name)))
    })
}

fn no_option(word: &OsStr) -> Usage {
    let typed = quoted(word);
    Usage::new(match Address::try_from(word) {
        Ok(_) => format!("serve takes no {typed}: type --listen {typed}"),
        Err(_) => format!("serve takes options only, not {typed}"),
    })
}

fn demo(words: impl Iterator<Item = OsString>) -> Result<Command, Usage> {
    let words: Vec<OsString> = words.collect();
    let names = DEMOS.map(|(name, ..)| name);
    let Some((first, rest)) = words.split_first() else {
        let names = names.join(", ");
        return Err(Usage::new(format!("demo needs a name: {names}")));
    };
    let mut specials = words.iter().filter_map(|w| special(w, Topic::Demo));
    if let Some(command) = specials.next() {
        return Ok(command);
    }
    let Some((name, _, demo)) = DEMOS.iter().find(|(name, ..)| first == name)
    else {
        return Err(unknown("demo", first, &names));
    };
    match (demo, rest) {
        (_, []) => Ok(Command::Demo(*demo)),
        (Demo::Socketpair(_), rest) => ends(rest),
        (_, [word, ..]) => {
            let word = quoted(word);
            Err(Usage::new(format!("demo {name} takes no {word}")))
        }
    }
}

fn ends(words: &[OsString]) -> Result<Command, Usage> {
    let ends = match words {
        [end, fd] if end == "parent" => descriptor(fd).map(Ends::Parent),
        [end, fd] if end == "child" => descriptor(fd).map(Ends::Child),
        _ => None,
    };
    ends.map(|ends| Command::Demo(Demo::Socketpair(ends))).ok_or_else(|| {
        Usage::new("demo socketpair takes nothing, parent FD or child FD")
    })
}

/// Digits alone: `parse` would also take a sign.
fn descriptor(word: &OsStr) -> Option<i32> {
    let digits = |word: &&str| word.bytes().all(|byte| byte.is_ascii_digit());
    word.to_str().filter(digits)?.parse().ok()
}

fn unknown_command(word: &OsStr) -> Usage {
    let typed = quoted(word);
    let (name, _) = split(word);
    if flags(SERVE).any(|flag| name == flag.name) {
        return Usage::new(format!(
            "{typed} needs its command first: type handoff serve {typed}"
        ));
    }
    unknown("command", word, &COMMANDS.map(|(name, _)| name))
}

fn unknown(kind: &str, word: &OsStr, names: &[&str]) -> Usage {
    let near = did_you_mean(word, names.iter().copied())
        .unwrap_or_else(|| format!(": type one of {}", names.join(", ")));
    Usage::new(format!("unknown {kind} {}{near}", quoted(word)))
}

#[cfg(test)]
mod tests;
