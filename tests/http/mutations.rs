//! The pairs of files again, bent at random but always in the same ways: a
//! fuzzer that runs with the tests.

use crate::{files, transcript::tell};

/// Xorshift: good enough to bend bytes, and the same every time.
struct Dice(u64);

impl Dice {
    /// Below `sides`.
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides.max(1) as u64) as usize
    }

    fn bend(&mut self, bytes: &mut Vec<u8>, other: &[u8]) {
        const SHARP: &[u8] = b"\r\n\r\n\0 \t:;,#%/09af\x7f\x80\xff";
        let at = self.roll(bytes.len());
        let end = (at + 1 + self.roll(8)).min(bytes.len());
        match self.roll(6) {
            0 if !bytes.is_empty() => {
                bytes[at] = SHARP[self.roll(SHARP.len())];
            }
            1 if !bytes.is_empty() => bytes[at] ^= 1 << self.roll(8),
            2 => bytes.insert(at, SHARP[self.roll(SHARP.len())]),
            3 => drop(bytes.drain(at..end)),
            4 => {
                let again = bytes[at..end].to_vec();
                bytes.splice(at..at, again);
            }
            _ => {
                bytes.truncate(at);
                bytes.extend_from_slice(&other[self.roll(other.len())..]);
            }
        }
    }
}

#[test]
fn bent_requests_tell_one_story_however_they_are_cut() {
    let mut cases = files::cases("valid");
    cases.extend(files::cases("invalid"));
    cases.retain(|(_, bytes)| bytes.len() < 2000);
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for _ in 0..4000 {
        let (_, other) = &cases[dice.roll(cases.len())];
        let mut bytes = cases[dice.roll(cases.len())].1.clone();
        for _ in 0..=dice.roll(3) {
            dice.bend(&mut bytes, other);
        }
        let shown = bytes.escape_ascii();
        let whole = tell(std::iter::once(&bytes[..]));
        assert_eq!(whole, tell(bytes.chunks(1)), "byte by byte: {shown}");
        let pieces = bytes.chunks(1 + dice.roll(bytes.len()));
        assert_eq!(whole, tell(pieces), "in pieces: {shown}");
    }
}
