//! What passes between the primary and the shell that acts for it.

use std::fmt;
use std::net::SocketAddr;

use crate::WorkerId;
use crate::ipc::Message;
use crate::ipc::message::{self, Act, Listen, Sockname};
use crate::master::server::ServerId;

/// One thing to do. Orders are carried out in the order in which they are
/// given, before the primary hears anything else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Order<'a> {
    /// Say this to the worker.
    Say { worker: WorkerId, message: Message<'a> },
    /// Say this to the worker, under the channel's next number. An operator
    /// is to know of what is [`Denied`](Answer::Denied).
    Reply { worker: WorkerId, reply: Reply },
    /// Send a copy of the server's socket with the reply, and tell
    /// [`Primary::shared`](super::Primary::shared) whether there was one.
    Share(Share),
    /// Open what is asked for, and tell
    /// [`Primary::opened`](super::Primary::opened) what came of it.
    Open(Query<'a>),
    /// Nobody wants this server any more.
    Close { server: ServerId, key: String },
    /// Connections of this server go to this worker too.
    Join { worker: WorkerId, slot: usize, server: ServerId },
    /// Connections of this server no longer go to this worker.
    Leave { worker: WorkerId, server: ServerId },
    /// The worker keeps the connection with this number.
    Taken { worker: WorkerId, server: ServerId, number: u64 },
    /// The oldest connection that the worker had not answered goes to
    /// another, and the worker rests. `answered`: the worker had it and did
    /// not want it; else the worker is out of descriptors.
    Refused { worker: WorkerId, server: ServerId, answered: bool },
    /// The worker's program runs.
    Online { worker: WorkerId },
    /// The worker is ready, but for the servers with these keys, which its
    /// predecessor had.
    Ready { worker: WorkerId, missing: Vec<String> },
    /// The worker is not ready and will not be: it was refused the server
    /// with this key, for the reason with the system's number, and has asked
    /// for no other.
    Refuse { worker: WorkerId, key: String, errno: i32 },
    /// The worker will end because it wants to: nothing more goes to it.
    Leaving { worker: WorkerId },
    /// The app says this to the program that the master runs in.
    User { worker: WorkerId, json: &'a str },
}

/// A server that somebody asks for and nobody has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Query<'a> {
    pub(super) worker: WorkerId,
    pub(super) ack: u64,
    /// What the server is called if it can be opened.
    pub(crate) server: ServerId,
    pub(crate) key: String,
    pub(crate) listen: Listen<'a>,
}

/// What a [`Query`] has become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Opened {
    /// Where it is bound, if that is IP.
    pub(crate) bound: Option<SocketAddr>,
    /// Every worker reads the socket itself; else the master accepts.
    pub(crate) shared: bool,
}

/// A reply that a socket comes with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) worker: WorkerId,
    pub(crate) server: ServerId,
    pub(crate) reply: Reply,
}

/// The answer to the worker's message with the number `ack`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) ack: u64,
    pub(crate) answer: Answer,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The worker may go.
    Done,
    /// The worker has this server.
    Granted {
        key: String,
        /// Raw JSON of the first worker that asked.
        data: Option<String>,
        /// Where the master listens, if that is IP.
        sockname: Option<SocketAddr>,
    },
    /// The worker does not get this server; why, in the system's number.
    Denied { key: String, errno: i32 },
}

impl Reply {
    /// In Node's words.
    pub(crate) fn act(&self) -> Act<'_> {
        let server = |errno, key, data, sockname| {
            message::Answer::Server(message::Server {
                errno,
                key,
                data,
                sockname,
            })
        };
        let answer = match &self.answer {
            Answer::Done => message::Answer::Done,
            Answer::Granted { key, data, sockname } => {
                let sockname = sockname.map(|bound| Sockname {
                    address: bound.ip().to_string().into(),
                    port: bound.port(),
                });
                server(0, key.into(), data.as_deref(), sockname)
            }
            Answer::Denied { key, errno } => {
                server(-errno, key.into(), None, None)
            }
        };
        Act::Reply { ack: self.ack, answer }
    }
}

/// What no Node worker says. It costs the worker its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Only a master says this.
    MastersWords,
    /// A descriptor has arrived, and all had.
    AcknowledgesNothing,
    /// A descriptor did not arrive, which has been said to have.
    MissesWhatItHas,
    /// A descriptor did not arrive, and none was sent.
    MissesNothing,
    /// A connection is taken or refused, and none has arrived.
    AnswersNothing,
    /// A connection is taken or refused, and is not the oldest.
    AnswersOutOfOrder,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fault::MastersWords => "a master's own words",
            Fault::AcknowledgesNothing => "an acknowledgement of nothing",
            Fault::MissesWhatItHas => "it misses what it has",
            Fault::MissesNothing => "it misses what was never sent",
            Fault::AnswersNothing => "an answer to nothing",
            Fault::AnswersOutOfOrder => "an answer out of order",
        })
    }
}
