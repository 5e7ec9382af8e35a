//! One client of a worker: its socket, and what of it is in hand.
//!
//! Most clients of a busy server are idle, so an idle one is only a
//! [`Client`] of 32 bytes. What a request needs is a [`Work`] from a pool,
//! which goes back there as soon as nothing is in hand.
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
//! out of the epoll set and shuts it down first. A guarded connection, of
//! which the master has a copy all the time, can also be left to another
//! worker: [`Client::let_go`].

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use super::clock::Tick;
use super::host::{Host, Timeouts};
use super::pool::Pool;
use super::slot::Slot;
use super::work::{Alarm, Next, Step, Work};
use crate::http::{Answer, Closing, Expects, Flow};
use crate::salvage::snapshot::Snapshot;
use crate::slab::Key;
use crate::sys::epoll::{Epoll, Event, Interest};
use crate::sys::socket::{self, Direction};

/// How long a client that was told of the end may still send: what it sends
/// is read and dropped, so that the kernel does not answer it with a reset,
/// which could overtake the last answer (RFC 9112 §9.6).
const DRAIN_TIME: Duration = Duration::from_secs(2);

/// Most bytes to read and drop for that purpose: as many as a quick client
/// sends in that time, since many look for an answer only when they have sent
/// all.
const DRAIN_BYTES: usize = 64 << 20;

/// How often in a row one client may fill its output and have it written,
/// before others get their turn: a stream to a quick reader would not end.
const ROUNDS: usize = 4;

/// A handler may ask for any time, and an instant beyond this one may be none.
const LONGEST_DELAY: Duration = Duration::from_secs(100 * 365 * 86_400);

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Client {
    socket: OwnedFd,
    /// When what is now waited for began to be waited for.
    since: Tick,
    /// Requests answered before the work in hand was taken.
    served: u32,
    /// Where the master finds what there is to know of the connection.
    slot: Option<Slot>,
    registered: Registered,
    work: Option<Box<Work>>,
}

/// What epoll watches for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Registered {
    /// Epoll does not know of the socket: most clients with one request never
    /// get further.
    Not,
    For(Interest),
}

/// What a step needs besides the client itself.
pub(super) struct Turn<'a> {
    pub(super) host: &'a mut Host,
    pub(super) pool: &'a mut Pool,
    pub(super) epoll: &'a Epoll,
    pub(super) key: Key,
    pub(super) now: Tick,
}

/// How a client left our hands.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It stays; epoll will tell of it.
    Stays,
    /// It stays, and is to be woken at this time, unless it is gone by then.
    Wakes(Instant),
    /// The connection is over.
    Over,
}

impl Client {
    pub(super) fn new(
        socket: OwnedFd,
        slot: Option<Slot>,
        now: Tick,
    ) -> Client {
        Client {
            socket,
            since: now,
            served: 0,
            slot,
            registered: Registered::Not,
            work: None,
        }
    }

    /// One that another worker had something of in hand.
    pub(super) fn take_over(&mut self, snapshot: &Snapshot, pool: &mut Pool) {
        if let Some(slot) = self.slot
            && (snapshot.closing || !snapshot.is_light())
        {
            self.work = Some(pool.take_over(slot.number(), snapshot));
        }
    }

    /// Its first step here: reads once, or goes on with what it brought.
    pub(super) fn begin(&mut self, turn: &mut Turn<'_>) -> Outcome {
        match self.work.take() {
            None => self.read(turn),
            Some(work) => {
                let writes = work.waiting() > 0 || !work.goes_on();
                let step = (!writes).then_some(Step::GoOn);
                self.go_on(work, step, turn)
            }
        }
    }

    pub(super) fn slot(&self) -> Option<u32> {
        self.slot.map(Slot::number)
    }

    /// Another worker could have it now.
    pub(super) fn can_be_given(&self) -> bool {
        self.slot.is_some()
            && self
                .work
                .as_ref()
                .is_none_or(|work| work.can_be_given() && self.is_counted())
    }

    /// The kernel knows how much was read from it. What of a client on a
    /// unix-domain socket is in hand can only be finished here.
    fn is_counted(&self) -> bool {
        let address = socket::peer_address(self.socket.as_fd());
        address.is_ok_and(|address| address.is_some())
    }

    /// Closes our copy of the connection, which goes on. What was in hand
    /// stays written down, in a shared buffer that is not used again.
    pub(super) fn let_go(self, host: &mut Host, epoll: &Epoll) {
        if let Some(work) = &self.work {
            self.count(work, host);
        }
        self.unregister(epoll);
    }

    /// Counts what has become of requests since the work was taken.
    fn count(&self, work: &Work, host: &mut Host) {
        host.requests.answered += u64::from(work.served() - self.served);
        host.requests.refused += u64::from(work.is_refused());
    }

    fn unregister(&self, epoll: &Epoll) {
        if let Registered::For(_) = self.registered
            && let Err(error) = epoll.remove(self.socket.as_fd())
        {
            log::error!("a connection stays registered: {error}");
        }
    }

    /// Nothing of it is in hand: it could be let go without a loss.
    pub(super) fn is_idle(&self) -> bool {
        self.work.is_none()
    }

