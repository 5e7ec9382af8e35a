//! What a request costs as connections become more: those that ask, and those
//! that are only there.

use super::BUSY;
use super::curve::{Curve, Panel};
use crate::bench::Bench;
use crate::clients::holder::{self, Held};
use crate::clients::wrk::Load;
use crate::machine;
use crate::measure::sample;
use crate::result::Result;
use crate::servers::peer::Peer;
use crate::servers::server::Server;
use crate::shape::Shape;

/// Whose costs grow with connections.
fn peers(bench: &Bench) -> Vec<Peer> {
    let both = [Peer::Handoff, Peer::FloorKeepAlive];
    let compared = if bench.plan.quick { &both[..1] } else { &both };
    Peer::present(&bench.tools, compared)
}

fn busy(bench: &Bench) -> &'static [usize] {
    if bench.plan.quick { &[1, 100, 10_000] } else { &BUSY_POINTS }
}

const BUSY_POINTS: [usize; 5] = [1, 10, 100, 1000, 10_000];

fn idle(bench: &Bench) -> &'static [usize] {
    if bench.plan.quick { &[0, 10_000] } else { &IDLE_POINTS }
}

const IDLE_POINTS: [usize; 4] = [0, 1000, 10_000, 100_000];

/// Seconds that one round of this takes.
pub(super) fn planned(bench: &Bench) -> f64 {
    let seconds = f64::from(bench.plan.growth_seconds);
    let busy = busy(bench).iter();
    let busy: f64 = busy.map(|count| steady_seconds(bench, *count)).sum();
    let idle = idle(bench).iter();
    let idle: f64 = idle.map(|count| seconds + holder::opening(*count)).sum();
    peers(bench).len() as f64 * (busy + idle)
}

pub(super) fn grow_busy(bench: &mut Bench) -> Result<Vec<Curve>> {
    let mut running = Vec::new();
    for peer in peers(bench) {
        let server = Server::start(bench, peer, 1)?;
        running.push((server, Curve::new(Panel::Busy, peer.name())));
    }
    for _ in 0..bench.plan.growth_rounds {
        for &connections in busy(bench) {
            for (server, curve) in &mut running {
                let what = format!("growth: {connections} busy connections");
                match steady(bench, server, connections) {
                    Ok(cost) => curve.add(connections, cost),
                    Err(why) => bench.note(format!("{what}: {why}")),
                }
                bench.progress.step(steady_seconds(bench, connections), &what);
            }
        }
    }
    Ok(running.into_iter().map(|(_, curve)| curve).collect())
}

/// Seconds in which wrk has surely opened so many.
fn opened(connections: usize) -> u32 {
    1 + holder::opening(connections) as u32
}

fn steady_seconds(bench: &Bench, connections: usize) -> f64 {
    f64::from(2 * opened(connections) + bench.plan.growth_seconds)
}

/// The cost of a request once all connections are open. wrk opens them within
/// its time, and ten thousand cost something; so what is taken is by how much
/// a long run costs more than a short one.
fn steady(bench: &Bench, server: &Server, busy: usize) -> Result<f64> {
    let run = |seconds| -> Result<(f64, f64)> {
        let shape = Shape::KeepAlive;
        let load = Load { shape, connections: busy as u32, seconds };
        let sample = sample::measure(bench, server, load)?;
        Ok((sample.spent, sample.requests as f64))
    };
    let first = opened(busy);
    let (short, fewer) = run(first)?;
    let (long, more) = run(first + bench.plan.growth_seconds)?;
    if more <= fewer {
        return Err("the longer run answered no more".to_owned());
    }
    Ok((long - short) / (more - fewer))
}

pub(super) fn grow_idle(bench: &mut Bench) -> Result<Vec<Curve>> {
    let mut curves = Vec::new();
    for peer in peers(bench) {
        curves.push((peer, Curve::new(Panel::Idle, peer.name())));
    }
    for _ in 0..bench.plan.growth_rounds {
        for (peer, curve) in &mut curves {
            for &count in idle(bench) {
                let what = format!("growth: {count} idle connections");
                let seconds = f64::from(bench.plan.growth_seconds);
                let seconds = seconds + holder::opening(count);
                match beside_idle(bench, *peer, count) {
                    Ok(cost) => curve.add(count, cost),
                    Err(why) => bench.note(format!("{what}: {why}")),
                }
                bench.progress.step(seconds, &what);
            }
        }
    }
    Ok(curves.into_iter().map(|(_, curve)| curve).collect())
}

fn beside_idle(bench: &Bench, peer: Peer, count: usize) -> Result<f64> {
    /// Of a process, for what is no connection.
    const RESERVE: usize = 1000;
    let most = machine::descriptors() - RESERVE;
    let workers = count.div_ceil(most).max(1);
    let server = Server::start(bench, peer, workers)?;
    let held = Held::open(bench, server.port(), count)?;
    let seconds = bench.plan.growth_seconds;
    let shape = Shape::KeepAlive;
    sample::settled(&server.tree());
    let load = Load { shape, connections: BUSY, seconds };
    let cost = sample::measure(bench, &server, load)?.cpu;
    drop(held);
    Ok(cost)
}
