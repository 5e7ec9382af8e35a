//! What Node's workers say, and what they are answered.
//!
//! ```text
//!   online ─▶ queryServer ─▶ (the master listens) ◀─ reply
//!          ─▶ listening: ready, if its predecessor had no more
//!          ◀─ a connection  ─▶ NODE_HANDLE_ACK   the descriptor came
//!                           ─▶ accepted: true    it is the worker's
//!                              accepted: false   to another; it is full
//!          ─▶ NODE_HANDLE_NACK                   to another; it is out of
//!                                                descriptors
//! ```
//!
//! It answers in the order in which it was sent things, since Node's cluster
//! does all of that before it turns to anything else (lib/internal/cluster).

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use log::{debug, info, warn};

use super::asked::{self, Opened};
use super::doors::Doors;
use super::link::Handle;
use super::readiness::Verdict;
use super::server::{Asked, Server, ServerId};
use super::supervisor::Event;
use super::{Master, Source};
use crate::WorkerId;
use crate::error::Error;
use crate::event::Event as Told;
use crate::ipc::Message;
use crate::ipc::message::{
    self, Act, Answer, Cluster, HandleKind, Inner, Listen, Sockname,
};
use crate::sys::epoll::Interest;

/// How long a worker that gave a connection back is left alone.
const COOL_DOWN: Duration = Duration::from_millis(50);

/// How long a server is kept that all workers have closed.
const KEEP: Duration = Duration::from_secs(1);

impl Master {
    /// One line of a Node worker.
    pub(super) fn understand_node(
        &mut self,
        worker: WorkerId,
        message: Message<'_>,
    ) -> Result<(), Error> {
        let Some(link) = self.links.get_mut(&worker) else { return Ok(()) };
        let proven = link.is_proven();
        let Some(foreign) = link.foreign() else { return Ok(()) };
        match message {
            Message::Cluster(Cluster { seq, act }) => match act {
                Act::Online { .. } => {
                    foreign.readiness.online();
                    self.tell_program(Told::Online { worker });
                }
                Act::QueryServer(listen) => {
                    self.query(worker, seq.unwrap_or_default(), &listen);
                }
                Act::Listening { server, .. } => {
                    self.listening(worker, &server);
                }
                Act::Close { key } => self.close_server(worker, &key),
                Act::ExitedAfterDisconnect => {
                    self.note(Event::Leaving { worker, proven });
                    self.act();
                    let (ack, answer) =
                        (seq.unwrap_or_default(), Answer::Done);
                    self.say(worker, Act::Reply { ack, answer });
                }
                Act::Reply { ack, answer: Answer::Accepted(accepted) } => {
                    self.answered(worker, ack, accepted)?;
                }
                // An answer to what we never ask.
                Act::Reply { .. } => {}
                Act::NewConnection { .. } | Act::Disconnect { .. } => {
                    return Err(Error::protocol("a master's own words"));
                }
            },
            Message::HandleAck => self.arrived(worker)?,
            Message::HandleNack { .. } => self.went_missing(worker)?,
            // Node holds back all else until this is answered; the
            // descriptor is closed, since nobody here wants it.
            Message::Handle { .. } => {
                self.tell(worker, &Message::HandleAck);
            }
            Message::SocketGetCount { key } => {
                self.tell(worker, &Message::SocketCount { key, count: 0 });
            }
            Message::SocketNotifyClose { key } => {
                self.tell(worker, &Message::SocketAllClosed { key });
            }
            Message::SocketCount { .. }
            | Message::SocketAllClosed { .. }
            | Message::Internal(_) => {}
            Message::User(json) => {
                debug!("worker {worker} says {json}");
                if json == "\"ready\"" {
                    foreign.readiness.said_ready();
                    self.look_whether_ready(worker);
                }
                self.tell_program(Told::Message { worker, json });
            }
            Message::Connections { .. } | Message::Resume { .. } => {
                return Err(Error::protocol("a master's own words"));
            }
        }
        Ok(())
    }

