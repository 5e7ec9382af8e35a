//! HTTP/1.1 without sockets: bytes go in, answers come out.
//!
//! A server's whole side of RFC 9112, and no more: requests are read as
//! strictly as that allows, since whatever two programs can read in two ways
//! is a way in for an attacker. Nothing here waits, knows the time, or calls
//! the system, so every case can be tested a hundred thousand times a second.
//!
//! ```text
//!           Input                                          Output
//!  client ─▶ bytes ─▶ head ──▶ terms ──▶ chunked ─▶ Request   ▲
//!                     grammar  meaning   body        │        │ encode
//!                                                    ▼        │
//!                        Connection              Handler ─▶ Reply, Stream
//!                        says when   ──▶ Flow               or later:
//!                                                           Mailbox
//! ```
//!
//! Read `connection` for the conversation, `head` for the grammar, `terms`
//! for what keeps request smuggling out.

mod buffer;
mod byte;
mod chunked;
mod connection;
mod date;
mod encode;
mod flow;
mod head;
mod limits;
mod mailbox;
mod reply;
mod request;
mod response;
mod service;
mod status;
mod stream;
mod target;
mod terms;

pub use buffer::{Input, Output};
pub use connection::Connection;
pub use date::Preamble;
pub use flow::{Closing, Expects, Flow};
pub use head::{Head, Version};
pub use limits::Limits;
pub use mailbox::{Answer, Later, Mailbox};
pub use reply::{BadField, Reply};
pub use request::{Method, Request};
pub use response::{Delayed, Response};
pub use service::{Handler, Service};
pub use status::Refusal;
pub use stream::{Chunk, Produce};
