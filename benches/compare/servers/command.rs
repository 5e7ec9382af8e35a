//! How each server is started. The configurations are in `benches/peers/`.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Command;

use super::peer::Peer;
use crate::bench::Bench;
use crate::machine;
use crate::result::Result;
use crate::shape::Shape;
use crate::tools::{Tools, in_project};

/// The command that starts it on 127.0.0.1:`port`.
pub(crate) fn of(
    peer: Peer,
    bench: &Bench,
    port: u16,
    workers: usize,
) -> Result<Command> {
    let tools = &bench.tools;
    let program = peer
        .program(tools)
        .ok_or_else(|| format!("{} is not here", peer.name()))?;
    let cpu = bench.plan.cpus.map(|(servers, _)| servers);
    let mut command = tools.wrapped(cpu, &program);
    let floor = |command: &mut Command, mode: &str, shape| {
        let reply = bench.replies.for_shape(shape);
        let (port, workers) = (port.to_string(), workers.to_string());
        command.args([mode, port.as_str(), reply, workers.as_str()]);
    };
    match peer {
        Peer::FloorKeepAlive => floor(&mut command, "ka", Shape::KeepAlive),
        Peer::FloorPipelined => floor(&mut command, "pipe", Shape::Pipelined),
        Peer::FloorOwn => floor(&mut command, "own", Shape::Close),
        Peer::FloorPass => floor(&mut command, "pass", Shape::Close),
        Peer::FloorMore => floor(&mut command, "more", Shape::Close),
        Peer::Handoff | Peer::HandoffAgain | Peer::HandoffPlain => {
            command.args(["serve", "--log-level", "warn"]);
            command.args(["--listen", &format!("127.0.0.1:{port}")]);
            command.args(["--workers", &workers.to_string()]);
            if peer == Peer::HandoffPlain {
                command.arg("--no-salvage");
            }
        }
        Peer::Nginx => nginx(&mut command, tools, port, "reuseport")?,
        Peer::NginxDeferred => {
            nginx(&mut command, tools, port, "reuseport deferred")?;
        }
        Peer::Haproxy => haproxy(&mut command, tools, port, "")?,
        Peer::HaproxyDeferred => {
            haproxy(&mut command, tools, port, "defer-accept")?;
        }
        Peer::H2o => h2o(&mut command, tools, port)?,
        Peer::Hyper => {
            command.arg(port.to_string());
        }
        Peer::NodeRoundRobin(_) => cluster(&mut command, port, workers, "rr"),
        Peer::NodeNone(_) => cluster(&mut command, port, workers, "none"),
        Peer::NodeReusePort => {
            cluster(&mut command, port, workers, "rr");
            command.env("REUSE_PORT", "1");
        }
        Peer::HandoffRun(node) => {
            run(&mut command, tools.node(node), port, workers);
        }
    }
    Ok(command)
}

/// What a server with files of its own writes and reads.
pub(crate) fn folder(tools: &Tools, port: u16) -> PathBuf {
    tools.scratch.join(format!("server-{port}"))
}

/// A file of `benches/peers/` with words replaced, in the server's folder.
fn filled_in(
    tools: &Tools,
    port: u16,
    name: &str,
    words: &[(&str, String)],
) -> Result<PathBuf> {
    let template = in_project("benches/peers").join(name);
    let mut text = fs::read_to_string(&template)
        .map_err(|error| format!("{}: {error}", template.display()))?;
    for (word, meaning) in words {
        text = text.replace(word, meaning);
    }
    let folder = folder(tools, port);
    let file = folder.join(name);
    fs::create_dir_all(&folder)
        .and_then(|()| fs::write(&file, text))
        .map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(file)
}

fn nginx(
    command: &mut Command,
    tools: &Tools,
    port: u16,
    options: &str,
) -> Result<()> {
    let words = [
        ("LISTEN", format!("127.0.0.1:{port} {options}")),
        ("LIMIT", (machine::descriptors() - 100).to_string()),
    ];
    let file = filled_in(tools, port, "nginx.conf", &words)?;
    command.args(["-e", "stderr", "-p"]).arg(folder(tools, port));
    command.arg("-c").arg(file);
    Ok(())
}

fn haproxy(
    command: &mut Command,
    tools: &Tools,
    port: u16,
    options: &str,
) -> Result<()> {
    let words = [
        ("LISTEN", format!("127.0.0.1:{port} backlog 4096 {options}")),
        ("LIMIT", (machine::descriptors() - 1000).to_string()),
    ];
    let file = filled_in(tools, port, "haproxy.cfg", &words)?;
    command.args(["-db", "-f"]).arg(file);
    Ok(())
}

fn h2o(command: &mut Command, tools: &Tools, port: u16) -> Result<()> {
    // Asked by root it would become nobody, who may not read our files; and
    // only root may say who it is to be.
    let is_root = fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    let words = [
        ("USER", if is_root { "user: root" } else { "" }.to_owned()),
        ("PORT", port.to_string()),
        ("LIMIT", (machine::descriptors() - 1000).to_string()),
        ("FOLDER", in_project("benches/peers").display().to_string()),
    ];
    let file = filled_in(tools, port, "h2o.conf", &words)?;
    command.arg("-c").arg(file);
    Ok(())
}

fn cluster(command: &mut Command, port: u16, workers: usize, policy: &str) {
    command.arg(in_project("benches/peers/cluster.js"));
    command.env("PORT", port.to_string());
    command.env("WORKERS", workers.to_string());
    command.env("NODE_CLUSTER_SCHED_POLICY", policy);
}

fn run(
    command: &mut Command,
    node: Option<&PathBuf>,
    port: u16,
    workers: usize,
) {
    command.args(["run", "--log-level", "warn"]);
    command.args(["--workers", &workers.to_string(), "--"]);
    command.args(node);
    command.arg(in_project("benches/peers/app.js"));
    command.env("PORT", port.to_string());
}
