//! The course of a conversation: order, closing, waiting, streams.

use crate::{
    client::{self, Answer},
    driver::{Driver, GET, NEXT, bodies, only},
};
use handoff::http::{
    Closing, Connection, Expects, Flow, Input, Method, Output, Refusal,
    Request, Response,
};
use std::{
    cell::{Cell, RefCell},
    io::Write as _,
    rc::Rc,
};

const LAST: &[u8] = b"GET /3 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
const OLD: &[u8] = b"GET /0 HTTP/1.0\r\n\r\n";

/// Answers with the target.
fn echo(request: &Request<'_>, response: &mut Response<'_>) {
    response.body(request.target());
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
fn the_room_for_a_large_request_goes_with_it() {
    let mut driver = Driver::new(echo);
    let body = "x".repeat(1_000_000);
    let post = "POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n";
    driver.send(format!("{post}\r\n").as_bytes());
    let (first, second) = body.split_at(700_000);
    driver.send(first.as_bytes());
    // What comes behind it is not to have as much room.
    let portion = driver.input.space().len();
    assert!(portion <= 64 << 10, "{portion} bytes");
    // The client may let the answer lie, and this with it.
    driver.send(format!("{second}GET /2 HT").as_bytes());
    assert_eq!(bodies(&mut driver), ["200 /1"]);
    assert!(driver.input.is_standard());
    driver.send(b"TP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(bodies(&mut driver), ["200 /2"]);
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

    // Nothing is unread behind its end, whatever is left unanswered.
    let mut driver = Driver::new(echo);
    let bytes = [LAST, NEXT].concat();
    driver.input.space()[..bytes.len()].copy_from_slice(&bytes);
    driver.input.filled(bytes.len());
    driver.end();
    assert_eq!(bodies(&mut driver), ["200 /3"]);
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

#[test]
fn answered_singly_no_request_is_handled_before_the_last_answer_is_written() {
    let handled = Rc::new(Cell::new(0));
    let count = Rc::clone(&handled);
    let mut driver = Driver::new(
        move |request: &Request<'_>, response: &mut Response<'_>| {
            count.set(count.get() + 1);
            response.body(request.target());
        },
    );
    driver.connection.answer_singly();
    let bytes = [GET, NEXT, GET].concat();
    driver.input.space()[..bytes.len()].copy_from_slice(&bytes);
    driver.input.filled(bytes.len());
    for number in 1..=3 {
        let flow = driver.call(|connection, input, output, service| {
            connection.receive(input, output, service)
        });
        assert_eq!(matches!(flow, Flow::Write), number < 3, "{flow:?}");
        assert_eq!(handled.get(), number);
        let pending = driver.output.pending();
        assert_eq!(client::answers(pending, &[]).len(), 1);
        let count = pending.len();
        driver.output.written(count);
    }
}
