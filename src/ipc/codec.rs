//! Lines out of a stream of bytes, and into it, with what travels beside.
//!
//! A descriptor sent with `SCM_RIGHTS` rides on a byte of the stream, but
//! `recvmsg` does not say on which. What Linux does promise is enough (tried
//! on 6.18): bytes sent before may be glued in front of the bytes that carry
//! descriptors, none sent after is, so one read brings those of one send.
//!
//! ```text
//! sent:      a\n   b\n+①   c\n   d\n+②③   e…      (+ with descriptors)
//! read:      a\n b\n +①    c\n d\n +②③    e…
//! [Decoder]  lines a b c d, descriptors ①②③ in a queue beside them:
//!            b asks for one, d for two
//! ```
//!
//! So the reader keeps a queue, as Node does, and a line that carries
//! descriptors takes the oldest. Where the kernel had to drop some
//! (`MSG_CTRUNC`) the queue has a gap, which no line takes across: the end of
//! a line that lost its own can be glued to the next line and its.
//!
//! The sender must help: a line with descriptors begins a send of its own,
//! and when only its beginning is taken, the rest goes without them.
//! [`Outbox`] sees to that.
//!
//! Neither knows what a descriptor is; tests use numbers. The type is the
//! caller's, who drops what is not wanted.

use std::collections::VecDeque;
use std::fmt;

/// The most descriptors in one send: the kernel's `SCM_MAX_FD`, unix(7). So
/// no more can wait for the end of their line.
pub const MAX_DESCRIPTORS: usize = 253;

/// A drained buffer gives its memory back down to this; bytes.
const KEEP: usize = 4096;

/// Cuts what was read into lines.
#[derive(Debug)]
pub struct Decoder<F> {
    /// Lines not yet taken, then the beginning of one.
    bytes: Vec<u8>,
    /// Where the next line begins.
    start: usize,
    /// There is no line feed between `start` and this.
    searched: usize,
    max_line: usize,
    received: Received<F>,
}

/// One line, without its line feed, and the descriptors that wait.
pub type Line<'d, F> = (&'d [u8], &'d mut Received<F>);

impl<F> Decoder<F> {
    /// A decoder that takes lines of up to `max_line` bytes.
    pub fn new(max_line: usize) -> Self {
        Decoder {
            bytes: Vec::new(),
            start: 0,
            searched: 0,
            max_line,
            received: Received { queue: VecDeque::new() },
        }
    }

    /// Adds the outcome of one read. `truncated` is `MSG_CTRUNC`: some of the
    /// descriptors that belong behind `descriptors` are lost.
    pub fn feed(
        &mut self,
        bytes: &[u8],
        descriptors: impl IntoIterator<Item = F>,
        truncated: bool,
    ) {
        self.bytes.extend_from_slice(bytes);
        self.received.queue.extend(descriptors.into_iter().map(Some));
        if truncated {
            self.received.queue.push_back(None);
        }
    }

    /// The next complete line, if there is one. To be called until there is
    /// none, after every [`feed`](Self::feed); the time is proportional to
    /// what was fed, however it was cut.
    ///
    /// ```
    /// # use handoff::internals::ipc::Decoder;
    /// let mut decoder = Decoder::new(1024);
    /// decoder.feed(b"plain\nhandle\nha", ["fd"], false);
    /// while let Some((line, received)) = decoder.next()? {
    ///     if line == b"handle" {
    ///         assert!(received.take(1).eq(["fd"]));
    ///     }
    /// }
    /// # Ok::<(), handoff::internals::ipc::codec::Fault>(())
    /// ```
    ///
    /// # Errors
    ///
    /// When the peer broke the rules. The stream is of no use then.
    #[expect(clippy::should_implement_trait, reason = "it lends and fails")]
    pub fn next(&mut self) -> Result<Option<Line<'_, F>>, Fault> {
        let found = memchr::memchr(b'\n', &self.bytes[self.searched..]);
        let end = found.map_or(self.bytes.len(), |n| self.searched + n);
        if end - self.start > self.max_line {
            return Err(Fault::LineTooLong { limit: self.max_line });
        }
        if found.is_none() {
            self.searched = end;
            self.tidy();
            return self.received.check(self.bytes.is_empty()).map(|()| None);
        }
        let line = &self.bytes[self.start..end];
        self.start = end + 1;
        self.searched = self.start;
        Ok(Some((line, &mut self.received)))
    }

    /// Moves the beginning of a line to the front. It came with the last
    /// read, or there was nothing before it, so no byte moves twice.
    fn tidy(&mut self) {
        self.bytes.drain(..self.start);
        self.searched -= self.start;
        self.start = 0;
        give_back(&mut self.bytes);
    }
}

/// Returns memory that a buffer has outgrown long ago.
fn give_back(bytes: &mut Vec<u8>) {
    if bytes.capacity() > KEEP && bytes.len() < bytes.capacity() / 8 {
        bytes.shrink_to(KEEP);
    }
}