    /// It was told of the end. Then its own end makes both directions over,
    /// while bytes from before that are still to be read and dropped.
    fn is_draining(&self) -> bool {
        let next = self.work.as_ref().map(|work| work.next);
        matches!(next, Some(Next::Drain(_)))
    }

    fn is_writing(&self) -> bool {
        self.work.as_ref().is_some_and(|work| work.is_writing())
    }

    /// epoll says that something happened.
    pub(super) fn ready(
        &mut self,
        event: Event,
        turn: &mut Turn<'_>,
    ) -> Outcome {
        // A peer on a unix-domain socket is gone as soon as it has closed,
        // also if it has said something before.
        if event.is_gone() && !event.is_readable() && !self.is_draining() {
            return Outcome::Over;
        }
        match self.work.take() {
            Some(work) if event.is_writable() => self.go_on(work, None, turn),
            Some(work) => self.read_into(work, turn),
            None => self.read(turn),
        }
    }

    /// Reads once, and does what can be done with it.
    pub(super) fn read(&mut self, turn: &mut Turn<'_>) -> Outcome {
        let work = match self.work.take() {
            Some(work) => work,
            None => turn.pool.take(self.served, self.slot()),
        };
        self.read_into(work, turn)
    }

    fn read_into(
        &mut self,
        mut work: Box<Work>,
        turn: &mut Turn<'_>,
    ) -> Outcome {
        match work.next {
            Next::Read => {}
            Next::Drain(left) => return self.drain(work, left, turn),
            // It was not asked for, so epoll spoke of the past.
            Next::GoOn | Next::Wait | Next::Close(_) => {
                return self.watch(work, turn);
            }
        }
        match work.read(self.socket.as_fd(), &mut turn.pool.buffers) {
            Ok(None) => self.watch(work, turn),
            Ok(Some(0)) => self.go_on(work, Some(Step::EndOfInput), turn),
            Ok(Some(_)) => self.go_on(work, Some(Step::GoOn), turn),
            Err(_) => self.give_up(work),
        }
    }

    /// When it is to be woken, if it is.
    pub(super) fn alarm(&self) -> Option<Instant> {
        self.work.as_ref()?.alarm.as_ref().map(|alarm| alarm.at)
    }

    /// The time for something has come.
    pub(super) fn wake(&mut self, turn: &mut Turn<'_>) -> Outcome {
        let Some(mut work) = self.work.take() else { return Outcome::Stays };
        match work.alarm.take() {
            Some(alarm) => self.go_on(work, Some(alarm.step), turn),
            None => self.watch(work, turn),
        }
    }

    /// An answer has come from another thread.
    pub(super) fn answer(
        &mut self,
        answer: Answer,
        turn: &mut Turn<'_>,
    ) -> Outcome {
        match self.work.take() {
            Some(work) => self.go_on(work, Some(Step::Answer(answer)), turn),
            None => Outcome::Stays,
        }
    }

    /// Goes on with the conversation, or with writing, as far as that goes
    /// without waiting; then sees to what comes next.
    fn go_on(
        &mut self,
        mut work: Box<Work>,
        mut step: Option<Step>,
        turn: &mut Turn<'_>,
    ) -> Outcome {
        for round in 0..ROUNDS {
            if let Some(step) = step {
                self.converse(&mut work, step, turn);
            }
            if (round > 0 && work.next == Next::GoOn) || work.is_streaming() {
                work.hold(self.socket.as_fd());
            }
            let waiting = work.waiting();
            let Ok(written) = work.write(self.socket.as_fd()) else {
                return self.give_up(work);
            };
            if work.waiting() < waiting {
                self.since = turn.now;
            }
            if !written || work.next != Next::GoOn {
                break;
            }
            step = Some(Step::GoOn);
        }
        if work.waiting() == 0
            && let Next::Close(closing) = work.next
        {
            let socket = self.socket.as_fd();
            let over = match closing {
                Closing::Plain => work.has_read_all(),
                Closing::Staged => false,
                Closing::Reset => true,
            };
            if over || socket::shutdown(socket, Direction::Write).is_err() {
                return self.give_up(work);
            }
            work.next = Next::Drain(DRAIN_BYTES);
        }
        match self.watch(work, turn) {
            Outcome::Stays => {
                self.alarm().map_or(Outcome::Stays, Outcome::Wakes)
            }
            outcome => outcome,
        }
    }

    /// One step of the conversation.
    fn converse(&mut self, work: &mut Work, step: Step, turn: &mut Turn<'_>) {
        let before = work.expects();
        let is_behind = work.waiting() > 0;
        let socket = self.socket.as_fd();
        let flow = work.go_on(step, turn.host, turn.key, socket);
        let Some(flow) = flow else { return };
        // A head has its time from its first byte on; of everything else it
        // is progress that counts, and of a client that is behind its own: not
        // that there is more to take.
        let is_in_head =
            before == Expects::Head && work.expects() == Expects::Head;
        if !is_in_head && !is_behind {
            self.since = turn.now;
        }
        // Counted from when the handler returned, which may have been busy
        // for as long as the turn lasts.
        let alarm = |delay: Duration, step| {
            let at = Instant::now() + delay.min(LONGEST_DELAY);
            Some(Alarm { at, step })
        };
        (work.next, work.alarm) = match flow {
            Flow::Read => (Next::Read, None),
            Flow::Write => (Next::GoOn, None),
            Flow::Later => (Next::Wait, None),
            Flow::After(delay, delayed) => {
                (Next::Wait, alarm(delay, Step::Elapsed(delayed)))
            }
            Flow::Pause(delay) => (Next::Wait, alarm(delay, Step::GoOn)),
            Flow::Close(closing) => (Next::Close(closing), None),
        };
    }

