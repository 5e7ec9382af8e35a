//! Many clients, and an exact account of what became of every request.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::http::{self, Connection, Lost, Place, Response};
use super::{PATIENCE, wait_until, within};

/// What a client that was refused waits before it tries again.
const PAUSE: Duration = Duration::from_millis(10);

/// What became of all requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) ok: usize,
    /// Answered, but not with what was asked for.
    pub(crate) wrong: usize,
    /// Nobody listened.
    pub(crate) refused: usize,
    /// Ended before the first byte of an answer.
    pub(crate) reset: usize,
    /// The same on a connection that had been used before: its close may
    /// have crossed the request, which the client repeats (RFC 9112 §9.3.1).
    pub(crate) crossed: usize,
    /// Ended in the middle of an answer.
    pub(crate) truncated: usize,
    pub(crate) timed_out: usize,
}

impl Tally {
    /// Requests that were accepted and not answered.
    pub(crate) fn lost(&self) -> usize {
        self.reset + self.crossed + self.truncated
    }

    /// What never may happen, whoever dies: a wrong answer, nobody there, or
    /// nothing at all.
    pub(crate) fn unforgivable(&self) -> usize {
        self.wrong + self.refused + self.timed_out
    }
}

/// Clients that ask one request after the other. Every other client keeps
/// its connection, every other request takes 20 ms.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    tally: Arc<Mutex<Tally>>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    /// Returns when the first requests have been answered.
    pub(crate) fn start(place: &Place, clients: usize) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let tally = Arc::new(Mutex::new(Tally::default()));
        let clients = (0..clients)
            .map(|number| {
                let mut client = Client {
                    number,
                    place: place.clone(),
                    kept: None,
                    tally: Arc::clone(&tally),
                };
                let stop = Arc::clone(&stop);
                thread::spawn(move || {
                    let mut requests = 0..;
                    while !stop.load(Relaxed) {
                        client.ask(requests.next().unwrap());
                    }
                })
            })
            .collect();
        let load = Load { stop, tally, clients };
        load.wait_for(50);
        load
    }

    pub(crate) fn so_far(&self) -> Tally {
        *self.tally.lock().unwrap()
    }

    /// Waits until so many more requests have been answered.
    pub(crate) fn wait_for(&self, more: usize) {
        let goal = self.so_far().ok + more;
        wait_until(&format!("{more} more requests are answered"), || {
            self.so_far().ok >= goal
        });
    }

    /// Lets every client finish its request.
    pub(crate) fn finish(mut self) -> Tally {
        self.stop.store(true, Relaxed);
        for client in self.clients.drain(..) {
            client.join().unwrap();
        }
        let tally = self.so_far();
        println!("{tally:?}");
        tally
    }
}

impl Drop for Load {
    /// For a test that fails: the clients must not go on beside the others.
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
    }
}

/// Clients that all come at once with one request each.
pub(crate) struct Crowd {
    sent: Arc<AtomicUsize>,
    answered: Arc<AtomicUsize>,
    leave: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Result<Response, Lost>>>,
}

impl Crowd {
    /// They leave with their answer.
    pub(crate) fn ask(place: &Place, clients: usize, target: &str) -> Crowd {
        Crowd::hold(place, clients, target).release()
    }

    /// The same, as a way to begin.
    pub(crate) fn asking(target: &str) -> impl Fn(&Place, usize) -> Crowd {
        move |place, clients| Crowd::ask(place, clients, target)
    }

    /// They have their connections open until they are told to leave.
    pub(crate) fn hold(place: &Place, clients: usize, target: &str) -> Crowd {
        let request = format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n");
        Crowd::start(place, clients, request, "")
    }

    /// They send a part of their requests, and the rest when they are told to
    /// leave: so long their workers have them in hand.
    pub(crate) fn upload(place: &Place, clients: usize) -> Crowd {
        let head = "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4";
        Crowd::start(place, clients, format!("{head}\r\n\r\nbo"), "dy")
    }

