//! PURE: what Node's workers say, and what is done about it. It is the
//! primary of Node's cluster without sockets and processes: those are the
//! shell's, which carries out [`Order`]s and tells what came of them.
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
//! [`servers`] has what workers asked for, [`handles`] what is on its way to
//! one of them, [`readiness`](super::readiness) says when one is ready. The
//! worker's side of the same talk is `worker/node/dialogue.rs`.
//!
//! A time is how long the master has run.

mod handles;
mod key;
mod orders;
mod servers;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use self::handles::{Handle, Handles};
pub(super) use self::key::place;
pub(super) use self::orders::{
    Answer, Fault, Opened, Order, Query, Reply, Share,
};
use self::servers::{EMFILE, Servers};
use super::readiness::{Lack, Readiness, Verdict};
use super::server::ServerId;
use crate::WorkerId;
use crate::ipc::Message;
use crate::ipc::message::{self, Act, Cluster, Listen};

/// How long after it became ready a worker's servers are still those that it
/// began with, which its successor is to have too, even if it has died.
const BEGINNING: Duration = Duration::from_secs(1);

/// How long a successor may take to ask once more for what it was refused,
/// or for something else: many an app tries again after a second. Its
/// predecessor serves meanwhile, so to give it up is no loss.
const SECOND_THOUGHTS: Duration = Duration::from_secs(2);

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Primary {
    servers: Servers,
    workers: BTreeMap<WorkerId, Worker>,
    /// Keys of the servers that the worker of each slot had when it began to
    /// serve, and still has. A successor is measured by them if that worker
    /// is dead, else by all that it has.
    wanted: BTreeMap<usize, BTreeSet<String>>,
    /// A worker must say "ready".
    wait_ready: bool,
    /// How long a worker has until it is judged.
    boot_timeout: Duration,
}

/// What is known of a worker.
#[derive(Debug)]
struct Worker {
    slot: usize,
    readiness: Readiness,
    /// It has asked for a server.
    asked: bool,
    /// Since when it takes connections, if it does.
    admitted: Option<Duration>,
    /// When it is judged by what it has got ready; `None` once it is ready.
    judged_at: Option<Duration>,
    /// When it is given up before that: it was refused all it asked for, and
    /// its predecessor serves.
    given_up_at: Option<Duration>,
    handles: Handles,
}

impl Primary {
    pub(super) fn new(wait_ready: bool, boot_timeout: Duration) -> Primary {
        Primary {
            servers: Servers::new(boot_timeout),
            workers: BTreeMap::new(),
            wanted: BTreeMap::new(),
            wait_ready,
            boot_timeout,
        }
    }
}

/// What the supervisor decides, and what happens to workers.
impl Primary {
    /// A worker has been started.
    pub(super) fn started(
        &mut self,
        worker: WorkerId,
        slot: usize,
        now: Duration,
    ) {
        let wanted = self.measure(slot);
        let new = Worker {
            slot,
            readiness: Readiness::new(wanted, self.wait_ready),
            asked: false,
            admitted: None,
            judged_at: Some(now + self.boot_timeout),
            given_up_at: None,
            handles: Handles::default(),
        };
        self.workers.insert(worker, new);
    }

    /// What a worker that begins in this slot is to have.
    fn measure(&self, slot: usize) -> BTreeSet<String> {
        let serving = || self.workers.values().filter(|it| it.serves(slot));
        match serving().next() {
            Some(_) => {
                let servers = serving().flat_map(|it| it.readiness.servers());
                servers.cloned().collect()
            }
            None => self.wanted.get(&slot).cloned().unwrap_or_default(),
        }
    }

    /// A worker takes connections, of every server that it listens on.
    pub(super) fn admitted(
        &mut self,
        id: WorkerId,
        now: Duration,
        out: &mut Vec<Order<'_>>,
    ) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        worker.admitted = Some(now);
        let keys = worker.readiness.servers().clone();
        let slot = worker.slot;
        out.extend(self.servers.among(&keys).map(|server| Order::Join {
            worker: id,
            slot,
            server,
        }));
        self.wanted.insert(slot, keys);
    }

    /// A worker gets no more connections. That closes no server.
    pub(super) fn withdrawn(&mut self, id: WorkerId) {
        self.servers.forget(id);
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.admitted = None;
        }
    }

    /// A worker has closed its channel: it answers for nothing any more.
    pub(super) fn cut_off(&mut self, id: WorkerId) {
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.handles.clear();
        }
    }

    /// A worker is dead. That closes no server.
    pub(super) fn lost(&mut self, id: WorkerId) {
        self.servers.forget(id);
        self.workers.remove(&id);
    }

    /// The connection of `server` that is its `number`th for this worker has
    /// left for it, in the message `seq`.
    pub(super) fn sent(
        &mut self,
        id: WorkerId,
        server: ServerId,
        number: u64,
        seq: u64,
    ) {
        if let Some(worker) = self.workers.get_mut(&id) {
            let arrived = false;
            let handle = Handle::Connection { server, number, seq, arrived };
            worker.handles.sent(handle);
        }
    }
}

