//! The commands that ask a running master: find its socket, say one line, and
//! print what it answers.
//!
//! ```text
//!   handoff stop ──▶ find ──▶ connect ──▶ ask ──▶ print ──▶ await its end
//!                      │         ▲
//!                      └ --control PATH, or the only one that answers
//! ```
//!
//! A process of its own, with nothing else to do: it may wait.

use std::fmt;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use super::path::{folders, is_named_so};
use super::{Format, Malformed, Reply, Request};
use crate::sys::{self, poll, process, unix};

/// How long a master may take for an answer that it has at hand.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often a master that takes its time is asked whether it lives.
const KNOCK: Duration = Duration::from_secs(2);

/// How often a full queue is tried.
const GLANCE: Duration = Duration::from_millis(20);

/// Longest reply, in bytes: a status of 1024 workers has a third of it.
const MAX_REPLY: u64 = 1 << 20;

/// What to ask a running master for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ControlCommand {
    /// What for.
    pub(crate) request: Request,
    /// Which master, by its socket; `None`: the only one there is.
    pub(crate) control: Option<PathBuf>,
}

/// Runs one such command, and says how it went: 0 if it was done, 1 if not,
/// 2 if it is not clear which master is meant.
#[must_use]
pub(crate) fn run(command: &ControlCommand) -> ExitCode {
    match execute(command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Standard error may be closed: the exit code says it as well.
            let _ = writeln!(io::stderr(), "handoff: {failure}");
            match failure {
                Failure::Several(_) => ExitCode::from(2),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

fn execute(command: &ControlCommand) -> Result<(), Failure> {
    let (stream, path) = match &command.control {
        Some(path) => (connect(path)?, path.clone()),
        None => find()?,
    };
    let until_it_is_gone = match command.request {
        // One in a namespace that cannot be seen from here has no number.
        Request::Stop => match unix::peer(stream.as_fd())?.pid {
            0 => None,
            pid => watch(pid),
        },
        Request::Status(_) | Request::Reload | Request::Scale(_) => None,
    };
    let knock = || knock(&path);
    match ask(&stream, command.request, knock)? {
        Reply::Status(json) => print(&format!("{json}\n"))?,
        Reply::Table(text) => print(&text)?,
        Reply::Done(words) => print(&format!("{words}\n"))?,
        Reply::Error(words) => return Err(Failure::Refused(words)),
    }
    if let Some(master) = until_it_is_gone {
        // At its very end it lives, and does not answer any more.
        let mut answered = Ok(());
        while !poll::is_readable_within(master.as_fd(), KNOCK)? {
            answered?;
            answered = knock();
        }
    }
    Ok(())
}

/// Fails unless the master there answers somebody else meanwhile: one that was
/// stopped does not.
fn knock(path: &Path) -> Result<(), Failure> {
    let silent = || Err(Failure::Silent);
    let request = Request::Status(Format::Json);
    ask(&connect(path)?, request, silent).map(drop)
}

/// To wait for a master's end. A filter may refuse that, and then the end is
/// not waited for, which is no reason not to ask for it.
fn watch(master: i32) -> Option<OwnedFd> {
    let watched = process::open(master);
    if let Err(error) = &watched {
        let _ = writeln!(
            io::stderr(),
            "handoff: {error}: the master's end is not waited for"
        );
    }
    watched.ok()
}

/// What was asked for goes to standard output; `| head -1` is no failure.
fn print(text: &str) -> Result<(), Failure> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => Ok(result?),
    }
}

/// Waits for a place in the master's queue, but not for ever: it may be
/// stopped, and others wait before us.
fn connect(path: &Path) -> Result<UnixStream, Failure> {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(stream) = try_connect(path)? {
            return Ok(stream);
        }
        if Instant::now() >= end {
            return Err(Failure::Silent);
        }
        thread::sleep(GLANCE);
    }
}

/// `None`: whoever listens there has no place in the queue.
fn try_connect(path: &Path) -> Result<Option<UnixStream>, Failure> {
    let connected = unix::connect(path)
        .map_err(|error| Failure::NotThere(path.to_owned(), error.into()))?;
    let Some(socket) = connected else { return Ok(None) };
    let stream = UnixStream::from(socket);
    stream.set_nonblocking(false)?;
    Ok(Some(stream))
}

