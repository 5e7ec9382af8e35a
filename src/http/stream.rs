//! An answer's body that is made while it is sent.
//!
//! The stream pulls: its producer is asked for a piece only while less than
//! [`Output::MARK`] waits, so a slow client slows the producer down and costs
//! no memory.

use super::{
    Output, Reply,
    encode::{self, Extent},
};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

/// Makes the pieces of a body.
pub(super) type Producer = Box<dyn FnMut(&mut Chunk<'_>) -> Produce>;

/// How a stream goes on behind a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Produce {
    /// There is more. With an empty piece it is taken for a pause of a
    /// millisecond, so that a stream with nothing to say cannot spin.
    More,
    /// There may be more when this time is over.
    Pause(Duration),
    /// That was all.
    End,
}

/// Takes the next piece of a stream: through [`std::io::Write`], or whole.
#[derive(Debug)]
pub struct Chunk<'a> {
    bytes: &'a mut Vec<u8>,
    room: usize,
}

impl<'a> Chunk<'a> {
    pub(super) fn new(bytes: &'a mut Vec<u8>, room: usize) -> Self {
        Chunk { bytes, room }
    }

    /// Bytes that are worth writing now. More are taken, and kept in memory
    /// until the client takes them.
    #[must_use]
    pub fn room(&self) -> usize {
        self.room.saturating_sub(self.bytes.len())
    }

    /// Adds bytes to the piece.
    pub fn push(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.bytes.extend_from_slice(bytes.as_ref());
        self
    }
}

impl std::io::Write for Chunk<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.push(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Whose wish it is that the connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The client's, who sends nothing more.
    Client,
    /// The server's, which the client does not know of yet.
    Server,
    /// Nobody's: the handler broke, and of an answer that only the end of the
    /// connection ends, this is not the end.
    Broken,
}

/// A body that is being sent.
pub(super) struct Stream {
    producer: Producer,
    extent: Extent,
    end: Option<End>,
}

/// Where a stream stands.
pub(super) enum Pumped {
    /// The client has enough to take.
    Full,
    /// There is nothing to send for this time.
    Pause(Duration),
    /// All is sent, and then the connection perhaps ends.
    End(Option<End>),
    /// The producer panicked, and there is nothing that a client could be
    /// told any more but that the body is cut off.
    Panicked,
}

impl Stream {
    pub(super) fn new(
        producer: Producer,
        extent: Extent,
        end: Option<End>,
    ) -> Self {
        Stream { producer, extent, end }
    }

    /// How the connection ends when the producer has broken: a body in chunks
    /// without a last one shows by itself that it was cut off.
    pub(super) fn broken(&self) -> End {
        match self.extent {
            Extent::Close => End::Broken,
            Extent::None | Extent::Sized(_) | Extent::Chunked => End::Server,
        }
    }

    /// Fills the output up. The reply lends its body for the pieces.
    pub(super) fn pump(
        &mut self,
        output: &mut Output,
        reply: &mut Reply,
    ) -> Pumped {
        while !output.is_full() {
            reply.clear();
            let room = Output::MARK - output.pending().len();
            let mut chunk = Chunk::new(&mut reply.body, room);
            let call = AssertUnwindSafe(|| (self.producer)(&mut chunk));
            let Ok(produce) = catch_unwind(call) else {
                return Pumped::Panicked;
            };
            let out = output.tail();
            let empty = reply.body.is_empty();
            let chunked = self.extent == Extent::Chunked;
            match chunked {
                true => encode::chunk(out, &reply.body),
                false => out.extend_from_slice(&reply.body),
            }
            match produce {
                Produce::More if empty => {
                    return Pumped::Pause(Duration::from_millis(1));
                }
                Produce::More => {}
                Produce::Pause(time) => return Pumped::Pause(time),
                Produce::End => {
                    if chunked {
                        out.extend_from_slice(encode::LAST_CHUNK);
                    }
                    return Pumped::End(self.end);
                }
            }
        }
        Pumped::Full
    }
}
