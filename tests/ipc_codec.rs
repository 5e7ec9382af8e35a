//! The framing against a model of what Linux does with a stream of bytes and
//! descriptors: every transcript, cut in every way.

use std::collections::VecDeque;

use handoff::internals::ipc::codec::{Fault, MAX_DESCRIPTORS};
use handoff::internals::ipc::{Decoder, Message, Outbox};
use proptest::prelude::*;

const TRANSCRIPTS: [&str; 5] = [
    include_str!("data/ipc/cluster.txt"),
    include_str!("data/ipc/listen.txt"),
    include_str!("data/ipc/child.txt"),
    include_str!("data/ipc/user.txt"),
    include_str!("data/ipc/handoff.txt"),
];

/// A line and the descriptors that belong to it.
type Frame = (String, Vec<u32>);

/// What one process wrote in one transcript, its descriptors numbered.
fn frames(transcript: &str, who: char) -> Vec<Frame> {
    let mut next = 0..;
    let lines = transcript.lines().filter(|line| line.starts_with(who));
    lines
        .map(|line| {
            let mut fields = line.splitn(3, ' ').skip(1);
            let count = fields.next().and_then(|n| n.parse().ok());
            let descriptors = next.by_ref().take(count.unwrap_or(0));
            let descriptors = descriptors.collect();
            (fields.next().unwrap_or_default().to_owned(), descriptors)
        })
        .collect()
}

/// One direction of a socket pair.
#[derive(Default)]
struct Kernel {
    /// One send each; the descriptors are gone once its first byte is read.
    segments: VecDeque<(VecDeque<u8>, Vec<u32>)>,
}

/// What a read gives: bytes, descriptors, `MSG_CTRUNC`.
type Read = (Vec<u8>, Vec<u32>, bool);

impl Kernel {
    fn send(&mut self, bytes: &[u8], descriptors: &[u32]) {
        assert!(!bytes.is_empty());
        self.segments.push_back((
            bytes.iter().copied().collect(),
            descriptors.to_vec(),
        ));
    }

    /// At most `size` bytes, and the descriptors of one send, of which the
    /// process has room for `room`.
    fn read(&mut self, size: usize, room: usize) -> Read {
        let mut bytes = Vec::new();
        while bytes.len() < size {
            let Some((segment, descriptors)) = self.segments.front_mut()
            else {
                break;
            };
            let count = segment.len().min(size - bytes.len());
            bytes.extend(segment.drain(..count));
            let mut descriptors = std::mem::take(descriptors);
            if segment.is_empty() {
                self.segments.pop_front();
            }
            if !descriptors.is_empty() {
                let truncated = descriptors.len() > room;
                descriptors.truncate(room);
                return (bytes, descriptors, truncated);
            }
        }
        (bytes, Vec::new(), false)
    }
}

/// All lines that are complete; each takes what its message says.
fn drain(
    decoder: &mut Decoder<u32>,
    lines: &mut Vec<Frame>,
) -> Result<(), Fault> {
    while let Some((line, received)) = decoder.next()? {
        let count = Message::parse(line).map_or(0, |m| m.descriptors());
        let taken = received.take(count).collect();
        lines.push((String::from_utf8_lossy(line).into_owned(), taken));
    }
    Ok(())
}

/// Everything in the kernel, in reads of these sizes and then of any.
fn receive(mut kernel: Kernel, sizes: &[usize]) -> Result<Vec<Frame>, Fault> {
    let mut decoder = Decoder::new(1 << 20);
    let mut lines = Vec::new();
    let mut sizes = sizes.iter().copied();
    loop {
        let size = sizes.next().unwrap_or(usize::MAX);
        let (bytes, descriptors, truncated) =
            kernel.read(size, MAX_DESCRIPTORS);
        if bytes.is_empty() {
            return Ok(lines);
        }
        decoder.feed(&bytes, descriptors, truncated);
        drain(&mut decoder, &mut lines)?;
    }
}

/// As Node sends: one write a message.
fn written(frames: &[Frame]) -> Kernel {
    let mut kernel = Kernel::default();
    for (line, descriptors) in frames {
        kernel.send(format!("{line}\n").as_bytes(), descriptors);
    }
    kernel
}

