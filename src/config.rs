//! From what was typed to what is meant.
//!
//! ```text
//!  serve --workers 4 --listen=8080     words of any bytes, from the shell
//!        │
//!        ▼  parse ◀── options: one table of names, bounds, defaults, help
//!        │                                                          │
//!        ├─▶ Command::Serve(Settings { workers: 4, listen: [..], .. }) │
//!        ├─▶ Command::Help(Topic::Serve) ──▶ help ◀─────────────────┘
//!        └─▶ Usage: `--workers takes a number from 1 to 1024, not "0"`
//! ```
//!
//! It refuses to know the machine: no name is resolved, no file opened, no
//! CPU counted, nothing printed. The caller does, and knows that a [`Usage`]
//! is one line for stderr and exit status 2.

mod address;
mod control_command;
mod elsewhere;
mod help;
mod options;
mod settings;
mod usage;
mod user;
mod value;

use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt,
};

use control_command::{CONTROL_COMMANDS, control_command};
use help::COMMANDS;
use options::{Fallback, Flag, RUN, SERVE, flags, rows};
use usage::{did_you_mean, quoted};
use value::Value;

use crate::control::client::ControlCommand;

pub(crate) use address::{Address, AddressError};
pub(crate) use elsewhere::is_script;
pub(crate) use help::help;
pub(crate) use settings::{Control, Schedule, Settings};
pub(crate) use usage::Usage;
pub(crate) use user::User;

/// The line that `handoff --version` prints.
pub(crate) const VERSION: &str =
    concat!("handoff ", env!("CARGO_PKG_VERSION"));

/// What the program is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// Print [`help()`] of this topic.
    Help(Topic),
    /// Print [`VERSION`].
    Version,
    /// Run the cluster with the built-in application.
    Serve(Settings),
    /// Run the cluster with another program: its name and its arguments.
    Run(Settings, Vec<OsString>),
    /// Ask a running master for something.
    Control(ControlCommand),
    /// Run a demo of the article.
    Demo(Demo),
}

/// What to explain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Topic {
    /// The program and its commands.
    Handoff,
    /// The `serve` command and its options.
    Serve,
    /// The `run` command and its options.
    Run,
    /// One of the commands that ask a running master: `status`, `reload`,
    /// `scale` or `stop`.
    Control(&'static str),
    /// The `demo` command and the demos.
    Demo,
}

/// A demo of the article.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Demo {
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
pub(crate) enum Ends {
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
pub(crate) fn parse(
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
        Some("run") => run(words, cpus),
        Some("demo") => demo(words),
        Some("help" | "--help" | "-h") => explain(words.next()),
        Some("version" | "--version" | "-V") => Ok(Command::Version),
        name => {
            match CONTROL_COMMANDS.iter().find(|command| name == Some(command))
            {
                Some(name) => control_command(name, words),
                None => Err(unknown_command(&first)),
            }
        }
    }
}

