//! What cannot be done is said in one line, and nothing is left running.

mod common;

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use common::Scratch;
use common::server::{Ended, handoff, run};

/// One line of one sentence for a person, and no word to a program.
fn expect_one_line(words: &str, code: i32, ended: &Ended) {
    assert_eq!(ended.code, Some(code), "{words}: {ended:?}");
    assert_eq!(ended.out, "", "{words}");
    let one_line = ended.err.lines().count() == 1 && ended.err.len() > 20;
    assert!(one_line && ended.err.ends_with('\n'), "{words}: {ended:?}");
}

#[test]
fn what_was_typed_wrong_is_said_in_one_line_and_exits_with_2() {
    for words in [
        "",
        "sreve",
        "serve 8080",
        "serve --wrokers 4",
        "serve --workers",
        "serve --workers 0",
        "serve --workers 1000000",
        "serve --workers -1",
        "serve --workers four",
        "serve --workers 99999999999999999999999",
        "serve --schedule fastest",
        "serve --schedule",
        "serve --grace -1",
        "serve --grace 1e9",
        "serve --window 0",
        "serve --defer-accept maybe",
        "serve --log-level loud",
        "serve --log-level off --workers 0",
        "serve --listen 65536",
        "serve --listen 127.0.0.1",
        "serve --listen [::1:80",
        "serve --listen unix:",
        "serve --listen 8080 --listen 8080",
        "serve --max-head 1",
        "demo nothing",
        "restart",
        "run app.js",
        "run -p 80 -- node app.js",
    ] {
        expect_one_line(words, 2, &run(handoff(words)));
    }
    // The kernel has room for 107 bytes of a path: unix(7).
    let words = format!("serve --listen unix:/{}", "x".repeat(107));
    expect_one_line(&words, 2, &run(handoff(&words)));
}

#[test]
fn a_script_that_is_typed_as_a_program_is_told_apart_from_its_interpreter() {
    let folder = Scratch::new("script");
    let there = folder.path("app.js").display().to_string();
    std::fs::write(&there, "listen()").unwrap();
    for script in ["app.js", "./app.mjs", &there] {
        let words = format!("run --control off -- {script}");
        let ended = run(handoff(&words));
        expect_one_line(&words, 2, &ended);
        let advice = format!("type handoff run -- node {script}");
        assert!(ended.err.contains(&advice), "{ended:?}");
    }
}

#[test]
fn what_the_system_refuses_is_said_in_one_line_and_exits_with_1() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let folder = Scratch::new("refused");
    let words = [
        format!("serve --listen {port}"),
        format!("serve --listen 0 --listen {port}"),
        format!("serve --listen 127.0.0.1:{port} --workers 4"),
        "serve --listen 192.0.2.1:8080".to_owned(),
        format!("serve --listen unix:{}", folder.path("a/b").display()),
        "serve --listen unix:/proc/socket".to_owned(),
        format!("serve --listen unix:{}", folder.path("").display()),
    ];
    for words in words {
        expect_one_line(&words, 1, &run(handoff(&words)));
    }
}

#[test]
fn without_permission_it_says_so() {
    let folder = Scratch::new("forbidden");
    let closed = std::fs::Permissions::from_mode(0o555);
    std::fs::set_permissions(&folder, closed).unwrap();
    let path = folder.path("socket");
    let words = format!("serve --listen unix:{}", path.display());
    let mut command = handoff(&words);
    // Root may write anywhere, so it has to become somebody else.
    if std::fs::write(folder.path("probe"), "").is_ok() {
        let mut unprivileged = Command::new("setpriv");
        unprivileged
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(command.get_program())
            .args(command.get_args());
        command = unprivileged;
        if !common::has_tool("setpriv") {
            return;
        }
    }
    let ended = run(command);
    expect_one_line(&words, 1, &ended);
    assert!(ended.err.contains("not permitted"), "{ended:?}");
}

#[test]
fn a_socket_that_was_made_before_a_later_refusal_is_removed() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let folder = Scratch::new("half");
    let path = folder.path("socket");
    let words =
        format!("serve --listen unix:{} --listen {port}", path.display());
    expect_one_line(&words, 1, &run(handoff(&words)));
    assert!(!path.exists(), "the socket file is left behind");
}

#[test]
fn a_refusal_is_said_at_every_log_level() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    for level in ["error", "trace"] {
        let words = format!("serve --listen {port} --log-level {level}");
        expect_one_line(&words, 1, &run(handoff(&words)));
    }
}

#[test]
fn help_and_version_go_to_standard_output_and_exit_with_0() {
    for words in
        ["--help", "--version", "help", "version", "serve --help", "demo -h"]
    {
        let ended = run(handoff(words));
        assert_eq!(ended.code, Some(0), "{words}");
        assert!(ended.err.is_empty() && !ended.out.is_empty(), "{words}");
    }
    let mut full = handoff("--help");
    full.stdout(std::fs::File::create("/dev/full").unwrap());
    let ended = full.output().unwrap();
    let lines = String::from_utf8(ended.stderr).unwrap().lines().count();
    assert_eq!((ended.status.code(), lines), (Some(1), 1));
    let version = run(handoff("--version")).out;
    assert_eq!(version, concat!("handoff ", env!("CARGO_PKG_VERSION"), "\n"));
}
