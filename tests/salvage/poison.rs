//! Requests that kill every worker that is asked, and their neighbours.

use std::thread;
use std::time::{Duration, Instant};

use crate::common::process;
use crate::peer::Client;
use crate::{Mortals, expect, expect_refusal, expect_usable, get, post};

/// More than any request gets.
const BULLETS: usize = 20;

/// Neighbours that are in hand, each with a name of its own.
struct Neighbours {
    names: Vec<String>,
    clients: Vec<Client>,
    idle: Vec<Client>,
}

impl Neighbours {
    /// Each waits for so many milliseconds.
    fn ask(mortals: &Mortals, count: usize, wait: u64) -> Neighbours {
        let names: Vec<String> =
            (0..count).map(|at| format!("innocent-{at}")).collect();
        let mut clients: Vec<Client> =
            names.iter().map(|_| mortals.client()).collect();
        let idle = (0..5).map(|_| mortals.client()).collect();
        let options = format!("&way=after&wait={wait}");
        for (client, name) in clients.iter_mut().zip(&names) {
            client.send(get(name, &options));
            mortals.wait_for(name, 1);
        }
        Neighbours { names, clients, idle }
    }

    /// Fails unless each is answered, and may ask more.
    fn expect_well(mut self) {
        for (client, name) in self.clients.iter_mut().zip(&self.names) {
            expect(&client.answer(), name, 10);
            expect_usable(client);
        }
        self.idle.iter_mut().for_each(expect_usable);
    }
}

#[test]
fn poison_alone_costs_three_workers_and_is_refused() {
    let mortals = Mortals::start("alone", "");
    for how in ["ABRT", "SEGV", "exit"] {
        let name = format!("poison-{how}");
        mortals.load(&name, BULLETS);
        let mut client = mortals.client();
        client.send(get(&name, &format!("&die={how}")));
        expect_refusal(&mut client);
        assert_eq!(mortals.asked(&name), 3, "{how}");
        assert_eq!(mortals.bullets(&name), BULLETS - 3);
        // Who it was and what, for whoever reads the log.
        let log = mortals.server.log();
        let refused = log.lines().rfind(|line| line.contains("(502)"));
        let refused = refused.expect("a line of it");
        assert!(refused.contains(": \"GET /"), "{refused}");
        assert!(refused.contains(&name), "{refused}");
        assert!(refused.contains("HTTP/1.1\" from 127.0.0.1:"), "{refused}");
        let mut client = mortals.client();
        expect_usable(&mut client);
    }
    mortals.expect_nothing_left();
}

/// A master that has nothing to do looks at its counters once a second.
#[test]
fn suspects_are_tried_at_once_after_a_quiet_time() {
    let mortals = Mortals::start("quiet", "");
    mortals.load("poison", BULLETS);
    let mut client = mortals.client();
    expect_usable(&mut client);
    thread::sleep(Duration::from_millis(2700));
    let start = Instant::now();
    client.send(get("poison", "&die=ABRT"));
    expect_refusal(&mut client);
    let time = start.elapsed();
    assert!(time < Duration::from_millis(1500), "{time:?}");
}

#[test]
fn poison_that_says_it_may_be_asked_again_is_refused_too() {
    let mortals = Mortals::start("again", "");
    mortals.load("poison", BULLETS);
    let mut client = mortals.client();
    client.send(post("poison", "&again=yes&die=ABRT", ""));
    expect_refusal(&mut client);
    assert_eq!(mortals.asked("poison"), 3);
}

#[test]
fn what_comes_behind_poison_on_its_connection_is_never_asked() {
    let mortals = Mortals::start("behind-poison", "");
    mortals.load("poison", BULLETS);
    let mut client = mortals.client();
    client.send(get("before", "") + &get("poison", "&die=ABRT"));
    client.send(get("behind", ""));
    expect(&client.answer(), "before", 10);
    expect_refusal(&mut client);
    assert_eq!(mortals.asked("behind"), 0);
}

