//! The results in full: every server and load, and how it was measured.

use std::fmt::Write;

use super::markdown::{self, range};
use super::results::Results;
use crate::measure::growth::curve::Panel;
use crate::measure::memory;
use crate::measure::rounds::Comparison;
use crate::measure::sample::Sample;
use crate::servers::peer::Peer;
use crate::statistics::{Spread, group, short};
use crate::tools::Node;

/// What the figures mean, and what they do not.
const METHOD: &str = "\
The figure is CPU time, user and system, of all processes of a server for \
one request, from `/proc/PID/task/*/schedstat` before and after a run of wrk. \
All servers of a load run at once on one CPU with one worker each, and are \
measured in turn, A B C A B C; wrk has the other CPU. A ratio is taken within \
a round, and the median of all rounds is given, with the least and the most. \
*handoff again* is a second instance of the same program: what it differs by \
is noise, and smaller differences between others are no findings.

wrk on the same machine is not a client on a network. It takes memory \
bandwidth and cache from the server, packets never leave the kernel, and the \
receiving half of loopback is charged to whoever sends. Requests per second \
are bounded by wrk's one thread wherever a server is cheap, so they compare \
wrk with itself; CPU per request does not depend on that. Latencies are \
those of a saturated queue: they say how fair a server is, not how fast it is \
at rest.

";

fn put(text: &mut String, more: impl AsRef<str>) {
    text.push_str(more.as_ref());
}

/// The file.
pub(super) fn of(results: &Results) -> String {
    let mut text = "# What a request costs\n\n".to_owned();
    let date = results.facts.first().map_or("", |(_, date)| date);
    let plan = &results.plan;
    let kind = if plan.quick { "A quick run" } else { "Measured" };
    put(
        &mut text,
        format!(
            "{kind} on {date}: {} rounds of {} s for each server and load. `make \
         bench` makes this file anew; the raw figures are in \
         [results.json](results.json).\n\n",
            plan.rounds, plan.seconds
        ),
    );
    if !results.comparisons.is_empty() {
        put(&mut text, "![CPU time of a request](cost.svg)\n\n");
    }
    put(&mut text, METHOD);
    put(&mut text, "## Targets\n\n");
    put(&mut text, markdown::targets(results));
    for comparison in &results.comparisons {
        put(&mut text, comparison_table(comparison));
    }
    put(&mut text, calls_table(results));
    put(&mut text, memory_table(results));
    put(&mut text, growth_table(results));
    put(&mut text, machine_table(results));
    text
}

fn comparison_table(comparison: &Comparison) -> String {
    let scenario = comparison.scenario;
    let mut text = format!("## {}\n\n", scenario.title);
    put(&mut text, format!("`{} URL`\n\n", comparison.load));
    put(
        &mut text,
        format!(
            "| server | | CPU µs | least–most | of that master | user µs | / {} | handoff / it \
         | switches | requests/s | p50 µs | p99 µs | errors |\n\
         |---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n",
            scenario.floor.name()
        ),
    );
    for entry in &comparison.entries {
        let peer = entry.peer;
        let Some(cpu) = entry.spread(|s| s.cpu) else { continue };
        let median = |of| entry.spread(of).map_or(f64::NAN, |s| s.median);
        let ratio = |one, other| match comparison.ratio(one, other) {
            Some(spread) => {
                format!("{} ({})", short(spread.median), range(spread))
            }
            None => String::new(),
        };
        let ratio = |one: Peer, other: Peer| match one == other {
            true => String::new(),
            false => ratio(one, other),
        };
        let master = match peer.hands_over() {
            true => short(median(|s| s.first)),
            false => String::new(),
        };
        let errors: u64 = entry.samples.iter().map(|s| s.errors).sum();
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            peer.name(),
            peer.about(),
            short(cpu.median),
            range(cpu),
            master,
            short(median(|s| s.user)),
            ratio(peer, scenario.floor),
            ratio(Peer::Handoff, peer),
            short(median(|s| s.switches)),
            group(median(|s| s.per_second)),
            group(median(|s| s.p50)),
            group(median(|s| s.p99)),
            errors
        );
    }
    put(&mut text, "\n");
    put(&mut text, node(comparison));
    text
}

/// Our master beside Node's, with the same workers, and what bounds both.
fn node(comparison: &Comparison) -> String {
    let releases = [("20", Node::V20), ("24", Node::V24)];
    let paragraphs = releases
        .iter()
        .filter_map(|(release, node)| node_of(comparison, release, *node));
    paragraphs.collect()
}

