//! Opens what a Node worker asks to listen on (`queryServer`).
//!
//! ```text
//!   listen(3000)             {port 3000}         accepted here, handed over
//!   listen(0), twice         {port 0, index 0|1} two ports, each shared
//!   listen('/run/x.sock')    {port -1}           accepted here
//!   listen({fd: 3})          {fd 3}              our descriptor 3, ditto
//!   dgram bind               {"udp4"}            the socket itself, shared
//! ```
//!
//! Which servers are the same, and who has them, is a matter of `primary`.

use std::ffi::OsString;
use std::net::{
    IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, ToSocketAddrs,
};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use crate::error::Error;
use crate::ipc::message::{AddressType, Listen};
use crate::master::listener::Listener;
use crate::sys;
use crate::sys::tcp::Listening;
use crate::sys::{interface, lock, process, socket};

/// Where Node's own backlog lies if the app names none (lib/net.js).
const BACKLOG: i32 = 511;

/// `UV_TCP_IPV6ONLY` and `UV_UDP_IPV6ONLY`.
const IPV6_ONLY: u32 = 1;

/// `UV_UDP_REUSEADDR`.
const REUSE_ADDRESS: u32 = 4;

/// What was opened.
#[derive(Debug)]
pub(super) enum Socket {
    /// The master accepts.
    Accepting(Listener),
    /// Every worker reads the socket itself.
    Shared(OwnedFd),
}

/// Takes over what an earlier master had under that key.
pub(super) fn inherit(
    key: &str,
    listen: &Listen<'_>,
    socket: OwnedFd,
) -> Result<Socket, i32> {
    match listen.address_type {
        AddressType::Udp4 | AddressType::Udp6 => Ok(Socket::Shared(socket)),
        AddressType::Unspecified
        | AddressType::Tcp4
        | AddressType::Tcp6
        | AddressType::Unix => Listener::inherit(key.as_ref(), socket)
            .map(Socket::Accepting)
            .map_err(|error| error.errno()),
    }
}

/// The addresses of `--host`, found once and for ever: names may have to be
/// asked for over a network, and the loop waits for nobody.
pub(in crate::master) fn find_host(
    host: &str,
) -> Result<Vec<SocketAddr>, Error> {
    match (host, 0).to_socket_addrs() {
        Ok(found) => Ok(found.collect()),
        Err(error) => Err(Error::System(format!(
            "cannot find --host {host}: {error}; is it spelled right?"
        ))),
    }
}

/// Opens what is asked for. `host` is where a listen on every address goes
/// instead. The error is the system's number, as Node wants to hear it.
pub(super) fn open(
    key: &str,
    listen: &Listen<'_>,
    host: Option<&[SocketAddr]>,
) -> Result<Socket, i32> {
    let name = OsString::from(key);
    let backlog = listen
        .backlog
        .map_or(BACKLOG, |backlog| i32::try_from(backlog).unwrap_or(i32::MAX));
    let has = |flag: u32| listen.flags.is_some_and(|set| set & flag != 0);
    let ipv6_only = has(IPV6_ONLY);
    match listen.address_type {
        AddressType::Unix => {
            let path = listen.address.as_deref().unwrap_or_default();
            open_path(name, Path::new(path), backlog, listen)
        }
        AddressType::Udp4 | AddressType::Udp6 => {
            let opened = first(&addresses(listen, host)?, |address| {
                socket::bind_udp(address, ipv6_only, has(REUSE_ADDRESS))
            });
            opened.map(Socket::Shared)
        }
        AddressType::Tcp4 | AddressType::Tcp6 => {
            let opened = first(&addresses(listen, host)?, |address| {
                let name = name.clone();
                let how = Listening { ipv6_only, ..Listening::plain(backlog) };
                Listener::listen_at(name, address, how)
            });
            opened.map(|(listener, _)| Socket::Accepting(listener))
        }
        AddressType::Unspecified => {
            let number = listen.fd.ok_or(invalid())?;
            let socket =
                process::duplicate(number).map_err(|error| error.errno())?;
            // First, since it refuses what is no socket to listen on: that
            // may be somebody's terminal, and is not to be changed.
            socket::listen(socket.as_fd(), backlog)
                .map_err(|error| error.errno())?;
            socket::set_nonblocking(socket.as_fd())
                .map_err(|error| error.errno())?;
            Listener::inherit(&name, socket)
                .map(Socket::Accepting)
                .map_err(|error| error.errno())
        }
    }
}

fn open_path(
    name: OsString,
    path: &Path,
    backlog: i32,
    listen: &Listen<'_>,
) -> Result<Socket, i32> {
    // As uv_pipe_chmod does: the other bits stay.
    let more = [(listen.readable_all, 0o444), (listen.writable_all, 0o222)]
        .into_iter()
        .filter(|(wanted, _)| *wanted)
        .fold(0, |bits, (_, more)| bits | more);
    // The lock may be anybody's, and the loop waits for nobody.
    let turn = lock::folder_if_free(path);
    Listener::bind_unix(name, path, backlog, more, turn)
        .map(Socket::Accepting)
        .map_err(|error| error.errno())
}

