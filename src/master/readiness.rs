//! PURE: when a worker that does not say so itself counts as ready.
//!
//! A Node app says where it listens, not that it has done all it wanted to.
//! But its predecessor tells: a successor is ready when it listens wherever
//! the one before it did. The very first has nobody to be measured by, and is
//! ready with its first server.
//!
//! ```text
//!   wanted     what the predecessor of its slot has, as long as that serves;
//!              of one that died, what that had when it became ready
//!   listening  what it has itself
//!   ready      listening ⊇ wanted, and not empty; or "ready" was said,
//!              where that is asked for (--wait-ready)
//! ```
//!
//! An app may be refused all that it asks for and go on as if nothing were
//! wrong. It runs, but it is not one that never wanted to listen.

use std::collections::BTreeSet;

/// What is known of one worker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Readiness {
    wanted: BTreeSet<String>,
    listening: BTreeSet<String>,
    online: bool,
    /// What it has asked for last, and the system's number of why it did not
    /// get it.
    refused: Option<(String, i32)>,
    /// `Some(false)`: "ready" is asked for and was not said yet.
    said: Option<bool>,
}

/// What a worker that is not ready lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Lack {
    /// It has asked for nothing to listen on.
    Everything,
    /// It has asked, and this is missing still.
    Something(String),
}

/// What to think of a worker whose time to become ready is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It goes on, without those servers of its predecessor, if any.
    Ready {
        /// The keys of the servers that it lacks.
        missing: Vec<String>,
    },
    /// It is of no use.
    NotReady,
    /// The same, since it was refused this server, for the reason with this
    /// number.
    Refused { key: String, errno: i32 },
}

impl Readiness {
    /// A worker that has just been started in a slot whose last worker had
    /// the servers `wanted`. `wait_ready`: it must say "ready" as well.
    pub(crate) fn new(
        wanted: BTreeSet<String>,
        wait_ready: bool,
    ) -> Readiness {
        Readiness {
            wanted,
            said: wait_ready.then_some(false),
            ..Readiness::default()
        }
    }

    /// Its program has come so far as to say that it runs.
    pub(crate) fn online(&mut self) {
        self.online = true;
    }

    /// Its predecessor listens on the server with this key too, by now.
    pub(crate) fn want(&mut self, key: &str) {
        self.wanted.insert(key.to_owned());
    }

    /// Its predecessor does no more.
    pub(crate) fn do_without(&mut self, key: &str) {
        self.wanted.remove(key);
    }

    /// It does not get the server that it asked for.
    pub(crate) fn refused(&mut self, key: &str, errno: i32) {
        self.refused = Some((key.to_owned(), errno));
    }

    /// It gets one.
    pub(crate) fn granted(&mut self) {
        self.refused = None;
    }

    /// It listens on the server with this key.
    pub(crate) fn listening(&mut self, key: &str) {
        self.listening.insert(key.to_owned());
    }

    /// It does no more. What it gave up its successor need not have.
    pub(crate) fn closed(&mut self, key: &str) {
        self.listening.remove(key);
        self.wanted.remove(key);
    }

    /// It has said "ready".
    pub(crate) fn said_ready(&mut self) {
        self.said = self.said.map(|_| true);
    }

    /// Where it listens now: what its successor will be measured by.
    pub(crate) fn servers(&self) -> &BTreeSet<String> {
        &self.listening
    }

    /// Whether it is ready.
    pub(crate) fn is_ready(&self) -> bool {
        let something = !self.listening.is_empty();
        self.wanted.is_subset(&self.listening)
            && self.said.unwrap_or(something)
    }

    /// What it lacks, in words, if it has asked for something and is not
    /// ready.
    pub(crate) fn lacks(&self) -> String {
        let missing = self.wanted.difference(&self.listening);
        let missing: Vec<&str> = missing.map(String::as_str).collect();
        if self.listening.is_empty() {
            "it does not listen yet on what it has asked for".to_owned()
        } else if missing.is_empty() {
            "it has not said that it is".to_owned()
        } else {
            let missing = missing.join(", ");
            format!("it lacks what its predecessor listens on: {missing}")
        }
    }

