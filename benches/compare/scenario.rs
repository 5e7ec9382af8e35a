//! What clients do: the loads, and who is compared under each.

use crate::peers::Peer;

/// What a client does with its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// One request after the other.
    KeepAlive,
    /// Sixteen at once, and again when all are answered.
    Pipelined,
    /// One, with `Connection: close`.
    Close,
}

/// A load, and those who bear it in turn.
#[derive(Debug)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) shape: Shape,
    pub(crate) connections: u32,
    pub(crate) peers: &'static [Peer],
    /// The least that the kernel asks for this work.
    pub(crate) floor: Peer,
}

pub(crate) static ALL: [Scenario; 4] = [
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
            Peer::Hyper,
            Peer::NodeRoundRobin,
            Peer::NodeNone,
            Peer::HandoffRun,
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
            Peer::Hyper,
            Peer::NodeRoundRobin,
        ],
    },
    Scenario {
        name: "close64",
        title: "A connection for each request, 64 at a time",
        shape: Shape::Close,
        connections: 64,
        floor: Peer::FloorPass,
        peers: &[
            Peer::FloorPass,
            Peer::FloorOwn,
            Peer::Handoff,
            Peer::HandoffAgain,
            Peer::HandoffPlain,
            Peer::Nginx,
            Peer::NginxDeferred,
            Peer::Haproxy,
            Peer::Hyper,
            Peer::NodeRoundRobin,
            Peer::NodeNone,
            Peer::HandoffRun,
        ],
    },
];
