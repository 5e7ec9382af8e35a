//! The rows of the table in [`ledger`](super), one test each, and the words
//! of a worker that has turned hostile.

use proptest::prelude::*;

use super::*;

/// Just before both counters wrap.
const FROM: Position = Position { output: u32::MAX - 99, input: u32::MAX - 9 };

/// A slot: what was answered, and what has happened since.
#[derive(Clone, Copy)]
struct Slot {
    place: Place,
    begun: Option<Begun>,
    next: Position,
    written: usize,
    read: usize,
    /// So much of that the worker has noted.
    noted: usize,
    sound: bool,
}

/// A worker has opened its log of intents, and done nothing else.
fn opened() -> Slot {
    let base = FROM.plus(0, 0).input.wrapping_sub(20);
    Slot {
        place: Place { buffer: Some(3), base, ..Place::default() },
        begun: None,
        next: FROM,
        written: 0,
        read: 0,
        noted: 0,
        sound: true,
    }
}

impl Slot {
    fn read(self, read: usize) -> Slot {
        Slot { read, noted: read, ..self }
    }

    /// The worker has noted that it has read so much.
    fn noted(self, noted: usize) -> Slot {
        Slot { noted, ..self }
    }

    /// What the shared buffer says, whose first byte is 20 bytes before
    /// `FROM`.
    fn buffer(&self) -> u64 {
        20 + self.noted as u64
    }

    /// A handler has seen the request that begins so far behind `FROM`.
    fn begun(self, at: usize, replayable: bool) -> Slot {
        let input = FROM.plus(0, at).input;
        Slot { begun: Some(Begun { input, replayable }), ..self }
    }

    fn answer(self, output: usize, input: usize) -> Slot {
        Slot { next: FROM.plus(output, input), ..self }
    }

    fn written(self, written: usize) -> Slot {
        Slot { written, ..self }
    }

    fn place(mut self, change: impl FnOnce(&mut Place)) -> Slot {
        change(&mut self.place);
        self
    }

    fn words(&self) -> Words {
        Words {
            done: FROM.to_word(),
            next: self.next.to_word(),
            begun: self.begun.map_or(0, Begun::to_word),
            place: self.place.to_word(),
        }
    }

    fn judged(self) -> Verdict {
        let Position { output, input } = FROM.plus(self.written, self.read);
        let kernel = Kernel::Open { given: output, taken: input };
        judge(self.words(), self.buffer(), kernel, self.sound)
    }

    fn moves(self) -> Transfer {
        match self.judged() {
            Verdict::Moves(transfer) => transfer,
            other => panic!("{other:?}"),
        }
    }

    fn uncounted(self) -> Verdict {
        judge(self.words(), self.buffer(), Kernel::Uncounted, self.sound)
    }
}

fn stretch(start: usize, length: usize) -> Stretch {
    Stretch { start, length }
}

const LOST: Verdict = Verdict::Lost { done: FROM };

#[test]
fn a_connection_with_nothing_in_hand_moves_as_it_is() {
    let idle = Slot { place: Place::default(), ..opened() };
    assert_eq!(idle.judged(), Verdict::Moves(Transfer::at(FROM)));
    let input = stretch(20, 0);
    let open = Transfer { input, ..Transfer::at(FROM) };
    assert_eq!(opened().judged(), Verdict::Moves(open));
}

#[test]
fn what_was_read_moves_with_its_connection() {
    let moved = opened().read(30).moves();
    assert_eq!(moved.input, stretch(20, 30));
    assert!(!moved.begun && !moved.answered && !moved.closing);
    assert_eq!((moved.done, moved.next), (FROM, FROM));
    let most = INPUT - 20;
    assert_eq!(opened().read(most).moves().input, stretch(20, most));
}

#[test]
fn what_only_the_kernel_speaks_of_moves_unless_it_may_be_nothing() {
    for noted in 0..30 {
        let moved = opened().read(30).noted(noted).moves();
        assert_eq!(moved.input, stretch(20, 30));
        assert!(moved.is_sound(b"GET / HTTP/1.1\r\n", b"\0"));
        assert!(!moved.is_sound(b"GET / HTTP/1.1\r\n\0", b"\0"));
    }
    let known = opened().read(30).moves();
    assert!(known.is_sound(b"a body that ends so\0", b""));
    assert!(!known.is_sound(b"a body", b"of which this is missing"));
    // The same behind an answer that is to be written.
    let behind = opened().read(50).noted(40).answer(150, 30).moves();
    assert_eq!(behind.input, stretch(50, 20));
    assert!(!behind.is_sound(b"\0", b""));
}

