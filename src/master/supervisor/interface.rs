//! What the supervisor is told and what it answers: the whole of its
//! contract with the loop that owns the processes.
//!
//! Every type prints as the words of a log line; none knows a process, a
//! signal set or a clock.

use std::fmt;
use std::time::Duration;

use crate::WorkerId;

/// What the operator decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// How many workers should be in rotation; at least 1.
    pub workers: usize,
    /// How long a worker that leaves may finish what it has in hand, and how
    /// long a stop may take once [`linger`](Self::linger) is over.
    pub grace: Duration,
    /// How long a stop serves on as if nothing had been asked, so that
    /// clients which the kernel has already queued are answered.
    pub linger: Duration,
    /// How long a worker may take from its start until it is ready; above 0.
    pub boot_timeout: Duration,
    /// `Some(pause)` for programs that know no more than signals: SIGTERM
    /// first and SIGKILL this long after it. `None`: SIGKILL at once.
    pub terminate_before_kill: Option<Duration>,
}

impl Default for Policy {
    /// One worker, 10 s of grace, 100 ms of linger, 30 s to boot, SIGKILL.
    fn default() -> Policy {
        Policy {
            workers: 1,
            grace: Duration::from_secs(10),
            linger: Duration::from_millis(100),
            boot_timeout: Duration::from_secs(30),
            terminate_before_kill: None,
        }
    }
}

/// What happened. An event about a worker that is gone, or that says what is
/// known already, changes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The process of a [`Action::Spawn`] could not be made, or its exec
    /// failed. It counts as a death; no `Exited` follows.
    SpawnFailed {
        /// Which.
        worker: WorkerId,
        /// The system's reason, with the program's name.
        why: String,
    },
    /// It can take connections.
    Ready {
        /// Which.
        worker: WorkerId,
    },
    /// It announced that it will leave (Node's `exitedAfterDisconnect`).
    Leaving {
        /// Which.
        worker: WorkerId,
        /// It has taken at least one connection.
        proven: bool,
    },
    /// Its channel ended without an announcement. A process that dies closes
    /// its channel an instant before it can be waited for, so this is often
    /// the first half of a death.
    ChannelEnded {
        /// Which.
        worker: WorkerId,
        /// It has taken at least one connection.
        proven: bool,
    },
    /// The process is gone and waited for.
    Exited {
        /// Which.
        worker: WorkerId,
        /// What `waitid` said.
        how: Exit,
        /// It has taken at least one connection.
        proven: bool,
    },
    /// It will never be ready: it was refused all that it wanted to listen
    /// on, and runs on. One that is ready already is let be.
    Refused {
        /// Which.
        worker: WorkerId,
        /// Where, and the system's reason.
        why: String,
    },
    /// It has not moved for the hang timeout.
    Hung {
        /// Which.
        worker: WorkerId,
    },
    /// It breaks the rules of its channel: nothing that it says or counts can
    /// be believed any more.
    Broken {
        /// Which.
        worker: WorkerId,
    },
    /// It has served its number of requests or outgrown its memory: replace
    /// it when a successor is ready.
    Recycle {
        /// Which.
        worker: WorkerId,
    },
    /// Replace all workers, one by one. Whoever wants to know the end of it
    /// waits for the [`Report`] with [`Supervisor::generation`] + 1, read
    /// before this event; while stopping it is ignored.
    ///
    /// [`Supervisor::generation`]: super::Supervisor::generation
    Reload,
    /// Be this many workers from now on; at least 1. Ignored while stopping.
    Resize(usize),
    /// Stop, and lose nothing that was accepted. A second one is ignored.
    Stop,
    /// Kill everything, then exit.
    StopNow,
    /// After [`Action::StopAccepting`]: the listeners are closed and no
    /// accepted connection waits for a worker.
    Emptied,
    /// While draining: connections that a dead worker had not received wait,
    /// and nobody can take them. To be told *before* that worker's `Exited`,
    /// which may otherwise be the end.
    Stranded,
}

/// What to do, in this order. An action about a worker whose process is gone
/// already is to be ignored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Start a process. It exists from here on, until `Exited` or
    /// `SpawnFailed`.
    Spawn {
        /// Its name, never used before.
        worker: WorkerId,
        /// Its place, below the number of workers.
        slot: usize,
        /// The reload it belongs to, from 1.
        generation: u32,
    },
    /// Put it into the rotation.
    Admit {
        /// Which.
        worker: WorkerId,
    },
    /// Take it out of the rotation: once for every `Admit`, also when it is
    /// dead.
    Withdraw {
        /// Which.
        worker: WorkerId,
    },
    /// Ask it over its channel to finish and leave.
    Disconnect {
        /// Which.
        worker: WorkerId,
        /// For the log.
        why: Parting,
    },
    /// SIGTERM.
    Terminate {
        /// Which.
        worker: WorkerId,
        /// For the log.
        why: Reason,
    },
    /// SIGKILL, to its process group.
    Kill {
        /// Which.
        worker: WorkerId,
        /// For the log.
        why: Reason,
    },
    /// Clear TCP_DEFER_ACCEPT, accept what is queued, close the listeners;
    /// [`Event::Emptied`] is the answer. Said at most once.
    StopAccepting,
    /// Worth a line in the log.
    Report(Report),
    /// No process is left: exit. The last action.
    Exit(Outcome),
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It exited with this status.
    Code(i32),
    /// A signal with this number killed it.
    Signal(i32),
}

