//! One worker after the other on the [stage](super::stage), each with the
//! one connection: the real clients, buffers, intent logs and HTTP, and a loop
//! around them in the place of the worker's.

use std::cell::RefCell;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::resume_unwind;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant as Moment};

use super::script::{Ask, Course, Last, Method, pattern};
use super::stage::{Dice, Seen, State, Tally, World};
use crate::config::Settings;
use crate::http::{Chunk, Mailbox, Produce, Reply, Request, Response};
use crate::ipc::message::Seat;
use crate::salvage::recovery::{INPUT, OUTPUT, Position, Stretch, Verdict};
use crate::salvage::snapshot::Snapshot;
use crate::scoreboard::{
    Half, INBOUND_BUFFERS, Return, Scoreboard, SharedBuffers,
};
use crate::slab::Key;
use crate::sys::epoll::{Epoll, Events};
use crate::sys::{rehearsal, socket, unix};
use crate::worker::client::{Client, Outcome, Turn};
use crate::worker::clock::Tick;
use crate::worker::host::Host;
use crate::worker::master::find_seat;
use crate::worker::parent::Arrival;
use crate::worker::pool::Pool;

/// How a conversation goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    pub(super) seed: u64,
    /// Where the counters stand at first.
    pub(super) origin: Position,
    /// One step in so many ends with a death; 0: none does.
    pub(super) deaths: usize,
    /// The worker dies at this instant, counted from the first.
    pub(super) dies_at: Option<u64>,
    /// One in so many with giving the connection back; 0: none.
    pub(super) inbound: usize,
    pub(super) half_closes: bool,
    /// All that the client sends is there from the first.
    pub(super) at_once: bool,
    /// The client is late now and then.
    pub(super) late: bool,
    /// Now and then a worker has no shared buffer left.
    pub(super) scarce: bool,
}

/// See the [module](self).
pub(super) struct Bench {
    world: Rc<World>,
    board: &'static Scoreboard,
    host: Host,
    pool: Pool,
    /// Shared buffers that the present worker is not to have.
    hidden: Option<SharedBuffers>,
    epoll: Epoll,
    events: Events,
    lives: u32,
    start: Moment,
    /// One was: what was in its shared buffer is there still, and of no
    /// further use.
    let_go: bool,
}

/// A worker's life with the connection.
struct Life {
    client: Client,
    key: Key,
    /// Nothing was done with it yet.
    new: bool,
    /// The other end of what epoll watches.
    _peer: OwnedFd,
}

impl Bench {
    pub(super) fn new() -> Bench {
        let (master, fd) = Scoreboard::create(true).unwrap();
        let board = Scoreboard::open(fd.as_fd()).unwrap().unwrap();
        let board: &'static Scoreboard = Box::leak(Box::new(board));
        let state = State::new(&[], 0, Position::default());
        let state = RefCell::new(state);
        let world = Rc::new(World { master, state });
        let settings = Settings::with_defaults(1);
        let mailbox = Arc::new(Mailbox::new(|| {}));
        let seen = Rc::clone(&world);
        let handler = move |request: &Request<'_>, to: &mut Response<'_>| {
            answer(&seen, request, to);
        };
        let handler = Box::new(handler);
        Bench {
            world,
            board,
            host: Host::new(handler, &settings, mailbox, 0),
            pool: Pool::new(board),
            hidden: None,
            epoll: Epoll::new().unwrap(),
            events: Events::with_capacity(4),
            lives: 0,
            start: Moment::now(),
            let_go: false,
        }
    }

