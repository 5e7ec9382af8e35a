//! The control socket and its commands: what they tell, do, refuse and bear.

mod common;

use std::fs::{self, File, Permissions};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use common::http::{Connection, Lost, ask};
use common::load::{Crowd, Load, Tally};
use common::server::{Ended, Server, handoff, program, run};
use common::{Scratch, has_tool, process, wait_until};
use serde_json::{Value, json};

/// A server with its control socket in a folder of its own.
struct Controlled {
    folder: Scratch,
    server: Server,
}

impl Controlled {
    fn serve(name: &str, options: &str) -> Controlled {
        let folder = Scratch::new(name);
        let path = folder.path("control");
        let server =
            Server::serve(&format!("--control {} {options}", path.display()));
        Controlled { folder, server }
    }

    fn path(&self) -> PathBuf {
        self.folder.path("control")
    }

    fn command(&self, words: &str) -> Command {
        command_at(&self.path(), words)
    }

    /// Runs `handoff WORDS` to its end.
    fn tell(&self, words: &str) -> Ended {
        run(self.command(words))
    }

    /// The same, and what it says; it must have been done.
    fn done(&self, words: &str) -> String {
        let ended = self.tell(words);
        let log = self.server.log();
        assert_eq!(ended.code, Some(0), "{words}: {ended:?}\n{log}");
        ended.out
    }

    fn status(&self) -> Value {
        let out = self.done("status --json");
        assert_eq!(out.matches('\n').count(), 1);
        serde_json::from_str(&out).unwrap()
    }

    /// A count of each worker, in the order of their slots.
    fn of_each(&self, name: &str) -> Vec<Value> {
        let status = self.status();
        let workers = status["workers"].as_array().unwrap();
        workers.iter().map(|worker| worker[name].clone()).collect()
    }

    fn connect(&self) -> UnixStream {
        connect(&self.path())
    }

    /// Waits until so many workers are ready, and all others are gone.
    fn wait_for_ready(&self, count: usize) {
        wait_until(&format!("there are {count} workers"), || {
            let status = self.status();
            status["workers"].as_array().unwrap().len() == count
                && status["master"]["ready"] == count
        });
    }
}

fn command_at(path: &Path, words: &str) -> Command {
    handoff(&format!("{words} --control {}", path.display()))
}

fn connect(path: &Path) -> UnixStream {
    let stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(common::PATIENCE)).unwrap();
    stream
}

/// Says something, and hears all that is answered.
fn exchange(mut stream: UnixStream, line: &[u8]) -> String {
    // Whoever says too much is interrupted.
    let _ = stream.write_all(line);
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer
}

