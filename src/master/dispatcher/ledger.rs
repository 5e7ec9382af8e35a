//! The numbered hand-overs of one worker: what it was sent, what it took,
//! what it closed.
//!
//! Connections are numbered 1, 2, 3 … in the order in which they are handed
//! to this worker, and every count is a place in that line. Between
//! `received` and `handed` the master holds the only certain copy.
//!
//! ```text
//!   1 ........ closed ....... received ........ sent ........ handed
//!              the worker's   the worker's      the master's own
//!                             └────────────── queue ─────────────┘
//!                                un-acknowledged   still to be sent
//! ```
//!
//! The left two come from memory that the worker writes. They are believed
//! only where they are possible: they never go back, and never pass what
//! stands to their right. Anything else is a [`Fault`], and changes nothing.

use std::collections::{VecDeque, vec_deque};
use std::fmt;

use super::Connection;
use crate::ipc::codec::MAX_DESCRIPTORS;

/// What a worker claimed that cannot be true: its channel is broken, or it
/// lies. It should be killed, and its connections given to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Which number it was.
    pub claim: Claim,
    /// The number.
    pub said: u64,
    /// The least that was possible.
    pub least: u64,
    /// The most that was possible; less than `least` if nothing was.
    pub most: u64,
}

/// The numbers that a worker tells the master.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The highest number up to which it took every connection.
    Received,
    /// How many connections it has closed.
    Closed,
    /// The first number that did not arrive.
    Missing,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { claim, said, least, most } = self;
        let claim = match claim {
            Claim::Received => "received",
            Claim::Closed => "closed",
            Claim::Missing => "first missing",
        };
        write!(f, "the worker says {claim} = {said}, ")?;
        if least > most {
            write!(f, "but nothing is on its way to it")
        } else {
            write!(f, "which must be in {least}..={most}")
        }
    }
}

impl std::error::Error for Fault {}

/// What is to be sent to a worker next, in one message.
#[derive(Debug)]
pub struct Batch<'a, C> {
    /// The number of the first connection; the others follow without a gap.
    pub first: u64,
    queue: vec_deque::Iter<'a, Connection<C>>,
}

impl<'a, C> Batch<'a, C> {
    /// The connections, in order: at least one, at most [`MAX_DESCRIPTORS`].
    pub fn connections(&self) -> impl ExactSizeIterator<Item = &'a C> {
        self.queue.clone().map(|held| &held.handle)
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Ledger<C> {
    /// The connections up to number `handed`, from `received + 1` on.
    queue: VecDeque<Connection<C>>,
    closed: u64,
    received: u64,
    sent: u64,
    handed: u64,
}

impl<C> Ledger<C> {
    pub(super) fn new() -> Self {
        let queue = VecDeque::new();
        Self { queue, closed: 0, received: 0, sent: 0, handed: 0 }
    }

    pub(super) fn handed(&self) -> u64 {
        self.handed
    }

    /// Handed over and not known to be received.
    pub(super) fn pending(&self) -> u64 {
        self.handed - self.received
    }

    /// Handed over and not known to be closed.
    pub(super) fn open(&self) -> u64 {
        self.handed - self.closed
    }

    /// Whether a connection was sent that is not known to be received.
    pub(super) fn has_unreleased(&self) -> bool {
        self.sent > self.received
    }

    pub(super) fn first_pending(&self) -> u64 {
        self.received + 1
    }

    pub(super) fn first_unsent(&self) -> u64 {
        self.sent + 1
    }

    pub(super) fn push(&mut self, connection: Connection<C>) {
        self.queue.push_back(connection);
        self.handed += 1;
    }

    pub(super) fn batch(&self) -> Option<Batch<'_, C>> {
        let first = self.first_unsent();
        let start = self.index_of(first);
        let end = self.queue.len().min(start + MAX_DESCRIPTORS);
        let queue = self.queue.range(start..end);
        (queue.len() > 0).then_some(Batch { first, queue })
    }

    /// The first `n` connections of the batch are on their way.
    pub(super) fn sent(&mut self, n: usize) {
        self.sent += (n as u64).min(self.handed - self.sent);
    }

    /// Everything up to number `upto` is the worker's; to be followed by
    /// [`release`](Self::release).
    pub(super) fn received(&mut self, upto: u64) -> Result<(), Fault> {
        check(Claim::Received, upto, self.received, self.sent)?;
        self.received = upto;
        Ok(())
    }

    /// The copies of what is received.
    pub(super) fn release(&mut self) -> impl Iterator<Item = C> {
        let end = self.index_of(self.first_pending());
        self.queue.drain(..end).map(|connection| connection.handle)
    }

    /// The worker has closed this many of those that it received.
    pub(super) fn closed(&mut self, total: u64) -> Result<(), Fault> {
        check(Claim::Closed, total, self.closed, self.received)?;
        self.closed = total;
        Ok(())
    }

    /// Whether the worker can have missed number `first`.
    pub(super) fn missing(&self, first: u64) -> Result<(), Fault> {
        check(Claim::Missing, first, self.first_pending(), self.sent)
    }

    /// Takes back the pending number `first` and all after it, sent or not.
    /// The next connection has number `first` again.
    pub(super) fn take_back(
        &mut self,
        first: u64,
    ) -> impl ExactSizeIterator<Item = Connection<C>> {
        let start = self.index_of(first);
        self.handed = first - 1;
        self.sent = self.sent.min(self.handed);
        self.queue.drain(start..)
    }

