//! How a master and its workers are, as a value and as JSON.
//!
//! ```text
//! {"master":{"pid":…,"version":…,"uptime":…,"phase":…,"generation":…,
//!            "last_reload":…,"listeners":[…],"policy":…,
//!            "wanted":…,"ready":…,
//!            "handed_over":…,"redispatched":…,"requests":…,"refused":…,
//!            "salvage":{"connections":…,"replayed":…,"finished":…,
//!                       "answered":…,"refused":…,"reset":…,
//!                       "unguarded":…}},
//!  "workers":[{"worker":…,"pid":…,"slot":…,"state":…,"age":…,
//!              "generation":…,"open":…,"handed_over":…,"redispatched":…,
//!              "skipped":…,"requests":…,"refused":…,"restarts":…,"rss":…,
//!              "cpu":…},…]}
//! ```
//!
//! Times are in seconds, memory is in bytes. What cannot be known is `null`.

use std::fmt;
use std::time::Duration;

use crate::WorkerId;
use crate::ipc::json::{ObjectWriter, push_string};

/// The whole answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Status {
    /// The one that answers.
    pub(crate) master: Master,
    /// Its slots and their workers, then those that are on their way out.
    pub(crate) workers: Vec<Worker>,
}

/// The master.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Master {
    /// Its process.
    pub(crate) pid: u32,
    /// Its build.
    pub(crate) version: &'static str,
    /// Since its start.
    pub(crate) uptime: Duration,
    /// What it is doing.
    pub(crate) phase: Phase,
    /// Of new workers: 1, and 1 more with each reload that began.
    pub(crate) generation: u32,
    /// How the last reload ended, in words.
    pub(crate) last_reload: Option<String>,
    /// Where it accepts; empty once it has stopped to.
    pub(crate) listeners: Vec<String>,
    /// Who gets the next connection.
    pub(crate) policy: String,
    /// How many workers there should be.
    pub(crate) wanted: usize,
    /// How many are in rotation.
    pub(crate) ready: usize,
    /// Connections handed to workers and not taken back, gone ones included.
    pub(crate) handed_over: u64,
    /// Connections taken back from workers, gone ones included.
    pub(crate) redispatched: u64,
    /// Requests answered, by gone workers too; `None` if they do not tell.
    pub(crate) requests: Option<u64>,
    /// Requests turned away before a handler has seen them (400, 408, 413 and
    /// the like), which are not among those.
    pub(crate) refused: Option<u64>,
    /// What became of connections that outlived their worker; `None` if they
    /// do not.
    pub(crate) salvage: Option<Salvage>,
}

/// Connections whose worker died, or gave them back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Salvage {
    /// Went on with another worker.
    pub(crate) connections: u64,
    /// Requests that were begun, and were asked again.
    pub(crate) replayed: u64,
    /// Answers that another worker finished.
    pub(crate) finished: u64,
    /// Answers that were written already, to the last byte.
    pub(crate) answered: u64,
    /// Requests that were answered with 502.
    pub(crate) refused: u64,
    /// Connections that could not be made whole.
    pub(crate) reset: u64,
    /// Accepted, and left to end with their worker: what the kernel counts of
    /// them cannot be gone by. They waited in a socket that was passed, or
    /// are of another protocol than TCP.
    pub(crate) unguarded: u64,
}

/// What a master is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Its work, and nothing else.
    Serving,
    /// Replacing its workers as well.
    Reloading,
    /// The last of its work.
    Stopping,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Phase::Serving => "serving",
            Phase::Reloading => "reloading",
            Phase::Stopping => "stopping",
        })
    }
}

/// A worker, or a slot that waits for one.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Worker {
    /// Its name; `None` for a slot that waits.
    pub(crate) worker: Option<WorkerId>,
    /// Its process.
    pub(crate) pid: Option<u32>,
    /// Its place.
    pub(crate) slot: usize,
    /// What it is doing, in a word.
    pub(crate) state: String,
    /// Since its start.
    pub(crate) age: Option<Duration>,
    /// The reload it belongs to.
    pub(crate) generation: u32,
    /// Connections handed to it that it is not known to have closed.
    pub(crate) open: u64,
    /// Connections handed to it and not taken back.
    pub(crate) handed_over: u64,
    /// Connections taken back from it.
    pub(crate) redispatched: u64,
    /// How often it was passed over for want of room.
    pub(crate) skipped: u64,
    /// Requests it has answered; `None` if it does not tell.
    pub(crate) requests: Option<u64>,
    /// Requests it has turned away before a handler has seen them.
    pub(crate) refused: Option<u64>,
    /// How many workers its slot lost and got replaced.
    pub(crate) restarts: u32,
    /// What it costs.
    pub(crate) usage: Option<Usage>,
}

/// What the system says of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Resident memory, in bytes.
    pub(crate) rss: u64,
    /// Processor time, its own and the kernel's on its behalf.
    pub(crate) cpu: Duration,
}

impl Status {
    /// One line, without its line feed.
    #[must_use]
    pub(crate) fn to_json(&self) -> String {
        let mut out = Vec::new();
        let mut object = ObjectWriter::new(&mut out);
        self.master.write(object.value("master"));
        let list = object.value("workers");
        push_list(list, &self.workers, |out, worker| worker.write(out));
        object.close();
        String::from_utf8_lossy(&out).into_owned()
    }
}

