//! What a client has while something of it is in hand: two buffers, and where
//! its conversation stands.
//!
//! If the connection is guarded, the input's buffer is the shared buffer's, so
//! that what is read stands there from the first instant. Answers are copied
//! to it when they are whole: they are short, and most are never looked at.

use std::os::fd::BorrowedFd;
use std::time::Instant;

use super::host::Host;
use super::intent_log::IntentLog;
use crate::http::{
    Answer, Closing, Connection, Delayed, Expects, Flow, Input, Output,
    Refusal, RequestLog, Service,
};
use crate::salvage::recovery::INPUT;
use crate::salvage::snapshot::Snapshot;
use crate::scoreboard::{SharedBuffer, SharedBuffers};
use crate::slab::Key;
use crate::sys;
use crate::sys::socket;
use crate::sys::tcp;

/// Bytes that wait in the kernel for a client that does not read, and whose
/// next request is therefore not looked at.
const UNSENT: i32 = 64 << 10;

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Work {
    http: Connection,
    input: Input,
    output: Output,
    /// The last read took all there was room for: the kernel may have more.
    filled: bool,
    /// The kernel keeps little of what this client does not take.
    held: bool,
    pub(super) next: Next,
    /// When the conversation goes on by itself.
    pub(super) alarm: Option<Alarm>,
    /// Buffers that the master can read, in as far as there are any.
    binding: Option<Binding>,
    intents: Option<IntentLog>,
}

/// A shared buffer of which the input has one half.
#[derive(Debug)]
struct Binding {
    number: u32,
    output: &'static mut [u8],
    /// No byte behind this one was ever filled.
    used: usize,
    /// The input's half, while the input is in memory of its own.
    spare: Option<&'static mut [u8]>,
}

impl Binding {
    /// The input is in memory of its own from now on.
    fn keep_apart(&mut self, input: Option<&'static mut [u8]>) {
        self.spare = input;
        if let Some(input) = &mut self.spare {
            input.fill(0);
        }
    }
}

/// What is to be done at a certain time.
#[derive(Debug)]
pub(super) struct Alarm {
    pub(super) at: Instant,
    pub(super) step: Step,
}

/// What is to be done once the output is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Next {
    /// Read more.
    #[default]
    Read,
    /// Go on with what was read.
    GoOn,
    /// Wait for an answer, or for the time to go on.
    Wait,
    Close(Closing),
    /// The client was told of the end: read, and drop, so many bytes.
    Drain(usize),
}

/// What the conversation goes on with.
#[derive(Debug)]
pub(super) enum Step {
    /// With the bytes that are there.
    GoOn,
    /// The client has said that it sends nothing more.
    EndOfInput,
    /// An answer has come from another thread.
    Answer(Answer),
    /// The time for an answer has come.
    Elapsed(Delayed),
    /// The client took too long.
    Late,
}

/// Its beginning and its end.
impl Work {
    /// A work whose buffers are the shared buffer's, or its own if there is
    /// none.
    pub(super) fn new(buffer: Option<SharedBuffer>) -> Work {
        let mut work = Work::default();
        if let Some(SharedBuffer { number, input, output }) = buffer {
            work.input = Input::lent(input);
            work.binding =
                Some(Binding { number, output, used: 0, spare: None });
        }
        work
    }

    pub(super) fn begin(&mut self, served: u32) {
        self.http = Connection::resume(served);
        self.held = false;
        self.next = Next::Read;
    }

    /// Which shared buffer it is in.
    pub(super) fn buffer(&self) -> Option<u32> {
        self.binding.as_ref().map(|binding| binding.number)
    }

    /// From now on all that happens to the connection is written down.
    pub(super) fn log_to(&mut self, intents: IntentLog) {
        if intents.is_whole() {
            self.input.keep();
        }
        self.intents = Some(intents);
    }

    /// Goes on where another worker stopped.
    pub(super) fn unpack(&mut self, snapshot: &Snapshot) {
        let mut rest = snapshot.input.as_slice();
        while !rest.is_empty() {
            let space = self.input.space();
            let count = space.len().min(rest.len());
            space[..count].copy_from_slice(&rest[..count]);
            self.input.filled(count);
            rest = &rest[count..];
        }
        if !snapshot.input.is_empty() {
            self.http.answer_singly();
        }
        self.output.put(&snapshot.output);
        if let Some(binding) = &mut self.binding
            && snapshot.output.len() <= binding.output.len()
        {
            binding.output[..snapshot.output.len()]
                .copy_from_slice(&snapshot.output);
            binding.used = snapshot.output.len();
        }
        self.next = match snapshot.closing {
            true => Next::Close(Closing::Staged),
            false => Next::GoOn,
        };
    }

    /// Forgets everything: whoever prepares an answer is to know that nobody
    /// waits for it. If something was in hand, its connection is over.
    pub(super) fn clear(&mut self) {
        self.http = Connection::new();
        self.alarm = None;
        self.wipe();
        if let Some(mut intents) = self.intents.take() {
            intents.end();
        }
        self.output.clear();
    }

