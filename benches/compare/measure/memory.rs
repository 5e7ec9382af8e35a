//! What an idle keep-alive connection takes of a server's own memory, and
//! what a server takes that has none.

use super::sample;
use crate::bench::Bench;
use crate::clients::holder::{self, Held};
use crate::process;
use crate::result::Result;
use crate::servers::peer::Peer;
use crate::servers::server::Server;
use crate::tools::Node;

/// Connections that are held idle.
pub(crate) const IDLE: usize = 10_000;

/// Before them, so that what is loaded once is loaded.
const FIRST: usize = 100;

fn peers(bench: &Bench) -> Vec<Peer> {
    if bench.plan.quick {
        return vec![Peer::Handoff, Peer::HandoffPlain];
    }
    let peers = [
        Peer::FloorKeepAlive,
        Peer::Handoff,
        Peer::HandoffPlain,
        Peer::Nginx,
        Peer::Haproxy,
        Peer::H2o,
        Peer::Hyper,
        Peer::NodeRoundRobin(Node::V24),
    ];
    Peer::present(&bench.tools, &peers)
}

/// In bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    pub(crate) peer: Peer,
    /// Of all its processes, one worker among them.
    pub(crate) baseline: u64,
    pub(crate) per_connection: f64,
}

/// Seconds that this takes.
pub(crate) fn planned(bench: &Bench) -> f64 {
    holder::opening(IDLE) * peers(bench).len() as f64
}

/// One server after the other, so that none shares its code with another.
pub(crate) fn measure(bench: &mut Bench) -> Result<Vec<Memory>> {
    let mut measured = Vec::new();
    for peer in peers(bench) {
        match measure_one(bench, peer) {
            Ok(memory) => measured.push(memory),
            Err(why) => {
                let who = peer.name();
                bench.note(format!("memory: {who} is left out: {why}"));
            }
        }
        bench
            .progress
            .step(holder::opening(IDLE), &format!("memory: {}", peer.name()));
    }
    Ok(measured)
}

fn measure_one(bench: &Bench, peer: Peer) -> Result<Memory> {
    let server = Server::start(bench, peer, 1)?;
    let tree = server.tree();
    let baseline = process::memory(&tree);
    drop(Held::open(bench, server.port(), FIRST)?);
    sample::settled(&tree);
    let before = process::memory(&tree);
    let held = Held::open(bench, server.port(), IDLE)?;
    sample::settled(&tree);
    let after = process::memory(&tree);
    drop(held);
    let grown = after as f64 - before as f64;
    Ok(Memory { peer, baseline, per_connection: grown / IDLE as f64 })
}
