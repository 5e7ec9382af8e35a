//! Time in four bytes: milliseconds since the worker started.
//!
//! It wraps after 49 days, and every comparison is of a difference, so that
//! nothing notices as long as no wait lasts 24 days.

use std::ops::Add;
use std::time::{Duration, Instant};

/// A moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tick(u32);

impl Tick {
    pub(super) fn at(now: Instant, start: Instant) -> Tick {
        Tick((now - start).as_millis() as u32)
    }

    /// Whether this moment has come at `now`.
    pub(super) fn has_come(self, now: Tick) -> bool {
        now.0.wrapping_sub(self.0) < u32::MAX / 2
    }

    /// How long it is from `now` to this moment, 0 if it has come.
    pub(super) fn from(self, now: Tick) -> Duration {
        if self.has_come(now) {
            return Duration::ZERO;
        }
        Duration::from_millis(u64::from(self.0.wrapping_sub(now.0)))
    }

    /// The earlier of two.
    pub(super) fn earlier(self, other: Tick) -> Tick {
        if self.has_come(other) { self } else { other }
    }
}

impl Add<Duration> for Tick {
    type Output = Tick;

    /// Anything beyond 20 days counts as 20 days.
    fn add(self, duration: Duration) -> Tick {
        const LONGEST: u128 = 20 * 24 * 60 * 60 * 1000;
        let milliseconds = duration.as_millis().min(LONGEST) as u32;
        Tick(self.0.wrapping_add(milliseconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_comes_and_stays_also_across_the_wrap() {
        for start in [0, 1000, u32::MAX - 5, u32::MAX] {
            let now = Tick(start);
            let then = now + Duration::from_millis(10);
            assert!(!then.has_come(now));
            assert_eq!(then.from(now), Duration::from_millis(10));
            assert!(then.has_come(now + Duration::from_millis(10)));
            assert!(then.has_come(now + Duration::from_secs(3600)));
            assert_eq!(now.from(then), Duration::ZERO);
            assert_eq!(now.earlier(then), now);
            assert_eq!(then.earlier(now), now);
        }
    }
}
