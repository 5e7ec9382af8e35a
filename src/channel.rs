//! One end of a channel: a socket pair that speaks [`crate::ipc`].
//!
//! ```text
//!   lines ◀── Decoder ◀── recvmsg ┐           ┌ recvmsg ──▶ Decoder ──▶
//!                                 ├── pair ───┤
//!   lines ──▶ Outbox  ──▶ sendmsg ┘           └ sendmsg ◀── Outbox  ◀──
//! ```
//!
//! A line without descriptors is never refused: what the socket does not take
//! waits in the outbox. Connections never wait here. They either leave with
//! this very call or stay with the caller, who may then give them to another
//! worker: a connection that lay in an outbox could not be taken back.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::ipc::codec::{Fault, Line, MAX_DESCRIPTORS};
use crate::ipc::{Decoder, Message, Outbox};
use crate::sys;
use crate::sys::unix;

// The kernel's number stands twice, for what is pure knows no kernel and the
// kernel's side nothing else. Here the two meet.
const _: () = assert!(MAX_DESCRIPTORS == unix::MAX_DESCRIPTORS);

/// Longest line that is taken, in bytes. Ours have about a hundred; the rest
/// is for what an application tells its master.
pub(crate) const MAX_LINE: usize = 16 << 20;

/// Bytes that may wait in an outbox before messages of the application are
/// not taken any more.
const BEHIND: usize = 16 << 20;

/// Bytes that one recvmsg takes: dozens of our lines, and cheap to zero.
const READ: usize = 4 << 10;

/// One end of a channel.
#[derive(Debug)]
pub(crate) struct Channel {
    socket: OwnedFd,
    decoder: Decoder<OwnedFd>,
    outbox: Outbox<OwnedFd>,
}

/// What came of reading a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// There may be lines now, and more to read.
    Something,
    /// The peer has said nothing more.
    Nothing,
    /// The peer has closed its end.
    End,
}

impl Channel {
    pub(crate) fn new(socket: OwnedFd) -> Channel {
        let decoder = Decoder::new(MAX_LINE);
        Channel { socket, decoder, outbox: Outbox::new() }
    }

    /// Says something without descriptors, as soon as the socket takes it.
    pub(crate) fn say(&mut self, message: &Message<'_>) -> sys::Result<()> {
        self.outbox.push(None, |out| message.encode(out));
        self.flush()
    }

    /// Says whole lines that are encoded already, as soon as the socket takes
    /// them.
    pub(crate) fn say_lines(&mut self, lines: &[u8]) -> sys::Result<()> {
        self.outbox.push(None, |out| out.extend_from_slice(lines));
        self.flush()
    }

    /// Says something that a descriptor belongs to, as soon as the socket
    /// takes it.
    pub(crate) fn share(
        &mut self,
        message: &Message<'_>,
        descriptor: OwnedFd,
    ) -> sys::Result<()> {
        self.outbox.push(Some(descriptor), |out| message.encode(out));
        self.flush()
    }

    /// Sends a line and the descriptors that belong to it. `false`: the
    /// channel is full, and nothing has left.
    pub(crate) fn hand_over(
        &mut self,
        message: &Message<'_>,
        descriptors: &[BorrowedFd<'_>],
    ) -> sys::Result<bool> {
        if !self.outbox.is_empty() {
            return Ok(false);
        }
        let mut line = Vec::with_capacity(96);
        message.encode(&mut line);
        let socket = self.socket.as_fd();
        let Some(sent) = unix::send(socket, &line, descriptors)? else {
            return Ok(false);
        };
        if sent < line.len() {
            // The descriptors went with the first byte.
            let rest = &line[sent..];
            self.outbox.push(None, |out| out.extend_from_slice(rest));
        }
        Ok(true)
    }

    /// Writes what waits, as far as the socket takes it.
    pub(crate) fn flush(&mut self) -> sys::Result<()> {
        while let Some((bytes, handle)) = self.outbox.next() {
            let handle = handle.map(AsFd::as_fd);
            let socket = self.socket.as_fd();
            let sent = unix::send(socket, bytes, handle.as_slice())?;
            let Some(sent) = sent else { break };
            self.outbox.sent(sent);
        }
        Ok(())
    }

    /// Whether something waits until the socket is writable.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.outbox.is_empty()
    }

    /// Whether more waits than a reader who reads at all lets come together.
    pub(crate) fn is_behind(&self) -> bool {
        self.outbox.len() > BEHIND
    }

    /// Whether more waits than all that may: the peer goes on asking, and
    /// does not take the answers.
    pub(crate) fn is_choked(&self) -> bool {
        self.outbox.len() > BEHIND + MAX_LINE
    }

    /// Reads once. Then take the lines by [`Channel::line`].
    pub(crate) fn hear(&mut self) -> sys::Result<Heard> {
        let mut bytes = [0; READ];
        let mut descriptors = Vec::new();
        let socket = self.socket.as_fd();
        match unix::receive(socket, &mut bytes, &mut descriptors)? {
            None => Ok(Heard::Nothing),
            Some(received) if received.bytes == 0 => Ok(Heard::End),
            Some(received) => {
                let bytes = &bytes[..received.bytes];
                self.decoder.feed(bytes, descriptors, received.truncated);
                Ok(Heard::Something)
            }
        }
    }

    /// The next line that has come, and the descriptors it may claim.
    pub(crate) fn line(&mut self) -> Result<Option<Line<'_, OwnedFd>>, Fault> {
        self.decoder.next()
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Channel, Channel) {
        let (a, b) = unix::pair().unwrap();
        (Channel::new(a), Channel::new(b))
    }

    fn connections(count: u64) -> Message<'static> {
        Message::Connections { first: 1, count, slots: [].as_slice().into() }
    }

    fn count(channel: &mut Channel) -> (usize, usize) {
        let (mut lines, mut descriptors) = (0, 0);
        while channel.hear().unwrap() == Heard::Something {
            while let Some((line, received)) = channel.line().unwrap() {
                lines += 1;
                let text = Message::parse(line).unwrap();
                descriptors += received.take(text.descriptors()).count();
            }
        }
        (lines, descriptors)
    }

    #[test]
    fn connections_leave_at_once_or_not_at_all() {
        let (mut master, mut worker) = pair();
        let (x, _y) = unix::pair().unwrap();
        let line = connections(3);
        let three = [x.as_fd(); 3];
        let mut sent = 0;
        while master.hand_over(&line, &three).unwrap() {
            sent += 1;
            assert!(sent < 100_000);
        }
        assert!(!master.is_waiting());
        assert_eq!(count(&mut worker), (sent, 3 * sent));
        assert!(master.hand_over(&line, &three).unwrap());
    }

    #[test]
    fn a_line_waits_for_room_and_holds_back_connections() {
        let (mut master, mut worker) = pair();
        let (x, _y) = unix::pair().unwrap();
        let mut said = 0;
        while !master.is_waiting() {
            master.say(&Message::HandleAck).unwrap();
            said += 1;
        }
        let line = connections(1);
        assert!(!master.hand_over(&line, &[x.as_fd()]).unwrap());
        assert_eq!(count(&mut worker).1, 0);
        master.flush().unwrap();
        let (rest, _) = count(&mut worker);
        assert!(rest > 0 && rest <= said);
        assert!(!master.is_waiting());
    }
}
