//! As process 1 of a container: whoever loses its parent there is ours.

#![allow(clippy::unwrap_used, reason = "what goes wrong fails the test")]

mod common;

use std::process::{Command, Stdio};

use common::load::Load;
use common::server::{Server, handoff, run};
use common::{Scratch, process, skipped, wait_until};

/// How a PID namespace is made here, and entered: options of unshare(1) and
/// nsenter(1). `None` if that is not permitted, which is said.
fn way() -> Option<(&'static [&'static str], &'static [&'static str])> {
    let as_root: (&[&str], &[&str]) = (&[], &[]);
    let unprivileged: (&[&str], &[&str]) = (
        &["--user", "--map-root-user"],
        &["--user", "--preserve-credentials"],
    );
    for way in [as_root, unprivileged] {
        let mut trial = Command::new("unshare");
        trial.args(way.0).args(["--pid", "--fork", "true"]);
        let tried = trial.stderr(Stdio::null()).status();
        if tried.is_ok_and(|status| status.success()) {
            return Some(way);
        }
    }
    skipped("no PID namespace may be made here");
    None
}

/// The pid, as we see it, of the master that unshare(1) has started.
fn master_of(server: &Server) -> u32 {
    process::children(server.pid())[0].pid
}

/// Starts a process in the master's namespace whose parent is gone at once,
/// so that it is the master's when it ends.
fn orphan(master: u32, options: &[&str]) {
    let status = Command::new("nsenter")
        .args(["--target", &master.to_string(), "--pid"])
        .args(options)
        .args(["sh", "-c", "sleep 0.05 &"])
        .status();
    assert!(status.unwrap().success());
}

#[test]
fn process_1_waits_for_strangers_and_for_its_own() {
    let Some((make, enter)) = way() else { return };
    let words = "serve --listen 127.0.0.1:0 --workers 2 --control off";
    let serve = handoff(words);
    let mut command = Command::new("unshare");
    command
        .args(make)
        .args(["--pid", "--fork", "--kill-child"])
        .arg(serve.get_program())
        .args(serve.get_args());
    let server = Server::start(command);
    wait_until("it serves", || {
        let master = process::children(server.pid());
        !master.is_empty() && process::children(master[0].pid).len() == 2
    });
    let master = master_of(&server);
    let load = Load::start(server.place(), 4);
    let workers = || -> Vec<u32> {
        let children = process::children(master);
        children.iter().map(|child| child.pid).collect()
    };
    for _ in 0..5 {
        let victims = workers();
        for _ in 0..4 {
            orphan(master, enter);
        }
        process::signal("KILL", &victims[..1]);
        wait_until("it is replaced, and all orphans are buried", || {
            let now = workers();
            now.len() == 2 && !now.contains(&victims[0])
        });
        load.wait_for(20);
    }
    let tally = load.finish();
    assert_eq!(tally.unforgivable(), 0, "{tally:?}");
    wait_until("the log tells of each", || {
        server.log().matches("was killed by SIGKILL").count() == 5
    });

    process::signal("TERM", &[master]);
    let mut server = server;
    assert_eq!(server.wait().code(), Some(0), "{}", server.log());
}

#[test]
fn a_master_that_cannot_be_seen_is_stopped_all_the_same() {
    let Some((make, _)) = way() else { return };
    let folder = Scratch::new("unseen");
    let control = folder.path("control").display().to_string();
    let words = format!("--workers 1 --control {control}");
    let mut server = Server::serve(&words);
    let stop = handoff(&format!("stop --control {control}"));
    let mut command = Command::new("unshare");
    command
        .args(make)
        .args(["--pid", "--fork"])
        .arg(stop.get_program())
        .args(stop.get_args());
    let ended = run(command);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(server.wait().code(), Some(0), "{}", server.log());
}
