//! How an operator's command reaches a running master, and what the two say.
//!
//! ```text
//!   handoff scale 4 ──▶ client ── protocol ──▶ the master ─▶ status, table
//!                         │                       │
//!                         └──────▶ path ◀─────────┘  where they meet
//! ```
//!
//! The master's own side, which must not wait for anybody, is a matter of
//! `master::control`.

pub(crate) mod client;
pub(crate) mod path;
mod protocol;
mod status;
mod table;

pub(crate) use protocol::{
    Format, MAX_REQUEST, Malformed, Reply, Request, WORKERS,
};
pub(crate) use status::{Master, Phase, Salvage, Status, Usage, Worker};
