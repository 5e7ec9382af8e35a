//! The master's control socket: how it listens to its operators without ever
//! waiting for one.
//!
//! ```text
//!   Source::Control  ──▶ receive_operators ──┐
//!                                            ▼
//!   Source::Operator ──────────────────▶ attend ──▶ comply (errand)
//!                                                     │
//!   time ──▶ expire_operators ──▶ dismiss ◀── answer ◀┘
//! ```
//!
//! Its clients are sources in the one loop like all others. They are few, the
//! line of each is short, and each has its time; what one says wrong costs it
//! its connection. What is said is a matter of [`crate::control`].

mod client;
mod errand;
mod socket;

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use log::{debug, error, warn};

use self::client::{Client, Heard};
use self::socket::{Socket, Visitor};
use super::{Master, Source};
use crate::config;
use crate::control::Reply;
use crate::error::Error;
use crate::slab::Key;
use crate::sys;
use crate::sys::epoll::{Epoll, Interest};
use crate::sys::lock;

/// Clients at a time. Others wait in the kernel's queue.
pub(super) const CLIENTS: usize = 16;

/// How long a client may take for its line, and for ours.
const PATIENCE: Duration = Duration::from_secs(5);

/// The same while all places are taken.
const LITTLE_PATIENCE: Duration = Duration::from_millis(100);

/// How long nobody is accepted after the system was short of descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Control {
    wanted: config::Control,
    door: Option<Door>,
    clients: Vec<(Key, Client)>,
    /// How the last reload ended.
    last_reload: Option<String>,
}

/// The listening socket.
#[derive(Debug)]
struct Door {
    socket: Socket,
    key: Key,
    armed: bool,
    paused_until: Option<Instant>,
}

impl Control {
    /// Not open yet.
    pub(super) fn new(wanted: config::Control) -> Control {
        let clients = Vec::new();
        Control { wanted, door: None, clients, last_reload: None }
    }

    /// When a client is late, or a pause over.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let clients = self.clients.iter();
        let since = clients.filter_map(|(_, client)| client.since());
        let late = since.map(|since| since + self.patience());
        let pause = self.door.as_ref().and_then(|door| door.paused_until);
        late.chain(pause).min()
    }

    fn patience(&self) -> Duration {
        if self.is_full() { LITTLE_PATIENCE } else { PATIENCE }
    }

    fn is_full(&self) -> bool {
        self.clients.len() >= CLIENTS
    }

    fn get_mut(&mut self, key: Key) -> Option<&mut Client> {
        let mut clients = self.clients.iter_mut();
        clients.find(|(at, _)| *at == key).map(|(_, client)| client)
    }

    /// Those who wait for the end of a reload up to this generation.
    fn waiting(&self, generation: u32) -> Vec<Key> {
        let clients = self.clients.iter().filter(|(_, client)| {
            client.awaited().is_some_and(|awaited| awaited <= generation)
        });
        clients.map(|(key, _)| *key).collect()
    }

    /// Those for whom we have waited long enough.
    fn late(&self, now: Instant) -> Vec<Key> {
        let patience = self.patience();
        let clients = self.clients.iter().filter(|(_, client)| {
            client.since().is_some_and(|since| since + patience <= now)
        });
        clients.map(|(key, _)| *key).collect()
    }

    /// Accepts whoever comes, as long as there is a place.
    fn arm(&mut self, epoll: &Epoll, now: Instant) {
        let full = self.is_full();
        let Some(door) = &mut self.door else { return };
        if door.paused_until.is_some_and(|until| until <= now) {
            door.paused_until = None;
        }
        let wanted = !full && door.paused_until.is_none();
        if wanted == door.armed {
            return;
        }
        let interest = if wanted { Interest::Read } else { Interest::Nothing };
        note(epoll.modify(door.socket.as_fd(), interest, door.key.bits()));
        door.armed = wanted;
    }
}

/// What fails here costs the master nothing but an operator.
fn note(result: sys::Result<()>) {
    if let Err(error) = result {
        error!("the control socket: {error}");
    }
}

/// The door.
impl Master {
    /// Opens the control socket. If there was a master before this one, its
    /// place is taken over.
    pub(super) fn open_control(&mut self) -> Result<(), Error> {
        let socket = match &self.control.wanted {
            config::Control::Off => return Ok(()),
            config::Control::Default => match Socket::bind_somewhere() {
                Ok(socket) => socket,
                Err(error) => {
                    warn!(
                        "no control socket: {error}; type --control PATH for \
                         another place, or --control off"
                    );
                    return Ok(());
                }
            },
            config::Control::At(path) => {
                let cannot = |why: &str| {
                    let path = path.display();
                    Error::System(format!(
                        "cannot make the control socket {path}: {why}"
                    ))
                };
                let _turn = lock::folder_of(path);
                if self.predecessor.is_none() && socket::is_in_use(path) {
                    let servers = self.servers.values();
                    let mut own = servers.flat_map(|s| s.doors.listeners());
                    return Err(match own.any(|own| own.is_at(path)) {
                        true => Error::Usage(format!(
                            "the control socket cannot be {}: --listen has \
                             it",
                            path.display()
                        )),
                        false => cannot("another master has it"),
                    });
                }
                let bound = Socket::bind(path);
                bound.map_err(|error| cannot(&error.to_string()))?
            }
        };
        debug!("control socket {socket}");
        let key = self.sources.insert(Source::Control);
        self.epoll.add(socket.as_fd(), Interest::Read, key.bits())?;
        let (armed, paused_until) = (true, None);
        self.control.door = Some(Door { socket, key, armed, paused_until });
        Ok(())
    }

