//! A new master's side, without a process: the test is the previous master.

use super::*;
use crate::channel::Channel;
use crate::ipc::Message;
use crate::salvage::snapshot::Snapshot;

const TIME: Duration = Duration::from_secs(30);

/// A new master, and the previous one's end of its channel.
fn follower(start: Instant) -> (Upgrade, OwnedFd) {
    let (ours, theirs) = unix::pair().unwrap();
    let upgrade = Upgrade {
        next: Next::None,
        previous: Previous::Waiting(ours),
        inherited: Inherited::default(),
        scaled: None,
        boot_timeout: TIME,
        start,
    };
    (upgrade, theirs)
}

fn heard(channel: &OwnedFd) -> Option<usize> {
    socket::receive(channel.as_fd(), &mut [0; 64]).unwrap()
}

#[test]
fn the_previous_master_is_told_once_and_then_listened_to() {
    let (mut poller, now) = (Poller::new().unwrap(), Instant::now());
    let (mut upgrade, previous) = follower(now);
    assert!(upgrade.is_under_way() && upgrade.may_relieve(now));
    assert!(upgrade.receive(&mut poller).is_empty(), "it serves still");
    upgrade.relieve(&mut poller).unwrap();
    assert_eq!(heard(&previous), Some(WORD.len()));
    assert!(!upgrade.is_waiting() && !upgrade.may_relieve(now));
    upgrade.relieve(&mut poller).unwrap();
    assert_eq!(heard(&previous), None);
    let (socket, _client) = unix::pair().unwrap();
    let mut channel = Channel::new(previous);
    let message = Message::Snapshot(Snapshot::default().to_message());
    assert!(channel.hand_over(&message, &[socket.as_fd()]).unwrap());
    assert_eq!(upgrade.receive(&mut poller).len(), 1);
    drop(channel);
    assert!(upgrade.receive(&mut poller).is_empty());
    assert!(matches!(upgrade.previous, Previous::None));
}

#[test]
fn a_previous_master_that_is_gone_is_no_reason_not_to_serve() {
    let (mut poller, now) = (Poller::new().unwrap(), Instant::now());
    let (mut upgrade, previous) = follower(now);
    drop(previous);
    upgrade.relieve(&mut poller).unwrap();
    assert!(!upgrade.is_waiting());
    assert_eq!(upgrade.deadline(now), None);
}

#[test]
fn whoever_stands_down_tells_the_previous_master_that_it_will_not() {
    let (mut upgrade, previous) = follower(Instant::now());
    assert!(upgrade.stand_down());
    assert_eq!(heard(&previous), Some(0), "the channel has ended");
    assert!(!upgrade.stand_down(), "there is nobody any more");
    assert!(!upgrade.is_waiting());
}
