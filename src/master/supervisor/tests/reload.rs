//! Rolling reload and recycling.

use super::*;

const BEGAN: &str = "reload to generation 2 began";

/// Up to the moment at which the canary, worker 3, has taken over.
fn past_the_canary() -> Harness {
    let mut harness = Harness::serving(policy(2));
    harness.tell(Event::Reload);
    harness.ready(3);
    harness.pass(1_000);
    harness
}

#[test]
fn a_reload_replaces_one_slot_after_the_other_and_waits_for_ready() {
    let mut harness = Harness::serving(policy(3));
    assert_eq!(harness.tell(Event::Reload), [BEGAN, "spawn 4 in 0 of 2"]);
    assert_eq!(harness.ready(4), NOTHING, "the canary is watched");
    assert_eq!(harness.pass(999), NOTHING);
    assert_eq!(
        harness.pass(1),
        ["admit 4", "withdraw 1", "disconnect 1", "spawn 5 in 1 of 2"]
    );
    assert_eq!(
        harness.ready(5),
        ["admit 5", "withdraw 2", "disconnect 2", "spawn 6 in 2 of 2"]
    );
    assert_eq!(
        harness.ready(6),
        [
            "admit 6",
            "withdraw 3",
            "disconnect 3",
            "reload to generation 2 finished"
        ]
    );
    assert!(!harness.supervisor.is_reloading());
    assert_eq!(harness.exits(1, 0), NOTHING);
}

#[test]
fn a_new_worker_that_dies_ends_the_reload_and_the_old_serve_on() {
    let mut harness = Harness::serving(policy(2));
    harness.tell(Event::Reload);
    assert_eq!(
        harness.exits(3, 1),
        ["reload to generation 2 abandoned: worker 3 exited with status 1"]
    );
    assert_eq!(harness.states(), ["1 ready", "2 ready"]);
    assert_eq!(harness.pass(60_000), NOTHING);
}

#[test]
fn nobody_speaks_of_a_generation_that_nobody_has() {
    let mut harness = Harness::serving(policy(2));
    let newest = |harness: &Harness| harness.supervisor.newest_generation();
    assert_eq!(newest(&harness), 1);
    harness.tell(Event::Reload);
    assert_eq!(newest(&harness), 2, "it is on its way");
    harness.exits(3, 1);
    assert_eq!(newest(&harness), 1, "it was given up");
    // The next reload is another one, and whoever waits waits for that.
    harness.tell(Event::Reload);
    assert_eq!((newest(&harness), harness.supervisor.generation()), (3, 3));
    harness.ready(4);
    harness.pass(1_000);
    harness.ready(5);
    assert_eq!(newest(&harness), 3);
}

#[test]
fn a_new_worker_that_cannot_be_started_ends_the_reload() {
    let mut harness = Harness::serving(policy(2));
    harness.tell(Event::Reload);
    assert_eq!(
        harness.spawn_fails(3),
        ["reload to generation 2 abandoned: \
          worker 3 could not be started: prog: no such file"]
    );
}

#[test]
fn a_new_worker_that_is_not_ready_in_time_ends_the_reload() {
    let mut harness = Harness::serving(policy(2));
    harness.tell(Event::Reload);
    assert_eq!(
        harness.pass(30_000),
        [
            "kill 3: it was not ready in time",
            "reload to generation 2 abandoned: \
             worker 3 was not ready within 30s"
        ]
    );
    assert_eq!(harness.states(), ["1 ready", "2 ready", "3 killed"]);
}

#[test]
fn a_canary_that_says_ready_and_dies_costs_nothing() {
    let mut harness = Harness::serving(policy(1));
    harness.tell(Event::Reload);
    harness.ready(2);
    harness.pass(500);
    assert_eq!(harness.hangs_up(2), NOTHING);
    assert_eq!(
        harness.exits(2, 1),
        ["reload to generation 2 abandoned: worker 2 exited with status 1"]
    );
    assert_eq!(harness.states(), ["1 ready"]);
}

#[test]
fn a_canary_killed_from_outside_is_no_verdict_on_the_release() {
    let mut harness = Harness::serving(policy(1));
    harness.tell(Event::Reload);
    harness.ready(2);
    assert_eq!(harness.dies(2, 9), ["spawn 3 in 0 of 2"]);
}

#[test]
fn new_workers_that_have_taken_over_stay_when_the_reload_is_abandoned() {
    let mut harness = past_the_canary();
    assert_eq!(harness.exits(4, 1).len(), 1);
    assert_eq!(harness.states(), ["3 ready", "2 ready", "1 leaving"]);
}

#[test]
fn a_new_worker_that_dies_young_in_rotation_ends_the_reload_too() {
    let mut harness = Harness::serving(policy(3));
    harness.tell(Event::Reload);
    harness.ready(4);
    harness.pass(1_000);
    harness.ready(5);
    assert_eq!(
        harness.dies(5, 11),
        [
            "withdraw 5",
            "kill 6: it is not needed any more",
            "reload to generation 2 abandoned: \
             worker 5 was killed by signal 11"
        ]
    );
    assert_eq!(harness.pass(100), ["spawn 7 in 1 of 2"]);
}

#[test]
fn reloads_during_a_reload_are_one_more_after_it() {
    let mut harness = past_the_canary();
    assert_eq!(harness.tell(Event::Reload), NOTHING);
    assert_eq!(harness.tell(Event::Reload), NOTHING);
    assert_eq!(
        harness.ready(4),
        [
            "admit 4",
            "withdraw 2",
            "disconnect 2",
            "reload to generation 2 finished",
            "reload to generation 3 began",
            "spawn 5 in 0 of 3"
        ]
    );
    harness.ready(5);
    harness.pass(1_000);
    assert_eq!(
        harness.ready(6).last().unwrap(),
        "reload to generation 3 finished"
    );
}

