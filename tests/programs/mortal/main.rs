//! Workers that die as the request says, as often as there are bullets.
//!
//! `mortal FOLDER [OPTION]…`, each `NAME=VALUE`: `listen`, `workers`, `hang`
//! (milliseconds), `max-requests`, `salvage` (`off`). What a request asks for
//! stands in its query, in the same way:
//!
//! | option   | meaning                                                      |
//! |----------|--------------------------------------------------------------|
//! | `name`   | the request's; its letters are what it is answered with      |
//! | `size`   | with so many of them (10)                                    |
//! | `way`    | `now`, `after` (a delay), `later` (a thread), `stream`       |
//! | `wait`   | how many milliseconds that takes (0)                         |
//! | `die`    | how its worker dies, if FOLDER has a bullet of its name: a   |
//! |          | signal, `exit` (status 1), `done` (status 0), `hang`, `panic`|
//! | `at`     | `start`, before it is answered; or so many microseconds      |
//! |          | later, from a thread                                         |
//! | `again`  | `yes`: it may be asked again                                 |
//! | `hoard`  | `yes`: the worker opens all the files it can                 |
//!
//! Each time that a handler sees a request, `NAME.asked` grows by a byte. A
//! bullet is a file `NAME.bullet-N`.

mod answer;

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, exit};
use std::thread;
use std::time::Duration;

use handoff::http::{Produce, Reply};
use handoff::{Cluster, Handler, Request, Response};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().unwrap_or_default());
    let options: Vec<String> = arguments.collect();
    let option = |name| {
        let pair = options.iter().find_map(|o| o.strip_prefix(name));
        pair.and_then(|rest| rest.strip_prefix('='))
    };
    let number = |name, default| {
        option(name).map_or(default, |word| word.parse().expect("a number"))
    };
    Cluster::new(option("listen").unwrap_or("127.0.0.1:0"))
        .workers(number("workers", 1))
        .hang_timeout(Duration::from_millis(number("hang", 0) as u64))
        .max_requests(number("max-requests", 0))
        .salvage(option("salvage") != Some("off"))
        .control(None)
        .serve(|| handler(folder))
}

fn handler(folder: PathBuf) -> impl Handler {
    let mut hoard = Vec::new();
    move |request: &Request<'_>, response: &mut Response<'_>| {
        let query = request.query().unwrap_or_default();
        let option = |name: &str| {
            let mut pairs = query.split('&').filter_map(|p| p.split_once('='));
            pairs.find(|(known, _)| *known == name).map(|(_, value)| value)
        };
        let number =
            |name| option(name).map(|word| word.parse().expect("a number"));
        let name = option("name").unwrap_or("nobody");
        note(&folder.join(format!("{name}.asked")));
        if option("again") == Some("yes") {
            request.replayable();
        }
        if option("hoard") == Some("yes") {
            let open = || File::open("/dev/null").ok();
            hoard.extend(std::iter::from_fn(open));
        }
        if let Some(how) = option("die").filter(|_| has_bullet(&folder, name))
        {
            match option("at").unwrap_or("start") {
                "start" => die(how),
                delay => {
                    let delay = delay.parse().expect("microseconds");
                    let how = how.to_owned();
                    thread::spawn(move || {
                        thread::sleep(Duration::from_micros(delay));
                        die(&how);
                    });
                }
            }
        }
        let size = number("size").unwrap_or(10) as usize;
        let wait = Duration::from_millis(number("wait").unwrap_or(0));
        let mut body = answer::body(name, size);
        body.extend_from_slice(request.body());
        match option("way").unwrap_or("now") {
            "after" => response.after(wait, move |reply| {
                reply.body(body);
            }),
            "later" => {
                let later = response.later();
                thread::spawn(move || {
                    thread::sleep(wait);
                    let mut reply = Reply::new();
                    reply.body(body);
                    later.send(reply);
                });
            }
            "stream" => stream(response, body, wait),
            _ => {
                thread::sleep(wait);
                response.body(body);
            }
        }
    }
}

/// One byte more.
fn note(path: &Path) {
    let opened = OpenOptions::new().create(true).append(true).open(path);
    // The one who hoards has no descriptor left.
    if let Ok(mut file) = opened {
        file.write_all(b".").expect("room for a byte");
    }
}

/// Takes one of the bullets, if there is another.
fn has_bullet(folder: &Path, name: &str) -> bool {
    let bullets = (0..).map(|n| folder.join(format!("{name}.bullet-{n}")));
    bullets.take(32).any(|bullet| fs::remove_file(bullet).is_ok())
}

fn die(how: &str) {
    match how {
        "ABRT" => std::process::abort(),
        "exit" => exit(1),
        "done" => exit(0),
        "panic" => panic!("as the client wished"),
        "hang" => {}
        // More than once: Rust's own handler of SIGSEGV believes in a fault
        // only when it comes back.
        signal => {
            let pid = std::process::id().to_string();
            for _ in 0..3 {
                let mut kill = Command::new("kill");
                let sent = kill.args(["-s", signal, &pid]).status();
                assert!(sent.is_ok_and(|status| status.success()));
            }
        }
    }
    loop {
        thread::park();
    }
}

/// In ten pieces, with the time between them.
fn stream(response: &mut Response<'_>, body: Vec<u8>, wait: Duration) {
    let size = body.len().div_ceil(10).max(1);
    let mut left = body;
    let mut pauses = false;
    response.stream(move |chunk| {
        pauses = !pauses;
        if left.is_empty() {
            return Produce::End;
        }
        if !pauses && !wait.is_zero() {
            return Produce::Pause(wait);
        }
        let rest = left.split_off(size.min(left.len()));
        chunk.push(std::mem::replace(&mut left, rest));
        Produce::More
    });
}
