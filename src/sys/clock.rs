//! clock_gettime(2): the clocks that `Instant` does not give.

use std::time::Duration;

/// `CLOCK_MONOTONIC` as a number, for another process that goes by it. It
/// stands still while the machine is suspended.
pub(crate) fn monotonic() -> Duration {
    read(libc::CLOCK_MONOTONIC)
}

/// `CLOCK_BOOTTIME`: the same, but it goes on while the machine is suspended.
pub(crate) fn boottime() -> Duration {
    read(libc::CLOCK_BOOTTIME)
}

fn read(clock: libc::clockid_t) -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is writable. Both clocks exist on every Linux, so that
    // there is no error to tell of.
    unsafe { libc::clock_gettime(clock, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
