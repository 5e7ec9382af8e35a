//! getrlimit(2): how many descriptors this process may have.

use super::{Error, Result, syscall};

/// What the kernel gives a process if nobody says otherwise
/// (`INR_OPEN_CUR`, linux/fs.h).
const USUAL: usize = 1024;

/// The soft limit on open descriptors (`RLIMIT_NOFILE`), after raising it to
/// the hard one; and what was refused on the way there, for which nobody need
/// stay away. Nothing here uses select(2), the one reason not to raise it.
///
/// It cannot be raised where a filter forbids that (seccomp(2)), or where
/// `fs.nr_open` was lowered under the hard limit. Where it cannot be asked for
/// it is taken to be what it usually is; accept(2) tells if it is less.
pub(crate) fn raise_descriptors() -> (usize, Option<Error>) {
    let limit = match descriptors() {
        Ok(limit) => limit,
        Err(error) => return (USUAL, Some(error)),
    };
    let number = |limit| usize::try_from(limit).unwrap_or(usize::MAX);
    if limit.rlim_cur >= limit.rlim_max {
        return (number(limit.rlim_cur), None);
    }
    let raised = libc::rlimit { rlim_cur: limit.rlim_max, ..limit };
    // SAFETY: `raised` is readable and lives through the call.
    match unsafe { syscall!(setrlimit(libc::RLIMIT_NOFILE, &raised)) } {
        Ok(_) => (number(raised.rlim_cur), None),
        Err(error) => (number(limit.rlim_cur), Some(error)),
    }
}

fn descriptors() -> Result<libc::rlimit> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is writable and lives through the call.
    unsafe { syscall!(getrlimit(libc::RLIMIT_NOFILE, &mut limit)) }?;
    Ok(limit)
}