    /// What to do with it when it has had its time: rather go on with a part
    /// than with nothing, and an app that never listens (one that works off a
    /// queue, say) is ready by running.
    pub(crate) fn verdict(&self) -> Verdict {
        let silent = self.said == Some(false);
        let mute = self.listening.is_empty();
        if mute
            && self.said != Some(true)
            && let Some((key, errno)) = self.refused.clone()
        {
            return Verdict::Refused { key, errno };
        }
        if silent || !self.online || (mute && !self.wanted.is_empty()) {
            return Verdict::NotReady;
        }
        let missing = self.wanted.difference(&self.listening).cloned();
        Verdict::Ready { missing: missing.collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(keys: &[&str]) -> BTreeSet<String> {
        keys.iter().map(|key| (*key).to_owned()).collect()
    }

    fn ready(missing: &[&str]) -> Verdict {
        let missing = missing.iter().map(|key| (*key).to_owned()).collect();
        Verdict::Ready { missing }
    }

    #[test]
    fn the_first_worker_is_ready_with_its_first_server() {
        let mut first = Readiness::new(BTreeSet::new(), false);
        first.online();
        assert!(!first.is_ready());
        first.listening("a");
        assert!(first.is_ready());
    }

    #[test]
    fn a_successor_is_ready_when_it_listens_where_its_predecessor_did() {
        let mut next = Readiness::new(wanted(&["a", "b"]), false);
        next.listening("b");
        next.listening("c");
        assert!(!next.is_ready());
        next.listening("a");
        assert!(next.is_ready());
    }

    #[test]
    fn a_server_that_was_given_up_is_not_asked_for() {
        let mut next = Readiness::new(wanted(&["a", "b"]), false);
        next.listening("a");
        next.closed("b");
        assert!(next.is_ready());
        next.closed("a");
        assert!(!next.is_ready());
    }

    #[test]
    fn who_is_to_say_ready_is_not_ready_before() {
        let mut worker = Readiness::new(BTreeSet::new(), true);
        worker.online();
        worker.listening("a");
        assert!(!worker.is_ready());
        assert_eq!(worker.verdict(), Verdict::NotReady);
        worker.said_ready();
        assert!(worker.is_ready());
    }

    #[test]
    fn who_has_said_ready_need_not_listen() {
        let mut worker = Readiness::new(BTreeSet::new(), true);
        worker.said_ready();
        assert!(worker.is_ready());
        let mut worker = Readiness::new(wanted(&["a"]), true);
        worker.said_ready();
        assert!(!worker.is_ready());
    }

    #[test]
    fn saying_ready_unasked_changes_nothing() {
        let mut worker = Readiness::new(BTreeSet::new(), false);
        let before = worker.clone();
        worker.said_ready();
        assert_eq!(worker, before);
    }

    #[test]
    fn when_time_is_up_a_part_is_better_than_nothing() {
        let mut next = Readiness::new(wanted(&["a", "b"]), false);
        next.online();
        assert_eq!(next.verdict(), Verdict::NotReady);
        next.listening("b");
        assert_eq!(next.verdict(), ready(&["a"]));
    }

    #[test]
    fn a_successor_is_measured_by_what_its_predecessor_has_by_now() {
        let mut next = Readiness::new(wanted(&["a"]), false);
        next.listening("a");
        next.want("b");
        assert!(!next.is_ready());
        next.do_without("b");
        assert!(next.is_ready());
    }

    #[test]
    fn who_was_refused_all_it_asked_for_is_of_no_use() {
        let mut worker = Readiness::new(BTreeSet::new(), false);
        worker.online();
        worker.refused("a", 98);
        let refused = Verdict::Refused { key: "a".to_owned(), errno: 98 };
        assert_eq!(worker.verdict(), refused);
        worker.granted();
        assert_eq!(worker.verdict(), ready(&[]));
        worker.listening("b");
        worker.refused("a", 98);
        assert_eq!(worker.verdict(), ready(&[]), "it has another");
    }

    #[test]
    fn who_has_said_ready_may_have_been_refused() {
        let mut worker = Readiness::new(BTreeSet::new(), true);
        worker.online();
        worker.refused("a", 98);
        assert_ne!(worker.verdict(), ready(&[]));
        worker.said_ready();
        assert_eq!(worker.verdict(), ready(&[]));
    }

    #[test]
    fn an_app_that_never_listens_is_ready_by_running() {
        let mut worker = Readiness::new(BTreeSet::new(), false);
        assert_eq!(worker.verdict(), Verdict::NotReady);
        worker.online();
        assert_eq!(worker.verdict(), ready(&[]));
    }
}
