//! What the traffic knows of one worker: which connections it was sent, has,
//! and gives back.
//!
//! ```text
//!   Handoff   many connections in a message, counters instead of answers
//!   Node      one descriptor in a message, and an answer to each
//! ```
//!
//! A worker on this library writes what it has done into its scoreboard,
//! where it is looked at; a worker that speaks as Node does answers on its
//! channel, which is not read here. Who answers wrong is named, and judged by
//! the caller.

use std::os::fd::{AsFd, OwnedFd};

use super::assess::given_back;
use super::connection::{Connection, Retained};
use super::limits::RetainedBudget;
use crate::WorkerId;
use crate::control::Salvage;
use crate::error::Error;
use crate::master::dispatcher::{Dispatcher, Fault};
use crate::master::workers::Sample;
use crate::salvage::slot_table::SlotTable;
use crate::scoreboard::{INBOUND_BUFFERS, Requests, SLOTS, Scoreboard};
use crate::sys::poll;

/// See the [module](self).
#[derive(Debug)]
pub(super) enum Account {
    Handoff(Handoff),
    Node(Node),
}

/// A worker that is on this library.
#[derive(Debug)]
pub(super) struct Handoff {
    pub(super) slot: usize,
    pub(super) scoreboard: Scoreboard,
    /// The connections that it has, if they are guarded.
    pub(super) slot_table: SlotTable<Retained>,
    /// Most connections that it can have open, as it said itself.
    pub(super) capacity: Option<u64>,
    /// The connection that it could not take when it last ran out of
    /// descriptors: the log says so once.
    missed: Option<u64>,
}

/// A worker that speaks as Node does.
#[derive(Debug, Default)]
pub(super) struct Node {
    /// How many connections it has taken.
    pub(super) taken: u64,
    /// Those, and how many it has given back.
    pub(super) answered: u64,
}

impl Account {
    /// Of a worker that has just been started in this slot.
    pub(super) fn new(slot: usize, scoreboard: Option<Scoreboard>) -> Account {
        match scoreboard {
            Some(board) => Account::Handoff(Handoff::new(slot, board)),
            None => Account::Node(Node::default()),
        }
    }

    /// How many connections the worker has taken.
    pub(super) fn received(&self) -> u64 {
        match self {
            Account::Handoff(ours) => ours.scoreboard.received(),
            Account::Node(node) => node.taken,
        }
    }

    /// What became of its requests, if it tells.
    pub(super) fn requests(&self) -> Option<Requests> {
        match self {
            Account::Handoff(ours) => Some(ours.scoreboard.requests()),
            Account::Node(_) => None,
        }
    }

    /// How many connections of which a copy is to be kept are on their way.
    pub(super) fn on_their_way(&self) -> usize {
        match self {
            Account::Handoff(ours) => ours.slot_table.on_their_way(),
            Account::Node(_) => 0,
        }
    }

    /// What the hang detector sees of the worker. `owes`: it was sent a
    /// connection that it has not taken; `is_stopped` asks whether a signal
    /// has stopped it.
    pub(super) fn sample(
        &self,
        owes: bool,
        is_stopped: impl FnOnce() -> bool,
    ) -> Sample {
        let (turns, waiting) = match self {
            Account::Handoff(ours) => {
                let waiting = ours.scoreboard.is_waiting();
                let kept = || is_stopped() && ours.has_something_to_do();
                (ours.scoreboard.turns(), waiting && !kept())
            }
            // It tells only when it answers.
            Account::Node(node) => (node.answered, true),
        };
        Sample { turns, waiting, received: self.received(), owes }
    }
}

impl Handoff {
    fn new(slot: usize, scoreboard: Scoreboard) -> Handoff {
        let slots = if scoreboard.is_guarded() { SLOTS } else { 0 };
        let slot_table = SlotTable::new(slots, INBOUND_BUFFERS);
        let (capacity, missed) = (None, None);
        Handoff { slot, scoreboard, slot_table, capacity, missed }
    }

    /// One of its clients has sent something, or has something in hand. We
    /// only see clients of which we have copies.
    fn has_something_to_do(&self) -> bool {
        let lent = || self.slot_table.lent();
        lent().any(|(slot, _)| self.scoreboard.words(slot).place != 0)
            || poll::any_readable(
                lent().map(|(_, retained)| retained.socket.as_fd()),
            )
    }

    /// The worker has run out of descriptors, and will not look at connection
    /// `first` and those behind it. Whether that is news.
    pub(super) fn missing(&mut self, first: u64) -> bool {
        // Read anew, so it may be any number again.
        let received = self.scoreboard.received();
        let before = first.saturating_sub(received.saturating_add(1));
        self.slot_table.keep_sent(before as usize);
        self.missed.replace(first) != Some(first)
    }

    /// Looks at what the worker has published.
    ///
    /// # Errors
    /// It says what cannot be.
    pub(super) fn look(
        &mut self,
        worker: WorkerId,
        dispatcher: &mut Dispatcher<Connection>,
        budget: &mut RetainedBudget,
        tally: &mut Salvage,
        seen: &mut Seen,
    ) -> Result<(), Error> {
        let Handoff { scoreboard, slot_table, .. } = self;
        // In this order: it counts what it received before what it closed,
        // and gives back only what it has received.
        let mut list = scoreboard.take_returned();
        let closed = scoreboard.closed();
        let received = scoreboard.received();
        let faulty = |fault: Fault| Error::protocol(&fault.to_string());
        let copies = dispatcher.received(worker, received).map_err(faulty)?;
        for copy in copies {
            if !slot_table.is_there() {
                seen.over.push(copy.socket);
                continue;
            }
            match slot_table.received(copy.retain()) {
                None => budget.count += 1,
                Some(unguarded) => seen.over.push(unguarded.socket),
            }
        }
        dispatcher.closed(worker, closed).map_err(faulty)?;
        while let Some(back) = scoreboard.next_returned(&mut list) {
            let Some(retained) = slot_table.released(back.slot) else {
                return Err(Error::protocol("it gives back what it has not"));
            };
            budget.count -= 1;
            if !back.lives {
                seen.over.push(retained.socket);
                continue;
            }
            match given_back(scoreboard, back.slot, retained, tally) {
                Ok(connection) => seen.given.push(connection),
                Err(socket) => seen.over.push(socket),
            }
        }
        Ok(())
    }
}

/// What a look at a worker has brought to light.
#[derive(Default)]
pub(super) struct Seen {
    /// Copies that are not needed any more.
    pub(super) over: Vec<OwnedFd>,
    /// Connections that go to another worker.
    pub(super) given: Vec<Connection>,
}
