//! The environment variables by which a process hands something on to one
//! that it starts: each name stands here, and nowhere else.
//!
//! | variable | for | says |
//! |---|---|---|
//! | `NODE_CHANNEL_FD` | a worker | which descriptor is its end of the channel |
//! | `NODE_CHANNEL_SERIALIZATION_MODE` | a worker | `json`: one text a line |
//! | `NODE_UNIQUE_ID` | a worker | which one it is: [`WorkerId`] |
//! | `HANDOFF_WORKER_INDEX` | a worker | its slot, 0 … N−1, which its successor gets |
//! | `HANDOFF_WORKER_REGION` | a worker of ours | which descriptor is its scoreboard |
//! | `HANDOFF_UPGRADE_READY` | the next master | the descriptor to say "ready" on |
//! | `HANDOFF_UPGRADE_LISTENER_N` | the next master | the address, as typed, of descriptor N |
//! | `HANDOFF_UPGRADE_WORKERS` | the next master | how many workers an operator has asked for |
//!
//! The first three are Node's (`lib/child_process.js`, `lib/internal/cluster`):
//! a Node program is a worker of ours by them, and ours one of Node's. Who
//! takes a variable removes it, so that its own children are not misled.
//!
//! [`WorkerId`]: crate::WorkerId

use std::env;
use std::ffi::{CString, OsStr, OsString};
use std::os::fd::RawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

pub(crate) const CHANNEL: &str = "NODE_CHANNEL_FD";
pub(crate) const CHANNEL_MODE: &str = "NODE_CHANNEL_SERIALIZATION_MODE";
pub(crate) const WORKER_ID: &str = "NODE_UNIQUE_ID";
/// Words before those that Node is started with (node(1)).
pub(crate) const NODE_OPTIONS: &str = "NODE_OPTIONS";
pub(crate) const WORKER_INDEX: &str = "HANDOFF_WORKER_INDEX";
pub(crate) const WORKER_REGION: &str = "HANDOFF_WORKER_REGION";

/// What every name for the next master begins with.
pub(crate) const UPGRADE: &str = "HANDOFF_UPGRADE_";
pub(crate) const UPGRADE_READY: &str = "HANDOFF_UPGRADE_READY";
/// The descriptor's number follows.
pub(crate) const UPGRADE_LISTENER: &str = "HANDOFF_UPGRADE_LISTENER_";
pub(crate) const UPGRADE_WORKERS: &str = "HANDOFF_UPGRADE_WORKERS";

/// The one [`CHANNEL_MODE`] there is here.
pub(crate) const JSON: &str = "json";

/// What tells a process that it has a channel: the descriptor's number.
pub(crate) fn of_channel(number: RawFd) -> Vec<String> {
    vec![format!("{CHANNEL}={number}"), format!("{CHANNEL_MODE}={JSON}")]
}

/// The environment of a worker: ours, less what is for this process alone,
/// and what it is told beside that, or instead.
pub(crate) fn for_worker(told: Vec<String>) -> Vec<CString> {
    let is_told = |name: &OsStr| {
        let is_it = |pair: &String| {
            let (told, _) = pair.split_once('=').unwrap_or((pair, ""));
            name == told
        };
        told.iter().any(is_it)
    };
    environment(
        |name| !is_our_own(name) && !is_told(name),
        told.iter().map(OsString::from),
    )
}

/// The same for the next master, which is the same service as this one.
pub(crate) fn for_next_master(told: Vec<OsString>) -> Vec<CString> {
    let inherited = |name: &OsStr| !is_our_own(name) || is_of_service(name);
    environment(inherited, told.into_iter())
}

fn environment(
    inherited: impl Fn(&OsStr) -> bool,
    told: impl Iterator<Item = OsString>,
) -> Vec<CString> {
    env::vars_os()
        .filter(|(name, _)| inherited(name))
        .map(|(name, value)| [name, value].join(OsStr::new("=")))
        .chain(told)
        .filter_map(|pair| CString::new(pair.into_vec()).ok())
        .collect()
}

/// Socket activation and notification (sd_listen_fds(3), sd_notify(3)), and
/// what stands above.
fn is_our_own(name: &OsStr) -> bool {
    const PREFIXES: [&str; 6] = [
        "LISTEN_",
        "WATCHDOG_",
        "NODE_CHANNEL_",
        WORKER_ID,
        "HANDOFF_WORKER_",
        UPGRADE,
    ];
    let begins = |prefix: &str| name.as_bytes().starts_with(prefix.as_bytes());
    name == "NOTIFY_SOCKET" || PREFIXES.into_iter().any(begins)
}

/// What a service manager tells whichever process is the service: where to
/// notify it. Sockets were passed to the first one, by number.
fn is_of_service(name: &OsStr) -> bool {
    name == "NOTIFY_SOCKET" || name == "WATCHDOG_USEC"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_meant_for_the_master_does_not_reach_a_worker() {
        for name in [
            "LISTEN_FDS",
            "LISTEN_PID",
            "NOTIFY_SOCKET",
            "WATCHDOG_USEC",
            "NODE_CHANNEL_FD",
            "NODE_UNIQUE_ID",
            "HANDOFF_WORKER_REGION",
        ] {
            assert!(is_our_own(OsStr::new(name)), "{name}");
        }
        for name in ["PATH", "NODE_ENV", "NODE_OPTIONS", "LISTENER"] {
            assert!(!is_our_own(OsStr::new(name)), "{name}");
        }
    }
}
