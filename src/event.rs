//! What a program may hear of its cluster, and say in it: the events of
//! Node's `cluster`, and messages between master and workers.
//!
//! ```text
//!   master   Fork ─▶ Online ─▶ Listening ─▶ … ─▶ Disconnect ─▶ Exit
//!                                 Message ▲ │ Post::send
//!   worker                  Worker::send ─┘ ▼ Cluster::on_message
//! ```
//!
//! A message is one JSON text, carried as it is: nothing here looks into it.

use std::fmt;

use crate::WorkerId;
use crate::channel::MAX_LINE;
use crate::ipc::Message;

/// What has happened to a worker, told in the master.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// It was started.
    Fork {
        /// Which.
        worker: WorkerId,
        /// Its process.
        pid: u32,
        /// Its slot, 0 to one less than the number of workers.
        index: usize,
    },
    /// Its program runs, and knows that it is a worker.
    Online {
        /// Which.
        worker: WorkerId,
    },
    /// It is ready.
    Listening {
        /// Which.
        worker: WorkerId,
    },
    /// It has sent a message.
    Message {
        /// Which.
        worker: WorkerId,
        /// One JSON text.
        json: &'a str,
    },
    /// Its channel has ended: it leaves, or is dead.
    Disconnect {
        /// Which.
        worker: WorkerId,
    },
    /// Its process has ended.
    Exit {
        /// Which.
        worker: WorkerId,
        /// The status that it exited with, if it did.
        code: Option<i32>,
        /// The signal that killed it, if one did.
        signal: Option<i32>,
    },
}

/// Takes the messages of a master to its workers.
#[derive(Debug, Default)]
pub struct Post {
    pub(crate) outgoing: Vec<(WorkerId, String)>,
}

impl Post {
    /// Sends a message to a worker. One that is gone by then gets nothing, as
    /// [`Event::Exit`] tells.
    ///
    /// # Errors
    /// The text is no JSON, one of the channel's own messages, or longer than
    /// 16 MiB.
    pub fn send(
        &mut self,
        worker: WorkerId,
        json: impl Into<String>,
    ) -> Result<(), NotAMessage> {
        self.outgoing.push((worker, checked(json.into())?));
        Ok(())
    }
}

/// A text that is no JSON, or whose `cmd` begins with `NODE_`, as those of
/// the channel itself do, or that has more than 16 MiB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAMessage(String);

impl fmt::Display for NotAMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NotAMessage {}

/// The text, if it may be sent as a message.
pub(crate) fn checked(json: String) -> Result<String, NotAMessage> {
    // Whoever reads a longer line takes its writer for a broken one.
    if json.len() > MAX_LINE {
        let most = MAX_LINE >> 20;
        return Err(NotAMessage(format!("it has more than {most} MiB")));
    }
    match Message::parse(json.as_bytes()) {
        Ok(Message::User(_)) => Ok(json),
        Ok(_) => Err(NotAMessage("NODE_ is for the channel itself".into())),
        Err(error) => Err(NotAMessage(error.to_string())),
    }
}

/// The program's own, in the master.
pub(crate) type Observer = Box<dyn FnMut(Event<'_>, &mut Post)>;

/// The program's own, in a worker.
pub(crate) type MessageHandler = Box<dyn FnMut(&str)>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_json_is_a_message_but_not_the_channels_own() {
        let mut post = Post::default();
        for json in ["1", "\"ready\"", r#"{"cmd":"mine"}"#, "[null]"] {
            post.send(WorkerId(1), json).unwrap();
        }
        for text in ["", "{", "ready", r#"{"cmd":"NODE_CLUSTER"}"#] {
            post.send(WorkerId(1), text).unwrap_err();
        }
        let large = format!("\"{}\"", "x".repeat(MAX_LINE));
        post.send(WorkerId(1), large).unwrap_err();
        assert_eq!(post.outgoing.len(), 4);
    }
}
