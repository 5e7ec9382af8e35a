//! From a line to a [`Message`].
//!
//! One function for each message that has members, which names them and says
//! what they are to be. Each walks its text again: internal lines are short,
//! and no bag of every member that anybody reads has to be carried about.

use std::borrow::Cow;
use std::fmt;

use super::{
    Act, AddressType, Answer, Cluster, HandleKind, Inner, Listen, Message,
    Seat, Server, Snapshot, Sockname,
};
use crate::ipc::codec::MAX_DESCRIPTORS;
use crate::ipc::json;

impl<'a> Message<'a> {
    /// What `line`, which is without its line feed, says.
    ///
    /// # Errors
    ///
    /// When it is not one JSON value, or an internal message that does not
    /// keep to its form. The line is the peer's fault; those before and after
    /// it are not touched by that.
    pub fn parse(line: &'a [u8]) -> Result<Self, Malformed> {
        let text = str::from_utf8(line)
            .map_err(|e| Malformed::NotUtf8 { at: e.valid_up_to() })?;
        let message = match command(text)?.as_deref() {
            None => Message::User(text),
            Some("NODE_CLUSTER") => match cluster(text)? {
                Some(cluster) => Message::Cluster(cluster),
                None => Message::Internal(text),
            },
            Some("NODE_HANDLE") => handle(text)?,
            Some("NODE_HANDLE_ACK") => Message::HandleAck,
            Some("NODE_HANDLE_NACK") => {
                let [first] = read(text, ["first"])?;
                Message::HandleNack { first: first.unsigned()? }
            }
            Some("NODE_HANDLE_BEQUEST") => snapshot(text)?,
            Some("NODE_HANDLE_RESUME") => {
                let [first] = read(text, ["first"])?;
                Message::Resume { first: first.must(Member::unsigned)? }
            }
            Some("NODE_SOCKET_GET_COUNT") => {
                Message::SocketGetCount { key: key(text)? }
            }
            Some("NODE_SOCKET_COUNT") => {
                let [count] = read(text, ["count"])?;
                let count = count.must(Member::unsigned)?;
                Message::SocketCount { key: key(text)?, count }
            }
            Some("NODE_SOCKET_NOTIFY_CLOSE") => {
                Message::SocketNotifyClose { key: key(text)? }
            }
            Some("NODE_SOCKET_ALL_CLOSED") => {
                Message::SocketAllClosed { key: key(text)? }
            }
            Some(_) => Message::Internal(text),
        };
        Ok(message)
    }
}

/// The `cmd` that makes a message internal: a string longer than `NODE_`
/// that begins with it (Node's `isInternal`).
fn command(text: &str) -> Result<Option<Cow<'_, str>>, Malformed> {
    let [cmd] = json::members(text, ["cmd"]).map_err(Malformed::NotJson)?;
    let cmd = cmd.and_then(json::Value::string);
    Ok(cmd.filter(|cmd| cmd.len() > 5 && cmd.starts_with("NODE_")))
}

fn handle(text: &str) -> Result<Message<'_>, Malformed> {
    let [kind, msg, key, dgram, first, count, slots] = read(
        text,
        ["type", "msg", "key", "dgramType", "first", "count", "slots"],
    )?;
    let kind = match kind.string()?.as_deref() {
        None => {
            let first = first.must(Member::unsigned)?;
            let many = count.must(Member::unsigned)?;
            if !(1..=MAX_DESCRIPTORS as u64).contains(&many) {
                return Err(count.wrong("a number of descriptors"));
            }
            if first.checked_add(many).is_none() {
                return Err(count.wrong("a number that can be counted to"));
            }
            let slots = match slots.value {
                None => Vec::new(),
                Some(list) => seats(list.text())
                    .filter(|seats| seats.len() as u64 == many)
                    .ok_or(slots.wrong("a slot for each"))?,
            };
            let slots = Cow::Owned(slots);
            return Ok(Message::Connections { first, count: many, slots });
        }
        Some("net.Native") => HandleKind::NetNative,
        Some("net.Socket") => HandleKind::NetSocket { key: key.string()? },
        Some("net.Server") => HandleKind::NetServer,
        Some("dgram.Native") => HandleKind::DgramNative,
        Some("dgram.Socket") => match dgram.string()?.as_deref() {
            Some("udp4") => HandleKind::DgramSocket { ipv6: false },
            Some("udp6") => HandleKind::DgramSocket { ipv6: true },
            Some(_) | None => return Err(dgram.wrong("udp4 or udp6")),
        },
        Some(_) => return Err(kind.wrong("a kind of handle")),
    };
    let inner = msg.value.map_or("null", json::Value::text);
    let inner = match command(inner)?.as_deref() {
        None => Inner::User(inner),
        Some("NODE_CLUSTER") => match cluster(inner)? {
            Some(cluster) => Inner::Cluster(cluster),
            None => Inner::Internal(inner),
        },
        Some(_) => Inner::Internal(inner),
    };
    Ok(Message::Handle { kind, inner })
}

