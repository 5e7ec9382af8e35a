//! The library's entry point: how many workers, where, and who answers.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, Write};
use std::num::NonZero;
use std::path::Path;
use std::process::ExitCode;
use std::sync::OnceLock;
use std::time::Duration;

use log::LevelFilter;

use crate::config::{Address, Control, Schedule, Settings};
use crate::error::Error;
use crate::event::{self, Event, NotAMessage, Observer, Post};
use crate::http::Handler;
use crate::master::Mode;
use crate::master::scheduler::{
    IpHash, LeastConnections, RoundRobin, Scheduler,
};
use crate::worker::contract::{self, Contract};
use crate::{WorkerId, logger, master, sys};

/// A master and its workers, before they start.
///
/// ```no_run
/// use handoff::{Cluster, LeastConnections, Request, Response};
///
/// fn main() -> std::process::ExitCode {
///     let cluster = Cluster::new("127.0.0.1:3000").workers(4);
///     cluster.scheduler(LeastConnections).serve(|| {
///         let mut served = 0; // one per worker
///         move |request: &Request<'_>, response: &mut Response<'_>| {
///             served += 1;
///             let (target, pid) = (request.target(), std::process::id());
///             response.body(format!("{target} from {pid}: {served}\n"));
///         }
///     })
/// }
/// ```
pub struct Cluster {
    settings: Settings,
    scheduler: Box<dyn Scheduler>,
    observer: Option<Observer>,
    message_handler: Option<event::MessageHandler>,
    /// The first mistake, told when it is to serve.
    mistake: Option<Error>,
}

impl Cluster {
    /// A cluster that listens on `address`: `PORT`, `HOST:PORT`,
    /// `[IPv6]:PORT` or `unix:PATH`. A worker for each usable CPU, round
    /// robin.
    ///
    /// An address that cannot be understood is told by [`serve`](Self::serve).
    pub fn new(address: impl AsRef<str>) -> Cluster {
        Cluster::default().listen(address)
    }

    /// What was typed behind `handoff serve`.
    pub(crate) fn from_settings(settings: Settings) -> Cluster {
        let scheduler: Box<dyn Scheduler> = match settings.schedule {
            Schedule::RoundRobin => Box::new(RoundRobin),
            Schedule::LeastConnections => Box::new(LeastConnections),
            Schedule::IpHash => Box::new(IpHash),
        };
        let (observer, message_handler, mistake) = (None, None, None);
        Cluster { settings, scheduler, observer, message_handler, mistake }
    }

    /// Listens on a further address. `[::]` takes IPv4 too, unless one of the
    /// others is an IPv4 address with its port.
    pub fn listen(mut self, address: impl AsRef<str>) -> Cluster {
        match address.as_ref().parse::<Address>() {
            Ok(address) => self.settings.listen.push(address),
            Err(error) => {
                self.mistake = self.mistake.or(Some(error.into()));
            }
        }
        self
    }

    /// How many worker processes: 1 to 1024.
    pub fn workers(mut self, workers: usize) -> Cluster {
        self.settings.set_workers(workers);
        self
    }

    /// Who chooses the worker for a connection.
    pub fn scheduler(
        mut self,
        scheduler: impl Scheduler + 'static,
    ) -> Cluster {
        self.scheduler = Box::new(scheduler);
        self
    }

    /// How many connections a worker may have been handed without being known
    /// to have them: 1 to 4096, 128 by default. It bounds what waits behind a
    /// slow handler.
    pub fn window(mut self, connections: usize) -> Cluster {
        self.settings.window = connections;
        self
    }

    /// How long requests in hand may take when a worker is to go; 10 s by
    /// default, a day at most.
    pub fn grace(mut self, grace: Duration) -> Cluster {
        self.settings.grace = grace;
        self
    }

    /// How long a worker that is to go waits for one more request of each
    /// idle client, to tell it so; 2 s by default, a day at most, and half a
    /// second at most at a stop.
    pub fn idle_grace(mut self, grace: Duration) -> Cluster {
        self.settings.idle_grace = grace;
        self
    }

