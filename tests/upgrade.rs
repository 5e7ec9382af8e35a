//! A new master takes over, or does not come to it: no client notices.

#![allow(clippy::unwrap_used, reason = "what goes wrong fails the test")]

mod common;

use std::fs::{self, File};

use common::http::{Connection, Place};
use common::load::{Crowd, Load};
use common::server::{Server, handoff, program, run};
use common::{Scratch, process, wait_until};

/// A server of two workers, and a successor whose second worker is not ready
/// as long as there is a file `wait`. With the pid of that new master.
fn with_unready_successor(folder: &Scratch, address: &str) -> (Server, u32) {
    let words = format!("{} 2 0 {address}", folder.path("").display());
    let mut command = program("probe", &words);
    command.env("PROBE_CONTROL", folder.path("control"));
    let server = Server::start(command);
    server.wait_for_workers(2);
    File::create(folder.path("wait")).unwrap();
    server.signal("USR2");
    let mut successor = 0;
    wait_until("the new master has begun to start workers", || {
        let known = [server.pid()];
        let others = server.processes();
        let new = others.into_iter().find(|pid| {
            !known.contains(pid) && process::children(*pid).len() == 2
        });
        successor = new.unwrap_or(0);
        fs::read(folder.path("starts")).unwrap().len() == 4 && new.is_some()
    });
    (server, successor)
}

/// The new master is gone, and the old one serves everybody.
fn expect_unchanged(server: &Server, successor: u32, load: Load) {
    wait_until("the new master is gone", || !process::lives(successor));
    load.wait_for(100);
    let tally = load.finish();
    assert_eq!(tally.unforgivable() + tally.lost(), 0, "{tally:?}");
    assert!(server.log().contains("upgrade abandoned"), "{}", server.log());
    server.ask("/");
}

#[test]
fn a_new_master_that_is_stopped_before_it_is_ready_changes_nothing() {
    let folder = Scratch::new("stopped-successor");
    let (server, new) = with_unready_successor(&folder, "127.0.0.1:0");
    let load = Load::start(server.place(), 8);
    process::signal("TERM", &[new]);
    wait_until("it stops", || server.log().contains("SIGTERM: stopping"));
    // From here on it might become ready after all.
    fs::remove_file(folder.path("wait")).unwrap();
    expect_unchanged(&server, new, load);
}

#[test]
fn a_new_master_that_is_killed_before_it_is_ready_changes_nothing() {
    let folder = Scratch::new("killed-successor");
    let (server, new) = with_unready_successor(&folder, "127.0.0.1:0");
    let load = Load::start(server.place(), 8);
    process::signal("KILL", &[new]);
    expect_unchanged(&server, new, load);
}

#[test]
fn a_socket_file_is_the_old_masters_until_the_new_one_is_ready() {
    let folder = Scratch::new("socket-file");
    let path = folder.path("socket");
    let address = format!("unix:{}", path.display());
    let (mut server, new) = with_unready_successor(&folder, &address);
    assert_eq!(server.place(), &Place::Unix(path.clone()));
    process::signal("TERM", &[new]);
    wait_until("the new master is gone", || !process::lives(new));
    server.ask("/");

    fs::remove_file(folder.path("wait")).unwrap();
    let load = Load::start(server.place(), 8);
    server.signal("USR2");
    assert_eq!(server.wait().code(), Some(0));
    load.wait_for(100);
    let tally = load.finish();
    assert_eq!(tally.unforgivable() + tally.lost(), 0, "{tally:?}");
    end_new_master(&server);
    assert!(!path.exists(), "the file was the last master's to remove");
}

/// Stops the one master that is left.
fn end_new_master(server: &Server) {
    let mut masters = server.processes();
    masters.retain(|pid| !process::children(*pid).is_empty());
    assert_eq!(masters.len(), 1);
    process::signal("TERM", &masters);
    wait_until("the new master is gone", || !process::lives(masters[0]));
}

/// A service manager that stops the service signals both.
#[test]
fn the_first_sigterm_is_no_second_one_for_a_master_that_was_relieved() {
    let mut server = Server::serve("--workers 1");
    let client = server.in_hand(1, Crowd::upload);
    server.signal("USR2");
    wait_until("the new one is ready", || server.log().contains("is ready"));
    server.signal("TERM");
    wait_until("it hears of it", || server.log().contains("SIGTERM"));
    client.release().expect_all_answered();
    assert_eq!(server.wait().code(), Some(0));
    end_new_master(&server);
}

