//! fork(2), execve(2): how a program is started.
//!
//! ```text
//!   parent                     child
//!   fork ─────────────────────▶ prepare, without an allocation or a lock
//!   read the pipe ◀── a failure: which step, errno ──┤
//!        ◀── its end: executed ────────────────────── exec
//! ```
//!
//! On its way the child asks file systems, of which one may be dead: the
//! parent reads the pipe for a while only, and leaves the child to itself.

mod failure;

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use self::failure::{Failure, Step, check, last_errno};
use super::process::{Child, FIRST_DESCRIPTOR};
use super::user::Credentials;
use super::{Result, close, poll, stderr, syscall};

/// What to execute.
#[derive(Debug)]
pub(crate) struct Program {
    /// Where the program may be: the first that can be executed is taken.
    pub(crate) candidates: Vec<CString>,
    pub(crate) arguments: Vec<CString>,
    /// `NAME=value`, all of it: nothing else is inherited.
    pub(crate) environment: Vec<CString>,
    /// The working directory by name, looked up anew at each start.
    pub(crate) directory: Option<CString>,
    pub(crate) bond: Bond,
    /// Who a worker is to be; `None`: who we are.
    pub(crate) user: Option<Credentials>,
}

/// What ties a program to the process that starts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bond {
    /// It is a part of us: it has a process group of its own, so that Ctrl-C
    /// is ours alone, and it dies by `SIGKILL` when we die. It gains no
    /// privileges by exec.
    Worker,
    /// The same, but it is somebody else's program, which may need what exec
    /// gives: sudo, sendmail, a browser's sandbox. Only where it is to be
    /// another user, that is not to be undone.
    Guest,
    /// It is to outlive us, in our place.
    Successor,
}

/// How far a child has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begun {
    /// It is the program.
    Executed,
    /// It is on its way still, or fails and does not get to its end. What
    /// becomes of it shows by its end: status 127 if it cannot execute the
    /// program after all.
    Late,
}

/// Starts `program` with `descriptors` as its numbers 3, 4, … and nothing
/// else above 2. Returns when the program has been executed, or with what
/// failed on the way there, or when each of the two steps, the failure and
/// the child's end behind it, has taken `patience`.
///
/// Only for a process with one thread: between fork and exec the child may
/// otherwise meet a lock that nobody will ever open.
///
/// The child has default signal dispositions and an empty mask, its standard
/// input is `/dev/null`, and the rest is as its [`Bond`] says.
pub(crate) fn spawn(
    program: &Program,
    descriptors: &[BorrowedFd<'_>],
    patience: Duration,
) -> Result<(Child, Begun)> {
    let candidates = pointers(&program.candidates);
    let arguments = pointers(&program.arguments);
    let environment = pointers(&program.environment);
    // Out of the way of the numbers that the child will fill.
    let above = FIRST_DESCRIPTOR + descriptors.len() as RawFd;
    let (report, reporter) = pipe()?;
    let reporter = duplicate(reporter, above)?;
    let strays = match close::ask() {
        Ok(()) => None,
        Err(refused) => Some(close::open_from(above, refused)?),
    };
    let descriptors: Vec<RawFd> =
        descriptors.iter().map(AsRawFd::as_raw_fd).collect();
    let start = Start {
        candidates: &candidates,
        arguments: &arguments,
        environment: &environment,
        directory: program.directory.as_deref(),
        descriptors: &descriptors,
        strays: strays.as_deref(),
        bond: program.bond,
        user: program.user.as_ref(),
        errors: stderr::original(),
        parent: std::process::id() as i32,
        spare: Vec::with_capacity(descriptors.len()),
    };
    // SAFETY: the child goes straight into `become_program`, which allocates
    // nothing, takes no lock and never returns.
    let pid = unsafe { syscall!(fork()) }?;
    if pid == 0 {
        let failure = start.become_program();
        failure.report_and_exit(reporter.as_raw_fd());
    }
    drop(reporter);
    let child = Child::of(pid)?;
    if !poll::is_readable_within(report.as_fd(), patience)? {
        return Ok((child, Begun::Late));
    }
    match Failure::read(&report)? {
        None => Ok((child, Begun::Executed)),
        // To close its files may take as long as to open one.
        Some(failure) => match child.wait_for(patience)? {
            Some(_) => Err(failure.into_error()),
            None => Ok((child, Begun::Late)),
        },
    }
}

/// A C array of C strings, ended by a null pointer.
fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    let end = std::iter::once(std::ptr::null());
    strings.iter().map(|string| string.as_ptr()).chain(end).collect()
}

