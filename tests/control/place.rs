//! The socket as a file: made, found, taken over, gone.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::process::Command;

use crate::common::http::{Lost, ask};
use crate::common::load::{Crowd, Load};
use crate::common::server::{Server, handoff, program, run};
use crate::common::{Scratch, has_tool, process, skipped, wait_until};
use crate::{Controlled, as_nobody, command_at, end, expect_no_loss, start};
use serde_json::Value;

#[test]
fn the_file_is_gone_after_every_end_of_the_master() {
    for signal in ["TERM", "INT", "QUIT"] {
        let mut controlled = Controlled::serve(&format!("end-{signal}"), "");
        let meta = fs::metadata(controlled.path()).unwrap();
        assert!(meta.file_type().is_socket());
        assert_eq!(meta.permissions().mode() & 0o777, 0o600);
        controlled.server.signal(signal);
        controlled.server.wait();
        let left = fs::read_dir(&controlled.folder).unwrap().count();
        assert_eq!(left, 0, "{signal}");
    }
    // Nor does one that cannot start leave it.
    let folder = Scratch::new("end-start");
    let path = folder.path("control");
    let mut command =
        program("probe", &format!("{} 1", folder.path("").display()));
    command.env("PROBE_CONTROL", &path);
    File::create(folder.path("die")).unwrap();
    assert_eq!(run(command).code, Some(1));
    assert!(!path.exists());
}

#[test]
fn a_socket_that_is_another_masters_by_now_is_left_alone() {
    let mut controlled = Controlled::serve("theirs", "--workers 1");
    let away = controlled.folder.path("away");
    fs::rename(controlled.path(), &away).unwrap();
    let other = Server::serve(&format!(
        "--workers 1 --control {}",
        controlled.path().display()
    ));
    controlled.server.signal("TERM");
    controlled.server.wait();
    assert_eq!(controlled.status()["master"]["pid"], other.pid());
}

#[test]
fn a_place_that_cannot_be_had_is_an_error_and_changes_nothing() {
    let controlled = Controlled::serve("taken", "--workers 1");
    let file = controlled.folder.path("file");
    fs::write(&file, "precious").unwrap();
    let nowhere = controlled.folder.path("no/where");
    for path in [controlled.path(), file.clone(), nowhere] {
        let listener = controlled.folder.path("listener");
        let ended = run(handoff(&format!(
            "serve --listen unix:{} --control {}",
            listener.display(),
            path.display()
        )));
        assert_eq!(ended.code, Some(1), "{ended:?}");
        let why = format!("cannot make the control socket {}", path.display());
        assert!(ended.err.contains(&why), "{ended:?}");
        assert!(!listener.exists(), "the listener's file is left");
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
    assert_eq!(controlled.status()["master"]["pid"], controlled.server.pid());
}

#[test]
fn a_socket_of_a_killed_master_is_replaced() {
    let folder = Scratch::new("killed");
    let path = folder.path("control");
    let words = format!("--workers 1 --control {}", path.display());
    let mut first = Server::serve(&words);
    first.signal("KILL");
    first.wait();
    let ended = run(command_at(&path, "status"));
    assert_eq!(ended.code, Some(1));
    assert!(ended.err.contains("any more"), "{ended:?}");
    let second = Server::serve(&words);
    let status = run(command_at(&path, "status --json")).out;
    let status: Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status["master"]["pid"], second.pid());
}

#[test]
fn with_control_off_there_is_none_and_without_a_place_there_is_a_warning() {
    let folder = Scratch::new("off");
    let mut off = handoff("serve --listen 127.0.0.1:0 --control off");
    off.env("XDG_RUNTIME_DIR", folder.as_ref());
    let server = Server::start(off);
    server.ask("/");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
    assert!(!server.log().contains("control"), "{}", server.log());
    let Some(mut command) = as_nobody(&folder) else { return };
    let nowhere = folder.path("nowhere");
    command.args(["serve", "--listen", "127.0.0.1:0"]);
    command.env("XDG_RUNTIME_DIR", nowhere);
    let server = Server::start(command);
    server.ask("/");
    assert!(server.log().contains("no control socket"), "{}", server.log());
}

/// In a folder of its own, and as a user of its own if that can be: there may
/// be other masters on this machine.
#[test]
fn without_a_path_the_only_master_is_found_and_several_are_listed() {
    let folder = Scratch::new("found");
    fs::set_permissions(&folder, Permissions::from_mode(0o777)).unwrap();
    let command = |words: &str| {
        let mut command = as_nobody(&folder).unwrap_or_else(|| handoff(""));
        command.args(words.split_whitespace());
        command.env("XDG_RUNTIME_DIR", folder.as_ref());
        command
    };
    let serve =
        || Server::start(command("serve --listen 127.0.0.1:0 --workers 1"));
    let place = |server: &Server| {
        folder.path(&format!("handoff-{}.sock", server.pid()))
    };
    let none = end(start(command("status")));
    assert_eq!(none.code, Some(1), "{none:?}");
    assert!(none.err.contains("no master of yours"), "{none:?}");

    let mut first = serve();
    assert!(place(&first).exists(), "{}", first.log());
    let status = end(start(command("status --json")));
    assert_eq!(status.code, Some(0), "{status:?}");
    let status: Value = serde_json::from_str(&status.out).unwrap();
    assert_eq!(status["master"]["pid"], first.pid());

    let second = serve();
    for words in ["status", "stop", "reload", "scale 3"] {
        let ended = end(start(command(words)));
        assert_eq!((ended.code, &*ended.out), (Some(2), ""), "{ended:?}");
        assert_eq!(ended.err.matches('\n').count(), 1);
        for server in [&first, &second] {
            let path = place(server).display().to_string();
            assert!(ended.err.contains(&path), "{ended:?}");
        }
    }
    // One that is dead does not count.
    second.signal("KILL");
    drop(second);
    let ended = end(start(command("stop")));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(first.wait().code(), Some(0));
    assert!(!place(&first).exists());
}

