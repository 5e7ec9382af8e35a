//! The connections of an old master's workers, on their way to the master
//! that follows it.
//!
//! ```text
//!   old worker ── gives back ─▶ old master ═══ channel ══▶ new master ─▶ …
//!                                waiting      one a line
//! ```
//!
//! It is the channel on which the new master has said that it is ready. The
//! old one goes when all is handed over; an heir that goes first leaves
//! nobody to hand it to.

use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};

use log::{debug, info, warn};

use super::guest::Guest;
use super::traffic::CONGESTION;
use super::{Master, Source};
use crate::channel::{Channel, Heard};
use crate::error::Error;
use crate::ipc::Message;
use crate::salvage::bag::Bag;
use crate::slab::Key;
use crate::sys::epoll::{Event, Interest};
use crate::sys::tcp::keep_urgent_in_line;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Heir {
    channel: Channel,
    key: Key,
    interest: Interest,
    waiting: VecDeque<Guest>,
}

/// The old master's side.
impl Master {
    /// The new master is ready. `socket` is known to epoll by this key.
    pub(super) fn name_heir(&mut self, socket: OwnedFd, key: Key) {
        if let Some(source) = self.sources.get_mut(key) {
            *source = Source::Heir;
        }
        self.heir = Some(Heir {
            channel: Channel::new(socket),
            key,
            interest: Interest::Read,
            waiting: VecDeque::new(),
        });
    }

    /// The heir is to have this connection.
    pub(super) fn bequeath(&mut self, guest: Guest) {
        if let Some(heir) = &mut self.heir {
            heir.waiting.push_back(guest);
        }
        self.hand_down();
    }

    /// Sends what the channel takes.
    pub(super) fn hand_down(&mut self) {
        let Some(heir) = &mut self.heir else { return };
        if let Err(error) = heir.channel.flush() {
            return self.lose_heir(&error.to_string());
        }
        while let Some(guest) = heir.waiting.front() {
            let bag = guest.bag.as_deref().cloned().unwrap_or_default();
            let message = Message::Bequest(bag.to_bequest());
            match heir.channel.hand_over(&message, &[guest.as_fd()]) {
                Ok(true) => {
                    heir.waiting.pop_front();
                    self.held -= 1;
                }
                Ok(false) => break,
                // Too many descriptors are on their way. The channel has room
                // all the same, so epoll would not let us wait.
                Err(error) if error.is_congestion() => {
                    self.congested_until = Some(self.now + CONGESTION);
                    break;
                }
                Err(error) => return self.lose_heir(&error.to_string()),
            }
        }
        let waits = !heir.waiting.is_empty() || heir.channel.is_waiting();
        let blocked = waits && self.congested_until.is_none();
        let interest = match blocked {
            true => Interest::ReadWrite,
            false => Interest::Read,
        };
        if interest != heir.interest {
            let (fd, key) = (heir.channel.as_fd(), heir.key.bits());
            match self.epoll.modify(fd, interest, key) {
                Ok(()) => heir.interest = interest,
                Err(error) => warn!("the heir is not watched: {error}"),
            }
        }
    }

    /// Something about the heir: it takes more, or is gone.
    pub(super) fn attend_heir(&mut self, event: Event) {
        self.hand_down();
        let Some(heir) = &mut self.heir else { return };
        if event.is_readable() || event.is_gone() {
            match heir.channel.hear() {
                Ok(Heard::Something | Heard::Nothing) => {}
                Ok(Heard::End) => self.lose_heir("it has ended"),
                Err(error) => self.lose_heir(&error.to_string()),
            }
        }
    }

    /// Whether the heir has all that there was for it. What the master before
    /// this one has not left yet goes to it as well.
    pub(super) fn has_handed_down(&self) -> bool {
        self.heir.as_ref().is_none_or(|heir| {
            self.testator.is_none()
                && heir.waiting.is_empty()
                && !heir.channel.is_waiting()
        })
    }

    pub(super) fn lose_heir(&mut self, why: &str) {
        let Some(heir) = self.heir.take() else { return };
        if let Err(error) = self.epoll.remove(heir.channel.as_fd()) {
            debug!("the heir stays registered: {error}");
        }
        self.sources.remove(heir.key);
        self.held -= heir.waiting.len();
        warn!(
            "the new master cannot be given connections, {} are closed: {why}",
            heir.waiting.len()
        );
    }
}

/// The new master's side.
impl Master {
    /// The old master may go; what its workers had comes over this socket.
    pub(super) fn expect_heritage(
        &mut self,
        socket: OwnedFd,
    ) -> Result<(), Error> {
        let key = self.sources.insert(Source::Testator);
        self.epoll.add(socket.as_fd(), Interest::Read, key.bits())?;
        self.testator = Some((Channel::new(socket), key, 0));
        Ok(())
    }

    /// Takes over what the old master has sent. It may be of another build:
    /// what it says wrong costs what is yet to come from it, and nothing else.
    pub(super) fn inherit(&mut self) {
        let Some((channel, _, count)) = &mut self.testator else { return };
        let mut guests = Vec::new();
        let heard = hear_bequests(channel, &mut guests);
        *count += guests.len();
        match heard {
            Ok(Heard::Something | Heard::Nothing) => {}
            Ok(Heard::End) => self.close_testament(),
            Err(error) => {
                warn!("the old master is not understood: {error}");
                self.close_testament();
            }
        }
        for guest in guests {
            self.held += 1;
            self.lending.tally.connections += 1;
            self.place(guest);
        }
    }

    fn close_testament(&mut self) {
        let Some((channel, key, count)) = self.testator.take() else { return };
        if count > 0 {
            info!("{count} connections came from the old master");
        }
        if let Err(error) = self.epoll.remove(channel.as_fd()) {
            debug!("the old master stays registered: {error}");
        }
        self.sources.remove(key);
    }
}

/// Reads the channel once and appends what was bequeathed.
fn hear_bequests(
    channel: &mut Channel,
    guests: &mut Vec<Guest>,
) -> Result<Heard, Error> {
    let heard = match channel.hear() {
        Err(error) if error.is_peer_gone() => Heard::End,
        result => result?,
    };
    while let Some((line, descriptors)) = channel.line()? {
        let message = Message::parse(line)?;
        let mut came = descriptors.take(message.descriptors());
        let Message::Bequest(bequest) = message else { continue };
        let bag = Bag::from_bequest(&bequest).map(Box::new);
        match (came.next(), bag) {
            (Some(socket), Some(bag)) => {
                // An older build may have accepted it without.
                let guarded = keep_urgent_in_line(socket.as_fd()).is_ok();
                guests.push(Guest { socket, bag: Some(bag), guarded });
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
    use crate::sys::tcp::doubt;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn urgent_bytes_are_in_line_in_what_an_older_build_hands_on() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let _client = TcpStream::connect(address).unwrap();
        let server = listener.accept().unwrap().0;
        assert!(doubt::of_connection(server.as_fd()).is_some());
        let (old, new) = crate::sys::unix::pair().unwrap();
        let (mut old, mut new) = (Channel::new(old), Channel::new(new));
        let message = Message::Bequest(Bag::default().to_bequest());
        assert!(old.hand_over(&message, &[server.as_fd()]).unwrap());
        let mut guests = Vec::new();
        hear_bequests(&mut new, &mut guests).unwrap();
        assert!(guests[0].guarded);
        assert_eq!(doubt::of_connection(server.as_fd()), None);
    }
}
