//! The commands that ask a running master for something:
//! `status [--json]`, `reload`, `scale N`, `stop`, each with
//! `[--control PATH]`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use super::{
    Command, Topic, Usage, special, split,
    usage::{did_you_mean, quoted},
    value::count,
};
use crate::control::client::ControlCommand;
use crate::control::{Format, Request, WORKERS, path};

/// Their names, as typed.
pub(super) const CONTROL_COMMANDS: [&str; 4] =
    ["status", "reload", "scale", "stop"];

/// Where to find a control socket.
const CONTROL: &str = "--control";

/// Understands what stands behind one of [`CONTROL_COMMANDS`].
pub(super) fn control_command(
    name: &'static str,
    mut words: impl Iterator<Item = OsString>,
) -> Result<Command, Usage> {
    let mut control = None;
    let mut json = false;
    let mut number = None;
    while let Some(word) = words.next() {
        if let Some(command) = special(&word, Topic::Control(name)) {
            return Ok(command);
        }
        let (option, value) = split(&word);
        let twice = match option.to_str() {
            Some(CONTROL) => {
                let value =
                    value.or_else(|| words.next()).ok_or_else(|| {
                        Usage::new(format!("{CONTROL} needs a path"))
                    })?;
                let path = path::checked(&value).map_err(|why| {
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
    Ok(Command::Control(ControlCommand { request, control }))
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
