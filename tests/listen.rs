//! Where a server listens.

#![allow(clippy::unwrap_used, reason = "what goes wrong fails the test")]

mod common;

use std::io::Read;
use std::net::TcpListener;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use common::http::{Place, ask};
use common::server::{Server, handoff, run};
use common::{Scratch, free_ports, has_tool, skipped, wait_until, within};

#[test]
fn it_listens_at_several_places_at_once() {
    let folder = Scratch::new("several");
    let path = folder.path("socket");
    let mut options = format!("--listen unix:{}", path.display());
    let mut expected = 2;
    if TcpListener::bind("[::1]:0").is_ok() {
        options += " --listen [::1]:0";
        expected += 1;
    } else {
        eprintln!("this machine has no IPv6");
    }
    let server = Server::serve(&options);
    assert_eq!(server.places().len(), expected, "{:?}", server.places());
    assert!(server.places().contains(&Place::Unix(path)));
    for place in server.places() {
        let response = ask(place, "/").unwrap();
        assert_eq!(response.body, b"hello handoff\n", "{place:?}");
    }
}

#[test]
fn a_stale_socket_file_is_replaced() {
    let folder = Scratch::new("stale");
    let path = folder.path("socket");
    drop(UnixListener::bind(&path).unwrap());
    let server = Server::start(handoff(&format!(
        "serve --workers 1 --listen unix:{}",
        path.display()
    )));
    server.ask("/");
    let mut server = server;
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0), "{}", server.log());
    assert!(!path.exists(), "the socket file is left");
}

#[test]
fn a_live_socket_file_is_in_use() {
    let folder = Scratch::new("live");
    let path = folder.path("socket");
    let listener = UnixListener::bind(&path).unwrap();
    let ended =
        run(handoff(&format!("serve --listen unix:{}", path.display())));
    assert_eq!(ended.code, Some(1));
    assert_eq!(ended.err.lines().count(), 1, "{ended:?}");
    UnixStream::connect(&path).unwrap();
    drop(listener);
}

#[test]
fn a_file_that_is_no_socket_stays_as_it_is() {
    let folder = Scratch::new("file");
    let path = folder.path("file");
    std::fs::write(&path, "precious").unwrap();
    let ended =
        run(handoff(&format!("serve --listen unix:{}", path.display())));
    assert_eq!(ended.code, Some(1));
    assert_eq!(ended.err.lines().count(), 1, "{ended:?}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn a_socket_file_of_a_successor_is_left_to_it() {
    let folder = Scratch::new("successor");
    let path = folder.path("socket");
    let words = format!("serve --workers 1 --listen unix:{}", path.display());
    let mut old = Server::start(handoff(&words));
    old.ask("/");
    std::fs::remove_file(&path).unwrap();
    let new = Server::start(handoff(&words));
    old.signal("TERM");
    assert_eq!(old.wait().code(), Some(0), "{}", old.log());
    new.ask("/");
}

#[test]
fn the_port_is_free_as_soon_as_the_master_is_gone() {
    let mut server = Server::serve("--workers 2");
    let address = server.place().address();
    server.ask("/");
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0), "{}", server.log());
    wait_until("the port is free", || TcpListener::bind(address).is_ok());
}

/// Addresses of both families on a port that was free a moment ago, in this
/// order, as options.
fn at_one_port(hosts: [&str; 2]) -> String {
    let port = free_ports(1);
    hosts.map(|host| format!("--listen {host}:{port}")).join(" ")
}

#[test]
fn every_address_of_both_families_is_listened_on_at_one_port() {
    if TcpListener::bind("[::1]:0").is_err() {
        skipped("this machine has no IPv6");
        return;
    }
    for hosts in [["0.0.0.0", "[::]"], ["[::]", "0.0.0.0"]] {
        let options = at_one_port(hosts);
        let server =
            Server::start(handoff(&format!("serve --workers 1 {options}")));
        let port = server.place().address().port();
        for host in ["127.0.0.1", "[::1]"] {
            let place = Place::Tcp(format!("{host}:{port}").parse().unwrap());
            assert_eq!(ask(&place, "/").unwrap().status, 200, "{place:?}");
        }
    }
}

#[test]
fn an_address_that_is_named_twice_is_nobody_elses_fault() {
    for hosts in [["127.0.0.1", "localhost"], ["0.0.0.0", "127.0.0.1"]] {
        let options = at_one_port(hosts);
        let ended = run(handoff(&format!("serve {options}")));
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert_eq!(ended.err.lines().count(), 1, "{ended:?}");
        assert!(ended.err.contains("of this server"), "{ended:?}");
    }
}

#[test]
fn the_control_socket_in_a_place_of_our_own_is_nobody_elses_fault() {
    let folder = Scratch::new("control-too");
    let path = folder.path("socket");
    let at = path.display();
    let words = format!("serve --listen unix:{at} --control {at}");
    let ended = run(handoff(&words));
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.err.contains("--listen has it"), "{ended:?}");
    assert!(!path.exists(), "it is left");
}

/// A machine may be set to leave IPv4 out of `[::]`; libuv asks for it, and
/// so must we.
#[test]
fn every_ipv6_address_is_every_address_whatever_the_machine_prefers() {
    if !has_tool("unshare") || !has_tool("curl") {
        return;
    }
    let prepare = "ip link set lo up && \
                   echo 1 > /proc/sys/net/ipv6/bindv6only || exit 77";
    let serve = handoff("serve --workers 1 --listen [::]:4000");
    let script = format!(
        "{prepare}; \"$@\" & master=$!; \
         for host in 127.0.0.1 [::1]; do \
         curl -sS --retry 20 --retry-delay 1 --retry-connrefused \
         http://$host:4000/; done; kill $master; wait $master"
    );
    let mut command = Command::new("unshare");
    command.args(["-rn", "sh", "-c", &script, "sh"]);
    command.arg(serve.get_program()).args(serve.get_args());
    let ended = run(command);
    match ended.code {
        Some(0) => {
            assert_eq!(ended.out, "hello handoff\n".repeat(2), "{ended:?}");
        }
        _ => skipped(&format!("no network of its own, or no IPv6: {ended:?}")),
    }
}

/// Two that find a stale file at once must not both put their own there: the
/// first would listen where nobody comes. Who binds locks the folder.
#[test]
fn masters_take_turns_at_a_socket_file() {
    if !has_tool("flock") {
        return;
    }
    let folder = Scratch::new("turns");
    let path = folder.path("socket");
    let mut holder = Command::new("flock")
        .arg(folder.path(""))
        .args(["-c", "echo held; cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut word = [0; 5];
    holder.stdout.as_mut().unwrap().read_exact(&mut word).unwrap();
    let words = format!("serve --workers 1 --listen unix:{}", path.display());
    let mut server = Server::start_unheard(handoff(&words), Stdio::null());
    assert!(!within(Duration::from_millis(100), || path.exists()));
    drop(holder.stdin.take());
    holder.wait().unwrap();
    let place = Place::Unix(path);
    wait_until("it serves", || ask(&place, "/").is_ok());
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
}
