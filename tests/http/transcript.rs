//! What becomes of some bytes, told so that it can be compared: the requests
//! as the handler sees them, the answers as a client does, and the end.

use crate::{client, driver::Driver};
use handoff::http::{Expects, Handler, Request, Response};
use std::{cell::RefCell, fmt::Write as _, rc::Rc};

/// Tells of bytes that arrive in these pieces, all on one connection.
pub(crate) fn tell<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> String {
    let story = Rc::new(RefCell::new(Story::default()));
    let mut driver = Driver::new(Teller(Rc::clone(&story)));
    for piece in pieces {
        driver.send(piece);
    }
    let taken = driver.taken();
    let Story { mut text, heads } = story.take();
    let answers = client::answers(&taken, &heads);
    for (at, answer) in answers.iter().enumerate() {
        let last = at + 1 == answers.len();
        let closed = driver.closing.is_some();
        assert_eq!(answer.closes(), closed && last, "{answer:?}");
        let refused = at >= heads.len();
        assert!(!refused || (closed && last), "refused, and went on");
        let _ = writeln!(text, "< {}", answer.status);
    }
    let end = match driver.connection.expects() {
        Expects::Idle => "idle",
        Expects::Head => "wants more of the head",
        Expects::Body => "wants more of the body",
        Expects::Answer => "waits for an answer",
        Expects::Stream => "streams",
        Expects::Close => "closed",
    };
    assert_eq!(end == "closed", driver.closing.is_some());
    let _ = writeln!(text, "= {end}");
    text
}

/// The same story, whatever pieces the bytes arrive in; or a panic that shows
/// two that differ.
pub(crate) fn tell_however_cut(bytes: &[u8]) -> String {
    let whole = tell(std::iter::once(bytes));
    assert_eq!(whole, tell(bytes.chunks(1)), "byte by byte");
    // Every place, but of the few long ones some hundreds.
    for at in (1..bytes.len()).step_by(1 + bytes.len() / 800) {
        let (first, second) = bytes.split_at(at);
        let split = tell([first, second].into_iter());
        assert_eq!(whole, split, "split at {at}");
    }
    whole
}

/// The statuses of a story, and whether the connection ends.
pub(crate) fn outcome(story: &str) -> (Vec<u16>, &str) {
    let lines = || story.lines();
    let statuses = lines().filter_map(|line| line.strip_prefix("< "));
    let end = lines().find_map(|line| line.strip_prefix("= "));
    (statuses.flat_map(str::parse).collect(), end.unwrap_or_default())
}

#[derive(Default)]
struct Story {
    text: String,
    /// Of each request, whether it was a HEAD.
    heads: Vec<bool>,
}

struct Teller(Rc<RefCell<Story>>);

impl Handler for Teller {
    fn handle(&mut self, request: &Request<'_>, response: &mut Response<'_>) {
        let Story { text, heads } = &mut *self.0.borrow_mut();
        let (method, target) = (request.method(), request.target());
        let _ = writeln!(text, "> {method} {target} {:?}", request.version());
        let host = request.host().unwrap_or("none");
        let query = request.query().map(|query| format!(" query {query}"));
        let query = query.unwrap_or_default();
        let path = request.path();
        let _ = writeln!(text, "  host {host} path {path}{query}");
        for (name, value) in request.fields() {
            let _ = writeln!(text, "  {name}: {}", value.escape_ascii());
        }
        if !request.body().is_empty() {
            let _ = writeln!(text, "  | {}", request.body().escape_ascii());
        }
        heads.push(method == handoff::http::Method::Head);
        response.body("as you like it\n");
    }
}
