//! The descriptors on their way to a Node worker.
//!
//! The worker answers in the order in which it was sent things, since Node's
//! cluster does all of that before it turns to anything else
//! (lib/internal/cluster/child.js).
//!
//! ```text
//!   a connection  ─▶ NODE_HANDLE_ACK ─▶ accepted: true   the worker keeps it
//!                 │                  └▶ accepted: false  it goes to another
//!                 └▶ NODE_HANDLE_NACK                    it goes to another
//!   a socket      ─▶ NODE_HANDLE_ACK                     both have it
//!                 └▶ NODE_HANDLE_NACK                    the worker has not
//! ```

use std::collections::VecDeque;

use super::orders::Fault;
use crate::master::server::ServerId;

/// A descriptor on its way to a worker that answers for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Handle {
    /// A socket that the worker shares with others: the answer to its query
    /// `ack`.
    Shared { server: ServerId, ack: u64 },
    /// A connection; `arrived` says that the descriptor did, not that the
    /// worker wants it.
    Connection { server: ServerId, number: u64, seq: u64, arrived: bool },
}

/// All that a worker has not answered for, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Handles(VecDeque<Handle>);

impl Handles {
    pub(super) fn sent(&mut self, handle: Handle) {
        self.0.push_back(handle);
    }

    /// Nothing more is heard of any.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// The oldest descriptor that had not arrived has.
    pub(super) fn arrived(&mut self) -> Result<(), Fault> {
        for index in 0..self.0.len() {
            match &mut self.0[index] {
                Handle::Shared { .. } => {
                    self.0.remove(index);
                    return Ok(());
                }
                Handle::Connection { arrived, .. } if !*arrived => {
                    *arrived = true;
                    return Ok(());
                }
                Handle::Connection { .. } => {}
            }
        }
        Err(Fault::AcknowledgesNothing)
    }

    /// The oldest descriptor that had not arrived never will. Returns which.
    pub(super) fn missed(&mut self) -> Result<Handle, Fault> {
        match self.0.pop_front() {
            // It did arrive; what is behind it is not what the worker can
            // tell of before it has answered.
            Some(Handle::Connection { arrived: true, .. }) => {
                Err(Fault::MissesWhatItHas)
            }
            Some(handle) => Ok(handle),
            None => Err(Fault::MissesNothing),
        }
    }

    /// Takes out the oldest connection, which was sent as `ack` and is taken
    /// or refused now: of which server it is, and its number there.
    pub(super) fn answered(
        &mut self,
        ack: u64,
    ) -> Result<(ServerId, u64), Fault> {
        let Some(&Handle::Connection { server, number, seq, arrived: true }) =
            self.0.front()
        else {
            return Err(Fault::AnswersNothing);
        };
        if seq != ack {
            return Err(Fault::AnswersOutOfOrder);
        }
        self.0.pop_front();
        Ok((server, number))
    }
}
