//! One load, borne by all servers in turn, round after round.

use super::sample::{self, Sample};
use super::scenario::Scenario;
use crate::bench::Bench;
use crate::clients::answer;
use crate::clients::wrk::Load;
use crate::result::Result;
use crate::servers::peer::Peer;
use crate::servers::server::Server;
use crate::statistics::Spread;

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

/// Those that are compared. A quick run tells nothing of noise.
fn peers(bench: &Bench, scenario: &Scenario) -> Vec<Peer> {
    let mut present = Peer::present(&bench.tools, scenario.peers);
    present.retain(|peer| !bench.plan.quick || *peer != Peer::HandoffAgain);
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
            match sample::measure(bench, server, load) {
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