fn explain(command: Option<OsString>) -> Result<Command, Usage> {
    let Some(command) = command else {
        return Ok(Command::Help(Topic::Handoff));
    };
    match command.to_str() {
        Some("help" | "version") => Ok(Command::Help(Topic::Handoff)),
        Some("serve") => Ok(Command::Help(Topic::Serve)),
        Some("run") => Ok(Command::Help(Topic::Run)),
        Some("demo") => Ok(Command::Help(Topic::Demo)),
        name => {
            match CONTROL_COMMANDS.iter().find(|command| name == Some(command))
            {
                Some(command) => Ok(Command::Help(Topic::Control(command))),
                None => Err(unknown_command(&command)),
            }
        }
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
    match options(&mut words, cpus, false)? {
        Typed::Special(command) => Ok(command),
        Typed::Options(settings) => match words.next() {
            Some(extra) => Err(no_option("serve", &extra)),
            None => Ok(Command::Serve(settings)),
        },
    }
}

fn run(
    mut words: impl Iterator<Item = OsString>,
    cpus: usize,
) -> Result<Command, Usage> {
    match options(&mut words, cpus, true)? {
        Typed::Special(command) => Ok(command),
        Typed::Options(settings) => {
            let program: Vec<OsString> = words.collect();
            match program.first() {
                Some(name) if !name.is_empty() => {
                    Ok(Command::Run(settings, program))
                }
                _ => Err(Usage::new(
                    "run needs a program: type handoff run -- node app.js"
                        .to_owned(),
                )),
            }
        }
    }
}

/// What stood before `--`, or before the end.
enum Typed {
    Options(Settings),
    Special(Command),
}

fn options(
    words: &mut impl Iterator<Item = OsString>,
    cpus: usize,
    run: bool,
) -> Result<Typed, Usage> {
    let mut settings = Settings::new(cpus);
    let mut given = Vec::new();
    let topic = if run { Topic::Run } else { Topic::Serve };
    while let Some(word) = words.next() {
        if let Some(command) = special(&word, topic) {
            return Ok(Typed::Special(command));
        }
        if word == "--" {
            break;
        }
        let (name, value) = split(&word);
        let flag = find(name, run)?;
        if given.contains(&flag.name) && !flag.value.repeatable() {
            return Err(flag.usage(" is given twice: type it once"));
        }
        let value = match flag.value {
            Value::Switch(_) => Some(value.unwrap_or_default()),
            _ => value.or_else(|| words.next()),
        };
        let Some(value) = value else {
            return Err(flag.usage(&format!(" needs {}", flag.value)));
        };
        flag.store(&mut settings, &value)?;
        given.push(flag.name);
    }
    for flag in flags(SERVE).chain(flags(RUN)) {
        let default = flag.run.as_ref().filter(|_| run);
        match default.unwrap_or(&flag.default) {
            Fallback::Typed(text) if !given.contains(&flag.name) => {
                flag.store(&mut settings, text.as_ref())?;
            }
            Fallback::Typed(_) | Fallback::Found(_) => {}
        }
    }
    Ok(Typed::Options(settings))
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
fn find(name: &OsStr, run: bool) -> Result<&'static Flag, Usage> {
    let command = if run { "run" } else { "serve" };
    if !name.as_bytes().starts_with(b"-") {
        return Err(no_option(command, name));
    }
    let found = rows(run).find(|(_, flag, _)| name == flag.name);
    found.map(|(_, flag, _)| flag).ok_or_else(|| {
        let names = rows(run).map(|(_, flag, _)| flag.name);
        let known = elsewhere::option(name, run);
        let near = known
            .map(|instead| format!(": {instead}"))
            .or_else(|| did_you_mean(name, names))
            .unwrap_or_else(|| {
                format!(": type handoff {command} --help for a list")
            });
        Usage::new(format!("unknown option {}{near}", quoted(name)))
    })
}

fn no_option(command: &str, word: &OsStr) -> Usage {
    let typed = quoted(word);
    Usage::new(if elsewhere::is_script(word) {
        format!("{command} takes no {typed}: type handoff run -- node {typed}")
    } else if command == "run" {
        format!(
            "run takes options only, not {typed}: type handoff run -- {typed}"
        )
    } else if Address::try_from(word).is_ok() {
        format!("serve takes no {typed}: type --listen {typed}")
    } else {
        format!("serve takes options only, not {typed}")
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
    if let Some(instead) = elsewhere::command(word) {
        return Usage::new(format!("unknown command {typed}: {instead}"));
    }
    unknown("command", word, &COMMANDS.map(|(name, _)| name))
}

fn unknown(kind: &str, word: &OsStr, names: &[&str]) -> Usage {
    let near = did_you_mean(word, names.iter().copied())
        .unwrap_or_else(|| format!(": type one of {}", names.join(", ")));
    Usage::new(format!("unknown {kind} {}{near}", quoted(word)))
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
