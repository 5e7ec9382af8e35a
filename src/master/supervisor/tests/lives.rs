//! Start, deaths, crash loops, size.

use super::*;

#[test]
fn all_workers_are_started_at_once_and_admitted_when_ready() {
    let mut harness = Harness::new(policy(3));
    assert_eq!(harness.due(), Some(0));
    assert_eq!(
        harness.pass(0),
        ["spawn 1 in 0 of 1", "spawn 2 in 1 of 1", "spawn 3 in 2 of 1"]
    );
    assert_eq!(harness.ready(2), ["admit 2"]);
    assert_eq!(harness.ready(2), NOTHING);
    assert_eq!(harness.states(), ["1 starting", "2 ready", "3 starting"]);
}

#[test]
fn a_worker_that_lived_is_replaced_at_once() {
    let mut harness = Harness::serving(policy(2));
    assert_eq!(harness.dies(1, 11), ["withdraw 1", "spawn 3 in 0 of 1"]);
    assert_eq!(harness.dies(1, 11), NOTHING);
    assert_eq!(harness.supervisor.status()[0].restarts, 1);
}

#[test]
fn a_young_worker_that_has_worked_is_replaced_at_once() {
    let mut harness = Harness::new(policy(1));
    harness.pass(0);
    harness.ready(1);
    let (worker, how) = (WorkerId(1), Exit::Signal(11));
    let exited = Event::Exited { worker, how, proven: true };
    assert_eq!(harness.tell(exited), ["withdraw 1", "spawn 2 in 0 of 1"]);
}

#[test]
fn a_young_worker_killed_from_outside_is_replaced_at_once() {
    for signal in [9, 15] {
        let mut harness = Harness::new(policy(1));
        harness.pass(0);
        harness.ready(1);
        let actions = harness.dies(1, signal);
        assert_eq!(actions, ["withdraw 1", "spawn 2 in 0 of 1"]);
    }
}

#[test]
fn a_leave_and_the_exit_after_it_are_one_replacement() {
    let mut harness = Harness::serving(policy(1));
    assert_eq!(harness.leaves(1), ["withdraw 1", "spawn 2 in 0 of 1"]);
    assert_eq!(harness.states(), ["2 starting", "1 leaving"]);
    assert_eq!(harness.hangs_up(1), NOTHING);
    assert_eq!(harness.leaves(1), NOTHING);
    assert_eq!(harness.exits(1, 0), NOTHING);
    assert_eq!(harness.states(), ["2 starting"]);
}

#[test]
fn a_worker_that_has_announced_its_leave_is_killed_when_its_grace_is_over() {
    let mut harness = Harness::serving(policy(1));
    harness.leaves(1);
    harness.ready(2);
    assert_eq!(harness.pass(9_999), NOTHING);
    assert_eq!(harness.pass(1), ["kill 1: its grace is over"]);
    assert_eq!(harness.due(), None);
    assert_eq!(harness.dies(1, 9), NOTHING);
}

#[test]
fn a_foreign_program_gets_sigterm_and_two_seconds_before_sigkill() {
    let terminate_before_kill = Some(ms(2_000));
    let mut harness =
        Harness::serving(Policy { terminate_before_kill, ..policy(1) });
    harness.leaves(1);
    harness.ready(2);
    assert_eq!(harness.pass(10_000), ["terminate 1: its grace is over"]);
    assert_eq!(harness.states(), ["2 ready", "1 terminated"]);
    assert_eq!(harness.pass(1_999), NOTHING);
    assert_eq!(harness.pass(1), ["kill 1: it did not heed SIGTERM"]);
}

#[test]
fn a_lived_worker_that_loses_its_channel_is_replaced_before_it_exits() {
    let mut harness = Harness::serving(policy(1));
    assert_eq!(harness.hangs_up(1), ["withdraw 1", "spawn 2 in 0 of 1"]);
    assert_eq!(harness.dies(1, 11), NOTHING);
    assert_eq!(harness.ready(2), ["admit 2"]);
}

