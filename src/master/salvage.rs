//! The master and the connections that its workers have: what they give back,
//! and what they leave when they die.
//!
//! ```text
//!   given back ─┐                      ┌─▶ first in line for another worker
//!               ├─▶ assess ── judge ───┼─▶ the ward, if it may have killed
//!   left behind ┘                      ├─▶ the master that follows this one
//!                                      └─▶ the end
//! ```

use std::os::fd::{AsFd, OwnedFd};

use log::{debug, info, warn};

use super::Master;
use super::guest::{Guest, Lent};
use super::link::{Link, Tongue};
use super::server::ServerId;
use super::supervisor::Exit;
use crate::WorkerId;
use crate::control::Salvage;
use crate::salvage::bag::{Bag, Record};
use crate::salvage::ledger::{Kernel, Place, Verdict, judge};
use crate::scoreboard::Scoreboard;
use crate::sys::close::close_all;
use crate::sys::signal;
use crate::sys::socket::{self, Direction};
use crate::sys::tcp::{self, Counters};

/// Connections that workers have.
#[derive(Debug, Default)]
pub(super) struct Lending {
    /// Copies of them that are kept, ...
    pub(super) count: usize,
    /// ... and may be, so that there is room for new ones. What is beyond
    /// that is sent without a slot, and not guarded.
    pub(super) most: usize,
    /// What became of those that outlived their worker.
    pub(super) tally: Salvage,
}

/// What is to become of one connection.
enum Fate {
    Moves {
        guest: Guest,
        /// What it brings was begun by a handler.
        begun: bool,
    },
    Ends(OwnedFd),
}

impl Master {
    /// Takes back what a worker gives, by slots.
    pub(super) fn take_in(&mut self, returned: Vec<Guest>) {
        if returned.is_empty() {
            return;
        }
        for guest in returned {
            self.lending.tally.connections += 1;
            self.place(guest);
        }
        self.look_for_the_stranded();
    }

    /// A worker is dead: what it had goes to others, as far as that can be.
    pub(super) fn salvage(
        &mut self,
        worker: WorkerId,
        link: &mut Link,
        how: Exit,
    ) {
        let Tongue::Ours { scoreboard, custody, .. } = &mut link.tongue else {
            return;
        };
        let guilty = link.hung || link.broken || is_guilty(how);
        // Nobody follows one that was leaving: its successor serves already.
        let heard = !self.stopping && !link.leaving;
        let sound = !is_wild(how) && !link.broken;
        let mut ended = Vec::new();
        let mut moved = Vec::new();
        for (slot, lent) in custody.take_all() {
            match assess(scoreboard, slot, lent, sound, &mut self.lending) {
                Fate::Moves { guest, begun } => moved.push((guest, begun)),
                Fate::Ends(socket) => ended.push(socket),
            }
        }
        self.lending.count -= moved.len() + ended.len();
        self.held -= ended.len();
        close_all(ended);
        let suspects = moved.iter().filter(|(_, begun)| *begun).count();
        let count = moved.len();
        for (mut guest, begun) in moved {
            let begun = begun && is_open(&guest);
            if begun {
                self.hold_against(&mut guest, guilty, suspects == 1);
            }
            if begun && heard && is_suspect(&guest, guilty) {
                self.ward.add(guest);
            } else {
                self.place(guest);
            }
        }
        self.lending.tally.connections += count as u64;
        if count > 0 {
            debug!("worker {worker}: {count} connections go on elsewhere");
        }
    }

    /// Notes that a request was in hand when its worker died.
    fn hold_against(&mut self, guest: &mut Guest, guilty: bool, alone: bool) {
        let Some(bag) = &mut guest.bag else { return };
        bag.record.replays = bag.record.replays.saturating_add(1);
        if guilty && alone {
            bag.record.tries = bag.record.tries.saturating_add(1);
        }
        if bag.record.is_convicted(alone) {
            let Record { replays, tries } = bag.record;
            warn!(
                "a request is refused (502): {replays} workers died with it, \
                 {tries} of them with nothing else"
            );
            **bag = Bag::apology(bag.done);
            self.lending.tally.refused += 1;
        } else {
            self.lending.tally.replayed += 1;
        }
    }

    /// First in line for a worker; or for the next master, or nobody.
    pub(super) fn place(&mut self, guest: Guest) {
        if self.heir.is_some() {
            return self.bequeath(guest);
        }
        let idle = !guest.is_heavy();
        let server = self.servers.get_mut(&ServerId::OWN);
        match server.filter(|_| !(self.stopping && idle)) {
            Some(server) => {
                let peer = guest.peer();
                server.dispatcher.put_back(guest, peer);
            }
            None => {
                // Nobody comes after us, and it has asked for nothing.
                let _ = socket::shutdown(guest.as_fd(), Direction::Both);
                self.held -= 1;
            }
        }
    }

