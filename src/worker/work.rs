//! What a client has while something of it is in hand: two buffers, and where
//! its conversation stands.

use std::os::fd::BorrowedFd;
use std::time::Instant;

use super::desk::Desk;
use crate::http::{
    Answer, Closing, Connection, Delayed, Expects, Flow, Input, Output,
    Refusal, Service,
};
use crate::slab::Key;
use crate::sys;
use crate::sys::socket;

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Work {
    http: Connection,
    input: Input,
    output: Output,
    /// The last read took all there was room for: the kernel may have more.
    filled: bool,
    pub(super) next: Next,
    /// When the conversation goes on by itself. It goes with the client.
    pub(super) alarm: Option<Alarm>,
}

/// What is to be done at a certain time.
#[derive(Debug)]
pub(super) struct Alarm {
    pub(super) at: Instant,
    pub(super) step: Step,
}

/// What is to be done once the output is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Next {
    /// Read more.
    #[default]
    Read,
    /// Go on with what was read.
    GoOn,
    /// Wait for an answer, or for the time to go on.
    Wait,
    Close(Closing),
    /// The client was told of the end: read, and drop, so many bytes.
    Drain(usize),
}

/// What the conversation goes on with.
#[derive(Debug)]
pub(super) enum Step {
    /// With the bytes that are there.
    GoOn,
    /// The client has said that it sends nothing more.
    EndOfInput,
    /// An answer has come from another thread.
    Answer(Answer),
    /// The time for an answer has come.
    Elapsed(Delayed),
    /// The client took too long.
    Late,
}

impl Work {
    pub(super) fn begin(&mut self, served: u32) {
        self.http = Connection::resume(served);
        self.next = Next::Read;
    }

    /// Forgets everything: whoever prepares an answer is to know that nobody
    /// waits for it.
    pub(super) fn clear(&mut self) {
        self.http = Connection::new();
        self.alarm = None;
        self.input.clear();
        self.output.clear();
    }

    /// Its buffers have not grown.
    pub(super) fn is_worth_keeping(&self) -> bool {
        self.input.is_standard() && self.output.is_standard()
    }

    pub(super) fn served(&self) -> u32 {
        self.http.served()
    }

    /// Nothing is in hand.
    pub(super) fn is_over(&self) -> bool {
        self.next == Next::Read
            && self.http.is_idle()
            && self.input.is_empty()
            && self.output.is_empty()
    }

    pub(super) fn expects(&self) -> Expects {
        self.http.expects()
    }

    /// Bytes that the client has not taken yet.
    pub(super) fn waiting(&self) -> usize {
        self.output.pending().len()
    }

    /// The client is to take something, or is about to be given more when
    /// its socket takes it: that may be never, although nothing waits here.
    pub(super) fn is_writing(&self) -> bool {
        self.waiting() > 0 || self.next == Next::GoOn
    }

    /// Reads once. `None`: nothing was there. `Some(0)`: the client's end.
    pub(super) fn read(
        &mut self,
        socket: BorrowedFd<'_>,
    ) -> sys::Result<Option<usize>> {
        let space = self.input.space();
        let room = space.len();
        let count = socket::receive(socket, space)?;
        self.filled = count == Some(room);
        self.input.filled(count.unwrap_or(0));
        Ok(count)
    }

    /// Nothing has come that was not read, so that closing resets nothing.
    pub(super) fn has_read_all(&self) -> bool {
        !self.filled
    }

    /// Reads once, and drops it.
    pub(super) fn drop_input(
        &mut self,
        socket: BorrowedFd<'_>,
    ) -> sys::Result<Option<usize>> {
        self.input.clear();
        socket::receive(socket, self.input.space())
    }

    /// Writes until the socket takes no more. Whether all is written.
    pub(super) fn write(
        &mut self,
        socket: BorrowedFd<'_>,
    ) -> sys::Result<bool> {
        while !self.output.is_empty() {
            match socket::send(socket, self.output.pending())? {
                None => return Ok(false),
                Some(count) => self.output.written(count),
            }
        }
        Ok(true)
    }

    /// Goes on with the conversation. `None`: the step was meant for somebody
    /// else, and nothing has changed.
    pub(super) fn go_on(
        &mut self,
        step: Step,
        desk: &mut Desk,
        key: Key,
        socket: BorrowedFd<'_>,
    ) -> Option<Flow> {
        let peer = || socket::peer_address(socket).ok().flatten();
        let mut service = Service {
            handler: &mut *desk.handler,
            limits: &desk.limits,
            preamble: &desk.preamble,
            mailbox: &desk.mailbox,
            reply: &mut desk.reply,
            ticket: key.bits(),
            peer: &peer,
            leaving: desk.leaving,
            panicked: false,
        };
        let (http, service_) = (&mut self.http, &mut service);
        let (input, output) = (&mut self.input, &mut self.output);
        let flow = match step {
            Step::GoOn => Some(http.receive(input, output, service_)),
            Step::EndOfInput => {
                Some(http.end_of_input(input, output, service_))
            }
            Step::Answer(answer) => http
                .answer(answer, output, service_)
                .then(|| http.receive(input, output, service_)),
            Step::Elapsed(delayed) => http
                .elapse(delayed, output, service_)
                .then(|| http.receive(input, output, service_)),
            Step::Late => {
                http.refuse(Refusal::Late, input, output, service_);
                Some(http.receive(input, output, service_))
            }
        };
        desk.panicked |= service.panicked;
        flow
    }
}
