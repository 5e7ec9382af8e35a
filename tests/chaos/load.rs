//! About 250 requests a second, half of them of 20 ms, half of them on
//! connections that stay.
//!
//! ```text
//!   20 clients, each every 200 ms ─┐
//!   20 clients, each every 1 s     ├─ keep-alive ── 125/s ─┐
//!   15 clients, each every 3 s    ─┘                       ├─▶ Ledger
//!    1 ticket  every 8 ms ── 200 hands ── one request each ┘
//! ```
//!
//! A keep-alive client that waits for an answer lets its turn pass, as a
//! person does. The tickets go on whatever becomes of the requests before
//! them, as the world does. Every moment is reckoned from the start, so no
//! delay adds up. A client is a thread with a ledger of its own: nothing is
//! shared, and nothing grows with time but the list of what was lost.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::client::{Connection, Idle, Manner, Question};
use super::ledger::{End, Ledger, Span};

/// Keep-alive clients, and how often each asks. For the last, a worker that
/// leaves does not wait: it closes their connections while they are idle.
const KEPT: [(u32, Duration); 3] = [
    (20, Duration::from_millis(200)),
    (20, Duration::from_secs(1)),
    (15, Duration::from_secs(3)),
];

/// A client that asks as often as that is to be told before its connection is
/// closed: a worker that leaves waits for it (`--idle-grace`).
const SHORT: Duration = Duration::from_secs(1);

/// How often a client comes that has one request.
const TICKET: Duration = Duration::from_millis(8);

/// How many of those there can be at a time.
const HANDS: usize = 200;

/// What all of that comes to.
pub(crate) const PER_SECOND: usize = 250;

/// How long a client waits for the end of an answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// A client's thread needs next to nothing.
const STACK: usize = 128 << 10;

/// Clients at work.
#[derive(Debug)]
pub(crate) struct Load {
    world: Arc<World>,
    start: Instant,
    clients: Vec<JoinHandle<Ledger>>,
}

/// What all clients know.
#[derive(Debug)]
struct World {
    address: SocketAddr,
    patience: Duration,
    /// They are to go home.
    over: AtomicBool,
    /// The master is to stop: being refused is no fault any more.
    stopping: AtomicBool,
    tickets: AtomicU32,
}

impl Load {
    pub(crate) fn start(address: SocketAddr, patience: Duration) -> Load {
        let world = Arc::new(World {
            address,
            patience,
            over: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            tickets: AtomicU32::new(0),
        });
        let start = Instant::now();
        let mut clients = Vec::new();
        for (count, every) in KEPT {
            for number in 0..count {
                let first = start + every * number / count;
                let client = Client::new(&world);
                clients.push(employ(move || client.stay(first, every)));
            }
        }
        for _ in 0..HANDS {
            let client = Client::new(&world);
            clients.push(employ(move || client.take_tickets(start)));
        }
        Load { world, start, clients }
    }

    /// From now on nobody needs to be there.
    pub(crate) fn expect_the_end(&self) {
        self.world.stopping.store(true, Relaxed);
    }

    /// Lets every client finish what it has begun. Returns the books of all,
    /// and how many requests a second there were.
    pub(crate) fn finish(mut self) -> (Ledger, usize) {
        self.dismiss();
        let time = self.start.elapsed();
        let mut ledger = Ledger::default();
        for client in self.clients.drain(..) {
            ledger += client.join().unwrap();
        }
        assert_eq!(ledger.sent, ledger.first.sum(), "the books: {ledger:?}");
        let rate = ledger.sent as u128 * 1000 / time.as_millis().max(1);
        (ledger, rate as usize)
    }

    fn dismiss(&self) {
        self.world.over.store(true, Relaxed);
        for client in &self.clients {
            client.thread().unpark();
        }
    }
}

impl Drop for Load {
    /// For a run that fails: clients must not go on beside the next.
    fn drop(&mut self) {
        self.dismiss();
    }
}

