//! What four words say about a connection, whenever its worker stopped.
//!
//! ```text
//!   done    output:32 input:32   answered so far: places in the two streams
//!   next    output:32 input:32   ≠ done: the bytes up to here are the answer
//!                                to the request bytes up to here
//!   begun   flags:32  input:32   a handler has seen the request there
//!   place   flags:8 buffer:24 base:32
//!                                which buffers, and what their first byte is
//! ```
//!
//! and what one word of that shared buffer says: `read`, how many bytes the
//! worker knows that it has read, from the shared buffer's first one on. A
//! worker stores all of them in this order, each store whole or not at all,
//! and a death falls between two of them:
//!
//! | it stores or does | and dies after that: |
//! |---|---|
//! | `place`, then reads | idle, or in hand: the kernel knows how many bytes |
//! | `read` | in hand, as many bytes as it says |
//! | `begun`, then calls the handler | asked again, or 502 |
//! | the answer into the shared buffer, `next` | the next worker writes it |
//! | writes some of it | the next worker writes the rest |
//! | `done` = `next` | idle |
//! | to close: no `done`; shutdown, close | the end |
//! | to break off: no `next`; reset, close | as in the middle of an answer |
//!
//! *What the kernel has counted is checked.* There are features by which it
//! counts other bytes than a worker was given (`sys::tcp`), and a connection
//! on which that happened is not to bring anybody a byte that its client has
//! not sent. Fewer than `read` cannot be: [`Verdict::Reset`]. More may be, if
//! the worker died between the reading and the store. Behind what was read a
//! shared buffer is all zeros, since it is wiped before another connection has
//! it; so bytes of which only the kernel speaks, and of which the last is a
//! zero, may be none, and others with something else than a zero behind them
//! are not all: they are not passed on ([`Transfer::is_sound`]).
//!
//! Places are counted modulo 2³² as the kernel's counters are, so a connection
//! may live for ever. To the master the words are a stranger's: [`judge`]
//! takes any, and what is not possible is [`Verdict::Reset`].

/// Bytes of requests that a shared buffer holds: those of a connection that
/// are not answered.
pub(crate) const INPUT: usize = 8 << 10;

/// Bytes of answers that a shared buffer holds: one batch of them.
pub(crate) const OUTPUT: usize = 24 << 10;

/// A place in both streams of a connection: bytes sent to the client, and
/// bytes read from it, modulo 2³².
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) output: u32,
    pub(crate) input: u32,
}

impl Position {
    pub(crate) fn from_word(word: u64) -> Position {
        Position { output: (word >> 32) as u32, input: word as u32 }
    }

    pub(crate) fn to_word(self) -> u64 {
        u64::from(self.output) << 32 | u64::from(self.input)
    }

    /// So many bytes further. More than a connection has in hand at a time
    /// would be no place any more.
    pub(crate) fn plus(self, output: usize, input: usize) -> Position {
        Position {
            output: self.output.wrapping_add(output as u32),
            input: self.input.wrapping_add(input as u32),
        }
    }
}

/// That a handler has seen the request at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Begun {
    pub(crate) input: u32,
    /// To ask another worker the same does no harm.
    pub(crate) replayable: bool,
}

impl Begun {
    const SET: u64 = 1 << 32;
    const REPLAYABLE: u64 = 1 << 33;

    pub(crate) fn from_word(word: u64) -> Option<Begun> {
        (word & Self::SET != 0).then_some(Begun {
            input: word as u32,
            replayable: word & Self::REPLAYABLE != 0,
        })
    }

    pub(crate) fn to_word(self) -> u64 {
        let replayable = if self.replayable { Self::REPLAYABLE } else { 0 };
        Self::SET | replayable | u64::from(self.input)
    }
}

/// Where the bytes of a connection are, and what is special about them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// Which of this worker's shared buffers the connection has.
    pub(crate) buffer: Option<u32>,
    /// Where in the stream the first byte of the shared buffer's input stands;
    /// if there is no shared buffer, up to where the worker has read.
    pub(crate) base: u32,
    /// The request outgrew the shared buffer: what was read is in no shared
    /// memory.
    pub(crate) spilled: bool,
    /// The answer is in no shared memory either; its length is in `next`.
    pub(crate) unbacked: bool,
    /// The answer is the last of the connection.
    pub(crate) closing: bool,
    /// The answer is the rest of one that another worker has begun to write.
    pub(crate) rest: bool,
}

impl Place {
    const NUMBER: u64 = (1 << 24) - 1;
    const SPILLED: u64 = 1 << 56;
    const UNBACKED: u64 = 1 << 57;
    const CLOSING: u64 = 1 << 58;
    const REST: u64 = 1 << 59;

