//! A worker is killed before, or behind, any instruction of a request.
//!
//! `tests/programs/step.c` holds a worker that waits, lets it return from so
//! many system calls and then execute so many instructions, and kills it.
//! Between two system calls nobody outside can tell how far it has come, so
//! counting from each of them reaches every instruction of the way.
//!
//! The ordinary run takes a sample: both sides of each system call, and some
//! places in between, others each time. `make step` takes all of them.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::common::server::Server;
use crate::common::{
    PATIENCE, has_tool, process, skipped, wait_until, within,
};
use crate::peer::{Client, End, get, post};

/// Most places between two system calls that are in a sample.
const PLACES: usize = 4;

/// A sample takes no place that is more instructions away than about these.
const REACH: usize = 8_000;

/// About how many places of a whole way are in a sample.
const SAMPLE: usize = 16;

/// The way may be longer in another round than in the one that was measured:
/// the first that looks at a page, or at the clock in a new second.
const MARGIN: usize = 100;

/// So many places in a row that the way does not come by are behind its end.
const MISSES: usize = 3;

/// What is in hand when the worker is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scene {
    /// A request on a connection that stays.
    Kept,
    /// One on a new connection, which ends with it.
    Closing,
    /// One that may not be asked twice.
    Post,
    /// Three at once: one that may not, between two that may.
    Pipeline,
    /// None: the worker leaves, and gives its connections back.
    Leaving,
}

/// How far the worker came: system calls that returned, and then so many
/// instructions; `None`: all those up to the next call, of which the kernel
/// has done nothing.
type Point = (usize, Option<usize>);

#[derive(Debug, Default)]
struct Outcomes {
    trials: usize,
    /// Answered with 200, and with 502.
    answered: usize,
    refused: usize,
    /// Places that the way did not come by this time.
    missed: usize,
}

/// A worker that is stopped; dropped, it goes on, or dies.
struct Held {
    step: Child,
    orders: Option<ChildStdin>,
    words: BufReader<ChildStdout>,
}

impl Held {
    /// Stops a worker where it waits; `None`: that may not be done here.
    fn stop(worker: u32, words: &str) -> Option<Held> {
        let rests = || process::stat(worker).is_some_and(|s| s.state == 'S');
        wait_until("the worker waits", rests);
        let mut step = Command::new(stepper()?)
            .arg(worker.to_string())
            .args(words.split_whitespace())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let orders = step.stdin.take();
        let words = BufReader::new(step.stdout.take().unwrap());
        let mut held = Held { step, orders, words };
        let mut line = String::new();
        held.words.read_line(&mut line).unwrap();
        if line == "held\n" {
            return Some(held);
        }
        let code = held.step.wait().unwrap().code();
        assert_eq!(code, Some(4), "{line}");
        skipped("nobody may trace a process here, or it is not known how");
        None
    }

    fn go_on(&mut self) {
        let orders = self.orders.as_mut().unwrap();
        orders.write_all(b"go\n").unwrap();
    }

    /// What it said meanwhile, and its exit code.
    fn end(mut self) -> (String, Option<i32>) {
        let mut said = String::new();
        self.words.read_to_string(&mut said).unwrap();
        (said, self.step.wait().unwrap().code())
    }
}

impl Drop for Held {
    /// With the tracer ends the traced.
    fn drop(&mut self) {
        let _ = self.step.kill();
        let _ = self.step.wait();
    }
}

/// The program; `None` without a compiler.
fn stepper() -> Option<&'static PathBuf> {
    static BUILT: OnceLock<Option<PathBuf>> = OnceLock::new();
    let build = || {
        if !has_tool("cc") {
            return None;
        }
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        let new = folder.join(format!("step-{}", std::process::id()));
        let program = folder.join("step");
        let root = env!("CARGO_MANIFEST_DIR");
        let built = Command::new("cc")
            .args(["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-o"])
            .arg(&new)
            .arg(format!("{root}/tests/programs/step.c"))
            .status();
        assert!(built.unwrap().success());
        fs::rename(new, &program).unwrap();
        Some(program)
    };
    BUILT.get_or_init(build).as_ref()
}

/// One worker, a client that stays, and another that had the same buffer
/// just before.
struct Stage {
    server: Server,
    client: Client,
    neighbour: Client,
    /// Makes each request another.
    count: usize,
}

impl Stage {
    fn set() -> Stage {
        let server = Server::serve("--workers 1 --hang-timeout off");
        let client = Client::open(server.place());
        let neighbour = Client::open(server.place());
        Stage { server, client, neighbour, count: 0 }
    }

