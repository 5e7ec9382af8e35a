//! Pairs of files under `tests/data/http`: what a client sends, `NAME.http`,
//! and what becomes of it, `NAME.txt`. Line breaks in the former are there for
//! the reader; what is sent is what stands escaped, `\r\n` above all.
//!
//! With `BLESS=1` in the environment the second files are written anew, to be
//! read over before they are kept.

use crate::{
    cases::cases,
    transcript::{outcome, tell_however_cut},
};
use std::fs;

fn check(folder: &str, judge: fn(&[u16], &str) -> bool) {
    for (name, bytes) in cases(folder) {
        let story = tell_however_cut(&bytes);
        let (statuses, end) = outcome(&story);
        assert!(judge(&statuses, end), "{name}: {story}");
        let file = format!("{name}.txt");
        if std::env::var_os("BLESS").is_some() {
            fs::write(&file, &story).expect("written");
        }
        let wanted = fs::read_to_string(&file).unwrap_or_default();
        assert_eq!(story, wanted, "{file}");
    }
}

#[test]
fn valid_requests_are_answered_as_their_files_say() {
    check("valid", |statuses, end| {
        statuses.iter().all(|&status| status == 200)
            && !end.starts_with("wants")
    });
}

#[test]
fn invalid_requests_are_refused_as_their_files_say() {
    check("invalid", |statuses, end| {
        statuses.last().is_some_and(|&status| status >= 400) && end == "closed"
    });
}
