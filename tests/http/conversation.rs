//! The course of a conversation: order, closing, waiting, streams.

use crate::{
    client::{self, Answer},
    driver::Driver,
};
use handoff::http::{
    Closing, Connection, Expects, Flow, Handler, Input, Later, Method, Output,
    Produce, Refusal, Reply, Request, Response,
};
use std::{cell::RefCell, io::Write as _, rc::Rc, time::Duration};

const GET: &[u8] = b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n";
const NEXT: &[u8] = b"GET /2 HTTP/1.1\r\nHost: a\r\n\r\n";
const LAST: &[u8] = b"GET /3 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
const OLD: &[u8] = b"GET /0 HTTP/1.0\r\n\r\n";

/// Answers with the target.
fn echo(request: &Request<'_>, response: &mut Response<'_>) {
    response.body(request.target());
}

fn bodies<H: Handler>(driver: &mut Driver<H>) -> Vec<String> {
    let answers = client::answers(&driver.taken(), &[]);
    let text = |answer: Answer| {
        let body = String::from_utf8(answer.body).unwrap();
        format!("{} {body}", answer.status)
    };
    answers.into_iter().map(text).collect()
}

fn only<H: Handler>(driver: &mut Driver<H>, head: bool) -> Answer {
    let mut answers = client::answers(&driver.taken(), &[head]);
    assert_eq!(answers.len(), 1);
    answers.remove(0)
}

#[test]
fn the_handler_of_the_manual_compiles_and_counts() {
    let mut served = 0;
    let handler = move |request: &Request<'_>, response: &mut Response<'_>| {
        served += 1;
        response.body(format!("{} {served}\n", request.target()));
    };
    let mut driver = Driver::new(handler);
    driver.send(&[GET, NEXT].concat());
    assert_eq!(bodies(&mut driver), ["200 /1 1\n", "200 /2 2\n"]);
    assert!(driver.connection.is_idle());
    assert_eq!(driver.connection.served(), 2);
}

#[test]
fn an_answer_is_what_the_rfc_wants_it_to_be() {
    let mut driver = Driver::new(echo);
    driver.send(GET);
    let text = String::from_utf8(driver.taken()).unwrap();
    assert_eq!(
        text,
        "HTTP/1.1 200 OK\r\nServer: handoff\r\n\
         Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 2\r\n\r\n/1"
    );
}

#[test]
fn answers_of_a_batch_leave_in_one_piece() {
    let mut driver = Driver::new(echo);
    let batch = GET.repeat(16);
    driver.input.space()[..batch.len()].copy_from_slice(&batch);
    driver.input.filled(batch.len());
    let flow = driver.call(Connection::receive);
    assert!(matches!(flow, Flow::Read));
    assert_eq!(client::answers(driver.output.pending(), &[]).len(), 16);
    assert!(driver.input.is_empty() && driver.input.is_standard());
}

#[test]
fn a_head_is_answered_as_a_get_without_the_body() {
    let mut driver = Driver::new(echo);
    driver.send(b"HEAD /12 HTTP/1.1\r\nHost: a\r\n\r\n");
    let answer = only(&mut driver, true);
    assert_eq!(answer.field("content-length"), Some("3"));
    driver.send(b"HEAD / HTTP/1.1\r\nHost: a b\r\n\r\n");
    let answer = only(&mut driver, true);
    assert_eq!((answer.status, answer.closes()), (400, true));
    assert!(driver.taken().is_empty());
}

#[test]
fn some_statuses_have_no_body_whatever_the_handler_says() {
    for (status, length) in [(204, None), (304, None), (205, Some("0"))] {
        let handler = move |_: &Request<'_>, response: &mut Response<'_>| {
            response.status(status).body("no");
        };
        let mut driver = Driver::new(handler);
        driver.send(&[GET, GET].concat());
        let answers = client::answers(&driver.taken(), &[]);
        assert_eq!(answers.len(), 2);
        assert_eq!(answers[0].field("content-length"), length);
    }
}

#[test]
fn a_status_that_is_none_is_an_error_of_the_server() {
    for status in [0, 99, 100, 101, 199, 600, 1000, 65535] {
        let handler = move |_: &Request<'_>, response: &mut Response<'_>| {
            response.status(status);
        };
        let mut driver = Driver::new(handler);
        driver.send(GET);
        assert_eq!(only(&mut driver, false).status, 500);
    }
}

