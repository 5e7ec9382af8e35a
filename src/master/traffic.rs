//! The master's traffic: connections in, connections out.
//!
//! ```text
//!   accept ─▶ dispatcher ─▶ one sendmsg a worker ─▶ (the worker has them)
//!      ▲                                                   │
//!      └── room ◀── look_at_counters ◀── scoreboard ◀──────┘
//! ```
//!
//! Our copy of a connection is kept until the worker says that it has ended,
//! so that it can go to another whatever becomes of the worker. With
//! `--no-salvage` it is closed when the worker's counter covers it, and not
//! before. Node's workers have no counters and answer for each (`node`).

use std::os::fd::OwnedFd;
use std::time::Duration;

use log::{debug, error, warn};

use super::Master;
use super::dispatcher::{Dispatcher, Fault};
use super::guest::Guest;
use super::link::{Link, Tongue};
use super::salvage::{Lending, given_back};
use super::server::ServerId;
use super::supervisor::Event;
use crate::WorkerId;
use crate::error::Error;
use crate::slab::Key;
use crate::sys::close::close_all;

/// How long to wait when the system has too many descriptors on their way.
pub(super) const CONGESTION: Duration = Duration::from_millis(10);

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
        self.short
            || self.servers.values().any(|server| {
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
            let Some((guest, peer)) = next else { break };
            self.held += 1;
            self.lending.tally.unguarded += u64::from(!guest.guarded);
            server.dispatcher.offer(guest, peer, &mut *self.scheduler);
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
        self.short = false;
        let coming = self.links.values().map(Link::on_their_way);
        let lent = self.lending.count + coming.sum::<usize>();
        let mut room = self.lending.most.saturating_sub(lent);
        for (&worker, link) in &mut self.links {
            let mut blocked = false;
            for (&id, server) in &mut self.servers {
                let had = server.dispatcher.batch(worker).is_some();
                match link.hand_over(worker, id, server, &mut room) {
                    Ok(full) => {
                        self.congested &= full || !had;
                        blocked |= full;
                        let left = server.dispatcher.batch(worker).is_some();
                        self.short |= left && !full;
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

    /// What a look at the counters may change. While some could not be sent,
    /// whoever has received something has a place for them.
    fn standing(&self) -> (usize, usize, usize, usize) {
        let servers = self.servers.values();
        let open = self.is_open();
        let (parked, room) = servers.fold((0, 0), |(parked, room), server| {
            let dispatcher = &server.dispatcher;
            let has_room = open && dispatcher.has_room();
            (parked + dispatcher.parked(), room + usize::from(has_room))
        });
        let coming = match self.short {
            true => self.links.values().map(Link::on_their_way).sum(),
            false => 0,
        };
        (self.held, parked, room, coming)
    }

    /// Reads what the workers have published, and lets go of the connections
    /// that they have.
    fn look_at_counters(&mut self) {
        let Some(server) = self.servers.get_mut(&ServerId::OWN) else {
            return;
        };
        let (dispatcher, lending) =
            (&mut server.dispatcher, &mut self.lending);
        let mut seen = Seen::default();
        let mut liars = Vec::new();
        for (&worker, link) in &mut self.links {
            if let Err(lie) = see(worker, link, dispatcher, lending, &mut seen)
            {
                error!("worker {worker} cannot be trusted: {lie}");
                liars.push(worker);
            }
        }
        self.take_over(seen);
        for worker in liars {
            self.condemn(worker);
        }
    }

    /// The same of one worker.
    pub(super) fn look_at(&mut self, worker: WorkerId) -> Result<(), Error> {
        let own = self.servers.get_mut(&ServerId::OWN);
        let link = self.links.get_mut(&worker);
        let (Some(server), Some(link)) = (own, link) else { return Ok(()) };
        let (dispatcher, lending) =
            (&mut server.dispatcher, &mut self.lending);
        let mut seen = Seen::default();
        let result = see(worker, link, dispatcher, lending, &mut seen);
        self.take_over(seen);
        result
    }

    fn take_over(&mut self, seen: Seen) {
        self.held -= seen.over.len();
        close_all(seen.over);
        self.take_in(seen.given);
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

/// What a look at a worker has brought to light.
#[derive(Default)]
struct Seen {
    /// Copies that are not needed any more.
    over: Vec<OwnedFd>,
    /// Connections that go to another worker.
    given: Vec<Guest>,
}

/// Looks at what one worker has published.
///
/// # Errors
/// It says what cannot be.
fn see(
    worker: WorkerId,
    link: &mut Link,
    dispatcher: &mut Dispatcher<Guest>,
    lending: &mut Lending,
    seen: &mut Seen,
) -> Result<(), Error> {
    let Tongue::Ours { scoreboard, custody, .. } = &mut link.tongue else {
        return Ok(());
    };
    // In this order: it counts what it received before what it closed, and
    // gives back only what it has received.
    let mut list = scoreboard.take_returned();
    let closed = scoreboard.closed();
    let received = scoreboard.received();
    let lie = |fault: Fault| Error::protocol(&fault.to_string());
    for guest in dispatcher.received(worker, received).map_err(lie)? {
        if !custody.is_there() {
            seen.over.push(guest.socket);
            continue;
        }
        match custody.received(guest.lend()) {
            None => lending.count += 1,
            Some(lent) => seen.over.push(lent.socket),
        }
    }
    dispatcher.closed(worker, closed).map_err(lie)?;
    while let Some(back) = scoreboard.next_returned(&mut list) {
        let Some(lent) = custody.released(back.slot) else {
            return Err(Error::protocol("it gives back what it has not"));
        };
        lending.count -= 1;
        if !back.lives {
            seen.over.push(lent.socket);
            continue;
        }
        match given_back(scoreboard, back.slot, lent, lending) {
            Ok(guest) => seen.given.push(guest),
            Err(socket) => seen.over.push(socket),
        }
    }
    Ok(())
}
