//! Answers with all that a handler can know of a request, so that two
//! servers that were asked the same can be compared byte by byte.

use std::fmt::Write as _;

use handoff::{Request, Response};

pub(crate) fn echo(request: &Request<'_>, response: &mut Response<'_>) {
    let mut text = String::new();
    let (method, target) = (request.method(), request.target());
    let _ = writeln!(text, "{method} {target} {:?}", request.version());
    let host = request.host().unwrap_or("none");
    let _ = writeln!(text, "{host} {} {:?}", request.path(), request.query());
    for (name, value) in request.fields() {
        let _ = writeln!(text, "{name}: {}", value.escape_ascii());
    }
    let _ = write!(text, "{}", request.body().escape_ascii());
    response.body(text);
}
