//! Random walks: suspects that come, probes that die of them or not, time
//! that passes. Whatever happens, each is tried alone, and tried or let go in
//! the end.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Copy, Debug)]
enum Step {
    /// So many suspects come, of the death of a worker that is none of ours.
    Come(u32),
    /// A worker has started.
    Start,
    /// The probe has answered something.
    Progress,
    /// The probe dies, of the one it hears if it hears one.
    NurseDies,
    /// Some other worker dies.
    OtherDies,
    /// So many milliseconds pass, and the master looks after the quarantine.
    Pass(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (1..4_u32).prop_map(Step::Come),
        3 => Just(Step::Start),
        6 => Just(Step::Progress),
        2 => Just(Step::NurseDies),
        1 => Just(Step::OtherDies),
        12 => (0..5_u64).prop_map(Step::Pass),
        2 => (0..15_000_u64).prop_map(Step::Pass),
    ];
    prop::collection::vec(step, 1..200)
}

/// Who is where, by number.
#[derive(Debug, Default)]
struct Model {
    waiting: BTreeSet<u32>,
    /// Who is being heard, since when, and what the probe had done then.
    heard: Option<(u32, u64, u64)>,
    probe: Option<u32>,
    /// Since when somebody waits and nobody comes, as far as was looked.
    alone_since: Option<u64>,
    came: u32,
    cleared: u32,
    dissolved: u32,
    workers: u32,
    now: u64,
    progress: u64,
}

impl Model {
    fn come(&mut self, quarantine: &mut Quarantine<u32>, suspect: u32) {
        quarantine.add(suspect);
        self.waiting.insert(suspect);
    }

    /// What the master does at every turn.
    fn attend(
        &mut self,
        quarantine: &mut Quarantine<u32>,
    ) -> Result<(), TestCaseError> {
        let now = Duration::from_millis(self.now);
        let left = quarantine.dissolve_if_deserted(now);
        let alone = self.probe.is_none() && !self.waiting.is_empty();
        if !alone {
            self.alone_since = None;
        } else {
            let since = *self.alone_since.get_or_insert(self.now);
            prop_assert_eq!(left.is_empty(), self.now < since + 10_000);
        }
        prop_assert!(left.is_empty() || alone);
        for suspect in left {
            prop_assert!(self.waiting.remove(&suspect), "never waited");
            self.dissolved += 1;
            self.alone_since = None;
        }
        quarantine.look(now, self.progress);
        if let Some((_, since, before)) = self.heard {
            let over = before != self.progress || self.now >= since + 1000;
            if over {
                self.heard = None;
                self.cleared += 1;
            }
        }
        let next = quarantine.next(now, self.progress);
        let may = self.probe.is_some() && self.heard.is_none();
        prop_assert_eq!(next.is_some(), may && !self.waiting.is_empty());
        if let Some(suspect) = next {
            prop_assert!(self.waiting.remove(&suspect), "heard twice");
            self.heard = Some((suspect, self.now, self.progress));
        }
        let idle = self.heard.is_none() && self.waiting.is_empty();
        let free = quarantine.discharge().map(|worker| worker.0);
        prop_assert_eq!(free, self.probe.filter(|_| idle));
        if idle {
            self.probe = None;
        }
        prop_assert_eq!(quarantine.probe().map(|worker| worker.0), self.probe);
        // Whoever is there has somebody who looks again.
        let someone = !self.waiting.is_empty() || self.heard.is_some();
        prop_assert_eq!(quarantine.deadline().is_some(), someone);
        prop_assert!(quarantine.deadline().is_none_or(|at| at > now));
        Ok(())
    }

    fn step(
        &mut self,
        quarantine: &mut Quarantine<u32>,
        step: Step,
    ) -> Result<(), TestCaseError> {
        match step {
            Step::Come(count) => {
                for _ in 0..count {
                    self.came += 1;
                    self.come(quarantine, self.came);
                }
            }
            Step::Start => {
                self.workers += 1;
                let needed = self.probe.is_none() && !self.waiting.is_empty();
                let is = quarantine.appoint(WorkerId(self.workers));
                prop_assert_eq!(is, needed);
                if needed {
                    self.probe = Some(self.workers);
                    self.alone_since = None;
                }
            }
            Step::Progress => self.progress += 1,
            Step::NurseDies => {
                let Some(probe) = self.probe.take() else { return Ok(()) };
                quarantine.lost(WorkerId(probe));
                // It is a suspect again, and the only one.
                if let Some((suspect, ..)) = self.heard.take() {
                    self.come(quarantine, suspect);
                }
            }
            Step::OtherDies => quarantine.lost(WorkerId(u32::MAX)),
            Step::Pass(milliseconds) => {
                self.now += milliseconds;
                self.attend(quarantine)?;
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn each_suspect_is_tried_alone_and_none_waits_for_ever(
        steps in steps(),
        probes in any::<bool>(),
    ) {
        let mut quarantine = Quarantine::new();
        let mut model = Model::default();
        for step in steps {
            model.step(&mut quarantine, step)?;
        }
        // From here on workers live, or there are none at all.
        let end = model.now + 11_000 + 1_001 * u64::from(model.came);
        while model.now < end {
            if probes {
                model.step(&mut quarantine, Step::Start)?;
            }
            model.step(&mut quarantine, Step::Pass(500))?;
        }
        prop_assert!(model.waiting.is_empty(), "{:?}", model);
        prop_assert!(model.heard.is_none());
        prop_assert_eq!(model.cleared + model.dissolved, model.came);
    }
}
