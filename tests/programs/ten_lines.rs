//! The ten lines of the manual, at an address of the caller's choice.

use handoff::{Cluster, LeastConnections, Request, Response};

fn main() -> std::process::ExitCode {
    let address = std::env::args().nth(1);
    let cluster = Cluster::new(address.as_deref().unwrap_or("127.0.0.1:3000"));
    cluster.workers(4).scheduler(LeastConnections).serve(|| {
        let mut served = 0; // one per worker
        move |request: &Request<'_>, response: &mut Response<'_>| {
            served += 1;
            let (target, pid) = (request.target(), std::process::id());
            response.body(format!("{target} from {pid}: {served}\n"));
        }
    })
}
