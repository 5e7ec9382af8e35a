//! What the fields of a request ask of the server: how long the body is,
//! whether the connection goes on, whether the client waits for a word.
//!
//! Here request smuggling is refused. Two servers that read a length
//! differently see different requests in the same bytes, so whatever could be
//! read in two ways is not read at all (RFC 9112 §6.3, §11.2).
//!
//! | fields                                    | answer                      |
//! |-------------------------------------------|-----------------------------|
//! | no Host or two (1.1), two (1.0), no host  | 400                         |
//! | Content-Length not 1*DIGIT, listed, twice | 400                         |
//! | Transfer-Encoding with Content-Length     | 400                         |
//! | Transfer-Encoding in HTTP/1.0             | 400                         |
//! | … empty, odd, twice or not last chunked   | 400                         |
//! | … another coding before chunked           | 501                         |
//! | a method not known, CONNECT               | 501                         |
//! | Expect other than 100-continue (1.1)      | 417                         |
//! | Content-Length above the limit            | 413                         |
//!
//! The first that holds, from the top, is the answer.

use super::{
    Head, Limits, Method, Refusal, Version,
    byte::{self, TOKEN},
    target,
};

/// How the end of the body is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    /// Bytes that follow the head; mostly none.
    Sized(usize),
    /// The body says itself where it ends.
    Chunked,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Terms {
    pub(super) method: Method,
    pub(super) length: Length,
    /// The client wants the connection to go on.
    pub(super) persist: bool,
    /// The client may be waiting for `100 Continue`.
    pub(super) expects: bool,
}

/// All lines of Transfer-Encoding, as one list.
#[derive(Default)]
struct Codings {
    lines: u32,
    chunked: u32,
    others: u32,
    chunked_last: bool,
    odd: bool,
}

impl Codings {
    fn line(&mut self, value: &[u8]) {
        self.lines += 1;
        for coding in byte::list(value) {
            let token = byte::run(TOKEN, coding, 0) == coding.len();
            self.odd |= !token;
            self.chunked_last = coding.eq_ignore_ascii_case(b"chunked");
            match self.chunked_last {
                true => self.chunked += 1,
                false => self.others += 1,
            }
        }
    }
}

/// What this head asks for.
#[inline]
pub(super) fn terms(
    head: &Head,
    bytes: &[u8],
    limits: &Limits,
) -> Result<Terms, Refusal> {
    let modern = head.version() == Version::Http11;
    let mut hosts = 0u32;
    let (mut lengths, mut length) = (0u32, 0);
    let mut codings = Codings::default();
    let (mut close, mut keep) = (false, false);
    let (mut expects, mut unknown) = (false, false);

    for (name, value) in head.fields(bytes) {
        let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
        // The length tells most fields apart without a look at their bytes.
        match name.len() {
            4 if is(b"host") => {
                hosts += 1;
                target::split(value).ok_or(Refusal::Malformed)?;
            }
            6 if is(b"expect") => {
                for expectation in byte::list(value) {
                    let known =
                        expectation.eq_ignore_ascii_case(b"100-continue");
                    expects |= known;
                    unknown |= !known;
                }
            }
            10 if is(b"connection") => {
                for option in byte::list(value) {
                    close |= option.eq_ignore_ascii_case(b"close");
                    keep |= option.eq_ignore_ascii_case(b"keep-alive");
                }
            }
            14 if is(b"content-length") => {
                lengths += 1;
                length = decimal(value)?;
            }
            17 if is(b"transfer-encoding") => codings.line(value),
            _ => {}
        }
    }

    if hosts > 1 || (modern && hosts == 0) {
        return Err(Refusal::Malformed);
    }
    let length = match (codings.lines, lengths) {
        (0, 0 | 1) => Length::Sized(length),
        (0, _) | (_, 1..) => return Err(Refusal::Malformed),
        (_, 0) => {
            let once = codings.chunked == 1 && codings.chunked_last;
            if !modern || !once || codings.odd {
                return Err(Refusal::Malformed);
            }
            if codings.others > 0 {
                return Err(Refusal::Unknown);
            }
            Length::Chunked
        }
    };
    let method = Method::of(head.method(bytes)).ok_or(Refusal::Unknown)?;
    if unknown && modern {
        return Err(Refusal::UnknownExpectation);
    }
    if matches!(length, Length::Sized(bytes) if bytes > limits.body) {
        return Err(Refusal::BodyTooLarge);
    }
    Ok(Terms {
        method,
        length,
        persist: !close && (modern || keep),
        expects: expects && modern,
    })
}

