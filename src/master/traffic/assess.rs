//! One connection of a worker, looked at: what it brings to the next worker,
//! or how it ends.
//!
//! ```text
//!   the worker's words ─┐
//!                       ├─▶ judge ─▶ a snapshot, or the end
//!   the kernel's counts ┘
//! ```

use std::os::fd::{AsFd, OwnedFd};

use super::connection::{Connection, Retained};
use crate::control::Salvage;
use crate::salvage::recovery::{Kernel, Place, Verdict, judge};
use crate::salvage::snapshot::{Record, Snapshot};
use crate::scoreboard::Scoreboard;
use crate::sys::socket::{self, Direction};
use crate::sys::tcp::{self, Counters};

/// What is to become of one connection.
pub(super) enum Fate {
    Moves {
        connection: Connection,
        /// What it brings was begun by a handler.
        begun: bool,
    },
    Ends(OwnedFd),
}

/// What a worker that lives gives back: nothing of it is in a handler's hands.
pub(super) fn given_back(
    scoreboard: &Scoreboard,
    slot: u32,
    retained: Retained,
    tally: &mut Salvage,
) -> Result<Connection, OwnedFd> {
    match assess(scoreboard, slot, retained, true, tally) {
        Fate::Moves { connection, .. } => Ok(connection),
        Fate::Ends(socket) => Err(socket),
    }
}

/// Looks at the words, asks the kernel, and does what the judge says.
pub(super) fn assess(
    scoreboard: &Scoreboard,
    slot: u32,
    retained: Retained,
    sound: bool,
    tally: &mut Salvage,
) -> Fate {
    let Retained { socket, at, record } = retained;
    let words = scoreboard.words(slot);
    let buffer = Place::from_word(words.place).buffer;
    let read = buffer.map_or(0, |buffer| scoreboard.read_so_far(buffer));
    let kernel = match tcp::counters(socket.as_fd()) {
        Ok(Counters::Open { given, taken }) => Kernel::Open { given, taken },
        Ok(Counters::None) => Kernel::Uncounted,
        Ok(Counters::Over) | Err(_) => Kernel::Over,
    };
    match judge(words, read, kernel, sound) {
        Verdict::Moves(transfer) => {
            let Some(mut snapshot) = scoreboard.pack(buffer, &transfer) else {
                return reset(socket, tally);
            };
            // What is held against a request is its own.
            let same = transfer.begun && snapshot.done.input == at;
            snapshot.record = if same { record } else { Record::default() };
            tally.finished += u64::from(transfer.output.length > 0);
            tally.answered += u64::from(transfer.answered);
            let (snapshot, guarded) = (Some(Box::new(snapshot)), true);
            let connection = Connection { socket, snapshot, guarded };
            Fate::Moves { connection, begun: transfer.begun }
        }
        Verdict::Lost { done } => {
            tally.refused += 1;
            let (snapshot, guarded) = (Snapshot::apology(done), true);
            let snapshot = Some(Box::new(snapshot));
            let connection = Connection { socket, snapshot, guarded };
            Fate::Moves { connection, begun: true }
        }
        Verdict::End => {
            // It fails where the client was quicker: the same end.
            let _ = socket::shutdown(socket.as_fd(), Direction::Both);
            Fate::Ends(socket)
        }
        Verdict::Gone => Fate::Ends(socket),
        Verdict::Reset => reset(socket, tally),
    }
}

/// The client is to see that this is no end of an answer.
fn reset(socket: OwnedFd, tally: &mut Salvage) -> Fate {
    tally.reset += 1;
    // It fails where the client was quicker: the same end.
    let _ = socket::reset(socket.as_fd());
    Fate::Ends(socket)
}

#[cfg(test)]
mod hostile;
