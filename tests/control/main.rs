//! The control socket and its commands: what they tell, do, refuse and bear.

#![allow(clippy::unwrap_used, reason = "what goes wrong fails the test")]
#![allow(clippy::print_stderr, reason = "a test says that it is skipped")]

mod clients;
#[path = "../common/mod.rs"]
mod common;
mod orders;
mod place;
mod recycle;
mod status;

use std::fs::{self, File, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use common::load::Tally;
use common::server::{Ended, Server, handoff, program, run};
use common::{Scratch, copy_program, has_tool, wait_until};
use serde_json::Value;

/// A server with its control socket in a folder of its own.
struct Controlled {
    folder: Scratch,
    server: Server,
}

impl Controlled {
    fn serve(name: &str, options: &str) -> Controlled {
        let folder = Scratch::new(name);
        let path = folder.path("control");
        let server =
            Server::serve(&format!("--control {} {options}", path.display()));
        Controlled { folder, server }
    }

    /// One whose later workers are not ready as long as there is a file
    /// `wait`, so that a reload lasts until it is gone.
    fn waiting(name: &str) -> Controlled {
        let folder = Scratch::new(name);
        let words = format!("{} 2", folder.path("").display());
        let mut command = program("probe", &words);
        command.env("PROBE_CONTROL", folder.path("control"));
        let server = Server::start(command);
        let controlled = Controlled { folder, server };
        controlled.wait_for_ready(2);
        File::create(controlled.folder.path("wait")).unwrap();
        controlled
    }

    fn path(&self) -> PathBuf {
        self.folder.path("control")
    }

    fn command(&self, words: &str) -> Command {
        command_at(&self.path(), words)
    }

    /// Runs `handoff WORDS` to its end.
    fn tell(&self, words: &str) -> Ended {
        run(self.command(words))
    }

    /// The same, and what it says; it must have been done.
    fn done(&self, words: &str) -> String {
        let ended = self.tell(words);
        let log = self.server.log();
        assert_eq!(ended.code, Some(0), "{words}: {ended:?}\n{log}");
        ended.out
    }

    fn status(&self) -> Value {
        let out = self.done("status --json");
        assert_eq!(out.matches('\n').count(), 1);
        serde_json::from_str(&out).unwrap()
    }

    /// A count of each worker, in the order of their slots.
    fn of_each(&self, name: &str) -> Vec<Value> {
        let status = self.status();
        let workers = status["workers"].as_array().unwrap();
        workers.iter().map(|worker| worker[name].clone()).collect()
    }

    fn connect(&self) -> UnixStream {
        connect(&self.path())
    }

    /// Waits until so many workers are ready, and all others are gone.
    fn wait_for_ready(&self, count: usize) {
        wait_until(&format!("there are {count} workers"), || {
            let status = self.status();
            status["workers"].as_array().unwrap().len() == count
                && status["master"]["ready"] == count
        });
    }
}

fn command_at(path: &Path, words: &str) -> Command {
    handoff(&format!("{words} --control {}", path.display()))
}

fn connect(path: &Path) -> UnixStream {
    let stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(common::PATIENCE)).unwrap();
    stream
}

/// Says something, and hears all that is answered.
fn exchange(mut stream: UnixStream, line: &[u8]) -> String {
    // Whoever says too much is interrupted.
    let _ = stream.write_all(line);
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer
}

/// Starts a command that is not going to end at once.
fn start(mut command: Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

fn end(child: Child) -> Ended {
    let output = child.wait_with_output().unwrap();
    Ended {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

fn expect_no_loss(tally: Tally) {
    let lost = tally.unforgivable() + tally.reset + tally.truncated;
    assert_eq!(lost, 0, "{tally:?}");
}

/// A copy of the command that anybody may run, as a user that has nothing
/// here; `None` if this process may not become somebody else.
fn as_nobody(folder: &Scratch) -> Option<Command> {
    let own = fs::metadata("/proc/self");
    let root = own.is_ok_and(|own| own.uid() == 0);
    if !root || !has_tool("setpriv") {
        eprintln!("SKIPPED: only root may become somebody else");
        return None;
    }
    let copy = folder.path("handoff");
    if !copy.exists() {
        copy_program(Path::new(env!("CARGO_BIN_EXE_handoff")), &copy);
        fs::set_permissions(&copy, Permissions::from_mode(0o755)).unwrap();
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    command.arg(copy).current_dir("/");
    Some(command)
}
