//! The built-in application, and how a worker serves: over one connection,
//! over many, in order, and without waiting for anybody.

mod common;

use std::fs::File;
use std::thread;
use std::time::{Duration, Instant};

use common::http::{Connection, Place, ask};
use common::server::{Server, pid_in, program};
use common::{Scratch, at_some_pace, wait_until};

#[test]
fn the_root_greets() {
    let server = Server::serve("--workers 1");
    let response = server.ask("/");
    assert_eq!(response.body, b"hello handoff\n");
}

#[test]
fn plaintext_is_in_the_form_of_the_benchmarks() {
    let server = Server::serve("--workers 1");
    let response = server.ask("/plaintext");
    assert_eq!(response.body, b"Hello, World!");
    assert_eq!(response.field("content-length"), Some("13"));
    assert_eq!(response.field("content-type"), Some("text/plain"));
    assert!(response.field("server").is_some(), "{}", response.head);
    let date = response.field("date").unwrap();
    assert!(date.len() == 29 && date.ends_with(" GMT"), "{date}");
}

#[test]
fn echo_repeats_the_query_or_the_body() {
    let server = Server::serve("--workers 1");
    assert_eq!(server.ask("/echo").body, b"");
    assert_eq!(server.ask("/echo?a=b&c").body, b"a=b&c");
    let mut connection = Connection::open(server.place()).unwrap();
    let head = "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n";
    connection.send(head.as_bytes()).unwrap();
    connection.send(b"\0\xff\r\n").unwrap();
    assert_eq!(connection.receive().unwrap().body, b"\0\xff\r\n");
}

#[test]
fn what_is_not_there_is_not_found() {
    let server = Server::serve("--workers 1");
    let response = ask(server.place(), "/nothing").unwrap();
    assert_eq!(response.status, 404);
}

#[test]
fn methods_that_a_path_does_not_have_are_told_which_it_has() {
    let server = Server::serve("--workers 1");
    let mut connection = Connection::open(server.place()).unwrap();
    let mut ask = |method: &str, target: &str| {
        let head = format!("{method} {target} HTTP/1.1\r\nHost: x\r\n");
        let request = head + "Content-Length: 3\r\n\r\nabc";
        connection.send(request.as_bytes()).unwrap();
        let answer = connection.receive().unwrap();
        assert!(!answer.closes(), "{}", answer.head);
        let kind = answer.field("content-type");
        assert_eq!(kind.is_some(), !answer.body.is_empty());
        let allow = answer.field("allow").map(str::to_owned);
        (answer.status, allow.unwrap_or_default())
    };
    for (target, methods) in [
        ("/", "GET, HEAD, OPTIONS"),
        ("/plaintext", "GET, HEAD, OPTIONS"),
        ("/sleep/0", "GET, HEAD, OPTIONS"),
        ("/worker", "GET, HEAD, OPTIONS"),
        ("/echo", "GET, HEAD, POST, OPTIONS"),
    ] {
        for method in ["PUT", "DELETE", "PATCH"] {
            assert_eq!(ask(method, target), (405, methods.to_owned()));
        }
        assert_eq!(ask("OPTIONS", target), (200, methods.to_owned()));
    }
    let methods = "GET, HEAD, POST, OPTIONS".to_owned();
    assert_eq!(ask("OPTIONS", "*"), (200, methods));
    for method in ["GET", "POST", "PUT", "OPTIONS"] {
        assert_eq!(ask(method, "/nothing"), (404, String::new()));
    }
}

#[test]
fn a_worker_tells_its_name_and_what_it_has_taken() {
    let server = Server::serve("--workers 2");
    let workers = server.wait_for_workers(2);
    let mut connection = Connection::open(server.place()).unwrap();
    let first = connection.get("/worker").unwrap();
    let (pid, first) = (pid_in(&first), first.json());
    assert!(workers.contains(&pid));
    assert!(first["id"].is_u64(), "{first}");
    // It is the connections that count, not the requests.
    let again = connection.get("/worker").unwrap().json();
    assert_eq!(again["id"], first["id"]);
    assert_eq!(again["connections"], first["connections"]);
    assert!(first["connections"].as_u64() > Some(0), "{first}");
}

#[test]
fn a_sleeping_request_does_not_block_its_worker() {
    let server = Server::serve("--workers 1");
    at_some_pace(|pace| {
        let place = server.place().clone();
        let start = Instant::now();
        let sleeper = thread::spawn(move || {
            let target = format!("/sleep/{}?late", pace * 1000);
            let response = ask(&place, &target).unwrap();
            assert_eq!(response.body, b"late");
            start.elapsed()
        });
        for _ in 0..20 {
            server.ask("/sleep/1?soon");
        }
        let others = start.elapsed();
        let slept = sleeper.join().unwrap();
        assert!(slept >= pace * Duration::from_secs(1), "{slept:?}");
        assert!(others < slept, "{others:?}");
    });
}

