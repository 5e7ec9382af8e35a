//! memfd_create(2): a page that two processes share.
//!
//! The region is sealed against resizing before anybody else sees it, so a
//! worker that went mad cannot shrink it and have the master killed by
//! SIGBUS. It is reached through atomics only: to each side the other is a
//! stranger, and a reference to plain memory would promise the compiler that
//! nobody else writes.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

use super::{Result, syscall};

/// Shared memory as an array of 64-bit words.
#[derive(Debug)]
pub(crate) struct Region {
    start: NonNull<AtomicU64>,
    words: usize,
}

// SAFETY: all access is by atomics, and the mapping lives until drop.
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}

impl Region {
    /// A new region of `words` zero words, with the descriptor by which
    /// another process can [`Region::open`] it.
    pub(crate) fn create(words: usize) -> Result<(Region, OwnedFd)> {
        let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
        let name = c"handoff-worker";
        // SAFETY: the name is a C string.
        let fd = unsafe { syscall!(memfd_create(name.as_ptr(), flags)) }?;
        // SAFETY: the descriptor is new, so nobody else owns it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let size = (words * size_of::<u64>()) as libc::off_t;
        // SAFETY: no pointers are involved.
        unsafe { syscall!(ftruncate(fd.as_raw_fd(), size)) }?;
        let seals =
            libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;
        // SAFETY: no pointers are involved.
        unsafe { syscall!(fcntl(fd.as_raw_fd(), libc::F_ADD_SEALS, seals)) }?;
        Ok((Region::map(fd.as_fd(), words)?, fd))
    }

    /// The region behind an inherited descriptor, if it has at least `words`.
    pub(crate) fn open(fd: BorrowedFd<'_>, words: usize) -> Result<Region> {
        // SAFETY: `stat` is plain data; all zeroes is a value of it.
        let mut stat: libc::stat = unsafe { std::mem::zeroed() };
        // SAFETY: `stat` is writable and lives through the call.
        unsafe { syscall!(fstat(fd.as_raw_fd(), &mut stat)) }?;
        if (stat.st_size as u64) < (words * size_of::<u64>()) as u64 {
            return Err(super::Error { call: "fstat", errno: libc::EINVAL });
        }
        Region::map(fd, words)
    }

    fn map(fd: BorrowedFd<'_>, words: usize) -> Result<Region> {
        let size = words * size_of::<u64>();
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                size,
                access,
                libc::MAP_SHARED,
                fd.as_raw_fd(),
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(super::Error::last("mmap"));
        }
        match NonNull::new(start.cast()) {
            Some(start) => Ok(Region { start, words }),
            None => Err(super::Error { call: "mmap", errno: libc::ENOMEM }),
        }
    }

    /// Word number `index`; panics beyond the end.
    pub(crate) fn word(&self, index: usize) -> &AtomicU64 {
        assert!(index < self.words, "word {index} of {}", self.words);
        // SAFETY: `index` lies within the mapping, which lives as long as
        // `self`; mmap(2) aligns it to a page.
        let word = unsafe { self.start.add(index) };
        // SAFETY: as above; all bit patterns are values, access is atomic.
        unsafe { word.as_ref() }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        let size = self.words * size_of::<u64>();
        // SAFETY: this is the mapping made in `map`, and no reference into it
        // outlives `self`. It cannot fail for a whole mapping.
        unsafe { libc::munmap(self.start.as_ptr().cast(), size) };
    }
}

/// Bytes of a page, the unit in which proc(5) counts memory.
pub(crate) fn page_size() -> u64 {
    // SAFETY: sysconf(3) takes a number and returns one.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    u64::try_from(size).unwrap_or(4096)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering::SeqCst;

    #[test]
    fn what_one_mapping_writes_the_other_reads() {
        let (ours, fd) = Region::create(64).unwrap();
        let theirs = Region::open(fd.as_fd(), 64).unwrap();
        theirs.word(63).store(42, SeqCst);
        assert_eq!(ours.word(63).load(SeqCst), 42);
        assert_eq!(ours.word(0).load(SeqCst), 0);
    }

    #[test]
    fn a_region_cannot_be_resized_by_the_other_side() {
        let (_region, fd) = Region::create(512).unwrap();
        // SAFETY: no pointers are involved.
        let result = unsafe { syscall!(ftruncate(fd.as_raw_fd(), 0)) };
        assert_eq!(result.unwrap_err().errno(), libc::EPERM);
    }

    #[test]
    fn a_region_that_is_too_small_is_refused() {
        let (_region, fd) = Region::create(8).unwrap();
        assert!(Region::open(fd.as_fd(), 9).is_err());
    }
}
