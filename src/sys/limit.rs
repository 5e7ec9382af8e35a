//! getrlimit(2): how many descriptors this process may have.

use super::{Result, syscall};

/// The soft limit on open descriptors (`RLIMIT_NOFILE`), after raising it to
/// the hard one. Nothing here uses select(2), the one reason not to.
pub(crate) fn raise_descriptors() -> Result<usize> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is writable and lives through the call.
    unsafe { syscall!(getrlimit(libc::RLIMIT_NOFILE, &mut limit)) }?;
    if limit.rlim_cur < limit.rlim_max {
        let raised = libc::rlimit { rlim_cur: limit.rlim_max, ..limit };
        // SAFETY: `raised` is readable and lives through the call.
        unsafe { syscall!(setrlimit(libc::RLIMIT_NOFILE, &raised)) }?;
        limit = raised;
    }
    Ok(usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX))
}
