//! One worker as a process, and the channel to it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use log::{debug, error};

use super::launcher::Started;
use crate::WorkerId;
use crate::channel::{Channel, Heard};
use crate::error::Error;
use crate::ipc::Message;
use crate::ipc::message::{Act, Cluster, HandleKind, Inner};
use crate::master::poller::{Poller, Source};
use crate::master::supervisor::Parting;
use crate::slab::Key;
use crate::sys;
use crate::sys::epoll::Interest;
use crate::sys::process::Child;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Link {
    pub(super) child: Child,
    process_key: Key,
    /// Who is watched in its place: it has ended, and left this one in its
    /// group.
    kin: Option<OwnedFd>,
    /// It was sent SIGTERM, and what it leaves behind has as much time to
    /// heed that as it.
    pub(super) terminated: bool,
    /// It was killed, and all of its group with it.
    pub(super) killed: bool,
    /// Its requests or its memory have passed their limit, and the supervisor
    /// knows.
    pub(super) over_limit: bool,
    /// It was killed because it did not move.
    pub(super) hung: bool,
    /// It was killed because it broke the rules.
    pub(super) broken: bool,
    /// It was told to go, and why.
    pub(super) leaving: Option<Parting>,
    /// It has said that it goes.
    pub(super) announced: bool,
    started: Instant,
    line: Option<Line>,
}

/// The channel to a worker, as long as it is open.
#[derive(Debug)]
pub(crate) struct Line {
    channel: Channel,
    key: Key,
    interest: Interest,
    /// The number of the next message to the worker.
    seq: u64,
}

impl Link {
    /// A worker that has just been started, and is watched from now on.
    ///
    /// # Errors
    /// It cannot be watched, and has been ended.
    pub(super) fn new(
        worker: WorkerId,
        started: Started,
        poller: &mut Poller,
        now: Instant,
    ) -> Result<Link, String> {
        let Started { child, channel, .. } = started;
        let watched =
            poller.add(child.as_fd(), Interest::Read, Source::Process(worker));
        let opened = watched.and_then(|process_key| {
            let line = Line::open(channel, worker, poller);
            let line = line.inspect_err(|_| {
                poller.remove(child.as_fd(), process_key);
            });
            Ok((process_key, line?))
        });
        let (process_key, line) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                child.kill();
                let ended = child.wait();
                return Err(ended.err().unwrap_or(error).to_string());
            }
        };
        Ok(Link {
            child,
            process_key,
            kin: None,
            terminated: false,
            killed: false,
            over_limit: false,
            hung: false,
            broken: false,
            leaving: None,
            announced: false,
            started: now,
            line: Some(line),
        })
    }

    pub(super) fn line(&mut self) -> Option<&mut Line> {
        self.line.as_mut()
    }

    /// Closes the channel. Whether it was open.
    pub(super) fn hang_up(&mut self, poller: &mut Poller) -> bool {
        let Some(line) = self.line.take() else { return false };
        poller.remove(line.channel.as_fd(), line.key);
        true
    }

    /// Its end is known: it is watched no longer.
    pub(super) fn forget(&self, poller: &mut Poller) {
        let kin = self.kin.as_ref().map(OwnedFd::as_fd);
        let watched = kin.unwrap_or_else(|| self.child.as_fd());
        poller.remove(watched, self.process_key);
    }

    /// SIGKILL, to all of its group.
    pub(super) fn kill(&mut self) {
        self.killed = true;
        self.child.kill();
    }

    /// Whether it has ended, and somebody in its group has not and still has
    /// time to. That one is watched from now on, in its place.
    ///
    /// Those get SIGTERM only if the worker died of its own: one that caught
    /// it (npm does) has passed it on to whom it wanted to, and many an app
    /// takes a second one for "at once".
    pub(super) fn lingers(
        &mut self,
        worker: WorkerId,
        poller: &mut Poller,
    ) -> sys::Result<bool> {
        if !self.terminated || self.killed {
            return Ok(false);
        }
        let Some(ended) = self.child.ended()? else { return Ok(false) };
        if self.kin.is_none() && ended.is_of_sigterm() {
            self.child.terminate_group();
        }
        let Some(kin) = self.child.kin() else { return Ok(false) };
        let source = Source::Process(worker);
        let Ok(key) = poller.add(kin.as_fd(), Interest::Read, source) else {
            return Ok(false); // What cannot be watched has no time either.
        };
        self.forget(poller);
        (self.kin, self.process_key) = (Some(kin), key);
        Ok(true)
    }

    pub(super) fn age(&self, now: Instant) -> Duration {
        now - self.started
    }
}

