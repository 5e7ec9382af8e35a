//! The way out.

use super::*;

/// Stopped, and the listeners are being closed.
fn closing(policy: Policy) -> Harness {
    let mut harness = Harness::serving(policy);
    assert_eq!(harness.tell(Event::Stop), NOTHING);
    assert_eq!(harness.pass(100), ["stop accepting"]);
    harness
}

#[test]
fn a_stop_lingers_then_closes_then_drains_then_exits() {
    let mut harness = closing(policy(2));
    assert_eq!(
        harness.tell(Event::Emptied),
        ["withdraw 1", "disconnect 1", "withdraw 2", "disconnect 2"]
    );
    assert_eq!(harness.exits(1, 0), NOTHING);
    assert_eq!(harness.exits(2, 0), ["exit: stopped"]);
    assert_eq!(harness.due(), None);
}

#[test]
fn while_lingering_deaths_are_still_replaced() {
    let mut harness = Harness::serving(policy(1));
    harness.tell(Event::Stop);
    assert_eq!(harness.dies(1, 11), ["withdraw 1", "spawn 2 in 0 of 1"]);
    assert_eq!(harness.ready(2), ["admit 2"]);
}

#[test]
fn while_closing_a_death_is_replaced_only_if_nobody_else_serves() {
    let mut harness = closing(policy(2));
    assert_eq!(harness.dies(1, 11), ["withdraw 1"]);
    assert_eq!(harness.dies(2, 11), ["withdraw 2", "spawn 3 in 0 of 1"]);
    assert_eq!(harness.ready(3), ["admit 3"]);
    assert_eq!(harness.tell(Event::Emptied), ["withdraw 3", "disconnect 3"]);
}

#[test]
fn while_closing_a_crash_loop_keeps_its_pauses_until_the_one_deadline() {
    let mut harness = closing(policy(4));
    for worker in 1..=4 {
        harness.dies(worker, 9);
    }
    assert_eq!(harness.exits(5, 1), NOTHING);
    assert_eq!(harness.due(), Some(100));
    harness.pass(100);
    assert_eq!(harness.exits(6, 1), NOTHING, "nor is it called degraded");
    assert_eq!(harness.due(), Some(200));
    assert_eq!(harness.pass(200), ["spawn 7 in 2 of 1"]);
    assert_eq!(harness.pass(9_700), ["kill 7: it is not needed any more"]);
    assert_eq!(harness.dies(7, 9), ["exit: stopped"]);
}

#[test]
fn who_does_not_leave_is_killed_when_the_grace_of_the_stop_is_over() {
    let mut harness = closing(policy(1));
    harness.pass(4_000);
    harness.tell(Event::Emptied);
    assert_eq!(harness.pass(5_999), NOTHING);
    assert_eq!(harness.pass(1), ["kill 1: its grace is over"]);
    assert_eq!(harness.dies(1, 9), ["exit: stopped"]);
}

#[test]
fn a_foreign_program_is_terminated_first_at_a_stop_too() {
    let terminate_before_kill = Some(ms(2_000));
    let mut harness = closing(Policy { terminate_before_kill, ..policy(1) });
    harness.tell(Event::Emptied);
    assert_eq!(
        harness.pass(12_000),
        ["terminate 1: its grace is over", "kill 1: it did not heed SIGTERM"]
    );
}

#[test]
fn a_stop_that_never_empties_ends_at_its_deadline() {
    let mut harness = closing(policy(1));
    assert_eq!(
        harness.pass(10_000),
        ["withdraw 1", "disconnect 1", "kill 1: its grace is over"]
    );
}

#[test]
fn without_grace_a_stop_still_lingers() {
    let grace = Duration::ZERO;
    let mut harness = Harness::serving(Policy { grace, ..policy(1) });
    harness.tell(Event::Stop);
    assert_eq!(harness.pass(99), NOTHING);
    assert_eq!(
        harness.pass(1),
        [
            "stop accepting",
            "withdraw 1",
            "disconnect 1",
            "kill 1: its grace is over"
        ]
    );
}

#[test]
fn a_worker_that_was_leaving_before_the_stop_keeps_its_own_earlier_end() {
    let mut harness = Harness::serving(policy(1));
    harness.leaves(1);
    harness.ready(2);
    harness.pass(5_000);
    harness.tell(Event::Stop);
    harness.pass(100);
    harness.tell(Event::Emptied);
    assert_eq!(harness.pass(4_900), ["kill 1: its grace is over"]);
}

#[test]
fn connections_stranded_while_draining_get_one_worker_more() {
    let mut harness = closing(policy(2));
    harness.tell(Event::Emptied);
    assert_eq!(harness.tell(Event::Stranded), ["spawn 3 in 0 of 1"]);
    assert_eq!(harness.dies(1, 11), NOTHING);
    assert_eq!(harness.dies(2, 11), NOTHING);
    assert_eq!(harness.ready(3), ["admit 3"]);
    assert_eq!(harness.tell(Event::Emptied), ["withdraw 3", "disconnect 3"]);
    assert_eq!(harness.exits(3, 0), ["exit: stopped"]);
}

