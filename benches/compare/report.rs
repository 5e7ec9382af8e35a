//! The results as files: a table to read, JSON to reckon with, plots.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use crate::Result;
use crate::growth::Panel;
use crate::peers::Peer;
use crate::results::Results;
use crate::rounds::Comparison;
use crate::statistics::{Spread, group, short};
use crate::targets::{self, Bound, Verdict};
use crate::{brief, cost_chart, curve_chart, json, memory, svg};

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

pub(crate) fn write(results: &Results, folder: &Path) -> Result<()> {
    let json = format!("{:#}\n", json::of(results));
    let mut files = vec![
        ("summary.md", brief::of(results)),
        ("table.md", table(results)),
        ("results.json", json),
    ];
    if !results.comparisons.is_empty() {
        files.push(("cost.svg", cost_chart::draw(results)));
    }
    if !results.curves.is_empty() {
        files.push(("growth.svg", curve_chart::draw(results)));
    }
    files.push(("pictures.md", pictures(&files)));
    for (name, text) in files {
        let path = folder.join(name);
        fs::create_dir_all(folder)
            .and_then(|()| fs::write(&path, text))
            .map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}

/// The plots as the definitions of links that carry them: the documentation
/// has its pages to itself, and no file of the sources beside them.
fn pictures(files: &[(&str, String)]) -> String {
    let mut text = String::new();
    for (name, picture) in files {
        let Some(name) = name.strip_suffix(".svg") else { continue };
        put(
            &mut text,
            format!("[picture of {name}]: {}\n", svg::uri(picture)),
        );
    }
    text
}

/// The targets, for the terminal.
pub(crate) fn summary(results: &Results) -> String {
    let mut text = String::new();
    put(&mut text, targets_table(results));
    for note in &results.notes {
        put(&mut text, format!("note: {note}\n"));
    }
    text
}

fn put(text: &mut String, more: impl AsRef<str>) {
    text.push_str(more.as_ref());
}

fn table(results: &Results) -> String {
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
    put(&mut text, targets_table(results));
    for comparison in &results.comparisons {
        put(&mut text, comparison_table(comparison));
    }
    put(&mut text, calls_table(results));
    put(&mut text, memory_table(results));
    put(&mut text, growth_table(results));
    put(&mut text, machine_table(results));
    text
}

pub(crate) fn targets_table(results: &Results) -> String {
    let mut text = "| figure | must be | is | least–most | |\n\
                    |---|--:|--:|--:|---|\n"
        .to_owned();
    for target in &targets::ALL {
        let bound = match target.bound {
            Bound::AtMost(most, Some(better)) => {
                format!("≤ {most} ({better})")
            }
            Bound::AtMost(most, None) => format!("≤ {most}"),
            Bound::AtLeast(least) => format!("≥ {least}"),
        };
        let verdict = target.verdict(results);
        let (is, range) = match target.measured(results) {
            Some(spread) => (short(spread.median), range(spread)),
            None => (String::new(), String::new()),
        };
        let word = verdict.word();
        let what = target.what;
        put(
            &mut text,
            format!("| {what} | {bound} | {is} | {range} | {word} |\n"),
        );
    }
    let verdicts = targets::ALL.map(|target| target.verdict(results));
    let failed = verdicts.iter().filter(|v| **v == Verdict::Fail).count();
    let missing = verdicts.iter().filter(|v| **v == Verdict::NotMeasured);
    put(
        &mut text,
        format!(
            "\n{failed} of {} fail, {} not measured. In parentheses what was \
         hoped for beyond.\n\n",
            verdicts.len(),
            missing.count()
        ),
    );
    text
}

fn range(spread: Spread) -> String {
    if spread.least == spread.most {
        return String::new();
    }
    format!("{}–{}", short(spread.least), short(spread.most))
}

fn comparison_table(comparison: &Comparison) -> String {
    let scenario = comparison.scenario;
    let mut text = format!("## {}\n\n", scenario.title);
    put(&mut text, format!("`{} URL`\n\n", comparison.load));
    put(
        &mut text,
        format!(
            "| server | | CPU µs | least–most | user µs | / {} | handoff / it \
         | switches | requests/s | p50 µs | p99 µs | errors |\n\
         |---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n",
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
        let errors: u64 = entry.samples.iter().map(|s| s.errors).sum();
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            peer.name(),
            peer.about(),
            short(cpu.median),
            range(cpu),
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
    let (ours, theirs) = (Peer::HandoffRun, Peer::NodeRoundRobin);
    let rate = comparison.ratio_of(ours, theirs, |s| s.per_second);
    let (Some(cost), Some(rate)) = (comparison.ratio(ours, theirs), rate)
    else {
        return String::new();
    };
    let mut text = format!(
        "Node's worker under our master costs {} ({}) of what it costs under \
         Node's own, and answers {} ({}) times as many requests a second.",
        short(cost.median),
        range(cost),
        short(rate.median),
        range(rate)
    );
    if let Some(bound) = comparison.ratio(ours, Peer::NodeNone) {
        text.push_str(&format!(
            " The bound is that worker by itself, where it accepts \
             (SCHED_NONE): of that it costs {} ({}).",
            short(bound.median),
            range(bound)
        ));
    }
    text + "\n\n"
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
