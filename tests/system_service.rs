//! As a service: sockets that somebody else listens on, and somebody who
//! wants to know how it goes.

#![allow(clippy::unwrap_used, reason = "what goes wrong fails the test")]

mod common;

use std::fs::{self, File};
use std::io::ErrorKind;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener, UnixStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::http::{Connection, Place, ask};
use common::load::Load;
use common::server::{Server, handoff, program};
use common::{PATIENCE, Scratch, process, wait_until};

/// The command with these two as its descriptors 3 and 4, as a service
/// manager passes sockets: for process `pid`, which may be `$$`.
fn with_sockets(
    command: &Command,
    three: impl Into<OwnedFd>,
    four: impl Into<OwnedFd>,
    pid: &str,
    count: &str,
) -> Command {
    let mut activated = Command::new("sh");
    activated
        .arg("-c")
        .arg(format!(
            "exec 3<&0 4>&1 0</dev/null 1>&2; LISTEN_PID={pid} \
             LISTEN_FDS={count} LISTEN_FDNAMES=a:b exec \"$@\""
        ))
        .arg("sh")
        .arg(command.get_program())
        .args(command.get_args())
        .stdin(Stdio::from(three.into()))
        .stdout(Stdio::from(four.into()));
    activated
}

fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

#[test]
fn passed_sockets_take_the_place_of_listen_and_survive_the_service() {
    let folder = Scratch::new("activated");
    let path = folder.path("socket");
    let (tcp, unix) = (listener(), UnixListener::bind(&path).unwrap());
    let copies = (tcp.try_clone().unwrap(), unix.try_clone().unwrap());
    // Clients that were there before the service are served.
    let address = Place::Tcp(tcp.local_addr().unwrap());
    let mut early = Connection::open(&address).unwrap();
    early.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let serve = handoff("serve --workers 2 --listen 127.0.0.1:1");
    let command = with_sockets(&serve, copies.0, copies.1, "$$", "2");
    let mut server = Server::start(command);
    assert_eq!(early.receive().unwrap().status, 200);
    let places = [address.clone(), Place::Unix(path.clone())];
    assert_eq!(server.places(), places);
    for place in &places {
        assert_eq!(ask(place, "/").unwrap().status, 200);
    }
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0), "{}", server.log());
    // They are not ours: the file stays, and clients wait for the next start.
    assert!(path.exists());
    let mut late = Connection::open(&address).unwrap();
    late.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let command = with_sockets(&serve, tcp, unix, "$$", "2");
    let _next = Server::start(command);
    assert_eq!(late.receive().unwrap().status, 200);
}

#[test]
fn passed_sockets_have_no_second_owner_among_the_workers() {
    let (tcp, other) = (listener(), listener());
    let address = Place::Tcp(tcp.local_addr().unwrap());
    let serve = handoff("serve --workers 1");
    let command = with_sockets(&serve, tcp, other, "$$", "2");
    let server = Server::start(command);
    let worker = server.ask_worker();
    assert_eq!(server.places()[0], address);
    wait_until("it has no socket but its channel", || {
        process::clients(worker) == 0
    });
    let environment = fs::read(format!("/proc/{worker}/environ")).unwrap();
    let text = String::from_utf8_lossy(&environment).into_owned();
    assert!(!text.contains("LISTEN_"), "{text:?}");
}

#[test]
fn the_next_master_has_the_passed_sockets_from_the_one_before() {
    let folder = Scratch::new("activated-upgrade");
    let path = folder.path("socket");
    let (tcp, unix) = (listener(), UnixListener::bind(&path).unwrap());
    let address = Place::Tcp(tcp.local_addr().unwrap());
    let serve = handoff("serve --workers 2 --control off");
    let command = with_sockets(&serve, tcp, unix, "$$", "2");
    let mut server = Server::start(command);
    server.wait_for_workers(2);
    let load = Load::start(&address, 4);
    server.signal("USR2");
    assert_eq!(server.wait().code(), Some(0), "{}", server.log());
    load.wait_for(50);
    let tally = load.finish();
    assert_eq!(tally.unforgivable() + tally.lost(), 0, "{tally:?}");
    assert_eq!(ask(&Place::Unix(path.clone()), "/").unwrap().status, 200);
    // It leaves them as they are, too.
    let named = |pid: &u32| {
        let name = fs::read_to_string(format!("/proc/{pid}/comm"));
        name.is_ok_and(|name| name == "handoff: master\n")
    };
    let next: Vec<u32> =
        server.processes().into_iter().filter(named).collect();
    assert_eq!(next.len(), 1);
    process::signal("TERM", &next);
    wait_until("it is gone", || server.processes().is_empty());
    assert!(path.exists());
}

