//! `handoff demo uneven`: a table of two models under one load.

mod demo_support;

use demo_support::{handoff, numbers, stdout};

#[test]
fn both_models_answer_everybody_and_only_turns_are_even() {
    let printed = stdout(handoff().args(["demo", "uneven"]));
    let lines: Vec<&str> = printed.lines().collect();
    let connections = numbers(lines[0])[0];
    let rows = |start: &str| -> Vec<Vec<u32>> {
        let of_name = lines.iter().filter_map(|l| l.strip_prefix(start));
        of_name.map(numbers).collect()
    };
    let workers = rows("worker ");
    assert_eq!(workers.len(), 4, "{printed}");
    // Each row is its number, and a count for each model.
    let column = |model: usize| workers.iter().map(move |row| row[model]);
    for (at, model) in [1, 2].into_iter().enumerate() {
        assert_eq!(column(model).sum::<u32>(), connections, "{printed}");
        assert_eq!(rows("together")[0][at], connections);
        let spread =
            column(model).max().unwrap() - column(model).min().unwrap();
        assert_eq!(rows("most - least")[0][at], spread, "{printed}");
    }
    assert!(rows("most - least")[0][1] <= 1, "{printed}");
}
