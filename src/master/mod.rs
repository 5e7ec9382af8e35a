//! The master.
pub mod dispatcher;
pub(crate) mod listener;
pub mod scheduler;
pub(crate) mod spawn;
pub mod supervisor;
