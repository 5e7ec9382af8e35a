//! What an app may ask to listen on.

use std::io::Read;
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::common::http::{Place, ask};
use crate::common::server::{Server, handoff};
use crate::common::{
    Scratch, has_tool, process, wait_for_rest, wait_until, within,
};
use crate::{app_on, need_node, node};

/// Waits until the log names so many places.
fn places(server: &Server, count: usize) -> Vec<Place> {
    let places = || -> Vec<Place> {
        let log = server.log();
        let told = log.lines().filter(|line| line.contains("listening on"));
        let words = told.flat_map(|line| line.split(' '));
        words.filter_map(Place::parse).collect()
    };
    wait_until("it listens everywhere", || places().len() == count);
    places()
}

/// Waits until so many workers answer at this place.
fn all_serve(place: &Place, count: usize) {
    let mut pids = Vec::new();
    wait_until(&format!("{count} workers serve {place:?}"), || {
        let answer = ask(place, "/worker").unwrap().json();
        let pid = answer["pid"].as_u64();
        if !pids.contains(&pid) {
            pids.push(pid);
        }
        pids.len() == count
    });
}

#[test]
fn port_0_asked_for_twice_is_two_ports_that_all_workers_share() {
    need_node!();
    let server = app_on("--workers 2", r#"[{"port":0},{"port":0}]"#);
    let places = places(&server, 2);
    assert_ne!(places[0], places[1]);
    for place in &places {
        all_serve(place, 2);
    }
}

#[test]
fn an_exclusive_server_is_the_workers_own() {
    need_node!();
    let asked = r#"[{"port":0},{"port":0,"exclusive":true}]"#;
    let server = app_on("--workers 2", asked);
    server.wait_for_workers(2);
    assert_eq!(server.log().matches("listening on").count(), 1);
}

#[test]
fn a_unix_socket_is_shared_and_goes_with_the_master() {
    need_node!();
    let folder = Scratch::new("unix");
    let path = folder.path("app.sock");
    let asked = format!(
        r#"[{{"path":"{}","readableAll":true,"writableAll":true}}]"#,
        path.display()
    );
    let mut server = app_on("--workers 2", &asked);
    all_serve(server.place(), 2);
    let mode = path.metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o666, 0o666);
    server.signal("TERM");
    assert!(server.wait().success());
    assert!(!path.exists());
}