#[test]
fn a_connection_is_kept_and_stays_with_its_worker() {
    let server = Server::serve("--workers 2");
    server.wait_for_workers(2);
    let mut connection = Connection::open(server.place()).unwrap();
    let pids: Vec<u32> = (0..100)
        .map(|_| pid_in(&connection.get("/worker").unwrap()))
        .collect();
    assert_eq!(pids, vec![pids[0]; 100]);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = Server::serve("--workers 1");
    let mut connection = Connection::open(server.place()).unwrap();
    let request = |number| match number % 3 {
        0 => format!("GET /sleep/20?{number} HTTP/1.1\r\nHost: x\r\n\r\n"),
        _ => format!("GET /echo?{number} HTTP/1.1\r\nHost: x\r\n\r\n"),
    };
    let batch: String = (0..60).map(request).collect();
    connection.send(batch.as_bytes()).unwrap();
    for number in 0..60 {
        let response = connection.receive().unwrap();
        assert_eq!(response.text(), number.to_string());
    }
}

#[test]
fn a_request_may_come_in_pieces() {
    let server = Server::serve("--workers 1");
    let mut connection = Connection::open(server.place()).unwrap();
    for byte in b"GET /echo?slow HTTP/1.1\r\nHost: x\r\n\r\n" {
        connection.send(&[*byte]).unwrap();
        thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(connection.receive().unwrap().text(), "slow");
}

#[test]
fn clients_that_say_nothing_hold_nobody_up() {
    for defer_accept in ["on", "off"] {
        let server = Server::serve(&format!(
            "--workers 1 --window 8 --defer-accept {defer_accept}"
        ));
        let mut silent: Vec<Connection> = (0..50)
            .map(|_| Connection::open(server.place()).unwrap())
            .collect();
        server.ask("/");
        // And when they say something after all, they are heard.
        for client in &mut silent {
            assert_eq!(client.get("/").unwrap().status, 200);
        }
    }
}

#[test]
fn an_idle_connection_is_closed_when_its_time_is_over() {
    let server = Server::serve("--workers 1 --idle-timeout 0.3");
    let mut connection = Connection::open(server.place()).unwrap();
    let start = Instant::now();
    connection.get("/").unwrap();
    connection.expect_end();
    assert!(start.elapsed() >= Duration::from_millis(250));
}

#[test]
fn a_connection_ends_when_the_client_asks_for_it() {
    let server = Server::serve("--workers 1");
    let mut connection = Connection::open(server.place()).unwrap();
    connection.get("/").unwrap();
    let request = common::http::one_shot("/echo?bye");
    connection.send(request.as_bytes()).unwrap();
    let response = connection.receive().unwrap();
    assert!(response.closes() && response.text() == "bye");
    connection.expect_end();
}

#[test]
fn the_program_of_the_manual_serves_with_four_workers() {
    let server = Server::start(program("ten_lines", "127.0.0.1:0"));
    let mut held = Vec::new();
    let mut pids = Vec::new();
    common::wait_until("four workers serve", || {
        let mut connection = Connection::open(server.place()).unwrap();
        let response = connection.get("/a?b").unwrap();
        held.push(connection);
        let text = response.text();
        let rest = text.strip_prefix("/a?b from ").expect(text);
        let (pid, served) = rest.split_once(": ").expect(text);
        assert!(served.trim().parse::<u32>().is_ok(), "{text}");
        if !pids.contains(&pid.to_owned()) {
            pids.push(pid.to_owned());
        }
        pids.len() == 4
    });
}

#[test]
fn who_has_served_does_not_become_a_master() {
    let mut server = Server::start(program("twice", "127.0.0.1:0"));
    server.ask("/");
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(2), "{}", server.log());
    let log = server.log();
    assert!(log.contains("once more in a worker"), "{log}");
    assert!(log.contains("once more in a master"), "{log}");
    assert_eq!(log.matches("listening on").count(), 1, "{log}");
}

#[test]
fn a_log_that_cannot_be_written_is_no_reason_to_panic() {
    let folder = Scratch::new("full-log");
    let path = folder.path("socket");
    let address = format!("unix:{}", path.display());
    let full = File::options().write(true).open("/dev/full").unwrap();
    let command = program("strict", &address);
    let mut server = Server::start_unheard(command, full.into());
    let place = Place::Unix(path);
    wait_until("it serves", || ask(&place, "/").is_ok());
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
}
