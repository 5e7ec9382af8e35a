//! One connection's conversation: bytes in, answers out, in order.
//!
//! ```text
//!            ┌───────────────── answered ──────────────────┐
//!            ▼                                             │
//!   Idle ─▶ Head ─▶ Body ─▶ (handler) ─┬─▶ now ────────────┤
//!                                      ├─▶ Waiting ────────┤  answer, elapse
//!                                      └─▶ Streaming ──────┤
//!   any of them ── refused, or the last answer ──▶ Over ◀──┘
//! ```
//!
//! It has no socket and no clock. [`Connection::receive`] does all that can be
//! done with the bytes that are there, and says in a [`Flow`] what it needs to
//! go on. What it never does is look at a request behind one that is not yet
//! answered, or while the client lets [`Output::MARK`] bytes of answers lie.

mod ending;
mod standing;

use super::{
    Answer, Closing, Delayed, Flow, Input, Method, Output, Refusal, Request,
    Response, Service, Version,
    chunked::Chunked,
    encode::{self, Exchange, Extent},
    mailbox::{Claim, Promise},
    response::Course,
    stream::{End, Producer, Pumped, Stream},
    terms::{self, Length, Terms},
};
use std::panic::{AssertUnwindSafe, catch_unwind};

enum State {
    Idle,
    Head,
    /// Behind a head of so many bytes.
    Body {
        terms: Terms,
        head: usize,
        chunked: Chunked,
    },
    Waiting(Exchange, Promise),
    Streaming(Stream),
    Over(End),
}

/// The HTTP state of one connection.
pub struct Connection {
    state: State,
    /// Requests answered so far.
    served: u32,
    /// The client has said that it sends nothing more.
    ended: bool,
    /// Bytes of the request that was taken and is not answered yet.
    unanswered: usize,
    /// The last request was turned away before the handler has seen it.
    refused: bool,
    /// The last answer was to a request that must not be asked twice: that
    /// answer is written before the next request is handled.
    alone: bool,
    /// Each answer is written before the next request is handled.
    singly: bool,
    /// The last answer is whole only with the end of the connection.
    open_ended: bool,
}

impl Default for Connection {
    fn default() -> Self {
        Self::new()
    }
}

impl Connection {
    /// A new connection, idle.
    #[must_use]
    pub fn new() -> Self {
        Self::resume(0)
    }

    /// The connection that this many requests have been answered on: all
    /// that there is to know about an idle one.
    #[must_use]
    pub fn resume(served: u32) -> Self {
        let (state, unanswered) = (State::Idle, 0);
        let [ended, refused, alone, singly, open_ended] = [false; 5];
        Connection {
            state,
            served,
            ended,
            unanswered,
            refused,
            alone,
            singly,
            open_ended,
        }
    }

    /// From now on each answer is written before the next request is handled.
    /// One of those that wait may have killed its worker; so it shows which.
    pub fn answer_singly(&mut self) {
        self.singly = true;
    }

    /// Answers all it can.
    pub fn receive(
        &mut self,
        input: &mut Input,
        output: &mut Output,
        service: &mut Service<'_>,
    ) -> Flow {
        loop {
            let progress = match self.state {
                State::Over(end) => return self.close(end, input),
                State::Waiting(..) => return Flow::Later,
                State::Streaming(ref mut stream) => {
                    let end = match stream.pump(output, service.reply) {
                        Pumped::Full => return Flow::Write,
                        Pumped::Pause(time) => return Flow::Pause(time),
                        Pumped::End(end) => end,
                        Pumped::Panicked => {
                            service.panicked = true;
                            Some(stream.broken())
                        }
                    };
                    let leaving = service.leaving.then_some(End::Server);
                    self.next(end.or(leaving));
                    continue;
                }
                State::Idle | State::Head | State::Body { .. }
                    if output.is_full() =>
                {
                    return Flow::Write;
                }
                State::Idle | State::Head => self.head(input, output, service),
                State::Body { terms, head, chunked } => {
                    self.body(terms, head, chunked, input, output, service)
                }
            };
            match progress {
                Ok(None) => {}
                Ok(Some(flow)) => return flow,
                Err(refusal) => self.refuse(refusal, input, output, service),
            }
        }
    }

    /// The client has sent all it will send. That is no wish to hang up: what
    /// is complete is answered, what is not never will be.
    pub fn end_of_input(
        &mut self,
        input: &mut Input,
        output: &mut Output,
        service: &mut Service<'_>,
    ) -> Flow {
        self.ended = true;
        self.receive(input, output, service)
    }

