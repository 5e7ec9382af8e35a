//! A worker without sockets: carries bytes to a connection and back, and does
//! what each flow says.

use crate::client::{self, Answer};
use handoff::http::{
    Closing, Connection, Delayed, Flow, Handler, Input, Limits, Mailbox,
    Output, Preamble, Reply, Service,
};
use std::{sync::Arc, time::Duration};

/// One connection and its worker.
pub(crate) struct Driver<H> {
    pub(crate) connection: Connection,
    pub(crate) input: Input,
    pub(crate) output: Output,
    pub(crate) limits: Limits,
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) leaving: bool,
    pub(crate) panicked: bool,
    /// How the connection ended.
    pub(crate) closing: Option<Closing>,
    /// Answers that wait for their time.
    pub(crate) delayed: Vec<Delayed>,
    /// For how long streams had nothing to say.
    pub(crate) pauses: Vec<Duration>,
    handler: H,
    preamble: Preamble,
    reply: Reply,
    taken: Vec<u8>,
}

impl<H: Handler> Driver<H> {
    pub(crate) fn new(handler: H) -> Self {
        Driver {
            connection: Connection::new(),
            input: Input::new(),
            output: Output::new(),
            limits: Limits::default(),
            mailbox: Arc::new(Mailbox::new(|| {})),
            leaving: false,
            panicked: false,
            closing: None,
            delayed: Vec::new(),
            pauses: Vec::new(),
            handler,
            preamble: Preamble::new(784_111_777),
            reply: Reply::new(),
            taken: Vec::new(),
        }
    }

    /// The client sends this, in one piece as far as the input has room.
    pub(crate) fn send(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && self.closing.is_none() {
            let space = self.input.space();
            let count = space.len().min(bytes.len());
            space[..count].copy_from_slice(&bytes[..count]);
            self.input.filled(count);
            bytes = &bytes[count..];
            self.step(false);
        }
    }

    /// The client sends nothing more.
    pub(crate) fn end(&mut self) {
        self.step(true);
    }

    /// The time of a delayed answer has come.
    pub(crate) fn elapse(&mut self, delayed: Delayed) -> bool {
        let fits = self.call(|connection, _, output, service| {
            connection.elapse(delayed, output, service)
        });
        self.step(false);
        fits
    }

    /// Calls the connection, with what it needs.
    pub(crate) fn call<T>(
        &mut self,
        act: impl FnOnce(
            &mut Connection,
            &mut Input,
            &mut Output,
            &mut Service<'_>,
        ) -> T,
    ) -> T {
        let mut service = Service {
            handler: &mut self.handler,
            limits: &self.limits,
            preamble: &self.preamble,
            mailbox: &self.mailbox,
            reply: &mut self.reply,
            ticket: 7,
            peer: &|| None,
            leaving: self.leaving,
            panicked: false,
            request_log: None,
        };
        let value = act(
            &mut self.connection,
            &mut self.input,
            &mut self.output,
            &mut service,
        );
        self.panicked |= service.panicked;
        value
    }

    /// Lets the connection go on until it needs the client or the time.
    pub(crate) fn step(&mut self, end: bool) {
        let mut end = end;
        loop {
            let flow = self.call(|connection, input, output, service| {
                match std::mem::take(&mut end) {
                    true => connection.end_of_input(input, output, service),
                    false => connection.receive(input, output, service),
                }
            });
            let full = matches!(flow, Flow::Write);
            let pending = self.output.pending();
            self.taken.extend_from_slice(pending);
            let count = pending.len();
            self.output.written(count);
            match flow {
                Flow::Write => assert!(full && count >= Output::MARK),
                Flow::Pause(time) => self.pauses.push(time),
                Flow::Read | Flow::Later => return,
                Flow::After(_, delayed) => self.delayed.push(delayed),
                Flow::Close(closing) => {
                    self.closing = Some(closing);
                    return;
                }
            }
        }
    }

    /// What the client was sent since the last time.
    pub(crate) fn taken(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.taken)
    }
}

/// A small request, and another.
pub(crate) const GET: &[u8] = b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n";
pub(crate) const NEXT: &[u8] = b"GET /2 HTTP/1.1\r\nHost: a\r\n\r\n";

/// Status and body of each answer.
pub(crate) fn bodies<H: Handler>(driver: &mut Driver<H>) -> Vec<String> {
    let answers = client::answers(&driver.taken(), &[]);
    let text = |answer: Answer| {
        let body = String::from_utf8(answer.body).unwrap();
        format!("{} {body}", answer.status)
    };
    answers.into_iter().map(text).collect()
}

/// The one answer, perhaps to a HEAD.
pub(crate) fn only<H: Handler>(driver: &mut Driver<H>, head: bool) -> Answer {
    let mut answers = client::answers(&driver.taken(), &[head]);
    assert_eq!(answers.len(), 1);
    answers.remove(0)
}
