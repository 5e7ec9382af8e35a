//! One client of the control socket.
//!
//! ```text
//!            a line           reload         its end
//!   Asking ──────────┬─────────────▶ Waiting ───────┐
//!                    │ anything else, or nonsense   ▼
//!                    └───────────────────────▶ Answering ──▶ closed
//! ```

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use crate::control::{MAX_REQUEST, Malformed, Reply, Request};
use crate::sys::epoll::Interest;
use crate::sys::socket::{receive, send};

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Client {
    socket: OwnedFd,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Its line is not complete.
    Asking { line: Vec<u8>, since: Instant },
    /// For the end of the reload to this generation.
    Waiting { generation: u32 },
    /// So much of our line has been sent.
    Answering { reply: Vec<u8>, sent: usize, since: Instant },
}

/// What came of attending to a client.
#[derive(Debug)]
pub(super) enum Heard {
    /// A line.
    Request(Result<Request, Malformed>),
    /// Nothing complete.
    Nothing,
    /// It is over.
    End,
}

impl Client {
    pub(super) fn new(socket: OwnedFd, now: Instant) -> Client {
        let state = State::Asking { line: Vec::new(), since: now };
        Client { socket, state }
    }

    /// Goes on with it, now that it is ready; `gone` says that it has closed
    /// its socket.
    pub(super) fn attend(&mut self, gone: bool) -> Heard {
        match self.state {
            State::Asking { .. } => self.hear(),
            State::Waiting { .. } if gone => Heard::End,
            State::Waiting { .. } => Heard::Nothing,
            State::Answering { .. } => match self.say() {
                true => Heard::Nothing,
                false => Heard::End,
            },
        }
    }

    /// Reads once.
    fn hear(&mut self) -> Heard {
        let State::Asking { line, .. } = &mut self.state else {
            return Heard::Nothing;
        };
        let mut bytes = [0; MAX_REQUEST];
        let come = match receive(self.socket.as_fd(), &mut bytes) {
            Ok(None) => return Heard::Nothing,
            Ok(Some(count)) => &bytes[..count],
            Err(_) => return Heard::End,
        };
        let end = memchr::memchr(b'\n', come);
        line.extend_from_slice(&come[..end.unwrap_or(come.len())]);
        if line.len() > MAX_REQUEST {
            return Heard::Request(Err(Malformed::TooLong));
        }
        match end {
            None if !come.is_empty() => Heard::Nothing,
            None if line.is_empty() => Heard::End,
            // Its end also ends a line: `printf … | nc -N -U PATH`.
            None | Some(_) => Heard::Request(Request::parse(line)),
        }
    }

    /// Has it wait for the end of the reload to this generation.
    pub(super) fn wait(&mut self, generation: u32) {
        self.state = State::Waiting { generation };
    }

    /// The generation that it waits for.
    pub(super) fn awaited(&self) -> Option<u32> {
        match self.state {
            State::Waiting { generation } => Some(generation),
            State::Asking { .. } | State::Answering { .. } => None,
        }
    }

    /// Begins to say our line. Whether there is more to say.
    pub(super) fn answer(&mut self, reply: &Reply, now: Instant) -> bool {
        let (reply, sent) = (reply.encode(), 0);
        self.state = State::Answering { reply, sent, since: now };
        self.say()
    }

    /// Says as much as the socket takes. Whether there is more to say.
    fn say(&mut self) -> bool {
        let State::Answering { reply, sent, .. } = &mut self.state else {
            return true;
        };
        while *sent < reply.len() {
            match send(self.socket.as_fd(), &reply[*sent..]) {
                Ok(Some(count)) => *sent += count,
                Ok(None) => return true,
                // It did not stay for the answer.
                Err(_) => return false,
            }
        }
        false
    }

    /// What to be told of, beside its end.
    pub(super) fn interest(&self) -> Interest {
        match self.state {
            State::Asking { .. } => Interest::Read,
            // It may have ended its half of the connection, for ever ready.
            State::Waiting { .. } => Interest::Nothing,
            State::Answering { .. } => Interest::Write,
        }
    }

    /// Since when we wait for it; `None` if it waits for us.
    pub(super) fn since(&self) -> Option<Instant> {
        match self.state {
            State::Asking { since, .. } | State::Answering { since, .. } => {
                Some(since)
            }
            State::Waiting { .. } => None,
        }
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::unix;

    fn pair() -> (Client, OwnedFd) {
        let (ours, theirs) = unix::pair().unwrap();
        (Client::new(ours, Instant::now()), theirs)
    }

    #[test]
    fn an_answer_that_does_not_fit_waits_for_room() {
        let (mut client, theirs) = pair();
        let reply = Reply::Table("x".repeat(2 << 20));
        assert!(client.answer(&reply, Instant::now()));
        assert_eq!(client.interest(), Interest::Write);
        let mut come = Vec::new();
        let mut bytes = vec![0; 64 << 10];
        let mut over = false;
        while let Some(count) = receive(theirs.as_fd(), &mut bytes).unwrap() {
            come.extend_from_slice(&bytes[..count]);
            over = over || matches!(client.attend(false), Heard::End);
        }
        assert!(over);
        assert_eq!(come, reply.encode());
    }

    #[test]
    fn a_line_is_complete_at_its_feed_or_at_the_end() {
        for end in [&b"\n"[..], b"\r\n", b"\n{\"command\":\"reload\"}\n", b""]
        {
            let (mut client, theirs) = pair();
            for byte in b"{\"command\":\"stop\"}" {
                assert!(matches!(client.attend(false), Heard::Nothing));
                send(theirs.as_fd(), &[*byte]).unwrap();
                assert!(matches!(client.attend(false), Heard::Nothing));
            }
            match end {
                b"" => drop(theirs),
                _ => drop(send(theirs.as_fd(), end).unwrap()),
            }
            let heard = client.attend(false);
            assert!(
                matches!(heard, Heard::Request(Ok(Request::Stop))),
                "{heard:?}"
            );
        }
    }

    #[test]
    fn a_line_without_an_end_is_refused_at_its_limit() {
        let (mut client, theirs) = pair();
        send(theirs.as_fd(), &[b' '; MAX_REQUEST]).unwrap();
        assert!(matches!(client.attend(false), Heard::Nothing));
        send(theirs.as_fd(), b" ").unwrap();
        let heard = client.attend(false);
        assert!(
            matches!(heard, Heard::Request(Err(Malformed::TooLong))),
            "{heard:?}"
        );
    }

    #[test]
    fn whoever_waits_is_over_when_gone_and_only_then() {
        let (mut client, theirs) = pair();
        client.wait(7);
        send(theirs.as_fd(), b"hello?\n").unwrap();
        assert!(matches!(client.attend(false), Heard::Nothing));
        assert_eq!((client.awaited(), client.since()), (Some(7), None));
        assert!(matches!(client.attend(true), Heard::End));
    }
}
