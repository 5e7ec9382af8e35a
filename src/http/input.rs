//! What a client has sent and is not answered.
//!
//! ```text
//!   ░░░░ settled │ taken │ GET / … Host … │ body … │      free      │
//!                kept    start                     end ▲ space()
//! ```
//!
//! The buffer comes from the worker's pool and goes back when it is empty, so
//! an idle connection has none.

use super::{Head, Limits, Refusal, chunked::Chunked};

/// Bytes of one connection that are not answered yet, and what is understood
/// of them so far.
///
/// An input that [keeps](Input::keep) what it was given changes no byte of it
/// until its answer is [settled](Input::settle): another process may have to
/// read it again.
#[derive(Debug)]
pub struct Input {
    bytes: Bytes,
    /// The first byte that is kept.
    kept: usize,
    start: usize,
    end: usize,
    /// No byte behind this one was ever filled.
    used: usize,
    head: Head,
    keeps: bool,
    /// Bytes taken since the last settling, as they were sent.
    consumed: usize,
    /// Bytes of the present request that were sent and have been cut out.
    cut: usize,
    /// The body so far, if the bytes that it is decoded from are kept.
    decoded: Vec<u8>,
    /// Which of the bytes that are kept `decoded` was made of.
    coded: std::ops::Range<usize>,
}

/// Whose buffer it is.
#[derive(Debug)]
enum Bytes {
    Own(Vec<u8>),
    Lent(&'static mut [u8]),
}

impl Default for Input {
    fn default() -> Self {
        Self::new()
    }
}

impl Input {
    /// Bytes of a buffer that has not grown.
    pub const STANDARD: usize = 8 << 10;

    /// Most bytes of [`space`](Self::space): what comes behind a large
    /// request is not to take the room of another.
    const PORTION: usize = 8 * Self::STANDARD;

    /// An empty buffer of the standard size.
    #[must_use]
    pub fn new() -> Self {
        Self::with(Bytes::Own(vec![0; Self::STANDARD]))
    }

    /// An empty one in memory of the caller's.
    #[must_use]
    pub fn lent(buffer: &'static mut [u8]) -> Self {
        Self::with(Bytes::Lent(buffer))
    }

    /// The buffer that was lent, if it is still in that.
    #[must_use]
    pub fn reclaim(self) -> Option<&'static mut [u8]> {
        match self.bytes {
            Bytes::Lent(buffer) => Some(buffer),
            Bytes::Own(_) => None,
        }
    }

    fn with(bytes: Bytes) -> Self {
        Input {
            bytes,
            kept: 0,
            start: 0,
            end: 0,
            used: 0,
            head: Head::default(),
            keeps: false,
            consumed: 0,
            cut: 0,
            decoded: Vec::new(),
            coded: 0..0,
        }
    }

    /// From now on every byte is kept until it is settled.
    pub fn keep(&mut self) {
        self.keeps = true;
    }

    /// Where the next bytes of the client go; never empty. A full buffer
    /// grows to twice its size, that is by what a client has sent and never
    /// by what it says it will send. It is bounded as long as bytes are read
    /// only when [`Flow::Read`](super::Flow::Read) asks for them.
    pub fn space(&mut self) -> &mut [u8] {
        if self.is_full() {
            if self.kept > 0 {
                let kept = self.kept..self.end;
                self.buffer_mut().copy_within(kept, 0);
                self.shift();
            } else {
                let size = 2 * self.buffer().len();
                self.grow(size);
            }
        }
        let end = self.end;
        let portion = Self::PORTION.min(self.buffer().len() - end);
        &mut self.buffer_mut()[end..][..portion]
    }

    /// The first `count` bytes of [`space`](Self::space) have been filled.
    ///
    /// # Panics
    /// If there were not so many.
    pub fn filled(&mut self, count: usize) {
        assert!(count <= self.buffer().len() - self.end);
        self.end += count;
        self.used = self.used.max(self.end);
    }

    /// How many bytes of the buffer are filled, from its first one on.
    pub(crate) fn end(&self) -> usize {
        self.end
    }

