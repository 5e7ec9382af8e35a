//! PURE: what is said to a Node process, and what its words mean.
//!
//! ```text
//!   a cluster's primary                   whoever called fork or spawn
//!   ◀─ online, queryServer                ─▶ NODE_HANDLE + fd      ◀─ ACK
//!   ─▶ reply: a key, perhaps + fd         ─▶ SOCKET_GET_COUNT      ◀─ COUNT
//!   ◀─ listening                          ─▶ SOCKET_NOTIFY_CLOSE
//!   ─▶ newconn + fd  ◀─ ACK, accepted                       ◀─ ALL_CLOSED
//!   ─▶ disconnect    ◀─ close
//! ```
//!
//! What is to be said gathers in [`Dialogue::lines`]. A descriptor is an
//! `F`, so that tests can use numbers. Node sends nothing else until a handle
//! is acknowledged, so there is an answer to every one, also to what nobody
//! here can use.

use super::lists::{List, Lists};
use crate::ipc::message::{
    Act, AddressType, Answer, Cluster, HandleKind, Inner, Listen, Message,
    Server as Reply,
};
use crate::slab::Key;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Dialogue {
    servers: Vec<Server>,
    lists: Lists,
    room: usize,
    /// Numbers what we say.
    seq: u64,
    /// Number of the announcement that we go.
    announced: Option<u64>,
    lines: Vec<u8>,
}

/// Something that a primary is asked to listen on for us.
#[derive(Clone, Debug)]
pub(super) struct Server {
    /// As Node says it.
    pub(super) listen: Listen<'static>,
    /// Of several with one name it is enough that one can be had: they are
    /// the addresses of one host.
    pub(super) name: String,
    pub(super) state: State,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    New,
    /// The query has this number.
    Asked(u64),
    /// The primary calls it so.
    Open(String),
    /// We want no more; some may still be on their way.
    Closed(String),
    /// This machine has no such address.
    Missing,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event<F> {
    /// Serve it.
    Connection(F, Option<List>),
    /// End it: there is no room.
    TooMany(F),
    /// Find out what it is: a connection, or a socket that listens.
    Socket(F),
    /// Accept from it.
    Listener(F),
    /// Accept from it, and tell [`Dialogue::listening`] of which port.
    Shared(F, usize),
    /// Connections to this address will come.
    Listening(String),
    /// The last word.
    Disconnect,
}

/// The primary cannot listen there.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) name: String,
    /// libuv's: negative.
    pub(super) errno: i32,
}

impl Dialogue {
    /// With a process that has no cluster, `servers` is empty.
    pub(super) fn new(servers: Vec<Server>, room: usize) -> Dialogue {
        Dialogue {
            servers,
            lists: Lists::new(),
            room,
            seq: 0,
            announced: None,
            lines: Vec::new(),
        }
    }

    /// What is to be said by now.
    pub(super) fn lines(&self) -> &[u8] {
        &self.lines
    }

    /// It is said.
    pub(super) fn said(&mut self) {
        self.lines.clear();
    }

    /// How many more connections this process can hold.
    pub(super) fn room(&self) -> usize {
        self.room
    }

    /// To the primary, before anything else.
    pub(super) fn introduce(&mut self) {
        self.say(Act::Online { handoff: None });
        for index in 0..self.servers.len() {
            let listen = self.servers[index].listen.clone();
            let seq = self.say(Act::QueryServer(listen));
            self.servers[index].state = State::Asked(seq);
        }
    }

    /// What the process says, and the descriptor that came with it.
    pub(super) fn hear<F>(
        &mut self,
        message: &Message<'_>,
        descriptor: Option<F>,
    ) -> Result<Option<Event<F>>, Refused> {
        match message {
            Message::Handle { kind, inner } => {
                return self.hear_handle(kind, inner, descriptor);
            }
            Message::Cluster(message) => return self.hear_cluster(message),
            Message::SocketGetCount { key } => {
                let count = self.lists.count(key);
                let key = key.clone();
                self.tell(&Message::SocketCount { key, count });
            }
            Message::SocketNotifyClose { key } => {
                if !self.lists.watch(key) {
                    let key = key.clone();
                    self.tell(&Message::SocketAllClosed { key });
                }
            }
            // We send no handles, and Node knows nothing of the others.
            Message::Connections { .. }
            | Message::Snapshot(_)
            | Message::HandleAck
            | Message::HandleNack { .. }
            | Message::Resume { .. }
            | Message::SocketCount { .. }
            | Message::SocketAllClosed { .. }
            | Message::Internal(_)
            | Message::User(_) => {}
        }
        Ok(None)
    }

    fn hear_handle<F>(
        &mut self,
        kind: &HandleKind<'_>,
        inner: &Inner<'_>,
        descriptor: Option<F>,
    ) -> Result<Option<Event<F>>, Refused> {
        let Some(descriptor) = descriptor else {
            self.tell(&Message::HandleNack { first: None });
            // Node sends a connection of a cluster once: without this answer
            // the primary would keep it for ever.
            if let Inner::Cluster(Cluster {
                seq: Some(ack),
                act: Act::NewConnection { .. },
            }) = inner
            {
                self.accept(*ack, false);
            }
            return Ok(None);
        };
        self.tell(&Message::HandleAck);
        if let Inner::Cluster(message) = inner {
            return match &message.act {
                Act::NewConnection { key } => {
                    let mut servers = self.servers.iter();
                    let known = servers.any(|server| server.is_called(key));
                    let accepted = known && self.sit_down();
                    self.accept(message.seq.unwrap_or(0), accepted);
                    Ok(accepted.then_some(Event::Connection(descriptor, None)))
                }
                Act::Reply { ack, answer: Answer::Server(reply) } => {
                    let index = self.answered(*ack, reply)?;
                    Ok(index.map(|index| Event::Shared(descriptor, index)))
                }
                _ => Ok(None),
            };
        }
        Ok(match kind {
            HandleKind::NetSocket { key } if self.sit_down() => {
                let list = key.as_ref().map(|key| self.lists.arrived(key));
                Some(Event::Connection(descriptor, list))
            }
            HandleKind::NetSocket { .. } => Some(Event::TooMany(descriptor)),
            HandleKind::NetNative => Some(Event::Socket(descriptor)),
            HandleKind::NetServer => Some(Event::Listener(descriptor)),
            HandleKind::DgramNative | HandleKind::DgramSocket { .. } => None,
        })
    }

