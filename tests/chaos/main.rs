//! Chaos: workers are killed, stopped, reloaded and replaced under load, and
//! every request is accounted for.
//!
//! ```text
//!   faults ──▶ scene ──▶ server   a real one, known from outside
//!               │  └───▶ load ──▶ client: one End for each request
//!               ▼                    │
//!              row ◀── bars ◀──── ledger
//! ```
//!
//! `make chaos` prints the table, a row for each fault, and fails if a bar
//! is not reached; `make chaos ARGS=reload` takes the rows that have that in
//! their name. `cargo test` runs two short ones, so that this cannot rot,
//! and sets the books against a server that loses, cuts off, lies and hangs.

#![allow(clippy::unwrap_used, reason = "what goes wrong fails the test")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a table")]

mod bars;
mod client;
#[path = "../common/mod.rs"]
mod common;
mod faults;
mod ledger;
mod liar;
mod load;
mod row;
mod scene;
mod selftest;
mod server;

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use faults::{FAULTS, Fault, KILL, RELOAD};
use load::PER_SECOND;
use server::{HANDOFF, WORKERS};

/// Prints a table, and fails if a bar was not reached.
fn table(faults: &[Fault]) {
    println!("\n{}\n\n{}", circumstances(), row::HEAD);
    let mut broken = Vec::new();
    for fault in faults {
        let name = fault.name;
        let row = scene::run(fault, Path::new(HANDOFF));
        println!("{row}");
        if !row.broken.is_empty() {
            eprintln!("---- the server's log: {name} ----\n{}", row.log);
        }
        let bars = row.broken.iter();
        broken.extend(bars.map(|bar| format!("{name}: {bar}")));
    }
    assert!(broken.is_empty(), "not reached:\n{}", broken.join("\n"));
}

/// Where and how it was measured.
fn circumstances() -> String {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let kernel = read("/proc/sys/kernel/osrelease");
    let load = read("/proc/loadavg");
    format!(
        "handoff {}{}, {WORKERS} workers, {PER_SECOND} requests a second; \
         Linux {}, {} processors, load {}",
        env!("CARGO_PKG_VERSION"),
        if cfg!(debug_assertions) { " (debug)" } else { "" },
        kernel.trim(),
        thread::available_parallelism().map_or(0, usize::from),
        load.split(' ').next().unwrap_or_default(),
    )
}

#[test]
#[ignore = "it takes two minutes: make chaos"]
fn every_fault_of_the_table_costs_no_more_than_it_may() {
    let wanted = std::env::var("HANDOFF_CHAOS").unwrap_or_default();
    let has = |fault: &&Fault| fault.name.contains(&wanted);
    let faults: Vec<Fault> = FAULTS.iter().filter(has).copied().collect();
    assert!(!faults.is_empty(), "no fault has {wanted:?} in its name");
    table(&faults);
}

#[test]
fn a_short_chaos_costs_no_more_than_it_may() {
    let (hits, every) = (3, Duration::from_millis(200));
    let tail = Duration::from_millis(400);
    table(&[
        Fault { hits, every, tail, ..KILL },
        Fault { name: "reload", hits, every, tail, ..RELOAD },
    ]);
}

#[test]
fn a_server_that_does_not_start_is_a_failure() {
    for program in ["/nowhere", "/bin/false", "/bin/true"] {
        let run = || scene::run(&KILL, Path::new(program));
        assert!(std::panic::catch_unwind(run).is_err(), "{program}");
    }
}