#[test]
fn an_upgraded_master_takes_the_socket_over() {
    let mut controlled = Controlled::serve("upgraded", "--workers 1");
    controlled.wait_for_ready(1);
    let old = controlled.server.pid();
    let load = Load::start(controlled.server.place(), 2);
    controlled.server.signal("USR2");
    wait_until("the new master answers", || {
        controlled.status()["master"]["pid"] != old
    });
    assert_eq!(controlled.server.wait().code(), Some(0));
    expect_no_loss(load.finish());
    let status = controlled.status();
    assert_eq!(status["master"]["ready"], 1);
    controlled.done("stop");
    assert!(!controlled.path().exists());
    let refused = ask(controlled.server.place(), "/");
    assert!(refused.is_err_and(|lost| lost == Lost::Refused));
}

#[test]
fn a_number_that_the_next_master_would_not_hear_of_is_refused() {
    let mut controlled = Controlled::waiting("followed");
    let old = controlled.server.pid();
    controlled.server.signal("USR2");
    wait_until("the new master has been started", || {
        controlled.server.log().contains("upgrade: the new master has pid")
    });
    let ended = controlled.tell("scale 3");
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains("a new master is starting"), "{ended:?}");
    fs::remove_file(controlled.folder.path("wait")).unwrap();
    wait_until("the new master answers", || {
        controlled.status()["master"]["pid"] != old
    });
    assert_eq!(controlled.server.wait().code(), Some(0));
    controlled.done("scale 3");
    controlled.wait_for_ready(3);
    controlled.done("stop");
}

#[test]
fn an_old_master_that_only_finishes_is_not_found_any_more() {
    let folder = Scratch::new("outlived");
    let mut command = handoff("serve --listen 127.0.0.1:0 --workers 1");
    command.env("XDG_RUNTIME_DIR", folder.as_ref());
    let server = Server::start(command);
    let names = || -> Vec<String> {
        let entries = fs::read_dir(&folder).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name());
        names.map(|name| name.into_string().unwrap()).collect()
    };
    let old = format!("handoff-{}.sock", server.pid());
    assert_eq!(names(), [old.as_str()]);
    let in_hand = server.in_hand(1, Crowd::upload);
    server.signal("USR2");
    wait_until("only the new master is found", || {
        names().len() == 1 && names() != [old.as_str()]
    });
    assert!(process::lives(server.pid()));
    in_hand.release().expect_all_answered();
    let path = folder.path(&names()[0]);
    assert_eq!(run(command_at(&path, "stop")).code, Some(0));
    assert!(names().is_empty());
}

/// Names of the sockets in a folder, in their order.
fn sockets(folder: &Scratch) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap().flatten();
    let names = entries.map(|entry| entry.file_name().into_string().unwrap());
    let mut names: Vec<String> =
        names.filter(|name| name.ends_with(".sock")).collect();
    names.sort();
    names
}

/// A master with its socket where it puts it by itself, in this folder.
fn serve_in(folder: &Scratch, before: &[&str]) -> Server {
    let serve = handoff("serve --listen 127.0.0.1:0 --workers 1");
    let mut command = Command::new(before[0]);
    command.args(&before[1..]).arg(serve.get_program());
    command.args(serve.get_args()).env("XDG_RUNTIME_DIR", folder.as_ref());
    Server::start(command)
}

#[test]
fn the_next_master_removes_the_sockets_of_those_that_were_killed() {
    let folder = Scratch::new("swept");
    let lives = serve_in(&folder, &["env"]);
    let mut killed = serve_in(&folder, &["env"]);
    fs::write(folder.path("handoff-7.sock"), "no socket").unwrap();
    drop(UnixListener::bind(folder.path("other-7.sock")).unwrap());
    killed.signal("KILL");
    killed.wait();
    let dead = format!("handoff-{}.sock", killed.pid());
    assert!(sockets(&folder).contains(&dead));
    let next = serve_in(&folder, &["env"]);
    let mut expected = [
        "handoff-7.sock".to_owned(),
        "other-7.sock".to_owned(),
        format!("handoff-{}.sock", lives.pid()),
        format!("handoff-{}.sock", next.pid()),
    ];
    expected.sort();
    assert_eq!(sockets(&folder), expected);
}

/// In each the master is process 1.
#[test]
fn two_containers_that_share_a_folder_have_a_socket_each() {
    let folder = Scratch::new("shared");
    let container =
        ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"];
    let mut probe = Command::new(container[0]);
    probe.args(&container[1..]).arg("true");
    if !has_tool("unshare") || !probe.output().unwrap().status.success() {
        return skipped("no PID namespace may be made here");
    }
    let first = serve_in(&folder, &container);
    let second = serve_in(&folder, &container);
    assert_eq!(sockets(&folder), ["handoff-1-2.sock", "handoff-1.sock"]);
    for (name, server) in
        [("handoff-1.sock", &first), ("handoff-1-2.sock", &second)]
    {
        let status = run(command_at(&folder.path(name), "status --json"));
        let status: Value = serde_json::from_str(&status.out).unwrap();
        let place = server.place().address().to_string();
        let told = status["master"]["listeners"][0].as_str().unwrap();
        assert!(told.ends_with(&place), "{name}: {told}");
    }
    let mut status = handoff("status");
    status.env("XDG_RUNTIME_DIR", folder.as_ref());
    let several = end(start(status));
    assert!(several.err.contains("handoff-1-2.sock"), "{several:?}");
}
