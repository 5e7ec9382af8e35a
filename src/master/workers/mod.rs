//! The workers as processes: how they begin, what they say, how they end.
//!
//! ```text
//!   spawn ─▶ lines, in and out ─▶ the end of the channel ─▶ reap
//!              │                      terminate, kill ─────────▲
//!              └ look, over_limit: who hangs, who has grown
//! ```
//!
//! A worker is a process *group*: `run` may be given a script, or npm, with
//! the app below it. Its first process stands for it, and no other of the
//! group outlives that; only after a SIGTERM do they have time of their own.
//!
//! It owns the processes and their channels. It knows nothing of connections,
//! which go through a worker's [`Line`] and belong to the traffic, and does
//! not judge what a worker says. What a worker does wrong costs that worker.

mod advice;
mod family;
mod identity;
mod inspector;
mod late;
mod launcher;
mod link;
mod recycling;
mod usage;
mod watch;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use log::warn;

use self::late::{Facts, Late};
pub(super) use self::launcher::Launcher;
pub(super) use self::link::Line;
use self::link::Link;
pub(super) use self::recycling::Recycling;
pub(super) use self::watch::{Sample, Watch};
use super::poller::Poller;
use super::readiness::Lack;
use super::supervisor::{Exit, Parting, Reason};
use crate::WorkerId;
use crate::channel;
use crate::control::Usage;
use crate::error::Error;
use crate::ipc::Message;
use crate::ipc::message::Act;
use crate::scoreboard::{Requests, Scoreboard};
use crate::sys;
use crate::sys::clock;
use crate::sys::epoll::Event;
use crate::sys::process::{Child, Ended};
use crate::sys::spawn::Begun;

/// What is said of a process that is not its program yet.
const HELD_UP: &str = "is not executed yet: does the file system answer that \
                       its program and the working directory are on?";

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Workers {
    links: BTreeMap<WorkerId, Link>,
    launcher: Launcher,
    /// The hang detector, if one is wanted.
    watch: Option<Watch>,
    /// Its next look; `None` without workers.
    next_look: Option<Instant>,
    recycling: Recycling,
    /// Of another program's workers: those that are not ready yet.
    late: Option<Late>,
}

/// A worker that has just been started.
#[derive(Debug)]
pub(super) struct Spawned {
    pub(super) pid: i32,
    /// Of a worker that is on this library.
    pub(super) scoreboard: Option<Scoreboard>,
}

/// What came of reading a worker's channel once.
#[derive(Debug)]
pub(super) struct Heard {
    /// One message each, not looked at.
    pub(super) lines: Vec<Vec<u8>>,
    /// Behind those lines.
    pub(super) then: Result<channel::Heard, Error>,
}

/// What is known of a worker that has ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Death {
    pub(super) pid: i32,
    pub(super) how: Exit,
    pub(super) age: Duration,
    /// It was killed because it did not move.
    pub(super) hung: bool,
    /// It broke the rules: nothing that it has written down is to be relied
    /// on more than must be.
    pub(super) broken: bool,
    /// It was told to go, and why.
    pub(super) leaving: Option<Parting>,
    /// It has said that it goes.
    pub(super) announced: bool,
}

impl Death {
    /// It was told to go, or has said that it goes: another has its place.
    pub(super) fn is_leaving(&self) -> bool {
        self.leaving.is_some() || self.announced
    }
}

/// Processes.
impl Workers {
    pub(super) fn new(
        launcher: Launcher,
        hang_timeout: Option<Duration>,
        recycling: Recycling,
    ) -> Workers {
        let watch = |timeout| Watch::new(timeout, clock::boottime());
        Workers {
            links: BTreeMap::new(),
            late: launcher.words().map(Late::new),
            launcher,
            watch: hang_timeout.map(watch),
            next_look: None,
            recycling,
        }
    }

    /// Whether the last start failed of what somebody typed, and not of the
    /// system.
    pub(super) fn is_mistyped(&self) -> bool {
        self.launcher.is_mistyped()
    }

    /// Starts a worker.
    ///
    /// # Errors
    /// There is none; the text says why.
    pub(super) fn spawn(
        &mut self,
        worker: WorkerId,
        slot: usize,
        poller: &mut Poller,
        now: Instant,
    ) -> Result<Spawned, String> {
        let mut started = self
            .launcher
            .spawn(worker, slot)
            .map_err(|error| self.launcher.explain(error))?;
        let scoreboard = started.scoreboard.take();
        if started.begun == Begun::Late {
            warn!("worker {worker} {HELD_UP}");
        }
        let link = Link::new(worker, started, poller, now)
            .map_err(|why| format!("it cannot be watched: {why}"))?;
        let pid = link.child.pid();
        self.links.insert(worker, link);
        if let Some(late) = &mut self.late {
            late.started(worker, now);
        }
        Ok(Spawned { pid, scoreboard })
    }

