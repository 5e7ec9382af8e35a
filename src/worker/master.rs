//! A master of ours as the parent: many connections in one message, and
//! counters in shared memory instead of answers.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use log::debug;

use super::capacity;
use super::parent::{Arrival, Dismissal, Leave, News, Parent};
use super::slot::Slot;
use super::wire::Wire;
use crate::channel::Heard;
use crate::config::Settings;
use crate::error::Error;
use crate::ipc::message::{Act, Cluster, Listen, Message, Seat};
use crate::salvage::recovery::{Place, Position};
use crate::salvage::snapshot::{self, Snapshot};
use crate::scoreboard::{Half, Requests, Return, SLOTS, Scoreboard, Word};
use crate::slab::Key;
use crate::sys::epoll::{Epoll, Event};

/// Our version of many connections in one message.
const HANDOFF: u64 = 1;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Master {
    wire: Wire,
    scoreboard: Arc<Scoreboard>,
    /// Sequence number of the last connection taken.
    received: u64,
    /// A connection got lost on the way: everything up to the master's
    /// `Resume` is somebody else's.
    discarding: bool,
    /// The first of those, if the master is yet to hear of it.
    missing: Option<u64>,
    /// The master has said its last word.
    dismissed: bool,
    /// This worker is to say no more either.
    hangs_up: bool,
    closed: u64,
    published: u64,
    /// Slots of clients that are gone.
    returned: Vec<Return>,
    /// Numbers what we say.
    seq: u64,
    /// How long idle clients are waited for, unless the master says less.
    idle_grace: Duration,
}

impl Master {
    /// Says that we run, and that we are ready.
    pub(super) fn greet(
        channel: OwnedFd,
        scoreboard: Arc<Scoreboard>,
        settings: &Settings,
        epoll: &Epoll,
    ) -> Result<Master, Error> {
        let mut master = Master {
            wire: Wire::new(channel, epoll)?,
            scoreboard,
            received: 0,
            discarding: false,
            missing: None,
            dismissed: false,
            hangs_up: false,
            closed: 0,
            published: 0,
            returned: Vec::new(),
            seq: 0,
            idle_grace: settings.idle_grace,
        };
        let capacity = capacity::of(settings)? as u64;
        master.say(Act::Online { handoff: Some(HANDOFF) }, epoll)?;
        let server = Listen::default();
        let capacity = Some(capacity);
        master.say(Act::Listening { server, capacity }, epoll)?;
        Ok(master)
    }

    fn say(&mut self, act: Act<'_>, epoll: &Epoll) -> Result<(), Error> {
        let seq = Some(self.seq);
        self.seq += 1;
        let message = Message::Cluster(Cluster { seq, act });
        Ok(self.wire.tell(&message, epoll)?)
    }

    /// Reads the channel once and does what the master says.
    fn listen(&mut self, epoll: &Epoll) -> Result<News, Error> {
        let mut news = News::default();
        let arrivals = &mut news.arrivals;
        let Some(channel) = self.wire.channel() else { return Ok(news) };
        let heard = channel.hear()?;
        let mut missing = None;
        let mut dismissed = None;
        while let Some((line, descriptors)) = channel.line()? {
            match Message::parse(line)? {
                Message::Connections { first, count, slots } => {
                    let came = descriptors.take(count as usize);
                    if self.discarding {
                        // The master has copies of these.
                        came.for_each(drop);
                        continue;
                    }
                    expect_number(first, self.received + 1)?;
                    let before = arrivals.len();
                    arrivals.extend(came.map(Arrival::from));
                    let taken = (arrivals.len() - before) as u64;
                    for (arrival, seat) in
                        arrivals[before..].iter_mut().zip(slots.iter())
                    {
                        find_seat(&self.scoreboard, arrival, *seat)?;
                    }
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
                    Act::Disconnect { idle, give } => {
                        let idle = idle.map(Duration::from_millis);
                        dismissed = Some((idle, give));
                    }
                    Act::Reply { .. }
                    | Act::Online { .. }
                    | Act::QueryServer(_)
                    | Act::Listening { .. }
                    | Act::NewConnection { .. }
                    | Act::Close { .. }
                    | Act::ExitedAfterDisconnect => {
                        return Err(Error::protocol("a worker's own words"));
                    }
                },
                Message::User(text) => news.messages.push(text.to_owned()),
                other => debug!("passed over: {other:?}"),
            }
        }
        self.missing = missing;
        match dismissed {
            Some((idle, giving)) => {
                // The master kills whoever takes too long.
                let idle = idle
                    .map_or(self.idle_grace, |idle| idle.min(self.idle_grace));
                let grace = None;
                self.dismissed = true;
                // Of those that are left to others it is to hear.
                self.hangs_up = !giving;
                news.dismissal = Some(Dismissal { giving, idle, grace });
            }
            None if self.dismissed && heard == Heard::End => {
                self.wire.hang_up(epoll)?;
            }
            None if heard == Heard::End => return Err(Error::MasterGone),
            None => {}
        }
        Ok(news)
    }

