//! A worker dies at any instant, over and over, and the client notices
//! nothing: real clients, buffers, intent logs and HTTP on a [stage], against
//! what the [script] says is right. At every instant of every life the judge
//! is asked what would be if it were the last.

mod bench;
mod script;
mod stage;
mod truth;

use std::cell::RefCell;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use self::bench::{Bench, Manner};
use self::script::{Ask, Body, Course, Last, Method, asks};
use self::stage::{Dice, Tally};
use crate::salvage::recovery::Position;

thread_local! {
    /// Two, since of one that had too little of something some lasts.
    static BENCHES: RefCell<[Option<Bench>; 2]> =
        const { RefCell::new([None, None]) };
}

fn run(asks: &[Ask], manner: Manner) -> Tally {
    let which = usize::from(manner.scarce);
    BENCHES.with(|benches| {
        // After a failure nobody knows what state it is in.
        let present = benches.borrow_mut()[which].take();
        let mut present = present.unwrap_or_else(Bench::new);
        let tally = present.run(asks, manner);
        benches.borrow_mut()[which] = Some(present);
        tally
    })
}

/// A conversation that nothing disturbs, with counters that soon wrap.
fn calm(seed: u64) -> Manner {
    let mut dice = Dice(seed);
    let mut near = || 0_u32.wrapping_sub(1 + dice.below(20_000) as u32);
    Manner {
        seed,
        origin: Position { output: near(), input: near() },
        deaths: 0,
        dies_at: None,
        inbound: 0,
        half_closes: false,
        at_once: false,
        late: false,
        scarce: false,
    }
}

fn any_manner(seed: u64) -> Manner {
    let manner = calm(seed);
    let mut dice = Dice(!seed);
    let origin = match dice.one_in(3) {
        true => Position::default(),
        false => manner.origin,
    };
    Manner {
        origin,
        deaths: [0, 2, 5, 20][dice.below(4)],
        inbound: [0, 3][dice.below(2)],
        half_closes: dice.one_in(3),
        at_once: dice.one_in(4),
        late: dice.one_in(5),
        scarce: dice.one_in(5),
        ..manner
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn every_answer_is_written_once_whenever_a_worker_dies(
        asks in asks(8),
        seed in any::<u64>(),
    ) {
        run(&asks, any_manner(seed));
    }
}

/// The same walk each time, and all that can become of a connection is come
/// by on the way.
#[test]
fn a_long_walk_meets_every_verdict() {
    let mut runner = TestRunner::deterministic();
    let strategy = asks(12);
    let mut all = Tally::default();
    for seed in 0..500 {
        let asks = strategy.new_tree(&mut runner).unwrap().current();
        all.add(run(&asks, any_manner(seed)));
    }
    let Tally { instants, deaths, .. } = all;
    assert!(instants > 20_000 && deaths > 1_000, "{all:?}");
    let met = [
        ("idle", all.idle),
        ("in hand", all.in_hand),
        ("replayed", all.replayed),
        ("finished", all.finished),
        ("half written", all.halves),
        ("answered", all.answered),
        ("lost", all.lost),
        ("ended", all.ended),
        ("reset", all.reset),
        ("gone", all.gone),
        ("given", all.given),
    ];
    for (what, count) in met {
        assert!(count > 5, "hardly ever {what}: {all:?}");
    }
}

/// The worker dies once at each instant of this conversation, in each of a
/// few of its courses.
fn die_at_each_instant(asks: &[Ask]) {
    for seed in 0..3 {
        let manner = Manner {
            half_closes: seed == 2,
            at_once: seed == 1,
            ..calm(seed)
        };
        run(asks, manner);
        let mut dies_at = 1;
        loop {
            let tally = run(asks, Manner { dies_at: Some(dies_at), ..manner });
            if tally.deaths == 0 {
                break;
            }
            dies_at += 1;
        }
        assert!(dies_at > 12, "there were instants to die at");
    }
}

fn post() -> Ask {
    Ask { method: Method::Post, body: Body::Sized(40), ..Ask::get(30) }
}

fn last(ask: Ask) -> Ask {
    Ask { last: Last::Client, ..ask }
}

fn with(course: Course, ask: Ask) -> Ask {
    Ask { course, ..ask }
}

#[test]
fn a_worker_dies_at_each_instant_of_a_request() {
    die_at_each_instant(&[Ask::get(30)]);
    die_at_each_instant(&[Ask::get(0), with(Course::After, Ask::get(9))]);
}

#[test]
fn a_worker_dies_at_each_instant_of_a_last_request() {
    die_at_each_instant(&[last(Ask::get(30))]);
    die_at_each_instant(&[last(post())]);
}

#[test]
fn a_worker_dies_at_each_instant_of_posts() {
    let again = Ask { method: Method::PostAgain, ..post() };
    die_at_each_instant(&[Ask::get(5), post(), post(), again, Ask::get(5)]);
}

#[test]
fn a_worker_dies_at_each_instant_of_bodies() {
    let body = |body| Ask { body, method: Method::Put, ..Ask::get(9) };
    die_at_each_instant(&[body(Body::Chunked(1000)), Ask::get(5)]);
    die_at_each_instant(&[body(Body::Expected(9)), body(Body::Sized(9))]);
}

/// They go from shared buffer to shared buffer: nothing is moved within one.
#[test]
fn a_worker_dies_at_each_instant_of_more_than_a_shared_buffer() {
    let half = Ask { body: Body::Sized(5000), ..Ask::get(9) };
    die_at_each_instant(&[half, half, half]);
    // What is left of the second would not fit beside itself.
    let most = Ask { body: Body::Sized(8130), ..half };
    die_at_each_instant(&[Ask::get(5), most]);
}

#[test]
fn a_request_that_no_shared_buffer_holds_leaves_a_connection_that_one_does() {
    let large = Ask { body: Body::Sized(9000), ..Ask::get(9) };
    die_at_each_instant(&[Ask::get(5), large]);
    die_at_each_instant(&[large, Ask::get(5)]);
    die_at_each_instant(&[large, Ask::get(5), large]);
    let post = Ask { method: Method::Post, ..large };
    die_at_each_instant(&[post]);
}

#[test]
fn an_answer_that_no_shared_buffer_holds_is_whole_or_the_connection_is_reset()
{
    die_at_each_instant(&[Ask::get(30_000), Ask::get(5)]);
}

/// The answer before is half out when the last one comes, which closes, is on
/// no shared buffer, or has no end yet.
#[test]
fn what_one_answer_is_says_nothing_of_the_one_before() {
    let (first, later) = (Ask::get(4000), |ask| with(Course::Later, ask));
    die_at_each_instant(&[first, last(later(Ask::get(9)))]);
    die_at_each_instant(&[first, later(Ask::get(23_000)), Ask::get(9)]);
    let stream = with(Course::Stream(500), Ask::get(2000));
    die_at_each_instant(&[first, stream, Ask::get(9)]);
}

/// Its end is no byte, but its connection's.
#[test]
fn a_stream_that_ends_with_its_connection_ends_it() {
    let stream = with(Course::Stream(300), Ask::get(700));
    let broken = with(Course::Breaks, Ask::get(3000));
    let cut = Ask { old: true, ..broken };
    for end in [Ask { old: true, ..stream }, broken, cut, last(stream)] {
        die_at_each_instant(&[end]);
        // The third that a handler sees makes its pieces one by one.
        die_at_each_instant(&[Ask::get(1), Ask::get(1), end]);
    }
}
