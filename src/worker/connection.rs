//! One client of a worker: its socket, and what of it is in hand.
//!
//! Most clients of a busy server are idle, so an idle one is only a
//! [`Client`] of 24 bytes. What a request needs (two buffers, the state of
//! the conversation) is a [`Work`] from a pool, and goes back to it as soon
//! as nothing is in hand.
//!
//! ```text
//!        readable              answered, all of it written
//!   idle ────────▶ working ────────────────────────────────▶ idle
//!                     │ the last answer is written
//!                     ▼
//!               shutdown, close        or, if the client may still send:
//!               shutdown(write), read and drop for a while, close
//! ```
//!
//! Other processes may hold copies of the socket, so close(2) alone would
//! neither end the connection nor its registration: whoever ends one takes it
//! out of the epoll set and shuts it down first.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use super::clock::Tick;
use crate::config::Serve;
use crate::http::{
    self, Answer, Closing, Delayed, Expects, Flow, Handler, Input, Limits,
    Mailbox, Output, Preamble, Refusal, Reply, Service,
};
use crate::slab::Key;
use crate::sys::epoll::{Epoll, Event, Interest};
use crate::sys::socket::{self, Direction};

/// How long a client that was told of the end may still send: what it sends
/// is read and dropped, so that the kernel does not answer it with a reset,
/// which could overtake the last answer (RFC 9112 §9.6).
const DRAIN_TIME: Duration = Duration::from_secs(2);

/// Most bytes to read and drop for that purpose.
const DRAIN_BYTES: usize = 1 << 20;

/// A client.
#[derive(Debug)]
pub(super) struct Client {
    socket: OwnedFd,
    /// When what is now waited for began to be waited for.
    since: Tick,
    /// Requests answered so far.
    served: u32,
    registered: Registered,
    work: Option<Box<Work>>,
}

/// What epoll watches for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Registered {
    /// It does not know of the socket: most clients with one request never
    /// get further.
    Not,
    For(Interest),
}

/// What a client has while something of it is in hand.
#[derive(Debug)]
pub(super) struct Work {
    http: http::Connection,
    input: Input,
    output: Output,
    next: Next,
}

/// What is to be done once the output is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// Read more.
    Read,
    /// Go on with what was read.
    Receive,
    /// Wait for an answer, or for the time to go on.
    Wait,
    Close(Closing),
    /// The client was told of the end: read, and drop, so many bytes.
    Drain(usize),
}

/// What all clients of a worker share.
pub(super) struct Desk {
    pub(super) handler: Box<dyn Handler>,
    pub(super) limits: Limits,
    pub(super) timeouts: Timeouts,
    pub(super) preamble: Preamble,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) reply: Reply,
    /// The worker is going: every answer is the last on its connection.
    pub(super) leaving: bool,
    /// A handler has panicked.
    pub(super) panicked: bool,
    /// Answered so far, by the clients that are gone or idle again.
    pub(super) requests: u64,
    pool: Vec<Box<Work>>,
}

/// How long a client may keep us waiting.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timeouts {
    header: Duration,
    idle: Duration,
    body: Duration,
    write: Duration,
}

impl Timeouts {
    pub(super) fn longest(self) -> Duration {
        self.header.max(self.idle).max(self.body).max(self.write)
    }
}

/// How a client left our hands.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It stays; epoll will tell of it.
    Stays,
    /// It stays, and is to be woken after this time.
    Wakes(Duration, Wake),
    /// The connection is over.
    Over,
}

/// Why a client is to be woken.
#[derive(Debug)]
pub(super) enum Wake {
    /// To answer with this.
    Answer(Delayed),
    /// To go on with its stream.
    Resume,
}

/// Most pairs of buffers that are kept for the next requests.
const POOL: usize = 64;

impl Desk {
    pub(super) fn new(
        handler: Box<dyn Handler>,
        settings: &Serve,
        mailbox: Arc<Mailbox>,
        seconds: u64,
    ) -> Desk {
        Desk {
            handler,
            limits: Limits {
                head: settings.max_head,
                fields: settings.max_fields,
                body: settings.max_body,
                requests: settings
                    .max_requests_per_connection
                    .map_or(0, |most| {
                        u32::try_from(most.get()).unwrap_or(u32::MAX)
                    }),
            },
            timeouts: Timeouts {
                header: settings.header_timeout,
                idle: settings.idle_timeout,
                body: settings.body_timeout,
                write: settings.write_timeout,
            },
            preamble: Preamble::new(seconds),
            mailbox,
            reply: Reply::default(),
            leaving: false,
            panicked: false,
            requests: 0,
            pool: Vec::new(),
        }
    }

