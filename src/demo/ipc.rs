//! Node's channel between two processes: a socketpair on which every message
//! is one JSON text and a newline.
//!
//! ```text
//!   master                                                  worker
//!     │ starts it with NODE_CHANNEL_FD=3                       │
//!     │ ──────────── {"hello":"worker","pid":MASTER} ────────▶ │ prints it
//!   prints it ◀───── {"hello":"master","pid":WORKER} ───────── │
//!   closes  ◀──────────────── end of file ───────────────────▶ │ closes
//!   "channel closed"
//! ```
//!
//! Each greets the other and says its own pid. All that the worker needs to
//! know is the number of its descriptor, so the other program need not be
//! this one: a Node program with `process.on('message')` is a worker for
//! [`master`], and this program one for Node's
//! `spawn('handoff', ['demo', 'ipc'], {stdio: [0, 1, 2, 'ipc']})`.

use std::ffi::OsString;
use std::io::Write;
use std::process;

use super::{Message, Result, Worker, listen, our_channel, this_program};
use crate::channel::{Channel, Heard};

pub(super) fn run(out: &mut impl Write) -> Result {
    match our_channel()? {
        Some(channel) => worker(channel, out),
        None => master(&this_program(&["ipc"])?, out),
    }
}

/// Plays the master to a worker: a path and its arguments.
///
/// # Errors
///
/// When the worker cannot be started, says nothing, or fails.
pub fn master(program: &[OsString], out: &mut impl Write) -> Result {
    let mut worker = Worker::start(program, None)?;
    greet("worker", &mut worker.channel)?;
    hear_greeting(&mut worker.channel, out)?;
    worker.end()?;
    Ok(writeln!(out, "channel closed")?)
}

/// To return is to close the channel.
fn worker(mut channel: Channel, out: &mut impl Write) -> Result {
    hear_greeting(&mut channel, out)?;
    greet("master", &mut channel)
}

fn greet(whom: &str, channel: &mut Channel) -> Result {
    let pid = process::id();
    let text = format!(r#"{{"hello":"{whom}","pid":{pid}}}"#);
    Ok(channel.say(&Message::User(&text))?)
}

/// Waits for a message of the application's, and prints it as it came. What
/// Node says on its own behalf is passed over.
fn hear_greeting(channel: &mut Channel, out: &mut impl Write) -> Result {
    loop {
        let heard = listen(channel)?;
        while let Some((line, descriptors)) = channel.line()? {
            let message = Message::parse(line)?;
            descriptors.take(message.descriptors()).for_each(drop);
            if let Message::User(text) = message {
                writeln!(out, "{text}")?;
                return Ok(());
            }
        }
        if heard == Heard::End {
            return Err("the other end hung up without a greeting".into());
        }
    }
}
