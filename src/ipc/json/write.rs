//! JSON written straight into the buffer that is sent.

use std::fmt;
use std::io::Write as _;

/// Writes one object, member by member, onto the end of a buffer.
#[derive(Debug)]
pub struct ObjectWriter<'o> {
    out: &'o mut Vec<u8>,
}

impl<'o> ObjectWriter<'o> {
    /// Begins an object at the end of `out`.
    pub fn new(out: &'o mut Vec<u8>) -> Self {
        out.push(b'{');
        ObjectWriter { out }
    }

    /// A member that is a string.
    pub fn string(&mut self, name: &str, value: &str) {
        push_string(self.value(name), value);
    }

    /// A member that JSON spells as Rust does: a number, `true`, `false`.
    pub fn literal(&mut self, name: &str, value: impl fmt::Display) {
        // Writing into memory does not fail.
        let _ = write!(self.value(name), "{value}");
    }

    /// A member whose one value the caller appends to what this returns.
    pub fn value(&mut self, name: &str) -> &mut Vec<u8> {
        // No value ends with an opening brace: this is the first member.
        if self.out.last() != Some(&b'{') {
            self.out.push(b',');
        }
        push_string(self.out, name);
        self.out.push(b':');
        self.out
    }

    /// Ends the object.
    pub fn close(self) {
        self.out.push(b'}');
    }
}

/// Appends `text` as a string, spelt as `JSON.stringify` spells it.
pub fn push_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(special) {
        out.extend_from_slice(&rest[..at]);
        push_escape(out, rest[at]);
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

/// The shortest escape of a byte that cannot stand in a string.
fn push_escape(out: &mut Vec<u8>, byte: u8) {
    let letter = match byte {
        b'"' | b'\\' => byte,
        0x08 => b'b',
        0x0c => b'f',
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        _ => {
            // Writing into memory does not fail.
            let _ = write!(out, "\\u{byte:04x}");
            return;
        }
    };
    out.extend_from_slice(&[b'\\', letter]);
}

/// Appends JSON on one line: in valid JSON a line feed can only be space
/// between two tokens, and another space means the same.
pub fn push_raw(out: &mut Vec<u8>, json: &str) {
    let start = out.len();
    out.extend_from_slice(json.as_bytes());
    for byte in &mut out[start..] {
        if *byte == b'\n' {
            *byte = b' ';
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_written_on_one_line() {
        let mut out = Vec::new();
        let mut object = ObjectWriter::new(&mut out);
        object.string("s", "\"\\\u{8}\u{c}\n\r\t\u{1f}\u{7f}é");
        object.literal("n", -1);
        object.literal("t", true);
        push_raw(object.value("r"), "[1,\n2]");
        ObjectWriter::new(object.value("empty")).close();
        object.close();
        let written = std::str::from_utf8(&out).unwrap();
        let expected = concat!(
            r#"{"s":"\"\\\b\f\n\r\t\u001f"#,
            "\u{7f}é",
            r#"","n":-1,"t":true,"r":[1, 2],"empty":{}}"#
        );
        assert_eq!(written, expected);
    }
}