#[test]
fn of_a_young_worker_that_loses_its_channel_the_exit_tells_what_it_is_worth() {
    let mut harness = Harness::new(policy(1));
    harness.pass(0);
    harness.ready(1);
    assert_eq!(harness.hangs_up(1), ["withdraw 1"]);
    assert_eq!(harness.states(), ["1 dying"]);
    assert_eq!(harness.hangs_up(1), NOTHING);
    assert_eq!(harness.dies(1, 9), ["spawn 2 in 0 of 1"]);
    harness.ready(2);
    harness.hangs_up(2);
    assert_eq!(harness.dies(2, 11), NOTHING, "a crash has to wait");
    assert_eq!(harness.pass(100), ["spawn 3 in 0 of 1"]);
}

#[test]
fn a_young_worker_that_loses_its_channel_and_lives_on_is_killed() {
    let mut harness = Harness::new(policy(1));
    harness.pass(0);
    assert_eq!(harness.hangs_up(1), NOTHING);
    assert_eq!(harness.ready(1), NOTHING);
    assert_eq!(harness.pass(500), NOTHING);
    assert_eq!(harness.hangs_up(1), NOTHING);
    assert_eq!(harness.pass(499), NOTHING);
    assert_eq!(
        harness.pass(1),
        ["kill 1: it closed its channel and did not exit"]
    );
    assert_eq!(harness.pass(100), ["spawn 2 in 0 of 1"]);
}

#[test]
fn a_series_of_young_leaves_is_a_loop_but_the_first_costs_nothing() {
    let mut harness = Harness::new(policy(1));
    harness.pass(0);
    for (worker, pause) in [(1, 0), (2, 100), (3, 200), (4, 400)] {
        harness.ready(worker);
        let worker = WorkerId(worker);
        harness.tell(Event::Leaving { worker, proven: false });
        if pause > 0 {
            assert_eq!(harness.due(), Some(pause));
        }
        harness.pass(pause);
    }
}

#[test]
fn young_deaths_are_replaced_after_100_ms_then_200_up_to_5_s() {
    let mut harness = Harness::serving(policy(2));
    harness.dies(2, 9);
    for pause in [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000] {
        let young = harness.supervisor.newest.0;
        let actions = harness.exits(young, 1);
        let spawns = |action: &String| action.starts_with("spawn");
        assert!(!actions.iter().any(spawns), "{actions:?}");
        assert_eq!(harness.pass(pause - 1), NOTHING);
        assert_eq!(
            harness.pass(1),
            [format!("spawn {} in 1 of 1", young + 1)]
        );
    }
}

#[test]
fn one_worker_that_lives_ends_the_pauses() {
    let mut harness = Harness::serving(policy(2));
    harness.dies(2, 9);
    harness.exits(3, 1);
    harness.pass(100);
    harness.ready(4);
    harness.pass(1_000);
    assert_eq!(harness.exits(4, 1), ["withdraw 4", "spawn 5 in 1 of 1"]);
    harness.exits(5, 1);
    assert_eq!(harness.due(), Some(100));
}

#[test]
fn degraded_and_recovered_are_said_once() {
    let mut harness = Harness::serving(policy(2));
    harness.dies(2, 9);
    assert_eq!(harness.exits(3, 1), NOTHING, "one young death is an accident");
    harness.pass(100);
    let degraded = "degraded: 1 of 2 workers in rotation, others die young";
    assert_eq!(harness.exits(4, 1), [degraded]);
    harness.pass(200);
    assert_eq!(harness.exits(5, 1), NOTHING);
    harness.pass(400);
    assert_eq!(harness.ready(6), ["admit 6"]);
    assert_eq!(harness.pass(999), NOTHING);
    assert_eq!(harness.pass(1), ["recovered: workers live again"]);
}

