//! The master's traffic: connections in, connections out.
//!
//! ```text
//!   accept ─▶ dispatcher ─▶ one sendmsg a worker ─▶ (the worker has them)
//!      ▲                                                   │
//!      └── room ◀── look_at_counters ◀── scoreboard ◀──────┘
//! ```
//!
//! Our copy of a connection is closed when the worker's counter covers it, and
//! not before: until then it may still have to go to another.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use log::{debug, error};

use super::Master;
use super::dispatcher::{self, Dispatcher};
use super::link::Link;
use super::supervisor::Event;
use crate::WorkerId;
use crate::error::Error;
use crate::ipc::Message;
use crate::slab::Key;

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
    pub(super) fn may_accept(&self) -> bool {
        self.dispatcher.has_room()
            && self.held < self.most_held
            && self.congested_until.is_none()
    }

    /// Only counters can help: somebody waits for room.
    pub(super) fn is_waiting(&self) -> bool {
        self.dispatcher.parked() > 0
            || (!self.may_accept() && !self.doors.are_closed())
    }

    pub(super) fn accept(&mut self, key: Key) {
        while self.may_accept() {
            let next = self.doors.accept(key, &self.epoll, self.now);
            let Some((socket, peer)) = next else { break };
            self.held += 1;
            self.dispatcher.offer(socket, peer, &mut *self.scheduler);
        }
    }

    /// Hands over what there is, and shuts or opens the doors. Before it lets
    /// the loop sleep with somebody waiting, it asks the workers to wake it,
    /// and looks once more (`scoreboard`).
    pub(super) fn hand_over(&mut self) -> Result<(), Error> {
        loop {
            for key in self.doors.to_be_closed() {
                self.accept(key);
            }
            self.dispatcher.dispatch_parked(&mut *self.scheduler);
            self.send();
            self.doors.arm(self.may_accept(), &self.epoll, self.now)?;
            if !self.is_waiting() {
                break;
            }
            for link in self.links.values() {
                link.scoreboard.ask_to_be_woken();
            }
            let before = self.standing();
            self.look_at_counters();
            self.dispatcher.dispatch_parked(&mut *self.scheduler);
            if self.standing() == before {
                break;
            }
        }
        let settled = self.doors.are_closed()
            && self.dispatcher.parked() == 0
            && self
                .links
                .keys()
                .all(|id| self.dispatcher.batch(*id).is_none());
        if settled && !self.emptied {
            self.emptied = true;
            self.note(Event::Emptied);
        }
        Ok(())
    }

    fn send(&mut self) {
        if self.congested_until.is_some() {
            return;
        }
        for (&worker, link) in &mut self.links {
            let mut blocked = false;
            while let Some(batch) = self.dispatcher.batch(worker) {
                let Some(channel) = link.channel() else { break };
                let connections: Vec<BorrowedFd<'_>> =
                    batch.connections().map(AsFd::as_fd).collect();
                let count = connections.len();
                let line = Message::Connections {
                    first: batch.first,
                    count: count as u64,
                };
                match channel.hand_over(&line, &connections) {
                    Ok(true) => self.dispatcher.sent(worker, count),
                    Ok(false) => {
                        blocked = true;
                        break;
                    }
                    Err(error) if error.is_too_many_in_flight() => {
                        debug!("{error}");
                        self.congested_until = Some(self.now + CONGESTION);
                        return;
                    }
                    Err(error) => {
                        // Its end is about to be heard.
                        debug!("worker {worker}: {error}");
                        break;
                    }
                }
            }
            link.watch(blocked, &self.epoll);
        }
    }

    /// What a look at the counters may change.
    fn standing(&self) -> (usize, usize, bool) {
        (self.held, self.dispatcher.parked(), self.may_accept())
    }

    /// Reads what the workers have published, and lets go of the connections
    /// that they have.
    fn look_at_counters(&mut self) {
        let mut liars = Vec::new();
        for (&worker, link) in &self.links {
            let (dispatcher, held) = (&mut self.dispatcher, &mut self.held);
            if let Err(fault) = look_at(worker, link, dispatcher, held) {
                error!("worker {worker} cannot be trusted: {fault}");
                liars.push(worker);
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
}

/// Hands a worker's counters to the dispatcher.
pub(super) fn look_at(
    worker: WorkerId,
    link: &Link,
    dispatcher: &mut Dispatcher<OwnedFd>,
    held: &mut usize,
) -> Result<(), dispatcher::Fault> {
    // In this order: it counts what it received before what it closed.
    let closed = link.scoreboard.closed();
    let received = link.scoreboard.received();
    for connection in dispatcher.received(worker, received)? {
        *held -= 1;
        drop(connection);
    }
    dispatcher.closed(worker, closed)
}
