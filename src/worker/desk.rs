//! What all clients of a worker share: who answers, the rules, the buffers.

use std::sync::Arc;
use std::time::Duration;

use super::guard::Guard;
use super::work::Work;
use crate::config::Serve;
use crate::http::{Handler, Limits, Mailbox, Preamble, Reply};
use crate::salvage::bag::Bag;
use crate::scoreboard::{Requests, Scoreboard, Sheets};

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
    /// Who leaves is given to another worker, if that can be.
    pub(super) giving: bool,
    /// A handler has panicked.
    pub(super) panicked: bool,
    /// What became of requests, not counting those of clients that have
    /// something in hand just now.
    pub(super) requests: Requests,
    /// The last put away is the first taken: it is still in the cache.
    #[expect(clippy::vec_box, reason = "a work changes hands as a pointer")]
    pool: Vec<Box<Work>>,
    board: &'static Scoreboard,
    /// If connections are guarded.
    pub(super) sheets: Option<Sheets>,
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
        board: &'static Scoreboard,
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
            giving: false,
            panicked: false,
            requests: Requests::default(),
            pool: Vec::new(),
            board,
            sheets: board.is_guarded().then(|| board.sheets()),
        }
    }

    /// Buffers for a client on whose connection so many requests have been
    /// answered, and whose slot this is.
    pub(super) fn take_work(
        &mut self,
        served: u32,
        slot: Option<u32>,
    ) -> Box<Work> {
        let mut work = self.new_work();
        work.begin(served);
        if let Some(slot) = slot {
            work.guard(Guard::open(self.board, slot, work.sheet()));
        }
        work
    }

    /// The same for one that another worker had in hand.
    pub(super) fn take_over(&mut self, slot: u32, bag: &Bag) -> Box<Work> {
        let mut work = self.new_work();
        work.begin(0);
        let sheet = work.sheet();
        work.unpack(bag);
        work.guard(Guard::take_over(
            self.board,
            slot,
            sheet,
            (bag.input.len(), bag.output.len()),
            bag.closing,
        ));
        work
    }

    fn new_work(&mut self) -> Box<Work> {
        self.pool.pop().unwrap_or_else(|| {
            let sheet = self.sheets.as_mut().and_then(Sheets::take);
            Box::new(Work::new(sheet))
        })
    }

    /// Nothing is in hand any more of a client that had so many requests
    /// answered when the work was taken.
    pub(super) fn put_away(&mut self, mut work: Box<Work>, served: u32) {
        self.requests.answered += u64::from(work.served() - served);
        self.requests.refused += u64::from(work.is_refused());
        work.clear();
        let is_whole = work.sheet().is_some() == self.sheets.is_some();
        if self.pool.len() < POOL && is_whole && work.is_worth_keeping() {
            self.pool.push(work);
        } else if let Some(sheet) = work.into_sheet()
            && let Some(sheets) = &mut self.sheets
        {
            sheets.put_away(sheet);
        }
    }
}
