//! Stops: graceful, impatient, forced.

mod common;

use std::thread;
use std::time::{Duration, Instant};

use common::http::{Connection, Lost, ask};
use common::load::{Crowd, Load};
use common::server::Server;
use common::{Scratch, at_some_pace, process, wait_until};

#[test]
fn each_stop_signal_finishes_what_is_in_hand_and_exits_with_0() {
    for signal in ["TERM", "INT", "QUIT"] {
        let folder = Scratch::new(signal);
        let path = folder.path("socket");
        let mut server = Server::serve(&format!(
            "--workers 2 --listen unix:{}",
            path.display()
        ));
        server.wait_for_workers(2);
        wait_until("they have no client", || in_hand_of(&server) == 0);
        let in_hand = Crowd::ask(server.place(), 6, "/sleep/1000");
        wait_until("the requests are in the workers' hands", || {
            in_hand_of(&server) == 6
        });
        server.signal(signal);
        for result in in_hand.finish() {
            let response = result.unwrap();
            assert!(response.status == 200 && response.closes(), "{signal}");
        }
        let status = server.wait();
        assert_eq!(status.code(), Some(0), "{signal}: {}", server.log());
        assert!(!path.exists(), "{signal} leaves the socket file");
        assert!(server.processes().is_empty());
    }
}

/// Clients of all workers together.
fn in_hand_of(server: &Server) -> usize {
    server.workers().into_iter().map(process::clients).sum()
}

#[test]
fn a_kept_connection_is_answered_once_more_with_its_end() {
    at_some_pace(|_| {
        let mut server = Server::serve("--workers 1");
        let mut client = Connection::open(server.place()).unwrap();
        assert!(!client.get("/").unwrap().closes());
        server.signal("TERM");
        // Unless it says nothing for half a second.
        wait_until("it is told to go", || client.get("/").unwrap().closes());
        client.expect_end();
        assert_eq!(server.wait().code(), Some(0), "{}", server.log());
    });
}

#[test]
fn idle_connections_do_not_hold_a_stop_up() {
    let mut server = Server::serve("--workers 2 --grace 60");
    server.wait_for_workers(2);
    let mut clients: Vec<Connection> =
        (0..10).map(|_| Connection::open(server.place()).unwrap()).collect();
    for client in &mut clients {
        client.get("/").unwrap();
    }
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0), "{}", server.log());
    clients.iter_mut().for_each(Connection::expect_end);
}

#[test]
fn under_load_every_accepted_request_is_answered() {
    at_some_pace(|_| {
        let mut server = Server::serve("--workers 2");
        server.wait_for_workers(2);
        let load = Load::start(server.place(), 4);
        server.signal("TERM");
        assert_eq!(server.wait().code(), Some(0), "{}", server.log());
        let tally = load.finish();
        assert_eq!((tally.wrong, tally.truncated, tally.timed_out), (0, 0, 0));
        // Whoever comes between the last accept and the close of the listener
        // has not been accepted; the kernel resets it.
        assert!(tally.reset <= 1, "{tally:?}");
    });
}

#[test]
fn clients_in_the_kernels_queue_are_answered() {
    let mut server = Server::serve("--workers 2");
    server.wait_for_workers(2);
    // They come and ask while the master cannot accept, and before it can
    // look at anything it has been told to stop.
    process::freeze(&[server.pid()]);
    let mut clients: Vec<Connection> =
        (0..50).map(|_| Connection::open(server.place()).unwrap()).collect();
    server.signal("TERM");
    for client in &mut clients {
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    }
    server.signal("CONT");
    for mut client in clients {
        assert_eq!(client.receive().unwrap().status, 200);
    }
    assert_eq!(server.wait().code(), Some(0), "{}", server.log());
}

#[test]
fn clients_that_wait_for_room_are_answered_however_long_it_takes() {
    let mut server = Server::serve("--workers 1 --window 8");
    let worker = server.wait_for_workers(1);
    process::freeze(&worker);
    let crowd = Crowd::ask(server.place(), 40, "/");
    crowd.wait_until_sent();
    server.signal("TERM");
    // Until well after the time in which the stop goes on accepting.
    thread::sleep(Duration::from_millis(500));
    process::signal("CONT", &worker);
    crowd.expect_all_answered();
    assert_eq!(server.wait().code(), Some(0), "{}", server.log());
}

