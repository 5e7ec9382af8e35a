//! A rolling reload: new workers first, then the old ones go.

mod common;

use std::fs;

use common::http::Connection;
use common::load::{Crowd, Load};
use common::server::{Server, program};
use common::{Scratch, process, wait_until};

/// Waits until as many other workers are in their place.
fn wait_for_others(server: &Server, old: &[u32]) {
    wait_until("all workers are new", || {
        let now = server.workers();
        now.len() == old.len() && !now.iter().any(|pid| old.contains(pid))
    });
}

#[test]
fn a_reload_under_load_loses_nothing() {
    let server = Server::serve("--workers 2");
    let load = Load::start(server.place(), 6);
    for _ in 0..5 {
        let old = server.wait_for_workers(2);
        server.signal("HUP");
        wait_for_others(&server, &old);
    }
    let tally = load.finish();
    assert_eq!(tally.unforgivable() + tally.reset + tally.truncated, 0);
}

#[test]
fn without_salvage_what_is_in_hand_finishes_and_idle_clients_are_let_go() {
    let server = Server::serve("--workers 1 --no-salvage");
    let old = server.ask_worker();
    let mut kept = Connection::open(server.place()).unwrap();
    kept.get("/").unwrap();
    let in_hand = server.in_hand(3, Crowd::upload);
    server.signal("HUP");
    wait_until("the next one serves", || server.ask_worker() != old);
    assert!(process::lives(old));
    in_hand.release().expect_all_answered();
    wait_until("the old one is gone", || !process::lives(old));
    kept.expect_end();
}

#[test]
fn a_release_that_cannot_start_leaves_the_old_workers_in_place() {
    let folder = Scratch::new("broken");
    let words = format!("{} 2", folder.path("").display());
    let server = Server::start(program("probe", &words));
    let old = server.wait_for_workers(2);
    fs::write(folder.path("die"), "").unwrap();
    let load = Load::start(server.place(), 4);
    server.signal("HUP");
    wait_until("the log tells it", || server.log().contains("abandoned"));
    load.wait_for(50);
    assert!(old.iter().all(|pid| process::lives(*pid)));
    let tally = load.finish();
    assert_eq!(tally.unforgivable() + tally.lost(), 0);

    fs::remove_file(folder.path("die")).unwrap();
    server.signal("HUP");
    wait_for_others(&server, &old);
    server.ask("/");
}
