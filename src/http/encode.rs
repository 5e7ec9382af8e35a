//! Answers as bytes: status line, fields, framing (RFC 9112 §4, §6).

use super::{Method, Preamble, Reply, Version, status};
use std::io::Write as _;

/// What must be known of a request to frame its answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exchange {
    pub(super) method: Method,
    pub(super) version: Version,
    /// The client wants the connection to go on.
    pub(super) persist: bool,
}

/// How the end of an answer's body is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// No body, and no word about its length.
    None,
    Sized(usize),
    Chunked,
    /// It ends with the connection.
    Close,
}

impl Extent {
    /// For a body whose length is not known in advance.
    pub(super) fn unknown(version: Version, reply: &Reply) -> Extent {
        match (reply.status, version) {
            (204 | 304, _) => Extent::None,
            (205, _) => Extent::Sized(0),
            (_, Version::Http11) => Extent::Chunked,
            (_, Version::Http10) => Extent::Close,
        }
    }

    pub(super) fn has_body(self) -> bool {
        match self {
            Extent::None | Extent::Sized(0) => false,
            Extent::Sized(_) | Extent::Chunked | Extent::Close => true,
        }
    }
}

/// The word of consent that a client may wait for before it sends a body.
pub(super) const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// A whole answer. `close` announces the end of the connection.
#[inline]
pub(super) fn whole(
    out: &mut Vec<u8>,
    exchange: Exchange,
    preamble: &Preamble,
    reply: &Reply,
    close: bool,
) {
    let (extent, body): (_, &[u8]) = match reply.status {
        204 | 304 => (Extent::None, &[]),
        205 => (Extent::Sized(0), &[]),
        _ => (Extent::Sized(reply.body.len()), &reply.body),
    };
    // One growth at the most: what stands around a body takes less than this.
    out.reserve(256 + reply.fields.len() + body.len());
    head(out, exchange, preamble, reply, extent, close);
    if exchange.method != Method::Head {
        out.extend_from_slice(body);
    }
}

/// Everything before the body.
#[inline]
pub(super) fn head(
    out: &mut Vec<u8>,
    exchange: Exchange,
    preamble: &Preamble,
    reply: &Reply,
    extent: Extent,
    close: bool,
) {
    if reply.status == 200 {
        out.extend_from_slice(preamble.ok());
    } else {
        out.extend_from_slice(b"HTTP/1.1 ");
        decimal(out, usize::from(reply.status));
        out.push(b' ');
        out.extend_from_slice(status::phrase(reply.status).as_bytes());
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(preamble.fields());
    }
    out.extend_from_slice(&reply.fields);
    match extent {
        Extent::None | Extent::Close => {}
        Extent::Sized(length) => {
            out.extend_from_slice(b"Content-Length: ");
            decimal(out, length);
            out.extend_from_slice(b"\r\n");
        }
        Extent::Chunked => {
            out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
        }
    }
    out.extend_from_slice(match (close, exchange.version) {
        (true, _) => b"Connection: close\r\n\r\n",
        (false, Version::Http10) => b"Connection: keep-alive\r\n\r\n",
        (false, Version::Http11) => b"\r\n",
    });
}

/// One chunk. The empty one would end the body, so it is left out.
pub(super) fn chunk(out: &mut Vec<u8>, data: &[u8]) {
    if !data.is_empty() {
        // Writing to a vector does not fail.
        let _ = write!(out, "{:x}\r\n", data.len());
        out.extend_from_slice(data);
        out.extend_from_slice(b"\r\n");
    }
}

/// The end of a chunked body.
pub(super) const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// A number in decimal: `format!` without its machinery.
fn decimal(out: &mut Vec<u8>, mut number: usize) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_decimal() {
        for number in [0, 9, 10, 200, 65_536, usize::MAX] {
            let mut out = Vec::new();
            decimal(&mut out, number);
            assert_eq!(out, number.to_string().as_bytes());
        }
    }

    #[test]
    fn an_empty_chunk_does_not_end_the_body() {
        let mut out = Vec::new();
        chunk(&mut out, b"");
        chunk(&mut out, &[b'x'; 16]);
        assert_eq!(out, b"10\r\nxxxxxxxxxxxxxxxx\r\n");
    }
}
