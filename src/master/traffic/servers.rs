//! What is listened on, and who may come.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use log::info;

use super::connection::Connection;
use super::listeners::Listeners;
use super::onward::Onward;
use super::open::{self, Socket};
use super::{Admission, Traffic};
use crate::master::control;
use crate::master::dispatcher::Dispatcher;
use crate::master::listener::Listener;
use crate::master::poller::{Poller, Source};
use crate::master::primary::place;
use crate::master::primary::{Opened, Query};
use crate::master::server::ServerId;
use crate::sys;
use crate::sys::epoll::Interest;
use crate::sys::socket;

/// One thing that is listened on, and the workers that serve it.
#[derive(Debug)]
pub(super) struct Server {
    /// What Node's workers call it.
    pub(super) key: String,
    pub(super) listeners: Listeners,
    /// What each worker reads itself, instead of being handed connections.
    pub(super) shared: Option<OwnedFd>,
    pub(super) dispatcher: Dispatcher<Connection>,
}

impl Traffic {
    /// Serves what is listened on. `shared`: a socket that each worker reads
    /// itself.
    pub(crate) fn open(
        &mut self,
        id: ServerId,
        key: String,
        mut listeners: Listeners,
        shared: Option<OwnedFd>,
    ) {
        if self.admission == Admission::Closing {
            listeners.begin_closing();
        }
        let dispatcher = Dispatcher::new();
        let server = Server { key, listeners, shared, dispatcher };
        self.servers.insert(id, server);
    }

    /// Opens what a worker of Node's asks for, or goes on with the socket
    /// that a previous master had for it.
    ///
    /// # Errors
    /// The system's number, as Node wants to hear it.
    pub(crate) fn open_asked(
        &mut self,
        query: &Query<'_>,
        inherited: Option<OwnedFd>,
        poller: &mut Poller,
    ) -> Result<Opened, i32> {
        let Query { key, listen, server: id, .. } = query;
        let socket = match inherited {
            Some(socket) => {
                let mut socket = open::inherit(key, listen, socket)?;
                if let Socket::Accepting(listener) = &mut socket
                    && self.admission != Admission::NotYet
                {
                    listener.take_over();
                }
                socket
            }
            None => open::open(key, listen, self.host.as_deref())?,
        };
        let (bound, listeners, shared) = match socket {
            Socket::Accepting(listener) => {
                info!("listening on {listener}");
                let bound = listener.bound();
                let (fd, source) = (listener.as_fd(), Source::Listener(*id));
                let added = poller.add(fd, Interest::Read, source);
                let at = added.map_err(|error| error.errno())?;
                (bound, vec![(listener, at)], None)
            }
            Socket::Shared(socket) => {
                info!("sharing {}", place(key));
                let bound = socket::local_address(socket.as_fd());
                (bound.ok().flatten(), Vec::new(), Some(socket))
            }
        };
        let opened = Opened { bound, shared: shared.is_some() };
        self.open(*id, key.clone(), Listeners::new(listeners), shared);
        Ok(opened)
    }

    /// Closes a server that nobody has, with whatever waits for it.
    pub(crate) fn close(&mut self, id: ServerId, poller: &mut Poller) {
        let Some(mut server) = self.servers.remove(&id) else { return };
        self.held -= server.held();
        server.listeners.close_all(poller);
    }

    /// Closes all listeners, whatever waits in their queues.
    pub(crate) fn close_all(&mut self, poller: &mut Poller) {
        // Whatever is opened after this is nobody else's.
        self.admission = Admission::Open;
        for server in self.servers.values_mut() {
            server.listeners.close_all(poller);
        }
    }

    /// A stop has begun: connections that the kernel holds back for want of a
    /// first byte come through, and nobody comes after us, unless the next
    /// master is there already.
    pub(crate) fn stop(&mut self) {
        for server in self.servers.values() {
            server.listeners.stop_deferring();
        }
        if let Onward::Worker = self.onward {
            self.onward = Onward::End;
        }
    }

    /// From now on a listener whose queue is empty is closed.
    pub(crate) fn begin_closing(&mut self) {
        self.admission = Admission::Closing;
        for server in self.servers.values_mut() {
            server.listeners.begin_closing();
        }
    }

    /// The next master is ready: it has our listeners too, and gets the
    /// connections that our workers give back.
    pub(crate) fn hand_over(&mut self) {
        self.onward = Onward::NextMaster(VecDeque::new());
        for server in self.servers.values_mut() {
            server.listeners.hand_over();
        }
    }

    /// The previous master goes: we accept.
    pub(crate) fn take_over(&mut self) {
        self.admission = Admission::Open;
        for server in self.servers.values_mut() {
            server.listeners.take_over();
        }
    }

    /// Leaves so many workers the descriptors that they need.
    pub(crate) fn make_room_for(&mut self, workers: usize) {
        let listeners = self.listeners().count();
        self.limits.make_room_for(workers, listeners, control::CLIENTS);
    }

    /// Whether there may be one more server: each costs a descriptor.
    pub(crate) fn has_room_for_a_server(&self) -> bool {
        self.servers.len() < self.limits.held
    }

    /// Whether a listener is at this path.
    pub(crate) fn is_at(&self, path: &Path) -> bool {
        self.listeners().any(|listener| listener.is_at(path))
    }

    pub(crate) fn listeners(&self) -> impl Iterator<Item = &Listener> {
        self.servers.values().flat_map(|server| server.listeners.iter())
    }

    /// All that is listened on or shared, by its name.
    pub(crate) fn sockets(
        &self,
    ) -> impl Iterator<Item = (&OsStr, BorrowedFd<'_>)> {
        self.servers.values().flat_map(|server| {
            let listeners = server.listeners.iter();
            let accepting = listeners.map(|one| (one.name(), one.as_fd()));
            let key = OsStr::new(&server.key);
            let shared = server.shared.iter();
            accepting.chain(shared.map(move |one| (key, one.as_fd())))
        })
    }

    /// A copy of the socket that this server's workers share.
    ///
    /// # Errors
    /// The system's number.
    pub(crate) fn shared(&self, id: ServerId) -> Result<OwnedFd, i32> {
        let server = self.servers.get(&id);
        let shared = server.and_then(|server| server.shared.as_ref());
        let shared = shared.ok_or(sys::Error::INVALID.errno())?;
        let copy = shared.try_clone();
        copy.map_err(|error| error.raw_os_error().unwrap_or_default())
    }
}

impl Server {
    /// How many copies of connections it holds.
    fn held(&self) -> usize {
        let counts = self.dispatcher.counts();
        let pending: u64 = counts.map(|counts| counts.pending).sum();
        self.dispatcher.parked() + pending as usize
    }
}