#[test]
fn the_application_refuses_methods_by_itself() {
    let handler = |request: &Request<'_>, response: &mut Response<'_>| {
        if request.method() != Method::Get {
            response.status(405).field("Allow", "GET, HEAD").unwrap();
        }
    };
    let mut driver = Driver::new(handler);
    driver.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx");
    let answer = only(&mut driver, false);
    assert_eq!((answer.status, answer.closes()), (405, false));
    assert_eq!(answer.field("allow"), Some("GET, HEAD"));
    driver.send(GET);
    assert_eq!(bodies(&mut driver), ["200 "]);
}

fn post(version: &str, fields: &str) -> Vec<u8> {
    let host = "Host: a\r\nExpect: 100-continue";
    format!("POST / HTTP/{version}\r\n{host}\r\n{fields}\r\n\r\n").into()
}

#[test]
fn consent_is_given_once_and_only_to_who_waits_for_it() {
    let consent: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
    for framing in ["Content-Length: 2", "Transfer-Encoding: chunked"] {
        let head = post("1.1", framing);
        let mut driver = Driver::new(echo);
        driver.send(GET);
        driver.taken();
        driver.send(&head[..head.len() - 1]);
        assert!(driver.taken().is_empty());
        driver.send(&head[head.len() - 1..]);
        assert_eq!(driver.taken(), consent);
        assert_eq!(driver.connection.expects(), Expects::Body);
        driver.send(b"1");
        assert!(driver.taken().is_empty());
    }
    let here = [&post("1.1", "Content-Length: 2")[..], b"o"].concat();
    for silent in [
        &here[..],
        &post("1.0", "Content-Length: 2"),
        &post("1.1", "Content-Length: 0")[..50],
    ] {
        let mut driver = Driver::new(echo);
        driver.send(silent);
        assert!(driver.taken().is_empty());
    }
}

#[test]
fn consent_comes_behind_the_answers_to_earlier_requests() {
    let mut driver = Driver::new(echo);
    driver.send(&[GET, &post("1.1", "Content-Length: 2"), b""].concat());
    driver.send(b"ok");
    let answers = client::answers(&driver.taken(), &[]);
    assert_eq!((answers[0].continues, answers[1].continues), (0, 1));
}

#[test]
fn a_client_that_does_not_read_is_not_listened_to() {
    let calls = Rc::new(RefCell::new(0));
    let count = Rc::clone(&calls);
    let handler = move |_: &Request<'_>, response: &mut Response<'_>| {
        *count.borrow_mut() += 1;
        response.body([0; 1000]);
    };
    let mut driver = Driver::new(handler);
    let batch = GET.repeat(Input::STANDARD / GET.len());
    driver.input.space()[..batch.len()].copy_from_slice(&batch);
    driver.input.filled(batch.len());
    for round in 1.. {
        let flow = driver.call(Connection::receive);
        let most = round * (Output::MARK / 1000 + 1);
        assert!(*calls.borrow() <= most);
        let pending = driver.output.pending().len();
        assert!(pending < Output::MARK + 2000);
        if matches!(flow, Flow::Read) {
            break;
        }
        assert!(matches!(flow, Flow::Write));
        // It does not help to call again, and not to write a little.
        assert!(matches!(driver.call(Connection::receive), Flow::Write));
        driver.output.written(1);
        assert!(matches!(driver.call(Connection::receive), Flow::Write));
        driver.output.written(pending - 1);
    }
    assert_eq!(*calls.borrow(), batch.len() / GET.len());
}

#[test]
fn a_claimed_length_takes_no_memory() {
    let mut driver = Driver::new(echo);
    driver.limits.body = usize::MAX;
    for length in ["99999999999999", "99999999999999999999999"] {
        driver.send(
            format!("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}")
                .as_bytes(),
        );
        driver.send(b"\r\n\r\nabc");
        assert_eq!(driver.connection.expects(), Expects::Body);
        assert!(driver.input.is_standard());
        driver.connection = Connection::new();
        driver.input.clear();
    }
}