/// Why a worker counts as failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It never came to be.
    NotStarted(String),
    /// It was given this long to become ready.
    NotReady(Duration),
    /// It cannot listen where it wants to: where that is, and why.
    Refused(String),
    /// It ended too early.
    Exited(Exit),
    /// It announced its leave too early.
    Left,
    /// It lost its channel too early, and lived on.
    ChannelEnded,
    /// It stopped moving too early.
    Hung,
    /// It broke the rules of its channel too early.
    Broken,
}

/// Why a worker in rotation is asked to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parting {
    /// Another of a newer generation has its place.
    Reload,
    /// It was to be recycled, and another has its place.
    Recycle,
    /// There are to be fewer.
    Resize,
    /// All are to stop.
    Stop,
}

/// Why a worker gets a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It was not ready in time.
    NotReady,
    /// It listens nowhere, since it was refused what it asked for.
    Refused,
    /// It lost its channel before it had lived, and did not exit.
    ChannelEnded,
    /// It does not move.
    Hung,
    /// It broke the rules of its channel.
    Broken,
    /// It had its time to leave.
    GraceOver,
    /// It has outlived its SIGTERM.
    TerminateIgnored,
    /// Too many of its slot are leaving, and it is the oldest of them.
    Crowded,
    /// It was still starting when its place or its reload went away.
    NotNeeded,
    /// [`Event::StopNow`].
    StopNow,
    /// The supervisor gives up.
    GivingUp,
}

/// What the operator should read in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// A slot fails again and again. Said once, until `Recovered`.
    Degraded {
        /// How many serve.
        in_rotation: usize,
        /// How many should.
        workers: usize,
    },
    /// Every slot has a worker that lives again.
    Recovered,
    /// The rolling reload to this generation began.
    ReloadBegan {
        /// The new one.
        generation: u32,
    },
    /// Every slot has been served by this generation.
    ReloadFinished {
        /// The new one.
        generation: u32,
    },
    /// The reload ended early. Old workers that it had not reached serve on.
    ReloadAbandoned {
        /// The new one.
        generation: u32,
        /// On whose account.
        why: Abandon,
    },
}

/// What ended a reload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Abandon {
    /// A worker of the new generation failed.
    Failed {
        /// Which.
        worker: WorkerId,
        /// How.
        why: Failure,
    },
    /// The master was told to stop.
    Stopping,
}

/// Why the master exits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was told to.
    Stopped,
    /// The very first worker could not be started.
    CannotStart(String),
    /// No worker has ever been ready.
    GaveUp {
        /// How many failed.
        failures: u32,
        /// The last of them.
        last: WorkerId,
        /// What it failed of.
        why: Failure,
    },
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exit::Code(code) => write!(f, "exited with status {code}"),
            Exit::Signal(signal) => write!(f, "was killed by signal {signal}"),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::NotStarted(why) => {
                write!(f, "could not be started: {why}")
            }
            Failure::NotReady(limit) => {
                write!(f, "was not ready within {limit:?}")
            }
            Failure::Refused(why) => write!(f, "cannot listen on {why}"),
            Failure::Exited(how) => how.fmt(f),
            Failure::Left => f.write_str("left as soon as it had come"),
            Failure::ChannelEnded => f.write_str("closed its channel"),
            Failure::Hung => f.write_str("hung as soon as it was ready"),
            Failure::Broken => f.write_str("broke the rules of its channel"),
        }
    }
}

impl fmt::Display for Parting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Parting::Reload => "a reload has replaced it",
            Parting::Recycle => "it was recycled",
            Parting::Resize => "there are to be fewer",
            Parting::Stop => "all stop",
        })
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::NotReady => "it was not ready in time",
            Reason::Refused => "it cannot listen where it wants to",
            Reason::ChannelEnded => "it closed its channel and did not exit",
            Reason::Hung => "it hangs",
            Reason::Broken => "it breaks the rules of its channel",
            Reason::GraceOver => "its grace is over",
            Reason::TerminateIgnored => "it did not heed SIGTERM",
            Reason::Crowded => "too many workers of its slot are leaving",
            Reason::NotNeeded => "it is not needed any more",
            Reason::StopNow => "the master stops now",
            Reason::GivingUp => "the master gives up",
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Report::Degraded { in_rotation, workers } => write!(
                f,
                "degraded: {in_rotation} of {workers} workers in rotation, \
                 others die young",
            ),
            Report::Recovered => f.write_str("recovered: workers live again"),
            Report::ReloadBegan { generation } => {
                write!(f, "reload to generation {generation} began")
            }
            Report::ReloadFinished { generation } => {
                write!(f, "reload to generation {generation} finished")
            }
            Report::ReloadAbandoned { generation, why } => {
                write!(f, "reload to generation {generation} abandoned: {why}")
            }
        }
    }
}

impl fmt::Display for Abandon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Abandon::Failed { worker, why } => {
                write!(f, "worker {worker} {why}")
            }
            Abandon::Stopping => f.write_str("the master stops"),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Stopped => f.write_str("stopped"),
            Outcome::CannotStart(why) => write!(f, "cannot start: {why}"),
            Outcome::GaveUp { failures, last, why } => write!(
                f,
                "gave up: {failures} workers failed and none was ever ready; \
                 the last, worker {last}, {why}",
            ),
        }
    }
}
