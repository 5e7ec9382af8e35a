//! eventfd(2): a descriptor that another thread makes readable.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::{Result, syscall, unless_blocked};

/// Wakes a loop that waits for it. Any number of wakes before a [`Self::clear`]
/// are one.
#[derive(Debug)]
pub(crate) struct WakeUp {
    fd: OwnedFd,
}

impl WakeUp {
    pub(crate) fn new() -> Result<WakeUp> {
        let flags = libc::EFD_CLOEXEC | libc::EFD_NONBLOCK;
        // SAFETY: no pointers are involved.
        let fd = unsafe { syscall!(eventfd(0, flags)) }?;
        // SAFETY: the descriptor is new, so nobody else owns it.
        Ok(WakeUp { fd: unsafe { OwnedFd::from_raw_fd(fd) } })
    }

    pub(crate) fn wake(&self) -> Result<()> {
        let one = 1u64.to_ne_bytes();
        let (fd, from) = (self.fd.as_raw_fd(), one.as_ptr());
        // SAFETY: `from` is readable for the 8 bytes that eventfd(2) wants.
        let result = unsafe { syscall!(write(fd, from.cast(), 8)) };
        // "Would block" means that the counter is full: awake it is.
        unless_blocked(result).map(drop)
    }

    pub(crate) fn clear(&self) -> Result<()> {
        let mut count = [0u8; 8];
        let (fd, to) = (self.fd.as_raw_fd(), count.as_mut_ptr());
        // SAFETY: `to` is writable for 8 bytes.
        let result = unsafe { syscall!(read(fd, to.cast(), 8)) };
        unless_blocked(result).map(drop)
    }
}

impl AsFd for WakeUp {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
