//! Workers die, all of them, over and over; so does the master.

mod common;

use std::fs;
use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use common::http::{Connection, Lost, ask};
use common::load::{Crowd, Load};
use common::server::{Server, pid_in, program, run};
use common::{Scratch, at_some_pace, process, wait_until};

#[test]
fn a_killed_worker_is_replaced_and_only_what_it_had_in_hand_is_lost() {
    const CLIENTS: usize = 8;
    const KILLS: usize = 10;
    let server = Server::serve("--workers 2");
    server.wait_for_workers(2);
    let load = Load::start(server.place(), CLIENTS);
    for _ in 0..KILLS {
        let victim = server.ask_worker();
        process::signal("KILL", &[victim]);
        wait_until("it is replaced", || {
            let workers = server.workers();
            workers.len() == 2 && !workers.contains(&victim)
        });
        load.wait_for(40);
    }
    let tally = load.finish();
    assert_eq!(tally.unforgivable(), 0, "{tally:?}");
    // A client has one request in somebody's hands at a time.
    assert!(tally.lost() <= KILLS * CLIENTS, "{tally:?}");
}

#[test]
fn nobody_is_refused_or_forgotten_when_all_workers_are_killed_at_once() {
    const CLIENTS: usize = 8;
    const MASSACRES: usize = 4;
    let server = Server::serve("--workers 4");
    server.wait_for_workers(4);
    let load = Load::start(server.place(), CLIENTS);
    for _ in 0..MASSACRES {
        process::signal("KILL", &server.workers());
        load.wait_for(40);
        server.wait_for_workers(4);
    }
    let tally = load.finish();
    assert_eq!(tally.unforgivable(), 0, "{tally:?}");
    // They die one after the other, and a client may meet each of them.
    assert!(tally.lost() <= MASSACRES * 4 * CLIENTS, "{tally:?}");
}

#[test]
fn clients_wait_while_there_is_no_worker_at_all() {
    let server = Server::serve("--workers 2");
    let workers = server.wait_for_workers(2);
    process::freeze(&workers);
    let crowd = Crowd::ask(server.place(), 50, "/");
    crowd.wait_until_sent();
    assert_eq!(crowd.answered(), 0);
    process::signal("KILL", &workers);
    crowd.expect_all_answered();
}

#[test]
fn what_a_dead_worker_had_not_received_is_answered_by_others() {
    let server = Server::serve("--workers 2");
    let victim = server.wait_for_workers(2)[0];
    process::freeze(&[victim]);
    let crowd = Crowd::ask(server.place(), 40, "/");
    wait_until("the other has answered its half", || crowd.answered() == 20);
    process::signal("KILL", &[victim]);
    crowd.expect_all_answered();
    assert!(server.log().contains("20 connections"), "the log tells it");
}

#[test]
fn no_worker_outlives_its_master_and_the_port_is_free() {
    at_some_pace(|pace| {
        let mut server = Server::serve("--workers 4");
        let workers = server.wait_for_workers(4);
        let load = Load::start(server.place(), 4);
        server.signal("KILL");
        server.wait();
        let gone = || !workers.iter().any(|pid| process::lives(*pid));
        let after = wait_until("all workers are gone", gone);
        let address = server.place().address();
        TcpListener::bind(address).expect("a free port");
        load.finish();
        println!("the last worker was gone {after:?} after its master");
        assert!(after < pace * Duration::from_millis(50), "{after:?}");
        assert!(server.processes().is_empty());
    });
}

#[test]
fn a_worker_that_is_stuck_does_not_outlive_its_master_either() {
    let folder = Scratch::new("stuck");
    let words = folder.path("").display().to_string();
    let mut server = Server::start(program("probe", &words));
    let worker = server.ask_worker();
    let mut client = Connection::open(server.place()).unwrap();
    client.send(common::http::one_shot("/spin").as_bytes()).unwrap();
    let before = cpu(worker);
    wait_until("the worker is stuck", || {
        cpu(worker) >= before + Duration::from_millis(50)
    });
    server.signal("KILL");
    server.wait();
    // Of itself it would never be.
    wait_until("the worker is gone", || !process::lives(worker));
}