#[test]
fn when_all_fail_one_slot_tries_for_all_until_its_worker_has_lived() {
    let mut harness = Harness::serving(policy(4));
    for worker in 1..=4 {
        harness.dies(worker, 9);
    }
    for worker in 5..=8 {
        harness.exits(worker, 1);
    }
    assert_eq!(harness.pass(100), ["spawn 9 in 0 of 1"]);
    assert_eq!(harness.pass(10_000), NOTHING, "one at a time");
    assert_eq!(harness.ready(9), ["admit 9"]);
    assert_eq!(harness.pass(999), NOTHING);
    assert_eq!(
        harness.pass(1),
        ["spawn 10 in 1 of 1", "spawn 11 in 2 of 1", "spawn 12 in 3 of 1"]
    );
}

#[test]
fn after_a_massacre_six_start_at_once_and_the_rest_when_one_has_lived() {
    let mut harness = Harness::serving(policy(8));
    for worker in 1..=8 {
        harness.dies(worker, 9);
    }
    assert_eq!(harness.supervisor.newest, WorkerId(14));
    for worker in 9..=14 {
        harness.ready(worker);
    }
    harness.pass(999);
    assert_eq!(harness.supervisor.newest, WorkerId(14));
    assert_eq!(harness.pass(1), ["spawn 15 in 6 of 1", "spawn 16 in 7 of 1"]);
}

#[test]
fn five_failures_without_one_success_end_the_master_with_the_last_reason() {
    let mut harness = Harness::new(policy(1));
    harness.pass(0);
    for worker in 1..=4 {
        assert_eq!(harness.exits(worker, 1), NOTHING);
        harness.pass(5_000);
    }
    assert_eq!(
        harness.dies(5, 11),
        ["exit: gave up: 5 workers failed and none was ever ready; \
          the last, worker 5, was killed by signal 11"]
    );
    assert_eq!(harness.due(), None);
    assert_eq!(harness.tell(Event::Stop), NOTHING);
}

#[test]
fn who_gives_up_kills_the_rest_and_waits_for_it() {
    let mut harness = Harness::new(policy(6));
    harness.pass(0);
    for worker in 1..=4 {
        harness.exits(worker, 3);
    }
    assert_eq!(harness.exits(5, 3), ["kill 6: the master gives up"]);
    assert_eq!(
        harness.dies(6, 9),
        ["exit: gave up: 5 workers failed and none was ever ready; \
          the last, worker 5, exited with status 3"]
    );
}

#[test]
fn a_program_that_has_worked_once_is_tried_for_ever() {
    let mut harness = Harness::serving(policy(1));
    harness.dies(1, 9);
    for worker in 2..=50 {
        harness.exits(worker, 1);
        assert_eq!(harness.pass(5_000).len(), 1);
    }
}

#[test]
fn a_program_that_cannot_be_started_ends_the_master_at_once() {
    let mut harness = Harness::new(policy(3));
    harness.pass(0);
    let kills = ["kill 2: the master gives up", "kill 3: the master gives up"];
    assert_eq!(harness.spawn_fails(1), kills);
    assert_eq!(harness.spawn_fails(2), NOTHING);
    assert_eq!(
        harness.spawn_fails(3),
        ["exit: cannot start: prog: no such file"]
    );
}

#[test]
fn a_later_spawn_failure_is_a_death() {
    let mut harness = Harness::serving(policy(2));
    harness.dies(1, 9);
    assert_eq!(harness.spawn_fails(3), NOTHING);
    assert_eq!(harness.pass(100), ["spawn 4 in 0 of 1"]);
}

#[test]
fn a_worker_that_is_not_ready_in_time_is_killed_and_has_failed() {
    let mut harness = Harness::serving(policy(2));
    harness.dies(1, 9);
    assert_eq!(harness.pass(29_999), NOTHING);
    assert_eq!(harness.pass(1), ["kill 3: it was not ready in time"]);
    assert_eq!(harness.due(), Some(100));
    assert_eq!(harness.ready(3), NOTHING);
    assert_eq!(harness.pass(100), ["spawn 4 in 0 of 1"]);
    assert_eq!(harness.dies(3, 9), NOTHING);
}

