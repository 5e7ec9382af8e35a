//! Rust workers under a real Node parent: a process that sends sockets
//! (`tests/node/sender.js`), and a cluster's primary (`primary.js`).

#![allow(clippy::unwrap_used, reason = "what goes wrong fails the test")]

mod common;

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use common::http::{Connection, Lost, Place, ask};
use common::load::Crowd;
use common::server::{Server, pid_in, program, run, with_descriptors};
use common::{Scratch, has_tool, process, wait_for_rest, wait_until};

/// A Node program that starts our command.
fn node(words: &[&str]) -> Command {
    let mut command = Command::new("node");
    command.args(words).env("HANDOFF", env!("CARGO_BIN_EXE_handoff"));
    command
}

/// One of those in `tests/node`, which starts our command with these words.
fn script(name: &str, words: &str) -> Command {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/node");
    let mut command = node(&[folder.join(name).to_str().unwrap()]);
    command.args(words.split_whitespace());
    command
}

fn start(name: &str, words: &str) -> Server {
    Server::start(script(name, words))
}

/// Has the Node process do something, and returns what came of it.
fn tell(server: &Server, command: &str) -> serde_json::Value {
    let control = server.places().last().unwrap();
    ask(control, &format!("/{command}")).unwrap().json()
}

fn left(code: i32, meant: bool) -> serde_json::Value {
    serde_json::json!({ "code": code, "signal": null, "meant": meant })
}

fn exited(code: i32) -> serde_json::Value {
    serde_json::json!({ "code": code, "signal": null })
}

/// Who answered how many of so many requests, each on its own connection.
fn shares(server: &Server, requests: usize) -> HashMap<u32, usize> {
    let mut shares = HashMap::new();
    for _ in 0..requests {
        let response = ask(server.place(), "/worker").unwrap();
        *shares.entry(pid_in(&response)).or_default() += 1;
    }
    shares
}

fn expect_last_answers(crowd: Crowd) {
    for result in crowd.finish() {
        let response = result.unwrap();
        assert!(response.status == 200 && response.closes());
    }
}

#[test]
fn a_child_serves_every_socket_that_it_is_sent() {
    if !has_tool("node") {
        return;
    }
    for how in ["socket", "spawn", "native", "server"] {
        let server = start("sender.js", &format!("{how} serve"));
        let who = format!(
            "a worker for the sockets that Node sends, from pid {}",
            server.pid()
        );
        wait_until("it says what it is", || server.log().contains(&who));
        let worker = server.ask_worker();
        assert_eq!(
            server.workers(),
            [worker],
            "one process, no workers of its own"
        );
        assert_eq!(shares(&server, 200), HashMap::from([(worker, 200)]));
        let mut kept: Vec<_> = (0..20)
            .map(|_| Connection::open(server.place()).unwrap())
            .collect();
        for _ in 0..3 {
            for client in &mut kept {
                assert_eq!(client.get("/echo?x").unwrap().text(), "x");
            }
        }
        drop(kept);
        // With a server of its own it has a listener as well, and two pipes
        // if it was spawned with them: to Node those are sockets.
        let own = match how {
            "server" => 1,
            "spawn" => 2,
            _ => 0,
        };
        wait_until("every descriptor is closed again", || {
            process::clients(worker) == own
        });
    }
}

#[test]
fn a_process_may_count_and_close_what_its_child_serves() {
    if !has_tool("node") {
        return;
    }
    let server = start("sender.js", "socket serve");
    let open = |_| {
        let mut client = Connection::open(server.place()).unwrap();
        client.get("/").unwrap();
        client
    };
    let mut kept: Vec<_> = (0..3).map(open).collect();
    assert_eq!(tell(&server, "count"), 3);
    kept.pop();
    wait_until("one has left", || tell(&server, "count") == 2);
    let close = thread::scope(|scope| {
        let close = scope.spawn(|| tell(&server, "close"));
        wait_until("nobody listens any more", || {
            Connection::open(server.place()).err() == Some(Lost::Refused)
        });
        kept[0].get("/").expect("who is there is served on");
        assert!(!close.is_finished());
        kept.clear();
        close.join().unwrap()
    });
    assert_eq!(close, "undefined", "no error");
    assert_eq!(tell(&server, "count"), 0);
}

