//! Workers that go as they are told to: their connections stay.

use std::thread;
use std::time::Duration;

use crate::client::answers;
use crate::common::server::{Server, handoff, run};
use crate::common::{Scratch, process, wait_until};
use crate::peer::{Client, End};
use crate::{MOMENT, Mortals, expect, expect_usable, get, last, post};

/// Clients in every state that can be moved, or waited for.
struct Clients {
    idle: Vec<Client>,
    head: Client,
    body: Client,
    waiting: Client,
    posted: Client,
    ended: Client,
    round: usize,
}

impl Clients {
    fn come(mortals: &Mortals) -> Clients {
        let mut idle: Vec<Client> =
            (0..20).map(|_| mortals.client()).collect();
        idle[10..].iter_mut().for_each(expect_usable);
        Clients {
            idle,
            head: mortals.client(),
            body: mortals.client(),
            waiting: mortals.client(),
            posted: mortals.client(),
            ended: mortals.client(),
            round: 0,
        }
    }

    /// Something is in hand of all but the idle, and then the workers go.
    fn live_through(&mut self, mortals: &Mortals, change: impl FnOnce()) {
        self.round += 1;
        let name = format!("round-{}", self.round);
        let options = "&way=after&wait=300";
        self.head.send("GET /?name=head HT");
        self.body.send(&post("body", "", "abcdef")[..50]);
        self.waiting.send(get(&name, options));
        self.posted.send(post(&name, options, ""));
        self.ended.send(last(get(&name, options)));
        mortals.wait_for(&name, 3);
        change();
        for client in &mut self.idle {
            assert_eq!(client.glance(), None);
        }
        self.head.send("TP/1.1\r\nHost: a\r\n\r\n");
        self.body.send(&post("body", "", "abcdef")[50..]);
        expect(&self.head.answer(), "head", 10);
        assert_eq!(self.body.answer().body.len(), 16);
        expect(&self.waiting.answer(), &name, 10);
        expect(&self.posted.answer(), &name, 10);
        let heard = self.ended.answers();
        assert_eq!(heard.len(), 1);
        expect(&heard[0], &name, 10);
        self.ended = mortals.client();
        assert_eq!(mortals.asked(&name), 3, "nothing is asked twice");
        self.idle.iter_mut().for_each(expect_usable);
        for client in [&mut self.waiting, &mut self.posted] {
            expect_usable(client);
        }
    }
}

/// Waits until none of these lives, and so many others serve.
fn wait_for_others(server: &Server, old: &[u32], count: usize) {
    wait_until("others serve", || {
        let new = server.workers();
        new.len() == count && new.iter().all(|pid| !old.contains(pid))
    });
}

#[test]
fn three_reloads_close_nobody() {
    let mortals = Mortals::start("reload", "workers=2");
    let mut clients = Clients::come(&mortals);
    for _ in 0..3 {
        let old = mortals.server.workers();
        clients.live_through(&mortals, || mortals.server.signal("HUP"));
        wait_for_others(&mortals.server, &old, 2);
        clients.idle.iter_mut().for_each(expect_usable);
    }
    drop(clients);
    mortals.expect_nothing_left();
}

#[test]
fn a_worker_that_is_told_to_go_leaves_its_clients_to_the_others() {
    let mortals = Mortals::start("term", "workers=2");
    let mut clients = Clients::come(&mortals);
    for _ in 0..5 {
        let old = mortals.server.workers();
        clients.live_through(&mortals, || process::signal("TERM", &old));
        wait_for_others(&mortals.server, &old, 2);
    }
    drop(clients);
    mortals.expect_nothing_left();
}

#[test]
fn who_is_killed_while_it_gives_back_has_lost_nothing() {
    let mortals = Mortals::start("term-kill", "workers=2");
    let mut clients = Clients::come(&mortals);
    for round in 0..10 {
        let old = mortals.server.workers();
        process::signal("TERM", &old);
        thread::sleep(Duration::from_millis(round));
        process::signal("KILL", &old);
        clients.idle.iter_mut().for_each(expect_usable);
    }
    drop(clients);
    mortals.expect_nothing_left();
}

#[test]
fn workers_that_have_done_enough_are_replaced_under_their_clients() {
    let mortals = Mortals::start("recycle", "max-requests=10");
    let first = mortals.server.workers();
    let mut clients: Vec<Client> = (0..4).map(|_| mortals.client()).collect();
    for _ in 0..40 {
        clients.iter_mut().for_each(expect_usable);
        thread::sleep(Duration::from_millis(10));
    }
    wait_for_others(&mortals.server, &first, 1);
    clients.iter_mut().for_each(expect_usable);
    drop(clients);
    mortals.expect_nothing_left();
}

