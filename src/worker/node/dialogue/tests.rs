//! A Node process's words, line by line, and what is said to them. The lines
//! are Node's own (`tests/data/ipc`); a descriptor is a number.

use super::*;
use crate::slab::Slab;

const KEY: &str = "127.0.0.1:3100:4:undefined:0";

/// What comes of a line and its descriptor.
fn hear(
    dialogue: &mut Dialogue,
    line: &str,
    descriptor: Option<u32>,
) -> Result<Option<Event<u32>>, Refused> {
    dialogue.hear(&Message::parse(line.as_bytes()).unwrap(), descriptor)
}

fn said(dialogue: &mut Dialogue) -> Vec<String> {
    let lines = str::from_utf8(dialogue.lines()).unwrap();
    let lines = lines.lines().map(str::to_owned).collect();
    dialogue.said();
    lines
}

fn server(name: &str, address: &'static str, port: i32) -> Server {
    let address_type = match address {
        "::1" => AddressType::Tcp6,
        _ if port < 0 => AddressType::Unix,
        _ => AddressType::Tcp4,
    };
    let listen = Listen {
        address: Some(address.into()),
        port: Some(port),
        address_type,
        flags: (port >= 0).then_some(0),
        ..Listen::default()
    };
    Server { listen, name: name.to_owned(), state: State::New }
}

fn reply(ack: u64, errno: &str, key: &str, sockname: &str) -> String {
    format!(
        r#"{{"cmd":"NODE_CLUSTER","errno":{errno},"key":"{key}","ack":{ack},"data":null{sockname},"seq":0}}"#
    )
}

const SOCKNAME: &str =
    r#","sockname":{"address":"127.0.0.1","family":"IPv4","port":3100}"#;

fn connection(key: &str, seq: u64) -> String {
    format!(
        r#"{{"cmd":"NODE_HANDLE","type":"net.Native","msg":{{"cmd":"NODE_CLUSTER","act":"newconn","key":"{key}","seq":{seq}}}}}"#
    )
}

fn socket(key: &str) -> String {
    format!(
        r#"{{"cmd":"NODE_HANDLE","type":"net.Socket","msg":{{}},"key":"{key}"}}"#
    )
}

/// A worker whose one server listens, and who has said so.
fn listening(room: usize) -> Dialogue {
    let servers = vec![server("3100", "127.0.0.1", 3100)];
    let mut dialogue = Dialogue::new(servers, room);
    dialogue.introduce();
    let line = reply(1, "null", KEY, SOCKNAME);
    let place = "http://127.0.0.1:3100".to_owned();
    assert_eq!(
        hear(&mut dialogue, &line, None),
        Ok(Some(Event::Listening(place)))
    );
    dialogue
}

const ACK: &str = r#"{"cmd":"NODE_HANDLE_ACK"}"#;
const NACK: &str = r#"{"cmd":"NODE_HANDLE_NACK"}"#;

