//! Clients of every kind, and workers that die beside them.

use std::thread;
use std::time::{Duration, Instant};

use crate::common::process;
use crate::peer::{Client, End};
use crate::{
    MOMENT, Mortals, answer, expect, expect_refusal, expect_usable, get, last,
    post,
};

#[test]
fn idle_clients_stay_whoever_dies() {
    let mortals = Mortals::start("idle", "workers=2");
    let mut clients: Vec<Client> = (0..50).map(|_| mortals.client()).collect();
    // Half of them have asked before.
    clients[25..].iter_mut().for_each(expect_usable);
    for _ in 0..3 {
        mortals.kill_all();
        thread::sleep(MOMENT);
        for client in &mut clients {
            assert_eq!(client.glance(), None);
        }
    }
    clients.iter_mut().for_each(expect_usable);
    // One worker is as good as all.
    process::signal("KILL", &mortals.server.workers()[..1]);
    clients.iter_mut().for_each(expect_usable);
    drop(clients);
    mortals.expect_nothing_left();
}

#[test]
fn without_any_worker_everybody_waits_for_the_next() {
    let mortals = Mortals::start("all", "workers=2");
    for round in 0..5 {
        let mut clients: Vec<Client> =
            (0..20).map(|_| mortals.client()).collect();
        let names: Vec<String> =
            (0..20).map(|at| format!("all-{round}-{at}")).collect();
        for (client, name) in clients.iter_mut().zip(&names) {
            client.send(get(name, "&way=after&wait=50"));
        }
        thread::sleep(MOMENT);
        mortals.kill_all();
        // And somebody comes while nobody is there.
        let mut late = mortals.client();
        expect_usable(&mut late);
        for (client, name) in clients.iter_mut().zip(&names) {
            expect(&client.answer(), name, 10);
            expect_usable(client);
        }
    }
    mortals.expect_nothing_left();
}

#[test]
fn a_client_that_has_said_its_last_still_gets_its_answers() {
    let mortals = Mortals::start("half-closed", "");
    for way in ["now", "after", "later"] {
        let name = format!("half-{way}");
        let mut client = mortals.client();
        client.send(get(&name, &format!("&wait=150&way={way}")));
        client.send(get(&name, ""));
        client.half_close();
        mortals.wait_for(&name, 1);
        mortals.kill_all();
        let heard = client.answers();
        assert_eq!(heard.len(), 2, "{name}");
        expect(&heard[0], &name, 10);
        expect(&heard[1], &name, 10);
    }
    // Nothing is answered that is not whole.
    for bytes in ["GET / HT".to_owned(), post("half", "", "abc")] {
        let mut client = mortals.client();
        client.send(&bytes[..bytes.len() - 1]);
        thread::sleep(MOMENT);
        process::freeze(&mortals.server.workers());
        client.half_close();
        mortals.kill_all();
        assert_eq!(client.rest(), (vec![], End::Clean));
    }
    assert_eq!(mortals.asked("half"), 0);
    mortals.expect_nothing_left();
}

#[test]
fn clients_that_vanish_are_forgotten() {
    let mortals = Mortals::start("vanish", "");
    for request in [
        get("gone", "&way=after&wait=300"),
        get("gone", "&way=later&wait=300"),
        post("gone", "&way=after&wait=300", ""),
        "GET / HT".to_owned(),
        get("gone", "&size=9000000"),
        String::new(),
    ] {
        for before in [true, false] {
            let mut client = Client::open_narrow(mortals.server.place());
            client.send(&request);
            thread::sleep(MOMENT);
            if before {
                process::freeze(&mortals.server.workers());
                client.vanish();
                mortals.kill_all();
            } else {
                mortals.kill_all();
                client.vanish();
            }
            expect_usable(&mut mortals.client());
        }
    }
    mortals.expect_nothing_left();
}

#[test]
fn a_request_may_come_byte_by_byte_each_to_another_worker() {
    let mortals = Mortals::start("bytes", "workers=2");
    let mut client = mortals.client();
    let body = post("bytes", "&again=yes", "body");
    let request = body + &last(get("bytes", ""));
    let start = Instant::now();
    for (at, byte) in request.as_bytes().iter().enumerate() {
        client.send([*byte]);
        if at % 3 == 0 && start.elapsed() < Duration::from_secs(5) {
            mortals.kill_all();
        }
    }
    let heard = client.answers();
    assert_eq!(heard.len(), 2);
    let mut first = answer::body("bytes", 10);
    first.extend(b"body");
    assert_eq!(heard[0].body, first);
    expect(&heard[1], "bytes", 10);
    mortals.expect_nothing_left();
}

/// The kernel does not count what goes through such a socket, so only what
/// stands still can go on.
#[test]
fn over_a_unix_socket_the_idle_stay_and_the_others_end() {
    let mortals = Mortals::start("unix", "listen=unix:SOCKET");
    let mut idle = mortals.client();
    expect_usable(&mut idle);

    let mut begun = mortals.client();
    begun.send(get("begun", "&way=after&wait=300"));
    mortals.wait_for("begun", 1);
    let mut half = mortals.client();
    half.send("GET / HT");
    let mut stuck = mortals.client();
    stuck.send(get("stuck", "&size=3000000"));
    stuck.until(b"\r\n\r\n");
    thread::sleep(MOMENT);
    mortals.kill_all();
    expect_refusal(&mut begun);
    assert_eq!(mortals.asked("begun"), 1);
    let (bytes, _) = half.rest();
    assert_eq!(bytes, b"");
    let (bytes, _) = stuck.rest();
    assert!(bytes.len() < 3_000_000);

    expect_usable(&mut idle);
    drop(idle);
    mortals.expect_nothing_left();
}
