//! Workers that do not move: stopped from outside, or lost in a handler. And
//! everything that only looks like it.

#![allow(clippy::unwrap_used, reason = "what goes wrong fails the test")]

mod common;

use std::thread;
use std::time::{Duration, Instant};

use common::http::Connection;
use common::load::{Crowd, Load};
use common::process::freeze;
use common::server::{Server, program};
use common::{Scratch, at_some_pace, process, wait_until};

/// The built-in application with more, which may hang for a second.
fn probe(folder: &Scratch, workers: usize) -> Server {
    let words = format!("{} {workers} 1000", folder.path("").display());
    Server::start(program("probe", &words))
}

/// Clients that have had an answer, and stay.
fn kept(server: &Server, count: usize) -> Vec<Connection> {
    let clients = (0..count).map(|_| {
        let mut client = Connection::open(server.place()).unwrap();
        client.get("/").unwrap();
        client
    });
    clients.collect()
}

#[test]
fn a_worker_that_is_stopped_under_load_is_replaced_within_two_seconds() {
    const CLIENTS: usize = 8;
    at_some_pace(|pace| {
        let server =
            Server::serve(&format!("--workers 2 --hang-timeout {pace}"));
        let victim = server.wait_for_workers(2)[0];
        let load = Load::start(server.place(), CLIENTS);
        let start = Instant::now();
        freeze(&[victim]);
        wait_until("it is replaced", || {
            let workers = server.workers();
            workers.len() == 2 && !workers.contains(&victim)
        });
        server.wait_for_workers(2);
        let after = start.elapsed();
        load.wait_for(100);
        let tally = load.finish();
        println!("replaced after {after:?}");
        assert!(after < pace * Duration::from_secs(2), "{after:?}");
        assert_eq!(tally.unforgivable(), 0, "{tally:?}");
        assert!(tally.lost() <= CLIENTS, "{tally:?}");
        assert!(server.log().contains("it hangs"), "the log tells it");
    });
}

#[test]
fn a_worker_that_is_stopped_at_rest_keeps_no_client_waiting() {
    let server = Server::serve("--workers 2 --hang-timeout 1");
    let victims = server.wait_for_workers(2);
    let mut kept = kept(&server, 2);
    freeze(&victims);
    for client in &mut kept {
        assert_eq!(client.get("/").unwrap().status, 200);
    }
    let workers = server.wait_for_workers(2);
    assert!(workers.iter().all(|worker| !victims.contains(worker)));
}

/// Nothing is to be read of that client: it waits for a timer of the worker's.
#[test]
fn a_worker_that_is_stopped_with_a_request_in_hand_keeps_nobody_waiting() {
    let server = Server::serve("--workers 1 --hang-timeout 1");
    let victims = server.wait_for_workers(1);
    let crowd = server.in_hand(1, Crowd::asking("/sleep/500?late"));
    freeze(&victims);
    crowd.expect_all_answered();
    assert!(server.log().contains("it hangs"), "{}", server.log());
}

#[test]
fn a_worker_that_was_stopped_for_less_than_the_timeout_stays() {
    let server = Server::serve("--workers 1 --hang-timeout 3");
    let workers = server.wait_for_workers(1);
    let mut client = Connection::open(server.place()).unwrap();
    client.get("/").unwrap();
    for _ in 0..3 {
        freeze(&workers);
        thread::sleep(Duration::from_millis(1200));
        process::signal("CONT", &workers);
        assert_eq!(client.get("/").unwrap().status, 200);
    }
    assert_eq!(server.workers(), workers);
}

#[test]
fn what_a_hung_worker_had_not_received_is_answered_by_others() {
    let server = Server::serve("--workers 2 --hang-timeout 1");
    let victim = server.wait_for_workers(2)[0];
    freeze(&[victim]);
    let crowd = Crowd::ask(server.place(), 40, "/");
    wait_until("the other has answered its half", || crowd.answered() == 20);
    crowd.expect_all_answered();
    assert!(!process::lives(victim));
}

#[test]
fn all_workers_may_hang_and_nobody_is_refused() {
    let server = Server::serve("--workers 3 --hang-timeout 1");
    let victims = server.wait_for_workers(3);
    freeze(&victims);
    Crowd::ask(server.place(), 60, "/").expect_all_answered();
    let workers = server.wait_for_workers(3);
    assert!(workers.iter().all(|worker| !victims.contains(worker)));
}