#[test]
fn a_reload_asked_for_during_one_that_fails_is_tried_all_the_same() {
    let mut harness = Harness::serving(policy(1));
    harness.tell(Event::Reload);
    harness.tell(Event::Reload);
    assert_eq!(
        harness.exits(2, 1),
        [
            "reload to generation 2 abandoned: worker 2 exited with status 1",
            "reload to generation 3 began",
            "spawn 3 in 0 of 3"
        ]
    );
}

#[test]
fn an_old_worker_that_dies_meanwhile_is_replaced_by_the_new_generation() {
    let mut harness = Harness::serving(policy(3));
    harness.tell(Event::Reload);
    assert_eq!(harness.dies(3, 9), ["withdraw 3", "spawn 5 in 2 of 2"]);
    harness.ready(5);
    harness.ready(4);
    assert!(harness.pass(1_000).contains(&"spawn 6 in 1 of 2".to_owned()));
    assert_eq!(
        harness.ready(6).last().unwrap(),
        "reload to generation 2 finished"
    );
}

#[test]
fn an_old_worker_that_dies_is_succeeded_by_the_one_that_starts_already() {
    let mut harness = Harness::serving(policy(1));
    harness.tell(Event::Reload);
    assert_eq!(harness.dies(1, 9), ["withdraw 1"]);
    assert_eq!(
        harness.ready(2),
        ["admit 2", "reload to generation 2 finished"]
    );
}

#[test]
fn a_watched_canary_takes_over_at_once_when_the_old_worker_dies() {
    let mut harness = Harness::serving(policy(1));
    harness.tell(Event::Reload);
    harness.ready(2);
    assert_eq!(
        harness.dies(1, 9),
        ["withdraw 1", "admit 2", "reload to generation 2 finished"]
    );
}

#[test]
fn a_reload_while_starting_up_replaces_who_started_before_it() {
    let mut harness = Harness::new(policy(1));
    harness.pass(0);
    assert_eq!(harness.tell(Event::Reload), [BEGAN]);
    assert_eq!(harness.ready(1), ["admit 1", "spawn 2 in 0 of 2"]);
}

#[test]
fn a_reload_while_degraded_tries_at_once() {
    let mut harness = Harness::serving(policy(1));
    harness.dies(1, 9);
    for worker in 2..=8 {
        harness.exits(worker, 1);
        harness.pass(harness.due().unwrap());
    }
    harness.exits(9, 1);
    assert_eq!(harness.due(), Some(5_000));
    assert_eq!(harness.tell(Event::Reload), [BEGAN, "spawn 10 in 0 of 2"]);
    assert_eq!(
        harness.exits(10, 1),
        ["reload to generation 2 abandoned: worker 10 exited with status 1"]
    );
    assert_eq!(harness.due(), Some(5_000));
}

#[test]
fn a_step_waits_while_two_workers_of_its_slot_are_still_leaving() {
    let mut harness = Harness::serving(policy(1));
    for canary in [2, 3] {
        harness.tell(Event::Reload);
        harness.ready(canary);
        harness.pass(1_000);
    }
    assert_eq!(
        harness.tell(Event::Reload),
        ["reload to generation 4 began"],
        "1 and 2 are leaving"
    );
    assert_eq!(harness.exits(1, 0), ["spawn 4 in 0 of 4"]);
}

#[test]
fn a_worn_worker_serves_until_its_successor_is_ready() {
    let mut harness = Harness::serving(policy(2));
    assert_eq!(harness.recycle(2), ["spawn 3 in 1 of 1"]);
    assert_eq!(harness.recycle(1), NOTHING, "one after the other");
    assert_eq!(
        harness.ready(3),
        ["admit 3", "withdraw 2", "disconnect 2", "spawn 4 in 0 of 1"]
    );
}

#[test]
fn a_worn_worker_serves_on_while_its_successors_fail_and_pause() {
    let mut harness = Harness::serving(policy(1));
    harness.recycle(1);
    assert_eq!(harness.exits(2, 1), NOTHING);
    assert_eq!(harness.pass(100), ["spawn 3 in 0 of 1"]);
    assert_eq!(harness.exits(3, 1).len(), 1, "degraded");
    assert_eq!(harness.due(), Some(200));
    assert_eq!(harness.states(), ["1 ready"]);
}

#[test]
fn an_old_worker_that_fails_meanwhile_is_no_verdict_on_the_release() {
    let mut harness = Harness::new(policy(2));
    harness.pass(0);
    harness.ready(1);
    harness.pass(1_000);
    assert_eq!(harness.tell(Event::Reload), [BEGAN, "spawn 3 in 0 of 2"]);
    assert_eq!(harness.exits(2, 1), NOTHING);
    assert_eq!(harness.pass(100), ["spawn 4 in 1 of 2"]);
}

#[test]
fn a_reload_does_not_wait_for_an_old_worker_that_tries_for_all() {
    let mut harness = Harness::serving(policy(2));
    for worker in 1..=2 {
        harness.dies(worker, 9);
    }
    harness.exits(3, 1);
    harness.exits(4, 1);
    assert_eq!(harness.pass(100), ["spawn 5 in 0 of 1"]);
    assert_eq!(harness.tell(Event::Reload), [BEGAN, "spawn 6 in 1 of 2"]);
}
