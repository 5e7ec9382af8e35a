//! poll(2): the questions about descriptors that need no loop.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use super::{Result, syscall};

/// Whether a write would go through now: there is room, and somebody reads.
pub(crate) fn is_writable(fd: BorrowedFd<'_>) -> bool {
    now(fd, libc::POLLOUT) == libc::POLLOUT
}

/// Whether a read of any of them would tell something now: bytes, the end, or
/// an error. One call for all, since they may be as many as a worker's
/// clients.
pub(crate) fn any_readable<'a>(
    fds: impl Iterator<Item = BorrowedFd<'a>>,
) -> bool {
    let mut polls: Vec<libc::pollfd> = fds
        .map(|fd| libc::pollfd {
            fd: fd.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        })
        .collect();
    let count = polls.len() as libc::nfds_t;
    // SAFETY: `count` entries, writable, through the call; the timeout is
    // zero.
    unsafe { libc::poll(polls.as_mut_ptr(), count, 0) > 0 }
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
    wait(fd, -1).map(drop)
}

/// The same, but for so long only, to the millisecond above. Whether there is
/// something.
pub(crate) fn is_readable_within(
    fd: BorrowedFd<'_>,
    time: Duration,
) -> Result<bool> {
    let time = time.as_micros().div_ceil(1000);
    wait(fd, i32::try_from(time).unwrap_or(i32::MAX))
}

/// `time`: in milliseconds; below 0, for ever.
fn wait(fd: BorrowedFd<'_>, time: i32) -> Result<bool> {
    let mut poll =
        libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one entry, writable, through the call.
    Ok(unsafe { syscall!(poll(&mut poll, 1, time)) }? > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::{socket, unix};
    use std::os::fd::AsFd;

    #[test]
    fn of_many_one_that_has_something_to_read_is_enough() {
        let pairs: Vec<_> = (0..9).map(|_| unix::pair().unwrap()).collect();
        let any = || any_readable(pairs.iter().map(|(a, _)| a.as_fd()));
        assert!(!any() && !any_readable(std::iter::empty()));
        socket::send(pairs[7].1.as_fd(), b"x").unwrap();
        assert!(any());
    }
}
