//! What every part needs: the tools, the plan, the two CPUs, and how far we
//! are.

use std::path::{Path, PathBuf};

use crate::Result;
use crate::answer::Replies;
use crate::machine;
use crate::peers::Peer;
use crate::progress::Progress;
use crate::rounds;
use crate::scenario;
use crate::server::Server;
use crate::tools::Tools;
use crate::{calls, growth, memory};

/// Every part, in the order in which they run.
const PARTS: [&str; 7] =
    ["ka64", "ka512", "pipe16", "close64", "calls", "memory", "growth"];

/// How long and how often.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) quick: bool,
    /// Rounds of a comparison, and seconds of each of its measurements.
    pub(crate) rounds: usize,
    pub(crate) seconds: u32,
    /// The same for the curves.
    pub(crate) growth_rounds: usize,
    pub(crate) growth_seconds: u32,
    /// Where the servers run, and where wrk; `None`: wherever they like.
    pub(crate) cpus: Option<(usize, usize)>,
}

impl Plan {
    fn new(quick: bool, cpus: Option<(usize, usize)>) -> Plan {
        let (rounds, seconds) = if quick { (2, 1) } else { (7, 4) };
        let (growth_rounds, growth_seconds) =
            if quick { (1, 1) } else { (5, 2) };
        Plan { quick, rounds, seconds, growth_rounds, growth_seconds, cpus }
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) tools: Tools,
    pub(crate) plan: Plan,
    pub(crate) progress: Progress,
    /// What the reader of the results must know.
    pub(crate) notes: Vec<String>,
    /// What our server answers, for the floor to send.
    pub(crate) replies: Replies,
    parts: Vec<String>,
}

impl Bench {
    pub(crate) fn new(parts: Vec<String>) -> Result<Bench> {
        for part in &parts {
            if !PARTS.contains(&part.as_str()) {
                let all = PARTS.join(", ");
                return Err(format!("there is no part {part}: {all}"));
            }
        }
        let mut notes = Vec::new();
        let tools = Tools::find(&mut notes)?;
        let quick = std::env::var("QUICK")
            .is_ok_and(|value| !value.is_empty() && value != "0");
        let cpus = tools.taskset.as_ref().and_then(|_| machine::two_cpus());
        if cpus.is_none() {
            notes.push("Nothing was pinned to a CPU.".to_owned());
        }
        let mut bench = Bench {
            tools,
            plan: Plan::new(quick, cpus),
            progress: Progress::new(),
            notes,
            replies: Replies::default(),
            parts,
        };
        let server = Server::start(&bench, Peer::Handoff, 1)?;
        bench.replies = Replies::of(server.port())?;
        let planned = bench.planned();
        bench.progress.expect(planned);
        Ok(bench)
    }

    pub(crate) fn wants(&self, part: &str) -> bool {
        self.parts.is_empty() || self.parts.iter().any(|one| one == part)
    }

    /// Seconds that all wanted parts take, but for starts and ends.
    fn planned(&self) -> f64 {
        let mut seconds = 0.0;
        for scenario in &scenario::ALL {
            if self.wants(scenario.name) {
                seconds += rounds::planned(self, scenario);
            }
        }
        for (part, planned) in [
            ("calls", calls::planned(self)),
            ("memory", memory::planned(self)),
            ("growth", growth::planned(self)),
        ] {
            if self.wants(part) {
                seconds += planned;
            }
        }
        seconds
    }

    /// Notes what stands in the way of a part, which is left out.
    pub(crate) fn note(&mut self, note: String) {
        self.progress.say(&note);
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// Those that can be run here.
    pub(crate) fn present(&self, peers: &[Peer]) -> Vec<Peer> {
        let has = |peer: &Peer| peer.program(&self.tools).is_some();
        peers.iter().copied().filter(has).collect()
    }

    /// The kept results are those of a whole run.
    pub(crate) fn results_folder(&self) -> PathBuf {
        let kept = Path::new(env!("CARGO_MANIFEST_DIR"));
        let kept = kept.join("benches/results");
        let is_whole = self.parts.is_empty() && !self.plan.quick;
        if is_whole { kept } else { kept.join("quick") }
    }
}
