//! HTTP/1.1 without sockets: bytes go in, answers come out.
//!
//! A server's whole side of RFC 9112, and no more: requests are read as
//! strictly as that allows, since whatever two programs can read in two ways
//! is a way in for an attacker. Nothing here waits, knows the time, or calls
//! the system, so every case can be tested a hundred thousand times a second.
//!
//! ```text
//!           Input                                          Output
//!  client ─▶ bytes ─▶ head ──▶ terms ──▶ chunked ─▶ Request   ▲
//!                     grammar  meaning   body        │        │ encode
//!                                                    ▼        │
//!                        Connection              Handler ─▶ Reply, Stream
//!                        says when   ──▶ Flow               or later:
//!                                                           Mailbox
//! ```
//!
//! Where the RFCs leave a choice, or practice is laxer than they are:
//!
//! | what                                  | here     | because           |
//! |---------------------------------------|----------|-------------------|
//! | a line that ends with LF alone        | 400      | 9112 §2.2: may, and smugglers live on it |
//! | empty lines before a request          | up to 8  | 9112 §2.2: at least one |
//! | a folded line                         | 400      | 9112 §5.2         |
//! | a length twice, or in a list          | 400      | 9110 §8.6: may, equal or not |
//! | a coding and a length                 | 400      | 9112 §6.3: ought to |
//! | a coding in HTTP/1.0                  | 400      | 9112 §6.1: faulty framing |
//! | a coding that is not chunked at last  | 400, one before it 501 | 9112 §6.3, §6.1 |
//! | white space behind a chunk size       | only before `;` | 9110 §5.6.3: BWS must be read there, nowhere else |
//! | `%` and `\|^{}"<>` in a target        | as sent  | browsers send some; nothing here decodes |
//! | `#`, bytes beyond ASCII in a target   | 400      | 9112 §3.2: no form has them |
//! | schemes other than http and https     | 400      | they name nothing here |
//! | an authority with a user, or no host  | 400      | 9110 §4.2.1, §4.2.4 |
//! | a host that differs from the target's | the target's counts | 9112 §3.2.2, [`Request::host`] |
//! | an empty Host, an empty port          | taken    | 9110 §7.2, 3986 §3.2.3: the grammar |
//! | a method not known                    | 501, and the end | its body need not be understood |
//! | an expectation not known              | 417 in 1.1 | 9110 §10.1.1: may |
//! | a body with GET, HEAD, DELETE         | read     | 9110 §9.3.1: framing does not depend on methods |
//! | what the server itself answers with an error | the connection ends | 9112 §9.6: after a misread byte there is no next request |
//!
//! Read `connection` for the conversation, `head` for the grammar, `terms`
//! for what keeps request smuggling out.

mod byte;
mod chunked;
mod connection;
mod date;
mod encode;
mod flow;
mod head;
mod input;
mod limits;
mod mailbox;
mod output;
mod reply;
mod request;
mod request_log;
mod response;
mod service;
mod status;
mod stream;
mod target;
mod terms;

pub use connection::Connection;
pub use date::Preamble;
pub use flow::{Closing, Expects, Flow};
pub use head::{Head, Version};
pub use input::Input;
pub use limits::Limits;
pub use mailbox::{Answer, Later, Mailbox};
pub use output::Output;
pub use reply::{BadField, Reply};
pub use request::{Method, Request};
pub use request_log::RequestLog;
pub use response::{Delayed, Response};
pub use service::{Handler, Service};
pub use status::Refusal;
pub use stream::{Chunk, Produce};