    /// Nothing is in hand, and it is written down.
    pub(super) fn close(&mut self) {
        self.wipe();
        if let Some(mut intents) = self.intents.take() {
            intents.close();
        }
    }

    /// Nothing is left in the shared buffer, which is another connection's
    /// next.
    fn wipe(&mut self) {
        if let Some(binding) = &mut self.binding {
            if let Some(input) = binding.spare.take() {
                self.input = Input::lent(input);
            }
            binding.output[..binding.used].fill(0);
            binding.used = 0;
        }
        self.input.wipe();
    }

    /// The shared buffer that it was in, after [`clear`](Work::clear).
    pub(super) fn into_buffer(self) -> Option<SharedBuffer> {
        let Binding { number, output, .. } = self.binding?;
        let input = self.input.reclaim()?;
        Some(SharedBuffer { number, input, output })
    }

    /// Its buffers have not grown.
    pub(super) fn is_worth_keeping(&self) -> bool {
        self.input.is_standard() && self.output.is_standard()
    }

    /// Another worker could go on with it.
    pub(super) fn can_be_given(&self) -> bool {
        let waits_for_bytes = match self.expects() {
            Expects::Idle | Expects::Head | Expects::Body => true,
            Expects::Answer | Expects::Stream | Expects::Close => false,
        };
        self.next == Next::Read
            && waits_for_bytes
            && !self.http.has_ended()
            && self.output.is_empty()
            && self.intents.as_ref().is_some_and(IntentLog::is_whole)
    }
}

/// Bytes in, bytes out.
impl Work {
    pub(super) fn served(&self) -> u32 {
        self.http.served()
    }

    /// Its last request was turned away before a handler has seen it.
    pub(super) fn is_refused(&self) -> bool {
        self.http.is_refused()
    }

    /// Nothing is in hand.
    pub(super) fn is_over(&self) -> bool {
        self.next == Next::Read
            && self.http.is_idle()
            && self.input.is_empty()
            && self.output.is_empty()
    }

    pub(super) fn expects(&self) -> Expects {
        self.http.expects()
    }

    /// Bytes that the client has not taken yet.
    pub(super) fn waiting(&self) -> usize {
        self.output.pending().len()
    }

    /// The client's last step stopped before its end, so that others run.
    pub(super) fn goes_on(&self) -> bool {
        self.next == Next::GoOn
    }

    /// The client is to take something, or is about to be given more when
    /// its socket takes it: that may be never, although nothing waits here.
    pub(super) fn is_writing(&self) -> bool {
        self.waiting() > 0 || self.next == Next::GoOn
    }

    /// More of an answer is to come than was made so far.
    pub(super) fn is_streaming(&self) -> bool {
        self.expects() == Expects::Stream
    }

    /// Reads once. `None`: nothing was there. `Some(0)`: the client's end.
    pub(super) fn read(
        &mut self,
        socket: BorrowedFd<'_>,
        buffers: &mut Option<SharedBuffers>,
    ) -> sys::Result<Option<usize>> {
        if self.input.is_full() {
            self.make_room(buffers);
        }
        let most = self.most();
        let space = self.input.space();
        let room = space.len().min(most);
        let count = socket::receive(socket, &mut space[..room])?;
        self.filled = count == Some(room);
        if let Some(count) = count {
            self.input.filled(count);
            if let Some(intents) = &mut self.intents {
                intents.read(count);
            }
        }
        Ok(count)
    }

    /// How much to read. Behind a request that is in no shared buffer not more
    /// than fits on one: what follows is to be there when a handler has it.
    fn most(&self) -> usize {
        match &self.intents {
            Some(intents) if !intents.is_whole() => {
                self.http.lacks(&self.input).saturating_add(INPUT)
            }
            Some(_) | None => usize::MAX,
        }
    }

    /// What is kept goes to the beginning of another shared buffer, or, if it
    /// is too much for one, to where nobody else can read it. It is never
    /// moved within its shared buffer: half moved, it would be nothing.
    fn make_room(&mut self, buffers: &mut Option<SharedBuffers>) {
        let Some(binding) = &mut self.binding else { return };
        let Some(intents) = &mut self.intents else {
            // Nobody reads its shared buffer, but that is not to get lost.
            if binding.spare.is_none() && !self.input.has_settled() {
                binding.keep_apart(self.input.spill());
            }
            return;
        };
        if !intents.is_whole() {
            return;
        }
        let other = match self.input.has_settled() {
            true => buffers.as_mut().and_then(SharedBuffers::take),
            false => None,
        };
        let Some(other) = other else {
            intents.spill();
            binding.keep_apart(self.input.spill());
            return;
        };
        let input = self.input.move_to(other.input);
        let output = std::mem::replace(&mut binding.output, other.output);
        let number = std::mem::replace(&mut binding.number, other.number);
        binding.used = 0;
        intents.move_to(binding.number, self.input.end());
        if let (Some(buffers), Some(input)) = (buffers, input) {
            buffers.put_away(SharedBuffer { number, input, output });
        }
    }

    /// The connection is to end with a reset: any other end would make what
    /// the client has of an answer look like all of it.
    pub(super) fn must_break_off(&self) -> bool {
        let is_whole = !self.is_streaming() && self.output.is_empty();
        self.next == Next::Close(Closing::Reset)
            || (self.http.is_open_ended() && !is_whole)
    }

