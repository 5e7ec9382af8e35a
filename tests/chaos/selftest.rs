//! The judge is judged: the books and the bars against a server that does
//! wrong on purpose, and knows how often; and the tables against books that
//! are known.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use super::bars::{Losses, judge};
use super::client::{Connection, Idle, Manner, Question};
use super::common::{wait_until, within};
use super::faults::{Fault, Leaves, all};
use super::faulty::{Deed, FaultyServer};
use super::ledger::{End, Hit, Ledger, Span};
use super::load::Load;
use super::row::Row;
use super::server::HANDOFF;
use super::subject::Subject;
use super::summary::summary;

/// Long enough for a busy machine, short enough to be waited for.
const PATIENCE: Duration = Duration::from_millis(800);

const EITHER: [bool; 2] = [false, true];

/// What a deed must be booked as: by a client with one request; by one that
/// has been answered on the same connection before; and what the second finds
/// when it looks at its connection later, if it has been answered.
const VERDICTS: [(Deed, End, End, Option<Idle>); 16] = [
    (Deed::Answers, End::Ok, End::Ok, Some(Idle::Open)),
    (Deed::SaysGoodbye, End::Ok, End::Ok, None),
    (Deed::LeavesIdle, End::Ok, End::Ok, Some(Idle::Closed)),
    (Deed::DropsAtOnce, End::Reset, End::Crossed, None),
    (Deed::Drops, End::Reset, End::Reset, None),
    (Deed::Resets, End::Reset, End::Reset, None),
    (Deed::CutsHead, End::Truncated, End::Truncated, None),
    (Deed::CutsBody, End::Truncated, End::Truncated, None),
    (Deed::MixesUp, End::Wrong, End::Wrong, None),
    (Deed::Declines, End::Wrong, End::Wrong, None),
    (Deed::Babbles, End::Wrong, End::Wrong, None),
    (Deed::Stutters, End::Wrong, End::Wrong, None),
    (Deed::Repeats, End::Wrong, End::Ok, Some(Idle::Unasked)),
    (Deed::Hangs, End::TimedOut, End::TimedOut, None),
    (Deed::HangsHalfway, End::TimedOut, End::TimedOut, None),
    (Deed::Clings, End::TimedOut, End::TimedOut, None),
];

const FIRST: Question<'_> = Question { path: "/echo", token: "first" };
const SECOND: Question<'_> = Question { path: "/echo", token: "second" };

fn patience() -> Instant {
    Instant::now() + PATIENCE
}

fn connect(faulty: &FaultyServer) -> Connection {
    Connection::open(faulty.address, patience()).unwrap()
}

#[test]
fn a_client_with_one_request_calls_every_deed_by_its_name() {
    for (deed, verdict, _, _) in VERDICTS {
        let faulty = FaultyServer::start(move |_| deed);
        let end = connect(&faulty).ask(FIRST, Manner::OneRequest, patience());
        let end = end.map(|kept| assert!(kept.is_none())).err();
        assert_eq!(end.unwrap_or(End::Ok), verdict, "{deed:?}");
    }
}

#[test]
fn a_keep_alive_client_calls_every_deed_by_its_name() {
    for (deed, _, verdict, later) in VERDICTS {
        let ask = || {
            let faulty = FaultyServer::start(move |number| match number {
                0 => Deed::Answers,
                _ => deed,
            });
            let keep = Manner::KeepAlive;
            let kept = connect(&faulty).ask(FIRST, keep, patience()).unwrap();
            let kept = kept.unwrap().ask(SECOND, keep, patience());
            let look = |connection: Connection| {
                within(PATIENCE, || Some(connection.look()) == later);
                connection.look()
            };
            kept.map(|kept| kept.map(look))
        };
        let mut result = ask();
        // On a busy machine a quick end can look like a slow one.
        for _ in 0..20 {
            if verdict == End::Crossed && result == Err(End::Reset) {
                result = ask();
            }
        }
        let expected = match verdict {
            End::Ok => Ok(later),
            end => Err(end),
        };
        assert_eq!(result, expected, "{deed:?}");
    }
}

#[test]
fn to_find_nobody_is_to_be_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let end = Connection::open(address, patience()).unwrap_err();
    assert_eq!(end, End::Refused);
}

