//! What several pages have in common.

use super::results::Results;
use super::targets::{self, Bound, Verdict};
use crate::statistics::{Spread, short};

/// The targets, and which are met.
pub(super) fn targets(results: &Results) -> String {
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
        let row = format!("| {what} | {bound} | {is} | {range} | {word} |\n");
        text.push_str(&row);
    }
    let verdicts = targets::ALL.map(|target| target.verdict(results));
    let failed = verdicts.iter().filter(|v| **v == Verdict::Fail).count();
    let missing = verdicts.iter().filter(|v| **v == Verdict::NotMeasured);
    text.push_str(&format!(
        "\n{failed} of {} fail, {} not measured. In parentheses what was \
         hoped for beyond.\n\n",
        verdicts.len(),
        missing.count()
    ));
    text
}

/// From the least to the most.
pub(super) fn range(spread: Spread) -> String {
    if spread.least == spread.most {
        return String::new();
    }
    format!("{}–{}", short(spread.least), short(spread.most))
}
