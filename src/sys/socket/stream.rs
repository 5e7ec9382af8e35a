//! recv(2), send(2), shutdown(2): the bytes of a connection, and its end.

use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::super::{Result, syscall, unless_blocked};

/// Reads once. `None`: nothing there yet. `Some(0)`: the peer's end.
pub(crate) fn receive(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
) -> Result<Option<usize>> {
    #[cfg(test)]
    if let Some(count) = super::super::rehearsal::ask(|s| s.receive(buffer)) {
        return Ok(count);
    }
    let (fd, to, room) =
        (socket.as_raw_fd(), buffer.as_mut_ptr(), buffer.len());
    // SAFETY: `to` is writable for `room` bytes.
    let result = unsafe { syscall!(recv(fd, to.cast(), room, 0)) };
    unless_blocked(result.map(|count| count as usize))
}

/// Writes once. `None`: no room yet. A peer that is gone is an error, never
/// `SIGPIPE`.
pub(crate) fn send(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
) -> Result<Option<usize>> {
    send_with(socket, bytes, 0)
}

/// As [`send`], of the last bytes before the end: if all of them are taken,
/// [`shutdown`] must be the next call.
///
/// Until then the kernel keeps those that fill no segment (`MSG_MORE`,
/// send(2)), and they leave together with the end: one segment, one
/// acknowledgement and one wake-up of the peer instead of two. (An
/// acknowledgement of earlier bytes that comes between the calls pushes them
/// out: nothing is lost then but the saving.) If this process dies between the
/// two calls, they leave when whoever holds a copy ends the connection, or when
/// the last copy is closed (net/ipv4/tcp.c). A socket of another kind than TCP
/// keeps nothing back.
pub(crate) fn send_last(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
) -> Result<Option<usize>> {
    send_with(socket, bytes, libc::MSG_MORE)
}

fn send_with(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    flags: libc::c_int,
) -> Result<Option<usize>> {
    #[cfg(test)]
    if let Some(count) = super::super::rehearsal::ask(|s| {
        s.send(bytes, flags & libc::MSG_MORE != 0)
    }) {
        return Ok(count);
    }
    let (fd, from, length) = (socket.as_raw_fd(), bytes.as_ptr(), bytes.len());
    let flags = flags | libc::MSG_NOSIGNAL;
    // SAFETY: `from` is readable for `length` bytes.
    let result = unsafe { syscall!(send(fd, from.cast(), length, flags)) };
    unless_blocked(result.map(|count| count as usize))
}

/// Which direction of a connection to end.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Direction {
    Write,
    Both,
}

/// Ends a direction now, whoever else holds a copy of the descriptor; close(2)
/// would wait for the last of them.
pub(crate) fn shutdown(
    socket: BorrowedFd<'_>,
    direction: Direction,
) -> Result<()> {
    #[cfg(test)]
    if super::super::rehearsal::ask(|s| s.shutdown()).is_some() {
        return Ok(());
    }
    let how = match direction {
        Direction::Write => libc::SHUT_WR,
        Direction::Both => libc::SHUT_RDWR,
    };
    // SAFETY: no pointers are involved.
    unsafe { syscall!(shutdown(socket.as_raw_fd(), how)) }?;
    Ok(())
}

/// Ends a connection now, whoever else holds a copy of the descriptor, so that
/// the client sees that it was broken off: what it has not got yet is dropped.
///
/// connect(2) to no address dissolves a TCP connection with a reset
/// (`tcp_disconnect`, net/ipv4/tcp.c). Where there is no reset, as between
/// unix-domain sockets, it is an end like any other.
pub(crate) fn reset(socket: BorrowedFd<'_>) -> Result<()> {
    #[cfg(test)]
    if super::super::rehearsal::ask(|s| s.reset()).is_some() {
        return Ok(());
    }
    let nowhere = libc::sockaddr {
        sa_family: libc::AF_UNSPEC as libc::sa_family_t,
        sa_data: [0; 14],
    };
    let length = size_of::<libc::sockaddr>() as libc::socklen_t;
    let fd = socket.as_raw_fd();
    // SAFETY: `nowhere` is readable for `length` bytes.
    match unsafe { syscall!(connect(fd, &raw const nowhere, length)) } {
        Ok(_) => Ok(()),
        Err(_) => shutdown(socket, Direction::Both),
    }
}
