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

use log::info;

use super::supervisor::{Event, State};
use super::{Master, usage};
use crate::WorkerId;
use crate::config::Serve;
use crate::scoreboard::Requests;

/// How often.
const LOOK: Duration = Duration::from_millis(500);

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Recycling {
    max_requests: Option<NonZero<usize>>,
    max_rss: Option<NonZero<usize>>,
    next: Option<Instant>,
}

impl Recycling {
    pub(super) fn new(settings: &Serve, now: Instant) -> Recycling {
        let Serve { max_requests, max_rss, .. } = *settings;
        let wanted = max_requests.is_some() || max_rss.is_some();
        let next = wanted.then(|| now + LOOK);
        Recycling { max_requests, max_rss, next }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.next
    }
}

impl Master {
    /// Looks for worn workers, if it is time to.
    pub(super) fn recycle(&mut self) {
        if self.recycling.next.is_none_or(|next| next > self.now) {
            return;
        }
        self.recycling.next = Some(self.now + LOOK);
        for status in self.supervisor.status() {
            if let Some(worker) = status.worker
                && status.state == State::Ready
                && let Some(why) = self.wear(worker)
            {
                info!("worker {worker} is to be replaced: {why}");
                self.note(Event::Recycle { worker });
            }
        }
    }

    /// Why a worker is worn, the first time that it is.
    fn wear(&mut self, worker: WorkerId) -> Option<String> {
        let link = self.links.get_mut(&worker).filter(|link| !link.worn)?;
        if let Some(limit) = self.recycling.max_requests
            && let Some(Requests { answered, .. }) = link.requests()
            && answered >= limit_of(worker, limit)
        {
            link.worn = true;
            return Some(format!("it has answered {answered} requests"));
        }
        if let Some(limit) = self.recycling.max_rss
            && let Some(usage) = usage::of(link.child.pid())
            && usage.rss > limit.get() as u64
        {
            link.worn = true;
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
}
