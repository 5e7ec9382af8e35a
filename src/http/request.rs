//! A request as the handler sees it: borrowed from the buffer it arrived in.

use super::{Head, Input, RequestLog, Version, target::Form};
use std::{fmt, net::SocketAddr};

/// The methods that are known here; any other is answered with 501.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// GET
    Get,
    /// HEAD: answered as GET, without the body.
    Head,
    /// POST
    Post,
    /// PUT
    Put,
    /// DELETE
    Delete,
    /// OPTIONS
    Options,
    /// PATCH
    Patch,
}

impl Method {
    /// Methods are case-sensitive (RFC 9110 §9.1).
    #[inline]
    pub(super) fn of(token: &[u8]) -> Option<Method> {
        Some(match token {
            b"GET" => Method::Get,
            b"HEAD" => Method::Head,
            b"POST" => Method::Post,
            b"PUT" => Method::Put,
            b"DELETE" => Method::Delete,
            b"OPTIONS" => Method::Options,
            b"PATCH" => Method::Patch,
            _ => return None,
        })
    }

    /// Whether a client may repeat such a request by itself (RFC 9110
    /// §9.2.2).
    #[must_use]
    pub fn is_idempotent(self) -> bool {
        match self {
            Method::Get
            | Method::Head
            | Method::Put
            | Method::Delete
            | Method::Options => true,
            Method::Post | Method::Patch => false,
        }
    }

    /// As it stands in a request.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Delete => "DELETE",
            Method::Options => "OPTIONS",
            Method::Patch => "PATCH",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One whole request.
///
/// ```
/// use handoff::{Method, Request, Response};
///
/// fn count(request: &Request<'_>, response: &mut Response<'_>) {
///     match (request.method(), request.path()) {
///         (Method::Get, "/length") => {
///             let query = request.query().unwrap_or_default();
///             response.body(format!("{}\n", query.len()));
///         }
///         (Method::Post, "/length") => {
///             let text = request.field("content-type");
///             match text.is_some_and(|kind| kind.starts_with(b"text/")) {
///                 true => response.body(request.body().len().to_string()),
///                 false => response.status(415),
///             };
///         }
///         _ => {
///             response.status(404);
///         }
///     }
/// }
/// ```
#[derive(Clone, Copy)]
pub struct Request<'a> {
    bytes: &'a [u8],
    head: &'a Head,
    method: Method,
    body: &'a [u8],
    peer: &'a dyn Fn() -> Option<SocketAddr>,
    /// Where it begins, and who wants to know of it.
    request_log: (usize, Option<&'a dyn RequestLog>),
}

impl<'a> Request<'a> {
    /// The request at the front of `input`, with that body.
    pub(super) fn new(
        input: &'a Input,
        method: Method,
        body: &'a [u8],
        peer: &'a dyn Fn() -> Option<SocketAddr>,
        request_log: Option<&'a dyn RequestLog>,
    ) -> Self {
        let (bytes, head) = (input.data(), input.head());
        let request_log = (input.consumed(), request_log);
        Request { bytes, head, method, body, peer, request_log }
    }

    /// Lets another worker answer this request again, should this one be
    /// killed before it has. That is so anyhow for methods that are
    /// [idempotent](Method::is_idempotent); say it of a POST or PATCH before
    /// anything is done that must not be done twice. Without it the client of
    /// a killed worker is told 502.
    pub fn replayable(&self) {
        if let (at, Some(request_log)) = self.request_log {
            request_log.begins(at, true);
        }
    }

    /// What is to be done.
    #[must_use]
    pub fn method(&self) -> Method {
        self.method
    }

    /// The version that the client speaks.
    #[must_use]
    pub fn version(&self) -> Version {
        self.head.version()
    }

    /// To what, exactly as it was sent: mostly `/path?query`, but also
    /// `http://host/path?query`, or `*` for OPTIONS (RFC 9112 §3.2). Visible
    /// ASCII; percent-encoding is left as it is, and not checked.
    #[must_use]
    pub fn target(&self) -> &'a str {
        text(self.head.target(self.bytes))
    }

    /// The path of the target, `/` if that has none, `*` if it is that.
    #[must_use]
    pub fn path(&self) -> &'a str {
        match self.local() {
            ("", _) => "/",
            (path, _) => path,
        }
    }

    /// What stands behind the first `?` of the target, if there is one.
    #[must_use]
    pub fn query(&self) -> Option<&'a str> {
        self.local().1
    }

    /// The host that is asked, with its port if one is named. That is the
    /// target's own if it has one, else the field's (RFC 9112 §3.2.2).
    /// Checked to be one, but perhaps empty; `None` in HTTP/1.0 alone.
    #[must_use]
    pub fn host(&self) -> Option<&'a str> {
        match self.head.form() {
            Form::Absolute { host, path } => {
                Some(text(&self.head.target(self.bytes)[host..path]))
            }
            Form::Origin | Form::Authority | Form::Asterisk => {
                self.field("host").map(text)
            }
        }
    }

    /// The value of the first field of this name, in any case.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&'a [u8]> {
        self.fields()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// All fields, by name and value, in the order they were sent in. Values
    /// are without the white space around them, and may hold any byte but
    /// control characters other than a tab (RFC 9110 §5.5).
    pub fn fields(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        let Request { bytes, head, .. } = *self;
        head.fields(bytes).map(|(name, value)| (text(name), value))
    }

    /// The body, whole and without transfer coding; empty if there is none.
    #[must_use]
    pub fn body(&self) -> &'a [u8] {
        self.body
    }

    /// Who asks, if the connection has an address. Found out at each call:
    /// it costs one system call.
    #[must_use]
    pub fn peer(&self) -> Option<SocketAddr> {
        (self.peer)()
    }

    /// Path and query of the target, without scheme and host.
    fn local(&self) -> (&'a str, Option<&'a str>) {
        let from = match self.head.form() {
            Form::Absolute { path, .. } => path,
            Form::Origin | Form::Authority | Form::Asterisk => 0,
        };
        let local = &self.head.target(self.bytes)[from..];
        match memchr::memchr(b'?', local) {
            Some(at) => (text(&local[..at]), Some(text(&local[at + 1..]))),
            None => (text(local), None),
        }
    }
}

impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("target", &self.target())
            .field("version", &self.version())
            .field("body", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// Bytes that were checked to be ASCII when they were read.
fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}
