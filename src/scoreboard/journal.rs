//! What a worker writes down of every connection that it has, where the
//! master finds it should the worker die.
//!
//! ```text
//!   a page     the counters, and the head of the list of slots given back
//!   slots      four words each (`salvage::recovery`)
//!   inbound    buffers that the master fills before it sends a connection
//!   read       a word for each shared buffer: how much a client sent into it
//!   shared     buffers of those with something in hand: 8 KiB of what
//!              was read, 24 KiB of what is to be written
//! ```
//!
//! No shared buffer belongs to an idle connection, and what nobody has touched
//! does not exist. A shared buffer that is in nobody's use is all zeros, and
//! its word is 0: whoever has used one wipes it, so that no byte of one client
//! stands in what another gets.
//!
//! *Giving back.* A worker that has ended a connection, or wants another to
//! have it, puts the slot on a list, whose links are the slots themselves.
//! The master takes the whole list at once. Nothing can overflow, and a worker
//! that dies in between has lost nothing: what is not on the list is judged.

use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::compiler_fence;

use super::Scoreboard;
use crate::salvage::recovery::{INPUT, OUTPUT, Stretch, Transfer, Words};
use crate::salvage::snapshot::Snapshot;
use crate::sys::memory::{self, Arena};

/// Connections of one worker that can be guarded at a time.
pub(crate) const SLOTS: u32 = 1 << 16;

/// Snapshots with bytes in them that can be on their way to one worker.
pub(crate) const INBOUND_BUFFERS: u32 = 64;

/// Connections of one worker that can be guarded while they have something in
/// hand.
const BUFFERS: usize = 16 << 10;

const WORD: usize = size_of::<u64>();
const BUFFER: usize = (INPUT + OUTPUT) / WORD;

/// The head of the list of slots that were given back. In a line of its own:
/// both sides write it.
const RETURNED: usize = 24;

const FIRST_SLOT: usize = 4096 / WORD;
const FIRST_INBOUND: usize = FIRST_SLOT + 4 * SLOTS as usize;
const FIRST_READ: usize = FIRST_INBOUND + INBOUND_BUFFERS as usize * BUFFER;
const FIRST_BUFFER: usize = FIRST_READ + BUFFERS;
pub(super) const END: usize = FIRST_BUFFER + BUFFERS * BUFFER;

/// One of the words of a slot.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Word {
    Done,
    Next,
    Begun,
    Place,
}

impl Word {
    fn index(self, slot: u32) -> usize {
        FIRST_SLOT + 4 * slot as usize + self as usize
    }
}

/// A slot that was given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Return {
    pub(crate) slot: u32,
    /// The connection goes on; otherwise it was ended.
    pub(crate) lives: bool,
}

/// A link of the list, which stands in the word `begun`: no mark of a begun
/// request looks like it.
const LIVES: u64 = 1 << 63;

fn link(to: u64, lives: bool) -> u64 {
    to | if lives { LIVES } else { 0 }
}

/// Both ends.
impl Scoreboard {
    /// Whether connections are guarded.
    pub(crate) fn is_guarded(&self) -> bool {
        self.region.words() >= END
    }
}

/// The worker's end.
impl Scoreboard {
    /// The store is whole or not there at all, and comes after everything
    /// that the program did before.
    pub(crate) fn write(&self, slot: u32, word: Word, value: u64) {
        self.store(word.index(slot), value);
    }

    /// So many bytes were read from a client since the first one of a shared
    /// buffer's input. As [`write`](Self::write).
    pub(crate) fn note_read(&self, buffer: u32, bytes: usize) {
        self.store(FIRST_READ + buffer as usize, bytes as u64);
    }

    fn store(&self, index: usize, value: u64) {
        #[cfg(test)]
        crate::sys::rehearsal::ask(|stage| stage.instant());
        self.region.word(index).store(value, Release);
        // What comes later must not be moved before it either. That is a
        // matter of the compiler alone: a process that is dead has done what
        // comes first in its program, and not what comes later.
        compiler_fence(AcqRel);
        #[cfg(test)]
        crate::sys::rehearsal::ask(|stage| stage.instant());
    }