    fn work(&mut self, served: u32) -> Box<Work> {
        let mut work = self.pool.pop().unwrap_or_else(|| {
            Box::new(Work {
                http: http::Connection::new(),
                input: Input::new(),
                output: Output::new(),
                next: Next::Read,
            })
        });
        work.http = http::Connection::resume(served);
        work.next = Next::Read;
        work
    }

    fn put_away(&mut self, mut work: Box<Work>, before: u32) {
        self.requests += u64::from(work.http.served() - before);
        if self.pool.len() < POOL
            && work.input.is_standard()
            && work.output.is_standard()
        {
            work.input.clear();
            work.output.clear();
            self.pool.push(work);
        }
    }
}

/// What a step needs besides the client itself.
pub(super) struct Turn<'a> {
    pub(super) desk: &'a mut Desk,
    pub(super) epoll: &'a Epoll,
    pub(super) key: Key,
    pub(super) now: Tick,
}

impl Client {
    pub(super) fn new(socket: OwnedFd, now: Tick) -> Client {
        Client {
            socket,
            since: now,
            served: 0,
            registered: Registered::Not,
            work: None,
        }
    }

    /// Nothing of it is in hand: it could be let go without a loss.
    pub(super) fn is_idle(&self) -> bool {
        self.work.is_none()
    }

    /// epoll says that something happened.
    pub(super) fn ready(
        &mut self,
        event: Event,
        turn: &mut Turn<'_>,
    ) -> Outcome {
        if event.is_gone() {
            return Outcome::Over;
        }
        if event.is_writable() {
            return self.proceed(turn);
        }
        self.read(turn)
    }

    /// Reads once, and does what can be done with it.
    pub(super) fn read(&mut self, turn: &mut Turn<'_>) -> Outcome {
        let mut work = match self.work.take() {
            Some(work) => work,
            None => turn.desk.work(self.served),
        };
        if let Next::Drain(left) = work.next {
            let outcome = self.drain(&mut work, left, turn);
            self.work = Some(work);
            return outcome;
        }
        let socket = self.socket.as_fd();
        let end = match socket::receive(socket, work.input.space()) {
            Ok(None) => return self.settle(work, turn),
            Ok(Some(0)) => true,
            Ok(Some(count)) => {
                work.input.filled(count);
                false
            }
            Err(_) => {
                turn.desk.put_away(work, self.served);
                return Outcome::Over;
            }
        };
        let before = work.http.expects();
        let flow = self.talk(&mut work, turn, |work, service| {
            let Work { http, input, output, .. } = work;
            if end {
                http.end_of_input(input, output, service)
            } else {
                http.receive(input, output, service)
            }
        });
        self.follow(work, before, flow, turn)
    }

    /// The time for something has come.
    pub(super) fn wake(&mut self, wake: Wake, turn: &mut Turn<'_>) -> Outcome {
        self.resume(turn, |work, service| match wake {
            Wake::Resume => true,
            Wake::Answer(delayed) => {
                work.http.elapse(delayed, &mut work.output, service)
            }
        })
    }

    /// An answer has come from another thread.
    pub(super) fn answer(
        &mut self,
        answer: Answer,
        turn: &mut Turn<'_>,
    ) -> Outcome {
        self.resume(turn, |work, service| {
            work.http.answer(answer, &mut work.output, service)
        })
    }

