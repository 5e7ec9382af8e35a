//! What the dispatcher keeps of one worker.

use super::ledger::Ledger;
use crate::WorkerId;

#[derive(Debug)]
pub(super) struct Worker<C> {
    pub(super) id: WorkerId,
    pub(super) slot: usize,
    pub(super) standing: Standing,
    pub(super) ledger: Ledger<C>,
    /// The most connections pending.
    pub(super) window: u64,
    /// The most connections open.
    pub(super) capacity: Option<u64>,
    pub(super) redispatched: u64,
}

/// Whether a worker gets connections. Who is in the rotation has its skips
/// counted there.
#[derive(Clone, Copy, Debug)]
pub(super) enum Standing {
    InRotation,
    /// It could not take a connection, and discards all until it is told the
    /// number at which it resumes.
    CoolingDown {
        skipped: u64,
    },
    /// It finishes what it has, and gets no more.
    Leaving {
        skipped: u64,
    },
}

/// One worker's counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// The process.
    pub worker: WorkerId,
    /// The position that it fills.
    pub slot: usize,
    /// Connections handed to it and not taken back.
    pub handed: u64,
    /// Those of them that it is not known to have received.
    pub pending: u64,
    /// Those of them that it is not known to have closed.
    pub open: u64,
    /// How often it was passed over for want of room.
    pub skipped: u64,
    /// How many connections were taken back from it.
    pub redispatched: u64,
}

impl<C> Worker<C> {
    /// How many connections it can be handed.
    pub(super) fn room(&self) -> u64 {
        let window = self.window.saturating_sub(self.ledger.pending());
        let capacity = self.capacity.unwrap_or(u64::MAX);
        window.min(capacity.saturating_sub(self.ledger.open()))
    }

    /// Whether it fills its slot, or is to again.
    pub(super) fn is_staying(&self) -> bool {
        match self.standing {
            Standing::InRotation | Standing::CoolingDown { .. } => true,
            Standing::Leaving { .. } => false,
        }
    }
}
