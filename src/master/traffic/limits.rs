//! PURE: how many connections a master may hold: what its descriptors allow.
//!
//! ```text
//!   descriptors ─┬─ the master's own, and three for each worker
//!                └─ held ─┬─ new: waiting, or on their way     1 of 8
//!                         └─ retained: copies that workers have  7 of 8
//! ```

/// Descriptors that are open all the time: the standard three, epoll, the
/// signals, the control socket, the service manager's and the log's.
const OWN: usize = 8;

/// Descriptors kept free for what is open only for a moment. To start a worker
/// takes six (a pair for its channel, its region, a pipe to report a failed
/// exec, which is moved up once), an upgrade about as many, and keeps two
/// for long, and a look at /proc one: fourteen or so, and two for what nobody
/// has thought of.
const RESERVE: usize = 16;

/// Descriptors of one worker: its process, its channel, and one towards those
/// that are leaving still.
const WORKER: usize = 3;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Limits {
    /// Descriptors that this process may have.
    descriptors: usize,
    /// The window that was typed.
    max_window: u64,
    /// Connections that may be on their way to one worker.
    pub(super) window: u64,
    /// Connections of which a copy may be held.
    pub(super) held: usize,
    /// Of those, how many may be copies of what workers have.
    pub(super) retained: RetainedBudget,
}

/// How many connections are retained while workers have them.
#[derive(Debug, Default)]
pub(super) struct RetainedBudget {
    pub(super) count: usize,
    /// So many may be, so that there is room for new ones. A connection
    /// beyond that is sent without an entry, and is not guarded.
    pub(super) most: usize,
}

impl Limits {
    /// Nothing may be held yet.
    pub(super) fn new(descriptors: usize, max_window: u64) -> Limits {
        let retained = RetainedBudget::default();
        Limits { descriptors, max_window, window: 1, held: 1, retained }
    }

    /// Leaves so many workers, listeners and clients of the control socket
    /// the descriptors that they need.
    pub(super) fn make_room_for(
        &mut self,
        workers: usize,
        listeners: usize,
        clients: usize,
    ) {
        let used = OWN + RESERVE + listeners + 1 + clients + WORKER * workers;
        self.held = self.descriptors.saturating_sub(used).max(1);
        self.retained.most = self.held / 8 * 7;
        // One worker that takes none must leave room for the others'.
        let share = (self.held / workers).max(1);
        self.window = self.max_window.min(share as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_needed_otherwise_may_be_held_and_most_of_that_retained() {
        let mut limits = Limits::new(1024, 64);
        limits.make_room_for(4, 1, 16);
        assert_eq!(limits.held, 1024 - 8 - 16 - 1 - 1 - 16 - 12);
        assert_eq!(limits.retained.most, limits.held / 8 * 7);
        assert_eq!(limits.window, 64);
    }

    #[test]
    fn one_worker_that_takes_none_leaves_room_for_the_others() {
        let mut limits = Limits::new(1024, 64);
        limits.make_room_for(100, 1, 16);
        assert!(100 * limits.window as usize <= limits.held);
        assert!(limits.window >= 1);
    }

    #[test]
    fn with_too_few_descriptors_connections_go_one_by_one() {
        let mut limits = Limits::new(32, 64);
        limits.make_room_for(8, 3, 16);
        assert_eq!((limits.held, limits.window), (1, 1));
    }
}
