//! One measurement: what a server uses while somebody asks.

use std::thread;
use std::time::{Duration, Instant};

use crate::bench::Bench;
use crate::clients::wrk::Load;
use crate::process::Usage;
use crate::result::Result;
use crate::servers::server::Server;

/// After wrk has left, a server has its connections to close. Until it has
/// not worked for so long, that is counted too.
const QUIET: Duration = Duration::from_millis(20);

/// No server is waited for longer than this.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is per request is in microseconds, or a number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) requests: u64,
    /// Microseconds of CPU for all of them.
    pub(crate) spent: f64,
    pub(crate) per_second: f64,
    pub(crate) cpu: f64,
    /// Of that, the first process's: where it hands over, the master's.
    pub(crate) first: f64,
    pub(crate) user: f64,
    /// Times that a thread of the server was put on a CPU.
    pub(crate) switches: f64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) errors: u64,
}

impl Sample {
    /// What all processes but the first used.
    pub(crate) fn others(&self) -> f64 {
        self.cpu - self.first
    }
}

/// What a load costs a server.
pub(crate) fn measure(
    bench: &Bench,
    server: &Server,
    load: Load,
) -> Result<Sample> {
    let (used, report) =
        used_during(server, || load.run(bench, server.port()))?;
    // What answers nothing costs a lot for a request, not nothing.
    let requests = report.requests.max(1) as f64;
    let spent = used.all.cpu as f64 / 1e3;
    Ok(Sample {
        requests: report.requests,
        spent,
        per_second: requests / report.seconds,
        cpu: spent / requests,
        first: used.first.cpu as f64 / 1e3 / requests,
        user: used.all.user() / 1e3 / requests,
        switches: used.all.switches as f64 / requests,
        p50: report.p50,
        p99: report.p99,
        errors: report.errors,
    })
}

/// What a server has used, and its first process of that.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Used {
    pub(crate) all: Usage,
    first: Usage,
}

/// What a server uses while something is done, and what comes of that.
pub(crate) fn used_during<T>(
    server: &Server,
    ask: impl FnOnce() -> Result<T>,
) -> Result<(Used, T)> {
    let tree = server.tree();
    let first = [server.pid()];
    let before = Usage::of(&tree);
    let first_before = Usage::of(&first);
    let came = ask()?;
    let all = settled(&tree).since(&before);
    let first = Usage::of(&first).since(&first_before);
    Ok((Used { all, first }, came))
}

/// What these processes have used, once they rest.
pub(crate) fn settled(tree: &[u32]) -> Usage {
    /// Nanoseconds that a server at rest may use meanwhile.
    const REST: u64 = 500_000;
    let deadline = Instant::now() + PATIENCE;
    let mut last = Usage::of(tree);
    loop {
        thread::sleep(QUIET);
        let now = Usage::of(tree);
        if now.since(&last).cpu < REST || Instant::now() > deadline {
            return now;
        }
        last = now;
    }
}
