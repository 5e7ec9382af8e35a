//! What a client asks, and a reading of what it gets that owes nothing to the
//! server: every answer names the request it is for and the one call of the
//! handler that made it, so none can be made of two.

use proptest::prelude::*;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Get,
    Head,
    Put,
    Post,
    /// A POST of which the handler says that it may be asked again.
    PostAgain,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    None,
    Sized(usize),
    Chunked(usize),
    /// Sized, and announced with `Expect: 100-continue`.
    Expected(usize),
}

/// How the handler answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Course {
    Now,
    After,
    Later,
    /// In pieces of so many bytes, the last of them empty.
    Stream(usize),
    /// The handler panics before there is anything of an answer.
    Panics,
    /// The handler panics in the middle of a stream.
    Breaks,
}

/// Who wants this to be the last request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Last {
    Nobody,
    Client,
    Handler,
}

/// One request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask {
    pub(super) method: Method,
    pub(super) body: Body,
    pub(super) course: Course,
    /// Bytes of the answer.
    pub(super) size: usize,
    pub(super) last: Last,
    /// In HTTP/1.0.
    pub(super) old: bool,
    /// Behind an empty line.
    pub(super) blank: bool,
    /// Not a request at all.
    pub(super) garbage: bool,
}

impl Ask {
    pub(super) fn get(size: usize) -> Ask {
        Ask {
            method: Method::Get,
            body: Body::None,
            course: Course::Now,
            size,
            last: Last::Nobody,
            old: false,
            blank: false,
            garbage: false,
        }
    }

    /// As it is sent.
    pub(super) fn text(&self, number: usize) -> Vec<u8> {
        if self.garbage {
            return b"\x01\r\n\r\n".to_vec();
        }
        let method = match self.method {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Put => "PUT",
            Method::Post | Method::PostAgain => "POST",
        };
        let blank = if self.blank { "\r\n" } else { "" };
        let minor = u8::from(!self.old);
        let mut text = format!("{blank}{method} /{number} HTTP/1.{minor}\r\n");
        text += "Host: x\r\n";
        if self.last == Last::Client {
            text += "Connection: close\r\n";
        } else if self.old {
            text += "Connection: keep-alive\r\n";
        }
        text += &match self.body {
            Body::None => String::new(),
            Body::Sized(n) => format!("Content-Length: {n}\r\n"),
            Body::Expected(n) => {
                format!("Content-Length: {n}\r\nExpect: 100-continue\r\n")
            }
            Body::Chunked(_) => "Transfer-Encoding: chunked\r\n".to_owned(),
        };
        let mut text = (text + "\r\n").into_bytes();
        let body = self.sent_body(number);
        if let Body::Chunked(_) = self.body {
            for (n, part) in body.chunks(777).enumerate() {
                let extension = if n % 2 == 0 { ";a=b" } else { "" };
                let size = format!("{:x}{extension}\r\n", part.len());
                text.extend_from_slice(size.as_bytes());
                text.extend_from_slice(part);
                text.extend_from_slice(b"\r\n");
            }
            text.extend_from_slice(b"0\r\nA: b\r\n\r\n");
        } else {
            text.extend_from_slice(&body);
        }
        text
    }

    pub(super) fn sent_body(&self, number: usize) -> Vec<u8> {
        let length = match self.body {
            Body::None => 0,
            Body::Sized(n) | Body::Chunked(n) | Body::Expected(n) => n,
        };
        pattern(number, 0, length)
    }

    pub(super) fn may_be_repeated(&self) -> bool {
        self.method != Method::Post
    }

    /// The connection ends with its answer.
    pub(super) fn closes(&self) -> bool {
        self.garbage || self.course == Course::Breaks || self.says_so()
    }

    /// And the answer tells.
    fn says_so(&self) -> bool {
        let old_stream = self.is_stream() && self.old;
        let panics = self.course == Course::Panics;
        panics || old_stream || self.last != Last::Nobody
    }

    pub(super) fn is_stream(&self) -> bool {
        matches!(self.course, Course::Stream(_) | Course::Breaks)
    }
}

/// Bytes that belong to one request and one making of something.
pub(super) fn pattern(number: usize, run: u32, length: usize) -> Vec<u8> {
    let token = format!("{number}.{run};");
    token.bytes().cycle().take(length).collect()
}

/// What stands in the stream to the client.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reading {
    /// Whole answers.
    pub(super) answers: usize,
    /// Where the last whole answer ends.
    pub(super) end: usize,
    /// More stands behind that.
    pub(super) partial: bool,
    /// The last whole one says that the connection ends.
    pub(super) closing: bool,
    /// And it is the server's excuse.
    pub(super) excuse: bool,
}

impl Reading {
    /// Reads on: `bytes` stand from `self.end` on.
    pub(super) fn on(mut self, asks: &[Ask], bytes: &[u8]) -> Reading {
        let mut rest = bytes;
        while !rest.is_empty() {
            assert!(!self.closing, "bytes behind the last answer: {self:?}");
            let ask = asks.get(self.answers);
            let ask = ask.unwrap_or_else(|| panic!("unasked: {rest:?}"));
            let Some(answer) = one(ask, self.answers, rest) else { break };
            rest = &rest[answer.length..];
            self.end += answer.length;
            self.answers += usize::from(!answer.interim);
            self.closing = answer.closing;
            self.excuse = answer.excuse;
        }
        self.partial = !rest.is_empty();
        self
    }
}

struct Answer {
    length: usize,
    interim: bool,
    closing: bool,
    excuse: bool,
}

