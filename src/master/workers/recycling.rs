//! Replacing workers that have done enough or grown too large.
//!
//! ```text
//!   once in a while ──▶ requests of each worker ──▶ its own limit? ─┐
//!                       /proc: its memory ────────▶ --max-rss?  ────┴▶ Recycle
//! ```
//!
//! A worker is looked at from outside, so a request costs nothing more, and a
//! master that was given neither option never wakes for this.

use std::num::NonZero;
use std::time::{Duration, Instant};

use crate::WorkerId;
use crate::config::Settings;
use crate::control::Usage;
use crate::scoreboard::Requests;

/// How often.
const LOOK: Duration = Duration::from_millis(500);

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Recycling {
    max_requests: Option<NonZero<usize>>,
    max_rss: Option<NonZero<usize>>,
    next: Option<Instant>,
}

impl Recycling {
    pub(crate) fn new(settings: &Settings, now: Instant) -> Recycling {
        let Settings { max_requests, max_rss, .. } = *settings;
        let wanted = max_requests.is_some() || max_rss.is_some();
        let next = wanted.then(|| now + LOOK);
        Recycling { max_requests, max_rss, next }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.next
    }

    /// Whether it is time to look; the next time is in a while, then.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        let due = self.next.is_some_and(|next| next <= now);
        if due {
            self.next = Some(now + LOOK);
        }
        due
    }

    /// Why this worker is over its limits, if so. What it costs the machine
    /// is asked only where that matters.
    pub(super) fn over_limit(
        &self,
        worker: WorkerId,
        requests: Option<Requests>,
        usage: impl FnOnce() -> Option<Usage>,
    ) -> Option<String> {
        if let Some(limit) = self.max_requests
            && let Some(Requests { answered, .. }) = requests
            && answered >= limit_of(worker, limit)
        {
            return Some(format!("it has answered {answered} requests"));
        }
        if let Some(limit) = self.max_rss
            && let Some(usage) = usage()
            && usage.rss > limit.get() as u64
        {
            let (rss, limit) = (usage.rss >> 10, limit.get() >> 10);
            return Some(format!("it has {rss} K of {limit} K in memory"));
        }
        None
    }
}

/// A worker's own limit, up to a tenth more or less than what was typed: all
/// have started at once and do the same work, but need not go at once.
fn limit_of(worker: WorkerId, typed: NonZero<usize>) -> u64 {
    let typed = typed.get() as u64;
    let spread = typed / 10;
    // Fibonacci hashing: multiples of the golden ratio lie far apart.
    let hash = u64::from(worker.0).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    typed - spread + hash % (2 * spread + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_lie_within_a_tenth_and_apart() {
        let typed = NonZero::new(1000).unwrap();
        let mut limits: Vec<u64> =
            (1..=8).map(|id| limit_of(WorkerId(id), typed)).collect();
        assert!(limits.iter().all(|limit| (900..=1100).contains(limit)));
        limits.sort_unstable();
        let gaps = limits.windows(2).map(|pair| pair[1] - pair[0]);
        assert!(gaps.min() > Some(5), "{limits:?}");
    }

    #[test]
    fn a_small_limit_is_exact_and_none_is_zero() {
        for typed in 1..10 {
            let limit = NonZero::new(typed).unwrap();
            for id in 1..100 {
                assert_eq!(limit_of(WorkerId(id), limit), typed as u64);
            }
        }
        let largest = NonZero::new(1_000_000_000).unwrap();
        assert!(limit_of(WorkerId(u32::MAX), largest) >= 900_000_000);
    }

    fn limits(requests: usize, rss: usize) -> Recycling {
        let max_requests = NonZero::new(requests);
        let max_rss = NonZero::new(rss);
        Recycling { max_requests, max_rss, next: None }
    }

    fn answered(answered: u64) -> Option<Requests> {
        Some(Requests { answered, refused: 0 })
    }

    fn uses(rss: u64) -> Option<Usage> {
        Some(Usage { rss, cpu: Duration::ZERO })
    }

    #[test]
    fn what_has_no_limit_is_not_looked_at() {
        let none = limits(0, 0);
        let never = || panic!("nobody wants to know");
        assert_eq!(
            none.over_limit(WorkerId(1), answered(u64::MAX), never),
            None
        );
        let requests = limits(5, 0);
        let never = || panic!("nobody wants to know");
        assert!(
            requests.over_limit(WorkerId(1), answered(5), never).is_some()
        );
    }

    #[test]
    fn a_worker_that_does_not_tell_has_its_memory_looked_at() {
        let both = limits(5, 1 << 20);
        let id = WorkerId(1);
        assert_eq!(both.over_limit(id, None, || uses(1 << 20)), None);
        let why = both.over_limit(id, None, || uses((1 << 20) + 1));
        assert_eq!(why.unwrap(), "it has 1024 K of 1024 K in memory");
        assert_eq!(
            both.over_limit(id, answered(4), || None),
            None,
            "it is gone"
        );
    }

    #[test]
    fn a_look_is_due_once_in_a_while() {
        let now = Instant::now();
        let mut some = Recycling { next: Some(now + LOOK), ..limits(5, 0) };
        assert!(!some.is_due(now));
        assert!(some.is_due(now + LOOK));
        assert_eq!(some.deadline(), Some(now + 2 * LOOK));
        assert!(!limits(0, 0).is_due(now));
    }
}
