//! Every message of the wire: what its line means, and how it is spelt.

use handoff::internals::ipc::message::{
    Act, AddressType, Answer, Cluster, HandleKind, Inner, Listen, Malformed,
    Message, Server, Sockname,
};
use proptest::prelude::*;

const TRANSCRIPTS: [&str; 5] = [
    include_str!("data/ipc/cluster.txt"),
    include_str!("data/ipc/listen.txt"),
    include_str!("data/ipc/child.txt"),
    include_str!("data/ipc/user.txt"),
    include_str!("data/ipc/handoff.txt"),
];

fn cluster(seq: u64, act: Act<'_>) -> Message<'_> {
    Message::Cluster(Cluster { seq: Some(seq), act })
}

fn encoded(message: &Message<'_>) -> String {
    let mut line = Vec::new();
    message.encode(&mut line);
    let mut line = String::from_utf8(line).expect("UTF-8");
    assert_eq!(line.pop(), Some('\n'));
    assert!(!line.contains('\n'), "{line}");
    line
}

#[test]
fn what_was_recorded_is_understood_and_spelt_as_it_was() {
    let mut seen = 0;
    for line in TRANSCRIPTS.iter().flat_map(|t| t.lines()) {
        if line.starts_with('#') {
            continue;
        }
        let [who, descriptors, line] =
            line.splitn(3, ' ').collect::<Vec<_>>()[..]
        else {
            panic!("{line}");
        };
        let message = Message::parse(line.as_bytes())
            .unwrap_or_else(|error| panic!("{error}: {line}"));
        assert_eq!(message.descriptors().to_string(), descriptors, "{line}");
        let again = encoded(&message);
        assert_eq!(Message::parse(again.as_bytes()), Ok(message), "{line}");
        assert_eq!(again == line, !who.ends_with('~'), "{again}");
        assert!(serde_json::from_str::<serde_json::Value>(&again).is_ok());
        seen += 1;
    }
    assert_eq!(seen, 61);
}

#[test]
fn each_line_means_one_message() {
    let key = || "127.0.0.1:3100:4:undefined:0".into();
    let asked = || Listen {
        address: Some("127.0.0.1".into()),
        port: Some(3100),
        address_type: AddressType::Tcp4,
        flags: Some(0),
        ..Listen::default()
    };
    let table = [
        (
            r#"{"cmd":"NODE_CLUSTER","act":"online","seq":0}"#,
            cluster(0, Act::Online { handoff: None }),
        ),
        (
            r#"{"cmd":"NODE_CLUSTER","act":"online","handoff":1,"seq":0}"#,
            cluster(0, Act::Online { handoff: Some(1) }),
        ),
        (
            concat!(
                r#"{"cmd":"NODE_CLUSTER","act":"queryServer","index":0,"#,
                r#""data":null,"address":"127.0.0.1","port":3100,"#,
                r#""addressType":4,"flags":0,"backlog":false,"seq":1}"#
            ),
            cluster(1, Act::QueryServer(asked())),
        ),
        (
            concat!(
                r#"{"cmd":"NODE_CLUSTER","act":"listening","index":2,"#,
                r#""data":{"ticketKeys":"00"},"address":"/x","port":-1,"#,
                r#""addressType":-1,"fd":-1,"backlog":511,"#,
                r#""readableAll":true,"writableAll":true,"#,
                r#""capacity":1000,"seq":2}"#
            ),
            cluster(
                2,
                Act::Listening {
                    server: Listen {
                        index: 2,
                        data: Some(r#"{"ticketKeys":"00"}"#),
                        address: Some("/x".into()),
                        port: Some(-1),
                        address_type: AddressType::Unix,
                        fd: Some(-1),
                        flags: None,
                        backlog: Some(511),
                        readable_all: true,
                        writable_all: true,
                    },
                    capacity: Some(1000),
                },
            ),
        ),
        (
            concat!(
                r#"{"cmd":"NODE_CLUSTER","errno":null,"#,
                r#""key":"127.0.0.1:3100:4:undefined:0","ack":1,"#,
                r#""data":null,"sockname":{"address":"127.0.0.1","#,
                r#""family":"IPv4","port":3100},"seq":0}"#
            ),
            cluster(
                0,
                Act::Reply {
                    ack: 1,
                    answer: Answer::Server(Server {
                        errno: 0,
                        key: key(),
                        data: None,
                        sockname: Some(Sockname {
                            address: "127.0.0.1".into(),
                            port: 3100,
                        }),
                    }),
                },
            ),
        ),
        (
            concat!(
                r#"{"cmd":"NODE_CLUSTER","errno":-98,"key":"k","ack":1,"#,
                r#""data":{"t":[1]},"seq":0}"#
            ),
            cluster(
                0,
                Act::Reply {
                    ack: 1,
                    answer: Answer::Server(Server {
                        errno: -98,
                        key: "k".into(),
                        data: Some(r#"{"t":[1]}"#),
                        sockname: None,
                    }),
                },
            ),
        ),
        (
            concat!(
                r#"{"cmd":"NODE_HANDLE","type":"net.Native","msg":{"#,
                r#""cmd":"NODE_CLUSTER","act":"newconn","#,
                r#""key":"127.0.0.1:3100:4:undefined:0","seq":2}}"#
            ),
            Message::Handle {
                kind: HandleKind::NetNative,
                inner: Inner::Cluster(Cluster {
                    seq: Some(2),
                    act: Act::NewConnection { key: key() },
                }),
            },
        ),
        (
            r#"{"cmd":"NODE_CLUSTER","ack":2,"accepted":true,"seq":3}"#,
            cluster(3, Act::Reply { ack: 2, answer: Answer::Accepted(true) }),
        ),
        (
            r#"{"cmd":"NODE_CLUSTER","ack":2,"accepted":false,"seq":3}"#,
            cluster(3, Act::Reply { ack: 2, answer: Answer::Accepted(false) }),
        ),
        (
            r#"{"cmd":"NODE_CLUSTER","ack":4,"seq":3}"#,
            cluster(3, Act::Reply { ack: 4, answer: Answer::Done }),
        ),
        (
            r#"{"cmd":"NODE_CLUSTER","act":"disconnect","seq":4}"#,
            cluster(4, Act::Disconnect { idle: None, give: false }),
        ),
        (
            r#"{"cmd":"NODE_CLUSTER","act":"disconnect","idle":500,"seq":4}"#,
            cluster(4, Act::Disconnect { idle: Some(500), give: false }),
        ),
        (
            r#"{"cmd":"NODE_CLUSTER","act":"close","key":"k\n"}"#,
            Message::Cluster(Cluster {
                seq: None,
                act: Act::Close { key: "k\n".into() },
            }),
        ),
        (
            r#"{"cmd":"NODE_CLUSTER","act":"exitedAfterDisconnect","seq":4}"#,
            cluster(4, Act::ExitedAfterDisconnect),
        ),
        (
            r#"{"cmd":"NODE_HANDLE","first":18446744073709551362,"count":253}"#,
            Message::Connections {
                first: u64::MAX - 253,
                count: 253,
                slots: Vec::new().into(),
            },
        ),
        (r#"{"cmd":"NODE_HANDLE_ACK"}"#, Message::HandleAck),
        (r#"{"cmd":"NODE_HANDLE_NACK"}"#, Message::HandleNack { first: None }),
        (
            r#"{"cmd":"NODE_HANDLE_NACK","first":7}"#,
            Message::HandleNack { first: Some(7) },
        ),
        (
            r#"{"cmd":"NODE_HANDLE_RESUME","first":9}"#,
            Message::Resume { first: 9 },
        ),
        (
            r#"{"cmd":"NODE_HANDLE","type":"net.Socket","msg":{"a":1},"key":"4:k"}"#,
            Message::Handle {
                kind: HandleKind::NetSocket { key: Some("4:k".into()) },
                inner: Inner::User(r#"{"a":1}"#),
            },
        ),
        (
            r#"{"cmd":"NODE_HANDLE","type":"net.Socket","msg":"s"}"#,
            Message::Handle {
                kind: HandleKind::NetSocket { key: None },
                inner: Inner::User("\"s\""),
            },
        ),
        (
            r#"{"cmd":"NODE_HANDLE","type":"net.Server","msg":{"cmd":"NODE_HANDLE"}}"#,
            Message::Handle {
                kind: HandleKind::NetServer,
                inner: Inner::Internal(r#"{"cmd":"NODE_HANDLE"}"#),
            },
        ),
        (
            r#"{"cmd":"NODE_HANDLE","type":"dgram.Native","msg":null}"#,
            Message::Handle {
                kind: HandleKind::DgramNative,
                inner: Inner::User("null"),
            },
        ),
        (
            r#"{"cmd":"NODE_HANDLE","type":"dgram.Socket","msg":1,"dgramType":"udp6"}"#,
            Message::Handle {
                kind: HandleKind::DgramSocket { ipv6: true },
                inner: Inner::User("1"),
            },
        ),
        (
            r#"{"cmd":"NODE_SOCKET_GET_COUNT","key":"k"}"#,
            Message::SocketGetCount { key: "k".into() },
        ),
        (
            r#"{"cmd":"NODE_SOCKET_COUNT","key":"k","count":3}"#,
            Message::SocketCount { key: "k".into(), count: 3 },
        ),
        (
            r#"{"cmd":"NODE_SOCKET_NOTIFY_CLOSE","key":"k"}"#,
            Message::SocketNotifyClose { key: "k".into() },
        ),
        (
            r#"{"cmd":"NODE_SOCKET_ALL_CLOSED","key":"k"}"#,
            Message::SocketAllClosed { key: "k".into() },
        ),
        (
            r#"{"cmd":"NODE_PRIVATE_THING","x":1}"#,
            Message::Internal(r#"{"cmd":"NODE_PRIVATE_THING","x":1}"#),
        ),
        (
            r#"{"cmd":"NODE_CLUSTER","act":"dance"}"#,
            Message::Internal(r#"{"cmd":"NODE_CLUSTER","act":"dance"}"#),
        ),
        (r#""ready""#, Message::User(r#""ready""#)),
    ];
    for (line, message) in table {
        assert_eq!(Message::parse(line.as_bytes()), Ok(message.clone()));
        assert_eq!(encoded(&message), line);
        assert!(serde_json::from_str::<serde_json::Value>(line).is_ok());
    }
}

#[test]
fn internal_is_an_object_whose_cmd_is_longer_than_its_prefix() {
    for line in [
        r#"{"cmd":"NODE"}"#,
        r#"{"cmd":"NODE_"}"#,
        r#"{"cmd":"node_handle"}"#,
        r#"{"cmd":5}"#,
        r#"{"cmd":null}"#,
        r#"{"cmd":["NODE_HANDLE"]}"#,
        r#"[{"cmd":"NODE_HANDLE"}]"#,
        r#""NODE_HANDLE""#,
        r#"{"msg":{"cmd":"NODE_HANDLE_ACK"}}"#,
        r#"{"cmd":"NODE_HANDLE_ACK","cmd":"mine"}"#,
        " 1 ",
    ] {
        assert_eq!(Message::parse(line.as_bytes()), Ok(Message::User(line)));
    }
    for line in [
        r#"{"cmd":"NODE_HANDLE_ACK"}"#,
        r#" { "x" : [ ] , "cmd" : "NODE_HANDLE_ACK" } "#,
        r#"{"\u0063md":"NODE\u005fHANDLE_ACK"}"#,
        r#"{"cmd":"mine","cmd":"NODE_HANDLE_ACK"}"#,
    ] {
        assert_eq!(Message::parse(line.as_bytes()), Ok(Message::HandleAck));
    }
}

#[test]
fn null_counts_as_absent_and_what_nobody_reads_may_be_anything() {
    let line = concat!(
        r#"{"cmd":"NODE_CLUSTER","act":"queryServer","index":null,"#,
        r#""data":null,"address":null,"port":null,"addressType":null,"#,
        r#""fd":null,"flags":null,"backlog":null,"readableAll":null,"#,
        r#""writableAll":null,"ack":null,"seq":null,"key":[1],"more":{}}"#
    );
    let asked = Act::QueryServer(Listen::default());
    let expected = Message::Cluster(Cluster { seq: None, act: asked });
    assert_eq!(Message::parse(line.as_bytes()), Ok(expected.clone()));
    let short = br#"{"cmd":"NODE_CLUSTER","act":"queryServer"}"#;
    assert_eq!(Message::parse(short), Ok(expected));
}

#[test]
fn what_is_malformed_is_said_in_words() {
    for (line, said) in [
        ("", "not JSON: expected a value at byte 0"),
        ("{", "not JSON: expected a string at byte 1"),
        ("\"\\ud83d\"", "not JSON: half a surrogate pair at byte 7"),
        (
            r#"{"cmd":"NODE_CLUSTER","act":"newconn","seq":1}"#,
            "an internal message without \"key\"",
        ),
        (
            r#"{"cmd":"NODE_CLUSTER","act":"close","key":7}"#,
            "\"key\" is not a string",
        ),
        (
            r#"{"cmd":"NODE_CLUSTER","act":"online","seq":-1}"#,
            "\"seq\" is not a whole number",
        ),
        (r#"{"cmd":"NODE_CLUSTER","act":7}"#, "\"act\" is not a string"),
        (
            r#"{"cmd":"NODE_CLUSTER","ack":"1"}"#,
            "\"ack\" is not a whole number",
        ),
        (
            r#"{"cmd":"NODE_CLUSTER","ack":1,"accepted":1}"#,
            "\"accepted\" is not true or false",
        ),
        (
            r#"{"cmd":"NODE_CLUSTER","ack":1,"errno":-98}"#,
            "an internal message without \"key\"",
        ),
        (
            r#"{"cmd":"NODE_CLUSTER","ack":1,"key":"k","errno":1e3}"#,
            "\"errno\" is not a whole number in range",
        ),
        (
            r#"{"cmd":"NODE_CLUSTER","ack":1,"key":"k","sockname":{}}"#,
            "an internal message without \"address\"",
        ),
        (
            r#"{"cmd":"NODE_CLUSTER","ack":1,"key":"k","sockname":{"address":"","port":65536}}"#,
            "\"port\" is not a whole number in range",
        ),
        (
            r#"{"cmd":"NODE_CLUSTER","act":"queryServer","addressType":5}"#,
            "\"addressType\" is not a kind of address",
        ),
        (
            r#"{"cmd":"NODE_CLUSTER","act":"queryServer","backlog":true}"#,
            "\"backlog\" is not a whole number in range",
        ),
        (
            r#"{"cmd":"NODE_CLUSTER","act":"queryServer","port":4294967296}"#,
            "\"port\" is not a whole number in range",
        ),
        (r#"{"cmd":"NODE_HANDLE"}"#, "an internal message without \"first\""),
        (
            r#"{"cmd":"NODE_HANDLE","first":0}"#,
            "an internal message without \"count\"",
        ),
        (
            r#"{"cmd":"NODE_HANDLE","first":0,"count":0}"#,
            "\"count\" is not a number of descriptors",
        ),
        (
            r#"{"cmd":"NODE_HANDLE","first":0,"count":254}"#,
            "\"count\" is not a number of descriptors",
        ),
        (
            r#"{"cmd":"NODE_HANDLE","first":18446744073709551615,"count":1}"#,
            "\"count\" is not a number that can be counted to",
        ),
        (
            r#"{"cmd":"NODE_HANDLE","type":"net.Unknown","msg":1}"#,
            "\"type\" is not a kind of handle",
        ),
        (
            r#"{"cmd":"NODE_HANDLE","type":"dgram.Socket","msg":1}"#,
            "\"dgramType\" is not udp4 or udp6",
        ),
        (
            r#"{"cmd":"NODE_HANDLE","type":"net.Native","msg":{"cmd":"NODE_CLUSTER","act":"close"}}"#,
            "an internal message without \"key\"",
        ),
        (
            r#"{"cmd":"NODE_HANDLE_RESUME"}"#,
            "an internal message without \"first\"",
        ),
        (
            r#"{"cmd":"NODE_SOCKET_COUNT","key":"k"}"#,
            "an internal message without \"count\"",
        ),
        (
            r#"{"cmd":"NODE_SOCKET_GET_COUNT"}"#,
            "an internal message without \"key\"",
        ),
    ] {
        let error = Message::parse(line.as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), said, "{line}");
    }
    let error = Message::parse(b"\"abc\xff\"").unwrap_err();
    assert_eq!(error, Malformed::NotUtf8 { at: 4 });
    assert_eq!(error.to_string(), "not UTF-8 at byte 4");
}

#[test]
fn raw_text_is_written_on_one_line() {
    let pretty = "{\n  \"a\": \"\\n\"\n}";
    let message = Message::User(pretty);
    assert_eq!(encoded(&message), "{   \"a\": \"\\n\" }");
    let inner = Inner::User(pretty);
    let line =
        encoded(&Message::Handle { kind: HandleKind::NetServer, inner });
    assert!(line.contains(r#""msg":{   "a": "\n" }"#), "{line}");
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 300,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn what_is_written_is_read_as_it_was_meant(
        text in any::<String>(),
        number in any::<u64>(),
        port in any::<i32>(),
        fd in any::<Option<i32>>(),
        flags in any::<Option<u32>>(),
        backlog in prop::option::of(1..=u32::MAX),
        all in any::<(bool, bool)>(),
    ) {
        let server = Listen {
            index: number,
            data: Some("[1]"),
            address: Some((&*text).into()),
            port: Some(port),
            address_type: AddressType::Udp6,
            fd,
            flags,
            backlog,
            readable_all: all.0,
            writable_all: all.1,
        };
        let reply = Act::Reply {
            ack: number,
            answer: Answer::Server(Server {
                errno: port,
                key: (&*text).into(),
                data: None,
                sockname: Some(Sockname {
                    address: (&*text).into(),
                    port: port as u16,
                }),
            }),
        };
        for message in [
            cluster(number, Act::QueryServer(server.clone())),
            cluster(number, Act::Listening { server, capacity: Some(number) }),
            cluster(number, reply.clone()),
            cluster(number, Act::Close { key: (&*text).into() }),
            Message::SocketCount { key: (&*text).into(), count: number },
            Message::Handle {
                kind: HandleKind::NetNative,
                inner: Inner::Cluster(Cluster { seq: None, act: reply }),
            },
        ] {
            let line = encoded(&message);
            let parsed = Message::parse(line.as_bytes());
            prop_assert_eq!(parsed, Ok(message));
        }
    }
}
