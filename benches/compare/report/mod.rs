//! The results as files: a table to read and the same in short, JSON to reckon
//! with, plots. Nothing is measured here.

mod brief;
mod cost_chart;
mod curve_chart;
mod json;
mod markdown;
pub(crate) mod results;
mod svg;
mod table;
mod targets;

use std::fs;
use std::path::Path;

use crate::result::Result;
use results::Results;

pub(crate) fn write(results: &Results, folder: &Path) -> Result<()> {
    let json = format!("{:#}\n", json::of(results));
    let mut files = vec![
        ("summary.md", brief::of(results)),
        ("table.md", table::of(results)),
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
        let uri = svg::uri(picture);
        text.push_str(&format!("[picture of {name}]: {uri}\n"));
    }
    text
}

/// The targets, for the terminal.
pub(crate) fn summary(results: &Results) -> String {
    let mut text = markdown::targets(results);
    for note in &results.notes {
        text.push_str(&format!("note: {note}\n"));
    }
    text
}
