//! `handoff demo ipc` prints the article's lines, alone and with a real Node
//! as either end.

mod demo_support;

use std::ffi::OsString;
use std::fs;
use std::process::Command;

use demo_support::{
    handoff, in_time, normalised, numbers, output, scratch, shared_file,
    stdout, tool,
};

const GREETINGS: &str = r#"{"hello":"worker","pid":A}
{"hello":"master","pid":B}
channel closed
"#;

/// Prints what it is told into a file, and greets back.
const WORKER: &str = r#"
    const [, file] = process.argv;
    process.on('message', message => {
        const line = JSON.stringify(message) + '\n';
        require('fs').appendFileSync(file, line);
        process.send({hello: 'master', pid: process.pid});
    });
"#;

/// The same with something of Node's own before the greeting, and a goodbye.
const TALKATIVE: &str = r#"
    const [, file] = process.argv;
    process.send({cmd: 'NODE_OF_MY_OWN', pid: 0});
    process.on('message', message => {
        const line = JSON.stringify(message) + '\n';
        require('fs').appendFileSync(file, line);
        process.send({hello: 'master', pid: process.pid}, () => {
            process.disconnect();
        });
    });
"#;

const MASTER: &str = r#"
    const [, program] = process.argv;
    const worker = require('child_process').spawn(
        program, ['demo', 'ipc'], {stdio: [0, 1, 2, 'ipc']});
    worker.send({hello: 'worker', pid: process.pid});
    worker.on('message', message => console.log(JSON.stringify(message)));
    worker.on('disconnect', () => console.log('channel closed'));
    worker.on('exit', code => process.exitCode = code);
"#;

#[test]
fn master_and_worker_greet_each_other_by_pid() {
    let printed = stdout(handoff().args(["demo", "ipc"]));
    assert_eq!(normalised(&printed), GREETINGS);
}

#[test]
fn a_real_node_is_a_worker() {
    let Some(node) = tool("node") else { return };
    for (name, script) in [("worker", WORKER), ("talkative", TALKATIVE)] {
        let path = scratch(&format!("ipc-{name}"));
        let mut out = shared_file(&path);
        let program = [
            node.clone().into_os_string(),
            OsString::from("-e"),
            OsString::from(script),
            path.clone().into_os_string(),
        ];
        in_time(move || {
            let done =
                handoff::internals::demo::ipc::master(&program, &mut out);
            done.map_err(|error| error.to_string()).unwrap();
        });
        let printed = fs::read_to_string(path).unwrap();
        assert_eq!(normalised(&printed), GREETINGS, "{name}");
        assert_eq!(numbers(&printed)[0], std::process::id());
    }
}

#[test]
fn a_real_node_is_the_master() {
    let Some(node) = tool("node") else { return };
    let mut command = Command::new(node);
    command.args(["-e", MASTER, env!("CARGO_BIN_EXE_handoff")]);
    assert_eq!(normalised(&stdout(&mut command)), GREETINGS);
}

#[test]
fn a_worker_that_says_nothing_is_a_failure() {
    let program = ["/bin/true"].map(OsString::from);
    let out = in_time(move || {
        let mut out = Vec::new();
        handoff::internals::demo::ipc::master(&program, &mut out).unwrap_err();
        out
    });
    assert_eq!(out, b"");
}

#[test]
fn a_channel_that_is_none_is_a_failure() {
    for (number, mode) in [("77", "json"), ("x", "json"), ("0", "advanced")] {
        let mut command = handoff();
        command
            .args(["demo", "ipc"])
            .env("NODE_CHANNEL_FD", number)
            .env("NODE_CHANNEL_SERIALIZATION_MODE", mode);
        let output = output(&mut command);
        assert_eq!(output.status.code(), Some(1), "{number} {mode}");
        assert_eq!(String::from_utf8(output.stdout).unwrap(), "");
    }
}
