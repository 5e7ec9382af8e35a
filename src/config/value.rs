//! The kinds of value an option takes: what is typed, within which bounds,
//! and the sentence for when it is something else.

use std::{
    ffi::OsStr,
    fmt::{self, Display, Formatter},
    ops::RangeInclusive,
    time::Duration,
};

use super::{
    self as config, Settings, User, address,
    usage::{did_you_mean, quoted},
};
use crate::control::path;

/// What an option takes, and where it puts it.
///
/// Displays as what follows "takes": `a number from 1 to 1024`.
#[derive(Debug)]
pub(super) enum Value {
    /// May be given more than once, each time another.
    Address(fn(&mut Settings) -> &mut Vec<address::Address>),
    /// Decimal digits alone.
    Count(RangeInclusive<usize>, fn(&mut Settings, usize)),
    /// Bytes, or with K, M or G at the end that power of 1024.
    Size(RangeInclusive<usize>, fn(&mut Settings, usize)),
    /// Decimal, to the millisecond.
    Seconds(RangeInclusive<Duration>, fn(&mut Settings, Duration)),
    /// The same, or `off` or 0 for none.
    SecondsOrOff(
        RangeInclusive<Duration>,
        fn(&mut Settings, Option<Duration>),
    ),
    /// The path of a control socket, or none.
    Control(fn(&mut Settings, config::Control)),
    /// Any text but none, by this name in a synopsis.
    Text(&'static str, fn(&mut Settings, String)),
    /// A user and perhaps a group, which are looked up later.
    User(fn(&mut Settings, User)),
    /// One of these words, and what each does.
    Word(&'static [Choice]),
    /// Nothing: the option itself says it.
    Switch(fn(&mut Settings)),
}

type Choice = (&'static str, fn(&mut Settings));

impl Value {
    /// Puts what was typed where it belongs, or says what it should be, in
    /// a sentence that goes on from the option's name.
    pub(super) fn store(
        &self,
        settings: &mut Settings,
        typed: &OsStr,
    ) -> Result<(), String> {
        let text = typed.to_str();
        let stored = match self {
            Self::Address(list) => return add(list(settings), typed),
            Self::Control(put) if typed == "off" => {
                put(settings, config::Control::Off);
                return Ok(());
            }
            Self::Control(put) => {
                let path = path::checked(typed)
                    .map_err(|why| format!(" {}{why}", quoted(typed)))?;
                put(settings, config::Control::At(path));
                return Ok(());
            }
            Self::Count(range, put) => {
                within(range, text.and_then(count)).map(|n| put(settings, n))
            }
            Self::Size(range, put) => {
                within(range, text.and_then(size)).map(|n| put(settings, n))
            }
            Self::Seconds(range, put) => {
                within(range, text.and_then(seconds)).map(|n| put(settings, n))
            }
            Self::SecondsOrOff(range, put) => text
                .and_then(|text| seconds_or_off(range, text))
                .map(|n| put(settings, n)),
            Self::Text(_, put) => text
                .filter(|text| !text.is_empty())
                .map(|text| put(settings, text.to_owned())),
            Self::User(put) => text
                .and_then(|text| text.parse().ok())
                .map(|n| put(settings, n)),
            Self::Word(words) => words
                .iter()
                .find(|(word, _)| text == Some(word))
                .map(|(_, put)| put(settings)),
            Self::Switch(put) => typed.is_empty().then(|| put(settings)),
        };
        stored.ok_or_else(|| {
            let near = match self {
                Self::Word(words) => {
                    did_you_mean(typed, words.iter().map(|(word, _)| *word))
                }
                _ => None,
            };
            let typed = quoted(typed);
            format!(" takes {self}, not {typed}{}", near.unwrap_or_default())
        })
    }

    /// Its name in a synopsis.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Address(_) => "ADDR".into(),
            Self::Count(..) => "N".into(),
            Self::Size(..) => "SIZE".into(),
            Self::Seconds(..) => "SECONDS".into(),
            Self::SecondsOrOff(..) => "SECONDS|off".into(),
            Self::Control(_) => "PATH|off".into(),
            Self::Text(name, _) => (*name).into(),
            Self::User(_) => "USER[:GROUP]".into(),
            Self::Word(words) => listed(words, "|", "|"),
            Self::Switch(_) => String::new(),
        }
    }

    /// "1 to 1024", for what has such bounds.
    pub(super) fn bounds(&self) -> Option<String> {
        match self {
            Self::Address(_)
            | Self::Control(_)
            | Self::Text(..)
            | Self::User(_)
            | Self::Word(_)
            | Self::Switch(_) => None,
            Self::Count(range, _) => Some(span(range, usize::to_string)),
            Self::Size(range, _) => Some(span(range, |n| short(*n))),
            Self::Seconds(range, _) | Self::SecondsOrOff(range, _) => {
                Some(span(range, |time| time.as_secs_f64().to_string()))
            }
        }
    }

    /// Whether it may be given more than once.
    pub(super) fn repeatable(&self) -> bool {
        matches!(self, Self::Address(_))
    }
}

impl Display for Value {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(_) => f.write_str(address::SHAPES),
            Self::Count(..) => f.write_str("a number"),
            Self::Size(..) => f.write_str("a size"),
            Self::Seconds(..) => f.write_str("seconds"),
            Self::SecondsOrOff(..) => f.write_str("off, or seconds"),
            Self::Control(_) => f.write_str("a path or off"),
            Self::Text(name, _) => write!(f, "a {}", name.to_lowercase()),
            Self::User(_) => f.write_str("USER or USER:GROUP"),
            Self::Word(words) => f.write_str(&listed(words, ", ", " or ")),
            Self::Switch(_) => f.write_str("no value"),
        }?;
        match self.bounds() {
            Some(bounds) => write!(f, " from {}", bounds),
            None => Ok(()),
        }
    }
}

