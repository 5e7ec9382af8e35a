//! pidfd_open(2), waitid(2): processes and their ends; and what this one was
//! started with.
//!
//! A child is held by a *pidfd*: it is readable once the process has ended,
//! and it can never name another process that got the same number later. Its
//! process group has only a number. That is safe to use until the child has
//! been waited for: a zombie keeps it.

use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use super::{Error, Result, poll, syscall};

/// The first descriptor that a spawned program inherits on purpose; 0, 1 and
/// 2 lie below.
pub(crate) const FIRST_DESCRIPTOR: RawFd = 3;

/// A child process.
#[derive(Debug)]
pub(crate) struct Child {
    pid: i32,
    pidfd: OwnedFd,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It exited with this status.
    Code(i32),
    /// This signal killed it.
    Signal(i32),
}

impl Ended {
    /// It did not catch a SIGTERM, or caught it and sent it to itself anew.
    pub(crate) fn is_of_sigterm(self) -> bool {
        self == Ended::Signal(libc::SIGTERM)
    }
}

/// A descriptor for any process; readable once that has ended.
pub(crate) fn open(pid: i32) -> Result<OwnedFd> {
    // SAFETY: no pointers are involved.
    let pidfd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    if pidfd < 0 {
        return Err(Error::last("pidfd_open"));
    }
    // SAFETY: the descriptor is new, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(pidfd as RawFd) })
}

impl Child {
    /// The process that fork(2) has just made. Without a pidfd it is ended.
    pub(super) fn of(pid: i32) -> Result<Child> {
        open(pid).map(|pidfd| Child { pid, pidfd }).inspect_err(|_| {
            // SAFETY: `pid` is our child and has not been waited for.
            unsafe { libc::kill(pid, libc::SIGKILL) };
            // What it can be held up by so early obeys this signal.
            // SAFETY: a null pointer asks for no status.
            unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) };
        })
    }

    pub(crate) fn pid(&self) -> i32 {
        self.pid
    }

    /// Asks the process to end (`SIGTERM`).
    pub(crate) fn terminate(&self) {
        self.signal(libc::SIGTERM);
    }

    /// Ends the process and everything in its group (`SIGKILL`).
    pub(crate) fn kill(&self) {
        self.signal_group(libc::SIGKILL);
        self.signal(libc::SIGKILL);
    }

    /// Asks everything in its group to end (`SIGTERM`).
    pub(crate) fn terminate_group(&self) {
        self.signal_group(libc::SIGTERM);
    }

    /// A descriptor for a process of its group that lives and is another;
    /// readable once that has ended. `None`: there is none, or none that
    /// /proc shows. One with a session of its own is in no group of ours
    /// (setsid(2)).
    ///
    /// This asks about every process of the machine: one system call each.
    pub(crate) fn kin(&self) -> Option<OwnedFd> {
        let entries = fs::read_dir("/proc").ok()?.flatten();
        let pids =
            entries.filter_map(|e| e.file_name().to_str()?.parse().ok());
        let mut others = pids.filter(|&pid| pid != self.pid);
        others.find_map(|pid| {
            let is_kin = || self.is_group_of(pid);
            let found = is_kin().then(|| open(pid).ok()).flatten()?;
            // The number may have got another process meanwhile; and a
            // zombie stays in its group until its parent looks at it.
            (is_kin() && !poll::any_readable([found.as_fd()].into_iter()))
                .then_some(found)
        })
    }

    fn is_group_of(&self, pid: i32) -> bool {
        // SAFETY: no pointers are involved.
        unsafe { libc::getpgid(pid) == self.pid }
    }

    /// May be called only before the process is waited for.
    fn signal_group(&self, number: i32) {
        // SAFETY: no pointers are involved.
        unsafe { libc::kill(-self.pid, number) };
    }

    /// A process that has ended already is no error: it is what was wanted.
    fn signal(&self, number: i32) {
        let (fd, info) = (self.pidfd.as_raw_fd(), std::ptr::null::<u8>());
        let call = libc::SYS_pidfd_send_signal;
        // SAFETY: a null pointer stands for the info that kill(2) would send.
        let sent = unsafe { libc::syscall(call, fd, number, info, 0) };
        if sent < 0 && Error::last("kill").errno() != libc::ESRCH {
            // A filter may refuse that call and not kill(2). The number is
            // still the process's own: nobody has waited for it.
            // SAFETY: no pointers are involved.
            unsafe { libc::kill(self.pid, number) };
        }
    }

    /// How the process ended, if it has. It stays a zombie.
    pub(crate) fn ended(&self) -> Result<Option<Ended>> {
        self.waitid(libc::WNOHANG | libc::WNOWAIT)
    }

    /// The same, and the end of it: whatever it has left in its group is
    /// killed, and its number may be another's. This may not be called again
    /// after.
    pub(crate) fn reap(&self) -> Result<Option<Ended>> {
        if self.ended()?.is_none() {
            return Ok(None);
        }
        self.signal_group(libc::SIGKILL);
        self.waitid(libc::WNOHANG)
    }

    /// The same, waited for for so long: a process that is ending gets there
    /// at once, or is held up by a file system that does not answer.
    pub(crate) fn wait_for(
        &self,
        patience: Duration,
    ) -> Result<Option<Ended>> {
        match poll::is_readable_within(self.as_fd(), patience)? {
            true => self.reap(),
            false => Ok(None),
        }
    }

    /// Waits for the end of a process that is known to be ending.
    pub(crate) fn wait(&self) -> Result<Option<Ended>> {
        self.waitid(0)
    }

    /// Whether a signal has stopped the process, and none has woken it. One
    /// that a debugger holds is not stopped in this sense.
    pub(crate) fn is_stopped(&self) -> Result<bool> {
        let flags = libc::WSTOPPED | libc::WNOHANG | libc::WNOWAIT;
        let info = wait_for(libc::P_PIDFD, self.id(), flags)?;
        Ok(info.is_some_and(|info| info.si_code == libc::CLD_STOPPED))
    }

    fn id(&self) -> libc::id_t {
        self.pidfd.as_raw_fd() as libc::id_t
    }

    fn waitid(&self, flags: i32) -> Result<Option<Ended>> {
        Ok(wait_for(libc::P_PIDFD, self.id(), flags)?.map(|info| {
            // SAFETY: waitid(2) has filled it in.
            let status = unsafe { info.si_status() };
            match info.si_code {
                libc::CLD_EXITED => Ended::Code(status),
                _ => Ended::Signal(status),
            }
        }))
    }
}

