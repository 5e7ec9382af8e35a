//! PURE: which worker gets a connection.
//!
//! A [`Scheduler`] is asked once per connection and answers with an index
//! into the [`Rotation`]: the workers that take connections now, sorted by
//! slot. It knows neither sockets nor processes, and who owns what is not its
//! business: the dispatcher keeps the counts that it reads.
//!
//! ```text
//!              Peer ──┐
//!                     ▼          turn
//!   Rotation   slot:  0     1     ▼2     4        (3 is being restarted)
//!              open:  7     6      7     7
//!              room: 57    58      0    57
//!
//!   RoundRobin         2 is full, count the skip       → 4
//!   LeastConnections   fewest open                     → 1
//!   IpHash             this peer's slot, full or not   → 2, and it waits
//! ```
//!
//! Three policies are here; another is one function:
//!
//! ```
//! use handoff::scheduler::{Peer, Rotation, Scheduler};
//!
//! /// Clients of the unix socket have the first worker for themselves, as
//! /// long as the others can cope.
//! struct Reserved;
//!
//! impl Scheduler for Reserved {
//!     fn pick(&mut self, peer: &Peer, rotation: &mut Rotation) -> usize {
//!         let local = *peer == Peer::Unix;
//!         let suits = |&i: &usize| (i == 0) == local && rotation[i].has_room();
//!         rotation.in_turn().find(suits).unwrap_or(0)
//!     }
//!
//!     fn name(&self) -> &str {
//!         "reserved"
//!     }
//! }
//! ```

mod ip_hash;
mod least_connections;
mod rotation;
mod round_robin;

pub use ip_hash::IpHash;
pub use least_connections::LeastConnections;
pub use rotation::{Candidate, Rotation};
pub use round_robin::RoundRobin;

use std::net::IpAddr;

/// Who connects, as far as a scheduler may care.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Peer {
    /// A TCP client, by its address; the port says nothing about the client.
    Ip(IpAddr),
    /// A client of a unix-domain socket: they have no address to tell them
    /// apart.
    Unix,
}

/// Decides which worker gets a connection.
pub trait Scheduler {
    /// The index in `rotation` of the worker that `peer`'s connection goes to.
    ///
    /// `rotation` is never empty, sorted by slot, and at least one worker in
    /// it has room. To pick one that has none is allowed and means *wait*:
    /// the connection is parked, and picked for anew once some worker has
    /// won room, joined or left. So whoever insists on one worker gets that
    /// one. But few may wait so ([`PARKED_MAX`]): those that come after them
    /// go to whoever has room, or a worker that stands still would shut out
    /// the clients of all others.
    ///
    /// An index past the end counts on from the start (`index % len`), so
    /// that a plain hash is a valid answer and no answer can hurt the master.
    ///
    /// [`PARKED_MAX`]: super::dispatcher::PARKED_MAX
    fn pick(&mut self, peer: &Peer, rotation: &mut Rotation) -> usize;

    /// What the policy is called, in the start line and in the status.
    fn name(&self) -> &str;
}

/// What the policies' tests share.
#[cfg(test)]
mod testing {
    use super::{Candidate, Peer, Rotation, Scheduler};
    use crate::WorkerId;

    /// Workers 100, 101, … on these slots, each with `open` and `room`.
    pub(super) fn rotation(workers: &[(usize, u64, u64)]) -> Rotation {
        let mut rotation = Rotation::default();
        for &(slot, open, room) in workers {
            let worker = WorkerId(100 + slot as u32);
            rotation.join(Candidate::new(worker, slot, open, room, 0));
        }
        rotation
    }

    /// Picks `n` times and gives each time; the slots, in order.
    pub(super) fn slots(
        scheduler: &mut impl Scheduler,
        rotation: &mut Rotation,
        n: usize,
    ) -> Vec<usize> {
        let next = |_| {
            let index = scheduler.pick(&Peer::Unix, rotation);
            rotation.give(index);
            rotation[index].slot()
        };
        (0..n).map(next).collect()
    }
}
