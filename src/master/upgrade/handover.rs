//! The connections of an old master's workers, on their way to the master
//! that follows it.
//!
//! ```text
//!   old worker ── gives back ─▶ old master ═══ channel ══▶ new master ─▶ …
//!                                waiting      one a line
//! ```
//!
//! It is the channel on which the new master has said that it is ready. The
//! old one goes when all is handed over; a new one that goes first leaves
//! nobody to hand it to.

use std::os::fd::{AsFd, OwnedFd};

use log::{info, warn};

use crate::channel::{Channel, Heard};
use crate::error::Error;
use crate::ipc::Message;
use crate::master::poller::{Poller, Source};
use crate::master::traffic::{Connection, Traffic};
use crate::salvage::snapshot::Snapshot;
use crate::slab::Key;
use crate::sys;
use crate::sys::epoll::{Event, Interest};
use crate::sys::tcp::keep_urgent_in_line;

/// The old master's end.
#[derive(Debug)]
pub(super) struct Outgoing {
    channel: Channel,
    key: Key,
    interest: Interest,
}

impl Outgoing {
    /// The new master is ready. The poller knows `socket` by this key.
    pub(super) fn new(
        socket: OwnedFd,
        key: Key,
        poller: &mut Poller,
    ) -> Outgoing {
        poller.relabel(key, Source::Handover);
        let channel = Channel::new(socket);
        Outgoing { channel, key, interest: Interest::Read }
    }

    /// Sends what the channel takes.
    ///
    /// # Errors
    /// The new master is gone.
    pub(super) fn flush(
        &mut self,
        traffic: &mut Traffic,
        poller: &Poller,
        now: std::time::Instant,
    ) -> sys::Result<()> {
        if !traffic.is_paused() {
            self.channel.flush()?;
        }
        while !traffic.is_paused()
            && let Some(connection) = traffic.outbound()
        {
            let left = connection.snapshot.as_deref().cloned();
            let left = left.unwrap_or_default();
            let message = Message::Snapshot(left.to_message());
            let fds = [connection.as_fd()];
            match self.channel.hand_over(&message, &fds) {
                Ok(true) => traffic.outbound_sent(),
                Ok(false) => break,
                // Too many descriptors are on their way. The channel has room
                // all the same, so epoll would not let us wait.
                Err(error) if error.is_congestion() => {
                    traffic.pause_sending(now);
                }
                Err(error) => return Err(error),
            }
        }
        let blocked = !traffic.is_paused() && !self.is_done(traffic);
        let interest = match blocked {
            true => Interest::ReadWrite,
            false => Interest::Read,
        };
        if interest != self.interest {
            match poller.set(self.channel.as_fd(), self.key, interest) {
                Ok(()) => self.interest = interest,
                Err(error) => warn!("the new master is not watched: {error}"),
            }
        }
        Ok(())
    }

    /// Something about the new master. Why it gets no more, if so.
    pub(super) fn attend(&mut self, event: Event) -> Option<String> {
        if !event.is_readable() && !event.is_gone() {
            return None;
        }
        match self.channel.hear() {
            Ok(Heard::Something | Heard::Nothing) => None,
            Ok(Heard::End) => Some("it has ended".to_owned()),
            Err(error) => Some(error.to_string()),
        }
    }

    /// Whether the new master has all that there was for it.
    pub(super) fn is_done(&self, traffic: &Traffic) -> bool {
        traffic.outbound().is_none() && !self.channel.is_waiting()
    }

    pub(super) fn close(self, poller: &mut Poller) {
        poller.remove(self.channel.as_fd(), self.key);
    }
}

/// The new master's end.
#[derive(Debug)]
pub(super) struct Incoming {
    channel: Channel,
    key: Key,
    count: usize,
}

impl Incoming {
    /// The old master may go; what its workers had comes over this socket.
    pub(super) fn new(
        socket: OwnedFd,
        poller: &mut Poller,
    ) -> sys::Result<Incoming> {
        let source = Source::PreviousMaster;
        let key = poller.add(socket.as_fd(), Interest::Read, source)?;
        Ok(Incoming { channel: Channel::new(socket), key, count: 0 })
    }

    /// Takes what the old master has sent, and tells whether more may come.
    /// The old master may be of another build: what it says wrong costs what
    /// is yet to come from it, and nothing else.
    pub(super) fn receive(&mut self) -> (Vec<Connection>, bool) {
        let mut connections = Vec::new();
        let heard = hear(&mut self.channel, &mut connections);
        self.count += connections.len();
        let more = match heard {
            Ok(Heard::Something | Heard::Nothing) => true,
            Ok(Heard::End) => false,
            Err(error) => {
                warn!("the old master is not understood: {error}");
                false
            }
        };
        (connections, more)
    }

    pub(super) fn close(self, poller: &mut Poller) {
        if self.count > 0 {
            info!("{} connections came from the old master", self.count);
        }
        poller.remove(self.channel.as_fd(), self.key);
    }
}

