//! `make bench`: the server beside its floor and its peers, turn by turn.
//!
//! ```text
//!   servers: all started, all checked, all on one CPU
//!      │
//!      ▼            ┌─ /proc: what its processes have used
//!   rounds:  A ─────┼─ wrk, on another CPU
//!            B      └─ /proc again
//!            C
//!            A B C  A B C  …
//!      │
//!      ▼
//!   medians of the ratios within a round ──▶ results: table, JSON, plots
//! ```
//!
//! The figure is the CPU time of the whole process tree for one request. It
//! holds still where requests per second do not, since wrk and everything
//! else on the machine compete for the latter.
//!
//! Words after the name choose parts (`ka64 growth`), `QUICK=1` takes two
//! minutes for all of them. Neither touches the kept results.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "it reports to who has started it"
)]

mod answer;
mod bench;
mod brief;
mod calls;
mod cost_chart;
mod curve_chart;
mod growth;
mod holder;
mod json;
mod machine;
mod memory;
mod peers;
mod process;
mod progress;
mod report;
mod results;
mod rounds;
mod scenario;
mod server;
mod statistics;
mod svg;
mod targets;
mod tools;
mod wrk;

use std::process::ExitCode;

use bench::Bench;
use results::Results;

/// What went wrong, in words for the one who measures.
type Result<T> = std::result::Result<T, String>;

fn main() -> ExitCode {
    let words: Vec<String> =
        std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let ran = match words.first().map(String::as_str) {
        Some(holder::WORD) => holder::hold(&words[1..]),
        _ => {
            machine::raise_descriptors();
            run(words)
        }
    };
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("bench: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run(parts: Vec<String>) -> Result<()> {
    let mut bench = Bench::new(parts)?;
    let mut results = Results::new(&bench);
    for scenario in &scenario::ALL {
        if bench.wants(scenario.name) {
            results.comparisons.push(rounds::compare(&mut bench, scenario)?);
        }
    }
    if bench.wants("calls") {
        results.calls = calls::count(&mut bench)?;
    }
    if bench.wants("memory") {
        results.memory = memory::measure(&mut bench)?;
    }
    if bench.wants("growth") {
        results.curves = growth::measure(&mut bench)?;
    }
    bench.progress.finish();
    results.notes = std::mem::take(&mut bench.notes);
    let folder = bench.results_folder();
    report::write(&results, &folder)?;
    println!("{}", report::summary(&results));
    println!("results: {}", folder.display());
    Ok(())
}
