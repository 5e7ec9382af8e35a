//! clock_gettime(2): the clock that `Instant` does not give.

use std::time::Duration;

/// `CLOCK_BOOTTIME`: as the monotonic clock, but it goes on while the machine
/// is suspended.
pub(crate) fn boottime() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let clock = libc::CLOCK_BOOTTIME;
    // SAFETY: `time` is writable. The clock exists on every Linux, so that
    // there is no error to tell of.
    unsafe { libc::clock_gettime(clock, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
