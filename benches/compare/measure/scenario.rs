//! What clients do: the loads, and who is compared under each.

use crate::servers::peer::Peer;
use crate::shape::Shape;
use crate::tools::Node;

/// A load, and those who bear it in turn.
#[derive(Debug)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) shape: Shape,
    pub(crate) connections: u32,
    pub(crate) peers: &'static [Peer],
    /// The least that the kernel asks for this work; of Node, what its worker
    /// needs by itself.
    pub(crate) floor: Peer,
}

pub(crate) static ALL: [Scenario; 5] = [
    Scenario {
        name: "ka64",
        title: "Keep-alive, 64 connections",
        shape: Shape::KeepAlive,
        connections: 64,
        floor: Peer::FloorKeepAlive,
        peers: &[
            Peer::FloorKeepAlive,
            Peer::Handoff,
            Peer::HandoffAgain,
            Peer::HandoffPlain,
            Peer::Nginx,
            Peer::Haproxy,
            Peer::H2o,
            Peer::Hyper,
            Peer::NodeRoundRobin(Node::V24),
            Peer::HandoffRun(Node::V24),
        ],
    },
    Scenario {
        name: "ka512",
        title: "Keep-alive, 512 connections",
        shape: Shape::KeepAlive,
        connections: 512,
        floor: Peer::FloorKeepAlive,
        peers: &[
            Peer::FloorKeepAlive,
            Peer::Handoff,
            Peer::HandoffAgain,
            Peer::Nginx,
            Peer::Haproxy,
            Peer::H2o,
            Peer::Hyper,
        ],
    },
    Scenario {
        name: "pipe16",
        title: "Pipelined by 16, 64 connections",
        shape: Shape::Pipelined,
        connections: 64,
        floor: Peer::FloorPipelined,
        peers: &[
            Peer::FloorPipelined,
            Peer::Handoff,
            Peer::HandoffAgain,
            Peer::HandoffPlain,
            Peer::Nginx,
            Peer::H2o,
            Peer::Hyper,
            Peer::NodeRoundRobin(Node::V24),
        ],
    },
    Scenario {
        name: "close64",
        title: "A connection for each request, 64 at a time",
        shape: Shape::Close,
        connections: 64,
        floor: Peer::FloorMore,
        peers: &[
            Peer::FloorPass,
            Peer::FloorMore,
            Peer::FloorOwn,
            Peer::Handoff,
            Peer::HandoffAgain,
            Peer::HandoffPlain,
            Peer::Nginx,
            Peer::NginxDeferred,
            Peer::Haproxy,
            Peer::HaproxyDeferred,
            Peer::H2o,
            Peer::Hyper,
            Peer::NodeRoundRobin(Node::V24),
            Peer::HandoffRun(Node::V24),
        ],
    },
    Scenario {
        name: "node64",
        title: "Node: a connection for each request, 64 at a time",
        shape: Shape::Close,
        connections: 64,
        floor: Peer::NodeReusePort,
        peers: &[
            Peer::NodeReusePort,
            Peer::NodeNone(Node::V20),
            Peer::NodeNone(Node::V24),
            Peer::NodeRoundRobin(Node::V20),
            Peer::NodeRoundRobin(Node::V24),
            Peer::HandoffRun(Node::V20),
            Peer::HandoffRun(Node::V24),
        ],
    },
];
