//! Rolling reload and recycling.

use super::*;

const BEGAN: &str = "reload to generation 2 began";

/// Up to the moment at which the canary, worker 3, has taken over.
fn past_the_canary() -> Desk {
    let mut desk = Desk::serving(policy(2));
    desk.tell(Event::Reload);
    desk.ready(3);
    desk.pass(1_000);
    desk
}

#[test]
fn a_reload_replaces_one_slot_after_the_other_and_waits_for_ready() {
    let mut desk = Desk::serving(policy(3));
    assert_eq!(desk.tell(Event::Reload), [BEGAN, "spawn 4 in 0 of 2"]);
    assert_eq!(desk.ready(4), NOTHING, "the canary is watched");
    assert_eq!(desk.pass(999), NOTHING);
    assert_eq!(
        desk.pass(1),
        ["admit 4", "withdraw 1", "disconnect 1", "spawn 5 in 1 of 2"]
    );
    assert_eq!(
        desk.ready(5),
        ["admit 5", "withdraw 2", "disconnect 2", "spawn 6 in 2 of 2"]
    );
    assert_eq!(
        desk.ready(6),
        [
            "admit 6",
            "withdraw 3",
            "disconnect 3",
            "reload to generation 2 finished"
        ]
    );
    assert!(!desk.supervisor.is_reloading());
    assert_eq!(desk.exits(1, 0), NOTHING);
}

#[test]
fn a_new_worker_that_dies_ends_the_reload_and_the_old_serve_on() {
    let mut desk = Desk::serving(policy(2));
    desk.tell(Event::Reload);
    assert_eq!(
        desk.exits(3, 1),
        ["reload to generation 2 abandoned: worker 3 exited with status 1"]
    );
    assert_eq!(desk.states(), ["1 ready", "2 ready"]);
    assert_eq!(desk.pass(60_000), NOTHING);
}

#[test]
fn nobody_speaks_of_a_generation_that_nobody_has() {
    let mut desk = Desk::serving(policy(2));
    let newest = |desk: &Desk| desk.supervisor.newest_generation();
    assert_eq!(newest(&desk), 1);
    desk.tell(Event::Reload);
    assert_eq!(newest(&desk), 2, "it is on its way");
    desk.exits(3, 1);
    assert_eq!(newest(&desk), 1, "it was given up");
    // The next reload is another one, and whoever waits waits for that.
    desk.tell(Event::Reload);
    assert_eq!((newest(&desk), desk.supervisor.generation()), (3, 3));
    desk.ready(4);
    desk.pass(1_000);
    desk.ready(5);
    assert_eq!(newest(&desk), 3);
}

#[test]
fn a_new_worker_that_cannot_be_started_ends_the_reload() {
    let mut desk = Desk::serving(policy(2));
    desk.tell(Event::Reload);
    assert_eq!(
        desk.spawn_fails(3),
        ["reload to generation 2 abandoned: \
          worker 3 could not be started: prog: no such file"]
    );
}

#[test]
fn a_new_worker_that_is_not_ready_in_time_ends_the_reload() {
    let mut desk = Desk::serving(policy(2));
    desk.tell(Event::Reload);
    assert_eq!(
        desk.pass(30_000),
        [
            "kill 3: it was not ready in time",
            "reload to generation 2 abandoned: \
             worker 3 was not ready within 30s"
        ]
    );
    assert_eq!(desk.states(), ["1 ready", "2 ready", "3 killed"]);
}

#[test]
fn a_canary_that_says_ready_and_dies_costs_nothing() {
    let mut desk = Desk::serving(policy(1));
    desk.tell(Event::Reload);
    desk.ready(2);
    desk.pass(500);
    assert_eq!(desk.hangs_up(2), NOTHING);
    assert_eq!(
        desk.exits(2, 1),
        ["reload to generation 2 abandoned: worker 2 exited with status 1"]
    );
    assert_eq!(desk.states(), ["1 ready"]);
}

#[test]
fn a_canary_killed_from_outside_is_no_verdict_on_the_release() {
    let mut desk = Desk::serving(policy(1));
    desk.tell(Event::Reload);
    desk.ready(2);
    assert_eq!(desk.dies(2, 9), ["spawn 3 in 0 of 2"]);
}

#[test]
fn new_workers_that_have_taken_over_stay_when_the_reload_is_abandoned() {
    let mut desk = past_the_canary();
    assert_eq!(desk.exits(4, 1).len(), 1);
    assert_eq!(desk.states(), ["3 ready", "2 ready", "1 leaving"]);
}

#[test]
fn a_new_worker_that_dies_young_in_rotation_ends_the_reload_too() {
    let mut desk = Desk::serving(policy(3));
    desk.tell(Event::Reload);
    desk.ready(4);
    desk.pass(1_000);
    desk.ready(5);
    assert_eq!(
        desk.dies(5, 11),
        [
            "withdraw 5",
            "kill 6: it is not needed any more",
            "reload to generation 2 abandoned: \
             worker 5 was killed by signal 11"
        ]
    );
    assert_eq!(desk.pass(100), ["spawn 7 in 1 of 2"]);
}

#[test]
fn reloads_during_a_reload_are_one_more_after_it() {
    let mut desk = past_the_canary();
    assert_eq!(desk.tell(Event::Reload), NOTHING);
    assert_eq!(desk.tell(Event::Reload), NOTHING);
    assert_eq!(
        desk.ready(4),
        [
            "admit 4",
            "withdraw 2",
            "disconnect 2",
            "reload to generation 2 finished",
            "reload to generation 3 began",
            "spawn 5 in 0 of 3"
        ]
    );
    desk.ready(5);
    desk.pass(1_000);
    assert_eq!(
        desk.ready(6).last().unwrap(),
        "reload to generation 3 finished"
    );
}

