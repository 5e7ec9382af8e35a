//! Chaos: workers are killed, stopped, reloaded and replaced under load, and
//! every request is accounted for.
//!
//! ```text
//!   faults ──▶ scene ──▶ server   a real one, known from outside: which,
//!               │  │                the subject says
//!               │  └───▶ load ──▶ client: one End for each request
//!               ▼                    │
//!  summary ◀── row ◀── bars ◀──── ledger
//! ```
//!
//! `make chaos` prints the table, a row for each fault, and fails if a bar
//! is not reached; `make chaos ARGS=reload` takes the rows that have that in
//! their name. `make chaos OF='handoff no-salvage nginx node'` prints a table
//! for each of these, and one of all: others than handoff have no bars, they
//! are there to be compared with. `cargo test` runs two short ones, so that
//! this cannot rot, and sets the books against a server that loses, cuts off,
//! lies and hangs.
//!
//! `storm` does not count what is lost, but looks into every answer for what
//! is another's. `make chaos` has two minutes of it.

#![allow(clippy::unwrap_used, reason = "what goes wrong fails the test")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a table")]

mod bars;
mod client;
#[path = "../common/mod.rs"]
mod common;
mod faults;
mod faulty;
mod ledger;
mod load;
mod row;
mod scene;
mod selftest;
mod server;
#[path = "../crosstalk/storm.rs"]
mod storm;
mod subject;
mod summary;

use std::fs;
use std::thread;
use std::time::Duration;

use faults::{Fault, KILL, RELOAD};
use load::PER_SECOND;
use row::Row;
use server::{HANDOFF, WORKERS};
use subject::Subject;

/// Prints a table. Returns its rows, and every bar that was not reached.
fn table(subject: Subject, faults: &[Fault]) -> (Vec<Row>, Vec<String>) {
    let version = subject.version().unwrap();
    println!("\n{version}, {}\n\n{}", circumstances(), row::HEAD);
    let (mut rows, mut broken) = (Vec::new(), Vec::new());
    for fault in faults {
        let name = fault.name;
        let row = scene::run(subject, fault);
        println!("{row}");
        if !row.broken.is_empty() {
            eprintln!("---- the server's log: {name} ----\n{}", row.log);
        }
        let bars = row.broken.iter();
        broken.extend(bars.map(|bar| format!("{version}: {name}: {bar}")));
        rows.push(row);
    }
    (rows, broken)
}

/// Fails if a bar was not reached.
fn judge(broken: &[String]) {
    assert!(broken.is_empty(), "not reached:\n{}", broken.join("\n"));
}

/// Where and how it was measured.
fn circumstances() -> String {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let kernel = read("/proc/sys/kernel/osrelease");
    let load = read("/proc/loadavg");
    format!(
        "{WORKERS} workers, {PER_SECOND} requests a second; Linux {}, \
         {} processors, load {}",
        kernel.trim(),
        thread::available_parallelism().map_or(0, usize::from),
        load.split(' ').next().unwrap_or_default(),
    )
}

/// Those that are named, `handoff` if none is.
fn subjects(names: &str) -> Vec<Subject> {
    let names = if names.trim().is_empty() { "handoff" } else { names };
    let named = |name: &str| {
        let all = Subject::ALL.into_iter();
        let mut of_that_name = all.filter(|subject| subject.name() == name);
        let known = Subject::ALL.map(Subject::name);
        let found = of_that_name.next();
        found.unwrap_or_else(|| panic!("{name:?} is none of {known:?}"))
    };
    names.split_whitespace().map(named).collect()
}

#[test]
#[ignore = "it takes two minutes: make chaos"]
fn every_fault_of_the_table_costs_no_more_than_it_may() {
    let setting = |name| std::env::var(name).unwrap_or_default();
    let wanted = setting("HANDOFF_CHAOS");
    let (mut columns, mut broken) = (Vec::new(), Vec::new());
    for subject in subjects(&setting("HANDOFF_CHAOS_OF")) {
        if let Err(why) = subject.version() {
            common::skipped(&why);
            continue;
        }
        let mut faults = faults::all(subject);
        faults.retain(|fault| fault.name.contains(&wanted));
        let (rows, bars) = table(subject, &faults);
        columns.push((subject, rows));
        broken.extend(bars);
    }
    let rows: usize = columns.iter().map(|(_, rows)| rows.len()).sum();
    assert!(rows > 0, "nothing to do: no fault has {wanted:?} in its name?");
    if columns.len() > 1 {
        println!("\n{}", summary::summary(&columns));
    }
    judge(&broken);
}

/// With the name of a row, or of others than handoff, it is not meant.
#[test]
#[ignore = "it takes two minutes: make chaos"]
fn in_a_long_storm_nobody_hears_what_is_anothers() {
    let given = |name| std::env::var(name).is_ok_and(|word| !word.is_empty());
    if given("HANDOFF_CHAOS") || given("HANDOFF_CHAOS_OF") {
        return;
    }
    for seed in 2..6 {
        storm::rage(Duration::from_secs(30), seed);
    }
}

#[test]
fn a_short_chaos_costs_no_more_than_it_may() {
    let (hits, every) = (3, Duration::from_millis(200));
    let tail = Duration::from_millis(400);
    let faults = [
        Fault { hits, every, tail, ..KILL },
        Fault { name: "reload", hits, every, tail, ..RELOAD },
    ];
    let (_, broken) = table(Subject::Handoff(HANDOFF), &faults);
    judge(&broken);
}

#[test]
fn a_server_that_does_not_start_is_a_failure() {
    for program in ["/nowhere", "/bin/false", "/bin/true"] {
        let run = || scene::run(Subject::Handoff(program), &KILL);
        assert!(std::panic::catch_unwind(run).is_err(), "{program}");
    }
}
