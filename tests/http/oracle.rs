//! httparse as the judge of our grammar, and a plain model as the judge of
//! what we make of it.
//!
//! httparse says whether some bytes are a head, and what is in it; the model
//! says what RFC 9110 and 9112 make of that. Where we say something else there
//! must be a reason, and these are all that there are:
//!
//! | class      | httparse       | here        | because                      |
//! |------------|----------------|-------------|------------------------------|
//! | `BareLf`   | takes LF alone | 400         | on purpose: RFC 9112 §2.2 allows either, and servers that differ here can be played against each other |
//! | `Blanks`   | skips any      | 400 after 8 | on purpose: a bound on work without a request |
//! | `Target`   | takes `#`, UTF-8 and DEL's neighbours above | 400 | on purpose: no form of a target has them (RFC 9112 §3.2) |
//! | `Minor`    | 1.0 and 1.1    | any 1.x, 505 for other majors | RFC 9110 §2.5: a later minor version is served as 1.1 |
//! | `Early`    | asks for more  | 400         | the same verdict: a target is judged at the end of its line |
//!
//! None of them takes what httparse refuses, but for `Minor`.

use crate::transcript::{outcome, tell};
use proptest::{collection::vec, prelude::*, sample::select};

#[derive(Debug, PartialEq, Eq)]
enum Class {
    BareLf,
    Blanks,
    Target,
    Minor,
    Early,
}

/// What the judges say of the first request in the bytes.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Refused,
    Partial,
    /// A head, of that length, that the model answers with that status.
    Head(usize, u16),
}

fn judge(bytes: &[u8]) -> Verdict {
    let mut fields = [httparse::EMPTY_HEADER; 100];
    let mut request = httparse::Request::new(&mut fields);
    match request.parse(bytes) {
        Err(_) => Verdict::Refused,
        Ok(httparse::Status::Partial) => Verdict::Partial,
        Ok(httparse::Status::Complete(n)) => Verdict::Head(n, model(&request)),
    }
}

/// The status, from the rules as they stand in the RFCs, one after the other.
fn model(request: &httparse::Request<'_, '_>) -> u16 {
    let modern = request.version == Some(1);
    let values = |name: &str| -> Vec<Vec<u8>> {
        let named = |f: &&httparse::Header<'_>| {
            f.name.to_lowercase() == name.to_lowercase()
        };
        let trimmed = |f: &httparse::Header<'_>| {
            let text: String = f.value.iter().map(|&b| b as char).collect();
            let text = text.trim_matches([' ', '\t']);
            text.chars().map(|c| c as u8).collect()
        };
        request.headers.iter().filter(named).map(trimmed).collect()
    };
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    let elements = |name: &str| -> Vec<String> {
        let joined = values(name).join(&b',');
        text(&joined)
            .split(',')
            .map(|e| e.trim_matches([' ', '\t']).to_ascii_lowercase())
            .filter(|element| !element.is_empty())
            .collect()
    };
    let method = request.method.unwrap_or_default();
    if !target(method, request.path.unwrap_or_default()) {
        return 400;
    }
    let hosts = values("host");
    let wanted = if modern { 1..=1 } else { 0..=1 };
    if !wanted.contains(&hosts.len()) {
        return 400;
    }
    if !hosts.iter().all(|value| authority(&text(value)).is_some()) {
        return 400;
    }
    let lengths = values("content-length");
    let digits =
        |v: &Vec<u8>| !v.is_empty() && v.iter().all(u8::is_ascii_digit);
    if lengths.len() > 1 || !lengths.iter().all(digits) {
        return 400;
    }
    if !values("transfer-encoding").is_empty() {
        let codings = elements("transfer-encoding");
        let chunked = codings.iter().filter(|&c| c == "chunked").count();
        let last = codings.last().is_some_and(|coding| coding == "chunked");
        let letter = |c: char| {
            c.is_ascii_graphic() && !"()<>@,;:\\\"/[]?={}".contains(c)
        };
        let word = |coding: &String| coding.chars().all(letter);
        if !lengths.is_empty() || !modern || !last || chunked != 1 {
            return 400;
        }
        if !codings.iter().all(word) {
            return 400;
        }
        if codings.len() > 1 {
            return 501;
        }
    }
    let known = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"];
    if !known.contains(&method) {
        return 501;
    }
    let expectations = elements("expect");
    if modern && expectations.iter().any(|e| e != "100-continue") {
        return 417;
    }
    let length = lengths.first().map_or("0".into(), |value| text(value));
    match length.trim_start_matches('0').parse::<u64>() {
        Ok(length) if length > 1 << 20 => 413,
        Err(_) if length.trim_start_matches('0').len() > 19 => 413,
        _ => 200,
    }
}

