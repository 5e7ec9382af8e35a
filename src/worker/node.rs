//! A Node process as the parent: as a cluster's primary, or as a process that
//! has called `fork` or `spawn` and sends connections by itself.
//!
//! ```text
//!   channel ──▶ Dialogue ──▶ connections, the word to go
//!           ◀── (pure)  ───▶ Doors: sockets to accept from
//! ```
//!
//! Connections come one at a time, each with an answer. Whoever wants to know
//! why, and in which words, reads [`dialogue`].

mod dialogue;
mod doors;
pub(super) mod lists;
mod wanted;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use log::{debug, info, warn};

use self::dialogue::{Dialogue, Event, Server};
use self::doors::Doors;
use self::lists::List;
use super::leave::IDLE_GRACE;
use super::parent::{self, Arrival, Dismissal, Leave, News, Parent};
use super::wire::Wire;
use crate::channel::Heard;
use crate::config::Serve;
use crate::error::Error;
use crate::ipc::message::{Malformed, Message};
use crate::scoreboard::Scoreboard;
use crate::slab::Key;
use crate::sys::epoll::{self, Epoll};
use crate::sys::socket::{self, Direction};
use crate::sys::unix;

/// How often a channel is read before its end is taken as read: a process
/// that sends on and on must not keep us.
const LAST_READS: usize = 32;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Node {
    wire: Wire,
    dialogue: Dialogue,
    doors: Doors,
    in_cluster: bool,
    /// Nobody watches how long we take to go.
    grace: Duration,
    /// Connections ever taken, and where a handler finds that number.
    taken: u64,
    scoreboard: Arc<Scoreboard>,
}

impl Node {
    /// Says hello to a primary, and asks it for all that is to be listened
    /// on.
    pub(super) fn join_cluster(
        channel: OwnedFd,
        scoreboard: Arc<Scoreboard>,
        settings: &Serve,
        epoll: &Epoll,
    ) -> Result<Node, Error> {
        let primary = unix::peer(channel.as_fd())?.pid;
        info!("a worker of the Node cluster of pid {primary}");
        let servers = wanted::servers(&settings.listen)?;
        let mut node =
            Node::new(channel, scoreboard, servers, settings, epoll)?;
        node.dialogue.introduce();
        node.speak(epoll)?;
        Ok(node)
    }

    /// There is nothing to say before something comes.
    pub(super) fn join_process(
        channel: OwnedFd,
        scoreboard: Arc<Scoreboard>,
        settings: &Serve,
        epoll: &Epoll,
    ) -> Result<Node, Error> {
        let parent = unix::peer(channel.as_fd())?.pid;
        info!("a worker for the sockets that Node sends, from pid {parent}");
        Node::new(channel, scoreboard, Vec::new(), settings, epoll)
    }

    fn new(
        channel: OwnedFd,
        scoreboard: Arc<Scoreboard>,
        servers: Vec<Server>,
        settings: &Serve,
        epoll: &Epoll,
    ) -> Result<Node, Error> {
        socket::set_nonblocking(channel.as_fd())?;
        Ok(Node {
            wire: Wire::new(channel, epoll)?,
            in_cluster: !servers.is_empty(),
            dialogue: Dialogue::new(servers, parent::capacity(settings)?),
            doors: Doors::new(),
            grace: settings.grace,
            taken: 0,
            scoreboard,
        })
    }

    /// Says what the dialogue has to say. That nobody hears it is no error:
    /// the end of the channel will be heard.
    fn speak(&mut self, epoll: &Epoll) -> Result<(), Error> {
        let lines = self.dialogue.take_lines();
        if lines.is_empty() {
            return Ok(());
        }
        match self.wire.tell_lines(&lines, epoll) {
            Err(error) if error.is_peer_gone() => Ok(()),
            result => Ok(result?),
        }
    }

    /// Reads the channel once, answers, and does what is asked for.
    fn listen(
        &mut self,
        news: &mut News,
        epoll: &Epoll,
    ) -> Result<Heard, Error> {
        let Some(channel) = self.wire.channel() else {
            return Ok(Heard::End);
        };
        let heard = match channel.hear() {
            Err(error) if error.is_peer_gone() => Heard::End,
            result => result?,
        };
        let mut events = Vec::new();
        while let Some((line, descriptors)) = channel.line()? {
            let message = match Message::parse(line) {
                Ok(message) => message,
                // The application's; what Node itself says is JSON.
                Err(malformed @ Malformed::NotJson(_)) => {
                    warn!("a message is passed over: {malformed}");
                    continue;
                }
                Err(malformed) => return Err(malformed.into()),
            };
            if let Message::User(text) = message {
                debug!("the parent says {text}");
            }
            let descriptor = descriptors.take(message.descriptors()).next();
            events.extend(self.dialogue.hear(&message, descriptor).map_err(
                |refused| {
                    let errno = refused.errno.saturating_neg();
                    let error = io::Error::from_raw_os_error(errno);
                    let name = refused.name;
                    Error::System(format!(
                        "the cluster's primary cannot listen on {name}: \
                         {error}"
                    ))
                },
            )?);
        }
        for event in events {
            self.act(event, news, epoll)?;
        }
        self.speak(epoll)?;
        Ok(heard)
    }

