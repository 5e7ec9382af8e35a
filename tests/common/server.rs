//! A server under test: started, watched, and gone at the end of the test.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, Once};
use std::thread;

use socket2::Socket;

use super::http::{self, Connection, Place, Response};
use super::load::Crowd;
use super::{GLANCE, PATIENCE, process, wait_until, within};

/// The `handoff` command.
pub(crate) fn handoff(words: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_handoff"));
    command.args(words.split_whitespace());
    command
}

/// One of the programs in `tests/programs`.
pub(crate) fn program(name: &str, words: &str) -> Command {
    static BUILD: Once = Once::new();
    let command = Path::new(env!("CARGO_BIN_EXE_handoff"));
    let folder = command.parent().unwrap();
    // `cargo test` has built them, but `cargo test --test NAME` has not, and
    // then an old one would be tested.
    BUILD.call_once(|| {
        let release = folder.ends_with("release").then_some("--release");
        let built = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--examples"])
            .args(release)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status();
        assert!(built.is_ok_and(|status| status.success()));
    });
    let path = folder.join("examples").join(name);
    let mut command = Command::new(path);
    command.args(words.split_whitespace());
    command
}

/// The same command with so many descriptors at most, for each process.
pub(crate) fn with_descriptors(most: u32, command: &Command) -> Command {
    let mut limited = Command::new("sh");
    limited
        .arg("-c")
        .arg(format!("ulimit -n {most}; exec \"$@\""))
        .arg("sh")
        .arg(command.get_program())
        .args(command.get_args());
    limited
}

/// Marks a command, so that whatever comes of it can be found: nobody
/// takes this variable out of the environment.
pub(crate) fn mark(command: &mut Command) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let next = NEXT.fetch_add(1, Relaxed);
    let value = format!("{}-{next}", std::process::id());
    command.env("HANDOFF_TEST", &value);
    format!("HANDOFF_TEST={value}")
}

/// What a command that does not stay had to say.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Runs a command to its end. It fails if anything of it is left running.
pub(crate) fn run(mut command: Command) -> Ended {
    let mark = mark(&mut command);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let ended = within(PATIENCE, || child.try_wait().unwrap().is_some());
    let left = process::marked(&mark);
    process::signal("KILL", &left);
    let output = child.wait_with_output().unwrap();
    let ended_with = Ended {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    };
    assert!(ended, "it runs on: {command:?}: {ended_with:?}");
    assert!(left.is_empty(), "{left:?} live on: {command:?}: {ended_with:?}");
    ended_with
}

/// What a server has logged: read on and on, so that it never fills its pipe,
/// and once more before anybody looks, so that nothing is missed which was
/// written before what the test has seen.
#[derive(Default)]
struct Log {
    pipe: Option<File>,
    text: Vec<u8>,
}

impl Log {
    fn new(stderr: ChildStderr) -> Log {
        // Any descriptor will do for this: it is an fcntl(2).
        let pipe = Socket::from(OwnedFd::from(stderr));
        pipe.set_nonblocking(true).unwrap();
        let pipe = Some(File::from(OwnedFd::from(pipe)));
        Log { pipe, text: Vec::new() }
    }

    /// Reads what there is; whether more may come.
    fn read(&mut self) -> bool {
        let Some(pipe) = &mut self.pipe else { return false };
        let end = pipe.read_to_end(&mut self.text);
        let open = end.is_err_and(|e| e.kind() == ErrorKind::WouldBlock);
        if !open {
            self.pipe = None;
        }
        open
    }

    /// The whole lines up to now.
    fn lines(&mut self) -> String {
        self.read();
        let end = memchr::memrchr(b'\n', &self.text).unwrap_or(0);
        String::from_utf8_lossy(&self.text[..end]).into_owned()
    }
}

/// A running server.
pub(crate) struct Server {
    master: Child,
    mark: String,
    log: Arc<Mutex<Log>>,
    places: Vec<Place>,
}

impl Server {
    /// `handoff serve` on a free port, with these options besides.
    pub(crate) fn serve(options: &str) -> Server {
        Server::start(handoff(&format!(
            "serve --listen 127.0.0.1:0 {options}"
        )))
    }

    /// Any command that says in its log where it listens.
    pub(crate) fn start(command: Command) -> Server {
        let mut server = Server::start_heard(command);
        wait_until("the log says where the server listens", || {
            let over = server.master.try_wait().unwrap();
            assert_eq!(over, None, "it ended: {}", server.log());
            server.places = server.places_in_log();
            !server.places.is_empty()
        });
        server
    }

    /// Any command that was told where to listen, and does not say so.
    pub(crate) fn start_at(command: Command, place: Place) -> Server {
        let mut server = Server::start_heard(command);
        server.places.push(place);
        wait_until("the server listens", || {
            let over = server.master.try_wait().unwrap();
            assert_eq!(over, None, "it ended: {}", server.log());
            Connection::open(server.place()).is_ok()
        });
        server
    }