fn node_of(
    comparison: &Comparison,
    release: &str,
    node: Node,
) -> Option<String> {
    let (ours, theirs) = (Peer::HandoffRun(node), Peer::NodeRoundRobin(node));
    let ratio = |of: fn(&Sample) -> f64| {
        let spread = comparison.ratio_of(ours, theirs, of)?;
        Some(format!("{} ({})", short(spread.median), range(spread)))
    };
    let (cost, rate) = (ratio(|s| s.cpu)?, ratio(|s| s.per_second)?);
    let (master, worker) = (ratio(|s| s.first)?, ratio(Sample::others)?);
    let text = format!(
        "A worker of Node {release} under our master costs {cost} of what it \
         costs under Node's own: the master {master}, the worker {worker}. It \
         answers {rate} times as many requests a second."
    );
    let alone = [Peer::NodeReusePort, Peer::NodeNone(node)];
    let alone = alone.into_iter().find_map(|alone| {
        let bound = comparison.ratio(ours, alone)?;
        Some(format!(
            " Of what it costs where it accepts by itself ({}): {} ({}).",
            alone.name(),
            short(bound.median),
            range(bound)
        ))
    });
    Some(text + &alone.unwrap_or_default() + "\n\n")
}

fn calls_table(results: &Results) -> String {
    let mut text = String::new();
    if results.calls.is_empty() {
        return text;
    }
    put(&mut text, "## System calls of a request\n\n");
    put(&mut text, "| load | server | counted by | all | of these |\n");
    put(&mut text, "|---|---|---|--:|---|\n");
    for calls in &results.calls {
        let mut each: Vec<_> = calls.each.iter().collect();
        each.retain(|(_, count)| **count >= 0.005);
        each.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        let each: Vec<String> = each
            .iter()
            .map(|(name, count)| format!("{name} {count:.2}"))
            .collect();
        put(
            &mut text,
            format!(
                "| {} | {} | {} | {:.2} | {} |\n",
                calls.load,
                calls.peer.name(),
                calls.counted_by.name(),
                calls.total,
                each.join(", ")
            ),
        );
    }
    put(&mut text, "\n");
    text
}

fn memory_table(results: &Results) -> String {
    let mut text = String::new();
    if results.memory.is_empty() {
        return text;
    }
    put(
        &mut text,
        format!(
            "## Memory\n\nPSS of all processes: with no connection, and what \
         each of {} idle keep-alive connections adds, after a request on \
         each. What the kernel keeps for a socket is not in it.\n\n\
         | server | MB | bytes of a connection |\n|---|--:|--:|\n",
            group(memory::IDLE as f64)
        ),
    );
    for memory in &results.memory {
        put(
            &mut text,
            format!(
                "| {} | {:.2} | {} |\n",
                memory.peer.name(),
                memory.baseline as f64 / 1e6,
                group(memory.per_connection.round())
            ),
        );
    }
    put(&mut text, "\n");
    text
}

fn growth_table(results: &Results) -> String {
    let mut text = String::new();
    if results.curves.is_empty() {
        return text;
    }
    put(
        &mut text,
        format!(
            "## Growth\n\n![What a request costs as things grow](growth.svg)\n\n\
         µs of CPU for a request; the median of {} rounds, least and most.\n",
            results.plan.growth_rounds
        ),
    );
    for panel in Panel::ALL {
        put(&mut text, format!("\n**{}**\n\n", panel.title()));
        let curves = results.curves.iter().filter(|one| one.panel == panel);
        for (index, curve) in curves.enumerate() {
            if index == 0 {
                let marks = curve.points.iter();
                let marks = marks.map(|(at, _)| group(*at as f64) + " | ");
                put(
                    &mut text,
                    format!("| | {}\n", marks.collect::<String>().trim_end()),
                );
                let columns = "--:|".repeat(curve.points.len());
                put(&mut text, format!("|---|{columns}\n"));
            }
            put(&mut text, format!("| {} |", curve.name));
            for (_, costs) in &curve.points {
                if let Some(spread) = Spread::of(costs.iter().copied()) {
                    let (is, range) = (short(spread.median), range(spread));
                    put(&mut text, format!(" {is} {range} |"));
                }
            }
            put(&mut text, "\n");
        }
    }
    put(&mut text, "\n");
    text
}

fn machine_table(results: &Results) -> String {
    let mut text = "## Where, and with what\n\n| | |\n|---|---|\n".to_owned();
    for (name, value) in &results.facts {
        put(&mut text, format!("| {name} | {value} |\n"));
    }
    let (stays, ends) = results.replies;
    put(
        &mut text,
        format!(
            "| reply | {stays} bytes, {ends} with `Connection: close` |\n"
        ),
    );
    if let Some((servers, wrk)) = results.plan.cpus {
        put(
            &mut text,
            format!(
                "| pinned | servers to CPU {servers}, wrk to CPU {wrk} |\n"
            ),
        );
    }
    put(&mut text, "\n");
    for note in &results.notes {
        put(&mut text, format!("* {note}\n"));
    }
    put(&mut text, "\nThe servers were started as:\n\n```text\n");
    let mut seen: Vec<&str> = Vec::new();
    for entry in results.comparisons.iter().flat_map(|one| &one.entries) {
        if !seen.contains(&entry.peer.name()) {
            seen.push(entry.peer.name());
            put(&mut text, format!("{}\n", entry.words));
        }
    }
    put(&mut text, "```\n");
    text
}
