//! A program that has become unable to live, and N workers of it.

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// How a worker fails to live; `after` its start, in ms, and below 1 s.
#[derive(Clone, Copy, Debug)]
enum Fate {
    NeverStarts,
    Exits { after: u64 },
    IsReadyAndExits { after: u64 },
    IsReadyAndLeaves { after: u64 },
    IsReadyAndHangsUp { after: u64 },
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        Just(Fate::NeverStarts),
        (0..900u64).prop_map(|after| Fate::Exits { after }),
        (0..900u64).prop_map(|after| Fate::IsReadyAndExits { after }),
        (0..900u64).prop_map(|after| Fate::IsReadyAndLeaves { after }),
        (0..900u64).prop_map(|after| Fate::IsReadyAndHangsUp { after }),
    ]
}

fn is_born(
    harness: &mut Harness,
    worker: u32,
    fate: Fate,
) -> Option<Duration> {
    let (ready, after) = match fate {
        Fate::NeverStarts => {
            harness.spawn_fails(worker);
            return None;
        }
        Fate::Exits { after } => (false, after),
        Fate::IsReadyAndExits { after }
        | Fate::IsReadyAndLeaves { after }
        | Fate::IsReadyAndHangsUp { after } => (true, after),
    };
    if ready {
        harness.ready(worker);
    }
    Some(harness.now + ms(after))
}

fn dies(harness: &mut Harness, worker: u32, fate: Fate) {
    match fate {
        Fate::NeverStarts => {}
        Fate::Exits { .. } | Fate::IsReadyAndExits { .. } => {}
        Fate::IsReadyAndLeaves { .. } => {
            let worker = WorkerId(worker);
            harness.tell(Event::Leaving { worker, proven: false });
        }
        Fate::IsReadyAndHangsUp { .. } => {
            harness.hangs_up(worker);
        }
    }
    harness.exits(worker, 1);
}

/// Kills all N; `fates` are those of their successors, in turn. Counts the
/// starts in the worst 5 s.
fn worst_5_s(workers: usize, fates: &[Fate]) -> usize {
    let mut harness = Harness::serving(policy(workers));
    let mut starts = Vec::new();
    let mut deaths: BTreeSet<(Duration, u32)> = BTreeSet::new();
    let mut known = u32::try_from(workers).unwrap();
    let fate_of = |worker: u32| fates[worker as usize % fates.len()];
    let end = harness.now + ms(15_000);
    for worker in 1..=known {
        harness.dies(worker, 9);
    }
    while harness.now < end {
        while known < harness.supervisor.newest.0 {
            known += 1;
            starts.push(harness.now);
            let death = is_born(&mut harness, known, fate_of(known));
            deaths.extend(death.map(|at| (at, known)));
        }
        let death = deaths.first().map(|&(at, _)| at);
        let next =
            harness.supervisor.deadline().into_iter().chain(death).min();
        let pause = next.unwrap().saturating_sub(harness.now);
        harness.pass(u64::try_from(pause.as_millis()).unwrap());
        while let Some(&(at, worker)) = deaths.first()
            && at <= harness.now
        {
            deaths.pop_first();
            dies(&mut harness, worker, fate_of(worker));
        }
    }
    let within = |from: &Duration| {
        let window = *from..*from + ms(5_000);
        starts.iter().filter(|at| window.contains(at)).count()
    };
    starts.iter().map(within).max().unwrap()
}

#[test]
fn when_all_fail_alike_there_are_at_most_12_restarts_in_5_s_whatever_n() {
    for workers in [1, 2, 4, 6, 7, 12, 64] {
        for after in [1, 50, 900] {
            for fate in [
                Fate::NeverStarts,
                Fate::Exits { after },
                Fate::IsReadyAndExits { after },
                Fate::IsReadyAndLeaves { after },
                Fate::IsReadyAndHangsUp { after },
            ] {
                let most = worst_5_s(workers, &[fate]);
                assert!(most <= 12, "{workers} workers, {fate:?}: {most}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 100,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn when_all_fail_somehow_there_are_at_most_12_restarts_in_5_s(
        workers in 1..40usize,
        fates in vec(fate(), 1..20),
    ) {
        let most = worst_5_s(workers, &fates);
        prop_assert!(most <= 12, "{}", most);
    }
}
