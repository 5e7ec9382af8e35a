//! Answers that come from another thread.
//!
//! ```text
//! handler ── response.later() ──▶ Later ── moves to a thread ──┐
//! worker  ◀── take() ── Mailbox ◀── send(reply), or drop ──────┘
//!     └── connection.answer(answer, …): its own, or nobody's
//! ```
//!
//! An answer carries the very promise that its connection waits on. A worker
//! that uses a ticket twice, or is late to forget one, therefore cannot give
//! an answer to another request than the one it was made for.

use super::{Refusal, Reply};
use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

/// What one request waits on; shared with whoever is to answer it, and true
/// as soon as nobody waits any more.
#[derive(Debug, Default)]
pub(super) struct Promise(Arc<AtomicBool>);

impl Promise {
    pub(super) fn claim(&self) -> Claim {
        Claim(Arc::clone(&self.0))
    }

    pub(super) fn fits(&self, claim: &Claim) -> bool {
        Arc::ptr_eq(&self.0, &claim.0)
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// The other end of a [`Promise`].
#[derive(Debug)]
pub(super) struct Claim(Arc<AtomicBool>);

/// Where other threads leave answers for one worker.
pub struct Mailbox {
    answers: Mutex<Vec<Answer>>,
    wake: Box<dyn Fn() + Send + Sync>,
}

impl Mailbox {
    /// `wake` is called, in the thread that answers, when the first answer
    /// falls into the empty box; it is to make the worker call
    /// [`take`](Self::take) soon.
    #[must_use]
    pub fn new(wake: impl Fn() + Send + Sync + 'static) -> Self {
        Mailbox { answers: Mutex::default(), wake: Box::new(wake) }
    }

    /// Empties the box.
    #[must_use]
    pub fn take(&self) -> Vec<Answer> {
        std::mem::take(&mut self.lock())
    }

    fn post(&self, answer: Answer) {
        let mut answers = self.lock();
        answers.push(answer);
        let first = answers.len() == 1;
        drop(answers);
        if first {
            (self.wake)();
        }
    }

    /// A thread that panicked while it held the lock has done no harm: the
    /// vector is whole between any two of its operations.
    fn lock(&self) -> MutexGuard<'_, Vec<Answer>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox")
            .field("answers", &self.lock().len())
            .finish_non_exhaustive()
    }
}

/// A reply from another thread, on its way to its connection.
#[derive(Debug)]
pub struct Answer {
    ticket: u64,
    pub(super) claim: Claim,
    pub(super) reply: Reply,
}

impl Answer {
    /// The ticket of the [`Service`](super::Service) that the request was
    /// handled under.
    #[must_use]
    pub fn ticket(&self) -> u64 {
        self.ticket
    }
}

/// The right, and the duty, to answer one request from any thread. Dropped
/// without an answer, it answers 500.
#[derive(Debug)]
#[must_use = "dropped, it answers 500"]
pub struct Later {
    mailbox: Arc<Mailbox>,
    /// Gone with the answer.
    open: Option<(u64, Claim)>,
}

impl Later {
    pub(super) fn new(
        mailbox: &Arc<Mailbox>,
        ticket: u64,
        claim: Claim,
    ) -> Self {
        Later { mailbox: Arc::clone(mailbox), open: Some((ticket, claim)) }
    }

    /// Answers.
    pub fn send(mut self, reply: Reply) {
        self.post(reply);
    }

    /// The client has left: what is being prepared will reach nobody.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        let gone = |(_, claim): &(u64, Claim)| claim.0.load(Ordering::Acquire);
        self.open.as_ref().is_none_or(gone)
    }

    fn post(&mut self, reply: Reply) {
        if let Some((ticket, claim)) = self.open.take() {
            self.mailbox.post(Answer { ticket, claim, reply });
        }
    }
}

impl Drop for Later {
    fn drop(&mut self) {
        if self.open.is_some() {
            self.post(Refusal::Failed.reply());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;

    fn mailbox() -> (Arc<Mailbox>, Arc<AtomicU32>) {
        let wakes = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&wakes);
        let wake = move || {
            count.fetch_add(1, Ordering::Relaxed);
        };
        (Arc::new(Mailbox::new(wake)), wakes)
    }

    #[test]
    fn only_the_first_answer_in_an_empty_box_wakes() {
        let (mailbox, wakes) = mailbox();
        let promise = Promise::default();
        for round in 1..3 {
            for ticket in 0..3 {
                let later = Later::new(&mailbox, ticket, promise.claim());
                std::thread::spawn(move || later.send(Reply::new()))
                    .join()
                    .unwrap();
            }
            let tickets: Vec<_> =
                mailbox.take().iter().map(Answer::ticket).collect();
            assert_eq!(tickets, [0, 1, 2]);
            assert_eq!(wakes.load(Ordering::Relaxed), round);
        }
    }

    #[test]
    fn dropped_unanswered_it_answers_500_once() {
        let (mailbox, _) = mailbox();
        drop(Later::new(&mailbox, 7, Promise::default().claim()));
        let answers = mailbox.take();
        assert_eq!(answers.len(), 1);
        assert_eq!((answers[0].ticket, answers[0].reply.status), (7, 500));
    }

    #[test]
    fn it_knows_when_nobody_waits_any_more() {
        let (mailbox, _) = mailbox();
        let promise = Promise::default();
        let later = Later::new(&mailbox, 1, promise.claim());
        assert!(!later.is_gone());
        drop(promise);
        assert!(later.is_gone());
        later.send(Reply::new());
    }

    #[test]
    fn a_claim_fits_its_own_promise_alone() {
        let (one, other) = (Promise::default(), Promise::default());
        assert!(one.fits(&one.claim()));
        assert!(!one.fits(&other.claim()));
    }
}
