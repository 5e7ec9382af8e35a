//! Whether listening sockets are accepted from: not while there is no room,
//! nor for a moment after the system was short of descriptors or memory.
//!
//! ```text
//!            no room, or a pause
//!   open ─────────────────────────▶ shut
//!     ▲ ◀── room again, time is up ── │
//! ```
//!
//! A shut listener accepts nothing and refuses nobody: clients wait in the
//! kernel's queue. It would spin if it stayed armed, since epoll is
//! level-triggered, and what it accepted would have to wait here.

use std::time::{Duration, Instant};

use crate::sys::epoll::Interest;

/// How long to wait with accepting after the system was short of descriptors
/// or memory.
const PAUSE: Duration = Duration::from_millis(100);

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Gate {
    open: bool,
    paused_until: Option<Instant>,
    /// Nothing was accepted since the first of the pauses.
    failing: bool,
}

impl Gate {
    /// An open one, as epoll has been told.
    pub(crate) fn new() -> Gate {
        Gate { open: true, paused_until: None, failing: false }
    }

    /// Opens or shuts, as there is room or not. What epoll is to be told, if
    /// that has changed.
    pub(crate) fn set(
        &mut self,
        room: bool,
        now: Instant,
    ) -> Option<Interest> {
        if self.paused_until.is_some_and(|until| until <= now) {
            self.paused_until = None;
        }
        let open = room && self.paused_until.is_none();
        let changed = open != self.open;
        self.open = open;
        changed.then_some(self.interest())
    }

    /// What epoll is to be told of a descriptor that is new to it.
    pub(crate) fn interest(&self) -> Interest {
        if self.open { Interest::Read } else { Interest::Nothing }
    }

    /// The system is short of something. Whether that is news: one pause may
    /// follow the other for as long as nothing can be accepted.
    pub(crate) fn pause(&mut self, now: Instant) -> bool {
        self.paused_until = Some(now + PAUSE);
        !std::mem::replace(&mut self.failing, true)
    }

    /// Accepting has worked. Whether that is news.
    pub(crate) fn works(&mut self) -> bool {
        std::mem::take(&mut self.failing)
    }

    /// When a pause is over.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.paused_until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epoll_is_told_when_something_changes_and_only_then() {
        let (mut gate, now) = (Gate::new(), Instant::now());
        assert_eq!(gate.set(true, now), None);
        assert_eq!(gate.set(false, now), Some(Interest::Nothing));
        assert_eq!(gate.set(false, now), None);
        assert_eq!(gate.set(true, now), Some(Interest::Read));
    }

    #[test]
    fn a_pause_keeps_it_shut_until_its_time_is_up() {
        let (mut gate, now) = (Gate::new(), Instant::now());
        assert!(gate.pause(now));
        assert!(!gate.pause(now), "the log has it already");
        assert_eq!(gate.set(true, now), Some(Interest::Nothing));
        assert_eq!(gate.deadline(), Some(now + PAUSE));
        assert_eq!(gate.set(false, now + PAUSE), None);
        assert_eq!(gate.deadline(), None);
        assert_eq!(gate.set(true, now + PAUSE), Some(Interest::Read));
    }

    #[test]
    fn pauses_are_news_once_until_accepting_works_again() {
        let (mut gate, now) = (Gate::new(), Instant::now());
        assert!(!gate.works(), "it always did");
        for pauses in 0..3 {
            assert_eq!(gate.pause(now), pauses == 0);
            gate.set(true, now + PAUSE);
        }
        assert!(gate.works());
        assert!(!gate.works());
        assert!(gate.pause(now));
    }
}
