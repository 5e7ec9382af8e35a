//! Two clusters, one after the other: `twice ADDRESS`.

use handoff::{Cluster, Request, Response};

fn main() -> std::process::ExitCode {
    let address = std::env::args().nth(1).unwrap_or_default();
    let serve = || {
        let cluster = Cluster::new(&address).workers(1).control(None);
        cluster.serve(|| {
            |_: &Request<'_>, response: &mut Response<'_>| {
                response.body("hello\n");
            }
        })
    };
    serve();
    serve()
}