/// The transcript of a Node worker's life, and ours.
#[test]
fn a_workers_life_is_told_in_nodes_words() {
    let mut dialogue = listening(9);
    assert_eq!(
        said(&mut dialogue),
        [
            r#"{"cmd":"NODE_CLUSTER","act":"online","seq":0}"#,
            r#"{"cmd":"NODE_CLUSTER","act":"queryServer","index":0,"data":null,"address":"127.0.0.1","port":3100,"addressType":4,"flags":0,"backlog":false,"seq":1}"#,
            r#"{"cmd":"NODE_CLUSTER","act":"listening","index":0,"data":null,"address":"127.0.0.1","port":3100,"addressType":4,"flags":0,"backlog":false,"seq":2}"#,
        ]
    );
    assert_eq!(
        hear(&mut dialogue, &connection(KEY, 2), Some(7)),
        Ok(Some(Event::Connection(7, None)))
    );
    assert_eq!(
        said(&mut dialogue),
        [ACK, r#"{"cmd":"NODE_CLUSTER","ack":2,"accepted":true,"seq":3}"#]
    );
    let line = r#"{"cmd":"NODE_CLUSTER","act":"disconnect","seq":4}"#;
    assert_eq!(hear(&mut dialogue, line, None), Ok(Some(Event::Disconnect)));
    assert_eq!(
        said(&mut dialogue),
        [format!(
            r#"{{"cmd":"NODE_CLUSTER","act":"close","key":"{KEY}","seq":4}}"#
        )]
    );
}

#[test]
fn a_worker_that_wants_to_go_waits_for_the_word_and_takes_what_is_coming() {
    let mut dialogue = listening(9);
    said(&mut dialogue);
    dialogue.announce();
    assert_eq!(
        said(&mut dialogue),
        [
            format!(
                r#"{{"cmd":"NODE_CLUSTER","act":"close","key":"{KEY}","seq":3}}"#
            ),
            r#"{"cmd":"NODE_CLUSTER","act":"exitedAfterDisconnect","seq":4}"#
                .to_owned(),
        ]
    );
    assert_eq!(
        hear(&mut dialogue, &connection(KEY, 5), Some(7)),
        Ok(Some(Event::Connection(7, None)))
    );
    said(&mut dialogue);
    let other = r#"{"cmd":"NODE_CLUSTER","ack":3,"seq":6}"#;
    assert_eq!(hear(&mut dialogue, other, None), Ok(None));
    let word = r#"{"cmd":"NODE_CLUSTER","ack":4,"seq":7}"#;
    assert_eq!(hear(&mut dialogue, word, None), Ok(Some(Event::Disconnect)));
    assert_eq!(said(&mut dialogue), [""; 0], "it is closed already");
}

#[test]
fn what_is_not_for_us_or_too_much_goes_back_to_the_primary() {
    let mut dialogue = listening(1);
    said(&mut dialogue);
    let lines = [
        (connection("another", 1), Ok(None), "false"),
        (connection(KEY, 1), Ok(Some(Event::Connection(7, None))), "true"),
        (connection(KEY, 1), Ok(None), "false"),
    ];
    let mut clients = Slab::new();
    for (line, expected, accepted) in lines {
        assert_eq!(hear(&mut dialogue, &line, Some(7)), expected);
        let lines = said(&mut dialogue);
        assert_eq!(lines[0], ACK);
        let answer = format!(r#""ack":1,"accepted":{accepted}"#);
        assert!(lines[1].contains(&answer), "{lines:?}");
    }
    // One leaves, and there is room again.
    dialogue.ended(clients.insert(()));
    assert_eq!(dialogue.room(), 1);
    assert_eq!(
        hear(&mut dialogue, &connection(KEY, 1), Some(7)),
        Ok(Some(Event::Connection(7, None)))
    );
}

/// Node sends such a one no second time.
#[test]
fn a_connection_that_got_lost_on_the_way_goes_back_to_the_primary() {
    let mut dialogue = listening(9);
    said(&mut dialogue);
    assert_eq!(hear(&mut dialogue, &connection(KEY, 8), None), Ok(None));
    assert_eq!(
        said(&mut dialogue),
        [NACK, r#"{"cmd":"NODE_CLUSTER","ack":8,"accepted":false,"seq":3}"#]
    );
    assert_eq!(dialogue.room(), 9);
    assert_eq!(hear(&mut dialogue, &socket("a"), None), Ok(None));
    assert_eq!(said(&mut dialogue), [NACK]);
}

#[test]
fn every_handle_is_acknowledged_and_used_for_what_it_is() {
    let list = |dialogue: &mut Dialogue| dialogue.lists.arrived("a");
    let mut dialogue = Dialogue::new(Vec::new(), 3);
    let list = list(&mut dialogue);
    for (kind, rest, event) in [
        ("net.Socket", "", Some(Event::Connection(7, None))),
        (
            "net.Socket",
            r#","key":"a""#,
            Some(Event::Connection(7, Some(list))),
        ),
        ("net.Native", "", Some(Event::Socket(7))),
        ("net.Server", "", Some(Event::Listener(7))),
        ("dgram.Native", "", None),
        ("dgram.Socket", r#","dgramType":"udp6""#, None),
    ] {
        let line = format!(
            r#"{{"cmd":"NODE_HANDLE","type":"{kind}","msg":"take it"{rest}}}"#
        );
        assert_eq!(hear(&mut dialogue, &line, Some(7)), Ok(event), "{line}");
        assert_eq!(said(&mut dialogue), [ACK], "{line}");
    }
    assert_eq!(dialogue.room(), 1);
    assert!(dialogue.sit_down());
    assert_eq!(
        hear(&mut dialogue, &socket("a"), Some(7)),
        Ok(Some(Event::TooMany(7)))
    );
    assert_eq!(said(&mut dialogue), [ACK]);
}

#[test]
fn a_process_hears_how_many_of_its_connections_are_here() {
    let mut dialogue = Dialogue::new(Vec::new(), 9);
    let mut clients = Slab::new();
    let mut keys = Vec::new();
    for _ in 0..2 {
        let event = hear(&mut dialogue, &socket("a"), Some(7));
        let Ok(Some(Event::Connection(_, Some(list)))) = event else {
            panic!("{event:?}");
        };
        let key = clients.insert(());
        dialogue.seated(key, list);
        keys.push(key);
    }
    said(&mut dialogue);
    let ask = |dialogue: &mut Dialogue, what: &str, key: &str| {
        let line = format!(r#"{{"cmd":"NODE_SOCKET_{what}","key":"{key}"}}"#);
        assert_eq!(hear(dialogue, &line, None), Ok(None));
        said(dialogue).concat()
    };
    let count = |key: &str, count: u32| {
        format!(
            r#"{{"cmd":"NODE_SOCKET_COUNT","key":"{key}","count":{count}}}"#
        )
    };
    let closed = |key: &str| {
        format!(r#"{{"cmd":"NODE_SOCKET_ALL_CLOSED","key":"{key}"}}"#)
    };
    assert_eq!(ask(&mut dialogue, "GET_COUNT", "a"), count("a", 2));
    assert_eq!(ask(&mut dialogue, "GET_COUNT", "b"), count("b", 0));
    assert_eq!(ask(&mut dialogue, "NOTIFY_CLOSE", "b"), closed("b"));
    assert_eq!(ask(&mut dialogue, "NOTIFY_CLOSE", "a"), "");
    dialogue.ended(keys[0]);
    assert_eq!(said(&mut dialogue), [""; 0]);
    dialogue.ended(keys[1]);
    assert_eq!(said(&mut dialogue).concat(), closed("a"));
}

#[test]
fn a_shared_socket_is_listened_on_under_its_real_port() {
    let servers = vec![server("0", "127.0.0.1", 0)];
    let mut dialogue = Dialogue::new(servers, 9);
    dialogue.introduce();
    said(&mut dialogue);
    let line = format!(
        r#"{{"cmd":"NODE_HANDLE","type":"net.Native","msg":{}}}"#,
        reply(1, "0", "k", "")
    );
    assert_eq!(
        hear(&mut dialogue, &line, Some(7)),
        Ok(Some(Event::Shared(7, 0)))
    );
    assert_eq!(dialogue.listening(0, Some(4711)), "http://127.0.0.1:4711");
    let lines = said(&mut dialogue);
    assert_eq!(lines[0], ACK);
    assert!(lines[1].contains(r#""act":"listening""#), "{lines:?}");
    assert!(lines[1].contains(r#""port":4711"#), "{lines:?}");
}

#[test]
fn places_are_named_as_clients_type_them() {
    for (address, port, place) in [
        ("::1", 80, "http://[::1]:80"),
        ("127.0.0.1", 80, "http://127.0.0.1:80"),
        ("/run/x.sock", -1, "unix:/run/x.sock"),
    ] {
        let mut dialogue = Dialogue::new(vec![server("x", address, port)], 9);
        assert_eq!(dialogue.listening(0, None), place);
    }
}

#[test]
fn what_the_primary_cannot_have_is_told_with_its_name() {
    let servers = vec![server("3100", "127.0.0.1", 3100)];
    let mut dialogue = Dialogue::new(servers, 9);
    dialogue.introduce();
    let refused = Refused { name: "3100".to_owned(), errno: -98 };
    let line = reply(1, "-98", KEY, "");
    assert_eq!(hear(&mut dialogue, &line, None), Err(refused));
}

#[test]
fn of_a_hosts_addresses_the_machine_need_have_but_one() {
    let names = || {
        let host = "localhost:80";
        vec![server(host, "::1", 80), server(host, "127.0.0.1", 80)]
    };
    for errnos in [["-99", "null"], ["null", "-97"]] {
        let mut dialogue = Dialogue::new(names(), 9);
        dialogue.introduce();
        for (ack, errno) in [1, 2].into_iter().zip(errnos) {
            let line = reply(ack, errno, KEY, "");
            let event = hear(&mut dialogue, &line, None).unwrap();
            assert_eq!(event.is_some(), errno == "null");
        }
    }
    let refused = Refused { name: "localhost:80".to_owned(), errno: -99 };
    let mut dialogue = Dialogue::new(names(), 9);
    dialogue.introduce();
    assert_eq!(hear(&mut dialogue, &reply(1, "-99", KEY, ""), None), Ok(None));
    let line = reply(2, "-99", KEY, "");
    assert_eq!(hear(&mut dialogue, &line, None), Err(refused));
    // In use is another matter: a client may come by either address.
    let refused = Refused { name: "localhost:80".to_owned(), errno: -98 };
    let mut dialogue = Dialogue::new(names(), 9);
    dialogue.introduce();
    let line = reply(1, "-98", KEY, "");
    assert_eq!(hear(&mut dialogue, &line, None), Err(refused));
}

#[test]
fn what_nobody_asked_for_changes_nothing() {
    let mut dialogue = listening(9);
    said(&mut dialogue);
    for line in [
        reply(77, "null", "k", ""),
        r#"{"cmd":"NODE_CLUSTER","act":"online","seq":0}"#.to_owned(),
        r#"{"cmd":"NODE_CLUSTER","act":"unheard of","seq":0}"#.to_owned(),
        r#"{"cmd":"NODE_HANDLE_ACK"}"#.to_owned(),
        r#"{"cmd":"NODE_DEBUG_ENABLED"}"#.to_owned(),
        r#"["hello"]"#.to_owned(),
    ] {
        assert_eq!(hear(&mut dialogue, &line, None), Ok(None), "{line}");
        assert_eq!(said(&mut dialogue), [""; 0], "{line}");
    }
}
