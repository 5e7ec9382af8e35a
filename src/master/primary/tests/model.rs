//! The naive model of the primary: a diary of all that has happened, searched
//! anew for every question. It keeps no count, no time and no set up to date,
//! and compares what was asked for member by member instead of by key.

use std::collections::BTreeSet;

use super::*;

/// What a worker may ask for, and its key.
#[derive(Clone, Debug)]
pub(super) struct Wish {
    pub(super) listen: Listen<'static>,
    pub(super) key: String,
}

/// Real ports begin here; there are so few that they are met again.
pub(super) const PORTS: std::ops::Range<u16> = 4001..4004;

pub(super) fn wishes() -> Vec<Wish> {
    let wish = |port: Option<i32>, address_type, fd, index, kind: &str| {
        let address =
            (address_type != AddressType::Unspecified).then_some("h");
        let listen = Listen {
            index,
            address: address.map(Into::into),
            port,
            address_type,
            fd,
            ..Listen::default()
        };
        let address = address.unwrap_or("null");
        let port = port.map_or("null".to_owned(), |port| port.to_string());
        let fd = fd.map_or("undefined".to_owned(), |fd| fd.to_string());
        Wish { listen, key: format!("{address}:{port}:{kind}:{fd}:{index}") }
    };
    let tcp = |port: u16, index| {
        wish(Some(port.into()), AddressType::Tcp4, None, index, "4")
    };
    let fd = |port| wish(port, AddressType::Unspecified, Some(3), 0, "null");
    let mut wishes = vec![
        tcp(3000, 0),
        tcp(0, 0),
        tcp(0, 1),
        wish(Some(-1), AddressType::Unix, None, 0, "-1"),
        wish(Some(0), AddressType::Udp4, Some(-1), 0, "udp4"),
        fd(None),
        fd(Some(PORTS.start.into())),
    ];
    wishes.extend(PORTS.map(|port| tcp(port, 0)));
    wishes
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Did {
    Start {
        slot: usize,
    },
    Online,
    SayReady,
    /// It was said to be ready, or is past its time.
    Settle,
    Get(ServerId),
    /// It does not get what it asked for.
    Lack(String, i32),
    Listen(String),
    Close(ServerId, String),
    /// The socket did not get there.
    Miss(ServerId),
    BeAdmitted,
    BeWithdrawn,
    Die,
    /// Not a worker: servers were looked at while one was empty.
    Look {
        slots: usize,
        deserted: BTreeSet<ServerId>,
    },
}

#[derive(Debug)]
struct Entry {
    at: Duration,
    worker: u32,
    did: Did,
}

#[derive(Debug)]
pub(super) struct Server {
    pub(super) id: ServerId,
    pub(super) wish: Wish,
    pub(super) data: Option<&'static str>,
    pub(super) bound: Option<SocketAddr>,
    pub(super) shared: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Fate {
    OnItsWay,
    Arrived,
    Over,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    pub(super) worker: u32,
    pub(super) server: ServerId,
    /// None: a shared socket.
    pub(super) number: Option<u64>,
    /// Of the query, or of the message that it came with.
    pub(super) seq: u64,
    pub(super) fate: Fate,
}

#[derive(Debug)]
pub(super) struct Model {
    pub(super) now: Duration,
    pub(super) boot: Duration,
    pub(super) wait_ready: bool,
    /// Those that are open, the oldest first.
    pub(super) servers: Vec<Server>,
    /// How many there have been.
    pub(super) opened: u32,
    /// Every descriptor that ever left.
    pub(super) sent: Vec<Sent>,
    diary: Vec<Entry>,
}

impl Model {
    pub(super) fn new(wait_ready: bool, boot: Duration) -> Model {
        Model {
            now: Duration::ZERO,
            boot,
            wait_ready,
            servers: Vec::new(),
            opened: 0,
            sent: Vec::new(),
            diary: Vec::new(),
        }
    }

    pub(super) fn note(&mut self, worker: u32, did: Did) {
        self.diary.push(Entry { at: self.now, worker, did });
    }

    /// The first `n` entries that are about this worker, the newest first.
    fn of(&self, worker: u32, n: usize) -> impl Iterator<Item = &Entry> {
        let all = self.diary[..n].iter().rev();
        all.filter(move |entry| entry.worker == worker)
    }

    /// What the newest entry that says something says, `n` entries on.
    fn last<T>(
        &self,
        worker: u32,
        n: usize,
        says: impl Fn(&Entry) -> Option<T>,
    ) -> Option<T> {
        self.of(worker, n).find_map(says)
    }

    fn did(&self, worker: u32, what: &Did) -> bool {
        self.of(worker, self.diary.len()).any(|entry| entry.did == *what)
    }

    pub(super) fn living(&self) -> Vec<u32> {
        let started = self
            .diary
            .iter()
            .filter(|entry| matches!(entry.did, Did::Start { .. }));
        let ids = started.map(|entry| entry.worker);
        ids.filter(|&id| !self.did(id, &Did::Die)).collect()
    }

    fn start(&self, worker: u32) -> (usize, usize) {
        let started = |entry: &Entry| match entry.did {
            Did::Start { slot } if entry.worker == worker => Some(slot),
            _ => None,
        };
        let mut all = self.diary.iter().enumerate();
        all.find_map(|(n, entry)| Some((n, started(entry)?))).unwrap()
    }

    pub(super) fn slot(&self, worker: u32) -> usize {
        self.start(worker).1
    }

    pub(super) fn admitted(&self, worker: u32) -> Option<Duration> {
        self.admitted_by(worker, self.diary.len())
    }

    fn admitted_by(&self, worker: u32, n: usize) -> Option<Duration> {
        let says = |entry: &Entry| match entry.did {
            Did::BeAdmitted => Some(Some(entry.at)),
            Did::BeWithdrawn | Did::Die => Some(None),
            _ => None,
        };
        self.last(worker, n, says).flatten()
    }

    pub(super) fn has(&self, worker: u32, server: ServerId) -> bool {
        self.had(worker, server, self.diary.len())
    }

    fn had(&self, worker: u32, server: ServerId, n: usize) -> bool {
        let says = |entry: &Entry| match &entry.did {
            Did::Get(it) if *it == server => Some(true),
            Did::Miss(it) | Did::Close(it, _) if *it == server => Some(false),
            Did::BeWithdrawn | Did::Die => Some(false),
            _ => None,
        };
        self.last(worker, n, says) == Some(true)
    }

    fn is_empty(&self, server: ServerId, n: usize) -> bool {
        let mut workers = self.diary[..n].iter().map(|entry| entry.worker);
        !workers.any(|worker| self.had(worker, server, n))
    }

    pub(super) fn listens(&self, worker: u32, key: &str) -> bool {
        self.listened(worker, key, self.diary.len())
    }

    fn listened(&self, worker: u32, key: &str, n: usize) -> bool {
        let says = |entry: &Entry| match &entry.did {
            Did::Listen(it) if it == key => Some(true),
            Did::Close(_, it) if it == key => Some(false),
            _ => None,
        };
        self.last(worker, n, says) == Some(true)
    }

    /// Whether a worker that begins in this slot, `n` entries on, is to have
    /// this server.
    fn is_wanted(&self, slot: usize, key: &str, n: usize) -> bool {
        let second = Duration::from_secs(1);
        for (n, entry) in self.diary[..n].iter().enumerate().rev() {
            if let Did::Look { slots, .. } = entry.did {
                if slot >= slots {
                    return false;
                }
                continue;
            }
            if self.slot(entry.worker) != slot {
                continue;
            }
            let admitted = self.admitted_by(entry.worker, n);
            match &entry.did {
                Did::BeAdmitted => return self.listened(entry.worker, key, n),
                Did::Listen(it)
                    if it == key
                        && admitted
                            .is_some_and(|at| entry.at < at + second) =>
                {
                    return true;
                }
                Did::Close(_, it) if it == key && admitted.is_some() => {
                    return false;
                }
                _ => {}
            }
        }
        false
    }

    /// Who takes the connections of a slot, `n` entries on.
    fn serving(&self, slot: usize, n: usize) -> Vec<u32> {
        let started = self.diary[..n].iter().filter(
            |entry| matches!(entry.did, Did::Start { slot: it } if it == slot),
        );
        let ids = started.map(|entry| entry.worker);
        ids.filter(|&id| self.admitted_by(id, n).is_some()).collect()
    }

    /// Those that do not.
    pub(super) fn heirs(&self, slot: usize) -> Vec<u32> {
        let mut ids = self.living();
        ids.retain(|&id| self.slot(id) == slot && self.admitted(id).is_none());
        ids
    }

    fn is_measure(&self, worker: u32, key: &str) -> bool {
        let (start, slot) = self.start(worker);
        let serving = self.serving(slot, start);
        let mut is = match serving.is_empty() {
            true => self.is_wanted(slot, key, start),
            false => serving.iter().any(|&it| self.listened(it, key, start)),
        };
        for (n, entry) in self.diary.iter().enumerate().skip(start) {
            let listens = match &entry.did {
                Did::Listen(it) if it == key => true,
                Did::Close(_, it) if it == key => false,
                _ => continue,
            };
            if entry.worker == worker {
                is = is && listens;
            } else if self.slot(entry.worker) == slot
                && self.admitted_by(entry.worker, n).is_some()
                && self.admitted_by(worker, n).is_none()
            {
                is = listens;
            }
        }
        is
    }

    pub(super) fn missing(&self, worker: u32) -> Vec<String> {
        let mut keys: Vec<_> =
            wishes().into_iter().map(|wish| wish.key).collect();
        keys.retain(|key| {
            self.is_measure(worker, key) && !self.listens(worker, key)
        });
        keys.sort();
        keys
    }

    fn is_mute(&self, worker: u32) -> bool {
        self.was_mute(worker, self.diary.len())
    }

    fn was_mute(&self, worker: u32, n: usize) -> bool {
        !wishes().iter().any(|wish| self.listened(worker, &wish.key, n))
    }

    /// What a worker was refused that has nothing, and why.
    pub(super) fn refused(&self, worker: u32) -> Option<(String, i32)> {
        let says = |entry: &Entry| match &entry.did {
            Did::Lack(key, errno) => Some(Some((key.clone(), *errno))),
            Did::Get(_) => Some(None),
            _ => None,
        };
        let refused = self.last(worker, self.diary.len(), says).flatten();
        let said = self.wait_ready && self.did(worker, &Did::SayReady);
        refused.filter(|_| self.is_mute(worker) && !said)
    }

    /// When a worker is given up that others may serve without.
    fn end_of_patience(&self, worker: u32) -> Option<Duration> {
        let mut all = self.diary.iter().enumerate().rev();
        let (n, entry) = all.find(|(_, entry)| {
            entry.worker == worker
                && matches!(
                    entry.did,
                    Did::Lack(..) | Did::Get(_) | Did::Listen(_)
                )
        })?;
        let hopeless = matches!(entry.did, Did::Lack(..))
            && !self.wait_ready
            && self.was_mute(worker, n)
            && !self.serving(self.slot(worker), n).is_empty();
        hopeless.then(|| entry.at + Duration::from_secs(2))
    }

    pub(super) fn is_settled(&self, worker: u32) -> bool {
        self.did(worker, &Did::Settle)
    }

    pub(super) fn is_ready(&self, worker: u32) -> bool {
        self.missing(worker).is_empty()
            && match self.wait_ready {
                true => self.did(worker, &Did::SayReady),
                false => !self.is_mute(worker),
            }
    }

    /// Whether a worker whose time is over may go on as it is.
    pub(super) fn is_of_use(&self, worker: u32) -> bool {
        let keys = wishes().into_iter().map(|wish| wish.key);
        let mut measures = keys.filter(|key| self.is_measure(worker, key));
        self.did(worker, &Did::Online)
            && (!self.wait_ready || self.did(worker, &Did::SayReady))
            && (!self.is_mute(worker) || measures.next().is_none())
    }

    /// Whether this is another word for what the server was asked for with.
    pub(super) fn is_called(&self, server: &Server, by: &Listen<'_>) -> bool {
        let asked = &server.wish.listen;
        let same = asked.address == by.address
            && asked.address_type == by.address_type
            && asked.fd == by.fd;
        let exact = asked.index == by.index && asked.port == by.port;
        let real = server.bound.map(|bound| i32::from(bound.port()));
        let left_open = asked.port.is_none_or(|port| port == 0);
        same && (exact || left_open && real.is_some() && real == by.port)
    }

    /// How long a server is kept once nobody wants it.
    fn keep(&self, server: ServerId) -> Duration {
        for (n, entry) in self.diary.iter().enumerate().rev() {
            let had = |id| self.had(entry.worker, id, n);
            match &entry.did {
                Did::Close(it, _) => {
                    let gets = self.of(entry.worker, n);
                    let mut gets = gets.filter_map(|entry| match entry.did {
                        Did::Get(id) => Some(id),
                        _ => None,
                    });
                    let has_any =
                        gets.any(|id| self.had(entry.worker, id, n + 1));
                    if !has_any && self.is_empty(server, n + 1) {
                        return self.boot;
                    }
                    if *it == server && had(server) {
                        return Duration::from_secs(1);
                    }
                }
                Did::BeWithdrawn | Did::Die if had(server) => {
                    return self.boot;
                }
                _ => {}
            }
        }
        self.boot
    }

    /// Since when nobody has it and nobody is expected to want it.
    fn deserted(&self, server: ServerId) -> Option<Duration> {
        let mut since = None;
        for entry in self.diary.iter().rev() {
            match &entry.did {
                Did::Get(it) if *it == server => break,
                Did::Look { deserted, .. } => {
                    if !deserted.contains(&server) {
                        break;
                    }
                    since = Some(entry.at);
                }
                _ => {}
            }
        }
        since
    }

    fn due(&self, server: ServerId) -> Option<Duration> {
        Some(self.deserted(server)? + self.keep(server))
    }

    /// Looks at the servers. Takes out those whose time is over.
    pub(super) fn look(&mut self, slots: usize, awaited: bool) -> Vec<Server> {
        let n = self.diary.len();
        let ids = self.servers.iter().map(|server| server.id);
        if !ids.clone().any(|id| self.is_empty(id, n)) {
            return Vec::new();
        }
        let is_deserted = |server: &&Server| {
            let key = &server.wish.key;
            let wanted = (0..slots).any(|slot| self.is_wanted(slot, key, n));
            !awaited && !wanted && self.is_empty(server.id, n)
        };
        let deserted = self.servers.iter().filter(is_deserted);
        let deserted = deserted.map(|server| server.id).collect();
        self.note(0, Did::Look { slots, deserted });
        let over: BTreeSet<ServerId> = self
            .servers
            .iter()
            .map(|server| server.id)
            .filter(|&id| self.due(id).is_some_and(|due| due <= self.now))
            .collect();
        self.servers.extract_if(.., |it| over.contains(&it.id)).collect()
    }

    /// Workers whose time to become ready is over.
    pub(super) fn late(&self) -> Vec<u32> {
        let mut late = self.living();
        late.retain(|&it| {
            !self.is_settled(it) && self.judgement(it) <= self.now
        });
        late
    }

    fn judgement(&self, worker: u32) -> Duration {
        let boot = self.diary[self.start(worker).0].at + self.boot;
        self.end_of_patience(worker).map_or(boot, |at| at.min(boot))
    }

    pub(super) fn deadline(&self) -> Option<Duration> {
        let workers = self.living().into_iter();
        let waiting = workers.filter(|&it| !self.is_settled(it));
        let judged = waiting.map(|it| self.judgement(it));
        let due = self.servers.iter().filter_map(|it| self.due(it.id));
        judged.chain(due).min()
    }

    /// The oldest descriptor of a worker with such a fate.
    pub(super) fn oldest(
        &mut self,
        worker: u32,
        is_it: impl Fn(Fate) -> bool,
    ) -> Option<&mut Sent> {
        let mut sent = self.sent.iter_mut();
        sent.find(|sent| sent.worker == worker && is_it(sent.fate))
    }
}
