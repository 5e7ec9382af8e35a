//! The worker: takes the connections that its parent hands over and serves
//! them, in one thread, from one loop.
//!
//! ```text
//!   parent  ──▶ hear ──▶ heed ──▶ Client ──▶ http ──▶ handler
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
//!      │                                           │ the parent has noted it
//!      └── the parent says disconnect ──▶ Finishing ◀┘
//!            takes what lay in the channel; gives each client to another
//!            worker as it is. If that cannot be: answers what is in hand and
//!            one more request of each idle client, with `Connection: close`
//! ```

mod capacity;
mod client;
mod clock;
pub(crate) mod contract;
mod greet;
mod host;
mod intent_log;
mod leave;
mod master;
mod node;
mod parent;
mod pool;
mod slot;
mod wire;
mod work;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use log::{debug, error, info};

use self::client::{Client, Outcome, Turn};
use self::clock::Tick;
use self::contract::Contract;
use self::host::{Host, Parting};
use self::parent::{Arrival, Leave, News, Parent};
use self::pool::Pool;
use crate::config::Settings;
use crate::error::Error;
use crate::event::MessageHandler;
use crate::http::{Handler, Mailbox};
use crate::scoreboard::{Return, Scoreboard};
use crate::slab::{Key, Slab};
use crate::sys::epoll::{Epoll, Event, Events, Interest};
use crate::sys::event::WakeUp;
use crate::sys::process;
use crate::sys::signal::{Signal, SignalFd};

/// What epoll carries for what is no client; no key has such an index.
const CHANNEL: u64 = u64::MAX;
const SIGNALS: u64 = u64::MAX - 1;
const MAILBOX: u64 = u64::MAX - 2;
const LISTENERS: u64 = u64::MAX - 3;

/// Events taken at once.
const EVENTS: usize = 256;

/// Clients for whom there is room from the start.
const CLIENTS: usize = 1 << 16;

/// Looking for clients that are late more often than this would find nobody
/// in most cases.
const SWEEP: Duration = Duration::from_millis(100);

/// The life of a worker: until it is told to go, or its master is gone.
pub(crate) fn run(
    settings: &Settings,
    contract: &'static Contract,
    handler: Box<dyn Handler>,
    message_handler: Option<MessageHandler>,
) -> Result<ExitCode, Error> {
    process::set_name(&format!("handoff: w{}", contract.worker));
    let mut worker = Worker::new(settings, contract, handler)?;
    worker.message_handler = message_handler;
    let mut events = Events::with_capacity(EVENTS);
    loop {
        worker.wait(&mut events)?;
        worker.look_at_the_clock();
        for index in 0..events.len() {
            let event = events.get(index);
            match event.data {
                CHANNEL => worker.hear(event)?,
                LISTENERS => worker.answer_listeners()?,
                SIGNALS => worker.obey()?,
                MAILBOX => worker.deliver()?,
                bits => worker.serve(Key::from_bits(bits), event),
            }
        }
        worker.wake();
        worker.sweep();
        worker.tell_parent()?;
        if worker.host.panicked {
            worker.leave(Leave::Panicked)?;
        }
        if let Some(code) = worker.finish() {
            // What the last requests had to say has no other turn.
            worker.say_outgoing()?;
            return Ok(ExitCode::from(code));
        }
    }
}

