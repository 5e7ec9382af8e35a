//! Connections on their way out: what one worker is sent, in the words of its
//! protocol.
//!
//! ```text
//!   dispatcher ── batch ─▶ entries, snapshots ─▶ one sendmsg ─▶ sent
//!                             (handoff only)       │
//!                                                  └ full: nothing has left
//! ```

use std::os::fd::{AsFd, BorrowedFd};

use super::account::Handoff;
use super::connection::{Connection, Retained};
use crate::WorkerId;
use crate::ipc::Message;
use crate::ipc::message::{Act, HandleKind, Seat};
use crate::master::dispatcher::Dispatcher;
use crate::master::workers::Line;
use crate::salvage::slot_table::{SlotTable, UNGUARDED};
use crate::scoreboard::{Half, Scoreboard};
use crate::sys;

impl Handoff {
    /// Sends what the dispatcher has for this worker. Whether some of that
    /// must wait for room in the channel. `room`: of so many new ones may a
    /// copy be kept.
    pub(super) fn send(
        &mut self,
        worker: WorkerId,
        dispatcher: &mut Dispatcher<Connection>,
        line: &mut Line,
        room: &mut usize,
    ) -> sys::Result<bool> {
        while let Some(batch) = dispatcher.batch(worker) {
            let first = batch.first;
            let mut count = batch.connections().len();
            let mut entries = Vec::new();
            if self.slot_table.is_there() {
                let (board, slot_table) =
                    (&self.scoreboard, &mut self.slot_table);
                entries =
                    find_entries(batch.connections(), board, slot_table, room);
                count = entries.len();
            }
            if count == 0 {
                // Those on their way bring room when they arrive.
                return Ok(false);
            }
            let fds = batch.connections().take(count).map(AsFd::as_fd);
            let fds: Vec<BorrowedFd<'_>> = fds.collect();
            let slots = entries.iter().map(|entry| entry.seat).collect();
            let count = count as u64;
            let message = Message::Connections { first, count, slots };
            let sent = line.send(&message, &fds);
            drop((fds, message));
            self.book(&entries, matches!(sent, Ok(true)));
            if !sent? {
                return Ok(true);
            }
            dispatcher.sent(worker, count as usize);
        }
        Ok(false)
    }

    /// Notes what became of the entries of a message.
    fn book(&mut self, entries: &[Entry], sent: bool) {
        if sent {
            for Entry { seat, inbound } in entries {
                self.slot_table.sent(seat.slot, *inbound);
            }
        } else {
            // Backwards, so that the next finds them in this order.
            for Entry { seat, inbound } in entries.iter().rev() {
                self.slot_table.unused(seat.slot, *inbound);
            }
        }
    }
}

/// The same to a worker that speaks as Node does: one descriptor in a message
/// is all that it can take. `sent` hears of each by its number with the
/// dispatcher, and the number that the answer will have.
pub(super) fn send_to_node(
    worker: WorkerId,
    key: &str,
    dispatcher: &mut Dispatcher<Connection>,
    line: &mut Line,
    mut sent: impl FnMut(u64, u64),
) -> sys::Result<bool> {
    while let Some(batch) = dispatcher.batch(worker) {
        let first = batch.first;
        let Some(connection) = batch.connections().next() else { break };
        let act = Act::NewConnection { key: key.into() };
        let fd = connection.as_fd();
        let Some(seq) = line.send_one(HandleKind::NetNative, act, fd)? else {
            return Ok(true);
        };
        dispatcher.sent(worker, 1);
        sent(first, seq);
    }
    Ok(false)
}

/// An entry for a connection that is to be sent.
struct Entry {
    seat: Seat,
    inbound: Option<u32>,
}

/// Finds an entry for each, and puts there what another worker has left: for
/// as many as there is room. Where there is none, a connection with nothing in
/// hand goes unguarded, rather than keep those behind it waiting for as long
/// as others stay.
fn find_entries<'a>(
    connections: impl Iterator<Item = &'a Connection>,
    scoreboard: &Scoreboard,
    slot_table: &mut SlotTable<Retained>,
    room: &mut usize,
) -> Vec<Entry> {
    let mut entries = Vec::new();
    for connection in connections {
        let heavy = connection.is_heavy();
        let slot = match heavy || (connection.guarded && *room > 0) {
            true => slot_table.take(),
            false => UNGUARDED,
        };
        let left = match &connection.snapshot {
            Some(left) if heavy || slot != UNGUARDED => left,
            Some(_) | None => {
                *room = room.saturating_sub(1);
                let seat = Seat { slot, moved: false };
                entries.push(Entry { seat, inbound: None });
                continue;
            }
        };
        let inbound = match heavy {
            true => slot_table.take_inbound(),
            false => None,
        };
        if slot == UNGUARDED || (heavy && inbound.is_none()) {
            slot_table.unused(slot, inbound);
            break;
        }
        if let Some(inbound) = inbound {
            scoreboard.fill_inbound(inbound, Half::Input, &left.input);
            scoreboard.fill_inbound(inbound, Half::Output, &left.output);
        }
        scoreboard.set_words(slot, left.words(inbound));
        *room = room.saturating_sub(1);
        let seat = Seat { slot, moved: true };
        entries.push(Entry { seat, inbound });
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::salvage::snapshot::Snapshot;

    fn moved(input: &[u8]) -> Connection {
        let snapshot =
            Snapshot { input: input.to_vec(), ..Snapshot::default() };
        let socket = crate::sys::unix::pair().unwrap().0;
        let snapshot = Some(Box::new(snapshot));
        Connection { socket, snapshot, guarded: true }
    }

    fn seats(all: &[Connection], slots: u32, mut room: usize) -> Vec<Seat> {
        let (board, _) = Scoreboard::create(true).unwrap();
        let mut slot_table = SlotTable::new(slots, 1);
        let found =
            find_entries(all.iter(), &board, &mut slot_table, &mut room);
        found.into_iter().map(|entry| entry.seat).collect()
    }

    #[test]
    fn an_idle_one_that_was_moved_does_not_wait_for_a_slot() {
        let plain = Connection::from(moved(b"").socket);
        let all = [moved(b""), moved(b""), plain];
        let guarded = Seat { slot: 0, moved: true };
        let bare = Seat { slot: UNGUARDED, moved: false };
        assert_eq!(seats(&all, 1, 9), [guarded, bare, bare]);
        assert_eq!(seats(&all, 9, 0), [bare; 3]);
    }

    #[test]
    fn one_that_is_not_to_be_guarded_has_no_slot() {
        let plain = || Connection::from(moved(b"").socket);
        let bare = Connection { guarded: false, ..plain() };
        let found = seats(&[plain(), bare, plain()], 9, 9);
        let slots: Vec<u32> = found.iter().map(|seat| seat.slot).collect();
        assert_eq!(slots, [0, UNGUARDED, 1]);
    }

    #[test]
    fn one_with_something_in_hand_waits_for_a_slot_and_an_inbound_buffer() {
        let all = [moved(b"GET"), moved(b"GET")];
        let guarded = Seat { slot: 0, moved: true };
        assert_eq!(seats(&all, 1, 0), [guarded]);
        assert_eq!(
            seats(&all, 9, 9),
            [guarded],
            "there is one inbound buffer"
        );
    }
}
