//! The doors: all listening sockets, and whether they are open.
//!
//! ```text
//!            nobody has room, or descriptors are short
//!   Armed ─────────────────────────────────────────────▶ Disarmed
//!     ▲ ◀───────────── room again, or time is up ─────────── │
//!     └── stop: accepted to the last, then closed, one by one ┘
//! ```
//!
//! A disarmed listener accepts nothing and refuses nobody: clients wait in
//! the kernel's queue. It would spin if it stayed armed, since epoll is
//! level-triggered, and what it accepted would have to wait here.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use log::{error, info, warn};

use super::guest::Guest;
use super::listener::Listener;
use super::scheduler::Peer;
use crate::slab::Key;
use crate::sys;
use crate::sys::epoll::{Epoll, Interest};
use crate::sys::socket::Accepted;

/// How long to wait with accepting after the system was short of descriptors
/// or memory.
const PAUSE: Duration = Duration::from_millis(100);

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Doors {
    listeners: Vec<(Listener, Key)>,
    armed: bool,
    /// Each listener is closed as soon as its queue is empty.
    closing: bool,
    paused_until: Option<Instant>,
    /// The last attempt failed, and the log says so.
    failing: bool,
}

impl Doors {
    /// Doors that are open, as far as epoll is concerned.
    pub(super) fn new(listeners: Vec<(Listener, Key)>) -> Doors {
        Doors {
            listeners,
            armed: true,
            closing: false,
            paused_until: None,
            failing: false,
        }
    }

    /// The next connection of one listener, or of any with `None`, if there
    /// is one.
    pub(super) fn accept(
        &mut self,
        key: Key,
        epoll: &Epoll,
        now: Instant,
    ) -> Option<(Guest, Peer)> {
        let index = self.listeners.iter().position(|(_, at)| *at == key)?;
        loop {
            let (listener, _) = &mut self.listeners[index];
            let accepted = listener.accept();
            if self.failing && accepted.is_ok() {
                self.failing = false;
                info!("accepting goes on");
            }
            match accepted {
                Ok(Accepted::Connection(socket, address)) => {
                    let peer = address
                        .map_or(Peer::Unix, |address| Peer::Ip(address.ip()));
                    let guarded = listener.trusts(socket.as_fd());
                    let guest = Guest { socket, bag: None, guarded };
                    return Some((guest, peer));
                }
                Ok(Accepted::Aborted) => {}
                Ok(Accepted::Nothing) => {
                    listener.is_drained(now);
                    if self.closing {
                        self.close(index, epoll);
                    }
                    return None;
                }
                // Its end is told again and again, armed or not.
                Err(error) if error.is_shut_down() => {
                    error!("{listener} was shut down, nobody comes there");
                    self.close(index, epoll);
                    return None;
                }
                Err(error) => {
                    if !self.failing {
                        self.failing = true;
                        warn!("accepting pauses: {error}");
                    }
                    self.paused_until = Some(now + PAUSE);
                    return None;
                }
            }
        }
    }

    /// Opens or shuts the doors, as the caller has room for more or not.
    pub(super) fn arm(
        &mut self,
        wanted: bool,
        epoll: &Epoll,
        now: Instant,
    ) -> sys::Result<()> {
        if self.paused_until.is_some_and(|until| until <= now) {
            self.paused_until = None;
        }
        let wanted = wanted && self.paused_until.is_none();
        if wanted != self.armed {
            let interest =
                if wanted { Interest::Read } else { Interest::Nothing };
            for (listener, key) in &self.listeners {
                epoll.modify(listener.as_fd(), interest, key.bits())?;
            }
            self.armed = wanted;
        }
        Ok(())
    }

    /// When a pause is over.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.paused_until
    }

    /// Lets through the connections that the kernel holds back for want of a
    /// first byte: a stop has begun.
    pub(super) fn stop_deferring(&self) {
        for (listener, _) in &self.listeners {
            if let Err(error) = listener.defer(false) {
                warn!(
                    "{listener}: connections without data may wait: {error}"
                );
            }
        }
    }

    /// The listening sockets.
    pub(super) fn listeners(&self) -> impl Iterator<Item = &Listener> {
        self.listeners.iter().map(|(listener, _)| listener)
    }

    /// Somebody else has them too, and goes on.
    pub(super) fn bequeath(&mut self) {
        for (listener, _) in &mut self.listeners {
            listener.bequeath();
        }
    }

    /// The master who had them before us goes.
    pub(super) fn take_over(&mut self) {
        for (listener, _) in &mut self.listeners {
            listener.take_over();
        }
    }

    /// From now on a listener whose queue is empty is closed.
    pub(super) fn begin_closing(&mut self) {
        self.closing = true;
    }

    /// The listeners that are to be accepted from until they are empty.
    pub(super) fn to_be_closed(&self) -> Vec<Key> {
        if !self.closing {
            return Vec::new();
        }
        self.listeners.iter().map(|(_, key)| *key).collect()
    }

    pub(super) fn are_closed(&self) -> bool {
        self.listeners.is_empty()
    }

    /// Closes all of them, whatever waits in their queues. Returns the keys
    /// that are free now.
    pub(super) fn slam(&mut self, epoll: &Epoll) -> Vec<Key> {
        let keys = self.listeners.iter().map(|(_, key)| *key).collect();
        while !self.listeners.is_empty() {
            self.close(0, epoll);
        }
        keys
    }

    fn close(&mut self, index: usize, epoll: &Epoll) {
        let (listener, _) = self.listeners.remove(index);
        let name = listener.to_string();
        if let Err(error) = epoll.remove(listener.as_fd()) {
            error!("{name}: {error}");
        }
        if let Err(error) = listener.close() {
            warn!("{name}: cannot remove the socket file: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slab::Slab;
    use crate::sys::epoll::Events;
    use crate::sys::socket::{Direction, shutdown};
    use crate::sys::tcp::Listening;

    #[test]
    fn a_listener_that_somebody_has_shut_down_keeps_nobody_busy() {
        let any = "127.0.0.1:0".parse().unwrap();
        let name = std::ffi::OsString::new();
        let (listener, _) =
            Listener::listen_at(name, any, Listening::plain(8)).unwrap();
        let copy = listener.as_fd().try_clone_to_owned().unwrap();
        let key = Slab::new().insert(());
        let epoll = Epoll::new().unwrap();
        epoll.add(listener.as_fd(), Interest::Read, key.bits()).unwrap();
        let mut doors = Doors::new(vec![(listener, key)]);
        shutdown(copy.as_fd(), Direction::Both).unwrap();
        let now = Instant::now();
        assert!(doors.accept(key, &epoll, now).is_none());
        doors.arm(true, &epoll, now).unwrap();
        assert!(doors.are_closed() && doors.deadline().is_none());
        let mut events = Events::with_capacity(1);
        epoll.wait(&mut events, Some(Duration::ZERO)).unwrap();
        assert_eq!(events.len(), 0);
    }
}
