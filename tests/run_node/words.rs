//! What an app may say on its channel.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::common::http::ask;
use crate::common::server::Server;
use crate::common::{Scratch, process, wait_until, within};
use crate::{app, need_node, node};

/// The resident memory of a process in kilobytes.
fn memory(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status"));
    let text = text.unwrap();
    let line = text.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Fails unless this costs nobody his life, and all goes on.
fn harmless(server: &Server, deed: &str) {
    let pids = server.wait_for_workers(2);
    server.ask(deed);
    let dies = || pids.iter().any(|pid| !process::lives(*pid));
    assert!(!within(Duration::from_millis(300), dies), "{deed}");
    assert_eq!(server.wait_for_workers(2).len(), 2);
}

/// Fails unless this costs the worker that does it its life, and only that.
fn costs_itself(server: &Server, deed: &str) {
    let pids = server.wait_for_workers(2);
    server.ask(deed);
    let dead = || pids.iter().filter(|pid| !process::lives(**pid)).count();
    wait_until(&format!("{deed} is punished"), || dead() == 1);
    server.wait_for_workers(2);
    assert_eq!(dead(), 1);
}

#[test]
fn an_app_may_say_what_it_likes() {
    need_node!();
    let server = app("--workers 2 --log-level debug");
    for deed in [
        "/send/%22ready%22",
        "/send/%7B%22cmd%22:%22NODE%22%7D",
        "/send/%7B%22cmd%22:%22NODE_OTHER%22%7D",
        "/send/%5B1,null,%22NODE_HANDLE%22%5D",
        "/surrogate",
        "/big/1000000",
        "/gift",
    ] {
        harmless(&server, deed);
    }
    assert!(server.log().contains(r#"says "ready""#));
}

#[test]
fn what_nobody_can_read_costs_who_wrote_it() {
    need_node!();
    let server = app("--workers 2");
    costs_itself(&server, "/garbage");
    costs_itself(&server, "/flood/100000000");
    wait_until("the master has let go of it", || {
        memory(server.pid()) < 16 << 10
    });
}

#[test]
fn who_writes_what_nobody_can_read_at_once_and_always_is_a_crash_loop() {
    need_node!();
    let folder = Scratch::new("loop");
    let path = folder.path("release.js");
    let source = "listen({ port: 0 }).on('listening', () => setImmediate( \
                  () => require('node:fs').writeSync(3, 'garbage\\n')));";
    std::fs::write(&path, source).unwrap();
    let word = path.display().to_string();
    let server = Server::start(node("--workers 1", "release.js", &word));
    let starts = || server.log().matches(": pid ").count();
    wait_until("it has failed a few times", || starts() >= 5);
    assert!(server.log().contains("expected a value"));
    // By now the pause between two is longer than that.
    let before = starts();
    within(Duration::from_secs(1), || false);
    assert!(starts() <= before + 2, "{}", server.log());
}

#[test]
fn a_worker_is_ready_when_it_says_so_if_that_is_asked_for() {
    need_node!();
    // It listens at once, and says so after a while.
    let source = "listen({ port: 0 }); \
                  setTimeout(() => process.send('ready'), 800);";
    let folder = Scratch::new("ready");
    let path = folder.path("release.js");
    std::fs::write(&path, source).unwrap();
    let word = path.display().to_string();
    let options = "--workers 1 --wait-ready on";
    let start = Instant::now();
    let server = Server::start(node(options, "release.js", &word));
    assert_eq!(server.ask("/").status, 200);
    assert!(start.elapsed() > Duration::from_millis(800));
}

/// What a worker of `transcript.js` has heard, to the first end.
fn heard(lines: &str) -> Vec<String> {
    let heard = lines.lines().filter_map(|line| line.strip_prefix("HEARD "));
    let mut all: Vec<String> = Vec::new();
    for line in heard {
        all.push(line.to_owned());
        if line == "the end" {
            break;
        }
    }
    all
}

#[test]
fn a_worker_hears_what_it_hears_from_nodes_own_primary() {
    need_node!();
    for word in ["", "leave"] {
        let theirs = Command::new("node")
            .args(["tests/node/transcript.js", word])
            .output()
            .unwrap();
        let theirs = heard(&String::from_utf8_lossy(&theirs.stderr));

        let mut server =
            Server::start(node("--workers 1", "transcript.js", word));
        if word.is_empty() {
            ask(server.place(), "/").unwrap();
            server.signal("TERM");
            server.wait();
        }
        let mut ours = Vec::new();
        wait_until("all is heard", || {
            ours = heard(&server.log());
            ours.last().is_some_and(|line| line == "the end")
        });
        assert_eq!(ours, theirs);
        assert!(ours.len() > 5, "{ours:?}");
    }
}
