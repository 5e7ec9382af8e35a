//! The scanner judged by serde_json: the same verdict on every line, and the
//! same members.

use std::borrow::Cow;

use handoff::internals::ipc::json;
use proptest::prelude::*;
use serde_json::Value;

const NAMES: [&str; 4] = ["cmd", "seq", "é", "\n\"\\"];

/// Both judges on one line, which need not be text.
fn agree(line: &[u8]) -> Result<(), TestCaseError> {
    let theirs = serde_json::from_slice::<Value>(line);
    let ours =
        str::from_utf8(line).ok().map(|text| json::members(text, NAMES));
    let ours = match ours {
        Some(Ok(found)) => found,
        Some(Err(_)) | None => {
            prop_assert!(theirs.is_err(), "refused {:?}", lossy(line));
            return Ok(());
        }
    };
    let Ok(theirs) = theirs else {
        return Err(TestCaseError::fail(format!("took {:?}", lossy(line))));
    };
    for (name, found) in NAMES.into_iter().zip(ours) {
        let parsed = found.and_then(|value| {
            serde_json::from_str::<Value>(value.text()).ok()
        });
        prop_assert_eq!(parsed.as_ref(), theirs.get(name));
        let Some(value) = found else { continue };
        let parsed = parsed.unwrap_or_default();
        let string = value.string();
        prop_assert_eq!(string.as_deref(), parsed.as_str());
        prop_assert_eq!(value.boolean(), parsed.as_bool());
        prop_assert_eq!(value.unsigned(), parsed.as_u64());
        // To serde_json this is a fraction; in JavaScript it is 0.
        if value.text() != "-0" {
            prop_assert_eq!(value.signed(), parsed.as_i64());
        }
        prop_assert_eq!(value.is_null(), parsed.is_null());
    }
    Ok(())
}

fn lossy(line: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(line)
}

/// Pieces that a grammar of JSON has an opinion on.
fn token() -> impl Strategy<Value = Vec<u8>> {
    let tokens: &[&[u8]] = &[
        b"{",
        b"}",
        b"[",
        b"]",
        b":",
        b",",
        b"\"",
        b"\\",
        b" ",
        b"\t",
        b"\r",
        b"\n",
        b"null",
        b"true",
        b"false",
        b"nul",
        b"0",
        b"-",
        b"1",
        b"-0",
        b"00",
        b".",
        b"e",
        b"E",
        b"+",
        b"1.5e+3",
        b"1e308",
        b"1e309",
        b"-1e999",
        b"0e999",
        b"1e-999",
        b"18446744073709551616",
        b"\"cmd\"",
        b"\"seq\":",
        b"\"\\u0063md\":",
        b"\\u",
        b"\\ud83d",
        b"\\ude00",
        b"\\uD800",
        b"\\u00e9",
        b"\\n",
        b"\\/",
        b"\\x",
        b"\x00",
        b"\x1f",
        b"\x7f",
        b"\xc3\xa9",
        b"\xc3",
        b"\xa9",
        b"\xff",
        b"\xed\xa0\x80",
        b"\xf0\x9f\x98\x80",
        b"\xef\xbb\xbf",
        b"NaN",
        b"/",
        b"'",
        b"\x0b",
        b"{\"cmd\":",
        b"},",
        b"\"\"",
    ];
    prop::sample::select(tokens).prop_map(<[u8]>::to_vec)
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(&NAMES[..]).prop_map(str::to_owned),
        any::<String>(),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((name(), inner), 0..5).prop_map(|members| {
                Value::Object(members.into_iter().collect())
            }),
        ]
    })
}

