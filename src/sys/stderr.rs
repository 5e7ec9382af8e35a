//! Standard error that cannot block its writer.
//!
//! Many processes may share the pipe or terminal behind it, so to ask poll(2)
//! first is not enough: somebody else may fill it in between. To make it
//! non-blocking is out of the question, since that is a property of the open
//! file and would surprise all the others. But opening it anew, through
//! `/proc`, makes an open file of one's own.

use std::io::{self, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::OnceLock;

use super::{Result, syscall};

/// Standard error as it was: what children are to have.
static ORIGINAL: OnceLock<OwnedFd> = OnceLock::new();

/// Makes this process's own writes to standard error fail where they would
/// block. Only a pipe and a terminal are worth it: a file does not block, and
/// a socket, which cannot be opened anew, is [written](write) in another way.
pub(crate) fn never_block() -> Result<()> {
    // SAFETY: `stat` is plain data; all zeroes is a value of it.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: `stat` is writable and lives through the call.
    unsafe { syscall!(fstat(libc::STDERR_FILENO, &mut stat)) }?;
    let kind = stat.st_mode & libc::S_IFMT;
    // SAFETY: no pointers are involved.
    let terminal = unsafe { libc::isatty(libc::STDERR_FILENO) } == 1;
    if kind != libc::S_IFIFO && !terminal || ORIGINAL.get().is_some() {
        return Ok(());
    }
    let path = c"/proc/self/fd/2".as_ptr();
    let flags =
        libc::O_WRONLY | libc::O_NONBLOCK | libc::O_CLOEXEC | libc::O_NOCTTY;
    // SAFETY: the path is a C string.
    let anew = unsafe { syscall!(open(path, flags)) }?;
    // SAFETY: the descriptor is new, so nobody else owns it.
    let anew = unsafe { OwnedFd::from_raw_fd(anew) };
    let original = super::process::duplicate(libc::STDERR_FILENO)?;
    let (from, to) = (anew.as_raw_fd(), libc::STDERR_FILENO);
    // SAFETY: no pointers are involved.
    unsafe { syscall!(dup2(from, to)) }?;
    // Set by nobody else: there is one thread.
    let _ = ORIGINAL.set(original);
    Ok(())
}

/// Writes a line to standard error, all of it or nothing, and waits for
/// nobody: not even for a socket, as a service manager's is.
pub(crate) fn write(line: &[u8]) -> io::Result<()> {
    write_to(libc::STDERR_FILENO, line)
}

fn write_to(fd: RawFd, line: &[u8]) -> io::Result<()> {
    let (from, length) = (line.as_ptr().cast(), line.len());
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: `from` is readable for `length` bytes.
    match unsafe { syscall!(send(fd, from, length, flags)) } {
        Err(error) if error.errno() == libc::ENOTSOCK => {
            io::stderr().write_all(line)
        }
        // A line is far smaller than what a socket takes at once.
        sent => Ok(sent.map(drop)?),
    }
}

/// What a child is to have as its standard error, if not ours.
pub(super) fn original() -> Option<RawFd> {
    ORIGINAL.get().map(AsRawFd::as_raw_fd)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;
    use std::sync::mpsc;
    use std::time::Duration;

    #[test]
    fn a_socket_that_nobody_reads_is_not_waited_for() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (tell, hear) = mpsc::channel();
        std::thread::spawn(move || {
            let line = [b'x'; 200];
            let mut lines = 0;
            let error = loop {
                match write_to(ours.as_raw_fd(), &line) {
                    Ok(()) => lines += 1,
                    Err(error) => break error,
                }
            };
            tell.send((lines, error.kind())).unwrap();
        });
        let (lines, kind) =
            hear.recv_timeout(Duration::from_secs(20)).unwrap();
        assert!(lines > 0 && kind == io::ErrorKind::WouldBlock, "{kind}");
        drop(theirs);
    }
}
