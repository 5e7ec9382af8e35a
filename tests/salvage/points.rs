//! Where in a request's life its worker dies, and what is asked.

use std::thread;

use crate::client::answers;
use crate::common::{process, wait_until};
use crate::peer::End;
use crate::{
    MOMENT, Mortals, ask, expect, expect_refusal, expect_usable, get, last,
    post,
};

/// How a worker ends: by others, by itself, by its own memory, of its own
/// accord.
const ENDS: [&str; 5] = ["KILL", "ABRT", "SEGV", "exit", "done"];

#[test]
fn a_request_that_may_be_repeated_is_answered_by_the_next_worker() {
    let mortals = Mortals::start("before", "");
    let mut client = mortals.client();
    for method in ["GET", "PUT", "DELETE", "OPTIONS"] {
        for how in ENDS {
            let name = format!("{method}-{how}");
            mortals.load(&name, 1);
            client.send(ask(method, &name, &format!("&die={how}")));
            expect(&client.answer(), &name, 10);
            assert_eq!(mortals.asked(&name), 2, "{name}");
        }
    }
    mortals.load("head", 1);
    client.send(last(ask("HEAD", "head", "&die=KILL")));
    let (bytes, end) = client.rest();
    let heard = answers(&bytes, &[true]);
    assert_eq!((heard.len(), heard[0].status, end), (1, 200, End::Clean));
    assert_eq!(mortals.asked("head"), 2);
    drop(client);
    mortals.expect_nothing_left();
}

#[test]
fn one_that_may_not_is_refused_once_and_never_asked_again() {
    let mortals = Mortals::start("post", "");
    for method in ["POST", "PATCH"] {
        for how in ENDS {
            let name = format!("{method}-{how}");
            mortals.load(&name, 1);
            let mut client = mortals.client();
            client.send(ask(method, &name, &format!("&die={how}")));
            expect_refusal(&mut client);
            assert_eq!(mortals.asked(&name), 1, "{name}");
        }
    }
    mortals.expect_nothing_left();
}

#[test]
fn one_of_which_the_handler_says_that_it_may_is_answered() {
    let mortals = Mortals::start("replayable", "");
    let mut client = mortals.client();
    for how in ENDS {
        let name = format!("again-{how}");
        mortals.load(&name, 1);
        let options = format!("&again=yes&die={how}");
        client.send(post(&name, &options, ""));
        expect(&client.answer(), &name, 10);
        assert_eq!(mortals.asked(&name), 2, "{name}");
    }
}

#[test]
fn the_last_request_of_a_connection_ends_it_whoever_answers() {
    let mortals = Mortals::start("closing", "");
    for how in ENDS {
        for at in ["start", "0", "100", "400", "20000"] {
            let name = format!("last-{how}-{at}");
            mortals.load(&name, 1);
            let mut client = mortals.client();
            let options = format!("&die={how}&at={at}");
            client.send(last(get(&name, &options)));
            let heard = client.answers();
            assert_eq!(heard.len(), 1, "{name}: {heard:?}");
            expect(&heard[0], &name, 10);
        }
    }
    mortals.expect_nothing_left();
}

#[test]
fn a_death_behind_the_answer_is_not_noticed() {
    let mortals = Mortals::start("behind", "");
    let mut client = mortals.client();
    for how in ["KILL", "SEGV", "exit"] {
        for (name, request) in [
            (format!("get-{how}"), get as fn(&str, &str) -> String),
            (format!("post-{how}"), |name, o| post(name, o, "")),
        ] {
            mortals.load(&name, 1);
            let worker = mortals.server.workers()[0];
            client.send(request(&name, &format!("&die={how}&at=300000")));
            expect(&client.answer(), &name, 10);
            wait_until("its worker is dead", || !process::lives(worker));
            expect_usable(&mut client);
            assert_eq!(mortals.asked(&name), 1, "{name}");
        }
    }
    drop(client);
    mortals.expect_nothing_left();
}

