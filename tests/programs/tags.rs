//! Answers every request with the tag that it bears: in the path, in the
//! field `X-Tag`, and over and over in its body. A request of which these are
//! not the same was put together from several, and is answered with 500.
//!
//! `tags WORKERS`; `/TAG?way=now|after|later|stream&size=N`, where N is how
//! often the tag stands in the answer before the request's body.

use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use handoff::http::{Produce, Reply};
use handoff::{Cluster, Request, Response};

/// What an answer takes that is not made at once.
const WHILE: Duration = Duration::from_millis(3);

fn main() -> ExitCode {
    let workers = std::env::args().nth(1).unwrap_or_default();
    Cluster::new("127.0.0.1:0")
        .workers(workers.parse().expect("a number"))
        .control(None)
        .serve(|| answer)
}

fn answer(request: &Request<'_>, response: &mut Response<'_>) {
    let tag = request.path().trim_start_matches('/').to_owned();
    let field = request.field("X-Tag").unwrap_or_default();
    let mut pieces = request.body().chunks(tag.len().max(1));
    let same = field == tag.as_bytes() && pieces.all(|one| one == field);
    let query = request.query().unwrap_or_default();
    let option = |name: &str| {
        let mut pairs = query.split('&').filter_map(|p| p.split_once('='));
        pairs.find(|(known, _)| *known == name).map_or("", |(_, value)| value)
    };
    let size = option("size").parse().unwrap_or(0);
    let body = [tag.repeat(size).as_bytes(), request.body()].concat();
    if !same {
        log::error!("mixed: {} {}", request.target(), field.escape_ascii());
    }
    let status = if same { 200 } else { 500 };
    let fill = move |reply: &mut Reply, body: &[u8]| {
        reply.status(status).body(body);
        reply.field("X-Tag", &tag).expect("what is in a path may be there");
    };
    match option("way") {
        "after" => response.after(WHILE, move |reply| fill(reply, &body)),
        "later" => {
            let later = response.later();
            thread::spawn(move || {
                thread::sleep(WHILE);
                let mut reply = Reply::new();
                fill(&mut reply, &body);
                later.send(reply);
            });
        }
        "stream" => {
            fill(response, b"");
            let mut left = body;
            response.stream(move |chunk| {
                if left.is_empty() {
                    return Produce::End;
                }
                let rest = left.split_off(left.len().min(1000));
                chunk.push(std::mem::replace(&mut left, rest));
                Produce::More
            });
        }
        _ => fill(response, &body),
    }
}
