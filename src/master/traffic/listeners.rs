//! The listening sockets of one server, and whether they accept.
//!
//! They are open or shut together (`gate`), as the workers have room or not.
//! At a stop each is accepted from to the last, then closed.

use std::os::fd::AsFd;
use std::time::Instant;

use log::{error, info, warn};

use super::connection::Connection;
use crate::gate::Gate;
use crate::master::listener::Listener;
use crate::master::poller::Poller;
use crate::master::scheduler::Peer;
use crate::slab::Key;
use crate::sys;
use crate::sys::socket::Accepted;

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Listeners {
    listeners: Vec<(Listener, Key)>,
    gate: Gate,
    /// Each listener is closed as soon as its queue is empty.
    closing: bool,
}

impl Listeners {
    /// Listeners that the poller watches already.
    pub(crate) fn new(listeners: Vec<(Listener, Key)>) -> Listeners {
        Listeners { listeners, gate: Gate::new(), closing: false }
    }

    /// The next connection of the listener with this key, if there is one.
    pub(super) fn accept(
        &mut self,
        key: Key,
        poller: &mut Poller,
        now: Instant,
    ) -> Option<(Connection, Peer)> {
        let index = self.listeners.iter().position(|(_, at)| *at == key)?;
        loop {
            let (listener, _) = &mut self.listeners[index];
            let accepted = listener.accept();
            if accepted.is_ok() && self.gate.works() {
                info!("accepting goes on");
            }
            match accepted {
                Ok(Accepted::Connection(socket, address)) => {
                    let peer = address
                        .map_or(Peer::Unix, |address| Peer::Ip(address.ip()));
                    let guarded = listener.trusts(socket.as_fd());
                    let snapshot = None;
                    let one = Connection { socket, snapshot, guarded };
                    return Some((one, peer));
                }
                Ok(Accepted::Aborted) => {}
                Ok(Accepted::Nothing) => {
                    listener.is_drained(now);
                    if self.closing {
                        self.close(index, poller);
                    }
                    return None;
                }
                // Its end is told again and again, armed or not.
                Err(error) if error.is_shut_down() => {
                    error!("{listener} was shut down, nobody comes there");
                    self.close(index, poller);
                    return None;
                }
                Err(error) => {
                    if self.gate.pause(now) {
                        warn!("accepting pauses: {error}");
                    }
                    return None;
                }
            }
        }
    }

    /// Accepts or not, as the caller has room for more or not.
    pub(super) fn arm(
        &mut self,
        wanted: bool,
        poller: &Poller,
        now: Instant,
    ) -> sys::Result<()> {
        if let Some(interest) = self.gate.set(wanted, now) {
            for (listener, key) in &self.listeners {
                poller.set(listener.as_fd(), *key, interest)?;
            }
        }
        Ok(())
    }

    /// When a pause is over.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.gate.deadline()
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
    pub(super) fn iter(&self) -> impl Iterator<Item = &Listener> {
        self.listeners.iter().map(|(listener, _)| listener)
    }

    /// The next master has them too, and goes on.
    pub(super) fn hand_over(&mut self) {
        for (listener, _) in &mut self.listeners {
            listener.share();
        }
    }

    /// The previous master, which has them too, goes.
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

    /// Closes all of them, whatever waits in their queues.
    pub(super) fn close_all(&mut self, poller: &mut Poller) {
        while !self.listeners.is_empty() {
            self.close(0, poller);
        }
    }

    fn close(&mut self, index: usize, poller: &mut Poller) {
        let (listener, key) = self.listeners.remove(index);
        let name = listener.to_string();
        poller.remove(listener.as_fd(), key);
        if let Err(error) = listener.close() {
            warn!("{name}: cannot remove the socket file: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::master::poller::Source;
    use crate::master::server::ServerId;
    use crate::sys::epoll::Events;
    use crate::sys::epoll::Interest;
    use crate::sys::socket::{Direction, shutdown};
    use crate::sys::tcp::Listening;
    use std::time::Duration;

    #[test]
    fn a_listener_that_somebody_has_shut_down_keeps_nobody_busy() {
        let any = "127.0.0.1:0".parse().unwrap();
        let name = std::ffi::OsString::new();
        let (listener, _) =
            Listener::listen_at(name, any, Listening::plain(8)).unwrap();
        let copy = listener.as_fd().try_clone_to_owned().unwrap();
        let mut poller = Poller::new().unwrap();
        let source = Source::Listener(ServerId::OWN);
        let (fd, read) = (listener.as_fd(), Interest::Read);
        let key = poller.add(fd, read, source).unwrap();
        let mut listeners = Listeners::new(vec![(listener, key)]);
        shutdown(copy.as_fd(), Direction::Both).unwrap();
        let now = Instant::now();
        assert!(listeners.accept(key, &mut poller, now).is_none());
        listeners.arm(true, &poller, now).unwrap();
        assert!(listeners.are_closed() && listeners.deadline().is_none());
        let mut events = Events::with_capacity(1);
        poller.wait(&mut events, Some(Duration::ZERO)).unwrap();
        assert_eq!(events.len(), 0);
    }
}
