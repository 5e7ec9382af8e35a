//! What a system may refuse: by a filter of system calls, as container
//! runtimes and hardened units have one, or by how it is set up. Whatever can
//! be done without is done without, and one line says so.

#![allow(clippy::unwrap_used, reason = "what goes wrong fails the test")]

mod common;

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use common::http::Connection;
use common::load::Crowd;
use common::server::{Ended, Server, handoff, run};
use common::{Scratch, has_tool, process, skipped, wait_until};

const EPERM: i32 = 1;
const EINVAL: i32 = 22;
const ENOSYS: i32 = 38;

/// `tests/programs/refuse.c`; `None` where it cannot be had, which is said.
fn refuser() -> Option<&'static PathBuf> {
    static BUILT: OnceLock<Option<PathBuf>> = OnceLock::new();
    let build = || {
        if !has_tool("cc") {
            return None;
        }
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        let new = folder.join(format!("refuse-{}", std::process::id()));
        let program = folder.join("refuse");
        let source = "tests/programs/refuse.c";
        let built = Command::new("cc")
            .args(["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-o"])
            .arg(&new)
            .arg(format!("{}/{source}", env!("CARGO_MANIFEST_DIR")))
            .status();
        assert!(built.unwrap().success());
        fs::rename(new, &program).unwrap();
        let allowed = Command::new(&program)
            .args(["setgroups", "1", "/bin/true"])
            .status();
        if allowed.unwrap().code() == Some(77) {
            skipped("no filter of system calls may be installed here");
            return None;
        }
        Some(program)
    };
    BUILT.get_or_init(build).as_ref()
}

/// The same command where the kernel answers that call so.
fn refused(call: &str, errno: i32, command: &Command) -> Option<Command> {
    let mut filtered = Command::new(refuser()?);
    filtered
        .args([call, &errno.to_string()])
        .arg(command.get_program())
        .args(command.get_args());
    Some(filtered)
}

fn serve() -> Command {
    handoff("serve --listen 127.0.0.1:0 --workers 1")
}

/// The same command where that call does not return, in whoever calls it.
fn held_up(call: &str, command: &Command) -> Option<Command> {
    let mut filtered = Command::new(refuser()?);
    filtered
        .args([call, "wait"])
        .arg(command.get_program())
        .args(command.get_args());
    Some(filtered)
}

/// Fails unless a server serves where that is refused, replaces a worker that
/// is killed, and stops, with one line that names the call.
fn expect_service(call: &str, command: Command, consequence: &str) {
    let mut server = Server::start(command);
    let old = server.ask_worker();
    process::signal("KILL", &[old]);
    wait_until("another worker serves", || server.ask_worker() != old);
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0), "{}", server.log());
    let log = server.log();
    let warnings = log.lines().filter(|line| line.contains(call));
    let warnings: Vec<&str> = warnings.collect();
    assert_eq!(warnings.len(), 1, "{log}");
    assert!(warnings[0].contains(consequence), "{log}");
}

#[test]
fn what_can_be_done_without_is_done_without_and_said() {
    for (call, consequence) in [
        ("setrlimit", "fewer than 512"),
        ("getrlimit", "fewer than 1024"),
        ("close_range", "one by one"),
        ("memfd_create", "without salvage"),
    ] {
        for errno in [EPERM, ENOSYS] {
            // So that there is something to raise.
            let mut limited = Command::new("sh");
            let serve = serve();
            limited
                .args(["-c", "ulimit -S -n 512; exec \"$@\"", "sh"])
                .arg(refuser().map_or("".as_ref(), |path| path.as_os_str()))
                .args([call, &errno.to_string()])
                .arg(serve.get_program())
                .args(serve.get_args());
            if refuser().is_none() {
                return;
            }
            expect_service(call, limited, consequence);
        }
    }
}

/// As where `struct tcp_info` has zeros: gVisor's.
#[test]
fn a_kernel_that_does_not_count_is_served_on_without_salvage() {
    let Some(command) = refused("TCP_INFO", 0, &serve()) else { return };
    expect_service("TCP_INFO", command, "without salvage");
}

/// Before Linux 6.3, that is.
#[test]
fn a_kernel_that_does_not_know_the_seal_against_execution_is_no_lack() {
    let refusal = refused("MFD_NOEXEC_SEAL", EINVAL, &serve());
    let Some(command) = refusal else { return };
    let server = Server::start(command);
    server.ask("/");
    assert!(!server.log().contains("WARN"), "{}", server.log());
}

#[test]
fn descriptors_do_not_leak_where_they_are_closed_one_by_one() {
    let Some(command) = refused("close_range", EPERM, &serve()) else {
        return;
    };
    // One that the master was started with, and nobody else is to have.
    let mut inherits = Command::new("sh");
    inherits
        .args(["-c", "exec 9</dev/zero; exec \"$@\"", "sh"])
        .arg(command.get_program())
        .args(command.get_args());
    let server = Server::start(inherits);
    let worker = server.ask_worker();
    let has_it = |pid| {
        let open = process::descriptors(pid);
        open.iter().any(|(_, to)| to == "/dev/zero")
    };
    assert!(has_it(server.pid()) && !has_it(worker));

    let open = || process::descriptors(server.pid()).len();
    let before = open();
    let crowd = Crowd::hold(server.place(), 100, "/");
    wait_until("all are answered", || crowd.answered() == 100);
    assert!(open() > before + 50);
    crowd.release().expect_all_answered();
    wait_until("the copies are closed", || open() <= before);
}

