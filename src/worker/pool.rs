//! The buffers of a worker: lent to a client as long as something of it is in
//! hand, so an idle one has none.

use super::intent_log::IntentLog;
use super::work::Work;
use crate::salvage::snapshot::Snapshot;
use crate::scoreboard::{Scoreboard, SharedBuffers};

/// Most pairs of buffers that are kept for the next requests.
const KEPT: usize = 64;

/// See the [module](self).
pub(super) struct Pool {
    /// The last put away is the first taken: it is still in the cache.
    #[expect(clippy::vec_box, reason = "a work changes hands as a pointer")]
    works: Vec<Box<Work>>,
    board: &'static Scoreboard,
    /// If connections are guarded.
    pub(super) buffers: Option<SharedBuffers>,
}

impl Pool {
    pub(super) fn new(board: &'static Scoreboard) -> Pool {
        let buffers = board.is_guarded().then(|| board.buffers());
        Pool { works: Vec::new(), board, buffers }
    }

    /// Buffers for a client on whose connection so many requests have been
    /// answered, and whose slot this is.
    pub(super) fn take(
        &mut self,
        served: u32,
        slot: Option<u32>,
    ) -> Box<Work> {
        let mut work = self.new_work();
        work.begin(served);
        if let Some(slot) = slot {
            work.log_to(IntentLog::open(self.board, slot, work.buffer()));
        }
        work
    }

    /// The same for one that another worker had in hand.
    pub(super) fn take_over(
        &mut self,
        slot: u32,
        snapshot: &Snapshot,
    ) -> Box<Work> {
        let mut work = self.new_work();
        work.begin(0);
        let buffer = work.buffer();
        work.unpack(snapshot);
        work.log_to(IntentLog::take_over(
            self.board,
            slot,
            buffer,
            (snapshot.input.len(), snapshot.output.len()),
            snapshot.closing,
        ));
        work
    }

    fn new_work(&mut self) -> Box<Work> {
        self.works.pop().unwrap_or_else(|| {
            let buffer = self.buffers.as_mut().and_then(SharedBuffers::take);
            Box::new(Work::new(buffer))
        })
    }

    /// Nothing is in hand any more of the client.
    pub(super) fn put_away(&mut self, mut work: Box<Work>) {
        work.clear();
        let is_whole = work.buffer().is_some() == self.buffers.is_some();
        if self.works.len() < KEPT && is_whole && work.is_worth_keeping() {
            self.works.push(work);
        } else if let Some(buffer) = work.into_buffer()
            && let Some(buffers) = &mut self.buffers
        {
            buffers.put_away(buffer);
        }
    }
}
