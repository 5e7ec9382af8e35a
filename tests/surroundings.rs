//! What is around a worker: its environment, its folder, its program.

mod common;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use common::server::{Server, handoff, program, run};
use common::{Scratch, copy_program, process, wait_until};

#[test]
fn a_worker_does_not_see_what_was_meant_for_its_master() {
    let folder = Scratch::new("environment");
    let words = folder.path("").display().to_string();
    let mut command = program("probe", &words);
    command.stdin(Stdio::piped()).env("KEPT", "as it is").envs([
        ("LISTEN_FDS", "3"),
        ("LISTEN_PID", "1"),
        ("LISTEN_FDNAMES", "http"),
        ("NOTIFY_SOCKET", "/nowhere"),
        ("WATCHDOG_USEC", "1000000"),
        ("WATCHDOG_PID", "1"),
        ("NODE_CHANNEL_FD", "9"),
        ("NODE_CHANNEL_SERIALIZATION_MODE", "advanced"),
        ("NODE_UNIQUE_ID", "7"),
    ]);
    let server = Server::start(command);
    let environment = server.ask("/environment");
    let lines: Vec<&str> = environment.text().lines().collect();
    assert!(lines.contains(&"KEPT=as it is"), "{lines:?}");
    for line in lines {
        for prefix in [
            "LISTEN_",
            "NOTIFY_",
            "WATCHDOG_",
            "NODE_CHANNEL_",
            "NODE_UNIQUE_ID",
            "HANDOFF_WORKER_",
        ] {
            assert!(!line.starts_with(prefix), "{line}");
        }
    }
}

#[test]
fn a_worker_reads_nothing_from_the_masters_input() {
    let folder = Scratch::new("input");
    let words = folder.path("").display().to_string();
    let mut command = program("probe", &words);
    command.stdin(Stdio::piped());
    let server = Server::start(command);
    let worker = server.ask_worker();
    let input = fs::read_link(format!("/proc/{worker}/fd/0")).unwrap();
    assert_eq!(input.to_str(), Some("/dev/null"));
}

#[test]
fn a_folder_that_is_gone_is_named_as_the_reason() {
    let folder = Scratch::new("gone");
    let serve = handoff("serve --listen 127.0.0.1:0 --workers 1");
    let mut command = Command::new("sh");
    command
        .args(["-c", "rmdir \"$PWD\" && exec \"$@\"", "sh"])
        .arg(serve.get_program())
        .args(serve.get_args())
        .current_dir(&folder);
    let ended = run(command);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains("working directory"), "{ended:?}");
}

/// Some daemons ignore SIGCHLD, and what they start inherits that.
#[test]
fn a_death_is_heard_of_where_sigchld_was_ignored() {
    let serve = handoff("serve --listen 127.0.0.1:0 --workers 1");
    let mut command = Command::new("env");
    command
        .arg("--ignore-signal=CHLD")
        .arg(serve.get_program())
        .args(serve.get_args());
    let server = Server::start(command);
    let old = server.ask_worker();
    process::signal("KILL", &[old]);
    wait_until("the death is told", || server.log().contains("SIGKILL"));
    assert_ne!(server.ask_worker(), old);
}

/// A release is swapped as deployments do it: `current` leads to another
/// folder from one moment to the next.
#[test]
fn the_next_worker_is_of_the_release_that_is_current_then() {
    let folder = Scratch::new("releases");
    let handoff = Path::new(env!("CARGO_BIN_EXE_handoff"));
    for release in ["1", "2"] {
        let release = folder.path(release);
        fs::create_dir(&release).unwrap();
        copy_program(handoff, &release.join("handoff"));
    }
    let current = folder.path("current");
    symlink("1", &current).unwrap();
    let mut command = Command::new(current.join("handoff"));
    command
        .args(["serve", "--listen", "127.0.0.1:0", "--workers", "1"])
        .current_dir(&current)
        .env("PWD", &current);
    let server = Server::start(command);
    let seen = |pid: u32| {
        ["exe", "cwd"]
            .map(|link| fs::read_link(format!("/proc/{pid}/{link}")).unwrap())
    };
    let old = server.ask_worker();
    let first = folder.path("1");
    assert_eq!(seen(old), [first.join("handoff"), first]);

    symlink("2", folder.path("next")).unwrap();
    fs::rename(folder.path("next"), &current).unwrap();
    process::signal("KILL", &[old]);
    wait_until("the worker is gone", || !process::lives(old));
    let second = folder.path("2");
    assert_eq!(seen(server.ask_worker()), [second.join("handoff"), second]);
}

/// A build replaces the program's file; the old one is `(deleted)` then.
#[test]
fn a_program_that_was_replaced_on_disk_is_found_by_its_name() {
    let folder = Scratch::new("replaced");
    let path = folder.path("handoff");
    copy_program(Path::new(env!("CARGO_BIN_EXE_handoff")), &path);
    let mut command = Command::new(&path);
    command.args(["serve", "--listen", "127.0.0.1:0", "--workers", "1"]);
    let server = Server::start(command);
    let old = server.ask_worker();
    copy_program(&path, &folder.path("new"));
    fs::rename(folder.path("new"), &path).unwrap();
    process::signal("KILL", &[old]);
    wait_until("the worker is gone", || !process::lives(old));
    let new = server.ask_worker();
    assert_eq!(fs::read_link(format!("/proc/{new}/exe")).unwrap(), path);
}
