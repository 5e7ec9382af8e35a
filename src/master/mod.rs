//! The master.
pub mod dispatcher;
pub mod scheduler;
pub mod supervisor;
