//! The HTTP core from outside: bytes in, answers out.
#![allow(clippy::unwrap_used)]

mod client;
mod conformance;
mod conversation;
mod driver;
mod files;
mod mutations;
mod oracle;
mod transcript;
mod waiting;
