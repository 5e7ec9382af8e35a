//! Which connections of a listener can be guarded: those of which the kernel
//! counts what [`doubt`] asks for.
//!
//! ```text
//!   ours ─────── asked once ─────────────────────────▶ all
//!   inherited ── asked once ─▶ each is asked ────────▶ all
//!                    │           until the queue is one
//!                    └─▶ none    that we have seen empty
//! ```
//!
//! A connection has the options that its listener had when it came. Of a
//! socket that somebody else listened on before, a service manager or an
//! older build of this program, those that wait have been there longer than
//! our options, and are asked one by one.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use crate::sys::tcp::doubt::{self, Doubt};
use crate::sys::tcp::keep_urgent_in_line;

/// How long a connection may be on its way into the queue with the options
/// that were there before: far longer than the kernel takes.
const SETTLED: Duration = Duration::from_secs(1);

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Trust(State);

#[derive(Debug)]
enum State {
    Inherited,
    All,
    /// Those that are older than this.
    Asked {
        since: Instant,
        /// The log has one that is not guarded.
        told: bool,
    },
    None,
}

impl Trust {
    /// Of a listener that was opened here.
    pub(super) fn ours() -> Trust {
        Trust(State::All)
    }

    /// Of a listener that somebody else has opened.
    pub(super) fn inherited() -> Trust {
        Trust(State::Inherited)
    }

    /// Asks the listener, and sets what can still be set. Why none of its
    /// connections is guarded, if so.
    pub(super) fn ask(&mut self, listener: BorrowedFd<'_>) -> Option<Doubt> {
        if let State::Inherited = self.0 {
            // It shows below whether it could be set.
            let _ = keep_urgent_in_line(listener);
            self.0 = State::Asked { since: Instant::now(), told: false };
        }
        let doubt = doubt::of_listener(listener);
        if doubt.is_some() {
            self.0 = State::None;
        }
        doubt
    }

    /// Whether a connection that has just been accepted can be guarded; and
    /// why not, if that is the first.
    pub(super) fn extends_to(
        &mut self,
        connection: BorrowedFd<'_>,
    ) -> (bool, Option<Doubt>) {
        match &mut self.0 {
            // Nobody has asked whether it could be.
            State::Inherited | State::All => (true, None),
            State::None => (false, None),
            State::Asked { told, .. } => {
                let doubt = doubt::of_connection(connection);
                let news = doubt.filter(|_| !*told);
                *told |= news.is_some();
                (doubt.is_none(), news)
            }
        }
    }

    /// The queue is empty.
    pub(super) fn is_drained(&mut self, now: Instant) {
        if let State::Asked { since, .. } = self.0
            && now >= since + SETTLED
        {
            self.0 = State::All;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;

    fn passed() -> (TcpListener, Trust) {
        (TcpListener::bind("127.0.0.1:0").unwrap(), Trust::inherited())
    }

    fn connect(listener: &TcpListener) -> TcpStream {
        TcpStream::connect(listener.local_addr().unwrap()).unwrap()
    }

    fn next(listener: &TcpListener, trust: &mut Trust) -> (bool, bool) {
        let socket = listener.accept().unwrap().0;
        let (trusted, news) = trust.extends_to(socket.as_fd());
        (trusted, news.is_some())
    }

    #[test]
    fn those_that_waited_are_not_trusted_and_the_first_is_news() {
        let (listener, mut trust) = passed();
        let _early = [connect(&listener), connect(&listener)];
        assert_eq!(trust.ask(listener.as_fd()), None);
        let _late = connect(&listener);
        assert_eq!(next(&listener, &mut trust), (false, true));
        assert_eq!(next(&listener, &mut trust), (false, false));
        assert_eq!(next(&listener, &mut trust), (true, false));
    }

    #[test]
    fn nobody_is_asked_once_the_queue_was_empty_for_certain() {
        let (listener, mut trust) = passed();
        trust.ask(listener.as_fd());
        trust.is_drained(Instant::now());
        assert!(matches!(trust.0, State::Asked { .. }), "too early");
        trust.is_drained(Instant::now() + SETTLED);
        assert!(matches!(trust.0, State::All));
    }
}
