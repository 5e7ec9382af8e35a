//! One line of JSON: checked as a whole, opened only where it is asked.
//!
//! A channel routes a message by a few members of its outermost object and
//! hands on everything else as it came. So there is no tree here and nothing
//! is allocated: [`members`] walks the text once, says whether it is JSON, and
//! lends the raw text of the members that it was asked for.
//!
//! ```text
//! members(text, ["cmd", "seq"])
//!
//!   {"cmd":"NODE_CLUSTER","data":{"any":["thing"]},"seq":7}
//!          └── Value ───┘        walked, not kept        └ Value
//! ```
//!
//! The grammar is RFC 8259's. Three texts that JavaScript's `JSON.parse`
//! takes are refused, the same three that serde_json refuses, each with a
//! [`Reason`] of its own so that a caller can be kinder than this module:
//! more than [`MAX_DEPTH`] containers in one another, `\ud800` without its
//! second half, and a number too large for a double. (The last is judged
//! after exact rounding; serde_json rounds twice, so the two may differ in
//! the last digit of the largest double.)
//!
//! Of members with one name the last counts, as in `JSON.parse`. Names are
//! compared by what they mean: `"\u0063md"` is `"cmd"`.

mod write;

use std::borrow::Cow;
use std::fmt;

pub use write::{ObjectWriter, push_raw, push_string};

/// Containers that may stand in one another.
pub const MAX_DEPTH: usize = 127;

/// The value of each of `names` in the object that `text` is, in the order of
/// `names`; all `None` when `text` is JSON but not an object.
///
/// # Errors
///
/// When any part of `text`, also one that nobody asked for, is not JSON.
pub fn members<'a, const N: usize>(
    text: &'a str,
    names: [&str; N],
) -> Result<[Option<Value<'a>>; N], Error> {
    let mut found = [None; N];
    let mut scanner = Scanner { text, at: 0 };
    scanner.skip_space();
    if scanner.peek() == Some(b'{') {
        scanner.object(0, |name, value| {
            if let Some(i) = names.iter().position(|n| name.means(n)) {
                found[i] = Some(value);
            }
        })?;
    } else {
        scanner.value(0)?;
    }
    scanner.skip_space();
    match scanner.peek() {
        None => Ok(found),
        Some(_) => Err(scanner.syntax("nothing after the value")),
    }
}

/// The raw text of one JSON value, known to be valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value<'a>(&'a str);

impl<'a> Value<'a> {
    /// As it was written, without the space around it.
    pub fn text(self) -> &'a str {
        self.0
    }

    /// Whether it is `null`.
    pub fn is_null(self) -> bool {
        self.0 == "null"
    }

    /// `true` or `false`.
    pub fn boolean(self) -> Option<bool> {
        self.0.parse().ok()
    }

    /// A number written without sign, fraction and exponent, if it fits.
    pub fn unsigned(self) -> Option<u64> {
        self.0.parse().ok()
    }

    /// A number written without fraction and exponent, if it fits.
    pub fn signed(self) -> Option<i64> {
        self.0.parse().ok()
    }

    /// What a string means; borrowed unless something in it is escaped.
    pub fn string(self) -> Option<Cow<'a, str>> {
        let body = self.body()?;
        Some(if body.contains('\\') {
            Cow::Owned(unescaped(body).collect())
        } else {
            Cow::Borrowed(body)
        })
    }

    /// Whether it is the string that means `expected`.
    fn means(self, expected: &str) -> bool {
        let Some(body) = self.body() else { return false };
        body == expected
            || body.contains('\\') && unescaped(body).eq(expected.chars())
    }

    /// What stands between the quotes of a string.
    fn body(self) -> Option<&'a str> {
        self.0.strip_prefix('"')?.strip_suffix('"')
    }
}

/// What the body of a string means. It was scanned before, so every escape
/// in it is one.
fn unescaped(body: &str) -> impl Iterator<Item = char> {
    let mut scanner = Scanner { text: body, at: 0 };
    std::iter::from_fn(move || {
        if scanner.take(b'\\') {
            return scanner.escape().ok();
        }
        let character = body[scanner.at..].chars().next()?;
        scanner.at += character.len_utf8();
        Some(character)
    })
}

