//! close_range(2): many descriptors in few calls.

use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd, RawFd};

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
        // ours an instant ago, and nobody else's since. Nothing can be done
        // about an error.
        unsafe { libc::syscall(call, first as u32, last as u32, 0) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_closed_is_closed_and_nothing_else() {
        let pairs: Vec<(OwnedFd, OwnedFd)> =
            (0..5).map(|_| crate::sys::unix::pair().unwrap()).collect();
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
}
