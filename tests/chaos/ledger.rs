//! PURE: what became of every request.
//!
//! ```text
//!   sent ─┬─▶ first: one End each ──▶ lost ─┐ on a connection that had
//!         │                                 │ been used before
//!         │      again: one End each ◀──────┘ (RFC 9112 §9.3.1)
//!         └── always: sent == the sum of first
//! ```
//!
//! It knows no socket and no server.

use std::ops::{AddAssign, Index, IndexMut};
use std::time::{Duration, Instant};

/// What one attempt came to. Exactly one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Answered with its own token, and nothing else.
    Ok,
    /// Answered with anything else: another token, another status, more
    /// than one answer, no HTTP.
    Wrong,
    /// Nobody listened.
    Refused,
    /// Nobody listened any more: the master had been told to stop, or was
    /// killed.
    RefusedAfterStop,
    /// The connection ended before the first byte of an answer.
    Reset,
    /// The same at once, on a connection that had been used before: its
    /// close may have crossed the request on the way.
    Crossed,
    /// The connection ended in the middle of the answer.
    Truncated,
    /// It was not over after the client's patience.
    TimedOut,
}

impl End {
    const COUNT: usize = 8;

    /// Somebody took the request, and let it fall.
    pub(crate) fn is_loss(self) -> bool {
        match self {
            End::Reset | End::Crossed | End::Truncated => true,
            End::Ok
            | End::Wrong
            | End::Refused
            | End::RefusedAfterStop
            | End::TimedOut => false,
        }
    }

    /// Whether a browser would try once more, if the connection had been
    /// used before: not a byte of an answer had come.
    pub(crate) fn is_repeatable(self) -> bool {
        matches!(self, End::Reset | End::Crossed)
    }
}

/// How often each end was met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally([usize; End::COUNT]);

impl Tally {
    pub(crate) fn sum(&self) -> usize {
        self.0.iter().sum()
    }

    pub(crate) fn lost(&self) -> usize {
        self[End::Reset] + self[End::Crossed] + self[End::Truncated]
    }
}

impl Index<End> for Tally {
    type Output = usize;

    fn index(&self, end: End) -> &usize {
        &self.0[end as usize]
    }
}

impl IndexMut<End> for Tally {
    fn index_mut(&mut self, end: End) -> &mut usize {
        &mut self.0[end as usize]
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine += theirs;
        }
    }
}

/// From when to when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) from: Instant,
    pub(crate) to: Instant,
}

impl Span {
    pub(crate) fn since(from: Instant) -> Span {
        Span { from, to: Instant::now() }
    }

    pub(crate) fn time(&self) -> Duration {
        self.to - self.from
    }
}

/// A blow to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hit {
    /// From before it until it was over: the worker was dead, say.
    pub(crate) when: Span,
    /// From here on its victim took nothing any more.
    pub(crate) effect: Instant,
}

/// A request that was taken and let fall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Loss {
    /// From before the request was sent until its end was noticed.
    pub(crate) when: Span,
    /// Its connection had been used before, so a worker had it already.
    pub(crate) used: bool,
}

/// The books of one client, or of all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ledger {
    /// Requests with a token of their own.
    pub(crate) sent: usize,
    /// What their first attempts came to.
    pub(crate) first: Tally,
    /// What the second attempts came to.
    pub(crate) again: Tally,
    /// The first attempts that were lost.
    pub(crate) losses: Vec<Loss>,
    /// Connections that the server closed between two requests although it
    /// had not said `Connection: close`.
    pub(crate) idle_closes: usize,
    /// Of those, connections of clients that ask again within a second.
    pub(crate) let_down: usize,
    /// Bytes between two requests: an answer that nobody had asked for.
    pub(crate) unasked: usize,
    /// The longest time that a first attempt took, whatever its end.
    pub(crate) slowest: Duration,
    /// How much later than it wanted a client was woken, at worst: the
    /// fault of this machine, not of the server.
    pub(crate) overslept: Duration,
}

impl Ledger {
    /// Of the first attempts, those that a second one did not make good.
    pub(crate) fn lost_for_good(&self) -> usize {
        self.first.lost() - self.again[End::Ok]
    }

    /// Notes a first attempt, and whether its connection had been used
    /// before.
    pub(crate) fn enter(&mut self, end: End, when: Span, used: bool) {
        self.first[end] += 1;
        self.slowest = self.slowest.max(when.time());
        if end.is_loss() {
            self.losses.push(Loss { when, used });
        }
    }
}

impl AddAssign for Ledger {
    fn add_assign(&mut self, other: Ledger) {
        let Ledger {
            sent,
            first,
            again,
            losses,
            idle_closes,
            let_down,
            unasked,
            slowest,
            overslept,
        } = other;
        self.sent += sent;
        self.first += first;
        self.again += again;
        self.losses.extend(losses);
        self.idle_closes += idle_closes;
        self.let_down += let_down;
        self.unasked += unasked;
        self.slowest = self.slowest.max(slowest);
        self.overslept = self.overslept.max(overslept);
    }
}
