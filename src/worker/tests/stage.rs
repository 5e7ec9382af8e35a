//! The world around one worker: the kernel's end of its one connection, and
//! somebody who at every instant asks what would be if the worker died now.

use std::cell::RefCell;

use super::script::{Ask, Course, Method, Reading};
use crate::http::Later;
use crate::salvage::recovery::{
    INPUT, Kernel, OUTPUT, Place, Position, Verdict, judge,
};
use crate::salvage::snapshot::Snapshot;
use crate::scoreboard::Scoreboard;
use crate::sys::rehearsal;

/// A sequence of numbers that only its seed decides (splitmix64).
#[derive(Clone, Debug)]
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % most.max(1) as u64) as usize
    }

    /// Mostly little, sometimes one, now and then as much as there is.
    pub(super) fn some(&mut self, most: usize) -> usize {
        let bound = match self.below(8) {
            0 => 1,
            1 | 2 => 60,
            3 | 4 => 1500,
            _ => return most,
        };
        (1 + self.below(bound)).min(most)
    }

    pub(super) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

/// What a handler has seen of a request in this life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Seen {
    #[default]
    Not,
    /// It must not see it again.
    Once,
    /// It is just now saying that it may.
    Perhaps,
    Repeatable,
}

/// How often each thing has come about.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub(super) instants: u64,
    pub(super) deaths: u64,
    pub(super) idle: u64,
    pub(super) in_hand: u64,
    pub(super) replayed: u64,
    pub(super) finished: u64,
    pub(super) halves: u64,
    pub(super) answered: u64,
    pub(super) lost: u64,
    pub(super) ended: u64,
    pub(super) reset: u64,
    pub(super) gone: u64,
    pub(super) given: u64,
}

impl Tally {
    pub(super) fn add(&mut self, other: Tally) {
        self.instants += other.instants;
        self.deaths += other.deaths;
        self.idle += other.idle;
        self.in_hand += other.in_hand;
        self.replayed += other.replayed;
        self.finished += other.finished;
        self.halves += other.halves;
        self.answered += other.answered;
        self.lost += other.lost;
        self.ended += other.ended;
        self.reset += other.reset;
        self.gone += other.gone;
        self.given += other.given;
    }
}

/// An instant at which the worker may have died.
#[derive(Clone, Debug)]
pub(super) struct Instant {
    pub(super) verdict: Verdict,
    pub(super) snapshot: Option<Snapshot>,
    /// Answers that exist then.
    secured: usize,
    got: usize,
    taken: usize,
    over: bool,
    spilled: bool,
    calls: Vec<u32>,
}

pub(super) struct State {
    pub(super) asks: Vec<Ask>,
    /// All that the client sends, and where each request ends.
    pub(super) sent: Vec<u8>,
    pub(super) ends: Vec<usize>,
    /// Where the kernel's counters stood when it began.
    pub(super) origin: Position,
    /// Bytes of the script that have come.
    pub(super) arrived: usize,
    /// Bytes of the script that the worker has taken.
    pub(super) taken: usize,
    /// The client ends its side when it has sent all.
    pub(super) half_closes: bool,
    pub(super) got: Vec<u8>,
    /// So many bytes the client takes.
    pub(super) room: usize,
    pub(super) over: bool,
    /// What was sent last waits in the kernel for the end behind it.
    held: bool,
    /// The client was told, or not, that it is too slow.
    pub(super) late: bool,
    /// There are workers without shared buffers.
    pub(super) scarce: bool,
    /// The worker got the rest of an answer, or all of it.
    pub(super) brought: bool,
    pub(super) slot: u32,
    /// The worker lives, and has the connection.
    pub(super) alive: bool,
    pub(super) dice: Dice,
    pub(super) reading: Reading,
    pub(super) secured: usize,
    pub(super) seen: Vec<Seen>,
    /// Calls of the handler, by request.
    pub(super) calls: Vec<u32>,
    pub(super) runs: u32,
    /// What goes out together: from where on, how much, whether any of it
    /// may be in no shared buffer.
    pub(super) batch: (usize, usize, bool),
    /// More was in hand than a shared buffer holds.
    pub(super) spilled: bool,
    /// And what was behind that is lost: the connection is to end.
    pub(super) cut: bool,
    pub(super) later: Vec<(Later, usize, u32)>,
    /// Of the instants of this step one, each as likely as any other.
    chosen: Option<Instant>,
    candidates: usize,
    /// The one instant at which the worker dies.
    pub(super) dies_at: Option<u64>,
    /// That instant was in this step.
    pub(super) dying: bool,
    pub(super) tally: Tally,
}

/// See the [module](self).
pub(super) struct World {
    pub(super) master: Scoreboard,
    pub(super) state: RefCell<State>,
}

