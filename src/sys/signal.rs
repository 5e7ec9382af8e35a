//! signalfd(2): signals as input, read in the same loop as everything else.
//!
//! No handler runs anywhere, so nothing is ever interrupted half-way.

use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::{Result, syscall, unless_blocked};

/// The signals that mean something here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    HangUp,
    Interrupt,
    Quit,
    Terminate,
    User1,
    User2,
    WindowChange,
    /// A child has ended; only where it was asked for.
    Child,
}

impl Signal {
    const ALL: [Signal; 8] = [
        Signal::HangUp,
        Signal::Interrupt,
        Signal::Quit,
        Signal::Terminate,
        Signal::User1,
        Signal::User2,
        Signal::WindowChange,
        Signal::Child,
    ];

    fn number(self) -> i32 {
        match self {
            Signal::HangUp => libc::SIGHUP,
            Signal::Interrupt => libc::SIGINT,
            Signal::Quit => libc::SIGQUIT,
            Signal::Terminate => libc::SIGTERM,
            Signal::User1 => libc::SIGUSR1,
            Signal::User2 => libc::SIGUSR2,
            Signal::WindowChange => libc::SIGWINCH,
            Signal::Child => libc::SIGCHLD,
        }
    }

    /// As kill(1) and signal(7) name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Signal::HangUp => "SIGHUP",
            Signal::Interrupt => "SIGINT",
            Signal::Quit => "SIGQUIT",
            Signal::Terminate => "SIGTERM",
            Signal::User1 => "SIGUSR1",
            Signal::User2 => "SIGUSR2",
            Signal::WindowChange => "SIGWINCH",
            Signal::Child => "SIGCHLD",
        }
    }
}

/// The conventional name of a signal's number, as in `SIGSEGV`.
pub(crate) fn name_of(number: i32) -> String {
    let name = match number {
        libc::SIGHUP => "SIGHUP",
        libc::SIGINT => "SIGINT",
        libc::SIGQUIT => "SIGQUIT",
        libc::SIGILL => "SIGILL",
        libc::SIGTRAP => "SIGTRAP",
        libc::SIGABRT => "SIGABRT",
        libc::SIGBUS => "SIGBUS",
        libc::SIGFPE => "SIGFPE",
        libc::SIGKILL => "SIGKILL",
        libc::SIGUSR1 => "SIGUSR1",
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGUSR2 => "SIGUSR2",
        libc::SIGPIPE => "SIGPIPE",
        libc::SIGALRM => "SIGALRM",
        libc::SIGTERM => "SIGTERM",
        libc::SIGXCPU => "SIGXCPU",
        libc::SIGXFSZ => "SIGXFSZ",
        libc::SIGSYS => "SIGSYS",
        _ => return format!("signal {number}"),
    };
    name.to_owned()
}

/// Whether it is a process's own doing that this signal ended it.
pub(crate) fn is_own_fault(number: i32) -> bool {
    [libc::SIGILL, libc::SIGTRAP, libc::SIGABRT, libc::SIGFPE, libc::SIGSYS]
        .contains(&number)
        || is_memory_fault(number)
}

/// Whether it was an access to memory that ended it.
pub(crate) fn is_memory_fault(number: i32) -> bool {
    [libc::SIGSEGV, libc::SIGBUS].contains(&number)
}

/// A queue of the signals that this process is sent.
#[derive(Debug)]
pub(crate) struct SignalFd {
    fd: OwnedFd,
}

impl SignalFd {
    /// Blocks all of [`Signal`] but the last in this thread, and those it
    /// starts, for good; from now on they are read here. A spawned program
    /// gets an empty mask back (`spawn`).
    pub(crate) fn new() -> Result<SignalFd> {
        SignalFd::of(|signal| signal != Signal::Child)
    }

    /// The same with [`Signal::Child`].
    pub(crate) fn with_deaths() -> Result<SignalFd> {
        SignalFd::of(|_| true)
    }

    fn of(wanted: impl Fn(Signal) -> bool) -> Result<SignalFd> {
        // SAFETY: `sigset_t` is plain data; all zeroes is a value of it.
        let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
        // SAFETY: `set` is writable.
        unsafe { libc::sigemptyset(&mut set) };
        for signal in Signal::ALL.into_iter().filter(|s| wanted(*s)) {
            // SAFETY: `set` is writable, the number a signal's.
            unsafe { libc::sigaddset(&mut set, signal.number()) };
        }
        let old = std::ptr::null_mut();
        // SAFETY: `set` is readable; a null pointer asks for nothing back.
        unsafe { syscall!(sigprocmask(libc::SIG_BLOCK, &set, old)) }?;
        let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
        // SAFETY: `set` is readable and lives through the call.
        let fd = unsafe { syscall!(signalfd(-1, &set, flags)) }?;
        // SAFETY: the descriptor is new, so nobody else owns it.
        Ok(SignalFd { fd: unsafe { OwnedFd::from_raw_fd(fd) } })
    }

    /// The next signal, if one is waiting. Equal ones that came close to each
    /// other are one: signal(7).
    pub(crate) fn read(&self) -> Result<Option<Signal>> {
        const SIZE: usize = size_of::<libc::signalfd_siginfo>();
        let mut info = [0u8; SIZE];
        let (fd, to) = (self.fd.as_raw_fd(), info.as_mut_ptr());
        // SAFETY: `to` is writable for `SIZE` bytes.
        let result = unsafe { syscall!(read(fd, to.cast(), SIZE)) };
        if unless_blocked(result)?.is_none() {
            return Ok(None);
        }
        // `ssi_signo`, the first member, is a u32.
        let number = i32::from_ne_bytes([info[0], info[1], info[2], info[3]]);
        Ok(Signal::ALL.into_iter().find(|signal| signal.number() == number))
    }
}

impl AsFd for SignalFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