fn target(method: &str, target: &str) -> bool {
    if method == "CONNECT" {
        let parts = authority(target);
        return parts.is_some_and(|(host, port)| {
            !host.is_empty() && port.is_some_and(|port| !port.is_empty())
        });
    }
    let lower = target.to_ascii_lowercase();
    let absolute = ["http://", "https://"]
        .iter()
        .find_map(|scheme| lower.strip_prefix(scheme))
        .map(|rest| rest.split(['/', '?']).next().unwrap_or_default());
    match absolute {
        Some(host) => authority(host).is_some_and(|(h, _)| !h.is_empty()),
        None => {
            target.starts_with('/') || (target == "*" && method == "OPTIONS")
        }
    }
}

fn authority(text: &str) -> Option<(&str, Option<&str>)> {
    let colon = match text.rfind(']') {
        Some(close) => text[close..].find(':').map(|at| close + at),
        None => text.find(':'),
    };
    let (host, port) = match colon {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    };
    if !port.unwrap_or_default().chars().all(|c| c.is_ascii_digit()) {
        return None;
    }
    let name =
        |c: char| c.is_ascii_alphanumeric() || "-._~!$&'()*+,;=".contains(c);
    let bracketed = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    let good = match bracketed {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => host.replace("%41", "a").chars().all(name),
    };
    good.then_some((host, port))
}

/// Why we may say something else; asked only when we do.
fn excuse(bytes: &[u8], ours: Option<u16>, theirs: &Verdict) -> Option<Class> {
    let head = match theirs {
        Verdict::Head(length, _) => &bytes[..*length],
        Verdict::Refused | Verdict::Partial => bytes,
    };
    let line = head.split(|&b| b == b'\n').find(|l| l.len() > 1)?;
    if ours == Some(400) {
        let lf = |at: usize| at == 0 || head[at - 1] != b'\r';
        if memchr::memchr_iter(b'\n', head).any(lf) {
            return Some(Class::BareLf);
        }
        if head.starts_with(&b"\r\n".repeat(9)) {
            return Some(Class::Blanks);
        }
        let mut parts = line.split(|&b| b == b' ');
        let target = parts.nth(1).unwrap_or_default();
        if target.iter().any(|&b| b == b'#' || b >= 0x80) {
            return Some(Class::Target);
        }
        if *theirs == Verdict::Partial {
            return Some(Class::Early);
        }
    }
    let version = line.split(|&b| b == b' ').nth(2)?;
    let [b'H', b'T', b'T', b'P', b'/', major, b'.', minor, b'\r'] = version
    else {
        return None;
    };
    let later = *major != b'1' || !(b'0'..=b'1').contains(minor);
    (later && *theirs == Verdict::Refused).then_some(Class::Minor)
}

/// Compares; the excuse if one was needed.
fn compare(bytes: &[u8]) -> Result<Option<Class>, String> {
    let story = tell(std::iter::once(bytes));
    let (statuses, end) = outcome(&story);
    let ours = statuses.first().copied();
    let theirs = judge(bytes);
    let agree = match (&theirs, ours) {
        (Verdict::Refused, ours) => ours == Some(400),
        (Verdict::Partial, ours) => ours.is_none(),
        (Verdict::Head(_, 200), None) => end == "wants more of the body",
        // The body may be wrong, which is not the model's to say.
        (Verdict::Head(_, 200), Some(status)) => {
            status == 200 || story.contains("> ") || body_follows(bytes)
        }
        (Verdict::Head(_, status), ours) => ours == Some(*status),
    };
    if agree {
        return Ok(None);
    }
    let class = excuse(bytes, ours, &theirs);
    class.map(Some).ok_or_else(|| {
        let shown = bytes.escape_ascii();
        format!("{shown}\nours {ours:?} {end}, theirs {theirs:?}")
    })
}

/// Chunked, so that there may be an error behind the head.
fn body_follows(bytes: &[u8]) -> bool {
    let lower = bytes.to_ascii_lowercase();
    memchr::memmem::find(&lower, b"chunked").is_some()
}

