//! The servers of an app: opened when the first worker asks, had by all that
//! ask for the same, closed when nobody wants them any more.
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

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use super::key;
use super::orders::{Answer, Opened, Order, Query, Reply, Share};
use crate::WorkerId;
use crate::ipc::message::Listen;
use crate::master::server::ServerId;

/// How long a server is kept that all workers have closed: an app may close
/// one to open it again.
const KEEP: Duration = Duration::from_secs(1);

/// Most servers of one app. Each costs the master a descriptor, and whoever
/// wants so many has lost count of them.
const MOST: usize = 1024;

/// Most bytes of a query: a path has 108 at most, a TLS server's keys 96.
const MOST_BYTES: usize = 4096;

/// "Invalid argument", errno(3) on Linux.
const EINVAL: i32 = 22;

/// "Too many open files", errno(3) on Linux.
pub(super) const EMFILE: i32 = 24;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Servers {
    asked: BTreeMap<ServerId, Asked>,
    /// Names the next server that is asked for.
    next: u32,
    /// How long a successor has until it must have asked.
    boot_timeout: Duration,
}

/// What workers know of a server that they asked for.
#[derive(Debug)]
struct Asked {
    key: String,
    /// Raw JSON of the first worker that asked; every other gets it as well
    /// (TLS ticket keys, so that a session is resumed anywhere).
    data: Option<String>,
    /// Where it is bound, if that is IP.
    bound: Option<SocketAddr>,
    /// Each worker reads the socket itself, instead of being handed
    /// connections.
    shared: bool,
    /// Who has it.
    members: BTreeSet<WorkerId>,
    /// How long it is kept when it is deserted.
    keep: Duration,
    /// Since when nobody has it, and nobody is expected to want it.
    deserted: Option<Duration>,
}

impl Servers {
    pub(super) fn new(boot_timeout: Duration) -> Servers {
        Servers {
            asked: BTreeMap::new(),
            next: ServerId::OWN.0 + 1,
            boot_timeout,
        }
    }