    fn hear_cluster<F>(
        &mut self,
        message: &Cluster<'_>,
    ) -> Result<Option<Event<F>>, Refused> {
        match &message.act {
            Act::Reply { ack, answer: Answer::Server(reply) } => {
                let Some(index) = self.answered(*ack, reply)? else {
                    return Ok(None);
                };
                let port = reply.sockname.as_ref().map(|name| name.port);
                let place = self.listening(index, port);
                Ok(Some(Event::Listening(place)))
            }
            Act::Reply { ack, .. } if self.announced != Some(*ack) => Ok(None),
            Act::Reply { .. } | Act::Disconnect { .. } => {
                self.close();
                Ok(Some(Event::Disconnect))
            }
            Act::NewConnection { .. } => {
                self.accept(message.seq.unwrap_or(0), false);
                Ok(None)
            }
            // A worker's own words.
            Act::Online { .. }
            | Act::QueryServer(_)
            | Act::Listening { .. }
            | Act::Close { .. }
            | Act::ExitedAfterDisconnect => Ok(None),
        }
    }

    /// The answer to a query of ours. Which server there is now.
    fn answered(
        &mut self,
        ack: u64,
        reply: &Reply<'_>,
    ) -> Result<Option<usize>, Refused> {
        let asked = |server: &Server| server.state == State::Asked(ack);
        let Some(index) = self.servers.iter().position(asked) else {
            return Ok(None);
        };
        if reply.errno == 0 {
            self.servers[index].state = State::Open(reply.key.to_string());
            return Ok(Some(index));
        }
        self.servers[index].state = State::Missing;
        let name = &self.servers[index].name;
        let same = |server: &&Server| server.name == *name;
        let mut others = self.servers.iter().filter(same);
        let spare = others.any(|server| server.state != State::Missing);
        if is_address_missing(reply.errno) && spare {
            return Ok(None);
        }
        Err(Refused { name: name.clone(), errno: reply.errno })
    }

    /// A server listens, on this port if it has one. Returns what a client
    /// types to get there.
    pub(super) fn listening(
        &mut self,
        index: usize,
        port: Option<u16>,
    ) -> String {
        let mut server = self.servers[index].listen.clone();
        server.port = port.map(i32::from).or(server.port);
        let address = server.address.as_deref().unwrap_or_default();
        let number = server.port.unwrap_or(0);
        let place = match server.address_type {
            AddressType::Unix => format!("unix:{address}"),
            AddressType::Tcp6 => format!("http://[{address}]:{number}"),
            _ => format!("http://{address}:{number}"),
        };
        self.say(Act::Listening { server, capacity: None });
        place
    }

    /// Says that we want no more connections, and that we mean to go.
    pub(super) fn announce(&mut self) {
        self.close();
        self.announced = Some(self.say(Act::ExitedAfterDisconnect));
    }

    /// Says that we want no more connections.
    pub(super) fn close(&mut self) {
        for index in 0..self.servers.len() {
            let server = &mut self.servers[index];
            if let State::Open(key) = &server.state {
                let key = key.clone();
                server.state = State::Closed(key.clone());
                self.say(Act::Close { key: key.into() });
            }
        }
    }

    /// Takes a place for one more connection, if there is room.
    pub(super) fn sit_down(&mut self) -> bool {
        let has_room = self.room > 0;
        self.room -= usize::from(has_room);
        has_room
    }

    pub(super) fn seated(&mut self, client: Key, list: List) {
        self.lists.seated(client, list);
    }

    pub(super) fn ended(&mut self, client: Key) {
        self.room += 1;
        if let Some(name) = self.lists.ended(client) {
            self.tell(&Message::SocketAllClosed { key: name.into() });
        }
    }

    fn accept(&mut self, ack: u64, accepted: bool) {
        self.say(Act::Reply { ack, answer: Answer::Accepted(accepted) });
    }

    fn say(&mut self, act: Act<'_>) -> u64 {
        let seq = self.seq;
        self.seq += 1;
        self.tell(&Message::Cluster(Cluster { seq: Some(seq), act }));
        seq
    }

    fn tell(&mut self, message: &Message<'_>) {
        message.encode(&mut self.lines);
    }
}

impl Server {
    fn is_called(&self, name: &str) -> bool {
        match &self.state {
            State::Open(key) | State::Closed(key) => key == name,
            State::New | State::Asked(_) | State::Missing => false,
        }
    }
}

/// The machine has no such address (`EADDRNOTAVAIL`), or not its whole family
/// (`EAFNOSUPPORT`); errno(3), on Linux.
fn is_address_missing(errno: i32) -> bool {
    matches!(errno, -99 | -97)
}

#[cfg(test)]
mod tests;