    fn start(
        place: &Place,
        clients: usize,
        request: String,
        rest: &'static str,
    ) -> Crowd {
        let (sent, answered) = (Arc::default(), Arc::default());
        let leave = Arc::new(AtomicBool::new(false));
        let mut crowd = Crowd { sent, answered, leave, clients: vec![] };
        for _ in 0..clients {
            let (place, request) = (place.clone(), request.clone());
            let (sent, answered) =
                (crowd.sent.clone(), crowd.answered.clone());
            let leave = crowd.leave.clone();
            let leave = move || within(PATIENCE, || leave.load(Relaxed));
            crowd.clients.push(thread::spawn(move || {
                let mut connection = Connection::open(&place)?;
                connection.send(request.as_bytes())?;
                sent.fetch_add(1, Relaxed);
                if !rest.is_empty() {
                    leave();
                    connection.send(rest.as_bytes())?;
                }
                let response = connection.receive()?;
                answered.fetch_add(1, Relaxed);
                leave();
                Ok(response)
            }));
        }
        crowd
    }

    /// Waits until all have sent what they send at first: so far the kernel
    /// has it, if nobody else.
    pub(crate) fn wait_until_sent(&self) {
        wait_until("all have sent their requests", || {
            self.sent.load(Relaxed) == self.clients.len()
        });
    }

    /// Who has an answer leaves.
    pub(crate) fn release(self) -> Crowd {
        self.leave.store(true, Relaxed);
        self
    }

    pub(crate) fn answered(&self) -> usize {
        self.answered.load(Relaxed)
    }

    /// What became of all, once every one has an answer or has given up.
    pub(crate) fn finish(mut self) -> Vec<Result<Response, Lost>> {
        self.clients.drain(..).map(|one| one.join().unwrap()).collect()
    }

    /// Fails unless each was answered with 200.
    pub(crate) fn expect_all_answered(self) {
        for result in self.finish() {
            let status = result.map(|response| response.status);
            assert_eq!(status, Ok(200));
        }
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.leave.store(true, Relaxed);
    }
}

struct Client {
    number: usize,
    place: Place,
    kept: Option<Connection>,
    tally: Arc<Mutex<Tally>>,
}

impl Client {
    /// One request with a text of its own, so that an answer that was meant
    /// for another is noticed.
    fn ask(&mut self, request: usize) {
        let text = format!("client-{}-request-{request}", self.number);
        let target = match request % 2 {
            0 => format!("/echo?{text}"),
            _ => format!("/sleep/20?{text}"),
        };
        let reused = self.kept.is_some();
        let result = match self.number % 2 {
            0 => http::ask(&self.place, &target),
            _ => self.ask_on_kept(&target),
        };
        let mut tally = self.tally.lock().unwrap();
        let counter = match &result {
            Ok(response) if response.body == text.as_bytes() => &mut tally.ok,
            Ok(_) | Err(Lost::Nonsense(_)) => {
                println!("client {}: {result:?}", self.number);
                &mut tally.wrong
            }
            Err(Lost::Refused) => &mut tally.refused,
            Err(Lost::Reset) if reused => &mut tally.crossed,
            Err(Lost::Reset) => &mut tally.reset,
            Err(Lost::Truncated) => &mut tally.truncated,
            Err(Lost::TimedOut) => &mut tally.timed_out,
        };
        *counter += 1;
        drop(tally);
        if matches!(result, Err(Lost::Refused)) {
            thread::sleep(PAUSE);
        }
    }

    fn ask_on_kept(&mut self, target: &str) -> Result<http::Response, Lost> {
        let mut connection = match self.kept.take() {
            Some(connection) => connection,
            None => Connection::open(&self.place)?,
        };
        let response = connection.get(target)?;
        if !response.closes() {
            self.kept = Some(connection);
        }
        Ok(response)
    }
}
