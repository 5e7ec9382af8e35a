//! epoll(7): one set of descriptors, one place to wait.
//!
//! Level-triggered throughout: what was not dealt with is reported again, so
//! a turn of the loop may stop early. A registration belongs to the open file
//! *description*: closing a descriptor of which another process holds a copy
//! does not end it, hence [`Epoll::remove`] before every such close.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

use super::{Result, syscall};

/// What to be told of. Hang-ups and errors are always reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interest {
    /// Only hang-ups and errors.
    Nothing,
    Read,
    Write,
    ReadWrite,
}

impl Interest {
    fn bits(self) -> u32 {
        (match self {
            Interest::Nothing => 0,
            Interest::Read => libc::EPOLLIN,
            Interest::Write => libc::EPOLLOUT,
            Interest::ReadWrite => libc::EPOLLIN | libc::EPOLLOUT,
        }) as u32
    }
}

/// What happened to the descriptor registered with `data`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event {
    pub(crate) data: u64,
    flags: u32,
}

impl Event {
    /// There is input, or its end.
    pub(crate) fn is_readable(self) -> bool {
        self.flags & libc::EPOLLIN as u32 != 0
    }

    pub(crate) fn is_writable(self) -> bool {
        self.flags & libc::EPOLLOUT as u32 != 0
    }

    /// Both directions are over (`EPOLLHUP`) or the socket failed
    /// (`EPOLLERR`). A half-close is neither.
    pub(crate) fn is_gone(self) -> bool {
        self.flags & (libc::EPOLLHUP | libc::EPOLLERR) as u32 != 0
    }
}

/// Room for the events of one wait.
pub(crate) struct Events {
    list: Vec<libc::epoll_event>,
}

impl Events {
    pub(crate) fn with_capacity(capacity: usize) -> Events {
        Events { list: Vec::with_capacity(capacity) }
    }

    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    /// By index, so that the loop may borrow itself between two events.
    pub(crate) fn get(&self, index: usize) -> Event {
        let event = self.list[index];
        Event { data: event.u64, flags: event.events }
    }
}

/// An epoll set.
#[derive(Debug)]
pub(crate) struct Epoll {
    fd: OwnedFd,
}

impl Epoll {
    pub(crate) fn new() -> Result<Epoll> {
        // SAFETY: no pointers are involved.
        let fd = unsafe { syscall!(epoll_create1(libc::EPOLL_CLOEXEC)) }?;
        // SAFETY: the descriptor is new, so nobody else owns it.
        Ok(Epoll { fd: unsafe { OwnedFd::from_raw_fd(fd) } })
    }

    pub(crate) fn add(
        &self,
        fd: BorrowedFd<'_>,
        interest: Interest,
        data: u64,
    ) -> Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, interest, data)
    }

    pub(crate) fn modify(
        &self,
        fd: BorrowedFd<'_>,
        interest: Interest,
        data: u64,
    ) -> Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd, interest, data)
    }

    pub(crate) fn remove(&self, fd: BorrowedFd<'_>) -> Result<()> {
        self.control(libc::EPOLL_CTL_DEL, fd, Interest::Nothing, 0)
    }

    fn control(
        &self,
        operation: i32,
        fd: BorrowedFd<'_>,
        interest: Interest,
        data: u64,
    ) -> Result<()> {
        let mut event =
            libc::epoll_event { events: interest.bits(), u64: data };
        let (epoll, fd) = (self.fd.as_raw_fd(), fd.as_raw_fd());
        // SAFETY: `event` lives through the call, which only reads it.
        unsafe { syscall!(epoll_ctl(epoll, operation, fd, &mut event)) }?;
        Ok(())
    }

    /// Waits for events, at most `timeout` (`None`: for ever). A signal or
    /// the timeout leave `events` empty. The timeout is rounded *up* to the
    /// millisecond: waking early would find nothing due and spin.
    pub(crate) fn wait(
        &self,
        events: &mut Events,
        timeout: Option<Duration>,
    ) -> Result<()> {
        let milliseconds = timeout.map_or(-1, |timeout| {
            let rounded = timeout.as_nanos().div_ceil(1_000_000);
            i32::try_from(rounded).unwrap_or(i32::MAX)
        });
        events.list.clear();
        let room = events.list.capacity().min(i32::MAX as usize) as i32;
        let list = events.list.as_mut_ptr();
        let epoll = self.fd.as_raw_fd();
        // SAFETY: `list` has room for `room` events.
        let count =
            unsafe { libc::epoll_wait(epoll, list, room, milliseconds) };
        if count < 0 {
            let error = super::Error::last("epoll_wait");
            return if error.errno() == libc::EINTR {
                Ok(())
            } else {
                Err(error)
            };
        }
        // SAFETY: the kernel has written the first `count` events.
        unsafe { events.list.set_len(count as usize) };
        Ok(())
    }
}

impl AsFd for Epoll {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::unix;

    #[test]
    fn an_event_carries_the_data_of_its_registration() {
        let epoll = Epoll::new().unwrap();
        let mut events = Events::with_capacity(4);
        let (a, b) = unix::pair().unwrap();
        epoll.add(a.as_fd(), Interest::Read, u64::MAX - 7).unwrap();
        epoll.wait(&mut events, Some(Duration::ZERO)).unwrap();
        assert_eq!(events.len(), 0);
        crate::sys::socket::send(b.as_fd(), b"x").unwrap();
        epoll.wait(&mut events, None).unwrap();
        assert_eq!(events.len(), 1);
        assert_eq!(events.get(0).data, u64::MAX - 7);
        assert!(events.get(0).is_readable());
        assert!(!events.get(0).is_writable());
    }

    #[test]
    fn interest_in_nothing_still_hears_of_the_end() {
        let epoll = Epoll::new().unwrap();
        let mut events = Events::with_capacity(4);
        let (a, b) = unix::pair().unwrap();
        epoll.add(a.as_fd(), Interest::Nothing, 1).unwrap();
        drop(b);
        epoll.wait(&mut events, Some(Duration::from_secs(5))).unwrap();
        assert_eq!(events.len(), 1);
        assert!(events.get(0).is_gone());
    }

    #[test]
    fn a_wait_never_ends_before_its_timeout() {
        let epoll = Epoll::new().unwrap();
        let mut events = Events::with_capacity(1);
        let timeout = Duration::from_micros(1_300);
        let start = std::time::Instant::now();
        epoll.wait(&mut events, Some(timeout)).unwrap();
        assert!(start.elapsed() >= timeout);
    }
}
