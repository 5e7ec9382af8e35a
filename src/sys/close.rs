//! close_range(2): many descriptors in few calls; and one by one where a
//! filter refuses it, as that of older container runtimes does with `EPERM`.

use std::fs;
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd, RawFd};

use super::{Error, Result};

/// Closes all of them, neighbouring numbers in one call. The master accepts
/// in runs, so what it lets go of together often lies together.
pub(crate) fn close_all(mut descriptors: Vec<OwnedFd>) {
    descriptors.sort_unstable_by_key(AsRawFd::as_raw_fd);
    let mut numbers =
        descriptors.into_iter().map(IntoRawFd::into_raw_fd).peekable();
    while let Some(first) = numbers.next() {
        let mut last: RawFd = first;
        while let Some(next) = numbers.next_if(|next| *next == last + 1) {
            last = next;
        }
        let call = libc::SYS_close_range;
        // SAFETY: every number from `first` to `last` was an `OwnedFd` of
        // ours an instant ago, and nobody else's since.
        let closed =
            unsafe { libc::syscall(call, first as u32, last as u32, 0) };
        if closed == 0 {
            continue;
        }
        for number in first..=last {
            // SAFETY: as above: a call that fails closes none. Nothing can be
            // done about an error.
            unsafe { libc::close(number) };
        }
    }
}

/// Whether close_range(2) does here what a new program needs: `CLOEXEC`, which
/// came with Linux 5.11. Asked of a number that nobody can have.
pub(crate) fn ask() -> Result<()> {
    let (call, flags) = (libc::SYS_close_range, libc::CLOSE_RANGE_CLOEXEC);
    // SAFETY: no pointers are involved, and no descriptor has that number.
    match unsafe { libc::syscall(call, u32::MAX, u32::MAX, flags) } {
        0 => Ok(()),
        _ => Err(Error::last("close_range")),
    }
}

/// The open descriptors from this number on, for whoever cannot close them all
/// in one call.
///
/// # Errors
/// `refused`, if they cannot be listed either.
pub(super) fn open_from(first: RawFd, refused: Error) -> Result<Vec<RawFd>> {
    let entries = fs::read_dir("/proc/self/fd").map_err(|_| refused)?;
    let names = entries.flatten().map(|entry| entry.file_name());
    let numbers = names.filter_map(|name| name.to_str()?.parse().ok());
    Ok(numbers.filter(|number| *number >= first).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::unix;

    #[test]
    fn what_is_closed_is_closed_and_nothing_else() {
        let pairs: Vec<(OwnedFd, OwnedFd)> =
            (0..5).map(|_| unix::pair().unwrap()).collect();
        let (mut kept, mut closed) = (Vec::new(), Vec::new());
        for (index, (a, b)) in pairs.into_iter().enumerate() {
            if index == 2 {
                kept.push(a)
            } else {
                closed.push(a)
            }
            kept.push(b);
        }
        closed.swap(0, 2);
        close_all(closed);
        for (index, end) in kept.iter().enumerate() {
            let mut byte = [0];
            let fd = std::os::fd::AsFd::as_fd(end);
            let heard = crate::sys::socket::receive(fd, &mut byte).unwrap();
            // Number 2's pair is whole: both of its ends wait.
            let whole = index == 2 || index == 3;
            assert_eq!(heard, if whole { None } else { Some(0) }, "{index}");
        }
    }

    #[test]
    fn what_is_open_from_a_number_on_is_listed() {
        let (a, b) = unix::pair().unwrap();
        let (a, b) = (a.as_raw_fd(), b.as_raw_fd());
        let above = open_from(a.max(b), Error::INVALID).unwrap();
        assert!(above.contains(&a.max(b)) && !above.contains(&a.min(b)));
    }
}
