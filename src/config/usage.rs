//! What to say to somebody who typed something that means nothing.
//!
//! Always one line of printable text, whatever bytes were typed: it goes to
//! a terminal and into logs, where an argument must not forge a second line
//! or an escape sequence.

use std::{
    ffi::OsStr,
    fmt::{self, Display, Formatter, Write},
    os::unix::ffi::OsStrExt,
};

/// Something was typed that means nothing.
///
/// Displays as one line without control characters, which says what was
/// wrong and what to type instead. The program ends with status 2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Usage(String);

impl Usage {
    /// `line` quotes what was typed by [`quoted`] only.
    pub(super) fn new(line: impl Into<String>) -> Self {
        Self(line.into())
    }
}

impl Display for Usage {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// Shows bytes as one line: what is not printable appears as Rust would
/// escape it, what is not UTF-8 as `\xNN`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Escaped<'a>(pub(super) &'a OsStr);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for chunk in self.0.as_bytes().utf8_chunks() {
            for char in chunk.valid().chars() {
                match char {
                    '\'' | '"' => f.write_char(char)?,
                    _ => write!(f, "{}", char.escape_debug())?,
                }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

/// What was typed, between quotation marks; the end of a long text is cut.
pub(super) fn quoted(typed: impl AsRef<OsStr>) -> String {
    const MOST: usize = 120;
    let bytes = typed.as_ref().as_bytes();
    let shown = OsStr::from_bytes(&bytes[..bytes.len().min(MOST)]);
    let cut = if bytes.len() > MOST { "…" } else { "" };
    format!("\"{}{cut}\"", Escaped(shown))
}

/// "; did you mean X?", if one of the words is what was probably meant.
pub(super) fn did_you_mean<'a>(
    typed: &OsStr,
    words: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    let typed = typed.to_str().filter(|typed| typed.len() <= 40)?;
    words
        .into_iter()
        .filter_map(|word| Some((unlikeness(typed, word)?, word)))
        .min()
        .map(|(_, word)| format!("; did you mean {word}?"))
}

/// 0 for a beginning of the word, else the number of edits; `None` beyond
/// one edit in three characters, where a suggestion would only puzzle.
fn unlikeness(typed: &str, word: &str) -> Option<usize> {
    let bare = typed.trim_start_matches('-');
    if bare.len() >= 3 && word.trim_start_matches('-').starts_with(bare) {
        return Some(0);
    }
    let edits = distance(typed.as_bytes(), word.as_bytes());
    (edits <= word.len().div_ceil(3).min(3)).then_some(edits)
}

/// Levenshtein's: how many bytes to insert, delete or replace.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_bytes_are_shown_escaped() {
        let typed = OsStr::from_bytes(b"a\n\x1b[31m\xff\xe2\x80\xae'");
        assert_eq!(quoted(typed), r#""a\n\u{1b}[31m\xff\u{202e}'""#);
    }

    #[test]
    fn a_long_text_is_cut() {
        let shown = quoted("x".repeat(1 << 20));
        assert_eq!(shown, format!("\"{}…\"", "x".repeat(120)));
    }

    #[test]
    fn the_nearest_word_is_suggested_and_nothing_far() {
        let near = |typed: &str| {
            did_you_mean(OsStr::new(typed), ["--workers", "--window"])
        };
        assert_eq!(near("--wrokers").unwrap(), "; did you mean --workers?");
        assert_eq!(near("-workers").unwrap(), "; did you mean --workers?");
        assert_eq!(near("--win").unwrap(), "; did you mean --window?");
        assert_eq!(near("--zzz"), None);
        assert_eq!(near(&"--workers".repeat(9)), None);
    }

    #[test]
    fn the_distance_counts_edits() {
        for (a, b, edits) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("kitten", "sitting", 3),
            ("flaw", "lawn", 2),
        ] {
            assert_eq!(distance(a.as_bytes(), b.as_bytes()), edits);
        }
    }
}