/// Reads the channel once and appends the connections that came.
fn hear(
    channel: &mut Channel,
    connections: &mut Vec<Connection>,
) -> Result<Heard, Error> {
    let heard = match channel.hear() {
        Err(error) if error.is_peer_gone() => Heard::End,
        result => result?,
    };
    while let Some((line, descriptors)) = channel.line()? {
        let message = Message::parse(line)?;
        let mut came = descriptors.take(message.descriptors());
        let Message::Snapshot(message) = message else { continue };
        let left = Snapshot::from_message(&message).map(Box::new);
        match (came.next(), left) {
            (Some(socket), Some(left)) => {
                // An older build may have accepted it without.
                let guarded = keep_urgent_in_line(socket.as_fd()).is_ok();
                let snapshot = Some(left);
                let connection = Connection { socket, snapshot, guarded };
                connections.push(connection);
            }
            (Some(_), None) => {
                warn!("a connection of the old master is not understood");
            }
            // It is closed with the copy that the old master does not keep.
            (None, _) => warn!("out of descriptors: a connection is lost"),
        }
    }
    Ok(heard)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::master::scheduler::RoundRobin;
    use crate::sys::tcp::doubt;
    use crate::sys::{socket, unix};
    use std::net::{TcpListener, TcpStream};
    use std::time::{Duration, Instant};

    fn traffic(now: Instant) -> Traffic {
        let mut traffic =
            Traffic::new(Box::new(RoundRobin), 64, 1024, false, None, now);
        traffic.hand_over();
        traffic
    }

    fn ends(poller: &mut Poller) -> (Outgoing, Incoming) {
        let (old, new) = unix::pair().unwrap();
        let (read, source) = (Interest::Read, Source::NextMaster);
        let key = poller.add(old.as_fd(), read, source).unwrap();
        let outgoing = Outgoing::new(old, key, poller);
        (outgoing, Incoming::new(new, poller).unwrap())
    }

    #[test]
    fn a_connection_comes_with_what_its_worker_left() {
        let (mut poller, now) = (Poller::new().unwrap(), Instant::now());
        let (mut outgoing, mut incoming) = ends(&mut poller);
        let mut old = traffic(now);
        let (socket, client) = unix::pair().unwrap();
        let input = b"GET / HTTP/1.1\r\n".to_vec();
        let left = Snapshot { input: input.clone(), ..Snapshot::default() };
        let snapshot = Some(Box::new(left));
        old.adopt(Connection { socket, snapshot, guarded: true });
        assert!(!outgoing.is_done(&old));
        outgoing.flush(&mut old, &poller, now).unwrap();
        assert!(outgoing.is_done(&old));
        let (mut came, more) = incoming.receive();
        assert!(more);
        let one = came.pop().unwrap();
        assert_eq!(one.snapshot.unwrap().input, input);
        socket::send(one.socket.as_fd(), b"x").unwrap();
        let mut bytes = [0; 8];
        let count = socket::receive(client.as_fd(), &mut bytes).unwrap();
        assert_eq!(count, Some(1), "it is the same connection");
        outgoing.close(&mut poller);
        assert!(!incoming.receive().1, "the old master has gone");
    }

    #[test]
    fn what_a_full_channel_does_not_take_waits_and_is_not_lost() {
        let (mut poller, now) = (Poller::new().unwrap(), Instant::now());
        let (mut outgoing, mut incoming) = ends(&mut poller);
        let mut old = traffic(now);
        let mut clients = Vec::new();
        for _ in 0..400 {
            let (socket, client) = unix::pair().unwrap();
            old.adopt(Connection::from(socket));
            clients.push(client);
        }
        let (mut came, mut rounds, mut now) = (0, 0, now);
        while came < clients.len() {
            outgoing.flush(&mut old, &poller, now).unwrap();
            rounds += usize::from(!outgoing.is_done(&old));
            came += incoming.receive().0.len();
            now += Duration::from_secs(1);
            old.tick(now);
        }
        assert!(rounds > 0, "the channel was never full");
        assert!(outgoing.is_done(&old));
    }

    #[test]
    fn a_new_master_that_is_gone_is_told_of_and_its_connections_end() {
        let (mut poller, now) = (Poller::new().unwrap(), Instant::now());
        let (mut outgoing, incoming) = ends(&mut poller);
        incoming.close(&mut poller);
        let mut old = traffic(now);
        let (socket, _client) = unix::pair().unwrap();
        old.adopt(Connection::from(socket));
        outgoing.flush(&mut old, &poller, now).unwrap_err();
        assert_eq!(old.end_outbound(), 1);
    }

    #[test]
    fn urgent_bytes_are_in_line_in_what_an_older_build_hands_on() {
        let (mut poller, now) = (Poller::new().unwrap(), Instant::now());
        let (mut outgoing, mut incoming) = ends(&mut poller);
        let mut old = traffic(now);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let _client = TcpStream::connect(address).unwrap();
        let server = listener.accept().unwrap().0;
        assert!(doubt::of_connection(server.as_fd()).is_some());
        let copy = OwnedFd::from(server.try_clone().unwrap());
        old.adopt(Connection::from(copy));
        outgoing.flush(&mut old, &poller, now).unwrap();
        let (came, _) = incoming.receive();
        assert!(came[0].guarded);
        assert_eq!(doubt::of_connection(server.as_fd()), None);
    }

    #[test]
    fn what_is_not_understood_ends_what_is_yet_to_come_and_nothing_else() {
        let mut poller = Poller::new().unwrap();
        let (outgoing, mut incoming) = ends(&mut poller);
        socket::send(outgoing.channel.as_fd(), b"nonsense\n").unwrap();
        let (came, more) = incoming.receive();
        assert!(came.is_empty() && !more);
    }
}
