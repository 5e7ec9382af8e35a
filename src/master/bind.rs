//! From addresses as typed to sockets that listen.
//!
//! All of them are looked at before the first is bound: `[::]` takes IPv4
//! too, unless an IPv4 address with its port is among them. So
//! `0.0.0.0:80` and `[::]:80` go together, in either order.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::path::Path;

use super::listener::{BindError, DEFER_SECONDS, Listener, explain};
use crate::config::Address;
use crate::sys::lock;
use crate::sys::tcp::Listening;

/// Longest queue of connections that wait to be accepted. The kernel clamps
/// it to net.core.somaxconn (4096 since Linux 5.4).
const BACKLOG: i32 = 4096;

/// Where an address leads.
enum Found<'a> {
    /// To sockets that this process was given.
    Given(Vec<OwnedFd>),
    Path(&'a Path),
    /// To so many IP addresses.
    Ip(Vec<SocketAddr>),
}

/// Listens on all addresses or none: on a failure no socket file is left that
/// was made here. `inherited` yields the sockets of an address that this
/// process was given.
pub(super) fn all(
    addresses: &[Address],
    defer_accept: bool,
    mut inherited: impl FnMut(&OsStr) -> Vec<OwnedFd>,
) -> Result<Vec<Listener>, BindError> {
    let look = |address| {
        let given = inherited(&Address::typed(address));
        Ok((address, find(address, given)?))
    };
    let found: Vec<(&Address, Found<'_>)> =
        addresses.iter().map(look).collect::<Result<_, _>>()?;
    let ipv4 = found.iter().flat_map(|(_, found)| match found {
        Found::Ip(found) => found.as_slice(),
        Found::Given(_) | Found::Path(_) => &[],
    });
    let ipv4 =
        ipv4.filter(|a| a.port() > 0 && a.ip().to_canonical().is_ipv4());
    let ipv4: BTreeSet<u16> = ipv4.map(SocketAddr::port).collect();
    let mut listeners: Vec<Listener> = Vec::new();
    for (address, found) in found {
        let name = address.typed();
        let more = match found {
            Found::Given(sockets) => {
                let inherit = |socket| Listener::inherit(&name, socket);
                sockets.into_iter().map(inherit).collect()
            }
            Found::Path(path) => {
                bind_path(address, path, &listeners).map(|one| vec![one])
            }
            Found::Ip(found) => {
                let how = |found: &SocketAddr| Listening {
                    backlog: BACKLOG,
                    ipv6_only: found.ip().is_unspecified()
                        && ipv4.contains(&found.port()),
                    // The judge counts what a worker has read of a client.
                    urgent_in_line: true,
                    defer_seconds: match defer_accept {
                        true => DEFER_SECONDS,
                        false => 0,
                    },
                };
                bind_ip(address, &found, how, &listeners)
            }
        };
        match more {
            Ok(more) => listeners.extend(more),
            Err(error) => {
                for listener in listeners {
                    // The address that failed is the news.
                    let _ = listener.close();
                }
                return Err(error);
            }
        }
    }
    Ok(listeners)
}

fn find(
    address: &Address,
    given: Vec<OwnedFd>,
) -> Result<Found<'_>, BindError> {
    match address {
        _ if !given.is_empty() => Ok(Found::Given(given)),
        Address::Unix(path) => Ok(Found::Path(path)),
        Address::Tcp { host, port } => {
            match (host.as_str(), *port).to_socket_addrs() {
                Ok(found) => Ok(Found::Ip(found.collect())),
                Err(error) => Err(BindError::unknown(address, &error)),
            }
        }
    }
}

fn bind_path(
    address: &Address,
    path: &Path,
    others: &[Listener],
) -> Result<Listener, BindError> {
    let (name, turn) = (address.typed(), lock::folder_of(path));
    Listener::bind_unix(name, path, BACKLOG, 0, turn).map_err(|error| {
        let ours = others.iter().find(|other| other.is_at(path));
        match ours.filter(|_| error.is_address_in_use()) {
            Some(other) => BindError::twice(address, other),
            None => error,
        }
    })
}