impl AsFd for Child {
    /// Readable once the process has ended.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

/// Has the kernel keep children that have ended until they are waited for.
///
/// Whoever started this process may have ignored `SIGCHLD`, which outlives
/// exec. Children would then vanish as they end, and how they ended with them
/// (waitid(2), under `ECHILD`).
pub(crate) fn keep_ended_children() {
    // SAFETY: the default disposition runs no code of ours.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
}

/// Whether this process inherits the children of those that die before them:
/// it is the first of its PID namespace, or a subreaper (prctl(2)).
pub(crate) fn is_reaper() -> bool {
    let mut subreaper: libc::c_int = 0;
    let command = libc::PR_GET_CHILD_SUBREAPER;
    // SAFETY: `subreaper` is writable; the call cannot fail.
    unsafe { libc::prctl(command, &mut subreaper) };
    std::process::id() == 1 || subreaper != 0
}

/// The pid of a child that has ended, whoever started it; it stays to be
/// waited for.
pub(crate) fn ended_child() -> Result<Option<i32>> {
    let flags = libc::WNOHANG | libc::WNOWAIT;
    match wait_for(libc::P_ALL, 0, flags) {
        // SAFETY: waitid(2) has filled it in.
        Ok(info) => Ok(info.map(|info| unsafe { info.si_pid() })),
        // There are no children.
        Err(error) if error.errno() == libc::ECHILD => Ok(None),
        Err(error) => Err(error),
    }
}

/// Waits for a child that has ended and that no [`Child`] stands for.
pub(crate) fn forget_child(pid: i32) -> Result<()> {
    wait_for(libc::P_PID, pid as libc::id_t, libc::WNOHANG).map(drop)
}

/// waitid(2). `None`: none of those has ended, or done what `flags` ask for.
fn wait_for(
    kind: libc::idtype_t,
    id: libc::id_t,
    flags: i32,
) -> Result<Option<libc::siginfo_t>> {
    // SAFETY: `siginfo_t` is plain data; all zeroes is a value of it.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let flags = libc::WEXITED | flags;
    // SAFETY: `info` is writable and lives through the call.
    unsafe { syscall!(waitid(kind, id, &mut info, flags)) }?;
    // SAFETY: waitid(2) fills this member in, or leaves all zero.
    let pid = unsafe { info.si_pid() };
    Ok((pid != 0).then_some(info))
}

/// Takes over a descriptor that this process was started with.
///
/// `None` if there is no such descriptor. It becomes close-on-exec, so that
/// the caller's own children do not get it as well.
pub(crate) fn inherited(number: RawFd) -> Option<OwnedFd> {
    if number < FIRST_DESCRIPTOR {
        return None;
    }
    // SAFETY: no pointers are involved.
    let set = unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
    if set < 0 {
        return None;
    }
    // SAFETY: the descriptor is open, and the contract of the environment
    // variable that named it gives it to whoever asks for it first; each is
    // asked for once, at the start of a worker.
    Some(unsafe { OwnedFd::from_raw_fd(number) })
}

/// A copy of a descriptor that this process was started with, by number: it
/// may be a socket that somebody else opened. Those that it has opened itself
/// are nobody else's to name; they, and no others, are close-on-exec.
pub(crate) fn duplicate(number: RawFd) -> Result<OwnedFd> {
    // SAFETY: no pointers are involved.
    let flags = unsafe { syscall!(fcntl(number, libc::F_GETFD)) }?;
    if flags & libc::FD_CLOEXEC != 0 {
        return Err(Error { call: "fcntl", errno: libc::EBADF });
    }
    let (command, least) = (libc::F_DUPFD_CLOEXEC, FIRST_DESCRIPTOR);
    // SAFETY: no pointers are involved.
    let copy = unsafe { syscall!(fcntl(number, command, least)) }?;
    // SAFETY: the descriptor is new, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

/// Takes a variable out of this process's environment.
///
/// # Panics
/// In a process with other threads: one of them might be reading it.
pub(crate) fn remove_variable(name: &str) {
    assert_eq!(threads(), 1, "the environment is changed with one thread");
    // SAFETY: there is no other thread that could read or write it.
    unsafe { std::env::remove_var(name) };
}

/// Names this process for ps(1) and top(1); the kernel keeps 15 bytes of it
/// (`PR_SET_NAME`). What it was started with stays to be seen.
pub(crate) fn set_name(name: &str) {
    let name: Vec<u8> = name.bytes().chain([0]).collect();
    // SAFETY: a C string that lives through the call, which cannot fail.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
}

/// How many threads this process has; 1 if that cannot be known.
pub(crate) fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(1, Iterator::count)
}
