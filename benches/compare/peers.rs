//! Who is measured, and how each is started. The configurations are in
//! `benches/peers/`.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::Result;
use crate::bench::Bench;
use crate::machine;
use crate::scenario::Shape;
use crate::tools::{Tools, in_project};

/// A server; each but ours runs one worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Peer {
    FloorKeepAlive,
    FloorPipelined,
    /// The worker accepts.
    FloorOwn,
    /// The master accepts and hands over.
    FloorPass,
    Handoff,
    /// A second instance: what differs between the two is noise.
    HandoffAgain,
    /// Connections end with their worker, as everywhere else.
    HandoffPlain,
    Nginx,
    /// With `TCP_DEFER_ACCEPT`, as ours has it by default.
    NginxDeferred,
    Haproxy,
    Hyper,
    /// Node's primary accepts and hands over.
    NodeRoundRobin,
    /// Node's workers accept.
    NodeNone,
    /// Node's worker under our master.
    HandoffRun,
}

impl Peer {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Peer::FloorKeepAlive => "floor-ka",
            Peer::FloorPipelined => "floor-pipe",
            Peer::FloorOwn => "floor D-own-rp",
            Peer::FloorPass => "floor D-pb-cr",
            Peer::Handoff => "handoff",
            Peer::HandoffAgain => "handoff again",
            Peer::HandoffPlain => "handoff, no salvage",
            Peer::Nginx => "nginx",
            Peer::NginxDeferred => "nginx deferred",
            Peer::Haproxy => "HAProxy",
            Peer::Hyper => "hyper",
            Peer::NodeRoundRobin => "Node, round robin",
            Peer::NodeNone => "Node, SCHED_NONE",
            Peer::HandoffRun => "handoff run, Node",
        }
    }

    /// What it is, for the table.
    pub(crate) fn about(self) -> &'static str {
        match self {
            Peer::FloorKeepAlive => "floor in C: recv, send",
            Peer::FloorPipelined => "floor in C: recv, memmem, send",
            Peer::FloorOwn => "floor in C: the worker accepts",
            Peer::FloorPass => "floor in C: the master hands over",
            Peer::Handoff => "this server, one worker",
            Peer::HandoffAgain => "the same once more: the noise",
            Peer::HandoffPlain => "this server with --no-salvage",
            Peer::Nginx => "nginx, reuseport",
            Peer::NginxDeferred => "nginx, reuseport, deferred",
            Peer::Haproxy => "HAProxy's http-request return",
            Peer::Hyper => "hyper, single-threaded runtime",
            Peer::NodeRoundRobin => "Node's primary hands over",
            Peer::NodeNone => "Node's worker accepts",
            Peer::HandoffRun => "Node's worker under our master",
        }
    }

    /// It takes every read for a request.
    pub(crate) fn is_floor(self) -> bool {
        matches!(
            self,
            Peer::FloorKeepAlive
                | Peer::FloorPipelined
                | Peer::FloorOwn
                | Peer::FloorPass
        )
    }

    /// `None`: not here.
    pub(crate) fn program(self, tools: &Tools) -> Option<PathBuf> {
        match self {
            Peer::FloorKeepAlive
            | Peer::FloorPipelined
            | Peer::FloorOwn
            | Peer::FloorPass => tools.floor.clone(),
            Peer::Handoff | Peer::HandoffAgain | Peer::HandoffPlain => {
                Some(tools.handoff.clone())
            }
            Peer::Nginx | Peer::NginxDeferred => tools.nginx.clone(),
            Peer::Haproxy => tools.haproxy.clone(),
            Peer::Hyper => tools.hyper.clone(),
            Peer::NodeRoundRobin | Peer::NodeNone => tools.node.clone(),
            Peer::HandoffRun => {
                let both = tools.node.is_some() && tools.can_run;
                both.then(|| tools.handoff.clone())
            }
        }
    }

    /// Runs our program: its workers come after its listener.
    pub(crate) fn is_ours(self) -> bool {
        match self {
            Peer::Handoff
            | Peer::HandoffAgain
            | Peer::HandoffPlain
            | Peer::HandoffRun => true,
            Peer::FloorKeepAlive
            | Peer::FloorPipelined
            | Peer::FloorOwn
            | Peer::FloorPass
            | Peer::Nginx
            | Peer::NginxDeferred
            | Peer::Haproxy
            | Peer::Hyper
            | Peer::NodeRoundRobin
            | Peer::NodeNone => false,
        }
    }

    /// The command that starts it on 127.0.0.1:`port`.
    pub(crate) fn command(
        self,
        bench: &Bench,
        port: u16,
        workers: usize,
    ) -> Result<Command> {
        let tools = &bench.tools;
        let program = self
            .program(tools)
            .ok_or_else(|| format!("{} is not here", self.name()))?;
        let cpu = bench.plan.cpus.map(|(servers, _)| servers);
        let mut command = tools.wrapped(cpu, &program);
        match self {
            Peer::FloorKeepAlive => {
                floor(&mut command, bench, "ka", port, workers)
            }
            Peer::FloorPipelined => {
                floor(&mut command, bench, "pipe", port, workers)
            }
            Peer::FloorOwn => floor(&mut command, bench, "own", port, workers),
            Peer::FloorPass => {
                floor(&mut command, bench, "pass", port, workers)
            }
            Peer::Handoff | Peer::HandoffAgain | Peer::HandoffPlain => {
                command.args(["serve", "--log-level", "warn"]);
                command.args(["--listen", &format!("127.0.0.1:{port}")]);
                command.args(["--workers", &workers.to_string()]);
                if self == Peer::HandoffPlain {
                    command.arg("--no-salvage");
                }
            }
            Peer::Nginx => {
                nginx(&mut command, tools, port, "reuseport")?;
            }
            Peer::NginxDeferred => {
                nginx(&mut command, tools, port, "reuseport deferred")?;
            }
            Peer::Haproxy => {
                let limit = machine::descriptors() - 1000;
                command.arg("-db").arg("-f");
                command.arg(in_project("benches/peers/haproxy.cfg"));
                command.env("PORT", port.to_string());
                command.env("LIMIT", limit.to_string());
            }
            Peer::Hyper => {
                command.arg(port.to_string());
            }
            Peer::NodeRoundRobin => {
                cluster(&mut command, port, workers, "rr");
            }
            Peer::NodeNone => cluster(&mut command, port, workers, "none"),
            Peer::HandoffRun => {
                command.args(["run", "--log-level", "warn"]);
                command.args(["--workers", &workers.to_string(), "--"]);
                command.args(tools.node.as_deref());
                command.arg(in_project("benches/peers/app.js"));
                command.env("PORT", port.to_string());
            }
        }
        Ok(command)
    }
}

