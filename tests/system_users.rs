//! Who the processes are, to the kernel and to ps(1).

#![allow(clippy::unwrap_used, reason = "what goes wrong fails the test")]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use common::http::Connection;
use common::server::{Server, handoff, program, run};
use common::{Scratch, process, users, wait_until};

/// `handoff serve` where any user may run it.
fn serve(folder: &Scratch, options: &str) -> Command {
    let words = format!("serve --listen 127.0.0.1:0 --workers 2 {options}");
    users::for_anybody(folder, &handoff(&words))
}

/// A line of /proc/PID/status, as numbers.
fn status(pid: u32, name: &str) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let numbers = line.unwrap().split_whitespace();
    numbers.filter_map(|word| word.parse().ok()).collect()
}

/// What id(1) says.
fn id(words: &str) -> Vec<u32> {
    let out = Command::new("id").args(words.split(' ')).output().unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    let mut ids: Vec<u32> =
        text.split_whitespace().map(|word| word.parse().unwrap()).collect();
    ids.sort();
    ids
}

fn expect(server: &Server, user: u32, group: u32, groups: &[u32]) {
    for worker in server.wait_for_workers(2) {
        assert_eq!(status(worker, "Uid:"), [user; 4]);
        assert_eq!(status(worker, "Gid:"), [group; 4]);
        assert_eq!(status(worker, "Groups:"), groups);
        assert_eq!(status(worker, "NoNewPrivs:"), [1]);
    }
    assert_eq!(status(server.pid(), "Uid:"), [0; 4]);
}

#[test]
fn workers_are_the_user_with_its_groups_and_the_master_is_not() {
    if !users::is_root() {
        return;
    }
    let folder = Scratch::new("user");
    let server = Server::start(serve(&folder, "--user nobody"));
    let (user, group) = (id("-u nobody")[0], id("-g nobody")[0]);
    expect(&server, user, group, &id("-G nobody"));
    // A successor is that user too.
    let victim = server.ask_worker();
    process::signal("KILL", &[victim]);
    wait_until("it is gone", || !process::lives(victim));
    expect(&server, user, group, &id("-G nobody"));
}

#[test]
fn the_kernel_ends_a_worker_of_another_user_with_its_master() {
    if !users::is_root() {
        return;
    }
    let folder = Scratch::new("pdeathsig");
    let open_to_all = fs::Permissions::from_mode(0o777);
    fs::set_permissions(folder.path(""), open_to_all).unwrap();
    let words = format!("{} 2 0", folder.path("").display());
    let mut command = users::for_anybody(&folder, &program("probe", &words));
    command.env("PROBE_USER", "nobody");
    let mut server = Server::start(command);
    let workers = server.wait_for_workers(2);
    assert_ne!(status(workers[0], "Uid:"), [0; 4]);
    // They are busy for ever, and do not see the end of their channels.
    let spinners = workers.iter().map(|_| {
        let mut client = Connection::open(server.place()).unwrap();
        client.send(b"GET /spin HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        client
    });
    let _spinners: Vec<Connection> = spinners.collect();
    let spins = |pid: &u32| process::stat(*pid).unwrap().state == 'R';
    wait_until("they are busy", || workers.iter().all(spins));
    server.signal("KILL");
    server.wait();
    // Of themselves they would never be.
    wait_until("they are gone", || {
        !workers.iter().any(|pid| process::lives(*pid))
    });
}

#[test]
fn a_group_of_ones_choice_takes_the_place_of_the_primary_one() {
    if !users::is_root() {
        return;
    }
    let folder = Scratch::new("group");
    let server = Server::start(serve(&folder, "--user nobody:daemon"));
    let (user, group) = (id("-u nobody")[0], id("-g daemon")[0]);
    let groups = status(server.ask_worker(), "Groups:");
    assert!(groups.contains(&group), "{groups:?}");
    assert!(!groups.contains(&0), "{groups:?}");
    expect(&server, user, group, &groups);
}

#[test]
fn a_number_needs_no_entry_in_a_user_database() {
    if !users::is_root() {
        return;
    }
    let folder = Scratch::new("number");
    let server = Server::start(serve(&folder, "--user 54321:12345"));
    expect(&server, 54321, 12345, &[12345]);
}

#[test]
fn who_does_not_exist_is_told_in_one_line() {
    if !users::is_root() {
        return;
    }
    let folder = Scratch::new("nobody-there");
    let socket = folder.path("socket");
    for (user, line) in [
        ("nosuchuser", "no user \"nosuchuser\""),
        ("nobody:nosuchgroup", "no group \"nosuchgroup\""),
        ("54321", "type --user 54321:GROUP"),
    ] {
        let place = format!("unix:{}", socket.display());
        let words = format!("serve --listen {place} --user {user}");
        let ended = run(handoff(&words));
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert_eq!(ended.err.lines().count(), 1, "{ended:?}");
        assert!(ended.err.contains(line), "{ended:?}");
        assert!(!socket.exists(), "nothing is left");
    }
}

#[test]
fn who_is_not_root_cannot_change_users() {
    let folder = Scratch::new("not-root");
    let command = serve(&folder, "--user daemon");
    let command = match users::is_root() {
        false => command,
        true => match users::command_of(64_003, &command) {
            Some(command) => command,
            None => return,
        },
    };
    let ended = run(command);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_eq!(ended.err.lines().count(), 1, "{ended:?}");
    assert!(ended.err.contains("only root can"), "{ended:?}");
}

#[test]
fn ps_tells_the_master_from_each_worker() {
    let server = Server::serve("--workers 2");
    let workers = server.wait_for_workers(2);
    let name = |pid: u32| {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap();
        name.trim_end().to_owned()
    };
    assert_eq!(name(server.pid()), "handoff: master");
    let mut names: Vec<String> = workers.into_iter().map(name).collect();
    names.sort();
    assert_eq!(names, ["handoff: w1", "handoff: w2"]);
}

/// An app may call sudo or sendmail, but not to undo who it is to be.
#[test]
fn another_program_may_gain_privileges_unless_it_is_to_be_another_user() {
    let may = |options: &str| {
        let command = format!("run {options} --control off -- sleep 1000");
        let server = Server::start_unheard(handoff(&command), Stdio::null());
        let mut workers = Vec::new();
        wait_until("it runs", || {
            workers = server.workers();
            workers.len() == 1
        });
        // Not before exec.
        let name = |pid| fs::read_to_string(format!("/proc/{pid}/comm"));
        wait_until("it is sleep", || {
            name(workers[0]).is_ok_and(|name| name == "sleep\n")
        });
        status(workers[0], "NoNewPrivs:") == [0]
    };
    assert!(may("--workers 1"));
    if users::is_root() {
        assert!(!may("--workers 1 --user nobody"));
    }
}