/// A reader of one text. Every method leaves `at` behind what it took; `at`
/// stands only before or behind an ASCII byte when the text is cut there.
struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, byte: u8, name: &'static str) -> Result<(), Error> {
        if self.take(byte) { Ok(()) } else { Err(self.syntax(name)) }
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    /// One value; `depth` containers are open around it.
    fn value(&mut self, depth: usize) -> Result<Value<'a>, Error> {
        let start = self.at;
        match self.peek() {
            Some(b'{') => self.object(depth, |_, _| ())?,
            Some(b'[') => self.array(depth)?,
            Some(b'"') => self.string()?,
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(b'n') => self.word("null")?,
            Some(b't') => self.word("true")?,
            Some(b'f') => self.word("false")?,
            Some(_) | None => return Err(self.syntax("a value")),
        }
        Ok(Value(&self.text[start..self.at]))
    }

    /// `{` name `:` value `,` … `}`, telling each name and value.
    fn object(
        &mut self,
        depth: usize,
        mut member: impl FnMut(Value<'a>, Value<'a>),
    ) -> Result<(), Error> {
        self.open(depth)?;
        if self.take(b'}') {
            return Ok(());
        }
        loop {
            self.skip_space();
            let start = self.at;
            self.string()?;
            let name = Value(&self.text[start..self.at]);
            self.skip_space();
            self.expect(b':', "a colon")?;
            self.skip_space();
            member(name, self.value(depth + 1)?);
            self.skip_space();
            if !self.take(b',') {
                return self.expect(b'}', "a comma or a closing brace");
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<(), Error> {
        self.open(depth)?;
        if self.take(b']') {
            return Ok(());
        }
        loop {
            self.skip_space();
            self.value(depth + 1)?;
            self.skip_space();
            if !self.take(b',') {
                return self.expect(b']', "a comma or a closing bracket");
            }
        }
    }

    /// The bracket that the caller saw, and the space behind it.
    fn open(&mut self, depth: usize) -> Result<(), Error> {
        if depth == MAX_DEPTH {
            return Err(self.error(Reason::TooDeep));
        }
        self.at += 1;
        self.skip_space();
        Ok(())
    }

    fn string(&mut self) -> Result<(), Error> {
        self.expect(b'"', "a string")?;
        loop {
            let rest = &self.text.as_bytes()[self.at..];
            let special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
            let plain = rest.iter().position(special).unwrap_or(rest.len());
            self.at += plain;
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => {
                    self.at += 1;
                    self.escape()?;
                }
                Some(_) => return Err(self.syntax("no control character")),
                None => return Err(self.syntax("a closing quote")),
            }
        }
        self.at += 1;
        Ok(())
    }

    /// What follows a backslash, and what it means.
    fn escape(&mut self) -> Result<char, Error> {
        let meaning = match self.peek() {
            Some(b'u') => {
                self.at += 1;
                return self.code_point();
            }
            Some(letter @ (b'"' | b'\\' | b'/')) => char::from(letter),
            Some(b'b') => '\x08',
            Some(b'f') => '\x0c',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(_) | None => return Err(self.syntax("an escape")),
        };
        self.at += 1;
        Ok(meaning)
    }

    /// The four digits behind `\u`; for a character beyond U+FFFF those of
    /// the second `\u` as well (RFC 8259 section 7).
    fn code_point(&mut self) -> Result<char, Error> {
        let first = self.hex4()?;
        let mut units = [first, 0];
        let mut count = 1;
        if let 0xd800..=0xdbff = first {
            if !self.text[self.at..].starts_with("\\u") {
                return Err(self.error(Reason::LoneSurrogate));
            }
            self.at += 2;
            units[1] = self.hex4()?;
            count = 2;
        }
        match char::decode_utf16(units[..count].iter().copied()).next() {
            Some(Ok(character)) => Ok(character),
            Some(Err(_)) | None => Err(self.error(Reason::LoneSurrogate)),
        }
    }

    fn hex4(&mut self) -> Result<u16, Error> {
        let mut unit = 0;
        for _ in 0..4 {
            let digit =
                self.peek().and_then(|byte| char::from(byte).to_digit(16));
            let Some(digit) = digit else {
                return Err(self.syntax("four hexadecimal digits"));
            };
            unit = unit << 4 | digit as u16;
            self.at += 1;
        }
        Ok(unit)
    }

    /// `-`? (`0` | `1`–`9` digits) (`.` digits)? ((`e`|`E`) sign? digits)?
    fn number(&mut self) -> Result<(), Error> {
        let start = self.at;
        self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        let exponent = self.take(b'e') || self.take(b'E');
        if exponent {
            let _ = self.take(b'+') || self.take(b'-');
            self.digits()?;
        }
        // Without an exponent it takes 309 digits to leave a double's range.
        let text = &self.text[start..self.at];
        if (exponent || text.len() > 308)
            && !text.parse().is_ok_and(f64::is_finite)
        {
            return Err(self.error(Reason::OutOfRange));
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), Error> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        if self.at == start { Err(self.syntax("a digit")) } else { Ok(()) }
    }

    fn word(&mut self, word: &'static str) -> Result<(), Error> {
        if !self.text[self.at..].starts_with(word) {
            return Err(self.syntax(word));
        }
        self.at += word.len();
        Ok(())
    }

    fn syntax(&self, expected: &'static str) -> Error {
        self.error(Reason::Syntax { expected })
    }

    fn error(&self, reason: Reason) -> Error {
        Error { at: self.at, reason }
    }
}

/// Why a text was refused, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error {
    /// How many bytes of the text were in order.
    pub at: usize,
    /// What was wrong with the next.
    pub reason: Reason,
}

/// What is wrong with a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It is not JSON.
    Syntax {
        /// What would have been.
        expected: &'static str,
    },
    /// More than [`MAX_DEPTH`] containers stand in one another.
    TooDeep,
    /// One half of a surrogate pair: no character, and no UTF-8 for it.
    LoneSurrogate,
    /// No double is so large.
    OutOfRange,
}