#[test]
fn a_child_whose_channel_is_closed_finishes_and_exits_with_0() {
    if !has_tool("node") {
        return;
    }
    for command in ["disconnect", "terminate"] {
        let server = start("sender.js", "socket serve");
        let mut idle = Connection::open(server.place()).unwrap();
        idle.get("/").unwrap();
        let crowd = server.in_hand(4, Crowd::asking("/sleep/700"));
        assert_eq!(tell(&server, command), exited(0), "{}", server.log());
        expect_last_answers(crowd);
        idle.expect_end();
    }
}

#[test]
fn who_waits_at_a_childs_own_listener_when_it_is_to_go_is_served() {
    if !has_tool("node") {
        return;
    }
    let server = start("sender.js", "server serve");
    let worker = server.ask_worker();
    process::freeze(&[worker]);
    let crowd = Crowd::ask(server.place(), 40, "/");
    crowd.wait_until_sent();
    assert_eq!(crowd.answered(), 0);
    process::signal("TERM", &[worker]);
    process::signal("CONT", &[worker]);
    crowd.expect_all_answered();
    assert_eq!(tell(&server, "exit"), exited(0));
}

#[test]
fn a_child_outlives_its_parent_only_for_what_it_has_in_hand() {
    if !has_tool("node") {
        return;
    }
    for how in ["socket serve", "server serve"] {
        let mut server = start("sender.js", how);
        let worker = server.ask_worker();
        let crowd = server.in_hand(4, Crowd::asking("/sleep/700"));
        server.signal("KILL");
        server.wait();
        assert!(process::lives(worker));
        expect_last_answers(crowd);
        wait_until("the worker is gone", || !process::lives(worker));
    }
}

/// Nobody else would kill it.
#[test]
fn a_child_that_takes_too_long_cuts_it_short() {
    if !has_tool("node") {
        return;
    }
    let server = start("sender.js", "socket serve --grace 0.3");
    let crowd = server.in_hand(2, Crowd::asking("/sleep/60000"));
    assert_eq!(tell(&server, "disconnect"), exited(0));
    for result in crowd.finish() {
        assert_eq!(result.unwrap_err(), Lost::Reset);
    }
}

#[test]
fn a_child_that_was_given_an_address_is_a_master() {
    if !has_tool("node") {
        return;
    }
    let lines = "require('child_process').fork('serve', ['--listen', \
        '127.0.0.1:0', '--workers', '2'], { execPath: process.env.HANDOFF })";
    let server = Server::start(node(&["-e", lines]));
    assert_eq!(server.wait_for_workers(2).len(), 2);
    process::signal("TERM", &server.workers());
    wait_until("all is over", || server.processes().is_empty());
}

#[test]
fn a_channel_in_another_language_is_refused_in_one_line() {
    if !has_tool("node") {
        return;
    }
    let ended = run(node(&[
        "-e",
        "require('child_process').fork('serve', [], { serialization: \
         'advanced', execPath: process.env.HANDOFF }).on('exit', (code) => \
         process.exit(code))",
    ]));
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_eq!(ended.err.lines().count(), 1, "{ended:?}");
    assert!(ended.err.contains("serialization: 'json'"), "{ended:?}");
}

