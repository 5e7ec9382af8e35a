//! The master's crew: how a worker begins, what it says, how it ends.
//!
//! ```text
//!   spawn ─▶ online, ready ─▶ … ─▶ "I am going", or the end of its channel
//!                                        │
//!   its connections go to others ◀── pidfd readable: bury
//! ```
//!
//! What a worker does wrong is an event like any other. It costs that worker.

use std::time::{Duration, Instant};

use log::{debug, error, info, warn};

use super::link::{Link, Tongue};
use super::readiness::Readiness;
use super::server::{Server, ServerId};
use super::supervisor::{Event, Exit};
use super::watch::Sight;
use super::{Master, Source};
use crate::WorkerId;
use crate::channel::{Channel, Heard};
use crate::error::Error;
use crate::event::Event as Told;
use crate::ipc::Message;
use crate::ipc::json::Reason;
use crate::ipc::message::{Act, Cluster, Malformed};
use crate::scoreboard::Requests;
use crate::sys::signal;
use crate::sys::{clock, epoll, process};

/// How often the channel of a dead worker is read at most; each time brings
/// some kilobytes, of a few hundred that it holds.
const LAST_WORDS: usize = 1024;

/// How long a worker that ran out of descriptors gets no more connections.
const COOL_DOWN: Duration = Duration::from_millis(100);

impl Master {
    pub(super) fn spawn(&mut self, worker: WorkerId, slot: usize) {
        let started = match self.launcher.spawn(worker, slot) {
            Ok(started) => started,
            Err(error) => {
                let why = self.launcher.explain(error);
                let line = format!("worker {worker} cannot be started: {why}");
                self.note(Event::SpawnFailed { worker, why });
                // The end of everything has a line of its own.
                if !self.supervisor.is_ending() {
                    warn!("{line}");
                }
                return;
            }
        };
        if worker == WorkerId(1) {
            self.announce();
        }
        let process_key = self.sources.insert(Source::Process(worker));
        let channel_key = self.sources.insert(Source::Channel(worker));
        let wanted = self.wanted.get(&slot).cloned().unwrap_or_default();
        let link = Link::new(
            slot,
            started,
            Readiness::new(wanted, self.wait_ready),
            (process_key, channel_key),
            self.now,
            self.boot_timeout,
        );
        match link.register(&self.epoll) {
            Ok(()) => {
                let pid = link.child.pid();
                info!("worker {worker}: pid {pid}");
                self.links.insert(worker, link);
                let (pid, index) = (pid.cast_unsigned(), slot);
                self.tell_program(Told::Fork { worker, pid, index });
            }
            Err(error) => {
                warn!("worker {worker} cannot be watched: {error}");
                self.sources.remove(process_key);
                self.sources.remove(channel_key);
                link.child.kill();
                let why = match link.child.wait() {
                    Ok(_) => error.to_string(),
                    Err(error) => error.to_string(),
                };
                self.note(Event::SpawnFailed { worker, why });
            }
        }
    }

    pub(super) fn tell(&mut self, worker: WorkerId, message: &Message<'_>) {
        if let Some(link) = self.links.get_mut(&worker) {
            link.say(message, &self.epoll);
        }
    }

    /// Something about a worker's channel.
    pub(super) fn hear(&mut self, worker: WorkerId, event: epoll::Event) {
        let Some(link) = self.links.get_mut(&worker) else { return };
        if event.is_writable()
            && let Some(channel) = link.channel()
        {
            if let Err(error) = channel.flush() {
                debug!("worker {worker}: {error}");
            }
            link.watch(false, &self.epoll);
        }
        if event.is_readable() || event.is_gone() {
            self.listen(worker);
        }
    }

