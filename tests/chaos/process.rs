//! Processes from outside: what proc(5) tells, and signals.

use std::fs;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// How often a condition is looked at.
const GLANCE: Duration = Duration::from_millis(1);

/// Waits until it is so. `None` if it was not within `time`, else how long
/// it took.
pub(crate) fn within(
    time: Duration,
    mut condition: impl FnMut() -> bool,
) -> Option<Duration> {
    let start = Instant::now();
    while !condition() {
        if start.elapsed() > time {
            return None;
        }
        thread::sleep(GLANCE);
    }
    Some(start.elapsed())
}

/// A process, known by more than a number that may be used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    /// In ticks since the machine started.
    started: u64,
}

struct Stat {
    process: Process,
    /// `Z` has ended and was not waited for.
    state: char,
    parent: u32,
}

impl Process {
    pub(crate) fn of(pid: u32) -> Option<Process> {
        stat(pid).map(|stat| stat.process)
    }

    /// Whether it runs: one that has ended counts as gone, waited for or not.
    pub(crate) fn lives(self) -> bool {
        stat(self.pid)
            .is_some_and(|stat| stat.process == self && stat.state != 'Z')
    }
}

fn stat(pid: u32) -> Option<Stat> {
    let line = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in parentheses and may hold any, so from the last one.
    let (_, rest) = line.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split(' ').collect();
    Some(Stat {
        process: Process { pid, started: fields.get(19)?.parse().ok()? },
        state: fields.first()?.chars().next()?,
        parent: fields.get(1)?.parse().ok()?,
    })
}

fn children(pid: u32) -> impl Iterator<Item = Stat> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(stat)
        .filter(move |stat| stat.parent == pid)
}

/// The living children of a process, the oldest first.
pub(crate) fn living_children(pid: u32) -> Vec<Process> {
    let mut living: Vec<Process> = children(pid)
        .filter(|stat| stat.state != 'Z')
        .map(|stat| stat.process)
        .collect();
    living.sort_by_key(|process| (process.started, process.pid));
    living
}

/// How many children have ended that their parent has not waited for.
pub(crate) fn zombies(pid: u32) -> usize {
    children(pid).filter(|stat| stat.state == 'Z').count()
}

/// How many descriptors a process has.
pub(crate) fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

/// Sends a signal to all of them in one go. Who is gone is passed over.
pub(crate) fn signal(name: &str, pids: impl IntoIterator<Item = u32>) {
    let sent = Command::new("sh") // which has kill built in
        .args(["-c", "kill -s \"$@\"", "sh", name])
        .args(pids.into_iter().map(|pid| pid.to_string()))
        .output();
    sent.expect("sh is there");
}