    /// An answer has come from another thread. `false` if it was not meant
    /// for this connection as it is now; then nothing happens.
    pub fn answer(
        &mut self,
        answer: Answer,
        output: &mut Output,
        service: &mut Service<'_>,
    ) -> bool {
        let Some(exchange) = self.awaits(&answer.claim) else { return false };
        *service.reply = answer.reply;
        self.answered(exchange, output, service);
        true
    }

    /// The time of a delayed answer has come. `false` if it was not meant for
    /// this connection as it is now; then nothing happens.
    pub fn elapse(
        &mut self,
        delayed: Delayed,
        output: &mut Output,
        service: &mut Service<'_>,
    ) -> bool {
        let Some(exchange) = self.awaits(&delayed.claim) else { return false };
        service.reply.clear();
        let reply = &mut *service.reply;
        let compose = AssertUnwindSafe(|| (delayed.compose)(reply));
        if catch_unwind(compose).is_err() {
            service.panicked = true;
            Refusal::Failed.fill(service.reply);
        }
        self.answered(exchange, output, service);
        true
    }

    /// Turns the client away: answers, unless it is too late for that, and
    /// closes. For reasons that lie outside of the conversation, such as
    /// [`Refusal::Late`] and [`Refusal::Overloaded`]; call
    /// [`receive`](Self::receive) then.
    pub fn refuse(
        &mut self,
        refusal: Refusal,
        input: &mut Input,
        output: &mut Output,
        service: &mut Service<'_>,
    ) {
        let method = match self.state {
            State::Over(_) => return,
            State::Streaming(_) => None,
            State::Waiting(exchange, _) => Some(exchange.method),
            State::Idle | State::Head | State::Body { .. } => {
                self.refused = true;
                let method = Method::of(input.head().method(input.data()));
                Some(method.unwrap_or(Method::Get))
            }
        };
        if let Some(method) = method {
            let version = Version::Http11;
            let exchange = Exchange { method, version, persist: false };
            refusal.fill(service.reply);
            let Service { preamble, reply, .. } = service;
            encode::whole(output.tail(), exchange, preamble, reply, true);
        }
        input.drop_all();
        self.next(Some(End::Server));
    }

    /// The head, from wherever it is.
    #[inline]
    fn head(
        &mut self,
        input: &mut Input,
        output: &mut Output,
        service: &mut Service<'_>,
    ) -> Result<Option<Flow>, Refusal> {
        if input.is_empty() {
            self.state = State::Idle;
            return Ok(Some(self.more()));
        }
        let Some(head) = input.parse(service.limits)? else {
            self.state = State::Head;
            return Ok(Some(self.more()));
        };
        let bytes = input.data();
        let terms = terms::terms(input.head(), bytes, service.limits)?;
        let rest = bytes.len() - head;
        // One that nobody else could read again is not to draw another with
        // it: its answer is out before that is in a handler's hands.
        let apart = service.request_log.is_some()
            && (self.alone || !terms.method.is_idempotent() || !input.keeps());
        if (self.singly || apart) && !output.is_empty() {
            self.state = State::Head;
            return Ok(Some(Flow::Write));
        }
        match terms.length {
            Length::Sized(length) if length <= rest => {
                let request =
                    Whole { terms, head, length, end: head + length };
                return Ok(self.handle(&request, input, output, service));
            }
            Length::Sized(_) | Length::Chunked => {}
        }
        if terms.expects && rest == 0 {
            output.tail().extend_from_slice(encode::CONTINUE);
        }
        self.state = State::Body { terms, head, chunked: Chunked::new() };
        Ok(None)
    }

    /// The body, from wherever it is.
    fn body(
        &mut self,
        terms: Terms,
        head: usize,
        mut chunked: Chunked,
        input: &mut Input,
        output: &mut Output,
        service: &mut Service<'_>,
    ) -> Result<Option<Flow>, Refusal> {
        let (length, end) = match terms.length {
            Length::Sized(length) => {
                let end = head.saturating_add(length);
                (length, (input.data().len() >= end).then_some(end))
            }
            Length::Chunked => {
                let limit = service.limits.body;
                let end = input.decode(head, &mut chunked, limit)?;
                (chunked.decoded(), end)
            }
        };
        let Some(end) = end else {
            self.state = State::Body { terms, head, chunked };
            return Ok(Some(self.more()));
        };
        let request = Whole { terms, head, length, end };
        Ok(self.handle(&request, input, output, service))
    }

