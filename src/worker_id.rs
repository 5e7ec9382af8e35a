//! The name of a worker process.

use std::fmt;

/// Names one worker *process*: 1, 2, 3 … in the order of their start, never
/// used twice by a master. Node calls it `cluster.worker.id`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash,
)]
pub struct WorkerId(pub u32);

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