    /// One connection from its beginning to its end, and what became of it
    /// on the way.
    pub(super) fn run(&mut self, asks: &[Ask], manner: Manner) -> Tally {
        rehearsal::set(Some(self.world.clone()));
        {
            let state = &mut *self.world.state.borrow_mut();
            *state = State::new(asks, manner.seed, manner.origin);
            state.half_closes = manner.half_closes;
            state.scarce = manner.scarce;
            if manner.at_once {
                state.arrived = state.sent.len();
            }
            state.dies_at = manner.dies_at;
        }
        let origin = manner.origin;
        let snapshot =
            Snapshot { done: origin, next: origin, ..Snapshot::default() };
        let fresh = origin == Position::default();
        let mut life = Some(self.begin((!fresh).then_some(snapshot)));
        let mut steps = 0;
        while let Some(present) = life {
            steps += 1;
            assert!(steps < 200_000, "it does not come to an end");
            life = self.step(present, manner);
        }
        rehearsal::set(None);
        self.world.state.borrow().tally
    }

    fn dice<R>(&self, roll: impl FnOnce(&mut Dice) -> R) -> R {
        roll(&mut self.world.state.borrow_mut().dice)
    }

    /// A worker gets the connection, as it gets every one.
    fn begin(&mut self, snapshot: Option<Snapshot>) -> Life {
        self.lives += 1;
        let slot = self.lives % 64;
        let moved = snapshot.is_some();
        let closing =
            snapshot.as_ref().is_some_and(|snapshot| snapshot.closing);
        let rest = snapshot
            .as_ref()
            .is_some_and(|snapshot| !snapshot.output.is_empty());
        if let Some(snapshot) = snapshot {
            let master = &self.world.master;
            let inbound =
                (!snapshot.is_light()).then_some(self.lives % INBOUND_BUFFERS);
            if let Some(inbound) = inbound {
                master.fill_inbound(inbound, Half::Input, &snapshot.input);
                master.fill_inbound(inbound, Half::Output, &snapshot.output);
            }
            master.set_words(slot, snapshot.words(inbound));
        }
        self.pool.buffers = self.pool.buffers.take().or(self.hidden.take());
        if self.dice(|dice| dice.one_in(3)) && self.is_scarce() {
            self.hidden = self.pool.buffers.take();
        }
        let (ours, theirs) = unix::pair().unwrap();
        let mut arrival = Arrival::from(ours);
        find_seat(self.board, &mut arrival, Seat { slot, moved }).unwrap();
        let Arrival { socket, slot: seat, snapshot, .. } = arrival;
        let mut client = Client::new(socket, seat, self.tick(0));
        if let Some(snapshot) = snapshot {
            client.take_over(&snapshot, &mut self.pool);
        }
        // To epoll there is always something to read, and room to write.
        rehearsal::set(None);
        socket::send(theirs.as_fd(), b"!").unwrap();
        rehearsal::set(Some(self.world.clone()));
        self.world.state.borrow_mut().live(slot, closing, rest);
        let key = Key::from_bits(u64::from(self.lives));
        Life { client, key, new: true, _peer: theirs }
    }

    fn tick(&self, seconds: u64) -> Tick {
        Tick::at(self.start + Duration::from_secs(seconds), self.start)
    }

    /// Something happens, and perhaps the worker dies meanwhile. `None`: the
    /// connection has come to its end.
    fn step(&mut self, mut life: Life, manner: Manner) -> Option<Life> {
        self.world.state.borrow_mut().forget_instants();
        self.world.look();
        let outcome = match std::mem::take(&mut life.new) {
            true => self.act(&mut life, 0, Client::begin),
            false => self.something(&mut life, manner),
        };
        let life = match outcome {
            Outcome::Stays | Outcome::Wakes(_) => Some(life),
            Outcome::Over => {
                self.end(life);
                None
            }
        };
        self.world.look();
        let Manner { deaths, inbound, .. } = manner;
        let dying = self.world.state.borrow().dying;
        if dying || (deaths > 0 && self.dice(|dice| dice.one_in(deaths))) {
            return self.die(life);
        }
        let Some(life) = life else {
            self.check_end();
            return None;
        };
        if inbound > 0
            && life.client.can_be_given()
            && self.dice(|dice| dice.one_in(inbound))
        {
            return Some(self.give(life));
        }
        if self.is_done(&life) {
            self.world.state.borrow_mut().alive = false;
            self.end(life);
            return None;
        }
        Some(life)
    }

