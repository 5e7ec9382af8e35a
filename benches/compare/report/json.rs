//! The raw figures, for whoever wants to reckon with them.

use std::iter;

use serde_json::{Map, Value, json};

use super::results::Results;
use super::targets::{self, Bound, Target};
use crate::measure::calls::Calls;
use crate::measure::growth::curve::Curve;
use crate::measure::memory::{self, Memory};
use crate::measure::rounds::{Comparison, Entry};
use crate::measure::sample::Sample;
use crate::statistics::Spread;

/// Everything. Times are in microseconds, memory in bytes.
pub(crate) fn of(results: &Results) -> Value {
    let facts = results.facts.iter();
    let machine: Map<String, Value> = facts
        .map(|(name, value)| ((*name).to_owned(), json!(value)))
        .collect();
    let plan = &results.plan;
    json!({
        "machine": machine,
        "plan": {
            "quick": plan.quick,
            "rounds": plan.rounds,
            "seconds": plan.seconds,
            "growth_rounds": plan.growth_rounds,
            "growth_seconds": plan.growth_seconds,
            "cpu_of_servers": plan.cpus.map(|(servers, _)| servers),
            "cpu_of_wrk": plan.cpus.map(|(_, wrk)| wrk),
            "reply_bytes": results.replies.0,
            "reply_bytes_close": results.replies.1,
        },
        "targets": list(&targets::ALL, |one| target(one, results)),
        "loads": list(&results.comparisons, comparison),
        "system_calls": list(&results.calls, calls),
        "memory": list(&results.memory, memory_of),
        "growth": list(&results.curves, curve),
        "notes": results.notes,
    })
}

fn list<T>(of: &[T], each: impl Fn(&T) -> Value) -> Value {
    of.iter().map(each).collect()
}

fn spread(of: Option<Spread>) -> Value {
    of.map_or(Value::Null, |spread| {
        json!({
            "median": spread.median,
            "min": spread.least,
            "max": spread.most,
        })
    })
}

fn target(target: &Target, results: &Results) -> Value {
    let (most, better, least) = match target.bound {
        Bound::AtMost(most, better) => (Some(most), better, None),
        Bound::AtLeast(least) => (None, None, Some(least)),
    };
    json!({
        "what": target.what,
        "at_most": most,
        "stretch": better,
        "at_least": least,
        "measured": spread(target.measured(results)),
        "verdict": target.verdict(results).word().replace('*', ""),
    })
}

fn comparison(comparison: &Comparison) -> Value {
    json!({
        "name": comparison.scenario.name,
        "title": comparison.scenario.title,
        "load": comparison.load,
        "servers": list(&comparison.entries, entry),
    })
}

fn entry(entry: &Entry) -> Value {
    json!({
        "name": entry.peer.name(),
        "command": entry.words,
        "rounds": list(&entry.samples, sample),
    })
}

fn sample(sample: &Sample) -> Value {
    json!({
        "requests": sample.requests,
        "requests_per_second": sample.per_second,
        "cpu_us_per_request": sample.cpu,
        "first_process_us_per_request": sample.first,
        "user_us_per_request": sample.user,
        "switches_per_request": sample.switches,
        "p50_us": sample.p50,
        "p99_us": sample.p99,
        "errors": sample.errors,
    })
}

fn calls(calls: &Calls) -> Value {
    let total = ("total".to_owned(), calls.total);
    let each = calls.each.clone().into_iter().chain(iter::once(total));
    json!({
        "load": calls.load,
        "server": calls.peer.name(),
        "counted_by": calls.counted_by.name(),
        "per_request": each.collect::<std::collections::BTreeMap<_, _>>(),
    })
}

fn memory_of(memory: &Memory) -> Value {
    json!({
        "server": memory.peer.name(),
        "baseline": memory.baseline,
        "per_idle_connection": memory.per_connection,
        "idle_connections": memory::IDLE,
    })
}

fn curve(curve: &Curve) -> Value {
    let points = curve.points.iter();
    let points: Vec<Value> = points
        .map(|(at, costs)| json!({ "at": at, "cpu_us_per_request": costs }))
        .collect();
    json!({
        "panel": curve.panel.title(),
        "server": curve.name,
        "points": points,
    })
}
