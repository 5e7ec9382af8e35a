//! Answers that come later, from another thread, or never.

use std::thread;
use std::time::Duration;

use crate::common::server::{Server, program};
use crate::common::{Scratch, at_some_pace, process, wait_until};
use crate::peer::{Client, get, timed};
use crate::{answering, answering_impatiently};

#[test]
fn a_late_answer_keeps_nobody_else_waiting() {
    let server = answering();
    at_some_pace(|pace| {
        let mut slow = Client::open(server.place());
        slow.send(get(&format!("/later/{}", pace * 700)));
        let (answers, took) = timed(|| {
            (0..20).map(|_| server.ask("/quick").status).collect::<Vec<_>>()
        });
        assert!(took < pace * Duration::from_millis(600), "{took:?}");
        assert_eq!(answers, [200; 20]);
        assert_eq!(slow.answer().body, b"late");
    });
}

#[test]
fn many_threads_may_answer_at_once() {
    let server = answering();
    let mut clients: Vec<Client> =
        (0..200).map(|_| Client::open(server.place())).collect();
    for _ in 0..3 {
        for client in &mut clients {
            client.send(get("/later/30"));
        }
        for client in &mut clients {
            assert_eq!(client.answer().body, b"late");
        }
    }
}

#[test]
fn dropped_unanswered_it_is_a_500_and_the_end() {
    let server = answering();
    let mut client = Client::open(server.place());
    client.send(get("/dropped") + &get("/behind"));
    assert_eq!(client.statuses(), [500]);
    server.ask("/still-there");
}

#[test]
fn a_client_that_is_gone_is_noticed() {
    let server = answering();
    for target in ["/kept", "/held"] {
        for _ in 0..5 {
            let mut client = Client::open(server.place());
            client.send(get(target));
            server.ask("/");
            client.vanish();
        }
    }
    wait_until("ten are noticed", || server.ask("/gone").text() == "10");
}

#[test]
fn a_client_that_is_given_up_is_gone() {
    let server = answering_impatiently(300);
    let mut client = Client::open_narrow(server.place());
    client.send(get("/held/1000"));
    wait_until("it is noticed", || server.ask("/gone").text() == "1");
}

#[test]
fn a_worker_that_is_to_go_gives_a_late_answer_first() {
    at_some_pace(|pace| {
        let server = answering();
        let mut client = Client::open(server.place());
        let late = get(&format!("/later/{}", pace * 800));
        client.send(late + &get("/behind"));
        server.ask("/it-is-in-hand");
        let worker = server.workers();
        process::signal("TERM", &worker);
        client.half_close();
        let answers = client.answers();
        assert_eq!(answers.len(), 2);
        assert_eq!(answers[0].body, b"late");
        wait_until("the worker is gone", || !process::lives(worker[0]));
        server.ask("/its-successor-serves");
    });
}

#[test]
fn a_panic_costs_one_request_and_then_its_worker_goes() {
    at_some_pace(|pace| {
        let server = answering();
        let mut other = Client::open(server.place());
        other.send(get(&format!("/later/{}", pace * 500)));
        server.ask("/it-is-in-hand");
        let worker = server.workers();
        let mut client = Client::open(server.place());
        client.send(get("/before") + &get("/panic") + &get("/behind"));
        assert_eq!(client.statuses(), [200, 500]);
        other.half_close();
        let answers = other.answers();
        assert_eq!(answers[0].body, b"late");
        wait_until("the worker is gone", || !process::lives(worker[0]));
        server.ask("/its-successor-serves");
    });
}

#[test]
fn any_time_may_be_asked_for() {
    let server = answering();
    server.ask("/");
    let workers = server.workers();
    let mut waiting = Vec::new();
    for path in ["/never", "/rest"] {
        let mut client = Client::open(server.place());
        client.send(get(path));
        waiting.push(client);
        server.ask("/");
    }
    waiting[0].hear_nothing(Duration::from_millis(200));
    assert_eq!(server.workers(), workers);
}

#[test]
fn a_delay_is_as_long_as_it_is_asked_for_whatever_else_is_done() {
    let server = answering();
    // The handler blocks for 300 ms, and wants to answer 300 ms later. That
    // the loop turns meanwhile changes nothing.
    let mut client = Client::open(server.place());
    let (answer, took) = timed(|| {
        client.send(get("/delay/300"));
        thread::sleep(Duration::from_millis(400));
        server.ask("/");
        client.answer()
    });
    assert_eq!(answer.body, b"after");
    assert!(took >= Duration::from_millis(600), "{took:?}");
}

#[test]
fn a_handler_that_blocks_delays_others_by_no_more_than_that() {
    let folder = Scratch::new("late-blocks");
    let words = format!("{} 1 0", folder.path("").display());
    let server = Server::start(program("probe", &words));
    let mut client = Client::open(server.place());
    let mut other = Client::open(server.place());
    let (_, took) = timed(|| {
        client.send(get("/sleep/800"));
        thread::sleep(Duration::from_millis(50));
        // It takes half of that time.
        other.send(get("/block"));
        client.answer()
    });
    assert!(took < Duration::from_millis(1050), "{took:?}");
}

#[test]
fn who_wants_to_go_on_at_once_starves_nobody() {
    let server = answering();
    let mut client = Client::open(server.place());
    client.send(get("/eager"));
    client.until(b"\r\n\r\n");
    for _ in 0..3 {
        server.ask("/");
    }
}

/// Over TCP it is the same anyhow.
#[test]
fn what_a_client_asked_before_it_left_is_heard_over_a_unix_socket_too() {
    let folder = Scratch::new("late-left");
    let words = format!("unix:{}", folder.path("socket").display());
    let server = Server::start(program("answers", &words));
    let mut client = Client::open(server.place());
    client.send(get("/"));
    client.answer();
    let workers = server.workers();
    process::signal("STOP", &workers);
    client.send(get("/held/0"));
    drop(client);
    process::signal("CONT", &workers);
    wait_until("it is heard, and gone", || server.ask("/gone").text() == "1");
}