    /// What may happen to a client.
    fn something(&mut self, life: &mut Life, manner: Manner) -> Outcome {
        let (what, late) = {
            let state = &mut *self.world.state.borrow_mut();
            let left = state.sent.len() - state.arrived;
            if state.dice.one_in(2) {
                state.arrived += state.dice.some(left);
            }
            if state.dice.one_in(2) {
                state.room += state.dice.some(40_000);
            }
            // Whether a 408 has a body depends on what is there of HEAD.
            let heads = state.asks.iter().any(|a| a.method == Method::Head);
            let late = manner.late && !heads && state.dice.one_in(300);
            (state.dice.below(4), late)
        };
        if late && life.client.deadline(&self.host.timeouts).is_some() {
            self.world.state.borrow_mut().late = true;
            return self.act(life, 24 * 60 * 60, Client::expire);
        }
        if what == 0 && life.client.alarm().is_some() {
            return self.act(life, 0, Client::wake);
        }
        let later = {
            let state = &mut *self.world.state.borrow_mut();
            (what == 1).then(|| state.later.pop()).flatten()
        };
        if let Some((later, number, run)) = later {
            let mut reply = Reply::new();
            fill(&mut reply, &self.ask(number), number, run);
            later.send(reply);
        }
        if let Some(answer) = self.host.mailbox.take().pop() {
            return self
                .act(life, 0, |client, turn| client.answer(answer, turn));
        }
        let none = Some(Duration::ZERO);
        self.epoll.wait(&mut self.events, none).unwrap();
        if self.events.len() == 0 {
            return Outcome::Stays;
        }
        let event = self.events.get(0);
        assert_eq!(event.data, life.key.bits());
        self.act(life, 0, |client, turn| client.ready(event, turn))
    }

    fn is_scarce(&self) -> bool {
        self.world.state.borrow().scarce
    }

    fn ask(&self, number: usize) -> Ask {
        self.world.state.borrow().asks[number]
    }

    /// As the worker ends one; the buffers are used again.
    fn end(&mut self, life: Life) {
        life.client.end(&mut self.host, &mut self.pool, &self.epoll);
        if !self.let_go {
            self.check_wiped();
        }
    }

    /// No shared buffer has anything left for the next connection.
    fn check_wiped(&self) {
        for buffer in 0..2 {
            for (half, length) in
                [(Half::Input, INPUT), (Half::Output, OUTPUT)]
            {
                let all = Stretch { start: 0, length };
                let bytes = self.world.master.read_buffer(buffer, half, all);
                let wiped = bytes.unwrap().iter().all(|&byte| byte == 0);
                assert!(wiped, "{half:?} of {buffer} goes to the next");
            }
            assert_eq!(self.world.master.read_so_far(buffer), 0);
        }
    }

    /// The worker has died at some instant of this step, in which the
    /// connection may have come to its end.
    fn die(&mut self, life: Option<Life>) -> Option<Life> {
        let instant = self.world.state.borrow_mut().die()?;
        if let Some(life) = life {
            self.end(life);
        }
        drop(self.host.mailbox.take());
        self.go_on(instant.verdict, instant.snapshot)
    }

    /// Does what the master does with a verdict.
    fn go_on(
        &mut self,
        verdict: Verdict,
        snapshot: Option<Snapshot>,
    ) -> Option<Life> {
        match verdict {
            Verdict::Moves(_) | Verdict::Lost { .. } => {
                Some(self.begin(snapshot))
            }
            Verdict::End | Verdict::Reset => None,
            Verdict::Gone => {
                self.check_end();
                None
            }
        }
    }