    /// Whether connections outlive their worker; they do by default. A worker
    /// that is killed, crashes or is replaced leaves them to another, with
    /// what was read, what was not yet written, and, if the method is
    /// idempotent or the handler says [`Request::replayable`], what it had
    /// begun to answer.
    ///
    /// [`Request::replayable`]: crate::Request::replayable
    pub fn salvage(mut self, salvage: bool) -> Cluster {
        self.settings.salvage = salvage;
        self
    }

    /// Who the workers are: `USER` or `USER:GROUP`, each a name or a number.
    /// Without a group it is the user's primary one; the user's supplementary
    /// groups come with it. The master stays who it is, and has to be root for
    /// this. By default the workers are who the master is.
    pub fn user(mut self, user: impl AsRef<str>) -> Cluster {
        let user = user.as_ref();
        match user.parse() {
            Ok(user) => self.settings.user = Some(user),
            Err(()) => {
                let error = Error::Usage(format!(
                    "user takes USER or USER:GROUP, not {user:?}"
                ));
                self.mistake = self.mistake.or(Some(error));
            }
        }
        self
    }

    /// How long a worker may not move while it has something to do: then it
    /// hangs, is killed and replaced. Zero, the default, is for ever: it is
    /// the handlers that decide what is too long. At least 100 ms.
    pub fn hang_timeout(mut self, timeout: Duration) -> Cluster {
        self.settings.hang_timeout = (!timeout.is_zero()).then_some(timeout);
        self
    }

    /// Whether connections without data are held back by the kernel
    /// (`TCP_DEFER_ACCEPT`, tcp(7)); on by default.
    pub fn defer_accept(mut self, on: bool) -> Cluster {
        self.settings.defer_accept = on;
        self
    }

    /// How long a request's head may take from its first byte; 15 s by
    /// default. Then: 408.
    pub fn header_timeout(mut self, timeout: Duration) -> Cluster {
        self.settings.header_timeout = timeout;
        self
    }

    /// How long a connection may be idle between requests; 60 s by default.
    pub fn idle_timeout(mut self, timeout: Duration) -> Cluster {
        self.settings.idle_timeout = timeout;
        self
    }

    /// How long a body may make no progress; 30 s by default. Then: 408.
    pub fn body_timeout(mut self, timeout: Duration) -> Cluster {
        self.settings.body_timeout = timeout;
        self
    }

    /// How long a client may take nothing of an answer; 30 s by default.
    pub fn write_timeout(mut self, timeout: Duration) -> Cluster {
        self.settings.write_timeout = timeout;
        self
    }

    /// Most bytes of a request line and its fields; 16 KiB by default.
    pub fn max_head(mut self, bytes: usize) -> Cluster {
        self.settings.max_head = bytes;
        self
    }

    /// Most fields of a request; 100 by default.
    pub fn max_fields(mut self, fields: usize) -> Cluster {
        self.settings.max_fields = fields;
        self
    }

    /// Most bytes of a request's body; 1 MiB by default, 0 refuses bodies.
    pub fn max_body(mut self, bytes: usize) -> Cluster {
        self.settings.max_body = bytes;
        self
    }

    /// After how many requests a connection is closed; 0, the default, is
    /// never.
    pub fn max_requests_per_connection(mut self, requests: usize) -> Cluster {
        self.settings.max_requests_per_connection = NonZero::new(requests);
        self
    }

    /// Most open connections of one worker; 0, the default, is as many as it
    /// can have descriptors, less a few.
    pub fn max_connections(mut self, connections: usize) -> Cluster {
        self.settings.max_connections = NonZero::new(connections);
        self
    }

    /// After about how many requests a worker is replaced, a tenth more or
    /// less for each; 0, the default, is never.
    pub fn max_requests(mut self, requests: usize) -> Cluster {
        self.settings.max_requests = NonZero::new(requests);
        self
    }

    /// With how much resident memory, in bytes, a worker is replaced; 0, the
    /// default, is never.
    pub fn max_rss(mut self, bytes: usize) -> Cluster {
        self.settings.max_rss = NonZero::new(bytes);
        self
    }

    /// Where `handoff status`, `reload`, `scale` and `stop` find the master:
    /// the path of a socket that it makes, at most 96 bytes. By default it is
    /// `handoff-PID.sock` under `$XDG_RUNTIME_DIR` or `/run`; `None` is
    /// nowhere.
    pub fn control(mut self, path: Option<&Path>) -> Cluster {
        self.settings.control = match path {
            Some(path) => Control::At(path.to_owned()),
            None => Control::Off,
        };
        self
    }

