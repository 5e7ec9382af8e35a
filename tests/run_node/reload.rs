//! New releases: reloads and upgrades.

use std::fs;

use crate::common::http::{Connection, ask};
use crate::common::load::{Crowd, Load};
use crate::common::server::Server;
use crate::common::{Scratch, process, wait_until};
use crate::{app, need_node, node};

/// Waits until as many other workers are in their place.
fn wait_for_others(server: &Server, old: &[u32]) {
    wait_until("all workers are new", || {
        let now = server.workers();
        now.len() == old.len() && !now.iter().any(|pid| old.contains(pid))
    });
}

/// An app that is what stands in a folder at its start.
pub(crate) fn release(
    folder: &Scratch,
    options: &str,
    source: &str,
) -> Server {
    write(folder, source);
    let word = folder.path("release.js").display().to_string();
    Server::start(node(options, "release.js", &word))
}

pub(crate) fn write(folder: &Scratch, source: &str) {
    fs::write(folder.path("release.js"), source).unwrap();
}

const TWO_PORTS: &str = "listen({ port: 0 }); listen({ port: 0 });";

#[test]
fn ten_reloads_under_load_lose_nothing() {
    need_node!();
    // Node does not end a connection that is never idle.
    let server = app("--workers 2 --grace 60");
    server.wait_for_workers(2);
    let load = Load::start(server.place(), 6);
    for reload in 1..=10 {
        server.signal("HUP");
        wait_until("the reload is over", || {
            server.log().matches("finished").count() == reload
        });
    }
    let tally = load.finish();
    assert_eq!(tally.unforgivable() + tally.reset + tally.truncated, 0);
}

#[test]
fn what_is_in_flight_finishes_and_kept_connections_are_let_go() {
    need_node!();
    let server = app("--workers 1");
    let old = server.ask_worker();
    let mut kept = Connection::open(server.place()).unwrap();
    kept.get("/").unwrap();
    wait_until("only that is there", || process::clients(old) == 1);
    let slow = Crowd::upload(server.place(), 1);
    wait_until("it is in flight", || process::clients(old) == 2);
    server.signal("HUP");
    wait_until("the next one serves", || server.ask_worker() != old);
    assert!(process::lives(old));
    slow.release().expect_all_answered();
    wait_until("the old one is gone", || !process::lives(old));
    kept.expect_end();
}

#[test]
fn an_app_that_does_not_end_is_ended_and_holds_up_nothing() {
    need_node!();
    let folder = Scratch::new("timer");
    let source = "setInterval(() => {}, 1000); listen({ port: 0 });";
    let server = release(&folder, "--workers 2 --grace 1", source);
    let old = server.wait_for_workers(2);
    server.signal("HUP");
    wait_for_others(&server, &old);
    assert!(server.log().contains("SIGTERM"));
    assert!(!server.log().contains("is killed"));
    // Nor one that will not hear of it.
    let deaf = format!("process.on('SIGTERM', () => {{}}); {source}");
    write(&folder, &deaf);
    for _ in 0..2 {
        let old = server.wait_for_workers(2);
        server.signal("HUP");
        wait_for_others(&server, &old);
    }
    assert!(server.log().contains("is killed"));
}

#[test]
fn a_release_that_throws_leaves_the_old_workers_in_place() {
    need_node!();
    let folder = Scratch::new("throws");
    let server = release(&folder, "--workers 2", "listen({ port: 0 });");
    let old = server.wait_for_workers(2);
    let load = Load::start(server.place(), 4);
    write(&folder, "throw new Error('bad release');");
    server.signal("HUP");
    wait_until("the log tells it", || server.log().contains("abandoned"));
    load.wait_for(50);
    assert!(old.iter().all(|pid| process::lives(*pid)));
    let tally = load.finish();
    assert_eq!(tally.unforgivable() + tally.lost(), 0);

    write(&folder, "listen({ port: 0 });");
    server.signal("HUP");
    wait_for_others(&server, &old);
}

