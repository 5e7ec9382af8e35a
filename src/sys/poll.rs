//! poll(2), for the one question that a loop does not answer.

use std::os::fd::{AsRawFd, BorrowedFd};

/// Whether a write would go through now: there is room, and somebody reads.
pub(crate) fn is_writable(fd: BorrowedFd<'_>) -> bool {
    let mut poll =
        libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLOUT, revents: 0 };
    // SAFETY: one entry, writable, through the call; the timeout is zero.
    let count = unsafe { libc::poll(&mut poll, 1, 0) };
    count == 1 && poll.revents == libc::POLLOUT
}
