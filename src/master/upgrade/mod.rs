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
//! it inherits stands in its [environment](crate::environment).

mod handover;
mod inherited;

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use log::{error, info, warn};

use self::handover::{Incoming, Outgoing};
use self::inherited::Inherited;
use super::poller::{Poller, Source};
use super::traffic::{Connection, Traffic};
use super::workers::Workers;
use crate::environment::{
    UPGRADE_LISTENER as LISTENER, UPGRADE_READY as READY,
    UPGRADE_WORKERS as WORKERS,
};
use crate::error::Error;
use crate::slab::Key;
use crate::sys;
use crate::sys::epoll::{Event, Interest};
use crate::sys::process::{Child, Ended, FIRST_DESCRIPTOR};
use crate::sys::{socket, unix};

/// What the new master says; that it says something is all that counts.
const WORD: &[u8] = b"ready\n";

/// How long one may take to its end that is killed: longer only in a call
/// that no signal ends, and then it is not waited for.
const TO_BE_KILLED: Duration = Duration::from_secs(1);

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Upgrade {
    next: Next,
    previous: Previous,
    /// What the previous master has left that nobody has asked for yet.
    inherited: Inherited,
    /// How many workers an operator has asked for: that outlives an upgrade.
    scaled: Option<usize>,
    /// How long a master may take to be ready: its workers' time, twice.
    boot_timeout: Duration,
    start: Instant,
}

/// The master that is to follow this one.
#[derive(Debug)]
enum Next {
    None,
    /// It is not ready yet.
    Starting(Starting),
    /// It is the master now, and gets the connections of our workers.
    HandingOver(Outgoing),
}

/// The master before this one.
#[derive(Debug)]
enum Previous {
    /// There was none, or it has left all it had.
    None,
    /// It serves, until it is told on this channel that it may go.
    Waiting(OwnedFd),
    /// It goes, and what its workers had comes from there.
    Receiving(Incoming),
}

/// A new master that is not ready yet.
#[derive(Debug)]
struct Starting {
    child: Child,
    channel: OwnedFd,
    process_key: Key,
    channel_key: Key,
    /// It is given up then.
    deadline: Instant,
}

/// What became of a new master.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    Nothing,
    /// It is the master now.
    Ready {
        pid: i32,
    },
    /// It came to nothing, and all is as it was before.
    Abandoned,
}

impl Starting {
    /// How much it has said: nothing yet, or, with 0, that it will not.
    fn hear(&self) -> Option<usize> {
        let mut word = [0; WORD.len()];
        socket::receive(self.channel.as_fd(), &mut word).ok().flatten()
    }

    fn forget_process(&self, poller: &mut Poller) {
        poller.remove(self.child.as_fd(), self.process_key);
    }

    fn forget(&self, poller: &mut Poller) {
        self.forget_process(poller);
        poller.remove(self.channel.as_fd(), self.channel_key);
    }
}

