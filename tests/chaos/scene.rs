//! One run: a server, clients, and what is done to the server meanwhile.
//!
//! ```text
//!   start ─ LEAD ─ hit ─ every ─ hit ─ every ─ hit ─ tail ─ settled? ─ Row
//!           └──────────── the load is on ───────────────┘
//! ```

use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use super::bars::judge;
use super::common::{process, within};
use super::faults::{Fault, Leaves};
use super::ledger::{Hit, Span};
use super::load::{Load, PATIENCE};
use super::row::Row;
use super::server::{SETTLED, Server, WORKERS, living_children};
use super::subject::Subject;

/// The load is on for so long before the first hit.
const LEAD: Duration = Duration::from_millis(500);

/// The clients have their rhythm; so that hits meet every beat of it.
const OUT_OF_STEP: Duration = Duration::from_millis(7);

/// No worker may outlive its master for longer.
const ORPHANED: Duration = Duration::from_millis(50);

/// With `--hang-timeout 1`, a worker that hangs is replaced by then.
const REPLACED: Duration = Duration::from_secs(2);

/// How long a worker is stopped.
const STOPPED: Duration = Duration::from_secs(3);

/// What should happen soon has happened by then, on a busy machine too.
const SOON: Duration = Duration::from_secs(5);

/// The server, its clients, and what the hits have to remember.
pub(crate) struct Scene {
    server: Server,
    load: Load,
    /// Workers that were asked to leave already.
    dismissed: Vec<u32>,
    /// Masters that have a successor.
    replaced: Vec<u32>,
    remarks: Vec<String>,
}

