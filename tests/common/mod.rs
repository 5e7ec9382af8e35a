//! The harness: real servers, real clients, and an account of every request.
//!
//! ```text
//!   test ── Server ──▶ the binary: a process, its log, its workers
//!     │        └─ dropped: all of it is killed, and nothing may be left
//!     ├── Connection, ask ──▶ one request at a time, read to the byte
//!     └── Load ──▶ many clients, and what became of each request: Tally
//! ```
//!
//! It knows the server only from outside: its command line, its log, what it
//! answers, and what /proc tells. No wait in here is without an end.

#![allow(dead_code, reason = "each test program uses a part of it")]
#![allow(clippy::unwrap_used, reason = "what goes wrong fails the test")]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the
     harness reports, and cargo shows it when a test fails"
)]

pub(crate) mod http;
pub(crate) mod load;
pub(crate) mod process;
pub(crate) mod server;
pub(crate) mod users;

use std::net::TcpListener;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

/// After so long a thing that should happen at once has not happened. It is
/// long because the machine may be busy with something else.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// How often a condition is looked at.
const GLANCE: Duration = Duration::from_millis(2);

/// Waits until it is so, and fails if it never is. Returns how long it took.
pub(crate) fn wait_until(
    what: &str,
    condition: impl FnMut() -> bool,
) -> Duration {
    let start = Instant::now();
    assert!(within(PATIENCE, condition), "waited in vain until {what}");
    start.elapsed()
}

/// Whether it becomes so in this time.
pub(crate) fn within(
    time: Duration,
    mut condition: impl FnMut() -> bool,
) -> bool {
    let start = Instant::now();
    while !condition() {
        if start.elapsed() > time {
            return false;
        }
        thread::sleep(GLANCE);
    }
    true
}

/// Tries at one pace, then at slower ones, what depends on time: a busy machine
/// may take any pause for nothing, but what is wrong is so at every pace.
pub(crate) fn at_some_pace(attempt: impl Fn(u32)) {
    for pace in [1, 3] {
        if catch_unwind(AssertUnwindSafe(|| attempt(pace))).is_ok() {
            return;
        }
        println!("that was at pace {pace}; once more, slower");
    }
    attempt(9);
}

/// Copies a program, to be executed. It is another process that copies: were
/// the file open for writing here, a child of another test that is between
/// fork and exec would hold it open too, and nobody could execute it
/// (`ETXTBSY`).
pub(crate) fn copy_program(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg(from).arg(to).status();
    assert!(copied.unwrap().success());
}

/// Waits until, for so long, these use hardly any processor time, and nothing
/// happens that the count tells of. Whoever spins never comes to rest; how
/// long others take to settle depends on the machine.
pub(crate) fn wait_for_rest(
    time: Duration,
    most: Duration,
    pids: impl Fn() -> Vec<u32>,
    count: impl Fn() -> usize,
) {
    let what = format!("a time of {time:?} in which nothing happens");
    wait_until(&what, || {
        let (pids, before) = (pids(), count());
        let used = process::cpu(&pids);
        thread::sleep(time);
        let used = process::cpu(&pids).saturating_sub(used);
        println!("{used:?} of processor time in {time:?}");
        used <= most && count() == before
    });
}

/// A folder for one test, gone at its end.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str) -> Scratch {
        let folder = format!("handoff-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(folder);
        std::fs::create_dir(&path).unwrap();
        Scratch(path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl AsRef<Path> for Scratch {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Says that a test cannot be made here, and why.
pub(crate) fn skipped(why: &str) {
    eprintln!("SKIPPED: {why}");
}

/// Whether a test can have the tool it needs. Without it the test says so
/// and is skipped; under CI it fails.
pub(crate) fn has_tool(name: &str) -> bool {
    let started = Command::new(name)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    let missing = started.is_err();
    if missing {
        let ci = std::env::var_os("CI").is_some_and(|value| !value.is_empty());
        assert!(!ci, "CI must not skip a test: install {name}");
        eprintln!("SKIPPED: there is no {name} here; make deps gets it");
    }
    !missing
}

/// The first of so many ports in a row that nobody has. Below those that the
/// kernel gives to whoever asks for any (ip_local_port_range), so that nobody
/// gets them meanwhile but who asks for just these.
pub(crate) fn free_ports(count: u16) -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let any = |host: &str, port| TcpListener::bind((host, port)).is_ok();
    let has_ipv6 = any("::", 0);
    let is_free =
        |port| any("0.0.0.0", port) && (!has_ipv6 || any("::", port));
    // Each test program has a stretch of its own.
    let first = 10_000 + (std::process::id() % 200) as u16 * 100;
    loop {
        let port = first + NEXT.fetch_add(count, SeqCst) % 100;
        if (port..port + count).all(is_free) {
            return port;
        }
    }
}