    /// It wants a server.
    fn query(&mut self, worker: WorkerId, ack: u64, listen: &Listen<'_>) {
        let key = asked::key(listen);
        let known = self.servers.iter().find_map(|(&id, server)| {
            (server.key() == Some(&key)).then_some(id)
        });
        let id = match known {
            Some(id) => id,
            None => match self.open_server(&key, listen) {
                Ok(id) => id,
                Err(errno) => {
                    let error = std::io::Error::from_raw_os_error(errno);
                    warn!("worker {worker} cannot listen on {key}: {error}");
                    let answer = Answer::Server(message::Server {
                        errno: -errno,
                        key: key.into(),
                        data: None,
                        sockname: None,
                    });
                    return self.say(worker, Act::Reply { ack, answer });
                }
            },
        };
        let Some(link) = self.links.get_mut(&worker) else { return };
        let seq = Some(link.next_seq());
        let Some(Server { asked: Some(asked), .. }) =
            self.servers.get_mut(&id)
        else {
            return;
        };
        asked.members.insert(worker);
        asked.abandoned = None;
        let sockname = asked.bound.filter(|_| asked.shared.is_none());
        let answer = Answer::Server(message::Server {
            errno: 0,
            key: asked.key.as_str().into(),
            data: asked.data.as_deref(),
            sockname: sockname.map(|bound| Sockname {
                address: bound.ip().to_string().into(),
                port: bound.port(),
            }),
        });
        let reply = Cluster { seq, act: Act::Reply { ack, answer } };
        match &asked.shared {
            None => link.say(&Message::Cluster(reply), &self.epoll),
            Some(socket) => match socket.try_clone() {
                Ok(copy) => {
                    let kind = HandleKind::DgramNative;
                    let inner = Inner::Cluster(reply);
                    let message = Message::Handle { kind, inner };
                    link.share(&message, copy, &self.epoll);
                }
                Err(error) => warn!("worker {worker} waits: {error}"),
            },
        }
    }

    fn open_server(
        &mut self,
        key: &str,
        listen: &Listen<'_>,
    ) -> Result<ServerId, i32> {
        let inherited = self.inheritance.listeners_of(key.as_ref()).pop();
        let opened = match inherited {
            Some(socket) => {
                let mut opened = asked::inherit(key, listen, socket)?;
                if let Opened::Accepting(listener) = &mut opened
                    && self.predecessor.is_none()
                {
                    listener.take_over();
                }
                opened
            }
            None => asked::open(key, listen, self.host.as_deref())?,
        };
        let id = ServerId(self.next_server);
        self.next_server += 1;
        let mut asked = Asked {
            key: key.to_owned(),
            data: listen.data.map(str::to_owned),
            bound: None,
            shared: None,
            members: Default::default(),
            abandoned: None,
        };
        let mut listeners = Vec::new();
        match opened {
            Opened::Accepting(listener) => {
                info!("listening on {listener}");
                asked.bound = listener.bound();
                let key = self.sources.insert(Source::Listener(id));
                let interest = Interest::Read;
                let fd = listener.as_fd();
                if let Err(error) = self.epoll.add(fd, interest, key.bits()) {
                    self.sources.remove(key);
                    return Err(error.errno());
                }
                listeners.push((listener, key));
            }
            Opened::Shared(socket) => {
                info!("sharing {key}");
                asked.shared = Some(socket);
            }
        }
        let mut doors = Doors::new(listeners);
        if self.closing {
            doors.begin_closing();
        }
        self.servers.insert(id, Server::new(doors, Some(asked)));
        Ok(id)
    }

    /// Its server is ready. The port is the real one by now, while a key has
    /// the port that was asked for.
    fn listening(&mut self, worker: WorkerId, listen: &Listen<'_>) {
        let exact = asked::key(listen);
        let any = asked::key(&Listen { port: Some(0), ..listen.clone() });
        let port = listen.port.and_then(|port| u16::try_from(port).ok());
        let found = self.servers.iter().find_map(|(&id, server)| {
            let asked = server.asked.as_ref()?;
            let here = asked.bound.map(|bound| bound.port()) == port;
            let it = asked.key == exact || (asked.key == any && here);
            it.then(|| (id, asked.key.clone()))
        });
        let Some((id, key)) = found else { return };
        let Some(link) = self.links.get_mut(&worker) else { return };
        let slot = link.slot;
        let Some(foreign) = link.foreign() else { return };
        foreign.readiness.listening(&key);
        if foreign.admitted {
            self.join(worker, slot, id);
        } else {
            self.look_whether_ready(worker);
        }
    }

