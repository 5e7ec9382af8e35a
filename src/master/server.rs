//! One thing that is listened on, and the workers that serve it.
//!
//! `serve` has one: all its addresses, for every worker. `run` has one for
//! each server of the app, made when the first worker asks for it; a worker
//! serves those that it has asked for.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use super::asked;
use super::dispatcher::Dispatcher;
use super::doors::Doors;
use super::guest::Guest;
use crate::WorkerId;
use crate::ipc::message::Listen;

/// Names a server to the master itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ServerId(pub(super) u32);

impl ServerId {
    /// The one of `serve`.
    pub(super) const OWN: ServerId = ServerId(0);
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Server {
    pub(super) doors: Doors,
    pub(super) dispatcher: Dispatcher<Guest>,
    pub(super) asked: Option<Asked>,
}

/// What workers know of a server that they asked for.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) key: String,
    /// Raw JSON of the first worker that asked; every other gets it as well
    /// (TLS ticket keys, so that a session is resumed anywhere).
    pub(super) data: Option<String>,
    /// Where it listens, if that is IP.
    pub(super) bound: Option<std::net::SocketAddr>,
    /// What each worker reads itself, instead of being handed connections.
    pub(super) shared: Option<OwnedFd>,
    /// Who has it.
    pub(super) members: BTreeSet<WorkerId>,
    /// How long it is kept when it is deserted.
    pub(super) keep: Duration,
    /// Since when nobody has it, and nobody is expected to want it.
    pub(super) deserted: Option<Instant>,
}

impl Asked {
    /// Whether this is what a worker speaks of.
    pub(super) fn is_meant_by(&self, listen: &Listen<'_>) -> bool {
        let port = self.bound.map(|bound| bound.port());
        asked::is_meant(listen, &self.key, port)
    }
}

impl Server {
    pub(super) fn new(doors: Doors, asked: Option<Asked>) -> Server {
        Server { doors, dispatcher: Dispatcher::new(), asked }
    }

    pub(super) fn key(&self) -> Option<&str> {
        self.asked.as_ref().map(|asked| asked.key.as_str())
    }

    /// How many copies of connections it holds.
    pub(super) fn held(&self) -> usize {
        let pending: u64 =
            self.dispatcher.counts().map(|counts| counts.pending).sum();
        self.dispatcher.parked() + pending as usize
    }
}
