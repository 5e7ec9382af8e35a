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
//!
//! If there are others who can serve, a client that is guarded notices
//! nothing: it is given to one of them, as it is, as soon as no handler is
//! busy with it and all it was answered is written.

use log::warn;

use super::client::Client;
use super::host::Parting;
use super::parent::{Dismissal, Leave};
use super::{Phase, Worker};
use crate::error::Error;
use crate::scoreboard::Return;
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
            if !self.contract.scoreboard.is_guarded() {
                self.host.parting = Parting::Close;
            }
            self.phase = Phase::Announced;
            let news = self.parent.leave(why, &self.epoll)?;
            self.heed(news)?;
        }
        Ok(())
    }

    /// No more will come; what came before that is taken already.
    pub(super) fn disconnect(&mut self, dismissal: Dismissal) {
        match self.phase {
            Phase::Serving | Phase::Announced => {
                let Dismissal { giving, idle, grace } = dismissal;
                self.host.parting = match giving {
                    true => Parting::GiveAway,
                    false => Parting::Close,
                };
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
            Phase::Finishing { .. } | Phase::Closing
                if self.clients.len() == 0 =>
            {
                return Some(self.exit_code);
            }
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

    /// Leaves every client to another worker that can be.
    pub(super) fn give_all(&mut self) {
        for key in self.keys(Client::can_be_given) {
            self.give(key);
        }
    }

    /// Leaves this one.
    pub(super) fn give(&mut self, key: Key) {
        let Some(client) = self.clients.remove(key) else { return };
        let slot = client.slot();
        let returned = slot.map(|slot| Return { slot, lives: true });
        client.let_go(&mut self.host, &self.epoll);
        self.parent.ended(key, returned);
    }

    fn keys(&self, are: impl Fn(&Client) -> bool) -> Vec<Key> {
        let clients = self.clients.iter().filter(|(_, client)| are(client));
        clients.map(|(key, _)| key).collect()
    }

    /// Looks at each idle client once more: a request that has come just now
    /// is answered, as the last one.
    fn close_idle(&mut self) {
        for key in self.keys(Client::is_idle) {
            self.step(key, Client::read);
            if self.clients.get_mut(key).is_some_and(|c| c.is_idle()) {
                self.end(key);
            }
        }
    }
}
