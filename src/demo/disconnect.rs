//! A connection goes along with a message; and a worker that is going to
//! leave says so first, so that the master starts its successor at once.
//!
//! ```text
//!   master                                             worker
//!     │ ◀─────────────────── online, queryServer ───────── │ may I listen?
//!     │ the master does: key ────────────────────────────▶ │
//!     │ ◀────────────────────────────── listening ──────── │
//!     │ newconn + the connection ────────────────────────▶ │ got a connection
//!     │ ◀───────────── NODE_HANDLE_ACK, accepted ───────── │ answers it
//!     │ ◀─────────── close, exitedAfterDisconnect ──────── │ is going to …
//!     │ noted ───────────────────────────────────────────▶ │
//!     │ ◀──────────────────────────── end of file ──────── │ ends by itself
//!   is disconnected: starts the next worker, now
//! ```
//!
//! This is what Node's `cluster` says, word for word. So a Node program is a
//! worker for [`master`], and Node's `cluster` can have this program as its
//! worker. The demo connects to itself, and ends when the successor is ready.

use std::borrow::Cow;
use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::process;
use std::time::Duration;

use super::{Message, Result, Worker, listen, our_channel, this_program};
use crate::channel::{Channel, Heard};
use crate::ipc::message::{
    Act, AddressType, Answer, Cluster, HandleKind, Inner, Listen, Server,
    Sockname,
};

/// By which both sides call the one server of this demo.
const KEY: &str = "demo";

const REQUEST: &[u8] =
    b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\
                      Connection: close\r\n\r\nhello Node.js";

/// How long a client may let the worker wait for its next byte.
const PATIENCE: Duration = Duration::from_secs(2);

/// Bytes that are read of a request, and once more of what follows it.
const LONGEST_REQUEST: u64 = 64 << 10;

pub(super) fn run(out: &mut impl Write) -> Result {
    match our_channel()? {
        Some(channel) => worker(channel, out),
        None => master(&this_program(&["disconnect"])?, out),
    }
}

/// Plays the master to two workers, one after the other: a path and its
/// arguments.
///
/// # Errors
///
/// When a worker cannot be started, does otherwise than it should, or fails.
pub fn master(program: &[OsString], out: &mut impl Write) -> Result {
    let pid = process::id();
    let mut master = Master::default();
    let mut first = Worker::start(program, Some(1))?;
    let address = master.until_listening(&mut first)?;
    let mut client = TcpStream::connect(address)?;
    client.write_all(REQUEST)?;
    master.hand_over(&mut first)?;
    let mut answer = String::new();
    client.read_to_string(&mut answer)?;
    if !answer.ends_with("hello Node.js") {
        return Err(format!("the worker has answered {answer:?}").into());
    }
    drop(client);

    master.until(Step::Disconnected, &mut first)?;
    let gone = first.child.pid();
    writeln!(out, "[{pid}] worker {gone} is disconnected")?;
    let mut second = Worker::start(program, Some(2))?;
    master.until_listening(&mut second)?;
    let new = second.child.pid();
    writeln!(io::stderr(), "[{pid}] worker {new} has taken its place")?;

    master.speaker.say(
        Act::Disconnect { idle: None, give: false },
        &mut second.channel,
    )?;
    master.until(Step::Disconnected, &mut second)?;
    first.end()?;
    second.end()
}

/// What a worker lets its master know, as far as this demo waits for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Listening,
    /// The connection is the worker's now, or is not.
    Answered {
        accepted: bool,
    },
    Disconnected,
}

/// Numbers what a process says, as Node does.
#[derive(Debug, Default)]
struct Speaker {
    said: u64,
}

impl Speaker {
    fn number<'a>(&mut self, act: Act<'a>) -> Cluster<'a> {
        let seq = Some(self.said);
        self.said += 1;
        Cluster { seq, act }
    }

    fn say(&mut self, act: Act<'_>, channel: &mut Channel) -> Result {
        Ok(channel.say(&Message::Cluster(self.number(act)))?)
    }
}

#[derive(Debug, Default)]
struct Master {
    /// From the first worker that asks for it to the end: what comes while
    /// no worker is there waits in its queue.
    listener: Option<TcpListener>,
    speaker: Speaker,
}