#[test]
fn less_than_the_worker_has_read_cannot_have_been_taken() {
    for taken in 0..30 {
        let slot = Slot { read: taken, ..opened().noted(30) };
        assert_eq!(slot.judged(), Verdict::Reset);
        assert_eq!(slot.answer(5, 0).judged(), Verdict::Reset);
    }
    // Of what was settled before the shared buffer is as good as wiped.
    let wiped = Slot { read: 0, ..opened() };
    let Position { output, input } = FROM;
    let kernel = Kernel::Open { given: output, taken: input };
    let input = stretch(20, 0);
    let idle = Verdict::Moves(Transfer { input, ..Transfer::at(FROM) });
    assert_eq!(judge(wiped.words(), 0, kernel, true), idle);
}

#[test]
fn what_a_handler_has_seen_is_asked_again_if_it_may_be() {
    let moved = opened().read(30).begun(0, true).moves();
    assert!(moved.begun);
    assert_eq!(moved.input, stretch(20, 30));
    assert_eq!(opened().read(30).begun(0, false).judged(), LOST);
    // The second of two, while the answer to the first is not written down.
    assert!(opened().read(30).begun(29, true).moves().begun);
}

#[test]
fn a_mark_of_an_earlier_request_says_nothing() {
    let old = FROM.input.wrapping_sub(1);
    let begun = Some(Begun { input: old, replayable: false });
    let moved = Slot { begun, ..opened() }.read(30).moves();
    assert!(!moved.begun);
    assert!(!opened().read(30).begun(30, false).moves().begun);
}

#[test]
fn an_answer_that_exists_is_written_and_not_made_again() {
    for replayable in [true, false] {
        let slot = opened().read(30).begun(0, replayable).answer(150, 30);
        let moved = slot.moves();
        assert_eq!(moved.output, stretch(0, 150));
        assert_eq!(moved.input.length, 0);
        assert!(!moved.begun && !moved.answered);
        assert_eq!(moved.done, FROM.plus(0, 30));
        assert_eq!(moved.next, FROM.plus(150, 30));
    }
}

#[test]
fn of_half_an_answer_the_rest_is_written() {
    let slot = opened().read(30).begun(0, false).answer(150, 30);
    for written in 1..150 {
        let moved = slot.written(written).moves();
        assert_eq!(moved.output, stretch(written, 150 - written));
        assert_eq!(moved.done, FROM.plus(written, 30));
        assert!(!moved.answered);
    }
}

#[test]
fn an_answer_that_is_all_with_the_kernel_is_behind_us() {
    let slot = opened().read(30).begun(0, false).answer(150, 30);
    let moved = slot.written(150).moves();
    let input = stretch(50, 0);
    let expected = Transfer { input, ..Transfer::at(FROM.plus(150, 30)) };
    assert_eq!(moved, Transfer { answered: true, ..expected });
}

#[test]
fn what_was_asked_behind_an_answer_moves_with_it() {
    let slot = opened().read(50).answer(150, 30);
    for (written, rest) in [(0, 150), (150, 0)] {
        let moved = slot.begun(30, true).written(written).moves();
        assert_eq!(moved.input, stretch(50, 20));
        assert_eq!(moved.output.length, rest);
        assert!(moved.begun, "by the mark behind the answer");
        assert!(!slot.begun(0, true).written(written).moves().begun);
    }
}

#[test]
fn an_answer_to_nothing_leaves_all_that_was_read() {
    let moved = opened().read(30).answer(25, 0).written(10).moves();
    assert_eq!(moved.input, stretch(20, 30));
    assert_eq!(moved.output, stretch(10, 15));
    assert_eq!(moved.done, FROM.plus(10, 0));
}

#[test]
fn a_last_answer_is_finished_and_then_the_connection_ends() {
    let slot = opened().read(50).answer(150, 30).place(|p| p.closing = true);
    let moved = slot.written(149).moves();
    assert!(moved.closing);
    assert_eq!(moved.output, stretch(149, 1));
    assert_eq!(moved.input.length, 0, "nobody reads what stands behind");
    assert_eq!(slot.written(150).judged(), Verdict::End);
}

#[test]
fn a_last_answer_needs_nothing_of_what_was_read() {
    let slot = opened().answer(150, 0).place(|p| p.closing = true);
    assert!(slot.read(INPUT + 5).moves().closing);
}

