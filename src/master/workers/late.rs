//! Workers that are not ready after a while, and what there is to tell of
//! them: a program that only starts the app, one that listens by itself, one
//! that is paused in a debugger.
//!
//! ```text
//!   started ─▶ 1 s ─▶ 2 s ─▶ … ─▶ 32 s     looked at, while not ready
//!      │         ▲
//!      └─ one that had asked for nothing has failed: the others are looked
//!         at now, since one of them may have its port
//! ```
//!
//! All of it is of interest for another program's workers only. Nothing is
//! done about what is seen but to say it, once.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use log::{Level, info, log, warn};

use super::{advice, family};
use crate::WorkerId;
use crate::master::readiness::Lack;
use crate::master::supervisor::Exit;

/// When a worker is late; the pauses between looks double from this one.
const FIRST: Duration = Duration::from_secs(1);

/// The last look.
const LAST: Duration = Duration::from_secs(32);

/// Workers that are looked at in one turn.
const AT_ONCE: usize = 16;

/// Bytes of a package.json that is read.
const PACKAGE: u64 = 1 << 20;

/// What is known of a worker beside that.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    pub(super) pid: i32,
    /// Where its debugger listens, if it has one.
    pub(super) inspector: Option<u16>,
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Late {
    /// What was typed.
    words: Vec<String>,
    looks: BTreeMap<WorkerId, Look>,
    /// A worker has failed that was not known to have asked for anything,
    /// and nobody has been looked at since.
    failed: bool,
    /// The line that was said last.
    told: String,
}

/// Of one worker: the next look.
#[derive(Clone, Copy, Debug)]
struct Look {
    started: Instant,
    after: Duration,
}

/// A worker that has asked for nothing, and something of it listens.
struct Sighting {
    worker: i32,
    found: family::Listens,
}

impl Late {
    pub(super) fn new(words: Vec<String>) -> Late {
        let (looks, told) = (BTreeMap::new(), String::new());
        Late { words, looks, failed: false, told }
    }

    pub(super) fn started(&mut self, worker: WorkerId, now: Instant) {
        let look = Look { started: now, after: FIRST };
        self.looks.insert(worker, look);
    }

    /// A worker has ended.
    pub(super) fn ended(&mut self, worker: WorkerId, how: Exit) {
        if self.looks.remove(&worker).is_none() {
            return;
        }
        match how {
            Exit::Code(0) if self.evaluates() => {
                let name = advice::name(&self.words);
                let line = format!(
                    "{name} does not stay as a worker, also where it \
                     listens: put the code into a file: handoff run -- node \
                     FILE"
                );
                self.tell(Level::Warn, line);
            }
            Exit::Code(0) | Exit::Signal(_) => {}
            Exit::Code(_) => self.failed = true,
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.looks.values().map(Look::at).min()
    }

    /// Looks at those that are late, if it is time to. `lack` is what one
    /// lacks, if it is not ready.
    pub(super) fn look(
        &mut self,
        now: Instant,
        lack: impl Fn(WorkerId) -> Option<Lack>,
        facts: impl Fn(WorkerId) -> Option<Facts>,
    ) {
        let failed = std::mem::take(&mut self.failed);
        if !failed && self.deadline().is_none_or(|at| at > now) {
            return;
        }
        let alone = self.looks.len() == 1;
        let mut silent = Vec::new();
        let mut late = Vec::new();
        self.looks.retain(|&worker, look| {
            let Some(lack) = lack(worker) else { return false };
            let Some(facts) = facts(worker) else { return false };
            if lack == Lack::Everything && silent.len() < AT_ONCE {
                silent.push(facts);
            }
            if look.at() > now {
                return true;
            }
            if look.after == FIRST {
                late.push((worker, lack, facts));
            }
            look.after *= 2;
            look.after <= LAST
        });
        let sightings = silent.iter().filter_map(|facts| {
            let found = family::listener(facts.pid, facts.inspector)?;
            Some(Sighting { worker: facts.pid, found })
        });
        let sightings: Vec<Sighting> = sightings.collect();
        self.tell_of(&sightings, failed || alone);
        for (worker, lack, facts) in late {
            if !sightings.iter().any(|seen| seen.worker == facts.pid) {
                tell_of_late(worker, lack, facts);
            }
        }
    }

    /// `sure`: no other worker is yet to listen on the same.
    fn tell_of(&mut self, sightings: &[Sighting], sure: bool) {
        let Some(Sighting { worker, found }) = sightings.first() else {
            return;
        };
        let (name, port) = (advice::name(&self.words), found.port);
        let count = sightings.iter().filter(|seen| seen.found.port == port);
        let count = count.count();
        let itself = found.pid == *worker;
        if count > 1 {
            // Two have the port: each has said SO_REUSEPORT.
            let line = format!(
                "workers listen on {port} themselves, as with \
                 reusePort: true: the kernel shares connections out among \
                 them, and the master passes on none"
            );
            return self.tell(Level::Info, line);
        }
        if !itself {
            let command = self.command(*worker, found.pid);
            let command = command.as_deref().unwrap_or("COMMAND");
            let line = format!(
                "{name} has asked for nothing to listen on, and something \
                 that it has started listens on {port} itself: it is a \
                 wrapper; start the app itself: handoff run -- {command}"
            );
            return self.tell(Level::Warn, line);
        }
        if sure {
            let line = format!(
                "{name} has asked for nothing to listen on, and listens on \
                 {port} itself, as with exclusive: true: that goes with one \
                 worker; leave it out, and all of them share the port"
            );
            self.tell(Level::Warn, line);
        }
    }

    /// What is to be typed for the process `app`.
    fn command(&self, worker: i32, app: i32) -> Option<String> {
        let folder = format!("/proc/{worker}/cwd");
        let command = advice::script_of(&self.words).and_then(|script| {
            let path = format!("{folder}/package.json");
            // Whatever else may have that name may keep its reader waiting.
            let about = fs::metadata(&path).ok()?;
            if !about.is_file() || about.len() > PACKAGE {
                return None;
            }
            advice::command_in(&fs::read_to_string(path).ok()?, script)
        });
        let Some(command) = command else {
            return advice::of_process(&family::words(app));
        };
        let is_local = |name: &str| {
            fs::metadata(format!("{folder}/node_modules/.bin/{name}")).is_ok()
        };
        Some(advice::of_script(&command, is_local))
    }

    /// Whether the code is among the words.
    fn evaluates(&self) -> bool {
        let is = |word: &String| ["-e", "--eval"].contains(&word.as_str());
        self.words.iter().any(is)
    }

    /// Says a line, if it is another than the last.
    fn tell(&mut self, level: Level, line: String) {
        if line != self.told {
            log!(level, "{line}");
            self.told = line;
        }
    }
}

impl Look {
    fn at(&self) -> Instant {
        self.started + self.after
    }
}

fn tell_of_late(worker: WorkerId, lack: Lack, facts: Facts) {
    let lack = match (lack, facts.inspector) {
        (Lack::Everything, Some(port)) => {
            return warn!(
                "worker {worker} has asked for nothing to listen on yet: it \
                 may be paused in a debugger, at port {port}, and is not \
                 killed for that"
            );
        }
        (Lack::Everything, None) => {
            "it has asked for nothing to listen on".to_owned()
        }
        (Lack::Something(what), _) => what,
    };
    let time = FIRST.as_secs();
    info!("worker {worker} is not ready after {time} s: {lack}");
}
