//! Which connection of a worker has which slot.
//!
//! ```text
//!   free ──▶ sent ──── received ────▶ lent ──▶ released: free
//!              └ not received: free     └────▶ the worker is dead: judged
//! ```
//!
//! A slot is the worker's from the sending on, until the worker gives it
//! back. What the worker says of it is checked: it can give back what it has,
//! once.

use std::collections::VecDeque;

/// A slot that does not exist: its connection is not guarded.
pub(crate) const UNGUARDED: u32 = u32::MAX;

/// The slots of one worker. `C` is the master's copy of a connection, and
/// what is known of it.
#[derive(Debug)]
pub(crate) struct SlotTable<C> {
    /// Slots that exist.
    slots: u32,
    /// By slot, as far as any was ever used.
    table: Vec<SlotState<C>>,
    /// The last to become free is the first to be taken: it is still in the
    /// cache.
    free: Vec<u32>,
    /// Of the connections that are on their way, the oldest first: the slot,
    /// and the inbound buffer that comes with it.
    sent: VecDeque<(u32, Option<u32>)>,
    /// Inbound buffers that are not on their way.
    inbound: Vec<u32>,
}

/// Who has a slot.
#[derive(Debug)]
enum SlotState<C> {
    Free,
    Sent,
    Lent(C),
}

impl<C> SlotTable<C> {
    /// For a worker with so many slots, none if it is not guarded, and inbound
    /// buffers.
    pub(crate) fn new(slots: u32, inbound: u32) -> SlotTable<C> {
        SlotTable {
            slots,
            // It costs nothing before it is touched, as in `slab`.
            table: Vec::with_capacity(slots as usize),
            free: Vec::new(),
            sent: VecDeque::new(),
            inbound: (0..inbound).rev().collect(),
        }
    }

    /// Whether connections are guarded at all.
    pub(crate) fn is_there(&self) -> bool {
        self.slots > 0
    }

    /// A slot for a connection that is to be sent; [`UNGUARDED`] if there is
    /// none. Followed by [`sent`](Self::sent) or
    /// [`unused`](Self::unused).
    pub(crate) fn take(&mut self) -> u32 {
        if let Some(slot) = self.free.pop() {
            return slot;
        }
        let next = self.table.len() as u32;
        if next >= self.slots {
            return UNGUARDED;
        }
        self.table.push(SlotState::Free);
        next
    }

    /// An inbound buffer to go with it.
    pub(crate) fn take_inbound(&mut self) -> Option<u32> {
        self.inbound.pop()
    }

    /// The next connection was sent with this slot, and this inbound buffer.
    pub(crate) fn sent(&mut self, slot: u32, inbound: Option<u32>) {
        if let Some(state) = self.table.get_mut(slot as usize) {
            *state = SlotState::Sent;
        }
        self.sent.push_back((slot, inbound));
    }

    /// How many are on their way, slots or not.
    pub(crate) fn on_their_way(&self) -> usize {
        self.sent.len()
    }

    /// Nothing was sent with these.
    pub(crate) fn unused(&mut self, slot: u32, inbound: Option<u32>) {
        self.inbound.extend(inbound);
        if let Some(state) = self.table.get_mut(slot as usize) {
            *state = SlotState::Free;
            self.free.push(slot);
        }
    }

    /// The worker has the oldest that was on its way, of which this is the
    /// copy. Gives back a copy that is not needed.
    pub(crate) fn received(&mut self, copy: C) -> Option<C> {
        let Some((slot, inbound)) = self.sent.pop_front() else {
            return Some(copy);
        };
        self.inbound.extend(inbound);
        match self.table.get_mut(slot as usize) {
            Some(state) => {
                *state = SlotState::Lent(copy);
                None
            }
            None => Some(copy),
        }
    }

    /// Of those on their way only the oldest `count` are: the worker will not
    /// look at the others.
    pub(crate) fn keep_sent(&mut self, count: usize) {
        while self.sent.len() > count {
            if let Some((slot, inbound)) = self.sent.pop_back() {
                self.unused(slot, inbound);
            }
        }
    }

