//! What is to happen at a certain time, earliest first.
//!
//! For the few connections that wait for a time of their own (an answer that
//! was put off, a stream that pauses). The timeouts that every connection has
//! are not kept here: they are found by looking over all connections now and
//! then, which costs a request nothing.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::time::Instant;

/// Things of type `T`, each with its time.
#[derive(Debug)]
pub(crate) struct Timers<T> {
    heap: BinaryHeap<Reverse<Timer<T>>>,
    /// Numbers the timers, so that equal times keep their order.
    set: u64,
}

#[derive(Debug)]
struct Timer<T> {
    at: Instant,
    number: u64,
    what: T,
}

impl<T> Timers<T> {
    pub(crate) fn new() -> Timers<T> {
        Timers { heap: BinaryHeap::new(), set: 0 }
    }

    pub(crate) fn set(&mut self, at: Instant, what: T) {
        self.set += 1;
        self.heap.push(Reverse(Timer { at, number: self.set, what }));
    }

    /// The earliest time.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse(timer)| timer.at)
    }

    /// Takes the earliest one out, if its time has come.
    pub(crate) fn due(&mut self, now: Instant) -> Option<T> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(timer)| timer.what)
    }
}

impl<T> Ord for Timer<T> {
    fn cmp(&self, other: &Timer<T>) -> Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

impl<T> PartialOrd for Timer<T> {
    fn partial_cmp(&self, other: &Timer<T>) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Timer<T> {
    fn eq(&self, other: &Timer<T>) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<T> Eq for Timer<T> {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_earliest_is_due_first_and_equal_times_keep_their_order() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut timers = Timers::new();
        for (ms, what) in [(5, 'c'), (1, 'a'), (5, 'd'), (3, 'b')] {
            timers.set(at(ms), what);
        }
        assert_eq!(timers.next(), Some(at(1)));
        assert_eq!(timers.due(start), None);
        let mut order = String::new();
        while let Some(what) = timers.due(at(5)) {
            order.push(what);
        }
        assert_eq!(order, "abcd");
        assert_eq!(timers.next(), None);
    }
}
