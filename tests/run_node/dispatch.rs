//! Who gets a connection, and that everybody gets an answer.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use crate::common::http::Connection;
use crate::common::load::Crowd;
use crate::common::server::{Server, handoff, pid_in};
use crate::common::{Scratch, process, wait_for_rest, wait_until};
use crate::{app, app_on, need_node};

fn shares(server: &Server, requests: usize) -> Vec<usize> {
    let mut shares = BTreeMap::new();
    for _ in 0..requests {
        *shares.entry(server.ask_worker()).or_insert(0) += 1;
    }
    shares.into_values().collect()
}

#[test]
fn workers_take_strict_turns() {
    need_node!();
    let server = app("--workers 3");
    server.wait_for_workers(3);
    let shares = shares(&server, 31);
    let (least, most) = (shares.iter().min(), shares.iter().max());
    assert_eq!(shares.len(), 3);
    assert!(most.unwrap() - least.unwrap() <= 1, "{shares:?}");
}

#[test]
fn who_does_not_answer_gets_no_more_with_least_connections() {
    need_node!();
    let server = app("--workers 2 --schedule least-connections");
    let pids = server.wait_for_workers(2);
    process::freeze(&pids[..1]);
    let crowd = Crowd::ask(server.place(), 20, "/worker");
    wait_until("the other one has answered", || crowd.answered() >= 16);
    assert!(crowd.answered() < 20, "the frozen one has some");
    process::signal("CONT", &pids);
    crowd.expect_all_answered();
}

#[test]
fn a_client_stays_with_its_worker_with_ip_hash() {
    need_node!();
    let server = app("--workers 3 --schedule ip-hash");
    wait_until("all are there", || server.workers().len() == 3);
    let worker_of = |last: u8| {
        let address = server.place().address();
        let mut connection = Connection::open_from(last, address).unwrap();
        pid_in(&connection.get("/worker").unwrap())
    };
    let settled = || {
        let all: Vec<u32> = (1..30).map(worker_of).collect();
        let mut distinct = all.clone();
        distinct.sort_unstable();
        distinct.dedup();
        (distinct.len() == 3).then_some(all)
    };
    wait_until("all three serve", || settled().is_some());
    assert_eq!(settled(), settled());
}

#[test]
fn a_frozen_worker_that_is_killed_costs_no_client_anything() {
    need_node!();
    for _ in 0..3 {
        let server = app("--workers 2");
        let pids = server.wait_for_workers(2);
        process::freeze(&pids[..1]);
        let crowd = Crowd::ask(server.place(), 24, "/echo?a");
        wait_until("the other one answers", || crowd.answered() >= 12);
        assert!(crowd.answered() < 24, "nothing was in flight");
        process::signal("KILL", &pids[..1]);
        crowd.expect_all_answered();
        assert!(server.log().contains("go to others"));
    }
}

#[test]
fn what_a_worker_leaves_unread_in_its_channel_goes_to_others_at_once() {
    need_node!();
    let server = app("--workers 2 --grace 60");
    let old = server.wait_for_workers(2);
    let folder = Scratch::new("deaf");
    let file = folder.path("deaf");
    let word = file.display().to_string().replace('/', "%2F");
    assert_eq!(server.ask(&format!("/deafen/{word}")).text(), "done");
    wait_until("it is deaf", || file.exists());
    let crowd = Crowd::ask(server.place(), 20, "/echo?a");
    wait_until("the other one answers", || crowd.answered() >= 10);
    assert!(crowd.answered() < 20, "nothing was in flight");
    fs::remove_file(&file).unwrap();
    crowd.expect_all_answered();
    assert!(server.log().contains("had not accepted go to others"));
    assert!(old.iter().all(|pid| process::lives(*pid)), "it has died");
}

#[test]
fn a_worker_out_of_descriptors_gives_back_and_recovers() {
    need_node!();
    // Worker 0 alone has few descriptors.
    let script = "[ $HANDOFF_WORKER_INDEX = 0 ] && ulimit -n 40; \
                  exec node tests/node/site.js";
    let mut command = handoff("run --host 127.0.0.1 --workers 2 -- sh -c");
    command.arg(script);
    let server = Server::start(command);
    let pids = server.wait_for_workers(2);
    // How many of each crowd it gets depends on how quick it is.
    let mut crowds = Vec::new();
    wait_until("it has run out", || {
        let crowd = Crowd::hold(server.place(), 50, "/worker");
        wait_until("all are answered", || crowd.answered() == 50);
        crowds.push(crowd);
        server.log().contains("out of descriptors")
    });
    for crowd in crowds {
        crowd.release().expect_all_answered();
    }
    assert!(pids.iter().all(|pid| process::lives(*pid)));
    let again = server.wait_for_workers(2);
    assert!(again.iter().all(|pid| pids.contains(pid)));
}

#[test]
fn a_full_server_gives_back_and_when_all_are_full_clients_wait() {
    need_node!();
    let server = app_on(
        "--workers 2",
        r#"[{"port":0,"options":{"maxConnections":5}}]"#,
    );
    server.wait_for_workers(2);
    let crowd = Crowd::hold(server.place(), 14, "/worker");
    wait_until("as many as fit are in", || crowd.answered() == 10);
    let (time, most) =
        (Duration::from_millis(500), Duration::from_millis(100));
    wait_for_rest(time, most, || vec![server.pid()], || crowd.answered());
    assert_eq!(crowd.answered(), 10);
    crowd.release().expect_all_answered();
}

#[test]
fn a_worker_that_hangs_is_replaced_if_that_is_asked_for() {
    need_node!();
    let server = app("--workers 2 --hang-timeout 1");
    let pids = server.wait_for_workers(2);
    let before = process::cpu(&pids);
    assert_eq!(server.ask("/spin").text(), "done");
    // The app begins a little later.
    wait_until("it spins", || {
        process::cpu(&pids) > before + Duration::from_millis(200)
    });
    Crowd::ask(server.place(), 20, "/echo?a").expect_all_answered();
    wait_until("somebody is replaced", || {
        pids.iter().filter(|pid| !process::lives(**pid)).count() == 1
    });
    server.wait_for_workers(2);
}