/// One line, which names what was refused.
fn expect_refusal(call: &str, ended: &Ended) {
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_eq!(ended.err.lines().count(), 1, "{ended:?}");
    assert!(ended.err.contains(call), "{ended:?}");
}

#[test]
fn what_nobody_can_do_without_ends_the_start_and_is_named() {
    for command in [serve(), handoff("run --workers 1 -- sleep 9")] {
        for call in ["pidfd_open", "signalfd"] {
            for errno in [EPERM, ENOSYS] {
                let Some(command) = refused(call, errno, &command) else {
                    return;
                };
                expect_refusal(call, &run(command));
            }
        }
    }
}

#[test]
fn who_cannot_be_sent_a_signal_in_one_way_is_sent_it_in_another() {
    let words = "run --workers 1 --boot-timeout 0.1 --grace 0 -- sleep 60";
    let command = refused("pidfd_send_signal", EPERM, &handoff(words));
    let Some(command) = command else { return };
    let mut server = Server::start_said(command, "worker 1: pid");
    wait_until("it counts as ready", || {
        process::children(server.pid()).len() == 1
    });
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0), "{}", server.log());
    let log = server.log();
    assert!(log.contains("was killed by SIGTERM"), "{log}");
}

/// Every worker on its way to its program: it looks its folder up.
#[test]
fn workers_on_a_file_system_that_is_dead_do_not_hold_up_the_master() {
    let folder = Scratch::new("held-up");
    let control = folder.path("control");
    let control = control.display();
    for words in ["serve --listen 127.0.0.1:0", "run"] {
        let mut command = handoff(&format!(
            "{words} --workers 8 --boot-timeout 3 --control {control}"
        ));
        if words == "run" {
            command.args(["--", "sleep", "60"]);
        }
        let Some(command) = held_up("chdir", &command) else { return };
        let mut server = Server::start_said(command, "worker 1: pid");
        // It answers while none of them has got any further, and they are
        // given up like all that are not ready in time.
        let status = run(handoff(&format!("status --control {control}")));
        let log = server.log();
        assert_eq!(status.code, Some(0), "{status:?}\n{log}");
        assert_eq!(log.matches("is not executed yet").count(), 8, "{log}");
        assert!(!log.contains("is killed"), "{log}");
        wait_until("it is given up", || {
            server.log().contains("worker 8 is killed")
        });
        server.signal("TERM");
        server.wait();
        wait_until("nobody is left", || server.processes().is_empty());
    }
}

/// Whoever asked again and again would be deaf to everything else.
#[test]
fn who_may_not_accept_pauses_and_obeys() {
    let Some(command) = refused("accept4", EPERM, &serve()) else { return };
    let mut server = Server::start(command);
    // It is handed over to nobody, and waits in the kernel's queue.
    let _client = Connection::open(server.place()).unwrap().send(b"GET ");
    let told = "accepting pauses: accept4";
    wait_until("it is told", || server.log().contains(told));
    server.signal("INT");
    server.signal("TERM");
    server.wait();
    assert!(server.log().matches(told).count() < 3, "{}", server.log());
}

/// As in a user namespace, or without CAP_SETGID.
#[test]
fn a_user_that_nobody_can_become_is_one_line_and_no_mistyped_word() {
    if !common::users::is_root() {
        return;
    }
    for words in ["serve --listen 127.0.0.1:0", "run"] {
        let program = words == "run";
        let mut command = handoff(&format!("{words} --user root"));
        if program {
            command.args(["--", "sleep", "9"]);
        }
        let Some(command) = refused("setgroups", EPERM, &command) else {
            return;
        };
        let ended = run(command);
        expect_refusal("setgroups", &ended);
        assert!(ended.err.contains("--user"), "{ended:?}");
    }
}

#[test]
fn where_no_quota_can_be_seen_the_number_of_workers_is_told_with_its_reason() {
    let without = ["unshare", "--mount", "sh", "-c"];
    let hide = "umount -R /sys/fs/cgroup && exec \"$@\"";
    let command = |words: &[&str]| {
        let mut command = Command::new(without[0]);
        command.args(&without[1..]).args([hide, "sh"]).args(words);
        command
    };
    let possible = || command(&["true"]).output().unwrap().status.success();
    if !has_tool("unshare") || !possible() {
        return skipped("cgroups cannot be hidden here");
    }
    for (workers, told) in [("", true), ("--workers 2", false)] {
        let words = format!("serve --listen 127.0.0.1:0 {workers}");
        let handoff = env!("CARGO_BIN_EXE_handoff");
        let words: Vec<&str> =
            [handoff].into_iter().chain(words.split_whitespace()).collect();
        let server = Server::start(command(&words));
        server.ask("/");
        let log = server.log();
        assert_eq!(log.contains("no cgroup is mounted"), told, "{log}");
    }
}
