//! Where the master looks what there is to know of a guarded connection.

use std::num::NonZeroU32;

/// The number of a slot, in four bytes also if there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot(NonZeroU32);

impl Slot {
    /// `None` for a number that is no slot's.
    pub(super) fn new(number: u32) -> Option<Slot> {
        NonZeroU32::new(number.wrapping_add(1)).map(Slot)
    }

    pub(super) fn number(self) -> u32 {
        self.0.get() - 1
    }
}
