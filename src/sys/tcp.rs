//! tcp(7): listening, options of a connection, and what the kernel has
//! counted of it, whoever moved the bytes.

use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::Result;
use super::socket::{
    self, bind_ip, family, option, set_option, unless_unsupported,
};

mod counters;
pub(crate) mod doubt;

pub(crate) use counters::{Counters, counters, do_count};

/// How a TCP socket is to listen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Listening {
    /// How many connections may wait to be accepted.
    pub(crate) backlog: i32,
    /// `[::]` is to leave IPv4 to others (`IPV6_V6ONLY`, ipv6(7)). Without it
    /// `[::]` takes IPv4 too, whatever net.ipv6.bindv6only says.
    pub(crate) ipv6_only: bool,
    /// See [`keep_urgent_in_line`].
    pub(crate) urgent_in_line: bool,
    /// See [`set_defer_accept`].
    pub(crate) defer_seconds: i32,
}

impl Listening {
    /// With a backlog, and otherwise as Node listens.
    pub(crate) fn plain(backlog: i32) -> Listening {
        Listening {
            backlog,
            ipv6_only: false,
            urgent_in_line: false,
            defer_seconds: 0,
        }
    }
}

/// A listening TCP socket. The options are set on the listener once and
/// inherited by every connection, so that none costs a call per connection;
/// and all of them before it listens, so that none is in the queue without.
pub(crate) fn listen(address: SocketAddr, how: Listening) -> Result<OwnedFd> {
    let socket = socket::socket(family(address), libc::SOCK_STREAM)?;
    let fd = socket.as_fd();
    set_option(fd, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
    set_option(fd, libc::IPPROTO_TCP, libc::TCP_NODELAY, 1)?;
    if how.urgent_in_line {
        unless_unsupported(keep_urgent_in_line(fd))?;
    }
    if how.defer_seconds > 0 {
        unless_unsupported(set_defer_accept(fd, how.defer_seconds))?;
    }
    if address.is_ipv6() {
        let only = i32::from(how.ipv6_only);
        set_option(fd, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, only)?;
    }
    bind_ip(fd, address)?;
    socket::listen(fd, how.backlog)?;
    Ok(socket)
}

/// Whether an IPv6 socket leaves IPv4 to others.
pub(crate) fn is_ipv6_only(socket: BorrowedFd<'_>) -> Result<bool> {
    let value = option(socket, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY)?;
    Ok(value != 0)
}

/// `TCP_NODELAY`, for a connection whose listener was not ours.
pub(crate) fn set_no_delay(connection: BorrowedFd<'_>) -> Result<()> {
    set_option(connection, libc::IPPROTO_TCP, libc::TCP_NODELAY, 1)
}

/// `TCP_NOTSENT_LOWAT`: takes no more to send from us while so many bytes
/// wait for the client to have room. Without it the kernel takes megabytes.
pub(crate) fn limit_unsent(
    connection: BorrowedFd<'_>,
    bytes: i32,
) -> Result<()> {
    set_option(connection, libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT, bytes)
}

/// `TCP_DEFER_ACCEPT`: a connection is accepted when its first bytes are
/// there, or after about `seconds` without any; 0 turns it off. It halves the
/// price of a hand-off, and is wrong where the server speaks first.
pub(crate) fn set_defer_accept(
    listener: BorrowedFd<'_>,
    seconds: i32,
) -> Result<()> {
    set_option(listener, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, seconds)
}

/// Urgent bytes of connections that are accepted from now on are read as any
/// other (SO_OOBINLINE, RFC 6093 §5).
pub(crate) fn keep_urgent_in_line(listener: BorrowedFd<'_>) -> Result<()> {
    set_option(listener, libc::SOL_SOCKET, libc::SO_OOBINLINE, 1)
}
