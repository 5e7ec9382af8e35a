//! No client ever hears what is another's, whatever happens to the workers
//! and the master; and what a proxy before us takes for so many requests, we
//! take for as many, or refuse.
//!
//! ```text
//!   storm    signals of every kind, clients of every kind, a tag in each
//!            request: `make chaos` has a longer one
//!   fronts   HAProxy and nginx before us, and bytes that can be read in two
//!            ways
//! ```

#![allow(clippy::unwrap_used, reason = "what goes wrong fails the test")]
#![allow(clippy::print_stdout, reason = "it counts")]

#[path = "../common/mod.rs"]
mod common;
mod fronts;
mod storm;

use std::time::Duration;

#[test]
fn no_answer_bears_the_tag_of_another_request() {
    storm::rage(Duration::from_secs(8), 1);
}