#[test]
fn every_transcript_arrives_whole_byte_by_byte_and_at_every_split() {
    for transcript in TRANSCRIPTS {
        for who in ['M', 'W'] {
            let frames = frames(transcript, who);
            let size = frames.iter().map(|(line, _)| line.len() + 1).sum();
            let arrives = |sizes: &[usize]| {
                let lines = receive(written(&frames), sizes);
                assert_eq!(lines.as_ref(), Ok(&frames), "{sizes:?}");
            };
            arrives(&[]);
            arrives(&vec![1; size]);
            for split in 1..size {
                arrives(&[split]);
            }
        }
    }
}

#[test]
fn the_descriptor_may_come_with_either_half_of_its_line() {
    let line = r#"{"cmd":"NODE_HANDLE","type":"net.Native","msg":1}"#;
    let before = "\"before\"\n";
    let sent = format!("{before}{line}\n");
    for split in before.len() + 1..sent.len() {
        for half in [0, 1] {
            let mut kernel = Kernel::default();
            let descriptors = [&[1, 2][..half], &[1][half..]];
            kernel.send(&sent.as_bytes()[..split], descriptors[1]);
            kernel.send(&sent.as_bytes()[split..], descriptors[0]);
            let lines = receive(kernel, &[]).unwrap();
            assert_eq!(lines[1], (line.to_owned(), vec![1]));
        }
    }
}

#[test]
fn a_line_whose_descriptors_were_lost_leaves_the_next_line_its_own() {
    let connections = |first: u32, count: u32| {
        let line = Message::Connections {
            first: first.into(),
            count: count.into(),
            slots: Vec::new().into(),
        };
        let mut bytes = Vec::new();
        line.encode(&mut bytes);
        (bytes, (first..first + count).collect::<Vec<_>>())
    };
    for room in 0..=5 {
        // The end of the first line is glued in front of the second.
        let (first, lost) = connections(0, 5);
        let (second, kept) = connections(5, 3);
        let mut kernel = Kernel::default();
        kernel.send(&first[..9], &lost);
        kernel.send(&first[9..], &[]);
        kernel.send(&second, &kept);
        let mut decoder = Decoder::new(1024);
        let mut lines = Vec::new();
        for room in [room, 3] {
            let (bytes, descriptors, truncated) =
                kernel.read(usize::MAX, room);
            decoder.feed(&bytes, descriptors, truncated);
            drain(&mut decoder, &mut lines).unwrap();
        }
        assert_eq!(lines[0].1, lost[..room]);
        assert_eq!(lines[1].1, kept);
    }
}

