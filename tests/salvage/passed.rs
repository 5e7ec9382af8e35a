//! Sockets that somebody else listened on first: clients that waited in them
//! longer than the server is there have not the options that it counts by.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::thread;

use serde_json::Value;
use socket2::{Domain, Protocol, Socket, Type};

use crate::common::server::{Server, handoff, run};
use crate::common::{PATIENCE, Scratch, process, skipped, wait_until};
use crate::{MOMENT, peer};

/// `IPPROTO_MPTCP`, linux/in.h.
const MPTCP: i32 = 262;

/// A server of one worker with a socket as its descriptor 3.
struct Activated {
    server: Server,
    folder: Scratch,
}

impl Activated {
    fn start(name: &str, listener: impl Into<OwnedFd>) -> Activated {
        let folder = Scratch::new(&format!("passed-{name}"));
        let control = folder.path("control");
        let serve = handoff("serve --workers 1 --control");
        let mut command = Command::new("sh");
        command
            .arg("-c")
            .arg(
                "exec 3<&0 0</dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$@\"",
            )
            .arg("sh")
            .arg(serve.get_program())
            .args(serve.get_args())
            .arg(control)
            .stdin(Stdio::from(listener.into()));
        let server = Server::start(command);
        server.wait_for_workers(1);
        Activated { server, folder }
    }

    /// What became of its connections.
    fn salvage(&self) -> Value {
        let mut command = handoff("status --json --control");
        command.arg(self.folder.path("control"));
        let ended = run(command);
        let mut all: Value = serde_json::from_str(&ended.out).unwrap();
        all["master"]["salvage"].take()
    }

    fn unguarded(&self) -> u64 {
        self.salvage()["unguarded"].as_u64().unwrap()
    }

    /// How many lines of the log say this.
    fn says(&self, words: &str) -> usize {
        self.server.log().lines().filter(|l| l.contains(words)).count()
    }

    fn kill_the_worker(&self) {
        let before = self.server.wait_for_workers(1);
        process::signal("KILL", &before);
        wait_until("there is another worker", || {
            let now = self.server.workers();
            now.len() == 1 && now != before
        });
    }
}

fn connect(listener: &TcpListener) -> TcpStream {
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    client.set_nodelay(true).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client
}

/// All that comes until the end, whichever that is.
fn rest(client: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    // A reset is an end as well; what came before it stays.
    let _ = client.read_to_end(&mut all);
    all
}

/// Begins a body, of which every other byte is an urgent one.
fn begin_urgently(client: &TcpStream, urgent: usize) {
    let socket = Socket::from(client.try_clone().unwrap());
    let length = 4 * urgent as u64;
    socket.send(peer::post("/echo", length).as_bytes()).unwrap();
    thread::sleep(MOMENT);
    for _ in 0..urgent {
        socket.send_out_of_band(b"!").unwrap();
        socket.send(b"a").unwrap();
        thread::sleep(MOMENT / 60);
    }
    thread::sleep(MOMENT);
}

#[test]
fn who_waited_before_us_gets_no_byte_of_another_and_who_came_later_all_his() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut early: Vec<_> = (0..3).map(|_| connect(&listener)).collect();
    let copy = listener.try_clone().unwrap();
    let activated = Activated::start("queue", copy);
    // Somebody has used the memory before.
    let secret = "secret".repeat(500);
    let request = peer::post("/echo", secret.len() as u64) + &secret;
    let mut other = connect(&listener);
    other.write_all(request.as_bytes()).unwrap();
    other.shutdown(Shutdown::Write).unwrap();
    let echo = rest(&mut other);
    assert!(memchr::memmem::find(&echo, secret.as_bytes()).is_some());

    let mut late = connect(&listener);
    begin_urgently(&late, 200);
    begin_urgently(&early[0], 200);
    wait_until("those that waited are counted", || activated.unguarded() == 3);
    let news = activated.says("is older than this server");
    assert_eq!(news, 1, "{}", activated.server.log());
    activated.kill_the_worker();

    // Its worker's end is its own, whatever it still sends.
    let _ = early[0].write_all(&[b'b'; 800]);
    assert_eq!(rest(&mut early[0]).escape_ascii().to_string(), "");
    late.write_all(&[b'b'; 400]).unwrap();
    late.shutdown(Shutdown::Write).unwrap();
    let echo = rest(&mut late);
    let body = "!a".repeat(200) + &"b".repeat(400);
    assert!(echo.ends_with(body.as_bytes()), "{}", echo.escape_ascii());
    assert_eq!(activated.unguarded(), 3);
}

#[test]
fn who_waited_before_us_is_served() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut early = connect(&listener);
    let _activated = Activated::start("served", listener);
    early.write_all(peer::get("/").as_bytes()).unwrap();
    early.shutdown(Shutdown::Write).unwrap();
    let answer = rest(&mut early);
    assert!(answer.starts_with(b"HTTP/1.1 200 "), "{answer:?}");
}

#[test]
fn the_next_master_finds_nothing_against_those_that_wait() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut activated =
        Activated::start("upgrade", listener.try_clone().unwrap());
    let mut before = connect(&listener);
    before.write_all(peer::get("/").as_bytes()).unwrap();
    activated.server.signal("USR2");
    wait_until("the next master serves", || {
        activated.says("ready: the old master may go") == 1
    });
    before.shutdown(Shutdown::Write).unwrap();
    assert!(rest(&mut before).starts_with(b"HTTP/1.1 200 "));
    // They have had the options from the master before.
    for _ in 0..3 {
        let mut client = connect(&listener);
        client.write_all(peer::get("/").as_bytes()).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        assert!(rest(&mut client).starts_with(b"HTTP/1.1 200 "));
    }
    assert_eq!(activated.server.wait().code(), Some(0));
    assert_eq!(activated.unguarded(), 0, "{}", activated.server.log());
    process::signal("TERM", &activated.server.processes());
    wait_until("all are gone", || activated.server.processes().is_empty());
}

#[test]
fn a_listener_of_mptcp_is_served_without_salvage_and_one_line_says_so() {
    let mptcp = Some(Protocol::from(MPTCP));
    let Ok(socket) = Socket::new(Domain::IPV4, Type::STREAM, mptcp) else {
        skipped("this kernel has no MPTCP");
        return;
    };
    let any: std::net::SocketAddr = ([127, 0, 0, 1], 0).into();
    socket.bind(&any.into()).unwrap();
    socket.listen(8).unwrap();
    let address = socket.local_addr().unwrap();
    let activated = Activated::start("mptcp", socket);
    let before = activated.unguarded();
    for protocol in [MPTCP, 0] {
        let protocol = Some(Protocol::from(protocol));
        let client = Socket::new(Domain::IPV4, Type::STREAM, protocol);
        let client = client.unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client.connect(&address).unwrap();
        client.send(peer::get("/").as_bytes()).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let answer = rest(&mut TcpStream::from(client));
        assert!(answer.starts_with(b"HTTP/1.1 200 "), "{answer:?}");
    }
    assert_eq!(activated.unguarded() - before, 2);
    let lines = activated.says("it is MPTCP");
    assert_eq!(lines, 1, "{}", activated.server.log());
}
