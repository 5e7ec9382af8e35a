//! How a worker learns that it is one: from the
//! [environment](crate::environment) that a master of ours or Node's
//! `child_process` gave it.
//!
//! | there is | and | so this process is |
//! |---|---|---|
//! | `HANDOFF_WORKER_REGION` | | a worker of ours |
//! | `NODE_CHANNEL_FD` | `NODE_UNIQUE_ID` | a worker of Node's `cluster` |
//! | `NODE_CHANNEL_FD` | no address to listen on | a Node process's child, which is sent connections |
//! | anything else | | a master |

use std::env;
use std::os::fd::{AsFd, OwnedFd};
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use crate::WorkerId;
use crate::environment::{
    CHANNEL, CHANNEL_MODE, JSON, WORKER_ID, WORKER_INDEX, WORKER_REGION,
};
use crate::error::Error;
use crate::scoreboard::Scoreboard;
use crate::sys::event::WakeUp;
use crate::sys::{self, process};

const VARIABLES: [&str; 5] =
    [CHANNEL, CHANNEL_MODE, WORKER_ID, WORKER_INDEX, WORKER_REGION];

/// Whether this process was started as a worker, of ours or of Node's
/// `cluster`.
pub(crate) fn is_there() -> bool {
    let has = |name: &str| env::var_os(name).is_some();
    has(WORKER_REGION) || has(WORKER_ID) && has_channel()
}

/// Whether some process has a channel to this one, as Node's `fork` makes
/// for every child: it may or may not send connections. A variable that was
/// meant for another process, without the socket, is no channel.
pub(crate) fn has_channel() -> bool {
    env::var(CHANNEL)
        .is_ok_and(|number| number.parse().is_ok_and(sys::unix::is_there))
}

/// What its parent gave this worker.
#[derive(Debug)]
pub(crate) struct Contract {
    /// 0 in a child that belongs to no cluster.
    pub(crate) worker: WorkerId,
    pub(crate) index: usize,
    pub(crate) parent: Parent,
    /// Without a master of ours nobody else looks at it.
    pub(crate) scoreboard: Arc<Scoreboard>,
    channel: Mutex<Option<OwnedFd>>,
    /// What the program wants said to the parent.
    outgoing: Mutex<Vec<String>>,
    /// Makes the loop look at that.
    waker: OnceLock<Arc<WakeUp>>,
}

/// Who is at the other end of the channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parent {
    /// A master of ours.
    Master,
    /// The primary of a Node cluster.
    NodeCluster,
    /// A Node process without one.
    NodeProcess,
}

/// This process was started as a worker, whatever came of it: nothing in its
/// environment says so any more.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// This process was a master, and is none any more.
static SERVED: AtomicBool = AtomicBool::new(false);

/// Refuses to make a master of what was a worker, or has been one: its workers
/// would come to the first call again, and be those of that.
pub(crate) fn is_untaken() -> Result<(), Error> {
    let why = match (TAKEN.load(Relaxed), SERVED.load(Relaxed)) {
        (false, false) => return Ok(()),
        (true, _) => "worker, which would be a master of its own",
        (false, true) => "master, whose workers would be of the first call",
    };
    Err(Error::Usage(format!(
        "serve was called once more in a {why}: end the program when serve \
         returns"
    )))
}

/// A master has served: there is to be no other in this process.
pub(crate) fn forbid_another() {
    SERVED.store(true, Relaxed);
}

impl Contract {
    /// Takes it over, and out of the environment: what this process starts
    /// is no worker.
    pub(crate) fn take() -> Result<Contract, Error> {
        TAKEN.store(true, Relaxed);
        let [channel, mode, id, index, region] = VARIABLES.map(|name| {
            let value = env::var_os(name);
            process::remove_variable(name);
            (name, value.map(|value| value.to_string_lossy().into_owned()))
        });
        if let (name, Some(mode)) = mode
            && mode != JSON
        {
            return Err(Error::contract(&format!(
                "{name}={mode}; serialization: 'json' is what it takes"
            )));
        }
        let parent = match (&region.1, &id.1) {
            (Some(_), _) => Parent::Master,
            (None, Some(_)) => Parent::NodeCluster,
            (None, None) => Parent::NodeProcess,
        };
        let scoreboard = if parent == Parent::Master {
            Scoreboard::open(descriptor(&region)?.as_fd())?.ok_or_else(
                || Error::contract("a master of another version"),
            )?
        } else {
            Scoreboard::create(false)?.0
        };
        Ok(Contract {
            worker: WorkerId(number_if_any(&id)?),
            index: number_if_any(&index)? as usize,
            parent,
            scoreboard: Arc::new(scoreboard),
            channel: Mutex::new(Some(descriptor(&channel)?)),
            outgoing: Mutex::default(),
            waker: OnceLock::new(),
        })
    }

    /// How many connections this worker has taken so far.
    pub(crate) fn connections(&self) -> u64 {
        self.scoreboard.received()
    }

    /// Has the loop say this to the parent; from any thread.
    pub(crate) fn post(&self, json: String) {
        lock(&self.outgoing).push(json);
        if let Some(waker) = self.waker.get()
            && let Err(error) = waker.wake()
        {
            log::error!("a message to the parent is late: {error}");
        }
    }

    /// The loop is there, and what wakes it.
    pub(crate) fn set_waker(&self, waker: Arc<WakeUp>) {
        // There is one loop in a worker's life.
        let _ = self.waker.set(Arc::clone(&waker));
        // What was said before is not to wait for what is said next. Looked
        // at last: another thread may be saying something just now.
        if !lock(&self.outgoing).is_empty()
            && let Err(error) = waker.wake()
        {
            log::error!("a message to the parent is late: {error}");
        }
    }

    /// What is to be said.
    pub(crate) fn take_outgoing(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.outgoing))
    }

    /// The channel, for whoever asks first.
    pub(crate) fn take_channel(&self) -> Result<OwnedFd, Error> {
        lock(&self.channel)
            .take()
            .ok_or_else(|| Error::contract("a channel already taken"))
    }
}

/// Whoever panicked with it left it whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A variable's name and value.
type Variable = (&'static str, Option<String>);

fn descriptor(variable: &Variable) -> Result<OwnedFd, Error> {
    process::inherited(number(variable)?)
        .ok_or_else(|| wrong("no open descriptor", variable))
}

/// The number that must be there.
fn number<T: FromStr>(variable: &Variable) -> Result<T, Error> {
    let value = variable.1.as_deref().unwrap_or_default();
    value.parse().map_err(|_| wrong("no number", variable))
}

/// A number, or 0 from a parent that has no such notion.
fn number_if_any(variable: &Variable) -> Result<u32, Error> {
    match variable.1 {
        Some(_) => number(variable),
        None => Ok(0),
    }
}

fn wrong(what: &str, (name, value): &Variable) -> Error {
    let value = value.as_deref().unwrap_or_default();
    Error::contract(&format!("{what} in {name}={value:?}"))
}
