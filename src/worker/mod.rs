//! The worker: takes the connections that the master hands over and serves
//! them, in one thread, from one loop.
//!
//! ```text
//!   channel ──▶ hear ──▶ take ──▶ Client ──▶ http ──▶ handler
//!   epoll   ──▶ serve ───────────▶   │
//!   timers  ──▶ wake ────────────▶   │        other threads
//!   mailbox ──▶ deliver ─────────▶   ▼             │
//!                               Stays · Wakes · Over
//! ```
//!
//! It does not know where connections come from, who else serves, or what an
//! answer says. When it is to go, it goes as a good waiter does:
//!
//! ```text
//!   Serving ── a handler panicked, SIGTERM ──▶ Announced ("I am going")
//!      │                                           │ the master has noted it
//!      └── the master says disconnect ──▶ Finishing ◀┘
//!            takes what lay in the channel, answers what is in hand and one
//!            more request of each idle client, each with `Connection: close`
//! ```

mod client;
mod clock;
pub(crate) mod contract;
mod desk;
mod leave;
mod work;

use std::collections::BTreeSet;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use log::{debug, error, info};

use self::client::{Client, Outcome, Turn};
use self::clock::Tick;
use self::contract::Contract;
use self::desk::Desk;
use crate::channel::{Channel, Heard};
use crate::config::Serve;
use crate::error::Error;
use crate::http::{Handler, Mailbox};
use crate::ipc::message::{Act, Cluster, Listen, Message};
use crate::scoreboard::Scoreboard;
use crate::slab::{Key, Slab};
use crate::sys::epoll::{Epoll, Event, Events, Interest};
use crate::sys::event::WakeUp;
use crate::sys::process;
use crate::sys::signal::{Signal, SignalFd};

/// What epoll carries for what is no client; no key has such an index.
const CHANNEL: u64 = u64::MAX;
const SIGNALS: u64 = u64::MAX - 1;
const MAILBOX: u64 = u64::MAX - 2;

/// Events taken at once.
const EVENTS: usize = 256;

/// Our version of many connections in one message.
const HANDOFF: u64 = 1;

/// Descriptors that a handler may use beside the clients'.
const RESERVE: usize = 16;

/// Looking for clients that are late more often than this would find nobody
/// in most cases.
const SWEEP: Duration = Duration::from_millis(100);

/// The life of a worker: until it is told to go, or its master is gone.
pub(crate) fn run(
    settings: &Serve,
    contract: &Contract,
    handler: Box<dyn Handler>,
) -> Result<ExitCode, Error> {
    process::set_name(&format!("handoff: w{}", contract.worker));
    let mut worker = Worker::new(settings, contract, handler)?;
    worker.introduce(settings)?;
    let mut events = Events::with_capacity(EVENTS);
    loop {
        worker.wait(&mut events)?;
        worker.look_at_the_clock();
        for index in 0..events.len() {
            let event = events.get(index);
            match event.data {
                CHANNEL => worker.hear(event)?,
                SIGNALS => worker.obey()?,
                MAILBOX => worker.deliver()?,
                bits => worker.serve(Key::from_bits(bits), event),
            }
        }
        worker.wake();
        worker.sweep();
        worker.publish()?;
        if worker.desk.panicked {
            worker.leave(1)?;
        }
        if let Some(code) = worker.finish() {
            return Ok(ExitCode::from(code));
        }
    }
}

struct Worker {
    epoll: Epoll,
    signals: SignalFd,
    wake_up: Arc<WakeUp>,
    scoreboard: Arc<Scoreboard>,
    channel: Option<Channel>,
    phase: Phase,
    desk: Desk,
    clients: Slab<Client>,
    /// Clients that are to be woken, the earliest first.
    alarms: BTreeSet<(Instant, Key)>,
    /// Sequence number of the last connection taken.
    received: u64,
    /// A connection got lost on the way: everything up to the master's
    /// `Resume` is somebody else's.
    discarding: bool,
    closed: u64,
    published: u64,
    /// Numbers what we say.
    seq: u64,
    start: Instant,
    now: Instant,
    tick: Tick,
    /// No client is late before this.
    sweep_at: Tick,
    exit_code: u8,
}

#[derive(Debug)]
enum Phase {
    Serving,
    /// The master was told that we are going.
    Announced,
    /// No more connections come. Idle clients are waited for until then.
    Finishing {
        idle_until: Instant,
    },
    /// Only what is in hand is waited for.
    Closing,
}

