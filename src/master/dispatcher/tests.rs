//! Each rule of the dispatcher, alone.

use super::*;
use crate::master::scheduler::{IpHash, LeastConnections, RoundRobin};
use std::net::{IpAddr, Ipv4Addr};

const W1: WorkerId = WorkerId(1);
const W2: WorkerId = WorkerId(2);
const W3: WorkerId = WorkerId(3);

type D = Dispatcher<u64>;

/// Workers 1 to `workers` on the slots from 0, each with this window.
fn dispatcher(workers: u32, window: u64) -> D {
    let mut d = Dispatcher::new();
    for id in 1..=workers {
        d.admit(WorkerId(id), id as usize - 1, window, None);
    }
    d
}

fn offer(d: &mut D, connections: std::ops::RangeInclusive<u64>) {
    for connection in connections {
        d.offer(connection, Peer::Unix, &mut RoundRobin);
    }
}

/// Sends a worker all that there is for it; returns that.
fn send(d: &mut D, worker: WorkerId) -> Vec<u64> {
    let Some(batch) = d.batch(worker) else { return Vec::new() };
    let connections: Vec<_> = batch.connections().copied().collect();
    d.sent(worker, connections.len());
    connections
}

fn received(d: &mut D, worker: WorkerId, upto: u64) -> Vec<u64> {
    d.received(worker, upto).unwrap().collect()
}

fn counts(d: &D, worker: WorkerId) -> Counts {
    d.counts().find(|counts| counts.worker == worker).unwrap()
}

/// A client that goes to this slot of the slots 0 to 2.
fn client_of(slot: u32) -> Peer {
    let goes_there = |client: &Peer| {
        let mut d = dispatcher(3, 9);
        d.offer(1, *client, &mut IpHash);
        d.batch(WorkerId(slot + 1)).is_some()
    };
    let client = |n| Peer::Ip(IpAddr::from(Ipv4Addr::from_bits(n)));
    (0..).map(client).find(goes_there).unwrap()
}

/// Answers as it is told to, whoever has room.
struct Always(usize);

impl Scheduler for Always {
    fn pick(&mut self, _peer: &Peer, _rotation: &mut Rotation) -> usize {
        self.0
    }

    fn name(&self) -> &str {
        "always"
    }
}

#[test]
fn connections_are_dealt_out_in_turn_and_numbered_per_worker() {
    let mut d = dispatcher(2, 9);
    offer(&mut d, 1..=5);
    assert_eq!(d.batch(W1).unwrap().first, 1);
    assert_eq!(send(&mut d, W1), [1, 3, 5]);
    assert_eq!(send(&mut d, W2), [2, 4]);
    offer(&mut d, 6..=7);
    assert_eq!(d.batch(W1).unwrap().first, 4);
    assert_eq!(send(&mut d, W1), [7]);
}

#[test]
fn ten_thousand_connections_differ_by_at_most_one_while_none_is_skipped() {
    let mut d = dispatcher(3, 20_000);
    offer(&mut d, 1..=10_000);
    let handed: Vec<_> = d.counts().map(|c| c.handed).collect();
    assert_eq!(handed, [3_334, 3_333, 3_333]);
    assert!(d.counts().all(|c| c.skipped == 0));
}

#[test]
fn what_was_not_sent_stays_to_be_sent() {
    let mut d = dispatcher(1, 9);
    offer(&mut d, 1..=3);
    assert!(!d.has_unreleased(W1));
    d.sent(W1, 1);
    assert!(d.has_unreleased(W1));
    assert_eq!(d.batch(W1).unwrap().first, 2);
    assert_eq!(send(&mut d, W1), [2, 3]);
    assert_eq!(send(&mut d, W1), [0; 0]);
}

#[test]
fn the_window_counts_what_is_not_sent_yet() {
    let mut d = dispatcher(1, 2);
    offer(&mut d, 1..=1);
    assert!(d.has_room());
    offer(&mut d, 2..=3);
    assert!(!d.has_room());
    assert_eq!((counts(&d, W1).pending, d.parked()), (2, 1));
}

#[test]
fn received_makes_room_in_the_window() {
    let mut d = dispatcher(1, 2);
    offer(&mut d, 1..=2);
    send(&mut d, W1);
    assert_eq!(received(&mut d, W1, 1), [1]);
    assert!(d.has_room() && d.has_unreleased(W1));
    assert_eq!(received(&mut d, W1, 2), [2]);
    assert!(!d.has_unreleased(W1));
    assert_eq!(counts(&d, W1).open, 2);
}

