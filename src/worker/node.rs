//! A Node process as the parent: as a cluster's primary, or as a process that
//! has called `fork` or `spawn` and sends connections by itself.
//!
//! ```text
//!   channel ──▶ Dialogue ──▶ connections, the word to go
//!           ◀── (pure)  ───▶ Listeners: sockets to accept from
//! ```
//!
//! Connections come one at a time, each with an answer. Whoever wants to know
//! why, and in which words, reads [`dialogue`].

mod dialogue;
mod listeners;
mod lists;
mod wanted;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use log::{info, warn};

use self::dialogue::{Dialogue, Event, Refused, Server};
use self::listeners::Listeners;
use self::lists::List;
use super::capacity;
use super::parent::{Arrival, Dismissal, Leave, News, Parent};
use super::wire::Wire;
use crate::channel::Heard;
use crate::config::Settings;
use crate::error::Error;
use crate::ipc::message::{Malformed, Message};
use crate::scoreboard::{Requests, Return, Scoreboard};
use crate::slab::Key;
use crate::sys::epoll::{self, Epoll};
use crate::sys::socket::{self, Direction};
use crate::sys::tcp;
use crate::sys::unix;

/// How often a channel is read before its end is taken as read: a process
/// that sends on and on must not keep us.
const LAST_READS: usize = 32;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Node {
    wire: Wire,
    dialogue: Dialogue,
    listeners: Listeners,
    in_cluster: bool,
    /// Nobody watches how long we take to go.
    grace: Duration,
    idle_grace: Duration,
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
        settings: &Settings,
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
        settings: &Settings,
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
        settings: &Settings,
        epoll: &Epoll,
    ) -> Result<Node, Error> {
        socket::set_nonblocking(channel.as_fd())?;
        Ok(Node {
            wire: Wire::new(channel, epoll)?,
            in_cluster: !servers.is_empty(),
            dialogue: Dialogue::new(servers, capacity::of(settings)?),
            listeners: Listeners::new(),
            grace: settings.grace,
            idle_grace: settings.idle_grace,
            taken: 0,
            scoreboard,
        })
    }

    /// Says what the dialogue has to say. That nobody hears it is no error:
    /// the end of the channel will be heard.
    fn speak(&mut self, epoll: &Epoll) -> Result<(), Error> {
        if self.dialogue.lines().is_empty() {
            return Ok(());
        }
        let told = self.wire.tell_lines(self.dialogue.lines(), epoll);
        self.dialogue.said();
        match told {
            Err(error) if error.is_peer_gone() => Ok(()),
            told => Ok(told?),
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
                news.messages.push(text.to_owned());
            }
            let descriptor = descriptors.take(message.descriptors()).next();
            events.extend(self.dialogue.hear(&message, descriptor)?);
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
                self.listeners.open(socket, epoll)?;
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
        match self.listeners.open(listener, epoll) {
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
        let _ = tcp::set_no_delay(socket.as_fd());
        self.taken += 1;
        self.scoreboard.publish_received(self.taken);
        let tag = list.map(List::tag);
        news.arrivals.push(Arrival { tag, ..Arrival::from(socket) });
    }

    /// Takes who waits in the listeners' queues, and closes them.
    fn close_listeners(
        &mut self,
        news: &mut News,
        epoll: &Epoll,
    ) -> Result<(), Error> {
        let last = self.listeners.close(self.dialogue.room(), epoll)?;
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
        self.close_listeners(news, epoll)?;
        self.speak(epoll)?;
        match self.wire.hang_up(epoll) {
            Err(error) if !error.is_peer_gone() => return Err(error.into()),
            Ok(()) | Err(_) => {}
        }
        news.dismissal = Some(self.dismissal());
        Ok(())
    }

    fn dismissal(&self) -> Dismissal {
        Dismissal {
            giving: false,
            idle: self.idle_grace,
            grace: Some(self.grace),
        }
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

    fn answer_listeners(&mut self) -> Result<News, Error> {
        let mut news = News::default();
        let arrived = self.listeners.accept(self.dialogue.room());
        self.seat_all(arrived, &mut news);
        Ok(news)
    }

    fn seated(&mut self, client: Key, tag: u64) {
        self.dialogue.seated(client, List::of(tag));
    }

    fn ended(&mut self, client: Key, _slot: Option<Return>) {
        self.dialogue.ended(client);
    }

    fn send(&mut self, json: &str, epoll: &Epoll) -> Result<(), Error> {
        match self.wire.tell(&Message::User(json), epoll) {
            // As in `speak`: its end will be heard.
            Err(error) if error.is_peer_gone() => Ok(()),
            told => Ok(told?),
        }
    }

    fn turn_ends(
        &mut self,
        _requests: Requests,
        now: Instant,
        epoll: &Epoll,
    ) -> Result<(), Error> {
        self.listeners.arm(self.dialogue.room() > 0, now, epoll)?;
        self.speak(epoll)
    }

    fn deadline(&self) -> Option<Instant> {
        self.listeners.deadline()
    }

    fn leave(&mut self, why: Leave, epoll: &Epoll) -> Result<News, Error> {
        let mut news = News::default();
        match (self.in_cluster, why) {
            (true, Leave::Asked) => {
                self.close_listeners(&mut news, epoll)?;
                self.dialogue.announce();
                self.speak(epoll)?;
            }
            // A primary that is told so takes it for our own wish, and starts
            // no successor. The channel stays: something may be on its way.
            (true, Leave::Panicked) => {
                self.close_listeners(&mut news, epoll)?;
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

impl From<Refused> for Error {
    fn from(Refused { name, errno }: Refused) -> Error {
        let error = io::Error::from_raw_os_error(errno.saturating_neg());
        Error::System(format!(
            "the cluster's primary cannot listen on {name}: {error}"
        ))
    }
}

/// Ends a connection for which there is no room, also for the process that
/// may still have it.
fn turn_away(socket: OwnedFd) {
    warn!("no room for a connection: it is closed");
    // It fails where the client was quicker: the same end.
    let _ = socket::shutdown(socket.as_fd(), Direction::Both);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};

    /// A worker's end, and the other.
    fn child(max_connections: usize) -> (Node, OwnedFd, Epoll) {
        let (theirs, ours) = unix::pair().unwrap();
        let mut settings = Settings::with_defaults(1);
        settings.max_connections = std::num::NonZero::new(max_connections);
        let (board, epoll) =
            (Scoreboard::create(false).unwrap().0, Epoll::new());
        let (board, epoll) = (Arc::new(board), epoll.unwrap());
        let node = Node::join_process(ours, board, &settings, &epoll);
        (node.unwrap(), theirs, epoll)
    }

    fn hear(node: &mut Node, epoll: &Epoll) -> News {
        let mut events = epoll::Events::with_capacity(4);
        epoll.wait(&mut events, Some(Duration::from_secs(5))).unwrap();
        assert_eq!(events.get(0).data, crate::worker::CHANNEL);
        node.hear(events.get(0), epoll).unwrap()
    }

    fn answer(parent: &OwnedFd) -> String {
        let mut bytes = [0; 256];
        let heard = unix::receive(parent.as_fd(), &mut bytes, &mut Vec::new());
        let count = heard.unwrap().map_or(0, |received| received.bytes);
        String::from_utf8_lossy(&bytes[..count]).into_owned()
    }

    const SOCKET: &[u8] =
        b"{\"cmd\":\"NODE_HANDLE\",\"type\":\"net.Socket\",\"msg\":1}\n";
    const ACK: &str = "{\"cmd\":\"NODE_HANDLE_ACK\"}\n";

    /// The connection of a client, as its server has it: blocking.
    fn connection(listener: &TcpListener) -> (TcpStream, TcpStream) {
        let here = listener.local_addr().unwrap();
        let client = TcpStream::connect(here).unwrap();
        (client, listener.accept().unwrap().0)
    }

    #[test]
    fn a_connection_that_blocks_is_one_that_does_not_from_here_on() {
        let (mut node, parent, epoll) = child(9);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (client, passed) = connection(&listener);
        // Reading from one that blocks would end with this.
        std::thread::spawn(|| {
            std::thread::sleep(Duration::from_secs(2));
            drop(client);
        });
        unix::send(parent.as_fd(), SOCKET, &[passed.as_fd()]).unwrap();
        let news = hear(&mut node, &epoll);
        assert_eq!(answer(&parent), ACK);
        let socket = news.arrivals[0].socket.as_fd();
        assert_eq!(socket::receive(socket, &mut [0; 8]).unwrap(), None);
        assert_eq!(node.scoreboard.received(), 1);
    }

    #[test]
    fn one_too_many_is_acknowledged_and_ended() {
        let (mut node, parent, epoll) = child(1);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (_first, passed) = connection(&listener);
        let (mut second, also_passed) = connection(&listener);
        unix::send(parent.as_fd(), SOCKET, &[passed.as_fd()]).unwrap();
        assert_eq!(hear(&mut node, &epoll).arrivals.len(), 1);
        assert_eq!(answer(&parent), ACK);
        unix::send(parent.as_fd(), SOCKET, &[also_passed.as_fd()]).unwrap();
        assert_eq!(hear(&mut node, &epoll).arrivals.len(), 0);
        assert_eq!(answer(&parent), ACK);
        // Although the parent has not closed its own copy.
        let mut text = String::new();
        io::Read::read_to_string(&mut second, &mut text).unwrap();
        assert_eq!(text, "");
    }

    #[test]
    fn what_is_no_json_is_passed_over_and_the_next_line_is_not() {
        let (mut node, parent, epoll) = child(9);
        let file = std::fs::File::open("/dev/null").unwrap();
        let mut parent = std::os::unix::net::UnixStream::from(parent);
        parent.write_all(b"\"\\ud800\"\n").unwrap();
        let native = b"{\"cmd\":\"NODE_HANDLE\",\"type\":\"net.Native\"}\n";
        unix::send(parent.as_fd(), native, &[file.as_fd()]).unwrap();
        let news = hear(&mut node, &epoll);
        assert!(news.arrivals.is_empty() && news.dismissal.is_none());
        assert_eq!(answer(&parent.into()), ACK);
    }

    #[test]
    fn what_is_said_to_a_parent_that_is_gone_costs_nobody_anything() {
        let (mut node, parent, epoll) = child(9);
        drop(parent);
        node.send("1", &epoll).unwrap();
        assert!(hear(&mut node, &epoll).dismissal.is_some());
    }

    #[test]
    fn the_end_of_the_channel_is_a_dismissal() {
        let (mut node, parent, epoll) = child(9);
        drop(parent);
        assert!(hear(&mut node, &epoll).dismissal.is_some());
    }
}
