//! Every request bears a tag of its own, in its path, a field and its body,
//! and so does its answer. Meanwhile workers are killed and dismissed, and
//! the master reloads and is replaced.
//!
//! A client may be told that its request is lost (502), or find its
//! connection closed. What it may not find, in no byte that comes, is the tag
//! of another request than the one whose turn it is.

use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::server::{Server, program};
use crate::common::{process, wait_until};

const CLIENTS: u16 = 6;
const WORKERS: &str = "3";

/// Between two signals.
const PAUSE: Duration = Duration::from_millis(60);

/// A client that hears nothing for so long calls it a hang.
const PATIENCE: Duration = Duration::from_secs(30);

/// Whom a signal is sent to.
#[derive(Clone, Copy, Debug)]
enum To {
    Worker,
    Master,
}

const SIGNALS: [(&str, To); 5] = [
    ("KILL", To::Worker),
    ("SEGV", To::Worker),
    ("TERM", To::Worker),
    ("HUP", To::Master),
    ("USR2", To::Master),
];

/// A sequence of numbers that only its seed decides (xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % most as u64) as usize
    }

    fn of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }
}

/// What came of all requests of a client.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    right: usize,
    /// 502.
    lost: usize,
    /// Their connection was closed.
    cut: usize,
    /// Left in the middle, by the client.
    left: usize,
}

/// Lets the clients talk and the signals rain for so long, and fails if
/// anybody hears what is not his.
pub(crate) fn rage(time: Duration, seed: u64) {
    let server = Server::start(program("tags", WORKERS));
    let place = server.place().address();
    let stop = AtomicBool::new(false);
    let (tallies, struck) = thread::scope(|scope| {
        let stop = &stop;
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| scope.spawn(move || talk(place, number, seed, stop)))
            .collect();
        // Whatever happens here, the clients are not to talk for ever.
        let struck = thread::scope(|scope| {
            scope.spawn(|| strike(&server, time, seed)).join()
        });
        stop.store(true, Relaxed);
        let tallies: Vec<_> =
            clients.into_iter().map(|client| client.join()).collect();
        (tallies, struck)
    });
    end(&server);
    let log = server.log();
    assert!(!log.contains("mixed: "), "a handler has seen a mixture\n{log}");
    let tallies: Result<Vec<Tally>, _> = tallies.into_iter().collect();
    let tallies = tallies.expect("each client hears what is his");
    let sum = |of: fn(&Tally) -> usize| tallies.iter().map(of).sum::<usize>();
    let struck = struck.expect("the signals are sent");
    let (right, lost) = (sum(|one| one.right), sum(|one| one.lost));
    let (cut, left) = (sum(|one| one.cut), sum(|one| one.left));
    println!(
        "{right} right, {lost} lost, {cut} cut off, {left} left by their \
         clients; {struck:?}"
    );
    // Else it has tried nothing.
    assert!(right > 20 * (cut + lost) && right > 300, "too few answers");
    assert!(left > 0 && struck.iter().all(|(_, count)| *count > 0));
}

/// One signal after the other, each kind in turn and each time somebody else.
/// How many there were of each.
fn strike(
    server: &Server,
    time: Duration,
    seed: u64,
) -> Vec<(&'static str, usize)> {
    let mut dice = Dice(seed);
    let mut struck: Vec<_> =
        SIGNALS.iter().map(|(name, _)| (*name, 0)).collect();
    let start = Instant::now();
    for round in 0.. {
        if start.elapsed() > time {
            break;
        }
        thread::sleep(PAUSE);
        let masters = masters(server);
        let (name, to) = SIGNALS[round % SIGNALS.len()];
        let victims = match to {
            // A second one would find the first still at it.
            To::Master if name == "USR2" && masters.len() > 1 => continue,
            To::Master => masters,
            To::Worker => workers(&masters),
        };
        if victims.is_empty() {
            continue;
        }
        let victim = dice.of(&victims);
        process::signal(name, &[victim]);
        if name == "SEGV" {
            // Rust's own handler lets the first pass that no access to
            // memory has caused.
            process::signal(name, &[victim]);
        }
        struck[round % SIGNALS.len()].1 += 1;
    }
    struck
}

/// Those that have children.
fn masters(server: &Server) -> Vec<u32> {
    let mut all = server.processes();
    all.retain(|pid| !process::children(*pid).is_empty());
    all
}

