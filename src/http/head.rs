//! The head of a request: its first line and its fields, found in bytes.
//!
//! One pass, one look at each byte. Where the bytes end, the phase and the
//! place are kept, and the next call goes on from there: a client that sends
//! byte by byte costs what any other does. An error is seen at the byte that
//! makes it one, whole line or not, so how the bytes were cut never matters.
//!
//! ```text
//! GET /where HTTP/1.1 CR LF   Name: value CR LF   CR LF
//! ▲   ▲      ▲                ▲   ▲ ▲        ▲       ▲
//! │   Target Version          │   │ Value    ValueLf EndLf ─▶ Done
//! Method                      │   Space
//! Blank, BlankLf before it    Field, Name
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
    /// What may not be empty.
    fn filled(from: usize, to: usize) -> Result<Span, Refusal> {
        match from < to {
            true => Ok(Span { from, to }),
            false => Err(Refusal::Malformed),
        }
    }

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
        if self.line(bytes)? {
            self.lines(bytes, limits.fields)?;
        }
        match self.phase {
            Phase::Done => Ok(Some(self.at)),
            _ if whole => Ok(None),
            // RFC 9112 §3: 501 for a method longer than any known one.
            Phase::Method => Err(Refusal::Unknown),
            Phase::Target | Phase::Version => Err(Refusal::TargetTooLong),
            Phase::Blank
            | Phase::BlankLf
            | Phase::Field
            | Phase::Name
            | Phase::Space
            | Phase::Value
            | Phase::ValueLf
            | Phase::EndLf => Err(Refusal::HeadTooLarge),
        }
    }

    /// The first line, with what may stand before it; whether it is done.
    /// Each step is skipped if it was taken in an earlier call.
    fn line(&mut self, bytes: &[u8]) -> Result<bool, Refusal> {
        while matches!(self.phase, Phase::Blank | Phase::BlankLf) {
            if self.phase == Phase::BlankLf {
                if !next(bytes, self.at, b'\n')? {
                    return Ok(false);
                }
                self.at += 1;
            }
            match bytes.get(self.at) {
                Some(b'\r') if self.at < 2 * BLANKS => {
                    self.phase = Phase::BlankLf;
                    self.at += 1;
                }
                Some(_) => {
                    self.phase = Phase::Method;
                    self.mark = self.at;
                }
                None => {
                    self.phase = Phase::Blank;
                    return Ok(false);
                }
            }
        }
        if self.phase == Phase::Method {
            self.at = byte::run(TOKEN, bytes, self.at);
            if !next(bytes, self.at, b' ')? {
                return Ok(false);
            }
            self.method = Span::filled(self.mark, self.at)?;
            self.at += 1;
            self.mark = self.at;
            self.phase = Phase::Target;
        }
        if self.phase == Phase::Target {
            self.at = byte::target_end(bytes, self.at);
            if !next(bytes, self.at, b' ')? {
                return Ok(false);
            }
            self.target = Span::filled(self.mark, self.at)?;
            self.at += 1;
            self.phase = Phase::Version;
        }
        if self.phase == Phase::Version {
            let Some(version) = version(&bytes[self.at..])? else {
                return Ok(false);
            };
            self.version = version;
            let method = self.method.of(bytes);
            let form = target::form(method, self.target.of(bytes));
            self.form = form.ok_or(Refusal::Malformed)?;
            self.at += VERSION.len();
            self.phase = Phase::Field;
        }
        Ok(true)
    }

    /// The fields, and the empty line behind them, in the same manner.
    fn lines(&mut self, bytes: &[u8], most: usize) -> Result<(), Refusal> {
        // Locals, since the compiler keeps those in registers.
        let Head { mut phase, mut at, mut mark, .. } = *self;
        loop {
            if phase == Phase::Field {
                match bytes.get(at) {
                    Some(b'\r') => {
                        phase = Phase::EndLf;
                        at += 1;
                    }
                    Some(_) if self.fields.len() < most => {
                        phase = Phase::Name;
                        mark = at;
                    }
                    Some(_) => return Err(Refusal::HeadTooLarge),
                    None => break,
                }
            }
            if phase == Phase::Name {
                at = byte::run(TOKEN, bytes, at);
                if !next(bytes, at, b':')? {
                    break;
                }
                self.name = Span::filled(mark, at)?;
                at += 1;
                phase = Phase::Space;
            }
            if phase == Phase::Space {
                while let Some(b' ' | b'\t') = bytes.get(at) {
                    at += 1;
                }
                if at == bytes.len() {
                    break;
                }
                mark = at;
                phase = Phase::Value;
            }
            if phase == Phase::Value {
                at = byte::value_end(bytes, at);
                if !next(bytes, at, b'\r')? {
                    break;
                }
                let mut to = at;
                while to > mark && matches!(bytes[to - 1], b' ' | b'\t') {
                    to -= 1;
                }
                let value = Span { from: mark, to };
                self.fields.push(Field { name: self.name, value });
                at += 1;
                phase = Phase::ValueLf;
            }
            if phase == Phase::ValueLf {
                if !next(bytes, at, b'\n')? {
                    break;
                }
                at += 1;
                phase = Phase::Field;
                continue;
            }
            if phase == Phase::EndLf && next(bytes, at, b'\n')? {
                at += 1;
                phase = Phase::Done;
            }
            break;
        }
        self.phase = phase;
        self.at = at;
        self.mark = mark;
        Ok(())
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

/// Whether this byte is the next: yes, not yet, or never.
#[inline]
fn next(bytes: &[u8], at: usize, byte: u8) -> Result<bool, Refusal> {
    match bytes.get(at) {
        Some(&there) if there == byte => Ok(true),
        Some(_) => Err(Refusal::Malformed),
        None => Ok(false),
    }
}

/// How a first line ends, a digit for each 0.
const VERSION: &[u8; 10] = b"HTTP/0.0\r\n";

/// The version at the end of a first line, when all of it is there.
#[inline]
fn version(text: &[u8]) -> Result<Option<Version>, Refusal> {
    if text.starts_with(b"HTTP/1.1\r\n") {
        return Ok(Some(Version::Http11));
    }
    let fits = VERSION.iter().zip(text).all(|(shape, byte)| match shape {
        b'0' => byte.is_ascii_digit(),
        _ => byte == shape,
    });
    if !fits {
        return Err(Refusal::Malformed);
    }
    let Some(whole) = text.first_chunk() else { return Ok(None) };
    let [_, _, _, _, _, major, _, minor, b'\r', b'\n'] = whole else {
        return Err(Refusal::Malformed);
    };
    match (major, minor) {
        (b'1', b'0') => Ok(Some(Version::Http10)),
        (b'1', _) => Ok(Some(Version::Http11)),
        _ => Err(Refusal::Version),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, limits: &Limits) -> Result<Option<usize>, Refusal> {
        Head::default().parse(text.as_bytes(), limits)
    }

    #[test]
    fn a_head_ends_with_its_empty_line_and_not_before() {
        let text = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let more = [text, "GET"].concat();
        let limits = Limits::default();
        for length in 0..text.len() {
            assert_eq!(parse(&text[..length], &limits), Ok(None));
        }
        assert_eq!(parse(text, &limits), Ok(Some(text.len())));
        assert_eq!(parse(&more, &limits), Ok(Some(text.len())));
    }

    #[test]
    fn a_head_may_be_as_long_as_the_limit() {
        let text = "\r\nGET /abc HTTP/1.1\r\nHost: a\r\n\r\n";
        let answer = |head| {
            let limits = Limits { head, ..Limits::default() };
            let full = parse(&text[..head], &limits);
            assert_eq!(full, parse(text, &limits), "seen as soon as full");
            full
        };
        let (method, target) = (5, 10);
        for head in 0..text.len() {
            let wanted = match head {
                _ if head < 3 => Refusal::HeadTooLarge,
                _ if head <= method => Refusal::Unknown,
                _ if head <= target + 10 => Refusal::TargetTooLong,
                _ => Refusal::HeadTooLarge,
            };
            assert_eq!(answer(head), Err(wanted), "{head}");
        }
        assert_eq!(answer(text.len()), Ok(Some(text.len())));
    }

    #[test]
    fn there_may_be_as_many_fields_as_the_limit() {
        let limits = Limits { fields: 2, ..Limits::default() };
        let line = "GET / HTTP/1.1\r\n";
        let two = [line, "A: b\r\nC: d\r\n"].concat();
        assert_eq!(parse(&two, &limits), Ok(None));
        assert!(parse(&(two.clone() + "\r\n"), &limits).unwrap().is_some());
        let third = parse(&(two + "E"), &limits);
        assert_eq!(third, Err(Refusal::HeadTooLarge));
    }

    #[test]
    fn an_error_is_seen_at_the_byte_that_makes_it_one() {
        let text = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let limits = Limits::default();
        for odd in [b'\0', b'\n', 0x80] {
            for at in 0..text.len() {
                let mut bytes = text.as_bytes()[..=at].to_vec();
                let fits = bytes[at] == odd;
                // Where the value is, or could go on.
                let value = odd == 0x80 && (21..24).contains(&at);
                bytes[at] = odd;
                let answer = Head::default().parse(&bytes, &limits);
                let refused = answer == Err(Refusal::Malformed);
                assert_eq!(refused, !fits && !value, "{odd} at {at}");
            }
        }
    }

    #[test]
    fn parts_are_found_and_values_trimmed() {
        let bytes = b"PUT /x HTTP/1.0\r\nA:\t b c \t\r\nD:\r\n\r\n";
        let mut head = Head::default();
        for length in 0..bytes.len() {
            let limits = Limits::default();
            assert_eq!(head.parse(&bytes[..length], &limits), Ok(None));
        }
        let whole = head.parse(bytes, &Limits::default());
        assert_eq!(whole, Ok(Some(bytes.len())));
        assert_eq!(head.method(bytes), b"PUT");
        assert_eq!(head.target(bytes), b"/x");
        assert_eq!(head.version(), Version::Http10);
        let fields: Vec<_> = head.fields(bytes).collect();
        assert_eq!(fields, [(&b"A"[..], &b"b c"[..]), (b"D", b"")]);
    }
}