#[test]
fn a_hung_worker_is_withdrawn_killed_and_replaced_at_once() {
    let mut harness = Harness::serving(policy(1));
    assert_eq!(
        harness.hung(1),
        ["withdraw 1", "kill 1: it hangs", "spawn 2 in 0 of 1"]
    );
    assert_eq!(harness.hung(1), NOTHING);
    assert_eq!(harness.dies(1, 9), NOTHING);
}

/// Its SIGKILL is ours, and no excuse as one from outside would be.
#[test]
fn who_breaks_the_rules_again_and_again_is_a_crash_loop() {
    let mut harness = Harness::new(policy(1));
    harness.pass(0);
    for (worker, pause) in [(1, 100), (2, 200), (3, 400)] {
        harness.ready(worker);
        let killed = harness.tell(Event::Broken { worker: WorkerId(worker) });
        let kill =
            format!("kill {worker}: it breaks the rules of its channel");
        assert_eq!(killed[..2], [format!("withdraw {worker}"), kill]);
        assert_eq!(harness.hangs_up(worker), NOTHING);
        assert_eq!(harness.dies(worker, 9), NOTHING);
        assert_eq!(harness.due(), Some(pause));
        harness.pass(pause);
    }
}

#[test]
fn a_leaving_worker_that_hangs_does_not_get_its_whole_grace() {
    let mut harness = Harness::serving(policy(1));
    harness.leaves(1);
    assert_eq!(harness.hung(1), ["kill 1: it hangs"]);
}

#[test]
fn a_seventeenth_leaving_worker_of_a_slot_costs_the_oldest_its_life() {
    let mut harness = Harness::serving(policy(1));
    for worker in 1..=16 {
        harness.leaves(worker);
        harness.ready(worker + 1);
    }
    assert_eq!(
        harness.leaves(17),
        ["withdraw 17", "kill 1: too many workers of its slot are leaving"]
    );
    assert_eq!(harness.dies(1, 9), ["spawn 18 in 0 of 1"]);
}

#[test]
fn more_workers_are_started_at_once_and_fewer_leave_from_the_top() {
    let mut harness = Harness::serving(policy(2));
    assert_eq!(harness.tell(Event::Resize(3)), ["spawn 3 in 2 of 1"]);
    assert_eq!(
        harness.tell(Event::Resize(1)),
        ["withdraw 2", "disconnect 2", "kill 3: it is not needed any more"]
    );
    assert_eq!(harness.exits(2, 0), NOTHING);
    assert_eq!(harness.dies(3, 9), NOTHING);
    assert_eq!(harness.states(), ["1 ready"]);
}

#[test]
fn to_outlive_the_channel_is_not_to_live() {
    let mut harness = Harness::new(policy(1));
    harness.pass(0);
    harness.ready(1);
    harness.pass(500);
    harness.hangs_up(1);
    harness.pass(600);
    assert_eq!(harness.hangs_up(1), NOTHING);
    assert_eq!(harness.pass(400).len(), 1, "killed");
    assert_eq!(harness.due(), Some(100));
}

#[test]
fn slots_that_fail_do_not_keep_others_from_being_replaced_at_once() {
    let mut harness = Harness::serving(policy(8));
    for worker in 1..=6 {
        harness.dies(worker, 9);
    }
    for worker in 9..=14 {
        harness.exits(worker, 1);
    }
    harness.pass(100);
    assert_eq!(harness.supervisor.newest, WorkerId(20));
    assert_eq!(harness.dies(7, 9), ["withdraw 7", "spawn 21 in 6 of 1"]);
}

#[test]
fn while_six_replacements_are_untested_no_seventh_is_started() {
    let mut harness = Harness::serving(policy(8));
    for worker in 1..=6 {
        harness.dies(worker, 9);
    }
    assert_eq!(harness.dies(7, 9), ["withdraw 7"]);
    assert_eq!(harness.ready(9), ["admit 9", "spawn 15 in 6 of 1"]);
}