impl Worker {
    fn new(
        settings: &Serve,
        contract: &Contract,
        handler: Box<dyn Handler>,
    ) -> Result<Worker, Error> {
        let epoll = Epoll::new()?;
        let signals = SignalFd::new()?;
        epoll.add(signals.as_fd(), Interest::Read, SIGNALS)?;
        let wake_up = Arc::new(WakeUp::new()?);
        epoll.add(wake_up.as_fd(), Interest::Read, MAILBOX)?;
        let channel = Channel::new(contract.take_channel()?);
        epoll.add(channel.as_fd(), Interest::Read, CHANNEL)?;
        let ring = Arc::clone(&wake_up);
        let mailbox = Mailbox::new(move || {
            if let Err(error) = ring.wake() {
                error!("an answer from another thread is late: {error}");
            }
        });
        let start = Instant::now();
        let mailbox = Arc::new(mailbox);
        let tick = Tick::at(start, start);
        Ok(Worker {
            epoll,
            signals,
            wake_up,
            scoreboard: contract.scoreboard(),
            channel: Some(channel),
            phase: Phase::Serving,
            desk: Desk::new(handler, settings, mailbox, unix_seconds()),
            clients: Slab::new(),
            alarms: BTreeSet::new(),
            received: 0,
            discarding: false,
            closed: 0,
            published: 0,
            seq: 0,
            start,
            now: start,
            tick,
            sweep_at: tick + settings.idle_timeout,
            exit_code: 0,
        })
    }

    /// Says that we run, and that we are ready.
    fn introduce(&mut self, settings: &Serve) -> Result<(), Error> {
        let capacity = capacity(settings)?;
        self.say(Act::Online { handoff: Some(HANDOFF) })?;
        self.say(Act::Listening {
            server: Listen::default(),
            capacity: Some(capacity),
        })
    }

    fn say(&mut self, act: Act<'_>) -> Result<(), Error> {
        let seq = Some(self.seq);
        self.seq += 1;
        self.tell(&Message::Cluster(Cluster { seq, act }))
    }

    fn tell(&mut self, message: &Message<'_>) -> Result<(), Error> {
        let Some(channel) = &mut self.channel else { return Ok(()) };
        channel.say(message)?;
        // The master reads whatever we say; a channel that stays full is one
        // that nobody reads, and its end will be heard.
        if channel.is_waiting() {
            let fd = channel.as_fd();
            self.epoll.modify(fd, Interest::ReadWrite, CHANNEL)?;
        }
        Ok(())
    }

    fn timeout(&self) -> Option<Duration> {
        let idle = match self.phase {
            Phase::Finishing { idle_until } => Some(idle_until),
            Phase::Serving | Phase::Announced | Phase::Closing => None,
        };
        let times =
            self.alarms.first().map(|(at, _)| *at).into_iter().chain(idle);
        let exact = times.map(|at| at.saturating_duration_since(self.now));
        let sweep =
            (self.clients.len() > 0).then(|| self.sweep_at.from(self.tick));
        exact.chain(sweep).min()
    }

    /// The one wait. The master may look at any time whether we move or rest.
    fn wait(&self, events: &mut Events) -> Result<(), Error> {
        self.scoreboard.publish_waiting(true);
        let result = self.epoll.wait(events, self.timeout());
        self.scoreboard.count_turn();
        self.scoreboard.publish_waiting(false);
        Ok(result?)
    }

    fn look_at_the_clock(&mut self) {
        self.now = Instant::now();
        self.tick = Tick::at(self.now, self.start);
        self.desk.preamble.set(unix_seconds());
    }

    /// Something about the channel.
    fn hear(&mut self, event: Event) -> Result<(), Error> {
        let Some(channel) = &mut self.channel else { return Ok(()) };
        if event.is_writable() {
            channel.flush()?;
            if !channel.is_waiting() {
                let fd = channel.as_fd();
                self.epoll.modify(fd, Interest::Read, CHANNEL)?;
            }
        }
        if event.is_readable() || event.is_gone() {
            self.listen()?;
        }
        Ok(())
    }

    /// Reads the channel once and does what the master says.
    fn listen(&mut self) -> Result<(), Error> {
        let Some(channel) = &mut self.channel else { return Ok(()) };
        let heard = channel.hear()?;
        let mut arrivals: Vec<OwnedFd> = Vec::new();
        let mut missing = None;
        let mut dismissed = None;
        while let Some((line, descriptors)) = channel.line()? {
            match Message::parse(line)? {
                Message::Connections { first, count } => {
                    let came = descriptors.take(count as usize);
                    if self.discarding {
                        // The master has copies of these.
                        came.for_each(drop);
                        continue;
                    }
                    expect_number(first, self.received + 1)?;
                    let before = arrivals.len();
                    arrivals.extend(came);
                    let taken = (arrivals.len() - before) as u64;
                    self.received += taken;
                    if taken < count {
                        self.discarding = true;
                        missing = Some(self.received + 1);
                    }
                }
                Message::Resume { first } => {
                    expect_number(first, self.received + 1)?;
                    self.discarding = false;
                }
                Message::Cluster(Cluster { act, .. }) => match act {
                    Act::Disconnect { idle } => {
                        dismissed = Some(idle.map(Duration::from_millis));
                    }
                    // Only the announcement that we go is ever answered.
                    Act::Reply { .. } => dismissed = Some(None),
                    Act::Online { .. }
                    | Act::QueryServer(_)
                    | Act::Listening { .. }
                    | Act::NewConnection { .. }
                    | Act::Close { .. }
                    | Act::ExitedAfterDisconnect => {
                        return Err(Error::protocol("a worker's own words"));
                    }
                },
                Message::User(text) => debug!("the master says {text}"),
                other => debug!("passed over: {other:?}"),
            }
        }
        self.take(arrivals)?;
        if let Some(first) = missing {
            self.tell(&Message::HandleNack { first: Some(first) })?;
        }
        match dismissed {
            Some(idle) => self.disconnect(idle.unwrap_or(leave::IDLE_GRACE)),
            None if heard == Heard::End => Err(Error::MasterGone),
            None => Ok(()),
        }
    }