/// Starts a server, does to it what is to be done, and keeps the books. It
/// fails if the server does not start.
pub(crate) fn run(subject: Subject, fault: &Fault) -> Row {
    let server = Server::start(subject, fault.options);
    let before = server.workers();
    let descriptors = server.descriptors_at_rest();
    let load = Load::start(server.address(), PATIENCE);
    let (dismissed, replaced, remarks) = (vec![], vec![], vec![]);
    let mut scene = Scene { server, load, dismissed, replaced, remarks };
    let (hits, mut broken) = scene.play(fault);
    let Scene { server, load, replaced, mut remarks, .. } = scene;

    let (ledger, rate) = load.finish();
    if let Some(losses) = fault.bar(subject) {
        broken.extend(judge(losses, &hits, &ledger));
    }
    if hits.len() < fault.hits && !subject.is_peer() {
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
    if subject.is_peer() {
        remarks.append(&mut broken);
    }
    Row {
        fault: fault.name,
        hits: hits.len(),
        ledger,
        rate,
        workers: (after.workers.len(), fault.leaves.count()),
        descriptors: (fault.leaves != Leaves::Nobody)
            .then_some((descriptors, after.descriptors)),
        remarks,
        log: server.log(),
        broken,
    }
}

/// What is found when the load is over.
struct Aftermath {
    workers: Vec<u32>,
    zombies: usize,
    /// Of the master.
    descriptors: usize,
    /// Masters that should be gone.
    stale_masters: usize,
}

impl Aftermath {
    fn of(server: &Server, replaced: &[u32]) -> Aftermath {
        let stale = replaced.iter().filter(|pid| process::lives(**pid));
        Aftermath {
            workers: server.workers(),
            zombies: server.zombies(),
            descriptors: server.descriptors(),
            stale_masters: stale.count(),
        }
    }

    /// In words, whatever is not as it should be.
    fn judge(
        &self,
        leaves: Leaves,
        before: &[u32],
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
    fn play(&mut self, fault: &Fault) -> (Vec<Hit>, Vec<String>) {
        let (mut hits, mut broken) = (Vec::new(), Vec::new());
        thread::sleep(LEAD);
        let mut due = Instant::now();
        for hit in 0..fault.hits {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            due += fault.every + OUT_OF_STEP;
            let from = Instant::now();
            match (fault.strike)(self, hit) {
                Ok(effect) => {
                    hits.push(Hit { when: Span::since(from), effect });
                }
                Err(why) => broken.push(format!("hit {}: {why}", hit + 1)),
            }
        }
        thread::sleep(fault.tail);
        (hits, broken)
    }

    /// The oldest worker and the youngest, in turn.
    fn victim(&self, hit: usize) -> Result<u32, String> {
        let mut victim = None;
        soon("there is no worker", || {
            let mut workers = self.server.workers();
            workers.retain(|pid| !self.dismissed.contains(pid));
            victim = match hit.is_multiple_of(2) {
                true => workers.first().copied(),
                false => workers.last().copied(),
            };
            victim.is_some()
        })?;
        Ok(victim.unwrap())
    }

    /// A worker ends by a signal, and without a word.
    pub(crate) fn fell(
        &self,
        name: &str,
        hit: usize,
    ) -> Result<Instant, String> {
        let victim = self.victim(hit)?;
        soon("the worker has survived", || {
            process::signal(name, &[victim]);
            // Rust's own handler lets the first SIGSEGV pass that no access
            // to memory has caused, and is gone then.
            within(Duration::from_millis(20), || !process::lives(victim))
        })
    }

    pub(crate) fn fell_all(&self) -> Result<Instant, String> {
        let victims = self.server.workers();
        process::signal("KILL", &victims);
        soon("a worker has survived", || {
            !victims.iter().any(|pid| process::lives(*pid))
        })
    }

    /// A worker is asked to leave.
    pub(crate) fn dismiss(&mut self, hit: usize) -> Result<Instant, String> {
        let victim = self.victim(hit)?;
        process::signal(self.server.subject().farewell(), &[victim]);
        self.dismissed.push(victim);
        Ok(Instant::now())
    }

    pub(crate) fn reload(&self) -> Result<Instant, String> {
        self.server.signal("HUP");
        Ok(Instant::now())
    }

    /// A worker hears and sees nothing for a while, and nobody minds.
    pub(crate) fn freeze(&self) -> Result<Instant, String> {
        let victim = self.victim(0)?;
        let effect = stop(victim)?;
        thread::sleep(STOPPED);
        process::signal("CONT", &[victim]);
        Ok(effect)
    }

    /// The same, but the master is to mind.
    pub(crate) fn hang(&mut self) -> Result<Instant, String> {
        let victim = self.victim(0)?;
        let start = Instant::now();
        let effect = stop(victim)?;
        let replaced = within(STOPPED, || {
            !process::lives(victim) && self.server.workers().len() >= WORKERS
        });
        let time = start.elapsed();
        if process::lives(victim) {
            process::signal("CONT", &[victim]);
        }
        if !replaced {
            return Err("the worker was not replaced".into());
        }
        self.in_time("the worker was replaced", time, REPLACED)?;
        Ok(effect)
    }

    /// A new release, which comes to nothing, and a reload.
    pub(crate) fn release(&self, script: &str) -> Result<Instant, String> {
        let before = self.server.releases_started();
        self.server.release(script);
        self.server.signal("HUP");
        soon("the new release was not even tried", || {
            self.server.releases_started() > before
        })
    }

    /// To 4 and 1 and 3 and back to 2.
    pub(crate) fn scale(&self, hit: usize) -> Result<Instant, String> {
        let count = [4, 1, 3, WORKERS][hit % 4];
        self.server.tell(&format!("scale {count}"))?;
        soon("there are more workers, or fewer", || {
            self.server.workers().len() == count
        })
    }

    /// The master makes room for a new one, its child.
    pub(crate) fn upgrade(&mut self) -> Result<Instant, String> {
        let old = self.server.master();
        self.server.signal("USR2");
        let mut successor = None;
        soon("there is no new master", || {
            let has_workers =
                |pid: &u32| living_children(*pid).len() >= WORKERS;
            successor = living_children(old).into_iter().find(has_workers);
            successor.is_some()
        })?;
        self.replaced.push(self.server.succeed(successor.unwrap()));
        Ok(Instant::now())
    }

    /// The end, in good order.
    pub(crate) fn stop(&mut self) -> Result<Instant, String> {
        self.load.expect_the_end();
        let start = Instant::now();
        self.server.signal(self.server.subject().farewell());
        let status = self.server.wait();
        let time = start.elapsed();
        self.remarks.push(format!("stopped after {} ms", time.as_millis()));
        match status.code() {
            Some(0) => Ok(Instant::now()),
            _ => Err(format!("the master has stopped with {status}")),
        }
    }

    /// The end, in no order.
    pub(crate) fn behead(&mut self) -> Result<Instant, String> {
        let workers = self.server.workers();
        self.load.expect_the_end();
        let start = Instant::now();
        self.server.signal("KILL");
        self.server.wait();
        soon("workers live on without a master", || {
            !workers.iter().any(|pid| process::lives(*pid))
        })?;
        let time = start.elapsed();
        let address = self.server.address();
        TcpListener::bind(address).map_err(|e| format!("{address}: {e}"))?;
        self.in_time("the last worker was gone", time, ORPHANED)
    }

    fn in_time(
        &mut self,
        what: &str,
        time: Duration,
        most: Duration,
    ) -> Result<Instant, String> {
        let remark = format!("{what} after {} ms", time.as_millis());
        if time > most {
            return Err(format!("{remark}, may be {}", most.as_millis()));
        }
        self.remarks.push(remark);
        Ok(Instant::now())
    }
}

/// SIGSTOP, and until it has its effect.
fn stop(pid: u32) -> Result<Instant, String> {
    process::signal("STOP", &[pid]);
    soon("the worker has not stopped", || {
        process::stat(pid).is_some_and(|stat| stat.state == 'T')
    })
}

/// Waits until it is so, but not for ever. Returns when it was.
fn soon(
    complaint: &str,
    condition: impl FnMut() -> bool,
) -> Result<Instant, String> {
    match within(SOON, condition) {
        true => Ok(Instant::now()),
        false => Err(complaint.into()),
    }
}
