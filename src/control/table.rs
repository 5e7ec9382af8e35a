//! A status for people: a few lines about the master, then a table.
//!
//! ```text
//! handoff 0.1.0, pid 4320, up 1h02m, serving, generation 1
//! listening on http://127.0.0.1:3000, round-robin, 2 of 2 workers ready
//! 40000 requests, 11 refused, 1300 connections handed over, 4 re-dispatched
//! 12 salvaged: 3 replayed, …, 2 answered; 1 refused, 0 reset, 5 unguarded
//!
//! WORKER   PID  SLOT  STATE  AGE  GEN  OPEN  HANDED  …
//!      1  4321     0  ready  12s    1     5    1200  …
//! ```

use std::fmt::Write as _;
use std::time::Duration;

use super::{Master, Status, Usage, Worker};

/// The heads of the columns; words stand at the left, numbers at the right.
const COLUMNS: [(&str, Side); 14] = [
    ("WORKER", Side::Right),
    ("PID", Side::Right),
    ("SLOT", Side::Right),
    ("STATE", Side::Left),
    ("AGE", Side::Right),
    ("GEN", Side::Right),
    ("OPEN", Side::Right),
    ("HANDED", Side::Right),
    ("REDISP", Side::Right),
    ("SKIPPED", Side::Right),
    ("REQUESTS", Side::Right),
    ("RESTARTS", Side::Right),
    ("RSS", Side::Right),
    ("CPU", Side::Right),
];

#[derive(Clone, Copy)]
enum Side {
    Left,
    Right,
}

impl Status {
    /// Lines, each with its line feed.
    #[must_use]
    pub(crate) fn to_table(&self) -> String {
        let mut out = self.master.head();
        out.push('\n');
        let rows: Vec<[String; COLUMNS.len()]> =
            self.workers.iter().map(Worker::row).collect();
        let widths = COLUMNS.iter().enumerate().map(|(at, (name, _))| {
            let cells = rows.iter().map(|row| row[at].len());
            cells.max().unwrap_or(0).max(name.len())
        });
        let widths: Vec<usize> = widths.collect();
        push_line(&mut out, COLUMNS.map(|(name, _)| name), &widths);
        for row in &rows {
            push_line(&mut out, row.each_ref().map(|s| s.as_str()), &widths);
        }
        out
    }
}

fn push_line(
    out: &mut String,
    cells: [&str; COLUMNS.len()],
    widths: &[usize],
) {
    let columns = cells.iter().zip(widths).zip(COLUMNS).enumerate();
    for (at, ((cell, &width), (_, side))) in columns {
        let gap = if at == 0 { "" } else { "  " };
        // Writing into memory does not fail.
        let _ = match side {
            Side::Left => write!(out, "{gap}{cell:<width$}"),
            Side::Right => write!(out, "{gap}{cell:>width$}"),
        };
    }
    out.push('\n');
}

impl Master {
    fn head(&self) -> String {
        let listening = match self.listeners.is_empty() {
            true => "listening nowhere".to_owned(),
            false => format!("listening on {}", self.listeners.join(", ")),
        };
        let requests = self.requests.zip(self.refused);
        let requests = requests.map(|(answered, refused)| {
            format!("{answered} requests, {refused} refused, ")
        });
        let requests = requests.unwrap_or_default();
        let mut head = format!(
            "handoff {}, pid {}, up {}, {}, generation {}\n\
             {listening}, {}, {} of {} workers ready\n\
             {requests}{} connections handed over, {} re-dispatched\n",
            self.version,
            self.pid,
            brief(self.uptime),
            self.phase,
            self.generation,
            self.policy,
            self.ready,
            self.wanted,
            self.handed_over,
            self.redispatched,
        );
        if let Some(salvage) = &self.salvage {
            // Writing into memory does not fail.
            let _ = writeln!(
                head,
                "{} salvaged: {} replayed, {} finished, {} answered; \
                 {} refused, {} reset, {} unguarded",
                salvage.connections,
                salvage.replayed,
                salvage.finished,
                salvage.answered,
                salvage.refused,
                salvage.reset,
                salvage.unguarded,
            );
        }
        if let Some(words) = &self.last_reload {
            head.push_str(words);
            head.push('\n');
        }
        head
    }
}

impl Worker {
    fn row(&self) -> [String; COLUMNS.len()] {
        let rss = |usage: Usage| megabytes(usage.rss);
        let cpu = |usage: Usage| processor_time(usage.cpu);
        [
            or_dash(self.worker),
            or_dash(self.pid),
            self.slot.to_string(),
            self.state.clone(),
            or_dash(self.age.map(brief)),
            self.generation.to_string(),
            self.open.to_string(),
            self.handed_over.to_string(),
            self.redispatched.to_string(),
            self.skipped.to_string(),
            or_dash(self.requests),
            self.restarts.to_string(),
            or_dash(self.usage.map(rss)),
            or_dash(self.usage.map(cpu)),
        ]
    }
}

fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// The two largest units: `5s`, `3m05s`, `2h03m`, `4d01h`.
fn brief(time: Duration) -> String {
    let seconds = time.as_secs();
    let (minutes, hours, days) =
        (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m{:02}s", seconds % 60),
        (0, _, _) => format!("{hours}h{:02}m", minutes % 60),
        (_, _, _) => format!("{days}d{:02}h", hours % 24),
    }
}

/// With hundredths while they matter.
fn processor_time(time: Duration) -> String {
    match time.as_secs() {
        0..60 => format!("{:.2}s", time.as_secs_f64()),
        _ => brief(time),
    }
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1}M", bytes as f64 / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::super::status::tests::sample;
    use super::*;

    #[test]
    fn a_table_reads_like_this() {
        let mut status = sample();
        status.master.last_reload = Some("it ended well".to_owned());
        let expected = "\
handoff 0.1.0, pid 4320, up 1h02m, reloading, generation 2
listening on http://127.0.0.1:3000, unix:/run/app.sock, round-robin, 1 of 2 workers ready
40000 requests, 11 refused, 1300 connections handed over, 4 re-dispatched
12 salvaged: 3 replayed, 1 finished, 2 answered; 1 refused, 0 reset, 5 unguarded
it ended well

WORKER   PID  SLOT  STATE      AGE  GEN  OPEN  HANDED  REDISP  SKIPPED  REQUESTS  RESTARTS   RSS    CPU
     3  4321     0  ready    1m01s    2     5    1200       1        7     34567         2  3.0M  1.23s
     -     -     1  waiting      -    2     0       0       0        0         -         9     -      -
";
        assert_eq!(status.to_table(), expected);
    }

    #[test]
    fn requests_that_nobody_tells_are_not_shown_as_none() {
        let mut status = sample();
        status.master.requests = None;
        assert!(status.to_table().contains("\n1300 connections handed"));
    }

    #[test]
    fn who_does_not_listen_says_so() {
        let mut status = sample();
        status.master.listeners.clear();
        assert!(status.to_table().contains("\nlistening nowhere, "));
    }

    #[test]
    fn a_time_is_shown_in_its_two_largest_units() {
        for (seconds, shown) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m00s"),
            (3599, "59m59s"),
            (3600, "1h00m"),
            (86_399, "23h59m"),
            (86_400, "1d00h"),
            (400 * 86_400, "400d00h"),
        ] {
            assert_eq!(brief(Duration::from_secs(seconds)), shown);
        }
        assert_eq!(processor_time(Duration::from_millis(59_996)), "60.00s");
        assert_eq!(processor_time(Duration::from_secs(61)), "1m01s");
    }
}
