//! Who gets a connection: the three policies, and the window.

mod common;

use std::collections::HashMap;
use std::thread;
use std::time::{Duration, Instant};

use common::http::{Connection, ask};
use common::load::Crowd;
use common::server::{Server, handoff, pid_in, run};
use common::{Scratch, process, wait_until};
use serde_json::Value;

#[test]
fn round_robin_gives_each_of_four_workers_a_quarter_of_10_000() {
    let server = Server::serve("--workers 4");
    server.wait_for_workers(4);
    let count = || {
        let mut counts = HashMap::new();
        for _ in 0..2500 {
            let response = ask(server.place(), "/worker").unwrap();
            let id = response.json()["id"].as_u64().unwrap();
            *counts.entry(id).or_insert(0) += 1;
        }
        counts
    };
    let mut shares: HashMap<u64, usize> = HashMap::new();
    thread::scope(|scope| {
        let clients: Vec<_> = (0..4).map(|_| scope.spawn(count)).collect();
        for client in clients {
            for (id, share) in client.join().unwrap() {
                *shares.entry(id).or_default() += share;
            }
        }
    });
    let mut shares: Vec<usize> = shares.into_values().collect();
    shares.sort();
    assert_eq!(shares, [2500; 4]);
}

#[test]
fn ip_hash_keeps_every_client_at_its_worker() {
    let server = Server::serve("--workers 4 --schedule ip-hash");
    let address = server.place().address();
    let workers_of_all = || -> Vec<u32> {
        let from = |last| {
            let mut client = Connection::open_from(last, address).unwrap();
            pid_in(&client.get("/worker").unwrap())
        };
        (1..=40).map(from).collect()
    };
    let distinct = |pids: &[u32]| {
        let mut pids = pids.to_vec();
        pids.sort();
        pids.dedup();
        pids.len()
    };
    wait_until("four workers serve", || distinct(&workers_of_all()) == 4);
    // Before the last of them came, others had its clients.
    let first = workers_of_all();
    for _ in 0..3 {
        assert_eq!(workers_of_all(), first);
    }
    // When one dies, nobody else's clients move.
    let victim = first[0];
    process::signal("KILL", &[victim]);
    wait_until("the victim is gone", || !process::lives(victim));
    let after = workers_of_all();
    for (before, after) in first.iter().zip(&after) {
        assert!(before == after || *before == victim, "{before} {after}");
    }
}

#[test]
fn least_connections_fills_up_whoever_has_the_fewest() {
    let folder = Scratch::new("fewest");
    let control = folder.path("control").display().to_string();
    let server = Server::serve(&format!(
        "--workers 2 --schedule least-connections --control {control}"
    ));
    let workers = server.wait_for_workers(2);
    // What counts is what the master knows.
    let open_at = |pid: u32| {
        let words = format!("status --json --control {control}");
        let status = run(handoff(&words)).out;
        let status: Value = serde_json::from_str(&status).unwrap();
        let mut all = status["workers"].as_array().unwrap().iter();
        let worker = all.find(|worker| worker["pid"] == pid).unwrap();
        worker["open"].as_u64().unwrap()
    };
    let idle = || workers.iter().all(|pid| open_at(*pid) == 0);
    wait_until("nobody is connected", idle);
    let open = || {
        let mut client = Connection::open(server.place()).unwrap();
        let pid = pid_in(&client.get("/worker").unwrap());
        (pid, client)
    };
    let mut held: Vec<_> = (0..20).map(|_| open()).collect();
    let share = held.iter().filter(|(pid, _)| *pid == workers[0]).count();
    assert_eq!(share, 10);
    held.retain(|(pid, _)| *pid != workers[0]);
    wait_until("half of them have left", || open_at(workers[0]) == 0);
    let next: Vec<_> = (0..10).map(|_| open()).collect();
    assert!(next.iter().all(|(pid, _)| *pid == workers[0]));
}

/// Without the worker's wake-up an idle master would look at the window only
/// when its next deadline comes.
#[test]
fn forty_clients_pass_a_window_of_eight_at_once() {
    let server = Server::serve("--workers 1 --window 8");
    server.wait_for_workers(1);
    let mut times: Vec<Duration> = (0..15)
        .map(|_| {
            let start = Instant::now();
            Crowd::ask(server.place(), 40, "/").expect_all_answered();
            start.elapsed()
        })
        .collect();
    times.sort();
    println!("{times:?}");
    assert!(times[times.len() / 2] < Duration::from_millis(500), "{times:?}");
}

#[test]
fn a_worker_that_does_not_move_holds_no_more_than_its_window() {
    let server = Server::serve("--workers 2 --window 8");
    let workers = server.wait_for_workers(2);
    process::freeze(&workers[..1]);
    let crowd = Crowd::ask(server.place(), 60, "/");
    wait_until("the other has answered the rest", || crowd.answered() >= 52);
    process::signal("CONT", &workers[..1]);
    crowd.expect_all_answered();
}
