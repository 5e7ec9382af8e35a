//! Why the master should be the one who accepts: two models, one load.
//!
//! ```text
//!   each for itself                        round robin
//!
//!   clients ─▶ socket                      clients ─▶ socket
//!              │ │ │ │  the same                      │
//!              ▼ ▼ ▼ ▼  listening socket            master  accepts
//!              1 2 3 4  in four processes:          ┌┬┴┬┐   and gives to
//!              accept accept accept accept          ▼▼ ▼▼   each in turn
//!                                                   12 34
//! ```
//!
//! On the left every process waits in an epoll of its own for the one socket.
//! A new connection wakes them all (level-triggered, as in Node before it had
//! the other model); who is on a processor first takes it, and whatever else
//! waits, and the rest have woken for nothing. The kernel owes nobody a fair
//! share, and gives none. On the right nobody competes.
//!
//! Both models differ here in one thing only: which descriptor the master
//! sends over the channels, the listening socket to all, or each connection
//! to one. What is counted is the answers that the clients have got: a worker
//! answers with its pid.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process;
use std::time::Duration;

use super::{Message, Result, Worker, listen, our_channel, this_program};
use crate::channel::{Channel, Heard};
use crate::ipc::message::{HandleKind, Inner};
use crate::sys::epoll::{Epoll, Events, Interest};
use crate::sys::poll;
use crate::sys::socket::{self, Accepted, Direction};
use crate::sys::tcp::{self, Listening};

const WORKERS: usize = 4;
const CONNECTIONS: usize = 2000;

/// So many clients connect before the first of them wants its answer.
const AT_ONCE: usize = 8;

/// How long a client waits for its answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Who accepts.
#[derive(Clone, Copy, Debug)]
enum Model {
    EachForItself,
    RoundRobin,
}

/// Connections that each worker has answered.
type Shares = [usize; WORKERS];

pub(super) fn run(out: &mut impl Write) -> Result {
    match our_channel()? {
        Some(channel) => worker(channel),
        None => {
            let each = measure(Model::EachForItself)?;
            let turns = measure(Model::RoundRobin)?;
            Ok(print(&each, &turns, out)?)
        }
    }
}

/// Starts workers, puts the load on them, and ends them.
fn measure(model: Model) -> Result<Shares> {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let listener = tcp::listen(any, Listening::plain(AT_ONCE as i32))?;
    let address = socket::local_address(listener.as_fd())?.unwrap_or(any);
    let program = this_program(&["uneven"])?;
    let mut workers: VecDeque<Worker> = (0..WORKERS)
        .map(|_| Worker::start(&program, None))
        .collect::<Result<_>>()?;
    let pids: Vec<i32> = workers.iter().map(|w| w.child.pid()).collect();
    // Nobody gets less because he came late.
    workers.iter_mut().try_for_each(until_ready)?;
    if let Model::EachForItself = model {
        for worker in &mut workers {
            give(listener.as_fd(), HandleKind::NetServer, worker)?;
            until_ready(worker)?;
        }
    }
    let mut shares = [0; WORKERS];
    for _ in 0..CONNECTIONS / AT_ONCE {
        let clients = (0..AT_ONCE)
            .map(|_| TcpStream::connect(address))
            .collect::<io::Result<Vec<_>>>()?;
        if let Model::RoundRobin = model {
            distribute(&listener, &mut workers)?;
        }
        for client in clients {
            credit(&mut shares, &pids, answer_to(client)?)?;
        }
    }
    workers.into_iter().try_for_each(Worker::end)?;
    Ok(shares)
}

/// The article's round robin: whoever is first in the row gets a connection,
/// and goes to its end.
fn distribute(listener: &OwnedFd, workers: &mut VecDeque<Worker>) -> Result {
    let mut left = AT_ONCE;
    while left > 0 {
        match socket::accept(listener.as_fd())? {
            Accepted::Connection(connection, _) => {
                let kind = HandleKind::NetSocket { key: None };
                give(connection.as_fd(), kind, &mut workers[0])?;
                workers.rotate_left(1);
                left -= 1;
            }
            Accepted::Nothing => poll::until_readable(listener.as_fd())?,
            Accepted::Aborted => return Err("a client has left".into()),
        }
    }
    Ok(())
}

fn give(
    descriptor: BorrowedFd<'_>,
    kind: HandleKind<'_>,
    worker: &mut Worker,
) -> Result {
    let message = Message::Handle { kind, inner: Inner::User("null") };
    if worker.channel.hand_over(&message, &[descriptor])? {
        return Ok(());
    }
    Err("a channel is full".into())
}

/// Reads to the end who has answered.
fn answer_to(mut client: TcpStream) -> Result<i32> {
    client.set_read_timeout(Some(PATIENCE))?;
    let mut answer = String::new();
    client.read_to_string(&mut answer)?;
    Ok(answer.parse()?)
}

fn credit(shares: &mut Shares, pids: &[i32], pid: i32) -> Result {
    let index = pids.iter().position(|&known| known == pid);
    shares[index.ok_or("an answer of no worker")?] += 1;
    Ok(())
}

