//! One load, borne by all servers in turn, round after round.

use std::thread;
use std::time::{Duration, Instant};

use crate::Result;
use crate::answer;
use crate::bench::Bench;
use crate::peers::Peer;
use crate::process::Usage;
use crate::scenario::Scenario;
use crate::server::Server;
use crate::statistics::Spread;
use crate::wrk::Load;

/// After wrk has left, a server has its connections to close. Until it has
/// not worked for so long, that is counted too.
const QUIET: Duration = Duration::from_millis(20);

/// No server is waited for longer than this.
const PATIENCE: Duration = Duration::from_secs(2);

/// One measurement; what is per request is in microseconds, or a number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) requests: u64,
    /// Microseconds of CPU for all of them.
    pub(crate) spent: f64,
    pub(crate) per_second: f64,
    pub(crate) cpu: f64,
    pub(crate) user: f64,
    /// Times that a thread of the server was put on a CPU.
    pub(crate) switches: f64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) errors: u64,
}

/// A server, and what was measured of it, round by round.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) peer: Peer,
    pub(crate) words: String,
    pub(crate) samples: Vec<Sample>,
}

impl Entry {
    pub(crate) fn spread(&self, of: fn(&Sample) -> f64) -> Option<Spread> {
        Spread::of(self.samples.iter().map(of))
    }
}

/// What one load cost each server.
#[derive(Debug)]
pub(crate) struct Comparison {
    pub(crate) scenario: &'static Scenario,
    pub(crate) load: String,
    pub(crate) entries: Vec<Entry>,
}

impl Comparison {
    pub(crate) fn entry(&self, peer: Peer) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.peer == peer)
    }

    /// The CPU time of one in terms of another's, within each round.
    pub(crate) fn ratio(&self, one: Peer, other: Peer) -> Option<Spread> {
        self.ratio_of(one, other, |sample| sample.cpu)
    }

    /// The same of another figure.
    pub(crate) fn ratio_of(
        &self,
        one: Peer,
        other: Peer,
        of: fn(&Sample) -> f64,
    ) -> Option<Spread> {
        let (one, other) = (self.entry(one)?, self.entry(other)?);
        let pairs = one.samples.iter().zip(&other.samples);
        Spread::of(pairs.map(|(one, other)| of(one) / of(other)))
    }
}

/// Those that are compared. A quick run tells nothing of noise, and has no
/// time for two kinds of Node's own.
fn peers(bench: &Bench, scenario: &Scenario) -> Vec<Peer> {
    let mut present = bench.present(scenario.peers);
    let is_left_out =
        |peer| matches!(peer, Peer::HandoffAgain | Peer::NodeNone);
    present.retain(|peer| !(bench.plan.quick && is_left_out(*peer)));
    present
}

/// Seconds that this takes.
pub(crate) fn planned(bench: &Bench, scenario: &Scenario) -> f64 {
    let peers = peers(bench, scenario).len();
    let measured = peers * bench.plan.rounds * bench.plan.seconds as usize;
    (measured + bench.plan.seconds as usize) as f64
}

/// Starts and checks all, warms them up, and measures them in turn. Who does
/// not start, answers wrongly or fails is left out, and noted.
pub(crate) fn compare(
    bench: &mut Bench,
    scenario: &'static Scenario,
) -> Result<Comparison> {
    let seconds = bench.plan.seconds;
    let load = Load {
        shape: scenario.shape,
        connections: scenario.connections,
        seconds,
    };
    let name = scenario.name;
    bench.progress.step(0.0, &format!("{name}: starting servers"));
    let mut servers = Vec::new();
    for peer in peers(bench, scenario) {
        let checked = Server::start(bench, peer, 1).and_then(|server| {
            answer::check(server.port(), scenario.shape)?;
            Ok(server)
        });
        match checked {
            Ok(server) => servers.push((server, Vec::new())),
            Err(why) => {
                let who = peer.name();
                bench.note(format!("{name}: {who} is left out: {why}"));
            }
        }
    }
    warm_up(bench, &servers, load)?;
    for round in 1..=bench.plan.rounds {
        let mut failed = Vec::new();
        for (server, samples) in &mut servers {
            let (who, of) = (server.peer.name(), bench.plan.rounds);
            match measure(bench, server, load) {
                Ok(sample) if sample.requests == 0 => {
                    let why = "it answered nothing".to_owned();
                    failed.push((server.peer, why));
                }
                Ok(sample) => samples.push(sample),
                Err(why) => failed.push((server.peer, why)),
            }
            let cpu = samples.last().map_or(0.0, |sample| sample.cpu);
            let what = format!("{name} {round}/{of}: {who} {cpu:.2} µs");
            bench.progress.step(f64::from(seconds), &what);
        }
        for (peer, why) in failed {
            servers.retain(|(server, _)| server.peer != peer);
            let who = peer.name();
            bench.note(format!("{name}: {who} is left out: {why}"));
        }
    }
    let entries = servers.into_iter().map(|(server, samples)| Entry {
        peer: server.peer,
        words: server.words.clone(),
        samples,
    });
    let entries = entries.collect();
    let load = format!("wrk {}", load.arguments().join(" "));
    let load = load.replace(concat!(env!("CARGO_MANIFEST_DIR"), "/"), "");
    Ok(Comparison { scenario, load, entries })
}

/// All at once: compilers, caches and pools want work before they are fast.
fn warm_up(
    bench: &mut Bench,
    servers: &[(Server, Vec<Sample>)],
    load: Load,
) -> Result<()> {
    let mut running = Vec::new();
    for (server, _) in servers {
        running.push(load.start(bench, server.port())?);
    }
    for wrk in running {
        wrk.finish()?;
    }
    bench.progress.step(f64::from(load.seconds), "warmed up");
    Ok(())
}

/// What a load costs a server.
pub(crate) fn measure(
    bench: &Bench,
    server: &Server,
    load: Load,
) -> Result<Sample> {
    let tree = server.tree();
    let before = Usage::of(&tree);
    let report = load.run(bench, server.port())?;
    let used = settled(&tree).since(&before);
    // What answers nothing costs a lot for a request, not nothing.
    let requests = report.requests.max(1) as f64;
    let spent = used.cpu as f64 / 1e3;
    Ok(Sample {
        requests: report.requests,
        spent,
        per_second: requests / report.seconds,
        cpu: spent / requests,
        user: used.user() / 1e3 / requests,
        switches: used.switches as f64 / requests,
        p50: report.p50,
        p99: report.p99,
        errors: report.errors,
    })
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