/// Starts a command that is not going to end at once.
fn start(mut command: Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

fn end(child: Child) -> Ended {
    let output = child.wait_with_output().unwrap();
    Ended {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

fn expect_no_loss(tally: Tally) {
    let lost = tally.unforgivable() + tally.reset + tally.truncated;
    assert_eq!(lost, 0, "{tally:?}");
}

#[test]
fn a_status_tells_what_each_worker_has_done() {
    let controlled = Controlled::serve("status", "--workers 2");
    let server = &controlled.server;
    controlled.wait_for_ready(2);
    let mut kept = Connection::open(server.place()).unwrap();
    for _ in 0..10 {
        kept.get("/").unwrap();
    }
    for _ in 0..5 {
        server.ask("/plaintext");
    }
    // The kept one and each second of the others are the first worker's.
    wait_until("everything is counted", || {
        controlled.of_each("requests") == [json!(12), json!(3)]
    });
    wait_until("the ended ones are counted", || {
        controlled.of_each("open") == [json!(1), json!(0)]
    });
    let status = controlled.status();
    let master = &status["master"];
    assert_eq!(master["pid"], server.pid());
    assert_eq!(master["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(master["phase"], "serving");
    assert_eq!(master["generation"], 1);
    assert_eq!(master["last_reload"], Value::Null);
    assert_eq!(master["policy"], "round-robin");
    assert_eq!((&master["wanted"], &master["ready"]), (&json!(2), &json!(2)));
    assert_eq!(master["requests"], 15);
    assert_eq!(master["handed_over"], 6);
    assert_eq!(master["redispatched"], 0);
    let place = format!("http://{}", server.place().address());
    assert_eq!(master["listeners"], json!([place]));
    let mut pids = server.workers();
    pids.sort_unstable();
    for (index, worker) in
        status["workers"].as_array().unwrap().iter().enumerate()
    {
        assert_eq!(worker["worker"], index + 1);
        assert_eq!(worker["pid"], pids[index]);
        assert_eq!(worker["slot"], index);
        assert_eq!(worker["state"], "ready");
        assert_eq!(worker["generation"], 1);
        assert_eq!(worker["handed_over"], 3);
        for zero in ["redispatched", "skipped", "restarts"] {
            assert_eq!(worker[zero], 0, "{zero}");
        }
        let age = worker["age"].as_f64().unwrap();
        let uptime = master["uptime"].as_f64().unwrap();
        assert!((0.0..=uptime).contains(&age), "{age} of {uptime}");
        let rss = worker["rss"].as_u64().unwrap();
        assert!((100 << 10..1 << 30).contains(&rss), "{rss}");
        assert!(worker["cpu"].as_f64().unwrap() < 60.0);
    }
    let table = controlled.done("status");
    let lines: Vec<&str> = table.lines().collect();
    let head = format!(
        "handoff {}, pid {}, up ",
        env!("CARGO_PKG_VERSION"),
        server.pid()
    );
    assert!(lines[0].starts_with(&head), "{table}");
    assert_eq!(
        lines[2],
        "15 requests, 6 connections handed over, 0 re-dispatched"
    );
    assert_eq!(lines.len(), 3 + 1 + 1 + 2, "{table}");
}

#[test]
fn what_dead_workers_have_done_stays_in_the_totals() {
    let controlled = Controlled::serve("totals", "--workers 1");
    let server = &controlled.server;
    for _ in 0..20 {
        server.ask("/");
    }
    wait_until("all is counted", || {
        controlled.of_each("requests") == [json!(20)]
    });
    process::signal("KILL", &server.workers());
    wait_until("it is replaced", || {
        controlled.of_each("worker") == [json!(2)]
    });
    controlled.wait_for_ready(1);
    server.ask("/");
    wait_until("the new one's are counted", || {
        controlled.status()["master"]["requests"] == 21
    });
    assert_eq!(controlled.status()["master"]["handed_over"], 21);
    assert_eq!(controlled.of_each("restarts"), [json!(1)]);
}

#[test]
fn a_reload_is_waited_for_and_loses_nothing() {
    let controlled = Controlled::serve("reload", "--workers 2");
    let server = &controlled.server;
    let old = server.wait_for_workers(2);
    let load = Load::start(server.place(), 4);
    let said = controlled.done("reload");
    assert_eq!(said, "reload to generation 2 finished\n");
    // When it is said to be over, it is: only new ones are in rotation.
    let now = controlled.of_each("state");
    let generations = controlled.of_each("generation");
    for (state, generation) in now.iter().zip(&generations) {
        assert_eq!(generation == 2, state == "ready", "{now:?}");
    }
    let status = controlled.status();
    assert_eq!(status["master"]["generation"], 2);
    assert_eq!(status["master"]["phase"], "serving");
    assert_eq!(status["master"]["last_reload"], said.trim_end());
    expect_no_loss(load.finish());
    wait_until("the old ones are gone", || {
        !old.iter().any(|pid| process::lives(*pid))
    });
}

#[test]
fn reloads_at_once_are_two_at_most_and_each_is_told_its_own_end() {
    let controlled = Controlled::serve("reloads", "--workers 1");
    controlled.wait_for_ready(1);
    let many = (0..6).map(|_| start(controlled.command("reload")));
    let many: Vec<Child> = many.collect();
    let mut said: Vec<String> = many
        .into_iter()
        .map(|child| {
            let ended = end(child);
            assert_eq!(ended.code, Some(0), "{ended:?}");
            ended.out
        })
        .collect();
    said.sort();
    said.dedup();
    assert!(said.len() <= 2, "{said:?}");
    assert_eq!(said[0], "reload to generation 2 finished\n");
}

#[test]
fn a_release_that_dies_at_its_start_is_told_as_such() {
    let folder = Scratch::new("abandoned");
    let path = folder.path("control");
    let mut command =
        program("probe", &format!("{} 2", folder.path("").display()));
    command.env("PROBE_CONTROL", &path);
    let server = Server::start(command);
    let old = server.wait_for_workers(2);
    let load = Load::start(server.place(), 4);
    File::create(folder.path("die")).unwrap();
    let ended = run(command_at(&path, "reload"));
    assert_eq!((ended.code, &*ended.out), (Some(1), ""));
    assert_eq!(
        ended.err,
        "handoff: reload to generation 2 abandoned: worker 3 exited with \
         status 7\n"
    );
    let status = run(command_at(&path, "status --json")).out;
    let status: Value = serde_json::from_str(&status).unwrap();
    let last = status["master"]["last_reload"].as_str().unwrap();
    assert_eq!(format!("handoff: {last}\n"), ended.err);
    assert_eq!(status["master"]["ready"], 2);
    expect_no_loss(load.finish());
    assert!(old.iter().all(|pid| process::lives(*pid)));
    // The next release is better.
    fs::remove_file(folder.path("die")).unwrap();
    let ended = run(command_at(&path, "reload"));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(ended.out, "reload to generation 3 finished\n");
}

#[test]
fn a_release_that_is_no_program_is_told_as_such() {
    let folder = Scratch::new("release");
    let path = folder.path("control");
    let current = folder.path("current");
    symlink(env!("CARGO_BIN_EXE_handoff"), &current).unwrap();
    let mut command = Command::new(&current);
    let path_typed = path.display().to_string();
    command.args(["serve", "--listen", "127.0.0.1:0", "--workers", "1"]);
    command.args(["--control", &path_typed]);
    let server = Server::start(command);
    let worker = server.ask_worker();
    let swapped = folder.path("next");
    symlink("/etc/passwd", &swapped).unwrap();
    fs::rename(&swapped, &current).unwrap();
    let ended = run(command_at(&path, "reload"));
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_eq!(
        ended.err,
        "handoff: reload to generation 2 abandoned: worker 2 could not be \
         started: exec: Permission denied\n"
    );
    assert_eq!(server.ask_worker(), worker);
}

#[test]
fn a_stop_ends_a_wait_for_a_reload() {
    let controlled = Controlled::serve("cut", "--workers 2");
    controlled.wait_for_ready(2);
    let waiting = start(controlled.command("reload"));
    let again = start(controlled.command("reload"));
    wait_until("the reload is under way", || {
        controlled.status()["master"]["phase"] == "reloading"
    });
    controlled.done("stop");
    for child in [waiting, again] {
        let ended = end(child);
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.err.contains("stop"), "{ended:?}");
    }
}

#[test]
fn scaling_up_and_down_under_load_loses_nothing() {
    let controlled = Controlled::serve("scale", "--workers 2");
    let server = &controlled.server;
    controlled.wait_for_ready(2);
    let load = Load::start(server.place(), 6);
    let mut before = 2;
    for wanted in [6, 1, 4, 2] {
        let said = controlled.done(&format!("scale {wanted}"));
        let expected = format!("workers: {wanted} wanted, {before} before\n");
        assert_eq!(said, expected);
        before = wanted;
        controlled.wait_for_ready(wanted);
        assert_eq!(controlled.status()["master"]["wanted"], wanted);
        server.wait_for_workers(wanted);
        load.wait_for(100);
    }
    expect_no_loss(load.finish());
    assert_eq!(server.workers().len(), 2);
}

#[test]
fn a_stop_is_waited_for_and_the_file_is_gone() {
    let mut controlled = Controlled::serve("stop", "--workers 2");
    controlled.wait_for_ready(2);
    let in_hand = Crowd::ask(controlled.server.place(), 2, "/sleep/1000");
    wait_until("they are in a worker's hands", || {
        controlled.of_each("open") == [json!(1), json!(1)]
    });
    let start = Instant::now();
    assert_eq!(controlled.done("stop"), "stopping\n");
    assert!(start.elapsed() >= Duration::from_millis(500));
    // It is over: not about to be.
    assert!(!process::lives(controlled.server.pid()));
    assert!(!controlled.path().exists());
    assert_eq!(controlled.server.wait().code(), Some(0));
    in_hand.expect_all_answered();
    let ended = controlled.tell("status");
    assert_eq!(ended.code, Some(1));
    assert!(ended.err.contains("no master at"), "{ended:?}");
}

#[test]
fn a_stopping_master_tells_how_it_is_and_takes_no_orders() {
    let controlled = Controlled::serve("late", "--workers 1 --grace 60");
    let in_hand = Crowd::ask(controlled.server.place(), 1, "/sleep/2500");
    wait_until("it is in the worker's hands", || {
        controlled.of_each("open") == [json!(1)]
    });
    let stop = start(controlled.command("stop"));
    wait_until("it has stopped to listen", || {
        controlled.status()["master"]["listeners"] == json!([])
    });
    let status = controlled.status();
    assert_eq!(status["master"]["phase"], "stopping");
    assert_eq!(status["workers"][0]["state"], "leaving");
    for words in ["reload", "scale 4"] {
        let ended = controlled.tell(words);
        assert_eq!(ended.code, Some(1));
        assert_eq!(ended.err, "handoff: the master is stopping\n");
    }
    assert_eq!(controlled.done("stop"), "stopping already\n");
    assert_eq!(end(stop).code, Some(0));
    in_hand.expect_all_answered();
}

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
    let controlled = Controlled::serve("leaver", "--workers 1");
    controlled.wait_for_ready(1);
    let sockets = || {
        let open = process::descriptors(controlled.server.pid());
        open.iter().filter(|(_, to)| to.starts_with("socket:")).count()
    };
    let before = sockets();
    let mut leavers: Vec<UnixStream> =
        (0..8).map(|_| controlled.connect()).collect();
    for leaver in &mut leavers {
        leaver.write_all(b"{\"command\":\"reload\"}\n").unwrap();
    }
    wait_until("all of them wait", || sockets() >= before + 8);
    let refused = controlled.tell("reload");
    assert_eq!(refused.code, Some(1));
    assert!(refused.err.contains("8 others wait"), "{refused:?}");
    drop(leavers);
    controlled.done("reload");
    wait_until("nothing is left of them", || sockets() <= before + 1);
}

#[test]
fn idle_clients_keep_nobody_out_and_cost_nothing() {
    let controlled = Controlled::serve("idle", "--workers 1");
    let path = controlled.path();
    controlled.wait_for_ready(1);
    let idle: Vec<UnixStream> = (0..100).map(|_| connect(&path)).collect();
    let start = Instant::now();
    controlled.done("status");
    let waited = start.elapsed();
    assert!(waited < Duration::from_secs(3), "{waited:?}");
    controlled.server.ask("/");
    let cpu = || process::stat(controlled.server.pid()).unwrap().cpu;
    let before = cpu();
    for mut stream in idle {
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).unwrap();
        assert!(rest.is_empty());
    }
    let spent = cpu() - before;
    assert!(spent < Duration::from_millis(300), "it spins: {spent:?}");
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
fn an_answer_larger_than_a_socket_holds_is_complete() {
    let controlled = Controlled::serve("large", "--workers 1");
    let path = controlled.path();
    controlled.done("scale 600");
    let mut reader = {
        let mut stream = connect(&path);
        stream.write_all(b"{\"command\":\"status\"}\n").unwrap();
        thread::sleep(Duration::from_millis(500));
        BufReader::new(stream)
    };
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let answer: Value = serde_json::from_str(&line).unwrap();
    let workers = answer["status"]["workers"].as_array().unwrap().len();
    assert!(workers >= 600, "{workers}");
    controlled.server.ask("/");
}

/// A copy of the command that anybody may run, as a user that has nothing
/// here; `None` if this process may not become somebody else.
fn as_nobody(folder: &Scratch) -> Option<Command> {
    let root = fs::metadata("/proc/self").is_ok_and(|own| {
        use std::os::unix::fs::MetadataExt;
        own.uid() == 0
    });
    if !root || !has_tool("setpriv") {
        eprintln!("SKIPPED: only root may become somebody else");
        return None;
    }
    let copy = folder.path("handoff");
    if !copy.exists() {
        fs::copy(env!("CARGO_BIN_EXE_handoff"), &copy).unwrap();
        fs::set_permissions(&copy, Permissions::from_mode(0o755)).unwrap();
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    command.arg(copy).current_dir("/");
    Some(command)
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
fn a_worker_is_replaced_after_about_so_many_requests() {
    let controlled =
        Controlled::serve("worn", "--workers 2 --max-requests 200");
    let old = controlled.server.wait_for_workers(2);
    let load = Load::start(controlled.server.place(), 4);
    wait_until("both are replaced", || {
        !old.iter().any(|pid| process::lives(*pid))
    });
    expect_no_loss(load.finish());
    let log = controlled.server.log();
    assert!(log.contains("worker 1 is to be replaced"), "{log}");
    for line in log.lines().filter(|line| line.contains("replaced")) {
        let number = line.split("answered ").nth(1).unwrap();
        let number = number.split(' ').next().unwrap();
        assert!(number.parse::<u64>().unwrap() >= 180, "{line}");
    }
}

#[test]
fn a_worker_that_grows_is_replaced_and_nothing_is_lost() {
    let controlled = Controlled::serve(
        "grown",
        "--workers 1 --max-rss 64M --max-body 200M",
    );
    let server = &controlled.server;
    let worker = server.ask_worker();
    thread::sleep(Duration::from_millis(1200));
    assert_eq!(server.ask_worker(), worker, "it has not grown yet");
    // A body that is still coming is held in memory.
    let mut large = Connection::open(server.place()).unwrap();
    let length = 100 << 20;
    let head = format!(
        "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n"
    );
    large.send(head.as_bytes()).unwrap();
    large.send(&vec![b'x'; length - 1]).unwrap();
    wait_until("it is replaced", || server.ask_worker() != worker);
    assert!(process::lives(worker), "what it has is finished first");
    large.send(b"x").unwrap();
    let response = large.receive().unwrap();
    assert_eq!((response.status, response.body.len()), (200, length));
    assert!(server.log().contains("K in memory"), "{}", server.log());
}

#[test]
fn without_limits_an_idle_master_sleeps() {
    let controlled =
        Controlled::serve("sleeps", "--workers 1 --hang-timeout off");
    controlled.wait_for_ready(1);
    thread::sleep(Duration::from_millis(1500));
    let switches = || {
        let path = format!("/proc/{}/status", controlled.server.pid());
        let text = fs::read_to_string(path).unwrap();
        let line = text.lines().find(|line| line.starts_with("voluntary"));
        let count = line.unwrap().split_whitespace().nth(1).unwrap();
        count.parse::<u64>().unwrap()
    };
    let before = switches();
    thread::sleep(Duration::from_secs(1));
    assert_eq!(switches(), before);
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
