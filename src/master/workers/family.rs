//! Which of a worker's processes listens on TCP, read from /proc
//! (proc_pid_net(5), proc_pid_fd(5)).
//!
//! ```text
//!   /proc/PID/net/tcp       listeners: inode ─▶ port
//!   /proc/PID/task/T/children   the worker, and what it has started
//!   /proc/PID/fd/N          socket:[inode]
//! ```
//!
//! Nothing here waits, and everything is bounded. What cannot be read does
//! not listen, as far as we know.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};

/// Processes of one worker that are looked at.
const PROCESSES: usize = 32;

/// Threads of a process that may have children.
const THREADS: usize = 32;

/// Descriptors of a process.
const DESCRIPTORS: usize = 512;

/// Listeners of a machine.
const LISTENERS: usize = 512;

/// Bytes of a command line.
const WORDS: u64 = 4096;

/// A process that listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listens {
    pub(super) pid: i32,
    pub(super) port: u16,
}

/// Who of a worker and what it has started listens, but for the port `but`.
pub(super) fn listener(worker: i32, but: Option<u16>) -> Option<Listens> {
    let mut ports = listening(worker);
    ports.retain(|_, port| Some(*port) != but);
    if ports.is_empty() {
        return None;
    }
    family(worker).into_iter().find_map(|pid| {
        let folder = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
        let links = folder.flatten().take(DESCRIPTORS);
        let targets = links.filter_map(|link| fs::read_link(link.path()).ok());
        let inodes = targets.filter_map(|target| inode(target.to_str()?));
        let port = inodes.filter_map(|inode| ports.get(&inode)).next();
        port.map(|port| Listens { pid, port: *port })
    })
}

/// The words that a process was started with.
pub(super) fn words(pid: i32) -> Vec<String> {
    let mut text = Vec::new();
    let file = File::open(format!("/proc/{pid}/cmdline"));
    let read = file.map(|file| file.take(WORDS).read_to_end(&mut text));
    if !matches!(read, Ok(Ok(_))) {
        return Vec::new();
    }
    let text = text.strip_suffix(b"\0").unwrap_or(&text);
    let words = text.split(|byte| *byte == 0);
    words.map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

/// A worker, its children, and theirs.
fn family(worker: i32) -> Vec<i32> {
    let mut all = vec![worker];
    let mut at = 0;
    while let Some(pid) = all.get(at)
        && all.len() < PROCESSES
    {
        let threads = fs::read_dir(format!("/proc/{pid}/task"));
        let threads = threads.into_iter().flatten().flatten().take(THREADS);
        let texts = threads.filter_map(|thread| {
            fs::read_to_string(thread.path().join("children")).ok()
        });
        let children: Vec<i32> = texts
            .flat_map(|text| {
                let pids = text.split_ascii_whitespace();
                pids.flat_map(str::parse).collect::<Vec<_>>()
            })
            .collect();
        all.extend(children);
        at += 1;
    }
    all.truncate(PROCESSES);
    all
}

/// The ports of a process's network by the inodes of the sockets that listen
/// on them. The kernel lists listeners before connections
/// (`tcp_get_idx` in net/ipv4/tcp_ipv4.c), of which there may be very many.
fn listening(pid: i32) -> BTreeMap<u64, u16> {
    let mut ports = BTreeMap::new();
    for name in ["tcp", "tcp6"] {
        let Ok(file) = File::open(format!("/proc/{pid}/net/{name}")) else {
            continue;
        };
        let lines = BufReader::new(file).lines().skip(1).take(LISTENERS);
        ports.extend(lines.map_while(|line| parse(&line.ok()?)));
    }
    ports
}

/// One line of `/proc/net/tcp`, if it is of a socket that listens: its inode
/// and its port.
fn parse(line: &str) -> Option<(u64, u16)> {
    const LISTEN: &str = "0A";
    let mut fields = line.split_ascii_whitespace();
    let (_, port) = fields.nth(1)?.rsplit_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    if fields.nth(1)? != LISTEN {
        return None;
    }
    Some((fields.nth(5)?.parse().ok()?, port))
}

/// Of the link that stands for a socket.
fn inode(target: &str) -> Option<u64> {
    target.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};
    use std::process::{Command, Stdio};

    #[test]
    fn a_line_tells_of_a_listener_and_of_nothing_else() {
        let line = "   0: 0100007F:0CEA 00000000:0000 0A 00000000:00000000 \
                    00:00000000 00000000  1000        0 271828 1 ffff 100 0";
        assert_eq!(parse(line), Some((271_828, 3306)));
        let six = "  1: 00000000000000000000000000000000:0D3F \
                   00000000000000000000000000000000:0000 0A 0:0 0:0 0 0 0 7";
        assert_eq!(parse(six), Some((7, 3391)));
        assert_eq!(parse(&line.replace(" 0A ", " 01 ")), None);
        let end = line.find("271828").unwrap();
        for cut in 0..end {
            assert_eq!(parse(&line[..cut]), None, "{cut}");
        }
    }

    #[test]
    fn a_link_is_a_socket_or_is_not() {
        assert_eq!(inode("socket:[12]"), Some(12));
        for other in ["pipe:[12]", "socket:[]", "socket:[12", "/dev/null"] {
            assert_eq!(inode(other), None, "{other}");
        }
    }

    #[test]
    fn this_process_listens_and_is_found_by_its_port() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let _client = TcpStream::connect(address).unwrap();
        let pid = std::process::id() as i32;
        let ports = listening(pid);
        assert!(ports.values().any(|port| *port == address.port()));
        // Other tests of this process may listen too.
        let found = listener(pid, None).expect("somebody listens");
        assert_eq!(found.pid, pid);
        assert_ne!(listener(pid, Some(found.port)), Some(found));
    }

    #[test]
    fn a_child_is_of_the_family_and_known_by_its_words() {
        let mut child =
            Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let pid = child.id() as i32;
        assert!(family(std::process::id() as i32).contains(&pid));
        drop(child.stdin.take());
        child.wait().unwrap();
        assert_eq!(family(pid), [pid]);
        assert_eq!(words(pid), [""; 0]);
        let own = words(std::process::id() as i32);
        let first = std::env::args().next().unwrap();
        assert_eq!(own.first(), Some(&first));
    }
}
