//! What this system refuses and a master can do without: said once, in one
//! line that names the call and what follows from it.
//!
//! | refused | then |
//! |---|---|
//! | setrlimit, getrlimit | as many connections as the limit allows |
//! | close_range | descriptors are closed one by one |
//! | memfd_create | counters in a file without a name, no salvage |
//! | counters of TCP_INFO | no salvage |
//! | a look at the cgroups | as many workers as CPUs, whatever the quota |
//!
//! A filter of system calls (seccomp(2)), a container's runtime or another
//! kernel behind it refuses. What nobody can do without, as pidfd_open and
//! signalfd, ends the start with an error that names it.

use std::fs;

use log::{debug, warn};

use crate::config::Settings;
use crate::sys::{close, limit, memory, tcp};

/// How many descriptors this process may have; and what of those is refused.
pub(super) fn descriptors() -> usize {
    let (limit, refused) = limit::raise_descriptors();
    if let Some(error) = refused {
        warn!(
            "{error}: the limit on descriptors stays as it is, so there will \
             be fewer than {limit} connections"
        );
    }
    if let Err(error) = close::ask() {
        warn!("{error}: descriptors are closed one by one");
    }
    limit
}

/// Says how many workers there are, and why, if they were counted by CPUs and
/// a quota (`docker run --cpus`) could not be seen.
pub(super) fn tell_of_cpus(settings: &Settings) {
    let mounts = fs::read_to_string("/proc/self/mountinfo");
    if settings.workers_counted && !has_cgroups(&mounts.unwrap_or_default()) {
        warn!(
            "no cgroup is mounted, so a quota of CPU time is not seen: {} \
             workers, for as many CPUs as this process may run on; type \
             --workers N for another number",
            settings.workers
        );
    }
}

/// Whether any hierarchy is among these mounts (proc_pid_mountinfo(5)).
fn has_cgroups(mounts: &str) -> bool {
    mounts.lines().any(|line| {
        let kind = line.rsplit_once(" - ").map_or("", |(_, rest)| rest);
        kind.starts_with("cgroup ") || kind.starts_with("cgroup2 ")
    })
}

/// Whether connections can be guarded: it takes memory that a worker cannot
/// resize, and a kernel that counts.
pub(super) fn can_guard() -> bool {
    if let Err(error) = memory::ask() {
        warn!("{error}: {WITHOUT}");
        return false;
    }
    match tcp::do_count() {
        Ok(true) => true,
        Ok(false) => {
            warn!("getsockopt TCP_INFO tells no bytes here: {WITHOUT}");
            false
        }
        Err(error) => {
            debug!("TCP_INFO is relied on untried, without loopback: {error}");
            true
        }
    }
}

const WITHOUT: &str = "serving without salvage, so the connections of a \
                       worker that dies are lost";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cgroup_of_either_version_is_one() {
        for (line, is_one) in [
            ("31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw", false),
            ("32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw", true),
            ("41 31 0:38 / /x rw shared:9 - cgroup2 none rw,nsdelegate", true),
            ("", false),
        ] {
            assert_eq!(has_cgroups(line), is_one, "{line}");
        }
    }
}
