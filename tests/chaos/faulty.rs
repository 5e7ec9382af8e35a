//! A server that does wrong on purpose, and knows how often: what the books
//! are set against.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What it does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Deed {
    /// Answers, as one should.
    Answers,
    /// Answers, says that it will close, and does.
    SaysGoodbye,
    /// Answers and closes without a word.
    LeavesIdle,
    /// Closes at once.
    DropsAtOnce,
    /// Takes its time, and closes.
    Drops,
    /// Closes so that the client hears a reset.
    Resets,
    /// Closes in the middle of the head.
    CutsHead,
    /// Closes in the middle of the body.
    CutsBody,
    /// Answers with the token of another.
    MixesUp,
    /// Answers 503, with the right token.
    Declines,
    /// Says what is no HTTP.
    Babbles,
    /// Answers twice at a time.
    Stutters,
    /// Answers, and once more after a while.
    Repeats,
    /// Says nothing.
    Hangs,
    /// Says half, and then nothing.
    HangsHalfway,
    /// Answers, says that it will close, and does not.
    Clings,
}

/// A while: longer than a close that crosses a request, shorter than the
/// pause of any client.
const WHILE: Duration = Duration::from_millis(20);

/// It listens until this is dropped.
pub(crate) struct FaultyServer {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    plan: Box<dyn Fn(usize) -> Deed + Send + Sync>,
    requests: AtomicUsize,
    /// By deed, and by whether the client asked for the close.
    done: Mutex<BTreeMap<(Deed, bool), usize>>,
    over: AtomicBool,
}

impl FaultyServer {
    /// One that decides by the number of the request, from 0.
    pub(crate) fn start(
        plan: impl Fn(usize) -> Deed + Send + Sync + 'static,
    ) -> FaultyServer {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            plan: Box::new(plan),
            requests: AtomicUsize::new(0),
            done: Mutex::default(),
            over: AtomicBool::new(false),
        });
        let faulty = FaultyServer { address, shared: Arc::clone(&shared) };
        thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.over.load(Relaxed) {
                    break;
                }
                let shared = Arc::clone(&shared);
                thread::spawn(move || shared.converse(stream.unwrap()));
            }
        });
        faulty
    }

    /// How often it did one of these, to requests that asked for the close
    /// or to those that did not.
    pub(crate) fn did(&self, deeds: &[Deed], last: &[bool]) -> usize {
        let done = self.shared.done.lock().unwrap();
        let wanted = done
            .iter()
            .filter(|((deed, l), _)| deeds.contains(deed) && last.contains(l));
        wanted.map(|(_, count)| count).sum()
    }
}

impl Drop for FaultyServer {
    fn drop(&mut self) {
        self.shared.over.store(true, Relaxed);
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    /// The life of a connection.
    fn converse(&self, mut stream: TcpStream) {
        stream.set_nodelay(true).unwrap();
        while let Some(request) = peek(&stream) {
            let number = self.requests.fetch_add(1, Relaxed);
            let deed = (self.plan)(number);
            let last = request.contains("Connection: close");
            *self.done.lock().unwrap().entry((deed, last)).or_default() += 1;
            // Whatever fails, the client has gone.
            if !matches!(act(deed, &request, last, &mut stream), Ok(true)) {
                return;
            }
        }
    }
}

/// The next request, left where it is. `None`: there is none.
fn peek(stream: &TcpStream) -> Option<String> {
    let mut buffer = [0; 512];
    loop {
        let count = stream.peek(&mut buffer).ok().filter(|n| *n > 0)?;
        let text = String::from_utf8_lossy(&buffer[..count]);
        if text.ends_with("\r\n\r\n") {
            return Some(text.into_owned());
        }
    }
}

/// Whether the connection goes on.
fn act(
    deed: Deed,
    request: &str,
    last: bool,
    stream: &mut TcpStream,
) -> io::Result<bool> {
    if deed == Deed::Resets {
        // Whoever closes with something unread resets (RFC 9293, 3.10.4).
        thread::sleep(WHILE);
        return Ok(false);
    }
    stream.read_exact(&mut vec![0; request.len()])?;
    let token = request.split(['?', ' ']).nth(2).unwrap_or_default();
    let right = answer("200 OK", token, last);
    let (half, _) = right.split_at(right.len() - 1);
    let mut say = |text: &str| stream.write_all(text.as_bytes());
    match deed {
        Deed::Answers => {
            say(&right)?;
            return Ok(!last);
        }
        Deed::SaysGoodbye => say(&answer("200 OK", token, true))?,
        Deed::LeavesIdle => say(&right)?,
        Deed::DropsAtOnce | Deed::Resets => {}
        Deed::Drops => thread::sleep(WHILE),
        Deed::CutsHead => say(&right[..20])?,
        Deed::CutsBody => say(half)?,
        Deed::MixesUp => say(&answer("200 OK", "token-", last))?,
        Deed::Declines => say(&answer("503 Unavailable", token, last))?,
        Deed::Babbles => say("\r\n\r\n")?,
        Deed::Stutters => say(&right.repeat(2))?,
        Deed::Repeats => {
            say(&right)?;
            thread::sleep(WHILE);
            say(&right)?;
            return Ok(!last);
        }
        Deed::Hangs => await_end(stream),
        Deed::HangsHalfway => {
            say(half)?;
            await_end(stream);
        }
        Deed::Clings => {
            say(&answer("200 OK", token, true))?;
            await_end(stream);
        }
    }
    Ok(false)
}

fn await_end(stream: &mut TcpStream) {
    let _ = stream.read(&mut [0]);
}

fn answer(status: &str, body: &str, close: bool) -> String {
    let length = body.len();
    let close = if close { "Connection: close\r\n" } else { "" };
    format!(
        "HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{close}\r\n{body}"
    )
}
