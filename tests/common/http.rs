//! A client that reads exactly, and says exactly what went wrong.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

/// A client that hears nothing for so long calls it a hang.
const TIMEOUT: Duration = Duration::from_secs(15);

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl Place {
    /// As the log names it: `http://ADDRESS` or `unix:PATH`.
    pub(crate) fn parse(word: &str) -> Option<Place> {
        match word.strip_prefix("unix:") {
            Some(path) => Some(Place::Unix(path.into())),
            None => {
                let address = word.strip_prefix("http://")?;
                address.parse().ok().map(Place::Tcp)
            }
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        match self {
            Place::Tcp(address) => *address,
            Place::Unix(path) => panic!("{path:?} is no TCP address"),
        }
    }
}

/// What became of a request that was not answered as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// Nobody listened.
    Refused,
    /// The connection ended before the first byte of an answer.
    Reset,
    /// The connection ended in the middle of one.
    Truncated,
    TimedOut,
    /// What came is no answer.
    Nonsense(String),
}

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    /// The status line and the fields.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Response {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (known, value) = line.split_once(':')?;
            known.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// Whether it is the last on its connection.
    pub(crate) fn closes(&self) -> bool {
        self.field("connection").is_some_and(|value| value == "close")
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// A connection that stays.
pub(crate) struct Connection {
    stream: Box<dyn Stream>,
    /// What has come and belongs to the next answer.
    ahead: Vec<u8>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

impl From<TcpStream> for Connection {
    fn from(stream: TcpStream) -> Connection {
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        stream.set_write_timeout(Some(TIMEOUT)).unwrap();
        stream.set_nodelay(true).unwrap();
        Connection { stream: Box::new(stream), ahead: Vec::new() }
    }
}

impl From<UnixStream> for Connection {
    fn from(stream: UnixStream) -> Connection {
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        stream.set_write_timeout(Some(TIMEOUT)).unwrap();
        Connection { stream: Box::new(stream), ahead: Vec::new() }
    }
}

impl Connection {
    pub(crate) fn open(place: &Place) -> Result<Connection, Lost> {
        match place {
            Place::Tcp(address) => {
                TcpStream::connect_timeout(address, TIMEOUT).map(Self::from)
            }
            Place::Unix(path) => UnixStream::connect(path).map(Self::from),
        }
        .map_err(|error| match error.kind() {
            ErrorKind::ConnectionRefused | ErrorKind::NotFound => {
                Lost::Refused
            }
            _ => lost(&error),
        })
    }

    /// From 127.0.0.`last`: all of 127/8 are this machine's own addresses.
    pub(crate) fn open_from(
        last: u8,
        address: SocketAddr,
    ) -> io::Result<Connection> {
        use socket2::{Domain, Socket, Type};
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        let source = SocketAddr::from(([127, 0, 0, last], 0));
        socket.bind(&source.into())?;
        socket.connect_timeout(&address.into(), TIMEOUT)?;
        Ok(Connection::from(TcpStream::from(socket)))
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> Result<(), Lost> {
        self.stream.write_all(bytes).map_err(|error| lost(&error))
    }

    /// Reads one answer and not a byte more.
    pub(crate) fn receive(&mut self) -> Result<Response, Lost> {
        let end = loop {
            match self.ahead.windows(4).position(|four| four == b"\r\n\r\n") {
                Some(at) => break at + 4,
                None => self.read()?,
            }
        };
        let head: Vec<u8> = self.ahead.drain(..end).collect();
        let head = String::from_utf8_lossy(&head).into_owned();
        let nonsense = || Lost::Nonsense(head.clone());
        let status = head
            .strip_prefix("HTTP/1.1 ")
            .and_then(|rest| rest.get(..3)?.parse().ok())
            .ok_or_else(nonsense)?;
        let mut response =
            Response { status, head: head.clone(), body: vec![] };
        let length = response.field("content-length").ok_or_else(nonsense)?;
        let length: usize = length.parse().map_err(|_| nonsense())?;
        while self.ahead.len() < length {
            self.read().map_err(|lost| match lost {
                Lost::Reset => Lost::Truncated,
                other => other,
            })?;
        }
        response.body = self.ahead.drain(..length).collect();
        Ok(response)
    }

    /// One request and its answer.
    pub(crate) fn get(&mut self, target: &str) -> Result<Response, Lost> {
        self.send(
            format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes(),
        )?;
        self.receive()
    }

    /// Fails unless the server ends the connection, and without another byte.
    pub(crate) fn expect_end(&mut self) {
        assert_eq!(self.read(), Err(Lost::Reset), "the connection goes on");
    }

    fn read(&mut self) -> Result<(), Lost> {
        let mut bytes = [0; 16 << 10];
        let result = loop {
            // After a stop of the process a read with a timeout is
            // interrupted although there is no handler: signal(7).
            match self.stream.read(&mut bytes) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => break result,
            }
        };
        let lost_here = match result {
            Ok(0) => Lost::Reset,
            Ok(count) => {
                self.ahead.extend_from_slice(&bytes[..count]);
                return Ok(());
            }
            Err(error) => lost(&error),
        };
        Err(match lost_here {
            Lost::Reset if !self.ahead.is_empty() => Lost::Truncated,
            other => other,
        })
    }
}

fn lost(error: &io::Error) -> Lost {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => Lost::TimedOut,
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => Lost::Reset,
        _ => Lost::Nonsense(error.to_string()),
    }
}

/// One request on a connection of its own, which ends with the answer.
pub(crate) fn ask(place: &Place, target: &str) -> Result<Response, Lost> {
    let mut connection = Connection::open(place)?;
    connection.send(one_shot(target).as_bytes())?;
    let response = connection.receive()?;
    match connection.read() {
        Err(Lost::Reset) if response.closes() => Ok(response),
        end => Err(Lost::Nonsense(format!("{end:?} after {}", response.head))),
    }
}

/// A request that asks for the end of its connection.
pub(crate) fn one_shot(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
}