#[test]
fn scaling_down_and_up_moves_everybody() {
    let folder = Scratch::new("salvage-scale");
    let control = folder.path("control").display().to_string();
    let server = Server::serve(&format!("--workers 4 --control {control}"));
    server.wait_for_workers(4);
    let mut clients: Vec<Client> =
        (0..40).map(|_| Client::open(server.place())).collect();
    let ask = |client: &mut Client| {
        client.send("GET /echo?me HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.answer().body, b"me");
    };
    clients.iter_mut().for_each(ask);
    for count in [1, 3, 2, 4, 1] {
        for client in &mut clients[30..] {
            client.send("GET /sleep/100?me HTTP/1.1\r\nHost: a\r\n\r\n");
        }
        let words = format!("scale {count} --control {control}");
        assert_eq!(run(handoff(&words)).code, Some(0));
        for client in &mut clients[30..] {
            assert_eq!(client.answer().body, b"me");
        }
        wait_until("there are so many", || server.workers().len() == count);
        clients.iter_mut().for_each(ask);
    }
}

#[test]
fn a_new_master_gets_the_connections_of_the_old_one() {
    let mut mortals = Mortals::start("upgrade", "workers=2");
    let mut clients = Clients::come(&mortals);
    let mut long = mortals.client();
    let length = 8000;
    let body = "x".repeat(length);
    let request = post("long", "", &body);
    long.send(&request[..length]);
    thread::sleep(MOMENT);
    let server = &mortals.server;
    let log = || server.log();
    let upgrade = || {
        server.signal("USR2");
        wait_until("it is ready", || log().contains("is ready"));
    };
    clients.live_through(&mortals, upgrade);
    assert_eq!(mortals.server.wait().code(), Some(0));
    assert!(mortals.server.log().contains("came from the old master"));
    clients.idle.iter_mut().for_each(expect_usable);
    long.send(&request[length..]);
    assert_eq!(long.answer().body.len(), 10 + length);
    // What was salvaged once is so again.
    let masters = masters(&mortals.server);
    assert_eq!(masters.len(), 1);
    let workers: Vec<u32> =
        process::children(masters[0]).iter().map(|one| one.pid).collect();
    process::signal("KILL", &workers);
    clients.idle.iter_mut().for_each(expect_usable);
    expect_usable(&mut long);
    drop((clients, long));
    process::signal("TERM", &masters);
    wait_until("the new master is gone", || !process::lives(masters[0]));
}

/// Those that have workers.
fn masters(server: &Server) -> Vec<u32> {
    let mut masters = server.processes();
    masters.retain(|pid| !process::children(*pid).is_empty());
    masters
}

#[test]
fn a_worker_that_dies_under_an_old_master_leaves_its_clients_to_the_new() {
    let mut mortals = Mortals::start("upgrade-kill", "");
    let old = mortals.server.workers();
    let mut client = mortals.client();
    client.send(get("slow", "&way=after&wait=2000"));
    mortals.wait_for("slow", 1);
    mortals.server.signal("USR2");
    wait_until("it is ready", || mortals.server.log().contains("is ready"));
    thread::sleep(MOMENT);
    process::signal("KILL", &old);
    expect(&client.answer(), "slow", 10);
    expect_usable(&mut client);
    assert_eq!(mortals.asked("slow"), 2);
    assert_eq!(mortals.server.wait().code(), Some(0));
    drop(client);
    let masters = masters(&mortals.server);
    process::signal("TERM", &masters);
    wait_until("the new master is gone", || !process::lives(masters[0]));
}

/// The kernel does not count for them, but who gives back knows what it has.
#[test]
fn over_a_unix_socket_nobody_is_closed_either() {
    let mortals = Mortals::start("unix-term", "listen=unix:SOCKET");
    let mut idle = mortals.client();
    expect_usable(&mut idle);
    let mut half = mortals.client();
    let mut waiting = mortals.client();
    for round in 0..3 {
        half.send("GET /?name=half HT");
        let name = format!("unix-{round}");
        waiting.send(get(&name, "&way=after&wait=200"));
        mortals.wait_for(&name, 1);
        let old = mortals.server.workers();
        process::signal("TERM", &old);
        thread::sleep(4 * MOMENT);
        half.send("TP/1.1\r\nHost: a\r\n\r\n");
        expect(&half.answer(), "half", 10);
        expect(&waiting.answer(), &name, 10);
        wait_for_others(&mortals.server, &old, 1);
        expect_usable(&mut idle);
    }
}

#[test]
fn a_stop_tells_everybody_and_answers_what_is_in_hand() {
    let mut mortals = Mortals::start("stop", "workers=2");
    let mut idle = mortals.client();
    expect_usable(&mut idle);
    let mut waiting = mortals.client();
    waiting.send(get("slow", "&way=after&wait=300"));
    mortals.wait_for("slow", 1);
    mortals.server.signal("TERM");
    let (bytes, end) = waiting.rest();
    let heard = answers(&bytes, &[]);
    assert_eq!((heard.len(), end), (1, End::Clean));
    expect(&heard[0], "slow", 10);
    assert_eq!(idle.rest(), (vec![], End::Clean));
    assert_eq!(mortals.server.wait().code(), Some(0));
}