    /// Connections are ours from here on.
    fn take(&mut self, arrivals: Vec<OwnedFd>) -> Result<(), Error> {
        if arrivals.is_empty() {
            return Ok(());
        }
        self.scoreboard.publish_received(self.received);
        if self.scoreboard.must_wake() {
            self.tell(&Message::HandleAck)?;
        }
        for socket in arrivals {
            let key = self.clients.insert(Client::new(socket, self.tick));
            // The request is usually there already, and with
            // `Connection: close` epoll never hears of this connection.
            self.step(key, Client::read);
        }
        Ok(())
    }

    /// Something about a client; or about none, if it is gone already.
    fn serve(&mut self, key: Key, event: Event) {
        self.step(key, |client, turn| client.ready(event, turn));
    }

    /// Does something to a client and sees to what comes of it.
    fn step(
        &mut self,
        key: Key,
        act: impl FnOnce(&mut Client, &mut Turn<'_>) -> Outcome,
    ) {
        let Some(client) = self.clients.get_mut(key) else { return };
        // A turn may hold hundreds of clients, each with a slow handler.
        self.scoreboard.count_turn();
        let mut turn = Turn {
            desk: &mut self.desk,
            epoll: &self.epoll,
            key,
            now: self.tick,
            instant: self.now,
        };
        match act(client, &mut turn) {
            Outcome::Stays => {}
            Outcome::Wakes(at) => {
                self.alarms.insert((at, key));
            }
            Outcome::Over => return self.end(key),
        }
        if let Some(deadline) = client.deadline(&self.desk.timeouts) {
            self.sweep_at = self.sweep_at.earlier(deadline);
        }
    }

    fn end(&mut self, key: Key) {
        if let Some(client) = self.clients.remove(key) {
            if let Some(at) = client.alarm() {
                self.alarms.remove(&(at, key));
            }
            client.end(&self.epoll);
            self.closed += 1;
        }
    }

    /// Answers from other threads.
    fn deliver(&mut self) -> Result<(), Error> {
        self.wake_up.clear()?;
        for answer in self.desk.mailbox.take() {
            let key = Key::from_bits(answer.ticket());
            self.step(key, |client, turn| client.answer(answer, turn));
        }
        Ok(())
    }

    /// Clients whose own time has come.
    fn wake(&mut self) {
        while let Some(&(at, key)) = self.alarms.first()
            && at <= self.now
        {
            self.alarms.pop_first();
            self.step(key, Client::wake);
        }
    }

    /// Clients that are late.
    fn sweep(&mut self) {
        if !self.sweep_at.has_come(self.tick) {
            return;
        }
        let timeouts = self.desk.timeouts;
        let mut next = self.tick + timeouts.longest();
        let mut late = Vec::new();
        for (key, client) in self.clients.iter() {
            match client.deadline(&timeouts) {
                Some(deadline) if deadline.has_come(self.tick) => {
                    late.push(key);
                }
                Some(deadline) => next = next.earlier(deadline),
                None => {}
            }
        }
        let soonest = self.tick + SWEEP;
        self.sweep_at = if next.has_come(soonest) { soonest } else { next };
        for key in late {
            self.step(key, Client::expire);
        }
    }

    /// Lets the master know what this turn has done.
    fn publish(&mut self) -> Result<(), Error> {
        self.scoreboard.publish_requests(self.desk.requests);
        if self.closed != self.published {
            self.published = self.closed;
            self.scoreboard.publish_closed(self.closed);
            if self.scoreboard.must_wake() {
                self.tell(&Message::HandleAck)?;
            }
        }
        Ok(())
    }

    /// Signals to this very worker.
    fn obey(&mut self) -> Result<(), Error> {
        while let Some(signal) = self.signals.read()? {
            match signal {
                Signal::Terminate | Signal::Interrupt | Signal::Quit => {
                    info!("{}: going", signal.name());
                    self.leave(0)?;
                }
                Signal::HangUp
                | Signal::User1
                | Signal::User2
                | Signal::WindowChange
                | Signal::Child => {}
            }
        }
        Ok(())
    }
}

/// How many connections this process can hold: as many as it can have
/// descriptors, less those that it has and a reserve.
fn capacity(settings: &Serve) -> Result<u64, Error> {
    let limit = crate::sys::limit::raise_descriptors()?;
    let open =
        std::fs::read_dir("/proc/self/fd").map_or(RESERVE, Iterator::count);
    let room = limit.saturating_sub(open + RESERVE).max(1);
    let most = settings.max_connections.map_or(usize::MAX, usize::from);
    Ok(room.min(most) as u64)
}

fn expect_number(number: u64, expected: u64) -> Result<(), Error> {
    if number == expected {
        return Ok(());
    }
    Err(Error::protocol("a connection out of order"))
}

fn unix_seconds() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
