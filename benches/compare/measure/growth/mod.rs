//! What a request costs as connections, workers and addresses become more.

mod connections;
pub(crate) mod curve;
mod listeners;
mod workers;

use crate::bench::Bench;
use crate::result::Result;
use curve::Curve;

/// Connections that ask while something else becomes more.
const BUSY: u32 = 64;

/// Seconds that this takes.
pub(crate) fn planned(bench: &Bench) -> f64 {
    let round = connections::planned(bench)
        + workers::planned(bench)
        + listeners::planned(bench);
    bench.plan.growth_rounds as f64 * round
}

pub(crate) fn measure(bench: &mut Bench) -> Result<Vec<Curve>> {
    let mut curves = connections::grow_busy(bench)?;
    curves.extend(connections::grow_idle(bench)?);
    curves.extend(workers::grow_workers(bench)?);
    curves.extend(listeners::grow_listeners(bench)?);
    Ok(curves)
}
