//! What master and worker say to each other, in Node's words.
//!
//! Three kinds of message share a channel. An *internal* one is an object
//! whose `cmd` begins with `NODE_`; Node never shows it to the application.
//! Any other JSON value is the *user*'s and is carried as it is. Either may
//! come inside a `NODE_HANDLE`, which says that a descriptor comes with it.
//!
//! ```text
//!        worker                                  master
//!   online ──────────────────────────────────▶
//!   queryServer ─────────────────────────────▶   "may I listen on …?"
//!                ◀───────────────── reply {key}   the master does
//!   listening ───────────────────────────────▶   ready
//!                ◀────────── newconn {key} + fd   or, many at once to a
//!   NODE_HANDLE_ACK, {ack, accepted} ─────────▶   worker that can: + fds
//!                ◀────────────────── disconnect   "drain"
//!   close {key}, exitedAfterDisconnect ───────▶
//! ```
//!
//! The words are those of Node 20 (`lib/internal/cluster`,
//! `lib/internal/child_process.js`). Some are ours, and Node neither sends
//! nor gets them: `handoff` in `online`, `capacity` in `listening`, `idle` and
//! `give` in `disconnect`, [`Connections`](Message::Connections), the number
//! in a NACK with the [`Resume`](Message::Resume) that answers it, and from
//! master to master [`Snapshot`](Message::Snapshot).
//!
//! A message borrows from its line. A member that is `null` counts as absent,
//! one of the wrong type makes the message [`Malformed`], one that nobody
//! reads is passed over. What is absent in Node's own messages stays absent
//! when one of them is written again, with two exceptions that mean the same
//! to Node: an `errno` of 0 is written as `null`, no `backlog` as `false`.

mod encode;
mod parse;

use std::borrow::Cow;

pub use parse::Malformed;

/// One line of a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// Between a cluster's two halves.
    Cluster(Cluster<'a>),
    /// One descriptor, and the message that it belongs to.
    Handle {
        /// What the descriptor is.
        kind: HandleKind<'a>,
        /// What it is for.
        inner: Inner<'a>,
    },
    /// Accepted connections for a worker that announced `handoff`.
    Connections {
        /// Sequence number of the first; the others count up from it.
        first: u64,
        /// How many descriptors come with this line, 1 to
        /// [`MAX_DESCRIPTORS`](super::codec::MAX_DESCRIPTORS).
        count: u64,
        /// One for each, if they are guarded.
        slots: Cow<'a, [Seat]>,
    },
    /// One connection for the master that follows this one, with what there
    /// is to know of it; one descriptor comes with this line.
    Snapshot(Snapshot<'a>),
    /// The descriptor of the oldest handle in flight has arrived. From a
    /// worker that takes [`Connections`](Message::Connections): look at what
    /// it has received.
    HandleAck,
    /// The line of the oldest handle in flight came without descriptor.
    HandleNack {
        /// The first connection that is missing, from a worker that takes
        /// [`Connections`](Message::Connections). It discards what it gets
        /// until it is told to resume.
        first: Option<u64>,
    },
    /// After a NACK: the connection with this number is the next to count.
    Resume {
        /// Its sequence number.
        first: u64,
    },
    /// How many sockets of this key has the process open?
    SocketGetCount {
        /// The key that came with the sockets.
        key: Cow<'a, str>,
    },
    /// So many.
    SocketCount {
        /// The key asked for.
        key: Cow<'a, str>,
        /// Sockets that are open.
        count: u64,
    },
    /// Say when no socket of this key is open any more.
    SocketNotifyClose {
        /// The key that came with the sockets.
        key: Cow<'a, str>,
    },
    /// None is.
    SocketAllClosed {
        /// The key asked for.
        key: Cow<'a, str>,
    },
    /// Internal, but nothing that we know; as it came. Node ignores such.
    Internal(&'a str),
    /// The application's: any JSON value, as it came. A line feed in it is
    /// written as a space.
    User(&'a str),
}

impl Message<'_> {
    /// How many descriptors belong to this line. A reader takes so many out
    /// of the queue also when it wants neither them nor the message.
    pub fn descriptors(&self) -> usize {
        match *self {
            Message::Handle { .. } | Message::Snapshot(_) => 1,
            Message::Connections { count, .. } => count as usize,
            Message::Cluster(_)
            | Message::HandleAck
            | Message::HandleNack { .. }
            | Message::Resume { .. }
            | Message::SocketGetCount { .. }
            | Message::SocketCount { .. }
            | Message::SocketNotifyClose { .. }
            | Message::SocketAllClosed { .. }
            | Message::Internal(_)
            | Message::User(_) => 0,
        }
    }
}

/// Where a worker finds, and writes down, what there is to know of a
/// connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seat {
    /// The number of its slot; `u32::MAX` if it has none.
    pub slot: u32,
    /// There is something to find: another worker has had it.
    pub moved: bool,
}

/// A connection that changes its master: numbers and bytes as in the slot and
/// in the shared buffer of a worker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot<'a> {
    /// What is answered.
    pub done: u64,
    /// And up to where there is an answer.
    pub next: u64,
    /// What was read and is not answered, in hexadecimal.
    pub input: Cow<'a, str>,
    /// What is to be written first, in hexadecimal.
    pub output: Cow<'a, str>,
    /// After that the connection ends.
    pub closing: bool,
    /// How often what is in hand was begun, and what is held against it.
    pub record: (u8, u8),
}