/// All that the child needs, made before it exists.
struct Start<'a> {
    candidates: &'a [*const libc::c_char],
    arguments: &'a [*const libc::c_char],
    environment: &'a [*const libc::c_char],
    directory: Option<&'a CStr>,
    descriptors: &'a [RawFd],
    /// What else is open, where it cannot be closed in one call.
    strays: Option<&'a [RawFd]>,
    bond: Bond,
    user: Option<&'a Credentials>,
    errors: Option<RawFd>,
    parent: i32,
    /// Room for as many numbers as `descriptors` has.
    spare: Vec<RawFd>,
}

impl Start<'_> {
    /// Runs in the child. Returns only on failure: a successful exec closes
    /// the reporter, which is how the parent hears of it.
    fn become_program(mut self) -> Failure {
        match self.prepare() {
            Err(failure) => failure,
            Ok(()) => self.execute(),
        }
    }

    fn prepare(&mut self) -> std::result::Result<(), Failure> {
        if self.bond != Bond::Successor {
            // SAFETY: here and below, plain system calls on numbers and on C
            // strings that live as long as `self`.
            check(Step::ProcessGroup, unsafe { libc::setpgid(0, 0) })?;
        }
        reset_signals();
        let null = c"/dev/null".as_ptr();
        // SAFETY: as above.
        let null = unsafe { libc::open(null, libc::O_RDONLY) };
        check(Step::Input, null)?;
        if null != 0 {
            // SAFETY: as above.
            check(Step::Input, unsafe { libc::dup2(null, 0) })?;
            // SAFETY: as above.
            unsafe { libc::close(null) };
        }
        if let Some(errors) = self.errors {
            // SAFETY: as above.
            check(Step::Errors, unsafe { libc::dup2(errors, 2) })?;
        }
        // In two moves, since a source may have another's target number.
        let above = FIRST_DESCRIPTOR + self.descriptors.len() as RawFd;
        for &descriptor in self.descriptors {
            let command = libc::F_DUPFD_CLOEXEC;
            // SAFETY: as above.
            let copy = unsafe { libc::fcntl(descriptor, command, above) };
            check(Step::Copy, copy)?;
            self.spare.push(copy);
        }
        for (number, &copy) in (FIRST_DESCRIPTOR..).zip(&self.spare) {
            // SAFETY: as above.
            let copied = unsafe { libc::dup2(copy, number) };
            check(Step::Descriptors, copied)?;
        }
        self.leave_the_rest(above)?;
        if self.bond != Bond::Successor {
            // Also where it is held up from here on.
            self.die_with_parent()?;
        }
        if let Some(directory) = self.directory {
            // A name that leads nowhere now (a release being swapped) leaves
            // us where our parent is.
            // SAFETY: as above.
            unsafe { libc::chdir(directory.as_ptr()) };
        }
        match self.bond {
            Bond::Worker => {
                self.become_user()?;
                self.die_with_parent()?;
                gain_no_privileges()
            }
            Bond::Guest => {
                self.become_user()?;
                self.die_with_parent()?;
                match self.user {
                    Some(_) => gain_no_privileges(),
                    None => Ok(()),
                }
            }
            Bond::Successor => Ok(()),
        }
    }

    /// Has exec close whatever is open from this number on.
    fn leave_the_rest(
        &self,
        above: RawFd,
    ) -> std::result::Result<(), Failure> {
        let Some(strays) = self.strays else {
            let call = libc::SYS_close_range;
            let (from, flags) = (above as u32, libc::CLOSE_RANGE_CLOEXEC);
            // SAFETY: no pointers are involved.
            let closed = unsafe { libc::syscall(call, from, u32::MAX, flags) };
            return check(Step::Rest, closed as i32);
        };
        for &stray in strays {
            // SAFETY: as above. One that was closed meanwhile is no error.
            unsafe { libc::fcntl(stray, libc::F_SETFD, libc::FD_CLOEXEC) };
        }
        Ok(())
    }

    /// In this order: after any of these we may no longer do those before.
    fn become_user(&self) -> std::result::Result<(), Failure> {
        let Some(Credentials { user, group, groups }) = self.user else {
            return Ok(());
        };
        let (count, list) = (groups.len(), groups.as_ptr());
        // SAFETY: `list` is readable for `count` numbers.
        check(Step::Groups, unsafe { libc::setgroups(count, list) })?;
        // SAFETY: no pointers are involved.
        check(Step::PrimaryGroup, unsafe { libc::setgid(*group) })?;
        // SAFETY: no pointers are involved.
        check(Step::User, unsafe { libc::setuid(*user) })
    }

    /// setuid(2) would clear this, so it comes after (prctl(2)).
    fn die_with_parent(&self) -> std::result::Result<(), Failure> {
        let signal = libc::SIGKILL;
        // SAFETY: as above.
        let set = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal) };
        check(Step::ParentDeath, set)?;
        // It may have died before that.
        // SAFETY: as above.
        if unsafe { libc::getppid() } != self.parent {
            // SAFETY: as above.
            unsafe { libc::_exit(0) };
        }
        Ok(())
    }

    /// execve(2) on one candidate after the other. As in execvp(3), one that
    /// exists and may not be executed outweighs those that do not exist.
    fn execute(&self) -> Failure {
        let mut errno = libc::ENOENT;
        for &candidate in self.candidates {
            if candidate.is_null() {
                break;
            }
            let arguments = self.arguments.as_ptr();
            let environment = self.environment.as_ptr();
            // SAFETY: a C string and two null-terminated arrays of such.
            unsafe { libc::execve(candidate, arguments, environment) };
            match last_errno() {
                libc::ENOENT | libc::ENOTDIR => {}
                libc::EACCES => errno = libc::EACCES,
                other => {
                    return Failure { step: Step::Execute, errno: other };
                }
            }
        }
        Failure { step: Step::Execute, errno }
    }
}

