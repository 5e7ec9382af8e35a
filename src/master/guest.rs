//! A connection as the master has it: a copy of its socket and, if a worker
//! has had it before, what that left.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::scheduler::Peer;
use crate::salvage::bag::{Bag, Record};
use crate::sys::socket;

/// One that is on its way to a worker, or waits for one.
#[derive(Debug)]
pub(super) struct Guest {
    pub(super) socket: OwnedFd,
    pub(super) bag: Option<Box<Bag>>,
    /// A copy of it may be kept while a worker has it (`trust`).
    pub(super) guarded: bool,
}

impl Guest {
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
        self.bag.as_ref().is_some_and(|bag| !bag.is_light())
    }

    /// What is kept of it while a worker has it.
    pub(super) fn lend(self) -> Lent {
        let (at, record) = match &self.bag {
            Some(bag) => (bag.done.input, bag.record),
            None => (0, Record::default()),
        };
        Lent { socket: self.socket, at, record }
    }
}

impl From<OwnedFd> for Guest {
    fn from(socket: OwnedFd) -> Guest {
        Guest { socket, bag: None, guarded: true }
    }
}

impl AsFd for Guest {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// One that a worker has.
#[derive(Debug)]
pub(super) struct Lent {
    pub(super) socket: OwnedFd,
    /// What was answered when the worker got it, ...
    pub(super) at: u32,
    /// ... and what was held against the request that came then.
    pub(super) record: Record,
}
