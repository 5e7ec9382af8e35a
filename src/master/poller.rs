//! What the master's loop waits for: descriptors, and what each is to it.
//!
//! ```text
//!   add(fd, source) ─▶ Key ─▶ epoll ─▶ Event ─▶ source(event) ─▶ the loop
//! ```
//!
//! epoll carries a [`Key`] for a descriptor, and the slab tells what the key
//! stands for; neither is ever in one without the other. An event may be
//! older than the closing of what it speaks of: its key is stale by then, and
//! stands for nothing. What a source means is not known here.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use log::error;

use super::server::ServerId;
use crate::WorkerId;
use crate::slab::{Key, Slab};
use crate::sys;
use crate::sys::epoll::{Epoll, Event, Events, Interest};

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Signals,
    Listener(ServerId),
    Channel(WorkerId),
    Process(WorkerId),
    /// The new master of an upgrade: its process, or its word that it is
    /// ready.
    NextMaster,
    /// The same one's channel once it is ready: it gets the connections that
    /// our workers give back.
    Handover,
    /// The channel of the master before this one, from which come the
    /// connections that its workers had.
    PreviousMaster,
    /// The control socket.
    Control,
    /// A client of the control socket.
    ControlClient,
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Poller {
    epoll: Epoll,
    sources: Slab<Source>,
}

impl Poller {
    pub(super) fn new() -> sys::Result<Poller> {
        Ok(Poller { epoll: Epoll::new()?, sources: Slab::new() })
    }

    /// Watches a descriptor from now on. On an error nothing has changed.
    pub(super) fn add(
        &mut self,
        fd: BorrowedFd<'_>,
        interest: Interest,
        source: Source,
    ) -> sys::Result<Key> {
        let key = self.sources.insert(source);
        match self.epoll.add(fd, interest, key.bits()) {
            Ok(()) => Ok(key),
            Err(error) => {
                self.sources.remove(key);
                Err(error)
            }
        }
    }

    /// What to be told of, from now on.
    pub(super) fn set(
        &self,
        fd: BorrowedFd<'_>,
        key: Key,
        interest: Interest,
    ) -> sys::Result<()> {
        self.epoll.modify(fd, interest, key.bits())
    }

    /// The descriptor with this key is something else from now on.
    pub(super) fn relabel(&mut self, key: Key, source: Source) {
        if let Some(known) = self.sources.get_mut(key) {
            *known = source;
        }
    }

    /// Watches a descriptor no longer. To be called before it is closed: a
    /// child between fork and exec may hold a copy, which would keep it
    /// registered (`sys::epoll`).
    pub(super) fn remove(&mut self, fd: BorrowedFd<'_>, key: Key) {
        if let Err(error) = self.epoll.remove(fd) {
            error!("a descriptor stays registered: {error}");
        }
        self.sources.remove(key);
    }

    /// What an event is about; `None` if that was closed earlier in the same
    /// turn.
    pub(super) fn source(&mut self, event: Event) -> Option<(Key, Source)> {
        let key = Key::from_bits(event.data);
        self.sources.get_mut(key).map(|source| (key, *source))
    }

    /// Waits for events, as [`Epoll::wait`] does.
    pub(super) fn wait(
        &self,
        events: &mut Events,
        timeout: Option<Duration>,
    ) -> sys::Result<()> {
        self.epoll.wait(events, timeout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::{socket, unix};
    use std::os::fd::AsFd;

    fn readable(poller: &mut Poller) -> Vec<Option<(Key, Source)>> {
        let mut events = Events::with_capacity(4);
        poller.wait(&mut events, Some(Duration::ZERO)).unwrap();
        let found = (0..events.len()).map(|index| events.get(index));
        found.map(|event| poller.source(event)).collect()
    }

    #[test]
    fn an_event_leads_to_what_its_descriptor_is() {
        let mut poller = Poller::new().unwrap();
        let (a, b) = unix::pair().unwrap();
        let read = Interest::Read;
        let key = poller.add(a.as_fd(), read, Source::NextMaster).unwrap();
        assert_eq!(readable(&mut poller), []);
        socket::send(b.as_fd(), b"x").unwrap();
        let source = Source::NextMaster;
        assert_eq!(readable(&mut poller), [Some((key, source))]);
        poller.relabel(key, Source::Handover);
        let source = Source::Handover;
        assert_eq!(readable(&mut poller), [Some((key, source))]);
        poller.set(a.as_fd(), key, Interest::Nothing).unwrap();
        assert_eq!(readable(&mut poller), []);
    }

    #[test]
    fn an_event_that_is_older_than_the_closing_is_about_nothing() {
        let mut poller = Poller::new().unwrap();
        let (a, b) = unix::pair().unwrap();
        let read = Interest::Read;
        let key = poller.add(a.as_fd(), read, Source::Signals).unwrap();
        socket::send(b.as_fd(), b"x").unwrap();
        let mut events = Events::with_capacity(1);
        poller.wait(&mut events, None).unwrap();
        poller.remove(a.as_fd(), key);
        // The place has a new tenant by then.
        poller.add(b.as_fd(), read, Source::Control).unwrap();
        assert_eq!(poller.source(events.get(0)), None);
    }

    #[test]
    fn what_cannot_be_watched_leaves_no_trace() {
        let mut poller = Poller::new().unwrap();
        let (a, _b) = unix::pair().unwrap();
        let read = Interest::Read;
        poller.add(a.as_fd(), read, Source::Control).unwrap();
        poller.add(a.as_fd(), read, Source::Signals).unwrap_err();
        assert_eq!(poller.sources.len(), 1);
    }
}
