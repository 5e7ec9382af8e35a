//! A running server: started, known to answer, and gone when it is dropped.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::command;
use super::peer::Peer;
use crate::bench::Bench;
use crate::clients::answer::Client;
use crate::process;
use crate::result::Result;

/// What the slowest, Node, may need on a busy machine.
const PATIENCE: Duration = Duration::from_secs(15);

const GLANCE: Duration = Duration::from_millis(5);

/// See the module.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) peer: Peer,
    /// The command line, to be repeated by anyone.
    pub(crate) words: String,
    port: u16,
    child: Child,
    log: PathBuf,
    /// Of its own, if it has files.
    folder: PathBuf,
}

impl Server {
    /// Returns when all its processes are there and it answers.
    pub(crate) fn start(
        bench: &Bench,
        peer: Peer,
        workers: usize,
    ) -> Result<Server> {
        let port = free_port()?;
        let command = command::of(peer, bench, port, workers)?;
        Server::launch(bench, peer, port, command, workers)
    }

    /// Ours, with one worker, that listens at these addresses too.
    pub(crate) fn start_at(
        bench: &Bench,
        addresses: &[String],
    ) -> Result<Server> {
        let port = free_port()?;
        let mut command = command::of(Peer::Handoff, bench, port, 1)?;
        for address in addresses {
            command.args(["--listen", address]);
        }
        Server::launch(bench, Peer::Handoff, port, command, 1)
    }

    fn launch(
        bench: &Bench,
        peer: Peer,
        port: u16,
        mut command: Command,
        workers: usize,
    ) -> Result<Server> {
        let log = bench.tools.scratch.join(format!("{port}.log"));
        let (out, err) = File::create(&log)
            .and_then(|file| Ok((file.try_clone()?, file)))
            .map_err(|error| format!("{}: {error}", log.display()))?;
        let words = words_of(&command);
        let child = command.stdout(out).stderr(err).spawn();
        let child = child.map_err(|error| format!("{words}: {error}"))?;
        let folder = command::folder(&bench.tools, port);
        let mut server = Server { peer, words, port, child, log, folder };
        server.wait_until_it_answers(workers)?;
        Ok(server)
    }

    fn wait_until_it_answers(&mut self, workers: usize) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let has_ended =
                self.child.try_wait().map_or(true, |end| end.is_some());
            let is_up = !has_ended
                && Client::open(self.port).is_ok_and(|mut c| c.is_answered());
            // The others start their workers before they listen.
            let is_whole = !self.peer.is_ours() || self.tree().len() > workers;
            if is_up && is_whole {
                return Ok(());
            }
            if has_ended || Instant::now() > deadline {
                let log = fs::read_to_string(&self.log).unwrap_or_default();
                let last = log.lines().last().unwrap_or("it says nothing");
                let name = self.peer.name();
                return Err(format!("{name} does not start: {last}"));
            }
            std::thread::sleep(GLANCE);
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// All its processes, the first one first.
    pub(crate) fn tree(&self) -> Vec<u32> {
        process::tree(self.pid())
    }
}

impl Drop for Server {
    /// At once and all of them: nothing is measured any more.
    fn drop(&mut self) {
        process::signal("KILL", &self.tree());
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_file(&self.log);
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Below the ports that clients get, which wrk uses by the thousand.
fn free_port() -> Result<u16> {
    const FIRST: u16 = 20_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    for _ in 0..10_000 {
        // Runs beside each other begin at different places.
        let start = (std::process::id() % 100) as u16 * 100;
        let port = FIRST + (start + NEXT.fetch_add(1, Relaxed)) % 10_000;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    Err("no free port between 20000 and 30000".to_owned())
}

/// Variables, program and arguments, with the folder of the project cut off
/// and a reply that the floor is told to give left out.
fn words_of(command: &Command) -> String {
    let mut words: Vec<String> = Vec::new();
    for (name, value) in command.get_envs() {
        let value = value.unwrap_or_default().to_string_lossy();
        words.push(format!("{}={value}", name.to_string_lossy()));
    }
    let program = command.get_program();
    for word in std::iter::once(program).chain(command.get_args()) {
        let word = word.to_string_lossy();
        let word = if word.contains("\r\n") { "REPLY" } else { &*word };
        words.push(word.to_owned());
    }
    words.join(" ").replace(concat!(env!("CARGO_MANIFEST_DIR"), "/"), "")
}
