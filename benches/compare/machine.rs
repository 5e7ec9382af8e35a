//! What it was measured on and with, and what this machine allows.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::tools::{Node, Tools, in_project};

/// Set in the program that has the descriptors which it may have.
const RAISED: &str = "HANDOFF_BENCH_RAISED";

/// Starts this program anew with as many descriptors as are allowed, which
/// everything that it starts inherits: ten thousand connections take so many,
/// in the server and in wrk.
pub(crate) fn raise_descriptors() {
    if std::env::var_os(RAISED).is_some() {
        return;
    }
    let Ok(program) = std::env::current_exe() else { return };
    let raise = "ulimit -n $(ulimit -H -n); exec \"$0\" \"$@\"";
    // It returns only if there is no shell; then things stay as they are.
    let _ = Command::new("sh")
        .args(["-c", raise])
        .arg(program)
        .args(std::env::args_os().skip(1))
        .env(RAISED, "1")
        .exec();
}

/// How many descriptors a process may have.
pub(crate) fn descriptors() -> usize {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|l| l.strip_prefix("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().next());
    // The most that any Linux allows unasked, should there be no limit.
    soft.and_then(|soft| soft.parse().ok()).unwrap_or(1 << 20)
}

/// One for the servers and one for wrk, on different cores; `None` if there
/// is only one CPU.
pub(crate) fn two_cpus() -> Option<(usize, usize)> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines();
    let list = line.filter_map(|l| l.strip_prefix("Cpus_allowed_list:"));
    let cpus: Vec<usize> = list.flat_map(numbers).collect();
    let first = *cpus.first()?;
    let core = format!(
        "/sys/devices/system/cpu/cpu{first}/topology/thread_siblings_list"
    );
    let siblings = numbers(&fs::read_to_string(core).unwrap_or_default());
    let others = cpus.iter().copied().filter(|cpu| *cpu != first);
    let elsewhere = others.clone().find(|cpu| !siblings.contains(cpu));
    Some((first, elsewhere.or_else(|| others.clone().next())?))
}

/// Of a list as `0-2,5`.
fn numbers(list: &str) -> Vec<usize> {
    let mut numbers = Vec::new();
    for range in list.trim().split(',') {
        let (from, to) = range.split_once('-').unwrap_or((range, range));
        if let (Ok(from), Ok(to)) = (from.parse(), to.parse::<usize>()) {
            numbers.extend(from..=to);
        }
    }
    numbers
}

/// How many threads wanted a CPU in the last minute, on average.
pub(crate) fn load() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let first = text.split(' ').next().and_then(|one| one.parse().ok());
    first.unwrap_or(0.0)
}

/// Facts by name, in order.
pub(crate) type Facts = Vec<(&'static str, String)>;

/// The date, the machine, and the version of everything.
pub(crate) fn describe(tools: &Tools) -> Facts {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find(|line| line.starts_with("model name"));
    let model = model.and_then(|line| line.split_once(": "));
    let model = model.map_or("unknown", |(_, name)| name.trim()).to_owned();
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory = memory.lines().next().unwrap_or_default();
    let mut facts = vec![
        ("date", first_line("date", &["-u", "+%Y-%m-%dT%H:%M:%SZ"])),
        ("CPU", format!("{model}, {cpus} usable")),
        ("memory", memory.replace("MemTotal:", "").trim().to_owned()),
        ("kernel", first_line("uname", &["-srm"])),
        ("descriptors", descriptors().to_string()),
        ("load before", load().to_string()),
        ("handoff", revision()),
        ("rustc", first_line("rustc", &["--version"])),
        ("cc", first_line("cc", &["--version"])),
        ("wrk", version(Some(&tools.wrk), "-v")),
    ];
    let node = |release| tools.node(release).map(PathBuf::as_path);
    facts.extend([
        ("nginx", version(tools.nginx.as_deref(), "-v")),
        ("HAProxy", version(tools.haproxy.as_deref(), "-v")),
        ("hyper", tools.hyper.as_ref().map_or_else(none, |_| hyper())),
        ("h2o", version(tools.h2o.as_deref(), "--version")),
        ("Node 20", version(node(Node::V20), "--version")),
        ("Node 24", version(node(Node::V24), "--version")),
        ("perf", version(tools.perf.as_deref(), "--version")),
        ("strace", version(tools.strace.as_deref(), "--version")),
    ]);
    facts
}

fn none() -> String {
    "not here".to_owned()
}

fn version(program: Option<&Path>, option: &str) -> String {
    program.map_or_else(none, |program| {
        first_line(&program.display().to_string(), &[option])
    })
}

/// What it prints first, wherever it prints it.
fn first_line(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let Ok(output) = output else { return none() };
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text += &String::from_utf8_lossy(&output.stderr);
    text.lines().next().unwrap_or_default().trim().to_owned()
}

/// Our version and commit.
fn revision() -> String {
    let folder = in_project("").display().to_string();
    let git = ["-C", &folder, "describe", "--always", "--dirty"];
    format!(
        "{}, commit {}",
        env!("CARGO_PKG_VERSION"),
        first_line("git", &git)
    )
}

fn hyper() -> String {
    let path = in_project("benches/hyper/Cargo.lock");
    let lock = fs::read_to_string(path).unwrap_or_default();
    let mut lines = lock.lines().skip_while(|l| *l != "name = \"hyper\"");
    let version = lines.nth(1).and_then(|line| line.split('"').nth(1));
    version.unwrap_or("unknown").to_owned()
}
