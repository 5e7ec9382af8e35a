//! The built-in application of `handoff serve`: what one needs to try a
//! server, to measure it, and to look inside.

use std::time::Duration;

use crate::http::{Handler, Method, Request, Response};

/// The longest time that `/sleep` takes, in milliseconds: an hour.
const LONGEST_SLEEP: u64 = 3_600_000;

/// A fresh one for each worker.
#[must_use]
pub fn handler() -> impl Handler {
    answer
}

fn answer(request: &Request<'_>, response: &mut Response<'_>) {
    let path = request.path();
    match path {
        // OPTIONS alone has this target: it asks about the server as a whole.
        "*" => set(response, "Allow", "GET, HEAD, POST, OPTIONS"),
        "/" => text(request, response, "hello handoff\n"),
        "/plaintext" => text(request, response, "Hello, World!"),
        "/echo" => echo(request, response),
        "/worker" => worker(request, response),
        _ => match path.strip_prefix("/sleep/") {
            Some(milliseconds) => sleep(request, response, milliseconds),
            None => say(response, 404, "not found\n"),
        },
    }
}

/// Whether the method is one that only asks. If not, the client is told.
fn only_asks(request: &Request<'_>, response: &mut Response<'_>) -> bool {
    if matches!(request.method(), Method::Get | Method::Head) {
        return true;
    }
    other(request, response, "GET, HEAD, OPTIONS");
    false
}

/// Tells which methods there are: that is what OPTIONS asks for, and what
/// else, not being one of them, ought to know.
fn other(request: &Request<'_>, response: &mut Response<'_>, methods: &str) {
    set(response, "Allow", methods);
    if request.method() != Method::Options {
        say(response, 405, "method not allowed\n");
    }
}

fn text(request: &Request<'_>, response: &mut Response<'_>, body: &str) {
    if only_asks(request, response) {
        say(response, 200, body);
    }
}

fn say(response: &mut Response<'_>, status: u16, text: impl AsRef<[u8]>) {
    set(response, "Content-Type", "text/plain");
    response.status(status).body(text);
}

fn echo(request: &Request<'_>, response: &mut Response<'_>) {
    match request.method() {
        Method::Post => say(response, 200, request.body()),
        Method::Get | Method::Head => {
            say(response, 200, request.query().unwrap_or(""));
        }
        Method::Put | Method::Delete | Method::Options | Method::Patch => {
            other(request, response, "GET, HEAD, POST, OPTIONS");
        }
    }
}

fn sleep(
    request: &Request<'_>,
    response: &mut Response<'_>,
    milliseconds: &str,
) {
    let digits = milliseconds.bytes().all(|byte| byte.is_ascii_digit());
    let parsed = milliseconds.parse().ok().filter(|_| digits);
    let Some(time) = parsed.filter(|time| *time <= LONGEST_SLEEP) else {
        return say(response, 400, "milliseconds, up to an hour\n");
    };
    if only_asks(request, response) {
        let body = request.query().unwrap_or("").to_owned();
        response.after(Duration::from_millis(time), move |reply| {
            // A fixed field is a valid one.
            let _ = reply.field("Content-Type", "text/plain");
            reply.body(body);
        });
    }
}

fn worker(request: &Request<'_>, response: &mut Response<'_>) {
    if !only_asks(request, response) {
        return;
    }
    let Some(worker) = crate::worker() else {
        return say(response, 503, "no worker of a cluster\n");
    };
    set(response, "Content-Type", "application/json");
    response.body(format!(
        "{{\"id\":{},\"pid\":{},\"connections\":{}}}\n",
        worker.id(),
        std::process::id(),
        worker.connections()
    ));
}

/// Sets one of our own fields, which is known to be a valid one.
fn set(response: &mut Response<'_>, name: &str, value: &str) {
    if let Err(error) = response.field(name, value) {
        log::error!("{name}: {error}");
    }
}
