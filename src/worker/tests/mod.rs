//! A worker dies at any instant, over and over, and the client notices
//! nothing: real clients, buffers, guards and HTTP on a [stage], against what
//! the [script] says is right.

mod bench;
mod script;
mod stage;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use self::bench::{Bench, Manner};
use self::script::{Ask, asks};
use self::stage::{Dice, Tally};
use crate::salvage::ledger::Position;

thread_local! {
    static BENCH: std::cell::RefCell<Option<Bench>> =
        const { std::cell::RefCell::new(None) };
}

fn run(asks: &[Ask], manner: Manner) -> Tally {
    BENCH.with(|bench| {
        // After a failure nobody knows what state it is in.
        let mut present = bench.take().unwrap_or_else(Bench::new);
        let tally = present.run(asks, manner);
        bench.replace(Some(present));
        tally
    })
}

fn manner(seed: u64) -> Manner {
    let mut dice = Dice(seed);
    let near = |dice: &mut Dice| 0_u32.wrapping_sub(dice.below(20_000) as u32);
    let output = near(&mut dice);
    let origin = match dice.below(3) {
        0 => Position::default(),
        _ => Position { output, input: near(&mut dice) },
    };
    Manner {
        seed,
        origin,
        deaths: [0, 2, 5, 20][dice.below(4)],
        gifts: [0, 3][dice.below(2)],
        half_closes: dice.one_in(3),
        late: dice.one_in(5),
        scarce: dice.one_in(5),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn every_answer_is_written_once_whenever_a_worker_dies(
        asks in asks(8),
        seed in any::<u64>(),
    ) {
        run(&asks, manner(seed));
    }
}

/// The same walk each time, and everything that can become of a connection
/// is come by on the way.
#[test]
fn a_long_walk_meets_every_verdict() {
    let walks =
        std::env::var("HANDOFF_WALKS").map_or(600, |n| n.parse().unwrap());
    let mut runner = TestRunner::deterministic();
    let strategy = asks(12);
    let mut all = Tally::default();
    for seed in 0..walks {
        let asks = strategy.new_tree(&mut runner).unwrap().current();
        let tally =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                run(&asks, manner(seed))
            }));
        match tally {
            Ok(t) => all.add(t),
            Err(_) => panic!("in walk {seed}: {asks:?} {:?}", manner(seed)),
        }
    }
    println!("{all:#?}");
}
