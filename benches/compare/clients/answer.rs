//! What a server answers, looked at before it is measured: a fast wrong
//! answer is no figure.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use crate::result::Result;
use crate::shape::{Replies, Shape};

const BODY: &str = "Hello, World!";

/// wrk's own request.
const REQUEST: &str = "GET /plaintext HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";

/// The same, and the connection is to end.
pub(crate) const LAST: &str =
    "GET /plaintext HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n";

const PATIENCE: Duration = Duration::from_secs(5);

/// How many requests `peers/pipeline.lua` writes at once.
pub(crate) const PIPELINED: usize = 16;

/// What the server at `port` answers, where a connection stays and where it
/// ends.
pub(crate) fn replies(port: u16) -> Result<Replies> {
    let keep_alive = Client::open(port)?.ask(REQUEST)?.text;
    let close = Client::open(port)?.ask(LAST)?.text;
    Ok(Replies { keep_alive, close })
}

/// Fails unless the server at `port` answers what this shape asks for: right
/// status and body, a date, all of several requests in one write, an end
/// where an end was asked for.
pub(crate) fn check(port: u16, shape: Shape) -> Result<()> {
    let mut client = Client::open(port)?;
    match shape {
        Shape::KeepAlive => {
            client.ask(REQUEST)?.expect_right()?;
            client.ask(REQUEST)?.expect_right()
        }
        Shape::Pipelined => {
            client.send(&REQUEST.repeat(PIPELINED))?;
            for _ in 0..PIPELINED {
                client.receive()?.expect_right()?;
            }
            Ok(())
        }
        Shape::Close => {
            let reply = client.ask(LAST)?;
            reply.expect_right()?;
            if !reply.has("connection: close") {
                return Err(format!("it does not say close: {}", reply.text));
            }
            match client.read()? {
                0 => Ok(()),
                _ => Err("it says close and goes on".to_owned()),
            }
        }
    }
}

/// A connection to a server on this machine.
#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
    input: Vec<u8>,
}

impl Client {
    pub(crate) fn open(port: u16) -> Result<Client> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port));
        Client::over(stream.map_err(|error| format!("connect: {error}"))?)
    }

    pub(crate) fn over(stream: TcpStream) -> Result<Client> {
        let patient = stream.set_read_timeout(Some(PATIENCE));
        patient.map_err(|error| error.to_string())?;
        Ok(Client { stream, input: Vec::new() })
    }

    /// Whether one request gets its answer.
    pub(crate) fn is_answered(&mut self) -> bool {
        self.ask(REQUEST).is_ok_and(|reply| reply.expect_right().is_ok())
    }

    fn ask(&mut self, request: &str) -> Result<Reply> {
        self.send(request)?;
        self.receive()
    }

    fn send(&mut self, text: &str) -> Result<()> {
        let sent = self.stream.write_all(text.as_bytes());
        sent.map_err(|error| format!("write: {error}"))
    }

    fn read(&mut self) -> Result<usize> {
        let mut bytes = [0; 8192];
        let got = self.stream.read(&mut bytes);
        let got = got.map_err(|error| format!("read: {error}"))?;
        self.input.extend_from_slice(&bytes[..got]);
        Ok(got)
    }

    fn receive(&mut self) -> Result<Reply> {
        loop {
            if let Some(reply) = Reply::first_of(&self.input)? {
                self.input.drain(..reply.text.len());
                return Ok(reply);
            }
            if self.read()? == 0 {
                let text = String::from_utf8_lossy(&self.input);
                return Err(format!("it ends after {text:?}"));
            }
        }
    }
}

/// One answer, with its length told by `Content-Length`.
#[derive(Debug)]
struct Reply {
    text: String,
    head: usize,
}

impl Reply {
    fn first_of(input: &[u8]) -> Result<Option<Reply>> {
        let text = String::from_utf8_lossy(input);
        let Some(end) = text.find("\r\n\r\n") else { return Ok(None) };
        let head = end + 4;
        let length = text[..end].lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            let is_length = name.eq_ignore_ascii_case("content-length");
            is_length.then(|| value.trim().parse::<usize>().ok())?
        });
        let length = length.ok_or_else(|| format!("no length: {text:?}"))?;
        let whole = text.get(..head + length);
        Ok(whole.map(|whole| Reply { text: whole.to_owned(), head }))
    }

    fn has(&self, line: &str) -> bool {
        let mut lines = self.text[..self.head].lines();
        lines.any(|one| one.to_ascii_lowercase().starts_with(line))
    }

    fn expect_right(&self) -> Result<()> {
        let is_right = self.text.starts_with("HTTP/1.1 200 ")
            && self.text[self.head..] == *BODY
            && self.has("date: ");
        match is_right {
            true => Ok(()),
            false => Err(format!("a wrong answer: {:?}", self.text)),
        }
    }
}
