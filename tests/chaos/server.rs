//! The server under test: `handoff serve` with two workers, known only from
//! outside, and gone with this value.
//!
//! It is started by a path that leads over a symbolic link, as a deployment
//! does: `current -> handoff`. A new release is a link that is swapped.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use super::client::fetch;
use super::process::{self, Process, within};

/// How many there are to be.
pub(crate) const WORKERS: usize = 2;

/// What takes longer on the busiest machine does not happen.
const LONG: Duration = Duration::from_secs(15);

/// The program that cargo has built.
pub(crate) const HANDOFF: &str = env!("CARGO_BIN_EXE_handoff");

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    folder: Folder,
    /// The process that we started.
    first: Child,
    /// The process that is the master now.
    pub(crate) master: Process,
    pub(crate) address: SocketAddr,
}

impl Server {
    /// Returns when all its workers have answered.
    pub(crate) fn start(
        program: &Path,
        options: &str,
    ) -> Result<Server, String> {
        let folder = Folder::new();
        symlink(program, folder.path("current")).unwrap();
        let log = fs::File::create(folder.path("log")).unwrap();
        let first = folder
            .command()
            .args(["serve", "--listen", "127.0.0.1:0", "--workers"])
            .arg(WORKERS.to_string())
            .args(options.split_whitespace())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(|error| format!("{}: {error}", program.display()))?;
        let master = Process::of(first.id()).ok_or("it ended at once")?;
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut server = Server { folder, first, master, address: nowhere };
        let told = within(LONG, || {
            server.address = server.address_in_log().unwrap_or(nowhere);
            server.address != nowhere || server.has_ended()
        });
        if told.is_none() || server.has_ended() {
            return Err(format!("it did not start: {}", server.log()));
        }
        let mut seen = Vec::new();
        let all = within(LONG, || {
            let answer = fetch(server.address, "/worker", LONG);
            if let Ok(answer) = answer
                && !seen.contains(&answer)
            {
                seen.push(answer);
            }
            seen.len() >= WORKERS || server.has_ended()
        });
        match all {
            Some(_) if !server.has_ended() => Ok(server),
            _ => Err(format!("no {WORKERS} workers: {}", server.log())),
        }
    }

    fn has_ended(&mut self) -> bool {
        !matches!(self.first.try_wait(), Ok(None))
    }

    fn address_in_log(&self) -> Option<SocketAddr> {
        let log = self.log();
        let (_, rest) = log.split_once("http://")?;
        let end = rest.find(|c: char| c == ',' || c.is_whitespace())?;
        rest[..end].parse().ok()
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path("log")).unwrap_or_default()
    }

    /// The living workers, the oldest first, those that are leaving too.
    pub(crate) fn workers(&self) -> Vec<Process> {
        process::living_children(self.master.pid)
    }

    /// How many descriptors the master has when it has nothing to do.
    pub(crate) fn descriptors(&self) -> usize {
        let mut fewest = usize::MAX;
        within(Duration::from_millis(300), || {
            fewest = fewest.min(process::descriptors(self.master.pid));
            false
        });
        fewest
    }

    pub(crate) fn signal(&self, name: &str) {
        process::signal(name, [self.master.pid]);
    }

    /// The kill(2) of SIGKILL that has no other process in between.
    pub(crate) fn kill(&mut self) {
        self.first.kill().unwrap();
        self.first.wait().unwrap();
    }

    /// How the process that we started ended.
    pub(crate) fn wait(&mut self, time: Duration) -> Option<ExitStatus> {
        within(time, || self.has_ended())?;
        self.first.try_wait().unwrap()
    }

    /// `handoff WORDS`, for this instance: it is the only one in its runtime
    /// directory.
    pub(crate) fn tell(&self, words: &str) -> io::Result<ExitStatus> {
        self.folder
            .command()
            .args(words.split_whitespace())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
    }

    /// The next start of a worker will start this shell script. It is written
    /// down when it ran: [`Server::releases_started`].
    pub(crate) fn release(&self, script: &str) {
        let path = self.folder.path("broken");
        let started = self.folder.path("started");
        let script =
            format!("#!/bin/sh\necho >>{}\n{script}\n", started.display());
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        symlink(&path, self.folder.path("next")).unwrap();
        let current = self.folder.path("current");
        fs::rename(self.folder.path("next"), current).unwrap();
    }

    pub(crate) fn releases_started(&self) -> usize {
        let started = fs::read_to_string(self.folder.path("started"));
        started.map_or(0, |lines| lines.lines().count())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.master.lives() {
            let workers = self.workers().into_iter();
            let pids = workers.map(|worker| worker.pid);
            process::signal("KILL", pids.chain([self.master.pid]));
        }
        let _ = self.first.kill();
        let _ = self.first.wait();
    }
}

/// A folder of its own for each server, gone with it.
#[derive(Debug)]
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Relaxed);
        let name = format!("handoff-chaos-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Folder(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The current release, with this folder for all that it may leave.
    fn command(&self) -> Command {
        let mut command = Command::new(self.path("current"));
        command
            .current_dir(&self.0)
            .env("PWD", &self.0)
            .env("XDG_RUNTIME_DIR", &self.0)
            .stdin(Stdio::null());
        command
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