    /// Does `step` to a client that waits, and goes on behind it.
    fn resume(
        &mut self,
        turn: &mut Turn<'_>,
        step: impl FnOnce(&mut Work, &mut Service<'_>) -> bool,
    ) -> Outcome {
        let Some(mut work) = self.work.take() else {
            return Outcome::Stays;
        };
        if work.next != Next::Wait {
            self.work = Some(work);
            return Outcome::Stays;
        }
        let before = work.http.expects();
        let flow = self.talk(&mut work, turn, |work, service| {
            step(work, service).then(|| {
                let Work { http, input, output, .. } = work;
                http.receive(input, output, service)
            })
        });
        match flow {
            Some(flow) => self.follow(work, before, flow, turn),
            None => {
                self.work = Some(work);
                Outcome::Stays
            }
        }
    }

    fn talk<T>(
        &self,
        work: &mut Work,
        turn: &mut Turn<'_>,
        speak: impl FnOnce(&mut Work, &mut Service<'_>) -> T,
    ) -> T {
        let socket = self.socket.as_fd();
        let peer = || socket::peer_address(socket).ok().flatten();
        let desk = &mut *turn.desk;
        let mut service = Service {
            handler: &mut *desk.handler,
            limits: &desk.limits,
            preamble: &desk.preamble,
            mailbox: &desk.mailbox,
            reply: &mut desk.reply,
            ticket: turn.key.bits(),
            peer: &peer,
            leaving: desk.leaving,
            panicked: false,
        };
        let result = speak(work, &mut service);
        desk.panicked |= service.panicked;
        result
    }

    /// Does what the conversation asks for, and writes what it has to say.
    fn follow(
        &mut self,
        mut work: Box<Work>,
        mut before: Expects,
        mut flow: Flow,
        turn: &mut Turn<'_>,
    ) -> Outcome {
        loop {
            let after = work.http.expects();
            let wake = match flow {
                Flow::Read => {
                    work.next = Next::Read;
                    None
                }
                Flow::Write => {
                    work.next = Next::Receive;
                    None
                }
                Flow::Close(closing) => {
                    work.next = Next::Close(closing);
                    None
                }
                Flow::Later => {
                    work.next = Next::Wait;
                    None
                }
                Flow::After(delay, delayed) => {
                    work.next = Next::Wait;
                    Some((delay, Wake::Answer(delayed)))
                }
                Flow::Pause(delay) => {
                    work.next = Next::Wait;
                    Some((delay, Wake::Resume))
                }
            };
            // The header timeout counts from the first byte; all others from
            // the last progress.
            if before != after || after != Expects::Head {
                self.since = turn.now;
            }
            before = after;
            match self.write(&mut work) {
                Err(_) => {
                    turn.desk.put_away(work, self.served);
                    return Outcome::Over;
                }
                Ok(false) => {}
                Ok(true) if work.next == Next::Receive => {
                    flow = self.talk(&mut work, turn, |work, service| {
                        let Work { http, input, output, .. } = work;
                        http.receive(input, output, service)
                    });
                    continue;
                }
                Ok(true) => {}
            }
            let outcome = self.settle(work, turn);
            return match (outcome, wake) {
                (Outcome::Stays, Some((delay, wake))) => {
                    Outcome::Wakes(delay, wake)
                }
                (outcome, _) => outcome,
            };
        }
    }

    /// Writes what waits, until the socket takes no more. Whether all of it
    /// is written.
    fn write(&self, work: &mut Work) -> crate::sys::Result<bool> {
        while !work.output.is_empty() {
            let socket = self.socket.as_fd();
            match socket::send(socket, work.output.pending())? {
                None => return Ok(false),
                Some(count) => work.output.written(count),
            }
        }
        Ok(true)
    }

    /// The socket takes more, or all was written: goes on with what was to be
    /// done next.
    fn proceed(&mut self, turn: &mut Turn<'_>) -> Outcome {
        let Some(mut work) = self.work.take() else {
            return Outcome::Stays;
        };
        let waiting = work.output.pending().len();
        match self.write(&mut work) {
            Err(_) => {
                turn.desk.put_away(work, self.served);
                Outcome::Over
            }
            Ok(done) => {
                if work.output.pending().len() < waiting {
                    self.since = turn.now;
                }
                if done && work.next == Next::Receive {
                    let before = work.http.expects();
                    let flow = self.talk(&mut work, turn, |work, service| {
                        let Work { http, input, output, .. } = work;
                        http.receive(input, output, service)
                    });
                    return self.follow(work, before, flow, turn);
                }
                self.settle(work, turn)
            }
        }
    }

    /// Waits for the right thing, or ends what is to end.
    fn settle(&mut self, mut work: Box<Work>, turn: &mut Turn<'_>) -> Outcome {
        let interest = if !work.output.is_empty() {
            Interest::Write
        } else {
            match work.next {
                Next::Read | Next::Receive | Next::Drain(_) => Interest::Read,
                Next::Wait => Interest::Nothing,
                Next::Close(Closing::Plain) => {
                    turn.desk.put_away(work, self.served);
                    return Outcome::Over;
                }
                Next::Close(Closing::Staged) => {
                    let socket = self.socket.as_fd();
                    if socket::shutdown(socket, Direction::Write).is_err() {
                        turn.desk.put_away(work, self.served);
                        return Outcome::Over;
                    }
                    work.next = Next::Drain(DRAIN_BYTES);
                    self.since = turn.now;
                    Interest::Read
                }
            }
        };
        if work.next == Next::Read
            && work.output.is_empty()
            && work.input.is_empty()
            && work.http.is_idle()
        {
            let served = work.http.served();
            turn.desk.put_away(work, self.served);
            self.served = served;
        } else {
            self.work = Some(work);
        }
        self.watch(interest, turn)
    }

    /// Has epoll watch for `interest`; costs nothing if it does already.
    fn watch(&mut self, interest: Interest, turn: &Turn<'_>) -> Outcome {
        let socket = self.socket.as_fd();
        let data = turn.key.bits();
        let result = match self.registered {
            Registered::For(present) if present == interest => Ok(()),
            Registered::For(_) => turn.epoll.modify(socket, interest, data),
            Registered::Not => turn.epoll.add(socket, interest, data),
        };
        match result {
            Ok(()) => {
                self.registered = Registered::For(interest);
                Outcome::Stays
            }
            Err(error) => {
                log::warn!("a connection is given up: {error}");
                Outcome::Over
            }
        }
    }

    /// Reads and drops what a client sends that was told of the end.
    fn drain(
        &mut self,
        work: &mut Work,
        left: usize,
        turn: &mut Turn<'_>,
    ) -> Outcome {
        work.input.clear();
        match socket::receive(self.socket.as_fd(), work.input.space()) {
            Ok(None) => self.watch(Interest::Read, turn),
            Ok(Some(count)) if count > 0 && count < left => {
                work.next = Next::Drain(left - count);
                self.watch(Interest::Read, turn)
            }
            Ok(Some(_)) | Err(_) => Outcome::Over,
        }
    }

    /// When the client will have kept us waiting for too long. `None`: it is
    /// not the client that is waited for.
    pub(super) fn deadline(&self, timeouts: &Timeouts) -> Option<Tick> {
        let Some(work) = &self.work else {
            return Some(self.since + timeouts.idle);
        };
        let patience = if let Next::Drain(_) = work.next {
            DRAIN_TIME
        } else if !work.output.is_empty() {
            timeouts.write
        } else {
            match work.http.expects() {
                Expects::Idle => timeouts.idle,
                Expects::Head => timeouts.header,
                Expects::Body => timeouts.body,
                Expects::Answer => return None,
                Expects::Stream => return None,
                Expects::Close => timeouts.write,
            }
        };
        Some(self.since + patience)
    }

    /// The client has kept us waiting for too long. One that has begun a
    /// request is told so, if it listens.
    pub(super) fn expire(&mut self, turn: &mut Turn<'_>) -> Outcome {
        match self.work.take() {
            Some(mut work)
                if work.output.is_empty()
                    && matches!(
                        work.http.expects(),
                        Expects::Head | Expects::Body
                    ) =>
            {
                let flow = self.talk(&mut work, turn, |work, service| {
                    let Work { http, input, output, .. } = work;
                    http.refuse(Refusal::Late, input, output, service);
                    http.receive(input, output, service)
                });
                self.follow(work, Expects::Close, flow, turn)
            }
            Some(work) => {
                turn.desk.put_away(work, self.served);
                Outcome::Over
            }
            None => Outcome::Over,
        }
    }

    /// Ends the connection, now and for everybody who holds a copy.
    pub(super) fn end(self, epoll: &Epoll) {
        let socket = self.socket.as_fd();
        if let Registered::For(_) = self.registered
            && let Err(error) = epoll.remove(socket)
        {
            log::error!("cannot take a connection out of epoll: {error}");
        }
        // It fails where the client was quicker: the same end.
        let _ = socket::shutdown(socket, Direction::Both);
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