#[test]
fn that_an_answer_would_be_the_last_says_nothing_until_it_exists() {
    let slot = opened().read(30).place(|p| p.closing = true);
    assert!(!slot.moves().closing);
    assert_eq!(slot.begun(0, false).judged(), LOST);
}

#[test]
fn what_is_in_no_shared_buffer_is_asked_again_while_nothing_of_it_is_written()
{
    let slot = opened().read(30).answer(150, 30).place(|p| p.unbacked = true);
    assert_eq!(slot.moves(), opened().read(30).moves());
    assert!(slot.begun(0, true).moves().begun);
    assert_eq!(slot.begun(0, false).judged(), LOST);
    assert_eq!(slot.written(1).judged(), Verdict::Reset);
    assert_eq!(slot.written(149).judged(), Verdict::Reset);
    assert!(slot.written(150).moves().answered);
    let large = opened().read(30).answer(OUTPUT + 1, 30);
    assert_eq!(large.written(1).judged(), Verdict::Reset);
    assert_eq!(opened().answer(OUTPUT, 0).moves().output.length, OUTPUT);
}

#[test]
fn the_rest_of_an_answer_is_never_taken_for_the_whole() {
    let rest = opened().answer(150, 0).place(|place| {
        let base = FROM.input;
        *place = Place { spilled: true, rest: true, base, ..Place::default() };
    });
    assert_eq!(rest.judged(), Verdict::Reset);
    assert!(rest.written(150).moves().answered);
}

#[test]
fn a_stream_that_is_half_out_is_reset() {
    let slot = opened().read(30).begun(0, true);
    assert!(slot.moves().begun);
    assert_eq!(slot.written(1).judged(), Verdict::Reset);
}

#[test]
fn a_request_that_is_in_no_shared_buffer_is_lost_but_not_what_follows_it() {
    let spilled = opened().place(|place| place.spilled = true);
    assert_eq!(spilled.judged(), Verdict::Moves(Transfer::at(FROM)));
    assert_eq!(spilled.read(1).judged(), LOST);
    assert_eq!(spilled.read(9000).begun(0, true).judged(), LOST);
    let answered = spilled.read(9000).answer(150, 9000);
    assert_eq!(answered.moves().output, stretch(0, 150));
    assert!(answered.written(150).moves().answered);
    // And what was asked behind it ends with the connection.
    let more = spilled.read(9001).answer(150, 9000);
    assert!(more.moves().closing);
    assert_eq!(more.written(150).judged(), Verdict::End);
}

#[test]
fn after_a_wild_access_an_answer_is_made_again_if_that_may_be() {
    let slot = opened().read(30).answer(150, 30);
    let wild = Slot { sound: false, ..slot };
    assert_eq!(wild.begun(0, true).moves().output.length, 0);
    assert!(wild.begun(0, true).moves().begun);
    assert_eq!(wild.begun(0, false).moves().output.length, 150);
    assert_eq!(wild.moves().output.length, 150, "there is nobody to ask");
    let half = wild.begun(0, true).written(1).moves();
    assert_eq!(half.output.length, 149);
}

#[test]
fn what_cannot_be_is_reset() {
    let nowhere = Slot { place: Place::default(), ..opened() };
    assert_eq!(nowhere.read(1).judged(), Verdict::Reset);
    assert_eq!(opened().read(INPUT - 19).judged(), Verdict::Reset);
    let early = opened().place(|p| p.base = FROM.plus(0, 1).input);
    assert_eq!(early.read(1).judged(), Verdict::Reset);
    let answer = opened().read(30).answer(150, 30);
    assert_eq!(answer.written(151).judged(), Verdict::Reset);
    assert_eq!(opened().answer(150, 31).judged(), Verdict::Reset);
    let back = opened().place(|p| p.base = p.base.wrapping_sub(1 << 30));
    assert_eq!(back.read(1).judged(), Verdict::Reset);
}

#[test]
fn what_somebody_has_ended_is_gone_whatever_the_words_say() {
    let words = opened().read(30).begun(0, false).answer(1, 1).words();
    assert_eq!(judge(words, 0, Kernel::Over, true), Verdict::Gone);
}

