//! From a [`Message`] to a line, members in Node's order.

use std::io::Write as _;

use super::{
    Act, AddressType, Answer, Cluster, HandleKind, Inner, Listen, Message,
    Seat,
};
use crate::ipc::json::{ObjectWriter, push_raw};

impl Message<'_> {
    /// Appends the message and its line feed to `out`.
    ///
    /// What is said to be raw JSON must be: a peer may end at a bad line.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Message::Cluster(message) => cluster(message, out),
            Message::Handle { kind, inner } => handle(kind, inner, out),
            Message::Connections { first, count, slots } => {
                let mut line = internal("NODE_HANDLE", out);
                line.literal("first", first);
                line.literal("count", count);
                if !slots.is_empty() {
                    seats(slots, line.value("slots"));
                }
                line.close();
            }
            Message::Snapshot(snapshot) => {
                let mut line = internal("NODE_HANDLE_BEQUEST", out);
                line.literal("done", snapshot.done);
                line.literal("next", snapshot.next);
                line.string("input", &snapshot.input);
                line.string("output", &snapshot.output);
                line.literal("closing", snapshot.closing);
                line.literal("replays", snapshot.record.0);
                line.literal("tries", snapshot.record.1);
                line.close();
            }
            Message::HandleAck => internal("NODE_HANDLE_ACK", out).close(),
            Message::HandleNack { first } => {
                let mut line = internal("NODE_HANDLE_NACK", out);
                if let Some(first) = first {
                    line.literal("first", first);
                }
                line.close();
            }
            Message::Resume { first } => {
                let mut line = internal("NODE_HANDLE_RESUME", out);
                line.literal("first", first);
                line.close();
            }
            Message::SocketGetCount { key } => {
                of_list("NODE_SOCKET_GET_COUNT", key, out).close();
            }
            Message::SocketCount { key, count } => {
                let mut line = of_list("NODE_SOCKET_COUNT", key, out);
                line.literal("count", count);
                line.close();
            }
            Message::SocketNotifyClose { key } => {
                of_list("NODE_SOCKET_NOTIFY_CLOSE", key, out).close();
            }
            Message::SocketAllClosed { key } => {
                of_list("NODE_SOCKET_ALL_CLOSED", key, out).close();
            }
            Message::Internal(text) | Message::User(text) => {
                push_raw(out, text);
            }
        }
        out.push(b'\n');
    }
}

/// A number for each: 0 for none, else the slot's from 1 on, negative if
/// there is something to find.
fn seats(seats: &[Seat], out: &mut Vec<u8>) {
    out.push(b'[');
    for (index, seat) in seats.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        if seat.moved {
            out.push(b'-');
        }
        // Writing into memory does not fail.
        let _ = write!(out, "{}", seat.slot.wrapping_add(1));
    }
    out.push(b']');
}

fn internal<'o>(cmd: &str, out: &'o mut Vec<u8>) -> ObjectWriter<'o> {
    let mut object = ObjectWriter::new(out);
    object.string("cmd", cmd);
    object
}

/// About the connections that Node knows by this key.
fn of_list<'o>(
    cmd: &str,
    key: &str,
    out: &'o mut Vec<u8>,
) -> ObjectWriter<'o> {
    let mut line = internal(cmd, out);
    line.string("key", key);
    line
}

fn handle(kind: &HandleKind<'_>, inner: &Inner<'_>, out: &mut Vec<u8>) {
    let mut line = internal("NODE_HANDLE", out);
    let name = match kind {
        HandleKind::NetNative => "net.Native",
        HandleKind::NetSocket { .. } => "net.Socket",
        HandleKind::NetServer => "net.Server",
        HandleKind::DgramNative => "dgram.Native",
        HandleKind::DgramSocket { .. } => "dgram.Socket",
    };
    line.string("type", name);
    match inner {
        Inner::Cluster(message) => cluster(message, line.value("msg")),
        Inner::Internal(text) | Inner::User(text) => {
            push_raw(line.value("msg"), text);
        }
    }
    match kind {
        HandleKind::NetSocket { key: Some(key) } => line.string("key", key),
        HandleKind::DgramSocket { ipv6 } => {
            line.string("dgramType", if *ipv6 { "udp6" } else { "udp4" });
        }
        HandleKind::NetNative
        | HandleKind::NetSocket { key: None }
        | HandleKind::NetServer
        | HandleKind::DgramNative => {}
    }
    line.close();
}