/// The handler answers, and a thread beside it ends the process meanwhile.
#[test]
fn a_death_around_the_answer_makes_no_second_one_and_none_too_few() {
    let mortals = Mortals::start("around", "");
    let mut client = mortals.client();
    for at in (0..300).step_by(10) {
        let options = format!("&die=ABRT&at={at}&size=3000");
        let name = format!("get-{at}");
        mortals.load(&name, 1);
        client.send(get(&name, &options));
        expect(&client.answer(), &name, 3000);
        expect_usable(&mut client);
        assert!(mortals.asked(&name) <= 2);

        let name = format!("post-{at}");
        mortals.load(&name, 1);
        client.send(post(&name, &options, ""));
        let answer = client.answer();
        // The one before may have been late, and have hit this one: then no
        // handler has seen it, although one was about to.
        assert!(mortals.asked(&name) <= 1);
        if answer.status == 502 {
            assert_eq!(client.rest(), (vec![], End::Clean));
            client = mortals.client();
        } else {
            expect(&answer, &name, 3000);
            assert_eq!(mortals.asked(&name), 1);
            expect_usable(&mut client);
        }
    }
}

#[test]
fn a_pipeline_is_answered_in_order_up_to_what_is_lost() {
    let mortals = Mortals::start("pipeline", "");
    let mut client = mortals.client();
    // Who dies, of G(et) and P(ost), and how many answers come.
    for (round, (kinds, dies, heard)) in [
        ("GGG", 0, 3),
        ("GGG", 2, 3),
        ("GPG", 0, 3),
        ("GPG", 2, 3),
        ("PPG", 2, 3),
        ("GPG", 1, 1),
        ("PPP", 1, 1),
        ("GGP", 2, 2),
        ("PGG", 0, 0),
    ]
    .into_iter()
    .enumerate()
    {
        let name = |at: usize| format!("pipe-{round}-{at}");
        mortals.load(&name(dies), 1);
        let requests =
            kinds.chars().enumerate().map(|(at, kind)| match kind {
                'G' => get(&name(at), "&die=KILL"),
                _ => post(&name(at), "&die=KILL", ""),
            });
        client.send(requests.collect::<String>());
        for at in 0..heard {
            expect(&client.answer(), &name(at), 10);
        }
        if heard < kinds.len() {
            expect_refusal(&mut client);
            client = mortals.client();
        }
        for (at, kind) in kinds.chars().enumerate() {
            let most = if kind == 'P' { 1 } else { 2 };
            assert!(mortals.asked(&name(at)) <= most, "{kinds} {at}");
        }
    }
}

#[test]
fn half_a_request_goes_on_with_the_next_worker() {
    let mortals = Mortals::start("half", "");
    let mut client = mortals.client();
    let chunked = "POST /?name=half HTTP/1.1\r\nHost: a\r\n\
        Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\nd";
    let consent = "POST /?name=half HTTP/1.1\r\nHost: a\r\n\
        Expect: 100-continue\r\nContent-Length: 7\r\n\r\n";
    let long = "x".repeat(8000);
    let long = post("half", "", &long);
    let halves = [
        ("G".to_owned(), get("half", "")[1..].to_owned(), 0),
        (get("half", "")[..30].to_owned(), get("half", "")[30..].into(), 0),
        (post("half", "", "abc"), post("half", "", "defg"), 4),
        (chunked.to_owned(), "efg\r\n0\r\n\r\n".to_owned(), 7),
        (consent.to_owned(), "abcdefg".to_owned(), 7),
        (long[..7000].to_owned(), long[7000..].to_owned(), 8000),
        // A whole one, and half of the next.
        (get("half", "") + "GET /?na", get("half", "")[8..].into(), 0),
    ];
    for (number, (first, rest, body)) in halves.iter().enumerate() {
        client.send(first);
        thread::sleep(MOMENT);
        if number == 2 || number == 6 {
            assert_eq!(client.answer().status, 200);
        }
        mortals.kill_all();
        client.send(rest);
        let answer = client.answer();
        assert_eq!((number, answer.status), (number, 200));
        assert_eq!(answer.body.len(), 10 + body, "{number}");
    }
    drop(client);
    mortals.expect_nothing_left();
}

