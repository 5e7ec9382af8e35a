//! The control socket as a file: where it is, who may come, and whose it is
//! at the end.
//!
//! ```text
//!   bind beside, chmod 0600 ── rename ──▶ handoff-PID.sock ── unlink, if it
//!      PATH.PID                                               is still ours
//! ```
//!
//! The file is never there without somebody who listens on it, and a name
//! that is taken over from another master is never away for an instant.

use std::fmt;
use std::fs::{self, Permissions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use log::debug;

use crate::control::path::{folders, is_named_so};
use crate::sys;
use crate::sys::socket::{self, Accepted};
use crate::sys::unix;

/// Clients that may wait in the kernel until they are accepted.
const BACKLOG: i32 = 128;

/// Masters with the same process number that may share a folder.
const NAMESAKES: u32 = 64;

/// Names for the socket of this process, the first one first: in a folder that
/// containers share, several may be process 1.
fn names() -> impl Iterator<Item = String> {
    let pid = std::process::id();
    let others =
        (2..=NAMESAKES).map(move |n| format!("handoff-{pid}-{n}.sock"));
    std::iter::once(format!("handoff-{pid}.sock")).chain(others)
}

/// Removes the sockets of masters that were killed. None is ever there without
/// somebody who listens on it, so whoever is refused has the proof.
fn sweep(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let path = entry.path();
        // To connect to a file of any other kind is refused as well.
        if name.to_str().is_some_and(is_named_so)
            && entry.file_type().is_ok_and(|kind| kind.is_socket())
            && unix::is_listened_on(&path) == Ok(false)
            && fs::remove_file(&path).is_ok()
        {
            debug!("{} was left behind, and is removed", path.display());
        }
    }
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Socket {
    socket: OwnedFd,
    path: PathBuf,
    /// Device and inode of the file when it was made.
    made: (u64, u64),
}

/// Somebody who is allowed to ask, or not.
#[derive(Debug)]
pub(super) enum Peer {
    /// Root, or the user of this process.
    Allowed(OwnedFd),
    /// Somebody else.
    Denied(OwnedFd),
}

impl Socket {
    /// In the first of the [`folders`] that takes it, by a name that nobody
    /// else has. `turn` locks a folder.
    pub(super) fn bind_somewhere(
        turn: fn(&Path) -> Option<OwnedFd>,
    ) -> io::Result<Socket> {
        let mut failure = None;
        for folder in folders() {
            let _turn = turn(&folder.join("handoff"));
            sweep(&folder);
            let free = names().find(|name| !is_in_use(&folder.join(name)));
            let Some(name) = free else { continue };
            match Socket::bind(&folder.join(name)) {
                Ok(socket) => return Ok(socket),
                Err(error) => {
                    let folder = folder.display();
                    let line = format!("{folder}: {error}");
                    failure = Some(io::Error::new(error.kind(), line));
                }
            }
        }
        Err(failure.unwrap_or_else(|| io::ErrorKind::NotFound.into()))
    }

    /// Takes the place of whatever socket lies there; a file of another kind
    /// is left alone.
    pub(super) fn bind(path: &Path) -> io::Result<Socket> {
        match fs::symlink_metadata(path) {
            Ok(there) if !there.file_type().is_socket() => {
                return Err(io::Error::other("a file that is no socket"));
            }
            Ok(_) | Err(_) => {}
        }
        let mut beside = path.as_os_str().to_owned();
        beside.push(format!(".{}", std::process::id()));
        let beside = PathBuf::from(beside);
        // Of a process that had our number, and was killed in between.
        let _ = fs::remove_file(&beside);
        let socket = socket::listen_unix(&beside, BACKLOG, 0)?;
        let finish = || {
            fs::set_permissions(&beside, Permissions::from_mode(0o600))?;
            let made = identity(&beside)?;
            fs::rename(&beside, path)?;
            Ok(made)
        };
        match finish() {
            Ok(made) => Ok(Socket { socket, path: path.to_owned(), made }),
            Err(error) => {
                // The first failure is the news.
                let _ = fs::remove_file(&beside);
                Err(error)
            }
        }
    }

    /// The next client in the queue.
    pub(super) fn accept(&self) -> sys::Result<Option<Peer>> {
        loop {
            match socket::accept(self.socket.as_fd())? {
                Accepted::Connection(client, _) => {
                    let uid = unix::peer(client.as_fd())?.uid;
                    let welcome = uid == 0 || uid == unix::own_uid();
                    return Ok(Some(match welcome {
                        true => Peer::Allowed(client),
                        false => Peer::Denied(client),
                    }));
                }
                Accepted::Aborted => {}
                Accepted::Nothing => return Ok(None),
            }
        }
    }

    /// Whether who goes by the path comes here.
    pub(super) fn is_in_place(&self) -> bool {
        identity(&self.path).is_ok_and(|there| there == self.made)
    }

    /// Stops listening. The file goes too, unless it is a successor's.
    pub(super) fn close(self) -> io::Result<()> {
        match self.is_in_place() {
            true => fs::remove_file(&self.path),
            false => Ok(()),
        }
    }
}

/// Whether somebody listens at `path`.
pub(super) fn is_in_use(path: &Path) -> bool {
    unix::is_listened_on(path).unwrap_or(false)
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl fmt::Display for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.display().fmt(f)
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::env;
    use std::os::unix::net::UnixStream;

    fn scratch(name: &str) -> PathBuf {
        let process = std::process::id();
        env::temp_dir().join(format!("handoff-{process}-control-{name}"))
    }

    #[test]
    fn it_is_its_owners_alone_and_gone_at_the_end() {
        let path = scratch("own");
        let socket = Socket::bind(&path).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(is_in_use(&path));
        let client = UnixStream::connect(&path).unwrap();
        let visitor = socket.accept().unwrap();
        assert!(matches!(visitor, Some(Peer::Allowed(_))));
        drop(client);
        socket.close().unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn a_successor_takes_the_place_and_keeps_it() {
        let path = scratch("successor");
        let first = Socket::bind(&path).unwrap();
        let second = Socket::bind(&path).unwrap();
        first.close().unwrap();
        assert!(is_in_use(&path));
        second.close().unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn a_file_that_is_no_socket_is_left_alone() {
        let path = scratch("file");
        fs::write(&path, "precious").unwrap();
        assert!(Socket::bind(&path).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_failure_leaves_nothing_behind() {
        let folder = scratch("folder");
        let error = Socket::bind(&folder.join("a")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        let long = scratch(&"x".repeat(80));
        assert!(Socket::bind(&long).is_err());
        assert!(!folder.exists() && !long.exists());
    }
}
