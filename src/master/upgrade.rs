//! The hot upgrade of the master: a new program takes over, and no client is
//! refused meanwhile.
//!
//! ```text
//!   old master                              new master, its child
//!   SIGUSR2: fork, exec ── listeners, ──▶   the same program by name, so
//!     │                    a pair           a new build, if there is one
//!     │ accepts alone                       starts its workers
//!     │ ◀──────────────── "ready" ───────── all of them are ready
//!   stops: its workers give back ─────────▶ accepts too, then alone,
//!   what they have, it exits                and goes on with those
//! ```
//!
//! A listener is one socket with two owners in between, so its queue is never
//! closed. If the new master dies, is stopped, or is not ready in time,
//! nothing has changed: it has touched no connection and no socket file. What
//! it inherits stands in its [environment].

use std::env;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::time::Instant;

use log::{error, info, warn};

use super::supervisor::{Event, State};
use super::{Master, Source};
use crate::control;
use crate::environment::{
    self, UPGRADE_LISTENER as LISTENER, UPGRADE_READY as READY,
    UPGRADE_WORKERS as WORKERS,
};
use crate::error::Error;
use crate::slab::Key;
use crate::sys;
use crate::sys::epoll::Interest;
use crate::sys::process::{self, Child, Ended, FIRST_DESCRIPTOR};
use crate::sys::{socket, unix};

/// What the new master says; that it says something is all that counts.
const WORD: &[u8] = b"ready\n";

/// A new master that is not ready yet.
#[derive(Debug)]
pub(super) struct Successor {
    child: Child,
    channel: OwnedFd,
    process_key: Key,
    channel_key: Key,
    /// It is given up then.
    pub(super) deadline: Instant,
}

impl Successor {
    /// How much it has said: nothing yet, or, with 0, that it will not.
    fn hear(&self) -> Option<usize> {
        let mut word = [0; WORD.len()];
        socket::receive(self.channel.as_fd(), &mut word).ok().flatten()
    }
}

/// What a master was given by the one before it.
#[derive(Debug, Default)]
pub(super) struct Inheritance {
    /// To say "ready" on.
    pub(super) ready: Option<OwnedFd>,
    /// How many workers an operator has asked it for.
    pub(super) scaled: Option<usize>,
    listeners: Vec<(OsString, OwnedFd)>,
}

impl Inheritance {
    /// Takes it out of the environment; empty for a first master.
    pub(super) fn take() -> Result<Inheritance, Error> {
        let mut inheritance = Inheritance::default();
        let names: Vec<String> = env::vars_os()
            .filter_map(|(name, _)| name.into_string().ok())
            .filter(|name| name.starts_with(environment::UPGRADE))
            .collect();
        for name in names {
            let value = env::var_os(&name).unwrap_or_default();
            process::remove_variable(&name);
            if name == READY {
                let number = value.to_str().unwrap_or_default();
                inheritance.ready = Some(inherited(&name, number)?);
            } else if name == WORKERS {
                let number = value.to_str().and_then(|text| text.parse().ok());
                inheritance.scaled =
                    number.filter(|n| control::WORKERS.contains(n));
            } else if let Some(number) = name.strip_prefix(LISTENER) {
                let socket = inherited(&name, number)?;
                inheritance.listeners.push((value, socket));
            }
        }
        Ok(inheritance)
    }

    /// The listeners of that name, which may be several.
    pub(super) fn listeners_of(&mut self, name: &OsStr) -> Vec<OwnedFd> {
        self.listeners
            .extract_if(.., |(known, _)| known == name)
            .map(|(_, socket)| socket)
            .collect()
    }

    /// Says which listeners nobody asked for; they close here.
    pub(super) fn discard_rest(&mut self) {
        for (name, _) in self.listeners.drain(..) {
            let name = name.to_string_lossy();
            warn!("no longer listening on {name}, as the old master does");
        }
    }
}

fn inherited(name: &str, number: &str) -> Result<OwnedFd, Error> {
    let open = number.parse::<RawFd>().ok().and_then(process::inherited);
    open.ok_or_else(|| Error::System(format!("{name}: no such descriptor")))
}

impl Master {
    /// SIGUSR2.
    pub(super) fn upgrade(&mut self) {
        if std::process::id() == 1 {
            // Our exit would end the container and the new master with it.
            warn!("no upgrade: process 1 cannot be replaced by its child");
        } else if self.stopping {
            warn!("no upgrade: stopping");
        } else if self.successor.is_some() || self.predecessor.is_some() {
            warn!("no upgrade: one is under way");
        } else if let Err(error) = self.raise_successor() {
            error!("no upgrade: {error}");
        }
    }