#[test]
fn a_panic_costs_its_request_a_500_and_nobody_else_anything() {
    let folder = Scratch::new("panic");
    let command = program("probe", &folder.path("").display().to_string());
    let server = Server::start(command);
    let worker = server.ask_worker();
    let mut idle = Connection::open(server.place()).unwrap();
    idle.get("/").unwrap();
    let in_hand = server.in_hand(4, Crowd::upload);

    let response = ask(server.place(), "/panic").unwrap();
    assert_eq!(response.status, 500);
    // Its replacement serves, and goes on with what it had in hand.
    wait_until("it is replaced", || server.ask_worker() != worker);
    in_hand.release().expect_all_answered();
    assert_eq!(idle.get("/").unwrap().status, 200);
    wait_until("the old worker is gone", || !process::lives(worker));
    let end = format!("pid {worker}, exited with status 1");
    wait_until("the log tells it", || server.log().contains(&end));
}

#[test]
fn a_worker_that_is_terminated_finishes_what_it_has() {
    let server = Server::serve("--workers 1 --no-salvage");
    let worker = server.ask_worker();
    let in_hand = server.in_hand(4, Crowd::upload);
    process::signal("TERM", &[worker]);
    wait_until("it is replaced", || server.ask_worker() != worker);
    assert!(process::lives(worker));
    for result in in_hand.release().finish() {
        let response = result.unwrap();
        assert!(response.status == 200 && response.closes());
    }
    let end = format!("pid {worker}, exited with status 0");
    wait_until("the log tells it", || server.log().contains(&end));
}

#[test]
fn no_request_is_lost_when_workers_are_terminated_under_load() {
    let server = Server::serve("--workers 2");
    server.wait_for_workers(2);
    let load = Load::start(server.place(), 8);
    for _ in 0..6 {
        let victim = server.ask_worker();
        process::signal("TERM", &[victim]);
        wait_until("it is gone", || !process::lives(victim));
    }
    let tally = load.finish();
    assert_eq!(tally.unforgivable() + tally.reset + tally.truncated, 0);
}

#[test]
fn when_no_worker_ever_becomes_ready_the_master_gives_up() {
    let folder = Scratch::new("stillborn");
    fs::write(folder.path("die"), "").unwrap();
    let words = format!("{} 4", folder.path("").display());
    let ended = run(program("probe", &words));
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let last = ended.err.lines().last().unwrap();
    assert!(last.contains("status 7"), "{last}");
    assert!((1..=12).contains(&starts(&folder)), "{ended:?}");
}

#[test]
fn a_crash_loop_burns_no_processor_and_ends_when_its_cause_does() {
    let folder = Scratch::new("loop");
    let words = format!("{} 4", folder.path("").display());
    let server = Server::start(program("probe", &words));
    let workers = server.wait_for_workers(4);
    fs::write(folder.path("die"), "").unwrap();
    let (starts_before, cpu_before) = (starts(&folder), cpu(server.pid()));
    let start = Instant::now();
    process::signal("KILL", &workers);
    let crowd = Crowd::ask(server.place(), 10, "/");
    thread::sleep(Duration::from_secs(5));
    let tries = starts(&folder) - starts_before;
    let used = cpu(server.pid()) - cpu_before;
    println!("{tries} starts, {used:?} in {:?}", start.elapsed());
    // Each slot may try once at once; after that one tries for all.
    assert!(tries <= 12, "{tries} starts in 5 s");
    assert!(used < Duration::from_millis(250), "{used:?} in 5 s");

    fs::remove_file(folder.path("die")).unwrap();
    crowd.expect_all_answered();
    server.wait_for_workers(4);
}

/// How often a worker of `probe` has been started.
fn starts(folder: &Scratch) -> usize {
    let file = fs::metadata(folder.path("starts"));
    file.map_or(0, |file| file.len() as usize)
}

fn cpu(pid: u32) -> Duration {
    process::stat(pid).expect("it lives").cpu
}