impl State {
    pub(super) fn new(asks: &[Ask], seed: u64, origin: Position) -> State {
        let mut sent = Vec::new();
        let mut ends = Vec::new();
        for (number, ask) in asks.iter().enumerate() {
            sent.extend_from_slice(&ask.text(number));
            ends.push(sent.len());
        }
        State {
            asks: asks.to_vec(),
            sent,
            ends,
            origin,
            arrived: 0,
            taken: 0,
            half_closes: false,
            got: Vec::new(),
            room: 0,
            over: false,
            held: false,
            late: false,
            scarce: false,
            brought: false,
            slot: 0,
            alive: false,
            dice: Dice(seed),
            reading: Reading::default(),
            secured: 0,
            seen: vec![Seen::Not; asks.len()],
            calls: vec![0; asks.len()],
            runs: 0,
            batch: (0, 0, false),
            spilled: false,
            cut: false,
            later: Vec::new(),
            chosen: None,
            candidates: 0,
            dies_at: None,
            dying: false,
            tally: Tally::default(),
        }
    }

    /// What the client has got.
    pub(super) fn reading(&mut self) -> Reading {
        let known = self.reading;
        if known.end < self.got.len() {
            self.reading = known.on(&self.asks, &self.got[known.end..]);
        }
        self.reading
    }

    /// What it would say of itself.
    fn kernel(&self) -> Kernel {
        let Position { output: given, input: taken } =
            self.origin.plus(self.got.len(), self.taken);
        match self.over {
            true => Kernel::Over,
            false => Kernel::Open { given, taken },
        }
    }

    pub(super) fn begin_of(&self, number: usize) -> usize {
        number.checked_sub(1).map_or(0, |before| self.ends[before])
    }

    /// The client sends no more, and has an answer to all that it asked.
    pub(super) fn is_satisfied(&self, answers: usize) -> bool {
        let whole = self.ends.iter().filter(|&&end| end <= self.arrived);
        self.half_closes
            && self.arrived == self.sent.len()
            && answers >= whole.count()
    }

    pub(super) fn was_spilled(&self) -> bool {
        self.spilled || self.cut
    }

    /// And only a reset tells the client of it.
    pub(super) fn is_to_be_cut(&self, number: usize) -> bool {
        self.is_broken(number) && self.asks[number].old
    }

    /// The handler is, or has been, about to break off the answer.
    pub(super) fn is_broken(&self, number: usize) -> bool {
        let breaks = |ask: &Ask| ask.course == Course::Breaks;
        self.asks.get(number).is_some_and(breaks) && self.calls[number] > 0
    }

    /// The handler is called.
    pub(super) fn begin(&mut self, number: usize) -> u32 {
        let ask = self.asks[number];
        let reading = self.reading();
        let before: usize = (0..number)
            .filter(|&n| self.seen[n] != Seen::Not || n < reading.answers)
            .count();
        assert_eq!(before, number, "asked out of order");
        assert_eq!(self.seen[number], Seen::Not, "asked twice in a life");
        assert!(
            ask.may_be_repeated() || self.calls[number] == 0,
            "a second answer to {number}, {ask:?}"
        );
        if reading.answers == number && !reading.partial {
            self.batch = (self.got.len(), 0, false);
        }
        self.batch.1 += ask.size + 250;
        self.batch.2 |= ask.is_stream() || self.batch.1 > OUTPUT - 500;
        self.calls[number] += 1;
        self.runs += 1;
        self.seen[number] = match ask.may_be_repeated() {
            true if ask.method == Method::PostAgain => Seen::Once,
            true => Seen::Repeatable,
            false => Seen::Once,
        };
        self.runs
    }

    /// A worker has it from now on.
    pub(super) fn live(&mut self, slot: u32, closing: bool, rest: bool) {
        self.slot = slot;
        self.alive = true;
        self.seen.fill(Seen::Not);
        self.batch = (self.got.len(), 0, false);
        self.cut |= self.spilled && closing;
        self.spilled = false;
        self.brought = rest;
        if self.scarce {
            self.secured = self.reading().answers;
        }
        self.later.clear();
        self.forget_instants();
    }

    pub(super) fn forget_instants(&mut self) {
        self.chosen = None;
        self.candidates = 0;
        self.dying = false;
    }

    /// The worker has died at one of the instants since: what came after
    /// that was not.
    pub(super) fn die(&mut self) -> Option<Instant> {
        let instant = self.chosen.take()?;
        self.alive = false;
        self.got.truncate(instant.got);
        if self.reading.end > instant.got {
            self.reading = Reading::default();
        }
        self.reading.partial = self.reading.end < self.got.len();
        self.taken = instant.taken;
        self.over = instant.over;
        self.held = false;
        self.spilled = instant.spilled;
        self.calls.clone_from(&instant.calls);
        self.secured = instant.secured;
        let t = &mut self.tally;
        t.deaths += 1;
        match instant.verdict {
            Verdict::Moves(transfer) => {
                let rest = transfer.output.length;
                t.finished += u64::from(rest > 0);
                let half = rest > 0 && transfer.output.start > 0;
                t.halves += u64::from(half);
                t.answered += u64::from(transfer.answered);
                t.replayed += u64::from(transfer.begun);
                let reads = transfer.input.length > 0;
                t.in_hand += u64::from(reads && !transfer.begun);
                t.idle += u64::from(!reads && rest == 0);
            }
            Verdict::Lost { .. } => t.lost += 1,
            Verdict::End => t.ended += 1,
            Verdict::Reset => t.reset += 1,
            Verdict::Gone => t.gone += 1,
        }
        Some(instant)
    }
}

