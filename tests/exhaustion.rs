//! Out of descriptors, and nobody to read the log: the service goes on.

mod common;

use std::io::{Write, pipe};
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use common::http::{self, Place};
use common::load::Crowd;
use common::server::{Server, handoff, pid_in, program, with_descriptors};
use common::{Scratch, process, wait_for_rest, wait_until};

/// Fails unless nothing happens, at last, for a second.
fn expect_rest(server: &Server, most: u64, crowd: Option<&Crowd>) {
    let pids = || {
        let mut pids = server.workers();
        pids.push(server.pid());
        pids
    };
    let answered = || crowd.map_or(0, Crowd::answered);
    let most = Duration::from_millis(most);
    wait_for_rest(Duration::from_secs(1), most, pids, answered);
}

#[test]
fn with_64_descriptors_200_clients_take_their_turns() {
    let command = handoff("serve --listen 127.0.0.1:0 --workers 2");
    let server = Server::start(with_descriptors(64, &command));
    server.ask("/");
    let crowd = Crowd::hold(server.place(), 200, "/");
    // As many as there is room for are served, and keep their places…
    wait_until("the workers are nearly full", || crowd.answered() > 40);
    expect_rest(&server, 100, Some(&crowd));
    let answered = crowd.answered();
    assert!(answered < 200, "two times 64 descriptors hold no 200 clients");
    assert_eq!(server.workers().len(), 2, "no worker died of it");
    // …and when they leave, the others have theirs.
    crowd.release().expect_all_answered();
    server.ask("/");
}

#[test]
fn connections_that_a_full_worker_cannot_take_go_to_another() {
    let folder = Scratch::new("hoard");
    let words = format!("{} 2", folder.path("").display());
    let command = program("probe", &words);
    let server = Server::start(with_descriptors(64, &command));
    let workers = server.wait_for_workers(2);
    server.ask("/hoard");
    let full = |pid: &&u32| process::descriptors(**pid).len() > 50;
    wait_until("a worker has no descriptor left", || {
        workers.iter().any(|pid| full(&pid))
    });
    let hoarder = *workers.iter().find(full).unwrap();
    for result in Crowd::ask(server.place(), 40, "/worker").finish() {
        // One at a time it may still be able to take some.
        let response = result.unwrap();
        assert!(workers.contains(&pid_in(&response)));
    }
    expect_rest(&server, 100, None);
    assert!(process::lives(hoarder));
    assert!(server.log().contains("out of descriptors"), "it came to that");
    server.ask("/");
}

/// The copies of what one worker does not take must not fill the master.
#[test]
fn a_worker_that_stands_still_leaves_descriptors_for_the_others() {
    const CLIENTS: usize = 200;
    let words = "serve --listen 127.0.0.1:0 --workers 2 --hang-timeout off";
    let server = Server::start(with_descriptors(100, &handoff(words)));
    let workers = server.wait_for_workers(2);
    process::freeze(&workers[..1]);
    let crowd = Crowd::ask(server.place(), CLIENTS, "/");
    wait_until("most are answered", || crowd.answered() > CLIENTS / 2);
    process::signal("CONT", &workers[..1]);
    crowd.expect_all_answered();
}

/// Asks for worker after worker and kills it.
fn kill(deaths: usize, place: &Place) {
    for _ in 0..deaths {
        let response = http::ask(place, "/worker").expect("it serves");
        process::signal("KILL", &[pid_in(&response)]);
    }
}

#[test]
fn it_serves_on_when_the_reader_of_its_log_dies() {
    let folder = Scratch::new("deaf");
    let path = folder.path("socket");
    let words = format!("serve --workers 2 --listen unix:{}", path.display());
    let place = Place::Unix(path);
    let mut server = Server::start_unheard(handoff(&words), Stdio::piped());
    wait_until("it serves", || http::ask(&place, "/").is_ok());
    server.drop_log();
    kill(100, &place);
    Crowd::ask(&place, 20, "/").expect_all_answered();
    wait_until("two workers live", || server.workers().len() == 2);
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn it_serves_on_when_nobody_reads_its_log_and_the_pipe_is_full() {
    let folder = Scratch::new("stuffed");
    let path = folder.path("socket");
    let words = format!("serve --workers 2 --listen unix:{}", path.display());
    let place = Place::Unix(path);
    let (reader, mut writer) = pipe().unwrap();
    let log = Stdio::from(writer.try_clone().unwrap());
    // Writes until the reader is gone, and so, once the pipe is full, waits.
    let stuffing = [b'\n'; 64 << 10];
    let stuffer =
        thread::spawn(move || while writer.write_all(&stuffing).is_ok() {});
    thread::sleep(Duration::from_millis(100));
    let mut server = Server::start_unheard(handoff(&words), log);
    wait_until("it serves", || http::ask(&place, "/").is_ok());
    kill(20, &place);
    Crowd::ask(&place, 20, "/").expect_all_answered();
    wait_until("two workers live", || server.workers().len() == 2);
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    drop(reader);
    stuffer.join().unwrap();
}