fn add(list: &mut Vec<address::Address>, typed: &OsStr) -> Result<(), String> {
    let address = address::Address::try_from(typed)
        .map_err(|error| format!(": {error}"))?;
    // Port 0 is another port each time.
    let any = matches!(address, address::Address::Tcp { port: 0, .. });
    if !any && list.contains(&address) {
        return Err(format!(
            " {} is given twice: type it once",
            quoted(typed)
        ));
    }
    list.push(address);
    Ok(())
}

fn within<T: PartialOrd>(
    range: &RangeInclusive<T>,
    n: Option<T>,
) -> Option<T> {
    n.filter(|n| range.contains(n))
}

fn span<T>(range: &RangeInclusive<T>, show: impl Fn(&T) -> String) -> String {
    format!("{} to {}", show(range.start()), show(range.end()))
}

fn listed<T>(words: &[(&str, T)], between: &str, last: &str) -> String {
    let mut list = String::new();
    for (i, (word, _)) in words.iter().enumerate() {
        let gap = match words.len() - i {
            _ if i == 0 => "",
            1 => last,
            _ => between,
        };
        list.push_str(gap);
        list.push_str(word);
    }
    list
}

/// Digits alone: `parse` would also take a plus sign.
pub(super) fn count(text: &str) -> Option<usize> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok())?
}

const UNITS: [(char, u32); 3] = [('G', 30), ('M', 20), ('K', 10)];

fn size(text: &str) -> Option<usize> {
    for (letter, bits) in UNITS {
        let either = [letter, letter.to_ascii_lowercase()];
        if let Some(digits) = text.strip_suffix(either) {
            return count(digits)?.checked_mul(1 << bits);
        }
    }
    count(text)
}

/// A size in the largest unit that divides it.
fn short(bytes: usize) -> String {
    for (letter, bits) in UNITS {
        if bytes > 0 && bytes.is_multiple_of(1 << bits) {
            return format!("{}{letter}", bytes >> bits);
        }
    }
    bytes.to_string()
}

/// `2`, `0.25` or `1.500`: no sign, no exponent, at most three decimals.
fn seconds(text: &str) -> Option<Duration> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
    let missing = 3_usize.checked_sub(decimals.len())?;
    let millis = count(decimals)? * 10_usize.pow(missing as u32);
    let whole = Duration::from_secs(count(whole)? as u64);
    whole.checked_add(Duration::from_millis(millis as u64))
}

/// `Some(None)`: off.
fn seconds_or_off(
    range: &RangeInclusive<Duration>,
    text: &str,
) -> Option<Option<Duration>> {
    match seconds(text) {
        Some(Duration::ZERO) => Some(None),
        None if text == "off" => Some(None),
        typed => within(range, typed).map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_digits_and_perhaps_one_unit() {
        for (text, bytes) in [
            ("0", Some(0)),
            ("1K", Some(1024)),
            ("3M", Some(3 << 20)),
            ("1G", Some(1 << 30)),
            ("", None),
            ("K", None),
            ("64k", Some(64 << 10)),
            ("1KK", None),
            ("1 K", None),
            ("+1", None),
            ("-1", None),
            ("1.5K", None),
            ("18446744073709551615G", None),
            ("18446744073709551616", None),
        ] {
            assert_eq!(size(text), bytes, "{text}");
        }
    }

    #[test]
    fn a_size_is_shown_as_it_can_be_typed() {
        for (bytes, text) in
            [(0, "0"), (256, "256"), (1025, "1025"), (1 << 20, "1M")]
        {
            assert_eq!(short(bytes), text);
            assert_eq!(size(text), Some(bytes));
        }
    }

    #[test]
    fn seconds_are_decimal_to_the_millisecond() {
        let millis = Duration::from_millis;
        for (text, time) in [
            ("0", Some(millis(0))),
            ("10", Some(millis(10_000))),
            ("0.5", Some(millis(500))),
            ("1.25", Some(millis(1250))),
            ("0.001", Some(millis(1))),
            ("", None),
            (".", None),
            (".5", None),
            ("5.", None),
            ("0.0001", None),
            ("1e3", None),
            ("inf", None),
            ("-1", None),
            ("1s", None),
            ("18446744073709551615", Some(Duration::from_secs(u64::MAX))),
            ("18446744073709551616", None),
        ] {
            assert_eq!(seconds(text), time, "{text}");
        }
    }
}