/// Which deed becomes which request: all of them among the first 350, then
/// no more. Out of step with the clients, so that each meets each.
fn out_of_step(number: usize) -> Deed {
    let scattered = number.wrapping_mul(0x9e37_79b9) >> 8;
    match VERDICTS.get(scattered % 24) {
        Some((deed, ..)) if number < 350 => *deed,
        Some(_) | None => Deed::Answers,
    }
}

#[test]
fn the_books_of_a_load_are_exact() {
    let faulty = FaultyServer::start(out_of_step);
    let load = Load::start(faulty.address, PATIENCE);
    let all = VERDICTS.map(|(deed, ..)| deed);
    wait_until("every deed is done", || faulty.did(&all, &EITHER) > 400);
    let (ledger, _) = load.finish();
    let mut ends = ledger.first;
    ends += ledger.again;

    let did = |deeds: &[Deed]| faulty.did(deeds, &EITHER);
    let wrong = [Deed::MixesUp, Deed::Declines, Deed::Babbles, Deed::Stutters];
    let dropped = [Deed::DropsAtOnce, Deed::Drops, Deed::Resets];
    let hung = [Deed::Hangs, Deed::HangsHalfway, Deed::Clings];
    let repeated = |last| faulty.did(&[Deed::Repeats], &[last]);
    assert_eq!(ends[End::Reset] + ends[End::Crossed], did(&dropped));
    let cut = did(&[Deed::CutsHead, Deed::CutsBody]);
    assert_eq!(ends[End::Truncated], cut);
    assert_eq!(ends[End::Wrong], did(&wrong) + repeated(true));
    assert_eq!(ends[End::TimedOut], did(&hung));
    assert_eq!(ledger.unasked, repeated(false));
    let left = faulty.did(&[Deed::LeavesIdle], &[false]);
    assert_eq!(ledger.idle_closes, left);
    assert_eq!(ends.sum(), did(&all));
    assert_eq!(ends[End::Refused] + ends[End::RefusedAfterStop], 0);
    // A deed that was never done has proven nothing.
    for deed in all {
        assert!(did(&[deed]) > 0, "{deed:?}");
    }
    assert!(ledger.again.sum() > 0, "nothing was repeated");

    // All of that is red, whatever is allowed to be lost.
    for losses in [Losses::None, Losses::OneCrossing, Losses::InHand] {
        let broken = judge(losses, &[], &ledger).join("\n");
        for what in ["lost", "timed out", "answered wrongly", "asked for"] {
            assert!(broken.contains(what), "{losses:?}: {what}: {broken}");
        }
    }
}

/// Books with a thousand good answers and this.
fn books(ends: &[End]) -> Ledger {
    let mut ledger = Ledger { sent: 1000, ..Ledger::default() };
    let now = Instant::now();
    for end in [End::Ok].repeat(1000).iter().chain(ends) {
        ledger.enter(*end, Span { from: now, to: now }, false);
    }
    ledger
}

#[test]
fn one_request_that_fails_is_red() {
    let fails =
        |losses, ends: &[End]| !judge(losses, &[], &books(ends)).is_empty();
    for losses in [Losses::NotEvenIdle, Losses::None, Losses::InHand] {
        assert!(!fails(losses, &[]));
        for end in [
            End::Wrong,
            End::Refused,
            End::Reset,
            End::Crossed,
            End::Truncated,
            End::TimedOut,
        ] {
            assert!(fails(losses, &[end]), "{losses:?}, {end:?}");
        }
        assert!(!fails(losses, &[End::RefusedAfterStop]));
    }
    for end in [End::Wrong, End::Refused, End::TimedOut] {
        assert!(fails(Losses::Any, &[end]), "{end:?}");
    }
}

#[test]
fn one_crossing_is_forgiven_if_it_was_answered_in_the_end() {
    let mut ledger = books(&[End::Crossed]);
    assert!(!judge(Losses::OneCrossing, &[], &ledger).is_empty());
    ledger.again[End::Ok] += 1;
    assert!(judge(Losses::OneCrossing, &[], &ledger).is_empty());
    assert!(!judge(Losses::None, &[], &ledger).is_empty());
    ledger = books(&[End::Crossed, End::Crossed]);
    ledger.again[End::Ok] += 2;
    assert!(!judge(Losses::OneCrossing, &[], &ledger).is_empty());
}

