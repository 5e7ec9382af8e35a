//! Node workers' words, line by line, and what is done about them. The lines
//! are Node's own (`tests/data/ipc`).

use super::*;

/// The transcript of a Node worker's life, as `cluster.txt` has it.
#[test]
fn a_workers_life_is_told_in_nodes_words() {
    let mut talk = Talk::new(false);
    talk.start(ONE, 0);
    assert_eq!(talk.hear(ONE, ONLINE), ["1 is online"]);
    let asked = r#"{"cmd":"NODE_CLUSTER","act":"queryServer","index":0,"data":null,"address":"127.0.0.1","port":3100,"addressType":4,"flags":0,"backlog":false,"seq":1}"#;
    let reply = r#"to 1: {"cmd":"NODE_CLUSTER","errno":null,"key":"127.0.0.1:3100:4:undefined:0","ack":1,"data":null,"sockname":{"address":"127.0.0.1","family":"IPv4","port":3100},"seq":0}"#;
    let open = format!("open {KEY}");
    assert_eq!(talk.hear(ONE, asked), [&open, reply]);
    let listens = r#"{"cmd":"NODE_CLUSTER","act":"listening","index":0,"data":null,"address":"127.0.0.1","port":3100,"addressType":4,"flags":0,"backlog":false,"seq":2}"#;
    assert_eq!(talk.hear(ONE, listens), ["1 is ready"]);
    assert_eq!(talk.admit(ONE), ["1 in slot 0 joins 1"]);
    talk.primary.sent(ONE, ServerId(1), 1, 2);
    assert_eq!(talk.hear(ONE, ACK), [""; 0]);
    let accepted = r#"{"cmd":"NODE_CLUSTER","ack":2,"accepted":true,"seq":3}"#;
    assert_eq!(talk.hear(ONE, accepted), ["1 takes 1 of 1"]);
    let words = r#"{"got":{"user":"hi","n":1}}"#;
    assert_eq!(talk.hear(ONE, words), [format!("1 says {words}")]);
    // Told to disconnect.
    talk.primary.withdrawn(ONE);
    assert_eq!(talk.hear(ONE, &close(KEY)), ["1 leaves 1"]);
    talk.primary.cut_off(ONE);
    talk.primary.lost(ONE);
    assert_eq!(talk.primary.deadline(), None);
}

#[test]
fn who_wants_to_go_is_out_of_the_rotation_before_it_hears_that_it_may() {
    let mut talk = serving();
    talk.primary.sent(ONE, ServerId(1), 1, 5);
    assert_eq!(
        talk.hear(ONE, NACK),
        ["1 refuses one of 1: out of descriptors"]
    );
    assert_eq!(talk.hear(ONE, &close(KEY)), ["1 leaves 1"]);
    let word =
        r#"{"cmd":"NODE_CLUSTER","act":"exitedAfterDisconnect","seq":4}"#;
    let reply = r#"to 1: {"cmd":"NODE_CLUSTER","ack":4,"seq":1}"#;
    assert_eq!(talk.hear(ONE, word), ["1 leaves", reply]);
}