/// A name may stand for several addresses (`localhost`): all of them that
/// this machine has are taken, on one port.
fn bind_ip(
    address: &Address,
    found: &[SocketAddr],
    how: impl Fn(&SocketAddr) -> Listening,
    others: &[Listener],
) -> Result<Vec<Listener>, BindError> {
    let mut listeners = Vec::new();
    let mut failure = None;
    let mut seen = BTreeSet::new();
    let mut port = None;
    for &one in found {
        // Two lines of /etc/hosts may say the same.
        if !seen.insert(one) {
            continue;
        }
        let how = how(&one);
        let place = SocketAddr::new(one.ip(), port.unwrap_or(one.port()));
        match Listener::listen_at(address.typed(), place, how) {
            Ok((listener, bound)) => {
                port = Some(bound.port());
                listeners.push(listener);
            }
            // The other family may be switched off on this machine.
            Err(error) if error.is_address_missing() => {
                failure = failure.or(Some(error));
            }
            Err(error) => {
                let mut others = others.iter();
                let ours = others.find(|o| o.takes(place, how.ipv6_only));
                return Err(match ours {
                    Some(other) if error.is_address_in_use() => {
                        BindError::twice(address, other)
                    }
                    Some(_) | None => explain(address, error),
                });
            }
        }
    }
    match failure {
        Some(error) if listeners.is_empty() => Err(explain(address, error)),
        _ => Ok(listeners),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::tcp::doubt;
    use std::io::Write;
    use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, TcpStream};
    use std::os::fd::AsFd;
    use std::sync::atomic::{AtomicU16, Ordering::SeqCst};

    fn typed(host: &str, port: u16) -> Address {
        Address::Tcp { host: host.to_owned(), port }
    }

    fn bind(addresses: &[Address]) -> Result<Vec<SocketAddr>, BindError> {
        let bound = all(addresses, true, |_| Vec::new())?;
        Ok(bound.iter().filter_map(Listener::bound).collect())
    }

    /// One that nobody gets who asks for any (ip_local_port_range).
    fn free_port() -> u16 {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let first = 30_000 + (std::process::id() % 20) as u16 * 100;
        loop {
            let port = first + NEXT.fetch_add(1, SeqCst) % 100;
            if TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).is_ok()
                && TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok()
            {
                return port;
            }
        }
    }

    #[test]
    fn an_address_that_a_name_stands_for_twice_is_bound_once() {
        let twice = [SocketAddr::from(([127, 0, 0, 1], 0)); 2];
        let how = |_: &SocketAddr| Listening::plain(8);
        let address = typed("localhost", 0);
        let bound = bind_ip(&address, &twice, how, &[]).unwrap();
        assert_eq!(bound.len(), 1);
    }

    #[test]
    fn a_name_is_bound_in_all_its_families_on_one_port() {
        let bound = bind(&[typed("localhost", 0)]).unwrap();
        let port = bound[0].port();
        assert!(bound.iter().all(|b| b.port() == port && port != 0));
    }

    /// The first may be taken between two steps of another test.
    fn at_a_free_port(names: [&str; 2]) -> Result<Vec<SocketAddr>, BindError> {
        let port = free_port();
        bind(&names.map(|name| typed(name, port)))
    }

    #[test]
    fn every_address_of_both_families_goes_together_in_either_order() {
        for names in [["0.0.0.0", "::"], ["::", "0.0.0.0"]] {
            let bound = at_a_free_port(names).unwrap();
            assert_eq!(bound.len(), 2, "{names:?}");
        }
    }

    #[test]
    fn without_an_ipv4_address_every_ipv6_address_is_every_address() {
        let one = all(&[typed("::", 0)], true, |_| Vec::new()).unwrap();
        let port = one[0].bound().unwrap().port();
        TcpStream::connect(("127.0.0.1", port)).unwrap();
        // Nor can the port of another address be meant.
        let two = [typed("::", free_port()), typed("127.0.0.1", 0)];
        let two = all(&two, true, |_| Vec::new()).unwrap();
        let port = two[0].bound().unwrap().port();
        TcpStream::connect(("127.0.0.1", port)).unwrap();
    }

    #[test]
    fn nobody_else_is_blamed_for_an_address_that_is_named_twice() {
        for (first, second) in [
            ("127.0.0.1", "127.0.0.1"),
            ("0.0.0.0", "127.0.0.1"),
            ("127.0.0.1", "0.0.0.0"),
            ("::", "::1"),
            ("127.0.0.1", "::ffff:127.0.0.1"),
        ] {
            let error = at_a_free_port([first, second]).unwrap_err();
            let line = error.to_string();
            assert!(line.contains("of this server"), "{line}");
            let error = crate::error::Error::from(error);
            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }

    /// Set behind listen(2), an option comes too late for it.
    #[test]
    fn whoever_connects_at_once_has_every_option() {
        let bound = all(&[typed("127.0.0.1", 0)], true, |_| Vec::new());
        let bound = bound.unwrap().remove(0);
        let listener = bound.as_fd().try_clone_to_owned().unwrap();
        let mut client = TcpStream::connect(bound.bound().unwrap()).unwrap();
        client.write_all(b"else it is deferred").unwrap();
        let listener = TcpListener::from(listener);
        listener.set_nonblocking(false).unwrap();
        let server = listener.accept().unwrap().0;
        assert_eq!(doubt::of_connection(server.as_fd()), None);
        assert!(server.nodelay().unwrap());
    }

    #[test]
    fn somebody_else_is_not_mistaken_for_this_server() {
        let theirs = TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = theirs.local_addr().unwrap().port();
        let two = [typed("127.0.0.1", 0), typed("127.0.0.1", taken)];
        let line = bind(&two).unwrap_err().to_string();
        assert!(line.contains("something listens there already"), "{line}");
    }

    #[test]
    fn a_socket_file_that_is_named_twice_is_this_servers() {
        let name = format!("handoff-{}-twice", std::process::id());
        let path = std::env::temp_dir().join(name);
        let other =
            path.parent().unwrap().join(".").join(path.file_name().unwrap());
        let both = [Address::Unix(path.clone()), Address::Unix(other)];
        let line = bind(&both).unwrap_err().to_string();
        assert!(line.contains("of this server"), "{line}");
        assert!(!path.exists(), "it is left");
    }
}
