//! What speaks against going by the kernel's counters.
//!
//! Salvage takes from them what a dead worker had read. A connection of which
//! a byte can be counted that no recv(2) returned must not be salvaged: where
//! each such way can be asked for, it is asked for here.
//!
//! | way | how it is asked for |
//! |---|---|
//! | another protocol: MPTCP counts the end of a side as a byte to be read | `SO_PROTOCOL` |
//! | urgent bytes that recv(2) skips | `SO_OOBINLINE` |
//! | a layer that decrypts, or takes bytes for itself (kTLS) | `TCP_ULP` |
//! | queues that are written to by hand | `TCP_REPAIR` |
//! | a look ahead that begins elsewhere | `SO_PEEK_OFF` |
//! | bytes that were skipped before, or are not counted | `TCP_INFO` |
//!
//! It cannot be asked whether a socket is in a BPF sockmap, whose program may
//! take bytes out of the queue, or whether a BPF program answers instead of
//! the kernel: that is for root to leave alone.

use std::fmt;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::super::socket::option;
use super::super::{Result, syscall};
use super::counters::{Counters, counters};

/// `SO_PROTOCOL` of MPTCP, linux/in.h.
const MPTCP: i32 = 262;

/// Longest name of a ULP, its zero included (`TCP_ULP_NAME_MAX`, net/tcp.h).
const ULP_NAME: usize = 16;

/// See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doubt {
    /// It is not TCP but this.
    Protocol(i32),
    /// Urgent bytes are not in line.
    Urgent,
    /// An upper layer protocol is between TCP and us.
    Layer,
    /// It is, or can be, put together by hand.
    Repair,
    /// There is an offset for looks ahead.
    PeekOffset,
    /// Something was counted that nobody has read, or nothing is counted.
    Counters,
    /// The system would not say; its error.
    Unanswered(super::super::Error),
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Doubt::Protocol(MPTCP) => f.write_str("it is MPTCP"),
            Doubt::Protocol(other) => write!(f, "it is protocol {other}"),
            Doubt::Urgent => f.write_str("urgent bytes may be skipped"),
            Doubt::Layer => f.write_str("a TCP_ULP is in between"),
            Doubt::Repair => f.write_str("TCP_REPAIR is on"),
            Doubt::PeekOffset => f.write_str("SO_PEEK_OFF is set"),
            Doubt::Counters => f.write_str("its bytes are not counted"),
            Doubt::Unanswered(error) => error.fmt(f),
        }
    }
}

/// What speaks against an IP listener, whose options its connections inherit.
pub(crate) fn of_listener(listener: BorrowedFd<'_>) -> Option<Doubt> {
    find(listener).unwrap_or_else(|error| Some(Doubt::Unanswered(error)))
}

/// What speaks against an IP connection that nobody has read from yet, or
/// written to.
pub(crate) fn of_connection(connection: BorrowedFd<'_>) -> Option<Doubt> {
    let untouched = Counters::Open { given: 0, taken: 0 };
    let counted = || match counters(connection)? {
        Counters::Over => Ok(None),
        counters => Ok((counters != untouched).then_some(Doubt::Counters)),
    };
    let found = match find(connection) {
        Ok(None) => counted(),
        found => found,
    };
    found.unwrap_or_else(|error| Some(Doubt::Unanswered(error)))
}

fn find(socket: BorrowedFd<'_>) -> Result<Option<Doubt>> {
    let protocol = option(socket, libc::SOL_SOCKET, libc::SO_PROTOCOL)?;
    if protocol != libc::IPPROTO_TCP {
        return Ok(Some(Doubt::Protocol(protocol)));
    }
    if option(socket, libc::SOL_SOCKET, libc::SO_OOBINLINE)? == 0 {
        return Ok(Some(Doubt::Urgent));
    }
    if has_layer(socket)? {
        return Ok(Some(Doubt::Layer));
    }
    // What a system does not know, it does not do.
    let known = |level, name, absent| match option(socket, level, name) {
        Err(error) if error.is_unsupported() => Ok(absent),
        result => result,
    };
    if known(libc::IPPROTO_TCP, libc::TCP_REPAIR, 0)? != 0 {
        return Ok(Some(Doubt::Repair));
    }
    if known(libc::SOL_SOCKET, libc::SO_PEEK_OFF, -1)? >= 0 {
        return Ok(Some(Doubt::PeekOffset));
    }
    Ok(None)
}

