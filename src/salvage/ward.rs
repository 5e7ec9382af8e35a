//! Where requests are heard that may have killed a worker: one at a time, by
//! a worker that has nothing else, so that it is known who does it and no
//! neighbour suffers from it.
//!
//! ```text
//!   a guilty death ─▶ suspects ─▶ waiting ─▶ heard by the nurse ─▶ cleared
//!                                    ▲            │
//!                                    └── it dies: the only suspect
//! ```
//!
//! The nurse is the worker that replaces the dead one. It joins the others
//! when nobody waits any more.

use std::collections::VecDeque;
use std::time::Duration;

use crate::WorkerId;

/// A request that has lived so long kills nobody at once, and the others have
/// waited long enough.
const HEARING: Duration = Duration::from_secs(1);

/// Suspects that nobody comes to hear are nobody's concern any more.
const DESERTED: Duration = Duration::from_secs(10);

/// How soon to look again whether a hearing is over.
const GLANCE: Duration = Duration::from_millis(2);

/// See the [module](self). `G` is a connection.
#[derive(Debug)]
pub(crate) struct Ward<G> {
    waiting: VecDeque<G>,
    nurse: Option<WorkerId>,
    hearing: Option<Hearing>,
    /// When those that wait without a nurse are let go.
    deserted: Option<Duration>,
}

/// One suspect is with the nurse.
#[derive(Clone, Copy, Debug)]
struct Hearing {
    until: Duration,
    look_at: Duration,
    /// What the nurse had done before.
    progress: u64,
}

impl<G> Ward<G> {
    pub(crate) fn new() -> Ward<G> {
        Ward {
            waiting: VecDeque::new(),
            nurse: None,
            hearing: None,
            deserted: None,
        }
    }

    /// One more is to be heard alone.
    pub(crate) fn add(&mut self, suspect: G) {
        self.waiting.push_back(suspect);
    }

    /// Whether this new worker is needed here before it joins the others.
    pub(crate) fn appoint(&mut self, worker: WorkerId) -> bool {
        let needed = self.nurse.is_none() && !self.waiting.is_empty();
        if needed {
            self.nurse = Some(worker);
            self.deserted = None;
        }
        needed
    }

    /// Who hears, if anybody waits or is heard.
    pub(crate) fn nurse(&self) -> Option<WorkerId> {
        self.nurse
    }

    /// The next to be heard, if none is. `progress` counts what the nurse has
    /// done.
    pub(crate) fn next(&mut self, now: Duration, progress: u64) -> Option<G> {
        if self.nurse.is_none() || self.hearing.is_some() {
            return None;
        }
        let suspect = self.waiting.pop_front()?;
        let (until, look_at) = (now + HEARING, now + GLANCE);
        self.hearing = Some(Hearing { until, look_at, progress });
        Some(suspect)
    }

    /// Looks whether the hearing is over.
    pub(crate) fn look(&mut self, now: Duration, progress: u64) {
        let Some(hearing) = &mut self.hearing else { return };
        hearing.look_at = now + GLANCE;
        if hearing.progress != progress || hearing.until <= now {
            self.hearing = None;
        }
    }

    /// The nurse, if nobody needs it any more.
    pub(crate) fn discharge(&mut self) -> Option<WorkerId> {
        if self.hearing.is_some() || !self.waiting.is_empty() {
            return None;
        }
        self.nurse.take()
    }

    /// This worker is dead, or leaves: somebody else is to be the nurse.
    pub(crate) fn lost(&mut self, worker: WorkerId) {
        if self.nurse == Some(worker) {
            self.nurse = None;
            self.hearing = None;
        }
    }

    /// Nobody will come to hear them: all that wait.
    pub(crate) fn dissolve(&mut self) -> Vec<G> {
        self.deserted = None;
        self.waiting.drain(..).collect()
    }

    /// Those that have waited for a nurse in vain.
    pub(crate) fn dissolve_if_deserted(&mut self, now: Duration) -> Vec<G> {
        if self.nurse.is_some() || self.waiting.is_empty() {
            self.deserted = None;
            return Vec::new();
        }
        let until = *self.deserted.get_or_insert(now + DESERTED);
        if now < until {
            return Vec::new();
        }
        self.dissolve()
    }

    /// When to look again.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        let hearing =
            self.hearing.map(|hearing| hearing.look_at.min(hearing.until));
        hearing.or(self.deserted)
    }
}

#[cfg(test)]
mod model;

#[cfg(test)]
mod tests {
    use super::*;

    const NURSE: WorkerId = WorkerId(7);

    fn at(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn a_nurse_is_appointed_only_when_somebody_waits() {
        let mut ward = Ward::new();
        assert!(!ward.appoint(NURSE));
        ward.add('a');
        assert!(ward.appoint(NURSE));
        assert!(!ward.appoint(WorkerId(8)), "one is enough");
    }

    #[test]
    fn suspects_are_heard_one_at_a_time() {
        let mut ward = Ward::new();
        ward.add('a');
        ward.add('b');
        assert_eq!(ward.next(at(0), 0), None, "there is no nurse");
        ward.appoint(NURSE);
        assert_eq!(ward.next(at(0), 5), Some('a'));
        assert_eq!(ward.next(at(0), 5), None);
        ward.look(at(2), 5);
        assert_eq!(ward.next(at(2), 5), None, "nothing has moved");
        ward.look(at(4), 6);
        assert_eq!(ward.discharge(), None, "one waits");
        assert_eq!(ward.next(at(4), 6), Some('b'));
        ward.look(at(6), 7);
        assert_eq!(ward.discharge(), Some(NURSE));
        assert_eq!(ward.discharge(), None);
    }

    #[test]
    fn who_has_lived_for_a_second_is_cleared() {
        let mut ward = Ward::new();
        ward.add('a');
        ward.appoint(NURSE);
        ward.next(at(0), 0);
        ward.look(at(999), 0);
        assert_eq!(ward.discharge(), None);
        ward.look(at(1000), 0);
        assert_eq!(ward.discharge(), Some(NURSE));
    }

    #[test]
    fn who_waits_for_a_nurse_in_vain_is_let_go() {
        let mut ward = Ward::new();
        ward.add('a');
        assert!(ward.dissolve_if_deserted(at(0)).is_empty());
        assert_eq!(ward.deadline(), Some(DESERTED));
        assert!(ward.dissolve_if_deserted(at(9_999)).is_empty());
        assert_eq!(ward.dissolve_if_deserted(at(10_000)), ['a']);
        assert_eq!(ward.deadline(), None);
    }

    #[test]
    fn a_nurse_that_dies_leaves_its_place_to_the_next() {
        let mut ward = Ward::new();
        ward.add('a');
        ward.appoint(NURSE);
        ward.next(at(0), 0);
        ward.lost(NURSE);
        ward.add('a');
        assert!(ward.appoint(WorkerId(8)));
        assert_eq!(ward.next(at(3), 0), Some('a'));
    }
}