#[test]
fn one_byte_at_a_time_costs_what_it_costs_at_once() {
    let body = "x".repeat(1 << 20);
    let fields = format!("X: {}\r\n", "y".repeat(15_000));
    let head = "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n";
    let bytes = format!("{head}{fields}\r\n100000\r\n{body}\r\n0\r\n\r\n");
    let handler = |request: &Request<'_>, response: &mut Response<'_>| {
        response.body(request.body().len().to_string());
    };
    let mut driver = Driver::new(handler);
    for byte in bytes.as_bytes().chunks(1) {
        driver.send(byte);
    }
    assert_eq!(bodies(&mut driver), ["200 1048576"]);
}

#[test]
fn the_connection_ends_when_either_side_wants_it() {
    let mut driver = Driver::new(echo);
    driver.send(LAST);
    assert!(only(&mut driver, false).closes());
    assert_eq!(driver.closing, Some(Closing::Plain));

    let mut driver = Driver::new(echo);
    driver.send(&[LAST, NEXT].concat());
    assert_eq!(bodies(&mut driver), ["200 /3"]);
    assert_eq!(driver.closing, Some(Closing::Staged));

    let mut driver = Driver::new(echo);
    driver.leaving = true;
    driver.send(GET);
    assert!(only(&mut driver, false).closes());
    assert_eq!(driver.closing, Some(Closing::Staged));

    let closer = |_: &Request<'_>, response: &mut Response<'_>| {
        response.close();
    };
    let mut driver = Driver::new(closer);
    driver.send(&[GET, NEXT].concat());
    assert!(only(&mut driver, false).closes());
    assert_eq!(driver.closing, Some(Closing::Staged));
}

#[test]
fn a_connection_has_so_many_requests_also_across_idleness() {
    let mut driver = Driver::new(echo);
    driver.limits.requests = 3;
    driver.send(GET);
    driver.connection = Connection::resume(driver.connection.served());
    driver.send(&[GET, NEXT, LAST].concat());
    let answers = client::answers(&driver.taken(), &[]);
    let closes: Vec<_> = answers.iter().map(Answer::closes).collect();
    assert_eq!(closes, [false, false, true]);
}

#[test]
fn an_old_client_is_kept_if_it_asks_and_told_so() {
    let mut driver = Driver::new(echo);
    driver.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    let answer = only(&mut driver, false);
    assert_eq!(answer.field("connection"), Some("keep-alive"));
    driver.send(OLD);
    assert!(only(&mut driver, false).closes());
    assert_eq!(driver.closing, Some(Closing::Plain));
}

#[test]
fn the_end_of_what_a_client_sends_is_no_wish_to_hang_up() {
    let mut driver = Driver::new(echo);
    driver.input.space()[..GET.len()].copy_from_slice(GET);
    driver.input.filled(GET.len());
    driver.end();
    assert_eq!(bodies(&mut driver), ["200 /1"]);
    assert_eq!(driver.closing, Some(Closing::Plain));

    let half = b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nx";
    for incomplete in [&half[..], &half[..20], b"\r\n", b""] {
        let mut driver = Driver::new(echo);
        driver.send(GET);
        driver.send(incomplete);
        driver.end();
        assert_eq!(bodies(&mut driver), ["200 /1"]);
        assert_eq!(driver.closing, Some(Closing::Plain));
    }
}

/// Keeps what it is to answer later for `/1`, and answers others at once.
fn deferring() -> (impl Handler, Rc<RefCell<Vec<Later>>>) {
    let kept = Rc::new(RefCell::new(Vec::new()));
    let laters = Rc::clone(&kept);
    let handler = move |request: &Request<'_>, response: &mut Response<'_>| {
        if request.target() == "/1" {
            laters.borrow_mut().push(response.later());
        } else {
            response.body(request.target());
        }
    };
    (handler, kept)
}

fn reply(body: &str) -> Reply {
    let mut reply = Reply::new();
    reply.body(body);
    reply
}

/// Delivers what is in the mailbox; how many answers were taken.
fn deliver<H: Handler>(driver: &mut Driver<H>) -> usize {
    let mut taken = 0;
    for answer in driver.mailbox.take() {
        assert_eq!(answer.ticket(), 7);
        let fits = driver.call(|connection, _, output, service| {
            connection.answer(answer, output, service)
        });
        taken += usize::from(fits);
    }
    driver.step(false);
    taken
}

