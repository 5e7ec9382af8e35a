//! Who is at the other end of a worker's channel.
//!
//! ```text
//!                        ┌─ Master   ours: many connections a message,
//!   loop ──▶ Parent ─────┤           counters in shared memory
//!        ◀── News        └─ Node     one at a time, an answer for each
//! ```
//!
//! The loop knows neither; it gets connections, and the word to go.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use super::slot::Slot;
use crate::error::Error;
use crate::salvage::snapshot::Snapshot;
use crate::scoreboard::{Requests, Return};
use crate::slab::Key;
use crate::sys::epoll::{Epoll, Event};

/// See the [module](self).
pub(super) trait Parent {
    /// Something about the channel.
    fn hear(&mut self, event: Event, epoll: &Epoll) -> Result<News, Error>;

    /// Somebody waits in the queue of one of this process's own listeners.
    fn answer_listeners(&mut self) -> Result<News, Error> {
        Ok(News::default())
    }

    /// An arrival with this [tag](Arrival::tag) has become that client.
    fn seated(&mut self, _client: Key, _tag: u64) {}

    /// All arrivals of the last news are clients now, and were not looked at
    /// yet.
    fn all_seated(&mut self, _epoll: &Epoll) -> Result<(), Error> {
        Ok(())
    }

    /// A client is gone; its slot, if it had one, and whether its connection
    /// lives on.
    fn ended(&mut self, client: Key, slot: Option<Return>);

    /// A turn of the loop is over, and this became of all requests so far.
    fn turn_ends(
        &mut self,
        requests: Requests,
        now: Instant,
        epoll: &Epoll,
    ) -> Result<(), Error>;

    /// Sends a message of the program's.
    fn send(&mut self, json: &str, epoll: &Epoll) -> Result<(), Error>;

    /// When it wants another turn although nothing happens.
    fn deadline(&self) -> Option<Instant> {
        None
    }

    /// This worker wants to go. No dismissal in the answer: the parent's word
    /// is to be waited for.
    fn leave(&mut self, why: Leave, epoll: &Epoll) -> Result<News, Error>;
}

/// What came of listening to the parent.
#[derive(Debug, Default)]
pub(super) struct News {
    /// In the order of their coming.
    pub(super) arrivals: Vec<Arrival>,
    /// What it says to the program, each one JSON text.
    pub(super) messages: Vec<String>,
    /// No more will come.
    pub(super) dismissal: Option<Dismissal>,
}

/// A connection that is ours from here on.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) socket: OwnedFd,
    /// If it is guarded.
    pub(super) slot: Option<Slot>,
    /// What another worker has left of it.
    pub(super) snapshot: Option<Box<Snapshot>>,
    /// What the parent knows it by, if it wants to be told which client it
    /// has become. Means nothing to anybody else.
    pub(super) tag: Option<u64>,
}

impl From<OwnedFd> for Arrival {
    fn from(socket: OwnedFd) -> Arrival {
        Arrival { socket, slot: None, snapshot: None, tag: None }
    }
}

/// The worker is to finish what it has, and to go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dismissal {
    /// Clients are to be left to other workers, those that can be.
    pub(super) giving: bool,
    /// How long to wait for one more request of each idle client.
    pub(super) idle: Duration,
    /// How long for everything. `None`: somebody else sees to that.
    pub(super) grace: Option<Duration>,
}

/// Why a worker wants to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leave {
    /// It was asked to.
    Asked,
    /// A handler has panicked.
    Panicked,
}