#[test]
fn only_what_was_in_hand_at_a_hit_may_be_lost_to_it() {
    let start = Instant::now();
    let at = |ms: u64| start + Duration::from_millis(ms);
    let when = Span { from: at(1000), to: at(2000) };
    let hits = [Hit { when, effect: at(1010) }];
    let broken = |from: u64, to: u64, used: bool| {
        let mut ledger = books(&[]);
        ledger.enter(End::Reset, Span { from: at(from), to: at(to) }, used);
        !judge(Losses::InHand, &hits, &ledger).is_empty()
    };
    for used in [false, true] {
        assert!(!broken(990, 1003, used), "under way at the hit");
        assert!(!broken(1005, 1500, used), "sent before its effect");
        assert!(broken(900, 950, used), "lost before it");
        assert!(broken(2100, 2110, used), "sent after it");
    }
    assert!(!broken(1500, 2003, true), "sent to a worker that hung");
    assert!(broken(1500, 2003, false), "it had not been taken by it");
}

#[test]
fn idle_connections_may_be_closed_or_not() {
    let mut ledger = Ledger { idle_closes: 1, ..books(&[]) };
    assert!(judge(Losses::OneCrossing, &[], &ledger).is_empty());
    assert!(!judge(Losses::NotEvenIdle, &[], &ledger).is_empty());
    ledger.let_down = 1;
    assert!(judge(Losses::InHand, &[], &ledger).is_empty());
    assert!(!judge(Losses::OneCrossing, &[], &ledger).is_empty());
}

#[test]
fn a_server_that_answers_nothing_is_red() {
    let ledger = Ledger::default();
    assert!(!judge(Losses::Any, &[], &ledger).is_empty());
}

#[test]
fn with_salvage_nothing_is_lost_or_closed_as_long_as_there_is_a_master() {
    for fault in all(Subject::Handoff(HANDOFF)) {
        let bar = fault.bar(Subject::Handoff(HANDOFF));
        let name = fault.name;
        match fault.leaves {
            Leaves::Nobody => assert_eq!(bar, Some(fault.losses), "{name}"),
            Leaves::Workers | Leaves::NewWorkers | Leaves::OldWorkers => {
                assert_eq!(bar, Some(Losses::NotEvenIdle), "{name}");
            }
        }
        assert_eq!(fault.bar(Subject::NoSalvage), Some(fault.losses));
    }
}

#[test]
fn others_are_struck_as_handoff_is_and_have_no_bars() {
    let ours = all(Subject::Handoff(HANDOFF));
    for subject in [Subject::Nginx, Subject::Node] {
        for fault in all(subject) {
            let same = |our: &&Fault| our.name == fault.name;
            let our = ours.iter().find(same).unwrap();
            assert_eq!((our.hits, our.every), (fault.hits, fault.every));
            assert_eq!(fault.bar(subject), None, "{}", fault.name);
        }
    }
}

#[test]
fn the_table_of_all_counts_whatever_was_not_answered() {
    let row = |fault, ends: &[End]| Row {
        fault,
        hits: 1,
        ledger: Ledger {
            sent: 1000 + ends.len(),
            idle_closes: 7,
            slowest: Duration::from_millis(42),
            ..books(ends)
        },
        rate: 250,
        workers: (2, 2),
        descriptors: None,
        remarks: vec![],
        log: String::new(),
        broken: vec![],
    };
    let lost = [
        End::Wrong,
        End::Refused,
        End::Reset,
        End::Crossed,
        End::Truncated,
        End::TimedOut,
        End::RefusedAfterStop, // nobody was there to answer, and rightly
    ];
    let columns = [
        (Subject::NoSalvage, vec![row("stop", &lost), row("scale", &[])]),
        (Subject::Nginx, vec![row("stop", &[])]),
    ];
    assert_eq!(
        summary(&columns),
        "\
| fault | no-salvage | nginx |
|---|---:|---:|
| stop | 6 / 7 / 42 | 0 / 7 / 42 |
| scale | 0 / 7 / 42 | – |"
    );
}
