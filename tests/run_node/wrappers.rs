//! What is typed that cannot work, or works otherwise than one would think;
//! what is told of it, and after how long.

use std::fs;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::http::{Place, ask};
use crate::common::server::{Server, handoff, mark};
use crate::common::{
    Scratch, free_ports, has_tool, process, skipped, wait_until, within,
};
use crate::{app, need_node};

/// An app that listens where the environment says.
const APP: &str = "
    require('node:http')
      .createServer((_, response) => response.end(`${process.pid}`))
      .listen({ port: +process.env.PORT, ...JSON.parse(process.argv[2] ?? '{}') });
";

/// It starts the app as cross-env, npx and their like do.
const WRAP: &str = "
    require('node:child_process')
      .spawn(process.execPath, process.argv.slice(2), { stdio: 'inherit' })
      .on('exit', (code) => process.exit(code));
";

/// Two of them share a port.
const REUSE: &str = "
import os, socket, time
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
s.bind(('127.0.0.1', int(os.environ['PORT'])))
s.listen()
time.sleep(60)
";

const PACKAGE: &str = r#"{ "name": "x", "version": "1.0.0", "scripts": {
    "start": "node app.js", "web": "A=1 node app.js" } }"#;

/// A folder with those, and a port that nobody has.
struct Desk {
    folder: Scratch,
    port: u16,
}

impl Desk {
    fn new(name: &str) -> Desk {
        let folder = Scratch::new(name);
        for (file, text) in [
            ("app.js", APP),
            ("wrap.js", WRAP),
            ("reuse.py", REUSE),
            ("package.json", PACKAGE),
            ("bun.js", "require('node:fs').writeSync(3, '\\x02{}\\n')"),
            ("slow.js", "setTimeout(() => require('./app.js'), 2500)"),
        ] {
            fs::write(folder.path(file), text).unwrap();
        }
        Desk { folder, port: free_ports(4) }
    }

    /// Types that, behind `handoff run`.
    fn run(&self, options: &str, program: &[&str]) -> Typed {
        self.run_with(options, program, "")
    }

    fn run_with(&self, options: &str, program: &[&str], node: &str) -> Typed {
        let log = self.folder.path("log");
        let words = format!("run --host 127.0.0.1 --control off {options} --");
        let mut command = handoff(&words);
        command.args(program).current_dir(self.folder.path(""));
        command.env("PWD", self.folder.path(""));
        command.env("PORT", self.port.to_string());
        if !node.is_empty() {
            command.env("NODE_OPTIONS", node);
        }
        let mark = mark(&mut command);
        let file = fs::File::create(&log).unwrap();
        command.stdin(Stdio::null()).stdout(file.try_clone().unwrap());
        let master = command.stderr(file).spawn().unwrap();
        Typed { master, mark, log, start: Instant::now() }
    }

    fn place(&self) -> Place {
        Place::parse(&format!("http://127.0.0.1:{}", self.port)).unwrap()
    }
}

/// What was typed, as it runs. At the end all of it is ended, also what its
/// wrappers have left.
struct Typed {
    master: Child,
    mark: String,
    log: std::path::PathBuf,
    start: Instant,
}

impl Typed {
    fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap()).into_owned()
    }

    /// Waits until the log has that, and says after how long.
    fn tells(&self, what: &str) -> Duration {
        let told = || self.log().contains(what);
        let in_time = within(crate::common::PATIENCE, told);
        assert!(in_time, "{what} is not told: {}", self.log());
        self.start.elapsed()
    }
}

impl Drop for Typed {
    fn drop(&mut self) {
        let _ = self.master.kill();
        let _ = self.master.wait();
        wait_until("all are gone", || {
            let left = process::marked(&self.mark);
            process::signal("KILL", &left);
            left.is_empty()
        });
    }
}

/// One row: what is typed, and the first line that is told of it.
#[allow(clippy::print_stdout, reason = "the table is for people to read")]
fn row(options: &str, typed: &str, told: &str) {
    let desk = Desk::new(&format!("typed-{}", typed.replace([' ', '/'], "_")));
    let words: Vec<&str> = typed.split(' ').collect();
    let it = desk.run(options, &words);
    let time = it.tells(told);
    println!("{options} -- {typed}: {told}: {time:.1?}");
    // Once is enough, however often its workers fail.
    within(Duration::from_millis(300), || false);
    assert_eq!(it.log().matches(told).count(), 1, "{}", it.log());
}

const ITSELF: &str = "itself: it is a wrapper; start the app itself: \
                      handoff run -- ";

#[test]
fn npm_is_a_wrapper_and_its_script_is_what_to_type() {
    need_node!();
    if !has_tool("npm") {
        return;
    }
    let two = "--workers 2";
    row(two, "npm start", &format!("{ITSELF}node app.js"));
    row(
        two,
        "npm run web",
        &format!("{ITSELF}sh -c 'exec env A=1 node app.js'"),
    );
    row("--workers 1", "npm start", "npm has asked for nothing to listen on");
}

#[test]
fn any_wrapper_is_told_from_the_app_by_what_it_has_started() {
    need_node!();
    for workers in ["--workers 1", "--workers 2"] {
        let told = format!("{ITSELF}node app.js\n");
        row(workers, "node --watch app.js", &told);
        row(workers, "node wrap.js app.js", &told);
    }
}