#[test]
fn all_addresses_are_those_of_both_families() {
    need_node!();
    // Without --host, which would narrow it.
    let mut command = handoff("run --workers 2 -- node tests/node/site.js");
    command.arg(r#"[{"port":0}]"#);
    let server = Server::start(command);
    let port = server.place().address().port();
    for host in ["127.0.0.1", "[::1]"] {
        let place = Place::parse(&format!("http://{host}:{port}"));
        all_serve(&place.unwrap(), 2);
    }
}

#[test]
fn ipv6_alone_is_that_alone() {
    need_node!();
    // Without --host, which would rule it out.
    let mut command = handoff("run --workers 1 -- node tests/node/site.js");
    command.arg(r#"[{"port":0,"host":"::","ipv6Only":true}]"#);
    let server = Server::start(command);
    let port = server.place().address().port();
    let v6 = Place::parse(&format!("http://[::1]:{port}")).unwrap();
    assert_eq!(ask(&v6, "/").unwrap().status, 200);
    let v4 = Place::parse(&format!("http://127.0.0.1:{port}")).unwrap();
    ask(&v4, "/").unwrap_err();
}

#[test]
fn the_host_that_the_app_gives_goes_before_the_operators() {
    need_node!();
    let asked = r#"[{"port":0,"host":"127.0.0.2"}]"#;
    let server = app_on("--workers 1", asked);
    assert_eq!(server.place().address().ip().to_string(), "127.0.0.2");
    assert_eq!(server.ask("/").status, 200);
}

#[test]
fn all_addresses_are_the_operators_host_however_they_are_named() {
    need_node!();
    let asked = r#"[{"port":0,"host":"0.0.0.0"},{"port":0,"host":"::"}]"#;
    let server = app_on("--workers 1", asked);
    for place in places(&server, 2) {
        assert_eq!(place.address().ip().to_string(), "127.0.0.1");
        assert_eq!(ask(&place, "/").unwrap().status, 200);
    }
    // A datagram socket always names them.
    let udp = "require('node:dgram').createSocket('udp4').bind(0, \
               function () { console.error(`udp ${this.address().address}`); \
               });";
    let mut command = handoff("run --host 127.0.0.1 --workers 1 -- node -e");
    command
        .arg(format!("{udp} require('node:http').createServer().listen(0)"));
    // Without a word after its script Node is no cluster's worker.
    command.arg("word");
    let server = Server::start(command);
    wait_until("the app says where", || {
        server.log().contains("udp 127.0.0.1")
    });
}

#[test]
fn the_backlog_is_the_apps() {
    need_node!();
    let server = app_on("--workers 1", r#"[{"port":0,"backlog":77}]"#);
    let port = server.place().address().port();
    let ss = Command::new("ss").args(["-ltnH"]).output();
    let Ok(ss) = ss else { return };
    let sockets = String::from_utf8(ss.stdout).unwrap();
    let ours = format!(":{port} ");
    let line = sockets.lines().find(|line| line.contains(&ours)).unwrap();
    assert_eq!(line.split_whitespace().nth(2), Some("77"), "{line}");
}

#[test]
fn a_port_in_use_is_told_to_the_app() {
    need_node!();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let asked = format!(r#"[{{"port":0}},{{"port":{port}}}]"#);
    let server = app_on("--workers 1", &asked);
    wait_until("the app says so", || {
        server.log().contains("error EADDRINUSE")
    });
    assert_eq!(server.ask("/").status, 200);
    // `--host` stands in for every address, which the app has asked for.
    let told = format!("cannot listen on [::]:{port}: something listens");
    assert!(server.log().contains(&told), "{}", server.log());
}

/// What a resolver knows takes as long as it likes, and the master serves
/// others: Node looks a name up in the worker, before it asks.
#[test]
fn a_worker_that_asks_by_name_is_refused_at_once() {
    need_node!();
    let folder = Scratch::new("named");
    let path = folder.path("release.js");
    let query = "process.send({ cmd: 'NODE_CLUSTER', act: 'queryServer', \
                 seq: 99, address: 'localhost', port: 0, addressType: 4, \
                 index: 0, flags: 0 }); listen({ port: 0 });";
    std::fs::write(&path, query).unwrap();
    let word = path.display().to_string();
    let server = Server::start(node("--workers 1", "release.js", &word));
    assert_eq!(server.ask("/").status, 200);
    let told = "cannot listen on localhost:0: listen: Invalid argument";
    wait_until("it is told", || server.log().contains(told));
}

/// Whoever may read a folder may lock it, for as long as he likes.
#[test]
fn nobody_waits_for_a_folder_that_somebody_has_locked() {
    need_node!();
    if !has_tool("flock") {
        return;
    }
    let folder = Scratch::new("locked");
    let source = format!(
        "listen({{ port: 0 }}); const start = Date.now(); let left = 6;\
         const next = () => left-- > 0\
           ? require('net').createServer().listen('{}/' + left, next)\
           : console.error('opened in ' + (Date.now() - start) + ' ms');\
         next();",
        folder.path("").display()
    );
    let path = folder.path("release.js");
    std::fs::write(&path, source).unwrap();
    let mut locked = Command::new("flock");
    locked.arg(folder.as_ref()).args(["sh", "-c", "echo locked; read end"]);
    locked.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut holder = locked.spawn().unwrap();
    let mut word = [0; 7];
    holder.stdout.take().unwrap().read_exact(&mut word).unwrap();
    let word = path.display().to_string();
    let server = Server::start(node("--workers 1", "release.js", &word));
    let mut time = String::new();
    wait_until("all are open", || {
        let log = server.log();
        let told = log.split("opened in ").nth(1);
        time = told.unwrap_or_default().lines().next().unwrap_or("").into();
        time.ends_with(" ms")
    });
    // Each would wait for a second.
    let time: u32 = time.trim_end_matches(" ms").parse().unwrap();
    assert!(time < 3000, "{time} ms");
    drop(holder.stdin.take());
    holder.wait().unwrap();
}

#[test]
fn a_host_that_nobody_knows_is_one_line_at_the_start() {
    let words = "run --control off --host a..b -- sleep 9";
    let ended = crate::common::server::run(handoff(words));
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_eq!(ended.err.lines().count(), 1, "{ended:?}");
    assert!(ended.err.contains("cannot find --host a..b"), "{ended:?}");
}

#[test]
fn a_udp_socket_is_shared() {
    need_node!();
    let server = Server::start(node("--workers 2", "udp.js", ""));
    let mut port = None;
    wait_until("the app says where", || {
        let log = server.log();
        let mut words = log.split_whitespace();
        words.find(|word| *word == "udp");
        port = words.next().and_then(|word| word.parse::<u16>().ok());
        port.is_some()
    });
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    for _ in 0..10 {
        client.send_to(b"x", ("127.0.0.1", port.unwrap())).unwrap();
        let mut bytes = [0; 64];
        let count = client.recv(&mut bytes).unwrap();
        assert_eq!(&bytes[..count], b"got x");
    }
}

/// Node would leave it waiting for ever.
#[test]
fn who_has_no_descriptor_for_a_shared_socket_is_told_and_lives() {
    need_node!();
    let script = "ulimit -n 60; exec node tests/node/udp.js hoard";
    let mut command = handoff("run --host 127.0.0.1 --workers 1 -- sh -c");
    command.arg(script);
    let server = Server::start(command);
    let pid = server.ask_worker();
    wait_until("the app is told", || {
        server.log().contains("error EMFILE, again")
    });
    wait_until("the next attempt succeeds", || server.log().contains("udp "));
    assert_eq!(server.ask_worker(), pid);
}

#[test]
fn a_tls_session_is_resumed_on_any_worker() {
    need_node!();
    let folder = Scratch::new("tls");
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes"])
        .args(["-subj", "/CN=localhost", "-keyout", "key", "-out", "cert"])
        .current_dir(&folder)
        .output();
    if !made.is_ok_and(|made| made.status.success()) {
        eprintln!("SKIPPED: there is no openssl here");
        return;
    }
    let word = folder.path("").display().to_string();
    let server = Server::start(node("--workers 2", "tls.js", &word));
    let port = server.place().address().port();
    let client = Command::new("node")
        .args(["tests/node/tls-client.js", &port.to_string()])
        .output()
        .unwrap();
    let out = String::from_utf8_lossy(&client.stdout).into_owned();
    assert_eq!(out.trim(), "resumed on 2 workers", "{client:?}");
}

#[test]
fn a_server_can_be_closed_and_opened_again() {
    need_node!();
    let server = app_on("--workers 1", r#"[{"port":0}]"#);
    let pid = server.ask_worker();
    for _ in 0..5 {
        server.ask("/relisten");
        wait_until("it is back", || ask(server.place(), "/worker").is_ok());
    }
    assert_eq!(server.ask_worker(), pid);
    // The very same socket, kept by the master in between.
    assert_eq!(server.log().matches("listening on").count(), 1);
}

/// In between nobody had it; that is over, and so is the time that it was
/// kept for.
#[test]
fn a_server_that_nobody_had_for_a_moment_is_as_any_other_again() {
    need_node!();
    let asked = r#"[{"port":0},{"host":"127.0.0.1","port":0}]"#;
    let server = app_on("--workers 1", asked);
    places(&server, 2);
    let (time, most) = (Duration::from_secs(2), Duration::from_millis(100));
    for _ in 0..2 {
        server.ask("/reopen");
        wait_for_rest(time, most, || vec![server.pid()], || 0);
        server.ask("/");
    }
    let log = server.log();
    assert_eq!(log.matches("listening on").count(), 2, "{log}");
}

/// Node's own primary lets a worker have the port that it had by asking for
/// none (nodejs/node#13526).
#[test]
fn the_port_that_the_master_chose_can_be_asked_for_by_its_number() {
    need_node!();
    let asked = r#"[{"host":"127.0.0.1","port":0}]"#;
    let server = app_on("--workers 2", asked);
    let pids = server.wait_for_workers(2);
    for _ in 0..4 {
        assert_eq!(server.ask("/resume").text(), "done");
    }
    let now = server.wait_for_workers(2);
    assert!(now.iter().all(|pid| pids.contains(pid)), "{}", server.log());
    let log = server.log();
    assert_eq!(log.matches("listening on").count(), 1, "{log}");
    assert!(!log.contains("EADDRINUSE"), "{log}");
    // And it is measured by its predecessor, who knew it by the other name.
    server.signal("HUP");
    wait_until("the reload is over", || server.log().contains("finished"));
    assert!(!server.log().contains("does not listen"));
}

#[test]
fn what_all_workers_have_closed_is_closed() {
    need_node!();
    let server = app_on("--workers 2", r#"[{"port":0},{"port":0}]"#);
    let places = places(&server, 2);
    server.wait_for_workers(2);
    let first = server.place().clone();
    let closed = || server.log().contains("closing ");
    ask(&first, "/close").unwrap();
    assert!(!within(Duration::from_millis(1500), closed));
    ask(&first, "/close").unwrap();
    wait_until("the master closes it", closed);
    ask(&first, "/").unwrap_err();
    all_serve(&places[1], 2);
}

#[test]
fn a_death_closes_nothing() {
    need_node!();
    let server = app_on("--workers 1", r#"[{"port":0}]"#);
    for _ in 0..3 {
        let pid = server.ask_worker();
        process::signal("KILL", &[pid]);
        wait_until("it is dead", || !process::lives(pid));
        assert_eq!(server.ask("/").status, 200);
    }
    server.ask("/leave");
    assert_eq!(server.ask("/").status, 200);
    assert_eq!(server.log().matches("listening on").count(), 1);
}

#[test]
fn a_descriptor_that_the_master_was_given_can_be_listened_on() {
    need_node!();
    let given = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = given.local_addr().unwrap().port();
    let mut command = node("--workers 2", "site.js", r#"[{"fd":0}]"#);
    command.stdin(std::os::fd::OwnedFd::from(given));
    let server = Server::start(command);
    assert_eq!(server.place().address().port(), port);
    all_serve(server.place(), 2);
    // Its successor is measured by it, so it was known to listen.
    server.signal("HUP");
    wait_until("the reload is over", || server.log().contains("finished"));
}

#[test]
fn an_app_that_opens_servers_without_end_is_told_to_stop() {
    need_node!();
    let mut asked = vec![r#"{"port":0}"#; 1100].join(",");
    asked = format!("[{asked}]");
    let server = app_on("--workers 1", &asked);
    wait_until("the app is told", || server.log().contains("error EMFILE"));
    assert_eq!(server.ask("/").status, 200);
}

/// As with Node's own primary, which takes them as JavaScript takes numbers.
#[test]
fn a_port_may_be_left_out_or_be_text() {
    need_node!();
    let free = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let app = format!(
        "const dgram = require('node:dgram');\
         const say = function () {{ \
           console.error(`udp ${{this.address().port}}`); }};\
         dgram.createSocket('udp4').bind({{ address: '127.0.0.1' }}, say);\
         dgram.createSocket('udp4').bind('{port}', '127.0.0.1', say);\
         require('node:http').createServer()\
           .listen({{ port: 0, backlog: '77' }});"
    );
    let mut command = handoff("run --host 127.0.0.1 --workers 2 -- node -e");
    // Without a word behind its script Node is no worker of a cluster.
    command.arg(app).arg("word");
    let server = Server::start(command);
    wait_until("all four sockets are bound", || {
        server.log().matches("udp ").count() == 4
    });
    assert_eq!(server.log().matches(&format!("udp {port}")).count(), 2);
}