impl World {
    fn judge(&self, state: &State) -> Verdict {
        let words = self.master.words(state.slot);
        judge(words, self.read_so_far(words), state.kernel(), true)
    }

    /// Judges this instant, and whether the judge is right.
    pub(super) fn look(&self) {
        let state = &mut *self.state.borrow_mut();
        if !state.alive {
            return;
        }
        state.tally.instants += 1;
        let reading = state.reading();
        let from = state.begin_of(reading.answers);
        let behind = state.taken.saturating_sub(from);
        let words = self.master.words(state.slot);
        let place = Place::from_word(words.place);
        // What follows a large request is in the shared buffer again.
        state.spilled &= place.spilled;
        state.spilled |= behind >= INPUT;
        state.spilled |= state.scarce && place.spilled;
        // Each instant rolls, whether it is looked at or not, so that those of
        // one seed are the same.
        state.candidates += 1;
        let candidates = state.candidates;
        let lot = state.dice.one_in(candidates);
        let due = state.dies_at == Some(state.tally.instants);
        if state.dies_at.is_some_and(|dies_at| state.tally.instants < dies_at)
        {
            // Looked at when nobody was to die.
            return;
        }
        let wild =
            judge(words, self.read_so_far(words), state.kernel(), false);
        let verdict = self.judge(state);
        self.check_uncounted(state, judge(words, 0, Kernel::Uncounted, true));
        let buffer = place.buffer;
        if wild != verdict {
            self.check(state, wild, buffer, false);
        }
        let calm = self.check(state, verdict, buffer, true);
        self.check_lies(state, words);
        state.secured = calm.1;
        if due || (lot && !state.dying) {
            state.dying |= due;
            let unsound = wild != verdict && state.dice.one_in(2);
            let (verdict, (snapshot, secured)) = match unsound {
                true => (wild, self.check(state, wild, buffer, false)),
                false => (verdict, calm),
            };
            state.chosen = Some(Instant {
                verdict,
                snapshot,
                secured,
                got: state.got.len(),
                taken: state.taken,
                over: state.over,
                spilled: state.spilled,
                calls: state.calls.clone(),
            });
        }
    }
}

impl rehearsal::Stage for World {
    fn receive(&self, room: &mut [u8]) -> Option<usize> {
        self.look();
        let count = {
            let state = &mut *self.state.borrow_mut();
            if !state.alive {
                return None;
            }
            assert!(!state.held, "bytes are held back for an end, not this");
            let there = state.arrived - state.taken;
            let from = state.taken;
            let count = there.min(room.len());
            let all = state.arrived == state.sent.len();
            // A client that hears of the end ends as well.
            let ends = (all && state.half_closes) || state.over;
            if count == 0 && !ends {
                return None;
            }
            let part = &state.sent[from..from + count];
            room[..count].copy_from_slice(part);
            state.taken += count;
            count
        };
        self.look();
        Some(count)
    }

    fn send(&self, bytes: &[u8], last: bool) -> Option<usize> {
        self.look();
        let count = {
            let state = &mut *self.state.borrow_mut();
            assert!(!state.held, "what is behind it was to be the end");
            let most = bytes.len().min(state.room);
            if !state.alive || most == 0 {
                return None;
            }
            let count = state.dice.some(most);
            state.room -= count;
            state.got.extend_from_slice(&bytes[..count]);
            state.held = last && count == bytes.len();
            count
        };
        self.look();
        Some(count)
    }

    fn shutdown(&self) {
        self.look();
        {
            let state = &mut *self.state.borrow_mut();
            state.held = false;
            if state.alive && !state.over {
                let now = state.reading();
                let broken = state.is_broken(now.answers);
                let last = now.closing || state.is_satisfied(now.answers);
                assert!(
                    state.late
                        || broken
                        || state.was_spilled()
                        || (last && !now.partial),
                    "it is ended too soon"
                );
                let verdict = self.judge(state);
                let known = !now.closing || verdict == Verdict::End;
                assert!(known, "nobody would know that it ends: {verdict:?}");
                state.over = true;
            }
        }
        self.look();
    }

    fn reset(&self) {
        self.look();
        {
            let state = &mut *self.state.borrow_mut();
            assert!(!state.held, "it would be dropped");
            if state.alive && !state.over {
                let verdict = self.judge(state);
                assert_eq!(verdict, Verdict::Reset, "nobody would know");
                state.over = true;
            }
        }
        self.look();
    }

    fn instant(&self) {
        self.look();
    }
}
