//! What it takes to hand connections over a real channel, from the one end
//! to the other: sendmsg and recvmsg with `SCM_RIGHTS`, and the line.
//!
//! The channel is no part of the library's interface, so its sources are
//! compiled in here once more.

#![allow(
    dead_code,
    unused_imports,
    reason = "it uses a part of what is compiled in, and none of its tests"
)]

#[path = "../src/channel.rs"]
mod channel;
use handoff::internals::ipc;
#[path = "../src/sys/mod.rs"]
mod sys;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use channel::{Channel, Heard};
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use ipc::Message;
use ipc::message::Seat;
use sys::unix;

/// Connections in one message.
const BATCHES: [usize; 4] = [1, 4, 16, 253];

fn main() {
    divan::main();
}

/// The items are connections; the closes of both copies are left out.
#[divan::bench(args = BATCHES)]
fn handed_over(bencher: Bencher<'_, '_>, batch: usize) {
    let (master, worker) = unix::pair().expect("a socket pair");
    let (mut master, mut worker) =
        (Channel::new(master), Channel::new(worker));
    let (connection, _client) = unix::pair().expect("a socket pair");
    let share: Vec<BorrowedFd<'_>> = vec![connection.as_fd(); batch];
    let mut first = 1;
    bencher.counter(ItemsCount::new(batch)).bench_local(|| {
        let count = batch as u64;
        let message = Message::Connections {
            first,
            count,
            slots: (0..count as u32)
                .map(|slot| Seat { slot, moved: false })
                .collect(),
        };
        first += count;
        let sent = master.hand_over(&message, &share);
        assert_eq!(sent, Ok(true), "there is room");
        receive(&mut worker, batch)
    });
}

/// They are closed when what it returns is dropped, after the clock has
/// stopped.
fn receive(worker: &mut Channel, batch: usize) -> Vec<OwnedFd> {
    assert_eq!(worker.hear(), Ok(Heard::Something));
    let line = worker.line().expect("no fault");
    let (line, descriptors) = line.expect("a line");
    let message = Message::parse(line).expect("a message");
    let taken = descriptors.take(message.descriptors()).collect::<Vec<_>>();
    assert_eq!(taken.len(), batch);
    black_box(taken)
}
