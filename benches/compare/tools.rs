//! The programs that are needed or compared: found, or built.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::result::Result;

/// A release of Node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    V20,
    V24,
}

impl Node {
    fn major(self) -> &'static str {
        match self {
            Node::V20 => "20",
            Node::V24 => "24",
        }
    }
}

/// Where each program is; `None`: not here.
#[derive(Debug)]
pub(crate) struct Tools {
    pub(crate) handoff: PathBuf,
    pub(crate) wrk: PathBuf,
    pub(crate) floor: Option<PathBuf>,
    pub(crate) hyper: Option<PathBuf>,
    pub(crate) nginx: Option<PathBuf>,
    pub(crate) haproxy: Option<PathBuf>,
    pub(crate) h2o: Option<PathBuf>,
    node20: Option<PathBuf>,
    node24: Option<PathBuf>,
    pub(crate) taskset: Option<PathBuf>,
    /// Ends a server when we end, however we end.
    pub(crate) setpriv: Option<PathBuf>,
    pub(crate) perf: Option<PathBuf>,
    pub(crate) strace: Option<PathBuf>,
    /// For what the servers write, under cargo's target folder.
    pub(crate) scratch: PathBuf,
}

/// A file of the project, by its path from the root.
pub(crate) fn in_project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

impl Tools {
    /// Notes what is missing, and leads to a gap in the results.
    pub(crate) fn find(notes: &mut Vec<String>) -> Result<Tools> {
        let handoff = PathBuf::from(env!("CARGO_BIN_EXE_handoff"));
        let target = handoff.ancestors().nth(2).unwrap_or(Path::new("."));
        let scratch = target.join("bench");
        std::fs::create_dir_all(&scratch)
            .map_err(|error| format!("{}: {error}", scratch.display()))?;
        let wrk = find("wrk").ok_or("there is no wrk here: make bench")?;
        let mut named = |name: &str, what: Option<PathBuf>| {
            if what.is_none() {
                notes.push(format!("No {name} here, so it is left out."));
            }
            what
        };
        Ok(Tools {
            floor: named("floor (no C compiler?)", build_floor(&scratch)),
            hyper: named("hyper", build_hyper(target)),
            nginx: named("nginx", find("nginx")),
            haproxy: named("HAProxy", find("haproxy")),
            h2o: named("h2o", find("h2o")),
            node20: named("Node 20", find_node(Node::V20, &scratch)),
            node24: named("Node 24", find_node(Node::V24, &scratch)),
            wrk,
            taskset: find("taskset"),
            // Not every setpriv can do it.
            setpriv: find("setpriv").filter(|setpriv| {
                let mut command = Command::new(setpriv);
                runs(command.args(["--pdeathsig", "TERM", "true"]))
            }),
            perf: find("perf"),
            strace: find("strace"),
            handoff,
            scratch,
        })
    }

    pub(crate) fn node(&self, release: Node) -> Option<&PathBuf> {
        match release {
            Node::V20 => self.node20.as_ref(),
            Node::V24 => self.node24.as_ref(),
        }
    }

    /// One after the other, each the command of the one before it.
    pub(crate) fn wrapped(
        &self,
        cpu: Option<usize>,
        program: &Path,
    ) -> Command {
        let mut words: Vec<String> = Vec::new();
        if let Some(setpriv) = &self.setpriv {
            words.push(setpriv.display().to_string());
            words.extend(["--pdeathsig", "TERM"].map(str::to_owned));
        }
        if let (Some(taskset), Some(cpu)) = (&self.taskset, cpu) {
            words.push(taskset.display().to_string());
            words.extend(["-c".to_owned(), cpu.to_string()]);
        }
        words.push(program.display().to_string());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).stdin(Stdio::null());
        command
    }
}

/// As the shell finds it, or where daemons are kept.
fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    folders.extend(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from));
    folders.iter().map(|folder| folder.join(name)).find(|one| one.is_file())
}

/// The shell's own if it is of that release, else what `make bench` has got.
fn find_node(release: Node, scratch: &Path) -> Option<PathBuf> {
    let major = release.major();
    let got = format!("node{major}/node_modules/node/bin/node");
    let is_it = |node: &PathBuf| {
        let output = Command::new(node).arg("--version").output();
        let start = format!("v{major}.");
        output.is_ok_and(|output| output.stdout.starts_with(start.as_bytes()))
    };
    find("node").into_iter().chain([scratch.join(got)]).find(is_it)
}

/// Whether it ends well; it says nothing.
pub(crate) fn runs(command: &mut Command) -> bool {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn build_floor(scratch: &Path) -> Option<PathBuf> {
    let built = scratch.join("floor");
    let mut compiler = Command::new("cc");
    compiler.args(["-std=c11", "-O2", "-Wall", "-Wextra", "-o"]);
    compiler.arg(&built).arg(in_project("benches/floor.c"));
    let compiled = compiler.status().is_ok_and(|status| status.success());
    compiled.then_some(built)
}

fn build_hyper(target: &Path) -> Option<PathBuf> {
    let folder = target.join("hyper");
    let cargo = std::env::var_os("CARGO").unwrap_or("cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--release", "--locked", "--quiet"]);
    command.arg("--manifest-path");
    command.arg(in_project("benches/hyper/Cargo.toml"));
    command.arg("--target-dir").arg(&folder);
    let built = command.status().is_ok_and(|status| status.success());
    built.then(|| folder.join("release/hyper-peer"))
}
