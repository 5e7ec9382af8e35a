//! A master of ours as the parent: many connections in one message, and
//! counters in shared memory instead of answers.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use log::debug;

use super::parent::{self, Arrival, Dismissal, Leave, News, Parent};
use super::wire::Wire;
use crate::channel::Heard;
use crate::config::Serve;
use crate::error::Error;
use crate::ipc::message::{Act, Cluster, Listen, Message};
use crate::scoreboard::Scoreboard;
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
    closed: u64,
    published: u64,
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
        settings: &Serve,
        epoll: &Epoll,
    ) -> Result<Master, Error> {
        let mut master = Master {
            wire: Wire::new(channel, epoll)?,
            scoreboard,
            received: 0,
            discarding: false,
            closed: 0,
            published: 0,
            seq: 0,
            idle_grace: settings.idle_grace,
        };
        let capacity = parent::capacity(settings)? as u64;
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
                Message::Connections { first, count } => {
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
                Message::User(text) => news.messages.push(text.to_owned()),
                other => debug!("passed over: {other:?}"),
            }
        }
        if !news.arrivals.is_empty() {
            // They are ours from here on.
            self.scoreboard.publish_received(self.received);
            self.wake_if_asked(epoll)?;
        }
        if missing.is_some() {
            self.wire.tell(&Message::HandleNack { first: missing }, epoll)?;
        }
        match dismissed {
            Some(idle) => {
                self.wire.hang_up(epoll)?;
                // The master kills whoever takes too long.
                let idle = idle
                    .map_or(self.idle_grace, |idle| idle.min(self.idle_grace));
                news.dismissal = Some(Dismissal { idle, grace: None });
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

    fn ended(&mut self, _client: Key) {
        self.closed += 1;
    }

    fn send(&mut self, json: &str, epoll: &Epoll) -> Result<(), Error> {
        Ok(self.wire.tell(&Message::User(json), epoll)?)
    }

    fn turn_ends(
        &mut self,
        requests: u64,
        _now: Instant,
        epoll: &Epoll,
    ) -> Result<(), Error> {
        self.scoreboard.publish_requests(requests);
        if self.closed != self.published {
            self.published = self.closed;
            self.scoreboard.publish_closed(self.closed);
            self.wake_if_asked(epoll)?;
        }
        Ok(())
    }

    fn leave(&mut self, _why: Leave, epoll: &Epoll) -> Result<News, Error> {
        self.say(Act::ExitedAfterDisconnect, epoll)?;
        Ok(News::default())
    }
}

fn expect_number(number: u64, expected: u64) -> Result<(), Error> {
    if number == expected {
        return Ok(());
    }
    Err(Error::protocol("a connection out of order"))
}
