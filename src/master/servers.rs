//! The servers of an app: opened when the first worker asks, shared by all
//! that ask for the same, closed when nobody wants them any more.
//!
//! ```text
//!   queryServer ─▶ open ─▶ members ─▶ listening ─▶ in its rotation
//!                             │
//!       close, by all ────────┤ nobody has it, and no worker that had it at
//!       deaths, a new release ┘ its start is to be replaced: it is deserted
//!                               closed 1 s later, or, if whoever had it last
//!                               did not say `close` or has closed all it had,
//!                               when a successor has had its time to ask
//! ```
//!
//! So a server outlives every death, but an app that names its servers after
//! its process, say, does not fill the master with those of the dead.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use log::{info, warn};

use super::asked::{self, Opened};
use super::doors::Doors;
use super::listener;
use super::server::{Asked, Server, ServerId};
use super::supervisor::State;
use super::{Master, Source};
use crate::WorkerId;
use crate::ipc::Message;
use crate::ipc::message::{
    self, Act, Answer, Cluster, HandleKind, Inner, Listen, Sockname,
};
use crate::sys;
use crate::sys::epoll::Interest;
use crate::sys::socket;

/// How long a server is kept that all workers have closed: an app may close
/// one to open it again.
const KEEP: Duration = Duration::from_secs(1);

/// How long after it became ready a worker's servers are still those that it
/// began with, which its successor is to have too.
const BEGINNING: Duration = Duration::from_secs(1);

/// Most servers of one app. Each costs the master a descriptor, and whoever
/// wants so many has lost count of them.
const MOST: usize = 1024;

/// Most bytes of a query: a path has 108 at most, a TLS server's keys 96.
const MOST_BYTES: usize = 4096;

impl Master {
    /// It wants a server.
    pub(super) fn query(
        &mut self,
        worker: WorkerId,
        ack: u64,
        listen: &Listen<'_>,
    ) {
        let key = asked::key(listen);
        let known = self.servers.iter().find_map(|(&id, server)| {
            let asked = server.asked.as_ref()?;
            // By one name a worker knows one server.
            let free = !asked.members.contains(&worker);
            let it = asked.key == key || free && asked.is_meant_by(listen);
            it.then_some(id)
        });
        let id = match known {
            Some(id) => id,
            None => match self.open_server(&key, listen) {
                Ok(id) => id,
                Err(errno) => return self.refuse(worker, ack, &key, errno),
            },
        };
        let Some(link) = self.links.get_mut(&worker) else { return };
        let seq = Some(link.next_seq());
        let Some(Server { asked: Some(asked), .. }) =
            self.servers.get_mut(&id)
        else {
            return;
        };
        asked.members.insert(worker);
        // Else its time would be over for ever, and the loop never sleep.
        asked.deserted = None;
        let sockname = asked.bound.filter(|_| asked.shared.is_none());
        let answer = Answer::Server(message::Server {
            errno: 0,
            key: asked.key.as_str().into(),
            data: asked.data.as_deref(),
            sockname: sockname.map(|bound| Sockname {
                address: bound.ip().to_string().into(),
                port: bound.port(),
            }),
        });
        let reply = Cluster { seq, act: Act::Reply { ack, answer } };
        let Some(socket) = &asked.shared else {
            return link.say(&Message::Cluster(reply), &self.epoll);
        };
        match socket.try_clone() {
            Ok(copy) => {
                let kind = HandleKind::DgramNative;
                let inner = Inner::Cluster(reply);
                let message = Message::Handle { kind, inner };
                link.share(&message, copy, (id, ack), &self.epoll);
            }
            Err(error) => {
                asked.members.remove(&worker);
                let errno = error.raw_os_error().unwrap_or_default();
                self.refuse(worker, ack, &key, errno);
            }
        }
    }

    /// The socket that was the answer to its query did not arrive. What Node
    /// does not get it does not miss: it waits for an answer.
    pub(super) fn went_short(
        &mut self,
        worker: WorkerId,
        id: ServerId,
        ack: u64,
    ) {
        let server = self.servers.get_mut(&id);
        let Some(asked) = server.and_then(|server| server.asked.as_mut())
        else {
            return;
        };
        asked.members.remove(&worker);
        let key = asked.key.clone();
        let errno = sys::Error::TOO_MANY_OPEN.errno();
        self.refuse(worker, ack, &key, errno);
    }

