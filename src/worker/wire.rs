//! A worker's end of the channel, as its loop has it: watched by epoll until
//! it is hung up.

use std::os::fd::{AsFd, OwnedFd};

use crate::channel::Channel;
use crate::ipc::Message;
use crate::sys;
use crate::sys::epoll::{Epoll, Event, Interest};

/// See the [module](self). After [`hang_up`](Wire::hang_up) nobody hears what
/// is said, and that is no error.
#[derive(Debug)]
pub(super) struct Wire {
    channel: Option<Channel>,
}

impl Wire {
    pub(super) fn new(socket: OwnedFd, epoll: &Epoll) -> sys::Result<Wire> {
        let channel = Channel::new(socket);
        epoll.add(channel.as_fd(), Interest::Read, super::CHANNEL)?;
        Ok(Wire { channel: Some(channel) })
    }

    pub(super) fn channel(&mut self) -> Option<&mut Channel> {
        self.channel.as_mut()
    }

    pub(super) fn tell(
        &mut self,
        message: &Message<'_>,
        epoll: &Epoll,
    ) -> sys::Result<()> {
        let Some(channel) = &mut self.channel else { return Ok(()) };
        channel.say(message)?;
        self.watch(epoll)
    }

    /// Says whole lines that are encoded already.
    pub(super) fn tell_lines(
        &mut self,
        lines: &[u8],
        epoll: &Epoll,
    ) -> sys::Result<()> {
        let Some(channel) = &mut self.channel else { return Ok(()) };
        channel.say_lines(lines)?;
        self.watch(epoll)
    }

    /// The parent reads whatever we say; a channel that stays full is one
    /// that nobody reads, and its end will be heard.
    fn watch(&mut self, epoll: &Epoll) -> sys::Result<()> {
        match &self.channel {
            Some(channel) if channel.is_waiting() => epoll.modify(
                channel.as_fd(),
                Interest::ReadWrite,
                super::CHANNEL,
            ),
            Some(_) | None => Ok(()),
        }
    }

    /// Says what waited, if that is what the event is about. Whether there is
    /// something to hear.
    pub(super) fn attend(
        &mut self,
        event: Event,
        epoll: &Epoll,
    ) -> sys::Result<bool> {
        let Some(channel) = &mut self.channel else { return Ok(false) };
        if event.is_writable() {
            channel.flush()?;
            if !channel.is_waiting() {
                let fd = channel.as_fd();
                epoll.modify(fd, Interest::Read, super::CHANNEL)?;
            }
        }
        Ok(event.is_readable() || event.is_gone())
    }

    pub(super) fn hang_up(&mut self, epoll: &Epoll) -> sys::Result<()> {
        let Some(mut channel) = self.channel.take() else { return Ok(()) };
        // Removed first: another process may hold a copy.
        epoll.remove(channel.as_fd())?;
        channel.flush()
    }
}
