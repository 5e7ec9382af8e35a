//! The workers that take connections now, and whose turn it is.
//!
//! Kept by the dispatcher, read by schedulers. A slot occurs at most once.
//! The turn belongs to the slot after the last one served, so a worker that
//! leaves or joins neither costs its neighbours a turn nor gives them two.

use std::ops::Deref;

use crate::WorkerId;

/// One worker in the rotation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    worker: WorkerId,
    slot: usize,
    open: u64,
    room: u64,
    skipped: u64,
    /// Where the dispatcher keeps this worker; see [`Rotation::relocate`].
    place: usize,
}

impl Candidate {
    pub(crate) fn new(
        worker: WorkerId,
        slot: usize,
        open: u64,
        room: u64,
        skipped: u64,
    ) -> Self {
        Self { worker, slot, open, room, skipped, place: 0 }
    }

    /// The process.
    pub fn worker(&self) -> WorkerId {
        self.worker
    }

    /// The position that the process fills, from 0; its successor fills the
    /// same one.
    pub fn slot(&self) -> usize {
        self.slot
    }

    /// Connections handed over and not yet closed, those of this turn
    /// included.
    pub fn open(&self) -> u64 {
        self.open
    }

    /// How many more connections it can be handed now.
    pub fn room(&self) -> u64 {
        self.room
    }

    /// Whether it can be handed a connection now.
    pub fn has_room(&self) -> bool {
        self.room > 0
    }

    /// How often it was passed over for want of room.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    pub(crate) fn place(&self) -> usize {
        self.place
    }
}

/// The workers that take connections now, sorted by slot: a slice of
/// [`Candidate`]s that also knows whose turn it is.
#[derive(Debug, Default)]
pub struct Rotation {
    candidates: Vec<Candidate>,
    /// The slot served last.
    last: Option<usize>,
    /// The index of the first slot after `last`; 0 if there is none.
    turn: usize,
    /// How many candidates have room.
    with_room: usize,
}

impl Deref for Rotation {
    type Target = [Candidate];

    fn deref(&self) -> &[Candidate] {
        &self.candidates
    }
}

impl Rotation {
    /// The index of the worker whose turn it is.
    pub fn turn(&self) -> usize {
        self.turn
    }

    /// Every index once, beginning with the one whose turn it is.
    pub fn in_turn(&self) -> impl Iterator<Item = usize> + use<> {
        (self.turn..self.candidates.len()).chain(0..self.turn)
    }

    /// Counts that the worker at `index` was passed over for want of room.
    /// An index past the end is ignored.
    pub fn skip(&mut self, index: usize) {
        if let Some(candidate) = self.candidates.get_mut(index) {
            candidate.skipped += 1;
        }
    }

    /// Whether anybody has room.
    pub(crate) fn has_room(&self) -> bool {
        self.with_room > 0
    }

    /// Takes one connection's room at `index`, which must have some, and
    /// moves the turn on.
    pub(crate) fn give(&mut self, index: usize) {
        let candidate = &mut self.candidates[index];
        candidate.open += 1;
        candidate.room -= 1;
        self.with_room -= usize::from(candidate.room == 0);
        self.last = Some(candidate.slot);
        self.turn = index + 1;
        if self.turn == self.candidates.len() {
            self.turn = 0;
        }
    }

    /// Sets the counts of `slot`'s worker. True if it was full and no longer
    /// is.
    pub(crate) fn update(
        &mut self,
        slot: usize,
        open: u64,
        room: u64,
    ) -> bool {
        let Some(index) = self.find(slot) else { return false };
        let candidate = &mut self.candidates[index];
        let (had, has) = (candidate.has_room(), room > 0);
        candidate.open = open;
        candidate.room = room;
        self.with_room -= usize::from(had && !has);
        self.with_room += usize::from(!had && has);
        !had && has
    }

    /// Adds a worker; its slot must be free.
    pub(crate) fn join(&mut self, candidate: Candidate) {
        let at = self.candidates.partition_point(|c| c.slot < candidate.slot);
        self.with_room += usize::from(candidate.has_room());
        self.candidates.insert(at, candidate);
        self.settle();
    }

    /// Removes the worker of `slot`, if there is one; returns how often it
    /// was skipped.
    pub(crate) fn leave(&mut self, slot: usize) -> u64 {
        let Some(index) = self.find(slot) else { return 0 };
        let candidate = self.candidates.remove(index);
        self.with_room -= usize::from(candidate.has_room());
        self.settle();
        candidate.skipped
    }

    /// How often the worker of `slot` was skipped.
    pub(crate) fn skipped(&self, slot: usize) -> u64 {
        self.find(slot).map_or(0, |index| self.candidates[index].skipped)
    }

    /// Tells every candidate where its worker is kept now.
    pub(crate) fn relocate(&mut self, place: impl Fn(WorkerId) -> usize) {
        for candidate in &mut self.candidates {
            candidate.place = place(candidate.worker);
        }
    }

    /// Finds the turn again after a change of members.
    fn settle(&mut self) {
        let served = |c: &Candidate| self.last.is_some_and(|l| c.slot <= l);
        self.turn = self.candidates.partition_point(served);
        if self.turn == self.candidates.len() {
            self.turn = 0;
        }
    }

    fn find(&self, slot: usize) -> Option<usize> {
        // With nobody away, slots and indices are the same numbers.
        match self.candidates.get(slot) {
            Some(candidate) if candidate.slot == slot => Some(slot),
            _ => self.candidates.binary_search_by_key(&slot, |c| c.slot).ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::rotation;
    use super::*;

    fn turn(rotation: &Rotation) -> usize {
        rotation[rotation.turn()].slot()
    }

    #[test]
    fn the_turn_goes_to_the_slot_after_the_last_one_served() {
        let mut r = rotation(&[(4, 0, 9), (0, 0, 9), (2, 0, 9)]);
        assert_eq!(turn(&r), 0);
        r.give(1);
        assert_eq!(turn(&r), 4);
        r.give(2);
        assert_eq!(turn(&r), 0);
    }

    #[test]
    fn joining_and_leaving_neither_repeats_nor_drops_a_turn() {
        let mut r = rotation(&[(0, 0, 9), (1, 0, 9), (2, 0, 9)]);
        r.give(1);
        r.leave(0);
        assert_eq!(turn(&r), 2);
        r.leave(1);
        assert_eq!(turn(&r), 2);
        r.join(Candidate::new(WorkerId(7), 1, 0, 9, 0));
        assert_eq!(turn(&r), 2, "the successor's slot has had its turn");
        r.leave(2);
        assert_eq!(turn(&r), 1);
    }

    #[test]
    fn in_turn_names_every_index_once() {
        let mut r = rotation(&[(0, 0, 9), (1, 0, 9), (2, 0, 9)]);
        r.give(0);
        assert_eq!(r.in_turn().collect::<Vec<_>>(), [1, 2, 0]);
        assert_eq!(Rotation::default().in_turn().count(), 0);
    }

    #[test]
    fn it_knows_whether_anybody_has_room() {
        let mut r = rotation(&[(0, 0, 1), (3, 0, 0)]);
        assert!(r.has_room());
        r.give(0);
        assert!(!r.has_room());
        assert!(r.update(3, 0, 2), "was full, is not");
        assert!(!r.update(3, 0, 3), "was not full");
        assert!(r.has_room());
        assert!(!r.update(3, 0, 0));
        assert!(!r.has_room());
        r.update(0, 0, 1);
        r.leave(0);
        assert!(!r.has_room());
        r.join(Candidate::new(WorkerId(8), 0, 0, 1, 0));
        assert!(r.has_room());
    }
}