/// Descriptors that have arrived and wait for their line.
#[derive(Debug)]
pub struct Received<F> {
    /// `None` is where the kernel had to drop some.
    queue: VecDeque<Option<F>>,
}

impl<F> Received<F> {
    /// The oldest `count`, or fewer if that is what came with the line: a
    /// gap that the kernel left ends them, so that those behind it stay for
    /// the line that they were sent with.
    pub fn take(&mut self, count: usize) -> impl Iterator<Item = F> + '_ {
        let whole = self.queue.iter().take(count);
        let whole = whole.take_while(|arrived| arrived.is_some()).count();
        let end = whole + usize::from(whole < count);
        self.queue.drain(..end.min(self.queue.len())).flatten()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    fn check(&self, between_lines: bool) -> Result<(), Fault> {
        let allowed = if between_lines { 0 } else { MAX_DESCRIPTORS };
        if self.queue.len() > allowed {
            return Err(Fault::Unclaimed { count: self.queue.len() });
        }
        Ok(())
    }
}

/// How a peer broke the framing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No line feed for too long.
    LineTooLong {
        /// Bytes that a line may have.
        limit: usize,
    },
    /// Descriptors came that no line asked for.
    Unclaimed {
        /// How many.
        count: usize,
    },
}

impl std::error::Error for Fault {}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::LineTooLong { limit } => {
                write!(f, "a line of more than {limit} bytes")
            }
            Fault::Unclaimed { count } => {
                write!(f, "descriptors that no line asked for: {count}")
            }
        }
    }
}

/// Frames that wait to be sent.
///
/// A frame is bytes, and perhaps an `H`, which stands for the descriptors
/// that go with its first byte: a descriptor, or the name by which the caller
/// finds them when they are sent. Frames without are sent together.
///
/// ```
/// # use handoff::internals::ipc::Outbox;
/// let mut outbox = Outbox::new();
/// outbox.push(None, |out| out.extend(b"a\n"));
/// outbox.push(None, |out| out.extend(b"b\n"));
/// outbox.push(Some(7), |out| out.extend(b"c\n"));
/// assert_eq!(outbox.next(), Some((&b"a\nb\n"[..], None)));
/// assert_eq!(outbox.sent(4), None);
/// assert_eq!(outbox.next(), Some((&b"c\n"[..], Some(&7))));
/// assert_eq!(outbox.sent(1), Some(7));
/// assert_eq!(outbox.next(), Some((&b"\n"[..], None)));
/// ```
#[derive(Debug)]
pub struct Outbox<H> {
    bytes: Vec<u8>,
    /// What stands before this in `bytes` is sent.
    start: usize,
    /// Frames with an `H` that have not begun, in order.
    frames: VecDeque<Frame<H>>,
    /// All bytes ever sent; the positions in `frames` count from there.
    sent: u64,
}

#[derive(Debug)]
struct Frame<H> {
    position: u64,
    length: usize,
    handle: H,
}

impl<H> Default for Outbox<H> {
    fn default() -> Self {
        Outbox::new()
    }
}

impl<H> Outbox<H> {
    /// An empty outbox.
    pub fn new() -> Self {
        Outbox {
            bytes: Vec::new(),
            start: 0,
            frames: VecDeque::new(),
            sent: 0,
        }
    }

