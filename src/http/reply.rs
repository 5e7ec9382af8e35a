//! What the handler answers: status, fields, body. How it is framed is not
//! the handler's to say, so it cannot get that wrong.

use super::byte::{self, TOKEN, VALUE};
use std::{fmt, io};

/// Fields that the server sets by itself.
const OWN: [&[u8]; 6] = [
    b"connection",
    b"content-length",
    b"date",
    b"keep-alive",
    b"server",
    b"transfer-encoding",
];

/// A field that would not reach the client as it was meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadField {
    /// The name is no token (RFC 9110 §5.1).
    Name,
    /// The value has a control character in it, perhaps CR, LF or NUL.
    Value,
    /// The server sets this one itself.
    Reserved,
}

impl fmt::Display for BadField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BadField::Name => "the field name is not a token",
            BadField::Value => "the field value has a control character",
            BadField::Reserved => "the server sets this field itself",
        })
    }
}

impl std::error::Error for BadField {}

/// An answer. As it is made it is `200 OK` without a body.
///
/// 204, 205 and 304 have no body, whatever is written to it.
#[derive(Clone, Debug)]
pub struct Reply {
    pub(super) status: u16,
    /// As they will be sent, each with its CRLF.
    pub(super) fields: Vec<u8>,
    pub(super) body: Vec<u8>,
    pub(super) close: bool,
}

impl Default for Reply {
    fn default() -> Self {
        Reply {
            status: 200,
            fields: Vec::new(),
            body: Vec::new(),
            close: false,
        }
    }
}

impl Reply {
    /// Room that a reply keeps when it is used again.
    const KEPT: usize = 64 << 10;

    /// 200, no fields of its own, no body.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the status code, or 500 if this is no code of a final answer.
    pub fn status(&mut self, status: u16) -> &mut Self {
        self.status = if (200..600).contains(&status) { status } else { 500 };
        self
    }

    /// Adds a field.
    ///
    /// # Errors
    /// If the client could take it for something else, or it is the server's
    /// to set: `Connection`, `Content-Length`, `Date`, `Keep-Alive`, `Server`,
    /// `Transfer-Encoding`.
    pub fn field(
        &mut self,
        name: &str,
        value: impl AsRef<[u8]>,
    ) -> Result<&mut Self, BadField> {
        let (name, value) = (name.as_bytes(), value.as_ref());
        if name.is_empty() || byte::run(TOKEN, name, 0) < name.len() {
            return Err(BadField::Name);
        }
        if byte::run(VALUE, value, 0) < value.len() {
            return Err(BadField::Value);
        }
        if OWN.iter().any(|own| own.eq_ignore_ascii_case(name)) {
            return Err(BadField::Reserved);
        }
        for part in [name, b": ", value, b"\r\n"] {
            self.fields.extend_from_slice(part);
        }
        Ok(self)
    }

    /// Sets the body; [`io::Write`] adds to it.
    pub fn body(&mut self, body: impl AsRef<[u8]>) -> &mut Self {
        self.body.clear();
        self.body.extend_from_slice(body.as_ref());
        self
    }

    /// Closes the connection when the answer is sent.
    pub fn close(&mut self) -> &mut Self {
        self.close = true;
        self
    }

    /// As new, but for the room that it has.
    pub(super) fn clear(&mut self) {
        self.status = 200;
        self.fields.clear();
        self.body.clear();
        self.body.shrink_to(Self::KEPT);
        self.close = false;
    }
}

impl io::Write for Reply {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.body.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_cannot_break_out_of_its_line() {
        let mut reply = Reply::new();
        for value in ["a\r\nb: c", "a\rb", "a\nb", "a\0b", "\x7f", "\x0b"] {
            let refused = reply.field("X", value).err();
            assert_eq!(refused, Some(BadField::Value), "{value:?}");
        }
        for name in ["", "a b", "a:", "a\r\n", "é", " a"] {
            let refused = reply.field(name, "v").err();
            assert_eq!(refused, Some(BadField::Name), "{name:?}");
        }
        for name in ["Date", "content-LENGTH", "Connection", "SERVER"] {
            let refused = reply.field(name, "v").err();
            assert_eq!(refused, Some(BadField::Reserved), "{name:?}");
        }
        assert!(reply.fields.is_empty());
        reply.field("Allow", "GET").unwrap().field("X", b"\xff\t").unwrap();
        assert_eq!(reply.fields, b"Allow: GET\r\nX: \xff\t\r\n");
    }

    #[test]
    fn a_body_is_set_and_then_written_to() {
        use std::io::Write as _;
        let mut reply = Reply::new();
        reply.body("gone").status(201).body("a");
        write!(reply, "{}", 1).unwrap();
        assert_eq!((reply.status, &reply.body[..]), (201, &b"a1"[..]));
    }
}