#[test]
fn sockets_for_another_process_are_passed_over() {
    let (tcp, other) = (listener(), listener());
    let serve = handoff("serve --workers 1 --listen 127.0.0.1:0");
    let passed = Place::Tcp(tcp.local_addr().unwrap());
    let command = with_sockets(&serve, tcp, other, "1", "2");
    let server = Server::start(command);
    assert_ne!(server.place(), &passed);
    server.ask("/");
}

/// Fails unless the command ends at once, with these words in its only line.
fn expect_refusal(folder: &Scratch, command: Command, words: &str) {
    let log = folder.path("log");
    let file = File::create(&log).unwrap();
    let mut server = Server::start_unheard(command, Stdio::from(file));
    assert_eq!(server.wait().code(), Some(1));
    let text = fs::read_to_string(&log).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains(words), "{text}");
}

#[test]
fn what_is_no_listening_stream_socket_is_refused_in_one_line() {
    let folder = Scratch::new("refused");
    let serve = handoff("serve --listen 127.0.0.1:0");
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let file = File::open("/dev/null").unwrap();
    let (connected, _other) = UnixStream::pair().unwrap();
    let wrong: [OwnedFd; 3] = [udp.into(), file.into(), connected.into()];
    for wrong in wrong {
        let command = with_sockets(&serve, listener(), wrong, "$$", "2");
        let line = "descriptor 4 is not a listening stream socket";
        expect_refusal(&folder, command, line);
    }
    for (count, line) in [
        ("3", "descriptor 5 is not open"),
        ("4000000000", "descriptor 5 is not open"),
        ("many", "LISTEN_FDS is not a number"),
        ("-1", "LISTEN_FDS is not a number"),
        ("", "LISTEN_FDS is not a number"),
    ] {
        let (one, two) = (listener(), listener());
        let command = with_sockets(&serve, one, two, "$$", count);
        expect_refusal(&folder, command, line);
    }
}

/// A service manager that takes notes.
struct Manager(UnixDatagram);