    /// Adds the frame that `write` appends to the buffer it is given.
    ///
    /// # Panics
    ///
    /// When a frame with a `handle` has no byte for it to go with.
    pub fn push(
        &mut self,
        handle: Option<H>,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        // At most as many bytes move as were sent since the last time.
        if self.start > self.len() {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        let before = self.len();
        write(&mut self.bytes);
        if let Some(handle) = handle {
            let length = self.len() - before;
            assert!(length > 0, "a handle needs a byte to go with");
            let position = self.sent + before as u64;
            self.frames.push_back(Frame { position, length, handle });
        }
    }

    /// What the next send is to take, or as much of it as it can, and what
    /// goes with its first byte.
    pub fn next(&self) -> Option<(&[u8], Option<&H>)> {
        let waiting = &self.bytes[self.start..];
        if waiting.is_empty() {
            return None;
        }
        let Some(frame) = self.frames.front() else {
            return Some((waiting, None));
        };
        match (frame.position - self.sent) as usize {
            0 => Some((&waiting[..frame.length], Some(&frame.handle))),
            before => Some((&waiting[..before], None)),
        }
    }

    /// Notes that the first `count` bytes of what [`next`](Self::next) lent
    /// were taken, and returns the `H` that went with them.
    ///
    /// # Panics
    ///
    /// When that were more than were lent.
    pub fn sent(&mut self, count: usize) -> Option<H> {
        let lent = self.next().map_or(0, |(bytes, _)| bytes.len());
        assert!(count <= lent, "sent {count} of {lent} bytes");
        let begun = |frame: &Frame<H>| frame.position == self.sent;
        let handle = if count > 0 && self.frames.front().is_some_and(begun) {
            self.frames.pop_front().map(|frame| frame.handle)
        } else {
            None
        };
        self.sent += count as u64;
        self.start += count;
        if self.is_empty() {
            self.bytes.clear();
            self.start = 0;
            give_back(&mut self.bytes);
        }
        handle
    }

    /// Bytes that wait.
    pub fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    /// Whether everything is sent.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines there are, each taking so many descriptors.
    fn drain(decoder: &mut Decoder<u32>, count: usize) -> Result<(), Fault> {
        while let Some((_, received)) = decoder.next()? {
            drop(received.take(count));
        }
        Ok(())
    }

    #[test]
    fn descriptors_may_wait_for_the_end_of_their_line_but_not_longer() {
        let mut decoder = Decoder::new(100);
        decoder.feed(b"plain\nlin", [1], false);
        assert_eq!(drain(&mut decoder, 0), Ok(()));
        decoder.feed(b"e\n", [], false);
        let fault = drain(&mut decoder, 0).unwrap_err();
        assert_eq!(fault, Fault::Unclaimed { count: 1 });
        assert_eq!(fault.to_string(), "descriptors that no line asked for: 1");
    }

    #[test]
    fn a_line_that_does_not_end_cannot_hoard_descriptors() {
        let mut decoder = Decoder::new(usize::MAX);
        for fd in 0..MAX_DESCRIPTORS as u32 {
            decoder.feed(b".", [fd], false);
            assert_eq!(drain(&mut decoder, 0), Ok(()));
        }
        decoder.feed(b".", [], true);
        let fault = Fault::Unclaimed { count: MAX_DESCRIPTORS + 1 };
        assert_eq!(drain(&mut decoder, 0), Err(fault));
    }

    #[test]
    fn two_lines_share_what_came_with_one_read() {
        let mut decoder = Decoder::new(100);
        decoder.feed(b"a\nb\nc\n", [1, 2, 3], false);
        let mut taken = Vec::new();
        while let Some((line, received)) = decoder.next().unwrap() {
            let count = if line == b"b" { 2 } else { 1 };
            taken.push(received.take(count).collect::<Vec<_>>());
        }
        assert_eq!(taken, [vec![1], vec![2, 3], vec![]]);
    }

    #[test]
    fn a_gap_ends_what_a_line_can_take_and_is_gone_then() {
        let mut received = Received { queue: VecDeque::new() };
        received.queue.extend([Some(1), Some(2), None, Some(3), None]);
        assert!(received.take(1).eq([1]));
        assert!(received.take(2).eq([2]));
        assert!(received.take(0).eq([0; 0]));
        assert!(received.take(1).eq([3]));
        assert_eq!(received.check(true), Err(Fault::Unclaimed { count: 1 }));
        assert!(received.take(1).eq([0; 0]));
        assert!(received.take(1).eq([0; 0]));
        assert_eq!(received.check(true), Ok(()));
    }

    #[test]
    fn no_byte_is_searched_twice() {
        let mut decoder = Decoder::<u32>::new(100);
        for fed in 1..=50 {
            decoder.feed(b".", [], false);
            assert_eq!(drain(&mut decoder, 0), Ok(()));
            assert_eq!(decoder.searched, fed);
        }
    }

    #[test]
    fn a_drained_decoder_keeps_little_memory() {
        let mut decoder = Decoder::<u32>::new(1 << 20);
        decoder.feed(&vec![b'.'; 1 << 20], [], false);
        assert_eq!(drain(&mut decoder, 0), Ok(()));
        decoder.feed(b"\nrest", [], false);
        assert_eq!(drain(&mut decoder, 0), Ok(()));
        assert!(decoder.bytes.capacity() <= KEEP);
        assert_eq!(decoder.bytes, b"rest");
    }

    #[test]
    fn an_outbox_gives_memory_back_and_does_not_grow_while_it_moves() {
        let mut outbox = Outbox::<u32>::new();
        outbox.push(None, |out| out.resize(1 << 20, b'.'));
        assert_eq!(outbox.sent(1 << 20), None);
        assert!(outbox.bytes.capacity() <= KEEP);
        outbox.push(None, |out| out.resize(100, b'.'));
        for _ in 0..10_000 {
            outbox.push(None, |out| out.extend([b'.'; 100]));
            assert_eq!(outbox.sent(100), None);
        }
        assert!(outbox.bytes.capacity() <= KEEP);
    }

    #[test]
    #[should_panic(expected = "a handle needs a byte to go with")]
    fn a_handle_without_bytes_is_a_bug() {
        Outbox::new().push(Some(1), |_| ());
    }

    #[test]
    #[should_panic(expected = "sent 2 of 1 bytes")]
    fn more_sent_than_lent_is_a_bug() {
        let mut outbox = Outbox::new();
        outbox.push(Some(1), |out| out.push(b'a'));
        outbox.push(None, |out| out.push(b'b'));
        let _ = outbox.sent(2);
    }
}
