//! The servers that are compared, by name.

use std::path::PathBuf;

use crate::tools::{Node, Tools};

/// A server; each but ours runs one worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    FloorKeepAlive,
    FloorPipelined,
    /// The worker accepts.
    FloorOwn,
    /// The master accepts and hands over.
    FloorPass,
    /// The same, as cheap as we know how: see `benches/floor.c`.
    FloorMore,
    Handoff,
    /// A second instance: what differs between the two is noise.
    HandoffAgain,
    /// Connections end with their worker, as everywhere else.
    HandoffPlain,
    Nginx,
    /// With `TCP_DEFER_ACCEPT`, as ours has it by default.
    NginxDeferred,
    Haproxy,
    /// With `TCP_DEFER_ACCEPT`.
    HaproxyDeferred,
    /// It always has `TCP_DEFER_ACCEPT`.
    H2o,
    Hyper,
    /// Node's primary accepts and hands over.
    NodeRoundRobin(Node),
    /// Node's workers accept, all from one socket.
    NodeNone(Node),
    /// Each of Node's workers accepts from a socket of its own.
    NodeReusePort,
    /// Node's worker under our master.
    HandoffRun(Node),
}

impl Peer {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Peer::FloorKeepAlive => "floor-ka",
            Peer::FloorPipelined => "floor-pipe",
            Peer::FloorOwn => "floor D-own-rp",
            Peer::FloorPass => "floor D-pb-cr",
            Peer::FloorMore => "floor D-more",
            Peer::Handoff => "handoff",
            Peer::HandoffAgain => "handoff again",
            Peer::HandoffPlain => "handoff, no salvage",
            Peer::Nginx => "nginx",
            Peer::NginxDeferred => "nginx deferred",
            Peer::Haproxy => "HAProxy",
            Peer::HaproxyDeferred => "HAProxy deferred",
            Peer::H2o => "h2o",
            Peer::Hyper => "hyper",
            Peer::NodeRoundRobin(Node::V20) => "Node 20, round robin",
            Peer::NodeRoundRobin(Node::V24) => "Node 24, round robin",
            Peer::NodeNone(Node::V20) => "Node 20, SCHED_NONE",
            Peer::NodeNone(Node::V24) => "Node 24, SCHED_NONE",
            Peer::NodeReusePort => "Node 24, reusePort",
            Peer::HandoffRun(Node::V20) => "handoff run, Node 20",
            Peer::HandoffRun(Node::V24) => "handoff run, Node 24",
        }
    }

    /// What it is, for the table.
    pub(crate) fn about(self) -> &'static str {
        match self {
            Peer::FloorKeepAlive => "floor in C: recv, send",
            Peer::FloorPipelined => "floor in C: recv, memmem, send",
            Peer::FloorOwn => "floor in C: the worker accepts",
            Peer::FloorPass => "floor in C: the master hands over",
            Peer::FloorMore => "the same, answer and end in one packet",
            Peer::Handoff => "this server, one worker",
            Peer::HandoffAgain => "the same once more: the noise",
            Peer::HandoffPlain => "this server with --no-salvage",
            Peer::Nginx => "nginx, reuseport",
            Peer::NginxDeferred => "nginx, reuseport, deferred",
            Peer::Haproxy => "HAProxy's http-request return",
            Peer::HaproxyDeferred => "the same, defer-accept",
            Peer::H2o => "h2o, one thread, a file",
            Peer::Hyper => "hyper, single-threaded runtime",
            Peer::NodeRoundRobin(_) => "Node's primary hands over",
            Peer::NodeNone(_) => "Node's worker accepts",
            Peer::NodeReusePort => "Node's worker listens by itself",
            Peer::HandoffRun(_) => "Node's worker under our master",
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
                | Peer::FloorMore
        )
    }

    /// Its first process accepts, and others answer.
    pub(crate) fn hands_over(self) -> bool {
        let is_node = matches!(self, Peer::NodeRoundRobin(_));
        let is_floor = matches!(self, Peer::FloorPass | Peer::FloorMore);
        is_node || is_floor || self.is_ours()
    }

    /// Runs our program: its workers come after its listener.
    pub(crate) fn is_ours(self) -> bool {
        matches!(
            self,
            Peer::Handoff
                | Peer::HandoffAgain
                | Peer::HandoffPlain
                | Peer::HandoffRun(_)
        )
    }

    /// `None`: not here.
    pub(crate) fn program(self, tools: &Tools) -> Option<PathBuf> {
        match self {
            Peer::FloorKeepAlive
            | Peer::FloorPipelined
            | Peer::FloorOwn
            | Peer::FloorPass
            | Peer::FloorMore => tools.floor.clone(),
            Peer::Handoff | Peer::HandoffAgain | Peer::HandoffPlain => {
                Some(tools.handoff.clone())
            }
            Peer::Nginx | Peer::NginxDeferred => tools.nginx.clone(),
            Peer::Haproxy | Peer::HaproxyDeferred => tools.haproxy.clone(),
            Peer::H2o => tools.h2o.clone(),
            Peer::Hyper => tools.hyper.clone(),
            Peer::NodeRoundRobin(node) | Peer::NodeNone(node) => {
                tools.node(node).cloned()
            }
            Peer::NodeReusePort => tools.node(Node::V24).cloned(),
            Peer::HandoffRun(node) => {
                tools.node(node).map(|_| tools.handoff.clone())
            }
        }
    }

    /// Those that can be run here.
    pub(crate) fn present(tools: &Tools, peers: &[Peer]) -> Vec<Peer> {
        let has = |peer: &Peer| peer.program(tools).is_some();
        peers.iter().copied().filter(has).collect()
    }
}
