//! What this system refuses and a master can do without: said once, in one
//! line that names the call and what follows from it.
//!
//! | refused | then |
//! |---|---|
//! | setrlimit, getrlimit | as many connections as the limit allows |
//! | close_range | descriptors are closed one by one |
//! | memfd_create | counters in a file without a name, no salvage |
//! | counters of TCP_INFO | no salvage |
//!
//! A filter of system calls (seccomp(2)), a container's runtime or another
//! kernel behind it refuses. What nobody can do without, as pidfd_open and
//! signalfd, ends the start with an error that names it.

use log::{debug, warn};

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

/// Whether connections can be guarded: it takes memory that a worker cannot
/// resize, and a kernel that counts.
pub(super) fn can_guard() -> bool {
    if let Err(error) = memory::ask() {
        warn!("{error}: {WITHOUT}");
        return false;
    }
    match tcp::is_counted() {
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
