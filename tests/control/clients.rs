//! Who may ask, and what clients may do to a master: nothing.

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use crate::common::server::{Server, run};
use crate::common::{Scratch, process, wait_until};
use crate::{
    Controlled, as_nobody, command_at, connect, end, exchange, start,
};
use serde_json::Value;

#[test]
fn nonsense_harms_nothing_and_is_answered() {
    let controlled = Controlled::serve("nonsense", "--workers 1");
    let path = &controlled.path();
    let worker = controlled.server.ask_worker();
    for line in [
        &b"stop\n"[..],
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x00\xff\xfe\n",
        b"{\"command\":\"stop it\"}\n",
        b"{\"command\":\"scale\",\"workers\":0}\n",
        b"{\"command\":\"scale\",\"workers\":1e9}\n",
        b"{\"command\":\"scale\",\"workers\":-1}\n",
        b"[[[[[[[[\n",
        &[b'[', b'\n'].repeat(5000),
        &[b'['; 5000],
        &vec![b' '; 1 << 20],
    ] {
        let answer = exchange(connect(path), line);
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let shown = String::from_utf8_lossy(&line[..line.len().min(60)]);
        assert!(answer["error"].is_string(), "{shown}: {answer}");
    }
    let nothing = connect(path);
    nothing.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(exchange(nothing, b""), "");
    // A line that comes in pieces, and a second one that is not heard.
    let mut slow = connect(path);
    for byte in b"{\"command\":\"sta" {
        slow.write_all(&[*byte]).unwrap();
    }
    thread::sleep(Duration::from_millis(20));
    let answer = exchange(slow, b"tus\"}\n{\"command\":\"stop\"}\n");
    assert_eq!(answer.matches('\n').count(), 1);
    assert!(answer.starts_with("{\"status\":{"), "{answer}");
    // Only half of a connection is closed: that is no goodbye.
    let mut half = connect(path);
    half.write_all(b"{\"command\":\"reload\"}").unwrap();
    half.shutdown(std::net::Shutdown::Write).unwrap();
    let cpu = || process::stat(controlled.server.pid()).unwrap().cpu;
    let before = cpu();
    let answer = exchange(half, b"");
    assert!(answer.contains("generation 2 finished"), "{answer}");
    let spent = cpu() - before;
    assert!(spent < Duration::from_millis(300), "it spins: {spent:?}");
    wait_until("the reload is through", || {
        !process::lives(worker) && controlled.of_each("state").len() == 1
    });
    assert_eq!(controlled.status()["master"]["wanted"], 1);
}

#[test]
fn a_client_that_leaves_while_it_waits_is_forgotten() {
    let controlled = Controlled::waiting("leaver");
    let sockets = || {
        let open = process::descriptors(controlled.server.pid());
        let ours = open.iter().filter(|(number, _)| *number > 2);
        ours.filter(|(_, to)| to.starts_with("socket:")).count()
    };
    // Its listener, this one, and the channels of two workers.
    let before = 4;
    wait_until("nobody else is there", || sockets() == before);
    let mut leavers: Vec<UnixStream> =
        (0..8).map(|_| controlled.connect()).collect();
    for leaver in &mut leavers {
        leaver.write_all(b"{\"command\":\"reload\"}\n").unwrap();
    }
    // It stands in line behind them.
    controlled.status();
    let refused = controlled.tell("reload");
    assert_eq!(refused.code, Some(1));
    assert!(refused.err.contains("8 others wait"), "{refused:?}");
    drop(leavers);
    // The worker that is not ready yet has a channel as well.
    wait_until("they are forgotten", || sockets() == before + 1);
    fs::remove_file(controlled.folder.path("wait")).unwrap();
    controlled.done("reload");
    wait_until("nothing is left of them", || sockets() == before);
}