    fn raise_successor(&mut self) -> sys::Result<()> {
        let (channel, theirs) = unix::pair()?;
        let mut contract =
            vec![OsString::from(format!("{READY}={FIRST_DESCRIPTOR}"))];
        if let Some(workers) = self.scaled {
            contract.push(format!("{WORKERS}={workers}").into());
        }
        let mut descriptors = vec![theirs.as_fd()];
        // All that is listened on or shared, whoever asked for it.
        let sockets = self.servers.values().flat_map(|server| {
            let listeners = server.doors.listeners();
            let accepting = listeners.map(|l| (l.name(), l.as_fd()));
            let asked = server.asked.iter();
            let shared = asked.filter_map(|asked| {
                let socket = asked.shared.as_ref()?;
                Some((OsStr::new(&asked.key), socket.as_fd()))
            });
            accepting.chain(shared)
        });
        for (number, (name, fd)) in (FIRST_DESCRIPTOR + 1..).zip(sockets) {
            let mut pair = OsString::from(format!("{LISTENER}{number}="));
            pair.push(name);
            contract.push(pair);
            descriptors.push(fd);
        }
        let child = self.launcher.spawn_successor(contract, &descriptors)?;
        info!("upgrade: the new master has pid {}", child.pid());
        let process_key = self.sources.insert(Source::Successor);
        let channel_key = self.sources.insert(Source::Successor);
        let interest = Interest::Read;
        let watched = self
            .epoll
            .add(child.as_fd(), interest, process_key.bits())
            .and_then(|()| {
                self.epoll.add(channel.as_fd(), interest, channel_key.bits())
            });
        if watched.is_err() {
            // It must not become a second master that nobody knows of.
            child.kill();
            child.wait()?;
            self.sources.remove(process_key);
            self.sources.remove(channel_key);
            return watched;
        }
        let deadline = self.now + 2 * self.boot_timeout;
        self.successor = Some(Successor {
            child,
            channel,
            process_key,
            channel_key,
            deadline,
        });
        Ok(())
    }

    /// Something about the new master: it is ready, or has ended.
    pub(super) fn watch_successor(&mut self) -> Result<(), Error> {
        let Some(successor) = &self.successor else { return Ok(()) };
        let said = successor.hear();
        let ready = said.is_some_and(|count| count > 0);
        let ended = successor.child.reap()?;
        // It may have come to be ready, and to its end, before we heard of
        // either. Had it been told to stop, so are we.
        if ready && matches!(ended, None | Some(Ended::Code(0))) {
            let pid = successor.child.pid();
            info!("upgrade: the new master, pid {pid}, is ready");
            self.pass_on_to_successor()?;
            self.stopping = true;
            for server in self.servers.values_mut() {
                server.doors.bequeath();
            }
            self.shut_control();
            self.notifier.hand_over(pid);
            self.note(Event::Stop);
            return Ok(());
        }
        if let Some(ended) = ended {
            error!("upgrade abandoned: the new master ended, {ended:?}");
            self.forget_successor()?;
            return self.restore_control();
        }
        if successor.deadline <= self.now || said == Some(0) {
            error!("upgrade abandoned: the new master is not ready");
            self.abandon_upgrade()?;
            self.restore_control()?;
        }
        Ok(())
    }

    /// Ends a new master that is not ready. One that is, although we have not
    /// heard of it yet, has clients: it goes as we do.
    pub(super) fn abandon_upgrade(&mut self) -> Result<(), Error> {
        if let Some(successor) = &self.successor {
            if successor.hear().is_some_and(|count| count > 0) {
                info!("the new master was ready, and is to stop as well");
                successor.child.terminate();
            } else {
                successor.child.kill();
                successor.child.wait()?;
            }
        }
        self.forget_successor()
    }

    /// It is the master now, and the heir of what our workers have.
    fn pass_on_to_successor(&mut self) -> Result<(), Error> {
        if let Some(successor) = self.successor.take() {
            self.epoll.remove(successor.child.as_fd())?;
            self.sources.remove(successor.process_key);
            self.name_heir(successor.channel, successor.channel_key);
        }
        Ok(())
    }

    fn forget_successor(&mut self) -> Result<(), Error> {
        if let Some(successor) = self.successor.take() {
            self.epoll.remove(successor.child.as_fd())?;
            self.epoll.remove(successor.channel.as_fd())?;
            self.sources.remove(successor.process_key);
            self.sources.remove(successor.channel_key);
        }
        Ok(())
    }

    /// Told to stop before it was ready, a new master leaves everything to
    /// the one before it.
    pub(super) fn renounce(&mut self) {
        if self.predecessor.take().is_some() {
            for server in self.servers.values_mut() {
                server.doors.slam(&self.epoll);
            }
        }
    }

    /// Tells the master before this one to go, once every worker is ready.
    pub(super) fn relieve_predecessor(&mut self) -> Result<(), Error> {
        if self.predecessor.is_none() {
            return Ok(());
        }
        let ready =
            |status: &super::supervisor::Status| status.state == State::Ready;
        let workers = self.supervisor.status();
        if !workers.iter().all(ready) {
            return Ok(());
        }
        // An app may open its servers one after the other.
        if !self.inheritance.listeners.is_empty()
            && self.now < self.start + self.boot_timeout
        {
            return Ok(());
        }
        self.inheritance.discard_rest();
        self.open_control()?;
        info!("ready: the old master may go");
        if let Some(channel) = self.predecessor.take() {
            match socket::send(channel.as_fd(), WORD) {
                Ok(_) => self.expect_heritage(channel)?,
                Err(error) => {
                    warn!("the old master is gone already: {error}");
                }
            }
        }
        for server in self.servers.values_mut() {
            server.doors.take_over();
        }
        Ok(())
    }

    /// When a new master waits no longer for somebody to ask for what it
    /// has inherited.
    pub(super) fn claims_end(&self) -> Option<Instant> {
        self.predecessor.as_ref()?;
        let end = self.start + self.boot_timeout;
        let waits = !self.inheritance.listeners.is_empty();
        (waits && end > self.now).then_some(end)
    }

    /// Whether a new master has been started that is not ready yet.
    pub(super) fn is_being_followed(&self) -> bool {
        self.successor.is_some()
    }

    pub(super) fn is_successor(&self, pid: i32) -> bool {
        let known = self.successor.as_ref();
        known.is_some_and(|successor| successor.child.pid() == pid)
    }

    /// When the new master is given up.
    pub(super) fn upgrade_deadline(&self) -> Option<Instant> {
        self.successor.as_ref().map(|successor| successor.deadline)
    }
}
