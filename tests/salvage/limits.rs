//! When there is too little of something, and what is left behind.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use crate::common::http::Lost;
use crate::common::load::Load;
use crate::common::server::{Server, handoff, program, with_descriptors};
use crate::common::{Scratch, process, wait_until};
use crate::peer::{Client, End};
use crate::{MOMENT, Mortals, expect, expect_usable, get};

/// Resident memory of a process, in KiB.
fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.unwrap().trim().trim_end_matches(" kB").parse().unwrap()
}

/// Fails if it burns a processor while it has nothing to do.
fn expect_rest(pid: u32) {
    let cpu = || process::stat(pid).unwrap().cpu;
    let (before, time) = (cpu(), Duration::from_millis(500));
    thread::sleep(time);
    let used = cpu() - before;
    assert!(used < time / 4, "{pid} has used {used:?} in {time:?}");
}

#[test]
fn a_storm_of_deaths_loses_nothing_and_leaves_nothing() {
    let server = Server::serve("--workers 2");
    server.wait_for_workers(2);
    let mut idle: Vec<Client> =
        (0..20).map(|_| Client::open(server.place())).collect();
    let load = Load::start(server.place(), 8);
    let master = server.pid();
    let mut deaths = 0;
    let mut kill = |count: usize| {
        for _ in 0..count {
            let workers = server.workers();
            if let Some(worker) = workers.get(deaths % 2) {
                process::signal("KILL", &[*worker]);
            }
            deaths += 1;
            thread::sleep(Duration::from_millis(20));
        }
    };
    kill(20);
    let warm = resident(master);
    kill(80);
    let tally = load.finish();
    assert_eq!(tally.lost() + tally.unforgivable(), 0, "{tally:?}");
    let grown = resident(master).saturating_sub(warm);
    assert!(grown < 8 << 10, "the master has grown by {grown} KiB");
    for client in &mut idle {
        assert_eq!(client.glance(), None);
        client.send("GET /echo?idle HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.answer().body, b"idle");
    }
    drop(idle);

    // What is open now is what a server has that nothing ever happened to.
    let fresh = Server::serve("--workers 2");
    fresh.wait_for_workers(2);
    let open = |server: &Server| {
        let workers = server.workers();
        let all = [server.pid()].into_iter().chain(workers);
        let mut counts: Vec<usize> =
            all.map(|pid| process::descriptors(pid).len()).collect();
        counts[1..].sort_unstable();
        counts
    };
    wait_until("nothing is left open", || open(&server) == open(&fresh));
    let zombies = process::children(master);
    assert!(zombies.iter().all(|child| child.state != 'Z'), "{zombies:?}");
}

#[test]
fn a_long_life_uses_the_same_slots_and_shared_buffers_again() {
    let mortals = Mortals::start("long-life", "");
    let worker = mortals.server.workers()[0];
    let live = |count: usize| {
        for _ in 0..count {
            // One of each: it stays, it leaves in the middle, it ends.
            let mut client = mortals.client();
            expect_usable(&mut client);
            client.send("GET / HT");
            let mut client = mortals.client();
            client.send(crate::last(get("ends", "&size=20000")));
            assert_eq!(client.answers().len(), 1);
        }
    };
    live(100);
    let pids = [worker, mortals.server.pid()];
    let before = pids.map(resident);
    live(1000);
    let after = pids.map(resident);
    for (before, after) in before.iter().zip(after) {
        assert!(after < before + 2048, "{before} KiB became {after}");
    }
    mortals.expect_nothing_left();
    assert_eq!(mortals.server.workers(), [worker]);
}

#[test]
fn without_salvage_connections_end_with_their_worker() {
    let mortals = Mortals::start("off", "salvage=off");
    let mut idle = mortals.client();
    expect_usable(&mut idle);
    let mut waiting = mortals.client();
    waiting.send(get("slow", "&way=after&wait=300"));
    mortals.wait_for("slow", 1);
    mortals.kill_all();
    for client in [&mut idle, &mut waiting] {
        let (bytes, _) = client.rest();
        assert_eq!(bytes, b"");
    }
    let mut client = mortals.client();
    expect_usable(&mut client);
    assert_eq!(mortals.asked("slow"), 1);
    // One that goes in peace still answers what is in hand.
    client.send(get("last", "&way=after&wait=200"));
    mortals.wait_for("last", 1);
    process::signal("TERM", &mortals.server.workers());
    let answer = client.answer();
    expect(&answer, "last", 10);
    assert!(answer.closes());
    assert_eq!(client.rest(), (vec![], End::Clean));
    drop((idle, waiting));
    mortals.expect_nothing_left();
}

/// More connections than the master keeps a copy of, and than it may have.
#[test]
fn with_few_descriptors_as_many_are_guarded_as_can_be() {
    let command = handoff("serve --listen 127.0.0.1:0 --workers 2");
    let server = Server::start(with_descriptors(80, &command));
    server.wait_for_workers(2);
    let ask = |client: &mut Client| {
        client.send("GET /echo?me HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.answer().body, b"me");
    };
    let mut clients: Vec<Client> = Vec::new();
    for _ in 0..70 {
        let mut client = Client::open(server.place());
        ask(&mut client);
        clients.push(client);
    }
    expect_rest(server.pid());
    // Those that nobody has a copy of end with their worker; the others stay.
    let old = server.workers();
    process::signal("KILL", &old);
    wait_until("others serve", || {
        let new = server.workers();
        new.len() == 2 && new.iter().all(|pid| !old.contains(pid))
    });
    thread::sleep(MOMENT);
    let all = clients.len();
    clients.retain_mut(|client| match client.glance() {
        None => true,
        Some(bytes) => {
            assert!(bytes.is_empty(), "{}", bytes.escape_ascii());
            false
        }
    });
    println!("{} of {all} have stayed", clients.len());
    // Of 80 descriptors there are some that the master needs itself.
    assert!((20..all).contains(&clients.len()));
    clients.iter_mut().for_each(ask);
    drop(clients);
    let mut client = Client::open(server.place());
    ask(&mut client);
    expect_rest(server.pid());
}

#[test]
fn a_crowd_that_does_not_fit_waits_its_turn_while_workers_die() {
    let command = handoff("serve --listen 127.0.0.1:0 --workers 2");
    let server = Server::start(with_descriptors(64, &command));
    let load = Load::start(server.place(), 100);
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(2) {
        let workers = server.workers();
        process::signal("KILL", &workers[..workers.len().min(1)]);
        thread::sleep(Duration::from_millis(100));
    }
    load.wait_for(100);
    let tally = load.finish();
    assert_eq!(tally.unforgivable(), 0, "{tally:?}");
    assert_eq!(tally.truncated, 0, "{tally:?}");
    assert!(process::lives(server.pid()));
    expect_rest(server.pid());
}

#[test]
fn a_worker_without_descriptors_is_helped_out_and_dies_in_peace() {
    let folder = Scratch::new("mortals-hoard");
    let words = format!("{} workers=2", folder.path("").display());
    let command = with_descriptors(100, &program("mortal", &words));
    let server = Server::start(command);
    let mut first = Client::open(server.place());
    first.send(get("hoard", "&hoard=yes"));
    expect(&first.answer(), "hoard", 10);
    let mut clients: Vec<Client> = Vec::new();
    for _ in 0..20 {
        let mut client = Client::open(server.place());
        expect_usable(&mut client);
        clients.push(client);
    }
    for worker in server.workers() {
        process::signal("KILL", &[worker]);
        clients.iter_mut().for_each(expect_usable);
        expect_usable(&mut first);
    }
    expect_rest(server.pid());
}

/// There are 64 inbound buffers for a worker, and more than that have
/// something in hand.
#[test]
fn more_snapshots_than_there_are_inbound_buffers_arrive_in_turns() {
    let mortals = Mortals::start("inbound", "");
    let mut clients: Vec<(Client, String)> = (0..300)
        .map(|at| (mortals.client(), format!("snapshot-{at}")))
        .collect();
    for (client, name) in &mut clients {
        let request = get(name, "&way=after&wait=50");
        client.send(&request[..request.len() - 2]);
    }
    thread::sleep(4 * MOMENT);
    mortals.kill_all();
    for (client, _) in &mut clients {
        client.send("\r\n");
    }
    thread::sleep(MOMENT);
    mortals.kill_all();
    for (client, name) in &mut clients {
        expect(&client.answer(), name, 10);
    }
    drop(clients);
    mortals.expect_nothing_left();
}

#[test]
fn a_killed_master_takes_everything_with_it() {
    let mut mortals = Mortals::start("master", "workers=2");
    let mut idle = mortals.client();
    expect_usable(&mut idle);
    mortals.server.signal("KILL");
    mortals.server.wait();
    let (bytes, _) = idle.rest();
    assert_eq!(bytes, b"");
    let lost = crate::common::http::ask(mortals.server.place(), "/");
    assert_eq!(lost.unwrap_err(), Lost::Refused);
}