    /// Nothing has come that was not read, so that closing resets nothing.
    pub(super) fn has_read_all(&self) -> bool {
        !self.filled
    }

    /// Reads once, and drops it.
    pub(super) fn drop_input(
        &mut self,
        socket: BorrowedFd<'_>,
    ) -> sys::Result<Option<usize>> {
        self.input.clear();
        let count = socket::receive(socket, self.input.space())?;
        self.input.filled(count.unwrap_or(0));
        Ok(count)
    }

    /// Writes until the socket takes no more. Whether all is written.
    pub(super) fn write(
        &mut self,
        socket: BorrowedFd<'_>,
    ) -> sys::Result<bool> {
        loop {
            let mut left = self.announce();
            while left > 0 {
                let pending = self.output.pending();
                // Never before a reset: it takes back what has not left.
                let ends = matches!(
                    self.next,
                    Next::Close(Closing::Plain | Closing::Staged)
                );
                let send = match ends && left == pending.len() {
                    true => socket::send_last,
                    false => socket::send,
                };
                let Some(count) = send(socket, &pending[..left])? else {
                    return Ok(false);
                };
                left -= count;
                self.output.written(count);
                if let Some(intents) = &mut self.intents {
                    intents.wrote(count);
                }
            }
            self.settle();
            if self.output.is_empty() {
                return Ok(true);
            }
        }
    }

    /// Writes down what is about to be written: so many bytes.
    fn announce(&mut self) -> usize {
        let pending = self.output.pending();
        let Some(intents) = &mut self.intents else { return pending.len() };
        let end = match self.next {
            Next::Close(closing) => Some(closing),
            Next::Read | Next::GoOn | Next::Wait | Next::Drain(_) => None,
        };
        let partial = self.http.expects() == Expects::Stream;
        let answered = self.input.consumed() - self.http.unanswered();
        let Some(binding) = &mut self.binding else {
            return intents.answer(pending, answered, None, partial, end);
        };
        let buffer = Some(&mut *binding.output);
        let known = intents.answer(pending, answered, buffer, partial, end);
        binding.used = binding.used.max(intents.in_buffer());
        known
    }

    /// Writes down that it is written, if those were whole answers.
    fn settle(&mut self) {
        let Some(intents) = &mut self.intents else { return };
        if let Some(answered) = intents.settle() {
            // An input that was dropped, for the end, has nothing waiting.
            let waiting = self.input.consumed().saturating_sub(answered);
            self.input.settle(waiting);
            if waiting == 0 {
                self.unspill();
            }
        }
    }

    /// A request that was too large for the shared buffer is answered: what
    /// stands behind it goes to the shared buffer, where another worker can
    /// find it.
    fn unspill(&mut self) {
        if let Some(intents) = &mut self.intents
            && !intents.is_whole()
            && let Some(binding) = &mut self.binding
            && let Some(spare) = binding.spare.take()
        {
            match self.input.unspill(spare) {
                Ok(()) => intents.unspill(self.input.end()),
                Err(spare) => binding.spare = Some(spare),
            }
        }
    }

    /// Bounds what waits in the kernel for a client that is given one output
    /// after another: it would take megabytes before it made us wait. One
    /// large answer may lie there whole, and outlive its worker.
    pub(super) fn hold(&mut self, socket: BorrowedFd<'_>) {
        if !self.held {
            self.held = true;
            // A Unix socket has no such thing, and bounds it by itself.
            let _ = tcp::limit_unsent(socket, UNSENT);
        }
    }

    /// Goes on with the conversation. `None`: the step was meant for somebody
    /// else, and nothing has changed.
    pub(super) fn go_on(
        &mut self,
        step: Step,
        host: &mut Host,
        key: Key,
        socket: BorrowedFd<'_>,
    ) -> Option<Flow> {
        let peer = || socket::peer_address(socket).ok().flatten();
        let mut service = Service {
            handler: &mut *host.handler,
            limits: &host.limits,
            preamble: &host.preamble,
            mailbox: &host.mailbox,
            reply: &mut host.reply,
            ticket: key.bits(),
            peer: &peer,
            leaving: host.parting.closes(self.intents.is_some()),
            panicked: false,
            request_log: self
                .intents
                .as_ref()
                .map(|intents| intents as &dyn RequestLog),
        };
        let (http, service_) = (&mut self.http, &mut service);
        let (input, output) = (&mut self.input, &mut self.output);
        let flow = match step {
            Step::GoOn => Some(http.receive(input, output, service_)),
            Step::EndOfInput => {
                Some(http.end_of_input(input, output, service_))
            }
            Step::Answer(answer) => http
                .answer(answer, output, service_)
                .then(|| http.receive(input, output, service_)),
            Step::Elapsed(delayed) => http
                .elapse(delayed, output, service_)
                .then(|| http.receive(input, output, service_)),
            Step::Late => {
                http.refuse(Refusal::Late, input, output, service_);
                Some(http.receive(input, output, service_))
            }
        };
        host.panicked |= service.panicked;
        flow
    }
}
