//! poll(2), for the questions that no loop answers.

use std::os::fd::{AsRawFd, BorrowedFd};

use super::{Result, syscall};

/// Whether a write would go through now: there is room, and somebody reads.
pub(crate) fn is_writable(fd: BorrowedFd<'_>) -> bool {
    let mut poll =
        libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLOUT, revents: 0 };
    // SAFETY: one entry, writable, through the call; the timeout is zero.
    let count = unsafe { libc::poll(&mut poll, 1, 0) };
    count == 1 && poll.revents == libc::POLLOUT
}

/// Waits until there is something to read, or the end of it. For a process
/// that has nothing else to do.
pub(crate) fn wait_readable(fd: BorrowedFd<'_>) -> Result<()> {
    let mut poll =
        libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one entry, writable, through the call; -1 is for ever.
    unsafe { syscall!(poll(&mut poll, 1, -1)) }?;
    Ok(())
}
