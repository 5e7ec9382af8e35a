//! The two buffers that a connection borrows while it has something in hand.
//!
//! ```text
//! Input   ░░░░ answered │ GET / … Host … │ body … │      free      │
//!                       start                      end ▲ space()
//! Output  ░░░ written │ HTTP/1.1 200 OK … │ HTTP/1.1 200 OK … │
//!                     └── pending() ──────────────────────────┘
//! ```
//!
//! Both come from the worker's pool and go back when they are empty, so an
//! idle connection has none.

use super::{Head, Limits, Refusal, chunked::Chunked};

/// Bytes of one connection that are not answered yet, and what is understood
/// of them so far.
#[derive(Debug)]
pub struct Input {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    head: Head,
}

impl Default for Input {
    fn default() -> Self {
        Self::new()
    }
}

impl Input {
    /// Bytes of a buffer that has not grown.
    pub const STANDARD: usize = 8 << 10;

    /// An empty buffer of the standard size.
    #[must_use]
    pub fn new() -> Self {
        Input {
            bytes: vec![0; Self::STANDARD],
            start: 0,
            end: 0,
            head: Head::default(),
        }
    }

    /// Where the next bytes of the client go; never empty. A full buffer
    /// grows to twice its size, that is by what a client has sent and never
    /// by what it says it will send. It is bounded as long as bytes are read
    /// only when [`Flow::Read`](super::Flow::Read) asks for them.
    pub fn space(&mut self) -> &mut [u8] {
        if self.end == self.bytes.len() {
            if self.start > 0 {
                self.bytes.copy_within(self.start..self.end, 0);
                self.end -= self.start;
                self.start = 0;
            } else {
                self.bytes.resize(2 * self.bytes.len(), 0);
            }
        }
        &mut self.bytes[self.end..]
    }

    /// The first `count` bytes of [`space`](Self::space) have been filled.
    ///
    /// # Panics
    /// If there were not so many.
    pub fn filled(&mut self, count: usize) {
        assert!(count <= self.bytes.len() - self.end);
        self.end += count;
    }

    /// No byte waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Of the standard size, so worth keeping in a pool.
    #[must_use]
    pub fn is_standard(&self) -> bool {
        self.bytes.len() == Self::STANDARD
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.start = 0;
        self.end = 0;
        self.head.clear();
    }

    /// What waits, from the first byte of the current request.
    #[inline]
    pub(super) fn data(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    pub(super) fn head(&self) -> &Head {
        &self.head
    }

    /// Reads the head on; `Some` is its length.
    #[inline]
    pub(super) fn parse(
        &mut self,
        limits: &Limits,
    ) -> Result<Option<usize>, Refusal> {
        self.head.parse(&self.bytes[self.start..self.end], limits)
    }

    /// Decodes what stands behind the body so far, which begins `head` bytes
    /// from here. `Some` is the length of the whole request as it was sent.
    pub(super) fn decode(
        &mut self,
        head: usize,
        body: &mut Chunked,
        limit: usize,
    ) -> Result<Option<usize>, Refusal> {
        let from = self.start + head;
        let whole = body.decode(&mut self.bytes[from..self.end], limit)?;
        if whole.is_none() {
            self.end = from + body.decoded();
        }
        Ok(whole.map(|length| head + length))
    }

    /// The request, so many bytes, is done with.
    #[inline]
    pub(super) fn consume(&mut self, count: usize) {
        self.start += count;
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
        self.head.clear();
    }
}

/// Bytes on their way to one client.
#[derive(Debug, Default)]
pub struct Output {
    bytes: Vec<u8>,
    gone: usize,
}

impl Output {
    /// Waiting bytes at which no further request is looked at and no stream
    /// asked for more. A client that sends and never reads is held here: it
    /// costs this, one answer, and one [`Input`], whatever it has sent.
    pub const MARK: usize = 16 << 10;

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

    /// Where further bytes go.
    pub(super) fn tail(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(input: &mut Input, bytes: &[u8]) {
        for part in bytes.chunks(1000) {
            let mut part = part;
            while !part.is_empty() {
                let space = input.space();
                let count = space.len().min(part.len());
                space[..count].copy_from_slice(&part[..count]);
                input.filled(count);
                part = &part[count..];
            }
        }
    }

    #[test]
    fn a_full_input_first_makes_room_and_only_then_grows() {
        let sent: Vec<u8> =
            (0..).map(|n: u32| n as u8).take(Input::STANDARD + 100).collect();
        let mut input = Input::new();
        put(&mut input, &sent[..Input::STANDARD]);
        input.consume(100);
        assert_eq!(input.space().len(), 100);
        assert_eq!(input.data(), &sent[100..Input::STANDARD]);
        assert!(input.is_standard());
        put(&mut input, &sent[Input::STANDARD..]);
        assert_eq!(input.space().len(), Input::STANDARD);
        assert_eq!(input.data(), &sent[100..]);
        assert!(!input.is_standard());
    }

    #[test]
    fn an_input_that_is_done_with_starts_over() {
        let mut input = Input::new();
        put(&mut input, b"abc");
        input.consume(2);
        assert_eq!(input.data(), b"c");
        input.consume(1);
        assert!(input.is_empty());
        assert_eq!(input.space().len(), Input::STANDARD);
    }

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
