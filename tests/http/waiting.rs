//! Answers that do not come at once: from another thread, after a time, bit
//! by bit, or not at all because the handler panicked.

use crate::{
    client,
    driver::{Driver, GET, NEXT, bodies, only},
};
use handoff::http::{
    Closing, Connection, Expects, Flow, Handler, Later, Output, Produce,
    Reply, Request, Response,
};
use std::{cell::RefCell, io::Write as _, rc::Rc, time::Duration};

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