    /// A worker wants a server.
    pub(super) fn query<'a>(
        &mut self,
        worker: WorkerId,
        ack: u64,
        listen: Listen<'a>,
        out: &mut Vec<Order<'a>>,
    ) {
        let key = key::key(&listen);
        let known = self.asked.iter().find_map(|(&server, asked)| {
            // By one name a worker knows one server.
            let free = !asked.members.contains(&worker);
            let it = asked.key == key || free && asked.is_meant_by(&listen);
            it.then_some(server)
        });
        if let Some(server) = known {
            self.grant(worker, server, ack, out);
        } else if key.len() + listen.data.map_or(0, str::len) > MOST_BYTES {
            out.push(denied(worker, ack, key, EINVAL));
        } else if self.asked.len() >= MOST {
            out.push(denied(worker, ack, key, EMFILE));
        } else {
            let server = ServerId(self.next);
            out.push(Order::Open(Query { worker, ack, server, key, listen }));
        }
    }

    /// What a query has become.
    pub(super) fn opened<'a>(
        &mut self,
        query: Query<'a>,
        opened: Result<Opened, i32>,
        out: &mut Vec<Order<'a>>,
    ) {
        let Query { worker, ack, server, key, listen } = query;
        let opened = match opened {
            Ok(opened) => opened,
            Err(errno) => return out.push(denied(worker, ack, key, errno)),
        };
        self.next = server.0 + 1;
        let asked = Asked {
            key,
            data: listen.data.map(str::to_owned),
            bound: opened.bound,
            shared: opened.shared,
            members: BTreeSet::new(),
            keep: self.boot_timeout,
            deserted: None,
        };
        self.asked.insert(server, asked);
        self.grant(worker, server, ack, out);
    }

    fn grant(
        &mut self,
        worker: WorkerId,
        server: ServerId,
        ack: u64,
        out: &mut Vec<Order<'_>>,
    ) {
        let Some(asked) = self.asked.get_mut(&server) else { return };
        asked.members.insert(worker);
        // Else its time would be over for ever, and the loop never sleep.
        asked.deserted = None;
        let answer = Answer::Granted {
            key: asked.key.clone(),
            data: asked.data.clone(),
            sockname: asked.bound.filter(|_| !asked.shared),
        };
        let reply = Reply { ack, answer };
        out.push(match asked.shared {
            true => Order::Share(Share { worker, server, reply }),
            false => Order::Reply { worker, reply },
        });
    }

    /// The socket that was the answer to a query did not get there. What
    /// Node does not get it does not miss: it waits for an answer.
    pub(super) fn went_short(
        &mut self,
        worker: WorkerId,
        server: ServerId,
        ack: u64,
        errno: i32,
        out: &mut Vec<Order<'_>>,
    ) {
        let Some(asked) = self.asked.get_mut(&server) else { return };
        asked.members.remove(&worker);
        out.push(denied(worker, ack, asked.key.clone(), errno));
    }

    /// The server that a worker says it listens on. The port is the real one
    /// by now, while a key has the one that was asked for: 0, or none with a
    /// descriptor.
    pub(super) fn find(
        &self,
        listen: &Listen<'_>,
    ) -> Option<(ServerId, &str)> {
        let mut asked = self.asked.iter();
        let found = asked.find(|(_, asked)| asked.is_meant_by(listen));
        found.map(|(&server, asked)| (server, asked.key.as_str()))
    }

    /// The servers with one of these keys.
    pub(super) fn among(
        &self,
        keys: &BTreeSet<String>,
    ) -> impl Iterator<Item = ServerId> {
        let asked = self.asked.iter();
        let named = asked.filter(|(_, asked)| keys.contains(&asked.key));
        named.map(|(&server, _)| server)
    }

    /// A worker has closed a server. Returns which.
    pub(super) fn close(
        &mut self,
        worker: WorkerId,
        key: &str,
    ) -> Option<ServerId> {
        let mut asked = self.asked.iter_mut();
        let found = asked.find(|(_, asked)| asked.key == key);
        let (&server, asked) = found?;
        if asked.members.remove(&worker) {
            asked.keep = KEEP;
        }
        self.expect_farewell(worker);
        Some(server)
    }

    /// Who goes by its own wish closes all it has, and says so only behind its
    /// last answer. So that may be why it has no server any more, and then a
    /// successor comes, which will want them.
    fn expect_farewell(&mut self, worker: WorkerId) {
        let mut asked = self.asked.values();
        if asked.any(|asked| asked.members.contains(&worker)) {
            return;
        }
        let asked = self.asked.values_mut();
        let deserted = asked.filter(|asked| asked.members.is_empty());
        deserted.for_each(|asked| asked.keep = self.boot_timeout);
    }

    /// A worker is gone, or goes: that closes no server.
    pub(super) fn forget(&mut self, worker: WorkerId) {
        for asked in self.asked.values_mut() {
            if asked.members.remove(&worker) {
                asked.keep = self.boot_timeout;
            }
        }
    }

    /// Whether there is a server that nobody has.
    pub(super) fn is_any_empty(&self) -> bool {
        self.asked.values().any(|asked| asked.members.is_empty())
    }

    /// Takes out the servers that have been deserted for their time.
    pub(super) fn close_deserted(
        &mut self,
        now: Duration,
        is_wanted: impl Fn(&str) -> bool,
        out: &mut Vec<Order<'_>>,
    ) {
        self.asked.retain(|&server, asked| {
            if !asked.members.is_empty() || is_wanted(&asked.key) {
                asked.deserted = None;
                return true;
            }
            let since = *asked.deserted.get_or_insert(now);
            let is_due = since + asked.keep <= now;
            if is_due {
                let key = std::mem::take(&mut asked.key);
                out.push(Order::Close { server, key });
            }
            !is_due
        });
    }

    /// When the next deserted server goes.
    pub(super) fn deadline(&self) -> Option<Duration> {
        let due = |asked: &Asked| Some(asked.deserted? + asked.keep);
        self.asked.values().filter_map(due).min()
    }
}

impl Asked {
    /// Whether this is what a worker speaks of.
    fn is_meant_by(&self, listen: &Listen<'_>) -> bool {
        let port = self.bound.map(|bound| bound.port());
        key::is_meant(listen, &self.key, port)
    }
}

fn denied(
    worker: WorkerId,
    ack: u64,
    key: String,
    errno: i32,
) -> Order<'static> {
    let answer = Answer::Denied { key, errno };
    Order::Reply { worker, reply: Reply { ack, answer } }
}
