//! Who is measured: handoff with and without its salvage, and beside it two
//! others that keep workers, each as a careful operator would run it.
//!
//! It knows how they are started and told to go, and nothing of what becomes
//! of them.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::common::Scratch;
use super::server::{HANDOFF, WORKERS};

/// Who is struck.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// `handoff serve`, by this program.
    Handoff(&'static str),
    /// The same with `--no-salvage`.
    NoSalvage,
    Nginx,
    /// Node's own cluster.
    Node,
}

impl Subject {
    pub(crate) const ALL: [Subject; 4] = [
        Subject::Handoff(HANDOFF),
        Subject::NoSalvage,
        Subject::Nginx,
        Subject::Node,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Subject::Handoff(_) => "handoff",
            Subject::NoSalvage => "no-salvage",
            Subject::Nginx => "nginx",
            Subject::Node => "node",
        }
    }

    /// Others inform, and have no bars.
    pub(crate) fn is_peer(self) -> bool {
        match self {
            Subject::Handoff(_) | Subject::NoSalvage => false,
            Subject::Nginx | Subject::Node => true,
        }
    }

    /// What it calls itself, or why it cannot be measured here.
    pub(crate) fn version(self) -> Result<String, String> {
        let (program, option) = match self {
            Subject::Handoff(_) | Subject::NoSalvage => {
                let debug =
                    if cfg!(debug_assertions) { " (debug)" } else { "" };
                let more = match self {
                    Subject::NoSalvage => " --no-salvage",
                    _ => "",
                };
                let version = env!("CARGO_PKG_VERSION");
                return Ok(format!("handoff {version}{debug}{more}"));
            }
            Subject::Nginx => ("nginx", "-v"),
            Subject::Node => ("node", "-v"),
        };
        let output =
            Command::new(program).arg(option).output().map_err(|error| {
                format!("{program}: {error}; make bench-deps gets it")
            })?;
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        let word = said.split_whitespace().last().unwrap_or_default();
        let number = word.trim_start_matches(|c: char| !c.is_ascii_digit());
        Ok(format!("{program} {number}"))
    }

    /// The signal by which the master, or one worker, is told to go when it
    /// has answered. For nginx TERM is a fast end.
    pub(crate) fn farewell(self) -> &'static str {
        match self {
            Subject::Nginx => "QUIT",
            Subject::Handoff(_) | Subject::NoSalvage | Subject::Node => "TERM",
        }
    }
}

/// nginx, with the sources that stand beside this file.
pub(crate) fn nginx(folder: &Scratch, address: SocketAddr) -> Command {
    let template = fs::read_to_string(source("nginx.conf")).unwrap();
    let text = template.replace("ADDRESS", &address.to_string());
    let file = folder.path("nginx.conf");
    fs::write(&file, text).unwrap();
    let mut command = Command::new("nginx");
    // Without -e it tries a log that only root can write.
    command.arg("-p").arg(folder.as_ref()).arg("-c").arg(file);
    command.args(["-e", "stderr"]).process_group(0);
    command
}

/// Node, likewise.
pub(crate) fn node(address: SocketAddr) -> Command {
    let mut command = Command::new("node");
    command.arg(source("cluster.js")).arg(address.ip().to_string());
    command.arg(address.port().to_string()).arg(WORKERS.to_string());
    command.process_group(0);
    command
}

fn source(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    root.join("tests/chaos/peers").join(name)
}