#[test]
fn an_answer_from_another_thread_keeps_its_place() {
    let (handler, kept) = deferring();
    let mut driver = Driver::new(handler);
    driver.send(&[NEXT, GET, NEXT].concat());
    assert_eq!(bodies(&mut driver), ["200 /2"]);
    assert_eq!(driver.connection.expects(), Expects::Answer);
    let later = kept.borrow_mut().remove(0);
    std::thread::spawn(move || later.send(reply("late"))).join().unwrap();
    assert_eq!(deliver(&mut driver), 1);
    assert_eq!(bodies(&mut driver), ["200 late", "200 /2"]);
    assert!(driver.connection.is_idle());
}

#[test]
fn a_stale_answer_reaches_nobody() {
    let (handler, kept) = deferring();
    let mut driver = Driver::new(handler);
    driver.send(GET);
    let stale = kept.borrow_mut().remove(0);
    assert!(!stale.is_gone());
    driver.connection = Connection::new();
    assert!(stale.is_gone());
    driver.send(GET);
    stale.send(reply("stale"));
    assert_eq!(deliver(&mut driver), 0);
    assert!(driver.taken().is_empty());
    kept.borrow_mut().remove(0).send(reply("fresh"));
    assert_eq!(deliver(&mut driver), 1);
    assert_eq!(bodies(&mut driver), ["200 fresh"]);
}

#[test]
fn a_promise_that_is_dropped_is_an_error() {
    let (handler, kept) = deferring();
    let mut driver = Driver::new(handler);
    driver.send(&[GET, NEXT].concat());
    kept.borrow_mut().clear();
    assert_eq!(deliver(&mut driver), 1);
    let answer = only(&mut driver, false);
    assert_eq!((answer.status, answer.closes()), (500, true));
}

#[test]
fn a_client_that_only_listens_still_gets_a_late_answer() {
    let (handler, kept) = deferring();
    let mut driver = Driver::new(handler);
    driver.send(&[GET, NEXT].concat());
    driver.end();
    assert_eq!(driver.closing, None);
    kept.borrow_mut().remove(0).send(reply("late"));
    deliver(&mut driver);
    assert_eq!(bodies(&mut driver), ["200 late", "200 /2"]);
    assert_eq!(driver.closing, Some(Closing::Plain));
}

#[test]
fn an_answer_can_wait_for_its_time() {
    let handler = |request: &Request<'_>, response: &mut Response<'_>| {
        let target = request.target().to_owned();
        response.status(404).body("dropped");
        response.after(Duration::from_secs(1), move |reply| {
            reply.body(target);
        });
    };
    let mut driver = Driver::new(handler);
    driver.send(&[GET, NEXT].concat());
    for body in ["200 /1", "200 /2"] {
        assert!(driver.taken().is_empty());
        let delayed = driver.delayed.pop().unwrap();
        assert!(driver.elapse(delayed));
        assert_eq!(bodies(&mut driver), [body]);
    }
    driver.send(GET);
    let delayed = driver.delayed.pop().unwrap();
    driver.connection = Connection::new();
    assert!(!driver.elapse(delayed));
}

fn panicking(request: &Request<'_>, response: &mut Response<'_>) {
    response.body("half");
    match request.target() {
        "/1" => panic!("as the test wants"),
        "/2" => response.after(Duration::ZERO, |_| panic!("as wanted")),
        _ => response.stream(|chunk| {
            chunk.push("half");
            panic!("as the test wants")
        }),
    }
}