/// What `encode::seats` has written: whole numbers in brackets.
fn seats(list: &str) -> Option<Vec<Seat>> {
    let list = list.strip_prefix('[')?.strip_suffix(']')?;
    let seat = |text: &str| {
        let number: i64 = text.trim().parse().ok()?;
        let from_one = u32::try_from(number.unsigned_abs()).ok()?;
        let (slot, moved) = (from_one.wrapping_sub(1), number < 0);
        Some(Seat { slot, moved })
    };
    list.split(',').map(seat).collect()
}

fn snapshot(text: &str) -> Result<Message<'_>, Malformed> {
    let [done, next, input, output, closing, replays, tries] = read(
        text,
        ["done", "next", "input", "output", "closing", "replays", "tries"],
    )?;
    Ok(Message::Snapshot(Snapshot {
        done: done.must(Member::unsigned)?,
        next: next.must(Member::unsigned)?,
        input: input.must(Member::string)?,
        output: output.must(Member::string)?,
        closing: closing.must(Member::boolean)?,
        record: (replays.must(Member::integer)?, tries.must(Member::integer)?),
    }))
}

/// `None` is an act that nobody here knows. An `ack` makes it a reply; Node
/// never sends both.
fn cluster(text: &str) -> Result<Option<Cluster<'_>>, Malformed> {
    let [seq, ack, act] = read(text, ["seq", "ack", "act"])?;
    let act = match (ack.unsigned()?, act.string()?.as_deref()) {
        (Some(ack), _) => Act::Reply { ack, answer: answer(text)? },
        (None, Some("online")) => {
            let [handoff] = read(text, ["handoff"])?;
            Act::Online { handoff: handoff.unsigned()? }
        }
        (None, Some("queryServer")) => Act::QueryServer(listen(text)?),
        (None, Some("listening")) => {
            let [capacity] = read(text, ["capacity"])?;
            let capacity = capacity.unsigned()?;
            Act::Listening { server: listen(text)?, capacity }
        }
        (None, Some("newconn")) => Act::NewConnection { key: key(text)? },
        (None, Some("close")) => Act::Close { key: key(text)? },
        (None, Some("disconnect")) => {
            let [idle, give] = read(text, ["idle", "give"])?;
            let (idle, give) = (idle.unsigned()?, give.boolean()?);
            Act::Disconnect { idle, give: give.unwrap_or(false) }
        }
        (None, Some("exitedAfterDisconnect")) => Act::ExitedAfterDisconnect,
        (None, Some(_) | None) => return Ok(None),
    };
    Ok(Some(Cluster { seq: seq.unsigned()?, act }))
}

/// Told apart by their members: a reply does not say what it replies to.
fn answer(text: &str) -> Result<Answer<'_>, Malformed> {
    let [accepted, errno, key, data, sockname] =
        read(text, ["accepted", "errno", "key", "data", "sockname"])?;
    if let Some(accepted) = accepted.boolean()? {
        return Ok(Answer::Accepted(accepted));
    }
    let errno = errno.integer()?;
    let Some(key) = key.string()? else {
        return match errno {
            None => Ok(Answer::Done),
            Some(_) => Err(Malformed::Missing { member: "key" }),
        };
    };
    let sockname = match sockname.value {
        None => None,
        Some(value) => {
            let [address, port] = read(value.text(), ["address", "port"])?;
            Some(Sockname {
                address: address.must(Member::string)?,
                port: port.must(Member::integer)?,
            })
        }
    };
    Ok(Answer::Server(Server {
        errno: errno.unwrap_or(0),
        key,
        data: data.value.map(json::Value::text),
        sockname,
    }))
}