    /// Starts the next master (`upgrade`), with what that is to be told and
    /// to have.
    pub(super) fn spawn_master(
        &mut self,
        contract: Vec<OsString>,
        descriptors: &[BorrowedFd<'_>],
    ) -> sys::Result<Child> {
        let (child, begun) =
            self.launcher.spawn_successor(contract, descriptors)?;
        if begun == Begun::Late {
            warn!("the new master {HELD_UP}");
        }
        Ok(child)
    }

    /// SIGTERM.
    pub(super) fn terminate(&mut self, worker: WorkerId, why: Reason) {
        if let Some(link) = self.links.get_mut(&worker) {
            warn!("worker {worker} is sent SIGTERM: {why}");
            link.terminated = true;
            link.child.terminate();
        }
    }

    /// SIGKILL.
    pub(super) fn kill(&mut self, worker: WorkerId, why: Reason) {
        if let Some(link) = self.links.get_mut(&worker) {
            warn!("worker {worker} is killed: {why}");
            link.hung |= why == Reason::Hung;
            link.kill();
        }
    }

    /// Kills a worker that breaks the rules.
    pub(super) fn fail(&mut self, worker: WorkerId) {
        if let Some(link) = self.links.get_mut(&worker) {
            link.broken = true;
            link.kill();
        }
    }

    /// Whether a worker has ended, and left behind others that have time to
    /// heed SIGTERM.
    pub(super) fn lingers(
        &mut self,
        worker: WorkerId,
        poller: &mut Poller,
    ) -> sys::Result<bool> {
        let link = self.links.get_mut(&worker);
        link.map_or(Ok(false), |link| link.lingers(worker, poller))
    }

    /// Takes note of a worker's end, once its pidfd is readable, and kills
    /// what is left of its group. `None`: it has not ended, or is known to
    /// have. Its number may be another's after this.
    pub(super) fn reap(
        &mut self,
        worker: WorkerId,
        poller: &mut Poller,
        now: Instant,
    ) -> sys::Result<Option<Death>> {
        let Some(link) = self.links.get(&worker) else { return Ok(None) };
        let Some(ended) = link.child.reap()? else { return Ok(None) };
        link.forget(poller);
        let how = match ended {
            Ended::Code(code) => Exit::Code(code),
            Ended::Signal(number) => Exit::Signal(number),
        };
        let death = Death {
            pid: link.child.pid(),
            how,
            age: link.age(now),
            hung: link.hung,
            broken: link.broken,
            leaving: link.leaving,
            announced: link.announced,
        };
        if let Some(late) = &mut self.late {
            late.ended(worker, how);
        }
        self.links.remove(&worker);
        Ok(Some(death))
    }

    /// The worker with this pid.
    pub(super) fn find(&self, pid: i32) -> Option<WorkerId> {
        let mut links = self.links.iter();
        links.find(|(_, link)| link.child.pid() == pid).map(|(id, _)| *id)
    }
}

/// Channels.
impl Workers {
    /// The channel to a worker, while it is open: connections go through it.
    pub(super) fn line(&mut self, worker: WorkerId) -> Option<&mut Line> {
        self.links.get_mut(&worker)?.line()
    }

    /// Says something; what the channel does not take yet waits in it.
    pub(super) fn say(
        &mut self,
        worker: WorkerId,
        message: &Message<'_>,
        poller: &Poller,
    ) {
        if let Some(line) = self.line(worker) {
            line.say(message, poller);
        }
    }

    /// Says something of Node's `cluster`.
    pub(super) fn act(
        &mut self,
        worker: WorkerId,
        act: Act<'_>,
        poller: &Poller,
    ) {
        if let Some(line) = self.line(worker) {
            let message = Message::Cluster(line.numbered(act));
            line.say(&message, poller);
        }
    }

    /// The same, with a socket to share.
    pub(super) fn share(
        &mut self,
        worker: WorkerId,
        act: Act<'_>,
        socket: OwnedFd,
        poller: &Poller,
    ) {
        if let Some(line) = self.line(worker) {
            line.share(act, socket, poller);
        }
    }

    /// Sends a message of the program. `false`: the worker does not listen,
    /// and the message is dropped.
    pub(super) fn post(
        &mut self,
        worker: WorkerId,
        json: &str,
        poller: &Poller,
    ) -> bool {
        let Some(line) = self.line(worker) else { return true };
        let taken = !line.is_behind();
        if taken {
            line.say(&Message::User(json), poller);
        }
        taken
    }