#[test]
fn connections_stranded_after_the_deadline_are_given_up() {
    let mut harness = closing(policy(1));
    harness.tell(Event::Emptied);
    harness.pass(10_000);
    assert_eq!(harness.tell(Event::Stranded), NOTHING);
    assert_eq!(harness.dies(1, 9), ["exit: stopped"]);
}

#[test]
fn stranding_again_and_again_does_not_move_the_deadline() {
    let mut harness = closing(policy(1));
    harness.tell(Event::Emptied);
    harness.tell(Event::Stranded);
    harness.dies(1, 11);
    for worker in 2..=4 {
        harness.pass(3_000);
        harness.ready(worker);
        harness.tell(Event::Emptied);
        harness.tell(Event::Stranded);
        harness.exits(worker, 1);
    }
    assert_eq!(harness.pass(1_000), ["kill 5: it is not needed any more"]);
    assert_eq!(harness.dies(5, 9), ["exit: stopped"]);
}

#[test]
fn a_worker_that_is_still_starting_when_all_is_emptied_is_ended() {
    let mut harness = Harness::serving(policy(2));
    harness.dies(2, 9);
    harness.tell(Event::Stop);
    harness.pass(100);
    assert_eq!(
        harness.tell(Event::Emptied),
        ["withdraw 1", "disconnect 1", "kill 3: it is not needed any more"]
    );
}

#[test]
fn a_stop_ends_a_reload_and_its_queue() {
    let mut harness = Harness::serving(policy(1));
    harness.tell(Event::Reload);
    harness.tell(Event::Reload);
    assert_eq!(
        harness.tell(Event::Stop),
        [
            "kill 2: it is not needed any more",
            "reload to generation 2 abandoned: the master stops"
        ]
    );
    assert_eq!(harness.dies(2, 9), NOTHING);
    assert_eq!(harness.tell(Event::Reload), NOTHING);
    assert_eq!(harness.tell(Event::Resize(5)), NOTHING);
    assert_eq!(harness.recycle(1), NOTHING);
    assert_eq!(harness.tell(Event::Stop), NOTHING);
}

#[test]
fn a_stop_without_a_process_exits_at_once() {
    let mut harness = Harness::serving(policy(1));
    harness.dies(1, 9);
    harness.exits(2, 1);
    assert_eq!(harness.tell(Event::Stop), ["exit: stopped"]);
}

#[test]
fn stop_now_kills_everybody_once_and_exits_after_the_last() {
    let mut harness = Harness::serving(policy(2));
    harness.leaves(1);
    let why = "the master stops now";
    assert_eq!(
        harness.tell(Event::StopNow),
        [
            "withdraw 2".to_owned(),
            format!("kill 1: {why}"),
            format!("kill 3: {why}"),
            format!("kill 2: {why}"),
        ]
    );
    assert_eq!(harness.tell(Event::StopNow), NOTHING);
    harness.dies(1, 9);
    harness.dies(2, 9);
    assert_eq!(harness.dies(3, 9), ["exit: stopped"]);
}

#[test]
fn stop_now_shortens_a_stop() {
    let mut harness = closing(policy(1));
    harness.tell(Event::Emptied);
    assert_eq!(harness.tell(Event::StopNow), ["kill 1: the master stops now"]);
    assert_eq!(harness.dies(1, 9), ["exit: stopped"]);
}

#[test]
fn a_worker_that_leaves_during_a_stop_has_no_longer_than_the_stop() {
    let mut harness = closing(policy(2));
    harness.pass(5_000);
    harness.leaves(1);
    harness.pass(4_999);
    harness.tell(Event::Emptied);
    assert_eq!(
        harness.pass(1),
        ["kill 1: its grace is over", "kill 2: its grace is over"]
    );
}

#[test]
fn a_stop_ends_the_successor_of_a_worn_worker() {
    let mut harness = Harness::serving(policy(1));
    harness.recycle(1);
    assert_eq!(
        harness.tell(Event::Stop),
        ["kill 2: it is not needed any more"]
    );
    assert_eq!(harness.ready(2), NOTHING);
}

#[test]
fn a_program_that_never_worked_is_not_given_up_on_the_way_out() {
    let mut harness = Harness::new(policy(6));
    harness.pass(0);
    harness.tell(Event::Stop);
    for worker in 1..=5 {
        assert_eq!(harness.exits(worker, 1), NOTHING);
    }
    harness.pass(99);
    assert_eq!(harness.pass(1).last().unwrap(), "stop accepting");
}

#[test]
fn stop_now_tells_whoever_waits_for_a_reload() {
    let mut harness = Harness::serving(policy(1));
    harness.tell(Event::Reload);
    let abandoned = "reload to generation 2 abandoned: the master stops";
    assert!(harness.tell(Event::StopNow).contains(&abandoned.to_owned()));
}
