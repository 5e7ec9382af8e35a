//! Whatever the pieces that bytes arrive in, and whatever they are: the
//! server says what the core says, to the byte.

use std::thread;
use std::time::Duration;

use crate::answering;
use handoff::http::Closing;

use crate::cases::cases;
use crate::common::Scratch;
use crate::common::http::Place;
use crate::common::server::{Server, program};
use crate::dice::Dice;
use crate::driver::Driver;
use crate::echo::echo;
use crate::peer::{CONTINUE, Client, End, get, post};

/// Bent requests in an ordinary run; `HANDOFF_HTTP_BENT` asks for more.
const BENT: usize = 2000;

/// Time for the server to read a piece before the next.
const PAUSE: Duration = Duration::from_millis(1);

/// What becomes of some bytes, up to the end.
struct Story {
    answers: Vec<u8>,
    /// The client has asked for the end before it had sent all: what it
    /// sends behind that may well be answered with a reset.
    unheard: bool,
}

/// What the core makes of them.
fn core(bytes: &[u8]) -> Story {
    let mut driver = Driver::new(echo);
    let mut sent = 0;
    for byte in bytes.chunks(1) {
        sent += usize::from(driver.closing.is_none());
        driver.send(byte);
    }
    let plain = driver.closing == Some(Closing::Plain);
    let unheard = plain && sent < bytes.len();
    if driver.closing.is_none() {
        driver.end();
    }
    assert!(driver.closing.is_some());
    Story { answers: comparable(driver.taken()), unheard }
}

/// Without the time, and without the interim answers: whether there is one
/// depends on whether the body was quicker.
fn comparable(mut bytes: Vec<u8>) -> Vec<u8> {
    const DATE: &[u8] = b"\r\nDate: ";
    let mut from = 0;
    while let Some(at) = memchr::memmem::find(&bytes[from..], DATE) {
        from += at + DATE.len();
        bytes.drain(from..from + 29);
    }
    while let Some(at) = memchr::memmem::find(&bytes, CONTINUE) {
        bytes.drain(at..at + CONTINUE.len());
    }
    bytes
}

/// Fails unless the server answers the same, and ends.
fn expect_same<'a>(
    core: &Story,
    place: &Place,
    pieces: impl Iterator<Item = &'a [u8]>,
    pause: Duration,
) {
    let mut client = Client::open(place);
    let mut sent = Vec::new();
    for piece in pieces {
        if client.is_refused(piece) {
            assert!(core.unheard, "refused: {}", piece.escape_ascii());
            break;
        }
        sent.extend_from_slice(piece);
        if !pause.is_zero() {
            thread::sleep(pause);
        }
    }
    if !core.unheard {
        client.half_close();
    }
    let (bytes, end) = client.rest();
    let answers = comparable(bytes);
    assert!(
        core.answers == answers && (end == End::Clean || core.unheard),
        "{}\n\nthe core: {}\n\nthe server: {}\n\n{end:?}",
        sent.escape_ascii(),
        core.answers.escape_ascii(),
        answers.escape_ascii()
    );
}

fn all_cases() -> Vec<Vec<u8>> {
    let both = [cases("valid"), cases("invalid")];
    both.into_iter().flatten().map(|(_, bytes)| bytes).collect()
}

#[test]
fn the_file_pairs_say_the_same_over_a_socket() {
    let server = answering();
    let place = server.place();
    for bytes in all_cases() {
        let core = core(&bytes);
        let whole = std::iter::once(&bytes[..]);
        expect_same(&core, place, whole, Duration::ZERO);
        expect_same(&core, place, bytes.chunks(1), Duration::ZERO);
    }
}

#[test]
fn a_split_at_any_byte_makes_no_difference() {
    let server = answering();
    let chunked = "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \
                   chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nT: u\r\n\r\n";
    let wrong = "GET /c HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n";
    for bytes in
        [chunked.to_owned() + &get("/b"), post("/a", 5) + "hello" + wrong]
    {
        let bytes = bytes.as_bytes();
        let core = core(bytes);
        for at in 1..bytes.len() {
            let (first, second) = bytes.split_at(at);
            let pieces = [first, second].into_iter();
            expect_same(&core, server.place(), pieces, PAUSE);
        }
        expect_same(&core, server.place(), bytes.chunks(1), PAUSE);
    }
}

#[test]
fn bent_requests_in_random_pieces_are_answered_as_the_core_does() {
    let more = std::env::var("HANDOFF_HTTP_BENT").ok();
    let count = more.map_or(BENT, |count| count.parse().unwrap());
    let folder = Scratch::new("bent");
    let words = format!("unix:{}", folder.path("socket").display());
    let servers = [answering(), Server::start(program("answers", &words))];
    let each = count / servers.len();
    thread::scope(|scope| {
        for (seed, server) in (1..).zip(&servers) {
            scope.spawn(move || bend(server.place(), seed, each));
        }
    });
    for server in servers {
        server.ask("/still-there");
        assert!(!server.log().contains("ERROR"), "{}", server.log());
    }
}

fn bend(place: &Place, seed: u64, count: usize) {
    let cases = all_cases();
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15 ^ (seed << 32));
    for round in 0..count {
        let other = &cases[dice.roll(cases.len())];
        let mut bytes = cases[dice.roll(cases.len())].clone();
        for _ in 0..dice.roll(4) {
            dice.bend(&mut bytes, other);
        }
        let most = 1 + dice.roll(bytes.len());
        let mut rest = &bytes[..];
        let mut pieces = Vec::new();
        while !rest.is_empty() {
            let (piece, next) =
                rest.split_at((1 + dice.roll(most)).min(rest.len()));
            pieces.push(piece);
            rest = next;
        }
        let few = pieces.len() < 8 && round % 8 == 0;
        let pause = if few { PAUSE } else { Duration::ZERO };
        expect_same(&core(&bytes), place, pieces.into_iter(), pause);
    }
}
