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
//! Each layer knows those below it:
//!
//! ```text
//!   main     the command
//!   parts    which parts there are, and which are wanted
//!   report   results, targets, tables and plots
//!   measure  figures: loads in rounds, system calls, memory, growth
//!   servers  who is measured, and how each is started
//!   clients  who asks
//!   bench    tools, plan, progress; machine, process, statistics, shape
//! ```
//!
//! Words after the name choose parts (`ka64 growth`), `QUICK=1` takes some
//! minutes for all of them. Neither touches the kept results.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "it reports to who has started it"
)]

mod bench;
mod clients;
mod machine;
mod measure;
mod parts;
mod process;
mod progress;
mod report;
mod result;
mod servers;
mod shape;
mod statistics;
mod tools;

use std::path::Path;
use std::process::ExitCode;

use bench::Bench;
use clients::{answer, callers, holder};
use parts::Parts;
use report::results::Results;
use result::Result;
use servers::peer::Peer;
use servers::server::Server;

fn main() -> ExitCode {
    let words: Vec<String> =
        std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let ran = match words.first().map(String::as_str) {
        Some(holder::WORD) => holder::hold(&words[1..]),
        Some(callers::WORD) => callers::run(&words[1..]),
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

fn run(words: Vec<String>) -> Result<()> {
    let parts = Parts::new(words)?;
    let mut bench = Bench::new()?;
    let server = Server::start(&bench, Peer::Handoff, 1)?;
    bench.replies = answer::replies(server.port())?;
    drop(server);
    bench.progress.expect(parts.planned(&bench));
    let mut results = Results::new(&bench);
    parts.run(&mut bench, &mut results)?;
    bench.progress.finish();
    results.notes = std::mem::take(&mut bench.notes);
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/results");
    // The kept results are those of a whole run.
    let is_whole = parts.are_all() && !bench.plan.quick;
    let folder = if is_whole { kept } else { kept.join("quick") };
    report::write(&results, &folder)?;
    println!("{}", report::summary(&results));
    println!("results: {}", folder.display());
    Ok(())
}