    /// The worker gives a slot back. `None`: it had no such slot, and lies.
    pub(crate) fn released(&mut self, slot: u32) -> Option<C> {
        let state = self.table.get_mut(slot as usize)?;
        match std::mem::replace(state, SlotState::Free) {
            SlotState::Lent(copy) => {
                self.free.push(slot);
                Some(copy)
            }
            SlotState::Sent => {
                *state = SlotState::Sent;
                None
            }
            SlotState::Free => None,
        }
    }

    /// Our copies of what the worker has, by slot.
    pub(crate) fn lent(&self) -> impl Iterator<Item = (u32, &C)> {
        (0..).zip(&self.table).filter_map(|(slot, state)| match state {
            SlotState::Lent(copy) => Some((slot, copy)),
            SlotState::Free | SlotState::Sent => None,
        })
    }

    /// The worker is dead: all that it had, by slot.
    pub(crate) fn take_all(&mut self) -> Vec<(u32, C)> {
        self.sent.clear();
        self.free.clear();
        let table = std::mem::take(&mut self.table);
        // A slot may not be used any more.
        self.slots = 0;
        (0..)
            .zip(table)
            .filter_map(|(slot, state)| match state {
                SlotState::Lent(copy) => Some((slot, copy)),
                SlotState::Free | SlotState::Sent => None,
            })
            .collect()
    }
}

#[cfg(test)]
mod model;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_free_sent_lent_and_free_again() {
        let mut slot_table = SlotTable::new(8, 2);
        let slot = slot_table.take();
        slot_table.sent(slot, None);
        assert_eq!(slot_table.released(slot), None, "not received yet");
        assert_eq!(slot_table.received('a'), None);
        assert_eq!(slot_table.released(slot), Some('a'));
        assert_eq!(slot_table.released(slot), None, "nothing is given twice");
        assert_eq!(slot_table.take(), slot);
    }

    #[test]
    fn without_a_slot_a_connection_is_not_guarded() {
        let mut slot_table = SlotTable::new(1, 2);
        let (first, second) = (slot_table.take(), slot_table.take());
        assert_eq!(second, UNGUARDED);
        slot_table.sent(first, None);
        slot_table.sent(second, None);
        assert_eq!(slot_table.received('a'), None);
        assert_eq!(slot_table.received('b'), Some('b'));
        assert_eq!(slot_table.released(UNGUARDED), None);
    }

    #[test]
    fn what_the_worker_will_not_look_at_frees_its_slots() {
        let mut slot_table = SlotTable::<char>::new(8, 2);
        let slots: Vec<u32> = (0..4).map(|_| slot_table.take()).collect();
        slots.iter().for_each(|&slot| slot_table.sent(slot, None));
        slot_table.keep_sent(1);
        assert_eq!(slot_table.received('a'), None);
        assert_eq!(slot_table.received('b'), Some('b'), "on no list");
        let again: Vec<u32> = (0..3).map(|_| slot_table.take()).collect();
        assert_eq!(again, [1, 2, 3]);
    }

    #[test]
    fn an_inbound_buffer_comes_back_with_its_connection() {
        let mut slot_table = SlotTable::<char>::new(8, 1);
        let slot = slot_table.take();
        let inbound = slot_table.take_inbound();
        assert!(inbound.is_some() && slot_table.take_inbound().is_none());
        slot_table.unused(slot, inbound);
        let (slot, inbound) = (slot_table.take(), slot_table.take_inbound());
        slot_table.sent(slot, inbound);
        assert!(slot_table.take_inbound().is_none());
        slot_table.received('a');
        assert_eq!(slot_table.take_inbound(), inbound);
        slot_table.sent(slot_table.slots, inbound);
        slot_table.keep_sent(0);
        assert_eq!(slot_table.take_inbound(), inbound);
    }

    #[test]
    fn a_dead_worker_leaves_what_it_had_and_no_more() {
        let mut slot_table = SlotTable::new(8, 2);
        for copy in ['a', 'b', 'c'] {
            let slot = slot_table.take();
            slot_table.sent(slot, None);
            slot_table.received(copy);
        }
        let slot = slot_table.take();
        slot_table.sent(slot, None);
        slot_table.released(1);
        assert_eq!(slot_table.take_all(), [(0, 'a'), (2, 'c')]);
        assert_eq!(slot_table.take(), UNGUARDED);
    }
}