    /// Keeps the client, without its work if nothing is in hand, and has
    /// epoll watch for what is waited for.
    fn watch(&mut self, mut work: Box<Work>, turn: &mut Turn<'_>) -> Outcome {
        let interest = match work.next {
            // With nothing to write, others have their turn first.
            _ if work.is_writing() => Interest::Write,
            Next::Read | Next::Drain(_) => Interest::Read,
            Next::GoOn | Next::Wait | Next::Close(_) => Interest::Nothing,
        };
        if work.is_over() {
            self.count(&work, turn.host);
            self.served = work.served();
            work.close();
            turn.pool.put_away(work);
        } else {
            self.work = Some(work);
        }
        let (socket, data) = (self.socket.as_fd(), turn.key.bits());
        let result = match self.registered {
            Registered::For(present) if present == interest => {
                return Outcome::Stays;
            }
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
        mut work: Box<Work>,
        left: usize,
        turn: &mut Turn<'_>,
    ) -> Outcome {
        match work.drop_input(self.socket.as_fd()) {
            Ok(None) => self.watch(work, turn),
            Ok(Some(count)) if (1..left).contains(&count) => {
                work.next = Next::Drain(left - count);
                self.watch(work, turn)
            }
            Ok(Some(_)) | Err(_) => self.give_up(work),
        }
    }

    /// What was in hand is put away with the rest: [`end`](Self::end).
    fn give_up(&mut self, work: Box<Work>) -> Outcome {
        self.work = Some(work);
        Outcome::Over
    }

    /// When the client will have kept us waiting for too long. `None`: it is
    /// not the client that is waited for.
    pub(super) fn deadline(&self, timeouts: &Timeouts) -> Option<Tick> {
        let Some(work) = &self.work else {
            return Some(self.since + timeouts.idle);
        };
        let patience = if let Next::Drain(_) = work.next {
            DRAIN_TIME
        } else if work.is_writing() {
            timeouts.write
        } else {
            match work.expects() {
                Expects::Idle => timeouts.idle,
                Expects::Head => timeouts.header,
                Expects::Body => timeouts.body,
                Expects::Close => timeouts.write,
                Expects::Answer | Expects::Stream => return None,
            }
        };
        Some(self.since + patience)
    }

    /// The client has kept us waiting for too long. One that has begun a
    /// request is told so; one that takes no answers hears nothing.
    pub(super) fn expire(&mut self, turn: &mut Turn<'_>) -> Outcome {
        // What it has sent may lie unread while others have their turn.
        let outcome = match self.work.as_ref().map(|work| work.next) {
            None => self.read(turn),
            Some(Next::Read) if !self.is_writing() => self.read(turn),
            Some(_) => Outcome::Stays,
        };
        let deadline = self.deadline(&turn.host.timeouts);
        if matches!(outcome, Outcome::Over)
            || deadline.is_none_or(|deadline| !deadline.has_come(turn.now))
        {
            return outcome;
        }
        let Some(work) = self.work.take() else { return Outcome::Over };
        let step = match work.expects() {
            // epoll calls a socket writable when a third of its buffer is
            // free: a slow client may have taken much of it unnoticed.
            _ if work.is_writing() => None,
            Expects::Head | Expects::Body => Some(Step::Late),
            Expects::Idle
            | Expects::Answer
            | Expects::Stream
            | Expects::Close => return self.give_up(work),
        };
        let outcome = self.go_on(work, step, turn);
        match self.deadline(&turn.host.timeouts) {
            Some(deadline) if deadline.has_come(turn.now) => Outcome::Over,
            Some(_) | None => outcome,
        }
    }

    /// Ends the connection, now and for everybody who holds a copy. Before
    /// anything that was written down of it is forgotten: one that is over is
    /// nobody else's to go on with.
    pub(super) fn end(self, host: &mut Host, pool: &mut Pool, epoll: &Epoll) {
        self.unregister(epoll);
        let socket = self.socket.as_fd();
        // Either fails where the client was quicker: the same end.
        let _ = match &self.work {
            Some(work) if work.must_break_off() => socket::reset(socket),
            Some(_) | None => socket::shutdown(socket, Direction::Both),
        };
        if let Some(work) = &self.work {
            self.count(work, host);
        }
        if let Some(work) = self.work {
            pool.put_away(work);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_client_is_small() {
        assert_eq!(size_of::<Client>(), 32);
        assert_eq!(size_of::<Option<Client>>(), 32);
    }
}
