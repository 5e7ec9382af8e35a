//! How many connections one worker can hold.

use std::fs;

use crate::config::Settings;
use crate::error::Error;
use crate::sys::limit;

/// Descriptors left to the handler beside the clients': enough for a log, a
/// database and a few files; whoever needs more sets `max_connections`.
const RESERVE: usize = 16;

/// As many as the process can have descriptors, less those that it has and a
/// reserve, and no more than `--max-connections`.
pub(super) fn of(settings: &Settings) -> Result<usize, Error> {
    let (limit, refused) = limit::raise_descriptors();
    if let Some(error) = refused {
        // The master has said so, if there is one of ours.
        log::debug!("{error}: {limit} descriptors are assumed");
    }
    let open = fs::read_dir("/proc/self/fd").map_or(RESERVE, Iterator::count);
    let room = limit.saturating_sub(open + RESERVE).max(1);
    let most = settings.max_connections.map_or(usize::MAX, usize::from);
    Ok(room.min(most))
}
