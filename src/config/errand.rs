//! The commands that ask a running master for something:
//! `status [--json]`, `reload`, `scale N`, `stop`, each with
//! `[--control PATH]`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::{
    Command, Topic, Usage, WORKERS, special, split,
    usage::{did_you_mean, quoted},
    value::count,
};
use crate::control::{Format, Request};

/// What to ask a running master for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Errand {
    /// What for.
    pub request: Request,
    /// Which master, by its socket; `None`: the only one there is.
    pub control: Option<PathBuf>,
}

/// Their names, as typed.
pub(super) const ERRANDS: [&str; 4] = ["status", "reload", "scale", "stop"];

/// Where to find a control socket.
const CONTROL: &str = "--control";

/// The longest path of a control socket. The `sun_path` of unix(7) has 108
/// bytes; the rest is for the suffix under which it is made.
const LONGEST_PATH: usize = 96;

/// Understands what stands behind one of [`ERRANDS`].
pub(super) fn errand(
    name: &'static str,
    mut words: impl Iterator<Item = OsString>,
) -> Result<Command, Usage> {
    let mut control = None;
    let mut json = false;
    let mut number = None;
    while let Some(word) = words.next() {
        if let Some(command) = special(&word, Topic::Errand(name)) {
            return Ok(command);
        }
        let (option, value) = split(&word);
        let twice = match option.to_str() {
            Some(CONTROL) => {
                let value =
                    value.or_else(|| words.next()).ok_or_else(|| {
                        Usage::new(format!("{CONTROL} needs a path"))
                    })?;
                let path = control_path(&value).map_err(|why| {
                    Usage::new(format!("{CONTROL} {}{why}", quoted(&value)))
                })?;
                control.replace(path).is_some()
            }
            Some("--json") if name == "status" && value.is_none() => {
                std::mem::replace(&mut json, true)
            }
            _ if name == "scale" && !word.as_bytes().starts_with(b"--") => {
                number.replace(workers(&word)?).is_some()
            }
            _ => return Err(unknown_word(name, &word)),
        };
        if twice {
            let word = quoted(option);
            return Err(Usage::new(format!(
                "{name} has {word} twice: type it once"
            )));
        }
    }
    let request = match name {
        "status" if json => Request::Status(Format::Json),
        "status" => Request::Status(Format::Table),
        "reload" => Request::Reload,
        "scale" => Request::Scale(number.ok_or_else(|| {
            Usage::new(format!("scale needs {}", how_many()))
        })?),
        _ => Request::Stop,
    };
    Ok(Command::Errand(Errand { request, control }))
}

fn workers(word: &OsStr) -> Result<usize, Usage> {
    word.to_str()
        .and_then(count)
        .filter(|workers| WORKERS.contains(workers))
        .ok_or_else(|| {
            let (range, typed) = (how_many(), quoted(word));
            let is_number = word.to_str().and_then(count).is_some();
            let example = if is_number { "" } else { EXAMPLE };
            Usage::new(format!("scale takes {range}, not {typed}{example}"))
        })
}

/// For `scale APP 4` and `scale +2`, as others have it.
const EXAMPLE: &str = ": type handoff scale 4";

fn how_many() -> String {
    let (least, most) = (WORKERS.start(), WORKERS.end());
    format!("a number of workers from {least} to {most}")
}

fn unknown_word(name: &str, word: &OsStr) -> Usage {
    let options: &[&str] = match name {
        "status" => &["--json", CONTROL],
        _ => &[CONTROL],
    };
    let near = did_you_mean(word, options.iter().copied()).unwrap_or_else(
        || match word.as_bytes() {
            [b'-', ..] => format!(": it takes {}", options.join(" and ")),
            _ => format!(
                ": it is about all workers; type {CONTROL} PATH to name one \
                 of several masters"
            ),
        },
    );
    Usage::new(format!("{name} takes no {}{near}", quoted(word)))
}

/// Checks the path of a control socket, or says what is wrong in a text that
/// goes on from it.
pub(super) fn control_path(typed: &OsStr) -> Result<PathBuf, String> {
    match typed.len() {
        0 => Err(" is no path: type one".to_owned()),
        1..=LONGEST_PATH => Ok(typed.into()),
        length => Err(format!(
            " has {length} bytes: the path of a control socket has at most \
             {LONGEST_PATH}"
        )),
    }
}
