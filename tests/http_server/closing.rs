//! Ends: the last answer always arrives.

use std::thread;
use std::time::Duration;

use crate::answering;
use crate::common::server::{Server, handoff};
use crate::common::{Scratch, process, wait_until};
use crate::peer::{Client, End, get, post};

/// How often a race is run.
const ROUNDS: usize = 50;

/// Refused, each for its own reason, while the client goes on sending.
fn refused() -> [(u16, String); 3] {
    let many = "X: y\r\n".repeat(200);
    [
        (413, post("/echo", 1 << 40)),
        (400, "GET / HTTP/1.1\r\nHost: a\r\nbroken\r\n\r\n".to_owned()),
        (431, format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n")),
    ]
}

#[test]
fn a_refusal_reaches_a_client_that_goes_on_sending() {
    let server = Server::serve("--workers 1");
    let more = vec![b'x'; 1 << 20];
    for _ in 0..ROUNDS {
        for (status, request) in refused() {
            let mut client = Client::open(server.place());
            client.send(&request);
            client.send(&more);
            client.half_close();
            assert_eq!(client.statuses(), [status]);
        }
    }
}

#[test]
fn a_refusal_reaches_a_client_that_sends_it_all_before_it_reads() {
    let server = Server::serve("--workers 1");
    let more = vec![b'x'; 10 << 20];
    for (status, request) in refused() {
        let mut client = Client::open(server.place());
        client.send(request);
        client.send(&more);
        assert_eq!(client.statuses(), [status]);
    }
}

#[test]
fn a_clients_own_end_does_not_cut_the_draining_short() {
    // TCP would need a slow network for this.
    let folder = Scratch::new("drain");
    let path = folder.path("socket");
    let words = format!("serve --workers 1 --listen unix:{}", path.display());
    let server = Server::start(handoff(&words));
    let worker = [server.ask_worker()];
    let mut client = Client::open(server.place());
    client.send(&refused()[1].1);
    client.until(b"\r\n\r\n");
    // So that it finds the bytes and the end behind them at once.
    process::freeze(&worker);
    client.send(vec![b'x'; 100_000]);
    client.half_close();
    process::signal("CONT", &worker);
    // The master, too, has a copy for a while.
    thread::sleep(Duration::from_millis(300));
    assert_eq!(client.statuses(), [400]);
}

#[test]
fn a_last_answer_survives_what_comes_behind_its_request() {
    let server = Server::serve("--workers 1");
    // More than is read at once, so that some lies in the kernel when the
    // answer is written.
    let last = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    for behind in [1, 8192 - last.len(), 8192, 100_000, 1 << 20] {
        let bytes = format!("{last}{}", "x".repeat(behind));
        for _ in 0..ROUNDS {
            let mut client = Client::open(server.place());
            client.send(&bytes);
            client.half_close();
            assert_eq!(client.statuses(), [200], "{behind} bytes behind");
        }
    }
}

#[test]
fn a_last_request_that_fills_the_buffer_has_an_answer_that_arrives() {
    let server = Server::serve("--workers 1");
    let head = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX: ";
    let fill = "x".repeat(8192 - head.len() - 4);
    let bytes = format!("{head}{fill}\r\n\r\n{}", "y".repeat(100_000));
    for _ in 0..ROUNDS {
        let mut client = Client::open(server.place());
        client.send(&bytes);
        assert_eq!(client.statuses(), [200]);
    }
}

#[test]
fn who_only_sends_nothing_more_still_gets_every_answer() {
    let server = answering();
    for (target, count) in [("/", 1000), ("/later/1", 20), ("/big/50000", 50)]
    {
        let mut client = Client::open(server.place());
        client.send(get(target).repeat(count));
        client.half_close();
        assert_eq!(client.statuses(), vec![200; count], "{target}");
    }
    let mut client = Client::open(server.place());
    client.send(get("/stream/1000") + "GET / HT");
    client.half_close();
    let answers = client.answers();
    assert_eq!((answers.len(), answers[0].body.len()), (1, 1_000_000));
}

#[test]
fn a_body_that_stops_short_reaches_no_handler() {
    let server = answering();
    let mut client = Client::open(server.place());
    client.send(get("/") + &post("/panic", 10) + "short");
    client.half_close();
    assert_eq!(client.statuses(), [200]);
    assert_eq!(server.ask("/gone").text(), "0");
}

#[test]
fn clients_that_vanish_leave_nothing_behind() {
    let server = Server::serve("--workers 1");
    let worker = server.ask_worker();
    let open = || process::descriptors(worker).len();
    // Perhaps with the connection that has just asked.
    let before = open();
    for bytes in [
        String::new(),
        "GET / HT".to_owned(),
        post("/echo", 100),
        get("/sleep/3600000"),
        get("/").repeat(5000),
        refused()[0].1.clone(),
    ] {
        for _ in 0..20 {
            let mut client = Client::open_narrow(server.place());
            client.send_what_fits(bytes.as_bytes());
            client.vanish();
        }
    }
    wait_until("all are gone", || open() <= before);
}

#[test]
fn a_unix_socket_does_the_same() {
    let folder = Scratch::new("http");
    let path = folder.path("socket");
    let server = Server::start(handoff(&format!(
        "serve --workers 1 --listen unix:{}",
        path.display()
    )));
    let more = vec![b'x'; 1 << 20];
    for _ in 0..ROUNDS {
        for (status, request) in refused() {
            let mut client = Client::open(server.place());
            client.send(&request);
            client.send(&more);
            client.half_close();
            assert_eq!(client.statuses(), [status]);
        }
        let mut client = Client::open(server.place());
        client.send(get("/").repeat(1000));
        client.half_close();
        assert_eq!(client.statuses(), [200; 1000]);
    }
    let mut client = Client::open(server.place());
    client.send(get("/sleep/100?x"));
    assert_eq!(client.answer().body, b"x");
    thread::spawn(move || drop(client)).join().unwrap();
    let mut client = Client::open(server.place());
    client.send(post("/echo", 3) + "abc");
    assert_eq!(client.answer().body, b"abc");
    client.half_close();
    assert_eq!(client.rest(), (Vec::new(), End::Clean));
}
