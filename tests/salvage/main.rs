//! Connections that outlive their worker, from outside: real workers die at
//! every point of a request's life, and real clients must not notice.
//!
//! ```text
//!   points   before, in the middle of and behind an answer, by what is asked
//!   writes   slow readers, short writes, large answers, streams
//!   clients  idle, half closed, gone, byte by byte; unix-domain sockets
//!   poison   what kills every worker that is asked, and its neighbours
//!   leaving  reload, scaling, recycling, upgrade: nobody is closed
//!   limits   no descriptors, no room; what is left behind
//!   step     a kill at an instruction: some of them, or every single one
//! ```

#![allow(clippy::unwrap_used, reason = "what goes wrong fails the test")]

#[path = "../programs/mortal/answer.rs"]
mod answer;
#[path = "../http/client.rs"]
mod client;
#[path = "../common/mod.rs"]
mod common;
#[path = "../http_server/peer.rs"]
#[allow(dead_code, reason = "other tests use all of it")]
mod peer;
mod step;
