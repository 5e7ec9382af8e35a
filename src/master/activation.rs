//! Socket activation: a service manager listens first and starts us with its
//! sockets, so that nobody is refused while we start, or are not there
//! (sd_listen_fds(3)).
//!
//! | variable | says |
//! |---|---|
//! | `LISTEN_PID` | whom the others are for; anybody else passes them over |
//! | `LISTEN_FDS` | how many sockets there are, from descriptor 3 on |
//!
//! Where to listen is then the manager's business: its sockets take the place
//! of `--listen`, as gunicorn has it. They stay what they are when we go: no
//! file of theirs is removed.

use std::env;
use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd, RawFd};

use super::listener::Listener;
use super::upgrade::Upgrade;
use crate::error::Error;
use crate::sys::process::{self, FIRST_DESCRIPTOR};
use crate::sys::socket;

/// The name under which such a socket goes to the next master (`upgrade`).
const NAME: &str = "LISTEN_FDS";

/// The sockets that this process was given, by a service manager or by a
/// master that had them from there. To be asked before anything is opened:
/// what has such a number later is something else.
pub(super) fn take() -> Result<Vec<OwnedFd>, Error> {
    let number = |name| env::var(name).ok()?.parse::<u32>().ok();
    if number("LISTEN_PID") != Some(std::process::id()) {
        return Ok(Vec::new());
    }
    let Some(count) = number(NAME) else {
        return Err(Error::System(format!("{NAME} is not a number")));
    };
    (0..count)
        .map(|index| take_one(FIRST_DESCRIPTOR + index as RawFd))
        .collect()
}

fn take_one(number: RawFd) -> Result<OwnedFd, Error> {
    let Some(socket) = process::inherited(number) else {
        let line = format!("{NAME}: descriptor {number} is not open");
        return Err(Error::System(line));
    };
    if !socket::is_stream_listener(socket.as_fd()) {
        return Err(Error::System(format!(
            "{NAME}: descriptor {number} is not a listening stream socket"
        )));
    }
    socket::adopt_listener(socket.as_fd())?;
    Ok(socket)
}

/// Listens on them, and on those that the master before this one had.
pub(super) fn listen(
    mut sockets: Vec<OwnedFd>,
    upgrade: &mut Upgrade,
    defer_accept: bool,
) -> Result<Vec<Listener>, Error> {
    let name = OsStr::new(NAME);
    sockets.extend(upgrade.claim(name));
    let adopt = |socket| {
        let listener = Listener::adopt(name, socket)?;
        listener.defer(defer_accept)?;
        Ok(listener)
    };
    sockets.into_iter().map(adopt).collect()
}