/// The old master's side.
impl Upgrade {
    /// Starts the next master with `sockets`, all that is listened on or
    /// shared, whoever asked for it.
    ///
    /// # Errors
    /// There is none, and nothing has changed.
    pub(super) fn start<'a>(
        &mut self,
        sockets: impl Iterator<Item = (&'a OsStr, BorrowedFd<'a>)>,
        workers: &mut Workers,
        poller: &mut Poller,
        now: Instant,
    ) -> sys::Result<()> {
        let (channel, theirs) = unix::pair()?;
        let mut contract =
            vec![OsString::from(format!("{READY}={FIRST_DESCRIPTOR}"))];
        if let Some(workers) = self.scaled {
            contract.push(format!("{WORKERS}={workers}").into());
        }
        let mut descriptors = vec![theirs.as_fd()];
        for (number, (name, fd)) in (FIRST_DESCRIPTOR + 1..).zip(sockets) {
            let mut pair = OsString::from(format!("{LISTENER}{number}="));
            pair.push(name);
            contract.push(pair);
            descriptors.push(fd);
        }
        let child = workers.spawn_master(contract, &descriptors)?;
        info!("upgrade: the new master has pid {}", child.pid());
        let (process_key, channel_key) =
            match watch_both(&child, &channel, poller) {
                Ok(keys) => keys,
                Err(error) => {
                    // It must not become a second master that nobody knows.
                    child.kill();
                    child.wait_for(TO_BE_KILLED)?;
                    return Err(error);
                }
            };
        let deadline = now + 2 * self.boot_timeout;
        self.next = Next::Starting(Starting {
            child,
            channel,
            process_key,
            channel_key,
            deadline,
        });
        Ok(())
    }

    /// Whether a new master has been started that is not ready yet.
    pub(super) fn is_starting(&self) -> bool {
        matches!(self.next, Next::Starting(_))
    }

    /// Whether no upgrade may begin: one is under way, from us or to us.
    pub(super) fn is_under_way(&self) -> bool {
        self.is_starting() || self.is_waiting()
    }

    /// Looks at the new master: is it ready, has it ended, is it late?
    ///
    /// # Errors
    /// The system does not tell.
    pub(super) fn watch(
        &mut self,
        poller: &mut Poller,
        now: Instant,
    ) -> sys::Result<Progress> {
        let Next::Starting(next) = &self.next else {
            return Ok(Progress::Nothing);
        };
        let said = next.hear();
        let ready = said.is_some_and(|count| count > 0);
        let ended = next.child.reap()?;
        // It may have come to be ready, and to its end, before we heard of
        // either. Had it been told to stop, so are we.
        if ready && matches!(ended, None | Some(Ended::Code(0))) {
            let pid = next.child.pid();
            info!("upgrade: the new master, pid {pid}, is ready");
            self.pass_on(poller);
            return Ok(Progress::Ready { pid });
        }
        if let Some(ended) = ended {
            error!("upgrade abandoned: the new master ended, {ended:?}");
            self.forget(poller);
            return Ok(Progress::Abandoned);
        }
        if next.deadline <= now || said == Some(0) {
            error!("upgrade abandoned: the new master is not ready");
            self.abandon(poller)?;
            return Ok(Progress::Abandoned);
        }
        Ok(Progress::Nothing)
    }

    /// Ends a new master that is not ready. One that is, although we have not
    /// heard of it yet, has clients: it goes as we do.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub(super) fn abandon(&mut self, poller: &mut Poller) -> sys::Result<()> {
        let Next::Starting(next) = &self.next else { return Ok(()) };
        if next.hear().is_some_and(|count| count > 0) {
            info!("the new master was ready, and is to stop as well");
            next.child.terminate();
        } else {
            next.child.kill();
            next.child.wait()?;
        }
        self.forget(poller);
        Ok(())
    }

    /// The new master is the master now, and gets what our workers have.
    fn pass_on(&mut self, poller: &mut Poller) {
        match std::mem::replace(&mut self.next, Next::None) {
            Next::Starting(next) => {
                next.forget_process(poller);
                let Starting { channel, channel_key, .. } = next;
                let outgoing = Outgoing::new(channel, channel_key, poller);
                self.next = Next::HandingOver(outgoing);
            }
            other @ (Next::None | Next::HandingOver(_)) => self.next = other,
        }
    }

    fn forget(&mut self, poller: &mut Poller) {
        if let Next::Starting(next) = &self.next {
            next.forget(poller);
            self.next = Next::None;
        }
    }

    /// Whether this is the new master's pid, while it is not ready.
    pub(super) fn is_next(&self, pid: i32) -> bool {
        match &self.next {
            Next::Starting(next) => next.child.pid() == pid,
            Next::None | Next::HandingOver(_) => false,
        }
    }

    /// Sends the new master what there is for it.
    pub(super) fn flush(
        &mut self,
        traffic: &mut Traffic,
        poller: &mut Poller,
        now: Instant,
    ) {
        if let Next::HandingOver(outgoing) = &mut self.next
            && let Err(error) = outgoing.flush(traffic, poller, now)
        {
            self.lose_next(&error.to_string(), traffic, poller);
        }
    }

    /// Something about the new master's channel: it takes more, which is
    /// [`flush`](Self::flush)'s matter, or is gone.
    pub(super) fn attend(
        &mut self,
        event: Event,
        traffic: &mut Traffic,
        poller: &mut Poller,
    ) {
        if let Next::HandingOver(outgoing) = &mut self.next
            && let Some(why) = outgoing.attend(event)
        {
            self.lose_next(&why, traffic, poller);
        }
    }

    /// Nobody goes on with what our workers give back.
    pub(super) fn lose_next(
        &mut self,
        why: &str,
        traffic: &mut Traffic,
        poller: &mut Poller,
    ) {
        match std::mem::replace(&mut self.next, Next::None) {
            Next::HandingOver(outgoing) => {
                outgoing.close(poller);
                let lost = traffic.end_outbound();
                warn!(
                    "the new master cannot be given connections, {lost} are \
                     closed: {why}"
                );
            }
            other @ (Next::None | Next::Starting(_)) => self.next = other,
        }
    }

    /// Whether the new master, if there is one, has all that there was for
    /// it. What the master before this one has not left yet goes there too.
    pub(super) fn is_done(&self, traffic: &Traffic) -> bool {
        match &self.next {
            Next::HandingOver(outgoing) => {
                let coming = matches!(self.previous, Previous::Receiving(_));
                !coming && outgoing.is_done(traffic)
            }
            Next::None | Next::Starting(_) => true,
        }
    }
}