    /// Tells a worker why it does not get a server, in the system's number.
    fn refuse(&mut self, worker: WorkerId, ack: u64, key: &str, errno: i32) {
        let why = listener::advice(sys::Error::of_listen(errno));
        let place = asked::place(key);
        warn!("worker {worker} cannot listen on {place}: {why}");
        let answer = Answer::Server(message::Server {
            errno: -errno,
            key: key.into(),
            data: None,
            sockname: None,
        });
        self.say(worker, Act::Reply { ack, answer });
    }

    fn open_server(
        &mut self,
        key: &str,
        listen: &Listen<'_>,
    ) -> Result<ServerId, i32> {
        if key.len() + listen.data.map_or(0, str::len) > MOST_BYTES {
            return Err(sys::Error::INVALID.errno());
        }
        if self.servers.len() >= MOST.min(self.most_held) {
            return Err(sys::Error::TOO_MANY_OPEN.errno());
        }
        let inherited = self.inheritance.listeners_of(key.as_ref()).pop();
        let opened = match inherited {
            Some(socket) => {
                let mut opened = asked::inherit(key, listen, socket)?;
                if let Opened::Accepting(listener) = &mut opened
                    && self.predecessor.is_none()
                {
                    listener.take_over();
                }
                opened
            }
            None => asked::open(key, listen, self.host.as_deref())?,
        };
        let id = ServerId(self.next_server);
        self.next_server += 1;
        let mut asked = Asked {
            key: key.to_owned(),
            data: listen.data.map(str::to_owned),
            bound: None,
            shared: None,
            members: Default::default(),
            keep: self.boot_timeout,
            deserted: None,
        };
        let mut listeners = Vec::new();
        match opened {
            Opened::Accepting(listener) => {
                info!("listening on {listener}");
                asked.bound = listener.bound();
                let key = self.sources.insert(Source::Listener(id));
                let interest = Interest::Read;
                let fd = listener.as_fd();
                if let Err(error) = self.epoll.add(fd, interest, key.bits()) {
                    self.sources.remove(key);
                    return Err(error.errno());
                }
                listeners.push((listener, key));
            }
            Opened::Shared(socket) => {
                info!("sharing {}", asked::place(key));
                asked.bound =
                    socket::local_address(socket.as_fd()).ok().flatten();
                asked.shared = Some(socket);
            }
        }
        let mut doors = Doors::new(listeners);
        if self.closing {
            doors.begin_closing();
        }
        self.servers.insert(id, Server::new(doors, Some(asked)));
        self.make_room_for(self.supervisor.workers());
        Ok(id)
    }

    /// Its server is ready. The port is the real one by now, while a key has
    /// the one that was asked for: 0, or none with a descriptor.
    pub(super) fn listening(&mut self, worker: WorkerId, listen: &Listen<'_>) {
        let found = self.servers.iter().find_map(|(&id, server)| {
            let asked = server.asked.as_ref()?;
            let it = asked.is_meant_by(listen);
            it.then(|| (id, asked.key.clone()))
        });
        let Some((id, key)) = found else { return };
        let Some(link) = self.links.get_mut(&worker) else { return };
        let slot = link.slot;
        let Some(foreign) = link.foreign() else { return };
        foreign.readiness.listening(&key);
        match foreign.admitted {
            None => self.look_whether_ready(worker),
            Some(since) => {
                self.join(worker, slot, id);
                if self.now < since + BEGINNING {
                    self.wanted.entry(slot).or_default().insert(key);
                }
            }
        }
    }

    pub(super) fn join(
        &mut self,
        worker: WorkerId,
        slot: usize,
        id: ServerId,
    ) {
        let window = self.window;
        if let Some(server) = self.servers.get_mut(&id)
            && !server.doors.are_closed()
        {
            server.dispatcher.admit(worker, slot, window, None);
            server.dispatcher.rejoin(worker);
        }
    }

