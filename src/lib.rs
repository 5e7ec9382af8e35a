//! [chapter on defence]: chapters::defended
//! [chapter on salvage]: chapters::salvage
//! [chapter on speed]: chapters::speed
//!
// Of two definitions the first counts: in the documentation the README's links
// lead to its pages, elsewhere to the files.
#![doc = include_str!("../README.md")]

#[doc(hidden)]
pub mod app;
mod channel;
pub mod chapters;
mod cluster;
#[doc(hidden)]
pub mod config;
#[doc(hidden)]
pub mod control;
#[doc(hidden)]
pub mod demo;
mod error;
mod event;
mod gate;
pub mod http;
pub mod ipc;
mod logger;
pub mod master;
#[doc(hidden)]
pub mod remote;
mod salvage;
mod scoreboard;
mod slab;
mod sys;
mod worker;

pub use cluster::{Cluster, Worker, is_worker, worker};
pub use event::{Event, NotAMessage, Post};
pub use http::{Handler, Method, Reply, Request, Response};
pub use master::scheduler::{
    IpHash, LeastConnections, Peer, RoundRobin, Scheduler,
};

/// Names one worker *process*: 1, 2, 3 … in the order of their start, never
/// used twice by a master. Node calls it `cluster.worker.id`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash,
)]
pub struct WorkerId(pub u32);

impl std::fmt::Display for WorkerId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}
