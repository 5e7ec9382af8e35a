//! The master's traffic: connections in, connections out.
//!
//! ```text
//!   accept ─▶ dispatcher ─▶ one sendmsg a worker ─▶ (the worker has them)
//!      ▲                                                   │
//!      └── room ◀── look_at_counters ◀── scoreboard ◀──────┘
//! ```
//!
//! Our copy of a connection is closed when the worker's counter covers it, and
//! not before: until then it may still have to go to another. Node's workers
//! have no counters and answer for each (`node`).

use std::os::fd::OwnedFd;
use std::time::Duration;

use log::{debug, error, warn};

use super::Master;
use super::dispatcher::{self, Dispatcher};
use super::link::{Link, Tongue};
use super::server::ServerId;
use super::supervisor::Event;
use crate::WorkerId;
use crate::error::Error;
use crate::slab::Key;
use crate::sys::close::close_all;

/// How long to wait when the system has too many descriptors on their way.
const CONGESTION: Duration = Duration::from_millis(10);

/// How soon the counters are looked at again, at first and at most, while
/// connections are on their way. Workers wake a master that waits for them;
/// this is for the copies that nobody waits for.
const LOOK_AGAIN: (Duration, Duration) =
    (Duration::from_millis(10), Duration::from_secs(1));

/// The same while somebody does wait: a net under the wake-up.
const LOOK_SOON: Duration = Duration::from_millis(1);

impl Master {
    /// Whether any server may accept, as far as the whole is concerned.
    fn is_open(&self) -> bool {
        self.held < self.most_held
            && self.congested_until.is_none()
            && self.predecessor.is_none()
    }

    /// Somebody waits for room.
    fn is_waiting(&self) -> bool {
        let open = self.is_open();
        self.servers.values().any(|server| {
            let room = open && server.dispatcher.has_room();
            server.dispatcher.parked() > 0
                || (!room && !server.doors.are_closed())
        })
    }

    pub(super) fn accept(&mut self, id: ServerId, key: Key) {
        let Some(server) = self.servers.get_mut(&id) else { return };
        while server.dispatcher.has_room()
            && self.held < self.most_held
            && self.congested_until.is_none()
            && self.predecessor.is_none()
        {
            let next = server.doors.accept(key, &self.epoll, self.now);
            let Some((socket, peer)) = next else { break };
            self.held += 1;
            server.dispatcher.offer(socket, peer, &mut *self.scheduler);
        }
    }

    /// Hands over what there is, and shuts or opens the doors. Before it lets
    /// the loop sleep with somebody waiting, it asks the workers to wake it,
    /// and looks once more (`scoreboard`).
    pub(super) fn hand_over(&mut self) -> Result<(), Error> {
        loop {
            self.accept_the_last();
            self.dispatch();
            self.send();
            let open = self.is_open();
            for server in self.servers.values_mut() {
                let wanted = open && server.dispatcher.has_room();
                server.doors.arm(wanted, &self.epoll, self.now)?;
            }
            if !self.is_waiting() {
                break;
            }
            for link in self.links.values() {
                if let Tongue::Ours { scoreboard, .. } = &link.tongue {
                    scoreboard.ask_to_be_woken();
                }
            }
            let before = self.standing();
            self.look_at_counters();
            self.dispatch();
            if self.standing() == before {
                break;
            }
        }
        if self.closing && !self.emptied && self.is_settled() {
            self.emptied = true;
            self.note(Event::Emptied);
        }
        Ok(())
    }

    /// Doors that are closing close when their queue is empty, which only
    /// accepting tells.
    fn accept_the_last(&mut self) {
        let closing: Vec<(ServerId, Key)> = self
            .servers
            .iter()
            .flat_map(|(&id, server)| {
                let keys = server.doors.to_be_closed();
                keys.into_iter().map(move |key| (id, key))
            })
            .collect();
        for (id, key) in closing {
            self.accept(id, key);
        }
    }

