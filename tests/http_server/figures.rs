//! What hostile crowds cost a worker: measured, not asserted beyond a wide
//! bound. `cargo test --release --test http_server figures -- --ignored
//! --nocapture` prints the table.

use std::thread;
use std::time::{Duration, Instant};

use crate::common::server::Server;
use crate::peer::{Client, get, post};
use crate::streams::resident;

/// What each of a crowd does once it is connected; what it holds it keeps.
type Act = fn(&mut Client);

fn never_reads(client: &mut Client) {
    client.send_what_fits(get("/").repeat(40_000).as_bytes());
}

fn half_open(client: &mut Client) {
    client.send("GET / HTTP/1.1\r\nHost: a\r\nX: y");
}

fn claims(client: &mut Client) {
    client.send(post("/echo", 1 << 40) + "some of it");
}

fn claims_what_is_allowed(client: &mut Client) {
    client.send(post("/echo", 1 << 30) + "some of it");
}

#[test]
#[ignore = "it measures"]
fn figures_of_hostile_crowds() {
    println!("| crowd | RSS before | during | after | others: median, max |");
    println!("|---|---|---|---|---|");
    let crowds: [(&str, usize, Act); 4] = [
        ("500 that pipeline and never read", 500, never_reads),
        ("2,000 half-open heads", 2000, half_open),
        ("200 that claim 1 TB (413)", 200, claims),
        ("200 that claim 1 GB, allowed", 200, claims_what_is_allowed),
    ];
    for (name, size, act) in crowds {
        let server =
            Server::serve("--workers 1 --max-body 1G --header-timeout 60");
        let worker = server.ask_worker();
        normal(&server);
        let before = resident(worker);
        let mut crowd: Vec<Client> =
            (0..size).map(|_| Client::open(server.place())).collect();
        crowd.iter_mut().for_each(act);
        let (median, most) = normal(&server);
        crowd.iter_mut().for_each(|client| {
            if size == 500 {
                act(client);
            }
        });
        let during = resident(worker);
        drop(crowd);
        thread::sleep(Duration::from_millis(500));
        normal(&server);
        let after = resident(worker);
        println!(
            "| {name} | {} kB | {} kB | {} kB | {median:?}, {most:?} |",
            before >> 10,
            during >> 10,
            after >> 10,
        );
        assert!(during - before < 64 << 20);
    }
}

/// How long a client among the others waits for its answers.
fn normal(server: &Server) -> (Duration, Duration) {
    let mut client = Client::open(server.place());
    let mut times: Vec<Duration> = (0..2000)
        .map(|_| {
            let start = Instant::now();
            client.send(get("/"));
            assert_eq!(client.answer().status, 200);
            start.elapsed()
        })
        .collect();
    times.sort();
    (times[times.len() / 2], times[times.len() - 1])
}
