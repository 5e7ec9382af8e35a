//! How a worker goes: so that no client notices, as a good waiter does.
//!
//! ```text
//!   Serving ── a handler panicked, SIGTERM ──▶ Announced ("I am going")
//!      │                                           │ the parent has noted it
//!      └── the parent says disconnect ──▶ Finishing ◀┘
//! ```
//!
//! A parent that is no master of ours may be gone, or have nothing to say to
//! that; then the way leads to Finishing at once.
//!
//! Everything that lay in the channel before the parent's last word has been
//! taken by then. What is in hand is answered, and one more request of each
//! idle client, each with `Connection: close`; who has nothing more to ask is
//! let go after `--idle-grace`.

use log::warn;

use super::client::Client;
use super::parent::{Dismissal, Leave};
use super::{Phase, Worker};
use crate::error::Error;
use crate::slab::Key;

impl Worker {
    /// Tells the parent that we are going, so that our successor starts now
    /// and no more is handed to us.
    pub(super) fn leave(&mut self, why: Leave) -> Result<(), Error> {
        if let Phase::Serving = self.phase {
            self.exit_code = match why {
                Leave::Asked => 0,
                Leave::Panicked => 1,
            };
            self.desk.leaving = true;
            self.phase = Phase::Announced;
            let news = self.parent.leave(why, &self.epoll)?;
            self.heed(news);
        }
        Ok(())
    }

    /// No more will come; what came before that is taken already.
    pub(super) fn disconnect(&mut self, dismissal: Dismissal) {
        self.desk.leaving = true;
        match self.phase {
            Phase::Serving | Phase::Announced => {
                let Dismissal { idle, grace } = dismissal;
                self.phase = Phase::Finishing { idle_until: self.now + idle };
                self.over_at = grace.map(|grace| self.now + grace);
            }
            Phase::Finishing { .. } | Phase::Closing => {}
        }
    }

    /// On the way out: closes idle clients when they have had their time.
    /// `Some` when nobody is left.
    pub(super) fn finish(&mut self) -> Option<u8> {
        match self.phase {
            Phase::Serving | Phase::Announced => return None,
            Phase::Finishing { idle_until } => {
                if idle_until <= self.now {
                    self.close_idle();
                    self.phase = Phase::Closing;
                }
            }
            Phase::Closing => self.close_idle(),
        }
        let left = self.clients.len();
        let is_over = self.over_at.is_some_and(|over| over <= self.now);
        if is_over && left > 0 {
            warn!("{left} connections are cut: their time is over");
        }
        (is_over || left == 0).then_some(self.exit_code)
    }

    /// Looks at each idle client once more: a request that has come just now
    /// is answered, as the last one.
    fn close_idle(&mut self) {
        let idle: Vec<Key> = self
            .clients
            .iter()
            .filter(|(_, client)| client.is_idle())
            .map(|(key, _)| key)
            .collect();
        for key in idle {
            self.step(key, Client::read);
            if self.clients.get_mut(key).is_some_and(|c| c.is_idle()) {
                self.end(key);
            }
        }
    }
}
