//! socket(7), unix(7): sockets of any kind, accepting, and moving bytes.

use std::ffi::OsString;
use std::mem::size_of;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::{Error, Result, syscall};

mod stream;

pub(crate) use stream::{
    Direction, receive, reset, send, send_last, shutdown,
};

/// A socket of another protocol than was asked for, as an operator may have
/// the system make it (mptcpize(8)), has not every option.
pub(crate) fn unless_unsupported(result: Result<()>) -> Result<()> {
    match result {
        Err(error) if error.is_unsupported() => Ok(()),
        result => result,
    }
}

/// A UDP socket, bound, for somebody else to read. `reuse`: on an address
/// that others may have too, as with multicast.
pub(crate) fn bind_udp(
    address: SocketAddr,
    ipv6_only: bool,
    reuse: bool,
) -> Result<OwnedFd> {
    let socket = socket(family(address), libc::SOCK_DGRAM)?;
    if reuse {
        set_option(socket.as_fd(), libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
    }
    // As libuv has it: without the flag the system's default stands.
    if ipv6_only && address.is_ipv6() {
        let (level, name) = (libc::IPPROTO_IPV6, libc::IPV6_V6ONLY);
        set_option(socket.as_fd(), level, name, 1)?;
    }
    bind_ip(socket.as_fd(), address)?;
    Ok(socket)
}

pub(super) fn family(address: SocketAddr) -> i32 {
    match address {
        SocketAddr::V4(_) => libc::AF_INET,
        SocketAddr::V6(_) => libc::AF_INET6,
    }
}

pub(super) fn bind_ip(
    socket: BorrowedFd<'_>,
    address: SocketAddr,
) -> Result<()> {
    let (storage, length) = from_socket_address(address);
    let pointer = (&raw const storage).cast();
    // SAFETY: `storage` holds `length` bytes of an address.
    unsafe { syscall!(bind(socket.as_raw_fd(), pointer, length)) }?;
    Ok(())
}

/// Has a bound socket listen, or one that listens take another backlog.
pub(crate) fn listen(socket: BorrowedFd<'_>, backlog: i32) -> Result<()> {
    // SAFETY: no pointers are involved.
    unsafe { syscall!(listen(socket.as_raw_fd(), backlog)) }?;
    Ok(())
}

/// Does something under a umask without these bits (umask(2)).
fn with_umask_less<T>(bits: libc::mode_t, act: impl FnOnce() -> T) -> T {
    // It can only be asked for by setting another.
    // SAFETY: here and below, no pointers are involved; it cannot fail.
    let umask = unsafe { libc::umask(0o022) };
    // SAFETY: as above.
    unsafe { libc::umask(umask & !bits) };
    let done = act();
    // SAFETY: as above.
    unsafe { libc::umask(umask) };
    done
}

/// A listening unix-domain socket, bound to a path that must not exist yet.
///
/// The file may be written and read by whom the umask lets, and by those of
/// `more`, bits of its mode. They are there from the first instant: whoever
/// changed the mode behind that, by name, would change what somebody else has
/// put in its place.
///
/// Only for a process with one thread: the umask is all threads'.
pub(crate) fn listen_unix(
    path: &Path,
    backlog: i32,
    more: libc::mode_t,
) -> Result<OwnedFd> {
    let socket = socket(libc::AF_UNIX, libc::SOCK_STREAM)?;
    let address = unix_address(path, "bind")?;
    let length = size_of::<libc::sockaddr_un>() as libc::socklen_t;
    let pointer = (&raw const address).cast();
    let bind = || {
        // SAFETY: `address` holds `length` bytes of an address.
        unsafe { syscall!(bind(socket.as_raw_fd(), pointer, length)) }
    };
    match more {
        0 => bind()?,
        more => with_umask_less(more, bind)?,
    };
    listen(socket.as_fd(), backlog)?;
    Ok(socket)
}

pub(super) fn unix_address(
    path: &Path,
    call: &'static str,
) -> Result<libc::sockaddr_un> {
    // SAFETY: `sockaddr_un` is plain data; all zeroes is a value of it.
    let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    address.sun_family = libc::AF_UNIX as libc::sa_family_t;
    let bytes = path.as_os_str().as_bytes();
    // One byte stays zero: unix(7) wants the path to end with it.
    if bytes.len() >= address.sun_path.len() || bytes.contains(&0) {
        return Err(Error { call, errno: libc::ENAMETOOLONG });
    }
    for (to, from) in address.sun_path.iter_mut().zip(bytes) {
        *to = *from as libc::c_char;
    }
    Ok(address)
}

pub(super) fn socket(family: i32, kind: i32) -> Result<OwnedFd> {
    let kind = kind | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: no pointers are involved.
    let fd = unsafe { syscall!(socket(family, kind, 0)) }?;
    // SAFETY: the descriptor is new, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Whether it is a socket that listens (`SO_ACCEPTCONN`).
pub(crate) fn is_listening(socket: BorrowedFd<'_>) -> Result<bool> {
    let value = option(socket, libc::SOL_SOCKET, libc::SO_ACCEPTCONN)?;
    Ok(value != 0)
}

/// Makes the open file behind a descriptor non-blocking, for everybody who
/// has a copy: whoever passed it may not have done so.
pub(crate) fn set_nonblocking(fd: BorrowedFd<'_>) -> Result<()> {
    let number = fd.as_raw_fd();
    // SAFETY: no pointers are involved.
    let flags = unsafe { syscall!(fcntl(number, libc::F_GETFL)) }?;
    if flags & libc::O_NONBLOCK == 0 {
        let flags = flags | libc::O_NONBLOCK;
        // SAFETY: no pointers are involved.
        unsafe { syscall!(fcntl(number, libc::F_SETFL, flags)) }?;
    }
    Ok(())
}

/// Asks for an option that is a number.
pub(super) fn option(
    socket: BorrowedFd<'_>,
    level: i32,
    name: i32,
) -> Result<i32> {
    let mut value: i32 = 0;
    let mut length = size_of::<i32>() as libc::socklen_t;
    let (fd, pointer) = (socket.as_raw_fd(), (&raw mut value).cast());
    // SAFETY: `value` is writable for `length` bytes.
    unsafe { syscall!(getsockopt(fd, level, name, pointer, &mut length)) }?;
    Ok(value)
}

pub(super) fn set_option(
    socket: BorrowedFd<'_>,
    level: i32,
    name: i32,
    value: i32,
) -> Result<()> {
    let length = size_of::<i32>() as libc::socklen_t;
    let (fd, pointer) = (socket.as_raw_fd(), (&raw const value).cast());
    // SAFETY: `value` is readable for `length` bytes.
    unsafe { syscall!(setsockopt(fd, level, name, pointer, length)) }?;
    Ok(())
}

/// Whether it is a listening stream socket, over IP or of the unix domain.
/// Anything may be asked.
pub(crate) fn is_stream_listener(fd: BorrowedFd<'_>) -> bool {
    let is = |name: i32, expected: &[i32]| {
        option(fd, libc::SOL_SOCKET, name)
            .is_ok_and(|value| expected.contains(&value))
    };
    is(libc::SO_TYPE, &[libc::SOCK_STREAM])
        && is_listening(fd).is_ok_and(|listens| listens)
        && is(libc::SO_DOMAIN, &[libc::AF_INET, libc::AF_INET6, libc::AF_UNIX])
}

/// Makes a listener that somebody else has bound as ours are: accepting never
/// blocks, and what is accepted sends at once (`TCP_NODELAY`).
pub(crate) fn adopt_listener(listener: BorrowedFd<'_>) -> Result<()> {
    set_nonblocking(listener)?;
    match local_address(listener)? {
        Some(_) => {
            let (level, name) = (libc::IPPROTO_TCP, libc::TCP_NODELAY);
            unless_unsupported(set_option(listener, level, name, 1))
        }
        None => Ok(()),
    }
}

/// What came of asking a listener for a connection.
#[derive(Debug)]
pub(crate) enum Accepted {
    /// A non-blocking connection; the address is that of an IP peer.
    Connection(OwnedFd, Option<SocketAddr>),
    /// The queue is empty.
    Nothing,
    /// The connection was over before it was taken: accept(2), "Error
    /// handling". There may be others behind it. (Not so with `EPERM`, which
    /// takes nothing from the queue: a filter or a security module forbids it.)
    Aborted,
}

pub(crate) fn accept(listener: BorrowedFd<'_>) -> Result<Accepted> {
    // SAFETY: `sockaddr_storage` is plain data; all zeroes is a value of it.
    let mut storage: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
    let mut length = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    let (fd, pointer) = (listener.as_raw_fd(), (&raw mut storage).cast());
    // SAFETY: `storage` is writable for `length` bytes.
    match unsafe { syscall!(accept4(fd, pointer, &mut length, flags)) } {
        Ok(connection) => {
            // SAFETY: the descriptor is new, so nobody else owns it.
            let connection = unsafe { OwnedFd::from_raw_fd(connection) };
            Ok(Accepted::Connection(connection, to_socket_address(&storage)))
        }
        Err(error) => match error.errno() {
            libc::EAGAIN => Ok(Accepted::Nothing),
            libc::ECONNABORTED
            | libc::EPROTO
            | libc::ENETDOWN
            | libc::ENOPROTOOPT
            | libc::EHOSTDOWN
            | libc::ENONET
            | libc::EHOSTUNREACH
            | libc::ENETUNREACH
            | libc::ETIMEDOUT => Ok(Accepted::Aborted),
            _ => Err(error),
        },
    }
}

/// Where an IP socket is bound; `None` for a unix-domain one.
pub(crate) fn local_address(
    socket: BorrowedFd<'_>,
) -> Result<Option<SocketAddr>> {
    name(socket, libc::getsockname, "getsockname")
}

/// Who an IP socket is connected to; `None` for a unix-domain one.
pub(crate) fn peer_address(
    socket: BorrowedFd<'_>,
) -> Result<Option<SocketAddr>> {
    name(socket, libc::getpeername, "getpeername")
}

/// The path that a unix-domain socket is bound to; an abstract name with `@`
/// for the zero that it begins with (unix(7)).
pub(crate) fn local_path(socket: BorrowedFd<'_>) -> Result<PathBuf> {
    // SAFETY: `sockaddr_un` is plain data; all zeroes is a value of it.
    let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    let mut length = size_of::<libc::sockaddr_un>() as libc::socklen_t;
    let (fd, pointer) = (socket.as_raw_fd(), (&raw mut address).cast());
    // SAFETY: `address` is writable for `length` bytes.
    unsafe { syscall!(getsockname(fd, pointer, &mut length)) }?;
    let named = length as usize - size_of::<libc::sa_family_t>();
    let bytes = address.sun_path.iter().map(|byte| *byte as u8);
    let bytes = bytes.take(named).enumerate();
    let path = bytes.map_while(|(index, byte)| match (index, byte) {
        (0, 0) => Some(b'@'),
        (_, 0) => None,
        (_, byte) => Some(byte),
    });
    Ok(PathBuf::from(OsString::from_vec(path.collect())))
}

type Namer = unsafe extern "C" fn(
    i32,
    *mut libc::sockaddr,
    *mut libc::socklen_t,
) -> i32;

fn name(
    socket: BorrowedFd<'_>,
    namer: Namer,
    call: &'static str,
) -> Result<Option<SocketAddr>> {
    // SAFETY: `sockaddr_storage` is plain data; all zeroes is a value of it.
    let mut storage: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
    let mut length = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    let (fd, pointer) = (socket.as_raw_fd(), (&raw mut storage).cast());
    // SAFETY: `storage` is writable for `length` bytes.
    if unsafe { namer(fd, pointer, &mut length) } < 0 {
        return Err(Error::last(call));
    }
    Ok(to_socket_address(&storage))
}

fn to_socket_address(storage: &libc::sockaddr_storage) -> Option<SocketAddr> {
    let pointer = &raw const *storage;
    match i32::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says that a `sockaddr_in` stands here.
            let v4 = unsafe { &*pointer.cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
            Some(SocketAddr::new(IpAddr::V4(ip), u16::from_be(v4.sin_port)))
        }
        libc::AF_INET6 => {
            // SAFETY: the family says that a `sockaddr_in6` stands here.
            let v6 = unsafe { &*pointer.cast::<libc::sockaddr_in6>() };
            Some(SocketAddr::V6(SocketAddrV6::new(
                Ipv6Addr::from(v6.sin6_addr.s6_addr),
                u16::from_be(v6.sin6_port),
                v6.sin6_flowinfo,
                v6.sin6_scope_id,
            )))
        }
        _ => None,
    }
}

fn from_socket_address(
    address: SocketAddr,
) -> (libc::sockaddr_storage, libc::socklen_t) {
    // SAFETY: `sockaddr_storage` is plain data; all zeroes is a value of it.
    let mut storage: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
    let pointer = &raw mut storage;
    let length = match address {
        SocketAddr::V4(v4) => {
            let raw = libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: v4.port().to_be(),
                sin_addr: libc::in_addr {
                    s_addr: u32::from(*v4.ip()).to_be(),
                },
                sin_zero: [0; 8],
            };
            // SAFETY: the storage is large enough and aligned for it.
            unsafe { pointer.cast::<libc::sockaddr_in>().write(raw) };
            size_of::<libc::sockaddr_in>()
        }
        SocketAddr::V6(v6) => {
            let raw = libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as libc::sa_family_t,
                sin6_port: v6.port().to_be(),
                sin6_flowinfo: v6.flowinfo(),
                sin6_addr: libc::in6_addr { s6_addr: v6.ip().octets() },
                sin6_scope_id: v6.scope_id(),
            };
            // SAFETY: the storage is large enough and aligned for it.
            unsafe { pointer.cast::<libc::sockaddr_in6>().write(raw) };
            size_of::<libc::sockaddr_in6>()
        }
    };
    (storage, length as libc::socklen_t)
}

