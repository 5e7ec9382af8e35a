//! The last answer on the wire: it and the end of the connection are one
//! segment, so that a client is woken once and acknowledges once.

use std::io::{ErrorKind, Read};
use std::net::{Ipv4Addr, SocketAddrV4};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::answering;
use crate::common::server::Server;
use crate::common::skipped;
use crate::peer::{Client, End, get, post};

/// Nobody else's address: a listener on the wire that is bound to it hears
/// of no other test.
const CLIENT: Ipv4Addr = Ipv4Addr::new(127, 84, 67, 80);

/// FIN among the flags of a segment (RFC 9293 §3.1).
const FIN: u8 = 1;

/// Everything that IPv4 brings to [`CLIENT`] over TCP.
struct Wire(Socket);

/// A segment to the client that has bytes or the end in it.
#[derive(Debug, PartialEq, Eq)]
struct Segment {
    length: usize,
    ends: bool,
}

impl Wire {
    /// `None`, which is said, where only root may listen (raw(7)).
    fn open() -> Option<Wire> {
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::TCP));
        match socket {
            Ok(socket) => {
                let address = SocketAddrV4::new(CLIENT, 0);
                socket.bind(&SockAddr::from(address)).unwrap();
                socket.set_nonblocking(true).unwrap();
                Some(Wire(socket))
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::PermissionDenied);
                let ci =
                    std::env::var_os("CI").is_some_and(|ci| !ci.is_empty());
                assert!(!ci, "CI must not skip a test: {error}");
                skipped("only root can look at the wire");
                None
            }
        }
    }

    /// What has come to this port. A segment is here before the client has
    /// it: net/ipv4/ip_input.c gives raw sockets theirs first.
    fn to(&self, port: u16) -> Vec<Segment> {
        let mut segments = Vec::new();
        let mut packet = vec![0; 1 << 17];
        while let Ok(length) = (&self.0).read(&mut packet) {
            let packet = &packet[..length];
            let tcp = &packet[usize::from(packet[0] & 15) * 4..];
            let to = u16::from_be_bytes([tcp[2], tcp[3]]);
            let segment = Segment {
                length: tcp.len() - usize::from(tcp[12] >> 4) * 4,
                ends: tcp[13] & FIN != 0,
            };
            if to == port && (segment.length > 0 || segment.ends) {
                segments.push(segment);
            }
        }
        segments
    }
}

/// Sends, reads up to the end, and tells what was on the wire.
fn segments_of(wire: &Wire, server: &Server, request: &str) -> Vec<Segment> {
    let mut client = Client::open_from(CLIENT, server.place());
    let port = client.port();
    client.send(request);
    client.answers();
    wire.to(port)
}

/// One segment, and the end in it.
fn is_one(segments: &[Segment]) -> bool {
    matches!(segments, [Segment { length: 1.., ends: true }])
}

#[test]
fn every_last_answer_and_the_end_are_one_segment() {
    let Some(wire) = Wire::open() else { return };
    let server = answering();
    let closing = |target: &str| {
        get(target).replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n")
    };
    let pipelined = get("/a") + &get("/b") + &closing("/c");
    let requests = [
        closing("/"),
        "GET / HTTP/1.0\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nHost: a\r\nbroken\r\n\r\n".to_owned(),
        post("/", 1 << 40),
        pipelined,
        closing("/later/20"),
        closing("/delay/10"),
        closing("/stream/3"),
        closing("/panic"),
    ];
    for request in requests {
        for _ in 0..10 {
            let segments = segments_of(&wire, &server, &request);
            assert!(is_one(&segments), "{request}: {segments:?}");
        }
    }
}

/// The last piece of a stream in chunks is its end.
#[test]
fn the_end_comes_with_the_last_chunk_of_a_stream() {
    let Some(wire) = Wire::open() else { return };
    let server = answering();
    let request =
        "GET /ticks/3 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let segments = segments_of(&wire, &server, request);
    let last = segments.last().unwrap();
    assert_eq!(last, &Segment { length: "0\r\n\r\n".len(), ends: true });
}

/// To be reset, it must not be kept back: the client would not have it.
#[test]
fn what_is_written_before_a_reset_does_not_wait_for_it() {
    let Some(wire) = Wire::open() else { return };
    let server = answering();
    let mut client = Client::open_from(CLIENT, server.place());
    client.send("GET /broken HTTP/1.0\r\n\r\n");
    let (_, end) = client.rest();
    assert_eq!(end, End::Reset);
    let segments = wire.to(client.port());
    assert!(segments.iter().all(|segment| !segment.ends), "{segments:?}");
}
