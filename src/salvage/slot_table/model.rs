//! Random walks beside a naive model: a list of who has what, searched anew
//! at each step.

use proptest::prelude::*;

use super::*;

/// Few, so that there are none left often.
const SLOTS: u32 = 6;
const INBOUND_BUFFERS: u32 = 3;

#[derive(Clone, Copy, Debug)]
enum Step {
    /// One is sent, with an inbound buffer if it is heavy and there is one.
    Send {
        heavy: bool,
    },
    /// One could not be sent.
    Fail {
        heavy: bool,
    },
    Receive,
    /// Of those on their way, the worker will look at so many only.
    Keep(usize),
    /// It gives a slot back, that it has or has not.
    Release(u32),
    Die,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => any::<bool>().prop_map(|heavy| Step::Send { heavy }),
        2 => any::<bool>().prop_map(|heavy| Step::Fail { heavy }),
        8 => Just(Step::Receive),
        1 => (0..4_usize).prop_map(Step::Keep),
        6 => (0..SLOTS + 1).prop_map(Step::Release),
        1 => Just(Step::Release(UNGUARDED)),
    ];
    let last = prop::option::of(Just(Step::Die));
    (prop::collection::vec(step, 1..200), last).prop_map(|(mut all, last)| {
        all.extend(last);
        all
    })
}

/// What is known of the worker, without a thought of how.
#[derive(Default)]
struct Model {
    /// Slot, inbound buffer, in the order of sending.
    on_the_way: Vec<(u32, Option<u32>)>,
    /// Slot and copy.
    has: Vec<(u32, u64)>,
    copies: u64,
}

impl Model {
    fn slot_is_free(&self, slot: u32) -> bool {
        let sent = self.on_the_way.iter().any(|&(other, _)| other == slot);
        !sent && !self.has.iter().any(|&(other, _)| other == slot)
    }

    fn inbound_is_free(&self, inbound: u32) -> bool {
        !self.on_the_way.iter().any(|&(_, other)| other == Some(inbound))
    }

    fn has_free_slot(&self) -> bool {
        (0..SLOTS).any(|slot| self.slot_is_free(slot))
    }

    fn has_free_inbound(&self) -> bool {
        (0..INBOUND_BUFFERS).any(|inbound| self.inbound_is_free(inbound))
    }

    /// Takes a seat, which must be nobody's; none only if there is none.
    fn seat(
        &self,
        slot_table: &mut SlotTable<u64>,
        heavy: bool,
    ) -> Result<(u32, Option<u32>), TestCaseError> {
        let slot = slot_table.take();
        prop_assert_eq!(slot != UNGUARDED, self.has_free_slot());
        prop_assert!(slot == UNGUARDED || slot < SLOTS);
        prop_assert!(slot == UNGUARDED || self.slot_is_free(slot));
        let inbound = if heavy { slot_table.take_inbound() } else { None };
        prop_assert_eq!(inbound.is_some(), heavy && self.has_free_inbound());
        prop_assert!(
            inbound.is_none_or(|inbound| self.inbound_is_free(inbound))
        );
        Ok((slot, inbound))
    }

    fn step(
        &mut self,
        slot_table: &mut SlotTable<u64>,
        step: Step,
    ) -> Result<(), TestCaseError> {
        match step {
            Step::Send { heavy } => {
                let (slot, inbound) = self.seat(slot_table, heavy)?;
                slot_table.sent(slot, inbound);
                self.on_the_way.push((slot, inbound));
            }
            Step::Fail { heavy } => {
                let (slot, inbound) = self.seat(slot_table, heavy)?;
                slot_table.unused(slot, inbound);
            }
            Step::Receive => {
                self.copies += 1;
                let back = slot_table.received(self.copies);
                let first = !self.on_the_way.is_empty();
                let first = first.then(|| self.on_the_way.remove(0));
                match first.filter(|&(slot, _)| slot != UNGUARDED) {
                    Some((slot, _)) => {
                        prop_assert_eq!(back, None);
                        self.has.push((slot, self.copies));
                    }
                    None => prop_assert_eq!(back, Some(self.copies)),
                }
            }
            Step::Keep(count) => {
                slot_table.keep_sent(count);
                self.on_the_way.truncate(count);
            }
            Step::Release(slot) => {
                let at = self.has.iter().position(|&(is, _)| is == slot);
                let expected = at.map(|at| self.has.remove(at).1);
                prop_assert_eq!(slot_table.released(slot), expected);
            }
            Step::Die => {
                let mut left = slot_table.take_all();
                left.sort_unstable();
                self.has.sort_unstable();
                prop_assert_eq!(&left, &self.has);
                prop_assert_eq!(slot_table.take(), UNGUARDED);
                prop_assert!(slot_table.take_all().is_empty());
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_slot_and_no_inbound_buffer_is_anybodys_twice_or_lost(steps in steps()) {
        let mut slot_table = SlotTable::new(SLOTS, INBOUND_BUFFERS);
        let mut model = Model::default();
        for step in steps {
            model.step(&mut slot_table, step)?;
        }
    }
}