    /// Reads the channel once. Whether there may be more.
    fn listen(&mut self, worker: WorkerId) -> bool {
        let Some(link) = self.links.get_mut(&worker) else { return false };
        let Some(channel) = link.channel() else { return false };
        let mut lines = Vec::new();
        let mut result = hear_lines(channel, &mut lines);
        for line in lines {
            if let Err(fault) = self.understand(worker, &line) {
                result = Err(fault);
                break;
            }
        }
        match result {
            Ok(Heard::Something) if self.is_choking(worker) => {
                error!("worker {worker} asks, and does not listen");
                self.condemn(worker);
                false
            }
            Ok(Heard::Something) => true,
            Ok(Heard::Nothing) => false,
            Ok(Heard::End) => {
                self.hang_up(worker);
                self.cut_off(worker);
                false
            }
            Err(fault) => {
                error!("worker {worker}: {fault}");
                self.condemn(worker);
                false
            }
        }
    }

    fn understand(
        &mut self,
        worker: WorkerId,
        line: &[u8],
    ) -> Result<(), Error> {
        let Some(link) = self.links.get_mut(&worker) else { return Ok(()) };
        let message = match Message::parse(line) {
            Ok(message) => message,
            // JSON.stringify writes what no strict reader takes, such as half
            // an emoji. That is the app's, and no reason to end it.
            Err(Malformed::NotJson(error))
                if !matches!(error.reason, Reason::Syntax { .. }) =>
            {
                debug!("worker {worker} is passed over: {error}");
                return Ok(());
            }
            Err(malformed) => return Err(malformed.into()),
        };
        match &mut link.tongue {
            Tongue::Node(_) => self.understand_node(worker, message),
            Tongue::Ours { capacity, .. } => {
                if let Message::Cluster(Cluster {
                    act: Act::Listening { capacity: said, .. },
                    ..
                }) = message
                {
                    *capacity = said;
                }
                self.understand_ours(worker, message)
            }
        }
    }

    fn understand_ours(
        &mut self,
        worker: WorkerId,
        message: Message<'_>,
    ) -> Result<(), Error> {
        let not_ours = || Err(Error::protocol("it is no worker of handoff"));
        let Some(link) = self.links.get_mut(&worker) else { return Ok(()) };
        let proven = link.is_proven();
        match message {
            Message::Cluster(Cluster { act, .. }) => match act {
                Act::Online { handoff: Some(_) } => {
                    self.tell_program(Told::Online { worker });
                }
                Act::Listening { .. } => self.note(Event::Ready { worker }),
                Act::ExitedAfterDisconnect => {
                    self.note(Event::Leaving { worker, proven });
                    // Out of the rotation first: this is the last that it
                    // hears from us.
                    self.act();
                    self.let_leave(worker);
                }
                Act::Online { handoff: None }
                | Act::QueryServer(_)
                | Act::NewConnection { .. }
                | Act::Close { .. }
                | Act::Disconnect { .. }
                | Act::Reply { .. } => return not_ours(),
            },
            Message::HandleNack { first: Some(first) } => {
                // What came before it has been received.
                self.look_at(worker)?;
                let Some(link) = self.links.get_mut(&worker) else {
                    return Ok(());
                };
                if link.missed.replace(first) != Some(first) {
                    warn!("worker {worker} is out of descriptors");
                }
                let id = ServerId::OWN;
                if let Some(server) = self.servers.get_mut(&id) {
                    // Who has no descriptors hears nobody, and rests as any
                    // other until it is told to go on.
                    if self.ward.nurse() == Some(worker) {
                        self.ward.lost(worker);
                        server.dispatcher.rejoin(worker);
                    }
                    server.dispatcher.nack(worker, first).map_err(
                        |fault| Error::protocol(&fault.to_string()),
                    )?;
                    if let Tongue::Ours { scoreboard, custody, .. } =
                        &mut link.tongue
                    {
                        // Read anew, so it may be any number again.
                        let received = scoreboard.received();
                        let before =
                            first.saturating_sub(received.saturating_add(1));
                        custody.keep_sent(before as usize);
                    }
                    self.cooling.push((self.now + COOL_DOWN, worker, id));
                }
            }
            // It was asked to wake us, or gives something back.
            Message::HandleAck => self.look_at(worker)?,
            Message::User(json) => {
                debug!("worker {worker} says {json}");
                self.tell_program(Told::Message { worker, json });
            }
            Message::Handle { .. }
            | Message::Connections { .. }
            | Message::Bequest(_)
            | Message::HandleNack { first: None }
            | Message::Resume { .. }
            | Message::SocketGetCount { .. }
            | Message::SocketCount { .. }
            | Message::SocketNotifyClose { .. }
            | Message::SocketAllClosed { .. }
            | Message::Internal(_) => return not_ours(),
        }
        Ok(())
    }

