//! What all clients of a worker share: who answers, the rules, the buffers.

use std::sync::Arc;
use std::time::Duration;

use super::work::Work;
use crate::config::Serve;
use crate::http::{Handler, Limits, Mailbox, Preamble, Reply};

/// Most pairs of buffers that are kept for the next requests.
const POOL: usize = 64;

/// See the [module](self).
pub(super) struct Desk {
    pub(super) handler: Box<dyn Handler>,
    pub(super) limits: Limits,
    pub(super) timeouts: Timeouts,
    pub(super) preamble: Preamble,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) reply: Reply,
    /// The worker is going: every answer is the last on its connection.
    pub(super) leaving: bool,
    /// A handler has panicked.
    pub(super) panicked: bool,
    /// Requests answered, not counting those of clients that have something
    /// in hand just now.
    pub(super) requests: u64,
    /// The last put away is the first taken: it is still in the cache.
    #[expect(clippy::vec_box, reason = "a work changes hands as a pointer")]
    pool: Vec<Box<Work>>,
}

/// How long a client may keep us waiting.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timeouts {
    /// For the rest of a head, from its first byte.
    pub(super) header: Duration,
    /// For the next request.
    pub(super) idle: Duration,
    /// For more of a body.
    pub(super) body: Duration,
    /// For taking more of an answer.
    pub(super) write: Duration,
}

impl Timeouts {
    pub(super) fn longest(self) -> Duration {
        self.header.max(self.idle).max(self.body).max(self.write)
    }
}

impl Desk {
    pub(super) fn new(
        handler: Box<dyn Handler>,
        settings: &Serve,
        mailbox: Arc<Mailbox>,
        unix_seconds: u64,
    ) -> Desk {
        let requests = settings
            .max_requests_per_connection
            .map_or(0, |most| u32::try_from(most.get()).unwrap_or(u32::MAX));
        Desk {
            handler,
            limits: Limits {
                head: settings.max_head,
                fields: settings.max_fields,
                body: settings.max_body,
                requests,
            },
            timeouts: Timeouts {
                header: settings.header_timeout,
                idle: settings.idle_timeout,
                body: settings.body_timeout,
                write: settings.write_timeout,
            },
            preamble: Preamble::new(unix_seconds),
            mailbox,
            reply: Reply::default(),
            leaving: false,
            panicked: false,
            requests: 0,
            pool: Vec::new(),
        }
    }

    /// Buffers for a client on whose connection so many requests have been
    /// answered.
    pub(super) fn take_work(&mut self, served: u32) -> Box<Work> {
        let mut work = self.pool.pop().unwrap_or_default();
        work.begin(served);
        work
    }

    /// Nothing is in hand any more of a client that had so many requests
    /// answered when the work was taken.
    pub(super) fn put_away(&mut self, mut work: Box<Work>, served: u32) {
        self.requests += u64::from(work.served() - served);
        if self.pool.len() < POOL && work.is_worth_keeping() {
            work.clear();
            self.pool.push(work);
        }
    }
}
