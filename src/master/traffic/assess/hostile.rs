//! What the master makes of a hostile worker: real connections, any words.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::*;
use crate::salvage::recovery::{INPUT, OUTPUT, Position, Words};
use crate::scoreboard::Word;

/// A connection on which three bytes were read and five written.
fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client =
        TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let mut server = listener.accept().unwrap().0;
    client.write_all(b"abc").unwrap();
    server.read_exact(&mut [0; 3]).unwrap();
    server.write_all(b"defgh").unwrap();
    (client, server)
}

/// Places about where the kernel has counted, or anywhere.
fn position(output: std::ops::Range<u32>) -> impl Strategy<Value = u64> {
    let near = (output, 0..5_u32)
        .prop_map(|(output, input)| Position { output, input }.to_word());
    prop_oneof![9 => near, 1 => any::<u64>()]
}

fn words() -> impl Strategy<Value = Words> {
    let place = prop_oneof![
        8 => (0..2_u64, 0..64_u64, 0..4_u64).prop_map(
            |(base, flags, buffer)| (flags & flags >> 2) << 56
                | buffer << 32
                | base
        ),
        1 => any::<u64>(),
    ];
    let begun = prop_oneof![
        (0..4_u64, 0..6_u64).prop_map(|(flags, input)| flags << 32 | input),
        any::<u64>(),
    ];
    let same = any::<bool>();
    (position(3..6), position(5..40), begun, place, same).prop_map(
        |(done, next, begun, place, same)| {
            let next = if same { done } else { next };
            Words { done, next, begun, place }
        },
    )
}

#[test]
fn whatever_a_worker_has_written_every_connection_has_a_fate() {
    let (board, fd) = Scoreboard::create(true).unwrap();
    let worker = Scoreboard::open(fd.as_fd()).unwrap().unwrap();
    let worker: &'static Scoreboard = Box::leak(Box::new(worker));
    let mut buffers = worker.buffers();
    for _ in 0..4 {
        buffers.take().unwrap().input[..2].fill(b'x');
    }
    let mut runner = TestRunner::deterministic();
    let strategy = (words(), any::<bool>());
    let mut tally = Salvage::default();
    let (mut pair, mut ends, mut moves) = (connection(), 0, 0);
    for round in 0..2_000 {
        let (words, sound) = strategy.new_tree(&mut runner).unwrap().current();
        let all = [
            (Word::Done, words.done),
            (Word::Next, words.next),
            (Word::Begun, words.begun),
            (Word::Place, words.place),
        ];
        for (word, value) in all {
            worker.write(7, word, value);
        }
        // Mostly what agrees with the three bytes that were read.
        let base = Place::from_word(words.place).base;
        let read =
            if round % 5 == 0 { round } else { 3_u32.wrapping_sub(base) };
        for buffer in 0..4 {
            worker.note_read(buffer, read as usize);
        }
        let record = Record { replays: 1, tries: 1 };
        let socket = pair.1.try_clone().unwrap().into();
        let left = Retained { socket, at: round % 4, record };
        match assess(&board, 7, left, sound, &mut tally) {
            Fate::Ends(_) => {
                ends += 1;
                pair = connection();
            }
            Fate::Moves { connection, begun } => {
                moves += 1;
                let snapshot = connection.snapshot.unwrap();
                assert!(snapshot.input.len() <= INPUT.min(3), "{words:?}");
                assert!(snapshot.output.len() <= OUTPUT, "{words:?}");
                assert_eq!(snapshot.done.output, 5, "{words:?}");
                let end = snapshot.done.output + snapshot.output.len() as u32;
                assert_eq!(snapshot.next.output, end, "{words:?}");
                assert!(begun || snapshot.record == Record::default());
                let message = snapshot.to_message();
                assert_eq!(Snapshot::from_message(&message), Some(*snapshot));
            }
        }
    }
    assert!(ends > 300 && moves > 300, "{ends} {moves}");
    assert!(tally.reset > 0 && tally.refused > 0 && tally.finished > 0);
}
