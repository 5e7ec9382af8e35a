//! Clients at many addresses, TCP and unix: a process of its own in which
//! each caller opens a connection, has one request answered, sees the
//! connection end, and begins again. wrk knows one address, and no unix one.

use std::io::{Read, Write, stdout};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use super::answer::LAST;
use crate::bench::Bench;
use crate::result::Result;

/// The first argument of such a process; then for how many seconds, how many
/// callers, and the addresses.
pub(crate) const WORD: &str = "--call";

/// For one answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// How many answers so many callers get in that time, turn by turn at these
/// addresses.
pub(crate) fn call(
    bench: &Bench,
    seconds: u32,
    callers: usize,
    addresses: &[String],
) -> Result<u64> {
    let program = std::env::current_exe();
    let program = program.map_err(|error| error.to_string())?;
    let cpu = bench.plan.cpus.map(|(_, load)| load);
    let output = bench
        .tools
        .wrapped(cpu, &program)
        .args([WORD, &seconds.to_string(), &callers.to_string()])
        .args(addresses)
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("callers: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim().parse().map_err(|_| "the callers got no answer".to_owned())
}

/// What such a process does: it prints how many answers there were, and fails
/// at the first that is not right.
pub(crate) fn run(words: &[String]) -> Result<()> {
    let [seconds, callers, addresses @ ..] = words else {
        return Err("usage: SECONDS CALLERS ADDRESS...".to_owned());
    };
    let number = |word: &str| {
        word.parse::<u32>().map_err(|error| format!("{word}: {error}"))
    };
    let seconds = Duration::from_secs(u64::from(number(seconds)?));
    let callers = number(callers)? as usize;
    let end = Instant::now() + seconds;
    let counter = AtomicU64::new(0);
    let answers = &counter;
    thread::scope(|scope| {
        let addresses = addresses.iter().cycle().take(callers);
        let threads: Vec<_> = addresses
            .map(|address| {
                scope.spawn(move || -> Result<()> {
                    while Instant::now() < end {
                        ask(address)
                            .map_err(|why| format!("{address}: {why}"))?;
                        answers.fetch_add(1, Relaxed);
                    }
                    Ok(())
                })
            })
            .collect();
        threads.into_iter().try_for_each(|thread| {
            thread.join().map_err(|_| "a caller panicked".to_owned())?
        })
    })?;
    let text = format!("{}\n", counter.into_inner());
    stdout().write_all(text.as_bytes()).map_err(|error| error.to_string())
}

fn ask(address: &str) -> Result<()> {
    let answer = match address.strip_prefix("unix:") {
        Some(path) => UnixStream::connect(path).and_then(|stream| {
            stream.set_read_timeout(Some(PATIENCE))?;
            converse(stream)
        }),
        None => TcpStream::connect(address).and_then(|stream| {
            stream.set_read_timeout(Some(PATIENCE))?;
            converse(stream)
        }),
    };
    let answer = answer.map_err(|error| error.to_string())?;
    match answer.starts_with(b"HTTP/1.1 200 ") {
        true => Ok(()),
        false => {
            let text = String::from_utf8_lossy(&answer);
            Err(format!("a wrong answer: {text:?}"))
        }
    }
}

fn converse(mut stream: impl Read + Write) -> std::io::Result<Vec<u8>> {
    stream.write_all(LAST.as_bytes())?;
    let mut answer = Vec::with_capacity(1024);
    stream.read_to_end(&mut answer)?;
    Ok(answer)
}
