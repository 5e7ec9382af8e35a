//! The head of a request: its first line and its fields, found in bytes.
//!
//! One pass, one look at each byte. Where the bytes end, the phase and the
//! place are kept, and the next call goes on from there: a client that sends
//! byte by byte costs what any other does. An error is seen at the byte that
//! makes it one, whole line or not, so how the bytes were cut never matters.
//!
//! ```text
//!             ┌─CRLF─┐               GET SP /where SP HTTP/1.1 CR LF
//!             ▼      │               ▲      ▲         ▲           ▲
//!           Blank────┘               Method Target    Version     LineLf
//!             └─▶ Method ─▶ Target ─▶ Version ─▶ LineLf
//!                                                  │
//!        ┌─────────────────────────────────────────┘
//!        ▼
//!      Field ─▶ Name ─▶ Space ─▶ Value ─▶ ValueLf ─┐  Host: CR LF
//!        ▲  │                                      │
//!        │  └─CR─▶ EndLf ─LF─▶ Done                │
//!        └─────────────────────────────────────────┘
//! ```
//!
//! Stricter than RFC 9112 asks, where leniency has been an attacker's tool:
//! a line ends with CRLF and nothing else (§2.2 would allow a bare LF), parts
//! of the first line are one space apart (§3), folded lines are refused
//! (§5.2). What the fields *mean* is the business of `terms`.

use super::{
    Limits, Refusal,
    byte::{self, TOKEN},
    target::{self, Form},
};

/// Empty lines that may stand before a request (RFC 9112 §2.2: at least one).
const BLANKS: usize = 8;

/// A piece of the head, by the place of its first byte and the one behind it.
#[derive(Clone, Copy, Debug, Default)]
struct Span {
    from: usize,
    to: usize,
}

impl Span {
    fn of(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.from..self.to]
    }
}

#[derive(Clone, Copy, Debug)]
struct Field {
    name: Span,
    value: Span,
}

/// What is expected at the next byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Blank,
    BlankLf,
    Method,
    Target,
    Version,
    LineLf,
    Field,
    Name,
    Space,
    Value,
    ValueLf,
    EndLf,
    Done,
}

/// The version of HTTP that the client speaks; a later 1.x counts as 1.1
/// (RFC 9110 §2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
}

/// What is known so far of the head at the beginning of some bytes. It holds
/// places, not bytes: the caller keeps those, and gives them again.
#[derive(Debug)]
pub struct Head {
    phase: Phase,
    /// The next byte to look at.
    at: usize,
    /// Where the element that is being read began.
    mark: usize,
    method: Span,
    target: Span,
    form: Form,
    version: Version,
    name: Span,
    fields: Vec<Field>,
}

impl Default for Head {
    fn default() -> Self {
        Head {
            phase: Phase::Blank,
            at: 0,
            mark: 0,
            method: Span::default(),
            target: Span::default(),
            form: Form::Origin,
            version: Version::Http11,
            name: Span::default(),
            fields: Vec::new(),
        }
    }
}

impl Head {
    /// Forgets what it knows, and keeps its room for fields.
    pub fn clear(&mut self) {
        self.phase = Phase::Blank;
        self.at = 0;
        self.mark = 0;
        self.method = Span::default();
        self.fields.clear();
    }

    /// Reads on, in the same bytes as before with perhaps more behind them.
    /// `Some` is the length of the head, when all of it is there.
    ///
    /// # Errors
    /// The answer to bytes that are no head, or too large a one; the head is
    /// of no further use then.
    #[inline]
    pub fn parse(
        &mut self,
        bytes: &[u8],
        limits: &Limits,
    ) -> Result<Option<usize>, Refusal> {
        let whole = bytes.len() < limits.head;
        let bytes = if whole { bytes } else { &bytes[..limits.head] };
        self.run(bytes, limits.fields)?;
        match self.phase {
            Phase::Done => Ok(Some(self.at)),
            _ if whole => Ok(None),
            // RFC 9112 §3: 501 for a method longer than any known one.
            Phase::Method => Err(Refusal::Unknown),
            Phase::Target | Phase::Version | Phase::LineLf => {
                Err(Refusal::TargetTooLong)
            }
            _ => Err(Refusal::HeadTooLarge),
        }
    }

