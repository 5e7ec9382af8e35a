//! The server under test, with two workers, known only from outside.
//!
//! handoff is started by a path that leads over a symbolic link, as a deployment
//! does: `current -> handoff`. A new release is a link that is swapped. And
//! its master may be another process than the one that was started, after
//! an upgrade.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::{Command, ExitStatus};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use super::common::http::Place;
use super::common::{Scratch, process, server, wait_until, within};
use super::subject::{self, Subject};

/// How many there are to be.
pub(crate) const WORKERS: usize = 2;

/// The program that cargo has built.
pub(crate) const HANDOFF: &str = env!("CARGO_BIN_EXE_handoff");

/// By then everything is as it was, or it never will be.
pub(crate) const SETTLED: Duration = Duration::from_secs(5);

/// A running server.
pub(crate) struct Server {
    subject: Subject,
    first: server::Server,
    folder: Scratch,
    /// The process that is the master now.
    master: u32,
}

impl Server {
    /// Returns when all its workers have answered, and fails if they do not.
    pub(crate) fn start(subject: Subject, options: &str) -> Server {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Relaxed);
        let folder = Scratch::new(&format!("chaos-{number}"));
        let first = match subject {
            Subject::Handoff(program) => handoff(&folder, program, options),
            Subject::NoSalvage => {
                let options = format!("{options} --no-salvage");
                handoff(&folder, HANDOFF, &options)
            }
            Subject::Nginx => {
                let address = free_address();
                let command = subject::nginx(&folder, address);
                server::Server::start_at(command, Place::Tcp(address))
            }
            Subject::Node => {
                let address = free_address();
                let command = subject::node(address);
                server::Server::start_at(command, Place::Tcp(address))
            }
        };
        let master = first.pid();
        let server = Server { subject, first, folder, master };
        match subject {
            // An idle nginx lets one and the same worker accept, so that the
            // other would never be heard.
            Subject::Nginx => {
                wait_until("all workers are there", || {
                    server.workers().len() == WORKERS
                });
            }
            Subject::Handoff(_) | Subject::NoSalvage | Subject::Node => {
                server.first.wait_for_workers(WORKERS);
            }
        }
        server
    }

    pub(crate) fn subject(&self) -> Subject {
        self.subject
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.first.place().address()
    }

    pub(crate) fn log(&self) -> String {
        self.first.log()
    }

    pub(crate) fn master(&self) -> u32 {
        self.master
    }

    /// From now on another process is the master. Returns the one before.
    pub(crate) fn succeed(&mut self, master: u32) -> u32 {
        std::mem::replace(&mut self.master, master)
    }

    /// The living workers, the oldest first, those that are leaving too. A
    /// peer's also when it has lost its master: its group is its own.
    pub(crate) fn workers(&self) -> Vec<u32> {
        if !self.subject.is_peer() {
            return living_children(self.master);
        }
        let mut pids = self.group();
        pids.retain(|pid| *pid != self.master);
        pids.sort_unstable();
        pids
    }

    /// The living processes in the group of the one that was started.
    fn group(&self) -> Vec<u32> {
        let stats = process::all().into_iter().filter_map(process::stat);
        let living = stats.filter(|stat| {
            stat.group == self.first.pid() && stat.state != 'Z'
        });
        living.map(|stat| stat.pid).collect()
    }

    /// How many workers have ended that the master has not waited for.
    pub(crate) fn zombies(&self) -> usize {
        let children = process::children(self.master);
        children.iter().filter(|child| child.state == 'Z').count()
    }

    /// How many descriptors the master has.
    pub(crate) fn descriptors(&self) -> usize {
        process::descriptors(self.master).len()
    }

    /// How many it has when it has nothing to do.
    pub(crate) fn descriptors_at_rest(&self) -> usize {
        let mut fewest = usize::MAX;
        within(Duration::from_millis(300), || {
            fewest = fewest.min(self.descriptors());
            false
        });
        fewest
    }

    pub(crate) fn signal(&self, name: &str) {
        process::signal(name, &[self.master]);
    }

    /// How the process that was started has ended.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.first.wait()
    }

    /// `handoff WORDS`, for this instance.
    pub(crate) fn tell(&self, words: &str) -> Result<(), String> {
        let mut command = current(&self.folder);
        command.args(words.split_whitespace());
        command.arg("--control").arg(self.folder.path("control"));
        let output = command.output().unwrap();
        match output.status.success() {
            true => Ok(()),
            false => Err(format!("handoff {words}: {output:?}")),
        }
    }

    /// Whoever is started next is started as this shell script, and
    /// [`Server::releases_started`] counts it.
    pub(crate) fn release(&self, script: &str) {
        let broken = self.folder.path("broken");
        let started = self.folder.path("started");
        let script =
            format!("#!/bin/sh\necho >>{}\n{script}\n", started.display());
        fs::write(&broken, script).unwrap();
        let executable = fs::Permissions::from_mode(0o755);
        fs::set_permissions(&broken, executable).unwrap();
        let next = self.folder.path("next");
        symlink(&broken, &next).unwrap();
        fs::rename(next, self.folder.path("current")).unwrap();
    }

    pub(crate) fn releases_started(&self) -> usize {
        let started = fs::read_to_string(self.folder.path("started"));
        started.map_or(0, |lines| lines.lines().count())
    }
}

impl Drop for Server {
    /// The harness sees to the process that it has started, and that nobody
    /// outlives it. A peer may let its workers do so, and nginx's environment
    /// does not tell whose it is.
    fn drop(&mut self) {
        if self.subject.is_peer() {
            within(SETTLED, || {
                process::signal("KILL", &self.group());
                self.group().is_empty()
            });
        }
        if self.master != self.first.pid() {
            process::signal("KILL", &[self.master]);
        }
    }
}

fn handoff(folder: &Scratch, program: &str, options: &str) -> server::Server {
    symlink(program, folder.path("current")).unwrap();
    let mut command = current(folder);
    command
        .args(["serve", "--listen", "127.0.0.1:0", "--workers"])
        .arg(WORKERS.to_string())
        .args(options.split_whitespace())
        .arg("--control")
        .arg(folder.path("control"));
    server::Server::start(command)
}

/// For those who have to be told a port.
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

/// The current release, with this folder for whatever it leaves.
fn current(folder: &Scratch) -> Command {
    let mut command = Command::new(folder.path("current"));
    command.current_dir(folder).env("PWD", folder.as_ref());
    command
}

/// The living children of a process. Pids are given out in order, so the
/// smallest is the oldest, but for once in a long while.
pub(crate) fn living_children(pid: u32) -> Vec<u32> {
    let children = process::children(pid);
    let living = children.iter().filter(|child| child.state != 'Z');
    let mut pids: Vec<u32> = living.map(|child| child.pid).collect();
    pids.sort_unstable();
    pids
}