    pub(crate) fn from_word(word: u64) -> Place {
        let number = (word >> 32 & Self::NUMBER) as u32;
        Place {
            buffer: number.checked_sub(1),
            base: word as u32,
            spilled: word & Self::SPILLED != 0,
            unbacked: word & Self::UNBACKED != 0,
            closing: word & Self::CLOSING != 0,
            rest: word & Self::REST != 0,
        }
    }

    pub(crate) fn to_word(self) -> u64 {
        let flag = |is: bool, bit: u64| if is { bit } else { 0 };
        let number = self.buffer.map_or(0, |buffer| u64::from(buffer) + 1);
        u64::from(self.base)
            | (number & Self::NUMBER) << 32
            | flag(self.spilled, Self::SPILLED)
            | flag(self.unbacked, Self::UNBACKED)
            | flag(self.closing, Self::CLOSING)
            | flag(self.rest, Self::REST)
    }
}

/// The words of a slot, as they were found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Words {
    pub(crate) done: u64,
    pub(crate) next: u64,
    pub(crate) begun: u64,
    pub(crate) place: u64,
}

/// What the kernel says of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kernel {
    /// It goes on. How many bytes were ever given to the kernel to send, and
    /// taken from it, modulo 2³².
    Open { given: u32, taken: u32 },
    /// It goes on, and the kernel does not count: a unix-domain socket.
    Uncounted,
    /// Somebody has ended it.
    Over,
}

/// What is to become of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Another worker is to have it.
    Moves(Transfer),
    /// It was asked what may not be asked twice, and nothing of an answer is
    /// left: the client is to be told (502).
    Lost { done: Position },
    /// All of its last answer is with the kernel.
    End,
    /// It cannot be made whole, and the client must not take what it has for
    /// an answer.
    Reset,
    /// It was over already.
    Gone,
}

/// A stretch of a buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stretch {
    pub(crate) start: usize,
    pub(crate) length: usize,
}

impl Stretch {
    /// Nothing is nowhere.
    fn of(start: usize, length: usize) -> Stretch {
        let start = if length == 0 { 0 } else { start };
        Stretch { start, length }
    }
}

/// What another worker needs to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Transfer {
    pub(crate) done: Position,
    pub(crate) next: Position,
    /// What was read and is not answered, in the input of the shared buffer.
    pub(crate) input: Stretch,
    /// Only the kernel says that the last bytes of `input` were read.
    pub(crate) doubtful: bool,
    /// What is to be written first, in the output of the shared buffer.
    pub(crate) output: Stretch,
    /// The connection ends when `output` is written.
    pub(crate) closing: bool,
    /// A handler has seen some of what was read.
    pub(crate) begun: bool,
    /// An answer that existed is with the kernel, all of it.
    pub(crate) answered: bool,
}

impl Transfer {
    /// From here on, with nothing in hand.
    fn at(done: Position) -> Transfer {
        Transfer {
            done,
            next: done,
            input: Stretch::default(),
            doubtful: false,
            output: Stretch::default(),
            closing: false,
            begun: false,
            answered: false,
        }
    }

    /// Whether these bytes, which stand where `input` says, are the client's,
    /// and all that was read: a zero at the end of what nobody knows to have
    /// been read may be what the wiping of the shared buffer has left, and
    /// what is no zero behind it was read as well.
    pub(crate) fn is_sound(&self, input: &[u8], behind: &[u8]) -> bool {
        let may_be_none = self.doubtful && input.last() == Some(&0);
        !may_be_none && behind.first().is_none_or(|&byte| byte == 0)
    }
}

/// Says where the connection stands. `read`: what the shared buffer that
/// `place` names says of itself, 0 if it names none. `sound`: its worker did
/// not die of an access to memory that was not its own, so that an answer
/// nobody has seen anything of yet is what the handler made it.
pub(crate) fn judge(
    words: Words,
    read: u64,
    kernel: Kernel,
    sound: bool,
) -> Verdict {
    let case = Case {
        done: Position::from_word(words.done),
        next: Position::from_word(words.next),
        begun: Begun::from_word(words.begun),
        place: Place::from_word(words.place),
        read,
    };
    match kernel {
        Kernel::Over => Verdict::Gone,
        Kernel::Uncounted => case.uncounted(),
        Kernel::Open { given, taken } => case.counted(given, taken, sound),
    }
}

/// Where something is that was read.
enum Input {
    /// In the shared buffer.
    On(Stretch),
    /// In memory of the worker's own.
    Lost,
    /// That cannot be.
    Nowhere,
}

