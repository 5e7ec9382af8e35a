//! A program that no panic survives, as one that is built with
//! `panic = "abort"`: `strict ADDRESS`.

use handoff::{Cluster, Request, Response};

fn main() -> std::process::ExitCode {
    std::panic::set_hook(Box::new(|_| std::process::abort()));
    let address = std::env::args().nth(1).unwrap_or_default();
    Cluster::new(address).workers(1).control(None).serve(|| {
        |_: &Request<'_>, response: &mut Response<'_>| {
            response.body("hello\n");
        }
    })
}
