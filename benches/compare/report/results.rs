//! All that was measured, and where to find it.

use crate::bench::{Bench, Plan};
use crate::machine::{self, Facts};
use crate::measure::calls::{Calls, Counter};
use crate::measure::growth::curve::Curve;
use crate::measure::memory::Memory;
use crate::measure::rounds::Comparison;
use crate::servers::peer::Peer;
use crate::statistics::Spread;

/// See the module. What was not measured is empty.
#[derive(Debug)]
pub(crate) struct Results {
    pub(crate) facts: Facts,
    pub(crate) plan: Plan,
    /// Bytes of our replies: where a connection stays, where it ends.
    pub(crate) replies: (usize, usize),
    pub(crate) comparisons: Vec<Comparison>,
    pub(crate) calls: Vec<Calls>,
    pub(crate) memory: Vec<Memory>,
    pub(crate) curves: Vec<Curve>,
    pub(crate) notes: Vec<String>,
}

impl Results {
    pub(crate) fn new(bench: &Bench) -> Results {
        Results {
            facts: machine::describe(&bench.tools),
            plan: bench.plan.clone(),
            replies: bench.replies.lengths(),
            comparisons: Vec::new(),
            calls: Vec::new(),
            memory: Vec::new(),
            curves: Vec::new(),
            notes: Vec::new(),
        }
    }

    pub(crate) fn comparison(&self, scenario: &str) -> Option<&Comparison> {
        self.comparisons.iter().find(|one| one.scenario.name == scenario)
    }

    /// Our CPU time in terms of another's.
    pub(crate) fn ratio(&self, scenario: &str, other: Peer) -> Option<Spread> {
        self.comparison(scenario)?.ratio(Peer::Handoff, other)
    }

    /// What we call for a request.
    pub(crate) fn calls(&self, load: &str, by: Counter) -> Option<&Calls> {
        self.calls.iter().find(|one| {
            one.load == load
                && one.peer == Peer::Handoff
                && one.counted_by == by
        })
    }

    pub(crate) fn memory(&self, peer: Peer) -> Option<&Memory> {
        self.memory.iter().find(|one| one.peer == peer)
    }

    /// Failed connections and wrong answers of ours, under all loads.
    pub(crate) fn errors(&self) -> Option<Spread> {
        let entries = self.comparisons.iter().flat_map(|one| &one.entries);
        let entries = entries.filter(|entry| entry.peer.is_ours());
        let samples = entries.flat_map(|entry| &entry.samples);
        let errors: Vec<u64> = samples.map(|sample| sample.errors).collect();
        let sum = errors.iter().sum::<u64>() as f64;
        (!errors.is_empty()).then(|| Spread::exactly(sum))
    }
}