    /// It has closed a server, which its successor need not have then. One
    /// that was asked to go closes everything: that says nothing.
    pub(super) fn close_server(&mut self, worker: WorkerId, key: &str) {
        let found =
            self.servers.values_mut().find(|server| server.key() == Some(key));
        let Some(server) = found else { return };
        server.dispatcher.withdraw(worker);
        if let Some(asked) = &mut server.asked
            && asked.members.remove(&worker)
        {
            asked.keep = KEEP;
        }
        self.expect_farewell(worker);
        let Some(link) = self.links.get_mut(&worker) else { return };
        let slot = link.slot;
        let Some(foreign) = link.foreign() else { return };
        foreign.readiness.closed(key);
        if foreign.admitted.is_some()
            && let Some(wanted) = self.wanted.get_mut(&slot)
        {
            wanted.remove(key);
        }
    }

    /// Who goes by its own wish closes all it has, and says so only behind its
    /// last answer. So that may be why it has no server any more, and then a
    /// successor comes, which will want them.
    fn expect_farewell(&mut self, worker: WorkerId) {
        let boot_timeout = self.boot_timeout;
        let mut asked: Vec<_> = self
            .servers
            .values_mut()
            .filter_map(|s| s.asked.as_mut())
            .collect();
        if asked.iter().any(|asked| asked.members.contains(&worker)) {
            return;
        }
        let deserted = asked.iter_mut().filter(|a| a.members.is_empty());
        deserted.for_each(|asked| asked.keep = boot_timeout);
    }

    /// A worker is gone, or goes: that closes no server.
    pub(super) fn forget_member(&mut self, worker: WorkerId) {
        for server in self.servers.values_mut() {
            if let Some(asked) = &mut server.asked
                && asked.members.remove(&worker)
            {
                asked.keep = self.boot_timeout;
            }
        }
        let link = self.links.get_mut(&worker);
        if let Some(foreign) = link.and_then(|link| link.foreign()) {
            foreign.admitted = None;
        }
    }

    /// Closes servers that have been deserted for their time.
    pub(super) fn close_deserted(&mut self) {
        let empty = |server: &Server| {
            let asked = server.asked.as_ref();
            asked.is_some_and(|asked| asked.members.is_empty())
        };
        if !self.servers.values().any(empty) {
            return;
        }
        let workers = self.supervisor.workers();
        self.wanted.retain(|slot, _| *slot < workers);
        let expected = self.expects_workers();
        let mut due = Vec::new();
        for (&id, server) in &mut self.servers {
            let Some(asked) = &mut server.asked else { continue };
            let mut wanted = self.wanted.values();
            if expected
                || !asked.members.is_empty()
                || wanted.any(|keys| keys.contains(&asked.key))
            {
                asked.deserted = None;
                continue;
            }
            let since = *asked.deserted.get_or_insert(self.now);
            if since + asked.keep <= self.now {
                due.push(id);
            }
        }
        for id in due {
            self.close_for_good(id);
        }
    }

    /// Whether a worker is to come that may want what nobody has.
    fn expects_workers(&self) -> bool {
        self.supervisor.status().iter().any(|status| match status.state {
            State::Waiting
            | State::Starting
            | State::Watched
            | State::Dying => true,
            State::Ready
            | State::Leaving
            | State::Terminated
            | State::Killed => false,
        })
    }

    fn close_for_good(&mut self, id: ServerId) {
        let Some(mut server) = self.servers.remove(&id) else { return };
        let place = asked::place(server.key().unwrap_or_default());
        info!("closing {place}, nobody listens");
        self.held -= server.held();
        for key in server.doors.slam(&self.epoll) {
            self.sources.remove(key);
        }
        self.make_room_for(self.supervisor.workers());
    }

    /// When the next such server goes.
    pub(super) fn closing_time(&self) -> Option<Instant> {
        let asked = self.servers.values().filter_map(|s| s.asked.as_ref());
        let due = |asked: &Asked| Some(asked.deserted? + asked.keep);
        asked.filter_map(due).min()
    }
}
