//! Listening sockets that somebody else has bound and passed to this process
//! (`child.send(…, server)`, or a cluster with `SCHED_NONE`): it accepts from
//! them itself, perhaps beside others.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use log::warn;

use crate::gate::Gate;
use crate::sys;
use crate::sys::epoll::Epoll;
use crate::sys::socket::{self, Accepted};

/// Connections that may wait; Node's own default.
const BACKLOG: i32 = 511;

/// How many to take in one turn: others may be less busy.
const BATCH: usize = 16;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Listeners {
    listeners: Vec<OwnedFd>,
    gate: Gate,
}

impl Listeners {
    pub(super) fn new() -> Listeners {
        Listeners { listeners: Vec::new(), gate: Gate::new() }
    }

    /// Opens one more.
    pub(super) fn open(
        &mut self,
        listener: OwnedFd,
        epoll: &Epoll,
    ) -> sys::Result<()> {
        socket::set_nonblocking(listener.as_fd())?;
        socket::listen(listener.as_fd(), BACKLOG)?;
        let interest = self.gate.interest();
        epoll.add(listener.as_fd(), interest, crate::worker::LISTENERS)?;
        self.listeners.push(listener);
        Ok(())
    }

    /// Some of those that wait, as many as there is `room` for.
    pub(super) fn accept(&mut self, room: usize) -> Vec<OwnedFd> {
        self.take(room.min(BATCH))
    }

    /// Opens or shuts the listeners, as there is room for more or not.
    pub(super) fn arm(
        &mut self,
        wanted: bool,
        now: Instant,
        epoll: &Epoll,
    ) -> sys::Result<()> {
        if let Some(interest) = self.gate.set(wanted, now) {
            for listener in &self.listeners {
                let fd = listener.as_fd();
                epoll.modify(fd, interest, crate::worker::LISTENERS)?;
            }
        }
        Ok(())
    }

    /// When a pause is over.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.gate.deadline()
    }

    /// Closes them all. Those that wait by then are the last: they may have
    /// nobody else.
    pub(super) fn close(
        &mut self,
        room: usize,
        epoll: &Epoll,
    ) -> sys::Result<Vec<OwnedFd>> {
        let last = self.take(room);
        self.gate = Gate::new();
        for listener in self.listeners.drain(..) {
            // Others have copies, so its end would not remove it.
            epoll.remove(listener.as_fd())?;
        }
        Ok(last)
    }

    fn take(&mut self, most: usize) -> Vec<OwnedFd> {
        let mut taken = Vec::new();
        for listener in &self.listeners {
            while taken.len() < most {
                match socket::accept(listener.as_fd()) {
                    Ok(Accepted::Connection(socket, _)) => {
                        self.gate.works();
                        taken.push(socket);
                    }
                    Ok(Accepted::Aborted) => {}
                    Ok(Accepted::Nothing) => break,
                    Err(error) => {
                        if self.gate.pause(Instant::now()) {
                            warn!("accepting pauses: {error}");
                        }
                        break;
                    }
                }
            }
        }
        taken
    }
}