#[test]
fn when_all_fail_the_pauses_are_common_and_the_least_failed_tries_next() {
    let mut harness = Harness::serving(policy(3));
    for worker in 1..=3 {
        harness.dies(worker, 9);
    }
    for worker in 4..=6 {
        harness.exits(worker, 1);
    }
    assert_eq!(harness.pass(100), ["spawn 7 in 0 of 1"]);
    assert_eq!(harness.exits(7, 1).len(), 1, "degraded");
    assert_eq!(harness.pass(199), NOTHING);
    assert_eq!(harness.pass(1), ["spawn 8 in 1 of 1"]);
    harness.exits(8, 1);
    assert_eq!(harness.pass(399), NOTHING);
    assert_eq!(harness.pass(1), ["spawn 9 in 2 of 1"]);
}

#[test]
fn a_slot_that_always_fails_does_not_delay_the_only_one_that_lives() {
    let mut harness = Harness::serving(policy(2));
    harness.dies(2, 9);
    for worker in 3..12 {
        harness.exits(worker, 1);
        harness.pass(harness.due().unwrap());
    }
    harness.exits(12, 1);
    assert_eq!(harness.due(), Some(5_000));
    assert_eq!(harness.dies(1, 9), ["withdraw 1", "spawn 13 in 0 of 1"]);
}

#[test]
fn a_kill_from_outside_ends_the_pauses_of_all() {
    let mut harness = Harness::serving(policy(2));
    for worker in 1..=2 {
        harness.dies(worker, 9);
    }
    harness.exits(3, 1);
    harness.exits(4, 1);
    assert_eq!(harness.pass(100), ["spawn 5 in 0 of 1"]);
    harness.ready(5);
    assert_eq!(
        harness.dies(5, 15),
        ["withdraw 5", "spawn 6 in 0 of 1", "spawn 7 in 1 of 1"]
    );
}

#[test]
fn a_trial_that_is_sized_away_does_not_keep_the_others_waiting() {
    let mut harness = Harness::serving(policy(2));
    for worker in 1..=2 {
        harness.dies(worker, 9);
    }
    harness.exits(4, 1);
    assert_eq!(harness.pass(100), ["spawn 5 in 1 of 1"]);
    harness.exits(3, 1);
    harness.tell(Event::Resize(1));
    harness.dies(5, 9);
    assert_eq!(harness.pass(100), ["spawn 6 in 0 of 1"]);
}

#[test]
fn a_trial_is_over_when_another_worker_has_lived() {
    let mut harness = Harness::serving(policy(3));
    for worker in 1..=3 {
        harness.dies(worker, 9);
    }
    harness.exits(4, 1);
    harness.exits(5, 1);
    harness.ready(6);
    assert_eq!(harness.pass(100), ["spawn 7 in 0 of 1"]);
    let spawns = ["withdraw 6", "spawn 8 in 2 of 1", "spawn 9 in 1 of 1"];
    assert_eq!(harness.dies(6, 9), spawns);
    harness.exits(8, 1);
    assert_eq!(
        harness.pass(100),
        ["spawn 10 in 2 of 1"],
        "though 7 still tries"
    );
}

#[test]
fn many_slots_that_fail_once_each_are_degraded_too() {
    let mut harness = Harness::serving(policy(12));
    for worker in 1..=12 {
        harness.dies(worker, 9);
    }
    for worker in 13..=18 {
        assert_eq!(harness.exits(worker, 1), NOTHING);
    }
    assert_eq!(harness.pass(100), ["spawn 19 in 6 of 1"]);
    let degraded = "degraded: 0 of 12 workers in rotation, others die young";
    assert_eq!(harness.exits(19, 1), [degraded]);
}

#[test]
fn new_slots_get_their_first_worker_whatever_the_others_do() {
    let mut harness = Harness::serving(policy(1));
    harness.dies(1, 9);
    harness.exits(2, 1);
    let spawns = ["spawn 3 in 1 of 1", "spawn 4 in 2 of 1"];
    assert_eq!(harness.tell(Event::Resize(3)), spawns);
}
