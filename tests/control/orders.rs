//! Reload, scale, stop: done, waited for, and told when they are not.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::process::Command;

use crate::common::load::{Crowd, Load};
use crate::common::server::{Server, program, run};
use crate::common::{Scratch, process, wait_until};
use crate::{Controlled, command_at, end, exchange, expect_no_loss, start};
use serde_json::{Value, json};

#[test]
fn a_reload_is_waited_for_and_loses_nothing() {
    let controlled = Controlled::serve("reload", "--workers 2");
    let server = &controlled.server;
    let old = server.wait_for_workers(2);
    let load = Load::start(server.place(), 4);
    let said = controlled.done("reload");
    assert_eq!(said, "reload to generation 2 finished\n");
    // When it is said to be over, it is: only new ones are in rotation.
    let now = controlled.of_each("state");
    let generations = controlled.of_each("generation");
    for (state, generation) in now.iter().zip(&generations) {
        assert_eq!(generation == 2, state == "ready", "{now:?}");
    }
    let status = controlled.status();
    assert_eq!(status["master"]["generation"], 2);
    assert_eq!(status["master"]["phase"], "serving");
    assert_eq!(status["master"]["last_reload"], said.trim_end());
    expect_no_loss(load.finish());
    wait_until("the old ones are gone", || {
        !old.iter().any(|pid| process::lives(*pid))
    });
}

#[test]
fn whoever_asks_during_a_reload_waits_for_one_more_and_all_for_the_same() {
    let controlled = Controlled::waiting("reloads");
    let first = start(controlled.command("reload"));
    wait_until("the reload is under way", || {
        controlled.status()["master"]["phase"] == "reloading"
    });
    let mut more: Vec<UnixStream> =
        (0..4).map(|_| controlled.connect()).collect();
    for client in &mut more {
        client.write_all(b"{\"command\":\"reload\"}\n").unwrap();
    }
    // It stands in line behind them.
    controlled.status();
    fs::remove_file(controlled.folder.path("wait")).unwrap();
    assert_eq!(end(first).out, "reload to generation 2 finished\n");
    for client in more {
        let answer = exchange(client, b"");
        let told = answer.contains("reload to generation 3 finished");
        assert!(told, "{answer}");
    }
}

#[test]
fn a_release_that_dies_at_its_start_is_told_as_such() {
    let folder = Scratch::new("abandoned");
    let path = folder.path("control");
    let mut command =
        program("probe", &format!("{} 2", folder.path("").display()));
    command.env("PROBE_CONTROL", &path);
    let server = Server::start(command);
    let old = server.wait_for_workers(2);
    let load = Load::start(server.place(), 4);
    File::create(folder.path("die")).unwrap();
    let ended = run(command_at(&path, "reload"));
    assert_eq!((ended.code, &*ended.out), (Some(1), ""));
    assert_eq!(
        ended.err,
        "handoff: reload to generation 2 abandoned: worker 3 exited with \
         status 7\n"
    );
    let status = run(command_at(&path, "status --json")).out;
    let status: Value = serde_json::from_str(&status).unwrap();
    let last = status["master"]["last_reload"].as_str().unwrap();
    assert_eq!(format!("handoff: {last}\n"), ended.err);
    assert_eq!(status["master"]["ready"], 2);
    assert_eq!(status["master"]["generation"], 1);
    expect_no_loss(load.finish());
    assert!(old.iter().all(|pid| process::lives(*pid)));
    // The next release is better.
    fs::remove_file(folder.path("die")).unwrap();
    let ended = run(command_at(&path, "reload"));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(ended.out, "reload to generation 3 finished\n");
}

#[test]
fn a_release_that_is_no_program_is_told_as_such() {
    let folder = Scratch::new("release");
    let path = folder.path("control");
    let current = folder.path("current");
    symlink(env!("CARGO_BIN_EXE_handoff"), &current).unwrap();
    let mut command = Command::new(&current);
    let path_typed = path.display().to_string();
    command.args(["serve", "--listen", "127.0.0.1:0", "--workers", "1"]);
    command.args(["--control", &path_typed]);
    let server = Server::start(command);
    let worker = server.ask_worker();
    let swapped = folder.path("next");
    symlink("/etc/passwd", &swapped).unwrap();
    fs::rename(&swapped, &current).unwrap();
    let ended = run(command_at(&path, "reload"));
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_eq!(
        ended.err,
        "handoff: reload to generation 2 abandoned: worker 2 could not be \
         started: exec: Permission denied\n"
    );
    assert_eq!(server.ask_worker(), worker);
}

