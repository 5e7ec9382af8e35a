//! Idle clients: a process of its own that opens connections, has one request
//! answered on each, and keeps them. It is this program again, so that the
//! descriptors are not those of who measures.

use std::io::{BufRead, BufReader, Read, Write, stdin, stdout};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::answer::Client;
use crate::bench::Bench;
use crate::machine;
use crate::result::Result;

/// The first argument of such a process; then a port, which holder it is,
/// and how many connections.
pub(crate) const WORD: &str = "--hold";

/// For all connections of one holder.
const PATIENCE: Duration = Duration::from_secs(30);

/// An address has more ports than that, but the kernel looks for the last ones
/// for long.
const MOST_PORTS: usize = 10_000;

/// Numbers holders, each of which has an address of its own: it has no more
/// than 65,535 ports, and those of the one before it rest for a minute.
static NEXT: AtomicUsize = AtomicUsize::new(0);

/// Seconds that it takes to open so many, on a busy machine.
pub(crate) fn opening(connections: usize) -> f64 {
    connections as f64 / 5000.0
}

/// Processes that keep connections until they are dropped.
#[derive(Debug)]
pub(crate) struct Held {
    holders: Vec<Child>,
}

impl Held {
    /// Returns when each connection has had an answer.
    pub(crate) fn open(
        bench: &Bench,
        port: u16,
        count: usize,
    ) -> Result<Held> {
        let mut held = Held { holders: Vec::new() };
        let most = MOST_PORTS.min(machine::descriptors() - 100);
        let mut left = count;
        while left > 0 {
            let share = left.min(most);
            held.add(bench, port, share)?;
            left -= share;
        }
        Ok(held)
    }

    fn add(&mut self, bench: &Bench, port: u16, count: usize) -> Result<()> {
        let program = std::env::current_exe();
        let program = program.map_err(|error| error.to_string())?;
        let cpu = bench.plan.cpus.map(|(_, load)| load);
        let number = NEXT.fetch_add(1, Relaxed);
        let mut holder = bench
            .tools
            .wrapped(cpu, &program)
            .arg(WORD)
            .args([port as usize, number, count].map(|n| n.to_string()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("a holder: {error}"))?;
        let out = holder.stdout.take();
        self.holders.push(holder);
        let (say, hear) = mpsc::channel();
        thread::spawn(move || {
            let mut line = String::new();
            let _ = out.map(|out| BufReader::new(out).read_line(&mut line));
            let _ = say.send(line);
        });
        match hear.recv_timeout(PATIENCE) {
            Ok(line) if line == "held\n" => Ok(()),
            _ => Err(format!("{count} connections cannot be held")),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        for holder in &mut self.holders {
            let _ = holder.kill();
            let _ = holder.wait();
        }
    }
}

/// What such a process does: it says when all are open, and keeps them until
/// its standard input ends.
pub(crate) fn hold(words: &[String]) -> Result<()> {
    let number = |index: usize| {
        let word = words.get(index).ok_or("a number is missing")?;
        word.parse::<usize>().map_err(|error| error.to_string())
    };
    let (port, holder, count) = (number(0)?, number(1)?, number(2)?);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port as u16));
    let (high, low) = (1 + holder / 250, 1 + holder % 250);
    let own = IpAddr::from([127, high as u8, 0, low as u8]);
    let mut clients = Vec::with_capacity(count);
    for _ in 0..count {
        let mut client = connect(own, address)?;
        if !client.is_answered() {
            return Err("a connection got no answer".to_owned());
        }
        clients.push(client);
    }
    let _ = stdout().write_all(b"held\n");
    let _ = stdin().read_to_end(&mut Vec::new());
    Ok(())
}

fn connect(from: IpAddr, to: SocketAddr) -> Result<Client> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)
        .and_then(|socket| {
            socket.bind(&SocketAddr::from((from, 0)).into())?;
            socket.connect_timeout(&to.into(), PATIENCE)?;
            Ok(socket)
        })
        .map_err(|error| format!("connect: {error}"))?;
    Client::over(socket.into())
}
