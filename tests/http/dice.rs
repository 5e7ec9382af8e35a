//! Chance that is the same every time, and what it does to bytes.

/// Xorshift: good enough to bend bytes, and the same every time.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    /// Below `sides`.
    pub(crate) fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides.max(1) as u64) as usize
    }

    /// Changes something, perhaps for a part of `other`.
    pub(crate) fn bend(&mut self, bytes: &mut Vec<u8>, other: &[u8]) {
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
