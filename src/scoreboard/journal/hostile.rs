//! A worker that has turned hostile writes anything anywhere: the master reads
//! it, in bounds and to an end.

use std::os::fd::AsFd;
use std::sync::atomic::Ordering::SeqCst;

use proptest::prelude::*;

use super::*;
use crate::salvage::slot_table::SlotTable;
use crate::salvage::snapshot::lengths_from_word;

thread_local! {
    static BOARD: Scoreboard = Scoreboard::create(true).unwrap().0;
}

/// A link: to a slot that exists, to one that does not, or no link at all.
fn links() -> impl Strategy<Value = u64> {
    prop_oneof![
        6 => (0..20_u64, any::<bool>()).prop_map(|(to, lives)| {
            link(to, lives)
        }),
        1 => u64::from(SLOTS) - 1..u64::from(SLOTS) + 3,
        1 => any::<u64>(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// The list may be a ring: each step takes a slot that was lent, or is
    /// the last.
    #[test]
    fn a_list_of_slots_ends_when_nothing_is_lent_any_more(
        head in links(),
        begun in prop::collection::vec(links(), 20),
        lent in 0..16_u32,
    ) {
        BOARD.with(|board| {
            for (slot, word) in (0..).zip(begun) {
                board.write(slot, Word::Begun, word);
            }
            let mut slot_table = SlotTable::new(SLOTS, INBOUND_BUFFERS);
            for number in 0..lent {
                let slot = slot_table.take();
                slot_table.sent(slot, None);
                slot_table.received(number);
            }
            let mut list = head;
            let mut found = 0;
            while let Some(back) = board.next_returned(&mut list) {
                if slot_table.released(back.slot).is_none() {
                    break;
                }
                found += 1;
            }
            let left = slot_table.take_all().len();
            prop_assert_eq!(found + left, lent as usize);
            Ok(())
        })?;
    }

    #[test]
    fn no_number_leads_out_of_the_shared_buffers(
        buffer in prop_oneof![any::<u32>(), 0..BUFFERS as u32 + 2],
        start in prop_oneof![any::<usize>(), 0..OUTPUT + 9],
        length in prop_oneof![any::<usize>(), 0..OUTPUT + 9],
    ) {
        BOARD.with(|board| {
            let stretch = Stretch { start, length };
            for (half, most) in
                [(Half::Input, INPUT), (Half::Output, OUTPUT)]
            {
                let there = (buffer as usize) < BUFFERS
                    && start.checked_add(length).is_some_and(|e| e <= most);
                let bytes = board.read_buffer(buffer, half, stretch);
                let read = bytes.map(|bytes| bytes.len());
                prop_assert_eq!(read, there.then_some(length));
            }
            Ok(())
        })?;
    }

    #[test]
    fn no_number_leads_out_of_the_inbound_buffers(
        inbound in any::<u32>(),
        lengths in any::<u64>(),
    ) {
        BOARD.with(|board| {
            let (input, output) = lengths_from_word(lengths);
            let bytes = board.open_inbound(inbound, Half::Input, input);
            prop_assert_eq!(bytes.len(), input.min(INPUT));
            let bytes = board.open_inbound(inbound, Half::Output, output);
            prop_assert_eq!(bytes.len(), output.min(OUTPUT));
            Ok(())
        })?;
    }
}

/// A worker that dies anywhere in giving back has lost nothing: what is on no
/// list is as it was.
#[test]
fn a_list_that_is_half_made_is_no_list() {
    let (master, fd) = Scoreboard::create(true).unwrap();
    let worker = Scoreboard::open(fd.as_fd()).unwrap().unwrap();
    let back = |slot| Return { slot, lives: true };
    worker.give_back(&[back(1), back(2)]);
    let head = master.region.word(RETURNED).load(SeqCst);
    // Of the next three, all links but not the head.
    worker.write(3, Word::Begun, link(5, true));
    worker.write(4, Word::Begun, link(head, true));
    let mut list = master.take_returned();
    let found = std::iter::from_fn(|| master.next_returned(&mut list));
    assert_eq!(found.collect::<Vec<_>>(), [back(1), back(2)]);
    assert_eq!(master.take_returned(), 0);
}