    /// Opens it anew if a new master has put its own in that place, and has
    /// come to nothing.
    pub(super) fn restore_control(&mut self) -> Result<(), Error> {
        let door = self.control.door.as_ref();
        if door.is_none_or(|door| door.socket.is_in_place()) {
            return Ok(());
        }
        self.shut_control();
        if let Err(error) = self.open_control() {
            warn!("{error}");
        }
        Ok(())
    }

    /// Lets nobody in any more, and removes the file: whoever wants something
    /// has to ask another master, or there is none. Who is in may stay.
    pub(super) fn shut_control(&mut self) {
        let Some(door) = self.control.door.take() else { return };
        note(self.epoll.remove(door.socket.as_fd()));
        self.sources.remove(door.key);
        let name = door.socket.to_string();
        if let Err(error) = door.socket.close() {
            warn!("cannot remove the control socket {name}: {error}");
        }
    }

    /// Somebody is at the door.
    pub(super) fn receive_operators(&mut self) -> Result<(), Error> {
        while !self.control.is_full()
            && let Some(door) = &mut self.control.door
        {
            match door.socket.accept() {
                Ok(Some(visitor)) => self.receive(visitor)?,
                Ok(None) => break,
                Err(error) => {
                    warn!("the control socket pauses: {error}");
                    door.paused_until = Some(self.now + PAUSE);
                    break;
                }
            }
        }
        self.control.arm(&self.epoll, self.now);
        Ok(())
    }

    fn receive(&mut self, visitor: Visitor) -> Result<(), Error> {
        let (socket, welcome) = match visitor {
            Visitor::Welcome(socket) => (socket, true),
            Visitor::Stranger(socket) => (socket, false),
        };
        let key = self.sources.insert(Source::Operator);
        note(self.epoll.add(socket.as_fd(), Interest::Read, key.bits()));
        let client = Client::new(socket, self.now);
        self.control.clients.push((key, client));
        if welcome {
            // The line is usually there already.
            return self.attend(key, false);
        }
        let why = "only root and the master's own user may ask";
        self.answer(key, &Reply::Error(why.to_owned()));
        Ok(())
    }
}

/// Clients.
impl Master {
    /// Something about a client; `gone` says that it has closed its socket.
    pub(super) fn attend(
        &mut self,
        key: Key,
        gone: bool,
    ) -> Result<(), Error> {
        let Some(client) = self.control.get_mut(key) else { return Ok(()) };
        match client.attend(gone) {
            Heard::Nothing => {}
            Heard::End => self.dismiss(key),
            Heard::Request(Ok(request)) => self.comply(key, request)?,
            Heard::Request(Err(error)) => {
                self.answer(key, &Reply::Error(error.to_string()));
            }
        }
        Ok(())
    }

    /// Answers a client, and ends its connection.
    fn answer(&mut self, key: Key, reply: &Reply) {
        let Some(client) = self.control.get_mut(key) else { return };
        if client.answer(reply, self.now) {
            self.watch_operator(key);
        } else {
            self.dismiss(key);
        }
    }

    fn have_wait(&mut self, key: Key, generation: u32) {
        if let Some(client) = self.control.get_mut(key) {
            client.wait(generation);
        }
        self.watch_operator(key);
    }

    fn watch_operator(&mut self, key: Key) {
        if let Some(client) = self.control.get_mut(key) {
            let interest = client.interest();
            note(self.epoll.modify(client.as_fd(), interest, key.bits()));
        }
    }

    /// Ends a client's connection, and lets the next one in.
    fn dismiss(&mut self, key: Key) {
        let clients = &mut self.control.clients;
        for (key, client) in clients.extract_if(.., |(at, _)| *at == key) {
            note(self.epoll.remove(client.as_fd()));
            self.sources.remove(key);
        }
        self.control.arm(&self.epoll, self.now);
    }

    /// Clients that are late, and the door if a pause is over.
    pub(super) fn expire_operators(&mut self) {
        for key in self.control.late(self.now) {
            self.dismiss(key);
        }
        self.control.arm(&self.epoll, self.now);
    }
}
