//! Short of descriptors, in every way there is: of the process, of the user,
//! from the start or all of a sudden. Nothing spins, who is connected is
//! served, and all is well as soon as there are enough.

#![allow(clippy::unwrap_used, reason = "what goes wrong fails the test")]

mod common;

use std::process::Command;
use std::time::Duration;

use common::http::{Connection, one_shot};
use common::load::Crowd;
use common::server::{Server, handoff, run, with_descriptors};
use common::{Scratch, has_tool, process, users, wait_for_rest, wait_until};

const SERVE: &str = "serve --listen 127.0.0.1:0 --workers 2";

/// Fails unless all of a server together rest, at last, for two seconds: with
/// less than 2 % of a processor, and nobody is answered.
fn expect_rest(server: &Server, crowd: &Crowd) {
    let pids = || {
        let mut pids = server.workers();
        pids.push(server.pid());
        pids
    };
    let (time, most) = (Duration::from_secs(2), Duration::from_millis(40));
    wait_for_rest(time, most, pids, || crowd.answered());
}

/// Of 200 clients a part finds room.
fn expect_turns(server: &Server) {
    let workers = server.wait_for_workers(2);
    let mut held = Connection::open(server.place()).unwrap();
    held.get("/").unwrap();
    let crowd = Crowd::hold(server.place(), 200, "/");
    wait_until("the workers are full", || crowd.answered() > 60);
    expect_rest(server, &crowd);
    assert!(crowd.answered() < 100);
    // Who is connected is served; who dies is replaced.
    assert_eq!(held.get("/").unwrap().status, 200);
    crowd.release().expect_all_answered();
    assert_eq!(held.get("/").unwrap().status, 200);
    assert_eq!(server.workers().len(), workers.len());
    server.ask("/");
}

#[test]
fn with_64_descriptors_clients_take_their_turns() {
    expect_turns(&Server::start(with_descriptors(64, &handoff(SERVE))));
}

#[test]
fn with_64_descriptors_and_no_privileges_clients_take_their_turns() {
    if !users::is_root() {
        return;
    }
    let folder = Scratch::new("unprivileged");
    let command = users::for_anybody(&folder, &handoff(SERVE));
    let limited = with_descriptors(64, &command);
    let Some(command) = users::command_of(64_001, &limited) else { return };
    expect_turns(&Server::start(command));
}

/// unix(7): what a user's processes have sent and nobody has received counts
/// against the limit of each of them, as `ETOOMANYREFS`.
#[test]
fn when_the_users_other_processes_use_its_share_up_clients_wait_for_it() {
    if !users::is_root() {
        return;
    }
    let folder = Scratch::new("shared");
    let command = users::for_anybody(&folder, &handoff(SERVE));
    // Of nobody else: any other test has another user.
    let in_its_name = |command| users::command_of(64_002, command);
    let Some(mut patient) = in_its_name(&command) else { return };
    patient.args(["--hang-timeout", "off"]);
    let hog = Server::start(patient);
    let stopped = hog.wait_for_workers(2);
    process::freeze(&stopped);
    let on_their_way = Crowd::ask(hog.place(), 150, "/");
    wait_until("they are on their way", || {
        process::descriptors(hog.pid()).len() > 150
    });

    let limited = in_its_name(&with_descriptors(64, &command));
    let server = Server::start(limited.unwrap());
    let crowd = Crowd::ask(server.place(), 50, "/");
    let told = "nothing can be handed over";
    wait_until("it is short", || server.log().contains(told));
    expect_rest(&server, &crowd);
    assert_eq!(crowd.answered(), 0);
    assert_eq!(server.log().matches(told).count(), 1, "{}", server.log());

    process::signal("CONT", &stopped);
    crowd.expect_all_answered();
    on_their_way.expect_all_answered();
    server.ask("/");
}

/// Sets the limit of processes that run.
fn limit(pids: &[u32], most: u32) {
    for pid in pids {
        let limited = Command::new("prlimit")
            .args(["--pid", &pid.to_string()])
            .arg(format!("--nofile={most}:"))
            .status();
        assert!(limited.unwrap().success());
    }
}

#[test]
fn when_the_master_runs_out_all_of_a_sudden_clients_wait_for_it() {
    if !has_tool("prlimit") {
        return;
    }
    let server = Server::start(handoff(SERVE));
    let workers = server.wait_for_workers(2);
    let mut held = Connection::open(server.place()).unwrap();
    held.get("/").unwrap();
    limit(&[server.pid()], 6);
    let crowd = Crowd::ask(server.place(), 100, "/");
    wait_until("it has run out", || server.log().contains("accepting pauses"));
    expect_rest(&server, &crowd);
    assert_eq!(crowd.answered(), 0);
    assert_eq!(held.get("/").unwrap().status, 200);
    limit(&[server.pid()], 1024);
    crowd.expect_all_answered();
    assert_eq!(server.log().matches("accepting pauses").count(), 1);
    wait_until("the log tells it", || server.log().contains("goes on"));
    assert_eq!(server.workers().len(), workers.len());
}

#[test]
fn when_the_workers_run_out_all_of_a_sudden_connections_wait_for_them() {
    if !has_tool("prlimit") {
        return;
    }
    let server = Server::start(handoff(SERVE));
    let workers = server.wait_for_workers(2);
    let mut held = Connection::open(server.place()).unwrap();
    held.get("/").unwrap();
    wait_until("the others have left", || {
        let open = |pid: &u32| process::descriptors(*pid).len();
        workers.iter().map(open).sum::<usize>() == 2 * 7 + 1
    });
    limit(&workers, 3);
    let mut one = Connection::open(server.place()).unwrap();
    one.send(one_shot("/").as_bytes()).unwrap();
    let crowd = Crowd::ask(server.place(), 100, "/");
    expect_rest(&server, &crowd);
    assert_eq!(crowd.answered(), 0);
    assert_eq!(held.get("/").unwrap().status, 200);
    limit(&workers, 1024);
    assert_eq!(one.receive().map(|response| response.status), Ok(200));
    crowd.expect_all_answered();
    let told = "is out of descriptors";
    assert!((1..=4).contains(&server.log().matches(told).count()));
    let survivors = server.workers();
    assert!(workers.iter().all(|worker| survivors.contains(worker)));
}

#[test]
fn a_limit_that_leaves_no_room_for_a_worker_ends_the_start_with_its_reason() {
    let command = with_descriptors(10, &handoff(SERVE));
    let ended = run(command);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let last = ended.err.lines().last().unwrap();
    assert!(last.contains("Too many open files"), "{last}");
}
