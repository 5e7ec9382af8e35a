//! What a worker writes down of one client's work, and when, so that another
//! can go on with it at any moment (`salvage::recovery`).
//!
//! ```text
//!   open    before anything is read     place
//!   read    when something was read     the shared buffer's word
//!   begins  before a handler sees it    begun
//!   answer  before anything is written  the answer in the shared buffer, next
//!   settle  when all is written         done
//!   close   when nothing is in hand, and the shared buffer is wiped
//!                                       the shared buffer's word, place
//! ```
//!
//! Each is one store, and nothing is ever taken back. What is not noted as
//! read only the kernel knows of, which must not be believed in everything
//! ([`Transfer::is_sound`](crate::salvage::recovery::Transfer)). A connection
//! that is to be closed is not settled: were it, its worker could die before
//! it closes, and the next would take it for an idle one.
//!
//! What is special about an answer, that it is the last or in no shared
//! buffer, is said by flags in `place` before `next` tells of the answer.
//! Between the two stores the flags also hold for the answer before, if that
//! is not settled, and would be wrong of it. Therefore the answer before is
//! settled first.

use crate::http::{Closing, RequestLog};
use crate::salvage::recovery::{Begun, OUTPUT, Place, Position};
use crate::scoreboard::{Scoreboard, Word};

/// See the [module](self).
#[derive(Debug)]
pub(super) struct IntentLog {
    board: &'static Scoreboard,
    slot: u32,
    done: Position,
    place: Place,
    /// Bytes that were read since the first one of the shared buffer.
    read: usize,
    /// Bytes of answers since `done`.
    made: usize,
    /// How many bytes of those answers are written.
    written: usize,
    /// Bytes of the requests that those answers belong to, as `next` says;
    /// `None`: there is no answer, or the last is not whole yet.
    answered: Option<usize>,
    /// Some bytes of an answer were written down before the answer was whole:
    /// they are in no shared buffer.
    partial: bool,
}

impl IntentLog {
    /// Something is about to be in hand, in this shared buffer if there is
    /// one.
    pub(super) fn open(
        board: &'static Scoreboard,
        slot: u32,
        buffer: Option<u32>,
    ) -> IntentLog {
        let intents = IntentLog::new(board, slot, buffer);
        intents.store_place();
        intents
    }

    /// The same, with so many bytes of input in the shared buffer that
    /// somebody else has read, and of an answer that somebody else has made.
    pub(super) fn take_over(
        board: &'static Scoreboard,
        slot: u32,
        buffer: Option<u32>,
        (input, output): (usize, usize),
        closing: bool,
    ) -> IntentLog {
        board.write(slot, Word::Begun, 0);
        let mut intents = IntentLog::new(board, slot, buffer);
        match buffer {
            Some(_) => intents.note_read(input),
            None => intents.place.base = intents.done.plus(0, input).input,
        }
        intents.made = output;
        intents.answered = (output > 0).then_some(0);
        intents.place.closing = closing;
        intents.place.rest = output > 0 && buffer.is_none();
        intents.store_place();
        intents
    }

    fn new(
        board: &'static Scoreboard,
        slot: u32,
        buffer: Option<u32>,
    ) -> IntentLog {
        let done = Position::from_word(board.read(slot, Word::Done));
        let spilled = buffer.is_none();
        let base = done.input;
        let place = Place { buffer, base, spilled, ..Place::default() };
        IntentLog {
            board,
            slot,
            done,
            place,
            read: 0,
            made: 0,
            written: 0,
            answered: None,
            partial: false,
        }
    }

    /// So many bytes more have been read.
    pub(super) fn read(&mut self, bytes: usize) {
        if self.place.buffer.is_some() {
            return self.note_read(self.read + bytes);
        }
        self.place.base = self.place.base.wrapping_add(bytes as u32);
        self.store_place();
    }

    fn note_read(&mut self, bytes: usize) {
        self.read = bytes;
        if let Some(buffer) = self.place.buffer {
            self.board.note_read(buffer, bytes);
        }
    }

    /// What is in hand is in another shared buffer, so many bytes from what is
    /// not settled on; the one before it is not in use any more.
    pub(super) fn move_to(&mut self, buffer: u32, bytes: usize) {
        let before = self.place.buffer.replace(buffer);
        self.note_read(bytes);
        self.place.base = self.done.input;
        self.store_place();
        if let Some(before) = before {
            self.board.note_read(before, 0);
        }
    }

