//! `handoff demo socketpair` and `ffi/socketpair.c` print the same, and
//! either end of the one talks to the other end of the other.

#![allow(clippy::unwrap_used, reason = "what goes wrong fails the test")]

mod demo_support;

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use demo_support::{
    Guarded, handoff, normalised, output, scratch, shared_file, stdout, tool,
};

const DIALOGUE: &str = "\
Parent process's pid is A
Fork child process successed
Child process's pid is :B
Pid B read string : a message to child  process!
Pid A read string : a message to parent process!
";

/// Which program plays an end.
#[derive(Clone, Debug)]
enum Player {
    C(std::path::PathBuf),
    Rust,
}

impl Player {
    fn command(&self) -> Command {
        match self {
            Player::C(program) => Command::new(program),
            Player::Rust => {
                let mut command = handoff();
                command.args(["demo", "socketpair"]);
                command
            }
        }
    }

    /// Plays one end, over descriptor 3.
    fn end(&self, end: &str, socket: UnixStream, out: File) -> Guarded {
        let program = self.command();
        let mut shell = Command::new("/bin/sh");
        shell
            .args(["-c", r#"exec "$0" "$@" 3<&0 0</dev/null"#])
            .arg(program.get_program())
            .args(program.get_args())
            .args([end, "3"])
            .stdin(std::os::fd::OwnedFd::from(socket))
            .stdout(out)
            .stderr(Stdio::null());
        Guarded::start(&mut shell)
    }
}

/// The C program; `None` if there is no compiler.
fn c(test: &str) -> Option<Player> {
    let compiler = tool("cc")?;
    let program = scratch(&format!("socketpair-{test}"));
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/ffi/socketpair.c");
    stdout(
        Command::new(compiler)
            .args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-o"])
            .arg(&program)
            .arg(source),
    );
    Some(Player::C(program))
}

/// What the two ends print into one file.
fn dialogue(parent: &Player, child: &Player, name: &str) -> String {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let path = scratch(name);
    let mut child = child.end("child", theirs, shared_file(&path));
    let mut parent = parent.end("parent", ours, shared_file(&path));
    assert!(parent.wait().success() && child.wait().success());
    normalised(&fs::read_to_string(path).unwrap())
}

#[test]
fn the_rust_program_prints_what_the_article_prints() {
    let printed = stdout(&mut Player::Rust.command());
    assert_eq!(normalised(&printed), DIALOGUE);
}

#[test]
fn both_programs_print_the_same() {
    let Some(c) = c("both") else { return };
    let printed = stdout(&mut c.command());
    assert_eq!(normalised(&printed), DIALOGUE);
}

#[test]
fn an_end_of_either_program_talks_to_an_end_of_either() {
    let Some(c) = c("ends") else { return };
    let forked = "Fork child process successed\n";
    let expected = DIALOGUE.replace(forked, "");
    for (name, parent, child) in [
        ("c-c", &c, &c),
        ("rust-rust", &Player::Rust, &Player::Rust),
        ("c-rust", &c, &Player::Rust),
        ("rust-c", &Player::Rust, &c),
    ] {
        assert_eq!(dialogue(parent, child, name), expected, "{name}");
    }
}

#[test]
fn an_end_may_be_standard_input() {
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let mut command = Player::Rust.command();
    command.args(["child", "0"]).stdin(std::os::fd::OwnedFd::from(theirs));
    let mut child = Guarded::start(command.stdout(Stdio::null()));
    ours.write_all(b"a line\n").unwrap();
    assert!(child.wait().success());
}

#[test]
fn both_programs_fail_alike() {
    let c = c("fail");
    for player in [Some(Player::Rust), c].into_iter().flatten() {
        // The other end hangs up in the middle of a line.
        for end in ["parent", "child"] {
            let (mut ours, theirs) = UnixStream::pair().unwrap();
            ours.write_all(b"half a line").unwrap();
            let nowhere = File::create("/dev/null").unwrap();
            let mut played = player.end(end, theirs, nowhere);
            drop(ours);
            assert_eq!(played.wait().code(), Some(1), "{player:?} {end}");
        }
        // There is no such descriptor.
        let mut command = player.command();
        let status = output(command.args(["child", "77"])).status;
        assert_eq!(status.code(), Some(1), "{player:?}");
        // Nobody can print.
        let full = File::create("/dev/full").unwrap();
        let mut command = player.command();
        command.stdout(full).stderr(Stdio::null());
        let mut played = Guarded::start(&mut command);
        assert_eq!(played.wait().code(), Some(1), "{player:?}");
        // What is asked means nothing.
        let mut command = player.command();
        let status = output(command.args(["uncle", "3"])).status;
        assert_eq!(status.code(), Some(2), "{player:?}");
    }
}
