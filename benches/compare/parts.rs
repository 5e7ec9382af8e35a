//! The parts of a run, each with a name, and those that are wanted.

use crate::bench::Bench;
use crate::measure::{calls, growth, memory, rounds, scenario};
use crate::report::results::Results;
use crate::result::Result;

/// Every part beside the loads, which are [`scenario::ALL`].
const OTHERS: [&str; 3] = ["calls", "memory", "growth"];

/// The wanted ones by name; none named: all of them.
#[derive(Debug)]
pub(crate) struct Parts(Vec<String>);

impl Parts {
    pub(crate) fn new(named: Vec<String>) -> Result<Parts> {
        let scenarios = scenario::ALL.iter().map(|scenario| scenario.name);
        let all: Vec<&str> = scenarios.chain(OTHERS).collect();
        for part in &named {
            if !all.contains(&part.as_str()) {
                let all = all.join(", ");
                return Err(format!("there is no part {part}: {all}"));
            }
        }
        Ok(Parts(named))
    }

    pub(crate) fn are_all(&self) -> bool {
        self.0.is_empty()
    }

    fn wants(&self, part: &str) -> bool {
        self.are_all() || self.0.iter().any(|one| one == part)
    }

    /// Seconds that all wanted parts take, but for starts and ends.
    pub(crate) fn planned(&self, bench: &Bench) -> f64 {
        let mut seconds = 0.0;
        for scenario in &scenario::ALL {
            if self.wants(scenario.name) {
                seconds += rounds::planned(bench, scenario);
            }
        }
        for (part, planned) in [
            ("calls", calls::planned(bench)),
            ("memory", memory::planned(bench)),
            ("growth", growth::planned(bench)),
        ] {
            if self.wants(part) {
                seconds += planned;
            }
        }
        seconds
    }

    pub(crate) fn run(
        &self,
        bench: &mut Bench,
        results: &mut Results,
    ) -> Result<()> {
        for scenario in &scenario::ALL {
            if self.wants(scenario.name) {
                results.comparisons.push(rounds::compare(bench, scenario)?);
            }
        }
        if self.wants("calls") {
            results.calls = calls::count(bench)?;
        }
        if self.wants("memory") {
            results.memory = memory::measure(bench)?;
        }
        if self.wants("growth") {
            results.curves = growth::measure(bench)?;
        }
        Ok(())
    }
}
