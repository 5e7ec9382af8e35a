//! PURE: what is said on a master's control socket.
//!
//! One connection, one request, one reply, each a line of JSON:
//!
//! ```text
//!   handoff scale 4     {"command":"scale","workers":4}  ──▶   master
//!                   ◀── {"done":"workers: 4 wanted, 2 before"}
//! ```
//!
//! | request | reply |
//! |---|---|
//! | `{"command":"status"}` | `{"status":{"master":{…},"workers":[{…}]}}` |
//! | `{"command":"status","as":"table"}` | `{"table":"handoff 0.1.0, pid…"}` |
//! | `{"command":"reload"}` | when it is over: `{"done":"…"}` |
//! | `{"command":"scale","workers":4}` | `{"done":"…"}` |
//! | `{"command":"stop"}` | at once: `{"done":"…"}` |
//! | anything else, or in vain | `{"error":"…"}` |
//!
//! Members that are not known are passed over. The table is set by the master,
//! which has the values at hand: so a command of another version shows it just
//! as well. It refuses to know sockets, and who may ask.

use std::fmt;
use std::ops::RangeInclusive;

use crate::ipc::json::{self, ObjectWriter, Value, members, push_raw};

/// How many workers a master can have, and be told to have.
pub(crate) const WORKERS: RangeInclusive<usize> = 1..=1024;

/// Longest request, in bytes, its line feed not among them.
pub(crate) const MAX_REQUEST: usize = 4096;

/// What a master is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// How it and its workers are.
    Status(Format),
    /// To replace all workers, one by one. Answered at the end of it.
    Reload,
    /// To have so many workers: 1 to 1024.
    Scale(usize),
    /// To stop, as for SIGTERM. Answered at the beginning of it.
    Stop,
}

/// What a status is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// Programs.
    Json,
    /// People.
    Table,
}

impl Request {
    /// Understands a line, with or without its line feed.
    ///
    /// # Errors
    /// If it is no request: what is wrong with it.
    pub(crate) fn parse(line: &[u8]) -> Result<Request, Malformed> {
        let text = str::from_utf8(line).map_err(|_| Malformed::NotText)?;
        let [command, form, workers] =
            members(text, ["command", "as", "workers"])
                .map_err(Malformed::NotJson)?;
        let command =
            command.and_then(Value::string).ok_or(Malformed::NoCommand)?;
        match &*command {
            "status" => match form.map(Value::string) {
                None => Ok(Request::Status(Format::Json)),
                Some(Some(form)) if form == "json" => {
                    Ok(Request::Status(Format::Json))
                }
                Some(Some(form)) if form == "table" => {
                    Ok(Request::Status(Format::Table))
                }
                Some(_) => Err(Malformed::UnknownForm),
            },
            "reload" => Ok(Request::Reload),
            "scale" => workers
                .and_then(Value::unsigned)
                .and_then(|workers| usize::try_from(workers).ok())
                .filter(|workers| WORKERS.contains(workers))
                .map(Request::Scale)
                .ok_or(Malformed::NoWorkers),
            "stop" => Ok(Request::Stop),
            _ => Err(Malformed::UnknownCommand),
        }
    }

    /// The line, with its line feed.
    #[must_use]
    pub(crate) fn encode(self) -> Vec<u8> {
        let mut line = Vec::new();
        let mut object = ObjectWriter::new(&mut line);
        object.string(
            "command",
            match self {
                Request::Status(_) => "status",
                Request::Reload => "reload",
                Request::Scale(_) => "scale",
                Request::Stop => "stop",
            },
        );
        match self {
            Request::Status(Format::Table) => object.string("as", "table"),
            Request::Scale(workers) => object.literal("workers", workers),
            Request::Status(Format::Json)
            | Request::Reload
            | Request::Stop => {}
        }
        object.close();
        line.push(b'\n');
        line
    }
}

/// What a master answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// [`Status::to_json`](super::Status::to_json).
    Status(String),
    /// [`Status::to_table`](super::Status::to_table).
    Table(String),
    /// It was done: one line for people.
    Done(String),
    /// It was not: one line that says why.
    Error(String),
}

impl Reply {
    /// Understands a line, with or without its line feed.
    ///
    /// # Errors
    /// If it is no reply: what is wrong with it.
    pub(crate) fn parse(line: &[u8]) -> Result<Reply, Malformed> {
        let text = str::from_utf8(line).map_err(|_| Malformed::NotText)?;
        let [status, table, done, error] =
            members(text, ["status", "table", "done", "error"])
                .map_err(Malformed::NotJson)?;
        let words = |value: Option<Value<'_>>| {
            value.and_then(Value::string).map(|text| text.into_owned())
        };
        words(error)
            .map(Reply::Error)
            .or_else(|| words(done).map(Reply::Done))
            .or_else(|| words(table).map(Reply::Table))
            .or_else(|| status.map(|raw| Reply::Status(raw.text().into())))
            .ok_or(Malformed::NoReply)
    }

    /// The line, with its line feed.
    #[must_use]
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut line = Vec::new();
        let mut object = ObjectWriter::new(&mut line);
        match self {
            Reply::Status(json) => push_raw(object.value("status"), json),
            Reply::Table(text) => object.string("table", text),
            Reply::Done(text) => object.string("done", text),
            Reply::Error(text) => object.string("error", text),
        }
        object.close();
        line.push(b'\n');
        line
    }
}

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Malformed {
    /// It is not UTF-8.
    NotText,
    /// It is not JSON.
    NotJson(json::Error),
    /// It is no object with a command in it.
    NoCommand,
    /// It is no command of ours.
    UnknownCommand,
    /// A status can be had as something else only.
    UnknownForm,
    /// How many workers to scale to is not said.
    NoWorkers,
    /// It is longer than [`MAX_REQUEST`].
    TooLong,
    /// It is no object with a reply in it.
    NoReply,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Malformed::NotText => f.write_str("not understood: not UTF-8"),
            Malformed::NotJson(error) => write!(f, "not JSON: {error}"),
            Malformed::NoCommand => f.write_str(
                "there is no command: write {\"command\":\"status\"}",
            ),
            Malformed::UnknownCommand => f.write_str(
                "no such command: there are status, reload, scale and stop",
            ),
            Malformed::UnknownForm => {
                f.write_str("a status comes as \"json\" or \"table\"")
            }
            Malformed::NoWorkers => write!(
                f,
                "scale needs workers, from {} to {}",
                WORKERS.start(),
                WORKERS.end()
            ),
            Malformed::TooLong => {
                write!(f, "a request has at most {MAX_REQUEST} bytes")
            }
            Malformed::NoReply => f.write_str("the reply is not understood"),
        }
    }
}

