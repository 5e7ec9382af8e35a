//! How a worker goes: so that no client notices, as a good waiter does.
//!
//! ```text
//!   Serving ── a handler panicked, SIGTERM ──▶ Announced ("I am going")
//!      │                                           │ the master has noted it
//!      └── the master says disconnect ──▶ Finishing ◀┘
//! ```
//!
//! Everything that lay in the channel before the master's last word has been
//! taken by then. What is in hand is answered, and one more request of each
//! idle client, each with `Connection: close`; who has nothing more to ask is
//! let go after [`IDLE_GRACE`].

use std::os::fd::AsFd;
use std::time::Duration;

use super::client::Client;
use super::{Phase, Worker};
use crate::error::Error;
use crate::ipc::message::Act;
use crate::slab::Key;

/// How long a worker that goes waits for one more request of an idle client,
/// unless its master says otherwise.
pub(super) const IDLE_GRACE: Duration = Duration::from_secs(2);

impl Worker {
    /// Tells the master that we are going, so that it starts our successor
    /// now and hands over no more.
    pub(super) fn leave(&mut self, exit_code: u8) -> Result<(), Error> {
        if let Phase::Serving = self.phase {
            self.exit_code = exit_code;
            self.desk.leaving = true;
            self.phase = Phase::Announced;
            self.say(Act::ExitedAfterDisconnect)?;
        }
        Ok(())
    }

    /// The master has said its last word to us; what lay in the channel
    /// before that is taken already.
    pub(super) fn disconnect(&mut self, idle: Duration) -> Result<(), Error> {
        if let Some(mut channel) = self.channel.take() {
            channel.flush()?;
            self.epoll.remove(channel.as_fd())?;
        }
        self.desk.leaving = true;
        self.phase = Phase::Finishing { idle_until: self.now + idle };
        Ok(())
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
        (self.clients.len() == 0).then_some(self.exit_code)
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
