//! memfd_create(2): memory that two processes share.
//!
//! The region is sealed against resizing before anybody else sees it, so a
//! worker that turned hostile cannot shrink it and have the master killed by
//! SIGBUS. It is reached through atomics and checked copies: to each side the
//! other is a stranger, and a reference to plain memory would promise the
//! compiler that nobody else writes. The one exception is an [`Arena`]'s: the
//! process whose memory it is works in its blocks as in any other.
//!
//! A page that nobody has touched does not exist, so a region may be far
//! larger than what will be used of it.
//!
//! Where memfd_create is refused, a file without a name takes its place. That
//! cannot be sealed: it is the worker that, having mapped it, keeps no
//! descriptor by which it could be resized. And the folder may be small (a
//! container's /dev/shm has 64 MiB), so all of the file is allocated at once:
//! it is for small regions only.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::ptr::NonNull;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicU64, AtomicUsize};

use super::{Result, syscall};

const WORD: usize = size_of::<u64>();

/// Shared memory as an array of 64-bit words.
#[derive(Debug)]
pub(crate) struct Region {
    start: NonNull<AtomicU64>,
    words: usize,
    /// Words that are reached as such: all, or those that are no arena.
    shared: AtomicUsize,
}

// SAFETY: all access is by atomics, or by the one owner of a block of an
// arena, and the mapping lives until drop.
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}

impl Region {
    /// A new region of `words` zero words, with the descriptor by which
    /// another process can [`Region::open`] it.
    pub(crate) fn create(words: usize) -> Result<(Region, OwnedFd)> {
        let fd = match sealed(words * WORD) {
            Err(error) if error.is_of(MEMFD) => {
                unsealed(words * WORD).ok_or(error)?
            }
            result => result?,
        };
        Ok((Region::map(fd.as_fd(), words)?, fd))
    }

    /// The region behind an inherited descriptor, if it has at least `least`
    /// words.
    pub(crate) fn open(fd: BorrowedFd<'_>, least: usize) -> Result<Region> {
        // SAFETY: `stat` is plain data; all zeroes is a value of it.
        let mut stat: libc::stat = unsafe { std::mem::zeroed() };
        // SAFETY: `stat` is writable and lives through the call.
        unsafe { syscall!(fstat(fd.as_raw_fd(), &mut stat)) }?;
        let words = usize::try_from(stat.st_size).unwrap_or_default() / WORD;
        if words < least {
            return Err(super::Error { call: "fstat", errno: libc::EINVAL });
        }
        Region::map(fd, words)
    }

    fn map(fd: BorrowedFd<'_>, words: usize) -> Result<Region> {
        let size = words * WORD;
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
        // A core dump need not have it, nor a child that executes nothing.
        for advice in [libc::MADV_DONTDUMP, libc::MADV_DONTFORK] {
            // SAFETY: this is the mapping just made.
            unsafe { syscall!(madvise(start, size, advice)) }?;
        }
        let shared = AtomicUsize::new(words);
        match NonNull::new(start.cast()) {
            Some(start) => Ok(Region { start, words, shared }),
            None => Err(super::Error { call: "mmap", errno: libc::ENOMEM }),
        }
    }

    /// Word number `index`; panics beyond the end, and in what is an arena.
    pub(crate) fn word(&self, index: usize) -> &AtomicU64 {
        let shared = self.shared.load(Relaxed);
        assert!(index < shared, "word {index} of {shared}");
        // SAFETY: `index` lies within the mapping, which lives as long as
        // `self`; mmap(2) aligns it to a page.
        let word = unsafe { self.start.add(index) };
        // SAFETY: as above; all bit patterns are values, access is atomic.
        unsafe { word.as_ref() }
    }
}

impl Region {
    /// How many words there are.
    pub(crate) fn words(&self) -> usize {
        self.words
    }

    /// A copy of `length` bytes from word number `index` on, whatever the
    /// other side does meanwhile; panics beyond the end.
    pub(crate) fn copy_out(&self, index: usize, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length.next_multiple_of(WORD));
        for at in 0..length.div_ceil(WORD) {
            let word = self.word(index + at).load(Relaxed);
            bytes.extend_from_slice(&word.to_ne_bytes());
        }
        bytes.truncate(length);
        bytes
    }

    /// Writes bytes from word number `index` on, and zeros up to the end of
    /// the last word; panics beyond the end.
    pub(crate) fn copy_in(&self, index: usize, bytes: &[u8]) {
        for (at, part) in bytes.chunks(WORD).enumerate() {
            let mut word = [0; WORD];
            word[..part.len()].copy_from_slice(part);
            let word = u64::from_ne_bytes(word);
            self.word(index + at).store(word, Relaxed);
        }
    }

    /// Makes zeros of `length` bytes from word number `index` on, and of the
    /// rest of the last word; panics beyond the end.
    pub(crate) fn wipe(&self, index: usize, length: usize) {
        for at in 0..length.div_ceil(WORD) {
            self.word(index + at).store(0, Relaxed);
        }
    }

    /// The blocks of `block` words each that the words from `first` on make,
    /// for the process that uses them as its own memory. The other may look
    /// at them when this one is dead. Panics when there is one already.
    pub(crate) fn arena(&'static self, first: usize, block: usize) -> Arena {
        assert!(first <= self.words && block > 0);
        let shared = self.shared.swap(first, SeqCst);
        assert_eq!(shared, self.words, "there is an arena already");
        Arena { region: self, next: first, block }
    }
}

const MEMFD: &str = "memfd_create";

/// Whether there is memory that a hostile worker cannot resize, and of any
/// size.
pub(crate) fn ask() -> Result<()> {
    sealed(WORD).map(drop)
}

