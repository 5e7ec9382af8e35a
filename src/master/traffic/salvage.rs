//! The connections that workers have: what workers give back, and what they
//! leave when they die.
//!
//! ```text
//!   given back ─┐                      ┌─▶ first in line for another worker
//!               ├─▶ assess ── judge ───┼─▶ quarantine, if it may have killed
//!   left behind ┘                      ├─▶ the master that follows this one
//!                                      └─▶ the end
//! ```

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use log::{debug, info, warn};

use super::Traffic;
use super::account::{Account, Handoff};
use super::assess::{Fate, assess};
use super::connection::Connection;
use super::onward::Onward;
use crate::WorkerId;
use crate::master::server::ServerId;
use crate::master::supervisor::Exit;
use crate::master::workers::Death;
use crate::salvage::snapshot::{Record, Snapshot};
use crate::sys::close::close_all;
use crate::sys::{signal, socket};

/// Bytes of a request in a line of the log.
const SHOWN: usize = 120;

impl Traffic {
    /// Takes back what a worker gives.
    pub(super) fn take_in(&mut self, given: Vec<Connection>) {
        for connection in given {
            self.tally.connections += 1;
            self.put_on(connection);
        }
    }

    /// A worker is dead: what it had goes to others, as far as that can be.
    pub(super) fn salvage(
        &mut self,
        worker: WorkerId,
        account: &mut Handoff,
        death: &Death,
    ) {
        let guilty = death.hung || death.broken || is_guilty(death.how);
        // Nobody follows one that was leaving: its successor serves already.
        let tried =
            matches!(self.onward, Onward::Worker) && !death.is_leaving();
        let sound = !is_wild(death.how) && !death.broken;
        let mut ended = Vec::new();
        let mut moved = Vec::new();
        let Handoff { scoreboard, slot_table, .. } = account;
        for (slot, left) in slot_table.take_all() {
            match assess(scoreboard, slot, left, sound, &mut self.tally) {
                Fate::Moves { connection, begun } => {
                    moved.push((connection, begun));
                }
                Fate::Ends(socket) => ended.push(socket),
            }
        }
        self.limits.retained.count -= moved.len() + ended.len();
        self.held -= ended.len();
        close_all(ended);
        let suspects = moved.iter().filter(|(_, begun)| *begun).count();
        let count = moved.len();
        for (mut connection, begun) in moved {
            let begun = begun && connection.is_open();
            if begun {
                self.hold_against(&mut connection, guilty, suspects == 1);
            }
            if begun && tried && is_suspect(&connection, guilty) {
                self.quarantine.add(connection);
            } else {
                self.put_on(connection);
            }
        }
        self.tally.connections += count as u64;
        if count > 0 {
            debug!("worker {worker}: {count} connections go on elsewhere");
        }
    }

    /// Notes that a request was in hand when its worker died.
    fn hold_against(
        &mut self,
        connection: &mut Connection,
        guilty: bool,
        alone: bool,
    ) {
        let Some(snapshot) = &mut connection.snapshot else { return };
        snapshot.record.replays = snapshot.record.replays.saturating_add(1);
        if guilty && alone {
            snapshot.record.tries = snapshot.record.tries.saturating_add(1);
        }
        if snapshot.record.is_convicted(alone) {
            let Record { replays, tries } = snapshot.record;
            let (line, peer) =
                (shown(&snapshot.input), from(&connection.socket));
            warn!(
                "a request is refused (502): {replays} workers died with it, \
                 {tries} of them with nothing else: {line} from {peer}"
            );
            **snapshot = Snapshot::apology(snapshot.done);
            self.tally.refused += 1;
        } else {
            self.tally.replayed += 1;
        }
    }

    /// Suspects may wait for this new worker, which tries them first: the
    /// dispatcher has it, and gives it nothing.
    pub(super) fn try_suspects_with(
        &mut self,
        worker: WorkerId,
        now: Duration,
    ) {
        if self.quarantine.appoint(worker) {
            info!("worker {worker} hears suspects before it serves");
            if let Some(server) = self.servers.get_mut(&ServerId::OWN) {
                server.dispatcher.withdraw(worker);
            }
            // Nothing else would wake us for it.
            self.attend_quarantine(now);
        }
    }

