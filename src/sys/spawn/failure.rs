//! What can fail between fork and exec, and how the parent hears of it: as a
//! few bytes in a pipe, which are written without an allocation or a lock.

use std::mem::size_of;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use crate::sys::{Error, Result, syscall};

/// What the child was doing when it failed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    ProcessGroup,
    Input,
    Copy,
    Descriptors,
    Rest,
    Errors,
    Groups,
    PrimaryGroup,
    User,
    ParentDeath,
    NoNewPrivileges,
    Execute,
}

const STEPS: [(Step, &str); 12] = [
    (Step::ProcessGroup, "setpgid"),
    (Step::Input, "open /dev/null"),
    (Step::Copy, "fcntl F_DUPFD_CLOEXEC"),
    (Step::Descriptors, "dup2"),
    (Step::Rest, "close_range"),
    (Step::Errors, "dup2"),
    (Step::Groups, "setgroups"),
    (Step::PrimaryGroup, "setgid"),
    (Step::User, "setuid"),
    (Step::ParentDeath, "prctl PR_SET_PDEATHSIG"),
    (Step::NoNewPrivileges, "prctl PR_SET_NO_NEW_PRIVS"),
    (Step::Execute, "exec"),
];

/// A failure between fork and exec, as it goes through the pipe.
pub(super) struct Failure {
    pub(super) step: Step,
    pub(super) errno: i32,
}

impl Failure {
    const SIZE: usize = 1 + size_of::<i32>();

    pub(super) fn report_and_exit(self, reporter: RawFd) -> ! {
        let mut bytes = [0; Failure::SIZE];
        bytes[0] = self.step as u8;
        bytes[1..].copy_from_slice(&self.errno.to_ne_bytes());
        let from = bytes.as_ptr().cast();
        // The parent may have stopped reading: 127 is to be how we end.
        // SAFETY: no code of ours runs at a signal that is ignored.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
        // SAFETY: `from` is readable for `SIZE` bytes. Nothing can be done
        // about an error.
        unsafe { libc::write(reporter, from, Failure::SIZE) };
        // SAFETY: ends the process without running anything of the parent's.
        unsafe { libc::_exit(127) }
    }

    /// Takes note of the exec, which closes the pipe, or of a report.
    pub(super) fn read(report: &OwnedFd) -> Result<Option<Failure>> {
        let mut bytes = [0; Failure::SIZE];
        let (fd, to) = (report.as_raw_fd(), bytes.as_mut_ptr());
        // SAFETY: `to` is writable for `SIZE` bytes. A write this short to a
        // pipe is atomic (pipe(7)), so a read gets all of it or nothing.
        let count = unsafe { syscall!(read(fd, to.cast(), Failure::SIZE)) }?;
        if count == 0 {
            return Ok(None);
        }
        let errno =
            i32::from_ne_bytes([bytes[1], bytes[2], bytes[3], bytes[4]]);
        let (step, _) = STEPS[usize::from(bytes[0])];
        Ok(Some(Failure { step, errno }))
    }

    pub(super) fn into_error(self) -> Error {
        let (_, call) = STEPS[self.step as usize];
        Error { call, errno: self.errno }
    }
}

pub(super) fn check(
    step: Step,
    result: i32,
) -> std::result::Result<(), Failure> {
    if result >= 0 {
        return Ok(());
    }
    Err(Failure { step, errno: last_errno() })
}

pub(super) fn last_errno() -> i32 {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(0)
}
