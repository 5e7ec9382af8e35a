//! What is answered and not written.
//!
//! ```text
//!   ░░░ written │ HTTP/1.1 200 OK … │ HTTP/1.1 200 OK … │
//!               └── pending() ──────────────────────────┘
//! ```
//!
//! As with the input, an idle connection has none.

/// Bytes on their way to one client.
#[derive(Debug, Default)]
pub struct Output {
    bytes: Vec<u8>,
    gone: usize,
}

impl Output {
    /// Waiting bytes at which no further request is looked at and no stream
    /// asked for more. A client that sends and never reads is held here: it
    /// costs this, one answer, and one [`Input`](super::Input), whatever it
    /// has sent.
    pub const MARK: usize = 8 << 10;

    /// An empty one, which has not allocated.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What is still to be written.
    #[must_use]
    pub fn pending(&self) -> &[u8] {
        &self.bytes[self.gone..]
    }

    /// The first `count` bytes of [`pending`](Self::pending) are gone.
    ///
    /// # Panics
    /// If there were not so many.
    pub fn written(&mut self, count: usize) {
        assert!(count <= self.bytes.len() - self.gone);
        self.gone += count;
        // A client that leaves a little each time must not make it grow; to
        // move no more than has gone keeps the cost in proportion.
        if self.gone * 2 >= self.bytes.len() {
            self.bytes.drain(..self.gone);
            self.gone = 0;
        }
    }

    /// Nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// No larger than the mark, more or less, so worth keeping in a pool.
    #[must_use]
    pub fn is_standard(&self) -> bool {
        self.bytes.capacity() <= 2 * Self::MARK
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.gone = 0;
    }

    /// Enough waits.
    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() - self.gone >= Self::MARK
    }

    /// Adds bytes that are an answer already.
    pub fn put(&mut self, answer: &[u8]) {
        self.bytes.extend_from_slice(answer);
    }

    /// Where further bytes go.
    pub(super) fn tail(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_output_keeps_what_the_client_did_not_take() {
        let mut output = Output::new();
        output.tail().extend_from_slice(b"abcd");
        output.written(3);
        assert_eq!(output.pending(), b"d");
        output.written(1);
        assert!(output.is_empty());
        output.tail().extend_from_slice(&[0; Output::MARK]);
        assert!(output.is_full());
        output.written(1);
        assert!(!output.is_full());
    }
}
