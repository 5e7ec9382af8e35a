//! Where requests are tried that may have killed a worker: one at a time, by
//! a worker that has nothing else, so that it is known who does it and no
//! neighbour suffers from it.
//!
//! ```text
//!   a guilty death ─▶ suspects ─▶ waiting ─▶ tried by the probe ─▶ cleared
//!                                    ▲            │
//!                                    └── it dies: the only suspect
//! ```
//!
//! The probe is the worker that replaces the dead one. It joins the others
//! when nobody waits any more.

use std::collections::VecDeque;
use std::time::Duration;

use crate::WorkerId;

/// A request that has lived so long kills nobody at once, and the others have
/// waited long enough.
const TRIAL: Duration = Duration::from_secs(1);

/// Suspects that nobody comes to try are nobody's concern any more.
const DESERTED: Duration = Duration::from_secs(10);

/// How soon to look again whether a trial is over.
const GLANCE: Duration = Duration::from_millis(2);

/// See the [module](self). `G` is a connection.
#[derive(Debug)]
pub(crate) struct Quarantine<G> {
    waiting: VecDeque<G>,
    probe: Option<WorkerId>,
    trial: Option<Trial>,
    /// When those that wait without a probe are let go.
    deserted: Option<Duration>,
}

/// One suspect is with the probe.
#[derive(Clone, Copy, Debug)]
struct Trial {
    until: Duration,
    look_at: Duration,
    /// What the probe had done before.
    progress: u64,
}

impl<G> Quarantine<G> {
    pub(crate) fn new() -> Quarantine<G> {
        Quarantine {
            waiting: VecDeque::new(),
            probe: None,
            trial: None,
            deserted: None,
        }
    }

    /// One more connection is to be tried alone.
    pub(crate) fn add(&mut self, suspect: G) {
        self.waiting.push_back(suspect);
    }

    /// Whether this new worker is needed here before it joins the others.
    pub(crate) fn appoint(&mut self, worker: WorkerId) -> bool {
        let needed = self.probe.is_none() && !self.waiting.is_empty();
        if needed {
            self.probe = Some(worker);
            self.deserted = None;
        }
        needed
    }

    /// Who tries, if anybody waits or is tried.
    pub(crate) fn probe(&self) -> Option<WorkerId> {
        self.probe
    }

    /// The next to be tried, if none is. `progress` counts what the probe has
    /// done.
    pub(crate) fn next(&mut self, now: Duration, progress: u64) -> Option<G> {
        if self.probe.is_none() || self.trial.is_some() {
            return None;
        }
        let suspect = self.waiting.pop_front()?;
        let (until, look_at) = (now + TRIAL, now + GLANCE);
        self.trial = Some(Trial { until, look_at, progress });
        Some(suspect)
    }

    /// Looks whether the trial is over.
    pub(crate) fn look(&mut self, now: Duration, progress: u64) {
        let Some(trial) = &mut self.trial else { return };
        trial.look_at = now + GLANCE;
        if trial.progress != progress || trial.until <= now {
            self.trial = None;
        }
    }

    /// The probe, if nobody needs it any more.
    pub(crate) fn discharge(&mut self) -> Option<WorkerId> {
        if self.trial.is_some() || !self.waiting.is_empty() {
            return None;
        }
        self.probe.take()
    }

    /// This worker is dead, or leaves: somebody else is to be the probe.
    pub(crate) fn lost(&mut self, worker: WorkerId) {
        if self.probe == Some(worker) {
            self.probe = None;
            self.trial = None;
        }
    }

    /// Nobody will come to try them: all that wait.
    pub(crate) fn dissolve(&mut self) -> Vec<G> {
        self.deserted = None;
        self.waiting.drain(..).collect()
    }

    /// Those that have waited for a probe in vain.
    pub(crate) fn dissolve_if_deserted(&mut self, now: Duration) -> Vec<G> {
        if self.probe.is_some() || self.waiting.is_empty() {
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
        let trial = self.trial.map(|trial| trial.look_at.min(trial.until));
        trial.or(self.deserted)
    }
}

#[cfg(test)]
mod model;

#[cfg(test)]
mod tests {
    use super::*;

    const PROBE: WorkerId = WorkerId(7);

    fn at(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn a_nurse_is_appointed_only_when_somebody_waits() {
        let mut quarantine = Quarantine::new();
        assert!(!quarantine.appoint(PROBE));
        quarantine.add('a');
        assert!(quarantine.appoint(PROBE));
        assert!(!quarantine.appoint(WorkerId(8)), "one is enough");
    }

    #[test]
    fn suspects_are_tried_one_at_a_time() {
        let mut quarantine = Quarantine::new();
        quarantine.add('a');
        quarantine.add('b');
        assert_eq!(quarantine.next(at(0), 0), None, "there is no probe");
        quarantine.appoint(PROBE);
        assert_eq!(quarantine.next(at(0), 5), Some('a'));
        assert_eq!(quarantine.next(at(0), 5), None);
        quarantine.look(at(2), 5);
        assert_eq!(quarantine.next(at(2), 5), None, "nothing has moved");
        quarantine.look(at(4), 6);
        assert_eq!(quarantine.discharge(), None, "one waits");
        assert_eq!(quarantine.next(at(4), 6), Some('b'));
        quarantine.look(at(6), 7);
        assert_eq!(quarantine.discharge(), Some(PROBE));
        assert_eq!(quarantine.discharge(), None);
    }

    #[test]
    fn who_has_lived_for_a_second_is_cleared() {
        let mut quarantine = Quarantine::new();
        quarantine.add('a');
        quarantine.appoint(PROBE);
        quarantine.next(at(0), 0);
        quarantine.look(at(999), 0);
        assert_eq!(quarantine.discharge(), None);
        quarantine.look(at(1000), 0);
        assert_eq!(quarantine.discharge(), Some(PROBE));
    }

    #[test]
    fn who_waits_for_a_nurse_in_vain_is_let_go() {
        let mut quarantine = Quarantine::new();
        quarantine.add('a');
        assert!(quarantine.dissolve_if_deserted(at(0)).is_empty());
        assert_eq!(quarantine.deadline(), Some(DESERTED));
        assert!(quarantine.dissolve_if_deserted(at(9_999)).is_empty());
        assert_eq!(quarantine.dissolve_if_deserted(at(10_000)), ['a']);
        assert_eq!(quarantine.deadline(), None);
    }

    #[test]
    fn a_nurse_that_dies_leaves_its_place_to_the_next() {
        let mut quarantine = Quarantine::new();
        quarantine.add('a');
        quarantine.appoint(PROBE);
        quarantine.next(at(0), 0);
        quarantine.lost(PROBE);
        quarantine.add('a');
        assert!(quarantine.appoint(WorkerId(8)));
        assert_eq!(quarantine.next(at(3), 0), Some('a'));
    }
}
