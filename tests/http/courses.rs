//! Everything at once and in any order: pieces of requests, answers now,
//! later, after a time and bit by bit, and a client that takes what it likes.
//! Whatever happens when, each request has its own answer, in its turn.

use crate::{client, dice::Dice};
use handoff::http::{
    Answer, Connection, Delayed, Flow, Handler, Input, Later, Limits, Mailbox,
    Method, Output, Preamble, Produce, Reply, Request, Response, Service,
};
use std::{cell::RefCell, rc::Rc, sync::Arc, time::Duration};

/// The largest piece of a body.
const PIECE: usize = 30_000;

/// What a request is answered with: its target, and then some.
fn body(target: &str, length: usize) -> Vec<u8> {
    let mut body = target.as_bytes().to_vec();
    body.resize(body.len() + length, b'.');
    body
}

/// `/COURSE/NUMBER/LENGTH`.
fn parts(target: &str) -> (&str, usize) {
    let mut parts = target.split('/').skip(1);
    let course = parts.next().unwrap();
    (course, parts.nth(1).unwrap().parse().unwrap())
}

/// The right to answer, and with what.
type Owed = (Later, Vec<u8>);

#[derive(Default)]
struct Kept(Rc<RefCell<Vec<Owed>>>);

impl Handler for Kept {
    fn handle(&mut self, request: &Request<'_>, response: &mut Response<'_>) {
        let target = request.target();
        let (course, length) = parts(target);
        let body = body(target, length);
        match course {
            "now" => drop(response.body(body)),
            "later" => self.0.borrow_mut().push((response.later(), body)),
            "after" => response.after(Duration::ZERO, move |reply| {
                reply.body(body);
            }),
            "stream" => {
                let mut left = body;
                let mut pause = false;
                response.stream(move |chunk| {
                    pause = !pause;
                    if pause {
                        return Produce::Pause(Duration::ZERO);
                    }
                    let rest = left.split_off(left.len().min(7000));
                    chunk.push(std::mem::replace(&mut left, rest));
                    match left.is_empty() {
                        true => Produce::End,
                        false => Produce::More,
                    }
                });
            }
            _ => panic!("{course} is no course"),
        }
    }
}

/// What the connection waits for.
enum Next {
    Read,
    Empty,
    Time(Option<Delayed>),
    Answer,
    Nothing,
}

/// A worker whose every move is diced.
struct Worker {
    dice: Dice,
    connection: Connection,
    input: Input,
    output: Output,
    kept: Kept,
    mailbox: Arc<Mailbox>,
    next: Next,
    /// What the client is still to send, and what it has received.
    sends: Vec<u8>,
    taken: Vec<u8>,
}

type Act = fn(
    &mut Connection,
    &mut Input,
    &mut Output,
    &mut Service<'_>,
) -> Option<Flow>;

impl Worker {
    fn new(dice: Dice, sends: Vec<u8>) -> Worker {
        Worker {
            dice,
            connection: Connection::new(),
            input: Input::new(),
            output: Output::new(),
            kept: Kept::default(),
            mailbox: Arc::new(Mailbox::new(|| {})),
            next: Next::Read,
            sends,
            taken: Vec::new(),
        }
    }

    /// Lets something happen to the connection, and the rest follow.
    fn converse(
        &mut self,
        act: impl FnOnce(
            &mut Connection,
            &mut Input,
            &mut Output,
            &mut Service<'_>,
        ) -> Option<Flow>,
    ) {
        let mut service = Service {
            handler: &mut self.kept,
            limits: &Limits::default(),
            preamble: &Preamble::new(0),
            mailbox: &self.mailbox,
            reply: &mut Reply::new(),
            ticket: 0,
            peer: &|| None,
            leaving: false,
            panicked: false,
            request_log: None,
        };
        let (input, output) = (&mut self.input, &mut self.output);
        let flow = act(&mut self.connection, input, output, &mut service);
        self.next = match flow.expect("it was meant for this one") {
            Flow::Read => Next::Read,
            Flow::Write => Next::Empty,
            Flow::After(_, delayed) => Next::Time(Some(delayed)),
            Flow::Pause(_) => Next::Time(None),
            Flow::Later => Next::Answer,
            Flow::Close(_) => Next::Nothing,
        };
        // A mark's worth, and one answer or piece with what stands around it.
        let most = Output::MARK + PIECE + 1000;
        assert!(self.output.pending().len() < most);
    }

