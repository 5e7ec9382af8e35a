//! What every part of a run needs: the tools, the plan, the two CPUs, and how
//! far we are. What the parts are is not known here.

use crate::machine;
use crate::progress::Progress;
use crate::result::Result;
use crate::shape::Replies;
use crate::tools::Tools;

/// A machine at rest has less to do.
const BUSY: f64 = 1.0;

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
}

impl Bench {
    /// Without the replies, which a server has to be asked for.
    pub(crate) fn new() -> Result<Bench> {
        let mut notes = Vec::new();
        let tools = Tools::find(&mut notes)?;
        let quick = std::env::var("QUICK")
            .is_ok_and(|value| !value.is_empty() && value != "0");
        let cpus = tools.taskset.as_ref().and_then(|_| machine::two_cpus());
        if cpus.is_none() {
            notes.push("Nothing was pinned to a CPU.".to_owned());
        }
        let load = machine::load();
        if load > BUSY {
            notes.push(format!(
                "The machine was busy with something else (load {load}): \
                 trust ratios to the floor, and nothing else."
            ));
        }
        Ok(Bench {
            tools,
            plan: Plan::new(quick, cpus),
            progress: Progress::new(),
            notes,
            replies: Replies::default(),
        })
    }

    /// Notes what stands in the way of a part, which is left out.
    pub(crate) fn note(&mut self, note: String) {
        self.progress.say(&note);
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }
}
