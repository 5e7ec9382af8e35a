//! A connection as the master has it: a copy of its socket and, if a worker
//! has had the connection before, what that worker left.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::master::scheduler::Peer;
use crate::salvage::snapshot::{Record, Snapshot};
use crate::sys::socket;

/// One that is on its way to a worker, or waits for one.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) socket: OwnedFd,
    pub(crate) snapshot: Option<Box<Snapshot>>,
    /// A copy of it may be kept while a worker has it (`trust`).
    pub(crate) guarded: bool,
}

impl Connection {
    /// Who it is from. It had an address when it was accepted; of one that is
    /// gone meanwhile it does not matter.
    pub(super) fn peer(&self) -> Peer {
        match socket::peer_address(self.socket.as_fd()) {
            Ok(Some(address)) => Peer::Ip(address.ip()),
            Ok(None) | Err(_) => Peer::Unix,
        }
    }

    /// Bytes have to go with it.
    pub(super) fn is_heavy(&self) -> bool {
        self.snapshot.as_ref().is_some_and(|left| !left.is_light())
    }

    /// It has not been refused.
    pub(super) fn is_open(&self) -> bool {
        self.snapshot.as_ref().is_some_and(|left| !left.closing)
    }

    /// What is kept of it while a worker has it.
    pub(super) fn retain(self) -> Retained {
        let (at, record) = match &self.snapshot {
            Some(left) => (left.done.input, left.record),
            None => (0, Record::default()),
        };
        Retained { socket: self.socket, at, record }
    }
}

impl From<OwnedFd> for Connection {
    fn from(socket: OwnedFd) -> Connection {
        Connection { socket, snapshot: None, guarded: true }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// One that a worker has.
#[derive(Debug)]
pub(super) struct Retained {
    pub(super) socket: OwnedFd,
    /// How much of its input was answered when the worker got it.
    pub(super) at: u32,
    /// What was held against the request that came then.
    pub(super) record: Record,
}