    fn go_on(&mut self) {
        const GO_ON: Act = |connection, input, output, service| {
            Some(connection.receive(input, output, service))
        };
        self.converse(GO_ON);
    }

    /// The client takes some of what waits.
    fn take(&mut self) {
        let pending = self.output.pending();
        let count = 1 + self.dice.roll(pending.len());
        let count = count.min(pending.len());
        self.taken.extend_from_slice(&pending[..count]);
        self.output.written(count);
    }

    /// The connection gets what it waits for, if the dice will.
    fn advance(&mut self) {
        match std::mem::replace(&mut self.next, Next::Nothing) {
            Next::Read if self.sends.is_empty() => {
                self.converse(|connection, input, output, service| {
                    Some(connection.end_of_input(input, output, service))
                });
            }
            Next::Read => {
                let most = self.sends.len().min(self.input.space().len());
                let count = 1 + self.dice.roll(most);
                let count = count.min(most);
                let piece = self.sends.drain(..count).as_slice().to_vec();
                self.input.space()[..count].copy_from_slice(&piece);
                self.input.filled(count);
                self.go_on();
            }
            Next::Empty if self.output.is_empty() => self.go_on(),
            Next::Time(None) => self.go_on(),
            Next::Time(Some(delayed)) => {
                self.converse(|connection, input, output, service| {
                    connection
                        .elapse(delayed, output, service)
                        .then(|| connection.receive(input, output, service))
                });
            }
            Next::Answer => {
                let (later, body) = self.kept.0.borrow_mut().pop().unwrap();
                let mut reply = Reply::new();
                reply.body(body);
                later.send(reply);
                let answer: Answer = self.mailbox.take().pop().unwrap();
                self.converse(|connection, input, output, service| {
                    connection
                        .answer(answer, output, service)
                        .then(|| connection.receive(input, output, service))
                });
            }
            next @ (Next::Empty | Next::Nothing) => self.next = next,
        }
    }

    /// Everything, to the end; what the client has received.
    fn run(mut self) -> Vec<u8> {
        while !matches!(self.next, Next::Nothing) || !self.output.is_empty() {
            match self.dice.roll(3) {
                0 => self.take(),
                _ => self.advance(),
            }
        }
        self.taken
    }
}

#[test]
fn each_request_has_its_own_answer_in_its_turn() {
    for seed in 1..1500 {
        let mut dice = Dice(0x9e37_79b9_7f4a_7c15 ^ (seed << 24));
        let courses = ["now", "now", "later", "after", "stream"];
        let mut sends = Vec::new();
        let mut wanted = Vec::new();
        for number in 0..1 + dice.roll(60) {
            let most = [1, 100, PIECE][dice.roll(3)];
            let course = courses[dice.roll(courses.len())];
            let target = format!("/{course}/{number}/{}", dice.roll(most));
            let method =
                [Method::Get, Method::Head, Method::Post][dice.roll(3)];
            let head = format!("{method} {target} HTTP/1.1\r\nHost: a\r\n");
            sends.extend_from_slice(head.as_bytes());
            sends.extend_from_slice(match method {
                Method::Post if dice.roll(2) == 0 => {
                    b"Content-Length: 4\r\n\r\nGET "
                }
                Method::Post => {
                    b"Transfer-Encoding: chunked\r\n\r\n\
                      3\r\nGET\r\n1;a\r\n \r\n0\r\nA: b\r\n\r\n"
                }
                _ => b"\r\n",
            });
            wanted.push((target, method == Method::Head));
        }
        let taken = Worker::new(dice, sends).run();
        let heads: Vec<bool> = wanted.iter().map(|(_, head)| *head).collect();
        let answers = client::answers(&taken, &heads);
        assert_eq!(answers.len(), wanted.len(), "seed {seed}");
        for (answer, (target, head)) in answers.iter().zip(wanted) {
            let length = if head { None } else { Some(parts(&target).1) };
            let body = length.map(|length| body(&target, length));
            assert_eq!(answer.status, 200, "seed {seed}, {target}");
            let same = answer.body == body.unwrap_or_default();
            assert!(same && !answer.closes(), "seed {seed}, {target}");
        }
    }
}