/// What workers say.
impl Primary {
    /// One line of a worker.
    ///
    /// # Errors
    /// No Node worker says this. There are no orders then.
    pub(super) fn hear<'a>(
        &mut self,
        id: WorkerId,
        message: Message<'a>,
        now: Duration,
        out: &mut Vec<Order<'a>>,
    ) -> Result<(), Fault> {
        let Some(worker) = self.workers.get_mut(&id) else { return Ok(()) };
        let mut say = |message| out.push(Order::Say { worker: id, message });
        match message {
            Message::Cluster(cluster) => {
                return self.hear_cluster(id, cluster, now, out);
            }
            Message::HandleAck => worker.handles.arrived()?,
            Message::HandleNack { .. } => match worker.handles.missed()? {
                Handle::Connection { server, .. } => {
                    let answered = false;
                    out.push(Order::Refused { worker: id, server, answered });
                }
                Handle::Shared { server, ack } => {
                    self.servers.went_short(id, server, ack, EMFILE, out);
                }
            },
            // Node holds back all else until this is answered; the
            // descriptor is closed, since nobody here wants it.
            Message::Handle { .. } => say(Message::HandleAck),
            Message::SocketGetCount { key } => {
                say(Message::SocketCount { key, count: 0 });
            }
            Message::SocketNotifyClose { key } => {
                say(Message::SocketAllClosed { key });
            }
            Message::SocketCount { .. }
            | Message::SocketAllClosed { .. }
            | Message::Internal(_) => {}
            Message::User(json) => {
                if json == "\"ready\"" {
                    worker.readiness.said_ready();
                    worker.look_whether_ready(id, out);
                }
                out.push(Order::User { worker: id, json });
            }
            Message::Connections { .. }
            | Message::Snapshot(_)
            | Message::Resume { .. } => return Err(Fault::MastersWords),
        }
        Ok(())
    }

    fn hear_cluster<'a>(
        &mut self,
        id: WorkerId,
        cluster: Cluster<'a>,
        now: Duration,
        out: &mut Vec<Order<'a>>,
    ) -> Result<(), Fault> {
        let Some(worker) = self.workers.get_mut(&id) else { return Ok(()) };
        let ack = cluster.seq.unwrap_or_default();
        match cluster.act {
            Act::Online { .. } => {
                worker.readiness.online();
                out.push(Order::Online { worker: id });
            }
            Act::QueryServer(listen) => {
                worker.asked = true;
                let before = out.len();
                self.servers.query(id, ack, listen, out);
                self.heed_answer(id, now, &out[before..]);
            }
            Act::Listening { server, .. } => {
                self.listening(id, &server, now, out);
            }
            Act::Close { key } => self.closed(id, &key, out),
            Act::ExitedAfterDisconnect => {
                out.push(Order::Leaving { worker: id });
                let reply = Reply { ack, answer: Answer::Done };
                out.push(Order::Reply { worker: id, reply });
            }
            Act::Reply {
                ack,
                answer: message::Answer::Accepted(accepted),
            } => {
                let (server, number) = worker.handles.answered(ack)?;
                let (worker, answered) = (id, true);
                out.push(match accepted {
                    true => Order::Taken { worker, server, number },
                    false => Order::Refused { worker, server, answered },
                });
            }
            // An answer to what we never ask.
            Act::Reply { .. } => {}
            Act::NewConnection { .. } | Act::Disconnect { .. } => {
                return Err(Fault::MastersWords);
            }
        }
        Ok(())
    }

    /// A worker's server is ready.
    fn listening(
        &mut self,
        id: WorkerId,
        listen: &Listen<'_>,
        now: Duration,
        out: &mut Vec<Order<'_>>,
    ) {
        let Some((server, key)) = self.servers.find(listen) else { return };
        let Some(worker) = self.workers.get_mut(&id) else { return };
        worker.readiness.listening(key);
        worker.given_up_at = None;
        let Some(since) = worker.admitted else {
            return worker.look_whether_ready(id, out);
        };
        let slot = worker.slot;
        out.push(Order::Join { worker: id, slot, server });
        if now < since + BEGINNING {
            self.wanted.entry(slot).or_default().insert(key.to_owned());
        }
        let heirs = self.workers.values_mut().filter(|it| it.is_heir(slot));
        heirs.for_each(|heir| heir.readiness.want(key));
    }

    /// What the answer to its query means for a worker.
    fn heed_answer(
        &mut self,
        id: WorkerId,
        now: Duration,
        answer: &[Order<'_>],
    ) {
        let Some(worker) = self.workers.get(&id) else { return };
        let (slot, mute) =
            (worker.slot, worker.readiness.servers().is_empty());
        let relieves = self.workers.values().any(|it| it.serves(slot));
        let is_hopeless = mute && relieves && !self.wait_ready;
        let Some(worker) = self.workers.get_mut(&id) else { return };
        worker.given_up_at = None;
        match answer {
            [Order::Reply { reply, .. }] => match &reply.answer {
                Answer::Denied { key, errno } => {
                    worker.readiness.refused(key, *errno);
                    worker.given_up_at =
                        is_hopeless.then(|| now + SECOND_THOUGHTS);
                }
                Answer::Granted { .. } | Answer::Done => {
                    worker.readiness.granted();
                }
            },
            [Order::Share(_)] => worker.readiness.granted(),
            // It is still to be opened.
            _ => {}
        }
    }

    /// A worker has closed a server, which its successor need not have then.
    /// One that was asked to go closes everything: that says nothing.
    fn closed(&mut self, id: WorkerId, key: &str, out: &mut Vec<Order<'_>>) {
        let Some(server) = self.servers.close(id, key) else { return };
        out.push(Order::Leave { worker: id, server });
        let Some(worker) = self.workers.get_mut(&id) else { return };
        worker.readiness.closed(key);
        if worker.admitted.is_none() {
            return;
        }
        let slot = worker.slot;
        if let Some(wanted) = self.wanted.get_mut(&slot) {
            wanted.remove(key);
        }
        for (&id, heir) in &mut self.workers {
            if heir.is_heir(slot) {
                heir.readiness.do_without(key);
                heir.look_whether_ready(id, out);
            }
        }
    }
}