    /// The worker that has the client; the proof that it is had by one.
    fn worker(&mut self) -> u32 {
        self.client.send(get("/worker"));
        let answer = self.client.answer();
        assert_eq!(answer.status, 200);
        let told: serde_json::Value =
            serde_json::from_slice(&answer.body).unwrap();
        // What comes next is longer than what is read behind it: a byte that
        // was left would show in an answer.
        let secret = b"a secret of the neighbour's ".repeat(100);
        self.neighbour.send(post("/echo", secret.len() as u64));
        self.neighbour.send(&secret);
        let answer = self.neighbour.answer();
        assert_eq!((answer.status, answer.body), (200, secret));
        told["pid"].as_u64().unwrap() as u32
    }

    /// Has the worker do it while it is held, and checks what comes of it.
    /// Whether it came by that place.
    fn play(
        &mut self,
        scene: Scene,
        mut held: Held,
        sum: &mut Outcomes,
    ) -> bool {
        self.count += 1;
        let text = format!("request-{}", self.count);
        let asked = get(&format!("/echo?{text}"));
        let posted = post("/echo", text.len() as u64) + &text;
        let right = text.as_bytes();
        match scene {
            Scene::Kept => {
                self.client.send(asked);
                held.go_on();
                let answer = self.client.answer();
                assert_eq!((answer.status, &*answer.body), (200, right));
                sum.answered += 1;
            }
            Scene::Closing => {
                let mut client = Client::open(self.server.place());
                let end = "Host: a\r\nConnection: close";
                client.send(asked.replace("Host: a", end));
                held.go_on();
                let answers = client.answers();
                assert_eq!(answers.len(), 1, "{answers:?}");
                assert_eq!(answers[0].body, right);
                sum.answered += 1;
            }
            Scene::Post => {
                self.client.send(posted);
                held.go_on();
                self.hear_of_post(right, sum);
            }
            Scene::Pipeline => {
                let first = get(&format!("/echo?first-{text}"));
                self.client.send(first + &posted + &asked);
                held.go_on();
                let answer = self.client.answer();
                let first = format!("first-{text}");
                assert_eq!(answer.status, 200);
                assert_eq!(answer.body, first.as_bytes());
                if self.hear_of_post(right, sum) {
                    let answer = self.client.answer();
                    assert_eq!((answer.status, &*answer.body), (200, right));
                }
            }
            Scene::Leaving => {
                let worker = self.server.workers()[0];
                process::signal("TERM", &[worker]);
                held.go_on();
                sum.answered += 1;
            }
        }
        sum.trials += 1;
        let (_, code) = held.end();
        assert!(matches!(code, Some(0 | 1 | 3)), "{code:?}");
        sum.missed += usize::from(code != Some(0));
        code == Some(0)
    }

    /// One answer: that to the request, or 502 and the end. Whether the
    /// connection goes on.
    fn hear_of_post(&mut self, right: &[u8], sum: &mut Outcomes) -> bool {
        let answer = self.client.answer();
        if answer.status == 200 {
            assert_eq!(answer.body, right);
            sum.answered += 1;
            return true;
        }
        assert_eq!((answer.status, &*answer.body), (502, &b""[..]));
        assert_eq!(self.client.rest(), (vec![], End::Clean));
        self.client = Client::open(self.server.place());
        sum.refused += 1;
        false
    }
}

/// The instructions up to each system call of the scene, and behind the last.
fn measure(stage: &mut Stage, scene: Scene) -> Option<Vec<usize>> {
    let words = if scene == Scene::Leaving { "end" } else { "" };
    // Not the first that the worker does: pages are there by then.
    for _ in 0..3 {
        stage.worker();
    }
    let mut held = Held::stop(stage.worker(), words)?;
    match scene {
        Scene::Closing => {
            held.go_on();
            stage.server.ask("/echo?measured");
        }
        Scene::Leaving => {
            let worker = stage.server.workers();
            process::signal("TERM", &worker);
            held.go_on();
        }
        Scene::Kept | Scene::Post | Scene::Pipeline => {
            let one = get("/echo?measured");
            let two = post("/echo", 3) + "two";
            let (bytes, count) = match scene {
                Scene::Post => (two, 1),
                Scene::Pipeline => (format!("{one}{two}{one}"), 3),
                Scene::Kept | Scene::Closing | Scene::Leaving => (one, 1),
            };
            stage.client.send(bytes);
            held.go_on();
            for _ in 0..count {
                assert_eq!(stage.client.answer().status, 200);
            }
        }
    }
    let (said, code) = held.end();
    assert_eq!(code, Some(0), "{said}");
    Some(said.lines().map(|line| line.parse().unwrap()).collect())
}

