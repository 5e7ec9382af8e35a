//! The chunked transfer coding, taken off in place (RFC 9112 §7.1).
//!
//! ```text
//! 5;extension CR LF hello CR LF 0 CR LF Trailer: field CR LF CR LF
//! │           └──┬─┘        │   │       │                   └─ End ─ Done
//! Size, Extension SizeLf    │   Size    Line, Name, Value, ValueLf
//!              Data ── DataCr, DataLf
//! ```
//!
//! The decoder looks at every byte once and keeps only its phase between two
//! calls. Extensions and trailers are held to the grammar, counted, and
//! thrown away: a trailer changes neither framing nor anything else (§7.1.2).
//! There is no way back from an error: what follows is not known to be
//! anything.

use super::{
    Refusal,
    byte::{self, TOKEN},
};

/// Bytes that extensions and trailers of one body may take together.
const OVERHEAD: usize = 8 << 10;

/// Digits of a chunk size, zeros in front included: what a `u64` holds.
const DIGITS: u32 = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// So many digits of the size were read.
    Size(u32),
    /// White space behind the size, which only an extension may follow
    /// (RFC 9110 §5.6.3 wants it read).
    Blank,
    Extension,
    SizeLf,
    /// So many bytes of the chunk are still to come, at least one.
    Data(usize),
    DataCr,
    DataLf,
    Line,
    Name,
    Value,
    ValueLf,
    EndLf,
    Done,
}

/// How far a chunked body was read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chunked {
    phase: Phase,
    /// Of the chunk whose line is being read.
    size: u64,
    /// Bytes of extensions and trailers so far.
    overhead: usize,
    /// Bytes of the body so far.
    decoded: usize,
}

impl Chunked {
    pub(super) fn new() -> Chunked {
        Chunked { phase: Phase::Size(0), size: 0, overhead: 0, decoded: 0 }
    }

    /// Bytes of the body that have been gathered.
    pub(super) fn decoded(&self) -> usize {
        self.decoded
    }

    /// `bytes` are the body so far and, behind it, what has newly arrived.
    /// Moves the new data up to the old. `Some` is where the next request
    /// begins, when the body is whole; otherwise nothing behind the body is
    /// of use any more.
    pub(super) fn decode(
        &mut self,
        bytes: &mut [u8],
        limit: usize,
    ) -> Result<Option<usize>, Refusal> {
        let mut at = self.decoded;
        while self.phase != Phase::Done {
            let Some(&next) = bytes.get(at) else { return Ok(None) };
            if let Phase::Data(left) = self.phase {
                let here = left.min(bytes.len() - at);
                bytes.copy_within(at..at + here, self.decoded);
                self.decoded += here;
                at += here;
                self.phase = match left - here {
                    0 => Phase::DataCr,
                    left => Phase::Data(left),
                };
                continue;
            }
            self.phase = self.step(next, limit)?;
            at += 1;
        }
        Ok(Some(at))
    }

    /// One byte of what is not data.
    fn step(&mut self, next: u8, limit: usize) -> Result<Phase, Refusal> {
        Ok(match (self.phase, next) {
            (Phase::Size(digits), b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F')
                if digits < DIGITS =>
            {
                self.size = self.size << 4 | nibble(next);
                Phase::Size(digits + 1)
            }
            (Phase::Size(1..), b' ' | b'\t') => self.count(Phase::Blank)?,
            (Phase::Size(1..), b';') => self.count(Phase::Extension)?,
            (Phase::Size(1..), b'\r') => Phase::SizeLf,
            (Phase::Blank, b' ' | b'\t') => self.count(Phase::Blank)?,
            (Phase::Blank, b';') => self.count(Phase::Extension)?,
            (Phase::Extension, b'\r') => Phase::SizeLf,
            (Phase::Extension, _) if byte::is(byte::VALUE, next) => {
                self.count(Phase::Extension)?
            }
            (Phase::SizeLf, b'\n') => match self.size {
                0 => Phase::Line,
                size => {
                    self.size = 0;
                    usize::try_from(size)
                        .ok()
                        .filter(|&size| size <= limit - self.decoded)
                        .map(Phase::Data)
                        .ok_or(Refusal::BodyTooLarge)?
                }
            },
            (Phase::DataCr, b'\r') => Phase::DataLf,
            (Phase::DataLf, b'\n') => Phase::Size(0),
            (Phase::Line, b'\r') => Phase::EndLf,
            (Phase::Line | Phase::Name, _) if byte::is(TOKEN, next) => {
                self.count(Phase::Name)?
            }
            (Phase::Name, b':') => self.count(Phase::Value)?,
            (Phase::Value, b'\r') => Phase::ValueLf,
            (Phase::Value, _) if byte::is(byte::VALUE, next) => {
                self.count(Phase::Value)?
            }
            (Phase::ValueLf, b'\n') => Phase::Line,
            (Phase::EndLf, b'\n') => Phase::Done,
            _ => return Err(Refusal::Malformed),
        })
    }

    fn count(&mut self, next: Phase) -> Result<Phase, Refusal> {
        self.overhead += 1;
        match self.overhead {
            0..=OVERHEAD => Ok(next),
            _ => Err(Refusal::HeadTooLarge),
        }
    }
}

/// The value of a hexadecimal digit.
fn nibble(digit: u8) -> u64 {
    u64::from(match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    })
}
