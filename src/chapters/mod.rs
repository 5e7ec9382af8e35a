//! Chapters: what the sources do together, told from one end to the other.

#[doc = include_str!("defended.md")]
pub mod defended {}

#[doc = include_str!("salvage.md")]
pub mod salvage {}

#[doc = include_str!("speed.md")]
pub mod speed {}