#[test]
fn neighbours_of_poison_are_answered_and_none_is_blamed() {
    for workers in [1, 2] {
        let name = format!("neighbours-{workers}");
        let mortals = Mortals::start(&name, &format!("workers={workers}"));
        let neighbours = Neighbours::ask(&mortals, 6, 60);
        mortals.load("poison", BULLETS);
        let mut client = mortals.client();
        client.send(get("poison", "&die=ABRT"));
        expect_refusal(&mut client);
        assert!(mortals.asked("poison") <= 4);
        neighbours.expect_well();
        mortals.expect_nothing_left();
    }
}

#[test]
fn two_poisons_are_told_apart_from_their_neighbours() {
    let mortals = Mortals::start("two", "");
    let neighbours = Neighbours::ask(&mortals, 4, 200);
    let mut poisons = Vec::new();
    for name in ["first", "second"] {
        mortals.load(name, BULLETS);
        let mut client = mortals.client();
        client.send(get(name, "&die=ABRT&way=after&wait=500&at=100000"));
        mortals.wait_for(name, 1);
        poisons.push(client);
    }
    neighbours.expect_well();
    for client in &mut poisons {
        expect_refusal(client);
    }
    mortals.expect_nothing_left();
}

/// The worker is killed from outside, or goes in peace, each time that it is
/// asked this: as by an OOM killer. Nobody tells who is guilty of that.
#[test]
fn poison_that_kills_from_outside_is_refused_and_convicts_nobody_else() {
    for how in ["KILL", "done"] {
        let mortals = Mortals::start(&format!("outside-{how}"), "");
        let neighbours = Neighbours::ask(&mortals, 6, 60);
        mortals.load("poison", BULLETS);
        let mut client = mortals.client();
        client.send(get("poison", &format!("&die={how}")));
        neighbours.expect_well();
        expect_refusal(&mut client);
        assert!(mortals.asked("poison") <= 11);
        mortals.expect_nothing_left();
    }
}

#[test]
fn a_worker_that_hangs_is_replaced_and_its_clients_go_on() {
    let mortals = Mortals::start("hang", "hang=400");
    let neighbours = Neighbours::ask(&mortals, 4, 100);
    mortals.load("hang", 1);
    let mut client = mortals.client();
    client.send(get("hang", "&die=hang"));
    neighbours.expect_well();
    expect(&client.answer(), "hang", 10);
    // And one that is stopped from outside, which shows when somebody comes.
    process::freeze(&mortals.server.workers());
    client.send(get("waits", ""));
    let mut new = mortals.client();
    expect_usable(&mut new);
    expect(&client.answer(), "waits", 10);
}

/// Of a worker that leaves while its successor serves already, nobody is
/// started any more who could hear suspects first.
#[test]
fn suspects_of_a_worker_that_was_leaving_do_not_wait_for_long() {
    let mortals = Mortals::start("leaving-poison", "");
    let neighbours = Neighbours::ask(&mortals, 3, 900);
    mortals.load("poison", 1);
    let mut client = mortals.client();
    client.send(get("poison", "&way=after&wait=700&die=ABRT&at=600000"));
    mortals.wait_for("poison", 1);
    let old = mortals.server.workers();
    process::signal("TERM", &old);
    let start = Instant::now();
    expect(&client.answer(), "poison", 10);
    neighbours.expect_well();
    let time = start.elapsed();
    assert!(time < Duration::from_secs(5), "{time:?}");
    assert!(!process::lives(old[0]));
}

#[test]
fn a_panic_costs_its_own_client_alone() {
    let mortals = Mortals::start("panic", "");
    let old = mortals.server.workers();
    let neighbours = Neighbours::ask(&mortals, 6, 100);
    mortals.load("panic", 1);
    let mut client = mortals.client();
    client.send(post("panic", "&die=panic", ""));
    let answer = client.answer();
    assert_eq!((answer.status, mortals.asked("panic")), (500, 1));
    neighbours.expect_well();
    let mut client = mortals.client();
    expect_usable(&mut client);
    drop(client);
    mortals.expect_nothing_left();
    assert_ne!(mortals.server.workers(), old);
}