impl Master {
    fn write(&self, out: &mut Vec<u8>) {
        let mut object = ObjectWriter::new(out);
        object.literal("pid", self.pid);
        object.string("version", self.version);
        object.literal("uptime", seconds(self.uptime));
        object.string("phase", &self.phase.to_string());
        object.literal("generation", self.generation);
        match &self.last_reload {
            Some(words) => object.string("last_reload", words),
            None => object.literal("last_reload", "null"),
        }
        let list = object.value("listeners");
        push_list(list, &self.listeners, |out, name| push_string(out, name));
        object.string("policy", &self.policy);
        object.literal("wanted", self.wanted);
        object.literal("ready", self.ready);
        object.literal("handed_over", self.handed_over);
        object.literal("redispatched", self.redispatched);
        object.literal("requests", or_null(self.requests));
        object.literal("refused", or_null(self.refused));
        match &self.salvage {
            Some(salvage) => salvage.write(object.value("salvage")),
            None => object.literal("salvage", "null"),
        }
        object.close();
    }
}

impl Salvage {
    fn write(&self, out: &mut Vec<u8>) {
        let mut object = ObjectWriter::new(out);
        object.literal("connections", self.connections);
        object.literal("replayed", self.replayed);
        object.literal("finished", self.finished);
        object.literal("answered", self.answered);
        object.literal("refused", self.refused);
        object.literal("reset", self.reset);
        object.literal("unguarded", self.unguarded);
        object.close();
    }
}

impl Worker {
    fn write(&self, out: &mut Vec<u8>) {
        let mut object = ObjectWriter::new(out);
        object.literal("worker", or_null(self.worker));
        object.literal("pid", or_null(self.pid));
        object.literal("slot", self.slot);
        object.string("state", &self.state);
        object.literal("age", or_null(self.age.map(seconds)));
        object.literal("generation", self.generation);
        object.literal("open", self.open);
        object.literal("handed_over", self.handed_over);
        object.literal("redispatched", self.redispatched);
        object.literal("skipped", self.skipped);
        object.literal("requests", or_null(self.requests));
        object.literal("refused", or_null(self.refused));
        object.literal("restarts", self.restarts);
        object.literal("rss", or_null(self.usage.map(|usage| usage.rss)));
        let cpu = self.usage.map(|usage| seconds(usage.cpu));
        object.literal("cpu", or_null(cpu));
        object.close();
    }
}

fn push_list<T>(
    out: &mut Vec<u8>,
    items: &[T],
    push: impl Fn(&mut Vec<u8>, &T),
) {
    out.push(b'[');
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        push(out, item);
    }
    out.push(b']');
}

/// To the millisecond.
fn seconds(time: Duration) -> String {
    format!("{}.{:03}", time.as_secs(), time.subsec_millis())
}

fn or_null(value: Option<impl fmt::Display>) -> String {
    value.map_or_else(|| "null".to_owned(), |value| value.to_string())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn sample() -> Status {
        let worker = Worker {
            worker: Some(WorkerId(3)),
            pid: Some(4321),
            slot: 0,
            state: "ready".to_owned(),
            age: Some(Duration::from_millis(61_250)),
            generation: 2,
            open: 5,
            handed_over: 1200,
            redispatched: 1,
            skipped: 7,
            requests: Some(34_567),
            refused: Some(8),
            restarts: 2,
            usage: Some(Usage {
                rss: 3 << 20,
                cpu: Duration::from_millis(1_230),
            }),
        };
        let waiting = Worker {
            worker: None,
            pid: None,
            slot: 1,
            state: "waiting".to_owned(),
            age: None,
            open: 0,
            handed_over: 0,
            redispatched: 0,
            skipped: 0,
            requests: None,
            refused: None,
            restarts: 9,
            usage: None,
            ..worker.clone()
        };
        Status {
            master: Master {
                pid: 4320,
                version: "0.1.0",
                uptime: Duration::from_millis(3_725_004),
                phase: Phase::Reloading,
                generation: 2,
                last_reload: Some("a \"bad\"\nrelease".to_owned()),
                listeners: vec![
                    "http://127.0.0.1:3000".to_owned(),
                    "unix:/run/app.sock".to_owned(),
                ],
                policy: "round-robin".to_owned(),
                wanted: 2,
                ready: 1,
                handed_over: 1300,
                redispatched: 4,
                requests: Some(40_000),
                refused: Some(11),
                salvage: Some(Salvage {
                    connections: 12,
                    replayed: 3,
                    finished: 1,
                    answered: 2,
                    refused: 1,
                    reset: 0,
                    unguarded: 5,
                }),
            },
            workers: vec![worker, waiting],
        }
    }

    #[test]
    fn json_has_every_value_under_the_name_that_is_documented() {
        let expected = concat!(
            r#"{"master":{"pid":4320,"version":"0.1.0","uptime":3725.004,"#,
            r#""phase":"reloading","generation":2,"#,
            r#""last_reload":"a \"bad\"\nrelease","#,
            r#""listeners":["http://127.0.0.1:3000","unix:/run/app.sock"],"#,
            r#""policy":"round-robin","wanted":2,"ready":1,"#,
            r#""handed_over":1300,"redispatched":4,"requests":40000,"refused":11,"#,
            r#""salvage":{"connections":12,"replayed":3,"finished":1,"#,
            r#""answered":2,"refused":1,"reset":0,"unguarded":5}},"#,
            r#""workers":[{"worker":3,"pid":4321,"slot":0,"state":"ready","#,
            r#""age":61.250,"generation":2,"open":5,"handed_over":1200,"#,
            r#""redispatched":1,"skipped":7,"requests":34567,"refused":8,"#,
            r#""restarts":2,"rss":3145728,"cpu":1.230},"#,
            r#"{"worker":null,"pid":null,"slot":1,"state":"waiting","#,
            r#""age":null,"generation":2,"open":0,"handed_over":0,"#,
            r#""redispatched":0,"skipped":0,"requests":null,"refused":null,"#,
            r#""restarts":9,"rss":null,"cpu":null}]}"#,
        );
        assert_eq!(sample().to_json(), expected);
    }
}
