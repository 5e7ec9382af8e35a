//! System calls per request, counted in two ways.
//!
//! perf disturbs little. But a server that is quicker than wrk waits between
//! two requests, and then its share of an epoll_wait says how idle it was.
//! strace makes each call so slow that a server never waits, so it tells what
//! a request costs a busy one. Of connections that are handed over it tells
//! nothing: two processes take turns, and batches fall apart.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::bench::Bench;
use crate::clients::wrk::{Load, Report};
use crate::process;
use crate::result::Result;
use crate::servers::peer::Peer;
use crate::servers::server::Server;
use crate::shape::Shape;
use crate::tools::{self, Node};

/// The calls that a server of this kind may make for a request; whatever
/// else it calls is in the sum.
const CALLS: [&str; 19] = [
    "accept4",
    "recvfrom",
    "sendto",
    "read",
    "write",
    "writev",
    "recvmsg",
    "sendmsg",
    "close",
    "close_range",
    "shutdown",
    "epoll_wait",
    "epoll_pwait",
    "epoll_ctl",
    "fcntl",
    "setsockopt",
    "getsockopt",
    "clock_gettime",
    "futex",
];

/// Who bears which load.
const LOADS: [(Shape, &str, &[Counter], &[Peer]); 3] = [
    (
        Shape::KeepAlive,
        "ka64",
        &[Counter::Strace, Counter::Perf],
        &[
            Peer::FloorKeepAlive,
            Peer::Handoff,
            Peer::Nginx,
            Peer::H2o,
            Peer::Hyper,
        ],
    ),
    (
        Shape::Pipelined,
        "pipe16",
        &[Counter::Strace, Counter::Perf],
        &[Peer::FloorPipelined, Peer::Handoff, Peer::Nginx, Peer::Hyper],
    ),
    (
        Shape::Close,
        "close64",
        &[Counter::Perf],
        &[
            Peer::FloorPass,
            Peer::FloorMore,
            Peer::Handoff,
            Peer::NginxDeferred,
            Peer::H2o,
            Peer::NodeRoundRobin(Node::V24),
            Peer::HandoffRun(Node::V24),
        ],
    ),
];

/// What perf and strace need until they count.
const BEGIN: Duration = Duration::from_millis(400);

/// What one server calls for one request under one load.
#[derive(Clone, Debug)]
pub(crate) struct Calls {
    pub(crate) load: &'static str,
    pub(crate) peer: Peer,
    pub(crate) counted_by: Counter,
    pub(crate) total: f64,
    pub(crate) each: BTreeMap<String, f64>,
}

impl Calls {
    pub(crate) fn of(&self, name: &str) -> f64 {
        self.each.get(name).copied().unwrap_or(0.0)
    }
}

/// Seconds of one count.
fn seconds(bench: &Bench) -> u32 {
    if bench.plan.quick { 1 } else { 3 }
}

/// Those that are counted; in a quick run we alone.
fn present(bench: &Bench, peers: &[Peer]) -> Vec<Peer> {
    let mut present = Peer::present(&bench.tools, peers);
    present.retain(|peer| !bench.plan.quick || *peer == Peer::Handoff);
    present
}

/// Seconds that this takes, if there is all that counts.
pub(crate) fn planned(bench: &Bench) -> f64 {
    let counts = LOADS.iter().map(|(_, _, counters, peers)| {
        counters.len() * present(bench, peers).len()
    });
    let each = f64::from(seconds(bench)) + BEGIN.as_secs_f64();
    counts.sum::<usize>() as f64 * each
}

pub(crate) fn count(bench: &mut Bench) -> Result<Vec<Calls>> {
    let mut counted = Vec::new();
    for (shape, name, counters, peers) in LOADS {
        for &counter in counters {
            if !counter.is_here(bench) {
                let what = counter.name();
                bench.note(format!("calls: {name}: {what} does not count."));
                continue;
            }
            for peer in present(bench, peers) {
                let seconds = seconds(bench);
                let load = Load { shape, connections: 64, seconds };
                let calls = Server::start(bench, peer, 1)
                    .and_then(|server| counter.count(bench, &server, load));
                let who = peer.name();
                match calls {
                    Ok((total, each)) => counted.push(Calls {
                        load: name,
                        peer,
                        counted_by: counter,
                        total,
                        each,
                    }),
                    Err(why) => bench.note(format!("calls: {who}: {why}")),
                }
                let what = format!("calls: {name} {who}");
                let over = f64::from(seconds) + BEGIN.as_secs_f64();
                bench.progress.step(over, &what);
            }
        }
    }
    Ok(counted)
}