    pub(crate) fn read(&self, slot: u32, word: Word) -> u64 {
        self.region.word(word.index(slot)).load(Relaxed)
    }

    /// What the master sends along with a connection. It is taken out: the
    /// inbound buffer is for another connection then.
    pub(crate) fn open_inbound(
        &self,
        inbound: u32,
        half: Half,
        length: usize,
    ) -> Vec<u8> {
        let (first, most) = half.of(FIRST_INBOUND, inbound % INBOUND_BUFFERS);
        let bytes = self.region.copy_out(first, length.min(most));
        self.region.wipe(first, bytes.len());
        bytes
    }

    /// Gives slots back, which from here on are the master's.
    pub(crate) fn give_back(&self, slots: &[Return]) {
        let head = self.region.word(RETURNED);
        let Some(first) = slots.first() else { return };
        for pair in slots.windows(2) {
            let to = u64::from(pair[1].slot) + 1;
            let word = link(to, pair[0].lives);
            self.write(pair[0].slot, Word::Begun, word);
        }
        let last = slots[slots.len() - 1];
        let mut present = head.load(Relaxed);
        loop {
            self.write(last.slot, Word::Begun, link(present, last.lives));
            let new = u64::from(first.slot) + 1;
            match head.compare_exchange_weak(present, new, AcqRel, Relaxed) {
                Ok(_) => return,
                Err(other) => present = other,
            }
        }
    }

    /// The shared buffers, for the one process that uses them.
    pub(crate) fn buffers(&'static self) -> SharedBuffers {
        let arena = self.region.arena(FIRST_BUFFER, BUFFER);
        SharedBuffers { arena, made: 0, free: Vec::new() }
    }
}

/// The master's end.
impl Scoreboard {
    pub(crate) fn words(&self, slot: u32) -> Words {
        let read =
            |word: Word| self.region.word(word.index(slot)).load(Acquire);
        Words {
            done: read(Word::Done),
            next: read(Word::Next),
            begun: read(Word::Begun),
            place: read(Word::Place),
        }
    }

    /// How many bytes from a shared buffer's first one on its worker knows
    /// that it has read. That is the worker's word; there is none for a shared
    /// buffer that is none.
    pub(crate) fn read_so_far(&self, buffer: u32) -> u64 {
        match (buffer as usize) < BUFFERS {
            true => {
                self.region.word(FIRST_READ + buffer as usize).load(Acquire)
            }
            false => 0,
        }
    }

    /// Fills a slot that is the master's.
    pub(crate) fn set_words(&self, slot: u32, words: Words) {
        let write = |word: Word, value| {
            self.region.word(word.index(slot)).store(value, Release);
        };
        write(Word::Done, words.done);
        write(Word::Next, words.next);
        write(Word::Begun, words.begun);
        write(Word::Place, words.place);
    }

    /// Fills an inbound buffer that is the master's.
    pub(crate) fn fill_inbound(&self, inbound: u32, half: Half, bytes: &[u8]) {
        let (first, most) = half.of(FIRST_INBOUND, inbound);
        self.region.copy_in(first, &bytes[..bytes.len().min(most)]);
    }

    /// What a verdict moves, with the bytes that stand in a shared buffer for
    /// it. `None`: there is no such place, or what stands there is not what
    /// the client has sent.
    pub(crate) fn pack(
        &self,
        buffer: Option<u32>,
        transfer: &Transfer,
    ) -> Option<Snapshot> {
        let read = |half, stretch: Stretch| match stretch.length {
            0 => Some(Vec::new()),
            _ => self.read_buffer(buffer?, half, stretch),
        };
        let input = read(Half::Input, transfer.input)?;
        let output = read(Half::Output, transfer.output)?;
        let end = transfer.input.start + transfer.input.length;
        let behind = Stretch { start: end, length: 1 };
        let behind = buffer
            .filter(|_| end < INPUT && !transfer.closing)
            .and_then(|buffer| self.read_buffer(buffer, Half::Input, behind));
        let sound = transfer.is_sound(&input, &behind.unwrap_or_default());
        sound.then(|| Snapshot::of(transfer, input, output))
    }