#[test]
fn without_counters_an_idle_connection_moves_and_no_other() {
    let idle = Slot { place: Place::default(), ..opened() };
    let moves = Verdict::Moves(Transfer::at(FROM));
    assert_eq!(idle.uncounted(), moves);
    let stale = Slot { next: FROM, ..idle.begun(0, false) };
    assert_eq!(stale.uncounted(), moves, "a place is taken before a mark");
    assert_eq!(opened().uncounted(), Verdict::End);
    assert_eq!(opened().begun(0, true).uncounted(), LOST);
    assert_eq!(opened().answer(1, 1).uncounted(), Verdict::Reset);
    let stream = opened().begun(0, true).place(|p| p.unbacked = true);
    assert_eq!(stream.uncounted(), Verdict::Reset);
}

/// Positions and counters near each other, as they mostly are, or anywhere.
fn near() -> impl Strategy<Value = u32> {
    let steps = prop_oneof![
        4 => 0..200_u32,
        1 => 8100..8300_u32,
        1 => 24_500..24_700_u32,
        1 => any::<u32>(),
    ];
    steps.prop_map(|n| n.wrapping_sub(50))
}

fn words() -> impl Strategy<Value = Words> {
    let position = || (near(), near());
    let word = |(output, input)| Position { output, input }.to_word();
    let flips = prop::collection::vec((0..4_usize, 0..64_u32), 0..4);
    let all = (position(), position(), any::<u64>(), near());
    let begun = (any::<bool>(), any::<bool>(), near());
    (all, begun, flips).prop_map(move |(all, begun, flips)| {
        let (done, next, place, base) = all;
        let (set, replayable, input) = begun;
        let begun = Begun { input, replayable }.to_word();
        let mut words = [
            word(done),
            word(next),
            begun * u64::from(set),
            (place & 0x0f00_0003_0000_0000) | u64::from(base),
        ];
        for (word, bit) in flips {
            words[word] ^= 1 << bit;
        }
        let [done, next, begun, place] = words;
        Words { done, next, begun, place }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    /// What a worker writes that has turned hostile: whatever is done with it
    /// stays within what there is, and goes on where the kernel has stopped.
    #[test]
    fn no_words_lead_out_of_a_shared_buffer(
        words in words(),
        given in near(),
        taken in near(),
        read in prop_oneof![Just(0), 0..100_u64, any::<u64>()],
        sound in any::<bool>(),
    ) {
        let (done, place) = (words.done, Place::from_word(words.place));
        let kernel = Kernel::Open { given, taken };
        judge(words, read, Kernel::Uncounted, sound);
        match judge(words, read, kernel, sound) {
            Verdict::Moves(transfer) => {
                let Transfer { input, output, .. } = transfer;
                prop_assert!(input.start + input.length <= INPUT);
                prop_assert!(output.start + output.length <= OUTPUT);
                let bytes = input.length + output.length;
                prop_assert!(bytes == 0 || place.buffer.is_some());
                prop_assert_eq!(transfer.done.output, given);
                let end = given.wrapping_add(output.length as u32);
                prop_assert_eq!(transfer.next.output, end);
                let rest = transfer.next.input.wrapping_add(
                    input.length as u32);
                prop_assert!(transfer.closing || rest == taken);
                prop_assert!(!(transfer.answered && output.length > 0));
            }
            Verdict::Lost { done: at } => {
                prop_assert_eq!(at.to_word(), done);
                prop_assert_eq!(at.output, given, "in the middle of it");
            }
            Verdict::End | Verdict::Reset => {}
            Verdict::Gone => prop_assert!(false, "it is not over"),
        }
    }

    #[test]
    fn every_value_survives_its_word(
        word in any::<u64>(),
        input in any::<u32>(),
        replayable in any::<bool>(),
        buffer in prop::option::of(0..(1_u32 << 24) - 1),
        flags in any::<[bool; 4]>(),
    ) {
        prop_assert_eq!(Position::from_word(word).to_word(), word);
        let begun = Begun { input, replayable };
        prop_assert_eq!(Begun::from_word(begun.to_word()), Some(begun));
        let [spilled, unbacked, closing, rest] = flags;
        let place = Place {
            buffer,
            base: input,
            spilled,
            unbacked,
            closing,
            rest,
        };
        prop_assert_eq!(Place::from_word(place.to_word()), place);
        let again = Place::from_word(word);
        prop_assert_eq!(Place::from_word(again.to_word()), again);
    }
}

#[test]
fn a_slot_of_zeros_has_nothing_in_hand() {
    assert_eq!(Begun::from_word(0), None);
    assert_eq!(Place::from_word(0), Place::default());
    let kernel = Kernel::Open { given: 0, taken: 0 };
    let idle = Verdict::Moves(Transfer::at(Position::default()));
    assert_eq!(judge(Words::default(), 0, kernel, true), idle);
}