/// Not every user may, nor every kernel.
fn can_count(perf: &std::path::Path) -> bool {
    let mut command = Command::new(perf);
    tools::runs(command.args(["stat", "-e", "raw_syscalls:sys_enter", "true"]))
}

/// All calls of a request, and those of each name.
type Counted = (f64, BTreeMap<String, f64>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counter {
    Perf,
    Strace,
}

impl Counter {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Counter::Perf => "perf",
            Counter::Strace => "strace",
        }
    }

    fn is_here(self, bench: &Bench) -> bool {
        match self {
            Counter::Perf => {
                bench.tools.perf.as_ref().is_some_and(|perf| can_count(perf))
            }
            Counter::Strace => bench.tools.strace.is_some(),
        }
    }

    fn count(
        self,
        bench: &Bench,
        server: &Server,
        load: Load,
    ) -> Result<Counted> {
        let file = bench.tools.scratch.join("calls.txt");
        let tree = server.tree().iter().map(u32::to_string).collect();
        let mut command = match self {
            Counter::Perf => perf(bench, tree),
            Counter::Strace => strace(bench, tree),
        };
        command.arg(&file).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let counting = command.spawn();
        let mut counting = counting.map_err(|error| error.to_string())?;
        // Neither says when it has begun.
        thread::sleep(BEGIN);
        let report = load.run(bench, server.port());
        process::signal("INT", &[counting.id()]);
        let _ = counting.wait();
        let text = fs::read_to_string(&file).unwrap_or_default();
        let counts = match self {
            Counter::Perf => counts_of_perf(&text),
            Counter::Strace => counts_of_strace(&text),
        };
        per_request(counts, report?)
    }
}

/// Without the file to write to, which comes last.
fn perf(bench: &Bench, tree: Vec<String>) -> Command {
    let mut events = vec!["raw_syscalls:sys_enter".to_owned()];
    for name in CALLS {
        events.push(format!("syscalls:sys_enter_{name}"));
    }
    let mut command = Command::new(
        bench.tools.perf.as_deref().unwrap_or(std::path::Path::new("perf")),
    );
    command.args(["stat", "-x", ",", "-e", &events.join(",")]);
    command.args(["-p", &tree.join(","), "-o"]);
    command
}

fn strace(bench: &Bench, tree: Vec<String>) -> Command {
    let mut command = Command::new(
        bench
            .tools
            .strace
            .as_deref()
            .unwrap_or(std::path::Path::new("strace")),
    );
    command.args(["-f", "-c", "-U", "name,calls"]);
    for pid in tree {
        command.args(["-p", &pid]);
    }
    command.arg("-o");
    command
}

/// Lines as `5012,,syscalls:sys_enter_accept4,…`.
fn counts_of_perf(text: &str) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for line in text.lines() {
        let mut fields = line.split(',');
        let count = fields.next().and_then(|field| field.parse().ok());
        let event = fields.nth(1).unwrap_or_default();
        let name = match event.strip_prefix("syscalls:sys_enter_") {
            Some(name) => name,
            None if event == "raw_syscalls:sys_enter" => "total",
            None => continue,
        };
        counts.insert(name.to_owned(), count.unwrap_or(0));
    }
    counts
}

/// Lines as `accept4   5012`, and a `total`.
fn counts_of_strace(text: &str) -> BTreeMap<String, u64> {
    let pairs = text.lines().filter_map(|line| {
        let (name, count) = line.trim().split_once(char::is_whitespace)?;
        Some((name.to_owned(), count.trim().parse().ok()?))
    });
    pairs.collect()
}

fn per_request(
    mut counts: BTreeMap<String, u64>,
    report: Report,
) -> Result<Counted> {
    let total = counts.remove("total").filter(|total| *total > 0);
    let total = total.ok_or("nothing was counted")?;
    let requests = report.requests.max(1) as f64;
    let each = counts.into_iter().filter(|(_, count)| *count > 0);
    let each = each.map(|(name, count)| (name, count as f64 / requests));
    Ok((total as f64 / requests, each.collect()))
}