    /// The buffer has no room left, and [`space`](Self::space) would move or
    /// grow it.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.end == self.buffer().len()
    }

    /// Whether room could be made by leaving behind what is settled.
    #[must_use]
    pub fn has_settled(&self) -> bool {
        self.kept > 0
    }

    /// Goes on in another buffer of the caller's, with what is kept at its
    /// beginning, and returns the one it was in; that is unchanged.
    pub fn move_to(
        &mut self,
        buffer: &'static mut [u8],
    ) -> Option<&'static mut [u8]> {
        let kept = &self.buffer()[self.kept..self.end];
        buffer[..kept.len()].copy_from_slice(kept);
        self.used = kept.len();
        let old = std::mem::replace(&mut self.bytes, Bytes::Lent(buffer));
        self.shift();
        match old {
            Bytes::Lent(buffer) => Some(buffer),
            Bytes::Own(_) => None,
        }
    }

    /// Goes on in memory of its own, in which nothing is kept, and returns
    /// the buffer that was lent; that is unchanged.
    pub fn spill(&mut self) -> Option<&'static mut [u8]> {
        let mut own = self.buffer()[self.kept..self.end].to_vec();
        self.start -= self.kept;
        if !self.coded.is_empty() {
            let coded =
                self.coded.start + self.start..self.coded.end + self.start;
            self.cut = coded.len() - self.decoded.len();
            own.splice(coded, self.decoded.drain(..));
            self.coded = 0..0;
        }
        self.kept = 0;
        self.end = own.len();
        self.keeps = false;
        let size = (2 * Self::STANDARD).max(own.len() + 1);
        own.resize(size, 0);
        match std::mem::replace(&mut self.bytes, Bytes::Own(own)) {
            Bytes::Lent(buffer) => Some(buffer),
            Bytes::Own(_) => None,
        }
    }

    /// The other way round: what waits goes to the beginning of this buffer,
    /// which is all zeros, and every byte is kept again. Gives the buffer back
    /// if what waits is too much for it, or is no longer as it was sent.
    pub fn unspill(
        &mut self,
        buffer: &'static mut [u8],
    ) -> Result<(), &'static mut [u8]> {
        let length = self.end - self.start;
        if self.cut > 0 || length > buffer.len() {
            return Err(buffer);
        }
        buffer[..length].copy_from_slice(self.data());
        self.bytes = Bytes::Lent(buffer);
        self.used = length;
        (self.kept, self.start, self.end) = (0, 0, length);
        self.keeps = true;
        Ok(())
    }

    /// Bytes are kept until they are settled.
    #[must_use]
    pub fn keeps(&self) -> bool {
        self.keeps
    }

    /// Bytes taken since the last [settling](Self::settle), as many as the
    /// client sent for it.
    #[must_use]
    pub fn consumed(&self) -> usize {
        self.consumed
    }

    /// All that was taken is answered for good, but for the last `waiting`
    /// bytes of it.
    pub fn settle(&mut self, waiting: usize) {
        self.consumed = waiting;
        if self.keeps {
            self.kept = self.start - waiting;
        }
    }

    /// No byte waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Of the standard size, so worth keeping in a pool.
    #[must_use]
    pub fn is_standard(&self) -> bool {
        self.buffer().len() == Self::STANDARD
            && self.decoded.capacity() <= Self::STANDARD
    }

    /// Forgets everything, and keeps nothing from now on.
    pub fn clear(&mut self) {
        self.keeps = false;
        self.drop_all();
    }

    /// The same, and a buffer that was lent is all zeros, as it was at first.
    pub fn wipe(&mut self) {
        self.clear();
        if let Bytes::Lent(bytes) = &mut self.bytes {
            bytes[..self.used].fill(0);
        }
        self.used = 0;
    }

    /// Drops what waits, and what it knew of it.
    pub(super) fn drop_all(&mut self) {
        match self.keeps {
            true => self.start = self.end,
            false => self.rewind(),
        }
        self.consumed = 0;
        self.cut = 0;
        self.decoded.clear();
        self.coded = 0..0;
        self.head.clear();
    }

    /// What waits, from the first byte of the current request.
    #[inline]
    pub(super) fn data(&self) -> &[u8] {
        &self.buffer()[self.start..self.end]
    }

    /// So many bytes of a body, behind a head of so many.
    #[inline]
    pub(super) fn body(&self, head: usize, length: usize) -> &[u8] {
        match self.coded.is_empty() {
            true => &self.data()[head..head + length],
            false => &self.decoded[..length],
        }
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
        let bytes: &[u8] = match &self.bytes {
            Bytes::Own(bytes) => bytes,
            Bytes::Lent(bytes) => bytes,
        };
        self.head.parse(&bytes[self.start..self.end], limits)
    }

    /// Decodes what stands behind the body so far, which begins `head` bytes
    /// from here. `Some` is the length of the whole request as it now stands
    /// in the buffer.
    pub(super) fn decode(
        &mut self,
        head: usize,
        body: &mut Chunked,
        limit: usize,
    ) -> Result<Option<usize>, Refusal> {
        let from = self.start + head;
        if self.keeps {
            let known = head + self.coded.len();
            let new = self.start + known..self.end;
            let bytes = match &self.bytes {
                Bytes::Own(bytes) => &bytes[new],
                Bytes::Lent(bytes) => &bytes[new],
            };
            self.decoded.extend_from_slice(bytes);
            let whole = body.decode(&mut self.decoded, limit)?;
            self.coded = head..self.end - self.start;
            let behind = whole.map_or(0, |at| self.decoded.len() - at);
            self.decoded.truncate(body.decoded());
            return Ok(whole.map(|_| self.coded.end - behind));
        }
        let range = from..self.end;
        let whole = body.decode(&mut self.buffer_mut()[range], limit)?;
        if whole.is_none() {
            let end = from + body.decoded();
            self.cut += self.end - end;
            self.end = end;
        }
        Ok(whole.map(|length| head + length))
    }

    /// The request, so many bytes as it stands in the buffer, is done with,
    /// and so is the room for a large one: its client may not take the answer
    /// for a long time.
    #[inline]
    pub(super) fn consume(&mut self, count: usize) {
        self.start += count;
        self.consumed += count + self.cut;
        self.cut = 0;
        if !self.coded.is_empty() {
            self.decoded.clear();
            self.coded = 0..0;
        }
        if !self.keeps {
            self.kept = self.start;
            if self.start == self.end {
                self.rewind();
            }
            self.fit();
        }
        self.head.clear();
    }

    /// Gives the room back that what waits does not need.
    #[inline]
    fn fit(&mut self) {
        if let Bytes::Own(bytes) = &mut self.bytes
            && bytes.len() > Self::STANDARD
        {
            let rest = self.end - self.start;
            let pieces = rest.div_ceil(Self::STANDARD).next_power_of_two();
            let room = pieces * Self::STANDARD;
            if room < bytes.len() {
                let mut fitting = vec![0; room];
                let waiting = &bytes[self.start..self.end];
                fitting[..rest].copy_from_slice(waiting);
                *bytes = fitting;
                self.shift();
            }
        }
    }

    fn buffer(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Own(bytes) => bytes,
            Bytes::Lent(bytes) => bytes,
        }
    }

    fn buffer_mut(&mut self) -> &mut [u8] {
        match &mut self.bytes {
            Bytes::Own(bytes) => bytes,
            Bytes::Lent(bytes) => bytes,
        }
    }

    fn rewind(&mut self) {
        self.kept = 0;
        self.start = 0;
        self.end = 0;
    }

    /// What is kept stands at the beginning now.
    fn shift(&mut self) {
        self.start -= self.kept;
        self.end -= self.kept;
        self.kept = 0;
    }

    /// Makes the buffer so large, in memory of its own.
    fn grow(&mut self, size: usize) {
        match &mut self.bytes {
            Bytes::Own(bytes) => bytes.resize(size, 0),
            Bytes::Lent(bytes) => {
                let mut own = bytes.to_vec();
                own.resize(size, 0);
                self.bytes = Bytes::Own(own);
            }
        }
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
    fn room_for_a_large_request_goes_with_it() {
        let sent: Vec<u8> =
            (0..).map(|n: u32| n as u8).take(9 * Input::STANDARD).collect();
        for (done, pieces) in [
            (1, 16),
            (2 * Input::STANDARD, 8),
            (5 * Input::STANDARD - 1, 8),
            (5 * Input::STANDARD, 4),
            (8 * Input::STANDARD, 1),
            (9 * Input::STANDARD, 1),
        ] {
            let mut input = Input::new();
            put(&mut input, &sent);
            input.consume(done);
            assert_eq!(
                input.buffer().len(),
                pieces * Input::STANDARD,
                "{done}"
            );
            assert_eq!(input.data(), &sent[done..]);
            put(&mut input, b"more");
            let wanted = [&sent[done..], b"more"].concat();
            assert_eq!(input.data(), wanted);
        }
    }

    #[test]
    fn a_large_request_is_read_in_portions() {
        let mut input = Input::new();
        put(&mut input, &vec![b'x'; 20 * Input::STANDARD]);
        assert_eq!(input.buffer().len(), 32 * Input::STANDARD);
        assert_eq!(input.space().len(), Input::PORTION);
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
}
