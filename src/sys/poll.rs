//! poll(2): the questions about one descriptor that need no loop.

use std::os::fd::{AsRawFd, BorrowedFd};

use super::{Result, syscall};

/// Whether a write would go through now: there is room, and somebody reads.
pub(crate) fn is_writable(fd: BorrowedFd<'_>) -> bool {
    now(fd, libc::POLLOUT) == libc::POLLOUT
}

/// Whether a read would tell something now: bytes, the end, or an error.
pub(crate) fn is_readable(fd: BorrowedFd<'_>) -> bool {
    now(fd, libc::POLLIN) != 0
}

/// What is so of `events` at this moment, an error or the end besides.
fn now(fd: BorrowedFd<'_>, events: libc::c_short) -> libc::c_short {
    let mut poll = libc::pollfd { fd: fd.as_raw_fd(), events, revents: 0 };
    // SAFETY: one entry, writable, through the call; the timeout is zero.
    unsafe { libc::poll(&mut poll, 1, 0) };
    poll.revents
}

/// Waits until there is something to read: bytes, a connection, the end, or
/// an error to be told of by the read itself.
pub(crate) fn until_readable(fd: BorrowedFd<'_>) -> Result<()> {
    let mut poll =
        libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one entry, writable, through the call; no timeout.
    unsafe { syscall!(poll(&mut poll, 1, -1)) }?;
    Ok(())
}