/// The addresses that may be meant, the better ones first. A worker names one
/// by its number: Node has looked a name up before it asks. Node listens on
/// all IPv6 addresses, and with them on all of IPv4, or only on those where
/// there is no IPv6.
fn addresses(
    listen: &Listen<'_>,
    host: Option<&[SocketAddr]>,
) -> Result<Vec<SocketAddr>, i32> {
    // A datagram socket that is bound without a port gets any.
    let is_datagram =
        matches!(listen.address_type, AddressType::Udp4 | AddressType::Udp6);
    let asked = listen.port.or(is_datagram.then_some(0));
    let port = asked.and_then(|port| u16::try_from(port).ok());
    let port = port.ok_or(invalid())?;
    let address = listen.address.as_deref();
    let named = address.map(|address| numbered(address, port)).transpose()?;
    // A datagram socket names every address where a server names none.
    match (host, named) {
        (Some(host), named)
            if named.is_none_or(|named| named.ip().is_unspecified()) =>
        {
            let at = |found: &SocketAddr| {
                let mut address = *found;
                address.set_port(port);
                address
            };
            let host = host.iter().map(at);
            return Ok(host.filter(|found| fits(listen, found)).collect());
        }
        (_, Some(named)) => return Ok(vec![named]),
        (_, None) => {}
    }
    let v4 = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port);
    let v6 = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port);
    Ok(match listen.address_type {
        AddressType::Udp4 => vec![v4],
        AddressType::Udp6 | AddressType::Tcp6 => vec![v6],
        AddressType::Tcp4 | AddressType::Unspecified | AddressType::Unix => {
            vec![v6, v4]
        }
    })
}

/// An address by its number, and perhaps a zone: `fe80::1%eth0`.
fn numbered(address: &str, port: u16) -> Result<SocketAddr, i32> {
    if let Ok(ip) = address.parse::<IpAddr>() {
        return Ok(SocketAddr::new(ip, port));
    }
    let (ip, zone) = address.split_once('%').ok_or(invalid())?;
    let ip = ip.parse().map_err(|_| invalid())?;
    let zone = zone.parse().ok().or_else(|| interface::number_of(zone));
    let zone = zone.ok_or(invalid())?;
    Ok(SocketAddrV6::new(ip, port, 0, zone).into())
}

/// A worker reads a shared socket itself, and knows its family. What is
/// accepted here may come from any, but not where one was ruled out.
fn fits(listen: &Listen<'_>, found: &SocketAddr) -> bool {
    match listen.address_type {
        AddressType::Udp4 => found.is_ipv4(),
        AddressType::Udp6 => found.is_ipv6(),
        AddressType::Tcp6 => {
            let only = listen.flags.is_some_and(|set| set & IPV6_ONLY != 0);
            !only || found.is_ipv6()
        }
        AddressType::Tcp4 | AddressType::Unix | AddressType::Unspecified => {
            true
        }
    }
}

/// The first that works; else why the last did not.
fn first<T>(
    addresses: &[SocketAddr],
    bind: impl Fn(SocketAddr) -> sys::Result<T>,
) -> Result<T, i32> {
    let mut errno = sys::Error::NO_ADDRESS.errno();
    for &address in addresses {
        match bind(address) {
            Ok(bound) => return Ok(bound),
            Err(error) if error.is_address_missing() => errno = error.errno(),
            Err(error) => return Err(error.errno()),
        }
    }
    Err(errno)
}

