//! How a worker learns that it is one: the environment (`master::spawn`).

use std::env;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::sync::{Arc, Mutex, PoisonError};

use crate::WorkerId;
use crate::error::Error;
use crate::scoreboard::Scoreboard;
use crate::sys::process;

const VARIABLES: [&str; 5] = [
    "NODE_CHANNEL_FD",
    "NODE_CHANNEL_SERIALIZATION_MODE",
    "NODE_UNIQUE_ID",
    "HANDOFF_WORKER_INDEX",
    "HANDOFF_WORKER_REGION",
];

/// Whether this process was started as a worker of ours.
pub(crate) fn is_there() -> bool {
    env::var_os("HANDOFF_WORKER_REGION").is_some()
}

/// What the master gave this worker.
#[derive(Debug)]
pub(crate) struct Contract {
    pub(crate) worker: WorkerId,
    pub(crate) index: usize,
    scoreboard: Arc<Scoreboard>,
    channel: Mutex<Option<OwnedFd>>,
}

impl Contract {
    /// Takes it over, and out of the environment: what this process starts
    /// is no worker.
    pub(crate) fn take() -> Result<Contract, Error> {
        let [channel, _, id, index, region] = VARIABLES.map(|name| {
            let value = env::var(name).unwrap_or_default();
            process::remove_variable(name);
            (name, value)
        });
        let channel = descriptor(&channel)?;
        let region = descriptor(&region)?;
        let scoreboard = Scoreboard::open(region.as_fd())?
            .ok_or_else(|| Error::contract("a master of another version"))?;
        Ok(Contract {
            worker: WorkerId(number(&id)?),
            index: number(&index)?,
            scoreboard: Arc::new(scoreboard),
            channel: Mutex::new(Some(channel)),
        })
    }

    pub(crate) fn scoreboard(&self) -> Arc<Scoreboard> {
        Arc::clone(&self.scoreboard)
    }

    /// The channel, for whoever asks first.
    pub(crate) fn take_channel(&self) -> Result<OwnedFd, Error> {
        self.channel
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
            .ok_or_else(|| Error::contract("a channel already taken"))
    }
}

fn descriptor((name, value): &(&str, String)) -> Result<OwnedFd, Error> {
    let number: RawFd = number(&(name, value.clone()))?;
    process::inherited(number)
        .ok_or_else(|| Error::contract(&format!("no open {name}={value}")))
}

fn number<T: std::str::FromStr>(
    (name, value): &(&str, String),
) -> Result<T, Error> {
    value.parse().map_err(|_| Error::contract(&format!("{name}={value:?}")))
}
