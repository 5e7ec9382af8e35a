//! Where a conversation stands: what others may have to know of it. Nothing
//! here changes it.

use std::fmt;

use super::{Connection, Length, State};
use crate::http::{Expects, Input};

impl Connection {
    /// Requests answered so far.
    #[must_use]
    pub fn served(&self) -> u32 {
        self.served
    }

    /// The last request was turned away before the handler has seen it. It is
    /// not one of those [`served`](Self::served).
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.refused
    }

    /// Between two requests: nothing is lost if only
    /// [`served`](Self::served) is kept.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        matches!(self.state, State::Idle) && !self.ended
    }

    /// How many of the bytes that were taken are those of a request whose
    /// answer is not whole yet.
    #[must_use]
    pub fn unanswered(&self) -> usize {
        self.unanswered
    }

    /// So many bytes, at least, are to come before anything can be done.
    #[must_use]
    pub fn lacks(&self, input: &Input) -> usize {
        let State::Body { terms, head, chunked } = &self.state else {
            return 0;
        };
        match terms.length {
            Length::Sized(length) => {
                head.saturating_add(length).saturating_sub(input.data().len())
            }
            Length::Chunked => chunked.lacks(),
        }
    }

    /// The client has said that it sends nothing more.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// The client takes the end of the connection for the end of the last
    /// answer (RFC 9112 §6.3), so that it must not end before all is written.
    #[must_use]
    pub fn is_open_ended(&self) -> bool {
        self.open_ended
    }

    /// What is waited for.
    #[must_use]
    pub fn expects(&self) -> Expects {
        match self.state {
            State::Idle => Expects::Idle,
            State::Head => Expects::Head,
            State::Body { .. } => Expects::Body,
            State::Waiting(..) => Expects::Answer,
            State::Streaming { .. } => Expects::Stream,
            State::Over(_) => Expects::Close,
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("expects", &self.expects())
            .field("served", &self.served)
            .field("ended", &self.ended)
            .finish()
    }
}
