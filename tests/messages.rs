//! Events and messages between a master and its workers, as a program that
//! uses the library sees them.

mod common;

use common::process;
use common::server::{Server, program};
use common::wait_until;

#[test]
fn a_program_hears_of_its_workers_and_talks_with_them() {
    let server = Server::start(program("talk", ""));
    let said = |what: &str| {
        wait_until(what, || server.log().contains(what));
    };
    said("told: Fork { worker: WorkerId(1)");
    said("told: Online { worker: WorkerId(1) }");
    said("told: Listening { worker: WorkerId(1) }");
    said(r#"json: "{\"heard\":{\"hello\":\"worker\"}}""#);
    assert_eq!(server.ask("/say").text(), "said\n");
    said(r#"json: "\"from a thread\"""#);
    let victim = server.workers()[0];
    process::signal("KILL", &[victim]);
    said("told: Disconnect { worker: WorkerId(1) }");
    said("told: Exit { worker: WorkerId(1), code: None, signal: Some(9) }");
    said("told: Listening { worker: WorkerId(2) }");
}

#[test]
fn a_worker_that_goes_says_what_its_last_request_had_to_say() {
    let server = Server::start(program("talk", ""));
    server.ask("/");
    let asked = std::thread::scope(|scope| {
        let asked = scope.spawn(|| server.ask("/last"));
        std::thread::sleep(std::time::Duration::from_millis(200));
        process::signal("TERM", &server.workers());
        asked.join().unwrap()
    });
    assert_eq!(asked.text(), "said\n");
    wait_until("its last words", || {
        server.log().contains(r#"json: "\"the last\"""#)
    });
}