/// The only master of this machine that may be asked by us.
fn find() -> Result<(UnixStream, PathBuf), Failure> {
    let mut found: Vec<(PathBuf, Option<UnixStream>)> = folders()
        .filter_map(|folder| fs::read_dir(folder).ok())
        .flat_map(|entries| entries.flatten())
        .filter(|entry| entry.file_name().to_str().is_some_and(is_named_so))
        .map(|entry| entry.path())
        // One that is dead, or another user's, does not answer us.
        .filter_map(|path| Some((try_connect(&path).ok()?, path)))
        .map(|(stream, path)| (path, stream))
        .collect();
    match found.len() {
        0 => Err(Failure::Nobody(folders().collect())),
        1 => match found.remove(0) {
            (path, Some(stream)) => Ok((stream, path)),
            (path, None) => Ok((connect(&path)?, path)),
        },
        _ => {
            found.sort_by(|(a, _), (b, _)| a.cmp(b));
            let paths = found.into_iter().map(|(path, _)| path);
            Err(Failure::Several(paths.collect()))
        }
    }
}

/// One line there, one line back. While what takes its time is waited for,
/// `knock` is called again and again, until it fails.
fn ask(
    stream: &UnixStream,
    request: Request,
    knock: impl Fn() -> Result<(), Failure>,
) -> Result<Reply, Failure> {
    let patience = match request {
        // It takes as long as the new workers do.
        Request::Reload => KNOCK,
        Request::Status(_) | Request::Scale(_) | Request::Stop => PATIENCE,
    };
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut stream = stream;
    match stream.write_all(&request.encode()) {
        // It may have said why before it closed.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        result => result?,
    }
    let mut line = Vec::new();
    let mut reader = BufReader::new(stream.take(MAX_REPLY));
    loop {
        match reader.read_until(b'\n', &mut line) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                match request {
                    Request::Reload => knock()?,
                    Request::Status(_) | Request::Scale(_) | Request::Stop => {
                        return Err(Failure::Silent);
                    }
                }
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                break;
            }
            result => {
                result?;
                break;
            }
        }
    }
    if !line.ends_with(b"\n") {
        return Err(Failure::Ended);
    }
    Ok(Reply::parse(&line)?)
}

/// Why it was not done.
#[derive(Debug)]
enum Failure {
    /// The master said no, and why.
    Refused(String),
    /// Nobody listens there.
    NotThere(PathBuf, io::Error),
    /// There is no master in any of these folders.
    Nobody(Vec<PathBuf>),
    /// There is more than one.
    Several(Vec<PathBuf>),
    /// It does not answer.
    Silent,
    /// It closed without an answer.
    Ended,
    /// What it answers makes no sense.
    Nonsense(Malformed),
    System(io::Error),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Refused(words) => f.write_str(words),
            Failure::NotThere(path, error) => {
                let path = path.display();
                match error.kind() {
                    io::ErrorKind::NotFound => {
                        write!(f, "no master at {path}: there is nothing")
                    }
                    io::ErrorKind::ConnectionRefused => {
                        write!(f, "no master at {path} any more")
                    }
                    io::ErrorKind::PermissionDenied => {
                        write!(f, "the master at {path} is another user's")
                    }
                    _ => write!(f, "no master at {path}: {error}"),
                }
            }
            Failure::Nobody(folders) => write!(
                f,
                "no master of yours has a socket in {}: type --control PATH",
                listed(folders, " or ")
            ),
            Failure::Several(paths) => write!(
                f,
                "several masters are there: type one of --control {}",
                listed(paths, ", --control ")
            ),
            Failure::Silent => write!(
                f,
                "the master has not answered for {} s",
                PATIENCE.as_secs()
            ),
            Failure::Ended => f.write_str("the master closed unanswered"),
            Failure::Nonsense(error) => {
                write!(f, "the master is not understood: {error}")
            }
            Failure::System(error) => error.fmt(f),
        }
    }
}

fn listed(paths: &[PathBuf], between: &str) -> String {
    let paths = paths.iter().map(|path| path.display().to_string());
    paths.collect::<Vec<String>>().join(between)
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::System(error)
    }
}

impl From<sys::Error> for Failure {
    fn from(error: sys::Error) -> Failure {
        Failure::System(error.into())
    }
}

impl From<Malformed> for Failure {
    fn from(error: Malformed) -> Failure {
        Failure::Nonsense(error)
    }
}
