//! Those who ask: wrk, idle clients that only hold their connections, callers
//! at many addresses, and one client that looks at each byte of an answer.
//! They know an address, and nothing of who serves there.

pub(crate) mod answer;
pub(crate) mod callers;
pub(crate) mod holder;
pub(crate) mod wrk;
