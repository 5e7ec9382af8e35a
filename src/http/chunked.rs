//! The chunked transfer coding, taken off in place (RFC 9112 §7.1).
//!
//! ```text
//! 5;extension CR LF hello CR LF 0 CR LF Trailer: field CR LF CR LF
//! │ │         └──┬─┘        │   │       │                   └─ End ─ Done
//! Size, Mark…  SizeLf       │   Size    Line, Name, Value, ValueLf
//!              Data ── DataCr, DataLf
//!
//! an extension:   ; name           ; name = token        ; name = "text"
//!              Mark Label …     … Label, Equals, Word   … Equals, Quoted, Closed
//! ```
//!
//! White space may stand round `;` and `=`, and nowhere else: it is bad, and
//! read all the same (BWS, RFC 9110 §5.6.3).
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
    /// White space, which only another extension may follow.
    Blank,
    /// Behind the `;` of an extension.
    Mark,
    /// In its name.
    Label,
    /// White space behind that.
    LabelBlank,
    /// Behind its `=`.
    Equals,
    /// In an extension's value that is a token.
    Word,
    /// In one that is a quoted string (RFC 9110 §5.6.4).
    Quoted,
    /// Behind a backslash in a quoted string.
    Escaped,
    /// Behind the end of a quoted string.
    Closed,
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

impl Phase {
    /// Where this byte leads between a size and the end of its line, if it
    /// may stand here (RFC 9112 §7.1.1).
    fn extension(self, next: u8) -> Option<Phase> {
        let is = |class| byte::is(class, next);
        match (self, next) {
            (Phase::Quoted, b'"') => Some(Phase::Closed),
            (Phase::Quoted, b'\\') => Some(Phase::Escaped),
            (Phase::Quoted | Phase::Escaped, _) => {
                is(byte::VALUE).then_some(Phase::Quoted)
            }
            (
                Phase::Size(_) | Phase::Blank | Phase::Word | Phase::Closed,
                b' ' | b'\t',
            ) => Some(Phase::Blank),
            (Phase::Label | Phase::LabelBlank, b' ' | b'\t') => {
                Some(Phase::LabelBlank)
            }
            (Phase::Mark | Phase::Equals, b' ' | b'\t') => Some(self),
            (
                Phase::Size(_)
                | Phase::Blank
                | Phase::Label
                | Phase::LabelBlank
                | Phase::Word
                | Phase::Closed,
                b';',
            ) => Some(Phase::Mark),
            (Phase::Label | Phase::LabelBlank, b'=') => Some(Phase::Equals),
            (Phase::Equals, b'"') => Some(Phase::Quoted),
            (Phase::Mark | Phase::Label, _) => {
                is(TOKEN).then_some(Phase::Label)
            }
            (Phase::Equals | Phase::Word, _) => {
                is(TOKEN).then_some(Phase::Word)
            }
            _ => None,
        }
    }
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