    /// Goes on until the bytes or the head end.
    fn run(&mut self, bytes: &[u8], most: usize) -> Result<(), Refusal> {
        let mut at = self.at;
        let mut phase = self.phase;
        loop {
            // What ends the current element, if it is there already.
            at = match phase {
                Phase::Method | Phase::Name => byte::run(TOKEN, bytes, at),
                Phase::Target => byte::target_end(bytes, at),
                Phase::Value => byte::value_end(bytes, at),
                _ => at,
            };
            let Some(&next) = bytes.get(at) else { break };
            let known = Span { from: self.mark, to: at };
            phase = match (phase, next) {
                (Phase::Blank, b'\r') => Phase::BlankLf,
                (Phase::Blank, _) => {
                    self.mark = at;
                    phase = Phase::Method;
                    continue;
                }
                (Phase::BlankLf, b'\n') if at < 2 * BLANKS => Phase::Blank,
                (Phase::Method, b' ') if at > self.mark => {
                    self.method = known;
                    self.mark = at + 1;
                    Phase::Target
                }
                (Phase::Target, b' ') if at > self.mark => {
                    self.target = known;
                    self.mark = at + 1;
                    Phase::Version
                }
                (Phase::Version, _) => {
                    match version(&bytes[self.mark..])? {
                        Some(length) => at = self.mark + length,
                        None => break,
                    }
                    Phase::LineLf
                }
                (Phase::LineLf, b'\n') => {
                    self.line(bytes)?;
                    Phase::Field
                }
                (Phase::Field, b'\r') => Phase::EndLf,
                (Phase::Field, _) => {
                    if self.fields.len() == most {
                        return Err(Refusal::HeadTooLarge);
                    }
                    self.mark = at;
                    phase = Phase::Name;
                    continue;
                }
                (Phase::Name, b':') if at > self.mark => {
                    self.name = known;
                    Phase::Space
                }
                (Phase::Space, b' ' | b'\t') => Phase::Space,
                (Phase::Space, _) => {
                    self.mark = at;
                    phase = Phase::Value;
                    continue;
                }
                (Phase::Value, b'\r') => {
                    self.field(bytes, known);
                    Phase::ValueLf
                }
                (Phase::ValueLf, b'\n') => Phase::Field,
                (Phase::EndLf, b'\n') => Phase::Done,
                (Phase::Done, _) => break,
                _ => return Err(Refusal::Malformed),
            };
            at += 1;
        }
        self.at = at;
        self.phase = phase;
        Ok(())
    }
    /// The first line is whole: now its parts are judged together.
    #[inline]
    fn line(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        match bytes[self.mark..] {
            [_, _, _, _, _, b'1', _, b'0', ..] => {
                self.version = Version::Http10;
            }
            [_, _, _, _, _, b'1', ..] => self.version = Version::Http11,
            _ => return Err(Refusal::Version),
        }
        let (method, target) = (self.method.of(bytes), self.target.of(bytes));
        self.form = target::form(method, target).ok_or(Refusal::Malformed)?;
        Ok(())
    }

    #[inline]
    fn field(&mut self, bytes: &[u8], mut value: Span) {
        while value.to > value.from
            && matches!(bytes[value.to - 1], b' ' | b'\t')
        {
            value.to -= 1;
        }
        self.fields.push(Field { name: self.name, value });
    }

    /// The method, as far as it was read.
    pub(super) fn method<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        self.method.of(bytes)
    }

    pub(super) fn target<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        self.target.of(bytes)
    }

    pub(super) fn form(&self) -> Form {
        self.form
    }

    pub(super) fn version(&self) -> Version {
        self.version
    }

    /// Names and trimmed values, in the order of their lines.
    #[inline]
    pub(super) fn fields<'a>(
        &'a self,
        bytes: &'a [u8],
    ) -> impl ExactSizeIterator<Item = (&'a [u8], &'a [u8])> {
        let pair =
            |field: &Field| (field.name.of(bytes), field.value.of(bytes));
        self.fields.iter().map(pair)
    }
}

/// `HTTP/` DIGIT `.` DIGIT CR: where that CR is, if the text reaches it.
#[inline]
fn version(text: &[u8]) -> Result<Option<usize>, Refusal> {
    const SHAPE: &[u8; 9] = b"HTTP/0.0\r";
    if text.starts_with(b"HTTP/1.1\r") {
        return Ok(Some(8));
    }
    let fits = SHAPE.iter().zip(text).all(|(shape, byte)| match shape {
        b'0' => byte.is_ascii_digit(),
        _ => byte == shape,
    });
    match fits {
        true => Ok((text.len() >= SHAPE.len()).then_some(8)),
        false => Err(Refusal::Malformed),
    }
}
