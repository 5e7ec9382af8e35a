//! How workers end, and what their ends mean.

use std::time::Duration;

use crate::common::http::{Lost, ask};
use crate::common::load::{Crowd, Load};
use crate::common::server::{Server, handoff, run};
use crate::common::{process, wait_until, within};
use crate::{app, need_node, node};

/// Has one worker do this to itself, and waits until another is in its place.
/// The log then.
fn after(server: &Server, deed: &str) -> String {
    let old = server.workers();
    server.ask(deed);
    wait_until("one is replaced", || {
        let now = server.workers();
        now.len() == old.len() && now.iter().any(|pid| !old.contains(pid))
    });
    server.wait_for_workers(old.len());
    server.log()
}

#[test]
fn a_worker_that_ends_is_replaced_however_it_ends() {
    need_node!();
    let server = app("--workers 2");
    server.wait_for_workers(2);
    assert!(after(&server, "/exit/7").contains("exited with status 7"));
    assert!(after(&server, "/throw").contains("on purpose"));
    // Status 0 means no more than any other.
    for deed in ["/exit/0", "/hangup", "/leave", "/kill"] {
        let log = after(&server, deed);
        assert!(log.contains("exited with status 0"), "{deed}: {log}");
    }
}

#[test]
fn a_worker_that_leaves_finishes_what_it_has() {
    need_node!();
    let server = app("--workers 1");
    let worker = server.ask_worker();
    wait_until("nobody is there", || process::clients(worker) == 0);
    let slow = Crowd::ask(server.place(), 1, "/sleep/2500");
    wait_until("it is in flight", || process::clients(worker) == 1);
    // It closes its server at once, and says only behind its last answer
    // that it goes. Meanwhile clients wait, and nobody is refused.
    let log = after(&server, "/leave");
    slow.expect_all_answered();
    assert_eq!(log.matches("listening on").count(), 1, "{log}");
}

#[test]
fn the_index_stays_with_the_place_and_grandchildren_see_nothing_else() {
    need_node!();
    let server = app("--workers 2");
    let all = |server: &Server| {
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..6 {
            let it = server.ask("/worker").json();
            let names = it["names"].as_array().unwrap();
            let hidden = |name: &serde_json::Value| {
                let name = name.as_str().unwrap();
                name.starts_with("NODE_CHANNEL") || name == "NODE_UNIQUE_ID"
            };
            assert!(!names.iter().any(hidden), "{names:?}");
            seen.insert(it["index"].as_str().unwrap().to_owned());
        }
        seen.into_iter().collect::<Vec<_>>()
    };
    for _ in 0..3 {
        let pids = server.wait_for_workers(2);
        assert_eq!(all(&server), ["0", "1"]);
        process::signal("KILL", &pids[..1]);
        wait_until("it is dead", || !process::lives(pids[0]));
    }
}

#[test]
fn an_app_that_crashes_at_its_start_ends_all() {
    need_node!();
    let script = "console.error('no database'); process.exit(3)";
    let mut command = handoff("run --workers 1 -- node -e");
    command.arg(script);
    let ended = run(command);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_eq!(ended.err.matches("no database").count(), 5, "{ended:?}");
    let last = ended.err.lines().last().unwrap();
    assert!(last.contains("status 3"), "{last}");
}

#[test]
fn a_program_that_cannot_be_executed_is_one_line_as_a_shell_would_say_it() {
    for (program, status) in
        [("no-such-program", "127"), ("./Cargo.toml", "126")]
    {
        let ended = run(handoff(&format!("run --workers 2 -- {program}")));
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert_eq!(ended.err.lines().count(), 1, "{ended:?}");
        assert!(ended.err.contains(program), "{ended:?}");
        assert!(ended.err.contains(status), "{ended:?}");
    }
}

#[test]
fn what_workers_print_is_passed_through() {
    need_node!();
    let mut command = handoff("run --workers 1 -- node -e");
    command.arg(
        "console.log('to out'); console.error('to err'); process.exit(0)",
    );
    let ended = run(command);
    assert_eq!(ended.out, "to out\n".repeat(5), "{ended:?}");
    assert_eq!(ended.err.matches("\nto err\n").count(), 5, "{ended:?}");
}

#[test]
fn an_app_that_never_listens_is_ready_by_running() {
    need_node!();
    let command =
        node("--workers 1 --boot-timeout 4 --grace 1", "timer.js", "");
    let mut server =
        Server::start_unheard(command, std::process::Stdio::null());
    let mut pids = Vec::new();
    wait_until("it runs", || {
        pids = server.workers();
        pids.len() == 1
    });
    let gone = || server.workers() != pids;
    assert!(!within(Duration::from_secs(6), gone), "it was replaced");
    server.signal("TERM");
    assert!(server.wait().success());
}

#[test]
fn a_stop_finishes_what_is_in_flight() {
    need_node!();
    let mut server = app("--workers 2");
    server.wait_for_workers(2);
    let clients =
        || server.workers().into_iter().map(process::clients).sum::<usize>();
    wait_until("nobody is there", || clients() == 0);
    let slow = Crowd::ask(server.place(), 1, "/sleep/1000");
    wait_until("it is in flight", || clients() == 1);
    server.signal("TERM");
    assert!(server.wait().success());
    slow.expect_all_answered();
    assert_eq!(ask(server.place(), "/").unwrap_err(), Lost::Refused);
}

#[test]
fn a_master_that_is_killed_leaves_nothing() {
    need_node!();
    let server = app("--workers 2");
    server.wait_for_workers(2);
    server.signal("KILL");
    wait_until("all are gone", || server.processes().is_empty());
    let place = server.place();
    wait_until("the port is free", || {
        std::net::TcpListener::bind(place.address()).is_ok()
    });
}

#[test]
fn deaths_under_load_refuse_nobody() {
    need_node!();
    let server = app("--workers 3");
    server.wait_for_workers(3);
    let load = Load::start(server.place(), 6);
    for _ in 0..5 {
        let pids = server.workers();
        process::signal("KILL", &pids[..1]);
        wait_until("it is dead", || !process::lives(pids[0]));
        load.wait_for(30);
    }
    let tally = load.finish();
    assert_eq!(tally.unforgivable(), 0, "{tally:?}");
}

#[test]
fn the_status_shows_them() {
    need_node!();
    let server = app("--workers 2");
    let pids = server.wait_for_workers(2);
    let place = format!("/run/handoff-{}.sock", server.pid());
    let folder = std::env::var("XDG_RUNTIME_DIR");
    let place = folder.map_or(place, |folder| {
        format!("{folder}/handoff-{}.sock", server.pid())
    });
    let ended = run(handoff(&format!("status --json --control {place}")));
    let status: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
    for worker in status["workers"].as_array().unwrap() {
        assert!(pids.contains(&(worker["pid"].as_u64().unwrap() as u32)));
        assert_eq!(worker["state"], "ready");
        assert!(worker["handed_over"].as_u64().unwrap() > 0);
        assert!(worker["requests"].is_null());
    }
}

#[test]
fn a_plain_script_without_cluster_needs_no_change() {
    need_node!();
    let server = Server::start(node("--workers 2", "plain.js", ""));
    wait_until("both serve", || {
        let mut pids: Vec<String> = (0..4)
            .map(|_| ask(server.place(), "/").unwrap().text().to_owned())
            .collect();
        pids.sort();
        pids.dedup();
        pids.len() == 2
    });
}