/// `line` spelt otherwise: any character of it as an escape, in either case.
fn respell(line: &str, choice: &[u8]) -> String {
    let mut out = String::new();
    let mut choices = choice.iter().cycle();
    let mut inside = false;
    let mut escaped = false;
    for character in line.chars() {
        let plain =
            inside && !escaped && character != '"' && character != '\\';
        if plain && choices.next().is_some_and(|c| c % 3 == 0) {
            for unit in character.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            out.push(character);
        }
        inside ^= character == '"' && !escaped;
        escaped = inside && !escaped && character == '\\';
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 600,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn tokens_in_any_order(tokens in prop::collection::vec(token(), 0..12)) {
        agree(&tokens.concat())?;
    }

    #[test]
    fn tokens_inside_a_string(
        tokens in prop::collection::vec(token(), 0..6),
    ) {
        agree(&[b"{\"cmd\":\"", &*tokens.concat(), b"\"}"].concat())?;
    }

    #[test]
    fn numbers(
        whole in "-?(0|[1-9][0-9]{0,3})?[0-9]{0,20}",
        rest in "(\\.[0-9]{0,22})?([eE][+-]?[0-9]{0,4})?",
    ) {
        let text = whole + &rest;
        agree(text.as_bytes())?;
        agree(format!("{{\"seq\":{text}}}").as_bytes())?;
    }

    #[test]
    fn whole_values_however_they_are_spelt(
        value in value(),
        choice in prop::collection::vec(any::<u8>(), 1..40),
    ) {
        let line = value.to_string();
        agree(line.as_bytes())?;
        agree(respell(&line, &choice).as_bytes())?;
        agree(format!("{value:#}").as_bytes())?;
    }

    #[test]
    fn values_with_a_few_bytes_changed(
        value in value(),
        changes in prop::collection::vec(
            (any::<prop::sample::Index>(), token(), 0..3usize), 1..4),
    ) {
        let mut line = value.to_string().into_bytes();
        for (place, token, cut) in changes {
            let at = place.index(line.len() + 1);
            let end = (at + cut).min(line.len());
            line.splice(at..end, token);
        }
        agree(&line)?;
    }

    #[test]
    fn any_bytes(line in prop::collection::vec(any::<u8>(), 0..24)) {
        agree(&line)?;
    }

    #[test]
    fn a_string_is_written_as_serde_json_writes_it(text in any::<String>()) {
        let mut ours = Vec::new();
        json::push_string(&mut ours, &text);
        prop_assert_eq!(ours, serde_json::to_vec(&text).unwrap());
    }
}

#[test]
fn every_cut_of_a_line_that_has_everything() {
    let line = r#" {"cmd":"NODE_X","é":[{"a":[]},-0.5e-7,true,false,null,{}],
        "\n\"\\":"\ud83d\ude00\b\u0000","seq":18446744073709551615 } "#;
    for cut in 0..=line.len() {
        agree(&line.as_bytes()[..cut]).unwrap();
        agree(&line.as_bytes()[cut..]).unwrap();
    }
    for at in 0..line.len() {
        for byte in 0..=255 {
            let mut changed = line.as_bytes().to_vec();
            changed[at] = byte;
            agree(&changed).unwrap();
        }
    }
}

#[test]
fn depth_and_range_end_where_serde_json_ends_them() {
    for depth in 120..140 {
        for (open, close) in [("[", "]"), ("{\"cmd\":", "}")] {
            let line = open.repeat(depth) + "0" + &close.repeat(depth);
            agree(line.as_bytes()).unwrap();
        }
    }
    for exponent in -400..400 {
        for digits in ["1", "0", "-9.99", "0.0001", "1000000", "0.000"] {
            agree(format!("{digits}e{exponent}").as_bytes()).unwrap();
        }
    }
    for zeros in 290..320 {
        let zeros = "0".repeat(zeros);
        agree(format!("1{zeros}").as_bytes()).unwrap();
        agree(format!("1{zeros}.5").as_bytes()).unwrap();
        agree(format!("0.{zeros}1e300").as_bytes()).unwrap();
    }
}

#[test]
fn surrogates_pair_where_serde_json_pairs_them() {
    let edges = ["0000", "d7ff", "D800", "dBfF", "dc00", "DFFF", "e000"];
    for first in edges {
        agree(format!("{{\"cmd\":\"\\u{first}\"}}").as_bytes()).unwrap();
        for between in ["", "x", "\\n"] {
            for second in edges {
                let line =
                    format!("{{\"cmd\":\"\\u{first}{between}\\u{second}\"}}");
                agree(line.as_bytes()).unwrap();
            }
        }
    }
}
