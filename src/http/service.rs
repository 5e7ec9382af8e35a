//! What a connection finds at the worker: the handler, the limits, the date.

use super::{Limits, Mailbox, Preamble, Reply, Request, RequestLog, Response};
use std::{fmt, net::SocketAddr, sync::Arc};

/// Answers requests. Every `FnMut(&Request<'_>, &mut Response<'_>)` is one.
pub trait Handler {
    /// Answers this request.
    fn handle(&mut self, request: &Request<'_>, response: &mut Response<'_>);
}

impl<F> Handler for F
where
    F: FnMut(&Request<'_>, &mut Response<'_>),
{
    fn handle(&mut self, request: &Request<'_>, response: &mut Response<'_>) {
        self(request, response);
    }
}

/// All that a [`Connection`](super::Connection) needs to answer, lent to it
/// for one call.
pub struct Service<'a> {
    /// Who answers.
    pub handler: &'a mut dyn Handler,
    /// What a request may cost.
    pub limits: &'a Limits,
    /// The lines that every answer begins with, of this second.
    pub preamble: &'a Preamble,
    /// Where answers from other threads arrive.
    pub mailbox: &'a Arc<Mailbox>,
    /// Room to answer in; its content is of no account.
    pub reply: &'a mut Reply,
    /// Names the connection to the caller, in [`Answer::ticket`].
    ///
    /// [`Answer::ticket`]: super::Answer::ticket
    pub ticket: u64,
    /// Finds out who the client is.
    pub peer: &'a dyn Fn() -> Option<SocketAddr>,
    /// Who is told of requests that are in hand. With one, a request that
    /// must not be repeated is answered apart from those before and behind
    /// it.
    pub request_log: Option<&'a dyn RequestLog>,
    /// The worker is going: every answer is the last of its connection.
    pub leaving: bool,
    /// Set when a handler panicked. Its client has been told (500), and the
    /// connection ends; what else to do about it is the worker's decision.
    pub panicked: bool,
}

impl fmt::Debug for Service<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service")
            .field("limits", &self.limits)
            .field("ticket", &self.ticket)
            .field("leaving", &self.leaving)
            .field("panicked", &self.panicked)
            .finish_non_exhaustive()
    }
}
