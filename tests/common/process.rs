//! Processes from outside: what /proc tells (proc(5)), and signals.

use std::fs;
use std::process::Command;
use std::time::Duration;

use super::wait_until;

/// What /proc/PID/stat tells of a process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stat {
    pub(crate) pid: u32,
    /// `R` runs, `S` sleeps, `T` is stopped, `Z` has ended, and so on.
    pub(crate) state: char,
    pub(crate) parent: u32,
    pub(crate) group: u32,
    /// Processor time it has used, its children's not among it.
    pub(crate) cpu: Duration,
}

/// `None` if there is no such process.
pub(crate) fn stat(pid: u32) -> Option<Stat> {
    let line = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in parentheses and may hold any, so from the last one.
    let (_, rest) = line.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split(' ').collect();
    let number =
        |index: usize| -> Option<u64> { fields.get(index)?.parse().ok() };
    let ticks = number(11)? + number(12)?;
    Some(Stat {
        pid,
        state: fields.first()?.chars().next()?,
        parent: number(1)? as u32,
        group: number(2)? as u32,
        cpu: Duration::from_millis(10 * ticks), // USER_HZ is 100: time(7)
    })
}

/// Every process there is.
pub(crate) fn all() -> Vec<u32> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|e| e.file_name().to_str()?.parse().ok()).collect()
}

/// Those that a process has started, also the ended ones that it has not
/// waited for.
pub(crate) fn children(pid: u32) -> Vec<Stat> {
    let stats = all().into_iter().filter_map(stat);
    stats.filter(|stat| stat.parent == pid).collect()
}

/// Whether it runs: one that has ended counts as gone, waited for or not.
pub(crate) fn lives(pid: u32) -> bool {
    stat(pid).is_some_and(|stat| stat.state != 'Z')
}

/// Those that live and were started with `name=value` in their environment.
pub(crate) fn marked(mark: &str) -> Vec<u32> {
    let has = |pid: &u32| {
        let path = format!("/proc/{pid}/environ");
        let text = fs::read(path).unwrap_or_default();
        text.split(|byte| *byte == 0).any(|pair| pair == mark.as_bytes())
    };
    all().into_iter().filter(has).filter(|pid| lives(*pid)).collect()
}

/// Where the open descriptors of a process lead, by number.
pub(crate) fn descriptors(pid: u32) -> Vec<(u32, String)> {
    let folder = format!("/proc/{pid}/fd");
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut open: Vec<(u32, String)> = entries
        .flatten()
        .filter_map(|entry| {
            let number = entry.file_name().to_str()?.parse().ok()?;
            let link = fs::read_link(entry.path()).ok()?;
            Some((number, link.display().to_string()))
        })
        .collect();
    open.sort();
    open
}

/// The clients in a worker's hands: its sockets, less its end of the channel.
/// A worker shuts a connection down before it closes it, so that its client
/// may know of the end before this does.
pub(crate) fn clients(worker: u32) -> usize {
    let open = descriptors(worker);
    let sockets = open.iter().filter(|(_, to)| to.starts_with("socket:"));
    sockets.count().saturating_sub(1)
}

/// Processor time of all of them together.
pub(crate) fn cpu(pids: &[u32]) -> Duration {
    pids.iter().filter_map(|pid| stat(*pid)).map(|stat| stat.cpu).sum()
}

/// Sends a signal to all of them in one go. Who is gone is passed over.
pub(crate) fn signal(name: &str, pids: &[u32]) {
    let sent = Command::new("kill")
        .args(["-s", name, "--"])
        .args(pids.iter().map(u32::to_string))
        .output();
    sent.expect("kill(1) is there");
}

/// Sends SIGSTOP, and waits until it has its effect.
pub(crate) fn freeze(pids: &[u32]) {
    signal("STOP", pids);
    wait_until("they have stopped", || {
        let frozen =
            |pid: &u32| stat(*pid).is_some_and(|stat| stat.state == 'T');
        pids.iter().all(frozen)
    });
}