    fn look_whether_ready(&mut self, worker: WorkerId) {
        let Some(link) = self.links.get_mut(&worker) else { return };
        let slot = link.slot;
        let Some(foreign) = link.foreign() else { return };
        if foreign.judged_at.is_some() && foreign.readiness.is_ready() {
            foreign.judged_at = None;
            let servers = foreign.readiness.servers().clone();
            self.wanted.insert(slot, servers);
            self.note(Event::Ready { worker });
        }
    }

    /// Workers whose time to become ready is over.
    pub(super) fn judge(&mut self) {
        let now = self.now;
        let due: Vec<WorkerId> = self
            .links
            .iter_mut()
            .filter_map(|(&worker, link)| {
                let judged_at = link.foreign()?.judged_at?;
                (judged_at <= now).then_some(worker)
            })
            .collect();
        for worker in due {
            let Some(link) = self.links.get_mut(&worker) else { continue };
            let slot = link.slot;
            let Some(foreign) = link.foreign() else { continue };
            foreign.judged_at = None;
            let verdict = foreign.readiness.verdict();
            let servers = foreign.readiness.servers().clone();
            match verdict {
                // The supervisor has a clock of its own for that.
                Verdict::NotReady => {}
                Verdict::Ready { missing } => {
                    for key in missing {
                        warn!("worker {worker} does not listen on {key}");
                    }
                    self.wanted.insert(slot, servers);
                    self.note(Event::Ready { worker });
                }
            }
        }
    }

    /// When the next of them is to be judged.
    pub(super) fn judgement(&self) -> Option<Instant> {
        let foreign = self.links.values().filter_map(|link| link.judged_at());
        foreign.min()
    }

    /// It takes connections, of every server that it listens on.
    pub(super) fn admit_node(&mut self, worker: WorkerId) {
        let Some(link) = self.links.get_mut(&worker) else { return };
        let slot = link.slot;
        let Some(foreign) = link.foreign() else { return };
        foreign.admitted = true;
        let keys = foreign.readiness.servers().clone();
        let ids: Vec<ServerId> = self
            .servers
            .iter()
            .filter(|(_, server)| {
                server.key().is_some_and(|key| keys.contains(key))
            })
            .map(|(&id, _)| id)
            .collect();
        for id in ids {
            self.join(worker, slot, id);
        }
    }

    fn join(&mut self, worker: WorkerId, slot: usize, id: ServerId) {
        let window = self.window;
        if let Some(server) = self.servers.get_mut(&id)
            && !server.doors.are_closed()
        {
            server.dispatcher.admit(worker, slot, window, None);
            server.dispatcher.rejoin(worker);
        }
    }

    /// It has closed a server. Whether anybody wants it again is seen later.
    fn close_server(&mut self, worker: WorkerId, key: &str) {
        let found =
            self.servers.values_mut().find(|server| server.key() == Some(key));
        let Some(server) = found else { return };
        server.dispatcher.withdraw(worker);
        if let Some(asked) = &mut server.asked {
            asked.members.remove(&worker);
            if asked.members.is_empty() {
                asked.abandoned = Some(self.now + KEEP);
            }
        }
        let Some(link) = self.links.get_mut(&worker) else { return };
        let slot = link.slot;
        let Some(foreign) = link.foreign() else { return };
        foreign.readiness.closed(key);
        // One that is asked to go closes everything; its successor is to have
        // what it had.
        if foreign.admitted
            && let Some(wanted) = self.wanted.get_mut(&slot)
        {
            wanted.remove(key);
        }
    }

    /// A worker is gone, or goes: that closes no server.
    pub(super) fn forget_member(&mut self, worker: WorkerId) {
        for server in self.servers.values_mut() {
            if let Some(asked) = &mut server.asked {
                asked.members.remove(&worker);
            }
        }
    }

