//! Listening sockets: from an address as typed to something that accepts.
//!
//! A listener lives as long as the master, also while no worker lives: the
//! kernel's backlog is the queue in which clients wait.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::config::Address;
use crate::error::Error;
use crate::sys;
use crate::sys::lock;
use crate::sys::socket::{self, Accepted};
use crate::sys::tcp;

/// Longest queue of connections that wait to be accepted. The kernel clamps
/// it to net.core.somaxconn (4096 since Linux 5.4).
const BACKLOG: i32 = 4096;

/// How long the kernel may hold back a connection without data, in seconds,
/// where deferred accepting is on; it rounds to its retransmission times.
const DEFER_SECONDS: i32 = 1;

/// One listening socket.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: OwnedFd,
    /// By what the master that follows this one will know it: the address as
    /// it was typed, or the key by which a worker asked for it.
    name: OsString,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Tcp(SocketAddr),
    /// The file, and its device and inode when it was made; `None` while it
    /// is another master's.
    Unix(PathBuf, Option<(u64, u64)>),
    /// The same, where the file is a service manager's.
    Passed(PathBuf),
}

/// Why an address cannot be listened on.
#[derive(Debug)]
pub(crate) struct BindError {
    /// One line that says what to do.
    line: String,
    /// What the system said, for a worker that asked.
    errno: i32,
}