    /// The least important lines that are logged; `Info` by default. A logger
    /// that the program has set up itself stays in place.
    pub fn log_level(mut self, level: LevelFilter) -> Cluster {
        self.settings.log_level = level;
        self
    }

    /// Tells `observer`, in the master, what becomes of its workers, as
    /// Node's `cluster` does, and takes what it has to say to them. It runs
    /// in the master's loop: it must not take long.
    ///
    /// ```no_run
    /// use handoff::{Cluster, Event, Request, Response};
    ///
    /// # fn main() -> std::process::ExitCode {
    /// Cluster::new("3000")
    ///     .observe(|event, post| match event {
    ///         Event::Listening { worker } => {
    ///             post.send(worker, r#"{"hello":"worker"}"#).expect("JSON");
    ///         }
    ///         Event::Message { worker, json } => {
    ///             eprintln!("{worker} says {json}");
    ///         }
    ///         _ => {}
    ///     })
    ///     .on_message(|json| {
    ///         let worker = handoff::worker().expect("in a worker");
    ///         worker.send(format!(r#"{{"heard":{json}}}"#)).expect("JSON");
    ///     })
    ///     .serve(|| |_: &Request<'_>, answer: &mut Response<'_>| {
    ///         answer.body("hello\n");
    ///     })
    /// # }
    /// ```
    pub fn observe(
        mut self,
        observer: impl FnMut(Event<'_>, &mut Post) + 'static,
    ) -> Cluster {
        self.observer = Some(Box::new(observer));
        self
    }

    /// Calls `handler`, in each worker, with what its master says to it: one
    /// JSON text at a time.
    pub fn on_message(
        mut self,
        handler: impl FnMut(&str) + 'static,
    ) -> Cluster {
        self.message_handler = Some(Box::new(handler));
        self
    }

    /// Starts the master, or, in a process that a master has started, the
    /// worker. Returns when it is over: `main` returns that in turn. Whoever
    /// has served can serve no more: every worker is of the first call that it
    /// comes to.
    ///
    /// A process that was started by Node is a worker too: of a `cluster`,
    /// whose primary then listens, or, unless an address was given, of a
    /// process that has called `fork` or `spawn` with an `ipc` channel, and
    /// sends connections (`child.send(message, socket)`).
    ///
    /// As with Node's `cluster`, the program runs from its beginning in each
    /// worker: what stands before this call runs once in the master and once
    /// in every worker ([`is_worker`]). `handler` is called once in each
    /// worker, for a [`Handler`] that is all its own.
    ///
    /// The process must have one thread: it is going to fork. Signals are
    /// read, not caught: HUP, INT, QUIT, TERM, USR1, USR2 and WINCH are
    /// blocked from now on, also in programs that a handler starts, unless it
    /// unblocks them (`std::process::Command` passes the mask on). Mistakes
    /// and refusals are logged in one line; the exit code is 2 for what must
    /// be written differently, 1 for what the system refused, 0 for a stop
    /// that was asked for.
    pub fn serve<H>(mut self, handler: impl FnOnce() -> H) -> ExitCode
    where
        H: Handler + 'static,
    {
        let listen = &mut self.settings.listen;
        let is_worker = contract::is_there()
            || contract::has_channel() && listen.is_empty();
        if listen.is_empty() {
            listen.push(Address::default());
        }
        let result = if is_worker {
            self.be_worker(handler)
        } else {
            logger::init(self.settings.log_level, "master".to_owned());
            self.be_master(Mode::Serve)
        };
        told(result)
    }

    fn be_worker<H>(
        mut self,
        handler: impl FnOnce() -> H,
    ) -> Result<ExitCode, Error>
    where
        H: Handler + 'static,
    {
        self.check()?;
        let contract = Contract::take();
        let name = match &contract {
            Ok(Contract { worker: worker @ WorkerId(1..), .. }) => {
                format!("worker {worker}")
            }
            Ok(_) | Err(_) => format!("worker, pid {}", std::process::id()),
        };
        logger::init(self.settings.log_level, name);
        let contract = contract?;
        let contract = CONTRACT.get_or_init(|| contract);
        let handler = Box::new(handler());
        crate::worker::run(
            &self.settings,
            contract,
            handler,
            self.message_handler,
        )
    }

    /// Starts a master whose workers are another program: `handoff run`.
    pub(crate) fn run(self, program: Vec<OsString>) -> ExitCode {
        logger::init(self.settings.log_level, "master".to_owned());
        told(self.be_master(Mode::Run(program)))
    }

    fn be_master(mut self, mode: Mode) -> Result<ExitCode, Error> {
        contract::is_untaken()?;
        self.check()?;
        if let Err(error) = sys::stderr::never_block() {
            log::debug!("the log may block: {error}");
        }
        let Cluster { settings, scheduler, observer, .. } = self;
        let ended = master::run(&settings, mode, scheduler, observer)?;
        contract::forbid_another();
        Ok(ended)
    }

    fn check(&mut self) -> Result<(), Error> {
        if let Some(mistake) = self.mistake.take() {
            return Err(mistake);
        }
        self.settings.check().map_err(Error::Usage)?;
        one_thread()
    }
}

/// As `handoff serve` without `--listen`: at 127.0.0.1:3000, but where Node
/// has started the process with a channel, at whatever comes through that.
impl Default for Cluster {
    fn default() -> Cluster {
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let mut settings = Settings::with_defaults(cpus);
        settings.hang_timeout = None;
        let scheduler = Box::new(RoundRobin);
        let (observer, message_handler, mistake) = (None, None, None);
        Cluster { settings, scheduler, observer, message_handler, mistake }
    }
}

/// A process with others could be caught by fork in the middle of anything,
/// and its environment cannot be changed.
fn one_thread() -> Result<(), Error> {
    let threads = sys::process::threads();
    if threads > 1 {
        return Err(Error::Usage(format!(
            "serve was called in a process with {threads} threads; call \
             it before any is started, since it forks"
        )));
    }
    Ok(())
}

/// The exit code, after saying why if there is something to say.
fn told(result: Result<ExitCode, Error>) -> ExitCode {
    result.unwrap_or_else(|error| {
        if log::max_level() >= LevelFilter::Error {
            log::error!("{error}");
        } else {
            // Why it ends is said at any level, if anybody listens.
            let _ = writeln!(io::stderr(), "{error}");
        }
        ExitCode::from(error.exit_code())
    })
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster")
            .field("settings", &self.settings)
            .field("scheduler", &self.scheduler.name())
            .finish_non_exhaustive()
    }
}

