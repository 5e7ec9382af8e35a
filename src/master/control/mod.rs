//! The master's control socket: how the master listens to its operators
//! without ever waiting for one.
//!
//! ```text
//!   Source::Control       ──▶ accept ──┐
//!                                      ├──▶ a request ─▶ the master
//!   Source::ControlClient ──▶ attend ──┘      │ execute     │
//!                                             ▼             │
//!   time ──▶ expire ──▶ dismiss ◀── answer, report ◀────────┘
//! ```
//!
//! Its clients are sources in the one loop like all others. They are few, the
//! line of each is short, and each has its time; what one says wrong costs
//! that client its connection. What is said is a matter of
//! [`crate::control`], and what is done about it of the master's `commands`.

mod client;
mod socket;

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use log::{debug, error, warn};

use self::client::{Client, Heard};
use self::socket::{Peer, Socket};
use super::poller::{Poller, Source};
use super::supervisor::{Abandon, Report};
use crate::config;
use crate::control::{Reply, Request};
use crate::error::Error;
use crate::gate::Gate;
use crate::slab::Key;
use crate::sys;
use crate::sys::epoll::Interest;
use crate::sys::lock;

/// Clients at a time. Others wait in the kernel's queue.
pub(super) const CLIENTS: usize = 16;

/// Clients that may wait for the end of a reload, so that there is always
/// room for one that only asks how things are.
const WAITING: usize = CLIENTS / 2;

/// How long a client may take for its line, and for ours.
const PATIENCE: Duration = Duration::from_secs(5);

/// The same while there are as many clients as there may be.
const LITTLE_PATIENCE: Duration = Duration::from_millis(100);

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Control {
    wanted: config::Control,
    listening: Option<Listening>,
    clients: Vec<(Key, Client)>,
    /// How the last reload ended.
    last_reload: Option<String>,
}

/// The listening socket.
#[derive(Debug)]
struct Listening {
    socket: Socket,
    key: Key,
    gate: Gate,
}

/// What fails here costs the master nothing but an operator.
fn note(result: sys::Result<()>) {
    if let Err(error) = result {
        error!("the control socket: {error}");
    }
}

/// The socket.
impl Control {
    /// Not open yet.
    pub(super) fn new(wanted: config::Control) -> Control {
        let clients = Vec::new();
        Control { wanted, listening: None, clients, last_reload: None }
    }

