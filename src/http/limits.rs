//! How much of anything a client may send.

/// What one request, and one connection, may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request line and its fields, up to the empty line and with
    /// it. Default 16 KiB; RFC 9112 §3 wants at least 8000 for the line alone.
    pub head: usize,
    /// Field lines of a request. Default 100.
    pub fields: usize,
    /// Bytes of a body, decoded. Default 1 MiB.
    pub body: usize,
    /// Requests answered on a connection before it is closed; 0, the
    /// default, for any number.
    pub requests: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { head: 16 << 10, fields: 100, body: 1 << 20, requests: 0 }
    }
}