    /// The worker gives the oldest one that is on its way back, and keeps
    /// those behind it. Its number counts as received, and as closed.
    pub(super) fn given_back(&mut self) -> Option<Connection<C>> {
        if !self.has_unreleased() {
            return None;
        }
        self.received += 1;
        self.closed += 1;
        self.queue.pop_front()
    }

    /// Where a number up to `handed + 1` stands in the queue.
    fn index_of(&self, number: u64) -> usize {
        self.queue.len() - (self.handed + 1 - number) as usize
    }
}

fn check(claim: Claim, said: u64, least: u64, most: u64) -> Result<(), Fault> {
    if (least..=most).contains(&said) {
        Ok(())
    } else {
        Err(Fault { claim, said, least, most })
    }
}

#[cfg(test)]
mod tests {
    use super::super::Peer;
    use super::*;

    /// Connections 1 to `handed`, each named as its number.
    fn ledger(handed: u64, sent: usize) -> Ledger<u64> {
        let mut ledger = Ledger::new();
        for handle in 1..=handed {
            ledger.push(Connection { handle, peer: Peer::Unix });
        }
        ledger.sent(sent);
        ledger
    }

    fn batch(ledger: &Ledger<u64>) -> Vec<u64> {
        let batch = ledger.batch().unwrap();
        let connections: Vec<_> = batch.connections().copied().collect();
        assert_eq!(batch.first, connections[0]);
        connections
    }

    fn received(ledger: &mut Ledger<u64>, upto: u64) -> Vec<u64> {
        ledger.received(upto).unwrap();
        ledger.release().collect()
    }

    #[test]
    fn a_batch_is_what_follows_the_last_one_sent() {
        let mut l = ledger(5, 2);
        assert_eq!(batch(&l), [3, 4, 5]);
        assert_eq!(batch(&l), [3, 4, 5], "asking sends nothing");
        l.sent(2);
        assert_eq!(batch(&l), [5]);
        l.sent(1);
        assert!(l.batch().is_none());
    }

    #[test]
    fn a_batch_has_at_most_253_connections() {
        assert_eq!(batch(&ledger(600, 0)).len(), 253);
        assert_eq!(batch(&ledger(600, 506)).len(), 94);
    }

    #[test]
    fn more_sent_than_there_was_means_all_of_it() {
        let mut l = ledger(3, 1);
        l.sent(usize::MAX);
        assert_eq!(received(&mut l, 3), [1, 2, 3]);
        assert!(l.received(4).is_err());
    }

    #[test]
    fn what_is_received_is_released_once_and_in_order() {
        let mut l = ledger(5, 4);
        assert_eq!(received(&mut l, 0), [0; 0]);
        assert_eq!(received(&mut l, 3), [1, 2, 3]);
        assert_eq!(received(&mut l, 3), [0; 0]);
        assert_eq!(received(&mut l, 4), [4]);
        assert_eq!((l.handed(), l.pending(), l.open()), (5, 1, 5));
    }

    #[test]
    fn received_never_goes_back_nor_beyond_what_was_sent() {
        let mut l = ledger(5, 4);
        received(&mut l, 2);
        for said in [0, 1, 5, u64::MAX] {
            let fault = l.received(said).unwrap_err();
            let claim = Claim::Received;
            assert_eq!(fault, Fault { claim, said, least: 2, most: 4 });
        }
        assert_eq!(received(&mut l, 4), [3, 4], "a fault changes nothing");
    }

    #[test]
    fn closed_never_goes_back_nor_beyond_what_was_received() {
        let mut l = ledger(5, 4);
        received(&mut l, 3);
        l.closed(2).unwrap();
        for said in [0, 1, 4, u64::MAX] {
            let fault = l.closed(said).unwrap_err();
            let claim = Claim::Closed;
            assert_eq!(fault, Fault { claim, said, least: 2, most: 3 });
        }
        assert_eq!(l.open(), 3);
    }

    #[test]
    fn from_the_first_missing_number_on_everything_is_taken_back() {
        let mut l = ledger(6, 5);
        received(&mut l, 1);
        l.missing(3).unwrap();
        let back: Vec<_> = l.take_back(3).map(|c| c.handle).collect();
        assert_eq!(back, [3, 4, 5, 6]);
        assert_eq!(l.handed(), 2);
        l.push(Connection { handle: 3, peer: Peer::Unix });
        assert_eq!(batch(&l), [3], "the number is used again");
        assert!(l.received(3).is_err(), "and counts as unsent until then");
    }

    #[test]
    fn only_what_is_on_its_way_can_be_missing() {
        let mut l = ledger(6, 4);
        received(&mut l, 2);
        for said in [0, 1, 2, 5, u64::MAX] {
            let fault = l.missing(said).unwrap_err();
            let claim = Claim::Missing;
            assert_eq!(fault, Fault { claim, said, least: 3, most: 4 });
        }
    }

    #[test]
    fn a_fault_says_what_was_possible() {
        let mut l = ledger(6, 4);
        let said = |fault: Fault| fault.to_string();
        assert_eq!(
            said(l.received(9).unwrap_err()),
            "the worker says received = 9, which must be in 0..=4"
        );
        received(&mut l, 4);
        assert_eq!(
            said(l.missing(5).unwrap_err()),
            "the worker says first missing = 5, \
             but nothing is on its way to it"
        );
    }
}