/// What a process has open, by kind: without what it was given by whoever has
/// started this test, who may be careless, and without `/dev/null`.
fn kinds_of_descriptors(pid: u32) -> Vec<String> {
    let given = process::descriptors(std::process::id());
    let is_given = |to: &String| given.iter().any(|(_, known)| known == to);
    let mut kinds: Vec<String> = process::descriptors(pid)
        .into_iter()
        .filter(|(number, to)| {
            *number > 2 && to != "/dev/null" && !is_given(to)
        })
        .map(|(_, to)| match to.strip_prefix("socket:") {
            Some(_) => "socket".to_owned(),
            None => to,
        })
        .collect();
    kinds.sort();
    kinds
}

/// 200 deaths; HANDOFF_TEST_DEATHS says another number.
#[test]
fn a_thousand_deaths_leak_no_descriptor_and_no_process() {
    let deaths = std::env::var("HANDOFF_TEST_DEATHS");
    let deaths: usize = deaths.map_or(200, |text| text.parse().unwrap());
    let server = Server::serve("--workers 4");
    server.wait_for_workers(4);
    let settled = || process::children(server.pid()).len() == 4;
    let descriptors = || kinds_of_descriptors(server.pid());
    // Two listeners, one of them for commands, four channels, and the copy of
    // a connection.
    let mut expected = vec!["anon_inode:[eventpoll]"];
    expected.extend(["anon_inode:[pidfd]"; 4]);
    expected.push("anon_inode:[signalfd]");
    expected.extend(["socket"; 7]);
    let mut survivor = Connection::open(server.place()).unwrap();
    let keeps = pid_in(&survivor.get("/worker").unwrap());
    let mut died = 0;
    while died < deaths {
        let victim = server.ask_worker();
        if victim != keeps {
            process::signal("KILL", &[victim]);
            died += 1;
        }
    }
    server.wait_for_workers(4);
    wait_until("no zombie is left, and no copy", || {
        settled() && descriptors() == expected
    });
    // Who had nothing to do with it has noticed nothing.
    assert_eq!(pid_in(&survivor.get("/worker").unwrap()), keeps);
}

#[test]
fn a_worker_has_no_descriptor_that_is_not_its_own() {
    let server = Server::serve("--workers 3 --listen [::1]:0");
    let mut workers = server.wait_for_workers(3);
    for _ in 0..5 {
        process::signal("KILL", &[server.ask_worker()]);
        workers = server.wait_for_workers(3);
    }
    server.signal("HUP");
    wait_until("all have been replaced", || {
        let now = server.workers();
        now.len() == 3 && !now.iter().any(|pid| workers.contains(pid))
    });
    let theirs = process::descriptors(server.pid());
    for worker in server.wait_for_workers(3) {
        let own = || {
            let mut open = process::descriptors(worker);
            let rest = open.split_off(3);
            assert_eq!(open[0], (0, "/dev/null".to_owned()));
            assert_eq!(open[1..3], theirs[1..3], "the master's output");
            rest.into_iter().map(|(_, to)| to).collect::<Vec<_>>()
        };
        wait_until("it has no client", || own().len() <= 4);
        let mut own = own();
        own.iter_mut().for_each(|to| {
            to.truncate(to.find(":[").map_or(to.len(), |colon| {
                if to.starts_with("socket") { colon } else { to.len() }
            }));
        });
        own.sort();
        let expected = [
            "anon_inode:[eventfd]", // answers from other threads
            "anon_inode:[eventpoll]",
            "anon_inode:[signalfd]",
            "socket", // its end of the channel
        ];
        assert_eq!(own, expected);
    }
}

#[test]
fn without_salvage_a_client_of_a_dead_worker_hears_of_it() {
    let server = Server::serve("--workers 1 --no-salvage");
    let worker = server.ask_worker();
    let mut client = Connection::open(server.place()).unwrap();
    client.get("/").unwrap();
    process::signal("KILL", &[worker]);
    wait_until("it is gone", || !process::lives(worker));
    let result = client.get("/").map(|response| response.status);
    assert_eq!(result, Err(Lost::Reset));
}