    fn is_choking(&mut self, worker: WorkerId) -> bool {
        let link = self.links.get_mut(&worker);
        link.and_then(|link| link.channel())
            .is_some_and(|channel| channel.is_choked())
    }

    /// Says something of Node's `cluster`.
    pub(super) fn say(&mut self, worker: WorkerId, act: Act<'_>) {
        if let Some(link) = self.links.get_mut(&worker) {
            let seq = Some(link.next_seq());
            let message = Message::Cluster(Cluster { seq, act });
            link.say(&message, &self.epoll);
        }
    }

    /// The channel is of no use any more.
    fn hang_up(&mut self, worker: WorkerId) {
        let Some(link) = self.links.get_mut(&worker) else { return };
        let Some(key) = link.hang_up(&self.epoll) else { return };
        let proven = link.is_proven();
        self.sources.remove(key);
        self.note(Event::ChannelEnded { worker, proven });
        self.tell_program(Told::Disconnect { worker });
    }

    /// A Node worker that closed its channel has not touched what it did not
    /// say that it accepted. It may live on for long, and need not.
    fn cut_off(&mut self, worker: WorkerId) {
        let Some(link) = self.links.get_mut(&worker) else { return };
        let Some(foreign) = link.foreign() else { return };
        foreign.handles.clear();
        let lost = |server: &mut Server| server.dispatcher.cut_off(worker);
        let others: usize = self.servers.values_mut().map(lost).sum();
        if others > 0 {
            let had = "connections it had not accepted go to others";
            warn!("worker {worker} has closed its channel; {others} {had}");
        }
        self.look_for_the_stranded();
    }

    /// Tells if connections wait for a worker and there may be none to come.
    pub(super) fn look_for_the_stranded(&mut self) {
        if self.servers.values().any(|server| {
            server.doors.are_closed() && server.dispatcher.parked() > 0
        }) {
            self.emptied = false;
            self.note(Event::Stranded);
        }
    }

    /// A worker that breaks the rules: it costs its life, nobody else's.
    pub(super) fn condemn(&mut self, worker: WorkerId) {
        if let Some(link) = self.links.get_mut(&worker) {
            link.broken = true;
            link.child.kill();
        }
        self.note(Event::Broken { worker });
        self.hang_up(worker);
    }

    /// Looks whether every worker moves that ought to, now and then.
    pub(super) fn look_for_the_hung(&mut self) {
        let Some(watch) = &mut self.watch else { return };
        if self.next_look.is_some_and(|at| at > self.now) {
            return;
        }
        let sights = self.links.iter().map(|(&worker, link)| {
            let (turns, waiting) = match &link.tongue {
                Tongue::Ours { scoreboard, .. } => {
                    let waiting = scoreboard.is_waiting();
                    (scoreboard.turns(), waiting && !link.is_kept_from_work())
                }
                // It tells only when it answers.
                Tongue::Node(foreign) => (foreign.answered, true),
            };
            let owes = self
                .servers
                .values()
                .any(|server| server.dispatcher.has_unreleased(worker));
            let received = link.received();
            (worker, Sight { turns, waiting, received, owes })
        });
        let hung = watch.look(clock::boottime(), sights);
        let period = watch.period();
        self.next_look = (!self.links.is_empty()).then(|| self.now + period);
        if let Some(worker) = hung {
            self.note(Event::Hung { worker });
        }
    }

    /// As the first process of a container we are everybody's parent who has
    /// lost theirs: whoever of them ends is to be waited for, or stays a
    /// zombie. Our own are left to those who know them by their pidfds.
    pub(super) fn reap_strangers(&mut self) -> Result<(), Error> {
        while let Some(pid) = process::ended_child()? {
            let ours = |(_, link): &(_, &Link)| link.child.pid() == pid;
            let worker = self.links.iter().find(ours).map(|(id, _)| *id);
            match worker {
                Some(worker) => self.bury(worker)?,
                None if self.is_successor(pid) => self.watch_successor()?,
                None => {
                    debug!("process {pid} has ended: not one of ours");
                    process::forget_child(pid)?;
                }
            }
        }
        Ok(())
    }

