//! What processes have used, from /proc (proc(5)): CPU time to the
//! nanosecond, how often they were put on a CPU, memory.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use crate::tools;

/// Nanoseconds of a tick: USER_HZ is 100, time(7).
const TICK: u64 = 10_000_000;

/// A process and all that came of it, parents before children.
pub(crate) fn tree(root: u32) -> Vec<u32> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.parse().ok());
        let parent = pid.and_then(stat).map(|stat| stat.parent);
        if let (Some(pid), Some(parent)) = (pid, parent) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut tree = vec![root];
    let mut next = 0;
    while let Some(pid) = tree.get(next) {
        tree.extend(children.remove(pid).unwrap_or_default());
        next += 1;
    }
    tree
}

/// Sends a signal to all of them; who is gone is passed over.
pub(crate) fn signal(name: &str, pids: &[u32]) {
    // The shell's own kill: a small system has no other.
    let mut shell = Command::new("sh");
    shell.args(["-c", "kill -s \"$@\"", "sh", name]);
    tools::runs(shell.args(pids.iter().map(u32::to_string)));
}

/// What was used up to an instant, or between two.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// Nanoseconds on a CPU, those of children that have ended included.
    pub(crate) cpu: u64,
    /// How often a thread was put on a CPU.
    pub(crate) switches: u64,
    user: u64,
    system: u64,
}

impl Usage {
    pub(crate) fn of(pids: &[u32]) -> Usage {
        let mut sum = Usage::default();
        for pid in pids {
            let Some(stat) = stat(*pid) else { continue };
            sum.user += stat.user + stat.reaped_user;
            sum.system += stat.system + stat.reaped_system;
            sum.cpu += TICK * (stat.reaped_user + stat.reaped_system);
            let tasks = fs::read_dir(format!("/proc/{pid}/task"));
            for task in tasks.into_iter().flatten().flatten() {
                let line = fs::read_to_string(task.path().join("schedstat"));
                let line = line.unwrap_or_default();
                let mut numbers = line.split_whitespace();
                let mut number =
                    || numbers.next().and_then(|one| one.parse::<u64>().ok());
                sum.cpu += number().unwrap_or(0);
                number(); // waiting for a CPU
                sum.switches += number().unwrap_or(0);
            }
        }
        sum
    }

    pub(crate) fn since(&self, before: &Usage) -> Usage {
        Usage {
            cpu: self.cpu.saturating_sub(before.cpu),
            switches: self.switches.saturating_sub(before.switches),
            user: self.user.saturating_sub(before.user),
            system: self.system.saturating_sub(before.system),
        }
    }

    /// Nanoseconds outside the kernel. The share is told in ticks only, so
    /// it takes a second of work to be right to a hundredth.
    pub(crate) fn user(&self) -> f64 {
        let ticks = (self.user + self.system).max(1);
        self.cpu as f64 * self.user as f64 / ticks as f64
    }
}

/// Of /proc/PID/stat; times in ticks.
#[derive(Clone, Copy, Debug)]
struct Stat {
    parent: u32,
    user: u64,
    system: u64,
    reaped_user: u64,
    reaped_system: u64,
}

fn stat(pid: u32) -> Option<Stat> {
    let line = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in parentheses and may hold any, so from the last one.
    let (_, rest) = line.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split(' ').collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some(Stat {
        parent: u32::try_from(number(1)?).ok()?,
        user: number(11)?,
        system: number(12)?,
        reaped_user: number(13)?,
        reaped_system: number(14)?,
    })
}

/// Bytes of memory that are these processes' own, and their shares of what
/// several processes have in common (PSS).
pub(crate) fn memory(pids: &[u32]) -> u64 {
    let mut kilobytes = 0;
    for pid in pids {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"));
        let text = text.unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
        let number = line.and_then(|line| line.split_whitespace().next());
        kilobytes += number.and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
    }
    kilobytes * 1024
}
