//! Connections that outlive their worker, from outside: real workers die at
//! every point of a request's life, and real clients must not notice.
//!
//! ```text
//!   points   before, around and behind an answer, by what is asked
//!   writes   slow readers, short writes, large answers, streams
//!   clients  idle, half closed, gone, byte by byte; unix-domain sockets
//!   poison   what kills every worker that is asked, and its neighbours
//!   leaving  reload, scaling, recycling, upgrade: nobody is closed
//!   limits   no descriptors, no room, no salvage; what is left behind
//!   passed   sockets that somebody else has listened on first
//!   step     a kill at an instruction: some of them, or every single one
//! ```

#![allow(clippy::unwrap_used, reason = "what goes wrong fails the test")]
#![allow(clippy::print_stdout, reason = "it measures, too")]

#[path = "../programs/mortal/answer.rs"]
mod answer;
#[path = "../http/client.rs"]
mod client;
mod clients;
#[path = "../common/mod.rs"]
mod common;
mod leaving;
mod limits;
mod passed;
#[path = "../http_server/peer.rs"]
#[allow(dead_code, reason = "other tests use all of it")]
mod peer;
mod points;
mod poison;
mod step;
mod writes;

use std::fs::{self, File};
use std::thread;
use std::time::Duration;

use client::Answer;
use common::server::{Server, program};
use common::{PATIENCE, Scratch, process, wait_until, within};
use peer::{Client, End};

/// Time for a worker to have read what was sent to it.
const MOMENT: Duration = Duration::from_millis(30);

/// A server whose workers die as requests say.
struct Mortals {
    server: Server,
    folder: Scratch,
    /// Descriptors of the master when nobody had connected yet.
    open: Vec<(u32, String)>,
}

impl Mortals {
    fn start(name: &str, options: &str) -> Mortals {
        let folder = Scratch::new(&format!("mortals-{name}"));
        let path = folder.path("").display().to_string();
        let listen = folder.path("socket").display().to_string();
        let options = options.replace("SOCKET", &listen);
        let words = format!("{path} {options}");
        let server = Server::start(program("mortal", &words));
        let workers = match options.split_once("workers=") {
            Some((_, rest)) => rest[..1].parse().unwrap(),
            None => 1,
        };
        let mut mortals = Mortals { server, folder, open: Vec::new() };
        wait_until("the workers serve", || mortals.workers() == workers);
        mortals.open = mortals.settled();
        mortals
    }

    /// Workers that read what comes to them.
    fn workers(&self) -> usize {
        let pids = self.server.workers();
        let waits = |pid: &&u32| {
            process::descriptors(**pid)
                .iter()
                .any(|(_, to)| to.contains("signalfd"))
                && process::stat(**pid).is_some_and(|s| s.state == 'S')
        };
        pids.iter().filter(waits).count()
    }

    /// The master's descriptors, when their number has come to rest.
    fn settled(&self) -> Vec<(u32, String)> {
        let mut last = Vec::new();
        wait_until("the master's descriptors are at rest", || {
            thread::sleep(MOMENT);
            let now = process::descriptors(self.server.pid());
            let same = now == last;
            last = now;
            same
        });
        last
    }

    /// So many workers die of the requests of this name.
    fn load(&self, name: &str, bullets: usize) {
        for number in 0..bullets {
            let path = format!("{name}.bullet-{number}");
            File::create(self.folder.path(&path)).unwrap();
        }
    }

    /// How many workers could still die of them.
    fn bullets(&self, name: &str) -> usize {
        let prefix = format!("{name}.bullet-");
        let names = fs::read_dir(&self.folder).unwrap().flatten();
        let names = names.map(|entry| entry.file_name());
        names.filter(|n| n.to_str().unwrap().starts_with(&prefix)).count()
    }

    /// How often a handler has seen a request of this name.
    fn asked(&self, name: &str) -> usize {
        let path = self.folder.path(&format!("{name}.asked"));
        fs::metadata(path).map_or(0, |meta| meta.len() as usize)
    }

    fn client(&self) -> Client {
        Client::open(self.server.place())
    }

    /// Kills every worker there is.
    fn kill_all(&self) {
        process::signal("KILL", &self.server.workers());
    }

    /// Waits until a handler has seen it so often.
    fn wait_for(&self, name: &str, times: usize) {
        let what = format!("{name} is asked {times} times");
        wait_until(&what, || self.asked(name) >= times);
    }

    /// Nobody is connected any more: the master has what it had, its workers
    /// have what a new one has, and nobody waits to be buried.
    fn expect_nothing_left(&self) {
        let master = self.server.pid();
        let open = || process::descriptors(master);
        // A busy machine may have shown it in the middle of its start.
        let gone = within(PATIENCE, || {
            // It looks at its counters when it is woken, or once a second.
            self.server.signal("WINCH");
            thread::sleep(MOMENT);
            open().len() <= self.open.len()
        });
        assert!(gone, "{:?} have become {:?}", self.open, open());
        let zombies = || {
            let children = process::children(master);
            children.iter().any(|child| child.state == 'Z')
        };
        wait_until("the dead are buried", || !zombies());
    }
}

/// A request of this name, with more options (`&size=20`).
fn ask(method: &str, name: &str, options: &str) -> String {
    let target = format!("/?name={name}{options}");
    format!("{method} {target} HTTP/1.1\r\nHost: a\r\n\r\n")
}

fn get(name: &str, options: &str) -> String {
    ask("GET", name, options)
}

/// One with a body that has a length.
fn post(name: &str, options: &str, body: &str) -> String {
    let length = format!("Host: a\r\nContent-Length: {}", body.len());
    ask("POST", name, options).replace("Host: a", &length) + body
}

/// The same request as the last on its connection.
fn last(request: String) -> String {
    request.replace("Host: a", "Host: a\r\nConnection: close")
}

/// Fails unless it is the answer to the request of this name.
fn expect(answer: &Answer, name: &str, size: usize) {
    assert_eq!(answer.status, 200, "{name}: {answer:?}");
    let right = answer::body(name, size);
    let same = answer.body == right;
    assert!(same, "{name}: {}", answer.body.escape_ascii());
}

/// Fails unless it says that the request was lost, and is the last.
fn expect_refusal(client: &mut Client) {
    let answer = client.answer();
    assert_eq!((answer.status, &*answer.body), (502, &b""[..]));
    assert!(answer.closes());
    assert_eq!(client.rest(), (vec![], End::Clean));
}

/// Fails unless the connection goes on.
fn expect_usable(client: &mut Client) {
    client.send(get("usable", ""));
    expect(&client.answer(), "usable", 10);
}