#[test]
fn a_reload_asked_for_during_one_that_fails_is_tried_all_the_same() {
    let mut desk = Desk::serving(policy(1));
    desk.tell(Event::Reload);
    desk.tell(Event::Reload);
    assert_eq!(
        desk.exits(2, 1),
        [
            "reload to generation 2 abandoned: worker 2 exited with status 1",
            "reload to generation 3 began",
            "spawn 3 in 0 of 3"
        ]
    );
}

#[test]
fn an_old_worker_that_dies_meanwhile_is_replaced_by_the_new_generation() {
    let mut desk = Desk::serving(policy(3));
    desk.tell(Event::Reload);
    assert_eq!(desk.dies(3, 9), ["withdraw 3", "spawn 5 in 2 of 2"]);
    desk.ready(5);
    desk.ready(4);
    assert!(desk.pass(1_000).contains(&"spawn 6 in 1 of 2".to_owned()));
    assert_eq!(
        desk.ready(6).last().unwrap(),
        "reload to generation 2 finished"
    );
}

#[test]
fn an_old_worker_that_dies_is_succeeded_by_the_one_that_starts_already() {
    let mut desk = Desk::serving(policy(1));
    desk.tell(Event::Reload);
    assert_eq!(desk.dies(1, 9), ["withdraw 1"]);
    assert_eq!(desk.ready(2), ["admit 2", "reload to generation 2 finished"]);
}

#[test]
fn a_watched_canary_takes_over_at_once_when_the_old_worker_dies() {
    let mut desk = Desk::serving(policy(1));
    desk.tell(Event::Reload);
    desk.ready(2);
    assert_eq!(
        desk.dies(1, 9),
        ["withdraw 1", "admit 2", "reload to generation 2 finished"]
    );
}

#[test]
fn a_reload_while_starting_up_replaces_who_started_before_it() {
    let mut desk = Desk::new(policy(1));
    desk.pass(0);
    assert_eq!(desk.tell(Event::Reload), [BEGAN]);
    assert_eq!(desk.ready(1), ["admit 1", "spawn 2 in 0 of 2"]);
}

#[test]
fn a_reload_while_degraded_tries_at_once() {
    let mut desk = Desk::serving(policy(1));
    desk.dies(1, 9);
    for worker in 2..=8 {
        desk.exits(worker, 1);
        desk.pass(desk.due().unwrap());
    }
    desk.exits(9, 1);
    assert_eq!(desk.due(), Some(5_000));
    assert_eq!(desk.tell(Event::Reload), [BEGAN, "spawn 10 in 0 of 2"]);
    assert_eq!(
        desk.exits(10, 1),
        ["reload to generation 2 abandoned: worker 10 exited with status 1"]
    );
    assert_eq!(desk.due(), Some(5_000));
}

#[test]
fn a_step_waits_while_two_workers_of_its_slot_are_still_leaving() {
    let mut desk = Desk::serving(policy(1));
    for canary in [2, 3] {
        desk.tell(Event::Reload);
        desk.ready(canary);
        desk.pass(1_000);
    }
    assert_eq!(
        desk.tell(Event::Reload),
        ["reload to generation 4 began"],
        "1 and 2 are leaving"
    );
    assert_eq!(desk.exits(1, 0), ["spawn 4 in 0 of 4"]);
}

#[test]
fn a_worn_worker_serves_until_its_successor_is_ready() {
    let mut desk = Desk::serving(policy(2));
    assert_eq!(desk.recycle(2), ["spawn 3 in 1 of 1"]);
    assert_eq!(desk.recycle(1), NOTHING, "one after the other");
    assert_eq!(
        desk.ready(3),
        ["admit 3", "withdraw 2", "disconnect 2", "spawn 4 in 0 of 1"]
    );
}

#[test]
fn a_worn_worker_serves_on_while_its_successors_fail_and_pause() {
    let mut desk = Desk::serving(policy(1));
    desk.recycle(1);
    assert_eq!(desk.exits(2, 1), NOTHING);
    assert_eq!(desk.pass(100), ["spawn 3 in 0 of 1"]);
    assert_eq!(desk.exits(3, 1).len(), 1, "degraded");
    assert_eq!(desk.due(), Some(200));
    assert_eq!(desk.states(), ["1 ready"]);
}

#[test]
fn an_old_worker_that_fails_meanwhile_is_no_verdict_on_the_release() {
    let mut desk = Desk::new(policy(2));
    desk.pass(0);
    desk.ready(1);
    desk.pass(1_000);
    assert_eq!(desk.tell(Event::Reload), [BEGAN, "spawn 3 in 0 of 2"]);
    assert_eq!(desk.exits(2, 1), NOTHING);
    assert_eq!(desk.pass(100), ["spawn 4 in 1 of 2"]);
}

#[test]
fn a_reload_does_not_wait_for_an_old_worker_that_tries_for_all() {
    let mut desk = Desk::serving(policy(2));
    for worker in 1..=2 {
        desk.dies(worker, 9);
    }
    desk.exits(3, 1);
    desk.exits(4, 1);
    assert_eq!(desk.pass(100), ["spawn 5 in 0 of 1"]);
    assert_eq!(desk.tell(Event::Reload), [BEGAN, "spawn 6 in 1 of 2"]);
}