#[test]
fn idle_clients_keep_nobody_out_and_cost_nothing() {
    let controlled = Controlled::serve("idle", "--workers 1");
    let path = controlled.path();
    controlled.wait_for_ready(1);
    let cpu = || process::stat(controlled.server.pid()).unwrap().cpu;
    let before = cpu();
    let idle: Vec<UnixStream> = (0..100).map(|_| connect(&path)).collect();
    let start = Instant::now();
    controlled.done("status");
    let waited = start.elapsed();
    assert!(waited < Duration::from_secs(3), "{waited:?}");
    controlled.server.ask("/");
    for mut stream in idle {
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).unwrap();
        assert!(rest.is_empty());
    }
    let spent = cpu() - before;
    assert!(spent < Duration::from_millis(150), "it spins: {spent:?}");
    controlled.done("status");
}

#[test]
fn many_commands_at_once_are_all_answered() {
    let controlled = Controlled::serve("many", "--workers 1");
    let path = controlled.path();
    let clients = (0..100).map(|_| {
        let path = path.clone();
        thread::spawn(move || {
            exchange(connect(&path), b"{\"command\":\"status\"}\n")
        })
    });
    for client in clients.collect::<Vec<_>>() {
        let answer = client.join().unwrap();
        assert!(answer.ends_with("}\n"), "{answer:?}");
    }
}

#[test]
fn another_user_is_refused_even_if_the_file_is_open_to_all() {
    let controlled = Controlled::serve("uid", "--workers 1");
    let Some(mut command) = as_nobody(&controlled.folder) else { return };
    let path = controlled.path();
    command.arg("stop").arg("--control").arg(&path);
    let ended = end(start(command));
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains("another user's"), "{ended:?}");

    fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
    for words in ["stop", "status"] {
        let mut command = as_nobody(&controlled.folder).unwrap();
        command.arg(words).arg("--control").arg(&path);
        let ended = end(start(command));
        assert_eq!((ended.code, &*ended.out), (Some(1), ""), "{ended:?}");
        assert!(ended.err.contains("only root and"), "{ended:?}");
    }
    assert_eq!(controlled.status()["master"]["phase"], "serving");
}

#[test]
fn a_user_commands_its_own_master_and_root_commands_all() {
    let folder = Scratch::new("own");
    fs::set_permissions(&folder, Permissions::from_mode(0o777)).unwrap();
    let path = folder.path("control");
    let Some(mut command) = as_nobody(&folder) else { return };
    command.args(["serve", "--listen", "127.0.0.1:0", "--workers", "1"]);
    let mut server = Server::start({
        command.arg("--control").arg(&path);
        command
    });
    let mut command = as_nobody(&folder).unwrap();
    command.args(["scale", "2", "--control"]).arg(&path);
    assert_eq!(end(start(command)).code, Some(0));
    let ended = run(command_at(&path, "stop"));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(server.wait().code(), Some(0));
}

/// Nobody accepts, and others are before: even to connect would last for ever.
#[test]
fn a_stopped_master_with_a_full_queue_is_not_waited_for() {
    let controlled = Controlled::serve("queue", "--workers 1");
    let master = controlled.server.pid();
    process::freeze(&[master]);
    let socket = || {
        let (domain, kind) = (socket2::Domain::UNIX, socket2::Type::STREAM);
        let socket = socket2::Socket::new(domain, kind, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        socket
    };
    let address = socket2::SockAddr::unix(controlled.path()).unwrap();
    let mut queue = Vec::new();
    loop {
        let client = socket();
        if client.connect(&address).is_err() {
            break;
        }
        queue.push(client);
    }
    assert!(queue.len() > 100, "{}", queue.len());
    let asked = ["status", "reload"].map(|w| start(controlled.command(w)));
    for ended in asked.map(end) {
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.err.contains("has not answered"), "{ended:?}");
    }
    process::signal("CONT", &[master]);
    drop(queue);
    assert_eq!(controlled.status()["master"]["pid"], master);
}