    /// Nothing more can be done with the bytes that are here.
    fn more(&mut self) -> Flow {
        if self.ended {
            self.state = State::Over(End::Client);
            return Flow::Close(Closing::Plain);
        }
        Flow::Read
    }

    /// Lets the handler answer the request at the front of the input.
    #[inline]
    fn handle(
        &mut self,
        whole: &Whole,
        input: &mut Input,
        output: &mut Output,
        service: &mut Service<'_>,
    ) -> Option<Flow> {
        let Terms { method, persist, .. } = whole.terms;
        let version = input.head().version();
        let exchange = Exchange { method, version, persist };
        service.reply.clear();

        let body = input.body(whole.head, whole.length);
        let Service { handler, reply, mailbox, ticket, .. } = service;
        let (peer, request_log) = (service.peer, service.request_log);
        if let Some(request_log) = request_log {
            self.alone = !method.is_idempotent();
            request_log.begins(input.consumed(), !self.alone);
        }
        let request = Request::new(input, method, body, peer, request_log);
        let mut response = Response::new(reply, mailbox, *ticket);
        let call = || handler.handle(&request, &mut response);
        let result = catch_unwind(AssertUnwindSafe(call));
        let course = response.course;
        let before = input.consumed();
        input.consume(whole.end);
        self.unanswered = input.consumed() - before;

        if result.is_err() {
            service.panicked = true;
            Refusal::Failed.fill(service.reply);
            self.answered(exchange, output, service);
            return None;
        }
        match course {
            Course::Now => self.answered(exchange, output, service),
            Course::Stream(producer) => {
                self.stream(exchange, producer, output, service);
            }
            Course::Later(promise) => {
                self.state = State::Waiting(exchange, promise);
            }
            Course::After(delay, delayed, promise) => {
                self.state = State::Waiting(exchange, promise);
                return Some(Flow::After(delay, delayed));
            }
        }
        None
    }

    /// The request that is waited on, if the claim is on its answer.
    fn awaits(&self, claim: &Claim) -> Option<Exchange> {
        match &self.state {
            State::Waiting(exchange, promise) if promise.fits(claim) => {
                Some(*exchange)
            }
            State::Idle
            | State::Head
            | State::Body { .. }
            | State::Waiting(..)
            | State::Streaming(_)
            | State::Over(_) => None,
        }
    }

    /// The answer stands in the reply of the service.
    #[inline]
    fn answered(
        &mut self,
        exchange: Exchange,
        output: &mut Output,
        service: &mut Service<'_>,
    ) {
        let end = self.end(exchange, service);
        let Service { preamble, reply, .. } = service;
        let close = end.is_some();
        encode::whole(output.tail(), exchange, preamble, reply, close);
        self.next(end);
    }

    /// The answer's body comes bit by bit.
    fn stream(
        &mut self,
        exchange: Exchange,
        producer: Producer,
        output: &mut Output,
        service: &mut Service<'_>,
    ) {
        let extent = Extent::unknown(exchange.version, service.reply);
        let mut end = self.end(exchange, service);
        if extent == Extent::Close {
            end = end.or(Some(End::Server));
        }
        let Service { preamble, reply, .. } = service;
        let close = end.is_some();
        let out = output.tail();
        encode::head(out, exchange, preamble, reply, extent, close);
        let empty = exchange.method == Method::Head || !extent.has_body();
        if empty {
            self.next(end);
        } else {
            self.open_ended = extent == Extent::Close;
            self.state = State::Streaming(Stream::new(producer, extent, end));
        }
    }

    /// Counts the request, and says whether it was the last.
    #[inline]
    fn end(
        &mut self,
        exchange: Exchange,
        service: &Service<'_>,
    ) -> Option<End> {
        self.served = self.served.saturating_add(1);
        End::of(exchange, self.served, service)
    }

    fn next(&mut self, end: Option<End>) {
        self.unanswered = 0;
        self.state = end.map_or(State::Idle, State::Over);
    }

    fn close(&self, end: End, input: &mut Input) -> Flow {
        let quiet = input.is_empty() || self.ended;
        input.drop_all();
        Flow::Close(end.closing(quiet, self.ended))
    }
}

/// A request that is all there: the lengths of its parts as they stand in the
/// input, and of it all as it was sent.
struct Whole {
    terms: Terms,
    head: usize,
    length: usize,
    end: usize,
}
