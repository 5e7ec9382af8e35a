//! A cluster that talks: the master tells its log what becomes of its
//! workers, greets each one, and each greets back; `/say` has its worker say
//! something from a thread of its own.

use std::process::ExitCode;

use handoff::{Cluster, Event, Request, Response};

fn main() -> ExitCode {
    Cluster::new("127.0.0.1:0")
        .workers(1)
        .control(None)
        .observe(|event, post| {
            log::info!("told: {event:?}");
            if let Event::Listening { worker } = event {
                let greeting = r#"{"hello":"worker"}"#;
                post.send(worker, greeting).expect("it is JSON");
            }
        })
        .on_message(|json| {
            let worker = handoff::worker().expect("this is one");
            let answer = format!(r#"{{"heard":{json}}}"#);
            worker.send(answer).expect("it is JSON");
        })
        .serve(|| {
            move |request: &Request<'_>, response: &mut Response<'_>| {
                if request.path() == "/say" {
                    let worker = handoff::worker().expect("this is one");
                    std::thread::spawn(move || {
                        worker.send("\"from a thread\"").expect("it is JSON");
                    });
                }
                if request.path() == "/last" {
                    let worker = handoff::worker().expect("this is one");
                    let time = std::time::Duration::from_millis(500);
                    return response.after(time, move |reply| {
                        worker.send("\"the last\"").expect("it is JSON");
                        reply.body("said\n");
                    });
                }
                response.body("said\n");
            }
        })
}
