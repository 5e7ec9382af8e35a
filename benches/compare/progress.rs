//! How far we are, and how long it still takes, on standard error.

use std::io::{IsTerminal, Write, stderr};
use std::time::Instant;

/// See the module.
#[derive(Debug)]
pub(crate) struct Progress {
    start: Instant,
    /// Seconds of the plan.
    planned: f64,
    done: f64,
    is_terminal: bool,
}

impl Progress {
    pub(crate) fn new() -> Progress {
        let is_terminal = stderr().is_terminal();
        Progress {
            start: Instant::now(),
            planned: 0.0,
            done: 0.0,
            is_terminal,
        }
    }

    pub(crate) fn expect(&mut self, seconds: f64) {
        self.planned = seconds;
        self.start = Instant::now();
    }

    /// So many planned seconds are over; next comes `what`.
    pub(crate) fn step(&mut self, seconds: f64, what: &str) {
        self.done += seconds;
        let share = (self.done / self.planned.max(1.0)).min(1.0);
        // Starting and ending servers is not planned, so the past tells.
        let pace = match self.done > 5.0 {
            true => self.start.elapsed().as_secs_f64() / self.done,
            false => 1.15,
        };
        let left = (self.planned - self.done).max(0.0) * pace;
        let left = match left as u64 {
            seconds @ 0..90 => format!("{seconds} s"),
            seconds => format!("{} min", (seconds + 30) / 60),
        };
        let percent = 100.0 * share;
        self.show(&format!("{percent:3.0} %, {left:>6} left: {what}"));
    }

    /// A line that stays.
    pub(crate) fn say(&self, line: &str) {
        let clear = if self.is_terminal { "\r\x1b[K" } else { "" };
        let _ = writeln!(stderr(), "{clear}{line}");
    }

    pub(crate) fn finish(&self) {
        let seconds = self.start.elapsed().as_secs();
        self.say(&format!("measured in {seconds} s"));
    }

    fn show(&self, line: &str) {
        let _ = match self.is_terminal {
            true => write!(stderr(), "\r\x1b[K{line}"),
            false => writeln!(stderr(), "{line}"),
        };
    }
}