/// `MFD_NOEXEC_SEAL`, which came with Linux 6.3 and is refused before: with
/// `vm.memfd_noexec` set to 2 nothing else is to be had.
fn memfd() -> Result<OwnedFd> {
    let name = c"handoff-worker";
    let create = |kind| {
        let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING | kind;
        // SAFETY: the name is a C string.
        unsafe { syscall!(memfd_create(name.as_ptr(), flags)) }
    };
    let fd = match create(libc::MFD_NOEXEC_SEAL) {
        Err(error) if error.errno() == libc::EINVAL => create(0),
        result => result,
    }?;
    // SAFETY: the descriptor is new, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn sealed(size: usize) -> Result<OwnedFd> {
    let fd = memfd()?;
    // SAFETY: no pointers are involved.
    unsafe { syscall!(ftruncate(fd.as_raw_fd(), size as libc::off_t)) }?;
    let seals = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;
    // SAFETY: no pointers are involved.
    unsafe { syscall!(fcntl(fd.as_raw_fd(), libc::F_ADD_SEALS, seals)) }?;
    Ok(fd)
}

/// In the first folder that takes it: memory, if there is one that is.
fn unsealed(size: usize) -> Option<OwnedFd> {
    ["/dev/shm", "/run", "/tmp"].into_iter().find_map(|folder| {
        let mut options = File::options();
        options.read(true).write(true).mode(0o600);
        let file = options.custom_flags(libc::O_TMPFILE).open(folder).ok()?;
        let (fd, size) = (file.as_raw_fd(), size as libc::off_t);
        // SAFETY: no pointers are involved.
        let allocated = unsafe { libc::posix_fallocate(fd, 0, size) };
        (allocated == 0).then(|| OwnedFd::from(file))
    })
}

/// Hands out blocks of a region, each once and for ever.
#[derive(Debug)]
pub(crate) struct Arena {
    region: &'static Region,
    next: usize,
    block: usize,
}

impl Arena {
    /// The next one, if there is another.
    pub(crate) fn allocate(&mut self) -> Option<&'static mut [u8]> {
        let (start, end) = (self.next, self.next + self.block);
        if end > self.region.words {
            return None;
        }
        self.next = end;
        // SAFETY: within the mapping, which lives for ever: the region is
        // borrowed for so long.
        let start = unsafe { self.region.start.add(start) };
        let length = self.block * WORD;
        // SAFETY: as above; and nobody else in this process has these bytes:
        // there is one arena, which never goes back, and `Region::word`
        // refuses what it was made of. All bit patterns are values of `u8`.
        Some(unsafe {
            std::slice::from_raw_parts_mut(start.as_ptr().cast(), length)
        })
    }
}

/// Gives the memory of such blocks back to the system, as far as they are
/// whole pages; they read as zeros from then on (MADV_REMOVE).
pub(crate) fn discard(block: &mut [u8]) -> Result<()> {
    let (start, length) = (block.as_mut_ptr(), block.len());
    // SAFETY: the bytes are the caller's alone, and zeros are values of them.
    // The kernel refuses what is no page of shared memory.
    unsafe { syscall!(madvise(start.cast(), length, libc::MADV_REMOVE)) }?;
    Ok(())
}

impl Drop for Region {
    fn drop(&mut self) {
        let size = self.words * WORD;
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
    fn a_region_is_sealed_against_execution_where_that_is_known() {
        let (_region, fd) = Region::create(8).unwrap();
        // SAFETY: no pointers are involved.
        let seals = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GET_SEALS) };
        let flags = libc::MFD_NOEXEC_SEAL;
        // SAFETY: the name is a C string; the descriptor is left open.
        let known = unsafe { libc::memfd_create(c"probe".as_ptr(), flags) };
        assert_eq!(seals & libc::F_SEAL_EXEC != 0, known >= 0);
    }

    #[test]
    fn a_file_without_a_name_does_where_there_is_no_memfd() {
        let fd = unsealed(64 * WORD).unwrap();
        let ours = Region::map(fd.as_fd(), 64).unwrap();
        let theirs = Region::open(fd.as_fd(), 64).unwrap();
        theirs.word(63).store(42, SeqCst);
        assert_eq!(ours.word(63).load(SeqCst), 42);
    }

    #[test]
    fn a_region_that_is_too_small_is_refused() {
        let (_region, fd) = Region::create(8).unwrap();
        assert!(Region::open(fd.as_fd(), 9).is_err());
    }

    #[test]
    fn bytes_go_in_and_come_out_at_any_length() {
        let (ours, fd) = Region::create(64).unwrap();
        let theirs = Region::open(fd.as_fd(), 64).unwrap();
        for length in 0..40 {
            let bytes: Vec<u8> = (1..=length).collect();
            ours.copy_in(5, &bytes);
            assert_eq!(theirs.copy_out(5, bytes.len()), bytes);
        }
    }

    #[test]
    fn blocks_are_handed_out_once_and_seen_from_the_other_side() {
        let (ours, fd) = Region::create(1024 + 2 * 512).unwrap();
        let region = Region::open(fd.as_fd(), ours.words()).unwrap();
        let mut arena = Box::leak(Box::new(region)).arena(1024, 512);
        let (a, b) = (arena.allocate().unwrap(), arena.allocate().unwrap());
        assert!(arena.allocate().is_none());
        a[..3].copy_from_slice(b"abc");
        b[4095] = b'z';
        assert_eq!(ours.copy_out(1024, 3), b"abc");
        assert_eq!(ours.copy_out(1024 + 1023, 8)[7], b'z');
        discard(a).unwrap();
        assert_eq!(ours.copy_out(1024, 3), [0; 3]);
    }
}
