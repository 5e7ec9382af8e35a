//! PURE: all who were measured in one table, by what matters to a client.

use std::fmt::Write;

use super::ledger::{End, Ledger};
use super::row::Row;
use super::subject::Subject;

/// What became of one subject.
pub(crate) type Column = (Subject, Vec<Row>);

/// A line for each fault, a cell for each subject: requests without their
/// answer / connections closed while idle / the slowest request, in ms.
pub(crate) fn summary(columns: &[Column]) -> String {
    let mut text = "| fault |".to_owned();
    for (subject, _) in columns {
        write!(text, " {} |", subject.name()).unwrap();
    }
    text.push_str("\n|---|");
    text.push_str(&"---:|".repeat(columns.len()));
    let mut faults: Vec<&str> = Vec::new();
    for row in columns.iter().flat_map(|(_, rows)| rows) {
        if !faults.contains(&row.fault) {
            faults.push(row.fault);
        }
    }
    for fault in faults {
        write!(text, "\n| {fault} |").unwrap();
        for (_, rows) in columns {
            let row = rows.iter().find(|row| row.fault == fault);
            let cell = row.map_or_else(|| "–".into(), |r| cell(&r.ledger));
            write!(text, " {cell} |").unwrap();
        }
    }
    text
}

fn cell(ledger: &Ledger) -> String {
    let Ledger { sent, first, .. } = ledger;
    let unanswered = sent - first[End::Ok] - first[End::RefusedAfterStop];
    let (closed, slowest) = (ledger.idle_closes, ledger.slowest.as_millis());
    format!("{unanswered} / {closed} / {slowest}")
}
