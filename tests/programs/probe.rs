//! The built-in application, whose workers also do on request what a worker
//! should not do, and tell what is around them.
//!
//! `probe FOLDER WORKERS HANG ADDRESS`: each start of a worker adds a byte to
//! the file `starts` in the folder. While there is a file `die`, workers exit
//! at once with status 7, and while there is a file `wait`, they are not ready
//! unless they are the first. A worker may hang for HANG milliseconds, 0 is
//! for ever.
//! `PROBE_CONTROL` names the control socket; without it there is none.
//! `PROBE_USER` is who they are.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, exit};
use std::thread;
use std::time::Duration;

use handoff::internals::app;
use handoff::{Cluster, Handler, Request, Response};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().unwrap_or_default());
    let mut number = || arguments.next()?.parse::<usize>().ok();
    let workers = number().unwrap_or(1);
    let hang = Duration::from_millis(number().unwrap_or(0) as u64);
    let control = std::env::var_os("PROBE_CONTROL").map(PathBuf::from);
    let address = arguments.next();
    let mut cluster =
        Cluster::new(address.as_deref().unwrap_or("127.0.0.1:0"))
            .workers(workers)
            .control(control.as_deref())
            .hang_timeout(hang);
    if let Ok(user) = std::env::var("PROBE_USER") {
        cluster = cluster.user(user);
    }
    cluster.serve(|| start(&folder))
}

fn start(folder: &Path) -> impl Handler + use<> {
    let mut starts = OpenOptions::new();
    starts.create(true).append(true);
    let count = starts.open(folder.join("starts"));
    count.and_then(|mut file| file.write_all(b".")).expect("a folder");
    if folder.join("die").exists() {
        exit(7);
    }
    let first = handoff::worker().is_some_and(|worker| worker.index() == 0);
    while !first && folder.join("wait").exists() {
        thread::sleep(Duration::from_millis(1));
    }
    let mut application = app::handler();
    let mut hoard = Vec::new();
    move |request: &Request<'_>, response: &mut Response<'_>| {
        match request.path() {
            "/panic" => panic!("as the client wished"),
            "/spin" => loop {
                std::hint::spin_loop();
            },
            "/block" => thread::sleep(Duration::from_millis(400)),
            "/hoard" => {
                // Until there is no descriptor left.
                hoard.extend(std::iter::from_fn(|| {
                    File::open("/dev/null").ok()
                }));
            }
            "/environment" => {
                let pairs = std::env::vars();
                let lines =
                    pairs.map(|(name, value)| format!("{name}={value}\n"));
                response.body(lines.collect::<String>());
            }
            _ => application.handle(request, response),
        }
    }
}