fn listen(text: &str) -> Result<Listen<'_>, Malformed> {
    let [index, data, address, port, address_type, fd, flags] = read(
        text,
        ["index", "data", "address", "port", "addressType", "fd", "flags"],
    )?;
    let [backlog, readable_all, writable_all] =
        read(text, ["backlog", "readableAll", "writableAll"])?;
    Ok(Listen {
        index: index.unsigned()?.unwrap_or(0),
        data: data.value.map(json::Value::text),
        address: address.string()?,
        port: port.integer_or_text()?,
        address_type: match address_type.value.map(json::Value::text) {
            None => AddressType::Unspecified,
            Some("4") => AddressType::Tcp4,
            Some("6") => AddressType::Tcp6,
            Some("-1") => AddressType::Unix,
            Some(r#""udp4""#) => AddressType::Udp4,
            Some(r#""udp6""#) => AddressType::Udp6,
            Some(_) => return Err(address_type.wrong("a kind of address")),
        },
        fd: fd.integer()?,
        flags: flags.integer()?,
        // Node writes false or 0 when the application gave none.
        backlog: match backlog.value.map(json::Value::text) {
            Some("false" | "0") => None,
            Some(_) | None => backlog.integer_or_text()?,
        },
        readable_all: readable_all.boolean()?.unwrap_or(false),
        writable_all: writable_all.boolean()?.unwrap_or(false),
    })
}

fn key(text: &str) -> Result<Cow<'_, str>, Malformed> {
    let [key] = read(text, ["key"])?;
    key.must(Member::string)
}

/// A member and its name, so that a complaint can name it.
#[derive(Clone, Copy)]
struct Member<'a> {
    name: &'static str,
    /// `None` also when it is `null`.
    value: Option<json::Value<'a>>,
}

fn read<'a, const N: usize>(
    text: &'a str,
    names: [&'static str; N],
) -> Result<[Member<'a>; N], Malformed> {
    let values = json::members(text, names).map_err(Malformed::NotJson)?;
    Ok(std::array::from_fn(|i| Member {
        name: names[i],
        value: values[i].filter(|value| !value.is_null()),
    }))
}

impl<'a> Member<'a> {
    fn string(self) -> Result<Option<Cow<'a, str>>, Malformed> {
        self.value_as(json::Value::string, "a string")
    }

    fn boolean(self) -> Result<Option<bool>, Malformed> {
        self.value_as(json::Value::boolean, "true or false")
    }

    fn unsigned(self) -> Result<Option<u64>, Malformed> {
        self.value_as(json::Value::unsigned, "a whole number")
    }

    fn integer<T: TryFrom<i64>>(self) -> Result<Option<T>, Malformed> {
        let fit = |value: json::Value<'_>| value.signed()?.try_into().ok();
        self.value_as(fit, "a whole number in range")
    }

    /// As JavaScript takes a number from an application: it may be text, such
    /// as a variable of the environment, and no text is none.
    fn integer_or_text<T: TryFrom<i64>>(self) -> Result<Option<T>, Malformed> {
        let Some(text) = self.value.and_then(json::Value::string) else {
            return self.integer();
        };
        let fit = |number: i64| number.try_into().ok();
        match text.trim() {
            "" => Ok(None),
            digits => match digits.parse().ok().and_then(fit) {
                Some(number) => Ok(Some(number)),
                None => Err(self.wrong("a whole number in range")),
            },
        }
    }

    fn value_as<T>(
        self,
        convert: impl Fn(json::Value<'a>) -> Option<T>,
        wanted: &'static str,
    ) -> Result<Option<T>, Malformed> {
        match self.value {
            None => Ok(None),
            Some(value) => match convert(value) {
                Some(converted) => Ok(Some(converted)),
                None => Err(self.wrong(wanted)),
            },
        }
    }

    fn must<T>(
        self,
        convert: impl Fn(Self) -> Result<Option<T>, Malformed>,
    ) -> Result<T, Malformed> {
        convert(self)?.ok_or(Malformed::Missing { member: self.name })
    }

    fn wrong(self, wanted: &'static str) -> Malformed {
        Malformed::Wrong { member: self.name, wanted }
    }
}

/// What is wrong with a line: always the peer's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// It is not UTF-8.
    NotUtf8 {
        /// How many bytes were.
        at: usize,
    },
    /// It is not JSON, or more than [`json`] takes: its reason tells them
    /// apart. Node does send half a surrogate pair if an application cuts a
    /// string there.
    NotJson(json::Error),
    /// A member that it cannot do without is absent.
    Missing {
        /// Its name.
        member: &'static str,
    },
    /// A member is not what it is to be.
    Wrong {
        /// Its name.
        member: &'static str,
        /// What it is to be.
        wanted: &'static str,
    },
}

impl std::error::Error for Malformed {}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Malformed::NotUtf8 { at } => write!(f, "not UTF-8 at byte {at}"),
            Malformed::NotJson(error) => write!(f, "not JSON: {error}"),
            Malformed::Missing { member } => {
                write!(f, "an internal message without \"{member}\"")
            }
            Malformed::Wrong { member, wanted } => {
                write!(f, "\"{member}\" is not {wanted}")
            }
        }
    }
}
