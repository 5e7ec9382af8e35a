//! Who gets which server, is measured by which, and when one is closed.

use super::*;

#[test]
fn who_asks_for_the_same_gets_the_same_and_the_firsts_data() {
    let mut talk = Talk::new(false);
    talk.start(ONE, 0);
    talk.start(TWO, 1);
    let with = |data: &str| {
        let words = r#"{"cmd":"NODE_CLUSTER","act":"queryServer","index":1"#;
        let place = place(3203);
        format!(
            r#"{words},"data":{{"ticketKeys":"{data}"}},{place},"seq":1}}"#
        )
    };
    let reply = |worker, seq: u64| {
        let words = r#"{"cmd":"NODE_CLUSTER","errno":null,"key":"127.0.0.1:3203:4:undefined:1","ack":1,"data":{"ticketKeys":"4a77"}"#;
        let name = r#""sockname":{"address":"127.0.0.1","family":"IPv4","port":3203}"#;
        format!(r#"to {worker}: {words},{name},"seq":{seq}}}"#)
    };
    assert_eq!(talk.hear(ONE, &with("4a77"))[1], reply(ONE, 0));
    assert_eq!(talk.hear(TWO, &with("0001")), [reply(TWO, 1)]);
}

#[test]
fn a_server_on_any_port_is_also_called_by_the_port_it_has_got() {
    let mut talk = Talk::new(false);
    talk.start(ONE, 0);
    talk.start(TWO, 1);
    talk.hear(ONE, &query(1, 0, &place(0)));
    assert_eq!(talk.hear(ONE, &listening(0, &place(4001))), ["1 is ready"]);
    // Whoever has it means another by that name.
    assert_eq!(
        talk.hear(ONE, &query(2, 0, &place(4001)))[0],
        format!("open {}", key(4001))
    );
    let other = talk.hear(TWO, &query(1, 0, &place(4001)));
    assert!(other[0].contains(&key(0)), "{other:?}");
    assert_eq!(other.len(), 1);
}

#[test]
fn a_query_that_is_too_long_or_one_too_many_is_denied() {
    let mut talk = Talk::new(false);
    talk.start(ONE, 0);
    let path = |path: &str| {
        format!(r#""address":"{path}","port":-1,"addressType":-1"#)
    };
    let long = talk.hear(ONE, &query(1, 0, &path(&"x".repeat(4096))));
    assert!(long.concat().contains(r#""errno":-22,"#), "{long:?}");
    let fits = 4096 - ":-1:-1:undefined:0".len();
    let fits = talk.hear(ONE, &query(1, 0, &path(&"x".repeat(fits))));
    assert_eq!(fits.len(), 2);
    for index in 1..1024 {
        assert_eq!(talk.hear(ONE, &query(1, index, &place(0))).len(), 2);
    }
    let last = talk.hear(ONE, &query(1, 1024, &place(0)));
    assert!(last.concat().contains(r#""errno":-24,"#), "{last:?}");
    // What is there can still be had.
    assert_eq!(talk.hear(ONE, &query(1, 9, &place(0))).len(), 1);
}

/// Worker 1 serves on three ports; the last is not one of its beginning.
fn serving_late() -> Talk {
    let mut talk = serving();
    talk.now += Duration::from_secs(1) - MILLISECOND;
    let joins = listen_on(&mut talk, ONE, 3101);
    assert_eq!(joins, ["1 in slot 0 joins 2"]);
    talk.now += MILLISECOND;
    assert_eq!(listen_on(&mut talk, ONE, 3102), ["1 in slot 0 joins 3"]);
    talk
}

#[test]
fn a_successor_is_ready_when_it_listens_where_its_predecessor_does() {
    let mut talk = serving_late();
    talk.start(TWO, 0);
    assert_eq!(listen_on(&mut talk, TWO, 3101), [""; 0]);
    assert_eq!(listen_on(&mut talk, TWO, 3100), [""; 0]);
    assert_eq!(listen_on(&mut talk, TWO, 3102), ["2 is ready"]);
    let joins = [1, 2, 3].map(|id| format!("2 in slot 0 joins {id}"));
    assert_eq!(talk.admit(TWO), joins);
    // Another slot's has no predecessor.
    talk.start(WorkerId(3), 1);
    assert_eq!(listen_on(&mut talk, WorkerId(3), 3102), ["3 is ready"]);
}

#[test]
fn what_its_predecessor_does_meanwhile_counts() {
    let mut talk = serving();
    talk.now += Duration::from_secs(60);
    talk.start(TWO, 0);
    // So late that nobody else would have to have it.
    listen_on(&mut talk, ONE, 3101);
    assert_eq!(listen_on(&mut talk, TWO, 3100), [""; 0]);
    let closed = talk.hear(ONE, &close(&key(3101)));
    assert_eq!(closed, ["1 leaves 2", "2 is ready"]);
}

#[test]
fn who_succeeds_the_dead_is_measured_by_their_beginning() {
    let mut talk = serving_late();
    talk.primary.withdrawn(ONE);
    talk.primary.lost(ONE);
    talk.start(TWO, 0);
    assert_eq!(listen_on(&mut talk, TWO, 3101), [""; 0]);
    assert_eq!(listen_on(&mut talk, TWO, 3100), ["2 is ready"]);
}

/// A worker asks for a server that cannot be opened.
fn refused(talk: &mut Talk, worker: WorkerId, port: u16) {
    talk.trouble = Some(98);
    let told = talk.hear(worker, &query(1, 0, &place(port))).concat();
    assert!(told.contains(r#""errno":-98,"#), "{told}");
}

#[test]
fn the_first_whose_only_server_was_refused_is_not_ready_when_its_time_is_up() {
    let mut talk = Talk::new(false);
    talk.start(ONE, 0);
    talk.hear(ONE, ONLINE);
    refused(&mut talk, ONE, 3100);
    talk.now = BOOT - MILLISECOND;
    assert_eq!(talk.judge(), [""; 0], "it may try again until then");
    talk.now = BOOT;
    assert_eq!(talk.judge(), [format!("1 was refused {KEY}: 98")]);
    assert_eq!(talk.judge(), [""; 0]);
}

#[test]
fn a_successor_that_was_refused_all_is_given_up_before_its_time() {
    let mut talk = serving();
    talk.start(TWO, 0);
    talk.hear(TWO, ONLINE);
    refused(&mut talk, TWO, 3101);
    // It tries again after a second.
    talk.now += Duration::from_secs(1);
    refused(&mut talk, TWO, 3101);
    talk.now += Duration::from_secs(2) - MILLISECOND;
    assert_eq!(talk.judge(), [""; 0]);
    talk.now += MILLISECOND;
    assert_eq!(talk.primary.deadline(), Some(talk.now));
    let words = format!("2 was refused {}: 98", key(3101));
    assert_eq!(talk.judge(), [words]);
    assert_eq!(talk.primary.deadline(), None);
}

#[test]
fn a_successor_that_gets_something_else_has_all_its_time() {
    for first in [true, false] {
        let mut talk = serving();
        listen_on(&mut talk, ONE, 3101);
        talk.start(TWO, 0);
        talk.hear(TWO, ONLINE);
        if first {
            listen_on(&mut talk, TWO, 3101);
        }
        refused(&mut talk, TWO, 3102);
        if !first {
            listen_on(&mut talk, TWO, 3101);
        }
        assert_eq!(talk.primary.deadline(), Some(BOOT));
        talk.now = BOOT;
        assert_eq!(talk.judge(), [format!("2 is ready without {KEY}")]);
    }
}

#[test]
fn what_a_worker_closes_its_successor_need_not_have() {
    let mut talk = serving();
    listen_on(&mut talk, ONE, 3101);
    talk.hear(ONE, &close(KEY));
    // What it was asked to close does not count.
    talk.primary.withdrawn(ONE);
    talk.hear(ONE, &close(&key(3101)));
    talk.start(TWO, 0);
    assert_eq!(listen_on(&mut talk, TWO, 3100), [""; 0]);
    assert_eq!(listen_on(&mut talk, TWO, 3101), ["2 is ready"]);
}

#[test]
fn what_all_have_closed_is_closed_a_second_later() {
    let mut talk = serving();
    listen_on(&mut talk, ONE, 3101);
    talk.start(TWO, 1);
    listen_on(&mut talk, TWO, 3100);
    listen_on(&mut talk, TWO, 3101);
    talk.hear(ONE, &close(KEY));
    assert_eq!(talk.close(2, false), [""; 0]);
    assert_eq!(talk.primary.servers.deadline(), None, "2 has it");
    talk.hear(TWO, &close(KEY));
    // But not while somebody is to come, nor if it is opened again.
    assert_eq!(talk.close(2, true), [""; 0]);
    assert_eq!(talk.primary.servers.deadline(), None);
    assert_eq!(talk.close(2, false), [""; 0]);
    listen_on(&mut talk, ONE, 3100);
    assert_eq!(talk.primary.servers.deadline(), None);
    talk.hear(ONE, &close(KEY));
    talk.closes_after(2, Duration::from_secs(1), KEY);
    // A new one is another.
    let again = talk.hear(ONE, &query(1, 0, &place(3100)));
    assert_eq!(again[0], format!("open {KEY}"));
}

#[test]
fn no_death_closes_what_a_successor_is_to_have() {
    let mut talk = serving();
    talk.primary.lost(ONE);
    assert_eq!(talk.close(1, true), [""; 0]);
    assert_eq!(talk.close(1, false), [""; 0]);
    assert_eq!(talk.primary.servers.deadline(), None, "it is wanted");
    talk.start(TWO, 0);
    assert_eq!(listen_on(&mut talk, TWO, 3101), [""; 0]);
    assert_eq!(listen_on(&mut talk, TWO, 3100), ["2 is ready"]);
    talk.admit(TWO);
    // With its slot goes the wish; and it did not say that it closes it.
    talk.primary.withdrawn(TWO);
    talk.primary.lost(TWO);
    talk.start(ONE, 1);
    listen_on(&mut talk, ONE, 3101);
    assert_eq!(talk.close(1, false), [""; 0]);
    talk.closes_after(0, BOOT, KEY);
}

#[test]
fn who_closes_all_it_has_may_be_going_and_a_successor_has_its_time() {
    let mut talk = serving();
    listen_on(&mut talk, ONE, 3101);
    talk.hear(ONE, &close(&key(3101)));
    assert_eq!(talk.close(1, false), [""; 0]);
    let soon = Duration::from_secs(1);
    assert_eq!(talk.primary.servers.deadline(), Some(soon));
    talk.hear(ONE, &close(KEY));
    assert_eq!(talk.primary.servers.deadline(), Some(BOOT));
    talk.now = soon;
    assert_eq!(talk.close(1, false), [""; 0]);
    talk.now = BOOT;
    assert_eq!(talk.close(1, false), [format!("close {}", key(3101))]);
    assert_eq!(talk.primary.servers.deadline(), Some(BOOT + soon));
}

#[test]
fn nobody_is_asked_who_is_to_come_while_every_server_is_had() {
    let mut talk = serving();
    let mut orders = Vec::new();
    let ask = || panic!("it does not matter");
    talk.primary.close_deserted(Duration::ZERO, 1, ask, &mut orders);
    assert_eq!(orders, []);
}
