//! What is done to the server, one fault a row, and what each must show.

use std::time::{Duration, Instant};

use super::bars::Losses;
use super::scene::Scene;
use super::server::WORKERS;
use super::subject::Subject;

/// A row of the table before it is filled.
#[derive(Clone, Copy)]
pub(crate) struct Fault {
    pub(crate) name: &'static str,
    /// For the server's command line.
    pub(crate) options: &'static str,
    pub(crate) hits: usize,
    /// From hit to hit.
    pub(crate) every: Duration,
    /// The load stays on for so long after the last.
    pub(crate) tail: Duration,
    pub(crate) strike: Strike,
    /// Of handoff, if it does not salvage.
    pub(crate) losses: Losses,
    pub(crate) leaves: Leaves,
}

/// What a hit is; it is told which, from 0. Returns when it had its effect.
/// `Err`: a bar that was not reached.
type Strike = fn(&mut Scene, usize) -> Result<Instant, String>;

/// Who is there when it is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaves {
    /// The right number of workers.
    Workers,
    /// None that was there before.
    NewWorkers,
    /// Those that were there before.
    OldWorkers,
    Nobody,
}

impl Leaves {
    pub(crate) fn count(self) -> usize {
        match self {
            Leaves::Workers | Leaves::NewWorkers | Leaves::OldWorkers => {
                WORKERS
            }
            Leaves::Nobody => 0,
        }
    }
}

impl Fault {
    /// What it may cost. With salvage nothing, as long as there is a master.
    pub(crate) fn bar(&self, subject: Subject) -> Option<Losses> {
        match (subject, self.leaves) {
            (
                Subject::Handoff(_),
                Leaves::Workers | Leaves::NewWorkers | Leaves::OldWorkers,
            ) => Some(Losses::NotEvenIdle),
            (Subject::Handoff(_), Leaves::Nobody) => Some(self.losses),
            (Subject::NoSalvage, _) => Some(self.losses),
            (Subject::Nginx | Subject::Node, _) => None,
        }
    }
}

/// Those that this one can be struck with.
pub(crate) fn all(subject: Subject) -> Vec<Fault> {
    match subject {
        Subject::Handoff(_) | Subject::NoSalvage => {
            [EVERYBODYS, OURS].concat()
        }
        Subject::Nginx | Subject::Node => EVERYBODYS.to_vec(),
    }
}

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// What most rows have in common.
pub(crate) const QUIET: Fault = Fault {
    name: "none",
    options: "",
    hits: 0,
    every: ms(400),
    tail: ms(2500), // a worker that leaves waits 2 s for idle clients
    strike: |_, _| Ok(Instant::now()),
    losses: Losses::None,
    leaves: Leaves::Workers,
};

/// Whoever has a master and workers can be struck with these.
const EVERYBODYS: &[Fault] = &[
    Fault { tail: ms(5000), ..QUIET },
    KILL,
    SEGV,
    TERM,
    Fault { name: "kill -9, each 100 ms", hits: 40, every: ms(100), ..KILL },
    Fault {
        name: "kill -9 all workers",
        hits: 4,
        every: ms(1000),
        strike: |scene, _| scene.fell_all(),
        ..KILL
    },
    Fault {
        name: "SIGSTOP a worker 3 s",
        hits: 1,
        strike: |scene, _| scene.freeze(),
        ..QUIET
    },
    RELOAD,
    Fault {
        name: "TERM the master",
        hits: 1,
        tail: ms(500),
        strike: |scene, _| scene.stop(),
        leaves: Leaves::Nobody,
        ..QUIET
    },
    Fault {
        name: "kill -9 the master",
        hits: 1,
        tail: ms(500),
        strike: |scene, _| scene.behead(),
        losses: Losses::Any,
        leaves: Leaves::Nobody,
        ..QUIET
    },
];

/// These are too much for others, or name what handoff alone has.
const OURS: &[Fault] = &[
    Fault { name: "SEGV, each 100 ms", hits: 40, every: ms(100), ..SEGV },
    Fault { name: "TERM, each 100 ms", hits: 40, every: ms(100), ..TERM },
    Fault { name: "kill -9, each 46 ms", hits: 150, every: STORM, ..KILL },
    Fault { name: "SEGV, each 46 ms", hits: 150, every: STORM, ..SEGV },
    Fault {
        name: "SIGSTOP, --hang-timeout 1",
        hits: 1,
        options: "--hang-timeout 1",
        strike: |scene, _| scene.hang(),
        losses: Losses::InHand,
        ..QUIET
    },
    Fault {
        name: "reload ×40, each 100 ms",
        hits: 40,
        every: ms(100),
        ..RELOAD
    },
    Fault {
        name: "release that dies at start",
        strike: |scene, _| scene.release("exit 1"),
        ..RELEASE
    },
    Fault {
        name: "release that never listens",
        options: "--boot-timeout 0.5",
        strike: |scene, _| scene.release("exec sleep 60"),
        ..RELEASE
    },
    Fault {
        name: "scale up and down",
        hits: 4,
        every: ms(1000),
        strike: |scene, hit| scene.scale(hit),
        losses: Losses::OneCrossing,
        ..QUIET
    },
    Fault {
        name: "upgrade ×5 (USR2)",
        hits: 5,
        every: ms(1000),
        strike: |scene, _| scene.upgrade(),
        leaves: Leaves::NewWorkers,
        ..QUIET
    },
];

/// With what the scene adds, so that hits meet every beat of the clients, it
/// is 46 ms.
const STORM: Duration = ms(39);

pub(crate) const KILL: Fault = Fault {
    name: "kill -9 a worker",
    hits: 10,
    strike: |scene, hit| scene.fell("KILL", hit),
    losses: Losses::InHand,
    leaves: Leaves::NewWorkers,
    ..QUIET
};

const SEGV: Fault = Fault {
    name: "SEGV a worker",
    strike: |scene, hit| scene.fell("SEGV", hit),
    ..KILL
};

const TERM: Fault = Fault {
    name: "TERM a worker",
    strike: |scene, hit| scene.dismiss(hit),
    losses: Losses::OneCrossing,
    ..KILL
};

pub(crate) const RELOAD: Fault = Fault {
    name: "reload ×10",
    hits: 10,
    every: ms(500),
    strike: |scene, _| scene.reload(),
    losses: Losses::OneCrossing,
    leaves: Leaves::NewWorkers,
    ..QUIET
};

const RELEASE: Fault = Fault {
    hits: 2,
    every: ms(1500),
    losses: Losses::None,
    leaves: Leaves::OldWorkers,
    ..QUIET
};
