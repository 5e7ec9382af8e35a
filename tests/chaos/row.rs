//! PURE: the table, a row for each fault.

use std::fmt;
use std::time::Duration;

use super::ledger::{End, Ledger};
use super::load::PER_SECOND;

/// From here on the machine was too slow for its part of the work to be
/// passed over in silence.
const OVERSLEPT: Duration = Duration::from_millis(100);

/// What a fault came to.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) fault: &'static str,
    pub(crate) hits: usize,
    pub(crate) ledger: Ledger,
    /// Requests a second; see [`PER_SECOND`].
    pub(crate) rate: usize,
    /// Living at the end, and how many there should be.
    pub(crate) workers: (usize, usize),
    /// Of the master, before and after; `None` if it is to be gone.
    pub(crate) descriptors: Option<(usize, usize)>,
    /// Worth knowing.
    pub(crate) remarks: Vec<String>,
    /// What the server said.
    pub(crate) log: String,
    /// The bars that were not reached.
    pub(crate) broken: Vec<String>,
}

/// Lost is what was accepted and let fall (reset, truncated) at the first
/// attempt; for good, if a browser's one retry did not help. Sent is the sum
/// of ok, lost, refused, stopped (refused after a stop), timeout and wrong.
pub(crate) const HEAD: &str = "\
| fault                      | hits | sent |   ok | lost | for good | refused \
| stopped | timeout | wrong | idle closes | slowest ms | workers |   fds | \
remarks |
|----------------------------|-----:|-----:|-----:|-----:|---------:|--------:\
|--------:|--------:|------:|------------:|-----------:|--------:|------:|-\
--------|";

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Row { fault, hits, ledger, .. } = self;
        let Ledger { sent, first, .. } = ledger;
        let workers = format!("{}/{}", self.workers.0, self.workers.1);
        let descriptors = match self.descriptors {
            Some((before, after)) => format!("{before}→{after}"),
            None => "-".into(),
        };
        write!(
            f,
            "| {fault:<26} | {hits:>4} | {sent:>4} | {:>4} | {:>4} | {:>8} \
             | {:>7} | {:>7} | {:>7} | {:>5} | {:>11} | {:>10} \
             | {workers:>7} | {descriptors:>5} | {} |",
            first[End::Ok],
            first.lost(),
            ledger.lost_for_good(),
            first[End::Refused],
            first[End::RefusedAfterStop],
            first[End::TimedOut],
            first[End::Wrong],
            ledger.idle_closes,
            ledger.slowest.as_millis(),
            self.remarks().join("; "),
        )
    }
}

impl Row {
    fn remarks(&self) -> Vec<String> {
        let mut remarks = self.remarks.clone();
        if self.ledger.overslept > OVERSLEPT {
            remarks.push(format!(
                "busy machine: {} of {PER_SECOND} requests a second, a \
                 client woke {} ms late",
                self.rate,
                self.ledger.overslept.as_millis()
            ));
        }
        let broken = self.broken.iter();
        remarks.extend(broken.map(|bar| format!("BROKEN: {bar}")));
        remarks
    }
}