impl std::error::Error for Malformed {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_request_is_what_the_documentation_says() {
        for (line, request) in [
            (r#"{"command":"status"}"#, Request::Status(Format::Json)),
            (
                r#"{"command":"status","as":"table"}"#,
                Request::Status(Format::Table),
            ),
            (r#"{"command":"reload"}"#, Request::Reload),
            (r#"{"command":"scale","workers":4}"#, Request::Scale(4)),
            (r#"{"command":"stop"}"#, Request::Stop),
        ] {
            assert_eq!(request.encode(), format!("{line}\n").as_bytes());
            assert_eq!(Request::parse(line.as_bytes()), Ok(request));
        }
    }

    #[test]
    fn what_is_not_known_is_passed_over() {
        let line = b" { \"by\" : [1], \"command\" : \"st\\u006fp\" } \r\n";
        assert_eq!(Request::parse(line), Ok(Request::Stop));
        let line = br#"{"command":"status","as":"json"}"#;
        assert_eq!(Request::parse(line), Ok(Request::Status(Format::Json)));
    }

    #[test]
    fn a_bad_request_is_told_what_is_wrong_with_it() {
        for (line, said) in [
            (&b""[..], "not JSON: expected a value at byte 0"),
            (b"\xff", "not understood: not UTF-8"),
            (b"stop", "not JSON: expected a value at byte 0"),
            (
                b"[\"stop\"]",
                "there is no command: write {\"command\":\"status\"}",
            ),
            (
                br#"{"command":7}"#,
                "there is no command: write {\"command\":\"status\"}",
            ),
            (
                br#"{"command":"stop it"}"#,
                "no such command: there are status, reload, scale and stop",
            ),
            (
                br#"{"command":"status","as":"poem"}"#,
                "a status comes as \"json\" or \"table\"",
            ),
            (
                br#"{"command":"status","as":null}"#,
                "a status comes as \"json\" or \"table\"",
            ),
            (br#"{"command":"scale"}"#, "scale needs workers, from 1 to 1024"),
            (
                br#"{"command":"scale","workers":0}"#,
                "scale needs workers, from 1 to 1024",
            ),
            (
                br#"{"command":"scale","workers":1025}"#,
                "scale needs workers, from 1 to 1024",
            ),
            (
                br#"{"command":"scale","workers":"4"}"#,
                "scale needs workers, from 1 to 1024",
            ),
        ] {
            let error = Request::parse(line).unwrap_err().to_string();
            assert_eq!(error, said, "{:?}", String::from_utf8_lossy(line));
        }
    }

    fn any_request() -> impl Strategy<Value = Request> {
        prop_oneof![
            Just(Request::Status(Format::Json)),
            Just(Request::Status(Format::Table)),
            Just(Request::Reload),
            (1..=1024_usize).prop_map(Request::Scale),
            Just(Request::Stop),
        ]
    }

    /// Requests with a byte changed, cut or doubled, and plain noise.
    fn any_line() -> impl Strategy<Value = Vec<u8>> {
        let noise = || proptest::collection::vec(any::<u8>(), 0..40);
        let hurt = (any_request(), any::<usize>(), noise()).prop_map(
            |(request, at, noise)| {
                let mut line = request.encode();
                let at = at % line.len();
                line.splice(at..line.len().min(at + 2), noise);
                line
            },
        );
        prop_oneof![noise(), hurt, any_request().prop_map(Request::encode)]
    }

    proptest! {
        #[test]
        fn a_request_comes_through(request in any_request()) {
            prop_assert_eq!(Request::parse(&request.encode()), Ok(request));
        }

        #[test]
        fn whatever_comes_is_a_request_or_one_line_of_reproach(
            line in any_line()
        ) {
            match Request::parse(&line) {
                Ok(Request::Scale(workers)) => {
                    prop_assert!((1..=1024).contains(&workers));
                }
                Ok(_) => {}
                Err(error) => {
                    let words = error.to_string();
                    prop_assert!(!words.contains(char::is_control));
                }
            }
            // The other direction must bear anything as well.
            let _ = Reply::parse(&line);
        }

        #[test]
        fn a_reply_comes_through_on_one_line(text in any::<String>(), kind in 0..3) {
            let reply = match kind {
                0 => Reply::Table(text),
                1 => Reply::Done(text),
                _ => Reply::Error(text),
            };
            let line = reply.encode();
            let feeds = line.iter().filter(|byte| **byte == b'\n').count();
            prop_assert_eq!((feeds, line.last()), (1, Some(&b'\n')));
            prop_assert_eq!(Reply::parse(&line), Ok(reply));
        }
    }
}
