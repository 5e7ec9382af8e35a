//! What clients send, as the first files of the pairs under
//! `tests/data/http` have it.

use std::{fs, path::Path};

/// Stands for a long run of one byte: `\*{16000}x`.
const REPEAT: &str = "\\*{";

fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if let Some(run) = rest.strip_prefix(REPEAT) {
            let (count, tail) = run.split_once('}').expect("a closing brace");
            let count = count.parse().expect("a count");
            bytes.extend(std::iter::repeat_n(tail.as_bytes()[0], count));
            rest = &tail[1..];
            continue;
        }
        rest = &rest[first.len_utf8()..];
        if first == '\n' {
            continue;
        }
        if first != '\\' {
            bytes.extend_from_slice(first.to_string().as_bytes());
            continue;
        }
        let (byte, length) = match rest.as_bytes()[0] {
            b'r' => (b'\r', 1),
            b'n' => (b'\n', 1),
            b't' => (b'\t', 1),
            b'\\' => (b'\\', 1),
            b'x' => (u8::from_str_radix(&rest[1..3], 16).expect("hex"), 3),
            other => panic!("\\{} is no escape", other as char),
        };
        bytes.push(byte);
        rest = &rest[length..];
    }
    bytes
}

/// The pairs of a folder, by name, with the bytes that are sent.
pub(crate) fn cases(folder: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/http")
        .join(folder);
    let mut cases: Vec<_> = fs::read_dir(&folder)
        .expect("the folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|end| end == "http"))
        .map(|path| {
            let text = fs::read_to_string(&path).expect("text");
            let name = path.with_extension("").display().to_string();
            (name, unescape(&text))
        })
        .collect();
    cases.sort();
    assert!(!cases.is_empty());
    cases
}
