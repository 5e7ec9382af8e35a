//! How connections come in and go out.

use std::time::Instant;

use log::{debug, warn};

use super::account::Account;
use super::send::send_to_node;
use super::servers::Server;
use super::{Admission, Faulty, Traffic};

use crate::error::Error;
use crate::master::poller::Poller;
use crate::master::primary::Primary;
use crate::master::server::ServerId;
use crate::master::workers::Workers;
use crate::slab::Key;

impl Traffic {
    /// Takes what a listener has, as far as there is room.
    pub(crate) fn accept(
        &mut self,
        id: ServerId,
        key: Key,
        poller: &mut Poller,
        now: Instant,
    ) {
        let open = self.is_open();
        let Some(server) = self.servers.get_mut(&id) else { return };
        while open
            && self.held < self.limits.held
            && server.dispatcher.has_room()
        {
            let next = server.listeners.accept(key, poller, now);
            let Some((connection, peer)) = next else { break };
            self.held += 1;
            self.tally.unguarded += u64::from(!connection.guarded);
            server.dispatcher.offer(connection, peer, &mut *self.scheduler);
        }
    }

    /// Hands over what there is, and opens or shuts the listeners. Before the
    /// loop may sleep with somebody waiting, the workers are asked to wake it,
    /// and looked at once more (`scoreboard`): a counter that moved between
    /// the last look and the asking would wake nobody. Whatever that look
    /// changes may let more be sent, so all of it is done again, until a look
    /// changes nothing. Yields who says what cannot be.
    ///
    /// # Errors
    /// A listener cannot be watched.
    pub(crate) fn turn(
        &mut self,
        workers: &mut Workers,
        mut primary: Option<&mut Primary>,
        poller: &mut Poller,
        now: Instant,
    ) -> Result<Vec<Faulty>, Error> {
        loop {
            self.accept_the_last(poller, now);
            self.dispatch();
            self.send(workers, primary.as_deref_mut(), poller, now);
            let open = self.is_open();
            for server in self.servers.values_mut() {
                let wanted = open && server.dispatcher.has_room();
                server.listeners.arm(wanted, poller, now)?;
            }
            if !self.is_waiting() {
                return Ok(Vec::new());
            }
            for account in self.accounts.values() {
                if let Account::Handoff(ours) = account {
                    ours.scoreboard.ask_to_be_woken();
                }
            }
            let before = self.progress();
            let faults = self.look_at_all();
            self.dispatch();
            // Whoever is at fault is to be ended first, which comes back here.
            if !faults.is_empty() || self.progress() == before {
                return Ok(faults);
            }
        }
    }

    /// Listeners that are closing close when their queue is empty, which only
    /// accepting tells.
    fn accept_the_last(&mut self, poller: &mut Poller, now: Instant) {
        let closing: Vec<(ServerId, Key)> = self
            .servers
            .iter()
            .flat_map(|(&id, server)| {
                let keys = server.listeners.to_be_closed();
                keys.into_iter().map(move |key| (id, key))
            })
            .collect();
        for (id, key) in closing {
            self.accept(id, key, poller, now);
        }
    }

    fn dispatch(&mut self) {
        for server in self.servers.values_mut() {
            server.dispatcher.dispatch_parked(&mut *self.scheduler);
        }
    }

    fn send(
        &mut self,
        workers: &mut Workers,
        mut primary: Option<&mut Primary>,
        poller: &Poller,
        now: Instant,
    ) {
        if self.congestion.until.is_some() {
            return;
        }
        self.starved = false;
        let coming = self.accounts.values().map(Account::on_their_way);
        let retained = &self.limits.retained;
        let used = retained.count + coming.sum::<usize>();
        let mut room = retained.most.saturating_sub(used);
        for (&worker, account) in &mut self.accounts {
            let Some(line) = workers.line(worker) else { continue };
            let mut blocked = false;
            for (&id, server) in &mut self.servers {
                let Server { dispatcher, key, .. } = server;
                let had = dispatcher.batch(worker).is_some();
                let sent = match account {
                    Account::Handoff(ours) => {
                        ours.send(worker, dispatcher, line, &mut room)
                    }
                    Account::Node(_) => {
                        let note = |number, seq| {
                            if let Some(primary) = &mut primary {
                                primary.sent(worker, id, number, seq);
                            }
                        };
                        send_to_node(worker, key, dispatcher, line, note)
                    }
                };
                match sent {
                    Ok(full) => {
                        // That something left shows that the system has room
                        // again. A full channel and an empty batch show
                        // nothing: the log would tell of the same congestion
                        // again and again.
                        self.congestion.told &= full || !had;
                        blocked |= full;
                        let left = dispatcher.batch(worker).is_some();
                        self.starved |= left && !full;
                    }
                    Err(error) if error.is_congestion() => {
                        if !self.congestion.told {
                            self.congestion.told = true;
                            warn!("nothing can be handed over: {error}");
                        }
                        self.pause_sending(now);
                        return;
                    }
                    // Its end is about to be heard.
                    Err(error) => debug!("worker {worker}: {error}"),
                }
            }
            line.watch(blocked, poller);
        }
    }

    /// Whether any server may accept, as far as the whole is concerned.
    fn is_open(&self) -> bool {
        self.held < self.limits.held
            && self.congestion.until.is_none()
            && self.admission != Admission::NotYet
    }

    /// Somebody waits for room.
    pub(super) fn is_waiting(&self) -> bool {
        let open = self.is_open();
        self.starved
            || self.servers.values().any(|server| {
                let room = open && server.dispatcher.has_room();
                server.dispatcher.parked() > 0
                    || (!room && !server.listeners.are_closed())
            })
    }

    /// What a look at the counters may change: if it did, another pass may
    /// help. While some could not be sent, whoever has received something has
    /// room for them.
    fn progress(&self) -> (usize, usize, usize, usize) {
        let servers = self.servers.values();
        let open = self.is_open();
        let (parked, room) = servers.fold((0, 0), |(parked, room), server| {
            let dispatcher = &server.dispatcher;
            let has_room = open && dispatcher.has_room();
            (parked + dispatcher.parked(), room + usize::from(has_room))
        });
        let coming = match self.starved {
            true => self.accounts.values().map(Account::on_their_way).sum(),
            false => 0,
        };
        (self.held, parked, room, coming)
    }

    /// Whether nothing is listened on and nobody waits for a worker.
    pub(crate) fn is_settled(&self) -> bool {
        self.servers.values().all(|server| {
            let dispatcher = &server.dispatcher;
            let mut workers = self.accounts.keys();
            server.listeners.are_closed()
                && dispatcher.parked() == 0
                && workers.all(|&worker| dispatcher.batch(worker).is_none())
        })
    }

    /// Whether connections came back that wait for a worker, while there may
    /// be none to come.
    pub(crate) fn is_stranded(&mut self) -> bool {
        std::mem::take(&mut self.returned)
            && self.servers.values().any(|server| {
                server.listeners.are_closed() && server.dispatcher.parked() > 0
            })
    }
}
