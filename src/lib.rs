//! [chapter on defence]: chapters::defended
//! [chapter on salvage]: chapters::salvage
//! [chapter on speed]: chapters::speed
//!
// Of two definitions the first counts: in the documentation the README's links
// lead to its pages, and its pictures are in them; elsewhere both are files.
#![doc = include_str!("../benches/results/pictures.md")]
#![doc = include_str!("../README.md")]

mod app;
mod channel;
pub mod chapters;
mod cluster;
mod command;
mod config;
mod control;
mod demo;
mod environment;
mod error;
mod event;
mod gate;
pub mod http;
#[doc(hidden)]
pub mod internals;
mod ipc;
mod logger;
mod master;
mod salvage;
mod scoreboard;
mod slab;
mod sys;
mod worker;
mod worker_id;

pub use cluster::{Cluster, Worker, is_worker, worker};
pub use event::{Event, NotAMessage, Post};
pub use http::{Handler, Method, Reply, Request, Response};
pub use master::scheduler::{
    self, IpHash, LeastConnections, Peer, RoundRobin, Scheduler,
};
pub use worker_id::WorkerId;
