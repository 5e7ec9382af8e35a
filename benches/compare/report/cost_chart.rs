//! The first plot: what a request costs each server, a panel for each load.
//!
//! ```text
//!   Keep-alive, 64 connections
//!     floor-ka  ·●·                                   6.8
//!      handoff   ·●·                                  7.2
//!        nginx       ·─●─·                            9.8
//!        Node                           ·──●──·      47
//!              5      10      20       50      µs, logarithmic
//! ```

use super::results::Results;
use super::svg::{Anchor, Svg, decades};
use crate::measure::rounds::Comparison;
use crate::servers::peer::Peer;
use crate::statistics::{Spread, short};

const WIDTH: f64 = 760.0;
const LEFT: f64 = 150.0;
const RIGHT: f64 = 60.0;
const ROW: f64 = 22.0;
/// Of a panel, above its rows and below them.
const HEAD: f64 = 44.0;
const FOOT: f64 = 34.0;
const TOP: f64 = 46.0;

type Row = (Peer, Spread);

/// Empty if nothing was compared.
pub(crate) fn draw(results: &Results) -> String {
    let panels: Vec<(&Comparison, Vec<Row>)> =
        results.comparisons.iter().map(|one| (one, rows(one))).collect();
    let height = |rows: &[Row]| HEAD + ROW * rows.len() as f64 + FOOT;
    let sum: f64 = panels.iter().map(|(_, rows)| height(rows)).sum();
    let about = "CPU time of the whole server for one request, in \
                 microseconds: median, least and most of all rounds";
    let mut svg = Svg::new(WIDTH, TOP + sum, about);
    svg.text((20.0, 28.0), Anchor::Start, "title", "What a request costs");
    svg.text(
        (WIDTH - 20.0, 28.0),
        Anchor::End,
        "",
        "µs of CPU, all of the server's processes; least, median, most",
    );
    let mut top = TOP;
    for (comparison, rows) in &panels {
        panel(&mut svg, top, comparison.scenario.title, rows);
        top += height(rows);
    }
    svg.finish()
}

/// Cheapest first. The second of us tells about noise only.
fn rows(comparison: &Comparison) -> Vec<Row> {
    let entries = comparison.entries.iter();
    let mut rows: Vec<Row> = entries
        .filter(|entry| entry.peer != Peer::HandoffAgain)
        .filter_map(|entry| Some((entry.peer, entry.spread(|s| s.cpu)?)))
        .collect();
    rows.sort_by(|(_, a), (_, b)| a.median.total_cmp(&b.median));
    rows
}

fn panel(svg: &mut Svg, top: f64, title: &str, rows: &[Row]) {
    svg.text((20.0, top + 22.0), Anchor::Start, "strong", title);
    let Some(all) =
        Spread::of(rows.iter().flat_map(|(_, s)| [s.least, s.most]))
    else {
        return;
    };
    let (from, to) = (all.least / 1.15, all.most * 1.15);
    let scale = (WIDTH - LEFT - RIGHT) / (to / from).ln();
    let x = |cost: f64| LEFT + scale * (cost / from).ln();
    let (first, last) =
        (top + HEAD - 8.0, top + HEAD + ROW * rows.len() as f64);
    for mark in decades(from, to) {
        let at = x(mark);
        svg.line((at, first), (at, last), "grid");
        let label = if mark < 1.0 { short(mark) } else { mark.to_string() };
        svg.text((at, last + 16.0), Anchor::Middle, "", &label);
    }
    for (index, (peer, cost)) in rows.iter().enumerate() {
        let y = first + ROW * (index as f64 + 0.5);
        let (class, weight) = match peer {
            Peer::Handoff => ("ours", "strong"),
            Peer::HandoffPlain => ("ours", ""),
            peer if peer.is_floor() => ("floor", ""),
            _ => ("peer", ""),
        };
        let name = peer.name();
        let text = y + 4.0;
        svg.text((LEFT - 12.0, text), Anchor::End, weight, name);
        let whisker = format!("whisker {class}");
        svg.line((x(cost.least), y), (x(cost.most), y), &whisker);
        let figure = short(cost.median);
        let says = format!(
            "{name}: {figure} µs ({} to {}), {}",
            short(cost.least),
            short(cost.most),
            peer.about()
        );
        svg.dot((x(cost.median), y), class, &says);
        svg.text((WIDTH - 20.0, text), Anchor::End, weight, &figure);
    }
}