    /// A new worker that is to hear suspects first: the dispatcher has it,
    /// and gives it nothing.
    pub(super) fn appoint_nurse(&mut self, worker: WorkerId) {
        if self.ward.appoint(worker) {
            info!("worker {worker} hears suspects before it serves");
            if let Some(server) = self.servers.get_mut(&ServerId::OWN) {
                server.dispatcher.withdraw(worker);
            }
            // Nothing else would wake us for it.
            self.attend_ward();
        }
    }

    /// Suspects that wait, those that are heard, and the end of it.
    pub(super) fn attend_ward(&mut self) {
        let now = self.elapsed();
        let let_go = match self.stopping {
            // No replacement comes, or not one of ours.
            true => self.ward.dissolve(),
            false => self.ward.dissolve_if_deserted(now),
        };
        for guest in let_go {
            self.place(guest);
        }
        let Some(nurse) = self.ward.nurse() else { return };
        let progress = match self.links.get(&nurse).map(|link| &link.tongue) {
            Some(Tongue::Ours { scoreboard, .. }) => {
                let answered = scoreboard.requests().answered;
                answered.wrapping_add(scoreboard.closed())
            }
            Some(Tongue::Node(_)) | None => return,
        };
        self.ward.look(now, progress);
        let Some(server) = self.servers.get_mut(&ServerId::OWN) else {
            return;
        };
        if let Some(guest) = self.ward.next(now, progress) {
            let peer = guest.peer();
            if let Err(guest) = server.dispatcher.assign(nurse, guest, peer) {
                server.dispatcher.put_back(guest, peer);
            }
        }
        if let Some(nurse) = self.ward.discharge() {
            server.dispatcher.rejoin(nurse);
        }
    }
}

/// It has not been refused.
fn is_open(guest: &Guest) -> bool {
    guest.bag.as_ref().is_some_and(|bag| !bag.closing)
}

/// It is to be heard alone: its worker died by its own fault, or too many
/// have died of whatever it was. One that was refused is no suspect any more.
fn is_suspect(guest: &Guest, guilty: bool) -> bool {
    guest.bag.as_ref().is_some_and(|bag| {
        !bag.closing && (guilty || bag.record.is_suspicious())
    })
}

/// What a worker that lives gives back: nothing of it is in a handler's hands.
pub(super) fn given_back(
    scoreboard: &Scoreboard,
    slot: u32,
    lent: Lent,
    lending: &mut Lending,
) -> Result<Guest, OwnedFd> {
    match assess(scoreboard, slot, lent, true, lending) {
        Fate::Moves { guest, .. } => Ok(guest),
        Fate::Ends(socket) => Err(socket),
    }
}

/// Looks at the words, asks the kernel, and does what the judge says.
fn assess(
    scoreboard: &Scoreboard,
    slot: u32,
    lent: Lent,
    sound: bool,
    lending: &mut Lending,
) -> Fate {
    let Lent { socket, at, record } = lent;
    let words = scoreboard.words(slot);
    let sheet = Place::from_word(words.place).sheet;
    let read = sheet.map_or(0, |sheet| scoreboard.read_so_far(sheet));
    let kernel = match tcp::counters(socket.as_fd()) {
        Ok(Counters::Open { given, taken }) => Kernel::Open { given, taken },
        Ok(Counters::None) => Kernel::Uncounted,
        Ok(Counters::Over) | Err(_) => Kernel::Over,
    };
    match judge(words, read, kernel, sound) {
        Verdict::Moves(transfer) => {
            let Some(mut bag) = scoreboard.pack(sheet, &transfer) else {
                return reset(socket, lending);
            };
            // What is held against a request is its own.
            let same = transfer.begun && bag.done.input == at;
            bag.record = if same { record } else { Record::default() };
            lending.tally.finished += u64::from(transfer.output.length > 0);
            lending.tally.answered += u64::from(transfer.answered);
            let bag = Some(Box::new(bag));
            let guest = Guest { socket, bag, guarded: true };
            Fate::Moves { guest, begun: transfer.begun }
        }
        Verdict::Lost { done } => {
            lending.tally.refused += 1;
            let bag = Some(Box::new(Bag::apology(done)));
            let guest = Guest { socket, bag, guarded: true };
            Fate::Moves { guest, begun: true }
        }
        Verdict::End => {
            // It fails where the client was quicker: the same end.
            let _ = socket::shutdown(socket.as_fd(), Direction::Both);
            Fate::Ends(socket)
        }
        Verdict::Gone => Fate::Ends(socket),
        Verdict::Reset => reset(socket, lending),
    }
}

/// The client is to see that this is no end of an answer.
fn reset(socket: OwnedFd, lending: &mut Lending) -> Fate {
    lending.tally.reset += 1;
    // It fails where the client was quicker: the same end.
    let _ = socket::reset(socket.as_fd());
    Fate::Ends(socket)
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
mod mad;