#[test]
fn a_release_that_never_listens_is_none() {
    need_node!();
    let folder = Scratch::new("mute");
    let options = "--workers 2 --boot-timeout 4";
    let server = release(&folder, options, "listen({ port: 0 });");
    let old = server.wait_for_workers(2);
    write(&folder, "setInterval(() => {}, 1000);");
    server.signal("HUP");
    wait_until("the log tells it", || server.log().contains("abandoned"));
    assert_eq!(server.ask("/").status, 200);
    assert!(old.iter().all(|pid| process::lives(*pid)));
}

#[test]
fn a_release_with_one_port_of_two_is_waited_for_and_told() {
    need_node!();
    let folder = Scratch::new("half");
    // Long enough for Node to start on a busy machine: who does not even do
    // that in time is no worker with one port, but none.
    let options = "--workers 1 --boot-timeout 8";
    let server = release(&folder, options, TWO_PORTS);
    let key = "[::]:0, number 2";
    // The second reload is measured by the first, not by nothing.
    for reload in 0..3 {
        let old = server.wait_for_workers(1);
        if reload == 2 {
            write(&folder, "listen({ port: 0 });");
        }
        server.signal("HUP");
        wait_for_others(&server, &old);
        let told = server.log().matches("does not listen on").count();
        assert_eq!(told, usize::from(reload == 2), "{reload}");
    }
    // Nobody has it now, and nobody is expected to.
    wait_until("it is closed", || {
        server.log().contains(key) && server.log().contains("closing")
    });
    assert_eq!(server.ask("/").status, 200);
}

#[test]
fn servers_named_after_their_process_do_not_pile_up() {
    need_node!();
    let folder = Scratch::new("pile");
    let path = folder.path("own").display().to_string();
    let source = format!(
        "listen({{ port: 0 }}); \
         listen({{ path: `{path}-${{process.pid}}` }});"
    );
    let options = "--workers 1 --boot-timeout 3";
    let server = release(&folder, options, &source);
    for _ in 0..3 {
        let pid = server.ask_worker();
        process::signal("KILL", &[pid]);
        wait_until("the next serves", || server.ask_worker() != pid);
    }
    let sockets = || {
        let files = fs::read_dir(&folder).unwrap().flatten();
        let names = files.map(|file| file.file_name());
        names.filter(|name| name.to_string_lossy().contains("own-")).count()
    };
    wait_until("only the last is there", || sockets() == 1);
}

#[test]
fn an_upgrade_under_load_keeps_what_is_listened_on() {
    need_node!();
    let folder = Scratch::new("upgrade");
    let options = "--workers 2 --boot-timeout 5";
    let source = "listen({ port: 0 }); \
                  setTimeout(() => listen({ port: 0 }), 300);";
    let mut server = release(&folder, options, source);
    wait_until("it has two", || {
        server.log().matches("listening on").count() == 2
    });
    let second = server.log();
    let second = second.rsplit_once("listening on ").unwrap().1;
    let second = second.split_whitespace().next().unwrap();
    let second = crate::common::http::Place::parse(second).unwrap();
    server.wait_for_workers(2);
    let load = Load::start(server.place(), 4);
    server.signal("USR2");
    assert!(server.wait().success());
    load.wait_for(50);
    assert_eq!(ask(&second, "/").unwrap().status, 200);
    let tally = load.finish();
    assert_eq!(tally.unforgivable() + tally.reset + tally.truncated, 0);
    let left = server.processes();
    process::signal("TERM", &left);
    wait_until("all are gone", || server.processes().is_empty());
}

#[test]
fn an_upgrade_closes_what_nobody_asks_for_any_more() {
    need_node!();
    let folder = Scratch::new("fewer");
    let options = "--workers 1 --boot-timeout 4";
    let mut server = release(&folder, options, TWO_PORTS);
    server.wait_for_workers(1);
    write(&folder, "listen({ port: 0 });");
    server.signal("USR2");
    assert!(server.wait().success());
    wait_until("it is told", || server.log().contains("no longer listening"));
    assert_eq!(server.ask("/").status, 200);
    let left = server.processes();
    process::signal("TERM", &left);
    wait_until("all are gone", || server.processes().is_empty());
}