impl std::error::Error for Error {}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reason {
            Reason::Syntax { expected } => write!(f, "expected {expected}"),
            Reason::TooDeep => write!(f, "nested deeper than {MAX_DEPTH}"),
            Reason::LoneSurrogate => write!(f, "half a surrogate pair"),
            Reason::OutOfRange => write!(f, "a number out of range"),
        }?;
        write!(f, " at byte {}", self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(text: &str) -> Result<(), Error> {
        members(text, []).map(|[]| ())
    }

    #[test]
    fn a_member_is_lent_as_it_was_written() {
        let line = r#" { "a" : [1, {"b":2}] , "b" : "x\n" ,"c":-7 } "#;
        let [c, a, b, d] = members(line, ["c", "a", "b", "d"]).unwrap();
        assert_eq!(a.unwrap().text(), r#"[1, {"b":2}]"#);
        assert_eq!(b.unwrap().string().unwrap(), "x\n");
        assert_eq!(c.unwrap().signed(), Some(-7));
        assert_eq!(c.unwrap().unsigned(), None);
        assert_eq!(d, None);
    }

    #[test]
    fn of_equal_names_the_last_counts() {
        let line = r#"{"cmd":1,"\u0063md":2,"c\u006Dd":3}"#;
        let [cmd] = members(line, ["cmd"]).unwrap();
        assert_eq!(cmd.unwrap().unsigned(), Some(3));
    }

    #[test]
    fn only_the_outermost_object_is_searched() {
        for line in [r#"{"a":{"cmd":1}}"#, r#"[{"cmd":1}]"#, r#""cmd""#] {
            assert_eq!(members(line, ["cmd"]), Ok([None]), "{line}");
        }
    }

    #[test]
    fn what_one_value_is_it_is_alone() {
        let kinds = |text| {
            let line = format!("{{\"v\":{text}}}");
            let [v] = members(&line, ["v"]).unwrap();
            let v = v.unwrap();
            (
                v.is_null(),
                v.boolean(),
                v.unsigned(),
                v.signed(),
                v.string().map(Cow::into_owned),
            )
        };
        assert_eq!(kinds("null"), (true, None, None, None, None));
        assert_eq!(kinds("true"), (false, Some(true), None, None, None));
        assert_eq!(kinds("9"), (false, None, Some(9), Some(9), None));
        assert_eq!(kinds("-9"), (false, None, None, Some(-9), None));
        assert_eq!(kinds("9e0"), (false, None, None, None, None));
        let most = u64::MAX.to_string();
        assert_eq!(kinds(&most), (false, None, Some(u64::MAX), None, None));
        assert_eq!(kinds("[]"), (false, None, None, None, None));
        let text = Some("9".to_owned());
        assert_eq!(kinds("\"9\""), (false, None, None, None, text));
    }

    #[test]
    fn only_a_string_with_escapes_is_copied() {
        let [plain, escaped] =
            members(r#"{"p":"p","e":"\ud83d\ude00\/"}"#, ["p", "e"]).unwrap();
        assert!(matches!(plain.unwrap().string(), Some(Cow::Borrowed("p"))));
        assert_eq!(escaped.unwrap().string().unwrap(), "\u{1f600}/");
    }

    #[test]
    fn an_error_says_what_was_expected_where() {
        for (text, said) in [
            ("", "expected a value at byte 0"),
            ("{\"a\" 1}", "expected a colon at byte 5"),
            ("{\"a\":1 2}", "expected a comma or a closing brace at byte 7"),
            ("[1,]", "expected a value at byte 3"),
            ("{\"a\":1,}", "expected a string at byte 7"),
            ("[01]", "expected a comma or a closing bracket at byte 2"),
            ("-", "expected a digit at byte 1"),
            ("nul", "expected null at byte 0"),
            ("1 1", "expected nothing after the value at byte 2"),
            ("\"\\x\"", "expected an escape at byte 2"),
            ("\"\\u12g4\"", "expected four hexadecimal digits at byte 5"),
            ("\"\u{1}\"", "expected no control character at byte 1"),
            ("\"", "expected a closing quote at byte 1"),
            ("\"\\ud800\"", "half a surrogate pair at byte 7"),
            ("1e999", "a number out of range at byte 5"),
        ] {
            let error = verdict(text).unwrap_err();
            assert_eq!(error.to_string(), said, "{text}");
        }
    }

    #[test]
    fn containers_may_be_nested_so_deep_and_no_deeper() {
        let nest = |n| "[".repeat(n) + &"]".repeat(n);
        assert_eq!(verdict(&nest(MAX_DEPTH)), Ok(()));
        let error = verdict(&nest(MAX_DEPTH + 1)).unwrap_err();
        assert_eq!(error, Error { at: MAX_DEPTH, reason: Reason::TooDeep });
        let object = r#"{"a":"#.repeat(MAX_DEPTH) + &nest(1);
        assert_eq!(verdict(&object).unwrap_err().reason, Reason::TooDeep);
    }
}
