//! The HTTP core from outside: bytes in, answers out.
#![allow(clippy::unwrap_used)]

mod cases;
mod client;
mod conformance;
mod conversation;
mod courses;
mod dice;
mod driver;
mod files;
mod mutations;
mod oracle;
mod transcript;
mod waiting;