struct Worker {
    epoll: Epoll,
    signals: SignalFd,
    wake_up: Arc<WakeUp>,
    scoreboard: Arc<Scoreboard>,
    contract: &'static Contract,
    parent: Box<dyn Parent>,
    /// Whom the program has listen to the parent.
    message_handler: Option<MessageHandler>,
    phase: Phase,
    /// On the way out: when to be gone, if nobody else sees to that.
    over_at: Option<Instant>,
    host: Host,
    pool: Pool,
    clients: Slab<Client>,
    /// Clients that are to be woken, the earliest first.
    alarms: BTreeSet<(Instant, Key)>,
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
    /// The parent was told that we are going.
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
        settings: &Settings,
        contract: &'static Contract,
        handler: Box<dyn Handler>,
    ) -> Result<Worker, Error> {
        let epoll = Epoll::new()?;
        let signals = SignalFd::new()?;
        epoll.add(signals.as_fd(), Interest::Read, SIGNALS)?;
        let wake_up = Arc::new(WakeUp::new()?);
        epoll.add(wake_up.as_fd(), Interest::Read, MAILBOX)?;
        let parent = greet::greet(contract, settings, &epoll)?;
        contract.set_waker(Arc::clone(&wake_up));
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
            contract,
            message_handler: None,
            scoreboard: Arc::clone(&contract.scoreboard),
            parent,
            phase: Phase::Serving,
            over_at: None,
            host: Host::new(handler, settings, mailbox, unix_seconds()),
            pool: Pool::new(&contract.scoreboard),
            clients: Slab::with_room(CLIENTS),
            alarms: BTreeSet::new(),
            start,
            now: start,
            tick,
            sweep_at: tick + settings.idle_timeout,
            exit_code: 0,
        })
    }

    fn timeout(&self) -> Option<Duration> {
        let idle = match self.phase {
            Phase::Finishing { idle_until } => Some(idle_until),
            Phase::Serving | Phase::Announced | Phase::Closing => None,
        };
        let alarm = self.alarms.first().map(|(at, _)| *at);
        let others = [idle, self.over_at, self.parent.deadline()];
        let times = alarm.into_iter().chain(others.into_iter().flatten());
        // The turn may have taken long: `now` is when it began.
        let exact =
            times.min().map(|at| at.saturating_duration_since(Instant::now()));
        let sweep =
            (self.clients.len() > 0).then(|| self.sweep_at.from(self.tick));
        exact.into_iter().chain(sweep).min()
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
        self.host.preamble.set(unix_seconds());
    }

    /// Something about the channel.
    fn hear(&mut self, event: Event) -> Result<(), Error> {
        let news = self.parent.hear(event, &self.epoll)?;
        self.heed(news)
    }

    /// Somebody waits in the queue of a listener of our own.
    fn answer_listeners(&mut self) -> Result<(), Error> {
        let news = self.parent.answer_listeners()?;
        self.heed(news)
    }

    fn heed(&mut self, news: News) -> Result<(), Error> {
        for json in &news.messages {
            self.hear_message(json);
        }
        let seated: Vec<Key> =
            news.arrivals.into_iter().map(|one| self.seat(one)).collect();
        // They are ours from here on.
        self.parent.all_seated(&self.epoll)?;
        for key in seated {
            // The request is usually there already, and with
            // `Connection: close` epoll never hears of this connection.
            self.step(key, Client::begin);
        }
        if let Some(dismissal) = news.dismissal {
            self.disconnect(dismissal);
            if self.host.parting == Parting::GiveAway {
                self.give_all();
            }
        }
        Ok(())
    }

    fn seat(&mut self, arrival: Arrival) -> Key {
        let Arrival { socket, slot, snapshot, tag } = arrival;
        let mut client = Client::new(socket, slot, self.tick);
        if let Some(snapshot) = snapshot {
            client.take_over(&snapshot, &mut self.pool);
        }
        let key = self.clients.insert(client);
        if let Some(tag) = tag {
            self.parent.seated(key, tag);
        }
        key
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
            host: &mut self.host,
            pool: &mut self.pool,
            epoll: &self.epoll,
            key,
            now: self.tick,
        };
        match act(client, &mut turn) {
            Outcome::Stays => {}
            Outcome::Wakes(at) => {
                self.alarms.insert((at, key));
            }
            Outcome::Over => return self.end(key),
        }
        if self.host.parting == Parting::GiveAway && client.can_be_given() {
            return self.give(key);
        }
        if let Some(deadline) = client.deadline(&self.host.timeouts) {
            self.sweep_at = self.sweep_at.earlier(deadline);
        }
    }

    /// Lets the parent know what this turn has done.
    fn tell_parent(&mut self) -> Result<(), Error> {
        self.parent.turn_ends(self.host.requests, self.now, &self.epoll)
    }

    fn end(&mut self, key: Key) {
        if let Some(client) = self.clients.remove(key) {
            if let Some(at) = client.alarm() {
                self.alarms.remove(&(at, key));
            }
            let slot = client.slot();
            let returned = slot.map(|slot| Return { slot, lives: false });
            client.end(&mut self.host, &mut self.pool, &self.epoll);
            self.parent.ended(key, returned);
        }
    }

    /// The program hears what its parent says. If that makes it panic, the
    /// worker goes as when a handler does.
    fn hear_message(&mut self, json: &str) {
        let Some(message_handler) = &mut self.message_handler else {
            return debug!("the parent says {json}");
        };
        let hear = AssertUnwindSafe(|| message_handler(json));
        self.host.panicked |= catch_unwind(hear).is_err();
    }

    /// Answers from other threads, and messages to the parent.
    fn deliver(&mut self) -> Result<(), Error> {
        self.wake_up.clear()?;
        self.say_outgoing()?;
        for answer in self.host.mailbox.take() {
            let key = Key::from_bits(answer.ticket());
            self.step(key, |client, turn| client.answer(answer, turn));
        }
        Ok(())
    }

    fn say_outgoing(&mut self) -> Result<(), Error> {
        for json in self.contract.take_outgoing() {
            self.parent.send(&json, &self.epoll)?;
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
        let timeouts = self.host.timeouts;
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

    /// Signals to this very worker.
    fn obey(&mut self) -> Result<(), Error> {
        while let Some(signal) = self.signals.read()? {
            match signal {
                Signal::Terminate | Signal::Interrupt | Signal::Quit => {
                    info!("{}: going", signal.name());
                    self.leave(Leave::Asked)?;
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

fn unix_seconds() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