    /// A copy of what stands in a shared buffer; `None` if there is no such
    /// place.
    pub(crate) fn read_buffer(
        &self,
        buffer: u32,
        half: Half,
        stretch: Stretch,
    ) -> Option<Vec<u8>> {
        let (first, most) = half.of(FIRST_BUFFER, buffer);
        let Stretch { start, length } = stretch;
        let end = start.checked_add(length).filter(|&end| end <= most)?;
        if buffer as usize >= BUFFERS {
            return None;
        }
        let mut bytes = self.region.copy_out(first, end);
        bytes.drain(..start);
        Some(bytes)
    }

    /// Takes the list of slots that were given back: call
    /// [`next_returned`](Self::next_returned) on and on.
    pub(crate) fn take_returned(&self) -> u64 {
        let head = self.region.word(RETURNED);
        match head.load(Relaxed) {
            0 => 0,
            _ => head.swap(0, AcqRel),
        }
    }

    /// The first of a list, which is the rest of it from then on. The list is
    /// the worker's word: it may name any slot, and need not end; nor need
    /// there be slots.
    pub(crate) fn next_returned(&self, list: &mut u64) -> Option<Return> {
        let slot = (*list as u32).checked_sub(1)?;
        if slot >= SLOTS || !self.is_guarded() {
            *list = 0;
            return Some(Return { slot, lives: false });
        }
        let word = self.region.word(Word::Begun.index(slot)).load(Acquire);
        *list = word & !LIVES;
        Some(Return { slot, lives: word & LIVES != 0 })
    }
}

/// One of the two halves of a shared buffer.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Half {
    Input,
    Output,
}

impl Half {
    /// Its first word, and how many bytes it has.
    fn of(self, first_buffer: usize, number: u32) -> (usize, usize) {
        let start = first_buffer + number as usize * BUFFER;
        match self {
            Half::Input => (start, INPUT),
            Half::Output => (start + INPUT / WORD, OUTPUT),
        }
    }
}

/// Two buffers of the worker's that the master can read.
#[derive(Debug)]
pub(crate) struct SharedBuffer {
    pub(crate) number: u32,
    pub(crate) input: &'static mut [u8],
    pub(crate) output: &'static mut [u8],
}

/// The shared buffers that are not in use.
#[derive(Debug)]
pub(crate) struct SharedBuffers {
    arena: Arena,
    made: u32,
    free: Vec<SharedBuffer>,
}

impl SharedBuffers {
    /// One of them, if there is another.
    pub(crate) fn take(&mut self) -> Option<SharedBuffer> {
        if let Some(buffer) = self.free.pop() {
            return Some(buffer);
        }
        let (input, output) = self.arena.allocate()?.split_at_mut(INPUT);
        let number = self.made;
        self.made += 1;
        Some(SharedBuffer { number, input, output })
    }

    /// It is not in use any more; its memory goes back to the system, if the
    /// system takes it. Either way nothing is left on it.
    pub(crate) fn put_away(&mut self, buffer: SharedBuffer) {
        for part in [&mut *buffer.input, &mut *buffer.output] {
            if let Err(error) = memory::discard(part) {
                log::debug!("memory is kept: {error}");
                part.fill(0);
            }
        }
        self.free.push(buffer);
    }
}

