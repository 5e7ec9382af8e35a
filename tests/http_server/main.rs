//! HTTP over real sockets: clients that are slow, vanish, do not read or
//! never stop, and answers that come late or bit by bit.
//!
//! What an answer to which request is, is tested without sockets in
//! `tests/http`; here it is the time, the buffers and the end that count.

#![allow(clippy::unwrap_used, reason = "what goes wrong fails the test")]

#[path = "../http/cases.rs"]
mod cases;
#[path = "../http/client.rs"]
mod client;
mod closing;
#[path = "../common/mod.rs"]
mod common;
#[path = "../http/dice.rs"]
mod dice;
#[path = "../http/driver.rs"]
#[allow(dead_code, reason = "the core's own tests use all of it")]
mod driver;
#[path = "../programs/answers/echo.rs"]
mod echo;
mod figures;
mod kernel;
mod late;
mod limits;
#[allow(dead_code, reason = "the tests of salvage use the rest")]
mod peer;
mod pieces;
mod pipelines;
mod streams;
mod timeouts;
mod wire;

use common::server::{Server, program};

/// The program that answers in every way there is.
fn answering() -> Server {
    Server::start(program("answers", "127.0.0.1:0"))
}

/// The same, where nobody waits for long on a client that takes nothing.
fn answering_impatiently(milliseconds: u32) -> Server {
    let words = format!("127.0.0.1:0 {milliseconds}");
    Server::start(program("answers", &words))
}
