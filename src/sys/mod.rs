//! The fence: every system call of the project, and all its `unsafe`.
//!
//! One file wraps one kernel object. What goes in and out is safe: owned and
//! borrowed descriptors, slices, values. Nothing in here decides anything.
//!
//! ```text
//!   epoll    what is ready            socket   listen, accept, recv, send
//!   unix     pairs, SCM_RIGHTS        signal   mask, signalfd
//!   spawn    fork, exec               memory   a sealed, shared region
//!   event    eventfd                  limit    RLIMIT_NOFILE
//!   process  pidfd, waitid            clock    since boot
//!   poll     one descriptor, no loop  user     getpwnam, getgrnam
//!   stderr   that cannot block         close    many at once
//!   tcp      options, what was counted
//!   lock     taking turns            interface  their numbers
//! ```
//!
//! Three manners hold throughout. A descriptor is close-on-exec from its
//! first instant. "It would block" is a value (`None`), not an error. `EINTR`
//! never leaves this folder.

#![allow(unsafe_code)]

use std::fmt;
use std::io;

pub(crate) mod clock;
pub(crate) mod close;
pub(crate) mod epoll;
pub(crate) mod event;
pub(crate) mod interface;
pub(crate) mod limit;
pub(crate) mod lock;
pub(crate) mod memory;
pub(crate) mod poll;
pub(crate) mod process;
#[cfg(test)]
pub(crate) mod rehearsal;
pub(crate) mod signal;
pub(crate) mod socket;
pub(crate) mod spawn;
pub(crate) mod stderr;
pub(crate) mod tcp;
pub(crate) mod unix;
pub(crate) mod user;

/// A system call that failed: which one, and `errno`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Error {
    call: &'static str,
    errno: i32,
}

pub(crate) type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An argument that makes no sense, found before the system saw it.
    pub(crate) const INVALID: Error =
        Error { call: "argument", errno: libc::EINVAL };

    /// No address that could be meant is one of this machine.
    pub(crate) const NO_ADDRESS: Error =
        Error { call: "argument", errno: libc::EADDRNOTAVAIL };

    /// More than this process may have open, found before the system was
    /// asked.
    pub(crate) const TOO_MANY_OPEN: Error =
        Error { call: "argument", errno: libc::EMFILE };

    /// What a worker is told of a listen that failed: the number alone.
    pub(crate) fn of_listen(errno: i32) -> Error {
        Error { call: "listen", errno }
    }
    /// Somebody has that address.
    pub(crate) const IN_USE: Error =
        Error { call: "argument", errno: libc::EADDRINUSE };

    /// What `call` has just left in `errno`.
    fn last(call: &'static str) -> Error {
        let errno = io::Error::last_os_error().raw_os_error().unwrap_or(0);
        Error { call, errno }
    }

    pub(crate) fn errno(self) -> i32 {
        self.errno
    }

    /// Whether it is that call that failed.
    pub(crate) fn is_of(self, call: &str) -> bool {
        self.call == call
    }

    /// The system can take no more just now: too many descriptors of this
    /// user are on their way (unix(7) counts those that were sent and not yet
    /// received against `RLIMIT_NOFILE`), or memory is short.
    pub(crate) fn is_congestion(self) -> bool {
        matches!(self.errno, libc::ETOOMANYREFS | libc::ENOBUFS | libc::ENOMEM)
    }

    pub(crate) fn is_address_in_use(self) -> bool {
        self.errno == libc::EADDRINUSE
    }

    /// It was a listening socket, and somebody who has it too has shut it
    /// down (shutdown(2)): accept(2) calls that an invalid argument.
    pub(crate) fn is_shut_down(self) -> bool {
        self.errno == libc::EINVAL
    }

    /// The machine has no such address, or not its whole family.
    pub(crate) fn is_address_missing(self) -> bool {
        matches!(self.errno, libc::EADDRNOTAVAIL | libc::EAFNOSUPPORT)
    }

    /// Another name, or another file of that name, would have done: those of
    /// execve(2) that do not speak of the system.
    pub(crate) fn is_of_name(self) -> bool {
        let kinds = [
            libc::ENOENT,
            libc::ENOTDIR,
            libc::EACCES,
            libc::ENOEXEC,
            libc::EISDIR,
            libc::ELOOP,
            libc::ENAMETOOLONG,
            libc::ELIBBAD,
        ];
        kinds.contains(&self.errno)
    }

    /// Sockets of this protocol, or this kernel, have no such option.
    pub(crate) fn is_unsupported(self) -> bool {
        matches!(self.errno, libc::EOPNOTSUPP | libc::ENOPROTOOPT)
    }

    /// The peer closed, or died with something unread.
    pub(crate) fn is_peer_gone(self) -> bool {
        matches!(self.errno, libc::ECONNRESET | libc::EPIPE)
    }

    pub(crate) fn is_permission_denied(self) -> bool {
        matches!(self.errno, libc::EACCES | libc::EPERM | libc::EROFS)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = io::Error::from_raw_os_error(self.errno).to_string();
        let words = text.split(" (os error").next().unwrap_or(&text);
        write!(f, "{}: {words}", self.call)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} ({})", self.errno)
    }
}

impl std::error::Error for Error {}

impl From<Error> for io::Error {
    fn from(error: Error) -> io::Error {
        io::Error::from_raw_os_error(error.errno)
    }
}

/// Calls `libc::$name` until it is not interrupted; a negative result is an
/// [`Error`] that carries the call's name. The caller vouches for `unsafe`.
macro_rules! syscall {
    ($name:ident ( $($argument:expr),* $(,)? )) => {
        loop {
            let result = libc::$name($($argument),*);
            if result >= 0 {
                break Ok(result);
            }
            let error = $crate::sys::Error::last(stringify!($name));
            if error.errno() != libc::EINTR {
                break Err(error);
            }
        }
    };
}
pub(crate) use syscall;

/// Turns "would block" into a value.
fn unless_blocked<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.errno == libc::EAGAIN => Ok(None),
        Err(error) => Err(error),
    }
}
