//! wrk, the load generator: its command line, and what it reports.

use std::io::Read;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::bench::Bench;
use crate::result::Result;
use crate::shape::Shape;
use crate::tools::in_project;

/// Beyond what was planned: then wrk has hung, and is killed.
const PATIENCE: Duration = Duration::from_secs(20);

/// What wrk is told to do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) shape: Shape,
    pub(crate) connections: u32,
    pub(crate) seconds: u32,
}

/// What it saw.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Report {
    pub(crate) requests: u64,
    pub(crate) seconds: f64,
    /// Microseconds that half of all answers took at most, and 99 of 100.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    /// Connections that failed, and answers other than 2xx and 3xx.
    pub(crate) errors: u64,
}

impl Load {
    /// wrk's arguments, without the address.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let mut words = vec![
            "-t1".to_owned(),
            format!("-c{}", self.connections),
            format!("-d{}s", self.seconds),
            "--latency".to_owned(),
        ];
        match self.shape {
            Shape::KeepAlive => {}
            Shape::Pipelined => {
                let script = in_project("benches/peers/pipeline.lua");
                words.extend(["-s".to_owned(), script.display().to_string()]);
            }
            Shape::Close => {
                words.extend(["-H", "Connection: close"].map(str::to_owned));
            }
        }
        words
    }

    /// Starts wrk against a server on this machine.
    pub(crate) fn start(&self, bench: &Bench, port: u16) -> Result<Wrk> {
        let cpu = bench.plan.cpus.map(|(_, load)| load);
        let mut command = bench.tools.wrapped(cpu, &bench.tools.wrk);
        command.args(self.arguments());
        command.arg(format!("http://127.0.0.1:{port}/plaintext"));
        let child = command.stdout(Stdio::piped()).stderr(Stdio::null());
        let child = child.spawn().map_err(|error| format!("wrk: {error}"))?;
        let planned = Duration::from_secs(u64::from(self.seconds));
        Ok(Wrk { child, deadline: Instant::now() + planned + PATIENCE })
    }

    /// Runs it to its end.
    pub(crate) fn run(&self, bench: &Bench, port: u16) -> Result<Report> {
        self.start(bench, port)?.finish()
    }
}

/// A running wrk.
#[derive(Debug)]
pub(crate) struct Wrk {
    child: Child,
    deadline: Instant,
}

impl Wrk {
    /// Waits for its report.
    pub(crate) fn finish(mut self) -> Result<Report> {
        while self.child.try_wait().is_ok_and(|end| end.is_none()) {
            if Instant::now() > self.deadline {
                return Err("wrk hangs".to_owned());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let mut text = String::new();
        if let Some(mut out) = self.child.stdout.take() {
            let read = out.read_to_string(&mut text);
            read.map_err(|error| format!("wrk: {error}"))?;
        }
        parse(&text).ok_or_else(|| format!("wrk says {text:?}"))
    }
}

impl Drop for Wrk {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The report as wrk prints it; `None` if it is none.
pub(crate) fn parse(text: &str) -> Option<Report> {
    let lines = || text.lines().map(str::trim);
    let after =
        |start: &str| lines().find_map(|line| line.strip_prefix(start));
    let (requests, rest) =
        lines().find_map(|line| line.split_once(" requests in "))?;
    let failed: u64 = after("Socket errors:").map_or(0, |line| {
        let words = line.split([' ', ',']);
        words.filter_map(|word| word.parse::<u64>().ok()).sum()
    });
    let refused = after("Non-2xx or 3xx responses:");
    let refused = refused.map_or(Some(0), |n| n.trim().parse().ok())?;
    Some(Report {
        requests: requests.parse().ok()?,
        seconds: microseconds(rest.split(',').next()?)? / 1e6,
        p50: microseconds(after("50%")?)?,
        p99: microseconds(after("99%")?)?,
        errors: failed + refused,
    })
}

/// As in `1.25ms`.
fn microseconds(text: &str) -> Option<f64> {
    let text = text.trim();
    let unit = text.find(|c: char| c.is_ascii_alphabetic())?;
    let number: f64 = text[..unit].parse().ok()?;
    let factor = match &text[unit..] {
        "us" => 1.0,
        "ms" => 1e3,
        "s" => 1e6,
        "m" => 60e6,
        "h" => 3600e6,
        _ => return None,
    };
    Some(number * factor)
}
