//! Two processes talk over one socketpair: the seed from which the rest of
//! this project grows. A pipe carries bytes one way; a socketpair both ways,
//! and later, with `SCM_RIGHTS`, open files too.
//!
//! ```text
//!   parent                                                child
//!     │ says its pid, forks, says so
//!     │ ──────────── "a message to child  process!\n" ────▶ │
//!     │                                      says its pid, │
//!     │                               then what it has read │
//!     │ ◀─────────── "a message to parent process!\n" ───── │
//!     │ says what it has read, waits for the child
//! ```
//!
//! `ffi/socketpair.c` is the same program in C. They print the same, and
//! either end of the one can talk to the other end of the other: `demo
//! socketpair parent FD` and `child FD` play one end over an inherited,
//! blocking, connected stream socket.
//!
//! One thing differs, and nobody sees it: where C forks and goes on, the
//! child here is this program anew (`child 3`), as every worker of handoff.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process;

use super::Result;
use crate::config::Ends;
use crate::sys::process::{FIRST_DESCRIPTOR, inherited};

/// The article's words, its two spaces included.
const TO_CHILD: &str = "a message to child  process!\n";
const TO_PARENT: &str = "a message to parent process!\n";

/// Longest line that is taken, in bytes.
const LONGEST: u64 = 127;

pub(super) fn run(ends: Ends, out: &mut impl Write) -> Result {
    match ends {
        Ends::Both => both(out),
        Ends::Parent(number) => {
            say_parent(out)?;
            parent(&take_over(number)?, out)
        }
        Ends::Child(number) => child(&take_over(number)?, out),
    }
}

fn both(out: &mut impl Write) -> Result {
    say_parent(out)?;
    let (ours, theirs) = UnixStream::pair()?;
    let number = FIRST_DESCRIPTOR.to_string();
    let words = super::this_program(&["socketpair", "child", &number])?;
    let child = super::spawn(&words, Vec::new(), theirs.as_fd())?;
    // A socket is closed when its last copy is: who keeps a copy of the
    // peer's end never reads its end of file.
    drop(theirs);
    writeln!(out, "Fork child process successed")?; // as the article spells it
    let played = parent(&ours, out);
    drop(ours); // A child that still reads is not waited for in vain.
    let ended = super::success(&child);
    played.and(ended)
}

fn say_parent(out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "Parent process's pid is {}", process::id())
}

fn parent(mut socket: &UnixStream, out: &mut impl Write) -> Result {
    socket.write_all(TO_CHILD.as_bytes())?;
    let line = read_line(socket)?;
    say_read(&line, out)?;
    Ok(())
}

/// Reads before it prints: that the message is there proves that the parent's
/// lines are out.
fn child(mut socket: &UnixStream, out: &mut impl Write) -> Result {
    let line = read_line(socket)?;
    writeln!(out, "Child process's pid is :{}", process::id())?;
    say_read(&line, out)?;
    socket.write_all(TO_PARENT.as_bytes())?;
    Ok(())
}

fn say_read(line: &[u8], out: &mut impl Write) -> io::Result<()> {
    write!(out, "Pid {} read string : ", process::id())?;
    out.write_all(line)
}

/// Reads up to the newline, however the stream may have cut the line: it
/// keeps no borders between messages. The newline is the border, here as in
/// Node's channel.
fn read_line(socket: &UnixStream) -> Result<Vec<u8>> {
    let mut line = Vec::new();
    BufReader::new(socket.take(LONGEST)).read_until(b'\n', &mut line)?;
    if line.ends_with(b"\n") {
        Ok(line)
    } else {
        Err("the other end sent no whole line".into())
    }
}

/// Of 0, 1 and 2 the standard library is the owner: a copy will do.
fn take_over(number: i32) -> Result<UnixStream> {
    let end: Option<OwnedFd> = match number {
        0 => Some(io::stdin().as_fd().try_clone_to_owned()?),
        1 => Some(io::stdout().as_fd().try_clone_to_owned()?),
        2 => Some(io::stderr().as_fd().try_clone_to_owned()?),
        _ => inherited(number),
    };
    let end = end.ok_or(format!("{number} is not an open descriptor"))?;
    Ok(UnixStream::from(end))
}
