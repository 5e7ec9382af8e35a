//! The primary and a shell of a few lines: it opens whatever is asked for,
//! numbers what it says, and writes everything down.

mod model;
mod servers;
mod steps;
mod walk;
mod words;

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use super::*;
use crate::ipc::message::{AddressType, HandleKind, Inner};

const KEY: &str = "127.0.0.1:3100:4:undefined:0";
const ONLINE: &str = r#"{"cmd":"NODE_CLUSTER","act":"online","seq":0}"#;
const ACK: &str = r#"{"cmd":"NODE_HANDLE_ACK"}"#;
const NACK: &str = r#"{"cmd":"NODE_HANDLE_NACK"}"#;
const BOOT: Duration = Duration::from_secs(10);
const MILLISECOND: Duration = Duration::from_millis(1);

const ONE: WorkerId = WorkerId(1);
const TWO: WorkerId = WorkerId(2);

/// The primary and its shell.
struct Talk {
    primary: Primary,
    now: Duration,
    /// Why the next server cannot be opened, or its socket not be copied.
    trouble: Option<i32>,
    /// Numbers what is said, to all workers together here.
    seq: u64,
}

impl Talk {
    fn new(wait_ready: bool) -> Talk {
        let primary = Primary::new(wait_ready, BOOT);
        Talk { primary, now: Duration::ZERO, trouble: None, seq: 0 }
    }

    fn start(&mut self, worker: WorkerId, slot: usize) {
        self.primary.started(worker, slot, self.now);
    }

    fn hear(&mut self, worker: WorkerId, line: &str) -> Vec<String> {
        self.try_hear(worker, line).unwrap()
    }

    fn try_hear(
        &mut self,
        worker: WorkerId,
        line: &str,
    ) -> Result<Vec<String>, Fault> {
        let message = Message::parse(line.as_bytes()).unwrap();
        let mut orders = Vec::new();
        let heard = self.primary.hear(worker, message, self.now, &mut orders);
        let done = self.carry_out(orders);
        heard.inspect_err(|_| assert_eq!(done, [""; 0]))?;
        Ok(done)
    }

    fn admit(&mut self, worker: WorkerId) -> Vec<String> {
        let mut orders = Vec::new();
        self.primary.admitted(worker, self.now, &mut orders);
        self.carry_out(orders)
    }

    fn judge(&mut self) -> Vec<String> {
        let mut orders = Vec::new();
        self.primary.judge(self.now, &mut orders);
        self.carry_out(orders)
    }

    /// Closes what is deserted, with so many slots.
    fn close(&mut self, slots: usize, is_awaited: bool) -> Vec<String> {
        let mut orders = Vec::new();
        self.primary.close_deserted(
            self.now,
            slots,
            || is_awaited,
            &mut orders,
        );
        self.carry_out(orders)
    }

    /// Servers of which this many slots' workers ask for the same are closed
    /// exactly then.
    fn closes_after(&mut self, slots: usize, kept: Duration, key: &str) {
        assert_eq!(self.close(slots, false), [""; 0]);
        let due = self.now + kept;
        assert_eq!(self.primary.servers.deadline(), Some(due));
        self.now = due - MILLISECOND;
        assert_eq!(self.close(slots, false), [""; 0]);
        self.now = due;
        assert_eq!(self.close(slots, false), [format!("close {key}")]);
        assert_eq!(self.primary.servers.deadline(), None);
    }

    fn carry_out(&mut self, orders: Vec<Order<'_>>) -> Vec<String> {
        let orders = orders.into_iter();
        orders.flat_map(|order| self.carry_out_one(order)).collect()
    }