    /// A worker that has ended. What it had not received goes to others.
    pub(super) fn bury(&mut self, worker: WorkerId) -> Result<(), Error> {
        // Its last words may lie in the channel, and count. Before it is
        // waited for: should they condemn it, its number is still its own.
        // More than this were not in it: they come from somebody who has
        // inherited it.
        for _ in 0..LAST_WORDS {
            if !self.listen(worker) {
                break;
            }
        }
        self.hang_up(worker);
        let Some(link) = self.links.get(&worker) else { return Ok(()) };
        let Some(how) = link.reap(&self.epoll)? else { return Ok(()) };
        if let Err(fault) = self.look_at(worker) {
            error!("worker {worker} left wrong counters: {fault}");
            if let Some(link) = self.links.get_mut(&worker) {
                link.broken = true;
            }
        }
        let Some(mut link) = self.links.remove(&worker) else {
            return Ok(());
        };
        self.sources.remove(link.process_key);
        self.ward.lost(worker);
        self.salvage(worker, &mut link, how);
        self.remember(worker, &link);
        let lost = |server: &mut Server| server.dispatcher.lost(worker);
        let others = self.servers.values_mut().map(lost).sum();
        self.forget_member(worker);
        obituary(worker, &link, how, others, self.now);
        self.look_for_the_stranded();
        let proven = link.is_proven();
        self.note(Event::Exited { worker, how, proven });
        let (code, signal) = match how {
            Exit::Code(code) => (Some(code), None),
            Exit::Signal(signal) => (None, Some(signal)),
        };
        self.tell_program(Told::Exit { worker, code, signal });
        Ok(())
    }
}

/// What workers that are gone have done.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Past {
    pub(super) handed_over: u64,
    /// `None` as long as none of them has told.
    pub(super) requests: Option<Requests>,
}

impl Master {
    /// A worker's counts, before it is forgotten. What it had not received
    /// will be another's.
    fn remember(&mut self, worker: WorkerId, link: &Link) {
        for server in self.servers.values() {
            let mut counts = server.dispatcher.counts();
            if let Some(counts) = counts.find(|one| one.worker == worker) {
                self.past.handed_over += counts.handed - counts.pending;
            }
        }
        let requests = link.requests().into_iter().chain(self.past.requests);
        self.past.requests = requests.reduce(Requests::plus);
    }
}

/// Reads a channel once and appends the lines that were said. Descriptors
/// that come with them are closed: a master wants none.
fn hear_lines(
    channel: &mut Channel,
    lines: &mut Vec<Vec<u8>>,
) -> Result<Heard, Error> {
    let heard = match channel.hear() {
        Ok(heard) => heard,
        // The worker died with something of ours unread.
        Err(error) if error.is_peer_gone() => Heard::End,
        Err(error) => return Err(error.into()),
    };
    while let Some((line, received)) = channel.line()? {
        // A line without knows nothing of those that another is to claim.
        if !received.is_empty()
            && let Ok(message) = Message::parse(line)
        {
            received.take(message.descriptors()).for_each(drop);
        }
        lines.push(line.to_owned());
    }
    Ok(heard)
}

/// One line for a worker that has ended, whatever it ended of.
fn obituary(
    worker: WorkerId,
    link: &Link,
    how: Exit,
    others: usize,
    now: Instant,
) {
    let pid = link.child.pid();
    let words = match how {
        Exit::Code(code) => format!("exited with status {code}"),
        Exit::Signal(number) => {
            format!("was killed by {}", signal::name_of(number))
        }
    };
    let age = link.age(now).as_secs_f32();
    let moved = match others {
        0 => String::new(),
        n => format!("; {n} connections it had not received go to others"),
    };
    let line =
        format!("worker {worker}, pid {pid}, {words} after {age:.1} s{moved}");
    match how {
        Exit::Code(0) => info!("{line}"),
        Exit::Code(_) | Exit::Signal(_) => warn!("{line}"),
    }
}