fn workers(masters: &[u32]) -> Vec<u32> {
    let children = masters.iter().flat_map(|pid| process::children(*pid));
    let living = children.filter(|child| child.state != 'Z');
    let pids = living.map(|child| child.pid);
    pids.filter(|pid| !masters.contains(pid)).collect()
}

/// Stops whoever is master by now.
fn end(server: &Server) {
    wait_until("nobody is left", || {
        process::signal("TERM", &masters(server));
        thread::sleep(PAUSE);
        server.processes().is_empty()
    });
}

/// One of many that talk at the same time, on one connection after the other.
fn talk(
    place: SocketAddr,
    number: u16,
    seed: u64,
    stop: &AtomicBool,
) -> Tally {
    let mut dice = Dice((seed << 16) + u64::from(number) + 1);
    let mut tally = Tally::default();
    let mut next = 0;
    while !stop.load(Relaxed) {
        let mut line = Line::open(place);
        for _ in 0..=dice.below(12) {
            let burst = dice.of(&[1, 1, 1, 2, 5]);
            let requests: Vec<Request> = (0..burst)
                .map(|_| {
                    next += 1;
                    Request::any(number, next, &mut dice)
                })
                .collect();
            if !line.converse(&requests, &mut dice, &mut tally) {
                break;
            }
        }
    }
    tally
}

/// What stands nowhere else, and is found wherever it stands.
#[derive(Clone, PartialEq, Eq)]
struct Tag(String);

impl Tag {
    const LENGTH: usize = 14;

    fn new(client: u16, number: u32) -> Tag {
        Tag(format!("~{client:04x}{number:08x}~"))
    }

    /// Another tag in these bytes, or the beginning of one.
    fn stranger<'a>(&self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let own = self.0.as_bytes();
        let is_digit = |byte: &&u8| byte.is_ascii_hexdigit();
        memchr::memchr_iter(b'~', bytes)
            .map(|at| {
                let digits = bytes[at + 1..].iter().take_while(is_digit);
                &bytes[at..=at + digits.count()]
            })
            .find(|found| !own.starts_with(found))
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

struct Request {
    tag: Tag,
    bytes: Vec<u8>,
    /// Of the answer.
    length: usize,
    closes: bool,
}

impl Request {
    fn any(client: u16, number: u32, dice: &mut Dice) -> Request {
        let tag = Tag::new(client, number);
        let Tag(word) = &tag;
        let method = dice.of(&["GET", "GET", "PUT", "POST"]);
        let way = dice.of(&["now", "now", "after", "later", "stream"]);
        let size = dice.of(&[0, 1, 1, 100, 2500]);
        let times = match method {
            "GET" => 0,
            _ => dice.of(&[0, 1, 30, 580, 1400]),
        };
        let closes = dice.below(15) == 0;
        let end = if closes { "Connection: close\r\n" } else { "" };
        let head = format!(
            "{method} /{word}?way={way}&size={size} HTTP/1.1\r\nHost: a\r\n\
             X-Tag: {word}\r\n{end}"
        );
        let body = word.repeat(times);
        let rest = match dice.below(3) {
            0 if times > 0 => {
                let coded = body.as_bytes().chunks(200 + dice.below(3000));
                let coded: String = coded
                    .map(|piece| {
                        let text = std::str::from_utf8(piece).unwrap();
                        format!("{:x};a=\"{word}\"\r\n{text}\r\n", piece.len())
                    })
                    .collect();
                format!("Transfer-Encoding: chunked\r\n\r\n{coded}0\r\n\r\n")
            }
            _ => format!("Content-Length: {}\r\n\r\n{body}", body.len()),
        };
        let length = (size + times) * Tag::LENGTH;
        let bytes = (head + &rest).into_bytes();
        Request { tag, bytes, length, closes }
    }
}

/// A connection.
struct Line {
    stream: TcpStream,
    /// What has come of the next answer.
    ahead: Vec<u8>,
}

impl Line {
    fn open(place: SocketAddr) -> Line {
        let stream = TcpStream::connect(place).expect("somebody listens");
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Line { stream, ahead: Vec::new() }
    }