/// The kernel holds back a connection without data, so the master has not
/// heard of this client when it is told to stop. It goes on accepting for
/// 100 ms; five attempts, since a busy machine may take that long for nothing.
#[test]
fn a_client_that_is_about_to_ask_is_answered() {
    let answered = (0..5).any(|_| {
        let mut server = Server::serve("--workers 1");
        server.wait_for_workers(1);
        let mut client = Connection::open(server.place()).unwrap();
        server.signal("TERM");
        wait_until("it is heard", || server.log().contains("stopping"));
        thread::sleep(Duration::from_millis(20));
        let response = client.get("/").map(|response| response.status);
        assert_eq!(server.wait().code(), Some(0), "{}", server.log());
        response == Ok(200)
    });
    assert!(answered);
}

#[test]
fn the_stop_refuses_newcomers_while_it_finishes() {
    let mut server = Server::serve("--workers 1");
    let in_hand = server.in_hand(1, Crowd::upload);
    server.signal("TERM");
    wait_until("newcomers are refused", || {
        ask(server.place(), "/").is_err_and(|lost| lost == Lost::Refused)
    });
    in_hand.release().expect_all_answered();
    assert_eq!(server.wait().code(), Some(0), "{}", server.log());
}

#[test]
fn a_second_signal_stops_at_once() {
    for second in ["TERM", "INT"] {
        let mut server = Server::serve("--workers 2 --grace 3600");
        let in_hand = Crowd::ask(server.place(), 1, "/sleep/3600000");
        wait_until("it is in a worker's hands", || in_hand_of(&server) == 1);
        server.signal("TERM");
        wait_until("newcomers are refused", || {
            ask(server.place(), "/").is_err_and(|lost| lost == Lost::Refused)
        });
        server.signal(second);
        server.wait();
        assert!(server.processes().is_empty());
        let lost = in_hand.finish().remove(0).map(|response| response.status);
        assert_eq!(lost, Err(Lost::Reset));
    }
}

#[test]
fn what_is_still_in_hand_after_the_grace_is_killed() {
    let mut server = Server::serve("--workers 2 --grace 0.5");
    let in_hand = Crowd::ask(server.place(), 1, "/sleep/3600000");
    wait_until("it is in a worker's hands", || in_hand_of(&server) == 1);
    let start = Instant::now();
    server.signal("TERM");
    let status = server.wait();
    println!("{status} after {:?}", start.elapsed());
    assert!(start.elapsed() >= Duration::from_millis(500));
    assert!(server.processes().is_empty());
    let lost = in_hand.finish().remove(0).map(|response| response.status);
    assert_eq!(lost, Err(Lost::Reset));
}

#[test]
fn a_stop_that_comes_with_the_start_is_heeded() {
    for pause in 0..10 {
        let mut server = Server::serve("--workers 4");
        thread::sleep(Duration::from_millis(pause));
        server.signal("TERM");
        assert_eq!(server.wait().code(), Some(0), "{}", server.log());
        assert!(server.processes().is_empty());
    }
}

#[test]
fn ctrl_c_reaches_the_master_alone() {
    let server = Server::serve("--workers 2");
    let workers = server.wait_for_workers(2);
    let group = |pid| process::stat(pid).unwrap().group;
    for worker in workers {
        assert_eq!(group(worker), worker);
        assert_ne!(group(worker), group(server.pid()));
    }
}

#[test]
fn signals_that_mean_nothing_change_nothing() {
    let server = Server::serve("--workers 1");
    let worker = server.ask_worker();
    for signal in ["USR1", "PIPE", "WINCH"] {
        server.signal(signal);
        process::signal(signal, &[worker]);
        assert_eq!(server.ask_worker(), worker, "{signal}");
    }
}

#[test]
fn a_worker_that_dies_during_the_stop_still_costs_only_what_it_had() {
    let mut server = Server::serve("--workers 2 --grace 3600");
    let victim = server.wait_for_workers(2)[0];
    process::freeze(&[victim]);
    let crowd = Crowd::ask(server.place(), 20, "/");
    wait_until("the other has answered its half", || crowd.answered() == 10);
    server.signal("TERM");
    wait_until("newcomers are refused", || {
        Connection::open(server.place()).is_err()
    });
    process::signal("KILL", &[victim]);
    crowd.expect_all_answered();
    assert_eq!(server.wait().code(), Some(0), "{}", server.log());
}
