//! What a connection costs as the addresses become more that the server
//! listens at, TCP and unix. Callers ask at all of them in turn.

use super::BUSY;
use super::curve::{Curve, Panel};
use crate::bench::Bench;
use crate::clients::callers;
use crate::measure::sample;
use crate::result::Result;
use crate::servers::server::Server;

fn counts(bench: &Bench) -> &'static [usize] {
    if bench.plan.quick { &[1, 64] } else { &COUNTS }
}

const COUNTS: [usize; 4] = [1, 4, 16, 64];

#[derive(Clone, Copy, Debug)]
enum Family {
    Tcp,
    Unix,
}

impl Family {
    const ALL: [Family; 2] = [Family::Tcp, Family::Unix];

    fn name(self) -> &'static str {
        match self {
            Family::Tcp => "handoff, TCP",
            Family::Unix => "handoff, unix",
        }
    }

    fn addresses(self, bench: &Bench, count: usize) -> Vec<String> {
        let id = std::process::id();
        let scratch = bench.tools.scratch.display();
        let one = |number| match self {
            // Each has an address of its own, so no port is taken.
            Family::Tcp => format!("127.0.{count}.{number}:30999"),
            Family::Unix => format!("unix:{scratch}/{id}-{count}-{number}"),
        };
        (1..=count).map(one).collect()
    }
}

/// Seconds that one round of this takes.
pub(super) fn planned(bench: &Bench) -> f64 {
    let runs = (counts(bench).len() * Family::ALL.len()) as f64;
    runs * f64::from(bench.plan.growth_seconds)
}

pub(super) fn grow_listeners(bench: &mut Bench) -> Result<Vec<Curve>> {
    let mut running = Vec::new();
    for family in Family::ALL {
        let mut servers = Vec::new();
        for &count in counts(bench) {
            let addresses = family.addresses(bench, count);
            servers.push((Server::start_at(bench, &addresses)?, addresses));
        }
        running.push((servers, Curve::new(Panel::Listeners, family.name())));
    }
    let seconds = bench.plan.growth_seconds;
    for _ in 0..bench.plan.growth_rounds {
        for (servers, curve) in &mut running {
            for (server, addresses) in servers {
                let count = addresses.len();
                let callers = BUSY as usize;
                let (used, answers) = sample::used_during(server, || {
                    callers::call(bench, seconds, callers, addresses)
                })?;
                let cost = used.all.cpu as f64 / 1e3 / answers.max(1) as f64;
                curve.add(count, cost);
                let what = format!("growth: {count} addresses");
                bench.progress.step(f64::from(seconds), &what);
            }
        }
    }
    let mut curves = Vec::new();
    for (servers, curve) in running {
        curves.push(curve);
        for (server, addresses) in servers {
            // It is killed, and leaves its files behind.
            drop(server);
            let paths =
                addresses.iter().filter_map(|a| a.strip_prefix("unix:"));
            paths.for_each(|path| drop(std::fs::remove_file(path)));
        }
    }
    Ok(curves)
}