/// The words, understood.
struct Case {
    done: Position,
    next: Position,
    begun: Option<Begun>,
    place: Place,
    read: u64,
}

impl Case {
    fn counted(&self, given: u32, taken: u32, sound: bool) -> Verdict {
        let Case { done, next, place, .. } = *self;
        let held = distance(done.input, taken);
        let written = distance(done.output, given);
        if self.known() > held {
            return Verdict::Reset;
        }
        if next == done {
            return match written {
                0 => self.unanswered(held),
                // Part of something of which nobody knows how long it is.
                _ => Verdict::Reset,
            };
        }
        let length = distance(done.output, next.output);
        let consumed = distance(done.input, next.input);
        if written > length || consumed > held {
            return Verdict::Reset;
        }
        let rest = length - written;
        if rest == 0 && place.closing {
            return Verdict::End;
        }
        let backed =
            place.buffer.is_some() && !place.unbacked && length <= OUTPUT;
        let may_be_remade = !sound
            && written == 0
            && self
                .begun_within(done.input, held)
                .is_some_and(|begun| begun.replayable);
        if rest > 0 && (!backed || may_be_remade) {
            return match written {
                0 if !place.rest => self.unanswered(held),
                _ => Verdict::Reset,
            };
        }
        let tail = held - consumed;
        let (input, closing) = match self.input(next.input, tail) {
            // What the client has sent behind its last request is nothing.
            _ if place.closing => (Stretch::default(), true),
            Input::On(input) => (input, false),
            // Requests behind this one are lost; a client asks those again
            // whose connection ends before an answer (RFC 9112 §9.3.1).
            Input::Lost if rest == 0 => return Verdict::End,
            Input::Lost => (Stretch::default(), true),
            Input::Nowhere => return Verdict::Reset,
        };
        Verdict::Moves(Transfer {
            done: Position { output: given, input: next.input },
            next,
            input,
            doubtful: self.known() < held,
            output: Stretch::of(written, rest),
            closing,
            begun: !closing && self.begun_within(next.input, tail).is_some(),
            answered: rest == 0,
        })
    }

    /// How many bytes behind `done` the worker knows that it has read, on the
    /// shared buffer or not. Of one that was just wiped it knows less than was
    /// answered.
    fn known(&self) -> usize {
        let Case { done, place, read, .. } = *self;
        match place.buffer {
            Some(_) => usize::try_from(read)
                .unwrap_or(usize::MAX)
                .saturating_sub(distance(place.base, done.input)),
            None if place.spilled => distance(done.input, place.base),
            None => 0,
        }
    }

    /// Where the bytes lie that were read from a place in the stream on.
    fn input(&self, from: u32, length: usize) -> Input {
        let place = self.place;
        if length == 0 && (place.spilled || place.buffer.is_none()) {
            return Input::On(Stretch::default());
        }
        if place.spilled {
            return Input::Lost;
        }
        let start = distance(place.base, from);
        let end = start.checked_add(length).filter(|&end| end <= INPUT);
        match place.buffer.and(end) {
            Some(_) => Input::On(Stretch { start, length }),
            None => Input::Nowhere,
        }
    }

    /// No answer of which anything is known to be written.
    fn unanswered(&self, held: usize) -> Verdict {
        let Case { done, .. } = *self;
        let begun = self.begun_within(done.input, held);
        match self.input(done.input, held) {
            Input::Nowhere => Verdict::Reset,
            Input::On(input) if begun.is_none_or(|begun| begun.replayable) => {
                Verdict::Moves(Transfer {
                    input,
                    doubtful: self.known() < held,
                    begun: begun.is_some(),
                    ..Transfer::at(done)
                })
            }
            Input::On(_) | Input::Lost => Verdict::Lost { done },
        }
    }

    /// What was begun in these bytes; older marks are never taken back.
    fn begun_within(&self, from: u32, length: usize) -> Option<Begun> {
        self.begun.filter(|begun| distance(from, begun.input) < length)
    }

    /// Without counters nobody knows what was read, nor what was written.
    fn uncounted(&self) -> Verdict {
        let Case { done, next, place, .. } = *self;
        if place.buffer.is_none() && !place.spilled {
            return Verdict::Moves(Transfer::at(done));
        }
        let behind = 1 << 31;
        if next != done || place.unbacked {
            return Verdict::Reset;
        }
        match self.begun_within(done.input, behind) {
            Some(_) => Verdict::Lost { done },
            None => Verdict::End,
        }
    }
}

/// How far it is from one place in a stream to a later one.
fn distance(from: u32, to: u32) -> usize {
    to.wrapping_sub(from) as usize
}

#[cfg(test)]
mod tests;