/// Both sides of each system call, and a few places between.
fn sample(way: &[usize]) -> Vec<Point> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let seed = now.subsec_nanos() as usize;
    let inner = |(calls, &length): (usize, &usize)| {
        let places = (2 * REACH / length.max(1)).clamp(1, PLACES);
        let part = length / places + 1;
        let all = (0..places).map(move |at| at * part + seed % part);
        all.filter(move |&at| at < length).map(move |at| (calls, Some(at)))
    };
    let inner: Vec<Point> = way.iter().enumerate().flat_map(inner).collect();
    let each = inner.len().div_ceil(SAMPLE).max(1);
    let inner = inner.into_iter().skip(seed % each).step_by(each);
    let sides = (0..way.len()).flat_map(|at| [(at, Some(0)), (at, None)]);
    // At the last one it waits for the next event.
    sides
        .filter(|&point| point != (way.len() - 1, None))
        .chain(inner)
        .collect()
}

/// All of them.
fn every(way: &[usize]) -> Vec<Point> {
    let stretch = |(calls, &length): (usize, &usize)| {
        (0..length + MARGIN).map(move |at| (calls, Some(at)))
    };
    way.iter().enumerate().flat_map(stretch).collect()
}

fn run(scene: Scene, choose: fn(&[usize]) -> Vec<Point>) {
    let mut stage = Stage::set();
    let master = stage.server.pid();
    let open = || process::descriptors(master);
    stage.worker();
    let before = open();
    let Some(way) = measure(&mut stage, scene) else { return };
    let points = choose(&way);
    println!("{scene:?}: {way:?} instructions, {} kills", points.len());
    let mut sum = Outcomes::default();
    let mut missed = (0, 0);
    for (calls, steps) in points {
        // The way ends before, and no busy machine made it look so.
        if missed == (calls, MISSES) {
            continue;
        }
        let steps = steps.map_or("in".to_owned(), |steps| steps.to_string());
        let words = format!("{calls} {steps}");
        println!("{scene:?}: {words}");
        let worker = stage.worker();
        let Some(held) = Held::stop(worker, &words) else { return };
        missed = match stage.play(scene, held, &mut sum) {
            true => (calls, 0),
            false if missed.0 == calls => (calls, missed.1 + 1),
            false => (calls, 1),
        };
        wait_until("it is dead", || !process::lives(worker));
    }
    println!("{scene:?}: {sum:?}");
    stage.worker();
    assert_eq!(sum.answered + sum.refused, sum.trials);
    let may_be_refused = matches!(scene, Scene::Post | Scene::Pipeline);
    assert!(sum.refused == 0 || may_be_refused, "{sum:?}");
    assert!(sum.missed <= sum.trials / 4, "{sum:?}");
    let none_is_left = within(PATIENCE, || open().len() == before.len());
    assert!(none_is_left, "{before:?} have become {:?}", open());
}

#[test]
fn a_request_on_a_kept_connection_survives_a_kill_anywhere() {
    run(Scene::Kept, sample);
}

#[test]
fn a_request_on_a_closing_connection_survives_a_kill_anywhere() {
    run(Scene::Closing, sample);
}

#[test]
fn a_post_is_answered_once_or_refused_once_wherever_the_kill_is() {
    run(Scene::Post, sample);
}

#[test]
fn a_pipeline_survives_a_kill_anywhere() {
    run(Scene::Pipeline, sample);
}

#[test]
fn a_connection_that_is_given_back_survives_a_kill_anywhere() {
    run(Scene::Leaving, sample);
}

#[test]
#[ignore = "thousands of kills: make step"]
fn every_instruction_of_a_kept_connections_request() {
    run(Scene::Kept, every);
}

#[test]
#[ignore = "thousands of kills: make step"]
fn every_instruction_of_a_closing_connections_request() {
    run(Scene::Closing, every);
}

#[test]
#[ignore = "thousands of kills: make step"]
fn every_instruction_of_a_post() {
    run(Scene::Post, every);
}

#[test]
#[ignore = "thousands of kills: make step"]
fn every_instruction_of_a_pipeline() {
    run(Scene::Pipeline, every);
}

#[test]
#[ignore = "thousands of kills: make step"]
fn every_instruction_of_giving_back() {
    run(Scene::Leaving, every);
}