#[test]
fn only_closed_makes_room_in_a_worker_at_its_capacity() {
    let mut d = Dispatcher::new();
    d.admit(W1, 0, 9, Some(2));
    offer(&mut d, 1..=2);
    send(&mut d, W1);
    received(&mut d, W1, 2);
    assert!(!d.has_room());
    d.closed(W1, 1).unwrap();
    assert!(d.has_room());
    assert_eq!(counts(&d, W1).open, 1);
}

#[test]
fn skips_are_counted_and_survive_a_withdrawal() {
    let mut d = Dispatcher::new();
    d.admit(W1, 0, 1, None);
    d.admit(W2, 1, 9, None);
    offer(&mut d, 1..=4);
    assert_eq!(counts(&d, W1).skipped, 2, "by 3 and 4");
    d.withdraw(W1);
    assert_eq!(counts(&d, W1).skipped, 2);
}

#[test]
fn without_workers_everything_is_parked_until_one_comes() {
    let mut d = D::new();
    offer(&mut d, 1..=3);
    assert_eq!((d.parked(), d.has_room()), (3, false));
    d.admit(W1, 0, 9, None);
    d.dispatch_parked(&mut RoundRobin);
    assert_eq!((d.parked(), send(&mut d, W1)), (0, vec![1, 2, 3]));
}

#[test]
fn who_is_parked_goes_before_who_is_offered() {
    let mut d = dispatcher(1, 1);
    offer(&mut d, 1..=2);
    send(&mut d, W1);
    received(&mut d, W1, 1);
    offer(&mut d, 3..=3);
    assert_eq!((send(&mut d, W1), d.parked()), (vec![2], 1));
}

#[test]
fn what_a_dead_worker_did_not_receive_goes_to_others_in_order() {
    let mut d = dispatcher(2, 9);
    offer(&mut d, 1..=6);
    send(&mut d, W1);
    received(&mut d, W1, 1);
    offer(&mut d, 7..=7); // worker 1's, unsent
    assert_eq!(d.lost(W1), 3);
    assert_eq!((d.parked(), d.redispatched()), (3, 3));
    d.dispatch_parked(&mut RoundRobin);
    assert_eq!(send(&mut d, W2), [2, 4, 6, 3, 5, 7]);
    assert!(d.counts().all(|c| c.worker != W1));
}

#[test]
fn what_was_taken_back_is_first_in_line() {
    let mut d = dispatcher(2, 2);
    offer(&mut d, 1..=6); // 5 and 6 are parked
    send(&mut d, W1);
    send(&mut d, W2);
    assert_eq!((d.lost(W1), d.lost(W2)), (2, 2));
    d.admit(W3, 0, 9, None);
    d.dispatch_parked(&mut RoundRobin);
    assert_eq!(send(&mut d, W3), [1, 3, 2, 4, 5, 6]);
}

#[test]
fn a_withdrawn_worker_keeps_what_was_sent_and_gets_no_more() {
    let mut d = dispatcher(2, 9);
    offer(&mut d, 1..=2);
    send(&mut d, W1);
    offer(&mut d, 3..=4);
    assert_eq!((d.withdraw(W1), d.withdraw(W1)), (1, 0));
    offer(&mut d, 5..=6);
    assert_eq!(send(&mut d, W1), [0; 0]);
    assert_eq!(send(&mut d, W2), [2, 4, 3, 5, 6]);
    assert_eq!(received(&mut d, W1, 1), [1]);
    d.closed(W1, 1).unwrap();
    assert_eq!((counts(&d, W1).handed, counts(&d, W1).redispatched), (1, 1));
    assert_eq!(d.lost(W1), 0);
}

#[test]
fn who_is_cut_off_keeps_only_what_it_has_received() {
    let mut d = dispatcher(2, 9);
    offer(&mut d, 1..=4);
    send(&mut d, W1);
    received(&mut d, W1, 1);
    offer(&mut d, 5..=6); // 5 is worker 1's, unsent
    assert_eq!((d.cut_off(W1), d.cut_off(W1)), (2, 0));
    d.dispatch_parked(&mut RoundRobin);
    assert_eq!(send(&mut d, W2), [2, 4, 6, 3, 5]);
    assert_eq!((counts(&d, W1).handed, counts(&d, W1).open), (1, 1));
    assert_eq!(d.lost(W1), 0);
}

#[test]
fn a_nack_moves_everything_from_the_first_missing_on() {
    let mut d = dispatcher(2, 9);
    offer(&mut d, 1..=8);
    d.sent(W1, 3);
    received(&mut d, W1, 1);
    assert_eq!(d.nack(W1, 3), Ok(2), "5 was sent, 7 was not");
    d.dispatch_parked(&mut RoundRobin);
    assert_eq!(send(&mut d, W2), [2, 4, 6, 8, 5, 7]);
    assert_eq!(received(&mut d, W1, 2), [3], "that one arrived");
    assert_eq!(counts(&d, W1).redispatched, 2);
}

