//! What this package's own crates need of the library and no user does: its
//! `handoff` program, its tests, its benchmarks. It may change with any
//! version.

pub use crate::command::main;
pub use crate::master::{dispatcher, supervisor};

/// What `handoff serve` answers.
pub mod app {
    pub use crate::app::handler;
}

/// The masters of the demos, for workers of other makes.
pub mod demo {
    pub use crate::demo::{disconnect, ipc};
}

/// The wire between a master and a worker.
pub mod ipc {
    pub use crate::ipc::*;
}
