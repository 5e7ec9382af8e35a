//! The HTTP core from outside: bytes in, answers out.

mod client;
mod conversation;
mod driver;
mod files;
mod transcript;
