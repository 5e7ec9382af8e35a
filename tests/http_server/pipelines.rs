//! Requests behind one another: answered in order, and none mistaken for
//! the body of another.

use std::thread;
use std::time::Duration;

use crate::answering;
use crate::common::server::Server;
use crate::common::wait_until;
use crate::kernel::server_end;
use crate::peer::{CONTINUE, Client, End, get, post, timed};

#[test]
fn a_thousand_requests_in_one_write_are_answered_in_order() {
    let server = Server::serve("--workers 1");
    let all: String =
        (0..1000).map(|number| get(&format!("/echo?{number}"))).collect();
    let mut client = Client::open(server.place());
    client.send(all);
    for number in 0..1000 {
        assert_eq!(client.answer().body, number.to_string().as_bytes());
    }
    client.half_close();
    assert_eq!(client.rest(), (Vec::new(), End::Clean));
}

#[test]
fn late_answers_keep_their_place() {
    let server = answering();
    let mut client = Client::open(server.place());
    let targets = ["/later/60", "/1", "/later/0", "/ticks/3", "/2"];
    client.send(targets.map(get).concat());
    client.half_close();
    let answers = client.answers();
    let starts: [&[u8]; 5] = [b"late", b"GET /1", b"late", b"ttt", b"GET /2"];
    assert_eq!(answers.len(), starts.len());
    for (answer, start) in answers.iter().zip(starts) {
        assert!(answer.body.starts_with(start), "{answer:?}");
    }
}

#[test]
fn a_body_that_the_handler_ignores_is_not_the_next_request() {
    let server = Server::serve("--workers 1");
    let smuggled = get("/echo?smuggled");
    let chunk = format!("{:x}\r\n{smuggled}\r\n0\r\n\r\n", smuggled.len());
    for method in ["GET", "HEAD", "POST", "DELETE", "PUT"] {
        let line = format!("{method} / HTTP/1.1\r\nHost: a\r\n");
        let length = format!("Content-Length: {}\r\n\r\n", smuggled.len());
        let sized = line.clone() + &length + &smuggled;
        let chunked = line + "Transfer-Encoding: chunked\r\n\r\n" + &chunk;
        for bytes in [sized, chunked] {
            let mut client = Client::open(server.place());
            client.send(bytes + &get("/echo?next"));
            client.half_close();
            let (bytes, end) = client.rest();
            let text = String::from_utf8(bytes).unwrap();
            assert_eq!(end, End::Clean);
            assert_eq!(text.matches("HTTP/1.1 ").count(), 2, "{text}");
            assert!(text.ends_with("\r\n\r\nnext"), "{text}");
        }
    }
}

#[test]
fn who_never_reads_is_held_and_goes_on_when_it_does() {
    let server = answering();
    let mut client = Client::open_narrow(server.place());
    let all = get("/big/1000").repeat(600_000);
    let sent = client.send_what_fits(all.as_bytes());
    let sent = sent + pause_and_send(&mut client, &all.as_bytes()[sent..]);
    assert!(sent < all.len(), "the server has read it all");
    // Others are served as if nothing were.
    let ((), took) = timed(|| drop(server.ask("/")));
    assert!(took < Duration::from_secs(2), "{took:?}");
    let whole = sent / get("/big/1000").len();
    client.half_close();
    let answers = client.answers();
    assert_eq!(answers.len(), whole);
    assert!(answers.iter().all(|answer| answer.body.len() == 1000));
}

#[test]
fn little_waits_in_the_kernel_for_who_never_reads() {
    let server = Server::serve("--workers 1");
    let mut client = Client::open(server.place());
    let all = get("/").repeat(100_000);
    let sent = client.send_what_fits(all.as_bytes());
    pause_and_send(&mut client, &all.as_bytes()[sent..]);
    // Megabytes, if the kernel decides alone.
    let waiting = server_end(server.place(), &client).unwrap().waiting;
    assert!((1..256 << 10).contains(&waiting), "{waiting} bytes");

    // One large answer is the kernel's as soon as it is made.
    let server = answering();
    let mut client = Client::open(server.place());
    client.send(get("/big/1000000"));
    wait_until("it waits", || {
        let end = server_end(server.place(), &client);
        end.is_some_and(|end| end.waiting > 256 << 10)
    });
    assert_eq!(client.answer().body.len(), 1_000_000);
}

/// Until nothing is taken any more.
fn pause_and_send(client: &mut Client, bytes: &[u8]) -> usize {
    let mut sent = 0;
    loop {
        thread::sleep(Duration::from_millis(100));
        match client.send_what_fits(&bytes[sent..]) {
            0 => return sent,
            more => sent += more,
        }
    }
}

#[test]
fn a_continue_comes_behind_the_answers_before_it() {
    let server = Server::serve("--workers 1");
    let mut client = Client::open(server.place());
    let asks = post("/echo", 3).replace(": a", ": a\r\nExpect: 100-continue");
    for body in ["abc", "def"] {
        client.send(get("/sleep/50?first") + &asks);
        assert_eq!(client.answer().body, b"first");
        let end = client.until(CONTINUE);
        assert_eq!(end, CONTINUE.len(), "and nothing before it");
        client.hear_nothing(Duration::from_millis(50));
        client.send(body);
        let answer = client.answer();
        assert_eq!((answer.continues, &answer.body[..]), (1, body.as_bytes()));
    }
    // Too large: the refusal comes instead, and the end.
    client.send(asks.replace(": 3", ": 3000000"));
    assert_eq!(client.statuses(), [413]);
}
