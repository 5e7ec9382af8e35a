//! A connection on its way from one worker to another: all that the next one
//! has to know of it, and nothing else.

use super::recovery::{INPUT, OUTPUT, Place, Position, Transfer, Words};
use crate::ipc::message;

/// What a client is told whose request was lost. No length but 0 fits every
/// method, HEAD among them.
const BAD_GATEWAY: &[u8] = b"HTTP/1.1 502 Bad Gateway\r\n\
    Content-Length: 0\r\nConnection: close\r\n\r\n";

// The limits of a replay. A *replay* is a request begun anew after its worker
// died, of whatever (a request that draws the OOM killer is killed each time);
// a *try* is a death of which the request was the only suspect.
//
// | limit | then |
// |---|---|
// | 3 tries | 502 |
// | 5 replays | tried alone from now on: neighbours are replayed as often |
// | 10 replays, the last of them alone | 502 |
// | 20 replays | 502: the request was never alone, and that is enough |
const MOST_TRIES: u8 = 3;
const MANY_REPLAYS: u8 = 5;
const MOST_REPLAYS: u8 = 10;
const FAR_TOO_MANY_REPLAYS: u8 = 2 * MOST_REPLAYS;

/// See the [module](self).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Snapshot {
    pub(crate) done: Position,
    /// Beyond `done` when `output` is the rest of an answer.
    pub(crate) next: Position,
    /// What was read from the client and is not answered.
    pub(crate) input: Vec<u8>,
    /// What is to be written before anything else.
    pub(crate) output: Vec<u8>,
    /// The connection ends when `output` is written.
    pub(crate) closing: bool,
    pub(crate) record: Record,
}

/// What is held against the request that is in hand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Record {
    /// How often the request was begun and not finished.
    pub(crate) replays: u8,
    /// How often no other request can have killed its worker.
    pub(crate) tries: u8,
}

impl Record {
    /// Whether it has had all its chances. `alone`: it was the only one in
    /// hand when its last worker died.
    pub(crate) fn is_convicted(self, alone: bool) -> bool {
        self.tries >= MOST_TRIES
            || (alone && self.replays >= MOST_REPLAYS)
            || self.replays >= FAR_TOO_MANY_REPLAYS
    }

    /// Whether it is to be tried alone although none of its workers died by
    /// its own fault.
    pub(crate) fn is_suspicious(self) -> bool {
        self.replays >= MANY_REPLAYS
    }
}

impl Snapshot {
    /// What a transfer speaks of, with the bytes that it names.
    pub(crate) fn of(
        transfer: &Transfer,
        input: Vec<u8>,
        output: Vec<u8>,
    ) -> Snapshot {
        let Transfer { done, next, closing, .. } = *transfer;
        let record = Record::default();
        Snapshot { done, next, input, output, closing, record }
    }

    /// What a client gets instead of an answer to what was lost.
    pub(crate) fn apology(done: Position) -> Snapshot {
        Snapshot {
            done,
            next: done.plus(BAD_GATEWAY.len(), 0),
            output: BAD_GATEWAY.to_vec(),
            closing: true,
            ..Snapshot::default()
        }
    }