#[test]
fn a_cluster_shares_its_connections_evenly_with_rust_workers() {
    if !has_tool("node") {
        return;
    }
    for kinds in ["rust,rust", "node,rust", "rust,node"] {
        let listen = "serve --listen 127.0.0.1:0";
        let server = start("primary.js", &format!("rr {kinds} {listen}"));
        let shares = shares(&server, 200);
        assert_eq!(shares.len(), 2, "{shares:?}");
        for share in shares.values() {
            assert!((95..=105).contains(share), "{kinds}: {shares:?}");
        }
        for pid in shares.keys() {
            assert!(server.workers().contains(pid));
        }
    }
}

#[test]
fn a_cluster_whose_workers_accept_by_themselves_serves_everybody() {
    if !has_tool("node") {
        return;
    }
    for kinds in ["rust,rust", "node,rust"] {
        let listen = "serve --listen 127.0.0.1:0";
        let server = start("primary.js", &format!("none {kinds} {listen}"));
        let shares = shares(&server, 200);
        assert_eq!(shares.values().sum::<usize>(), 200);
        for pid in shares.keys() {
            assert!(server.workers().contains(pid));
        }
        // With one gone the other has them all.
        assert_eq!(tell(&server, "disconnect?1"), left(0, true));
        assert_eq!(self::shares(&server, 20).len(), 1);
    }
}

#[test]
fn a_cluster_listens_wherever_a_rust_worker_asks() {
    if !has_tool("node") {
        return;
    }
    let folder = Scratch::new("under-node");
    let path = folder.path("x.sock").display().to_string();
    let listen = format!(
        "--listen 127.0.0.1:0 --listen 127.0.0.1:0 --listen [::1]:0 \
         --listen unix:{path}"
    );
    for policy in ["rr", "none"] {
        let words = format!("{policy} rust,rust serve {listen}");
        let server = start("primary.js", &words);
        let (control, places) = server.places().split_last().unwrap();
        assert_eq!(places.len(), 4, "{places:?} {control:?}");
        assert!(places.contains(&Place::Unix(path.clone().into())));
        for place in places {
            assert_eq!(ask(place, "/").unwrap().status, 200);
        }
        for id in ["1", "2"] {
            let command = format!("disconnect?{id}");
            assert_eq!(tell(&server, &command), left(0, true));
        }
    }
}

#[test]
fn a_worker_that_the_cluster_sends_away_finishes_what_it_has() {
    if !has_tool("node") {
        return;
    }
    for command in ["disconnect?1", "kill?1"] {
        let words = "rr rust serve --listen 127.0.0.1:0";
        let server = start("primary.js", words);
        let mut idle = Connection::open(server.place()).unwrap();
        idle.get("/").unwrap();
        let crowd = server.in_hand(4, Crowd::asking("/sleep/700"));
        assert_eq!(tell(&server, command), left(0, true), "{}", server.log());
        expect_last_answers(crowd);
        idle.expect_end();
    }
}

#[test]
fn no_request_is_lost_while_workers_of_a_cluster_come_and_go() {
    if !has_tool("node") {
        return;
    }
    let words = "rr rust,rust,rust serve --listen 127.0.0.1:0";
    let server = start("primary.js", words);
    let load = common::load::Load::start(server.place(), 8);
    assert_eq!(tell(&server, "kill?1"), left(0, true));
    load.wait_for(50);
    assert_eq!(tell(&server, "disconnect?2"), left(0, true));
    load.wait_for(50);
    let tally = load.finish();
    assert_eq!(tally.unforgivable(), 0, "{tally:?}");
    assert_eq!(tally.lost() - tally.crossed, 0, "{tally:?}");
}