    /// Opens the control socket. If a `previous` master has one at that path,
    /// this one takes its place. `is_own`: a path is one of our own listeners.
    /// `turn` locks the folder of a path: one that serves waits for nobody.
    /// The error is of a path that was typed; where none was, the master goes
    /// on without a control socket.
    pub(super) fn open(
        &mut self,
        previous: bool,
        is_own: impl Fn(&Path) -> bool,
        turn: fn(&Path) -> Option<OwnedFd>,
        poller: &mut Poller,
    ) -> Result<(), Error> {
        let socket = match &self.wanted {
            config::Control::Off => return Ok(()),
            config::Control::Default => match Socket::bind_somewhere(turn) {
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
                let _turn = turn(path);
                if !previous && socket::is_in_use(path) {
                    return Err(match is_own(path) {
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
        let key =
            poller.add(socket.as_fd(), Interest::Read, Source::Control)?;
        let gate = Gate::new();
        self.listening = Some(Listening { socket, key, gate });
        Ok(())
    }

    /// Opens the socket anew if a new master has put its own at that path,
    /// and has come to nothing.
    pub(super) fn restore(&mut self, poller: &mut Poller) {
        let socket = self.listening.as_ref().map(|open| &open.socket);
        if socket.is_none_or(Socket::is_in_place) {
            return;
        }
        self.close(poller);
        let turn = lock::folder_if_free;
        if let Err(error) = self.open(false, |_| false, turn, poller) {
            warn!("{error}");
        }
    }

    /// Accepts nobody any more, and removes the file: whoever wants something
    /// has to ask another master, or there is none. Clients that are there
    /// may stay.
    pub(super) fn close(&mut self, poller: &mut Poller) {
        let Some(Listening { socket, key, .. }) = self.listening.take() else {
            return;
        };
        poller.remove(socket.as_fd(), key);
        let name = socket.to_string();
        if let Err(error) = socket.close() {
            warn!("cannot remove the control socket {name}: {error}");
        }
    }

    /// Accepts whoever comes, as long as there may be more clients.
    fn arm(&mut self, poller: &Poller, now: Instant) {
        let full = self.is_full();
        let Some(listening) = &mut self.listening else { return };
        if let Some(interest) = listening.gate.set(!full, now) {
            let Listening { socket, key, .. } = listening;
            note(poller.set(socket.as_fd(), *key, interest));
        }
    }
}

/// Its clients.
impl Control {
    /// Accepts clients until one has said what it wants, or none is left.
    pub(super) fn accept(
        &mut self,
        poller: &mut Poller,
        now: Instant,
    ) -> Option<(Key, Request)> {
        while !self.is_full()
            && let Some(listening) = &mut self.listening
        {
            match listening.socket.accept() {
                Ok(Some(peer)) => {
                    listening.gate.works();
                    let asked = self.receive(peer, poller, now);
                    if asked.is_some() {
                        return asked;
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    if listening.gate.pause(now) {
                        warn!("the control socket pauses: {error}");
                    }
                    break;
                }
            }
        }
        self.arm(poller, now);
        None
    }

    fn receive(
        &mut self,
        peer: Peer,
        poller: &mut Poller,
        now: Instant,
    ) -> Option<(Key, Request)> {
        let (socket, allowed) = match peer {
            Peer::Allowed(socket) => (socket, true),
            Peer::Denied(socket) => (socket, false),
        };
        let source = Source::ControlClient;
        let added = poller.add(socket.as_fd(), Interest::Read, source);
        let key = added.map_err(|error| note(Err(error))).ok()?;
        self.clients.push((key, Client::new(socket, now)));
        if allowed {
            // The line is usually there already.
            return self.attend(key, false, poller, now);
        }
        let why = "only root and the master's own user may ask";
        self.answer(key, &Reply::Error(why.to_owned()), poller, now);
        None
    }

    /// Something about a client: what it asks for, once its line is complete.
    /// `gone` says that the client has closed its socket.
    pub(super) fn attend(
        &mut self,
        key: Key,
        gone: bool,
        poller: &mut Poller,
        now: Instant,
    ) -> Option<(Key, Request)> {
        match self.get_mut(key)?.attend(gone) {
            Heard::Nothing => {}
            Heard::End => self.dismiss(key, poller, now),
            Heard::Request(Ok(request)) => return Some((key, request)),
            Heard::Request(Err(error)) => {
                let reply = Reply::Error(error.to_string());
                self.answer(key, &reply, poller, now);
            }
        }
        None
    }

    /// Answers a client, and ends its connection.
    pub(super) fn answer(
        &mut self,
        key: Key,
        reply: &Reply,
        poller: &mut Poller,
        now: Instant,
    ) {
        let Some(client) = self.get_mut(key) else { return };
        if client.answer(reply, now) {
            self.watch(key, poller);
        } else {
            self.dismiss(key, poller, now);
        }
    }

    /// Has a client wait for the end of the reload to this generation.
    ///
    /// # Errors
    /// Too many wait already; it says so.
    pub(super) fn wait(
        &mut self,
        key: Key,
        generation: u32,
        poller: &Poller,
    ) -> Result<(), String> {
        if self.waiting(u32::MAX).len() >= WAITING {
            return Err(format!("{WAITING} others wait for a reload already"));
        }
        if let Some(client) = self.get_mut(key) {
            client.wait(generation);
        }
        self.watch(key, poller);
        Ok(())
    }

    /// Tells those who wait for a reload how it ended.
    pub(super) fn report(
        &mut self,
        report: &Report,
        poller: &mut Poller,
        now: Instant,
    ) {
        let (generation, reply) = match report {
            Report::ReloadFinished { generation } => {
                (*generation, Reply::Done(report.to_string()))
            }
            // Nor will the one come that was to follow it.
            Report::ReloadAbandoned { why: Abandon::Stopping, .. } => {
                (u32::MAX, Reply::Error(report.to_string()))
            }
            Report::ReloadAbandoned { generation, .. } => {
                (*generation, Reply::Error(report.to_string()))
            }
            Report::ReloadBegan { .. }
            | Report::Degraded { .. }
            | Report::Recovered => return,
        };
        self.last_reload = Some(report.to_string());
        for key in self.waiting(generation) {
            self.answer(key, &reply, poller, now);
        }
    }

    /// How the last reload ended, if there was one.
    pub(super) fn last_reload(&self) -> Option<&str> {
        self.last_reload.as_deref()
    }

    /// Those who wait for the end of a reload up to this generation.
    fn waiting(&self, generation: u32) -> Vec<Key> {
        let clients = self.clients.iter().filter(|(_, client)| {
            client.awaited().is_some_and(|awaited| awaited <= generation)
        });
        clients.map(|(key, _)| *key).collect()
    }

    fn watch(&mut self, key: Key, poller: &Poller) {
        if let Some(client) = self.get_mut(key) {
            note(poller.set(client.as_fd(), key, client.interest()));
        }
    }

    /// Ends a client's connection, and lets the next one in.
    fn dismiss(&mut self, key: Key, poller: &mut Poller, now: Instant) {
        let gone = self.clients.extract_if(.., |(at, _)| *at == key);
        gone.for_each(|(key, client)| poller.remove(client.as_fd(), key));
        self.arm(poller, now);
    }

    fn get_mut(&mut self, key: Key) -> Option<&mut Client> {
        let mut clients = self.clients.iter_mut();
        clients.find(|(at, _)| *at == key).map(|(_, client)| client)
    }

    fn is_full(&self) -> bool {
        self.clients.len() >= CLIENTS
    }
}

/// Time.
impl Control {
    /// When a client is late, or a pause over.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let clients = self.clients.iter();
        let since = clients.filter_map(|(_, client)| client.since());
        let late = since.map(|since| since + self.patience());
        let pause = self.listening.as_ref().and_then(|it| it.gate.deadline());
        late.chain(pause).min()
    }

    /// Ends what has taken too long: clients, and a pause.
    pub(super) fn tick(&mut self, poller: &mut Poller, now: Instant) {
        let patience = self.patience();
        let clients = self.clients.iter().filter(|(_, client)| {
            client.since().is_some_and(|since| since + patience <= now)
        });
        let late: Vec<Key> = clients.map(|(key, _)| *key).collect();
        for key in late {
            self.dismiss(key, poller, now);
        }
        self.arm(poller, now);
    }

    fn patience(&self) -> Duration {
        if self.is_full() { LITTLE_PATIENCE } else { PATIENCE }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::epoll::Events;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    use std::path::PathBuf;

    fn path(name: &str) -> PathBuf {
        let pid = std::process::id();
        std::env::temp_dir().join(format!("handoff-control-{name}-{pid}"))
    }

    fn open(name: &str) -> (Control, Poller, PathBuf) {
        let (path, mut poller) = (path(name), Poller::new().unwrap());
        let mut control = Control::new(config::Control::At(path.clone()));
        control.open(false, |_| false, lock::folder_of, &mut poller).unwrap();
        (control, poller, path)
    }

    fn client(path: &PathBuf, line: &str) -> UnixStream {
        let mut client = UnixStream::connect(path).unwrap();
        client.write_all(line.as_bytes()).unwrap();
        let time = Some(Duration::from_secs(10));
        client.set_read_timeout(time).unwrap();
        client
    }

    fn answer(mut client: UnixStream) -> String {
        let mut text = String::new();
        client.read_to_string(&mut text).unwrap();
        text
    }

    const RELOAD: &str = "{\"command\":\"reload\"}\n";

    #[test]
    fn a_request_is_handed_out_and_its_client_is_answered_once() {
        let (mut control, mut poller, path) = open("asks");
        let now = Instant::now();
        let stop = client(&path, "{\"command\":\"stop\"}\n");
        let asked = control.accept(&mut poller, now);
        let Some((key, Request::Stop)) = asked else { panic!("{asked:?}") };
        assert!(control.accept(&mut poller, now).is_none());
        let reply = Reply::Done("stopping".to_owned());
        control.answer(key, &reply, &mut poller, now);
        assert!(answer(stop).contains("stopping"));
        assert!(control.clients.is_empty());
        control.close(&mut poller);
        assert!(!path.exists());
    }

    #[test]
    fn what_is_no_request_is_answered_and_handed_to_nobody() {
        let (mut control, mut poller, path) = open("nonsense");
        let nonsense = client(&path, "dance\n");
        assert!(control.accept(&mut poller, Instant::now()).is_none());
        assert!(answer(nonsense).contains("error"));
        control.close(&mut poller);
    }

    #[test]
    fn whoever_waits_hears_of_a_reload_up_to_its_own_and_not_of_others() {
        let (mut control, mut poller, path) = open("waits");
        let now = Instant::now();
        let mut waiting = Vec::new();
        for generation in [2, 3] {
            waiting.push(client(&path, RELOAD));
            let (key, _) = control.accept(&mut poller, now).unwrap();
            control.wait(key, generation, &poller).unwrap();
        }
        let finished = Report::ReloadFinished { generation: 2 };
        control.report(&finished, &mut poller, now);
        assert!(answer(waiting.remove(0)).contains("finished"));
        assert_eq!(control.waiting(u32::MAX).len(), 1);
        let (generation, why) = (3, Abandon::Stopping);
        let stopped = Report::ReloadAbandoned { generation, why };
        control.report(&stopped, &mut poller, now);
        assert!(answer(waiting.remove(0)).contains("abandoned"));
        assert_eq!(control.last_reload(), Some(&*stopped.to_string()));
        control.close(&mut poller);
    }

    #[test]
    fn half_of_the_clients_may_wait_for_a_reload() {
        let (mut control, mut poller, path) = open("crowd");
        let now = Instant::now();
        let mut clients = Vec::new();
        for number in 0..=WAITING {
            clients.push(client(&path, RELOAD));
            let (key, _) = control.accept(&mut poller, now).unwrap();
            let waits = control.wait(key, 2, &poller).is_ok();
            assert_eq!(waits, number < WAITING);
        }
        control.close(&mut poller);
    }

    #[test]
    fn silent_clients_are_dismissed_sooner_when_there_is_no_room() {
        let (mut control, mut poller, path) = open("silent");
        let now = Instant::now();
        let mut clients: Vec<UnixStream> =
            (1..CLIENTS).map(|_| client(&path, "")).collect();
        assert!(control.accept(&mut poller, now).is_none());
        assert_eq!(control.deadline(), Some(now + PATIENCE));
        clients.extend((0..2).map(|_| client(&path, "")));
        assert!(control.accept(&mut poller, now).is_none());
        assert_eq!(control.deadline(), Some(now + LITTLE_PATIENCE));
        let mut events = Events::with_capacity(CLIENTS);
        poller.wait(&mut events, Some(Duration::ZERO)).unwrap();
        assert_eq!(events.len(), 0, "the one without room wakes nobody");
        control.tick(&mut poller, now + LITTLE_PATIENCE);
        assert!(control.clients.is_empty());
        poller.wait(&mut events, None).unwrap();
        assert_eq!(events.len(), 1, "the next one is let in");
        control.close(&mut poller);
    }
}
