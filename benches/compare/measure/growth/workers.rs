//! What a request costs as workers become more, and the master's part of it.

use super::BUSY;
use super::curve::{Curve, Panel};
use crate::bench::Bench;
use crate::clients::wrk::Load;
use crate::measure::sample;
use crate::result::Result;
use crate::servers::peer::Peer;
use crate::servers::server::Server;
use crate::shape::Shape;

fn workers(bench: &Bench) -> &'static [usize] {
    if bench.plan.quick { &[1, 4, 16] } else { &WORKER_POINTS }
}

const WORKER_POINTS: [usize; 5] = [1, 2, 4, 8, 16];

/// Who bears which load with more and more workers.
const TEAMS: [(Panel, Shape, Peer); 4] = [
    (Panel::WorkersClose, Shape::Close, Peer::Handoff),
    (Panel::WorkersClose, Shape::Close, Peer::FloorMore),
    (Panel::WorkersKeepAlive, Shape::KeepAlive, Peer::Handoff),
    (Panel::WorkersKeepAlive, Shape::KeepAlive, Peer::FloorKeepAlive),
];

/// Seconds that one round of this takes.
pub(super) fn planned(bench: &Bench) -> f64 {
    let runs = (workers(bench).len() * TEAMS.len()) as f64;
    runs * f64::from(bench.plan.growth_seconds)
}

pub(super) fn grow_workers(bench: &mut Bench) -> Result<Vec<Curve>> {
    let mut master = Curve::new(Panel::WorkersClose, "its master alone");
    let mut teams = Vec::new();
    for (panel, shape, peer) in TEAMS {
        if peer.program(&bench.tools).is_none() {
            continue;
        }
        let mut servers = Vec::new();
        for &count in workers(bench) {
            servers.push((count, Server::start(bench, peer, count)?));
        }
        teams.push((shape, servers, Curve::new(panel, peer.name())));
    }
    let seconds = bench.plan.growth_seconds;
    for _ in 0..bench.plan.growth_rounds {
        for (shape, servers, curve) in &mut teams {
            for (count, server) in servers {
                let load = Load { shape: *shape, connections: BUSY, seconds };
                let sample = sample::measure(bench, server, load)?;
                curve.add(*count, sample.cpu);
                if server.peer == Peer::Handoff && *shape == Shape::Close {
                    master.add(*count, sample.first);
                }
                let what = format!("growth: {count} workers");
                bench.progress.step(f64::from(seconds), &what);
            }
        }
    }
    let curves = teams.into_iter().map(|(_, _, curve)| curve);
    Ok(curves.chain([master]).collect())
}