#[test]
fn a_full_workers_connections_go_to_another() {
    if !has_tool("node") {
        return;
    }
    for policy in ["rr", "none"] {
        let listen = "serve --listen 127.0.0.1:0 --max-connections 2";
        let server =
            start("primary.js", &format!("{policy} rust,rust {listen}"));
        let open = |_| {
            let mut client = Connection::open(server.place()).unwrap();
            (pid_in(&client.get("/worker").unwrap()), client)
        };
        let mut kept: Vec<_> = (0..4).map(open).collect();
        let one = kept[0].0;
        assert_eq!(kept.iter().filter(|(pid, _)| *pid == one).count(), 2);
        let late = Crowd::ask(server.place(), 1, "/");
        late.wait_until_sent();
        if policy == "none" {
            let (time, most) =
                (Duration::from_millis(300), Duration::from_millis(30));
            wait_for_rest(time, most, || vec![one], || late.answered());
        } else {
            // Node's own primary asks over and over.
            thread::sleep(Duration::from_millis(300));
        }
        assert_eq!(late.answered(), 0, "there is no room");
        kept.pop();
        late.expect_all_answered();
    }
}

/// Node itself loses a connection that a worker has no descriptor for, and
/// never sends that worker another one.
#[test]
fn what_a_worker_has_no_descriptor_for_goes_to_another() {
    if !has_tool("node") {
        return;
    }
    let folder = Scratch::new("under-node-hoard");
    let words = format!("rr rust,rust {}", folder.path("").display());
    let primary = script("primary.js", &words);
    let mut command = with_descriptors(200, &primary);
    command.env("HANDOFF", program("probe", "").get_program());
    let server = Server::start(command);
    let both = shares(&server, 4);
    assert_eq!(both.len(), 2);
    let mut kept = Connection::open(server.place()).unwrap();
    kept.get("/hoard").unwrap();
    let left = shares(&server, 40);
    assert_eq!(left.len(), 1, "{left:?}");
}

#[test]
fn the_workers_of_a_cluster_go_with_its_primary() {
    if !has_tool("node") {
        return;
    }
    for policy in ["rr", "none"] {
        let listen = "serve --listen 127.0.0.1:0";
        let words = format!("{policy} rust,rust {listen}");
        let mut server = start("primary.js", &words);
        let workers = server.workers();
        assert_eq!(workers.len(), 2);
        server.signal("KILL");
        server.wait();
        wait_until("the workers are gone", || {
            !workers.iter().any(|pid| process::lives(*pid))
        });
        let refused = ask(server.place(), "/").unwrap_err();
        assert_eq!(refused, Lost::Refused);
    }
}

#[test]
fn what_a_primary_cannot_bind_ends_its_worker_with_one_line() {
    if !has_tool("node") {
        return;
    }
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let lines = format!(
        "const cluster = require('cluster');\
         cluster.setupPrimary({{ execArgv: [], exec: 'serve', args: ['--listen', \
         '{address}', '--log-level', 'error'] }});\
         process.execPath = process.env.HANDOFF;\
         cluster.fork().on('exit', (code) => process.exit(code));"
    );
    let ended = run(node(&["-e", &lines]));
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_eq!(ended.err.lines().count(), 1, "{ended:?}");
    let line = format!("cannot listen on {address}: Address already in use");
    assert!(ended.err.contains(&line), "{ended:?}");
}

/// A program on the library, whose handler panics: the worker ends with 1 as
/// one that did not mean to, so that the primary starts another.
#[test]
fn a_program_of_ones_own_is_a_worker_as_well() {
    if !has_tool("node") {
        return;
    }
    let folder = Scratch::new("under-node-probe");
    let words = format!("rr rust {}", folder.path("").display());
    let probe = program("probe", "");
    let mut command = script("primary.js", &words);
    command.env("HANDOFF", probe.get_program());
    let server = Server::start(command);
    assert_eq!(server.ask("/worker").json()["id"], 1);
    let environment = server.ask("/environment");
    for name in ["NODE_CHANNEL_", "NODE_UNIQUE_ID", "HANDOFF_WORKER_"] {
        assert!(!environment.text().contains(name), "{name}");
    }
    let crowd = server.in_hand(2, Crowd::asking("/sleep/700"));
    assert_eq!(ask(server.place(), "/panic").unwrap().status, 500);
    expect_last_answers(crowd);
    assert_eq!(tell(&server, "exit?1"), left(1, false));
}