fn cluster(message: &Cluster<'_>, out: &mut Vec<u8>) {
    let mut line = internal("NODE_CLUSTER", out);
    match &message.act {
        Act::Online { handoff } => {
            line.string("act", "online");
            if let Some(version) = handoff {
                line.literal("handoff", version);
            }
        }
        Act::QueryServer(server) => {
            line.string("act", "queryServer");
            listen(server, &mut line);
        }
        Act::Listening { server, capacity } => {
            line.string("act", "listening");
            listen(server, &mut line);
            if let Some(capacity) = capacity {
                line.literal("capacity", capacity);
            }
        }
        Act::NewConnection { key } => {
            line.string("act", "newconn");
            line.string("key", key);
        }
        Act::Close { key } => {
            line.string("act", "close");
            line.string("key", key);
        }
        Act::Disconnect { idle, give } => {
            line.string("act", "disconnect");
            if let Some(idle) = idle {
                line.literal("idle", idle);
            }
            if *give {
                line.literal("give", true);
            }
        }
        Act::ExitedAfterDisconnect => {
            line.string("act", "exitedAfterDisconnect");
        }
        Act::Reply { ack, answer } => reply(*ack, answer, &mut line),
    }
    if let Some(seq) = message.seq {
        line.literal("seq", seq);
    }
    line.close();
}

fn reply(ack: u64, answer: &Answer<'_>, line: &mut ObjectWriter<'_>) {
    match answer {
        Answer::Done => line.literal("ack", ack),
        Answer::Accepted(accepted) => {
            line.literal("ack", ack);
            line.literal("accepted", accepted);
        }
        Answer::Server(server) => {
            match server.errno {
                0 => line.literal("errno", "null"),
                errno => line.literal("errno", errno),
            }
            line.string("key", &server.key);
            line.literal("ack", ack);
            push_raw(line.value("data"), server.data.unwrap_or("null"));
            if let Some(name) = &server.sockname {
                let mut inner = ObjectWriter::new(line.value("sockname"));
                let ipv6 = name.address.contains(':');
                inner.string("address", &name.address);
                inner.string("family", if ipv6 { "IPv6" } else { "IPv4" });
                inner.literal("port", name.port);
                inner.close();
            }
        }
    }
}

fn listen(server: &Listen<'_>, line: &mut ObjectWriter<'_>) {
    line.literal("index", server.index);
    push_raw(line.value("data"), server.data.unwrap_or("null"));
    match &server.address {
        Some(address) => line.string("address", address),
        None => line.literal("address", "null"),
    }
    match server.port {
        Some(port) => line.literal("port", port),
        None => line.literal("port", "null"),
    }
    match server.address_type {
        AddressType::Unspecified => line.literal("addressType", "null"),
        AddressType::Tcp4 => line.literal("addressType", 4),
        AddressType::Tcp6 => line.literal("addressType", 6),
        AddressType::Unix => line.literal("addressType", -1),
        AddressType::Udp4 => line.string("addressType", "udp4"),
        AddressType::Udp6 => line.string("addressType", "udp6"),
    }
    if let Some(fd) = server.fd {
        line.literal("fd", fd);
    }
    if let Some(flags) = server.flags {
        line.literal("flags", flags);
    }
    match server.backlog {
        Some(backlog) => line.literal("backlog", backlog),
        None => line.literal("backlog", false),
    }
    for (name, wanted) in [
        ("readableAll", server.readable_all),
        ("writableAll", server.writable_all),
    ] {
        if wanted {
            line.literal(name, true);
        }
    }
}