impl Master {
    /// The address is where clients find it.
    fn until_listening(&mut self, worker: &mut Worker) -> Result<SocketAddr> {
        self.until(Step::Listening, worker)?;
        let listener = self.listener.as_ref().ok_or("it asked nothing")?;
        Ok(listener.local_addr()?)
    }

    /// Accepts a connection and gives it away. Only when the worker has said
    /// that it accepts it, our copy is closed: till then another could get
    /// it.
    fn hand_over(&mut self, worker: &mut Worker) -> Result {
        let listener = self.listener.as_ref().ok_or("nobody listens")?;
        let (connection, _) = listener.accept()?;
        // Node takes it as it is, and would block where it may not.
        connection.set_nonblocking(true)?;
        let newconn = Act::NewConnection { key: KEY.into() };
        let message = Message::Handle {
            kind: HandleKind::NetNative,
            inner: Inner::Cluster(self.speaker.number(newconn)),
        };
        if !worker.channel.hand_over(&message, &[connection.as_fd()])? {
            return Err("the channel is full".into());
        }
        self.until(Step::Answered { accepted: true }, worker)
    }

    /// Listens to a worker until it has come so far; nothing else may happen.
    fn until(&mut self, wanted: Step, worker: &mut Worker) -> Result {
        let step = self.next_step(&mut worker.channel)?;
        if step == wanted {
            return Ok(());
        }
        Err(format!("the worker: {step:?}, and not {wanted:?}").into())
    }

    fn next_step(&mut self, channel: &mut Channel) -> Result<Step> {
        loop {
            while let Some((line, _)) = channel.line()? {
                let Cluster { seq, act } = match Message::parse(line)? {
                    Message::Cluster(message) => message,
                    Message::HandleNack { .. } => {
                        return Ok(Step::Answered { accepted: false });
                    }
                    _ => continue, // NODE_HANDLE_ACK, the application's …
                };
                let ack = seq.unwrap_or_default();
                match act {
                    Act::QueryServer(wanted) => {
                        let answer = Answer::Server(self.serve(&wanted)?);
                        self.speaker
                            .say(Act::Reply { ack, answer }, channel)?;
                    }
                    Act::Listening { .. } => return Ok(Step::Listening),
                    Act::ExitedAfterDisconnect => {
                        let answer = Answer::Done;
                        self.speaker
                            .say(Act::Reply { ack, answer }, channel)?;
                    }
                    Act::Reply {
                        answer: Answer::Accepted(accepted), ..
                    } => {
                        return Ok(Step::Answered { accepted });
                    }
                    Act::Online { .. } | Act::Close { .. } => {}
                    Act::NewConnection { .. }
                    | Act::Disconnect { .. }
                    | Act::Reply { .. } => {
                        return Err("a master's own words".into());
                    }
                }
            }
            if listen(channel)? == Heard::End {
                return Ok(Step::Disconnected);
            }
        }
    }