static CONTRACT: OnceLock<Contract> = OnceLock::new();

/// Whether this process was started as a worker. A Node process's child
/// that is sent connections knows it only when [`Cluster::serve`] has begun:
/// it may as well be one that is to listen.
pub fn is_worker() -> bool {
    CONTRACT.get().is_some() || contract::is_there()
}

/// What a handler may know of the worker that it runs in.
#[derive(Clone, Copy, Debug)]
pub struct Worker {
    contract: &'static Contract,
}

/// The worker that this process is; `None` before
/// [`serve`](Cluster::serve) has begun, and in a master.
pub fn worker() -> Option<Worker> {
    CONTRACT.get().map(|contract| Worker { contract })
}

impl Worker {
    /// Its name: never used twice by a master. In Node's cluster its
    /// `cluster.worker.id`; 0 in a process that belongs to no cluster.
    pub fn id(&self) -> WorkerId {
        self.contract.worker
    }

    /// Its slot, 0 to one less than the number of workers; a successor has
    /// the same. Node knows no slots: there it is 0.
    pub fn index(&self) -> usize {
        self.contract.index
    }

    /// Sends a message, one JSON text, to the master. From any thread; it
    /// leaves with the loop's next turn.
    ///
    /// # Errors
    /// The text is no JSON, one of the channel's own messages, or longer than
    /// 16 MiB.
    pub fn send(&self, json: impl Into<String>) -> Result<(), NotAMessage> {
        self.contract.post(event::checked(json.into())?);
        Ok(())
    }

    /// How many connections it has taken so far.
    pub fn connections(&self) -> u64 {
        self.contract.connections()
    }
}
