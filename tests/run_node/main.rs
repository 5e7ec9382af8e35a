//! `handoff run` with real Node apps, which know nothing of handoff.
//!
//! The apps are in `tests/node` and need nothing but Node itself. Node 20 is
//! the measure, 18 the least; without any the tests say so and are skipped.

#![allow(clippy::unwrap_used, reason = "what goes wrong fails the test")]
#![allow(clippy::print_stderr, reason = "a test that is skipped says so")]

#[path = "../common/mod.rs"]
mod common;

mod dispatch;
mod groups;
mod listen;
mod lives;
mod readiness;
mod reload;
mod words;
mod wrappers;

use std::process::Command;

use common::server::{Server, handoff};

/// Leaves the test where there is no Node.
macro_rules! need_node {
    () => {
        if !crate::common::has_tool("node") {
            return;
        }
    };
}
pub(crate) use need_node;

/// `handoff run` with these options: Node with that script and its word.
pub(crate) fn node(options: &str, script: &str, word: &str) -> Command {
    let mut command =
        handoff(&format!("run --host 127.0.0.1 {options} -- node"));
    command.arg(format!("tests/node/{script}"));
    if !word.is_empty() {
        command.arg(word);
    }
    command
}

/// The usual app on a free port.
pub(crate) fn app(options: &str) -> Server {
    Server::start(node(options, "site.js", ""))
}

/// The usual app with other servers than that one.
pub(crate) fn app_on(options: &str, asked: &str) -> Server {
    Server::start(node(options, "site.js", asked))
}
