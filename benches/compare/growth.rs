//! What a request costs as connections and workers become more.

use crate::Result;
use crate::bench::Bench;
use crate::holder::Held;
use crate::machine;
use crate::peers::Peer;
use crate::process::Usage;
use crate::rounds;
use crate::scenario::Shape;
use crate::server::Server;
use crate::wrk::Load;

/// What becomes more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Panel {
    /// Connections that all ask all the time.
    Busy,
    /// Connections that do nothing, beside 64 that ask.
    Idle,
    /// Workers, and each connection is handed to one.
    WorkersClose,
    /// Workers, and connections stay.
    WorkersKeepAlive,
}

impl Panel {
    pub(crate) const ALL: [Panel; 4] = [
        Panel::Busy,
        Panel::Idle,
        Panel::WorkersClose,
        Panel::WorkersKeepAlive,
    ];

    pub(crate) fn title(self) -> &'static str {
        match self {
            Panel::Busy => "Busy keep-alive connections",
            Panel::Idle => "Idle connections beside 64 busy ones",
            Panel::WorkersClose => "Workers, a connection for each request",
            Panel::WorkersKeepAlive => "Workers, 64 keep-alive connections",
        }
    }
}

/// The cost of a request in microseconds of CPU, for each number of what
/// becomes more, as often as it was measured.
#[derive(Debug)]
pub(crate) struct Curve {
    pub(crate) panel: Panel,
    pub(crate) name: &'static str,
    pub(crate) points: Vec<(usize, Vec<f64>)>,
}

impl Curve {
    fn new(panel: Panel, name: &'static str) -> Curve {
        Curve { panel, name, points: Vec::new() }
    }

    fn add(&mut self, at: usize, cost: f64) {
        match self.points.iter_mut().find(|(x, _)| *x == at) {
            Some((_, costs)) => costs.push(cost),
            None => self.points.push((at, vec![cost])),
        }
    }
}

/// Whose costs grow with connections.
fn peers(bench: &Bench) -> Vec<Peer> {
    let both = [Peer::Handoff, Peer::FloorKeepAlive];
    bench.present(if bench.plan.quick { &both[..1] } else { &both })
}

/// Connections that ask while others are idle.
const BUSY: u32 = 64;

fn busy(bench: &Bench) -> &'static [usize] {
    if bench.plan.quick { &[1, 100, 10_000] } else { &BUSY_POINTS }
}

const BUSY_POINTS: [usize; 5] = [1, 10, 100, 1000, 10_000];

fn idle(bench: &Bench) -> &'static [usize] {
    if bench.plan.quick { &[0, 10_000] } else { &IDLE_POINTS }
}

const IDLE_POINTS: [usize; 4] = [0, 1000, 10_000, 100_000];

fn workers(bench: &Bench) -> &'static [usize] {
    if bench.plan.quick { &[1, 4, 16] } else { &WORKER_POINTS }
}

const WORKER_POINTS: [usize; 5] = [1, 2, 4, 8, 16];

/// Seconds that it takes to open so many, on a busy machine.
pub(crate) fn opening(connections: usize) -> f64 {
    connections as f64 / 5000.0
}

/// Seconds that this takes.
pub(crate) fn planned(bench: &Bench) -> f64 {
    let seconds = f64::from(bench.plan.growth_seconds);
    let peers = peers(bench).len() as f64;
    let busy: f64 =
        busy(bench).iter().map(|count| steady_seconds(bench, *count)).sum();
    let busy = peers * busy;
    let opened: f64 = idle(bench).iter().map(|count| opening(*count)).sum();
    let idle = idle(bench).len() as f64 * seconds + opened;
    let idle = peers * idle;
    let workers = (workers(bench).len() * TEAMS.len()) as f64 * seconds;
    bench.plan.growth_rounds as f64 * (busy + idle + workers)
}

pub(crate) fn measure(bench: &mut Bench) -> Result<Vec<Curve>> {
    let mut curves = grow_busy(bench)?;
    curves.extend(grow_idle(bench)?);
    curves.extend(grow_workers(bench)?);
    Ok(curves)
}

fn grow_busy(bench: &mut Bench) -> Result<Vec<Curve>> {
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
    1 + opening(connections) as u32
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
        let sample = rounds::measure(bench, server, load)?;
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

fn grow_idle(bench: &mut Bench) -> Result<Vec<Curve>> {
    let mut curves = Vec::new();
    for peer in peers(bench) {
        curves.push((peer, Curve::new(Panel::Idle, peer.name())));
    }
    for _ in 0..bench.plan.growth_rounds {
        for (peer, curve) in &mut curves {
            for &count in idle(bench) {
                let what = format!("growth: {count} idle connections");
                let seconds = f64::from(bench.plan.growth_seconds);
                let seconds = seconds + opening(count);
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
    if workers > 1 && peer != Peer::Handoff {
        let who = peer.name();
        return Err(format!("{who} has {most} descriptors, in one process"));
    }
    let server = Server::start(bench, peer, workers)?;
    let held = Held::open(bench, server.port(), count)?;
    let seconds = bench.plan.growth_seconds;
    let shape = Shape::KeepAlive;
    rounds::settled(&server.tree());
    let load = Load { shape, connections: BUSY, seconds };
    let cost = rounds::measure(bench, &server, load)?.cpu;
    drop(held);
    Ok(cost)
}

/// Who bears which load with more and more workers.
const TEAMS: [(Panel, Shape, Peer); 4] = [
    (Panel::WorkersClose, Shape::Close, Peer::Handoff),
    (Panel::WorkersClose, Shape::Close, Peer::FloorPass),
    (Panel::WorkersKeepAlive, Shape::KeepAlive, Peer::Handoff),
    (Panel::WorkersKeepAlive, Shape::KeepAlive, Peer::FloorKeepAlive),
];

fn grow_workers(bench: &mut Bench) -> Result<Vec<Curve>> {
    let mut master = Curve::new(Panel::WorkersClose, "its master alone");
    let mut teams = Vec::new();
    for (panel, shape, peer) in TEAMS {
        if bench.present(&[peer]).is_empty() {
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
                let before = Usage::of(&[server.pid()]);
                let sample = rounds::measure(bench, server, load)?;
                let own = Usage::of(&[server.pid()]).since(&before);
                curve.add(*count, sample.cpu);
                if server.peer == Peer::Handoff && *shape == Shape::Close {
                    let share = own.cpu as f64 / 1e3 / sample.spent;
                    master.add(*count, share * sample.cpu);
                }
                let what = format!("growth: {count} workers");
                bench.progress.step(f64::from(seconds), &what);
            }
        }
    }
    let curves = teams.into_iter().map(|(_, _, curve)| curve);
    Ok(curves.chain([master]).collect())
}