#[test]
fn after_a_nack_a_worker_rests_until_it_resumes_at_that_number() {
    let mut d = dispatcher(1, 9);
    offer(&mut d, 1..=3);
    send(&mut d, W1);
    d.nack(W1, 2).unwrap();
    d.dispatch_parked(&mut RoundRobin);
    assert_eq!((d.has_room(), d.parked()), (false, 2));
    assert_eq!(d.resume(W1), Some(2));
    d.dispatch_parked(&mut RoundRobin);
    assert_eq!(d.batch(W1).unwrap().first, 2);
    assert_eq!(send(&mut d, W1), [2, 3]);
    assert_eq!(d.resume(W1), None, "it is not cooling down");
}

#[test]
fn a_withdrawn_worker_does_not_resume() {
    let mut d = dispatcher(1, 9);
    offer(&mut d, 1..=1);
    send(&mut d, W1);
    d.nack(W1, 1).unwrap();
    d.withdraw(W1);
    assert_eq!(d.resume(W1), None);
}

#[test]
fn a_withdrawn_worker_may_nack() {
    let mut d = dispatcher(2, 9);
    offer(&mut d, 1..=3);
    send(&mut d, W1);
    d.withdraw(W1);
    d.dispatch_parked(&mut RoundRobin);
    assert_eq!(d.nack(W1, 2), Ok(1));
    d.dispatch_parked(&mut RoundRobin);
    assert_eq!(send(&mut d, W2), [2, 3]);
    assert_eq!(d.resume(W1), None);
}

#[test]
fn a_refused_connection_goes_to_another_and_those_behind_it_stay() {
    let mut d = dispatcher(2, 8);
    offer(&mut d, 1..=4);
    assert_eq!(send(&mut d, W1), [1, 3]);
    assert_eq!(send(&mut d, W2), [2, 4]);
    assert!(d.refused(W1));
    d.dispatch_parked(&mut RoundRobin);
    assert_eq!(send(&mut d, W2), [1]);
    assert_eq!(received(&mut d, W1, 2), [3]);
    assert_eq!(counts(&d, W1).open, 1);
    assert!(!d.refused(W1), "nothing is on its way");
}

#[test]
fn who_refuses_rests_until_it_resumes() {
    let mut d = dispatcher(1, 8);
    offer(&mut d, 1..=1);
    send(&mut d, W1);
    assert!(d.refused(W1));
    assert!(!d.has_room());
    d.dispatch_parked(&mut RoundRobin);
    assert!(d.batch(W1).is_none());
    assert!(d.resume(W1).is_some());
    d.dispatch_parked(&mut RoundRobin);
    assert_eq!(send(&mut d, W1), [1]);
}

#[test]
fn a_withdrawn_worker_may_rejoin() {
    let mut d = dispatcher(1, 8);
    d.withdraw(W1);
    assert!(!d.has_room());
    d.rejoin(W1);
    offer(&mut d, 1..=1);
    assert_eq!(send(&mut d, W1), [1]);
}

#[test]
fn a_false_claim_is_a_fault_and_changes_nothing() {
    let mut d = dispatcher(1, 9);
    offer(&mut d, 1..=3);
    d.sent(W1, 2);
    assert!(d.received(W1, 3).is_err());
    assert!(d.closed(W1, 1).is_err());
    assert!(d.nack(W1, 3).is_err());
    assert_eq!(received(&mut d, W1, 2), [1, 2]);
    assert!(d.received(W1, 1).is_err());
    assert!(d.nack(W1, 2).is_err());
    assert_eq!((counts(&d, W1).pending, d.parked()), (1, 0));
}

#[test]
fn a_successor_takes_over_its_predecessors_slot() {
    let mut d = dispatcher(2, 9);
    offer(&mut d, 1..=2); // unsent
    d.admit(W3, 0, 9, None);
    offer(&mut d, 3..=4);
    assert_eq!(send(&mut d, W1), [0; 0]);
    assert_eq!(send(&mut d, W3), [1, 4]);
    assert_eq!(send(&mut d, W2), [2, 3]);
}

#[test]
fn a_worker_is_admitted_once() {
    let mut d = dispatcher(2, 1);
    offer(&mut d, 1..=1);
    d.withdraw(W1);
    d.admit(W1, 0, 9, None);
    d.admit(W2, 5, 9, None);
    assert_eq!(counts(&d, W2).slot, 1);
    offer(&mut d, 2..=3);
    assert_eq!((send(&mut d, W1), d.parked()), (vec![], 2));
}

