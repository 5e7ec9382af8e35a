//! A client that does as it likes: it sends bytes, or half of them, or does
//! not read, or leaves.

use std::io::{ErrorKind, Read, Write};
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, Shutdown, SocketAddrV4};
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr, Socket, Type};

use crate::client::{self, Answer};
use crate::common::http::Place;

/// A client that hears nothing for so long calls it a hang.
const PATIENCE: Duration = Duration::from_secs(15);

/// The word of consent to a body.
pub(crate) const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Clean,
    Reset,
}

#[derive(Debug)]
pub(crate) struct Client {
    socket: Socket,
    /// What has come and was not looked at yet.
    ahead: Vec<u8>,
}

impl Client {
    pub(crate) fn open(place: &Place) -> Client {
        Client::open_with(place, |_| {})
    }

    /// One that can take little before it reads.
    pub(crate) fn open_narrow(place: &Place) -> Client {
        Client::open_with(place, |socket| {
            socket.set_recv_buffer_size(16 << 10).unwrap();
        })
    }

    /// One that has this address.
    pub(crate) fn open_from(own: Ipv4Addr, place: &Place) -> Client {
        Client::open_with(place, |socket| {
            let own = SocketAddrV4::new(own, 0);
            socket.bind(&SockAddr::from(own)).unwrap();
        })
    }

    fn open_with(place: &Place, prepare: impl Fn(&Socket)) -> Client {
        let (domain, address) = match place {
            Place::Tcp(address) => {
                (Domain::for_address(*address), SockAddr::from(*address))
            }
            Place::Unix(path) => (Domain::UNIX, SockAddr::unix(path).unwrap()),
        };
        let socket = Socket::new(domain, Type::STREAM, None).unwrap();
        prepare(&socket);
        socket.connect(&address).unwrap();
        if domain != Domain::UNIX {
            socket.set_tcp_nodelay(true).unwrap();
        }
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        Client { socket, ahead: Vec::new() }
    }

    /// Where it is bound, over TCP.
    pub(crate) fn port(&self) -> u16 {
        let address = self.socket.local_addr().unwrap();
        address.as_socket().expect("an address of IP").port()
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.socket.write_all(bytes.as_ref()).unwrap();
    }

    /// Sends, unless the server has closed.
    pub(crate) fn is_refused(&mut self, bytes: &[u8]) -> bool {
        match self.socket.write_all(bytes) {
            Ok(()) => false,
            Err(error) => {
                let kind = error.kind();
                let closed =
                    [ErrorKind::BrokenPipe, ErrorKind::ConnectionReset];
                assert!(closed.contains(&kind), "{error}");
                true
            }
        }
    }

    /// Sends what the server takes at once; how many bytes that were.
    pub(crate) fn send_what_fits(&mut self, bytes: &[u8]) -> usize {
        self.socket.set_nonblocking(true).unwrap();
        let mut sent = 0;
        while sent < bytes.len() {
            match self.socket.write(&bytes[sent..]) {
                Ok(count) => sent += count,
                Err(_) => break,
            }
        }
        self.socket.set_nonblocking(false).unwrap();
        sent
    }

    /// Sends nothing more, and says so.
    pub(crate) fn half_close(&mut self) {
        self.socket.shutdown(Shutdown::Write).unwrap();
    }

    /// Leaves without a word, so that the server hears of it at once.
    pub(crate) fn vanish(self) {
        self.socket.set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// Reads once, at most so many bytes; how many came.
    pub(crate) fn read(&mut self, most: usize) -> Result<usize, End> {
        let mut bytes = vec![0; most];
        let result = loop {
            // After a stop of the process, as by a debugger, a read with a
            // timeout is interrupted although there is no handler: signal(7).
            match self.socket.read(&mut bytes) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => break result,
            }
        };
        match result {
            // A reset behind the end is seen nowhere else.
            Ok(0) => match self.socket.take_error().unwrap() {
                Some(_) => Err(End::Reset),
                None => Err(End::Clean),
            },
            Ok(count) => {
                self.ahead.extend_from_slice(&bytes[..count]);
                Ok(count)
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                Err(End::Reset)
            }
            Err(error) => panic!("{error}, after {:?}", self.text()),
        }
    }

    /// What has come and was not looked at.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.ahead)
    }

    /// Everything up to the end of the connection, and how that came.
    pub(crate) fn rest(&mut self) -> (Vec<u8>, End) {
        let end = loop {
            if let Err(end) = self.read(64 << 10) {
                break end;
            }
        };
        (std::mem::take(&mut self.ahead), end)
    }

    /// All answers up to the end, which must be a clean one.
    pub(crate) fn answers(&mut self) -> Vec<Answer> {
        let (bytes, end) = self.rest();
        assert_eq!(end, End::Clean, "{}", bytes.escape_ascii());
        client::answers(&bytes, &[])
    }

    /// The status of each answer up to the end.
    pub(crate) fn statuses(&mut self) -> Vec<u16> {
        self.answers().iter().map(|answer| answer.status).collect()
    }

    /// Waits for the next answer, which has a length and is not the last.
    pub(crate) fn answer(&mut self) -> Answer {
        let mut head = self.until(b"\r\n\r\n");
        let mut from = 0;
        while &self.ahead[from..head] == CONTINUE {
            from = head;
            head = self.until_behind(from, b"\r\n\r\n");
        }
        let text = String::from_utf8_lossy(&self.ahead[..head]).into_owned();
        let length = text
            .lines()
            .find_map(|line| line.strip_prefix("Content-Length: "))
            .map_or(0, |length| length.parse().unwrap());
        while self.ahead.len() < head + length {
            self.read(64 << 10).unwrap();
        }
        let rest = self.ahead.split_off(head + length);
        let bytes = std::mem::replace(&mut self.ahead, rest);
        client::answers(&bytes, &[false]).remove(0)
    }

    /// Waits for these bytes; where they end.
    pub(crate) fn until(&mut self, bytes: &[u8]) -> usize {
        self.until_behind(0, bytes)
    }

    fn until_behind(&mut self, from: usize, bytes: &[u8]) -> usize {
        loop {
            match memchr::memmem::find(&self.ahead[from..], bytes) {
                Some(at) => return from + at + bytes.len(),
                None => drop(self.read(64 << 10).unwrap()),
            }
        }
    }

    /// All there is, up to the end, if anything has come.
    pub(crate) fn glance(&mut self) -> Option<Vec<u8>> {
        self.socket.set_nonblocking(true).unwrap();
        let came = self.socket.peek(&mut [MaybeUninit::uninit()]).is_ok();
        self.socket.set_nonblocking(false).unwrap();
        came.then(|| self.rest().0)
    }

    /// Fails if anything comes in this time.
    pub(crate) fn hear_nothing(&mut self, time: Duration) {
        self.socket.set_read_timeout(Some(time)).unwrap();
        let mut byte = [0];
        let error = self.socket.read(&mut byte).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        self.socket.set_read_timeout(Some(PATIENCE)).unwrap();
    }

    fn text(&self) -> String {
        self.ahead.escape_ascii().to_string()
    }
}

/// What comes of it, and how long that took.
pub(crate) fn timed<T>(act: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    (act(), start.elapsed())
}

/// A request without a body.
pub(crate) fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")
}

/// The beginning of one with a body of this length.
pub(crate) fn post(target: &str, length: u64) -> String {
    format!(
        "POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: \
         {length}\r\n\r\n"
    )
}