impl Manager {
    fn at(folder: &Scratch) -> (Manager, String) {
        let path = folder.path("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        (Manager::new(socket), path.display().to_string())
    }

    fn new(socket: UnixDatagram) -> Manager {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Manager(socket)
    }

    fn hear(&self) -> Vec<String> {
        let mut bytes = [0; 4096];
        let count = self.0.recv(&mut bytes).expect("a message");
        let text = String::from_utf8(bytes[..count].to_vec()).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    /// Fails unless the next message says this.
    fn expect(&self, state: &str) -> Vec<String> {
        let lines = self.hear();
        assert_eq!(lines[0], state, "{lines:?}");
        lines
    }
}

/// The server with its manager at this address.
fn serve(options: &str, address: &str) -> Server {
    let words = format!(
        "serve --listen 127.0.0.1:0 --workers 2 --control off {options}"
    );
    let mut command = handoff(&words);
    command.env("NOTIFY_SOCKET", address);
    Server::start(command)
}

#[test]
fn a_manager_hears_of_the_start_a_reload_and_the_stop() {
    let folder = Scratch::new("manager");
    let (manager, address) = Manager::at(&folder);
    let mut server = serve("", &address);
    manager.expect("READY=1");
    server.ask("/");
    server.wait_for_workers(2);
    let before = monotonic();
    server.signal("HUP");
    let lines = manager.expect("RELOADING=1");
    let moment = lines[1].strip_prefix("MONOTONIC_USEC=").unwrap();
    let moment = Duration::from_micros(moment.parse().unwrap());
    let after = monotonic();
    assert!(before <= moment && moment <= after, "{before:?} {lines:?}");
    assert!(lines[2].contains("generation 2 began"), "{lines:?}");
    let lines = manager.expect("READY=1");
    assert!(lines[1].contains("generation 2 finished"), "{lines:?}");
    server.signal("TERM");
    manager.expect("STOPPING=1");
    assert_eq!(server.wait().code(), Some(0));
    manager.expect("STATUS=stopped");
}

/// CLOCK_MONOTONIC, of which the library only shows differences.
fn monotonic() -> Duration {
    let shown = format!("{:?}", Instant::now());
    let number = |name: &str| -> u64 {
        let (_, rest) = shown.split_once(name).unwrap();
        let digits = rest.trim_start_matches(": ");
        digits.split([',', ' ']).next().unwrap().parse().unwrap()
    };
    let nanoseconds = number("tv_nsec");
    Duration::new(number("tv_sec"), nanoseconds as u32)
}

#[test]
fn a_reload_that_is_abandoned_says_so_and_the_service_is_ready() {
    let folder = Scratch::new("abandoned");
    let (manager, address) = Manager::at(&folder);
    let words = format!("{} 2", folder.path("").display());
    let mut command = program("probe", &words);
    command.env("NOTIFY_SOCKET", &address);
    let server = Server::start(command);
    server.wait_for_workers(2);
    manager.expect("READY=1");
    fs::write(folder.path("die"), "").unwrap();
    server.signal("HUP");
    manager.expect("RELOADING=1");
    let lines = manager.expect("READY=1");
    assert!(lines[1].contains("abandoned"), "{lines:?}");
    assert!(lines[1].contains("exited with status 7"), "{lines:?}");
}

#[test]
fn a_service_that_never_was_ready_does_not_become_so_by_a_reload() {
    let folder = Scratch::new("never");
    let (manager, address) = Manager::at(&folder);
    let words = "run --workers 1 --control off -- sh -c";
    let mut command = handoff(words);
    command.arg("sleep 0.5; exit 1").env("NOTIFY_SOCKET", &address);
    let mut master = command.stderr(Stdio::null()).spawn().unwrap();
    wait_until("there is a worker", || {
        !process::children(master.id()).is_empty()
    });
    process::signal("HUP", &[master.id()]);
    let lines = std::iter::repeat_with(|| manager.hear());
    let lines = lines.take_while(|lines| !lines[0].contains("gave up"));
    let lines: Vec<String> = lines.flatten().collect();
    assert_eq!(master.wait().unwrap().code(), Some(1));
    let about = |what: &str| lines.iter().any(|line| line.contains(what));
    assert!(about("abandoned"), "{lines:?}");
    assert!(!about("READY=1") && !about("RELOADING=1"), "{lines:?}");
}

#[test]
fn a_manager_may_have_an_abstract_name_and_sees_the_watchdog_fed() {
    let name = format!("handoff-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let socket = UnixDatagram::bind_addr(&address).unwrap();
    let manager = Manager::new(socket);
    let words = "serve --listen 127.0.0.1:0 --workers 1 --control off";
    let mut command = handoff(words);
    command
        .env("NOTIFY_SOCKET", format!("@{name}"))
        .env("WATCHDOG_USEC", "400000");
    let server = Server::start(command);
    // Twice in that time; on a busy machine one may seem to come too late,
    // and the next too early.
    let (mut last, mut in_time) = (Instant::now(), 0);
    wait_until("five in a row come in time", || {
        let state = &manager.hear()[0];
        assert!(["READY=1", "WATCHDOG=1"].contains(&state.as_str()));
        let pause = last.elapsed();
        last = Instant::now();
        let good = Duration::from_millis(150)..Duration::from_millis(400);
        in_time = if good.contains(&pause) { in_time + 1 } else { 0 };
        in_time == 5
    });
    // A master that does not turn does not say that it does.
    process::freeze(&[server.pid()]);
    manager.0.set_nonblocking(true).unwrap();
    while manager.0.recv(&mut [0; 64]).is_ok() {}
    std::thread::sleep(Duration::from_secs(1));
    let silence = manager.0.recv(&mut [0; 64]).unwrap_err().kind();
    assert_eq!(silence, ErrorKind::WouldBlock);
    process::signal("CONT", &[server.pid()]);
    server.ask("/");
}

#[test]
fn the_main_process_is_named_to_the_manager_at_an_upgrade() {
    let folder = Scratch::new("main-pid");
    let (manager, address) = Manager::at(&folder);
    let mut server = serve("", &address);
    manager.expect("READY=1");
    server.wait_for_workers(2);
    server.signal("USR2");
    // The new master speaks too, as soon as it has a worker.
    let mut seen = [manager.hear()[0].clone(), manager.hear()[0].clone()];
    seen.sort();
    let main = seen[0].strip_prefix("MAINPID=").unwrap();
    assert_eq!(seen[1], "READY=1");
    let main: u32 = main.parse().unwrap();
    assert_eq!(server.wait().code(), Some(0), "{}", server.log());
    assert!(process::lives(main));
    server.ask("/");
    // From the old one nothing else came.
    process::signal("TERM", &[main]);
    manager.expect("STOPPING=1");
    wait_until("it is gone", || !process::lives(main));
}

#[test]
fn the_next_master_feeds_the_watchdog_that_was_meant_for_the_one_before() {
    let folder = Scratch::new("watchdog");
    let (manager, address) = Manager::at(&folder);
    let serve =
        handoff("serve --listen 127.0.0.1:0 --workers 1 --control off");
    let mut command = Command::new("sh");
    command
        .args(["-c", "WATCHDOG_PID=$$ exec \"$@\"", "sh"])
        .arg(serve.get_program())
        .args(serve.get_args())
        .env("NOTIFY_SOCKET", address)
        .env("WATCHDOG_USEC", "400000");
    let mut server = Server::start(command);
    let fed = || while manager.hear()[0] != "WATCHDOG=1" {};
    fed();
    server.signal("USR2");
    assert_eq!(server.wait().code(), Some(0), "{}", server.log());
    manager.0.set_nonblocking(true).unwrap();
    while manager.0.recv(&mut [0; 512]).is_ok() {}
    manager.0.set_nonblocking(false).unwrap();
    fed();
    fed();
    process::signal("KILL", &server.processes());
}

#[test]
fn a_manager_that_is_behind_hears_everything_later_and_in_order() {
    let folder = Scratch::new("late-manager");
    let (manager, address) = Manager::at(&folder);
    let others = UnixDatagram::unbound().unwrap();
    others.set_nonblocking(true).unwrap();
    let said = std::iter::repeat_with(|| others.send_to(b"X", &address));
    let said = said.take_while(Result::is_ok).count();
    // Nothing else wakes this one.
    let server = serve("--hang-timeout off", &address);
    server.wait_for_workers(2);
    server.signal("HUP");
    wait_until("the reload is over", || server.log().contains("finished"));
    for _ in 0..said {
        manager.expect("X");
    }
    for state in ["READY=1", "RELOADING=1", "READY=1"] {
        manager.expect(state);
    }
}

#[test]
fn a_manager_that_hears_nothing_or_is_not_there_costs_nothing() {
    let folder = Scratch::new("deaf-manager");
    let (manager, address) = Manager::at(&folder);
    let mut server = serve("", &address);
    server.wait_for_workers(2);
    // Ten datagrams fill it (net.unix.max_dgram_qlen); nobody reads any.
    for _ in 0..6 {
        let told = server.log().matches("finished").count() + 1;
        server.signal("HUP");
        wait_until("the reload is over", || {
            server.log().matches("finished").count() >= told
        });
    }
    server.ask("/");
    drop(manager);
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0), "{}", server.log());
    for address in ["/nowhere/notify", "@nobody", "vsock:2:1", "nonsense", ""]
    {
        serve("", address).ask("/");
    }
}