#[test]
fn a_panic_costs_one_request() {
    let mut driver = Driver::new(panicking);
    driver.send(&[GET, NEXT].concat());
    let answer = only(&mut driver, false);
    assert_eq!((answer.status, answer.closes()), (500, true));
    assert!(driver.panicked && driver.closing == Some(Closing::Staged));

    let mut driver = Driver::new(panicking);
    driver.send(NEXT);
    let delayed = driver.delayed.pop().unwrap();
    assert!(driver.elapse(delayed));
    assert_eq!(only(&mut driver, false).status, 500);
    assert!(driver.panicked && driver.closing == Some(Closing::Staged));

    let mut driver = Driver::new(panicking);
    driver.send(b"GET /3 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(driver.taken().ends_with(b"\r\n\r\n"), "cut off, not ended");
    assert!(driver.panicked && driver.closing == Some(Closing::Staged));
}

/// Streams `count` pieces of 1000 bytes.
fn streaming(count: usize) -> impl Handler {
    move |_: &Request<'_>, response: &mut Response<'_>| {
        let mut left = count;
        response.status(201).field("X", "y").unwrap();
        response.stream(move |chunk| {
            assert!(chunk.room() > 0);
            if left == 0 {
                return Produce::End;
            }
            left -= 1;
            chunk.write_all(&[b'x'; 1000]).unwrap();
            Produce::More
        });
    }
}

#[test]
fn a_stream_is_chunked_or_ends_with_the_connection() {
    let mut driver = Driver::new(streaming(50));
    driver.send(&[GET, NEXT].concat());
    let answers = client::answers(&driver.taken(), &[]);
    for answer in &answers {
        assert_eq!(answer.field("transfer-encoding"), Some("chunked"));
        assert_eq!((answer.status, answer.body.len()), (201, 50_000));
    }
    assert_eq!((answers.len(), driver.connection.is_idle()), (2, true));

    driver.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    let answer = only(&mut driver, false);
    assert!(answer.closes() && answer.field("transfer-encoding").is_none());
    assert_eq!(answer.body.len(), 50_000);
    assert!(driver.closing.is_some());
}

#[test]
fn a_stream_for_a_head_is_never_begun() {
    let handler = |_: &Request<'_>, response: &mut Response<'_>| {
        response.stream(|_| unreachable!());
    };
    let mut driver = Driver::new(handler);
    driver.send(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    let answer = only(&mut driver, true);
    assert_eq!(answer.field("transfer-encoding"), Some("chunked"));
    assert!(driver.connection.is_idle());
}

#[test]
fn a_stream_runs_no_further_than_its_client() {
    let mut driver = Driver::new(streaming(1_000_000));
    driver.input.space()[..GET.len()].copy_from_slice(GET);
    driver.input.filled(GET.len());
    for _ in 0..3 {
        assert!(matches!(driver.call(Connection::receive), Flow::Write));
        let pending = driver.output.pending().len();
        assert!((Output::MARK..Output::MARK + 2000).contains(&pending));
        assert_eq!(driver.connection.expects(), Expects::Stream);
        driver.output.written(pending);
    }
}

#[test]
fn a_stream_with_nothing_to_say_waits() {
    let mut pieces = vec![
        (Produce::End, "c"),
        (Produce::More, "b"),
        (Produce::More, ""),
        (Produce::Pause(Duration::from_secs(9)), "a"),
    ];
    let handler = move |_: &Request<'_>, response: &mut Response<'_>| {
        let mut pieces = std::mem::take(&mut pieces);
        response.stream(move |chunk| {
            let (produce, text) = pieces.pop().unwrap();
            chunk.push(text);
            produce
        });
    };
    let mut driver = Driver::new(handler);
    driver.send(GET);
    let pauses = [Duration::from_secs(9), Duration::from_millis(1)];
    assert_eq!(driver.pauses, pauses);
    assert_eq!(bodies(&mut driver), ["200 abc"]);
}

#[test]
fn the_caller_can_turn_a_client_away() {
    for (bytes, refusal, status) in [
        (&b""[..], Refusal::Overloaded, 503),
        (&GET[..9], Refusal::Late, 408),
        (&post("1.1", "Content-Length: 2"), Refusal::Late, 408),
    ] {
        let mut driver = Driver::new(echo);
        driver.send(bytes);
        driver.taken();
        driver.call(|connection, input, output, service| {
            connection.refuse(refusal, input, output, service);
        });
        driver.step(false);
        let answer = only(&mut driver, false);
        assert_eq!((answer.status, answer.closes()), (status, true));
        assert_eq!(driver.closing, Some(Closing::Staged));
    }
}

#[test]
fn a_small_request_takes_no_memory() {
    let handler = |request: &Request<'_>, response: &mut Response<'_>| {
        let host = request.field("host").unwrap_or_default();
        response.field("X-Host", host).unwrap();
        let _ = write!(**response, "{} {}", request.method(), request.path());
    };
    let mut driver = Driver::new(handler);
    let batch = [GET, NEXT].concat();
    let round = |driver: &mut Driver<_>| {
        driver.input.space()[..batch.len()].copy_from_slice(&batch);
        driver.input.filled(batch.len());
        let flow = driver.call(Connection::receive);
        assert!(matches!(flow, Flow::Read));
        let count = driver.output.pending().len();
        driver.output.written(count);
    };
    round(&mut driver);
    let taken = allocation_counter::measure(|| round(&mut driver));
    assert_eq!(taken.count_total, 0);
}
