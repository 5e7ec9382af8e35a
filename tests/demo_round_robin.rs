//! `handoff demo round-robin`: strict turns, the article's answer, and no
//! client that has asked is reset.

#![allow(clippy::unwrap_used, reason = "what goes wrong fails the test")]

mod demo_support;

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::net::TcpStream;
use std::process::{ChildStderr, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use demo_support::{Guarded, handoff, numbers, stdout, tool};

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
const PATIENCE: Duration = Duration::from_secs(30);

struct Server {
    process: Guarded,
    out: Lines<BufReader<ChildStdout>>,
    /// Kept open: the server goes on to log.
    _log: Lines<BufReader<ChildStderr>>,
    address: String,
}

impl Server {
    /// Between its look at port 3000 and its listening there another may
    /// take that. It ends then, and is started again.
    fn start() -> Server {
        (0..10).find_map(|_| Server::try_start()).unwrap()
    }

    fn try_start() -> Option<Server> {
        let mut command = handoff();
        command.args(["demo", "round-robin"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = Guarded::start(&mut command);
        let out = BufReader::new(process.0.stdout.take().unwrap()).lines();
        let log = process.0.stderr.take().unwrap();
        let mut log = BufReader::new(log).lines();
        let line = log.next().unwrap().unwrap();
        if line.contains("cannot listen") {
            return None;
        }
        assert!(line.contains("4 workers, round-robin"), "{line}");
        let start = line.find("127.0.0.1:").unwrap();
        let address: &str = line[start..].split(',').next().unwrap();
        let address = address.to_owned();
        Some(Server { process, out, _log: log, address })
    }

    fn connect(&self) -> TcpStream {
        let client = TcpStream::connect(&self.address).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client
    }

    /// One client from its beginning to its end: who was named.
    fn ask(&mut self) -> u32 {
        let mut client = self.connect();
        client.write_all(REQUEST.as_bytes()).unwrap();
        assert_is_the_answer(&read_to_end(client));
        let line = self.out.next().unwrap().unwrap();
        let pid = numbers(&line)[0];
        assert_eq!(line, format!("[{pid}] worker {pid} got a connection"));
        pid
    }

    /// Until all four have joined in.
    fn warm_up(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        let mut last = vec![self.ask()];
        while last.iter().rev().take(4).collect::<HashSet<_>>().len() < 4 {
            assert!(Instant::now() < deadline, "{last:?}");
            last.push(self.ask());
        }
    }
}

fn read_to_end(mut client: TcpStream) -> String {
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    answer
}

fn assert_is_the_answer(answer: &str) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let head = head.to_ascii_lowercase();
    let fields: Vec<&str> = head.split("\r\n").collect();
    assert_eq!(fields[0], "http/1.1 200 ok");
    assert!(fields.contains(&"content-length: 13"), "{head}");
    assert!(fields.contains(&"connection: close"), "{head}");
    assert_eq!(body, "hello Node.js");
}

#[test]
fn twenty_clients_are_served_in_strict_turns() {
    let mut server = Server::start();
    server.warm_up();
    let turns: Vec<u32> = (0..20).map(|_| server.ask()).collect();
    let four: HashSet<u32> = turns[..4].iter().copied().collect();
    assert_eq!(four.len(), 4, "{turns:?}");
    assert!(turns.chunks(4).all(|four| four == &turns[..4]), "{turns:?}");
}

#[test]
fn a_client_that_goes_on_sending_is_not_reset_while_it_is_told_of_the_end() {
    let server = Server::start();
    for _ in 0..20 {
        let mut client = server.connect();
        client.write_all(REQUEST.as_bytes()).unwrap();
        let mut answer = [0; 1];
        client.read_exact(&mut answer).unwrap();
        // A reset would come in answer to the first, and fail the second.
        for _ in 0..10 {
            client.write_all(&[b'x'; 1000]).unwrap();
        }
        let rest = read_to_end(client);
        assert_is_the_answer(&format!("{}{rest}", char::from(answer[0])));
    }
}

#[test]
fn it_serves_until_it_is_interrupted() {
    let Some(kill) = tool("kill") else { return };
    let mut server = Server::start();
    server.ask();
    let pid = server.process.0.id().to_string();
    stdout(Command::new(kill).args(["-INT", &pid]));
    assert!(server.process.wait().success());
}
