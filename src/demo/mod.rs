//! The demos of the article, by name: `handoff demo NAME`.
//!
//! handoff grew from one article, "What we talk about when we talk about
//! cluster (part 2)" of TaoFED. Each demo in it is a file here, and they are
//! the first to read, in this order:
//!
//! ```text
//!   socketpair    two processes, two connected sockets, a line each way
//!   ipc           the same in Node's words: one JSON text a line
//!   disconnect    a connection goes along; who leaves is replaced at once
//!   uneven        why: what each gets where all accept for themselves
//!   round_robin   the whole model, as an application writes it
//! ```
//!
//! They run on the parts that the server runs on: the same fork and exec, the
//! same channel and messages. What a person is to see goes to standard
//! output, as in the article; where that needs a word more, it goes to
//! standard error.
//!
//! As everywhere in handoff, a worker is this very program again, and finds
//! out from its environment that it is one.

pub mod disconnect;
pub mod ipc;
mod round_robin;
mod socketpair;
mod uneven;

use std::env;
use std::error::Error;
use std::ffi::{CString, NulError, OsString};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::Duration;

use crate::channel::{Channel, Heard};
use crate::config::Demo;
use crate::environment;
use crate::ipc::Message;
use crate::sys::poll;
use crate::sys::process::{self, Child, Ended, FIRST_DESCRIPTOR};
use crate::sys::spawn::{self, Bond, Program};

/// How long a start is waited for; whoever is later shows it by saying
/// nothing.
const PATIENCE: Duration = Duration::from_secs(10);

/// A demo ends at the first thing that goes wrong, and says what it was.
pub(crate) type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

/// Runs a demo to its end: 0 if all went as it should, else 1.
#[must_use]
pub(crate) fn run(demo: Demo) -> ExitCode {
    let out = &mut io::stdout();
    let (name, result) = match demo {
        Demo::Socketpair(ends) => ("socketpair", socketpair::run(ends, out)),
        Demo::Ipc => ("ipc", ipc::run(out)),
        Demo::Disconnect => ("disconnect", disconnect::run(out)),
        Demo::Uneven => ("uneven", uneven::run(out)),
        Demo::RoundRobin => return round_robin::run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Standard error may be closed: the exit code says it as well.
            let _ = writeln!(io::stderr(), "handoff: demo {name}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A worker as its master knows it.
#[derive(Debug)]
struct Worker {
    child: Child,
    channel: Channel,
}

impl Worker {
    /// Starts `program` with one end of a channel, and what tells it so: the
    /// contract of Node's `child_process` or, with an `id`, `cluster`.
    fn start(program: &[OsString], id: Option<u32>) -> Result<Worker> {
        let (ours, theirs) = crate::sys::unix::pair()?;
        let mut told = environment::of_channel(FIRST_DESCRIPTOR);
        told.extend(id.map(|id| format!("{}={id}", environment::WORKER_ID)));
        let child = spawn(program, told, theirs.as_fd())?;
        Ok(Worker { child, channel: Channel::new(ours) })
    }

    /// Closes the channel, which ends a worker, and waits for that.
    fn end(self) -> Result {
        drop(self.channel);
        success(&self.child)
    }
}

/// The channel that this process was started with, if it is a worker.
fn our_channel() -> Result<Option<Channel>> {
    let Some(number) = env::var_os(environment::CHANNEL) else {
        return Ok(None);
    };
    if env::var_os(environment::CHANNEL_MODE)
        .is_some_and(|mode| mode != environment::JSON)
    {
        return Err("the parent does not speak JSON".into());
    }
    let end = number
        .to_str()
        .and_then(|number| number.parse().ok())
        .and_then(process::inherited)
        .ok_or_else(|| {
            format!("{} is not an open descriptor", environment::CHANNEL)
        })?;
    // Node leaves it to the worker.
    let end = UnixStream::from(end);
    end.set_nonblocking(true)?;
    Ok(Some(Channel::new(end.into())))
}

/// Waits until the other end has said something, or hung up, and reads once.
fn listen(channel: &mut Channel) -> Result<Heard> {
    poll::until_readable(channel.as_fd())?;
    match channel.hear() {
        // It ended with something of ours unread.
        Err(error) if error.is_peer_gone() => Ok(Heard::End),
        heard => Ok(heard?),
    }
}

/// The words that start this very program as the worker of a demo.
fn this_program(words: &[&str]) -> Result<Vec<OsString>> {
    let name = env::current_exe()?.into_os_string();
    let demo = OsString::from("demo");
    let words = words.iter().map(OsString::from);
    Ok([name, demo].into_iter().chain(words).collect())
}

/// Starts `program`, a path and its arguments, with `end` as descriptor 3.
fn spawn(
    program: &[OsString],
    told: Vec<String>,
    end: BorrowedFd<'_>,
) -> Result<Child> {
    let program = Program {
        candidates: c_strings(program.iter().take(1).cloned())?,
        arguments: c_strings(program.iter().cloned())?,
        environment: environment::for_worker(told),
        directory: None,
        bond: Bond::Worker,
        user: None,
    };
    let (child, _) = spawn::spawn(&program, &[end], PATIENCE)?;
    Ok(child)
}

fn c_strings(
    words: impl Iterator<Item = OsString>,
) -> std::result::Result<Vec<CString>, NulError> {
    words.map(|word| CString::new(word.into_vec())).collect()
}

/// Waits for a process that is ending, and wants it to end well.
fn success(child: &Child) -> Result {
    let pid = child.pid();
    match child.wait()? {
        Some(Ended::Code(0)) => Ok(()),
        ended => Err(format!("process {pid} has failed: {ended:?}").into()),
    }
}