    fn dispatch(&mut self) {
        for server in self.servers.values_mut() {
            server.dispatcher.dispatch_parked(&mut *self.scheduler);
        }
    }

    /// Whether nothing is listened on and nobody waits for a worker.
    fn is_settled(&self) -> bool {
        self.servers.values().all(|server| {
            let dispatcher = &server.dispatcher;
            server.doors.are_closed()
                && dispatcher.parked() == 0
                && self.links.keys().all(|&id| dispatcher.batch(id).is_none())
        })
    }

    fn send(&mut self) {
        if self.congested_until.is_some() {
            return;
        }
        for (&worker, link) in &mut self.links {
            let mut blocked = false;
            for (&id, server) in &mut self.servers {
                let had = server.dispatcher.batch(worker).is_some();
                match link.hand_over(worker, id, server) {
                    Ok(full) => {
                        self.congested &= full || !had;
                        blocked |= full;
                    }
                    Err(error) if error.is_congestion() => {
                        if !self.congested {
                            self.congested = true;
                            warn!("nothing can be handed over: {error}");
                        }
                        self.congested_until = Some(self.now + CONGESTION);
                        return;
                    }
                    // Its end is about to be heard.
                    Err(error) => debug!("worker {worker}: {error}"),
                }
            }
            link.watch(blocked, &self.epoll);
        }
    }

    /// What a look at the counters may change.
    fn standing(&self) -> (usize, usize, usize) {
        let servers = self.servers.values();
        let open = self.is_open();
        let (parked, room) = servers.fold((0, 0), |(parked, room), server| {
            let dispatcher = &server.dispatcher;
            let has_room = open && dispatcher.has_room();
            (parked + dispatcher.parked(), room + usize::from(has_room))
        });
        (self.held, parked, room)
    }

    /// Reads what the workers have published, and lets go of the connections
    /// that they have.
    fn look_at_counters(&mut self) {
        let Some(server) = self.servers.get_mut(&ServerId::OWN) else {
            return;
        };
        let mut liars = Vec::new();
        for (&worker, link) in &self.links {
            let dispatcher = &mut server.dispatcher;
            match look_at(worker, link, dispatcher) {
                Ok(released) => self.held -= released,
                Err(fault) => {
                    error!("worker {worker} cannot be trusted: {fault}");
                    liars.push(worker);
                }
            }
        }
        for worker in liars {
            self.condemn(worker);
        }
    }

    /// The look at the counters of every turn. The less it finds, the longer
    /// the loop may sleep before the next.
    pub(super) fn release(&mut self) {
        let before = self.held;
        self.look_at_counters();
        let (first, most) = if self.is_waiting() {
            (LOOK_SOON, LOOK_AGAIN.1)
        } else {
            LOOK_AGAIN
        };
        self.patience = if self.held == before {
            (self.patience * 2).clamp(first, most)
        } else {
            first
        };
    }

    /// How long the loop may sleep before that; `None`: no counter matters.
    pub(super) fn patience(&self) -> Option<Duration> {
        let counted = self.servers.contains_key(&ServerId::OWN);
        let matters = self.held > 0 || self.is_waiting();
        (counted && matters).then_some(self.patience)
    }
}

/// Hands a worker's counters to the dispatcher. How many copies were let go.
pub(super) fn look_at(
    worker: WorkerId,
    link: &Link,
    dispatcher: &mut Dispatcher<OwnedFd>,
) -> Result<usize, dispatcher::Fault> {
    let Tongue::Ours { scoreboard, .. } = &link.tongue else { return Ok(0) };
    // In this order: it counts what it received before what it closed.
    let closed = scoreboard.closed();
    let received = scoreboard.received();
    let released: Vec<OwnedFd> =
        dispatcher.received(worker, received)?.collect();
    let count = released.len();
    close_all(released);
    dispatcher.closed(worker, closed)?;
    Ok(count)
}
