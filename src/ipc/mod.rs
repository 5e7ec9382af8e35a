//! PURE: the wire between a master and a worker.
//!
//! A channel is one `SOCK_STREAM` socket pair. Both ends write what Node
//! writes: one JSON value a line, and beside some lines descriptors
//! (`SCM_RIGHTS`). This module turns what was read into messages and messages
//! into what is to be written. It knows neither sockets nor descriptors nor
//! the time: whoever owns the socket brings bytes and takes bytes away.
//!
//! ```text
//!  recvmsg ──▶ Decoder ──▶ line ──▶ Message::parse ──▶ what the peer says
//!              bytes and            json: which members,
//!              descriptors          what is between them
//!
//!  sendmsg ◀── Outbox ◀──── line ◀── Message::encode ◀── what we say
//! ```
//!
//! Read [`codec`] for the framing, [`message`] for the vocabulary, [`json`]
//! last: it is only how a line is spelt.

pub mod codec;
pub mod json;
pub mod message;

pub use codec::{Decoder, Outbox};
pub use message::Message;
