//! What a handler is given to answer with: a [`Reply`] to fill in, and the
//! ways not to answer at once.

use super::{
    Chunk, Later, Mailbox, Produce, Reply,
    mailbox::{Claim, Promise},
    stream::Producer,
};
use std::{
    fmt,
    ops::{Deref, DerefMut},
    sync::Arc,
    time::Duration,
};

/// The answer to one request: [`Reply`]'s methods, to answer when the handler
/// returns, and three to answer later or bit by bit. Of those the last one
/// called counts.
///
/// ```
/// use handoff::{Request, Response};
///
/// fn moved(request: &Request<'_>, response: &mut Response<'_>) {
///     let place = format!("/new{}", request.path());
///     match response.status(308).field("Location", place) {
///         Ok(reply) => reply.body("moved\n"),
///         // Such as a line feed, in a value that somebody else made.
///         Err(error) => response.status(500).body(error.to_string()),
///     };
/// }
/// ```
pub struct Response<'a> {
    reply: &'a mut Reply,
    mailbox: &'a Arc<Mailbox>,
    ticket: u64,
    pub(super) course: Course,
}

/// When the answer comes, and from where.
pub(super) enum Course {
    Now,
    After(Duration, Delayed, Promise),
    Later(Promise),
    Stream(Producer),
}

/// An answer that is made when its time has come: give it to
/// [`Connection::elapse`](super::Connection::elapse) then.
pub struct Delayed {
    pub(super) claim: Claim,
    pub(super) compose: Box<dyn FnOnce(&mut Reply)>,
}

impl fmt::Debug for Delayed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delayed").finish_non_exhaustive()
    }
}

impl<'a> Response<'a> {
    pub(super) fn new(
        reply: &'a mut Reply,
        mailbox: &'a Arc<Mailbox>,
        ticket: u64,
    ) -> Self {
        Response { reply, mailbox, ticket, course: Course::Now }
    }

    /// Answers when `delay` is over, with what `compose` makes of a fresh
    /// reply then. What was set here before is dropped. The worker serves
    /// others meanwhile.
    ///
    /// ```
    /// # use handoff::{Request, Response};
    /// # use std::time::Duration;
    /// # fn answer(_: &Request<'_>, response: &mut Response<'_>) {
    /// response.after(Duration::from_millis(20), |reply| {
    ///     reply.body("at last\n");
    /// });
    /// # }
    /// ```
    pub fn after(
        &mut self,
        delay: Duration,
        compose: impl FnOnce(&mut Reply) + 'static,
    ) {
        let promise = Promise::default();
        let claim = promise.claim();
        let delayed = Delayed { claim, compose: Box::new(compose) };
        self.course = Course::After(delay, delayed, promise);
    }

    /// Answers when the returned handle says so, from any thread. What was
    /// set here before is dropped.
    ///
    /// ```
    /// # use handoff::{Reply, Request, Response};
    /// # fn answer(request: &Request<'_>, response: &mut Response<'_>) {
    /// let (later, body) = (response.later(), request.body().to_vec());
    /// std::thread::spawn(move || {
    ///     let sum: u64 = body.iter().map(|&byte| u64::from(byte)).sum();
    ///     if !later.is_gone() {
    ///         let mut reply = Reply::new();
    ///         reply.body(format!("{sum}\n"));
    ///         later.send(reply);
    ///     }
    /// });
    /// # }
    /// ```
    pub fn later(&mut self) -> Later {
        let promise = Promise::default();
        let claim = promise.claim();
        self.course = Course::Later(promise);
        Later::new(self.mailbox, self.ticket, claim)
    }

    /// Answers with the status and the fields that are set here, and a body
    /// of unknown length, `chunked` for HTTP/1.1 and up to the end of the
    /// connection for HTTP/1.0. `producer` is called for the next piece
    /// whenever the client has taken enough of the ones before, and never for
    /// HEAD. If it panics the body is cut off, and the client can tell: by the
    /// last chunk that does not come, or by a reset.
    ///
    /// ```
    /// # use handoff::{Request, Response, http::Produce};
    /// # fn answer(_: &Request<'_>, response: &mut Response<'_>) {
    /// let mut numbers = 1..=1_000_000;
    /// response.stream(move |chunk| {
    ///     while chunk.room() > 0 {
    ///         let Some(number) = numbers.next() else {
    ///             return Produce::End;
    ///         };
    ///         chunk.push(format!("{number}\n"));
    ///     }
    ///     Produce::More
    /// });
    /// # }
    /// ```
    pub fn stream(
        &mut self,
        producer: impl FnMut(&mut Chunk<'_>) -> Produce + 'static,
    ) {
        self.course = Course::Stream(Box::new(producer));
    }
}

impl Deref for Response<'_> {
    type Target = Reply;

    fn deref(&self) -> &Reply {
        self.reply
    }
}

impl DerefMut for Response<'_> {
    fn deref_mut(&mut self) -> &mut Reply {
        self.reply
    }
}

impl fmt::Debug for Response<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let course = match self.course {
            Course::Now => "now",
            Course::After(..) => "after",
            Course::Later(_) => "later",
            Course::Stream(_) => "stream",
        };
        f.debug_struct("Response")
            .field("reply", &self.reply)
            .field("course", &course)
            .finish_non_exhaustive()
    }
}