    /// Any command, once its log has said this; it need not listen.
    pub(crate) fn start_said(command: Command, words: &str) -> Server {
        let server = Server::start_heard(command);
        wait_until(words, || server.log().contains(words));
        server
    }

    fn start_heard(command: Command) -> Server {
        let mut server = Server::start_unheard(command, Stdio::piped());
        let stderr = server.master.stderr.take().unwrap();
        *server.log.lock().unwrap() = Log::new(stderr);
        let log = Arc::clone(&server.log);
        thread::spawn(move || {
            while log.lock().unwrap().read() {
                thread::sleep(GLANCE);
            }
        });
        server
    }

    /// A server whose log goes somewhere else: where it listens is known to
    /// the caller alone.
    pub(crate) fn start_unheard(mut command: Command, log: Stdio) -> Server {
        let mark = mark(&mut command);
        let master = command.stderr(log).spawn().unwrap();
        let log = Arc::default();
        Server { master, mark, log, places: Vec::new() }
    }

    fn places_in_log(&self) -> Vec<Place> {
        let log = self.log();
        let told = log.lines().filter(|line| line.contains("listening"));
        let words = told.flat_map(|line| line.split([' ', ',', ';']));
        words.filter_map(Place::parse).collect()
    }

    pub(crate) fn places(&self) -> &[Place] {
        &self.places
    }

    /// The first place where it listens.
    pub(crate) fn place(&self) -> &Place {
        &self.places[0]
    }

    pub(crate) fn pid(&self) -> u32 {
        self.master.id()
    }

    /// Closes the reading end of a log that nobody has read so far.
    pub(crate) fn drop_log(&mut self) {
        self.master.stderr = None;
    }

    /// The log up to now. What the server said before it did what the test
    /// has seen is in it.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().lines()
    }

    /// The living workers.
    pub(crate) fn workers(&self) -> Vec<u32> {
        let children = process::children(self.pid());
        let living = children.iter().filter(|child| child.state != 'Z');
        living.map(|child| child.pid).collect()
    }

    /// Waits until so many workers have answered, and returns their pids.
    /// The connections are held meanwhile: so even the policy that looks at
    /// them comes to each worker.
    pub(crate) fn wait_for_workers(&self, count: usize) -> Vec<u32> {
        let mut seen = Vec::new();
        let mut held = Vec::new();
        wait_until(&format!("{count} workers serve"), || {
            let mut connection = Connection::open(self.place()).unwrap();
            let pid = pid_in(&connection.get("/worker").unwrap());
            held.push(connection);
            if !seen.contains(&pid) {
                seen.push(pid);
            }
            seen.retain(|pid| process::lives(*pid));
            seen.len() == count
        });
        seen
    }

    /// The pid of the worker whose turn it is.
    pub(crate) fn ask_worker(&self) -> u32 {
        pid_in(&self.ask("/worker"))
    }

    /// Requests that are in the hands of the one worker by now. Counted by
    /// connections that it has taken, of which each question is one.
    pub(crate) fn in_hand(
        &self,
        count: usize,
        start: impl FnOnce(&Place, usize) -> Crowd,
    ) -> Crowd {
        let taken = || self.ask("/worker").json()["connections"].as_u64();
        let before = taken().unwrap();
        let crowd = start(self.place(), count);
        let mut asked = 0;
        wait_until("the requests are in the worker's hands", || {
            asked += 1;
            taken().unwrap() == before + asked + count as u64
        });
        crowd
    }

    /// One request that must be answered with 200.
    pub(crate) fn ask(&self, target: &str) -> Response {
        let response = http::ask(self.place(), target).unwrap();
        assert_eq!(response.status, 200, "{}", response.head);
        response
    }

    /// Sends the master a signal.
    pub(crate) fn signal(&self, name: &str) {
        process::signal(name, &[self.pid()]);
    }

    /// Waits for the master's end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        wait_until("the master has ended", || {
            status = self.master.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    /// All processes that came of this command and live.
    pub(crate) fn processes(&self) -> Vec<u32> {
        process::marked(&self.mark)
    }
}

/// A master that is killed leaves its own where nobody else looks after it.
fn remove_control_socket(master: u32) {
    let folder = std::env::var("XDG_RUNTIME_DIR");
    let folder = folder.unwrap_or_else(|_| "/run".to_owned());
    let _ = fs::remove_file(format!("{folder}/handoff-{master}.sock"));
}

/// The worker that an answer of `/worker` names.
pub(crate) fn pid_in(response: &Response) -> u32 {
    response.json()["pid"].as_u64().unwrap() as u32
}

impl Drop for Server {
    /// Kills the master; the workers have to go by themselves.
    fn drop(&mut self) {
        let _ = self.master.kill();
        let _ = self.master.wait();
        let alone = within(PATIENCE, || self.processes().is_empty());
        let left = self.processes();
        process::signal("KILL", &left);
        remove_control_socket(self.pid());
        if thread::panicking() || !alone {
            eprintln!("---- the server's log ----\n{}", self.log());
        }
        if !thread::panicking() {
            assert!(alone, "workers outlived their master: {left:?}");
        }
    }
}