#[cfg(test)]
mod hostile;

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    fn pair() -> (Scoreboard, &'static Scoreboard) {
        let (master, fd) = Scoreboard::create(true).unwrap();
        let worker = Scoreboard::open(fd.as_fd()).unwrap().unwrap();
        (master, Box::leak(Box::new(worker)))
    }

    fn returned(master: &Scoreboard) -> Vec<Return> {
        let mut list = master.take_returned();
        std::iter::from_fn(|| master.next_returned(&mut list)).collect()
    }

    #[test]
    fn a_board_is_guarded_if_it_was_made_so() {
        let (master, worker) = pair();
        assert!(master.is_guarded() && worker.is_guarded());
        assert!(!Scoreboard::create(false).unwrap().0.is_guarded());
    }

    #[test]
    fn each_side_reads_the_words_of_the_other() {
        let (master, worker) = pair();
        let words = Words { done: 1, next: 2, begun: 3, place: 4 };
        master.set_words(SLOTS - 1, words);
        assert_eq!(worker.read(SLOTS - 1, Word::Begun), 3);
        worker.write(SLOTS - 1, Word::Next, 9);
        assert_eq!(master.words(SLOTS - 1), Words { next: 9, ..words });
        assert_eq!(master.words(SLOTS - 2), Words::default());
    }

    #[test]
    fn slots_given_back_are_found_once() {
        let (master, worker) = pair();
        let back = |slot, lives| Return { slot, lives };
        worker.give_back(&[]);
        assert_eq!(returned(&master), []);
        worker.give_back(&[back(5, false)]);
        worker.give_back(&[back(0, true), back(7, false)]);
        let expected = [back(0, true), back(7, false), back(5, false)];
        assert_eq!(returned(&master), expected);
        assert_eq!(returned(&master), []);
    }

    #[test]
    fn a_list_that_leads_nowhere_ends() {
        let (master, worker) = pair();
        worker.region.word(RETURNED).store(u64::from(SLOTS) + 1, Release);
        let stray = Return { slot: SLOTS, lives: false };
        assert_eq!(returned(&master), [stray]);
    }

    #[test]
    fn a_list_where_there_are_no_slots_leads_nowhere() {
        let (master, fd) = Scoreboard::create(false).unwrap();
        let worker = Scoreboard::open(fd.as_fd()).unwrap().unwrap();
        worker.region.word(RETURNED).store(1, Release);
        let stray = Return { slot: 0, lives: false };
        assert_eq!(returned(&master), [stray]);
    }

    #[test]
    fn a_shared_buffer_is_read_within_its_bounds_only() {
        let (master, worker) = pair();
        let mut buffers = worker.buffers();
        let buffer = buffers.take().unwrap();
        buffer.input[1..4].copy_from_slice(b"abc");
        buffer.output[OUTPUT - 1] = b'z';
        let read = |half, start, length| {
            master.read_buffer(0, half, Stretch { start, length })
        };
        assert_eq!(read(Half::Input, 1, 3).unwrap(), b"abc");
        assert_eq!(read(Half::Output, OUTPUT - 1, 1).unwrap(), b"z");
        assert_eq!(read(Half::Output, OUTPUT - 1, 2), None);
        assert_eq!(read(Half::Input, usize::MAX, 2), None);
        let far = Stretch { start: 0, length: 1 };
        let beyond = BUFFERS as u32;
        assert_eq!(master.read_buffer(beyond, Half::Input, far), None);
        buffers.put_away(buffer);
        assert_eq!(read(Half::Input, 1, 3).unwrap(), [0; 3]);
        assert_eq!(buffers.take().unwrap().number, 0);
        assert_eq!(buffers.take().unwrap().number, 1);
    }

    #[test]
    fn an_inbound_buffer_arrives() {
        let (master, worker) = pair();
        let last = INBOUND_BUFFERS - 1;
        master.fill_inbound(last, Half::Input, b"GET / HTTP/1.1\r\n");
        master.fill_inbound(last, Half::Output, b"rest");
        let input = worker.open_inbound(last, Half::Input, 3);
        assert_eq!(input, b"GET");
        let output = worker.open_inbound(last, Half::Output, usize::MAX);
        assert_eq!(&output[..5], b"rest\0");
    }
}