    /// The worker lives, and another is to have the connection.
    fn give(&mut self, life: Life) -> Life {
        let slot = {
            let state = &mut *self.world.state.borrow_mut();
            state.forget_instants();
            state.tally.given += 1;
            state.slot
        };
        let back = Return { slot, lives: true };
        self.board.give_back(&[back]);
        let mut list = self.world.master.take_returned();
        let returned = self.world.master.next_returned(&mut list);
        assert_eq!((returned, list), (Some(back), 0));
        let instant = self.world.state.borrow_mut().die().unwrap();
        assert!(
            matches!(instant.verdict, Verdict::Moves(t) if !t.begun),
            "{:?}",
            instant.verdict
        );
        self.let_go = true;
        life.client.let_go(&mut self.host, &self.epoll);
        self.begin(instant.snapshot)
    }

    /// All is answered, and nothing more will come.
    fn is_done(&self, life: &Life) -> bool {
        let state = &mut *self.world.state.borrow_mut();
        let all = state.taken == state.sent.len() && !state.half_closes;
        let answers = state.reading().answers;
        all && life.client.is_idle() && answers == state.asks.len()
    }

    /// The connection was ended: the client has what it is to have.
    fn check_end(&self) {
        let state = &mut *self.world.state.borrow_mut();
        assert!(state.over);
        let now = state.reading();
        if state.late || now.excuse {
            return;
        }
        let first = state.asks.iter().position(Ask::closes);
        let all = first.map_or(state.asks.len(), |last| last + 1);
        let broken = first
            .is_some_and(|last| state.asks[last].course == Course::Breaks);
        let least = if broken { all - 1 } else { all };
        assert!(state.was_spilled() || now.answers >= least, "{now:?}");
    }

    fn act(
        &mut self,
        life: &mut Life,
        seconds: u64,
        act: impl FnOnce(&mut Client, &mut Turn<'_>) -> Outcome,
    ) -> Outcome {
        let now = self.tick(seconds);
        let mut turn = Turn {
            host: &mut self.host,
            pool: &mut self.pool,
            epoll: &self.epoll,
            key: life.key,
            now,
        };
        act(&mut life.client, &mut turn)
    }
}

/// The handler of all workers.
fn answer(world: &Rc<World>, request: &Request<'_>, to: &mut Response<'_>) {
    let number: usize = request.path()[1..].parse().unwrap();
    world.look();
    let (ask, run) = {
        let state = &mut *world.state.borrow_mut();
        (state.asks[number], state.begin(number))
    };
    assert_eq!(request.body(), ask.sent_body(number), "a wrong body");
    world.look();
    if ask.method == Method::PostAgain {
        world.state.borrow_mut().seen[number] = Seen::Perhaps;
        request.replayable();
        world.state.borrow_mut().seen[number] = Seen::Repeatable;
        world.look();
    }
    match ask.course {
        Course::Now => fill(to, &ask, number, run),
        Course::After => to.after(Duration::from_millis(1), move |reply| {
            fill(reply, &ask, number, run);
        }),
        Course::Later => {
            let later = to.later();
            world.state.borrow_mut().later.push((later, number, run));
        }
        Course::Panics => resume_unwind(Box::new(())),
        Course::Stream(_) | Course::Breaks => {
            fill(to, &ask, number, run);
            let (world, mut made) = (Rc::clone(world), 0);
            let body = pattern(number, run, ask.size);
            to.stream(move |chunk: &mut Chunk<'_>| {
                world.look();
                let size = match ask.course {
                    Course::Stream(size) => size,
                    _ if made > ask.size / 2 => resume_unwind(Box::new(())),
                    _ => ask.size / 2 + 1,
                };
                let end = body.len().min(made + size);
                chunk.push(&body[made..end]);
                let end_was = std::mem::replace(&mut made, end);
                if end_was == end {
                    return Produce::End;
                }
                match run % 3 {
                    0 => Produce::Pause(Duration::from_millis(1)),
                    _ => Produce::More,
                }
            });
        }
    }
    world.look();
}

fn fill(reply: &mut Reply, ask: &Ask, number: usize, run: u32) {
    reply.field("X-Run", run.to_string()).unwrap();
    reply.body(pattern(number, run, ask.size));
    if ask.last == Last::Handler {
        reply.close();
    }
}