    /// Listens where the worker wants to. The listening socket stays here.
    fn serve(&mut self, wanted: &Listen<'_>) -> Result<Server<'static>> {
        let listener = match self.listener.take() {
            Some(listener) => listener,
            None => {
                let host = wanted.address.as_deref().unwrap_or("127.0.0.1");
                let port = u16::try_from(wanted.port.unwrap_or_default())?;
                TcpListener::bind((host, port))?
            }
        };
        let address = self.listener.insert(listener).local_addr()?;
        let (host, port) = (address.ip().to_string(), address.port());
        let sockname = Some(Sockname { address: Cow::Owned(host), port });
        Ok(Server { errno: 0, key: KEY.into(), data: None, sockname })
    }
}

/// Answers one connection, and leaves. To return is to close the channel.
fn worker(mut channel: Channel, out: &mut impl Write) -> Result {
    let pid = process::id();
    let mut speaker = Speaker::default();
    let mut key = String::new();
    let mut leaving = false;
    speaker.say(Act::Online { handoff: None }, &mut channel)?;
    speaker.say(Act::QueryServer(listen_at(0)), &mut channel)?;
    while let Some(order) = next_order(&mut channel)? {
        match order {
            Order::Listen { port, name } => {
                key = name;
                let server = listen_at(port);
                let act = Act::Listening { server, capacity: None };
                speaker.say(act, &mut channel)?;
            }
            Order::Take { connection: None, .. } => {
                channel.say(&Message::HandleNack { first: None })?;
            }
            Order::Take { ack, connection: Some(connection) } => {
                channel.say(&Message::HandleAck)?;
                let answer = Answer::Accepted(!leaving);
                speaker.say(Act::Reply { ack, answer }, &mut channel)?;
                if leaving {
                    continue; // Closed here; the master gives it to another.
                }
                leaving = true;
                writeln!(out, "[{pid}] worker {pid} got a connection")?;
                // What a client does wrong is its own loss.
                let _ = serve(connection);
                writeln!(out, "[{pid}] worker {pid} is going to disconnect")?;
                let key = Cow::Borrowed(key.as_str());
                speaker.say(Act::Close { key }, &mut channel)?;
                speaker.say(Act::ExitedAfterDisconnect, &mut channel)?;
            }
            Order::Leave => {
                let key = Cow::Borrowed(key.as_str());
                return speaker.say(Act::Close { key }, &mut channel);
            }
            Order::Noted => return Ok(()),
        }
    }
    Ok(()) // Without a master there is nothing to do.
}

/// What a master says, as far as it concerns this worker.
#[derive(Debug)]
enum Order {
    /// Its server is there, under this name.
    Listen {
        port: i32,
        name: String,
    },
    /// A connection, unless it was lost on the way.
    Take {
        ack: u64,
        connection: Option<OwnedFd>,
    },
    Leave,
    /// The answer to the announcement that we leave.
    Noted,
}

/// `None` when the channel has ended.
fn next_order(channel: &mut Channel) -> Result<Option<Order>> {
    loop {
        while let Some((line, descriptors)) = channel.line()? {
            let message = Message::parse(line)?;
            let mut handles = descriptors.take(message.descriptors());
            let (seq, act) = match message {
                Message::Cluster(Cluster { seq, act })
                | Message::Handle {
                    inner: Inner::Cluster(Cluster { seq, act }),
                    ..
                } => (seq, act),
                _ => continue, // The application's.
            };
            return Ok(Some(match act {
                Act::Reply { answer: Answer::Server(server), .. } => {
                    let port = port_of(&server)?;
                    Order::Listen { port, name: server.key.into_owned() }
                }
                Act::NewConnection { .. } => {
                    let ack = seq.unwrap_or_default();
                    Order::Take { ack, connection: handles.next() }
                }
                Act::Disconnect { .. } => Order::Leave,
                Act::Reply { answer: Answer::Done, .. } => Order::Noted,
                Act::Online { .. }
                | Act::QueryServer(_)
                | Act::Listening { .. }
                | Act::Close { .. }
                | Act::ExitedAfterDisconnect
                | Act::Reply { answer: Answer::Accepted(_), .. } => {
                    return Err("a worker's own words".into());
                }
            }));
        }
        if listen(channel)? == Heard::End {
            return Ok(None);
        }
    }
}

/// Port 0 is any free one.
fn listen_at(port: i32) -> Listen<'static> {
    Listen {
        address: Some("127.0.0.1".into()),
        port: Some(port),
        address_type: AddressType::Tcp4,
        flags: Some(0),
        ..Listen::default()
    }
}

fn port_of(server: &Server<'_>) -> Result<i32> {
    match (server.errno, &server.sockname) {
        (0, Some(name)) => Ok(name.port.into()),
        (0, None) => Err("the master listens nowhere".into()),
        (errno, _) => Err(io::Error::from_raw_os_error(-errno).into()),
    }
}

/// One request, one answer. A socket that is closed with something unread
/// resets the connection, and may take the answer back with that; hence this
/// end: say that nothing more comes, read what still does, close.
fn serve(connection: OwnedFd) -> io::Result<()> {
    let mut client = TcpStream::from(connection);
    client.set_nonblocking(false)?;
    client.set_read_timeout(Some(PATIENCE))?;
    let mut request = BufReader::new(&client).take(LONGEST_REQUEST);
    let mut line = Vec::new();
    while request.read_until(b'\n', &mut line)? > 0 && line != b"\r\n" {
        line.clear();
    }
    client.write_all(ANSWER.as_bytes())?;
    client.shutdown(Shutdown::Write)?;
    io::copy(&mut client.take(LONGEST_REQUEST), &mut io::sink())?;
    Ok(())
}