    fn carry_out_one(&mut self, order: Order<'_>) -> Vec<String> {
        let mut more = Vec::new();
        let did = match order {
            Order::Say { worker, message } => line(worker, &message),
            Order::Reply { worker, reply } => {
                let message = Message::Cluster(self.numbered(&reply));
                line(worker, &message)
            }
            Order::Share(share) => {
                let trouble = self.trouble.take();
                let shared = trouble.map_or(Ok(()), Err);
                self.primary.shared(&share, shared, &mut more);
                if trouble.is_some() {
                    return self.carry_out(more);
                }
                let kind = HandleKind::DgramNative;
                let inner = Inner::Cluster(self.numbered(&share.reply));
                line(share.worker, &Message::Handle { kind, inner })
            }
            Order::Open(query) => {
                let did = format!("open {}", query.key);
                let opened = open(&query.listen, query.server);
                let opened = self.trouble.take().map_or(Ok(opened), Err);
                let now = self.now;
                self.primary.opened(query, opened, now, &mut more);
                did
            }
            Order::Close { key, .. } => format!("close {key}"),
            Order::Join { worker, slot, server } => {
                format!("{worker} in slot {slot} joins {}", server.0)
            }
            Order::Leave { worker, server } => {
                format!("{worker} leaves {}", server.0)
            }
            Order::Taken { worker, server, number } => {
                format!("{worker} takes {number} of {}", server.0)
            }
            Order::Refused { worker, server, answered } => {
                let why = if answered { "full" } else { "out of descriptors" };
                format!("{worker} refuses one of {}: {why}", server.0)
            }
            Order::Online { worker } => format!("{worker} is online"),
            Order::Ready { worker, missing } => match missing.concat() {
                all if all.is_empty() => format!("{worker} is ready"),
                missing => format!("{worker} is ready without {missing}"),
            },
            Order::Refuse { worker, key, errno } => {
                format!("{worker} was refused {key}: {errno}")
            }
            Order::Leaving { worker } => format!("{worker} leaves"),
            Order::User { worker, json } => format!("{worker} says {json}"),
        };
        let mut all = vec![did];
        all.extend(self.carry_out(more));
        all
    }

    fn numbered<'a>(&mut self, reply: &'a Reply) -> Cluster<'a> {
        let seq = Some(self.seq);
        self.seq += 1;
        Cluster { seq, act: reply.act() }
    }
}

/// A system on which everything can be had; any port is 4000 and the number
/// of the server.
fn open(listen: &Listen<'_>, server: ServerId) -> Opened {
    let port = listen.port.and_then(|port| u16::try_from(port).ok());
    let port = match port {
        None | Some(0) => 4000 + server.0 as u16,
        Some(port) => port,
    };
    let (v4, v6) = (Ipv4Addr::LOCALHOST, Ipv6Addr::LOCALHOST);
    let (bound, shared) = match listen.address_type {
        AddressType::Unix => (None, false),
        AddressType::Unspecified | AddressType::Tcp4 => {
            (Some((v4, port).into()), false)
        }
        AddressType::Tcp6 => (Some((v6, port).into()), false),
        AddressType::Udp4 => (Some((v4, port).into()), true),
        AddressType::Udp6 => (Some((v6, port).into()), true),
    };
    Opened { bound, shared }
}

/// What is said to a worker.
fn line(worker: WorkerId, message: &Message<'_>) -> String {
    let mut line = Vec::new();
    message.encode(&mut line);
    let line = String::from_utf8(line).unwrap();
    format!("to {worker}: {}", line.trim_end())
}

fn query(seq: u64, index: u64, place: &str) -> String {
    let words = r#"{"cmd":"NODE_CLUSTER","act":"queryServer","index":"#;
    format!(r#"{words}{index},"data":null,{place},"seq":{seq}}}"#)
}

fn listening(index: u64, place: &str) -> String {
    let words = r#"{"cmd":"NODE_CLUSTER","act":"listening","index":"#;
    format!(r#"{words}{index},"data":null,{place},"seq":2}}"#)
}

fn place(port: u16) -> String {
    format!(
        r#""address":"127.0.0.1","port":{port},"addressType":4,"flags":0,"backlog":false"#
    )
}

fn close(key: &str) -> String {
    format!(r#"{{"cmd":"NODE_CLUSTER","act":"close","key":"{key}","seq":4}}"#)
}

fn accepted(ack: u64, accepted: bool) -> String {
    format!(
        r#"{{"cmd":"NODE_CLUSTER","ack":{ack},"accepted":{accepted},"seq":3}}"#
    )
}

fn udp(port: u16) -> String {
    format!(
        r#""address":"127.0.0.1","port":{port},"addressType":"udp4","fd":-1,"flags":0"#
    )
}

fn key(port: u16) -> String {
    format!("127.0.0.1:{port}:4:undefined:0")
}

/// A worker asks for a server and listens on it.
fn listen_on(talk: &mut Talk, worker: WorkerId, port: u16) -> Vec<String> {
    talk.hear(worker, &query(1, 0, &place(port)));
    talk.hear(worker, &listening(0, &place(port)))
}

/// Worker 1 in slot 0 serves on port 3100.
fn serving() -> Talk {
    let mut talk = Talk::new(false);
    talk.start(ONE, 0);
    talk.hear(ONE, ONLINE);
    assert_eq!(listen_on(&mut talk, ONE, 3100), ["1 is ready"]);
    assert_eq!(talk.admit(ONE), ["1 in slot 0 joins 1"]);
    talk
}