/// Every disposition the default, nothing blocked: what a program expects,
/// and what neither fork nor exec restores by itself (signal(7)).
fn reset_signals() {
    for number in 1..=64 {
        // SAFETY: the default disposition runs no code of ours; the numbers
        // that cannot be set are refused with an error.
        unsafe { libc::signal(number, libc::SIG_DFL) };
    }
    // SAFETY: `sigset_t` is plain data; all zeroes is the empty set.
    let empty: libc::sigset_t = unsafe { std::mem::zeroed() };
    let old = std::ptr::null_mut();
    // SAFETY: `empty` is readable; a null pointer asks for nothing back.
    unsafe { libc::sigprocmask(libc::SIG_SETMASK, &empty, old) };
}

fn gain_no_privileges() -> std::result::Result<(), Failure> {
    // SAFETY: no pointers are involved.
    let set = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    check(Step::NoNewPrivileges, set)
}

/// A blocking, close-on-exec pipe: the reading and the writing end.
fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    let mut fds = [-1; 2];
    // SAFETY: writable for two descriptors.
    unsafe { syscall!(pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC)) }?;
    // SAFETY: the descriptor is new, so nobody else owns it.
    let reader = unsafe { OwnedFd::from_raw_fd(fds[0]) };
    // SAFETY: as above.
    let writer = unsafe { OwnedFd::from_raw_fd(fds[1]) };
    Ok((reader, writer))
}

