//! The command line as nobody types it.

use std::os::unix::ffi::OsStringExt;
use std::time::Duration;

use proptest::prelude::*;

use super::tests::served;
use super::*;

/// Whole words, halves of words and noise, so that many lines go deep.
fn any_word() -> impl Strategy<Value = OsString> {
    let names: Vec<&str> = flags(SERVE)
        .map(|flag| flag.name)
        .chain(COMMANDS.map(|(name, _)| name))
        .chain(DEMOS.map(|(name, ..)| name))
        .chain(["--", "-h", "-V", "-", "parent", "child", "on", "ip-hash"])
        .chain(["1", "0.5", "16K", "[::1]:80", "unix:/a", "localhost:0"])
        .collect();
    let name = proptest::sample::select(names);
    let noise = || proptest::collection::vec(any::<u8>(), 0..12);
    prop_oneof![
        4 => name.clone().prop_map(OsString::from),
        2 => noise().prop_map(OsString::from_vec),
        1 => (name, "[= \n]?", noise()).prop_map(|(name, gap, noise)| {
            OsString::from_vec([name.as_bytes(), gap.as_bytes(), &noise].concat())
        }),
    ]
}

proptest! {
    #[test]
    fn whatever_is_typed_the_answer_is_a_command_or_one_line(
        first in proptest::sample::select(vec!["serve", "demo", ""]),
        rest in proptest::collection::vec(any_word(), 0..6),
    ) {
        let first = (!first.is_empty()).then(|| first.into());
        match parse(first.into_iter().chain(rest), 4) {
            Err(usage) => {
                let line = usage.to_string();
                prop_assert!(!line.contains(char::is_control), "{:?}", line);
                prop_assert!((10..1000).contains(&line.len()), "{:?}", line);
            }
            Ok(Command::Serve(settings)) => {
                prop_assert!((1..=1024).contains(&settings.workers));
                prop_assert!(!settings.idle_timeout.is_zero());
            }
            Ok(_) => {}
        }
    }

    #[test]
    fn the_order_and_the_form_of_options_do_not_matter(
        workers in 1..=1024_usize,
        millis in 100..=86_400_000_u64,
        head in 1..=1024_usize,
        joined: bool,
        swapped: bool,
    ) {
        let gap = if joined { "=" } else { " " };
        let seconds = format!("{}.{:03}", millis / 1000, millis % 1000);
        let mut options = [
            format!("--workers{gap}{workers}"),
            format!("--idle-timeout{gap}{seconds}"),
            format!("--max-head{gap}{head}K"),
        ];
        if swapped {
            options.reverse();
        }
        let settings = served(&format!("serve {}", options.join(" ")));
        prop_assert_eq!(settings, Settings {
            workers,
            workers_counted: false,
            idle_timeout: Duration::from_millis(millis),
            max_head: head * 1024,
            ..served("serve")
        });
    }
}
