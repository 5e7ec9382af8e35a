//! The second plot: what a request costs as something grows, a panel for
//! each thing that does. The cost begins at zero, so that flat looks flat.

use super::results::Results;
use super::svg::{Anchor, Svg};
use crate::measure::growth::curve::{Curve, Panel};
use crate::statistics::{Spread, group, short};

const WIDTH: f64 = 760.0;
const TOP: f64 = 46.0;
/// Of a panel, and of the drawing in it.
const PANEL: (f64, f64) = (370.0, 262.0);
const PLOT: (f64, f64) = (290.0, 160.0);
const MARGIN: (f64, f64) = (50.0, 52.0);

/// Two panels beside each other, and the next two below them.
pub(crate) fn draw(results: &Results) -> String {
    let about = "CPU time of the whole server for one request, in \
                 microseconds, as connections, workers and addresses become \
                 more";
    let rows = Panel::ALL.len().div_ceil(2) as f64;
    let mut svg = Svg::new(WIDTH, TOP + rows * PANEL.1, about);
    let title = "What a request costs as things grow";
    svg.text((20.0, 28.0), Anchor::Start, "title", title);
    let unit = "µs of CPU; least, median, most";
    svg.text((WIDTH - 20.0, 28.0), Anchor::End, "", unit);
    for (index, panel) in Panel::ALL.into_iter().enumerate() {
        let (column, row) = (index % 2, index / 2);
        let left = 10.0 + PANEL.0 * column as f64;
        let top = TOP + PANEL.1 * row as f64;
        let curves = results.curves.iter();
        let curves: Vec<&Curve> =
            curves.filter(|curve| curve.panel == panel).collect();
        draw_panel(&mut svg, (left, top), panel, &curves);
    }
    svg.finish()
}

fn draw_panel(
    svg: &mut Svg,
    (left, top): (f64, f64),
    panel: Panel,
    curves: &[&Curve],
) {
    let title = (left + 10.0, top + 16.0);
    svg.text(title, Anchor::Start, "strong", panel.title());
    let points = || curves.iter().flat_map(|curve| &curve.points);
    let Some(most) = Spread::of(points().flat_map(|(_, costs)| costs.clone()))
    else {
        svg.text((left + 10.0, top + 40.0), Anchor::Start, "", "not measured");
        return;
    };
    let (x0, y0) = (left + MARGIN.0, top + MARGIN.1 + PLOT.1);
    let step = step_of(most.most);
    let ceiling = step * (most.most / step).ceil();
    let y = |cost: f64| y0 - PLOT.1 * cost / ceiling;
    let widest = points().map(|(at, _)| *at).max().unwrap_or(1);
    // None stands where one does: the axis is logarithmic.
    let log = |at: usize| (at.max(1) as f64).ln();
    let reach = log(widest).max(1.0);
    let x = |at: usize| x0 + 10.0 + (PLOT.0 - 20.0) * log(at) / reach;

    for mark in 0..=(ceiling / step).round() as u32 {
        let cost = step * f64::from(mark);
        let class = if mark == 0 { "axis" } else { "grid" };
        svg.line((x0, y(cost)), (x0 + PLOT.0, y(cost)), class);
        let at = (x0 - 8.0, y(cost) + 4.0);
        let label = if step < 1.0 { short(cost) } else { cost.to_string() };
        svg.text(at, Anchor::End, "", &label);
    }
    let mut marks: Vec<usize> = points().map(|(at, _)| *at).collect();
    marks.sort_unstable();
    marks.dedup();
    for mark in marks {
        let at = (x(mark), y0 + 18.0);
        svg.text(at, Anchor::Middle, "", &group(mark as f64));
    }
    // The key stands above the drawing, in a row.
    let mut at = x0;
    for curve in curves {
        let class = class_of(curve);
        let mut line = Vec::new();
        let mut dots = Vec::new();
        for (at, costs) in &curve.points {
            let Some(cost) = Spread::of(costs.iter().copied()) else {
                continue;
            };
            let x = x(*at);
            let whisker = format!("whisker {class}");
            svg.line((x, y(cost.least)), (x, y(cost.most)), &whisker);
            line.push((x, y(cost.median)));
            dots.push((*at, cost.median));
        }
        svg.curve(&line, class);
        for ((at, cost), place) in dots.iter().zip(&line) {
            let says = format!("{}: {} µs at {at}", curve.name, short(*cost));
            svg.dot(*place, class, &says);
        }
        let key = top + MARGIN.1 - 12.0;
        let mark = format!("curve {class}");
        svg.line((at, key - 4.0), (at + 16.0, key - 4.0), &mark);
        svg.text((at + 21.0, key), Anchor::Start, "", curve.name);
        // About as wide as the letters are.
        at += 32.0 + 6.6 * curve.name.len() as f64;
    }
}

fn class_of(curve: &Curve) -> &'static str {
    match curve.name {
        "handoff" | "handoff, TCP" => "ours",
        "its master alone" | "handoff, unix" => "part",
        _ => "floor",
    }
}

/// A round step that leads to the top in four to ten.
fn step_of(most: f64) -> f64 {
    let power = 10f64.powf((most / 4.0).log10().floor());
    let steps = [5.0, 2.0, 1.0].map(|step| step * power);
    steps.into_iter().find(|step| most / step >= 4.0).unwrap_or(power)
}
