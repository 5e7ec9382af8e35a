//! What the tests of the demos share: processes that end in time, tools that
//! may be missing, and pids that don't matter.

#![allow(dead_code, reason = "each test program uses a part of it")]
#![allow(clippy::unwrap_used, reason = "what goes wrong fails the test")]

use std::collections::HashMap;
use std::env;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Much longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The program under test.
pub(crate) fn handoff() -> Command {
    Command::new(env!("CARGO_BIN_EXE_handoff"))
}

/// A process that does not outlive its test.
pub(crate) struct Guarded(pub(crate) Child);

impl Guarded {
    pub(crate) fn start(command: &mut Command) -> Guarded {
        Guarded(command.spawn().unwrap())
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "it does not end");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        if let Ok(None) = self.0.try_wait() {
            self.0.kill().unwrap();
            self.0.wait().unwrap();
        }
    }
}

/// Runs a command to its end.
pub(crate) fn output(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut process = Guarded::start(command.stderr(Stdio::piped()));
    let out = read_aside(process.0.stdout.take().unwrap());
    let err = read_aside(process.0.stderr.take().unwrap());
    let status = process.wait();
    Output { status, stdout: out.join().unwrap(), stderr: err.join().unwrap() }
}

fn read_aside(mut from: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).unwrap();
        bytes
    })
}

/// What it printed, if it ended well.
pub(crate) fn stdout(command: &mut Command) -> String {
    let output = output(command);
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {err}");
    String::from_utf8(output.stdout).unwrap()
}

/// Does something that must come to an end. In a thread of its own, which
/// outlives the children that it starts.
pub(crate) fn in_time<T: Send + 'static>(
    act: impl FnOnce() -> T + Send + 'static,
) -> T {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(act()));
    receiver.recv_timeout(PATIENCE).expect("it ended, and in time")
}

/// Where a tool is. Without it a test says so, past the capture of its
/// output, and does nothing; under CI that is a failure.
pub(crate) fn tool(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let places = env::split_paths(&path).map(|folder| folder.join(name));
    let found = places.into_iter().find(|place| place.is_file());
    if found.is_none() {
        let ci = env::var_os("CI").is_some_and(|value| !value.is_empty());
        assert!(!ci, "CI must not skip a test: install {name}");
        let test = thread::current();
        let test = test.name().unwrap_or_default();
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED {test}: there is no {name} here; make deps gets it"
        );
    }
    found
}

/// A file's place that no other test uses.
pub(crate) fn scratch(name: &str) -> PathBuf {
    let name = format!("{}-{name}", std::process::id());
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_file(&path);
    path
}

/// A file that several processes write to, each behind the others.
pub(crate) fn shared_file(path: &Path) -> File {
    File::options().append(true).create(true).open(path).unwrap()
}

/// The text with A for the first number in it, B for the next new one …
pub(crate) fn normalised(text: &str) -> String {
    let mut names = HashMap::new();
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        out.push_str(&rest[..start]);
        rest = &rest[start..];
        let digits = |c: char| c.is_ascii_digit();
        let end = rest.find(|c| !digits(c)).unwrap_or(rest.len());
        let next = char::from(b'A' + names.len() as u8);
        let name = *names.entry(&rest[..end]).or_insert(next);
        write!(out, "{name}").unwrap();
        rest = &rest[end..];
    }
    out + rest
}

/// All numbers of a text.
pub(crate) fn numbers(text: &str) -> Vec<u32> {
    text.split(|c: char| !c.is_ascii_digit())
        .filter(|digits| !digits.is_empty())
        .map(|digits| digits.parse().unwrap())
        .collect()
}

pub(crate) fn is_alive(pid: u32) -> bool {
    Path::new("/proc").join(pid.to_string()).exists()
}