impl Listener {
    /// Takes all addresses or none: on a failure no socket file is left that
    /// was made here. `inherited` yields the sockets of an address that this
    /// process was given.
    pub(crate) fn bind_all(
        addresses: &[Address],
        defer_accept: bool,
        mut inherited: impl FnMut(&OsStr) -> Vec<OwnedFd>,
    ) -> Result<Vec<Listener>, BindError> {
        let mut listeners: Vec<Listener> = Vec::new();
        for address in addresses {
            let sockets = inherited(&address.typed());
            let more = if sockets.is_empty() {
                Listener::bind(address, defer_accept)
            } else {
                let name = address.typed();
                let inherit = |socket| Listener::inherit(&name, socket);
                sockets.into_iter().map(inherit).collect()
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

    /// Binds an address. A name may stand for several (`localhost`): all of
    /// them that this machine has are taken, on one port.
    fn bind(
        address: &Address,
        defer_accept: bool,
    ) -> Result<Vec<Listener>, BindError> {
        match address {
            Address::Unix(path) => {
                let name = address.typed();
                let turn = lock::folder_of(path);
                Ok(vec![Listener::bind_unix(name, path, BACKLOG, turn)?])
            }
            Address::Tcp { host, port } => {
                Listener::bind_tcp(address, host, *port, defer_accept)
            }
        }
    }

    fn bind_tcp(
        address: &Address,
        host: &str,
        port: u16,
        defer_accept: bool,
    ) -> Result<Vec<Listener>, BindError> {
        let resolved = (host, port).to_socket_addrs().map_err(|error| {
            let words = "is the host spelled right?";
            let line = format!("cannot find {address}: {error}; {words}");
            BindError { line, errno: errno(&error) }
        })?;
        Listener::bind_resolved(address, resolved, port, defer_accept)
    }

    fn bind_resolved(
        address: &Address,
        resolved: impl Iterator<Item = SocketAddr>,
        mut port: u16,
        defer_accept: bool,
    ) -> Result<Vec<Listener>, BindError> {
        let mut listeners = Vec::new();
        let mut failure = None;
        let mut seen = BTreeSet::new();
        for mut candidate in resolved {
            // Two lines of /etc/hosts may say the same.
            if !seen.insert(candidate) {
                continue;
            }
            candidate.set_port(port);
            match Listener::listen(address, candidate, defer_accept) {
                Ok((listener, bound)) => {
                    port = bound.port();
                    listeners.push(listener);
                }
                // The other family may be switched off on this machine.
                Err(error) if error.is_address_missing() => {
                    failure = failure.or(Some(error));
                }
                Err(error) => return Err(explain(address, error)),
            }
        }
        match failure {
            Some(error) if listeners.is_empty() => {
                Err(explain(address, error))
            }
            _ => Ok(listeners),
        }
    }

    fn listen(
        address: &Address,
        resolved: SocketAddr,
        defer_accept: bool,
    ) -> sys::Result<(Listener, SocketAddr)> {
        let (listener, bound) =
            Listener::listen_at(address.typed(), resolved, BACKLOG, false)?;
        if defer_accept {
            listener.defer(true)?;
        }
        Ok((listener, bound))
    }

    /// Listens on an IP address; also where it came to be.
    pub(crate) fn listen_at(
        name: OsString,
        address: SocketAddr,
        backlog: i32,
        ipv6_only: bool,
    ) -> sys::Result<(Listener, SocketAddr)> {
        let socket = socket::listen_tcp(address, backlog, ipv6_only)?;
        let bound = socket::local_address(socket.as_fd())?.unwrap_or(address);
        let place = Place::Tcp(bound);
        Ok((Listener { socket, name, place }, bound))
    }

    /// Takes over a socket that somebody else has bound.
    pub(crate) fn inherit(
        name: &OsStr,
        socket: OwnedFd,
    ) -> Result<Listener, BindError> {
        let failed = |error: sys::Error| BindError {
            line: format!("{}: {error}", name.to_string_lossy()),
            errno: error.errno(),
        };
        let bound = socket::local_address(socket.as_fd()).map_err(failed)?;
        let place = match bound {
            Some(address) => Place::Tcp(address),
            None => {
                let path = socket::local_path(socket.as_fd());
                let path = path.map_err(failed)?;
                Place::Unix(path, None)
            }
        };
        Ok(Listener { socket, name: name.to_owned(), place })
    }

    /// The same for one that a service manager has bound, and keeps.
    pub(crate) fn adopt(
        name: &OsStr,
        socket: OwnedFd,
    ) -> Result<Listener, BindError> {
        let mut listener = Listener::inherit(name, socket)?;
        if let Place::Unix(path, _) = listener.place {
            listener.place = Place::Passed(path);
        }
        Ok(listener)
    }

    /// A socket file that nobody listens on any more is replaced, as after a
    /// crash; one that answers is in use; anything else is not ours to touch.
    /// One at a time, whose `turn` is a lock: between bind and listen of
    /// another master its file would look as if nobody did. Whoever could not
    /// have the lock takes a file for left behind if it is older than that.
    pub(crate) fn bind_unix(
        name: OsString,
        path: &Path,
        backlog: i32,
        turn: Option<OwnedFd>,
    ) -> Result<Listener, BindError> {
        let result = match socket::listen_unix(path, backlog) {
            Err(error) if error.is_address_in_use() => {
                let kind = fs::symlink_metadata(path)
                    .map_err(|error| unusable(path, &error))?
                    .file_type();
                if !kind.is_socket() {
                    let line = format!(
                        "cannot listen on unix:{}: a file that is not a \
                         socket is there; move it away or choose another path",
                        path.display()
                    );
                    return Err(BindError { line, errno: error.errno() });
                }
                match sys::unix::is_listened_on(path) {
                    Ok(false) if turn.is_some() || lock::is_settled(path) => {
                        fs::remove_file(path)
                            .map_err(|error| unusable(path, &error))?;
                        socket::listen_unix(path, backlog)
                    }
                    Ok(_) | Err(_) => Err(error),
                }
            }
            result => result,
        };
        let address = Address::Unix(path.to_owned());
        let socket = result.map_err(|error| explain(&address, error))?;
        let made = identity(path).map_err(|error| unusable(path, &error))?;
        let place = Place::Unix(path.to_owned(), Some(made));
        Ok(Listener { socket, name, place })
    }

    /// The next connection in the queue. The address is that of an IP peer.
    pub(crate) fn accept(&self) -> sys::Result<Accepted> {
        socket::accept(self.socket.as_fd())
    }

    /// Whether the kernel may hold back connections until their first bytes
    /// are there. Before a listener is closed it must not: they would be left
    /// behind.
    pub(crate) fn defer(&self, on: bool) -> sys::Result<()> {
        let seconds = if on { DEFER_SECONDS } else { 0 };
        match self.place {
            Place::Tcp(_) => {
                tcp::set_defer_accept(self.socket.as_fd(), seconds)
            }
            Place::Unix(..) | Place::Passed(_) => Ok(()),
        }
    }

    /// By what the master that follows this one will know it.
    pub(crate) fn name(&self) -> &OsStr {
        &self.name
    }

    /// Where an IP listener is bound.
    pub(crate) fn bound(&self) -> Option<SocketAddr> {
        match self.place {
            Place::Tcp(address) => Some(address),
            Place::Unix(..) | Place::Passed(_) => None,
        }
    }

    /// Somebody else listens here too, and goes on: whoever of the two ends
    /// first leaves everything as it is.
    pub(crate) fn bequeath(&mut self) {
        if let Place::Unix(_, made) = &mut self.place {
            *made = None;
        }
    }

    /// Nobody else will listen here: a socket file is ours.
    pub(crate) fn take_over(&mut self) {
        if let Place::Unix(path, made) = &mut self.place {
            *made = identity(path).ok();
        }
    }

    /// Stops listening. A socket file goes too, if it is still the one that
    /// was made here and not a successor's.
    pub(crate) fn close(self) -> io::Result<()> {
        match self.place {
            Place::Unix(path, Some(made))
                if identity(&path).ok() == Some(made) =>
            {
                fs::remove_file(path)
            }
            Place::Unix(..) | Place::Passed(_) | Place::Tcp(_) => Ok(()),
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// What a client types to get here.
impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Tcp(address) => write!(f, "http://{address}"),
            Place::Unix(path, _) | Place::Passed(path) => {
                write!(f, "unix:{}", path.display())
            }
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

fn explain(address: &Address, error: sys::Error) -> BindError {
    let line = format!("cannot listen on {address}: {}", advice(error));
    BindError { line, errno: error.errno() }
}

/// Why nobody can listen there, and what to do.
pub(super) fn advice(error: sys::Error) -> String {
    let advice = if error.is_address_in_use() {
        "something listens there already; stop it or choose another address"
    } else if error.is_address_missing() {
        "this machine has no such address; choose one that it has"
    } else if error.is_permission_denied() {
        "not permitted; ports below 1024 need root or CAP_NET_BIND_SERVICE, \
         a socket file needs a folder that may be written"
    } else {
        return error.to_string();
    };
    advice.to_owned()
}

fn unusable(path: &Path, error: &io::Error) -> BindError {
    let line = format!("cannot listen on unix:{}: {error}", path.display());
    BindError { line, errno: errno(error) }
}

fn errno(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or_default()
}

impl BindError {
    /// The system's number for it; 0 if it has none.
    pub(crate) fn errno(&self) -> i32 {
        self.errno
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line)
    }
}

impl std::error::Error for BindError {}

impl From<BindError> for Error {
    fn from(error: BindError) -> Error {
        Error::System(error.line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    fn scratch(name: &str) -> PathBuf {
        let process = std::process::id();
        std::env::temp_dir().join(format!("handoff-{process}-{name}"))
    }

    fn bind(path: &Path) -> Result<Listener, BindError> {
        Listener::bind_unix(OsString::new(), path, 8, lock::folder_of(path))
    }

    #[test]
    fn a_stale_socket_file_is_replaced_and_removed_at_the_end() {
        let path = scratch("stale");
        drop(bind(&path).unwrap());
        assert!(path.exists());
        let listener = bind(&path).unwrap();
        UnixStream::connect(&path).unwrap();
        listener.close().unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn who_is_not_at_turn_leaves_a_file_that_may_be_about_to_be_listened_on() {
        let path = scratch("turn");
        drop(bind(&path).unwrap());
        let bind = || Listener::bind_unix(OsString::new(), &path, 8, None);
        assert!(bind().is_err());
        let touched = std::process::Command::new("touch")
            .args(["-d", "2 seconds ago"])
            .arg(&path)
            .status();
        assert!(touched.unwrap().success());
        bind().unwrap().close().unwrap();
    }

    #[test]
    fn a_live_socket_file_is_in_use() {
        let path = scratch("live");
        let first = bind(&path).unwrap();
        let error = bind(&path).unwrap_err().to_string();
        assert!(error.contains("listens there already"), "{error}");
        first.close().unwrap();
    }

    #[test]
    fn whoever_listens_and_takes_nobody_is_not_waited_for() {
        let path = scratch("stuck");
        let first =
            Listener::bind_unix(OsString::new(), &path, 0, None).unwrap();
        let _client = UnixStream::connect(&path).unwrap();
        let error = bind(&path).unwrap_err().to_string();
        assert!(error.contains("listens there already"), "{error}");
        first.close().unwrap();
    }

    #[test]
    fn a_file_that_is_no_socket_is_never_removed() {
        let path = scratch("file");
        fs::write(&path, "precious").unwrap();
        let error = bind(&path).unwrap_err().to_string();
        assert!(error.contains("not a socket"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_successors_socket_file_is_left_alone() {
        let path = scratch("successor");
        let first = bind(&path).unwrap();
        fs::rename(&path, scratch("away")).unwrap();
        let second = bind(&path).unwrap();
        first.close().unwrap();
        assert!(path.exists());
        second.close().unwrap();
        fs::remove_file(scratch("away")).unwrap();
    }

    #[test]
    fn an_address_that_a_name_stands_for_twice_is_bound_once() {
        let address = Address::Tcp { host: "localhost".to_owned(), port: 0 };
        let twice = [SocketAddr::from(([127, 0, 0, 1], 0)); 2].into_iter();
        let bound = Listener::bind_resolved(&address, twice, 0, true);
        assert_eq!(bound.unwrap().len(), 1);
    }

    #[test]
    fn a_name_is_bound_in_all_its_families_on_one_port() {
        let address = Address::Tcp { host: "localhost".to_owned(), port: 0 };
        let listeners = Listener::bind(&address, true).unwrap();
        let ports: Vec<u16> = listeners
            .iter()
            .map(|listener| match listener.place {
                Place::Tcp(address) => address.port(),
                Place::Unix(..) | Place::Passed(_) => unreachable!(),
            })
            .collect();
        assert!(ports.iter().all(|port| *port == ports[0] && *port != 0));
    }
}