/// The first answer, if it is whole; as far as it is there it is checked.
fn one(ask: &Ask, number: usize, bytes: &[u8]) -> Option<Answer> {
    let mark = b"HTTP/1.1 ";
    let known = bytes.len().min(mark.len());
    assert_eq!(bytes[..known], mark[..known], "no answer to {number}");
    let end = memchr::memmem::find(bytes, b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&bytes[..end]).unwrap();
    let field =
        |name: &str| head.lines().find_map(|line| line.strip_prefix(name));
    let closing = field("Connection: ") == Some("close");
    let fixed = |excuse: bool| {
        let body = field("Content-Length: ").map_or(0, |n| n.parse().unwrap());
        let head = ask.method == Method::Head && !excuse;
        let length = end + if head { 0 } else { body };
        let whole = bytes.len() >= length;
        whole.then_some(Answer { length, interim: false, closing, excuse })
    };
    match &head[9..12] {
        "100" => {
            assert!(matches!(ask.body, Body::Expected(_)), "100 for {ask:?}");
            let (interim, closing, excuse) = (true, false, false);
            Some(Answer { length: end, interim, closing, excuse })
        }
        "200" => {
            assert_eq!(closing, ask.says_so(), "answer to {number}, {ask:?}");
            let run = field("X-Run: ").unwrap().parse().unwrap();
            let sized = field("Content-Length: ").map(|n| n.parse().unwrap());
            let chunked = field("Transfer-Encoding: ").is_some();
            assert!(sized.is_none_or(|n: usize| n == ask.size));
            let body = &bytes[end..];
            let (there, length) = match (ask.method, chunked) {
                (Method::Head, _) => (Vec::new(), Some(0)),
                (_, true) => chunks(body),
                (_, false) => {
                    let there = body.len().min(ask.size);
                    let whole = (there == ask.size).then_some(there);
                    (body[..there].to_vec(), whole)
                }
            };
            let expected = pattern(number, run, there.len());
            assert!(there == expected, "answer to {number} is no one's");
            let length = end + length?;
            let whole = ask.method == Method::Head || there.len() == ask.size;
            assert!(whole, "answer to {number} is too short");
            let (interim, excuse) = (false, false);
            Some(Answer { length, interim, closing, excuse })
        }
        "400" => {
            assert!(ask.garbage && closing);
            fixed(false)
        }
        "408" => fixed(false),
        "500" => {
            assert!(ask.course == Course::Panics && closing);
            fixed(false)
        }
        "502" => {
            assert!(closing);
            fixed(true)
        }
        other => panic!("answer {other} to {number}, {ask:?}"),
    }
}

/// What is there of a chunked body and, if it is all there, its length.
fn chunks(bytes: &[u8]) -> (Vec<u8>, Option<usize>) {
    let mut body = Vec::new();
    let mut at = 0;
    loop {
        let Some(line) = memchr::memmem::find(&bytes[at..], b"\r\n") else {
            return (body, None);
        };
        let size = std::str::from_utf8(&bytes[at..at + line]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        at += line + 2;
        let there = size.min(bytes.len() - at);
        body.extend_from_slice(&bytes[at..at + there]);
        at += there + 2;
        if at > bytes.len() {
            return (body, None);
        }
        if size == 0 {
            return (body, Some(at));
        }
    }
}

/// Conversations of up to so many requests.
pub(super) fn asks(most: usize) -> impl Strategy<Value = Vec<Ask>> {
    prop::collection::vec(ask(), 1..=most)
}

fn ask() -> impl Strategy<Value = Ask> {
    let method = prop_oneof![
        8 => Just(Method::Get),
        1 => Just(Method::Head),
        2 => Just(Method::Put),
        4 => Just(Method::Post),
        1 => Just(Method::PostAgain),
    ];
    let length = prop_oneof![
        8 => 1..300_usize,
        2 => 300..4000_usize,
        1 => 7900..12_000_usize,
    ];
    let body = (0..8, length).prop_map(|(kind, n)| match kind {
        0 => Body::Sized(n),
        1 => Body::Chunked(n),
        2 => Body::Expected(n),
        _ => Body::None,
    });
    let course = prop_oneof![
        12 => Just(Course::Now),
        2 => Just(Course::After),
        2 => Just(Course::Later),
        2 => (1..4000_usize).prop_map(Course::Stream),
    ];
    let size = prop_oneof![
        20 => 0..400_usize,
        4 => 400..3000_usize,
        1 => 12_000..14_000_usize,
        1 => 23_000..40_000_usize,
    ];
    let end = prop_oneof![
        20 => Just((Last::Nobody, false, None)),
        1 => Just((Last::Client, false, None)),
        1 => Just((Last::Handler, false, None)),
        1 => Just((Last::Nobody, true, None)),
        1 => prop_oneof![
            Just((Last::Nobody, false, Some(Course::Panics))),
            Just((Last::Nobody, false, Some(Course::Breaks))),
            Just((Last::Nobody, false, Some(Course::Now))),
        ],
    ];
    let blank = prop::bool::weighted(0.1);
    (method, body, course, size, end, blank).prop_map(
        |(method, body, course, size, (last, old, odd), blank)| {
            let garbage = odd == Some(Course::Now);
            let course = odd.unwrap_or(course);
            // HTTP/1.0 knows neither.
            let body = match body {
                Body::Chunked(n) | Body::Expected(n) if old => Body::Sized(n),
                body => body,
            };
            let method = match course {
                Course::Breaks => Method::Get,
                _ if garbage => Method::Get,
                _ => method,
            };
            // There is a middle.
            let size = size.max(usize::from(odd.is_some()) * 10);
            Ask { method, body, course, size, last, old, blank, garbage }
        },
    )
}