/// What came of orders that can fail.
impl Primary {
    /// What was asked for has been opened, or why not, in the system's
    /// number.
    pub(super) fn opened<'a>(
        &mut self,
        query: Query<'a>,
        opened: Result<Opened, i32>,
        now: Duration,
        out: &mut Vec<Order<'a>>,
    ) {
        let (id, before) = (query.worker, out.len());
        self.servers.opened(query, opened, out);
        self.heed_answer(id, now, &out[before..]);
    }

    /// A socket is on its way to who shares it, or why not, in the system's
    /// number.
    pub(super) fn shared(
        &mut self,
        share: &Share,
        shared: Result<(), i32>,
        out: &mut Vec<Order<'_>>,
    ) {
        let &Share { worker: id, server, reply: Reply { ack, .. } } = share;
        if let Err(errno) = shared {
            return self.servers.went_short(id, server, ack, errno, out);
        }
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.handles.sent(Handle::Shared { server, ack });
        }
    }
}

/// Time.
impl Primary {
    /// What a worker lacks that is neither ready nor judged.
    pub(super) fn lack(&self, id: WorkerId) -> Option<Lack> {
        let worker = self.workers.get(&id)?;
        worker.judged_at?;
        Some(match worker.asked {
            false => Lack::Everything,
            true => Lack::Something(worker.readiness.lacks()),
        })
    }

    /// Judges the workers whose time to become ready is over, or who have no
    /// use for it.
    pub(super) fn judge(&mut self, now: Duration, out: &mut Vec<Order<'_>>) {
        for (&id, worker) in &mut self.workers {
            if worker.deadline().is_none_or(|at| at > now) {
                continue;
            }
            worker.judged_at = None;
            match worker.readiness.verdict() {
                // The supervisor has a clock of its own for that.
                Verdict::NotReady => {}
                Verdict::Refused { key, errno } => {
                    out.push(Order::Refuse { worker: id, key, errno });
                }
                Verdict::Ready { missing } => {
                    out.push(Order::Ready { worker: id, missing });
                }
            }
        }
    }

    /// Gives up the servers that have been deserted for their time. There
    /// are so many `slots`; `is_awaited` is whether a worker is to come that
    /// may want what nobody has, and is asked only if that matters. Whom
    /// [`Primary::judge`] calls ready is no longer awaited: its orders are
    /// carried out before this.
    pub(super) fn close_deserted(
        &mut self,
        now: Duration,
        slots: usize,
        is_awaited: impl FnOnce() -> bool,
        out: &mut Vec<Order<'_>>,
    ) {
        if !self.servers.is_any_empty() {
            return;
        }
        self.wanted.retain(|&slot, _| slot < slots);
        let is_awaited = is_awaited();
        let is_wanted = |key: &str| {
            let mut wanted = self.wanted.values();
            is_awaited || wanted.any(|keys| keys.contains(key))
        };
        self.servers.close_deserted(now, is_wanted, out);
    }

    /// When the next worker is to be judged, or the next server goes.
    pub(super) fn deadline(&self) -> Option<Duration> {
        let workers = self.workers.values();
        let judged = workers.filter_map(Worker::deadline);
        judged.chain(self.servers.deadline()).min()
    }
}

impl Worker {
    /// Whether it takes the connections of this slot.
    fn serves(&self, slot: usize) -> bool {
        self.slot == slot && self.admitted.is_some()
    }

    /// Whether it does not, but may be about to.
    fn is_heir(&self, slot: usize) -> bool {
        self.slot == slot && self.admitted.is_none()
    }

    /// When it is judged.
    fn deadline(&self) -> Option<Duration> {
        let at = self.judged_at?;
        Some(self.given_up_at.map_or(at, |early| early.min(at)))
    }

    fn look_whether_ready(&mut self, id: WorkerId, out: &mut Vec<Order<'_>>) {
        if self.judged_at.is_some() && self.readiness.is_ready() {
            self.judged_at = None;
            out.push(Order::Ready { worker: id, missing: Vec::new() });
        }
    }
}

#[cfg(test)]
mod tests;
