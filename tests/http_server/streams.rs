//! Bodies that are made while they are sent.

use std::fs;
use std::thread;
use std::time::Duration;

use crate::answering;
use crate::peer::{Client, End, get};

#[test]
fn a_stream_is_chunked_for_1_1_and_ends_with_the_connection_for_1_0() {
    let server = answering();
    let mut client = Client::open(server.place());
    client.send(get("/stream/300") + &get("/ticks/5") + &get("/next"));
    client.half_close();
    let answers = client.answers();
    assert_eq!(answers.len(), 3);
    assert_eq!(answers[0].field("transfer-encoding"), Some("chunked"));
    assert_eq!(answers[0].body, [b's'; 300_000]);
    assert_eq!(answers[1].body, b"ttttt");

    let mut client = Client::open(server.place());
    client.send("GET /stream/300 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    let answers = client.answers();
    assert_eq!(answers.len(), 1);
    assert_eq!(answers[0].field("transfer-encoding"), None);
    assert_eq!(answers[0].body, [b's'; 300_000]);
}

/// As much as there is of it is sent, and then nothing that could be taken for
/// its end.
#[test]
fn a_stream_that_breaks_does_not_end_like_a_whole_one() {
    let server = answering();
    let mut client = Client::open(server.place());
    client.send(get("/broken"));
    let (bytes, _) = client.rest();
    assert!(bytes.ends_with(b"\r\n1\r\nb\r\n"), "{}", bytes.escape_ascii());

    let mut client = Client::open(server.place());
    client.send("GET /broken HTTP/1.0\r\n\r\n");
    let (bytes, end) = client.rest();
    assert!(bytes.ends_with(b"\r\n\r\nb"), "{}", bytes.escape_ascii());
    assert_eq!(end, End::Reset);
}

#[test]
fn a_head_gets_no_byte_of_a_stream() {
    let server = answering();
    let mut client = Client::open(server.place());
    client.send(get("/stream/300").replace("GET", "HEAD"));
    let head = client.until(b"\r\n\r\n");
    client.hear_nothing(Duration::from_millis(50));
    client.half_close();
    assert_eq!(client.rest().0.len(), head);
}

#[test]
fn a_stream_costs_no_memory_and_its_slow_reader_gets_all_of_it() {
    let server = answering();
    server.ask("/");
    let worker = server.workers()[0];
    let before = resident(worker);
    let mut client = Client::open_narrow(server.place());
    client.send(get("/stream/50000"));
    thread::sleep(Duration::from_millis(300));
    for _ in 0..20 {
        client.read(10_000).unwrap();
        thread::sleep(Duration::from_millis(5));
    }
    let more = resident(worker).saturating_sub(before);
    assert!(more < 1 << 20, "{more} bytes more");
    client.half_close();
    assert_eq!(client.answers()[0].body.len(), 50_000_000);
}

#[test]
fn an_endless_stream_starves_nobody() {
    let server = answering();
    let mut client = Client::open(server.place());
    client.send(get("/stream/100000000"));
    let reader = thread::spawn(move || {
        for _ in 0..2000 {
            client.read(1 << 20).unwrap();
        }
        client.vanish();
    });
    for _ in 0..50 {
        server.ask("/");
    }
    reader.join().unwrap();
    server.ask("/");
}

/// Bytes of a process that are in memory (proc(5)).
pub(crate) fn resident(pid: u32) -> usize {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let word = line.unwrap().split_whitespace().next().unwrap();
    1024 * word.parse::<usize>().unwrap()
}