    /// Bytes of the present chunk that are still to come.
    pub(super) fn lacks(&self) -> usize {
        match self.phase {
            Phase::Data(left) => left,
            _ => 0,
        }
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
            (
                Phase::Size(1..) | Phase::Label | Phase::Word | Phase::Closed,
                b'\r',
            ) => Phase::SizeLf,
            (
                Phase::Size(1..)
                | Phase::Blank
                | Phase::Mark
                | Phase::Label
                | Phase::LabelBlank
                | Phase::Equals
                | Phase::Word
                | Phase::Quoted
                | Phase::Escaped
                | Phase::Closed,
                _,
            ) => {
                let phase = self.phase.extension(next);
                self.count(phase.ok_or(Refusal::Malformed)?)?
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMIT: usize = 1000;

    /// The body, and what is left behind it.
    type Parts = (Vec<u8>, Vec<u8>);

    /// Feeds pieces as a connection does.
    fn feed(pieces: &[&[u8]]) -> Result<Option<Parts>, Refusal> {
        let mut chunked = Chunked::new();
        let mut bytes = Vec::new();
        for (at, piece) in pieces.iter().enumerate() {
            bytes.truncate(chunked.decoded());
            bytes.extend_from_slice(piece);
            if let Some(end) = chunked.decode(&mut bytes, LIMIT)? {
                let rest = [&bytes[end..], &pieces[at + 1..].concat()];
                let body = bytes[..chunked.decoded()].to_vec();
                return Ok(Some((body, rest.concat())));
            }
        }
        Ok(None)
    }

    fn refusal(text: &str) -> Option<Refusal> {
        let whole = feed(&[text.as_bytes()]).err();
        let bytes: Vec<_> = text.as_bytes().chunks(1).collect();
        assert_eq!(whole, feed(&bytes).err(), "{text:?}");
        whole
    }

    #[test]
    fn a_size_is_up_to_sixteen_hexadecimal_digits() {
        for (line, refused) in [
            ("1", None),
            ("00000000000003e8", None),
            ("3E8", None),
            ("3e9", Some(Refusal::BodyTooLarge)),
            ("ffffffffffffffff", Some(Refusal::BodyTooLarge)),
            ("00000000000000001", Some(Refusal::Malformed)),
            ("", Some(Refusal::Malformed)),
            ("g", Some(Refusal::Malformed)),
            ("+1", Some(Refusal::Malformed)),
            ("-1", Some(Refusal::Malformed)),
            ("0x1", Some(Refusal::Malformed)),
            ("1_0", Some(Refusal::Malformed)),
            (" 1", Some(Refusal::Malformed)),
            ("1 ", Some(Refusal::Malformed)),
            ("1 1", Some(Refusal::Malformed)),
            ("1\t;a", None),
            ("1;", Some(Refusal::Malformed)),
            ("1;\x01", Some(Refusal::Malformed)),
        ] {
            assert_eq!(refusal(&format!("{line}\r\n")), refused, "{line:?}");
        }
    }

    /// What stands behind a size, read by the grammar's own rules, one after
    /// the other (RFC 9112 §7.1.1, RFC 9110 §5.6).
    fn is_extension(text: &str) -> bool {
        fn blank(text: &str) -> &str {
            text.trim_start_matches([' ', '\t'])
        }
        fn token(text: &str) -> Option<&str> {
            let is = |c: char| {
                c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
            };
            let rest = text.trim_start_matches(is);
            (rest.len() < text.len()).then_some(rest)
        }
        fn quoted(text: &str) -> Option<&str> {
            let mut rest = text.strip_prefix('"')?.chars();
            let is = |c: char| c == '\t' || (c >= ' ' && c != '\x7f');
            loop {
                match rest.next()? {
                    '"' => return Some(rest.as_str()),
                    '\\' if !is(rest.next()?) => return None,
                    c if !is(c) => return None,
                    _ => {}
                }
            }
        }
        let mut rest = text;
        while !rest.is_empty() {
            let Some(name) = blank(rest).strip_prefix(';') else {
                return false;
            };
            let Some(behind) = token(blank(name)) else { return false };
            rest = behind;
            if let Some(value) = blank(rest).strip_prefix('=') {
                let value = blank(value);
                match token(value).or_else(|| quoted(value)) {
                    Some(behind) => rest = behind,
                    None => return false,
                }
            }
        }
        true
    }

    #[test]
    fn an_extension_is_what_the_grammar_says() {
        let letters = [";", "=", "\"", "\\", " ", "z", "\u{e9}", "\x7f"];
        let mut texts = vec![String::new()];
        let mut at = 0;
        while at < texts.len() {
            let text = &texts[at];
            let right = is_extension(text);
            let wanted = (!right).then_some(Refusal::Malformed);
            assert_eq!(refusal(&format!("1{text}\r\n")), wanted, "{text:?}");
            if text.chars().count() < 5 {
                let longer = letters.map(|letter| text.clone() + letter);
                texts.extend(longer);
            }
            at += 1;
        }
        for (text, right) in [
            (";a=b;c=\"d e;\\\"f\"", true),
            (" ; a\t=\t\"\" ;b", true),
            (";a=\"b\"c", false),
            (";a=b c", false),
            (";a=b ", false),
            (";a,b", false),
            (";\"a\"", false),
        ] {
            assert_eq!(is_extension(text), right, "{text:?}");
            assert_eq!(refusal(&format!("1{text}\r\n")).is_none(), right);
        }
    }

    #[test]
    fn the_limit_counts_all_chunks() {
        let half = format!("1f4\r\n{}\r\n", "x".repeat(500));
        assert_eq!(refusal(&half.repeat(2)), None);
        let above = half.repeat(2) + "1\r\n";
        assert_eq!(refusal(&above), Some(Refusal::BodyTooLarge));
    }

    #[test]
    fn extensions_and_trailers_share_a_bound() {
        let extension = ";".to_owned() + &"a".repeat(OVERHEAD / 2 - 1);
        let trailer = "a:".to_owned() + &"b".repeat(OVERHEAD / 2 - 2);
        let most = format!("0{extension}\r\n{trailer}");
        assert_eq!(refusal(&most), None);
        assert_eq!(refusal(&(most + "b")), Some(Refusal::HeadTooLarge));
    }

    #[test]
    fn every_chunk_may_be_one_byte() {
        let body = "1\r\nx\r\n".repeat(LIMIT) + "0\r\n\r\n";
        let whole = feed(&[body.as_bytes()]);
        assert_eq!(whole, Ok(Some((vec![b'x'; LIMIT], Vec::new()))));
    }

    fn chunk() -> impl Strategy<Value = (Vec<u8>, usize, String)> {
        let data = prop::collection::vec(any::<u8>(), 1..40);
        let value = r#"([!0-9a-z]{1,4}|"([\t !#-\[\]-~]|\\[\t -~]){0,5}")"#;
        let name = r"[\t ]?;[\t ]?[!0-9a-z]{1,4}";
        let extensions = format!("({name}([\t ]?=[\t ]?{value})?){{0,2}}");
        let extensions = prop::string::string_regex(&extensions).unwrap();
        (data, 0..4_usize, extensions)
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        /// What was put in chunks comes out of them, however it was cut.
        #[test]
        fn decoding_undoes_encoding(
            chunks in prop::collection::vec(chunk(), 0..9),
            trailers in "([a-z]{1,5}:[ -~]{0,9}\r\n){0,3}",
            rest in prop::collection::vec(any::<u8>(), 0..9),
            cuts in prop::collection::vec(1..50_usize, 0..20),
        ) {
            let mut bytes = Vec::new();
            let mut body = Vec::new();
            for (data, zeros, extension) in chunks {
                let zeros = "0".repeat(zeros);
                let size = format!("{zeros}{:x}{extension}\r\n", data.len());
                bytes.extend([size.as_bytes(), &data, b"\r\n"].concat());
                body.extend(data);
            }
            bytes.extend(format!("0\r\n{trailers}\r\n").bytes());
            bytes.extend(&rest);
            let mut pieces = Vec::new();
            let mut left = &bytes[..];
            for cut in cuts {
                let (piece, tail) = left.split_at(cut.min(left.len()));
                pieces.push(piece);
                left = tail;
            }
            pieces.push(left);
            prop_assert_eq!(feed(&pieces), Ok(Some((body, rest))));
        }
    }
}