#[test]
fn what_outgrows_the_journal_is_refused_and_the_small_is_not() {
    let mortals = Mortals::start("outgrown", "");
    let head = post("large", "", "").replace("th: 0", "th: 100000");
    for sent in [1000, 9000, 50_000] {
        let mut client = mortals.client();
        client.send(head.clone() + &"x".repeat(sent));
        thread::sleep(MOMENT);
        mortals.kill_all();
        thread::sleep(MOMENT);
        if sent > 8192 {
            // Nobody has all of it any more.
            expect_refusal(&mut client);
            continue;
        }
        client.send("x".repeat(100_000 - sent));
        let answer = client.answer();
        assert_eq!((answer.status, answer.body.len()), (200, 100_010));
    }
    mortals.expect_nothing_left();
}

#[test]
fn an_answer_that_takes_time_is_begun_anew() {
    let mortals = Mortals::start("delayed", "");
    let mut client = mortals.client();
    for way in ["after", "later", "now"] {
        let options = format!("&way={way}&wait=300");
        let name = format!("get-{way}");
        client.send(get(&name, &options));
        mortals.wait_for(&name, 1);
        mortals.kill_all();
        expect(&client.answer(), &name, 10);
        assert!(mortals.asked(&name) <= 2);

        let name = format!("again-{way}");
        client.send(post(&name, &(options.clone() + "&again=yes"), ""));
        mortals.wait_for(&name, 1);
        mortals.kill_all();
        expect(&client.answer(), &name, 10);

        let name = format!("post-{way}");
        // It will never come to its end.
        client.send(post(&name, &options.replace("300", "10000"), ""));
        mortals.wait_for(&name, 1);
        mortals.kill_all();
        expect_refusal(&mut client);
        assert_eq!(mortals.asked(&name), 1);
        client = mortals.client();
    }
    drop(client);
    mortals.expect_nothing_left();
}

/// What stands behind a large request was read along with it, into memory
/// that nobody else sees.
#[test]
fn a_small_request_between_two_large_ones_is_asked_again() {
    let mortals = Mortals::start("between", "");
    let chunk = format!("3e8\r\n{}\r\n", "x".repeat(1000));
    let chunked = "PUT /?name=large HTTP/1.1\r\nHost: a\r\n\
        Transfer-Encoding: chunked\r\n\r\n";
    let field = format!("Host: a\r\nX: {}", "x".repeat(9000));
    for (kind, large, size) in [
        ("sized", post("large", "", &"x".repeat(20_000)), 20_010),
        ("head", get("large", "").replace("Host: a", &field), 10),
        ("chunked", format!("{chunked}{}0\r\n\r\n", chunk.repeat(20)), 20_010),
    ] {
        for way in ["now", "after", "later", "now&die=KILL"] {
            let name = format!("small-{kind}-{}", way.replace("&die=", "-"));
            let small = get(&name, &format!("&way={way}&wait=100"));
            let dies = way.contains("die");
            // Both hit the first of the two.
            mortals.load(&name, if dies { 2 } else { 0 });
            let mut client = mortals.client();
            client.send(format!("{large}{small}{large}{small}{large}"));
            for times in [1, 3] {
                assert_eq!(client.answer().body.len(), size, "{name}");
                if !dies {
                    mortals.wait_for(&name, times);
                    mortals.kill_all();
                }
                expect(&client.answer(), &name, 10);
            }
            assert_eq!(client.answer().body.len(), size, "{name}");
            assert_eq!(mortals.asked(&name), 4, "{name}");
            expect_usable(&mut client);
        }
    }
    mortals.expect_nothing_left();
}
