//! A worker as the master knows it: a process, a channel, a scoreboard.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use super::spawn::Started;
use super::supervisor::Exit;
use crate::channel::Channel;
use crate::ipc::Message;
use crate::scoreboard::Scoreboard;
use crate::slab::Key;
use crate::sys;
use crate::sys::epoll::{Epoll, Interest};
use crate::sys::process::{Child, Ended};

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Link {
    pub(super) slot: usize,
    pub(super) child: Child,
    pub(super) process_key: Key,
    pub(super) scoreboard: Scoreboard,
    /// Most connections that it can have open, as it said itself.
    pub(super) capacity: Option<u64>,
    /// It has done enough, and the supervisor knows.
    pub(super) worn: bool,
    /// Numbers what is said to it.
    seq: u64,
    started: Instant,
    line: Option<Line>,
}

/// The channel, as long as it is open.
#[derive(Debug)]
struct Line {
    channel: Channel,
    key: Key,
    interest: Interest,
}

impl Link {
    /// A worker that has just been started, before epoll knows of it.
    pub(super) fn new(
        slot: usize,
        started: Started,
        process_key: Key,
        channel_key: Key,
        now: Instant,
    ) -> Link {
        Link {
            slot,
            child: started.child,
            process_key,
            scoreboard: started.scoreboard,
            capacity: None,
            worn: false,
            seq: 0,
            started: now,
            line: Some(Line {
                channel: Channel::new(started.channel),
                key: channel_key,
                interest: Interest::Read,
            }),
        }
    }

    /// Has epoll watch for the end of the process and the words it says.
    pub(super) fn register(&self, epoll: &Epoll) -> sys::Result<()> {
        let key = self.process_key.bits();
        epoll.add(self.child.as_fd(), Interest::Read, key)?;
        match &self.line {
            Some(Line { channel, key, interest }) => {
                epoll.add(channel.as_fd(), *interest, key.bits())
            }
            None => Ok(()),
        }
    }

    pub(super) fn channel(&mut self) -> Option<&mut Channel> {
        self.line.as_mut().map(|line| &mut line.channel)
    }

    /// The number of the next message to it.
    pub(super) fn next_seq(&mut self) -> u64 {
        self.seq += 1;
        self.seq - 1
    }

    /// Says something; what the channel does not take yet waits in it. An
    /// error is the worker's end, which is heard of in another way.
    pub(super) fn say(&mut self, message: &Message<'_>, epoll: &Epoll) {
        let Some(line) = &mut self.line else { return };
        if let Err(error) = line.channel.say(message) {
            log::debug!("worker pid {}: {error}", self.child.pid());
        }
        self.watch(false, epoll);
    }

    /// Has epoll tell when the channel takes more, if something waits for
    /// that: in the channel, or with the caller.
    pub(super) fn watch(&mut self, blocked: bool, epoll: &Epoll) {
        let Some(line) = &mut self.line else { return };
        let interest = if blocked || line.channel.is_waiting() {
            Interest::ReadWrite
        } else {
            Interest::Read
        };
        if interest == line.interest {
            return;
        }
        let key = line.key.bits();
        match epoll.modify(line.channel.as_fd(), interest, key) {
            Ok(()) => line.interest = interest,
            Err(error) => log::error!("a channel is not watched: {error}"),
        }
    }

    /// Closes the channel. The child that is between fork and exec at this
    /// instant may hold a copy, so epoll is told first. Returns the key that
    /// is free now.
    pub(super) fn hang_up(&mut self, epoll: &Epoll) -> Option<Key> {
        let line = self.line.take()?;
        unregister(line.channel.as_fd(), epoll);
        Some(line.key)
    }

    /// Whether it has taken a connection.
    pub(super) fn is_proven(&self) -> bool {
        self.scoreboard.received() > 0
    }

    /// How it ended, once the pidfd is readable. The last thing to ask.
    pub(super) fn reap(&self, epoll: &Epoll) -> sys::Result<Option<Exit>> {
        let ended = self.child.reap()?;
        if ended.is_some() {
            unregister(self.child.as_fd(), epoll);
        }
        Ok(ended.map(|ended| match ended {
            Ended::Code(code) => Exit::Code(code),
            Ended::Signal(number) => Exit::Signal(number),
        }))
    }

    pub(super) fn age(&self, now: Instant) -> Duration {
        now - self.started
    }
}

fn unregister(fd: BorrowedFd<'_>, epoll: &Epoll) {
    if let Err(error) = epoll.remove(fd) {
        log::error!("a descriptor stays registered: {error}");
    }
}
