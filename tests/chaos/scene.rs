//! One run: a server, clients, and what is done to the server meanwhile.
//!
//! ```text
//!   start ─ LEAD ─ hit ─ every ─ hit ─ every ─ hit ─ tail ─ settled? ─ Row
//!           └──────────── the load is on ───────────────┘
//! ```

use std::net::TcpListener;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::bars::{Losses, judge};
use super::faults::{Fault, Feature, Leaves};
use super::ledger::Span;
use super::load::{Load, PATIENCE};
use super::process::{self, Process, within};
use super::row::Row;
use super::server::{Server, WORKERS};

/// The load is on for so long before the first hit.
const LEAD: Duration = Duration::from_millis(500);

/// The clients have their rhythm; so that hits meet every beat of it.
const OUT_OF_STEP: Duration = Duration::from_millis(7);

/// By then everything is as it was, or it never will be.
const SETTLED: Duration = Duration::from_secs(5);

/// No worker may outlive its master for longer.
const ORPHANED: Duration = Duration::from_millis(50);

/// With `--hang-timeout 1`, a worker that hangs is replaced by then.
const REPLACED: Duration = Duration::from_secs(2);

/// How long a worker is stopped.
const STOPPED: Duration = Duration::from_secs(3);

/// What should happen soon has happened by then, on a busy machine too.
const SOON: Duration = Duration::from_secs(5);

/// The longest that a graceful stop may take: the default of `--grace`, and
/// a little.
const GRACE: Duration = Duration::from_secs(12);

/// The server, its clients, and what the hits have to remember.
#[derive(Debug)]
pub(crate) struct Scene {
    server: Server,
    load: Load,
    /// Workers that were asked to leave already.
    dismissed: Vec<Process>,
    /// Masters that have a successor.
    replaced: Vec<Process>,
    remarks: Vec<String>,
}

/// Starts a server, does to it what is to be done, and keeps the books.
/// `Err`: the server did not start.
pub(crate) fn run(fault: &Fault, program: &Path) -> Result<Row, String> {
    let server = Server::start(program, fault.options)?;
    let before = server.workers();
    let descriptors = server.descriptors();
    let load = Load::start(server.address, PATIENCE);
    let (dismissed, replaced, remarks) = (vec![], vec![], vec![]);
    let mut scene = Scene { server, load, dismissed, replaced, remarks };
    let (hits, mut broken) = scene.play(fault);
    let Scene { server, load, replaced, remarks, .. } = scene;

    let (ledger, rate) = load.finish();
    let losses = match fault.leaves {
        Leaves::Workers | Leaves::NewWorkers | Leaves::OldWorkers
            if Feature::Salvage.is_there() =>
        {
            Losses::NotEvenIdle
        }
        _ => fault.losses,
    };
    broken.extend(judge(losses, &hits, &ledger));
    if hits.len() < fault.hits {
        broken.push(format!("only {} of {} hits", hits.len(), fault.hits));
    }
    let mut after = Aftermath::of(&server, &replaced);
    let mut faults = Vec::new();
    within(SETTLED, || {
        after = Aftermath::of(&server, &replaced);
        faults = after.judge(fault.leaves, &before, descriptors);
        faults.is_empty()
    });
    broken.append(&mut faults);
    Ok(Row {
        fault: fault.name,
        hits: hits.len(),
        ledger,
        rate,
        workers: (after.workers.len(), fault.leaves.count()),
        descriptors: (fault.leaves != Leaves::Nobody)
            .then_some((descriptors, after.descriptors)),
        remarks,
        broken,
    })
}

/// What is found when the load is over.
struct Aftermath {
    workers: Vec<Process>,
    zombies: usize,
    /// Of the master.
    descriptors: usize,
    /// Masters that should be gone.
    stale_masters: usize,
}

impl Aftermath {
    fn of(server: &Server, replaced: &[Process]) -> Aftermath {
        let master = server.master.pid;
        let stale = replaced.iter().filter(|master| master.lives());
        Aftermath {
            workers: server.workers(),
            zombies: process::zombies(master),
            descriptors: process::descriptors(master),
            stale_masters: stale.count(),
        }
    }

    /// In words, whatever is not as it should be.
    fn judge(
        &self,
        leaves: Leaves,
        before: &[Process],
        descriptors: usize,
    ) -> Vec<String> {
        let (count, expected) = (self.workers.len(), leaves.count());
        let old = before.iter().filter(|one| self.workers.contains(one));
        let old = old.count();
        let wanted = match leaves {
            Leaves::Workers | Leaves::Nobody => old,
            Leaves::NewWorkers => 0,
            Leaves::OldWorkers => WORKERS,
        };
        let open = self.descriptors;
        [
            (count != expected, format!("{count} workers, not {expected}")),
            (old != wanted, format!("{old} of the first workers are left")),
            (self.zombies > 0, format!("{} zombies", self.zombies)),
            (
                self.stale_masters > 0,
                format!("{} old masters live on", self.stale_masters),
            ),
            (
                leaves != Leaves::Nobody && open > descriptors,
                format!("the master has {open} descriptors"),
            ),
        ]
        .into_iter()
        .filter_map(|(broken, what)| broken.then_some(what))
        .collect()
    }
}

/// What can be done.
impl Scene {
    /// All hits, each at its time. Returns when they were, and what they
    /// found wrong.
    fn play(&mut self, fault: &Fault) -> (Vec<Span>, Vec<String>) {
        let (mut hits, mut broken) = (Vec::new(), Vec::new());
        thread::sleep(LEAD);
        let mut due = Instant::now();
        for hit in 0..fault.hits {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            due += fault.every + OUT_OF_STEP;
            let from = Instant::now();
            match (fault.strike)(self, hit) {
                Ok(()) => hits.push(Span::since(from)),
                Err(why) => broken.push(format!("hit {}: {why}", hit + 1)),
            }
        }
        thread::sleep(fault.tail);
        (hits, broken)
    }