/// Waits until a worker has said so.
fn until_ready(worker: &mut Worker) -> Result {
    match listen(&mut worker.channel)? {
        Heard::Something | Heard::Nothing => Ok(()),
        Heard::End => Err("a worker has ended at its start".into()),
    }
}

/// What epoll carries for a worker's two sources.
const CHANNEL: u64 = 0;
const LISTENER: u64 = 1;

/// Answers the connections that it is given, and accepts from the listening
/// socket that it is given, until the channel ends.
fn worker(mut channel: Channel) -> Result {
    let epoll = Epoll::new()?;
    let mut events = Events::with_capacity(2);
    let mut listener = None;
    epoll.add(channel.as_fd(), Interest::Read, CHANNEL)?;
    channel.say(&READY)?;
    loop {
        epoll.wait(&mut events, None)?;
        for index in 0..events.len() {
            let from = events.get(index).data;
            if from == CHANNEL {
                if channel.hear()? == Heard::End {
                    return Ok(());
                }
                if let Some(socket) = take_handles(&mut channel)? {
                    epoll.add(socket.as_fd(), Interest::Read, LISTENER)?;
                    listener = Some(socket);
                    channel.say(&READY)?;
                }
            } else if let Some(listener) = &listener {
                accept_all(listener)?;
            }
        }
    }
}

const READY: Message<'static> = Message::User("\"ready\"");

/// Answers connections; a listening socket is returned.
fn take_handles(channel: &mut Channel) -> Result<Option<OwnedFd>> {
    let mut listener = None;
    while let Some((line, descriptors)) = channel.line()? {
        let Message::Handle { kind, .. } = Message::parse(line)? else {
            return Err("a message without a descriptor".into());
        };
        let handle = descriptors.take(1).next();
        let handle = handle.ok_or("a descriptor is lost")?;
        if kind == HandleKind::NetServer {
            listener = Some(handle);
        } else {
            answer(&handle)?;
        }
    }
    Ok(listener)
}

fn accept_all(listener: &OwnedFd) -> Result {
    loop {
        match socket::accept(listener.as_fd())? {
            Accepted::Connection(connection, _) => answer(&connection)?,
            Accepted::Nothing => return Ok(()), // Somebody else was first.
            Accepted::Aborted => {}
        }
    }
}

/// Says who it is that answers. `shutdown`, since the master may still have a
/// copy of the connection, which `close` alone would leave open.
fn answer(connection: &OwnedFd) -> Result {
    let pid = process::id().to_string();
    socket::send_last(connection.as_fd(), pid.as_bytes())?;
    Ok(socket::shutdown(connection.as_fd(), Direction::Both)?)
}

/// One row for each worker, then what they say together.
fn print(
    each: &Shares,
    turns: &Shares,
    out: &mut impl Write,
) -> io::Result<()> {
    writeln!(
        out,
        "{CONNECTIONS} connections, {AT_ONCE} at a time, to {WORKERS} workers"
    )?;
    writeln!(out)?;
    writeln!(out, "{:14}{:>12}{:>13}", "", "all accept", "round robin")?;
    let workers = (1..=WORKERS).map(|number| format!("worker {number}"));
    let whole = ["together", "most - least", "std deviation"];
    let names = workers.chain(whole.map(str::to_owned));
    for ((name, each), turns) in names.zip(column(each)).zip(column(turns)) {
        writeln!(out, "{name:14}{each:>12}{turns:>13}")?;
    }
    Ok(())
}

fn column(shares: &Shares) -> impl Iterator<Item = String> {
    let together: usize = shares.iter().sum();
    let least = shares.iter().min().copied().unwrap_or_default();
    let most = shares.iter().max().copied().unwrap_or_default();
    let mean = together as f64 / WORKERS as f64;
    let squares = shares.iter().map(|&share| (share as f64 - mean).powi(2));
    let deviation = (squares.sum::<f64>() / WORKERS as f64).sqrt();
    let whole = [
        together.to_string(),
        (most - least).to_string(),
        format!("{deviation:.1}"),
    ];
    shares.map(|share| share.to_string()).into_iter().chain(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_counts_for_the_worker_whose_pid_it_says() {
        let mut shares = [0; WORKERS];
        let pids = [11, 22, 33, 44];
        for pid in [22, 44, 22, 11, 22] {
            credit(&mut shares, &pids, pid).unwrap();
        }
        assert_eq!(shares, [1, 3, 0, 1]);
        assert!(credit(&mut shares, &pids, 55).is_err());
    }

    #[test]
    fn the_table_shows_what_was_counted() {
        let mut out = Vec::new();
        print(&[20, 10, 0, 10], &[10, 10, 11, 9], &mut out).unwrap();
        let table = String::from_utf8(out).unwrap();
        let rows: Vec<&str> = table.lines().skip(2).collect();
        assert_eq!(
            rows,
            [
                "                all accept  round robin",
                "worker 1                20           10",
                "worker 2                10           10",
                "worker 3                 0           11",
                "worker 4                10            9",
                "together                40           40",
                "most - least            20            2",
                "std deviation          7.1          0.7",
            ]
        );
    }
}