    /// The last word to a worker: it is to finish, and to go.
    pub(super) fn dismiss(
        &mut self,
        worker: WorkerId,
        why: Option<Parting>,
        word: Act<'_>,
        poller: &Poller,
    ) {
        if let Some(link) = self.links.get_mut(&worker) {
            link.leaving = why;
        }
        self.act(worker, word, poller);
    }

    /// A worker has said that it goes.
    pub(super) fn announced(&mut self, worker: WorkerId) {
        if let Some(link) = self.links.get_mut(&worker) {
            link.announced = true;
        }
    }

    /// Something about a worker's channel. Whether it is to be read.
    pub(super) fn attend(
        &mut self,
        worker: WorkerId,
        event: Event,
        poller: &Poller,
    ) -> bool {
        if event.is_writable()
            && let Some(line) = self.line(worker)
        {
            line.flush(poller);
        }
        event.is_readable() || event.is_gone()
    }

    /// Reads a channel once; `None` if it is closed.
    pub(super) fn hear(&mut self, worker: WorkerId) -> Option<Heard> {
        let line = self.line(worker)?;
        let mut lines = Vec::new();
        let then = line.hear(&mut lines);
        Some(Heard { lines, then })
    }

    /// Whether a worker asks on and on, and does not take the answers.
    pub(super) fn is_choking(&mut self, worker: WorkerId) -> bool {
        self.line(worker).is_some_and(|line| line.is_choked())
    }

    /// Closes a channel. Whether it was open.
    pub(super) fn hang_up(
        &mut self,
        worker: WorkerId,
        poller: &mut Poller,
    ) -> bool {
        let link = self.links.get_mut(&worker);
        link.is_some_and(|link| link.hang_up(poller))
    }
}

/// How they are.
impl Workers {
    /// Looks whether every worker moves that ought to, if it is time to, and
    /// names one that hangs. `sample` is what is seen of a worker, and may ask
    /// whether a signal has stopped it.
    pub(super) fn look(
        &mut self,
        now: Instant,
        sample: impl Fn(WorkerId, &dyn Fn() -> bool) -> Option<Sample>,
    ) -> Option<WorkerId> {
        let watch = self.watch.as_mut()?;
        if self.next_look.is_some_and(|at| at > now) {
            return None;
        }
        let samples = self.links.iter().filter_map(|(&worker, link)| {
            // One that cannot be looked at is accused of nothing.
            let is_stopped = || link.child.is_stopped().unwrap_or(false);
            Some((worker, sample(worker, &is_stopped)?))
        });
        let hung = watch.look(clock::boottime(), samples);
        let period = watch.period();
        self.next_look = (!self.links.is_empty()).then(|| now + period);
        hung
    }

    /// Says what there is to say of workers that are not ready after a while,
    /// if it is time to. `lack` is what such a one lacks.
    pub(super) fn look_at_the_late(
        &mut self,
        now: Instant,
        lack: impl Fn(WorkerId) -> Option<Lack>,
    ) {
        let Some(late) = &mut self.late else { return };
        late.look(now, lack, |worker| {
            let pid = self.links.get(&worker)?.child.pid();
            let inspector = self.launcher.inspector_port(worker);
            Some(Facts { pid, inspector })
        });
    }

    /// Whether it is time to look who has done or grown enough.
    pub(super) fn is_check_due(&mut self, now: Instant) -> bool {
        self.recycling.is_due(now)
    }

    /// Why a worker is over its limits, the first time that it is.
    pub(super) fn over_limit(
        &mut self,
        worker: WorkerId,
        requests: Option<Requests>,
    ) -> Option<String> {
        let link = self.links.get_mut(&worker)?;
        if link.over_limit {
            return None;
        }
        let usage = || usage::of(link.child.pid());
        let why = self.recycling.over_limit(worker, requests, usage);
        link.over_limit = why.is_some();
        why
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let late = self.late.as_ref().and_then(Late::deadline);
        let others = self.next_look.into_iter().chain(late);
        others.chain(self.recycling.deadline()).min()
    }

    pub(super) fn pid(&self, worker: WorkerId) -> Option<i32> {
        self.links.get(&worker).map(|link| link.child.pid())
    }

    pub(super) fn age(
        &self,
        worker: WorkerId,
        now: Instant,
    ) -> Option<Duration> {
        self.links.get(&worker).map(|link| link.age(now))
    }

    /// What a worker costs the machine.
    pub(super) fn usage(&self, worker: WorkerId) -> Option<Usage> {
        usage::of(self.pid(worker)?)
    }

    /// What the workers are called, if they are another program.
    pub(super) fn name(&self) -> String {
        self.launcher.name()
    }

    /// Whether connections outlive a worker.
    pub(super) fn is_guarded(&self) -> bool {
        self.launcher.is_guarded()
    }
}