    /// The oldest worker and the youngest, in turn.
    fn victim(&self, hit: usize) -> Result<Process, String> {
        let mut victim = None;
        within(SOON, || {
            let mut workers = self.server.workers();
            workers.retain(|worker| !self.dismissed.contains(worker));
            victim = match hit.is_multiple_of(2) {
                true => workers.first().copied(),
                false => workers.last().copied(),
            };
            victim.is_some()
        });
        victim.ok_or_else(|| "there is no worker".into())
    }

    /// A worker ends by a signal, and without a word.
    pub(crate) fn fell(&self, name: &str, hit: usize) -> Result<(), String> {
        let victim = self.victim(hit)?;
        let end = within(SOON, || {
            process::signal(name, [victim.pid]);
            // Rust's own handler lets the first SIGSEGV pass that no access
            // to memory has caused, and is gone then.
            within(Duration::from_millis(20), || !victim.lives()).is_some()
        });
        end.map(drop).ok_or_else(|| format!("it has survived SIG{name}"))
    }

    pub(crate) fn fell_all(&self) -> Result<(), String> {
        let victims = self.server.workers();
        process::signal("KILL", victims.iter().map(|victim| victim.pid));
        within(SOON, || !victims.iter().any(|victim| victim.lives()))
            .map(drop)
            .ok_or_else(|| "not all of them have died".into())
    }

    /// A worker is asked to leave.
    pub(crate) fn dismiss(&mut self, hit: usize) -> Result<(), String> {
        let victim = self.victim(hit)?;
        process::signal("TERM", [victim.pid]);
        self.dismissed.push(victim);
        Ok(())
    }

    pub(crate) fn reload(&self) -> Result<(), String> {
        self.server.signal("HUP");
        Ok(())
    }

    /// A worker hears and sees nothing for a while, and nobody minds.
    pub(crate) fn freeze(&self) -> Result<(), String> {
        let victim = self.victim(0)?;
        process::signal("STOP", [victim.pid]);
        thread::sleep(STOPPED);
        process::signal("CONT", [victim.pid]);
        Ok(())
    }

    /// The same, but the master is to mind.
    pub(crate) fn hang(&mut self) -> Result<(), String> {
        let victim = self.victim(0)?;
        process::signal("STOP", [victim.pid]);
        let end = within(STOPPED, || {
            !victim.lives() && self.server.workers().len() >= WORKERS
        });
        if victim.lives() {
            process::signal("CONT", [victim.pid]);
        }
        match end {
            None => Err("it was not replaced".into()),
            Some(time) if time > REPLACED => {
                Err(format!("it was replaced after {} ms", time.as_millis()))
            }
            Some(time) => {
                self.remark("it was replaced", time);
                Ok(())
            }
        }
    }

    /// A new release, which comes to nothing, and a reload.
    pub(crate) fn release(&self, script: &str) -> Result<(), String> {
        let before = self.server.releases_started();
        self.server.release(script);
        self.server.signal("HUP");
        within(SOON, || self.server.releases_started() > before)
            .map(drop)
            .ok_or_else(|| "the new release was not even tried".into())
    }

    /// To 4 and 1 and 3 and back to 2.
    pub(crate) fn scale(&self, hit: usize) -> Result<(), String> {
        let count = [4, 1, 3, WORKERS][hit % 4];
        let words = format!("scale {count}");
        let status = self.server.tell(&words).map_err(|e| e.to_string())?;
        if !status.success() {
            return Err(format!("handoff {words}: {status}"));
        }
        within(SOON, || self.server.workers().len() == count)
            .map(drop)
            .ok_or_else(|| format!("there are not {count} workers"))
    }

    /// The master makes room for a new one, its child.
    pub(crate) fn upgrade(&mut self) -> Result<(), String> {
        let old = self.server.master;
        self.server.signal("USR2");
        let has_workers =
            |one: &Process| process::living_children(one.pid).len() >= WORKERS;
        let mut successor = None;
        within(SOON, || {
            let children = process::living_children(old.pid);
            successor = children.into_iter().find(has_workers);
            successor.is_some()
        });
        self.server.master = successor.ok_or("there is no new master")?;
        self.replaced.push(old);
        Ok(())
    }

    /// The end, in good order.
    pub(crate) fn stop(&mut self) -> Result<(), String> {
        self.load.expect_the_end();
        let start = Instant::now();
        self.server.signal("TERM");
        let Some(status) = self.server.wait(GRACE) else {
            return Err("it has not stopped".into());
        };
        self.remark("it has stopped", start.elapsed());
        match status.code() {
            Some(0) => Ok(()),
            _ => Err(format!("it has stopped with {status}")),
        }
    }

    /// The end, in no order.
    pub(crate) fn behead(&mut self) -> Result<(), String> {
        let workers = self.server.workers();
        self.load.expect_the_end();
        self.server.kill();
        let gone = within(SOON, || !workers.iter().any(|one| one.lives()));
        let Some(time) = gone else {
            process::signal("KILL", workers.iter().map(|one| one.pid));
            return Err("workers live on without a master".into());
        };
        self.remark("the last worker was gone", time);
        if time > ORPHANED {
            return Err(format!("too late: {} ms", time.as_millis()));
        }
        match TcpListener::bind(self.server.address) {
            Ok(_) => Ok(()),
            Err(error) => Err(format!("the port is not free: {error}")),
        }
    }

    fn remark(&mut self, what: &str, after: Duration) {
        self.remarks.push(format!("{what} after {} ms", after.as_millis()));
    }
}