#[test]
fn a_handler_that_never_returns_costs_its_worker_and_nobody_elses() {
    let folder = Scratch::new("spin");
    let server = probe(&folder, 2);
    let workers = server.wait_for_workers(2);
    let mut kept = kept(&server, 2);
    let mut spinner = Connection::open(server.place()).unwrap();
    spinner.send(b"GET /spin HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    wait_until("it is replaced", || {
        let now = server.workers();
        now.len() == 2 && now.iter().any(|pid| !workers.contains(pid))
    });
    // Three workers have had a try at it.
    assert_eq!(spinner.receive().unwrap().status, 502);
    for client in &mut kept {
        assert_eq!(client.get("/").unwrap().status, 200);
    }
    let now = server.wait_for_workers(2);
    assert!(now.iter().any(|pid| workers.contains(pid)), "{now:?}");
}

#[test]
fn a_worker_that_is_slow_with_each_of_many_requests_does_not_hang() {
    let folder = Scratch::new("slow");
    let server = probe(&folder, 1);
    let workers = server.wait_for_workers(1);
    let mut clients = kept(&server, 10);
    // Together they take 4 s, most of them in one turn of the loop.
    for client in &mut clients {
        client.send(b"GET /block HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    }
    for client in &mut clients {
        assert_eq!(client.receive().unwrap().status, 200);
    }
    assert_eq!(server.workers(), workers);
}

#[test]
fn a_worker_that_rests_may_be_stopped_as_long_as_nobody_wants_it() {
    let server = Server::serve("--workers 2 --hang-timeout 0.5");
    let mut workers = server.wait_for_workers(2);
    workers.sort();
    // Until the last of their clients is gone, and they have seen to that,
    // they are at work.
    wait_until("they rest", || {
        let rests =
            |pid: &u32| process::stat(*pid).is_some_and(|s| s.state == 'S');
        workers.iter().all(|pid| process::clients(*pid) == 0 && rests(pid))
    });
    freeze(&workers[..1]);
    thread::sleep(Duration::from_secs(2));
    process::signal("CONT", &workers);
    let mut now = server.wait_for_workers(2);
    now.sort();
    assert_eq!(now, workers);
}

/// Under load and with a worker at work in a handler, all of it or the master
/// alone is held up for three times the timeout.
fn nobody_dies_of_a_pause(of_all: bool) {
    let folder = Scratch::new(if of_all { "frozen" } else { "late" });
    let server = probe(&folder, 2);
    let mut workers = server.wait_for_workers(2);
    workers.sort();
    let load = Load::start(server.place(), 8);
    let blocked = Crowd::ask(server.place(), 2, "/block");
    let mut held = vec![server.pid()];
    if of_all {
        held.extend(&workers);
    }
    thread::sleep(Duration::from_millis(100));
    freeze(&held);
    thread::sleep(Duration::from_secs(3));
    held.reverse(); // The master last: it would not be the first to run.
    process::signal("CONT", &held);
    load.wait_for(100);
    thread::sleep(Duration::from_millis(1500));
    let tally = load.finish();
    blocked.expect_all_answered();
    let mut now = server.workers();
    now.sort();
    assert_eq!(now, workers, "{}", server.log());
    assert_eq!(tally.unforgivable() + tally.lost(), 0, "{tally:?}");
}

#[test]
fn a_master_that_was_stopped_kills_nobody() {
    nobody_dies_of_a_pause(false);
}

#[test]
fn a_machine_that_was_stopped_kills_nobody() {
    nobody_dies_of_a_pause(true);
}

#[test]
fn without_the_option_a_library_worker_may_hang_as_long_as_it_likes() {
    let folder = Scratch::new("patient");
    let words = format!("{} 1", folder.path("").display());
    let server = Server::start(program("probe", &words));
    let worker = server.wait_for_workers(1);
    freeze(&worker);
    let crowd = Crowd::ask(server.place(), 3, "/");
    thread::sleep(Duration::from_secs(2));
    process::signal("CONT", &worker);
    crowd.expect_all_answered();
    assert_eq!(server.workers(), worker);
}