    /// All of these at once, or in halves, or only half of the last. Whether
    /// the connection goes on.
    fn converse(
        &mut self,
        requests: &[Request],
        dice: &mut Dice,
        tally: &mut Tally,
    ) -> bool {
        let bytes: Vec<u8> =
            requests.iter().flat_map(|one| one.bytes.clone()).collect();
        let cut = dice.below(bytes.len());
        let halves = match dice.below(4) {
            0 => [&bytes[..cut], &bytes[cut..]],
            1 if dice.below(4) == 0 => {
                // What it has said is to be heard by nobody.
                let _ = self.stream.write_all(&bytes[..cut]);
                thread::sleep(Duration::from_millis(dice.below(20) as u64));
                tally.left += requests.len();
                return false;
            }
            _ => [&bytes[..], &[]],
        };
        // One that cannot send all of it still looks for what came.
        let sent = self.stream.write_all(halves[0]).is_ok();
        if sent && !halves[1].is_empty() {
            thread::sleep(Duration::from_millis(dice.below(20) as u64));
            let _ = self.stream.write_all(halves[1]);
        }
        for (at, request) in requests.iter().enumerate() {
            match self.answer(&request.tag) {
                Some((200, body)) => {
                    let word = request.tag.0.as_bytes();
                    let whole = body.len() == request.length
                        && body.chunks(Tag::LENGTH).all(|one| one == word);
                    let body = body.escape_ascii();
                    assert!(whole, "{:?}: {body}", request.tag);
                    tally.right += 1;
                }
                Some((502, body)) => {
                    assert!(body.is_empty());
                    tally.lost += 1;
                    tally.cut += requests.len() - at - 1;
                    return false;
                }
                Some((status, _)) => panic!("{status} to {:?}", request.tag),
                None => {
                    tally.cut += requests.len() - at;
                    return false;
                }
            }
            if request.closes {
                return false;
            }
        }
        true
    }

    /// The status and the body of the answer to this request, if it comes
    /// whole.
    fn answer(&mut self, tag: &Tag) -> Option<(u16, Vec<u8>)> {
        let whole = self.read_until(tag, |ahead| {
            memchr::memmem::find(ahead, b"\r\n\r\n").map(|at| at + 4)
        })?;
        let head = String::from_utf8(whole).expect("a head is text");
        let status = head
            .strip_prefix("HTTP/1.1 ")
            .and_then(|rest| rest.get(..3)?.parse().ok())
            .unwrap_or_else(|| panic!("no status, but {head:?}"));
        let field = |name: &str| {
            let mut lines = head.lines();
            lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
        };
        if status != 502 {
            assert_eq!(field("X-Tag"), Some(&*tag.0), "{head}");
        }
        if field("Transfer-Encoding").is_none() {
            let length: usize =
                field("Content-Length").expect("a length").parse().unwrap();
            let body = self.read_until(tag, |ahead| {
                (ahead.len() >= length).then_some(length)
            })?;
            return Some((status, body));
        }
        let mut body = Vec::new();
        loop {
            let line = self.read_until(tag, |ahead| {
                memchr::memmem::find(ahead, b"\r\n").map(|at| at + 2)
            })?;
            let line = String::from_utf8(line).expect("a size is text");
            let size = usize::from_str_radix(line.trim_end(), 16).unwrap();
            let piece = self.read_until(tag, |ahead| {
                (ahead.len() >= size + 2).then_some(size + 2)
            })?;
            body.extend_from_slice(&piece[..size]);
            if size == 0 {
                return Some((status, body));
            }
        }
    }

    /// Reads until there is something whole, of so many bytes. `None`: the
    /// connection ended, and what came before that was of this request.
    fn read_until(
        &mut self,
        tag: &Tag,
        whole: impl Fn(&[u8]) -> Option<usize>,
    ) -> Option<Vec<u8>> {
        loop {
            if let Some(length) = whole(&self.ahead) {
                let rest = self.ahead.split_off(length);
                let found = std::mem::replace(&mut self.ahead, rest);
                self.check(tag, &found);
                return Some(found);
            }
            let mut bytes = [0; 16 << 10];
            match self.stream.read(&mut bytes) {
                Ok(0) => break,
                Ok(count) => self.ahead.extend_from_slice(&bytes[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    let silent = [ErrorKind::WouldBlock, ErrorKind::TimedOut];
                    let hangs = silent.contains(&error.kind());
                    assert!(!hangs, "{tag:?} is not answered");
                    break;
                }
            }
        }
        self.check(tag, &self.ahead);
        None
    }

    fn check(&self, tag: &Tag, bytes: &[u8]) {
        if let Some(stranger) = tag.stranger(bytes) {
            let (stranger, all) =
                (stranger.escape_ascii(), bytes.escape_ascii());
            panic!("the answer to {tag:?} has {stranger} in it: {all}");
        }
    }
}
