//! What a connection asks of its caller, who has the socket and the clock.

#[cfg(doc)]
use super::Connection;
use super::Delayed;
use std::time::Duration;

/// What the caller is to do next. Each time, what waits in the output is also
/// to be written.
#[derive(Debug)]
pub enum Flow {
    /// Read more into the input, then call
    /// [`receive`](Connection::receive); at the end of what the client sends
    /// [`end_of_input`](Connection::end_of_input).
    Read,
    /// Write first. When the output is empty, call
    /// [`receive`](Connection::receive) before anything is read.
    Write,
    /// Give this to [`elapse`](Connection::elapse) when the time is over, then
    /// call [`receive`](Connection::receive).
    After(Duration, Delayed),
    /// An answer is awaited, and nothing is to be done until it comes: give it
    /// to [`answer`](Connection::answer), then call
    /// [`receive`](Connection::receive).
    Later,
    /// A stream has nothing to say: call [`receive`](Connection::receive) when
    /// the time is over.
    Pause(Duration),
    /// Write what waits, and close.
    Close(Closing),
}

/// How a connection ends so that its last answer arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    /// The client sends nothing more: close at once.
    Plain,
    /// The client may still be sending, and closing on unread bytes makes
    /// the kernel reset the connection, which can destroy answers on their
    /// way. So: shut down the sending side, read and drop for a while, close
    /// (RFC 9112 §9.6).
    Staged,
    /// The answer is cut off, and the end of the connection would be taken
    /// for its end: reset the connection.
    Reset,
}

/// Whom the connection waits for, and so which timeout applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expects {
    /// The next request, of which nothing is here.
    Idle,
    /// The rest of a head.
    Head,
    /// The rest of a body.
    Body,
    /// The handler.
    Answer,
    /// The rest of a stream.
    Stream,
    /// Nothing: it is to be closed.
    Close,
}