/// The queries and the answers of `listen.txt`.
#[test]
fn whatever_node_asks_for_has_the_name_that_node_gives_it() {
    let reply = |key: &str, rest: &str| {
        let words = r#"to 1: {"cmd":"NODE_CLUSTER","errno":null,"key":""#;
        format!(r#"{words}{key}","ack":1,"data":null{rest},"seq":0}}"#)
    };
    let name = |address: &str, port: u16| {
        let family = if address.contains(':') { "IPv6" } else { "IPv4" };
        format!(
            r#","sockname":{{"address":"{address}","family":"{family}","port":{port}}}"#
        )
    };
    let everywhere = r#""address":null,"port":3200,"addressType":4"#;
    let v6 = r#""address":"::","port":3201,"addressType":6,"flags":1"#;
    let path = r#""address":"/tmp/u.sock","port":-1,"addressType":-1"#;
    let fd = r#""address":null,"port":null,"addressType":null,"fd":0"#;
    for (index, place, key, sockname) in [
        (0, everywhere, "null:3200:4:undefined:0", name("127.0.0.1", 3200)),
        (0, v6, ":::3201:6:undefined:0", name("::1", 3201)),
        (0, path, "/tmp/u.sock:-1:-1:undefined:0", String::new()),
        (0, fd, "null:null:null:0:0", name("127.0.0.1", 4001)),
        (1, &place(0), "127.0.0.1:0:4:undefined:1", name("127.0.0.1", 4001)),
    ] {
        let mut talk = Talk::new(false);
        talk.start(ONE, 0);
        assert_eq!(
            talk.hear(ONE, &query(1, index, place)),
            [format!("open {key}"), reply(key, &sockname)]
        );
    }
    let mut talk = Talk::new(false);
    talk.start(ONE, 0);
    let shared = r#"to 1: {"cmd":"NODE_HANDLE","type":"dgram.Native","msg":{"cmd":"NODE_CLUSTER","errno":null,"key":"127.0.0.1:3992:udp4:-1:0","ack":4,"data":null,"seq":0}}"#;
    assert_eq!(
        talk.hear(ONE, &query(4, 0, &udp(3992))),
        ["open 127.0.0.1:3992:udp4:-1:0", shared]
    );
}

#[test]
fn what_cannot_be_had_is_told_by_the_systems_number_and_asked_for_anew() {
    let mut talk = Talk::new(false);
    talk.start(ONE, 0);
    talk.trouble = Some(98);
    let open = format!("open {KEY}");
    let denied = r#"to 1: {"cmd":"NODE_CLUSTER","errno":-98,"key":"127.0.0.1:3100:4:undefined:0","ack":2,"data":null,"seq":0}"#;
    assert_eq!(talk.hear(ONE, &query(2, 0, &place(3100))), [&open, denied]);
    assert_eq!(talk.hear(ONE, &listening(0, &place(3100))), [""; 0]);
    assert_eq!(talk.hear(ONE, &query(3, 0, &place(3100)))[0], open);
}

#[test]
fn descriptors_are_answered_for_in_the_order_in_which_they_were_sent() {
    let mut talk = serving();
    talk.primary.sent(ONE, ServerId(1), 1, 2);
    talk.primary.sent(ONE, ServerId(1), 2, 3);
    talk.hear(ONE, &query(9, 0, &udp(53)));
    talk.primary.sent(ONE, ServerId(1), 3, 5);
    for _ in 0..4 {
        assert_eq!(talk.hear(ONE, ACK), [""; 0]);
    }
    assert_eq!(talk.try_hear(ONE, ACK), Err(Fault::AcknowledgesNothing));
    assert_eq!(talk.hear(ONE, &accepted(2, true)), ["1 takes 1 of 1"]);
    let full = ["1 refuses one of 1: full"];
    assert_eq!(talk.hear(ONE, &accepted(3, false)), full);
    assert_eq!(talk.hear(ONE, &accepted(5, true)), ["1 takes 3 of 1"]);
}

#[test]
fn a_socket_that_does_not_arrive_or_cannot_be_copied_is_denied() {
    let mut talk = Talk::new(false);
    talk.start(ONE, 0);
    talk.start(TWO, 1);
    let key = "127.0.0.1:53:udp4:-1:0";
    let denied = |worker, ack: u64, seq: u64| {
        format!(
            r#"to {worker}: {{"cmd":"NODE_CLUSTER","errno":-24,"key":"{key}","ack":{ack},"data":null,"seq":{seq}}}"#
        )
    };
    talk.hear(ONE, &query(4, 0, &udp(53)));
    assert_eq!(talk.hear(ONE, NACK), [denied(ONE, 4, 1)]);
    assert_eq!(talk.try_hear(ONE, NACK), Err(Fault::MissesNothing));
    talk.trouble = Some(24);
    assert_eq!(talk.hear(TWO, &query(5, 0, &udp(53))), [denied(TWO, 5, 2)]);
    assert_eq!(talk.try_hear(TWO, ACK), Err(Fault::AcknowledgesNothing));
    // Neither has it now.
    talk.closes_after(2, BOOT, key);
    // It may be gone before that is told.
    talk.start(TWO, 1);
    talk.hear(TWO, &query(6, 0, &udp(53)));
    talk.primary.withdrawn(TWO);
    talk.closes_after(2, BOOT, key);
    assert_eq!(talk.hear(TWO, NACK), [""; 0]);
}

#[test]
fn what_no_worker_says_is_a_fault_and_changes_nothing_else() {
    let connection = |arrived: bool| {
        let mut talk = serving();
        talk.primary.sent(ONE, ServerId(1), 1, 2);
        if arrived {
            talk.hear(ONE, ACK);
        }
        talk
    };
    let newconn = r#"{"cmd":"NODE_CLUSTER","act":"newconn","key":"k"}"#;
    let disconnect = r#"{"cmd":"NODE_CLUSTER","act":"disconnect"}"#;
    for (mut talk, line, fault) in [
        (serving(), ACK, Fault::AcknowledgesNothing),
        (connection(true), ACK, Fault::AcknowledgesNothing),
        (connection(true), NACK, Fault::MissesWhatItHas),
        (serving(), NACK, Fault::MissesNothing),
        (serving(), &accepted(2, true), Fault::AnswersNothing),
        (connection(false), &accepted(2, true), Fault::AnswersNothing),
        (connection(true), &accepted(3, true), Fault::AnswersOutOfOrder),
        (serving(), newconn, Fault::MastersWords),
        (serving(), disconnect, Fault::MastersWords),
    ] {
        assert_eq!(talk.try_hear(ONE, line), Err(fault), "{line}");
        assert_eq!(listen_on(&mut talk, ONE, 80), ["1 in slot 0 joins 2"]);
    }
    let mut talk = connection(true);
    talk.primary.cut_off(ONE);
    assert_eq!(talk.try_hear(ONE, ACK), Err(Fault::AcknowledgesNothing));
}

#[test]
fn nodes_questions_are_answered_at_once() {
    let mut talk = serving();
    let handle = r#"{"cmd":"NODE_HANDLE","type":"dgram.Socket","msg":"d","dgramType":"udp4"}"#;
    let count = r#"{"cmd":"NODE_SOCKET_GET_COUNT","key":"4:127.0.0.1:3302"}"#;
    let none =
        r#"{"cmd":"NODE_SOCKET_COUNT","key":"4:127.0.0.1:3302","count":0}"#;
    let watch =
        r#"{"cmd":"NODE_SOCKET_NOTIFY_CLOSE","key":"4:127.0.0.1:3302"}"#;
    let closed =
        r#"{"cmd":"NODE_SOCKET_ALL_CLOSED","key":"4:127.0.0.1:3302"}"#;
    for (line, answer) in [(handle, ACK), (count, none), (watch, closed)] {
        assert_eq!(talk.hear(ONE, line), [format!("to 1: {answer}")]);
    }
}

#[test]
fn what_asks_for_nothing_changes_nothing() {
    let mut talk = serving();
    for line in [
        none_such("act", "unheard of"),
        r#"{"cmd":"NODE_CLUSTER","ack":7,"seq":3}"#.to_owned(),
        r#"{"cmd":"NODE_PRIVATE_THING","x":1}"#.to_owned(),
        r#"{"cmd":"NODE_SOCKET_COUNT","key":"k","count":1}"#.to_owned(),
        r#"{"cmd":"NODE_SOCKET_ALL_CLOSED","key":"k"}"#.to_owned(),
        close("nobody's"),
        listening(0, &place(3999)),
    ] {
        assert_eq!(talk.hear(ONE, &line), [""; 0], "{line}");
    }
    // Nor does who is dead.
    for line in [ONLINE, ACK, "3", &query(1, 0, &place(1)), &close(KEY)] {
        assert_eq!(talk.hear(WorkerId(9), line), [""; 0], "{line}");
    }
}

fn none_such(member: &str, value: &str) -> String {
    format!(r#"{{"cmd":"NODE_CLUSTER","{member}":"{value}","seq":0}}"#)
}

#[test]
fn ready_is_said_once_and_before_the_word_is_passed_on() {
    let mut talk = Talk::new(true);
    talk.start(ONE, 0);
    assert_eq!(listen_on(&mut talk, ONE, 3100), [""; 0]);
    let ready = "\"ready\"";
    let both = ["1 is ready", "1 says \"ready\""];
    assert_eq!(talk.hear(ONE, ready), both);
    assert_eq!(talk.hear(ONE, ready), both[1..]);
    assert_eq!(talk.primary.deadline(), None);
    assert_eq!(talk.judge(), [""; 0]);
}

#[test]
fn who_is_late_is_judged_once_by_what_it_has() {
    let mut talk = serving();
    listen_on(&mut talk, ONE, 3101);
    for worker in 2..5 {
        talk.start(WorkerId(worker), usize::from(worker == 4));
        assert_eq!(talk.primary.deadline(), Some(BOOT));
    }
    talk.hear(TWO, ONLINE);
    listen_on(&mut talk, TWO, 3101);
    talk.hear(WorkerId(4), ONLINE);
    talk.now = BOOT - MILLISECOND;
    assert_eq!(talk.judge(), [""; 0]);
    talk.now = BOOT;
    let without = format!("2 is ready without {KEY}");
    assert_eq!(talk.judge(), [&without, "4 is ready"]);
    assert_eq!(talk.primary.deadline(), None);
    // The supervisor's time for it is over too.
    talk.hear(WorkerId(3), ONLINE);
    assert_eq!(listen_on(&mut talk, WorkerId(3), 3100), [""; 0]);
}