/// Lines of every class, with their descriptors.
fn any_frames() -> impl Strategy<Value = Vec<Frame>> {
    let frame = prop_oneof![
        "[ -~]{0,20}".prop_map(|text| (format!("{text:?}"), 0)),
        Just((r#"{"cmd":"NODE_HANDLE_ACK"}"#.to_owned(), 0)),
        Just((
            r#"{"cmd":"NODE_HANDLE","type":"net.Native","msg":0}"#.to_owned(),
            1
        )),
        (1..=MAX_DESCRIPTORS).prop_map(|count| {
            let line = format!(
                r#"{{"cmd":"NODE_HANDLE","first":0,"count":{count}}}"#
            );
            (line, count)
        }),
    ];
    prop::collection::vec(frame, 0..20).prop_map(|frames| {
        let mut next = 0..;
        let number = |(line, count)| {
            (line, next.by_ref().take(count).collect::<Vec<_>>())
        };
        frames.into_iter().map(number).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 250,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// Outbox, kernel and decoder, with sends that take part of what they are
    /// given and reads of any size, interleaved in any order.
    #[test]
    fn what_is_pushed_arrives_however_it_is_sent_and_read(
        frames in any_frames(),
        steps in prop::collection::vec((0..4u8, 0..90usize), 0..120),
        size in prop::sample::select(vec![1usize, 7, 50, 4096]),
    ) {
        let mut outbox = Outbox::new();
        let mut kernel = Kernel::default();
        let mut decoder = Decoder::new(1 << 16);
        let mut lines = Vec::new();
        let mut left = frames.iter();
        // What is queued, by an independent count, and where in the stream
        // frames with descriptors begin.
        let (mut pushed, mut sent) = (0, 0);
        let mut begins = VecDeque::new();
        let rest = std::iter::repeat_n([(0, 0), (1, size), (2, size)], 8000);
        for (what, count) in steps.into_iter().chain(rest.flatten()) {
            match what {
                0 => {
                    let Some((line, fds)) = left.next() else { continue };
                    let handle = (!fds.is_empty()).then_some(fds);
                    if handle.is_some() {
                        begins.push_back(pushed);
                    }
                    outbox.push(handle, |out| {
                        out.extend(line.bytes());
                        out.push(b'\n');
                    });
                    pushed += line.len() + 1;
                }
                1 => {
                    let Some((bytes, handle)) = outbox.next() else {
                        continue;
                    };
                    let descriptors = handle.map_or(&[][..], |fds| fds);
                    let begin = begins.front().copied();
                    prop_assert_eq!(
                        !descriptors.is_empty(),
                        begin == Some(sent)
                    );
                    if begin != Some(sent) {
                        let end = sent + bytes.len();
                        prop_assert_eq!(end, begin.unwrap_or(pushed));
                    }
                    let count = count.min(bytes.len());
                    if count > 0 {
                        kernel.send(&bytes[..count], descriptors);
                        if begin == Some(sent) {
                            begins.pop_front();
                        }
                    }
                    let expected = handle.copied().filter(|_| count > 0);
                    prop_assert_eq!(outbox.sent(count), expected);
                    sent += count;
                }
                2 | 3 => {
                    let (bytes, descriptors, truncated) =
                        kernel.read(count, MAX_DESCRIPTORS);
                    decoder.feed(&bytes, descriptors, truncated);
                    let drained = drain(&mut decoder, &mut lines);
                    prop_assert_eq!(drained, Ok(()));
                }
                _ => {}
            }
            prop_assert_eq!(outbox.len(), pushed - sent);
            prop_assert_eq!(outbox.is_empty(), pushed == sent);
            if lines.len() == frames.len() {
                break;
            }
        }
        prop_assert_eq!(lines, frames);
    }

    /// A process with too few free descriptors loses some, but no line is
    /// ever given those of another.
    #[test]
    fn a_gap_is_seen_by_the_line_that_it_belongs_to(
        frames in any_frames(),
        rooms in prop::collection::vec(0..4usize, 20),
        sizes in prop::collection::vec(1..60usize, 1..10),
    ) {
        let mut kernel = written(&frames);
        let mut decoder = Decoder::new(1 << 16);
        let mut lines = Vec::new();
        let mut rooms = rooms.into_iter().cycle();
        for size in sizes.into_iter().cycle() {
            let room = rooms.next().unwrap_or(0);
            let (bytes, descriptors, truncated) = kernel.read(size, room);
            if bytes.is_empty() {
                break;
            }
            decoder.feed(&bytes, descriptors, truncated);
            let drained = drain(&mut decoder, &mut lines);
            prop_assert_eq!(drained, Ok(()));
        }
        prop_assert_eq!(lines.len(), frames.len());
        for ((line, got), (sent, descriptors)) in lines.iter().zip(&frames) {
            prop_assert_eq!(line, sent);
            prop_assert!(descriptors.starts_with(got));
        }
    }

    /// Whatever is fed in whatever pieces, the lines are those of a split at
    /// line feeds, and a line that is too long is a fault in its place.
    #[test]
    fn pieces_do_not_matter(
        bytes in prop::collection::vec(
            prop::sample::select(b"a\n\0\xff".to_vec()), 0..200),
        cuts in prop::collection::vec(1..20usize, 1..20),
        limit in 0..12usize,
    ) {
        let mut expected = Vec::new();
        let mut fault = false;
        let mut pieces = bytes.split(|byte| *byte == b'\n').peekable();
        while let Some(piece) = pieces.next() {
            if piece.len() > limit {
                fault = true;
                break;
            }
            if pieces.peek().is_some() {
                expected.push(piece.to_vec());
            }
        }
        let mut decoder = Decoder::<u32>::new(limit);
        let mut lines = Vec::new();
        let mut verdict = Ok(());
        let mut rest = &bytes[..];
        for cut in cuts.into_iter().cycle() {
            if rest.is_empty() || verdict.is_err() {
                break;
            }
            let (piece, after) = rest.split_at(cut.min(rest.len()));
            rest = after;
            decoder.feed(piece, [], false);
            verdict = loop {
                match decoder.next() {
                    Ok(Some((line, _))) => lines.push(line.to_vec()),
                    Ok(None) => break Ok(()),
                    Err(fault) => break Err(fault),
                }
            };
        }
        prop_assert_eq!(lines, expected);
        let too_long = Err(Fault::LineTooLong { limit });
        prop_assert_eq!(verdict, if fault { too_long } else { Ok(()) });
    }
}
