//! One worker that answers in every way there is.
//!
//! `answers ADDRESS WRITE`: it gives a client up that takes nothing for WRITE
//! milliseconds. A number `N` stands behind the path, as in `/later/20`.
//!
//! | path        | answer                                                  |
//! |-------------|---------------------------------------------------------|
//! | `/later/N`  | `late`, from another thread, after N ms                 |
//! | `/kept`     | from another thread, never; it notices the client's end |
//! | `/gone`     | how many of those have been noticed                     |
//! | `/dropped`  | the right to answer is dropped in another thread        |
//! | `/stream/N` | N pieces of 1000 bytes                                  |
//! | `/ticks/N`  | N pieces of a byte, one each 10 ms                      |
//! | `/held/N`   | pieces of N bytes without end; it notices the client's  |
//! | `/big/N`    | N bytes                                                 |
//! | `/panic`    | the handler panics                                      |
//! | `/delay/N`  | the handler blocks for N ms, and answers N ms later     |
//! | `/never`    | after the longest time there is                         |
//! | `/rest`     | a stream that pauses for as long                        |
//! | `/drip`     | much, until the client is behind; then a byte each 5 ms |
//! | `/eager`    | a stream without end that pauses for no time            |
//! | `/broken`   | a stream that panics behind its first piece             |
//! | any other   | the request                                             |

mod echo;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use handoff::http::{Later, Produce, Reply};
use handoff::{Cluster, Handler, Request, Response};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next();
    let write = arguments.next().and_then(|word| word.parse().ok());
    Cluster::new(address.as_deref().unwrap_or("127.0.0.1:0"))
        .workers(1)
        .control(None)
        .write_timeout(Duration::from_millis(write.unwrap_or(30_000)))
        .serve(handler)
}

fn handler() -> impl Handler {
    let gone = Arc::new(AtomicUsize::new(0));
    move |request: &Request<'_>, response: &mut Response<'_>| {
        let (path, number) = split(request.path());
        match path {
            "/later" => {
                let later = response.later();
                thread::spawn(move || {
                    thread::sleep(Duration::from_millis(number as u64));
                    let mut reply = Reply::new();
                    reply.body("late");
                    later.send(reply);
                });
            }
            "/kept" => {
                let (later, gone) = (response.later(), Arc::clone(&gone));
                thread::spawn(move || keep(&later, &gone));
            }
            "/gone" => {
                response.body(gone.load(SeqCst).to_string());
            }
            "/dropped" => {
                let later = response.later();
                thread::spawn(move || drop(later));
            }
            "/stream" => stream(response, number),
            "/ticks" => ticks(response, number),
            "/held" => {
                let guard = Guard(Arc::clone(&gone));
                response.stream(move |chunk| {
                    let _ = &guard;
                    chunk.push(vec![b'h'; number]);
                    match number {
                        0 => Produce::Pause(Duration::from_secs(3600)),
                        _ => Produce::More,
                    }
                });
            }
            "/big" => {
                response.body(vec![b'b'; number]);
            }
            "/panic" => panic!("as the client wished"),
            "/delay" => {
                let time = Duration::from_millis(number as u64);
                thread::sleep(time);
                response.after(time, |reply| {
                    reply.body("after");
                });
            }
            "/never" => response.after(Duration::MAX, |_| {}),
            "/rest" => response.stream(|chunk| {
                chunk.push("r");
                Produce::Pause(Duration::MAX)
            }),
            "/drip" => drip(response),
            "/eager" => response.stream(|_| Produce::Pause(Duration::ZERO)),
            "/broken" => {
                let mut pieces = 0;
                response.stream(move |chunk| {
                    pieces += 1;
                    assert!(pieces < 2, "as the client wished");
                    chunk.push("b");
                    Produce::More
                });
            }
            _ => echo::echo(request, response),
        }
    }
}

/// `/path/12` is `/path` and 12.
fn split(path: &str) -> (&str, usize) {
    path.rsplit_once('/')
        .and_then(|(path, number)| Some((path, number.parse().ok()?)))
        .unwrap_or((path, 0))
}

fn keep(later: &Later, gone: &AtomicUsize) {
    while !later.is_gone() {
        thread::sleep(Duration::from_millis(2));
    }
    gone.fetch_add(1, SeqCst);
}

/// Counts its own end.
struct Guard(Arc<AtomicUsize>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.fetch_add(1, SeqCst);
    }
}

fn stream(response: &mut Response<'_>, mut left: usize) {
    response.stream(move |chunk| {
        if left == 0 {
            return Produce::End;
        }
        left -= 1;
        chunk.push([b's'; 1000]);
        Produce::More
    });
}

fn drip(response: &mut Response<'_>) {
    let mut most = 0;
    response.stream(move |chunk| {
        most = most.max(chunk.room());
        let is_behind = chunk.room() < most;
        chunk.push(vec![b'd'; if is_behind { 1 } else { most / 2 }]);
        Produce::Pause(Duration::from_millis(if is_behind { 5 } else { 0 }))
    });
}

fn ticks(response: &mut Response<'_>, mut left: usize) {
    response.stream(move |chunk| {
        if left == 0 {
            return Produce::End;
        }
        left -= 1;
        chunk.push("t");
        Produce::Pause(Duration::from_millis(10))
    });
}
