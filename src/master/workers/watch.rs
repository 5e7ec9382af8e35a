//! PURE: who hangs.
//!
//! A worker that has nothing to do lies in epoll_wait and says so; that is
//! rest, however long it takes. One that *ought to move* is at work, or is
//! kept from it, or has been sent a connection that it has not taken. If it
//! ought to, and none of its counters does, for the whole timeout, it hangs.
//!
//! ```text
//!    look   look   look   look   look   look
//!   ──┼──────┼──────┼──────┼──────┼──────┼──▶ time
//!     │   ▲  0      1      2      3      4 ── it hangs
//!     │   └ stands still from here
//!     └ a period, a quarter of the timeout
//! ```
//!
//! Standing still is counted in looks, not in seconds: a master that is held
//! up itself does not look, so it accuses nobody of what happened meanwhile.
//! When it comes far too late it begins anew. The time is to be taken from a
//! clock that goes on while the machine is suspended: then a suspension, a
//! paused virtual machine and a stopped master are all just a late look.
//!
//! It knows no worker, no clock and no signal. Node's workers have no
//! counters but one: what they have taken.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::WorkerId;

/// Looks during one timeout.
const LOOKS: u32 = 4;

/// A look that is later than so many periods proves nothing.
const LATE: u32 = 2;

/// What is seen of a worker at a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sample {
    /// Counts whatever it does; 0 before its loop has begun.
    pub(crate) turns: u64,
    /// It lies in epoll_wait, or is about to, and nothing keeps it there.
    pub(crate) waiting: bool,
    /// How many connections it has taken.
    pub(crate) received: u64,
    /// It was sent another.
    pub(crate) owes: bool,
}

impl Sample {
    /// A worker that is still starting has its own time for that.
    fn ought_to_move(self) -> bool {
        self.owes || (self.turns > 0 && !self.waiting)
    }

    fn has_moved_since(self, earlier: Sample) -> bool {
        (self.turns, self.received) != (earlier.turns, earlier.received)
    }
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Watch {
    period: Duration,
    /// Of the last look.
    last: Duration,
    /// Who ought to move and did not since the look before.
    still: BTreeMap<WorkerId, Still>,
}

#[derive(Debug)]
struct Still {
    sample: Sample,
    /// How many looks found it where the first did.
    looks: u32,
    accused: bool,
}

impl Watch {
    /// Nobody is watched yet. `timeout` is above 0.
    pub(crate) fn new(timeout: Duration, now: Duration) -> Watch {
        let still = BTreeMap::new();
        Watch { period: timeout / LOOKS, last: now, still }
    }

    /// How long to wait from one look to the next.
    pub(crate) fn period(&self) -> Duration {
        self.period
    }

