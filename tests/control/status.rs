//! What a status tells.

use std::fs;
use std::io::{BufRead, BufReader};
use std::thread;
use std::time::Duration;

use crate::common::http::Connection;
use crate::common::load::Crowd;
use crate::common::{process, wait_until};
use crate::{Controlled, end, start};
use serde_json::{Value, json};

#[test]
fn a_status_tells_what_each_worker_has_done() {
    let controlled = Controlled::serve("status", "--workers 2");
    let server = &controlled.server;
    controlled.wait_for_ready(2);
    let mut kept = Connection::open(server.place()).unwrap();
    for _ in 0..10 {
        kept.get("/").unwrap();
    }
    for _ in 0..5 {
        server.ask("/plaintext");
    }
    // The kept one and each second of the others are the first worker's.
    wait_until("everything is counted", || {
        controlled.of_each("requests") == [json!(12), json!(3)]
    });
    wait_until("the ended ones are counted", || {
        controlled.of_each("open") == [json!(1), json!(0)]
    });
    let status = controlled.status();
    let master = &status["master"];
    assert_eq!(master["pid"], server.pid());
    assert_eq!(master["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(master["phase"], "serving");
    assert_eq!(master["generation"], 1);
    assert_eq!(master["last_reload"], Value::Null);
    assert_eq!(master["policy"], "round-robin");
    assert_eq!((&master["wanted"], &master["ready"]), (&json!(2), &json!(2)));
    assert_eq!(master["requests"], 15);
    assert_eq!(master["handed_over"], 6);
    assert_eq!(master["redispatched"], 0);
    let place = format!("http://{}", server.place().address());
    assert_eq!(master["listeners"], json!([place]));
    let mut pids = server.workers();
    pids.sort_unstable();
    for (index, worker) in
        status["workers"].as_array().unwrap().iter().enumerate()
    {
        assert_eq!(worker["worker"], index + 1);
        assert_eq!(worker["pid"], pids[index]);
        assert_eq!(worker["slot"], index);
        assert_eq!(worker["state"], "ready");
        assert_eq!(worker["generation"], 1);
        assert_eq!(worker["handed_over"], 3);
        for zero in ["redispatched", "skipped", "restarts"] {
            assert_eq!(worker[zero], 0, "{zero}");
        }
        let age = worker["age"].as_f64().unwrap();
        let uptime = master["uptime"].as_f64().unwrap();
        assert!((0.0..=uptime).contains(&age), "{age} of {uptime}");
        let rss = worker["rss"].as_u64().unwrap();
        assert!((100 << 10..1 << 30).contains(&rss), "{rss}");
        assert!(worker["cpu"].as_f64().unwrap() < 60.0);
    }
    let table = controlled.done("status");
    let lines: Vec<&str> = table.lines().collect();
    let head = format!(
        "handoff {}, pid {}, up ",
        env!("CARGO_PKG_VERSION"),
        server.pid()
    );
    assert!(lines[0].starts_with(&head), "{table}");
    assert_eq!(
        lines[2],
        "15 requests, 0 refused, 6 connections handed over, 0 re-dispatched"
    );
    assert!(lines[3].starts_with("0 salvaged: "), "{table}");
    assert_eq!(lines.len(), 4 + 1 + 1 + 2, "{table}");
}

#[test]
fn requests_that_are_turned_away_are_counted_apart() {
    let controlled =
        Controlled::serve("refused", "--workers 1 --header-timeout 0.2");
    let server = &controlled.server;
    let refused = |request: &str, status: u16| {
        let mut client = Connection::open(server.place()).unwrap();
        client.send(request.as_bytes()).unwrap();
        assert_eq!(client.receive().unwrap().status, status);
        assert!(client.receive().is_err());
    };
    refused("GET / HTTP/1.1\r\n\r\n", 400);
    refused("GET / HT", 408);
    refused(
        "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n",
        413,
    );
    // One that was answered stands before it, and is no refusal itself.
    let mut client = Connection::open(server.place()).unwrap();
    assert_eq!(client.get("/none").unwrap().status, 404);
    client.send(b"BREW / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert_eq!(client.receive().unwrap().status, 501);
    drop(client);
    wait_until("all are counted", || {
        let each = |member| controlled.of_each(member);
        (each("requests"), each("refused")) == (vec![json!(1)], vec![json!(4)])
    });
    process::signal("KILL", &server.workers());
    controlled.wait_for_ready(1);
    refused("GET\r\n\r\n", 400);
    wait_until("those of the dead one are counted as well", || {
        let master = &controlled.status()["master"];
        (&master["requests"], &master["refused"]) == (&json!(1), &json!(5))
    });
    let table = controlled.done("status");
    let line = table.lines().nth(2).unwrap();
    assert!(line.starts_with("1 requests, 5 refused, 5 conn"), "{table}");
}

#[test]
fn what_dead_workers_have_done_stays_in_the_totals() {
    let controlled = Controlled::serve("totals", "--workers 1");
    let server = &controlled.server;
    for _ in 0..20 {
        server.ask("/");
    }
    wait_until("all is counted", || {
        controlled.of_each("requests") == [json!(20)]
    });
    process::signal("KILL", &server.workers());
    wait_until("it is replaced", || {
        controlled.of_each("worker") == [json!(2)]
    });
    controlled.wait_for_ready(1);
    server.ask("/");
    wait_until("the new one's are counted", || {
        controlled.status()["master"]["requests"] == 21
    });
    assert_eq!(controlled.status()["master"]["handed_over"], 21);
    assert_eq!(controlled.of_each("restarts"), [json!(1)]);
}

#[test]
fn a_stopping_master_tells_how_it_is_and_takes_no_orders() {
    let controlled = Controlled::serve("late", "--workers 1 --grace 60");
    let in_hand = controlled.server.in_hand(1, Crowd::upload);
    let stop = start(controlled.command("stop"));
    wait_until("it has stopped to listen", || {
        controlled.status()["master"]["listeners"] == json!([])
    });
    let status = controlled.status();
    assert_eq!(status["master"]["phase"], "stopping");
    assert_eq!(status["workers"][0]["state"], "leaving");
    for words in ["reload", "scale 4"] {
        let ended = controlled.tell(words);
        assert_eq!(ended.code, Some(1));
        assert_eq!(ended.err, "handoff: the master is stopping\n");
    }
    let mut again = start(controlled.command("stop"));
    let mut said = String::new();
    let mut out = BufReader::new(again.stdout.take().unwrap());
    out.read_line(&mut said).unwrap();
    assert_eq!(said, "stopping already\n");
    in_hand.release().expect_all_answered();
    assert_eq!(end(stop).code, Some(0));
    assert_eq!(end(again).code, Some(0));
}

#[test]
fn without_limits_an_idle_master_sleeps() {
    let controlled =
        Controlled::serve("sleeps", "--workers 1 --hang-timeout off");
    controlled.wait_for_ready(1);
    let switches = || {
        let path = format!("/proc/{}/status", controlled.server.pid());
        let text = fs::read_to_string(path).unwrap();
        let line = text.lines().find(|line| line.starts_with("voluntary"));
        let count = line.unwrap().split_whitespace().nth(1).unwrap();
        count.parse::<u64>().unwrap()
    };
    wait_until("it sleeps for a second", || {
        let before = switches();
        thread::sleep(Duration::from_secs(1));
        switches() == before
    });
}