impl Line {
    /// The poller tells of this worker's words from now on.
    pub(crate) fn open(
        channel: OwnedFd,
        worker: WorkerId,
        poller: &mut Poller,
    ) -> sys::Result<Line> {
        let (interest, source) = (Interest::Read, Source::Channel(worker));
        let key = poller.add(channel.as_fd(), interest, source)?;
        Ok(Line { channel: Channel::new(channel), key, interest, seq: 0 })
    }

    /// Says something; what the channel does not take yet waits in it. An
    /// error is the worker's end, which is heard of in another way.
    pub(super) fn say(&mut self, message: &Message<'_>, poller: &Poller) {
        if let Err(error) = self.channel.say(message) {
            debug!("a worker is not told: {error}");
        }
        self.watch(false, poller);
    }

    /// Says something of Node's `cluster`, and gives the worker a socket to
    /// share with it.
    pub(super) fn share(
        &mut self,
        act: Act<'_>,
        socket: OwnedFd,
        poller: &Poller,
    ) {
        let inner = Inner::Cluster(self.numbered(act));
        let kind = HandleKind::DgramNative;
        let message = Message::Handle { kind, inner };
        if let Err(error) = self.channel.share(&message, socket) {
            debug!("a worker is not given a socket: {error}");
        }
        self.watch(false, poller);
    }

    /// Something of Node's `cluster`, with its number.
    pub(super) fn numbered<'a>(&mut self, act: Act<'a>) -> Cluster<'a> {
        self.seq += 1;
        Cluster { seq: Some(self.seq - 1), act }
    }

    /// Sends connections. `false`: the channel is full, and nothing has left.
    pub(crate) fn send(
        &mut self,
        message: &Message<'_>,
        fds: &[BorrowedFd<'_>],
    ) -> sys::Result<bool> {
        self.channel.hand_over(message, fds)
    }

    /// Sends one connection in the words of Node's `cluster`. Yields the
    /// number that the answer will name; `None`: the channel is full, and
    /// nothing has left.
    pub(crate) fn send_one(
        &mut self,
        kind: HandleKind,
        act: Act<'_>,
        fd: BorrowedFd<'_>,
    ) -> sys::Result<Option<u64>> {
        let seq = self.seq;
        let inner = Inner::Cluster(Cluster { seq: Some(seq), act });
        let message = Message::Handle { kind, inner };
        let sent = self.channel.hand_over(&message, &[fd])?;
        self.seq += u64::from(sent);
        Ok(sent.then_some(seq))
    }

    /// Writes what waits.
    pub(super) fn flush(&mut self, poller: &Poller) {
        if let Err(error) = self.channel.flush() {
            debug!("a worker's channel: {error}");
        }
        self.watch(false, poller);
    }

    /// Has the poller tell when the channel takes more, if something waits
    /// for that: in the channel, or with the caller.
    pub(crate) fn watch(&mut self, blocked: bool, poller: &Poller) {
        let interest = if blocked || self.channel.is_waiting() {
            Interest::ReadWrite
        } else {
            Interest::Read
        };
        if interest == self.interest {
            return;
        }
        match poller.set(self.channel.as_fd(), self.key, interest) {
            Ok(()) => self.interest = interest,
            Err(error) => error!("a channel is not watched: {error}"),
        }
    }

    /// So much waits in the channel that the worker seems not to read.
    pub(super) fn is_behind(&self) -> bool {
        self.channel.is_behind()
    }

    /// The worker asks on and on, and does not take the answers.
    pub(super) fn is_choked(&self) -> bool {
        self.channel.is_choked()
    }

    /// Reads the channel once and appends the lines that were said.
    /// Descriptors that come with them are closed: a master wants none.
    pub(super) fn hear(
        &mut self,
        lines: &mut Vec<Vec<u8>>,
    ) -> Result<Heard, Error> {
        let heard = match self.channel.hear() {
            Ok(heard) => heard,
            // The worker died with something of ours unread.
            Err(error) if error.is_peer_gone() => Heard::End,
            Err(error) => return Err(error.into()),
        };
        while let Some((line, received)) = self.channel.line()? {
            // A line without knows nothing of those that another is to claim.
            if !received.is_empty()
                && let Ok(message) = Message::parse(line)
            {
                received.take(message.descriptors()).for_each(drop);
            }
            lines.push(line.to_owned());
        }
        Ok(heard)
    }
}