/// What a descriptor is, and what only that kind of it carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HandleKind<'a> {
    /// A TCP or unix socket, listening or connected, without wrapping.
    NetNative,
    /// A connection.
    NetSocket {
        /// The server that it came from, if it counts its connections.
        key: Option<Cow<'a, str>>,
    },
    /// A listening socket.
    NetServer,
    /// A UDP socket without wrapping.
    DgramNative,
    /// A UDP socket.
    DgramSocket {
        /// Whether it is one of IPv6.
        ipv6: bool,
    },
}

/// The message inside a handle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inner<'a> {
    /// Between a cluster's two halves.
    Cluster(Cluster<'a>),
    /// Internal, but nothing that comes with a descriptor; as it came.
    Internal(&'a str),
    /// The application's, as it came.
    User(&'a str),
}

/// A message of Node's `cluster`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster<'a> {
    /// The sender's number for it, which a reply repeats as its `ack`.
    pub seq: Option<u64>,
    /// What it says.
    pub act: Act<'a>,
}

/// What a cluster message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act<'a> {
    /// The worker runs.
    Online {
        /// Our version of many connections a message, if it takes them.
        handoff: Option<u64>,
    },
    /// The worker asks for a server.
    QueryServer(Listen<'a>),
    /// The worker's server is ready.
    Listening {
        /// As asked for, but the port is the real one.
        server: Listen<'a>,
        /// How many connections a worker of ours can have open.
        capacity: Option<u64>,
    },
    /// A connection for one of the worker's servers; wants `accepted`.
    NewConnection {
        /// The server's.
        key: Cow<'a, str>,
    },
    /// The worker's server is closed.
    Close {
        /// The server's.
        key: Cow<'a, str>,
    },
    /// The worker is to close its servers, then the channel, then to end.
    Disconnect {
        /// How long a worker of ours may wait for one more request of each
        /// idle client, in milliseconds.
        idle: Option<u64>,
        /// Other workers take over the connections of a worker of ours.
        give: bool,
    },
    /// The worker is about to end because it wants to; wants a reply.
    ExitedAfterDisconnect,
    /// The answer to the message of the peer's that had this `seq`.
    Reply {
        /// That number.
        ack: u64,
        /// The answer.
        answer: Answer<'a>,
    },
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer<'a> {
    /// To `exitedAfterDisconnect`: noted.
    Done,
    /// To `newconn`: whether the worker has taken the connection.
    Accepted(bool),
    /// To `queryServer`.
    Server(Server<'a>),
}

/// What the worker gets for its query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server<'a> {
    /// 0, or libuv's error: the negative errno of the system.
    pub errno: i32,
    /// The name by which both sides call this server from now on.
    pub key: Cow<'a, str>,
    /// Raw JSON: what the first worker with this server gave as its data.
    pub data: Option<&'a str>,
    /// Where it listens, if that is TCP and the master listens.
    pub sockname: Option<Sockname<'a>>,
}

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sockname<'a> {
    /// IPv4 or, with a colon in it, IPv6.
    pub address: Cow<'a, str>,
    /// Never 0.
    pub port: u16,
}

/// What a worker wants to listen on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listen<'a> {
    /// Counts the worker's servers of the same address, port, type and fd.
    pub index: u64,
    /// Raw JSON to be returned in every reply: TLS ticket keys.
    pub data: Option<&'a str>,
    /// A host, or a path; `None` is every address, or that of `fd`.
    pub address: Option<Cow<'a, str>>,
    /// 0 is any; −1 goes with a path.
    pub port: Option<i32>,
    /// What kind of socket.
    pub address_type: AddressType,
    /// A descriptor of the *master*'s; −1 with UDP, where it means nothing.
    pub fd: Option<i32>,
    /// libuv's flags for bind; 1 is `UV_TCP_IPV6ONLY`.
    pub flags: Option<u32>,
    /// Connections that may wait in the kernel; Node's own default is 511.
    pub backlog: Option<u32>,
    /// Whether everybody may read the unix socket.
    pub readable_all: bool,
    /// Whether everybody may write, and so connect, to the unix socket.
    pub writable_all: bool,
}

/// The kind of socket that a worker asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AddressType {
    /// Whatever `fd` is.
    #[default]
    Unspecified,
    /// `4`
    Tcp4,
    /// `6`
    Tcp6,
    /// `-1`
    Unix,
    /// `"udp4"`
    Udp4,
    /// `"udp6"`
    Udp6,
}