    /// What is read from here on is in no shared buffer.
    pub(super) fn spill(&mut self) {
        self.place.spilled = true;
        self.store_place();
    }

    /// What was read and is not settled is at the beginning of the shared
    /// buffer, so many bytes.
    pub(super) fn unspill(&mut self, bytes: usize) {
        self.note_read(bytes);
        self.place.spilled = false;
        self.place.base = self.done.input;
        self.store_place();
    }

    /// Whether all that was read is where another can find it.
    pub(super) fn is_whole(&self) -> bool {
        !self.place.spilled
    }

    /// `pending` is what waits to be written, of which the end may be new.
    /// It answers so many bytes of those that were read. `partial`: it is
    /// part of an answer that goes on. `end`: it is the last. Returns how much
    /// of it is written down, and so may be written.
    pub(super) fn answer(
        &mut self,
        pending: &[u8],
        answered: usize,
        buffer: Option<&mut [u8]>,
        partial: bool,
        end: Option<Closing>,
    ) -> usize {
        let known = self.made - self.written;
        let new = &pending[known..];
        // What breaks off is never whole.
        let partial = partial || end == Some(Closing::Reset);
        // An answer may turn out to be whole without another byte.
        let ends = self.made > 0 && self.answered.is_none() && !partial;
        if new.is_empty() && !ends {
            return known;
        }
        let made = self.made + new.len();
        let in_part = self.partial || partial;
        let fits = made <= OUTPUT && !self.place.unbacked && !in_part;
        let buffer = buffer.filter(|_| fits);
        let mut place = self.place;
        place.closing = end.is_some();
        place.unbacked |= buffer.is_none();
        if place != self.place {
            // `next` speaks of what is known already, for which the place is
            // as it should be: that goes first.
            if known > 0 && self.answered.is_some() {
                return known;
            }
            self.place = place;
            self.store_place();
        }
        if let Some(buffer) = buffer {
            buffer[self.made..made].copy_from_slice(new);
        }
        self.partial = in_part;
        self.made = made;
        self.answered = (!partial).then_some(answered);
        if let Some(answered) = self.answered {
            self.store(Word::Next, self.done.plus(made, answered));
        }
        pending.len()
    }

    /// Bytes of answers that stand in the shared buffer.
    pub(super) fn in_buffer(&self) -> usize {
        if self.place.unbacked { 0 } else { self.made }
    }

    /// So many bytes of it are written.
    pub(super) fn wrote(&mut self, count: usize) {
        self.written += count;
    }

    /// All that was written down is written. If that is an answer to
    /// something that goes on, it is so many bytes of those that were read.
    pub(super) fn settle(&mut self) -> Option<usize> {
        if self.place.closing {
            return None;
        }
        let answered = self.answered.take()?;
        self.done = self.done.plus(self.made, answered);
        self.store(Word::Done, self.done);
        if self.place.unbacked || self.place.rest {
            self.place.unbacked = false;
            self.place.rest = false;
            self.store_place();
        }
        self.made = 0;
        self.written = 0;
        self.partial = false;
        Some(answered)
    }

    /// The connection is over: what was in hand is nowhere.
    pub(super) fn end(&mut self) {
        self.note_read(0);
        let base = self.done.input;
        let (spilled, unbacked) = (true, true);
        self.place = Place { base, spilled, unbacked, ..Place::default() };
        self.store_place();
    }

    /// Nothing is in hand any more, and the shared buffer is somebody else's.
    pub(super) fn close(&mut self) {
        self.note_read(0);
        self.place = Place::default();
        self.store_place();
    }

    fn store(&self, word: Word, position: Position) {
        self.board.write(self.slot, word, position.to_word());
    }

    fn store_place(&self) {
        self.board.write(self.slot, Word::Place, self.place.to_word());
    }
}

impl RequestLog for IntentLog {
    fn begins(&self, at: usize, replayable: bool) {
        let input = self.done.plus(0, at).input;
        let begun = Begun { input, replayable };
        self.board.write(self.slot, Word::Begun, begun.to_word());
    }
}
