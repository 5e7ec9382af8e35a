//! The pairs of files again, bent at random but always in the same ways: a
//! fuzzer that runs with the tests.

use crate::{cases, dice::Dice, transcript::tell};

#[test]
fn bent_requests_tell_one_story_however_they_are_cut() {
    let mut cases = cases::cases("valid");
    cases.extend(cases::cases("invalid"));
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