    /// A counter has moved.
    fn wake_if_asked(&mut self, epoll: &Epoll) -> Result<(), Error> {
        if self.scoreboard.must_wake() {
            self.wire.tell(&Message::HandleAck, epoll)?;
        }
        Ok(())
    }
}

impl Parent for Master {
    fn hear(&mut self, event: Event, epoll: &Epoll) -> Result<News, Error> {
        if self.wire.attend(event, epoll)? {
            return self.listen(epoll);
        }
        Ok(News::default())
    }

    fn all_seated(&mut self, epoll: &Epoll) -> Result<(), Error> {
        self.scoreboard.publish_received(self.received);
        self.wake_if_asked(epoll)?;
        if let Some(first) = self.missing.take() {
            let first = Some(first);
            self.wire.tell(&Message::HandleNack { first }, epoll)?;
        }
        if std::mem::take(&mut self.hangs_up) {
            self.wire.hang_up(epoll)?;
        }
        Ok(())
    }

    fn ended(&mut self, _client: Key, slot: Option<Return>) {
        self.closed += 1;
        self.returned.extend(slot);
    }

    fn send(&mut self, json: &str, epoll: &Epoll) -> Result<(), Error> {
        Ok(self.wire.tell(&Message::User(json), epoll)?)
    }

    fn turn_ends(
        &mut self,
        requests: Requests,
        _now: Instant,
        epoll: &Epoll,
    ) -> Result<(), Error> {
        self.scoreboard.publish_requests(requests);
        if self.closed == self.published {
            return Ok(());
        }
        self.scoreboard.give_back(&self.returned);
        self.published = self.closed;
        self.scoreboard.publish_closed(self.closed);
        // Somebody may be about to ask on a connection that nobody has.
        let urgent = self.returned.iter().any(|returned| returned.lives);
        self.returned.clear();
        if urgent {
            self.wire.tell(&Message::HandleAck, epoll)?;
            return Ok(());
        }
        self.wake_if_asked(epoll)
    }

    fn leave(&mut self, _why: Leave, epoll: &Epoll) -> Result<News, Error> {
        self.say(Act::ExitedAfterDisconnect, epoll)?;
        Ok(News::default())
    }
}

/// What the master has noted of a connection, and where we are to.
pub(super) fn find_seat(
    board: &Scoreboard,
    arrival: &mut Arrival,
    seat: Seat,
) -> Result<(), Error> {
    let Seat { slot, moved } = seat;
    arrival.slot = Slot::new(slot);
    if arrival.slot.is_none() {
        return Ok(());
    }
    if slot >= SLOTS {
        return Err(Error::protocol("a slot that does not exist"));
    }
    if !moved {
        for word in [Word::Done, Word::Next, Word::Begun, Word::Place] {
            board.write(slot, word, 0);
        }
        return Ok(());
    }
    let place = Place::from_word(board.read(slot, Word::Place));
    let lengths = board.read(slot, Word::Begun);
    let (input, output) = snapshot::lengths_from_word(lengths);
    let open = |half, length| match place.buffer {
        Some(inbound) => board.open_inbound(inbound, half, length),
        None => Vec::new(),
    };
    arrival.snapshot = Some(Box::new(Snapshot {
        done: Position::from_word(board.read(slot, Word::Done)),
        next: Position::from_word(board.read(slot, Word::Next)),
        input: open(Half::Input, input),
        output: open(Half::Output, output),
        closing: place.closing,
        ..Snapshot::default()
    }));
    board.write(slot, Word::Begun, 0);
    board.write(slot, Word::Place, 0);
    Ok(())
}

fn expect_number(number: u64, expected: u64) -> Result<(), Error> {
    if number == expected {
        return Ok(());
    }
    Err(Error::protocol("a connection out of order"))
}