#[test]
fn who_passes_the_channel_on_is_no_wrapper() {
    need_node!();
    let desk = Desk::new("shell");
    let it = desk.run("--workers 2", &["sh", "-c", "node app.js; exit 3"]);
    it.tells("worker 2 serves");
    assert!(ask(&desk.place(), "/").is_ok());
    within(Duration::from_millis(1300), || false);
    assert!(!it.log().contains("itself"), "{}", it.log());
}

#[test]
fn a_server_of_the_workers_own_is_named_for_what_it_is() {
    need_node!();
    let exclusive = r#"node app.js {"exclusive":true}"#;
    let told = "listens on";
    for workers in ["--workers 1", "--workers 2"] {
        row(
            workers,
            exclusive,
            &format!("node has asked for nothing to listen on, and {told}"),
        );
    }
    row("--workers 2", exclusive, "as with exclusive: true");
}

#[test]
fn a_port_that_the_kernel_shares_out_stays_so() {
    if !has_tool("python3") {
        return;
    }
    let desk = Desk::new("reuse");
    let it = desk.run("--workers 3", &["python3", "reuse.py"]);
    it.tells("workers listen on");
    let told = "reusePort: true: the kernel shares connections out";
    assert_eq!(it.log().matches(told).count(), 1, "{}", it.log());
    assert!(TcpListener::bind(("127.0.0.1", desk.port)).is_err());
}

#[test]
fn code_among_the_words_is_to_be_a_file() {
    need_node!();
    let desk = Desk::new("eval");
    let it = desk.run("--workers 1", &["node", "-e", APP]);
    it.tells("put the code into a file: handoff run -- node FILE");
}

#[test]
fn bun_is_known_by_its_accent() {
    need_node!();
    row(
        "--workers 1",
        "node bun.js",
        "worker 1: the channel is not understood: it speaks as Bun does",
    );
}

#[test]
fn deno_is_a_worker_like_node() {
    let found = Command::new("deno").arg("--version").output();
    if found.is_err() {
        return skipped("there is no deno here");
    }
    let desk = Desk::new("deno");
    fs::rename(desk.folder.path("app.js"), desk.folder.path("app.cjs"))
        .unwrap();
    let it = desk.run("--workers 2", &["deno", "run", "-A", "app.cjs"]);
    it.tells("worker 2 serves");
    it.tells("worker 1 serves");
    let answer = || ask(&desk.place(), "/").unwrap().text().to_owned();
    assert_ne!(answer(), answer());
}

/// The ports on which debuggers listen, as Node says.
fn debuggers(it: &Typed) -> Vec<u16> {
    let log = it.log();
    let told = log.split("Debugger listening on ws://127.0.0.1:").skip(1);
    let ports = told.filter_map(|rest| rest.split('/').next()?.parse().ok());
    let mut ports: Vec<u16> = ports.collect();
    ports.sort_unstable();
    ports
}

#[test]
fn each_worker_has_a_debugger_of_its_own() {
    need_node!();
    for by_words in [true, false] {
        let desk = Desk::new(&format!("inspect-{by_words}"));
        let first = free_ports(4);
        let option = format!("--inspect={first}");
        let it = match by_words {
            true => desk.run("--workers 2", &["node", &option, "app.js"]),
            false => {
                desk.run_with("--workers 2", &["node", "app.js"], &option)
            }
        };
        it.tells("worker 2 serves");
        it.tells("worker 1 serves");
        assert_eq!(debuggers(&it), [first, first + 1], "{}", it.log());
    }
}

#[test]
fn who_is_paused_in_a_debugger_is_not_killed_for_that() {
    need_node!();
    let desk = Desk::new("paused");
    let first = free_ports(4);
    let option = format!("--inspect-brk={first}");
    let options = "--workers 2 --boot-timeout 1.2";
    let it = desk.run(options, &["node", &option, "app.js"]);
    for (worker, port) in [(1, first), (2, first + 1)] {
        let told = format!(
            "worker {worker} has asked for nothing to listen \
                            on yet: it may be paused in a debugger, at port {port}"
        );
        it.tells(&told);
    }
    within(Duration::from_millis(1500), || false);
    let log = it.log();
    assert!(!log.contains("is killed:") && !log.contains("exited"), "{log}");
}

#[test]
fn who_is_late_is_named_with_what_is_waited_for() {
    need_node!();
    row(
        "--workers 1",
        "node slow.js",
        "worker 1 is not ready after 1 s: it has asked for nothing to listen on",
    );
}

#[test]
fn each_end_has_its_reason() {
    need_node!();
    let mut server = app("--workers 2");
    server.wait_for_workers(2);
    let tells = |server: &Server, what: &str| {
        wait_until(what, || server.log().contains(what));
    };
    tells(&server, "worker 2 serves, ");
    server.ask("/leave");
    tells(&server, "s: it wanted to");
    server.wait_for_workers(2);
    server.signal("HUP");
    tells(&server, "s: a reload has replaced it");
    tells(&server, "finished");
    server.signal("TERM");
    server.wait();
    assert!(server.log().contains("s: all stop"), "{}", server.log());
    let server = Server::serve("--workers 1 --max-requests 3");
    (0..5).for_each(|_| drop(server.ask("/")));
    tells(&server, "s: it was recycled");
}