    /// Looks at all workers there are. Returns the one that hangs: each is
    /// named once, and only one at a look, so that a mistake costs one.
    pub(crate) fn look(
        &mut self,
        now: Duration,
        samples: impl IntoIterator<Item = (WorkerId, Sample)>,
    ) -> Option<WorkerId> {
        let gap = now.saturating_sub(self.last);
        self.last = now;
        let mut before = std::mem::take(&mut self.still);
        if gap > self.period * (1 + LATE) {
            before.clear();
        }
        for (worker, sample) in samples {
            if !sample.ought_to_move() {
                continue;
            }
            let still = match before.remove(&worker) {
                Some(still) if !sample.has_moved_since(still.sample) => {
                    Still { looks: still.looks + 1, ..still }
                }
                _ => Still { sample, looks: 0, accused: false },
            };
            self.still.insert(worker, still);
        }
        let hangs = |still: &Still| still.looks >= LOOKS && !still.accused;
        let (worker, still) = self
            .still
            .iter_mut()
            .filter(|(_, still)| hangs(still))
            .max_by_key(|(_, still)| still.looks)?;
        still.accused = true;
        Some(*worker)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TIMEOUT: Duration = Duration::from_secs(4);
    const PERIOD: Duration = Duration::from_secs(1);
    const RESTS: Sample =
        Sample { turns: 9, waiting: true, received: 5, owes: false };
    const WORKS: Sample = Sample { waiting: false, ..RESTS };
    const OWES: Sample = Sample { owes: true, ..RESTS };

    /// Looks once a period at workers that are named 1, 2, 3…; `None` is one
    /// that is not there. Who was said to hang, and at which look.
    fn accused<const N: usize>(
        looks: impl IntoIterator<Item = [Option<Sample>; N]>,
    ) -> Vec<(usize, u32)> {
        let mut watch = Watch::new(TIMEOUT, Duration::ZERO);
        let mut accused = Vec::new();
        for (index, look) in looks.into_iter().enumerate() {
            let now = PERIOD * (index as u32 + 1);
            let named = (1..).map(WorkerId).zip(look);
            let seen = named.filter_map(|(id, sample)| Some((id, sample?)));
            if let Some(WorkerId(worker)) = watch.look(now, seen) {
                accused.push((index, worker));
            }
        }
        accused
    }

    fn each(sample: Sample, looks: usize) -> Vec<[Option<Sample>; 1]> {
        vec![[Some(sample)]; looks]
    }

    #[test]
    fn one_that_rests_never_hangs() {
        assert_eq!(accused(each(RESTS, 1000)), []);
    }

    #[test]
    fn one_that_is_at_work_and_does_not_move_hangs_once() {
        assert_eq!(accused(each(WORKS, 1000)), [(4, 1)]);
    }

    #[test]
    fn one_that_rests_on_a_connection_it_was_sent_hangs() {
        assert_eq!(accused(each(OWES, 1000)), [(4, 1)]);
    }

    #[test]
    fn one_that_is_still_starting_is_left_alone_until_it_is_sent_something() {
        let starts = Sample { turns: 0, waiting: false, ..RESTS };
        assert_eq!(accused(each(starts, 1000)), []);
        let owes = Sample { owes: true, ..starts };
        assert_eq!(accused(each(owes, 1000)), [(4, 1)]);
    }

    #[test]
    fn any_counter_that_moves_gives_it_the_whole_time_again() {
        for moved in [
            Sample { turns: 10, ..WORKS },
            Sample { received: 6, ..OWES },
            Sample { turns: 10, ..OWES },
        ] {
            let before = Sample { turns: 9, received: 5, ..moved };
            let mut looks = each(before, 4);
            looks.extend(each(moved, 100));
            assert_eq!(accused(looks), [(8, 1)], "{moved:?}");
        }
    }

    #[test]
    fn a_rest_gives_it_the_whole_time_again() {
        let mut looks = each(WORKS, 4);
        looks.extend(each(RESTS, 1));
        looks.extend(each(WORKS, 100));
        assert_eq!(accused(looks), [(9, 1)]);
    }

    #[test]
    fn of_several_one_is_named_at_a_look_the_longest_still_first() {
        let both = [Some(WORKS), Some(WORKS)];
        let mut looks = vec![[None, Some(WORKS)]];
        looks.extend(vec![both; 100]);
        assert_eq!(accused(looks), [(4, 2), (5, 1)]);
        assert_eq!(accused(vec![both; 100]).len(), 2);
    }

    #[test]
    fn a_look_that_comes_late_begins_anew() {
        for (late, hangs_at) in [(2, 4), (3, 8)] {
            let mut watch = Watch::new(TIMEOUT, Duration::ZERO);
            let mut now = Duration::ZERO;
            let looks = (0..100).filter(|index| {
                now += PERIOD * if *index == 4 { 1 + late } else { 1 };
                now += Duration::from_millis(u64::from(late > 2));
                watch.look(now, [(WorkerId(1), WORKS)]).is_some()
            });
            assert_eq!(looks.collect::<Vec<_>>(), [hangs_at]);
        }
    }

    /// What happens to a worker between two looks.
    #[derive(Clone, Copy, Debug)]
    enum Fate {
        Rests,
        Works,
        Stands { waiting: bool, owes: bool },
    }

    fn fate() -> impl Strategy<Value = Fate> {
        let stands = any::<(bool, bool)>()
            .prop_map(|(w, o)| Fate::Stands { waiting: w, owes: o });
        prop_oneof![1 => Just(Fate::Rests), 1 => Just(Fate::Works), 8 => stands]
    }

    proptest! {
        /// Against a model that knows the true times: nobody is accused
        /// before it has stood still for the timeout while it ought to
        /// move, and by one look after that everybody is.
        #[test]
        fn it_never_strikes_early_and_at_most_one_period_late(
            fates in proptest::collection::vec(
                (fate(), 1000..3000_u64), 1..60),
        ) {
            let mut watch = Watch::new(TIMEOUT, Duration::ZERO);
            let mut now = Duration::ZERO;
            let mut sample = WORKS;
            // Since when it stands still and ought not to, and how many
            // looks have seen that.
            let mut still: Option<(Duration, u32)> = None;
            let mut struck = false;
            for (fate, millis) in fates {
                let begin = now;
                now += Duration::from_millis(millis);
                match fate {
                    Fate::Rests => {
                        sample = Sample { turns: sample.turns + 1, ..RESTS };
                        still = None;
                    }
                    Fate::Works => {
                        sample = Sample { turns: sample.turns + 1, ..WORKS };
                        still = Some((now, 0));
                    }
                    Fate::Stands { waiting, owes } => {
                        sample = Sample { waiting, owes, ..sample };
                        still = match still {
                            _ if waiting && !owes => None,
                            None => Some((begin, 0)),
                            Some((since, looks)) => Some((since, looks + 1)),
                        };
                    }
                }
                if still.is_none_or(|(_, looks)| looks == 0) {
                    struck = false;
                }
                let hangs = watch.look(now, [(WorkerId(1), sample)]).is_some();
                if hangs {
                    prop_assert!(!struck, "twice");
                    let (since, _) = still.expect("it ought to move");
                    prop_assert!(now - since >= TIMEOUT);
                    struck = true;
                }
                if still.is_some_and(|(_, looks)| looks > LOOKS) {
                    prop_assert!(struck, "never");
                }
            }
        }
    }
}