#[test]
fn a_stop_ends_a_wait_for_a_reload() {
    let controlled = Controlled::waiting("cut");
    let waiting = start(controlled.command("reload"));
    let again = start(controlled.command("reload"));
    wait_until("the reload is under way", || {
        controlled.status()["master"]["phase"] == "reloading"
    });
    controlled.done("stop");
    for child in [waiting, again] {
        let ended = end(child);
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.err.contains("stop"), "{ended:?}");
    }
}

#[test]
fn a_reload_that_lasts_is_waited_for_and_a_master_that_is_stopped_is_not() {
    let lasting = Controlled::waiting("lasting");
    let stopped = Controlled::waiting("stopped");
    let stopping = Controlled::serve("stopping", "--workers 1");
    stopping.wait_for_ready(1);
    let _in_hand = Crowd::upload(stopping.server.place(), 1);
    wait_until("it is in a worker's hands", || {
        stopping.of_each("open") == [json!(1)]
    });
    let orders = [
        start(lasting.command("reload")),
        start(stopped.command("reload")),
        start(stopping.command("stop")),
    ];
    for (controlled, phase) in [
        (&lasting, "reloading"),
        (&stopped, "reloading"),
        (&stopping, "stopping"),
    ] {
        wait_until("it is under way", || {
            controlled.status()["master"]["phase"] == phase
        });
    }
    let masters = [stopped.server.pid(), stopping.server.pid()];
    process::signal("STOP", &masters);
    let [lasting_order, stopped_order, stop_order] = orders;
    for mut order in [stopped_order, stop_order] {
        wait_until("it is given up", || order.try_wait().unwrap().is_some());
        let ended = end(order);
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.err.contains("has not answered"), "{ended:?}");
    }
    process::signal("CONT", &masters);
    // By then it has been asked more than once whether it lives.
    fs::remove_file(lasting.folder.path("wait")).unwrap();
    let ended = end(lasting_order);
    assert_eq!(ended.out, "reload to generation 2 finished\n", "{ended:?}");
}

#[test]
fn scaling_up_and_down_under_load_loses_nothing() {
    let controlled = Controlled::serve("scale", "--workers 2");
    let server = &controlled.server;
    controlled.wait_for_ready(2);
    let load = Load::start(server.place(), 6);
    let mut before = 2;
    for wanted in [6, 1, 4, 2] {
        let said = controlled.done(&format!("scale {wanted}"));
        let expected = format!("workers: {wanted} wanted, {before} before\n");
        assert_eq!(said, expected);
        before = wanted;
        controlled.wait_for_ready(wanted);
        assert_eq!(controlled.status()["master"]["wanted"], wanted);
        server.wait_for_workers(wanted);
        load.wait_for(100);
    }
    expect_no_loss(load.finish());
    assert_eq!(server.workers().len(), 2);
}

#[test]
fn a_stop_is_waited_for_and_the_file_is_gone() {
    let mut controlled = Controlled::serve("stop", "--workers 2");
    controlled.wait_for_ready(2);
    let in_hand = Crowd::upload(controlled.server.place(), 2);
    wait_until("they are in a worker's hands", || {
        controlled.of_each("open") == [json!(1), json!(1)]
    });
    let mut stop = start(controlled.command("stop"));
    wait_until("it stops", || {
        controlled.status()["master"]["phase"] == "stopping"
    });
    assert!(stop.try_wait().unwrap().is_none(), "it waits");
    let in_hand = in_hand.release();
    let ended = end(stop);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(ended.out, "stopping\n");
    // It is over: not about to be.
    assert!(!process::lives(controlled.server.pid()));
    assert!(!controlled.path().exists());
    assert_eq!(controlled.server.wait().code(), Some(0));
    in_hand.expect_all_answered();
    let ended = controlled.tell("status");
    assert_eq!(ended.code, Some(1));
    assert!(ended.err.contains("no master at"), "{ended:?}");
}
