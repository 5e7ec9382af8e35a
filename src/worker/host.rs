//! Who answers the clients of a worker, and by which rules.

use std::sync::Arc;
use std::time::Duration;

use crate::config::Settings;
use crate::http::{Handler, Limits, Mailbox, Preamble, Reply};
use crate::scoreboard::Requests;

/// See the [module](self).
pub(super) struct Host {
    pub(super) handler: Box<dyn Handler>,
    pub(super) limits: Limits,
    pub(super) timeouts: Timeouts,
    pub(super) preamble: Preamble,
    /// Where answers from other threads arrive.
    pub(super) mailbox: Arc<Mailbox>,
    /// Room to answer in; its content is of no account.
    pub(super) reply: Reply,
    pub(super) parting: Parting,
    /// A handler has panicked: this worker is to go.
    pub(super) panicked: bool,
    /// What became of requests, not counting those of clients that have
    /// something in hand just now.
    pub(super) requests: Requests,
}

/// What becomes of a connection whose request has been answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parting {
    /// It stays for the next one.
    Stay,
    /// The worker is going: the answer is the last on the connection, and
    /// says so.
    Close,
    /// The worker is going: a connection that is guarded is given to another
    /// worker as it is. One that is not is closed.
    GiveAway,
}

impl Parting {
    /// Whether an answer is to be the last on its connection.
    pub(super) fn closes(self, guarded: bool) -> bool {
        match self {
            Parting::Stay => false,
            Parting::Close => true,
            Parting::GiveAway => !guarded,
        }
    }
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

impl Host {
    pub(super) fn new(
        handler: Box<dyn Handler>,
        settings: &Settings,
        mailbox: Arc<Mailbox>,
        unix_seconds: u64,
    ) -> Host {
        let requests = settings
            .max_requests_per_connection
            .map_or(0, |most| u32::try_from(most.get()).unwrap_or(u32::MAX));
        Host {
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
            parting: Parting::Stay,
            panicked: false,
            requests: Requests::default(),
        }
    }
}