const METHODS: &[&str] = &[
    "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "CONNECT",
    "TRACE", "get", "G@T", "",
];
const TARGETS: &[&str] = &[
    "/",
    "/a?b=%20",
    "*",
    "http://a/b",
    "HTTPS://a:80?q",
    "http://",
    "a:80",
    "http://u@a/",
    "/#",
    "/\u{e9}",
    "http:///",
    "/a|b",
    "//",
    "ftp://a/",
    "",
    "[::1]:1",
    "http://[::1]/",
    "http://[::g]/",
    "/\x7f",
    "/\0",
];
const VERSIONS: &[&str] = &[
    "HTTP/1.1",
    "HTTP/1.0",
    "HTTP/1.2",
    "HTTP/2.0",
    "HTTP/0.9",
    "http/1.1",
    "HTTP/1.10",
    "HTTP/1",
    "",
    "HTTP/1.1 ",
];
const ENDS: &[&str] = &["\r\n", "\n", "\r", "\r\r\n", ""];
const NAMES: &[&str] = &[
    "Host",
    "host",
    "Content-Length",
    "content-LENGTH",
    "Connection",
    "Transfer-Encoding",
    "Expect",
    "X",
    "X ",
    " X",
    "",
    "X\0",
    "\u{e9}",
];
const VALUES: &[&str] = &[
    "a",
    "",
    "a:80",
    "[::1]",
    "a b",
    "a/b",
    "%41",
    "1",
    "0",
    "007",
    "+1",
    "1, 1",
    "chunked",
    "CHUNKED",
    "gzip, chunked",
    "chunked, chunked",
    "\"chunked\"",
    ",chunked,",
    "identity",
    "100-continue",
    "100-Continue, x",
    "close",
    "keep-alive",
    "1048577",
    "99999999999999999999",
    "\t",
    "a\tb",
    "\u{e9}",
    "a\0",
    "a\x7f",
    "a\rb",
    "[v1.a",
    "0x1",
    "a@b",
];

/// Mostly the first of a list, which is as it should be.
fn mostly(list: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop_oneof![6 => Just(list[0]), 3 => select(list)].prop_map(str::to_owned)
}

fn field() -> impl Strategy<Value = String> {
    let colon = mostly(&[": ", ":", " : ", ":\t ", " ", "::"]);
    let end = prop_oneof![20 => Just("\r\n"), 1 => select(ENDS)];
    (select(NAMES), colon, select(VALUES), end).prop_map(
        |(name, colon, value, end)| format!("{name}{colon}{value}{end}"),
    )
}

fn request() -> impl Strategy<Value = Vec<u8>> {
    let blanks = prop_oneof![8 => Just(0), 1 => 0..12_usize];
    let space = || mostly(&[" ", " ", " ", "  ", "\t", ""]);
    let line = (
        mostly(METHODS),
        space(),
        mostly(TARGETS),
        space(),
        mostly(VERSIONS),
        prop_oneof![20 => Just("\r\n"), 1 => select(ENDS)],
    )
        .prop_map(|(m, s1, t, s2, v, end)| format!("{m}{s1}{t}{s2}{v}{end}"));
    let host = prop_oneof![4 => Just("Host: a\r\n"), 1 => Just("")];
    let end = prop_oneof![9 => Just("\r\n"), 1 => select(ENDS)];
    (blanks, line, host, vec(field(), 0..4), end).prop_map(
        |(blanks, line, host, fields, end)| {
            let blanks = "\r\n".repeat(blanks);
            let fields = fields.concat();
            format!("{blanks}{line}{host}{fields}{end}").into_bytes()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn we_say_what_the_judges_say_or_have_a_reason(bytes in request()) {
        if let Err(unexplained) = compare(&bytes) {
            prop_assert!(false, "{}", unexplained);
        }
    }

    #[test]
    fn one_changed_byte_does_not_part_us(
        bytes in request(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = bytes;
        let at = at.index(bytes.len().max(1));
        if let Some(there) = bytes.get_mut(at) {
            *there = byte;
        }
        if let Err(unexplained) = compare(&bytes) {
            prop_assert!(false, "{}", unexplained);
        }
    }
}

#[test]
fn each_excuse_is_needed() {
    for (bytes, class) in [
        ("GET / HTTP/1.1\nHost: a\n\n", Class::BareLf),
        (&*("\r\n".repeat(9) + "GET / HTTP/1.0\r\n\r\n"), Class::Blanks),
        ("GET /# HTTP/1.0\r\n\r\n", Class::Target),
        ("GET /\u{e9} HTTP/1.0\r\n\r\n", Class::Target),
        ("GET / HTTP/1.2\r\nHost: a\r\n\r\n", Class::Minor),
        ("GET / HTTP/2.0\r\n\r\n", Class::Minor),
        ("GET * HTTP/1.1\r\n", Class::Early),
    ] {
        assert_eq!(compare(bytes.as_bytes()), Ok(Some(class)), "{bytes:?}");
    }
}
