//! Answers of which a client has taken some when their worker dies.

use std::thread;
use std::time::Duration;

use crate::client::answers;
use crate::common::{process, wait_until};
use crate::peer::{Client, End};
use crate::{
    MOMENT, Mortals, answer, expect, expect_refusal, expect_usable, get, last,
    post,
};

/// A client that has asked for all of these and takes nothing yet, so that
/// the worker stands in the middle of one.
fn stuck(mortals: &Mortals, requests: &str) -> Client {
    let mut client = Client::open_narrow(mortals.server.place());
    let sent = client.send_what_fits(requests.as_bytes());
    assert_eq!(sent, requests.len(), "the requests do not fit");
    client
}

/// So many requests with answers of this size, the last of which may end the
/// connection.
fn many(count: usize, size: usize, ends: bool) -> String {
    let options = format!("&size={size}");
    let request = |at: usize| {
        let request = get(&format!("n{at}"), &options);
        if ends && at + 1 == count { last(request) } else { request }
    };
    (0..count).map(request).collect()
}

/// Waits until the worker cannot write any more: then it is in the middle of
/// an answer.
fn wait_until_stuck(mortals: &Mortals, count: usize) {
    let asked = || {
        (0..count).filter(|at| mortals.asked(&format!("n{at}")) > 0).count()
    };
    let rests = || {
        let workers = mortals.server.workers();
        let stat = workers.first().and_then(|pid| process::stat(*pid));
        stat.is_some_and(|stat| stat.state == 'S')
    };
    let (mut last, mut rounds) = (0, 0);
    wait_until("the worker can write no more", || {
        thread::sleep(MOMENT);
        let now = asked();
        let same = now > 0 && std::mem::replace(&mut last, now) == now;
        rounds = if same && rests() { rounds + 1 } else { 0 };
        rounds == 3
    });
    assert!(last < count, "everything is written");
}

#[test]
fn what_a_slow_reader_has_not_taken_is_finished_to_the_byte() {
    // The largest that a shared buffer holds, with its head, is the last of
    // these.
    for (name, count, size) in [
        ("slow-s", 1000, 8_000),
        ("slow-m", 400, 20_000),
        ("slow-l", 350, 24_300),
    ] {
        let mortals = Mortals::start(name, "");
        let mut client = stuck(&mortals, &many(count, size, true));
        wait_until_stuck(&mortals, count);
        mortals.kill_all();
        let mut bytes = Vec::new();
        let mut kills = 0;
        // Now and then it takes a little, and another worker dies.
        let end = loop {
            if kills < 8 {
                kills += 1;
                thread::sleep(MOMENT / 2);
                mortals.kill_all();
            }
            match client.read(3 * size) {
                Ok(_) => bytes.append(&mut client.take()),
                Err(end) => break end,
            }
        };
        assert_eq!(end, End::Clean, "{name}");
        let heard = answers(&bytes, &[]);
        assert_eq!(heard.len(), count, "{name}");
        for (at, answer) in heard.iter().enumerate() {
            expect(answer, &format!("n{at}"), size);
        }
        drop(client);
        mortals.expect_nothing_left();
    }
}

#[test]
fn what_is_written_is_never_computed_again() {
    let mortals = Mortals::start("once", "");
    let count = 300;
    let mut client = stuck(&mortals, &many(count, 20_000, true));
    wait_until_stuck(&mortals, count);
    mortals.kill_all();
    let heard = client.answers();
    assert_eq!(heard.len(), count);
    let twice = (0..count).filter(|at| mortals.asked(&format!("n{at}")) > 1);
    assert_eq!(twice.count(), 0, "one death, and it was in a write");
}

#[test]
fn half_an_answer_that_nobody_has_is_reset_and_never_looks_whole() {
    let mortals = Mortals::start("large", "");
    for (number, request) in [
        get as fn(&str, &str) -> String,
        |name, options| last(get(name, options)),
        |name, options| post(name, options, ""),
        |name, options| {
            get(name, options)
                .replace("HTTP/1.1", "HTTP/1.0")
                .replace("&size", "&way=stream&size")
        },
        |name, options| {
            last(get(name, options).replace("&size", "&way=stream&size"))
        },
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("large-{number}");
        let options = "&size=9000000";
        let mut client = Client::open_narrow(mortals.server.place());
        client.send(request(&name, options));
        client.until(b"\r\n\r\n");
        mortals.kill_all();
        let (bytes, end) = client.rest();
        assert_eq!(end, End::Reset, "{name}");
        assert!(bytes.len() < 9_000_000, "{name}");
        assert_eq!(mortals.asked(&name), 1);
    }
    mortals.expect_nothing_left();
}

#[test]
fn a_large_answer_that_is_all_with_the_kernel_is_none_of_our_concern() {
    let mortals = Mortals::start("written", "");
    let mut client = mortals.client();
    for method in ["GET", "POST"] {
        let name = format!("large-{method}");
        client.send(crate::ask(method, &name, "&size=200000"));
        client.until(b"\r\n\r\n");
        thread::sleep(MOMENT);
        mortals.kill_all();
        expect(&client.answer(), &name, 200_000);
        expect_usable(&mut client);
        assert_eq!(mortals.asked(&name), 1);
    }
}

#[test]
fn a_large_answer_of_which_nothing_is_written_is_made_again() {
    let mortals = Mortals::start("unwritten", "");
    let mut client = mortals.client();
    let options = "&size=500000&way=after&wait=60";
    client.send(get("get", options));
    mortals.wait_for("get", 1);
    mortals.kill_all();
    expect(&client.answer(), "get", 500_000);
    client.send(post("post", options, ""));
    mortals.wait_for("post", 1);
    mortals.kill_all();
    expect_refusal(&mut client);
}

#[test]
fn a_stream_that_has_begun_ends_with_a_reset() {
    let mortals = Mortals::start("stream", "");
    for version in ["HTTP/1.1", "HTTP/1.0"] {
        let mut client = mortals.client();
        let options = "&way=stream&wait=50&size=100";
        client.send(get("stream", options).replace("HTTP/1.1", version));
        client.until(b"\r\n\r\n");
        thread::sleep(MOMENT);
        mortals.kill_all();
        let (bytes, end) = client.rest();
        assert_eq!(end, End::Reset, "{version}: {}", bytes.escape_ascii());
    }
    // One that is at its end is an answer like any other.
    let mut client = mortals.client();
    client.send(get("whole", "&way=stream&size=100"));
    client.until(b"\r\n0\r\n\r\n");
    thread::sleep(MOMENT);
    mortals.kill_all();
    client.send(last(get("usable", "")));
    let heard = client.answers();
    assert_eq!(heard[0].body, answer::body("whole", 100));
    expect(&heard[1], "usable", 10);
    drop(client);
    mortals.expect_nothing_left();
}

#[test]
fn an_answer_in_the_middle_of_its_write_outlives_a_reload_too() {
    let mortals = Mortals::start("reloaded", "");
    let count = 300;
    let mut client = stuck(&mortals, &many(count, 20_000, false));
    wait_until_stuck(&mortals, count);
    let old = mortals.server.workers();
    mortals.server.signal("HUP");
    thread::sleep(Duration::from_millis(1500));
    for at in 0..count {
        expect(&client.answer(), &format!("n{at}"), 20_000);
    }
    expect_usable(&mut client);
    assert_ne!(mortals.server.workers(), old);
}