/// Has the new master be ready while the old one is held up, and cannot hear
/// of it.
fn unheard(server: &Server, folder: &Scratch) {
    process::freeze(&[server.pid()]);
    fs::remove_file(folder.path("wait")).unwrap();
    wait_until("the new one is ready", || {
        server.log().contains("the old master may go")
    });
}

#[test]
fn a_new_master_that_dies_before_its_word_is_heard_changes_nothing() {
    let folder = Scratch::new("unheard");
    let (control, socket) = (folder.path("control"), folder.path("socket"));
    let address = format!("unix:{}", socket.display());
    let (mut server, new) = with_unready_successor(&folder, &address);
    unheard(&server, &folder);
    process::signal("KILL", &[new]);
    wait_until("it is gone", || !process::lives(new));
    process::signal("CONT", &[server.pid()]);
    wait_until("it is told", || server.log().contains("upgrade abandoned"));
    server.ask("/");
    // Its own control socket had been taken over, and is there again.
    let words = format!("status --json --control {}", control.display());
    let status = run(handoff(&words)).out;
    assert!(status.contains(&format!("\"pid\":{}", server.pid())));
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0), "{}", server.log());
    assert!(!socket.exists() && !control.exists());
}

#[test]
fn a_stop_that_is_heard_before_the_word_of_a_new_master_loses_nothing() {
    let folder = Scratch::new("unheard-stop");
    let (mut server, _) = with_unready_successor(&folder, "127.0.0.1:0");
    process::freeze(&[server.pid()]);
    server.signal("TERM");
    unheard(&server, &folder);
    // Those come to the new one, which alone accepts now.
    let crowd = Crowd::upload(server.place(), 3);
    crowd.wait_until_sent();
    server.ask("/");
    process::signal("CONT", &[server.pid()]);
    wait_until("the old one stops", || server.log().contains("SIGTERM"));
    crowd.release().expect_all_answered();
    assert_eq!(server.wait().code(), Some(0), "{}", server.log());
    wait_until("the new one is gone", || server.processes().is_empty());
}

#[test]
fn a_new_master_that_is_not_ready_has_no_successor() {
    let folder = Scratch::new("third");
    let (mut server, new) = with_unready_successor(&folder, "127.0.0.1:0");
    process::signal("USR2", &[new]);
    wait_until("it is told", || server.log().contains("one is under way"));
    fs::remove_file(folder.path("wait")).unwrap();
    assert_eq!(server.wait().code(), Some(0));
    server.ask("/");
    end_new_master(&server);
}

#[test]
fn as_many_workers_as_were_asked_for_follow_as_many() {
    let folder = Scratch::new("scaled");
    let control = folder.path("control");
    let mut command = handoff("serve --workers 1 --listen 127.0.0.1:0");
    command.arg("--control").arg(&control);
    let mut server = Server::start(command);
    let mut scale = handoff("scale 3 --control");
    assert!(scale.arg(&control).status().unwrap().success());
    server.wait_for_workers(3);
    server.signal("USR2");
    assert_eq!(server.wait().code(), Some(0));
    let log = server.log();
    assert_eq!(log.matches("listening on").count(), 2, "{log}");
    assert_eq!(log.matches(", 3 workers, ").count(), 1, "{log}");
    end_new_master(&server);
}

/// What the first master still has comes to the third through the second.
#[test]
fn a_client_that_is_busy_through_two_upgrades_stays() {
    let mut server = Server::serve("--workers 1");
    server.wait_for_workers(1);
    let mut client = Connection::open(server.place()).unwrap();
    let request = b"GET /sleep/2000?late HTTP/1.1\r\nHost: here\r\n\r\n";
    client.send(request).unwrap();
    wait_until("it is in the worker's hands", || {
        process::clients(server.workers()[0]) > 0
    });
    server.signal("USR2");
    let told = |words: &str| server.log().matches(words).count();
    wait_until("the second is ready", || told("is ready") == 1);
    let log = server.log();
    let (_, pid) = log.split_once("new master has pid ").unwrap();
    let second = pid.lines().next().unwrap().parse().unwrap();
    process::signal("USR2", &[second]);
    wait_until("the third is ready", || told("is ready") == 2);
    assert_eq!(client.receive().unwrap().text(), "late");
    assert_eq!(server.wait().code(), Some(0));
    wait_until("the second is gone", || !process::lives(second));
    assert_eq!(client.get("/").unwrap().status, 200);
    end_new_master(&server);
}
