//! One request, and exactly one [`End`] of it.
//!
//! The client trusts nothing: the answer must be a 200 with the request's own
//! token as its body, not a byte more may come, and a connection that was to
//! be closed must be. What it is told it measures by one deadline for all of
//! it, from the connect to the last byte.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::ledger::End;

/// A close that crosses a request is noticed within so long.
const CROSSING: Duration = Duration::from_millis(5);

/// Which of the two ways of life the client has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// It asks on one connection as long as the server lets it.
    KeepAlive,
    /// It says `Connection: close` with its only request.
    OneRequest,
}

/// What is asked, and the body that must be the answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question<'a> {
    pub(crate) path: &'a str,
    pub(crate) token: &'a str,
}

/// What an idle connection turns out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Idle {
    Open,
    /// The server has ended it.
    Closed,
    /// Something has come that nobody had asked for.
    Unasked,
}

/// A connection on which the next request can be sent.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    used: bool,
}

impl Connection {
    pub(crate) fn open(
        address: SocketAddr,
        deadline: Instant,
    ) -> Result<Connection, End> {
        let stream = TcpStream::connect_timeout(&address, left(deadline)?)
            .map_err(|error| match error.kind() {
                ErrorKind::ConnectionRefused => End::Refused,
                ErrorKind::ConnectionReset => End::Reset,
                ErrorKind::TimedOut => End::TimedOut,
                _ => panic!("no fault of the server: connect: {error}"),
            })?;
        stream.set_nodelay(true).unwrap();
        Ok(Connection { stream, used: false })
    }

    /// Whether it has carried an answer before.
    pub(crate) fn is_used(&self) -> bool {
        self.used
    }

    /// To be asked between two requests.
    pub(crate) fn look(&self) -> Idle {
        self.stream.set_nonblocking(true).unwrap();
        let peeked = self.stream.peek(&mut [0]);
        self.stream.set_nonblocking(false).unwrap();
        match peeked {
            Ok(0) => Idle::Closed,
            Ok(_) => Idle::Unasked,
            Err(error) if error.kind() == ErrorKind::WouldBlock => Idle::Open,
            Err(_) => Idle::Closed,
        }
    }

    /// Asks, and returns the connection if it can be asked again.
    pub(crate) fn ask(
        mut self,
        question: Question<'_>,
        manner: Manner,
        deadline: Instant,
    ) -> Result<Option<Connection>, End> {
        let Question { path, token } = question;
        let last = match manner {
            Manner::KeepAlive => "",
            Manner::OneRequest => "Connection: close\r\n",
        };
        let request = format!(
            "GET {path}?{token} HTTP/1.1\r\nHost: chaos\r\n{last}\r\n"
        );
        let sent = Instant::now();
        let lost = |used: bool| match used && sent.elapsed() <= CROSSING {
            true => End::Crossed,
            false => End::Reset,
        };
        self.limit(deadline)?;
        // A server that has hung up may have said something before it did.
        let _ = self.stream.write_all(request.as_bytes());
        let mut bytes = Vec::new();
        let answer = loop {
            match parse(&bytes) {
                Parsed::Partial => {}
                Parsed::Nonsense => return Err(End::Wrong),
                Parsed::Whole(answer) => break answer,
            }
            match self.read(&mut bytes, deadline)? {
                Heard::Bytes => {}
                Heard::End if bytes.is_empty() => return Err(lost(self.used)),
                Heard::End => return Err(End::Truncated),
            }
        };
        if answer.status != 200 || answer.body != token.as_bytes() {
            return Err(End::Wrong);
        }
        if manner == Manner::KeepAlive && !answer.closes {
            self.used = true;
            return Ok(Some(self));
        }
        bytes.clear();
        match self.read(&mut bytes, deadline)? {
            Heard::Bytes => Err(End::Wrong),
            Heard::End => Ok(None),
        }
    }

    fn read(
        &mut self,
        bytes: &mut Vec<u8>,
        deadline: Instant,
    ) -> Result<Heard, End> {
        let mut buffer = [0; 4096];
        self.limit(deadline)?;
        match self.stream.read(&mut buffer) {
            Ok(0) => Ok(Heard::End),
            Ok(count) => {
                bytes.extend_from_slice(&buffer[..count]);
                Ok(Heard::Bytes)
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut => {
                    Err(End::TimedOut)
                }
                ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => {
                    Ok(Heard::End)
                }
                _ => panic!("no fault of the server: read: {error}"),
            },
        }
    }

    fn limit(&self, deadline: Instant) -> Result<(), End> {
        let left = Some(left(deadline)?);
        self.stream.set_read_timeout(left).unwrap();
        self.stream.set_write_timeout(left).unwrap();
        Ok(())
    }
}

enum Heard {
    Bytes,
    End,
}

fn left(deadline: Instant) -> Result<Duration, End> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(End::TimedOut) } else { Ok(left) }
}

#[derive(Debug, PartialEq, Eq)]
enum Parsed<'a> {
    Partial,
    Nonsense,
    Whole(Answer<'a>),
}

#[derive(Debug, PartialEq, Eq)]
struct Answer<'a> {
    status: u16,
    closes: bool,
    body: &'a [u8],
}

/// Reads one answer that must be all there is.
fn parse(bytes: &[u8]) -> Parsed<'_> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n")
    else {
        return Parsed::Partial;
    };
    let read = || -> Option<(u16, usize, bool)> {
        let head = std::str::from_utf8(&bytes[..end]).ok()?;
        let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
        let field = |known: &str| {
            head.lines().skip(1).find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case(known).then(|| value.trim())
            })
        };
        let length = field("Content-Length")?.parse().ok()?;
        let closes = field("Connection")
            .is_some_and(|value| value.eq_ignore_ascii_case("close"));
        Some((status, length, closes))
    };
    let body = &bytes[end + 4..];
    match read() {
        Some((_, length, _)) if body.len() < length => Parsed::Partial,
        Some((status, length, closes)) if body.len() == length => {
            Parsed::Whole(Answer { status, closes, body })
        }
        Some(_) | None => Parsed::Nonsense,
    }
}