    /// Servers that everybody has closed, and nobody is coming to want.
    pub(super) fn close_abandoned(&mut self) {
        let starting = self.links.values().any(|link| link.is_starting());
        let now = self.now;
        let due: Vec<ServerId> = self
            .servers
            .iter()
            .filter(|(_, server)| {
                server
                    .asked
                    .as_ref()
                    .and_then(|asked| asked.abandoned)
                    .is_some_and(|at| at <= now)
            })
            .map(|(&id, _)| id)
            .collect();
        for id in due {
            if starting {
                if let Some(server) = self.servers.get_mut(&id)
                    && let Some(asked) = &mut server.asked
                {
                    asked.abandoned = Some(now + KEEP);
                }
                continue;
            }
            if let Some(mut server) = self.servers.remove(&id) {
                info!("closing {}", server.key().unwrap_or_default());
                self.held -= server.held();
                for key in server.doors.slam(&self.epoll) {
                    self.sources.remove(key);
                }
            }
        }
    }

    /// When the next such server goes.
    pub(super) fn closing_time(&self) -> Option<Instant> {
        let asked = self.servers.values().filter_map(|s| s.asked.as_ref());
        asked.filter_map(|asked| asked.abandoned).min()
    }

    /// The oldest descriptor that had not arrived has.
    fn arrived(&mut self, worker: WorkerId) -> Result<(), Error> {
        let Some(foreign) =
            self.links.get_mut(&worker).and_then(|link| link.foreign())
        else {
            return Ok(());
        };
        for index in 0..foreign.handles.len() {
            match &mut foreign.handles[index] {
                Handle::Shared => {
                    foreign.handles.remove(index);
                    return Ok(());
                }
                Handle::Connection { arrived, .. } if !*arrived => {
                    *arrived = true;
                    return Ok(());
                }
                Handle::Connection { .. } => {}
            }
        }
        Err(Error::protocol("an acknowledgement of nothing"))
    }

    /// The oldest descriptor that had not arrived never will.
    fn went_missing(&mut self, worker: WorkerId) -> Result<(), Error> {
        let Some(foreign) =
            self.links.get_mut(&worker).and_then(|link| link.foreign())
        else {
            return Ok(());
        };
        let lost = foreign.handles.iter().position(|handle| {
            !matches!(handle, Handle::Connection { arrived: true, .. })
        });
        match lost.and_then(|index| foreign.handles.remove(index)) {
            Some(Handle::Connection { server, .. }) => {
                warn!("worker {worker} is out of descriptors");
                self.give_back(worker, server);
                Ok(())
            }
            Some(Handle::Shared) => {
                Err(Error::protocol("it did not get a socket it asked for"))
            }
            None => Err(Error::protocol("it misses what was never sent")),
        }
    }

    /// Whether it keeps the oldest connection.
    fn answered(
        &mut self,
        worker: WorkerId,
        ack: u64,
        accepted: bool,
    ) -> Result<(), Error> {
        let Some(foreign) =
            self.links.get_mut(&worker).and_then(|link| link.foreign())
        else {
            return Ok(());
        };
        let Some(&Handle::Connection { server, number, seq, arrived: true }) =
            foreign.handles.front()
        else {
            return Err(Error::protocol("an answer to nothing"));
        };
        if seq != ack {
            return Err(Error::protocol("an answer out of order"));
        }
        foreign.handles.pop_front();
        if !accepted {
            self.give_back(worker, server);
            return Ok(());
        }
        foreign.accepted += 1;
        let Some(server) = self.servers.get_mut(&server) else {
            return Ok(());
        };
        let fault = |fault: super::dispatcher::Fault| {
            Error::protocol(&fault.to_string())
        };
        let released = server.dispatcher.received(worker, number);
        self.held -= released.map_err(fault)?.count();
        // It does not tell when it closes one: only what is on its way counts
        // as open.
        server.dispatcher.closed(worker, number).map_err(fault)
    }

    /// A connection goes to another worker, and this one rests.
    fn give_back(&mut self, worker: WorkerId, id: ServerId) {
        if let Some(server) = self.servers.get_mut(&id)
            && server.dispatcher.refused(worker)
        {
            self.cooling.push((self.now + COOL_DOWN, worker, id));
        }
    }
}