/// Whether an upper layer protocol has a name here.
fn has_layer(socket: BorrowedFd<'_>) -> Result<bool> {
    let mut name = [0_u8; ULP_NAME];
    let mut length = name.len() as libc::socklen_t;
    let (fd, to) = (socket.as_raw_fd(), name.as_mut_ptr().cast());
    let (level, which) = (libc::IPPROTO_TCP, libc::TCP_ULP);
    // SAFETY: `name` is writable for `length` bytes.
    let asked =
        unsafe { syscall!(getsockopt(fd, level, which, to, &mut length)) };
    match asked {
        Ok(_) => Ok(length > 0),
        Err(error) if error.is_unsupported() => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::socket::set_option;
    use super::super::{Listening, keep_urgent_in_line, listen};
    use super::*;
    use socket2::{Domain, Protocol, Socket, Type};
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::os::fd::AsFd;

    fn any() -> SocketAddr {
        ([127, 0, 0, 1], 0).into()
    }

    /// A listener of ours, that blocks.
    fn ours() -> TcpListener {
        let how = Listening { urgent_in_line: true, ..Listening::plain(8) };
        let listener = TcpListener::from(listen(any(), how).unwrap());
        listener.set_nonblocking(false).unwrap();
        listener
    }

    /// A listener with an option that was set before it listened.
    fn with(level: i32, name: i32, value: i32) -> Option<TcpListener> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        set_option(socket.as_fd(), level, name, value).ok()?;
        socket.bind(&any().into()).unwrap();
        socket.listen(8).unwrap();
        keep_urgent_in_line(socket.as_fd()).unwrap();
        Some(socket.into())
    }

    fn connect(listener: &TcpListener) -> Socket {
        let address = listener.local_addr().unwrap();
        Socket::from(TcpStream::connect(address).unwrap())
    }

    fn accepted(listener: &TcpListener) -> Option<Doubt> {
        let _client = connect(listener);
        of_connection(listener.accept().unwrap().0.as_fd())
    }

    #[test]
    fn nothing_speaks_against_a_listener_of_ours_and_its_connections() {
        let listener = ours();
        assert_eq!(of_listener(listener.as_fd()), None);
        let client = connect(&listener);
        client.send_out_of_band(b"x").unwrap();
        client.send(b"yz").unwrap();
        let server = listener.accept().unwrap().0;
        assert_eq!(of_connection(server.as_fd()), None);
        client.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(of_connection(server.as_fd()), None);
    }

    #[test]
    fn one_that_was_queued_before_the_option_skips_urgent_bytes() {
        let listener = TcpListener::bind(any()).unwrap();
        let _early = connect(&listener);
        assert_eq!(of_listener(listener.as_fd()), Some(Doubt::Urgent));
        keep_urgent_in_line(listener.as_fd()).unwrap();
        assert_eq!(of_listener(listener.as_fd()), None);
        let early = listener.accept().unwrap().0;
        assert_eq!(of_connection(early.as_fd()), Some(Doubt::Urgent));
        assert_eq!(accepted(&listener), None);
    }

    /// The kernel has thrown the first away, whatever option comes now.
    #[test]
    fn an_urgent_byte_that_was_lost_already_shows_in_the_counters() {
        let listener = TcpListener::bind(any()).unwrap();
        let client = connect(&listener);
        let server = listener.accept().unwrap().0;
        let received = |count: u32| {
            let start = std::time::Instant::now();
            let right = Counters::Open { given: 0, taken: count };
            while counters(server.as_fd()).unwrap() != right {
                assert!(start.elapsed().as_secs() < 5, "{count} did not come");
            }
        };
        client.send_out_of_band(b"1").unwrap();
        received(1);
        client.send_out_of_band(b"2").unwrap();
        received(2);
        keep_urgent_in_line(server.as_fd()).unwrap();
        assert_eq!(of_connection(server.as_fd()), Some(Doubt::Counters));
    }

    #[test]
    fn what_was_read_or_written_before_is_not_ours_to_judge() {
        let listener = ours();
        let client = connect(&listener);
        let server = Socket::from(listener.accept().unwrap().0);
        server.send(b"hello").unwrap();
        assert_eq!(of_connection(server.as_fd()), Some(Doubt::Counters));
        drop(client);
    }

    #[test]
    fn one_that_is_over_is_in_no_doubt() {
        let listener = ours();
        let client = connect(&listener);
        let server = listener.accept().unwrap().0;
        client.set_linger(Some(std::time::Duration::ZERO)).unwrap();
        drop(client);
        assert_eq!(of_connection(server.as_fd()), None);
    }

    #[test]
    fn an_offset_for_looks_ahead_is_found_in_both() {
        let (level, name) = (libc::SOL_SOCKET, libc::SO_PEEK_OFF);
        let Some(listener) = with(level, name, 3) else { return };
        assert_eq!(of_listener(listener.as_fd()), Some(Doubt::PeekOffset));
        assert_eq!(accepted(&listener), Some(Doubt::PeekOffset));
    }

    /// Only root may.
    #[test]
    fn a_connection_that_is_put_together_by_hand_is_found() {
        let (level, name) = (libc::IPPROTO_TCP, libc::TCP_REPAIR);
        let Some(listener) = with(level, name, 1) else { return };
        assert_eq!(of_listener(listener.as_fd()), Some(Doubt::Repair));
        assert_eq!(accepted(&listener), Some(Doubt::Repair));
    }

    /// Not every kernel has the module.
    #[test]
    fn a_layer_between_is_found() {
        let listener = ours();
        let client = connect(&listener);
        let server = listener.accept().unwrap().0;
        let (fd, tls) = (server.as_raw_fd(), c"tls");
        let (level, name) = (libc::IPPROTO_TCP, libc::TCP_ULP);
        // SAFETY: the name is readable for so many bytes.
        let set = unsafe {
            syscall!(setsockopt(fd, level, name, tls.as_ptr().cast(), 3))
        };
        let expected = set.is_ok().then_some(Doubt::Layer);
        assert_eq!(of_connection(server.as_fd()), expected);
        drop(client);
    }

    #[test]
    fn another_protocol_is_found_and_a_client_of_tcp_has_tcp_there() {
        let mptcp = Some(Protocol::from(MPTCP));
        let Ok(socket) = Socket::new(Domain::IPV4, Type::STREAM, mptcp) else {
            return;
        };
        socket.bind(&any().into()).unwrap();
        socket.listen(8).unwrap();
        let found = of_listener(socket.as_fd());
        assert_eq!(found, Some(Doubt::Protocol(MPTCP)));
        let error = keep_urgent_in_line(socket.as_fd()).unwrap_err();
        assert!(error.is_unsupported(), "{error}");
        assert_eq!(accepted(&socket.into()), Some(Doubt::Urgent));
    }
}
