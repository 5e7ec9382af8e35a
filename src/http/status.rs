//! Status codes: their phrases, and the ones the server answers by itself.

use super::Reply;

/// Why the server itself turns a request away. Each closes the connection:
/// after a request that was not understood, or whose body was not read, no
/// byte can be trusted to begin another (RFC 9112 §9.3, §11.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// 400: the bytes are no HTTP/1.1 request, or an ambiguous one.
    Malformed,
    /// 408: the client took too long to send its request.
    Late,
    /// 413: the body is larger than [`Limits::body`](super::Limits::body).
    BodyTooLarge,
    /// 414: the request line is longer than
    /// [`Limits::head`](super::Limits::head).
    TargetTooLong,
    /// 417: an expectation other than `100-continue`.
    UnknownExpectation,
    /// 431: the head is larger than [`Limits::head`](super::Limits::head) or
    /// has more than [`Limits::fields`](super::Limits::fields).
    HeadTooLarge,
    /// 500: the handler panicked.
    Failed,
    /// 501: a method or a transfer coding that is not known here.
    Unknown,
    /// 503: the server has no room.
    Overloaded,
    /// 505: another major version of HTTP.
    Version,
}

impl Refusal {
    /// The status code it is answered with.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Refusal::Malformed => 400,
            Refusal::Late => 408,
            Refusal::BodyTooLarge => 413,
            Refusal::TargetTooLong => 414,
            Refusal::UnknownExpectation => 417,
            Refusal::HeadTooLarge => 431,
            Refusal::Failed => 500,
            Refusal::Unknown => 501,
            Refusal::Overloaded => 503,
            Refusal::Version => 505,
        }
    }

    /// The answer: the status in words, and the end of the connection.
    pub(super) fn fill(self, reply: &mut Reply) {
        let status = self.status();
        reply.clear();
        reply.status = status;
        reply.fields.extend_from_slice(b"Content-Type: text/plain\r\n");
        let text = format!("{status} {}\n", phrase(status));
        reply.body.extend_from_slice(text.as_bytes());
        reply.close = true;
    }

    /// As [`fill`](Self::fill), in a reply of its own.
    pub(super) fn reply(self) -> Reply {
        let mut reply = Reply::new();
        self.fill(&mut reply);
        reply
    }
}

/// The phrase of a status code (RFC 9110 §15), or nothing: it may be empty.
pub(super) fn phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        203 => "Non-Authoritative Information",
        204 => "No Content",
        205 => "Reset Content",
        206 => "Partial Content",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}
