//! PURE: a worker dies, and its connections do not.
//!
//! The master keeps its copy of every connection; a worker borrows it, with a
//! slot of four words in memory that the two share. Where a connection stands
//! is never stored: it follows from comparing the words with each other and
//! with what the kernel has counted. Once an answer exists it is never made
//! again: whoever comes next writes the rest of it. So a death, a reload and
//! an upgrade are one operation:
//!
//! ```text
//!   the words of the slot ─┐
//!                          ├─▶ judge ─▶ Snapshot ─▶ another worker
//!   the kernel's counters ─┘     │
//!                                └────▶ or the end: Reset, End, Gone
//! ```
//!
//! Words and counters go in, verdicts come out. [`recovery`] judges,
//! [`slot_table`] knows which slot is whose, [`quarantine`] hears those apart
//! of whom one may have killed a worker.

pub(crate) mod quarantine;
pub(crate) mod recovery;
pub(crate) mod slot_table;
pub(crate) mod snapshot;