/// A copy with a number of at least `least`, instead of the original.
fn duplicate(fd: OwnedFd, least: RawFd) -> Result<OwnedFd> {
    let (number, command) = (fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC);
    // SAFETY: no pointers are involved.
    let copy = unsafe { syscall!(fcntl(number, command, least)) }?;
    // SAFETY: the descriptor is new, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::process::Ended;

    fn program(script: &str) -> Program {
        let c = |text: &str| CString::new(text).unwrap();
        Program {
            candidates: vec![c("/nowhere/sh"), c("/bin/sh")],
            arguments: vec![c("sh"), c("-c"), c(script)],
            environment: vec![c("PATH=/usr/bin:/bin"), c("A=b")],
            directory: Some(c("/tmp")),
            bond: Bond::Worker,
            user: None,
        }
    }

    /// As long as nobody waits in vain.
    const PATIENCE: Duration = Duration::from_secs(20);

    fn start(program: &Program, descriptors: &[BorrowedFd<'_>]) -> Child {
        let (child, begun) = spawn(program, descriptors, PATIENCE).unwrap();
        assert_eq!(begun, Begun::Executed);
        child
    }

    fn ended(script: &str) -> Option<Ended> {
        start(&program(script), &[]).wait().unwrap()
    }

    #[test]
    fn a_program_runs_with_its_environment_and_directory() {
        assert_eq!(ended("exit 7"), Some(Ended::Code(7)));
        assert_eq!(ended("test $A$PWD = b/tmp"), Some(Ended::Code(0)));
        assert_eq!(ended("kill -9 $$"), Some(Ended::Signal(libc::SIGKILL)));
    }

    #[test]
    fn it_has_only_the_descriptors_it_was_given() {
        let (a, b) = crate::sys::unix::pair().unwrap();
        let script = "for n in 5 6 7 8 9 11 12 13 14 15 16 17 18 19; do \
             test ! -L /proc/$$/fd/$n || exit $n; done; \
             test -L /proc/$$/fd/3 && test -L /proc/$$/fd/4";
        let child = start(&program(script), &[b.as_fd(), a.as_fd()]);
        assert_eq!(child.wait().unwrap(), Some(Ended::Code(0)));
    }

    #[test]
    fn a_directory_that_is_gone_leaves_it_in_the_parents() {
        let mut lost = program("exit 7");
        lost.directory = Some(c"/nowhere".into());
        let child = start(&lost, &[]);
        assert_eq!(child.wait().unwrap(), Some(Ended::Code(7)));
    }

    #[test]
    fn a_failed_exec_comes_back_with_its_reason() {
        let mut missing = program("");
        missing.candidates.truncate(1);
        let error = spawn(&missing, &[], PATIENCE).unwrap_err();
        assert_eq!(error.to_string(), "exec: No such file or directory");
        let mut denied = program("");
        denied.candidates = vec![c"/etc/passwd".into()];
        let error = spawn(&denied, &[], PATIENCE).unwrap_err();
        assert_eq!(error.to_string(), "exec: Permission denied");
    }

    #[test]
    fn a_kill_takes_the_whole_group() {
        let (a, b) = crate::sys::unix::pair().unwrap();
        let child = start(&program("sleep 60 & wait"), &[b.as_fd()]);
        drop(b);
        child.kill();
        let ended = child.wait().unwrap();
        assert_eq!(ended, Some(Ended::Signal(libc::SIGKILL)));
        // The background process held the descriptor too: its end is seen
        // once nobody has it any more.
        let epoll = crate::sys::epoll::Epoll::new().unwrap();
        let mut events = crate::sys::epoll::Events::with_capacity(1);
        let interest = crate::sys::epoll::Interest::Read;
        epoll.add(a.as_fd(), interest, 0).unwrap();
        let timeout = Duration::from_secs(5);
        epoll.wait(&mut events, Some(timeout)).unwrap();
        assert!(events.len() == 1 && events.get(0).is_gone());
    }

    #[test]
    fn a_process_that_lives_is_not_reaped() {
        let child = start(&program("sleep 60"), &[]);
        assert_eq!(child.reap().unwrap(), None);
        let moment = Duration::from_millis(1);
        assert_eq!(child.wait_for(moment).unwrap(), None);
        child.terminate();
        let ended = child.wait().unwrap();
        assert_eq!(ended, Some(Ended::Signal(libc::SIGTERM)));
    }
}
