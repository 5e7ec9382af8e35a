//! What a master was given by the one before it, in its environment.

use std::env;
use std::ffi::{OsStr, OsString};
use std::os::fd::{OwnedFd, RawFd};

use log::warn;

use super::{LISTENER, READY, WORKERS};
use crate::error::Error;
use crate::sys::process;
use crate::{control, environment};

/// See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct Inherited {
    /// The channel to say "ready" on.
    pub(super) ready: Option<OwnedFd>,
    /// How many workers an operator has asked the previous master for.
    pub(super) scaled: Option<usize>,
    listeners: Vec<(OsString, OwnedFd)>,
}

impl Inherited {
    /// Takes it out of the environment; empty for a first master.
    pub(super) fn take() -> Result<Inherited, Error> {
        let mut inherited = Inherited::default();
        let names: Vec<String> = env::vars_os()
            .filter_map(|(name, _)| name.into_string().ok())
            .filter(|name| name.starts_with(environment::UPGRADE))
            .collect();
        for name in names {
            let value = env::var_os(&name).unwrap_or_default();
            process::remove_variable(&name);
            if name == READY {
                let number = value.to_str().unwrap_or_default();
                inherited.ready = Some(descriptor(&name, number)?);
            } else if name == WORKERS {
                let number = value.to_str().and_then(|text| text.parse().ok());
                inherited.scaled =
                    number.filter(|n| control::WORKERS.contains(n));
            } else if let Some(number) = name.strip_prefix(LISTENER) {
                let socket = descriptor(&name, number)?;
                inherited.listeners.push((value, socket));
            }
        }
        Ok(inherited)
    }

    /// The listeners of that name, which may be several.
    pub(super) fn claim(&mut self, name: &OsStr) -> Vec<OwnedFd> {
        self.listeners
            .extract_if(.., |(known, _)| known == name)
            .map(|(_, socket)| socket)
            .collect()
    }

    /// Whether every listener has been asked for.
    pub(super) fn is_claimed(&self) -> bool {
        self.listeners.is_empty()
    }

    /// Says which listeners nobody asked for; they close here.
    pub(super) fn discard_rest(&mut self) {
        for (name, _) in self.listeners.drain(..) {
            let name = name.to_string_lossy();
            warn!("no longer listening on {name}, as the old master does");
        }
    }
}

fn descriptor(name: &str, number: &str) -> Result<OwnedFd, Error> {
    let open = number.parse::<RawFd>().ok().and_then(process::inherited);
    open.ok_or_else(|| Error::System(format!("{name}: no such descriptor")))
}