fn floor(
    command: &mut Command,
    bench: &Bench,
    mode: &str,
    port: u16,
    workers: usize,
) {
    let shape = match mode {
        "own" | "pass" => Shape::Close,
        _ => Shape::KeepAlive,
    };
    let reply = bench.replies.for_shape(shape);
    command.args([mode, &port.to_string(), reply, &workers.to_string()]);
}

fn nginx(
    command: &mut Command,
    tools: &Tools,
    port: u16,
    options: &str,
) -> Result<()> {
    let template = in_project("benches/peers/nginx.conf");
    let text = fs::read_to_string(&template)
        .map_err(|error| format!("{}: {error}", template.display()))?;
    let text = text
        .replace("LISTEN", &format!("127.0.0.1:{port} {options}"))
        .replace("LIMIT", &(machine::descriptors() - 100).to_string());
    let folder = tools.scratch.join(format!("nginx-{port}"));
    let file = folder.join("nginx.conf");
    fs::create_dir_all(&folder)
        .and_then(|()| fs::write(&file, text))
        .map_err(|error| format!("{}: {error}", file.display()))?;
    command.args(["-e", "stderr", "-p"]).arg(&folder).arg("-c").arg(&file);
    Ok(())
}

fn cluster(command: &mut Command, port: u16, workers: usize, policy: &str) {
    command.arg(in_project("benches/peers/cluster.js"));
    command.env("PORT", port.to_string());
    command.env("WORKERS", workers.to_string());
    command.env("NODE_CLUSTER_SCHED_POLICY", policy);
}
