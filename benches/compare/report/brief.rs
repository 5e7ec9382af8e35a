//! The results in short, for whoever comes from the README: what a request
//! costs each server, and which targets are met.

use std::fmt::Write;

use super::markdown;
use super::results::Results;
use crate::servers::peer::Peer;
use crate::statistics::short;
use crate::tools::Node;

/// A column each, the floor first.
const COLUMNS: [(&str, &[Peer]); 9] = [
    ("floor", &[Peer::FloorKeepAlive, Peer::FloorPipelined, Peer::FloorMore]),
    ("**handoff**", &[Peer::Handoff]),
    ("without salvage", &[Peer::HandoffPlain]),
    ("nginx", &[Peer::Nginx]),
    ("HAProxy", &[Peer::Haproxy]),
    ("h2o", &[Peer::H2o]),
    ("hyper", &[Peer::Hyper]),
    ("Node 24", &[Peer::NodeRoundRobin(Node::V24)]),
    ("Node 24 under handoff", &[Peer::HandoffRun(Node::V24)]),
];

/// The file.
pub(crate) fn of(results: &Results) -> String {
    let fact = |wanted: &str| {
        let found = results.facts.iter().find(|(name, _)| *name == wanted);
        found.map_or("unknown", |(_, value)| value.as_str())
    };
    let mut text = format!(
        "# In short\n\nMeasured by `make bench` on {}: {}, {}. How, and all \
         the rest: [table.md](table.md).\n\n",
        fact("date"),
        fact("CPU"),
        fact("kernel")
    );
    text.push_str(&costs(results));
    text.push_str("## Targets\n\n");
    text.push_str(&markdown::targets(results));
    text
}

fn costs(results: &Results) -> String {
    let mut text = String::new();
    if results.comparisons.is_empty() {
        return text;
    }
    text.push_str(
        "µs of CPU, user and system, of all processes of a server for one \
         request; median of all rounds.\n\n| |",
    );
    for (name, _) in COLUMNS {
        // Writing to a string cannot fail.
        let _ = write!(text, " {name} |");
    }
    text.push_str(&format!("\n|---|{}\n", "--:|".repeat(COLUMNS.len())));
    for comparison in &results.comparisons {
        let _ = write!(text, "| {} |", comparison.scenario.title);
        for (_, peers) in COLUMNS {
            let floor = comparison.scenario.floor;
            let is_meant = |peer: &&Peer| !peer.is_floor() || **peer == floor;
            let peer = peers.iter().find(is_meant);
            let entry = peer.and_then(|peer| comparison.entry(*peer));
            let cost = entry.and_then(|entry| entry.spread(|s| s.cpu));
            let cost = cost.map(|cost| short(cost.median));
            let _ = write!(text, " {} |", cost.unwrap_or_default());
        }
        text.push('\n');
    }
    text.push('\n');
    text
}
