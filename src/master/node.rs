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

use std::time::{Duration, Instant};

use log::{debug, warn};

use super::Master;
use super::asked;
use super::link::Handle;
use super::readiness::Verdict;
use super::server::ServerId;
use super::supervisor::Event;
use crate::WorkerId;
use crate::error::Error;
use crate::event::Event as Told;
use crate::ipc::Message;
use crate::ipc::message::{Act, Answer, Cluster};

/// How long a worker that gave a connection back is left alone.
const COOL_DOWN: Duration = Duration::from_millis(50);

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
                debug!("worker {worker} says {json:.200}");
                if json == "\"ready\"" {
                    foreign.readiness.said_ready();
                    self.look_whether_ready(worker);
                }
                self.tell_program(Told::Message { worker, json });
            }
            Message::Connections { .. }
            | Message::Bequest(_)
            | Message::Resume { .. } => {
                return Err(Error::protocol("a master's own words"));
            }
        }
        Ok(())
    }

    pub(super) fn look_whether_ready(&mut self, worker: WorkerId) {
        let Some(link) = self.links.get_mut(&worker) else { return };
        let Some(foreign) = link.foreign() else { return };
        if foreign.judged_at.is_some() && foreign.readiness.is_ready() {
            foreign.judged_at = None;
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
            let Some(foreign) = link.foreign() else { continue };
            foreign.judged_at = None;
            match foreign.readiness.verdict() {
                // The supervisor has a clock of its own for that.
                Verdict::NotReady => {}
                Verdict::Ready { missing } => {
                    for key in missing {
                        let place = asked::place(&key);
                        warn!("worker {worker} does not listen on {place}");
                    }
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
        foreign.admitted = Some(self.now);
        let keys = foreign.readiness.servers().clone();
        let ids: Vec<ServerId> = self
            .servers
            .iter()
            .filter(|(_, server)| {
                server.key().is_some_and(|key| keys.contains(key))
            })
            .map(|(&id, _)| id)
            .collect();
        self.wanted.insert(slot, keys);
        for id in ids {
            self.join(worker, slot, id);
        }
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
                Handle::Shared { .. } => {
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
        match foreign.handles.pop_front() {
            // It did arrive; what is behind it is not what it can tell of
            // before it has answered.
            Some(Handle::Connection { arrived: true, .. }) => {
                Err(Error::protocol("it misses what it has"))
            }
            Some(Handle::Connection { server, .. }) => {
                warn!("worker {worker} is out of descriptors");
                self.give_back(worker, server);
                Ok(())
            }
            Some(Handle::Shared { server, ack }) => {
                self.went_short(worker, server, ack);
                Ok(())
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
        foreign.answered += 1;
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
