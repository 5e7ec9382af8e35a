//! Whether a verdict is right, by what is known without the words: which
//! bytes have gone out, which came in, which calls the handler has seen.

use super::script::Method;
use super::stage::{Seen, State, World};
use crate::salvage::recovery::{
    Kernel, Place, Position, Transfer, Verdict, Words, judge,
};
use crate::salvage::snapshot::Snapshot;

impl World {
    /// What the shared buffer says that the words name.
    pub(super) fn read_so_far(&self, words: Words) -> u64 {
        let buffer = Place::from_word(words.place).buffer;
        buffer.map_or(0, |buffer| self.master.read_so_far(buffer))
    }

    /// The snapshot that the verdict leaves, and how many answers exist.
    pub(super) fn check(
        &self,
        state: &mut State,
        verdict: Verdict,
        buffer: Option<u32>,
        sound: bool,
    ) -> (Option<Snapshot>, usize) {
        let now = state.reading();
        let secured = if sound { state.secured } else { now.answers };
        let here = state.origin.plus(state.got.len(), 0).output;
        let mut exist = now.answers;
        let mut left = None;
        match verdict {
            Verdict::Gone => {
                assert!(state.over);
                return (None, secured);
            }
            Verdict::Moves(transfer) => {
                let snapshot = self.master.pack(buffer, &transfer);
                let snapshot = snapshot.expect("what the client has sent");
                self.check_snapshot(state, &transfer, &snapshot);
                let bytes = [&state.got[now.end..], &snapshot.output].concat();
                exist = now.on(&state.asks, &bytes).answers;
                left = Some(snapshot);
            }
            Verdict::Lost { done } => {
                let from = state.begin_of(now.answers);
                assert!(!now.partial, "an excuse in the middle of an answer");
                assert!(state.taken > from, "an excuse for nothing");
                let at = state.origin.plus(0, from).input;
                let place = Position { output: here, input: at };
                assert_eq!(done, place, "an excuse in the wrong place");
                let ask = &state.asks[now.answers];
                let seen = state.seen[now.answers];
                let whole = state.taken >= state.ends[now.answers];
                let post =
                    matches!(ask.method, Method::Post | Method::PostAgain);
                let once = post && whole && seen != Seen::Repeatable;
                assert!(
                    once || state.spilled,
                    "an excuse without need: {ask:?}"
                );
                left = Some(Snapshot::apology(done));
            }
            Verdict::End => {
                let broken = state.is_broken(now.answers);
                assert!(broken || !now.partial, "an end within an answer");
                let cut = state.is_to_be_cut(now.answers);
                assert!(!cut || !now.partial, "a part is taken for it all");
                let last = now.closing
                    || broken
                    || state.spilled
                    || state.cut
                    || state.is_satisfied(now.answers);
                assert!(last, "an end out of nothing");
            }
            Verdict::Reset => {
                let (from, _, unbacked) = state.batch;
                let begun = state.got.len() > from || now.partial;
                let scarce = state.scarce && (begun || state.brought);
                let cut = state.is_to_be_cut(now.answers);
                let limit = (unbacked && begun) || scarce || cut;
                assert!(limit, "a reset without need");
                let waits = state.seen[now.answers..]
                    .iter()
                    .any(|seen| *seen != Seen::Not);
                // Of such a stream nobody knows yet that this was all.
                let last = now.answers.checked_sub(1);
                let ended_by_end = last.is_some_and(|last| {
                    let ask = &state.asks[last];
                    ask.is_stream() && ask.old
                });
                // Nor is a refusal a call of the handler.
                let refused =
                    state.asks.get(now.answers).is_some_and(|ask| ask.garbage);
                assert!(
                    now.partial
                        || waits
                        || ended_by_end
                        || scarce
                        || refused
                        || cut,
                    "a reset of what is whole"
                );
            }
        }
        assert!(exist >= secured, "{secured} answers were there: {verdict:?}");
        (left, exist)
    }

    /// The kernel counts too much, or too little: nothing moves then, or what
    /// was read all the same.
    pub(super) fn check_lies(&self, state: &State, words: Words) {
        let Place { buffer, base, spilled, .. } =
            Place::from_word(words.place);
        let read = self.read_so_far(words);
        let Position { output: given, input } =
            state.origin.plus(state.got.len(), state.taken);
        // In no shared buffer nothing shows that something was read but the
        // word that says so.
        let unseen = buffer.is_none() && spilled && base != input;
        if state.over || unseen {
            return;
        }
        for fault in [-9_000, -40, -2, -1, 1, 2, 40, 9_000] {
            let taken = input.wrapping_add_signed(fault);
            let kernel = Kernel::Open { given, taken };
            let verdict = judge(words, read, kernel, true);
            let Verdict::Moves(transfer) = verdict else { continue };
            let snapshot = self.master.pack(buffer, &transfer);
            let believed = snapshot.is_some_and(|snapshot| !snapshot.closing);
            assert!(!believed, "wrong by {fault}: {transfer:?}");
        }
    }

    /// Without the kernel's counters: only what is certain.
    pub(super) fn check_uncounted(&self, state: &mut State, is: Verdict) {
        let now = state.reading();
        let from = state.begin_of(now.answers);
        let here = state.origin.plus(state.got.len(), from);
        match is {
            Verdict::Moves(transfer) => {
                assert!(!now.partial && transfer.output.length == 0);
                assert!(state.over || !now.closing, "it was the last");
                assert!(state.over || state.taken == from, "more was read");
            }
            Verdict::Lost { done } => {
                assert!(!now.partial, "an excuse in the middle of an answer");
                assert!(state.over || done == here, "in the wrong place");
            }
            Verdict::End | Verdict::Reset => {}
            Verdict::Gone => panic!("nobody knows"),
        }
    }

    fn check_snapshot(
        &self,
        state: &State,
        transfer: &Transfer,
        snapshot: &Snapshot,
    ) {
        let now = state.reading;
        let here = state.origin.plus(state.got.len(), 0).output;
        let bytes = [&state.got[now.end..], &snapshot.output].concat();
        let then = now.on(&state.asks, &bytes);
        let broken = state.is_broken(then.answers) && snapshot.closing;
        assert!(broken || !then.partial, "half an answer would be all");
        assert_eq!(snapshot.done.output, here);
        let rest = snapshot.next.output.wrapping_sub(here) as usize;
        assert_eq!(rest, snapshot.output.len());
        if then.closing {
            assert!(snapshot.closing, "it would be taken for an idle one");
        }
        if snapshot.closing {
            let last = then.closing
                || broken
                || state.spilled
                || state.cut
                || state.is_satisfied(then.answers);
            assert!(last, "it would be closed without need");
            return;
        }
        let from = state.begin_of(then.answers);
        let at = state.origin.plus(0, from).input;
        assert_eq!(snapshot.next.input, at, "it would go on elsewhere");
        assert!(
            snapshot.input == state.sent[from..state.taken],
            "what was read would not be what was sent"
        );
        if let Some(seen) = state.seen.get(then.answers) {
            assert_ne!(*seen, Seen::Once, "it would be asked twice");
            let seen = *seen != Seen::Not;
            assert!(!seen || transfer.begun, "nobody would be blamed");
        }
    }
}
