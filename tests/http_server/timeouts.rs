//! Slow clients: each wait has its own time, and its own end.

use std::thread;
use std::time::Duration;

use crate::common::server::{Server, program};
use crate::common::{at_some_pace, process, wait_until};
use crate::kernel::server_end;
use crate::peer::{Client, End, get, post, timed};

/// The shortest pause between two bytes of a slow client.
const STEP: Duration = Duration::from_millis(50);

/// Sends byte by byte until the server has had enough.
fn trickle(client: &mut Client, bytes: &[u8]) -> Vec<u8> {
    for byte in bytes {
        client.send([*byte]);
        thread::sleep(STEP);
        if let Some(answer) = client.glance() {
            return answer;
        }
    }
    panic!("it was waited for");
}

/// Between the time itself and what a busy machine may add to it, from before
/// the server could know of anything. It counts in whole milliseconds.
fn expect_about(time: u64, took: Duration) {
    let least = Duration::from_millis(time - 1);
    let most = least + Duration::from_secs(3);
    assert!((least..most).contains(&took), "{took:?} instead of {time} ms");
}

#[test]
fn a_head_has_its_time_from_its_first_byte_whatever_follows() {
    let server =
        Server::serve("--workers 1 --header-timeout 0.5 --idle-timeout 5");
    let mut client = Client::open(server.place());
    let head = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(500));
    let (answer, took) = timed(|| trickle(&mut client, head.as_bytes()));
    expect_about(500, took);
    assert!(answer.starts_with(b"HTTP/1.1 408 "), "{:?}", answer);
}

#[test]
fn blank_lines_before_a_request_belong_to_its_head() {
    let server =
        Server::serve("--workers 1 --header-timeout 0.3 --idle-timeout 9");
    let mut client = Client::open(server.place());
    let (statuses, took) = timed(|| {
        client.send("\r\n\r\n");
        client.statuses()
    });
    expect_about(300, took);
    assert_eq!(statuses, [408]);
}

#[test]
fn the_time_of_a_head_begins_anew_with_each_request() {
    at_some_pace(|pace| {
        let time = f64::from(pace) * 0.4;
        let options = format!("--workers 1 --header-timeout {time}");
        let server = Server::serve(&options);
        let mut client = Client::open(server.place());
        let request = get("/");
        let (first, second) = request.split_at(20);
        client.send(first);
        // Always in the middle of a head, but never long in the same.
        for _ in 0..12 {
            thread::sleep(pace * Duration::from_millis(100));
            client.send(second.to_owned() + first);
            assert_eq!(client.answer().status, 200);
        }
    });
}

#[test]
fn an_idle_client_is_let_go_without_a_word() {
    at_some_pace(|pace| {
        let time = f64::from(pace) * 0.4;
        let server = Server::serve(&format!(
            "--workers 1 --idle-timeout {time} --header-timeout 9 \
             --defer-accept off"
        ));
        let (rest, took) = timed(|| Client::open(server.place()).rest());
        expect_about(u64::from(pace) * 400, took);
        assert_eq!(rest, (Vec::new(), End::Clean));

        let mut kept = Client::open(server.place());
        let ask = |client: &mut Client| {
            client.send(get("/"));
            assert_eq!(client.answer().status, 200);
        };
        for _ in 0..3 {
            thread::sleep(pace * Duration::from_millis(200));
            ask(&mut kept);
        }
        thread::sleep(pace * Duration::from_millis(200));
        let (rest, took) = timed(|| {
            ask(&mut kept);
            kept.rest()
        });
        expect_about(u64::from(pace) * 400, took);
        assert_eq!(rest, (Vec::new(), End::Clean));
    });
}

#[test]
fn a_body_must_come_on_but_may_take_its_time() {
    at_some_pace(|pace| {
        let time = f64::from(pace) * 0.4;
        let options = format!("--workers 1 --body-timeout {time}");
        let server = Server::serve(&options);
        let mut client = Client::open(server.place());
        client.send(post("/echo", 10));
        for _ in 0..10 {
            thread::sleep(pace * Duration::from_millis(100));
            client.send("x");
        }
        assert_eq!(client.answer().body, b"xxxxxxxxxx");

        let (statuses, took) = timed(|| {
            client.send(post("/echo", 10) + "xxx");
            client.statuses()
        });
        expect_about(u64::from(pace) * 400, took);
        assert_eq!(statuses, [408]);
    });
}

#[test]
fn a_client_that_takes_nothing_is_given_up() {
    let server = Server::serve(
        "--workers 1 --write-timeout 0.5 --max-body 64M --idle-timeout 30",
    );
    let mut client = Client::open(server.place());
    // The kernels of both together take no half of it.
    let body = vec![b'x'; 40 << 20];
    client.send(post("/echo", body.len() as u64));
    client.send(&body);
    // Its own kernel takes some; then it stands still for too long.
    wait_until("it is given up", || {
        let end = server_end(server.place(), &client);
        end.is_none_or(|end| !end.is_established)
    });
    let (taken, end) = client.rest();
    assert!(taken.len() < body.len() / 2, "{}", taken.len());
    // The rest, in the server's kernel, is not to keep a socket either.
    assert_eq!(end, End::Clean);
    server.ask("/");
}

/// However often its stream pauses, and has another byte for it.
#[test]
fn a_client_that_takes_nothing_of_a_stream_is_given_up_as_soon() {
    let server = Server::start(program("answers", "127.0.0.1:0 500"));
    let mut client = Client::open_narrow(server.place());
    let ((), took) = timed(|| {
        client.send(get("/drip"));
        wait_until("it is given up", || {
            let end = server_end(server.place(), &client);
            end.is_none_or(|end| !end.is_established)
        });
    });
    expect_about(500, took);
    server.ask("/");
}

#[test]
fn a_client_that_takes_little_is_waited_for() {
    at_some_pace(|pace| {
        let time = f64::from(pace) * 0.5;
        let server = Server::serve(&format!(
            "--workers 1 --write-timeout {time} --max-body 64M"
        ));
        let mut client = Client::open_narrow(server.place());
        let body = vec![b'x'; 6 << 20];
        client.send(post("/echo", body.len() as u64));
        client.send(&body);
        let ((), took) = timed(|| {
            let mut left = body.len();
            while left > 0 {
                left -= client.read(512 << 10).unwrap().min(left);
                thread::sleep(pace * Duration::from_millis(10));
            }
        });
        let least = pace * Duration::from_millis(1000);
        assert!(took > least, "{took:?}: not slow enough");
        client.send(get("/"));
    });
}

#[test]
fn a_request_that_waits_for_its_turn_is_not_late() {
    let server = Server::serve("--workers 1 --idle-timeout 1");
    let mut clients: Vec<Client> =
        (0..400).map(|_| Client::open(server.place())).collect();
    for client in &mut clients {
        client.send(get("/"));
        assert_eq!(client.answer().status, 200);
    }
    // More have something to say than one turn of the loop hears of.
    let workers = server.workers();
    process::signal("STOP", &workers);
    for client in &mut clients {
        client.send(get("/"));
    }
    thread::sleep(Duration::from_millis(1500));
    process::signal("CONT", &workers);
    for client in &mut clients {
        assert_eq!(client.answer().status, 200);
    }
}
