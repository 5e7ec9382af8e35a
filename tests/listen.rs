//! Where a server listens.

mod common;

use std::io::Read;
use std::net::TcpListener;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use common::http::{Place, ask};
use common::server::{Server, handoff, run};
use common::{Scratch, has_tool, wait_until, within};

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
