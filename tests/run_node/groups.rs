//! A worker is all of its process group: the app under a script or npm, and
//! what the app has started.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use crate::common::server::{Server, handoff};
use crate::common::{Scratch, has_tool, process, wait_until, within};
use crate::need_node;

/// Notes its pid, each SIGTERM, and that it came to its end 300 ms after the
/// first; a second one is its end at once. It never ends by itself.
const CAREFUL: &str = r"
const fs = require('node:fs');
const note = (word) => fs.appendFileSync(`${__dirname}/notes`, `${word}\n`);
process.on('SIGTERM', () => {
  note('term');
  process.on('SIGTERM', () => { note('at once'); process.exit(1); });
  setTimeout(() => { note('in peace'); process.exit(0); }, 300);
});
setInterval(() => {}, 1000);
";

const SERVE: &str = "require('node:http').createServer((_, response) => \
    response.end('x')).listen(0);";

const IN_PEACE: &str = "term\nin peace\n";

/// A folder with an app that serves, and notes what happens to it.
fn careful(name: &str) -> Scratch {
    let folder = Scratch::new(name);
    write(&folder, "app.js", &format!("{CAREFUL}{SERVE}"));
    folder
}

fn write(folder: &Scratch, name: &str, text: &str) {
    fs::write(folder.path(name), text).unwrap();
}

fn notes(folder: &Scratch) -> String {
    fs::read_to_string(folder.path("notes")).unwrap_or_default()
}

/// The server with one worker, a script: `app` stands for the app there.
fn script(folder: &Scratch, lines: &str) -> Server {
    let app = format!("node {}", folder.path("app.js").display());
    let text = format!("#!/bin/sh\n{}\n", lines.replace("$app", &app));
    write(folder, "start.sh", &text);
    let path = folder.path("start.sh");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let options = "run --host 127.0.0.1 --workers 1 --grace 1 --";
    let mut command = handoff(options);
    command.arg(path);
    Server::start(command)
}

/// Those that live besides the master.
fn kept(server: &Server) -> Vec<u32> {
    let mut all = server.processes();
    all.retain(|pid| *pid != server.pid());
    all
}

/// A kill takes its time, but no other would come.
fn all_are_gone(server: &Server) {
    within(Duration::from_secs(10), || kept(server).is_empty());
    let left = kept(server);
    process::signal("KILL", &left);
    assert!(left.is_empty(), "{left:?} live on: {}", server.log());
}

#[test]
fn the_app_under_a_script_goes_with_it_and_has_time_to() {
    need_node!();
    let folder = careful("script");
    let mut server = script(&folder, "$app\necho the script goes on");
    let old = kept(&server);
    assert_eq!(old.len(), 2, "{old:?}");
    server.signal("HUP");
    wait_until("the script and the app are new", || {
        let now = kept(&server);
        now.len() == 2 && !now.iter().any(|pid| old.contains(pid))
    });
    assert_eq!(notes(&folder), IN_PEACE, "{}", server.log());
    assert_eq!(server.ask("/").status, 200);
    server.signal("TERM");
    assert!(server.wait().success());
    all_are_gone(&server);
    assert_eq!(notes(&folder), IN_PEACE.repeat(2), "{}", server.log());
}

#[test]
fn who_is_left_of_a_group_and_will_not_hear_of_it_is_killed() {
    need_node!();
    let folder = careful("deaf");
    let mut server =
        script(&folder, "sh -c 'trap \"\" TERM; sleep 900' &\n$app");
    server.signal("TERM");
    assert!(server.wait().success());
    all_are_gone(&server);
    let log = server.log();
    assert!(log.contains("did not heed SIGTERM"), "{log}");
}

#[test]
fn a_second_signal_ends_the_whole_group_at_once() {
    need_node!();
    let folder = careful("now");
    let mut server = script(&folder, "$app\necho the script goes on");
    server.signal("TERM");
    server.signal("INT");
    server.wait();
    all_are_gone(&server);
}

#[test]
fn a_child_of_the_app_does_not_outlive_it_but_a_session_of_its_own_does() {
    need_node!();
    for end in ["process.exit(3)", "process.kill(process.pid, 'SIGKILL')"] {
        let folder = Scratch::new("child");
        let child = "require('node:child_process').spawn('sleep', ['900']";
        let note = "require('node:fs').writeFileSync(`${__dirname}/own`, ";
        let app = format!(
            "const child = {child});\
             const own = {child}, {{ detached: true, stdio: 'ignore' }});\
             {note}`${{child.pid}} ${{own.pid}}`);\
             require('node:http').createServer((request, response) => {{\
               response.end('x');\
               if (request.url === '/end') setTimeout(() => {end}, 50);\
             }}).listen(0);"
        );
        write(&folder, "app.js", &app);
        let server = script(&folder, "exec $app");
        let pids = fs::read_to_string(folder.path("own")).unwrap();
        let pids: Vec<u32> =
            pids.split(' ').map(|pid| pid.parse().unwrap()).collect();
        let &[child, own] = &pids[..] else { panic!("{pids:?}") };
        assert!(process::lives(child) && process::lives(own));
        server.ask("/end");
        wait_until("the child is gone", || !process::lives(child));
        let fell = within(Duration::from_millis(300), || !process::lives(own));
        // Without the master no more are started; they are the test's to end.
        server.signal("KILL");
        wait_until("all sessions are ended", || {
            process::signal("KILL", &kept(&server));
            kept(&server).is_empty()
        });
        assert!(!fell, "a session of its own is not ours");
    }
}

/// npm passes the signals that it gets on to the app, and waits for it.
#[test]
fn an_app_behind_npm_gets_one_sigterm() {
    need_node!();
    if !has_tool("npm") {
        return;
    }
    let folder = Scratch::new("npm");
    // It does not listen: npm keeps the channel to itself.
    let app = format!("{CAREFUL}note('runs');");
    write(&folder, "app.js", &app);
    let package = r#"{"name":"a","scripts":{"start":"node app.js"}}"#;
    write(&folder, "package.json", package);
    let mut command =
        handoff("run --workers 1 --boot-timeout 60 -- npm start");
    command.current_dir(folder.path(""));
    let mut server =
        Server::start_unheard(command, std::process::Stdio::null());
    wait_until("the app runs", || notes(&folder) == "runs\n");
    server.signal("TERM");
    assert!(server.wait().success());
    all_are_gone(&server);
    assert_eq!(notes(&folder), format!("runs\n{IN_PEACE}"));
}