/// RFC 9110 §8.6: 1*DIGIT, decimal also behind zeros. What no integer can
/// hold is above every limit, and `usize::MAX` says so as well.
fn decimal(value: &[u8]) -> Result<usize, Refusal> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(Refusal::Malformed);
    }
    Ok(value.iter().fold(0, |number: usize, digit| {
        number.saturating_mul(10).saturating_add(usize::from(digit - b'0'))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(version: &str, fields: &str) -> Result<Terms, Refusal> {
        let text = format!("POST / HTTP/{version}\r\n{fields}\r\n");
        let limits = Limits::default();
        let mut head = Head::default();
        head.parse(text.as_bytes(), &limits).unwrap().unwrap();
        terms(&head, text.as_bytes(), &limits)
    }

    fn length(fields: &str) -> Result<Length, Refusal> {
        of("1.1", &format!("Host: a\r\n{fields}")).map(|terms| terms.length)
    }

    #[test]
    fn a_length_is_digits_and_nothing_else() {
        let ok = |field: &str| length(&format!("Content-Length:{field}\r\n"));
        assert_eq!(ok("0"), Ok(Length::Sized(0)));
        assert_eq!(ok(" 12 "), Ok(Length::Sized(12)));
        assert_eq!(ok("0000000000000000000000007"), Ok(Length::Sized(7)));
        assert_eq!(ok("010"), Ok(Length::Sized(10)));
        for odd in [
            "", " ", "+1", "-1", "0x1", "1_0", "1,1", "1, 2", "1;", "1 1",
            "1.0", "1e1", "a", "\u{661}",
        ] {
            assert_eq!(ok(odd), Err(Refusal::Malformed), "{odd:?}");
        }
        for large in ["1048577", "18446744073709551617", &"9".repeat(500)] {
            assert_eq!(ok(large), Err(Refusal::BodyTooLarge), "{large}");
        }
    }

    #[test]
    fn two_lengths_are_refused_even_if_equal() {
        let twice = "Content-Length: 1\r\nCONTENT-LENGTH: 1\r\n";
        assert_eq!(length(twice), Err(Refusal::Malformed));
    }

    #[test]
    fn the_codings_of_all_lines_are_one_list() {
        let te = |values: &[&str]| {
            let line = |v: &&str| format!("Transfer-Encoding: {v}\r\n");
            length(&values.iter().map(line).collect::<String>())
        };
        for good in [&["chunked"][..], &["CHUNKED"], &[",chunked ,"]] {
            assert_eq!(te(good), Ok(Length::Chunked), "{good:?}");
        }
        assert_eq!(te(&["", "chunked"]), Ok(Length::Chunked));
        for odd in [
            &[""][..],
            &[","],
            &["identity"],
            &["gzip"],
            &["chunked, gzip"],
            &["chunked", "gzip"],
            &["chunked, chunked"],
            &["chunked", "chunked"],
            &["chunked;a=b"],
            &["gzip;q=1, chunked"],
            &["\"chunked\""],
            &["'chunked'"],
            &["xchunked"],
            &["chunked x"],
            &["chun ked"],
        ] {
            assert_eq!(te(odd), Err(Refusal::Malformed), "{odd:?}");
        }
        assert_eq!(te(&["gzip, chunked"]), Err(Refusal::Unknown));
        assert_eq!(te(&["gzip", "chunked"]), Err(Refusal::Unknown));
        assert_eq!(te(&["identity, chunked"]), Err(Refusal::Unknown));
    }

    #[test]
    fn a_coding_beside_a_length_or_in_an_old_version_is_refused() {
        let both = "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n";
        assert_eq!(length(both), Err(Refusal::Malformed));
        let old = of("1.0", "Transfer-Encoding: chunked\r\n");
        assert_eq!(old, Err(Refusal::Malformed));
        let old = of("1.0", "Transfer-Encoding:\r\n");
        assert_eq!(old, Err(Refusal::Malformed));
    }

    #[test]
    fn there_is_one_host_or_in_http_1_0_perhaps_none() {
        assert!(of("1.1", "hOST: a\r\n").is_ok());
        assert!(of("1.1", "Host:\r\n").is_ok());
        assert!(of("1.0", "").is_ok());
        for (version, fields) in [
            ("1.1", ""),
            ("1.1", "Host: a\r\nHost: a\r\n"),
            ("1.0", "Host: a\r\nHost: a\r\n"),
            ("1.1", "Host: a b\r\n"),
            ("1.0", "Host: a b\r\n"),
        ] {
            assert_eq!(of(version, fields), Err(Refusal::Malformed));
        }
    }

    #[test]
    fn close_wins_and_an_old_client_must_ask_to_be_kept() {
        let persist = |version, fields: &str| {
            of(version, &format!("Host: a\r\n{fields}")).unwrap().persist
        };
        assert!(persist("1.1", ""));
        assert!(persist("1.1", "Connection: foo\r\n"));
        assert!(!persist("1.1", "Connection: a,\tCLOSE\t,b\r\n"));
        assert!(!persist(
            "1.1",
            "Connection: keep-alive\r\nConnection: close\r\n"
        ));
        assert!(persist("1.1", "Connection: closed, xclose\r\n"));
        assert!(!persist("1.0", ""));
        assert!(persist("1.0", "Connection: Keep-Alive\r\n"));
        assert!(!persist("1.0", "Connection: keep-alive, close\r\n"));
    }

    #[test]
    fn one_expectation_is_known_and_old_clients_have_none() {
        let expect = |version, value: &str| {
            of(version, &format!("Host: a\r\nExpect: {value}\r\n"))
                .map(|terms| terms.expects)
        };
        assert_eq!(expect("1.1", "100-Continue"), Ok(true));
        assert_eq!(expect("1.1", ""), Ok(false));
        for unknown in ["200-ok", "100-continue, x", "100-continue=1"] {
            let refused = Err(Refusal::UnknownExpectation);
            assert_eq!(expect("1.1", unknown), refused);
            assert!(expect("1.0", unknown).is_ok_and(|expects| !expects));
        }
        assert_eq!(expect("1.0", "100-continue"), Ok(false));
    }

    #[test]
    fn a_later_minor_version_is_1_1() {
        assert!(of("1.9", "Host: a\r\n").unwrap().persist);
        assert_eq!(of("1.2", ""), Err(Refusal::Malformed));
    }
}