/// The new master's side.
impl Upgrade {
    /// What this process was given by a master before it; nothing, if there
    /// was none.
    ///
    /// # Errors
    /// What the environment names is not there.
    pub(super) fn from_environment(
        boot_timeout: Duration,
        start: Instant,
    ) -> Result<Upgrade, Error> {
        let mut inherited = Inherited::take()?;
        let previous = inherited.ready.take();
        Ok(Upgrade {
            next: Next::None,
            previous: previous.map_or(Previous::None, Previous::Waiting),
            scaled: inherited.scaled,
            inherited,
            boot_timeout,
            start,
        })
    }

    /// Whether there is a master before this one, which still serves.
    pub(super) fn is_waiting(&self) -> bool {
        matches!(self.previous, Previous::Waiting(_))
    }

    /// How many workers an operator has asked for.
    pub(super) fn scaled(&self) -> Option<usize> {
        self.scaled
    }

    /// An operator has asked for so many workers.
    pub(super) fn scale(&mut self, workers: usize) {
        self.scaled = Some(workers);
    }

    /// The previous master's listeners of that name, which may be several.
    pub(super) fn claim(&mut self, name: &OsStr) -> Vec<OwnedFd> {
        self.inherited.claim(name)
    }

    /// Says which listeners nobody asked for, and closes them.
    pub(super) fn discard_rest(&mut self) {
        self.inherited.discard_rest();
    }

    /// Told to stop before it was ready, a new master leaves everything to
    /// the one before it. Whether there is one.
    pub(super) fn stand_down(&mut self) -> bool {
        let waits = self.is_waiting();
        if waits {
            self.previous = Previous::None;
        }
        waits
    }

    /// Whether the previous master is not needed any more, once all of our
    /// workers are ready. An app may open its servers one after the other.
    pub(super) fn may_relieve(&self, now: Instant) -> bool {
        let claimed = self.inherited.is_claimed();
        self.is_waiting() && (claimed || now >= self.claims_end())
    }

    /// Tells the previous master to go.
    ///
    /// # Errors
    /// What comes from it cannot be watched.
    pub(super) fn relieve(&mut self, poller: &mut Poller) -> sys::Result<()> {
        let previous = std::mem::replace(&mut self.previous, Previous::None);
        let Previous::Waiting(channel) = previous else {
            self.previous = previous;
            return Ok(());
        };
        info!("ready: the old master may go");
        match socket::send(channel.as_fd(), WORD) {
            Ok(_) => {
                let incoming = Incoming::new(channel, poller)?;
                self.previous = Previous::Receiving(incoming);
            }
            Err(error) => warn!("the old master is gone already: {error}"),
        }
        Ok(())
    }

    /// The connections that the previous master has sent.
    pub(super) fn receive(&mut self, poller: &mut Poller) -> Vec<Connection> {
        let previous = std::mem::replace(&mut self.previous, Previous::None);
        let Previous::Receiving(mut incoming) = previous else {
            self.previous = previous;
            return Vec::new();
        };
        let (connections, more) = incoming.receive();
        match more {
            true => self.previous = Previous::Receiving(incoming),
            false => incoming.close(poller),
        }
        connections
    }

    /// Until then a new master waits for somebody to ask for what it has
    /// inherited.
    fn claims_end(&self) -> Instant {
        self.start + self.boot_timeout
    }

    /// When the new master is given up, or ours is waited for no longer.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        let waits = self.is_waiting() && !self.inherited.is_claimed();
        let claims = waits.then(|| self.claims_end());
        let claims = claims.filter(|end| *end > now);
        claims.into_iter().chain(self.next_deadline()).min()
    }

    fn next_deadline(&self) -> Option<Instant> {
        match &self.next {
            Next::Starting(next) => Some(next.deadline),
            Next::None | Next::HandingOver(_) => None,
        }
    }

    /// Whether the new master has had its time.
    pub(super) fn is_late(&self, now: Instant) -> bool {
        self.next_deadline().is_some_and(|at| at <= now)
    }
}

/// Has the poller tell of the new master's word, and of its end.
fn watch_both(
    child: &Child,
    channel: &OwnedFd,
    poller: &mut Poller,
) -> sys::Result<(Key, Key)> {
    let (read, source) = (Interest::Read, Source::NextMaster);
    let process_key = poller.add(child.as_fd(), read, source)?;
    match poller.add(channel.as_fd(), read, source) {
        Ok(channel_key) => Ok((process_key, channel_key)),
        Err(error) => {
            poller.remove(child.as_fd(), process_key);
            Err(error)
        }
    }
}

#[cfg(test)]
mod tests;