    /// In the words in which one master tells another.
    pub(crate) fn to_message(&self) -> message::Snapshot<'static> {
        message::Snapshot {
            done: self.done.to_word(),
            next: self.next.to_word(),
            input: to_hex(&self.input).into(),
            output: to_hex(&self.output).into(),
            closing: self.closing,
            record: (self.record.replays, self.record.tries),
        }
    }

    /// `None`: it is not what a master says, or more than a shared buffer
    /// holds.
    pub(crate) fn from_message(
        message: &message::Snapshot<'_>,
    ) -> Option<Snapshot> {
        let input = from_hex(&message.input)?;
        let output = from_hex(&message.output)?;
        let (replays, tries) = message.record;
        let fits = input.len() <= INPUT && output.len() <= OUTPUT;
        fits.then_some(Snapshot {
            done: Position::from_word(message.done),
            next: Position::from_word(message.next),
            input,
            output,
            closing: message.closing,
            record: Record { replays, tries },
        })
    }

    /// Nothing has to be carried but two numbers.
    pub(crate) fn is_light(&self) -> bool {
        self.input.is_empty() && self.output.is_empty()
    }

    /// The words of its slot, for the worker that is to have it; `inbound` is
    /// where its bytes are. In place of a mark there are the lengths.
    pub(crate) fn words(&self, inbound: Option<u32>) -> Words {
        let (input, output) = (self.input.len(), self.output.len());
        Words {
            done: self.done.to_word(),
            next: self.next.to_word(),
            begun: lengths_to_word(input, output),
            place: self.place(inbound).to_word(),
        }
    }

    fn place(&self, buffer: Option<u32>) -> Place {
        let (base, closing) = (self.done.input, self.closing);
        Place { buffer, base, closing, ..Place::default() }
    }
}

fn to_hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from(b"0123456789abcdef"[nibble as usize]);
    bytes.iter().flat_map(|b| [digit(b >> 4), digit(b & 15)]).collect()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let nibble = |digit: u8| char::from(digit).to_digit(16);
    let pair = |pair: &[u8]| match pair {
        [high, low] => Some((nibble(*high)? << 4 | nibble(*low)?) as u8),
        _ => None,
    };
    text.as_bytes().chunks(2).map(pair).collect()
}

/// The lengths of a snapshot's two parts in one word.
fn lengths_to_word(input: usize, output: usize) -> u64 {
    (output as u64) << 32 | input as u64
}

/// And back.
pub(crate) fn lengths_from_word(word: u64) -> (usize, usize) {
    (word as u32 as usize, (word >> 32) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_apology_is_an_answer_like_any_other() {
        let done = Position { output: u32::MAX, input: 7 };
        let snapshot = Snapshot::apology(done);
        assert!(snapshot.closing);
        let length = snapshot.next.output.wrapping_sub(snapshot.done.output);
        assert_eq!(length as usize, snapshot.output.len());
        assert_eq!(snapshot.next.input, 7);
    }

    #[test]
    fn a_snapshot_survives_the_way_to_another_master() {
        let snapshot = Snapshot {
            done: Position { output: 1, input: 2 },
            next: Position { output: 4, input: 2 },
            input: (0..=255).collect(),
            output: vec![b'x'; 3],
            closing: true,
            record: Record { replays: 3, tries: 1 },
        };
        assert_eq!(
            Snapshot::from_message(&snapshot.to_message()),
            Some(snapshot)
        );
        for odd in ["0", "0g", "é0", "000"] {
            let input = odd.into();
            let message =
                message::Snapshot { input, ..message::Snapshot::default() };
            assert_eq!(Snapshot::from_message(&message), None, "{odd}");
        }
        let output = "00".repeat(OUTPUT + 1).into();
        let large =
            message::Snapshot { output, ..message::Snapshot::default() };
        assert_eq!(Snapshot::from_message(&large), None);
    }

    #[test]
    fn a_neighbour_is_not_convicted_before_it_was_tried_alone() {
        let beside = Record { replays: MOST_REPLAYS, tries: 0 };
        assert!(!beside.is_convicted(false) && beside.is_suspicious());
        assert!(beside.is_convicted(true));
        let once = Record { replays: 1, tries: 1 };
        assert!(!once.is_convicted(true) && !once.is_suspicious());
        let guilty = Record { replays: 3, tries: MOST_TRIES };
        assert!(guilty.is_convicted(true));
        let endless = Record { replays: FAR_TOO_MANY_REPLAYS, tries: 0 };
        assert!(endless.is_convicted(false));
    }

    #[test]
    fn lengths_survive_their_word() {
        for lengths in [(0, 0), (8192, 0), (0, 24576), (1, 2)] {
            let word = lengths_to_word(lengths.0, lengths.1);
            assert_eq!(lengths_from_word(word), lengths);
        }
    }
}