fn employ(
    work: impl FnOnce() -> Ledger + Send + 'static,
) -> JoinHandle<Ledger> {
    thread::Builder::new().stack_size(STACK).spawn(work).unwrap()
}

struct Client {
    world: Arc<World>,
    ledger: Ledger,
}

impl Client {
    fn new(world: &Arc<World>) -> Client {
        Client { world: Arc::clone(world), ledger: Ledger::default() }
    }

    /// The life of a keep-alive client.
    fn stay(mut self, first: Instant, every: Duration) -> Ledger {
        let mut kept = None;
        let mut due = first;
        let mut turn = 0;
        while self.sleep_until(due) {
            kept = self.examine(kept, every);
            kept = self.request(kept, Manner::KeepAlive, turn);
            turn += 1;
            while due <= Instant::now() {
                due += every;
            }
        }
        self.examine(kept, every);
        self.ledger
    }

    /// The lives of clients with one request.
    fn take_tickets(mut self, start: Instant) -> Ledger {
        loop {
            let ticket = self.world.tickets.fetch_add(1, Relaxed);
            if !self.sleep_until(start + TICKET * ticket) {
                return self.ledger;
            }
            self.request(None, Manner::OneRequest, ticket);
        }
    }

    /// False when it is time to go home.
    fn sleep_until(&mut self, due: Instant) -> bool {
        let mut slept = false;
        while !self.world.over.load(Relaxed) {
            let now = Instant::now();
            if now >= due {
                if slept {
                    let late = now - due;
                    self.ledger.overslept = self.ledger.overslept.max(late);
                }
                return true;
            }
            thread::park_timeout(due - now);
            slept = true;
        }
        false
    }

    /// Looks at a connection after a pause, and keeps it if it can be used.
    fn examine(
        &mut self,
        kept: Option<Connection>,
        pause: Duration,
    ) -> Option<Connection> {
        match kept.as_ref()?.look() {
            Idle::Open => return kept,
            Idle::Closed => {
                self.ledger.idle_closes += 1;
                self.ledger.let_down += usize::from(pause <= SHORT);
            }
            Idle::Unasked => self.ledger.unasked += 1,
        }
        None
    }

    /// One request with a token of its own, and once more if a browser would.
    fn request(
        &mut self,
        kept: Option<Connection>,
        manner: Manner,
        turn: u32,
    ) -> Option<Connection> {
        static TOKENS: AtomicU32 = AtomicU32::new(0);
        let token = format!("token-{}", TOKENS.fetch_add(1, Relaxed));
        let path = if turn.is_multiple_of(2) { "/echo" } else { "/sleep/20" };
        let question = Question { path, token: &token };
        let used = kept.as_ref().is_some_and(Connection::is_used);

        self.ledger.sent += 1;
        let sent = Instant::now();
        let result = self.attempt(kept, question, manner);
        let end = result.as_ref().err().copied().unwrap_or(End::Ok);
        self.ledger.enter(end, Span::since(sent), used);
        if !(used && end.is_repeatable()) {
            return result.ok().flatten();
        }
        let result = self.attempt(None, question, manner);
        let end = result.as_ref().err().copied().unwrap_or(End::Ok);
        self.ledger.again[end] += 1;
        result.ok().flatten()
    }

    fn attempt(
        &self,
        kept: Option<Connection>,
        question: Question<'_>,
        manner: Manner,
    ) -> Result<Option<Connection>, End> {
        let World { address, patience, stopping, .. } = &*self.world;
        let deadline = Instant::now() + *patience;
        let result = match kept {
            Some(connection) => Ok(connection),
            None => Connection::open(*address, deadline),
        }
        .and_then(|connection| connection.ask(question, manner, deadline));
        match result {
            Err(End::Refused) if stopping.load(Relaxed) => {
                Err(End::RefusedAfterStop)
            }
            other => other,
        }
    }
}