    /// Suspects that wait, those that are on trial, and the end of it.
    pub(super) fn attend_quarantine(&mut self, now: Duration) {
        let let_go = match self.onward {
            Onward::Worker => self.quarantine.dissolve_if_deserted(now),
            // No replacement comes, or not one of ours.
            Onward::NextMaster(_) | Onward::End => self.quarantine.dissolve(),
        };
        for connection in let_go {
            self.put_on(connection);
        }
        let Some(probe) = self.quarantine.probe() else { return };
        let Some(Account::Handoff(ours)) = self.accounts.get(&probe) else {
            return;
        };
        let board = &ours.scoreboard;
        let answered = board.requests().answered;
        let progress = answered.wrapping_add(board.closed());
        self.quarantine.look(now, progress);
        let Some(server) = self.servers.get_mut(&ServerId::OWN) else {
            return;
        };
        let dispatcher = &mut server.dispatcher;
        if let Some(suspect) = self.quarantine.next(now, progress) {
            let peer = suspect.peer();
            if let Err(suspect) = dispatcher.assign(probe, suspect, peer) {
                dispatcher.put_back(suspect, peer);
            }
        }
        if let Some(probe) = self.quarantine.discharge() {
            dispatcher.rejoin(probe);
        }
    }
}

/// What a request begins with, for a person: its first bytes to the end of
/// the line, nothing of which is understood here.
fn shown(input: &[u8]) -> String {
    let is_end = |byte: &u8| *byte == b'\r' || *byte == b'\n';
    let end = input.iter().position(is_end).unwrap_or(input.len());
    let (most, rest) = match end > SHOWN {
        true => (SHOWN, "…"),
        false => (end, ""),
    };
    format!("\"{}\"{rest}", input[..most].escape_ascii())
}

/// Who a connection is from.
fn from(socket: &OwnedFd) -> String {
    match socket::peer_address(socket.as_fd()) {
        Ok(Some(address)) => address.to_string(),
        Ok(None) => "a unix socket".to_owned(),
        Err(_) => "a client that has gone".to_owned(),
    }
}

/// It is to be tried alone: its worker died by its own fault, or too many
/// have died of whatever it was. One that was refused is no suspect any more.
fn is_suspect(connection: &Connection, guilty: bool) -> bool {
    connection.snapshot.as_ref().is_some_and(|left| {
        !left.closing && (guilty || left.record.is_suspicious())
    })
}

/// The worker has ended of itself, and not well.
fn is_guilty(how: Exit) -> bool {
    match how {
        Exit::Code(code) => code != 0,
        Exit::Signal(number) => signal::is_own_fault(number),
    }
}

/// It has touched memory that was not its own.
fn is_wild(how: Exit) -> bool {
    match how {
        Exit::Code(_) => false,
        Exit::Signal(number) => signal::is_memory_fault(number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_request_no_more_is_shown_than_a_line_and_no_byte_as_it_is() {
        for (input, line) in [
            ("GET /a?b HTTP/1.1\r\nCookie: c\r\n", "\"GET /a?b HTTP/1.1\""),
            ("GET /a\nb", "\"GET /a\""),
            ("GET /\u{1b}[31m\"é", r#""GET /\x1b[31m\"\xc3\xa9""#),
            ("", "\"\""),
        ] {
            assert_eq!(shown(input.as_bytes()), line, "{input:?}");
        }
        let long = shown(&[b'a'; 5000]);
        assert_eq!(long, format!("\"{}\"…", "a".repeat(SHOWN)));
    }

    #[test]
    fn a_client_is_named_as_far_as_it_can_be() {
        let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        assert_eq!(from(&one.into()), "a unix socket");
        let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = server.local_addr().unwrap();
        let client = std::net::TcpStream::connect(address).unwrap();
        let (socket, peer) = server.accept().unwrap();
        assert_eq!(from(&socket.into()), peer.to_string());
        drop(client);
        assert_eq!(from(&server.into()), "a client that has gone");
    }
}
