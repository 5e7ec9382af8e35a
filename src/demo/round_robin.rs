//! The simplest load-balancing server, which is the whole model: the master
//! alone listens; it accepts, and gives each connection to the next worker.
//!
//! ```text
//!   clients ──▶ master ─┬─ 1, 5, 9 … ──▶ worker 1
//!                       ├─ 2, 6 … ─────▶ worker 2     "hello Node.js",
//!                       ├─ 3, 7 … ─────▶ worker 3     and close
//!                       └─ 4, 8 … ─────▶ worker 4
//! ```
//!
//! This one has no parts of its own: it is the library, used as any program
//! would use it. It serves until Ctrl-C. The log says where; try
//!
//! ```text
//! for i in 1 2 3 4 5 6 7 8; do curl -s http://127.0.0.1:3000/; done
//! ```

use std::io::{self, ErrorKind, Write};
use std::net::TcpListener;
use std::process::{self, ExitCode};

use crate::{Cluster, Request, Response, is_worker};

const WORKERS: usize = 4;

/// Where `handoff serve` listens as well.
const PORT: u16 = 3000;

pub(super) fn run() -> ExitCode {
    Cluster::new(format!("127.0.0.1:{}", port()))
        .workers(WORKERS)
        // The article's server takes a connection as soon as it is there.
        .defer_accept(false)
        .serve(|| answer)
}

/// Names the worker, and answers. `close` means: after the answer the worker
/// ends its direction, reads what the client may still send, and only then
/// closes. A socket closed with something unread would be reset, and the
/// answer lost with it.
fn answer(_request: &Request<'_>, response: &mut Response<'_>) {
    let pid = process::id();
    let line = format!("[{pid}] worker {pid} got a connection\n");
    // Nobody may be reading; the client gets its answer all the same.
    let _ = io::stdout().write_all(line.as_bytes());
    response.body("hello Node.js").close();
}

/// Any free port if somebody else has ours: a demo should run. What a worker
/// says here is of no account, since it listens nowhere.
fn port() -> u16 {
    if is_worker() {
        return PORT;
    }
    match TcpListener::bind(("127.0.0.1", PORT)) {
        Err(error) if error.kind() == ErrorKind::AddrInUse => 0,
        _ => PORT,
    }
}
