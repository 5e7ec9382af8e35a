//! Workers that have done enough, or grown too large.

use std::thread;
use std::time::Duration;

use crate::common::http::Connection;
use crate::common::load::Load;
use crate::common::{process, wait_until};
use crate::{Controlled, expect_no_loss};
use serde_json::json;

#[test]
fn a_worker_is_replaced_after_about_so_many_requests() {
    let controlled = Controlled::serve(
        "enough",
        "--workers 1 --max-requests 200 --no-salvage",
    );
    let server = &controlled.server;
    let worker = server.ask_worker();
    let mut client = Connection::open(server.place()).unwrap();
    for _ in 1..180 {
        client.get("/").unwrap();
    }
    thread::sleep(Duration::from_millis(1200));
    assert_eq!(controlled.of_each("pid"), [json!(worker)]);
    while !client.get("/").unwrap().closes() {
        thread::sleep(Duration::from_millis(5));
    }
    client.expect_end();
    wait_until("the old one is gone", || !process::lives(worker));
    controlled.wait_for_ready(1);
    assert_eq!(controlled.of_each("worker"), [json!(2)]);
    let requests = controlled.status()["master"]["requests"].as_u64();
    assert!(requests > Some(180), "{requests:?}");
}

#[test]
fn workers_that_have_done_enough_go_under_load_without_a_loss() {
    let controlled =
        Controlled::serve("worn", "--workers 2 --max-requests 200");
    let old = controlled.server.wait_for_workers(2);
    let load = Load::start(controlled.server.place(), 4);
    wait_until("both are replaced", || {
        !old.iter().any(|pid| process::lives(*pid))
    });
    expect_no_loss(load.finish());
    let log = controlled.server.log();
    assert!(log.contains("worker 1 is to be replaced"), "{log}");
}

#[test]
fn a_worker_that_grows_is_replaced_and_nothing_is_lost() {
    let controlled = Controlled::serve(
        "grown",
        "--workers 1 --max-rss 64M --max-body 200M",
    );
    let server = &controlled.server;
    let worker = server.ask_worker();
    thread::sleep(Duration::from_millis(1200));
    assert_eq!(server.ask_worker(), worker, "it has not grown yet");
    // A body that is still coming is held in memory.
    let mut large = Connection::open(server.place()).unwrap();
    let length = 100 << 20;
    let head = format!(
        "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n"
    );
    large.send(head.as_bytes()).unwrap();
    large.send(&vec![b'x'; length - 1]).unwrap();
    wait_until("it is replaced", || server.ask_worker() != worker);
    assert!(process::lives(worker), "what it has is finished first");
    large.send(b"x").unwrap();
    let response = large.receive().unwrap();
    assert_eq!((response.status, response.body.len()), (200, length));
    assert!(server.log().contains("K in memory"), "{}", server.log());
}