#[test]
fn strangers_are_nobody() {
    let mut d = dispatcher(1, 9);
    assert!(d.batch(W2).is_none());
    assert_eq!(received(&mut d, W2, 7), [0; 0]);
    assert_eq!((d.closed(W2, 7), d.nack(W2, 7)), (Ok(()), Ok(0)));
    assert_eq!((d.withdraw(W2), d.lost(W2), d.resume(W2)), (0, 0, None));
    d.sent(W2, 7);
}

#[test]
fn a_client_waits_for_its_worker_while_others_have_room() {
    let mut d = dispatcher(3, 1);
    let client = client_of(1);
    d.offer(1, client, &mut IpHash);
    d.offer(2, client, &mut IpHash);
    assert_eq!((d.parked(), d.has_room()), (1, true));
    assert_eq!(send(&mut d, W2), [1]);
    received(&mut d, W2, 1);
    d.dispatch_parked(&mut IpHash);
    assert_eq!((d.parked(), send(&mut d, W2)), (0, vec![2]));
}

#[test]
fn others_pass_by_a_client_that_waits_for_its_worker() {
    let mut d = dispatcher(3, 1);
    d.offer(1, client_of(1), &mut IpHash);
    d.offer(2, client_of(1), &mut IpHash);
    d.offer(3, client_of(2), &mut IpHash);
    assert_eq!((d.parked(), send(&mut d, W3)), (1, vec![3]));
}

#[test]
fn only_a_target_out_of_rotation_moves_its_clients() {
    let mut d = D::new();
    for (id, slot) in [(W1, 0), (W2, 1), (W3, 2)] {
        d.admit(id, slot, 9, Some(1));
    }
    d.offer(1, client_of(1), &mut IpHash);
    d.offer(2, client_of(1), &mut IpHash);
    send(&mut d, W2);
    received(&mut d, W2, 1);
    d.dispatch_parked(&mut IpHash);
    assert_eq!(d.parked(), 1);
    assert_eq!(d.lost(W2), 0);
    d.dispatch_parked(&mut IpHash);
    let others = [send(&mut d, W1), send(&mut d, W3)].concat();
    assert_eq!((others, d.parked()), (vec![2], 0));
}

#[test]
fn a_slots_successor_inherits_its_clients() {
    let mut d = dispatcher(3, 1);
    d.offer(1, client_of(1), &mut IpHash);
    d.offer(2, client_of(1), &mut IpHash);
    d.admit(WorkerId(4), 1, 9, None);
    d.dispatch_parked(&mut IpHash);
    assert_eq!(send(&mut d, WorkerId(4)), [1, 2]);
}

#[test]
fn who_comes_after_the_few_that_may_wait_for_a_worker_goes_to_another() {
    let mut d = dispatcher(3, 9);
    let mut offered = 0;
    while d.has_room() && offered < 1000 {
        offered += 1;
        d.offer(offered, client_of(1), &mut IpHash);
    }
    assert_eq!((offered, d.parked()), (9 + 512 + 9 + 9, 512));
    assert_eq!(send(&mut d, W2), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
    let others = [send(&mut d, W1), send(&mut d, W3)].concat();
    assert!(others.iter().all(|&connection| connection > 9 + 512));
    // The others' own clients need not wait.
    received(&mut d, W1, 9);
    d.offer(1000, client_of(0), &mut IpHash);
    assert_eq!(send(&mut d, W1), [1000]);
}

#[test]
fn a_scheduler_that_insists_on_a_full_worker_waits_for_it() {
    let mut d = dispatcher(2, 1);
    for connection in 1..=3 {
        d.offer(connection, Peer::Unix, &mut Always(1));
    }
    assert_eq!((counts(&d, W1).handed, d.parked()), (0, 2));
    send(&mut d, W2);
    received(&mut d, W2, 1);
    d.dispatch_parked(&mut Always(1));
    assert_eq!((send(&mut d, W2), d.parked()), (vec![2], 1));
}

#[test]
fn an_index_past_the_end_counts_on_from_the_start() {
    let mut d = dispatcher(3, 9);
    d.offer(1, Peer::Unix, &mut Always(4));
    d.offer(2, Peer::Unix, &mut Always(usize::MAX));
    assert_eq!(send(&mut d, W2), [1]);
    assert_eq!(send(&mut d, WorkerId(1 + (usize::MAX % 3) as u32)), [2]);
}

#[test]
fn least_connections_counts_the_batch_in_hand() {
    let mut d = dispatcher(2, 9);
    offer(&mut d, 1..=4);
    send(&mut d, W1);
    received(&mut d, W1, 2);
    d.closed(W1, 2).unwrap();
    for connection in 5..=7 {
        d.offer(connection, Peer::Unix, &mut LeastConnections);
    }
    assert_eq!(
        (send(&mut d, W1), send(&mut d, W2)),
        (vec![5, 6], vec![2, 4, 7])
    );
}