/// "Invalid argument": what Node is told of what makes no sense.
fn invalid() -> i32 {
    sys::Error::INVALID.errno()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io;
    use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
    use std::thread;

    const LOCAL: SocketAddr =
        SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

    fn tcp(address: Option<&'static str>, port: i32) -> Listen<'static> {
        Listen {
            address: address.map(Into::into),
            port: Some(port),
            address_type: AddressType::Tcp4,
            ..Listen::default()
        }
    }

    #[test]
    fn a_listen_on_every_address_takes_both_families_or_the_host_given() {
        let wide = tcp(None, 80);
        let both = addresses(&wide, None).unwrap();
        assert_eq!(both[0], "[::]:80".parse().unwrap());
        assert_eq!(both[1], "0.0.0.0:80".parse().unwrap());
        let one = addresses(&wide, Some(&[LOCAL])).unwrap();
        assert_eq!(one, ["127.0.0.1:80".parse().unwrap()]);
    }

    #[test]
    fn an_address_is_a_number_with_a_zone_perhaps_and_never_a_name() {
        let at = |address| addresses(&tcp(Some(address), 80), None);
        let one = interface::number_of("lo").unwrap();
        for (zone, number) in [("lo", one), ("7", 7)] {
            let asked = format!("fe80::1%{zone}");
            let asked =
                Listen { address: Some(asked.into()), ..tcp(None, 80) };
            let ip = "fe80::1".parse().unwrap();
            let expected = SocketAddrV6::new(ip, 80, 0, number);
            assert_eq!(addresses(&asked, None), Ok(vec![expected.into()]));
        }
        // `localhost` is in a file, but whose name is may be a server's word.
        for name in ["localhost", "example.org", "", "1", "fe80::1%nowhere"] {
            assert_eq!(at(name), Err(invalid()), "{name}");
        }
    }

    #[test]
    fn a_host_is_found_once_with_all_its_addresses() {
        assert!(!find_host("localhost").unwrap().is_empty());
        let error = find_host("a\0b").unwrap_err();
        assert!(error.to_string().contains("--host a\0b"));
    }

    #[test]
    fn every_address_by_its_number_is_every_address_too() {
        let host = Some(&[LOCAL][..]);
        for (named, bound) in [
            ("0.0.0.0", "127.0.0.1:80"),
            ("::", "127.0.0.1:80"),
            ("127.0.0.2", "127.0.0.2:80"),
            ("::1", "[::1]:80"),
        ] {
            let asked = tcp(Some(named), 80);
            let bound: SocketAddr = bound.parse().unwrap();
            assert_eq!(addresses(&asked, host).unwrap(), [bound], "{named}");
        }
        let asked = tcp(Some("0.0.0.0"), 80);
        let bound: SocketAddr = "0.0.0.0:80".parse().unwrap();
        assert_eq!(addresses(&asked, None).unwrap(), [bound]);
    }

    #[test]
    fn a_host_of_the_other_family_is_no_place_for_a_datagram_socket() {
        let mut asked = tcp(Some("::"), 0);
        asked.address_type = AddressType::Udp6;
        let host = Some(&[LOCAL][..]);
        assert_eq!(addresses(&asked, host).unwrap(), []);
        let errno = open("u", &asked, host).unwrap_err();
        let error = io::Error::from_raw_os_error(errno);
        assert_eq!(error.kind(), io::ErrorKind::AddrNotAvailable);
    }

    #[test]
    fn what_is_in_use_is_told_by_its_number() {
        let asked = tcp(Some("127.0.0.1"), 0);
        let Ok(Socket::Accepting(first)) = open("a", &asked, None) else {
            panic!("port 0 is always free");
        };
        let port = i32::from(first.bound().unwrap().port());
        let errno = open("b", &tcp(Some("127.0.0.1"), port), None);
        let errno = errno.unwrap_err();
        let error = io::Error::from_raw_os_error(errno);
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    /// Who may write to the folder could have a master that is root open
    /// anybody's file to all.
    #[test]
    fn a_socket_is_open_to_whom_the_worker_said_and_no_other_file_ever_is() {
        let process = std::process::id();
        let folder = format!("handoff-{process}-open");
        let folder = std::env::temp_dir().join(folder);
        fs::create_dir(&folder).unwrap();
        let at = |name: &str| folder.join(name);
        let (path, secret) = (at("socket"), at("secret"));
        fs::write(&secret, "").unwrap();
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o600))
            .unwrap();
        let open = |readable_all, writable_all| {
            let listen =
                Listen { readable_all, writable_all, ..Listen::default() };
            open_path(OsString::new(), &path, 8, &listen)
        };
        let close = |socket| match socket {
            Ok(Socket::Accepting(listener)) => listener.close().unwrap(),
            other => panic!("{other:?}"),
        };
        let plain = open(false, false);
        let usual = mode(&path);
        close(plain);
        for (readable, writable, more) in [
            (true, false, 0o444),
            (false, true, 0o222),
            (true, true, 0o666),
            (false, false, 0),
        ] {
            let socket = open(readable, writable);
            assert_eq!(mode(&path), usual | more);
            close(socket);
        }
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                let link = at("link");
                while !over.load(Relaxed) {
                    let there = fs::symlink_metadata(&path);
                    if there.is_ok_and(|there| there.file_type().is_socket()) {
                        symlink(&secret, &link).unwrap();
                        fs::rename(&link, &path).unwrap();
                    }
                }
            });
            for _ in 0..1000 {
                drop(open(true, true));
                let _ = fs::remove_file(&path);
            }
            over.store(true, Relaxed);
        });
        assert_eq!(mode(&secret), 0o600);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_udp_socket_is_shared() {
        let mut asked = tcp(Some("127.0.0.1"), 0);
        asked.address_type = AddressType::Udp4;
        let opened = open("u", &asked, None).unwrap();
        assert!(matches!(opened, Socket::Shared(_)));
    }
}
