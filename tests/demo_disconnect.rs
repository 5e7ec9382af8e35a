//! `handoff demo disconnect` prints the article's lines, alone and with a
//! real Node as either end; and the successor does not wait for the end of
//! the worker that has disconnected.

mod demo_support;

use std::ffi::OsString;
use std::fs;
use std::process::Command;

use demo_support::{
    handoff, in_time, is_alive, normalised, numbers, output, scratch,
    shared_file, stdout, tool,
};

const LINES: &str = "\
[A] worker A got a connection
[A] worker A is going to disconnect
[B] worker A is disconnected
";

/// As in the article. The first worker stays on after it has disconnected
/// until its successor is there, and fails if that takes too long.
const WORKER: &str = r#"
    const [, file, mark] = process.argv;
    const fs = require('fs'), http = require('http');
    const {worker} = require('cluster');
    const print = words => fs.appendFileSync(
        file, `[${process.pid}] worker ${process.pid} ${words}\n`);
    http.createServer((request, response) => {
        print('got a connection');
        response.end('hello Node.js');
        print('is going to disconnect');
        worker.disconnect();
    }).listen(0, '127.0.0.1');
    if (worker.id === 2) {
        fs.writeFileSync(mark, '');
    } else {
        const start = Date.now();
        const watch = setInterval(() => {
            if (fs.existsSync(mark)) clearInterval(watch);
            else if (Date.now() - start > 20000) process.exit(9);
        }, 5);
    }
"#;

/// Forks workers of ours, gives each of the first two a connection, and tells
/// the third to go.
const PRIMARY: &str = r#"
    const [, program] = process.argv;
    const cluster = require('cluster'), http = require('http');
    process.execPath = program;
    cluster.setupPrimary({exec: 'demo', args: ['disconnect'], execArgv: []});
    let forked = 0, answers = 0;
    const fork = () => { forked++; cluster.fork(); };
    cluster.on('listening', (worker, {port}) => {
        if (forked === 3) return worker.disconnect();
        http.get({host: '127.0.0.1', port}, response => {
            response.setEncoding('utf8').on('data', text => {
                if (text === 'hello Node.js') answers++;
            });
        });
    });
    cluster.on('disconnect', worker => {
        const {pid} = worker.process;
        console.log(`[${process.pid}] worker ${pid} is disconnected`);
        if (forked < 3) fork();
    });
    cluster.on('exit', (worker, code, signal) => {
        const meant = worker.exitedAfterDisconnect;
        if (code !== 0 || signal || !meant) process.exitCode = 1;
    });
    process.on('exit', () => { if (answers !== 2) process.exitCode = 2; });
    fork();
"#;

#[test]
fn a_worker_answers_leaves_and_is_replaced() {
    let output = output(handoff().args(["demo", "disconnect"]));
    assert!(output.status.success());
    let printed = String::from_utf8(output.stdout).unwrap();
    assert_eq!(normalised(&printed), LINES);
    let told = String::from_utf8(output.stderr).unwrap();
    let (gone, all) = (numbers(&printed)[0], numbers(&told));
    let [master, successor] = all[..] else { panic!("{told}") };
    let place = format!("[{master}] worker {successor} has taken its place\n");
    assert_eq!(told, place);
    assert!(successor != gone && printed.contains(&format!("[{master}] ")));
    assert!(![gone, master, successor].into_iter().any(is_alive));
}

#[test]
fn a_real_node_is_the_worker_and_is_replaced_while_it_lives() {
    let Some(node) = tool("node") else { return };
    let (path, mark) = (scratch("disconnect"), scratch("disconnect-mark"));
    let mut out = shared_file(&path);
    let program = [
        node.into_os_string(),
        OsString::from("-e"),
        OsString::from(WORKER),
        path.clone().into_os_string(),
        mark.into_os_string(),
    ];
    in_time(move || {
        let done =
            handoff::internals::demo::disconnect::master(&program, &mut out);
        done.map_err(|error| error.to_string()).unwrap();
    });
    let printed = fs::read_to_string(path).unwrap();
    assert_eq!(normalised(&printed), LINES);
    assert!(printed.contains(&format!("[{}] ", std::process::id())));
}

#[test]
fn a_real_node_is_the_master() {
    let Some(node) = tool("node") else { return };
    let mut command = Command::new(node);
    command.args(["-e", PRIMARY, env!("CARGO_BIN_EXE_handoff")]);
    let printed = stdout(&mut command);
    let lines: Vec<&str> = printed.split_inclusive('\n').collect();
    assert_eq!(lines.len(), 7, "{printed}");
    assert_eq!(normalised(&lines[..3].concat()), LINES);
    assert_eq!(normalised(&lines[3..6].concat()), LINES);
    assert_eq!(normalised(lines[6]), "[A] worker B is disconnected\n");
}

#[test]
fn a_worker_that_is_none_is_a_failure() {
    let program = ["/bin/true"].map(OsString::from);
    let error = in_time(move || {
        let out = &mut Vec::new();
        let done = handoff::internals::demo::disconnect::master(&program, out);
        done.unwrap_err().to_string()
    });
    assert_eq!(error, "the worker: Disconnected, and not Listening");
}