#[cfg(test)]
mod tests {
    use super::super::tcp::{self, Listening};
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpStream;

    fn wait_for(listener: &OwnedFd) -> (OwnedFd, Option<SocketAddr>) {
        let deadline =
            std::time::Instant::now() + std::time::Duration::from_secs(5);
        loop {
            match accept(listener.as_fd()).unwrap() {
                Accepted::Connection(fd, peer) => return (fd, peer),
                Accepted::Nothing | Accepted::Aborted => {
                    assert!(std::time::Instant::now() < deadline);
                    std::thread::yield_now();
                }
            }
        }
    }

    #[test]
    fn a_connection_knows_both_its_ends_over_ipv4_and_ipv6() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener =
                tcp::listen(address.parse().unwrap(), Listening::plain(8))
                    .unwrap();
            let here = local_address(listener.as_fd()).unwrap().unwrap();
            let mut client = TcpStream::connect(here).unwrap();
            let (server, peer) = wait_for(&listener);
            assert_eq!(peer, Some(client.local_addr().unwrap()));
            assert_eq!(peer_address(server.as_fd()).unwrap(), peer);
            assert_eq!(
                local_address(server.as_fd()).unwrap(),
                Some(client.peer_addr().unwrap())
            );
            let mut buffer = [0; 8];
            assert_eq!(receive(server.as_fd(), &mut buffer).unwrap(), None);
            assert_eq!(send(server.as_fd(), b"hi").unwrap(), Some(2));
            shutdown(server.as_fd(), Direction::Both).unwrap();
            let mut text = String::new();
            client.read_to_string(&mut text).unwrap();
            assert_eq!(text, "hi");
        }
    }

    #[test]
    fn a_peer_that_is_gone_is_an_error_and_no_signal() {
        let listener =
            tcp::listen("127.0.0.1:0".parse().unwrap(), Listening::plain(8))
                .unwrap();
        let here = local_address(listener.as_fd()).unwrap().unwrap();
        let mut client = TcpStream::connect(here).unwrap();
        let (server, _) = wait_for(&listener);
        client.write_all(b"unread").unwrap();
        shutdown(server.as_fd(), Direction::Both).unwrap();
        assert_eq!(
            send(server.as_fd(), b"x").unwrap_err().to_string(),
            "send: Broken pipe"
        );
    }

    #[test]
    fn a_passed_socket_is_made_fit_for_the_loop() {
        let theirs = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(theirs.local_addr().unwrap());
        let (server, _) = theirs.accept().unwrap();
        let (listener, client) = (OwnedFd::from(theirs), client.unwrap());
        let server = OwnedFd::from(server);
        assert!(is_listening(listener.as_fd()).unwrap());
        assert!(!is_listening(client.as_fd()).unwrap());
        // Both block until they are told not to.
        set_nonblocking(listener.as_fd()).unwrap();
        set_nonblocking(server.as_fd()).unwrap();
        crate::sys::tcp::set_no_delay(server.as_fd()).unwrap();
        let nothing = accept(listener.as_fd()).unwrap();
        assert!(matches!(nothing, Accepted::Nothing));
        assert_eq!(receive(server.as_fd(), &mut [0; 8]).unwrap(), None);
        listen(listener.as_fd(), 8).unwrap();
    }

    #[test]
    fn an_address_in_use_is_told_apart() {
        let listener =
            tcp::listen("127.0.0.1:0".parse().unwrap(), Listening::plain(8))
                .unwrap();
        let here = local_address(listener.as_fd()).unwrap().unwrap();
        assert!(
            tcp::listen(here, Listening::plain(8))
                .unwrap_err()
                .is_address_in_use()
        );
    }

    #[test]
    fn a_path_too_long_for_a_unix_address_is_refused() {
        let path = format!("/tmp/{}", "x".repeat(103));
        let error = listen_unix(Path::new(&path), 8, 0).unwrap_err();
        assert_eq!(error.errno(), libc::ENAMETOOLONG);
    }
}
