//! A listening socket, whoever has bound it.
//!
//! A listener lives as long as the master, also while no worker lives: the
//! kernel's backlog is the queue in which clients wait.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Instant;

use log::warn;

use super::trust::Trust;
use crate::config::Address;
use crate::error::Error;
use crate::sys;
use crate::sys::lock;
use crate::sys::socket::{self, Accepted};
use crate::sys::tcp::{self, Listening};

/// How long the kernel may hold back a connection without data, in seconds,
/// where deferred accepting is on; it rounds to its retransmission times.
pub(super) const DEFER_SECONDS: i32 = 1;

/// One listening socket.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: OwnedFd,
    /// By what the master that follows this one will know it: the address as
    /// it was typed, or the key by which a worker asked for it.
    name: OsString,
    place: Place,
    trust: Trust,
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
    /// No other program is in the way, but what this one was told.
    told: bool,
}

impl Listener {
    /// Listens on an IP address; also where it came to be.
    pub(crate) fn listen_at(
        name: OsString,
        address: SocketAddr,
        how: Listening,
    ) -> sys::Result<(Listener, SocketAddr)> {
        let socket = tcp::listen(address, how)?;
        let bound = socket::local_address(socket.as_fd())?.unwrap_or(address);
        let place = Place::Tcp(bound);
        let trust = Trust::ours();
        Ok((Listener { socket, name, place, trust }, bound))
    }

    /// Takes over a socket that somebody else has bound.
    pub(crate) fn inherit(
        name: &OsStr,
        socket: OwnedFd,
    ) -> Result<Listener, BindError> {
        let failed = |error: sys::Error| BindError {
            line: format!("{}: {error}", name.to_string_lossy()),
            errno: error.errno(),
            told: false,
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
        let (name, trust) = (name.to_owned(), Trust::inherited());
        Ok(Listener { socket, name, place, trust })
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
    /// `more`: bits of the file's mode beyond what the umask leaves.
    ///
    /// Every call on the path takes as long as its file system does, which is
    /// not bounded where that is dead (a network's): see `defended`.
    pub(crate) fn bind_unix(
        name: OsString,
        path: &Path,
        backlog: i32,
        more: u32,
        turn: Option<OwnedFd>,
    ) -> Result<Listener, BindError> {
        let result = match socket::listen_unix(path, backlog, more) {
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
                    return Err(BindError {
                        line,
                        errno: error.errno(),
                        told: false,
                    });
                }
                match sys::unix::is_listened_on(path) {
                    Ok(false) if turn.is_some() || lock::is_settled(path) => {
                        fs::remove_file(path)
                            .map_err(|error| unusable(path, &error))?;
                        socket::listen_unix(path, backlog, more)
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
        let trust = Trust::ours();
        Ok(Listener { socket, name, place, trust })
    }

    /// The next connection in the queue. The address is that of an IP peer.
    pub(crate) fn accept(&self) -> sys::Result<Accepted> {
        socket::accept(self.socket.as_fd())
    }

    /// Asks once whether its connections can be guarded, on a system that
    /// counts what they carry.
    pub(crate) fn guard(&mut self) {
        let Place::Tcp(address) = self.place else { return };
        let doubt = self.trust.ask(self.socket.as_fd());
        if let Some(doubt) = doubt {
            warn!(
                "http://{address}: connections end with their worker: {doubt}"
            );
        }
    }

    /// Whether a connection that has just been accepted here can be guarded.
    pub(crate) fn trusts(&mut self, connection: BorrowedFd<'_>) -> bool {
        let (trusted, news) = self.trust.extends_to(connection);
        if let Some(doubt) = news {
            warn!(
                "{self}: a connection that is older than this server ends \
                 with its worker: {doubt}; the status counts such"
            );
        }
        trusted
    }

    /// Its queue is empty.
    pub(crate) fn is_drained(&mut self, now: Instant) {
        self.trust.is_drained(now);
    }

    /// Whether the kernel may hold back connections until their first bytes
    /// are there. Before a listener is closed it must not: they would be left
    /// behind.
    pub(crate) fn defer(&self, on: bool) -> sys::Result<()> {
        let seconds = if on { DEFER_SECONDS } else { 0 };
        match self.place {
            Place::Tcp(_) => {
                let fd = self.socket.as_fd();
                socket::unless_unsupported(tcp::set_defer_accept(fd, seconds))
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

    /// Whether nobody else can listen on this address because of us.
    /// `ipv6_only`: `[::]` is to leave IPv4 out.
    pub(super) fn takes(&self, address: SocketAddr, ipv6_only: bool) -> bool {
        let Some(bound) = self.bound() else { return false };
        // What is no IPv6 socket is not asked for IPv4.
        let only = tcp::is_ipv6_only(self.as_fd()).unwrap_or(false);
        bound.port() == address.port()
            && (covers(bound.ip(), only, address.ip())
                || covers(address.ip(), ipv6_only, bound.ip()))
    }

    /// Whether the socket file there is the one of this listener.
    pub(super) fn is_at(&self, path: &Path) -> bool {
        match &self.place {
            Place::Tcp(_) => false,
            Place::Unix(own, _) | Place::Passed(own) => {
                identity(own).ok().is_some_and(|own| {
                    identity(path).is_ok_and(|there| there == own)
                })
            }
        }
    }

    /// Somebody else listens here too, and goes on: whoever of the two ends
    /// first leaves everything as it is.
    pub(crate) fn share(&mut self) {
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

/// Whether what is bound to one address has the other as well.
fn covers(wide: IpAddr, ipv6_only: bool, other: IpAddr) -> bool {
    // ::ffff:1.2.3.4 is 1.2.3.4.
    let (wide, other) = (wide.to_canonical(), other.to_canonical());
    let reaches =
        other.is_ipv4() == wide.is_ipv4() || (wide.is_ipv6() && !ipv6_only);
    wide == other || (wide.is_unspecified() && reaches)
}

pub(super) fn explain(address: &Address, error: sys::Error) -> BindError {
    let line = format!("cannot listen on {address}: {}", advice(error));
    BindError { line, errno: error.errno(), told: false }
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
    BindError { line, errno: errno(error), told: false }
}

fn errno(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or_default()
}

impl BindError {
    /// The host has no address.
    pub(super) fn unknown(address: &Address, error: &io::Error) -> BindError {
        let words = "is the host spelled right?";
        let line = format!("cannot find {address}: {error}; {words}");
        BindError { line, errno: errno(error), told: false }
    }

    /// What is in the way is a listener of this very server.
    pub(super) fn twice(address: &Address, other: &Listener) -> BindError {
        let line = format!(
            "cannot listen on {address}: {other} of this server is in the \
             way; name each address once"
        );
        BindError { line, errno: sys::Error::IN_USE.errno(), told: true }
    }

    pub(super) fn is_address_in_use(&self) -> bool {
        self.errno == sys::Error::IN_USE.errno()
    }

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
        match error.told {
            true => Error::Usage(error.line),
            false => Error::System(error.line),
        }
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
        let turn = lock::folder_of(path);
        Listener::bind_unix(OsString::new(), path, 8, 0, turn)
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
        let bind = || Listener::bind_unix(OsString::new(), &path, 8, 0, None);
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
            Listener::bind_unix(OsString::new(), &path, 0, 0, None).unwrap();
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
}
