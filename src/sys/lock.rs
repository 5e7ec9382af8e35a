//! flock(2): a folder that processes take turns in.

use std::fs::{self, File};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::thread;
use std::time::Duration;

use super::{Result, syscall};

/// How often, and how far apart, a lock is tried: for a second together. Any
/// process that may read a folder may hold its lock for as long as it likes.
const TRIES: (u32, Duration) = (200, Duration::from_millis(5));

/// How long a master may take from bind to listen, which is two system calls.
const SETTLED: Duration = Duration::from_secs(1);

/// Waits until nobody else has locked the folder of this path, and locks it
/// until the descriptor is closed. `None`: the folder cannot be read, or
/// somebody holds on to its lock; it is a courtesy among masters, no more.
///
/// For a master that is about to start: one that serves waits for nobody, and
/// asks [`folder_if_free`].
pub(crate) fn folder_of(path: &Path) -> Option<OwnedFd> {
    let folder = open_folder(path)?;
    for _ in 0..TRIES.0 {
        if try_lock(&folder).is_ok() {
            return Some(folder);
        }
        thread::sleep(TRIES.1);
    }
    None
}

/// The same, tried once.
pub(crate) fn folder_if_free(path: &Path) -> Option<OwnedFd> {
    open_folder(path).filter(|folder| try_lock(folder).is_ok())
}

fn open_folder(path: &Path) -> Option<OwnedFd> {
    let parent = path.parent()?;
    let here = parent.as_os_str().is_empty();
    // A named pipe in its place would be waited for until somebody writes.
    let folder = File::options()
        .read(true)
        .custom_flags(libc::O_DIRECTORY)
        .open(if here { Path::new(".") } else { parent });
    folder.ok().map(OwnedFd::from)
}

/// Whether a socket file has been there for so long that whoever made it
/// listens by now, if ever. What the clock says is not relied on for more.
pub(crate) fn is_settled(path: &Path) -> bool {
    let made = fs::symlink_metadata(path).and_then(|there| there.modified());
    let age = made.map(|made| made.elapsed().unwrap_or(Duration::MAX));
    age.is_ok_and(|age| age > SETTLED)
}

fn try_lock(file: &OwnedFd) -> Result<()> {
    let (fd, how) = (file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB);
    // SAFETY: no pointers are involved.
    unsafe { syscall!(flock(fd, how)) }?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_locked_by_one_at_a_time_and_free_when_that_is_gone() {
        let folder = std::env::temp_dir();
        let folder =
            folder.join(format!("handoff-{}-lock", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let path = folder.join("socket");
        let first = folder_of(&path).unwrap();
        let before = std::time::Instant::now();
        assert!(folder_if_free(&path).is_none());
        assert!(before.elapsed() < TRIES.1 * TRIES.0 / 2);
        assert!(folder_of(&path).is_none());
        drop(first);
        assert!(folder_of(&path).is_some());
        assert!(folder_if_free(&path).is_some());
        std::fs::remove_dir(&folder).unwrap();
        assert!(folder_of(&path).is_none());
        // What is no folder is not opened as if it were one.
        let made = std::process::Command::new("mkfifo").arg(&folder).status();
        assert!(made.unwrap().success());
        assert!(folder_of(&path).is_none());
        std::fs::remove_file(&folder).unwrap();
    }
}
