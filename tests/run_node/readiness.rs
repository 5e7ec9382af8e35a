//! When a worker counts as ready, and when it never will be.

use std::fs::{self, File};
use std::net::TcpListener;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use crate::common::http::{Place, ask};
use crate::common::server::Server;
use crate::common::{Scratch, process, wait_until};
use crate::reload::{release, write};
use crate::{need_node, node};

/// A port that is somebody else's, and who that is.
fn taken() -> (TcpListener, u16) {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    (taken, port)
}

/// Whenever it was opened: who is replaced serves until then.
#[test]
fn a_successor_is_not_ready_before_it_has_what_was_opened_late() {
    need_node!();
    let folder = Scratch::new("late");
    let flag = folder.path("flag");
    let source = format!(
        "listen({{ port: 0 }}); \
         const fs = require('node:fs'); \
         const look = setInterval(() => {{ \
           if (!fs.existsSync('{}')) return; \
           clearInterval(look); listen({{ port: 0 }}); }}, 20);",
        flag.display()
    );
    let server = release(&folder, "--workers 1", &source);
    let old = server.ask_worker();
    // Not among what it had at its beginning.
    thread::sleep(Duration::from_millis(1200));
    let second = || {
        let log = server.log();
        let (_, place) = log.rsplit_once("listening on ")?;
        Place::parse(place.split_whitespace().next()?)
    };
    fs::write(&flag, "").unwrap();
    wait_until("it has two", || {
        server.log().matches("listening on").count() == 2
    });
    let second = second().unwrap();
    assert_eq!(ask(&second, "/").unwrap().status, 200);

    fs::remove_file(&flag).unwrap();
    server.signal("HUP");
    wait_until("the next one is there", || server.workers().len() == 2);
    // It listens on the first at once. Who did not miss the second would have
    // let it take over by then.
    thread::sleep(Duration::from_secs(3));
    assert_eq!(server.ask_worker(), old, "{}", server.log());
    assert_eq!(ask(&second, "/").unwrap().status, 200);
    fs::write(&flag, "").unwrap();
    wait_until("the reload is over", || server.log().contains("finished"));
    assert_ne!(server.ask_worker(), old);
    assert_eq!(ask(&second, "/").unwrap().status, 200);
}

#[test]
fn an_app_that_was_refused_its_only_server_and_runs_on_is_not_ready() {
    need_node!();
    let folder = Scratch::new("refused");
    let (_taken, port) = taken();
    let word =
        format!("listen({{ port: {port} }}); setInterval(() => {{}}, 99)");
    write(&folder, &word);
    let word = folder.path("release.js").display().to_string();
    let command = node("--workers 1 --boot-timeout 5", "release.js", &word);
    let log = folder.path("log");
    let out = Stdio::from(File::create(&log).unwrap());
    let server = Server::start_unheard(command, out);
    let log = || fs::read_to_string(&log).unwrap();
    wait_until("it is told", || log().contains("cannot listen"));
    let line = format!("cannot listen on [::]:{port}: ");
    assert!(log().contains(&line), "{}", log());
    assert!(log().contains("Address already in use"), "{}", log());
    wait_until("its time is up", || {
        log().contains("is killed: it cannot listen where it wants to")
    });
    drop(server);
}

#[test]
fn a_release_that_is_refused_its_only_server_does_not_wait_for_its_time() {
    need_node!();
    let folder = Scratch::new("refuses");
    let options = "--workers 1 --boot-timeout 50";
    let server = release(&folder, options, "listen({ port: 0 });");
    let old = server.ask_worker();
    let (_taken, port) = taken();
    let next =
        format!("listen({{ port: {port} }}); setInterval(() => {{}}, 99)");
    write(&folder, &next);
    let start = Instant::now();
    server.signal("HUP");
    wait_until("it is given up", || server.log().contains("abandoned"));
    let took = start.elapsed();
    assert!(took < Duration::from_secs(30), "{took:?}");
    let log = server.log();
    let line = format!("cannot listen on [::]:{port}: ");
    assert!(log.matches(&line).count() >= 2, "{log}");
    assert!(process::lives(old));
    assert_eq!(server.ask_worker(), old);
}