    fn act(
        &mut self,
        event: Event<OwnedFd>,
        news: &mut News,
        epoll: &Epoll,
    ) -> Result<(), Error> {
        match event {
            Event::Connection(socket, list) => {
                self.welcome(socket, list, news);
            }
            Event::TooMany(socket) => turn_away(socket),
            Event::Socket(socket) => {
                match socket::is_listening(socket.as_fd()) {
                    Ok(true) => self.open(socket, epoll),
                    Ok(false) if self.dialogue.sit_down() => {
                        self.welcome(socket, None, news);
                    }
                    Ok(false) => turn_away(socket),
                    Err(error) => warn!("a handle is no socket: {error}"),
                }
            }
            Event::Listener(socket) => self.open(socket, epoll),
            Event::Shared(socket, server) => {
                let port = socket::local_address(socket.as_fd())?;
                self.doors.open(socket, epoll)?;
                let port = port.map(|address| address.port());
                let place = self.dialogue.listening(server, port);
                info!("accepting at {place} beside the cluster's others");
            }
            Event::Listening(place) => {
                info!("the primary accepts at {place}");
            }
            Event::Disconnect => {
                info!("the primary sends no more: finishing");
                self.part(news, epoll)?;
            }
        }
        Ok(())
    }

    fn open(&mut self, listener: OwnedFd, epoll: &Epoll) {
        match self.doors.open(listener, epoll) {
            Ok(()) => info!("accepting at a socket that the parent has sent"),
            Err(error) => warn!("cannot accept at what was sent: {error}"),
        }
    }

    /// A connection that has its place.
    fn welcome(
        &mut self,
        socket: OwnedFd,
        list: Option<List>,
        news: &mut News,
    ) {
        if let Err(error) = socket::set_nonblocking(socket.as_fd()) {
            warn!("a connection may block: {error}");
        }
        // A unix socket has no such thing and needs none.
        let _ = socket::set_no_delay(socket.as_fd());
        self.taken += 1;
        self.scoreboard.publish_received(self.taken);
        news.arrivals.push(Arrival { socket, list });
    }

    /// Takes who waits at the doors, and closes them.
    fn close_doors(
        &mut self,
        news: &mut News,
        epoll: &Epoll,
    ) -> Result<(), Error> {
        let last = self.doors.close(self.dialogue.room(), epoll)?;
        self.seat_all(last, news);
        Ok(())
    }

    fn seat_all(&mut self, sockets: Vec<OwnedFd>, news: &mut News) {
        for socket in sockets {
            if self.dialogue.sit_down() {
                self.welcome(socket, None, news);
            }
        }
    }

    /// Nothing more comes, or is to come.
    fn part(&mut self, news: &mut News, epoll: &Epoll) -> Result<(), Error> {
        self.close_doors(news, epoll)?;
        self.speak(epoll)?;
        match self.wire.hang_up(epoll) {
            Err(error) if !error.is_peer_gone() => return Err(error.into()),
            Ok(()) | Err(_) => {}
        }
        news.dismissal = Some(self.dismissal());
        Ok(())
    }

    fn dismissal(&self) -> Dismissal {
        Dismissal { idle: IDLE_GRACE, grace: Some(self.grace) }
    }
}

impl Parent for Node {
    fn hear(
        &mut self,
        event: epoll::Event,
        epoll: &Epoll,
    ) -> Result<News, Error> {
        let mut news = News::default();
        let audible = match self.wire.attend(event, epoll) {
            Err(error) if error.is_peer_gone() => true,
            result => result?,
        };
        if audible && self.listen(&mut news, epoll)? == Heard::End {
            info!("the parent has closed the channel: finishing");
            self.part(&mut news, epoll)?;
        }
        Ok(news)
    }

    fn answer_doors(&mut self) -> Result<News, Error> {
        let mut news = News::default();
        let arrived = self.doors.accept(self.dialogue.room());
        self.seat_all(arrived, &mut news);
        Ok(news)
    }

    fn seated(&mut self, client: Key, list: List) {
        self.dialogue.seated(client, list);
    }

    fn ended(&mut self, client: Key) {
        self.dialogue.ended(client);
    }

    fn turn_ends(
        &mut self,
        _requests: u64,
        now: Instant,
        epoll: &Epoll,
    ) -> Result<(), Error> {
        self.doors.arm(self.dialogue.room() > 0, now, epoll)?;
        self.speak(epoll)
    }

    fn deadline(&self) -> Option<Instant> {
        self.doors.deadline()
    }

    fn leave(&mut self, why: Leave, epoll: &Epoll) -> Result<News, Error> {
        let mut news = News::default();
        match (self.in_cluster, why) {
            (true, Leave::Asked) => {
                self.close_doors(&mut news, epoll)?;
                self.dialogue.announce();
                self.speak(epoll)?;
            }
            // A primary that is told so takes it for our own wish, and starts
            // no successor. The channel stays: something may be on its way.
            (true, Leave::Panicked) => {
                self.close_doors(&mut news, epoll)?;
                self.dialogue.close();
                self.speak(epoll)?;
                news.dismissal = Some(self.dismissal());
            }
            // There is nobody to ask, and what lies in the channel is ours.
            (false, Leave::Asked | Leave::Panicked) => {
                for _ in 0..LAST_READS {
                    if self.listen(&mut news, epoll)? != Heard::Something {
                        break;
                    }
                }
                self.part(&mut news, epoll)?;
            }
        }
        Ok(news)
    }
}

/// Ends a connection for which there is no room, also for the process that
/// may still have it.
fn turn_away(socket: OwnedFd) {
    warn!("no room for a connection: it is closed");
    // It fails where the client was quicker: the same end.
    let _ = socket::shutdown(socket.as_fd(), Direction::Both);
}
