//! What the kernel has counted of a connection (TCP_INFO, tcp(7)).
//!
//! What speaks against going by it is asked elsewhere ([`doubt`]
//! (super::doubt)); here only what contradicts itself is no count.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Duration;

use super::super::{Result, syscall};

/// Bytes of `struct tcp_info` (linux/tcp.h) up to the last field that is
/// wanted; the kernel fills in as many as it is asked for.
const INFO: usize = 136;

/// Where its fields stand.
const STATE: usize = 0;
const BYTES_ACKED: usize = 120;
const BYTES_RECEIVED: usize = 128;

/// include/net/tcp_states.h
const ESTABLISHED: u8 = 1;
const SYN_RECV: u8 = 3;
const CLOSE_WAIT: u8 = 8;

/// How long the kernel may take with a connection to itself.
const MOMENT: Duration = Duration::from_millis(200);

/// What the kernel has counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counters {
    /// The connection goes on. Bytes that were given and taken, modulo 2³².
    Open { given: u32, taken: u32 },
    /// Somebody has ended it, or our side of it.
    Over,
    /// Nothing that could be gone by: it is no TCP socket, or the system
    /// counts nothing, or not yet.
    None,
}

/// How many bytes any process has given to the kernel to send on this
/// connection, and how many it has taken.
///
/// *Given*: what the client has acknowledged, and what waits for that or to
/// be sent. (What the kernel calls sent is no measure: it counts anew what it
/// could not get out of the machine, as when a route is gone.) *Taken*: what
/// has come, less what lies there to be read; the end of the client's side
/// counts as a byte that nobody reads. An urgent byte that is skipped would
/// count as taken: the listener keeps them in line.
///
/// Between the questions more may come, so they are asked until nothing has.
/// A connection of which a side of ours was shut down is over: there the
/// count has our own end in it.
pub(crate) fn counters(socket: BorrowedFd<'_>) -> Result<Counters> {
    loop {
        let Some(before) = info(socket)? else {
            return Ok(Counters::None);
        };
        let unread = waiting(socket, libc::FIONREAD)?;
        let unacked = waiting(socket, libc::TIOCOUTQ)?;
        let Some(after) = info(socket)? else {
            return Ok(Counters::None);
        };
        if after == before {
            return Ok(after.count(unread, unacked));
        }
    }
}

/// Whether this system counts at all: one that is not Linux but looks like it
/// may know the question and answer with zeros (gVisor).
///
/// # Errors
/// It could not be tried, as where the loopback interface is down.
pub(crate) fn do_count() -> io::Result<bool> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let mut client = TcpStream::connect_timeout(&address, MOMENT)?;
    let (mut server, _) = listener.accept()?;
    for end in [&client, &server] {
        end.set_nonblocking(false)?;
        end.set_read_timeout(Some(MOMENT))?;
        end.set_write_timeout(Some(MOMENT))?;
    }
    client.write_all(b"asked")?;
    server.read_exact(&mut [0; 4])?;
    server.write_all(b"told")?;
    client.read_exact(&mut [0; 4])?;
    let right = Counters::Open { given: 4, taken: 4 };
    Ok(counters(server.as_fd())? == right)
}

/// The fields of `struct tcp_info` that are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Info {
    state: u8,
    acked: u64,
    received: u64,
}

impl Info {
    fn count(self, unread: u64, unacked: u64) -> Counters {
        let end = match self.state {
            ESTABLISHED => 0,
            CLOSE_WAIT => 1,
            // Accepted before the handshake is over, with data that came in
            // its first segment (RFC 7413): what waits is not told yet.
            SYN_RECV => return Counters::None,
            _ => return Counters::Over,
        };
        // No more can wait than has come.
        match self.received.checked_sub(end + unread) {
            Some(taken) => Counters::Open {
                given: self.acked.wrapping_add(unacked) as u32,
                taken: taken as u32,
            },
            None => Counters::None,
        }
    }
}

/// `None`: it is no TCP socket, or the system tells less of one.
fn info(socket: BorrowedFd<'_>) -> Result<Option<Info>> {
    let mut info = [0; INFO];
    let mut length = INFO as libc::socklen_t;
    let (fd, to) = (socket.as_raw_fd(), info.as_mut_ptr().cast());
    let (level, name) = (libc::IPPROTO_TCP, libc::TCP_INFO);
    // SAFETY: `info` is writable for `length` bytes.
    match unsafe { syscall!(getsockopt(fd, level, name, to, &mut length)) } {
        Ok(_) => Ok(understand(&info, length as usize)),
        Err(error) if error.is_unsupported() => Ok(None),
        Err(error) => Err(error),
    }
}

/// `None`: so many bytes are too few.
fn understand(info: &[u8; INFO], filled_in: usize) -> Option<Info> {
    (filled_in >= INFO).then(|| Info {
        state: info[STATE],
        acked: long(info, BYTES_ACKED),
        received: long(info, BYTES_RECEIVED),
    })
}

/// Bytes that wait: to be read (SIOCINQ), or to be acknowledged (SIOCOUTQ).
fn waiting(socket: BorrowedFd<'_>, which: libc::Ioctl) -> Result<u64> {
    let mut count: libc::c_int = 0;
    // SAFETY: `count` is writable and lives through the call.
    unsafe { syscall!(ioctl(socket.as_raw_fd(), which, &mut count)) }?;
    Ok(u64::try_from(count).unwrap_or_default())
}

fn long(info: &[u8; INFO], at: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&info[at..at + 8]);
    u64::from_ne_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::super::Listening;
    use super::*;
    use std::net::Shutdown;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap());
        (client.unwrap(), listener.accept().unwrap().0)
    }

    fn open(given: u32, taken: u32) -> Counters {
        Counters::Open { given, taken }
    }

    fn until(server: &TcpStream, expected: Counters) {
        let start = std::time::Instant::now();
        loop {
            let found = counters(server.as_fd()).unwrap();
            if found == expected {
                return;
            }
            assert!(start.elapsed().as_secs() < 5, "{found:?} {expected:?}");
        }
    }

    #[test]
    fn what_was_read_and_written_is_counted_and_nothing_else() {
        let (mut client, mut server) = pair();
        assert_eq!(counters(server.as_fd()).unwrap(), open(0, 0));
        client.write_all(b"0123456789").unwrap();
        let mut four = [0; 4];
        server.read_exact(&mut four).unwrap();
        until(&server, open(0, 4));
        server.write_all(b"abc").unwrap();
        until(&server, open(3, 4));
    }

    #[test]
    fn what_the_client_acknowledges_was_given_once() {
        let (mut client, mut server) = pair();
        for round in 1..=50 {
            server.write_all(&[b'a'; 1000]).unwrap();
            client.read_exact(&mut [0; 1000]).unwrap();
            until(&server, open(round * 1000, 0));
        }
    }

    /// Skipped, it would be missing between what was read and what comes.
    #[test]
    fn an_urgent_byte_counts_where_it_is_read() {
        let address = ([127, 0, 0, 1], 0).into();
        let how = Listening { urgent_in_line: true, ..Listening::plain(8) };
        let listener = super::super::listen(address, how).unwrap();
        let listener = TcpListener::from(listener);
        listener.set_nonblocking(false).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let client = socket2::Socket::from(client.unwrap());
        let mut server = listener.accept().unwrap().0;
        client.send_out_of_band(b"x").unwrap();
        client.send(b"yz").unwrap();
        server.read_exact(&mut [0; 3]).unwrap();
        until(&server, open(0, 3));
    }

    /// What is taken and thrown away is taken.
    #[test]
    fn what_is_discarded_counts_and_a_look_ahead_does_not() {
        let (mut client, server) = pair();
        client.write_all(b"0123456789").unwrap();
        let server = socket2::Socket::from(server);
        let mut room = [std::mem::MaybeUninit::uninit(); 4];
        server.peek(&mut room).unwrap();
        server.recv_with_flags(&mut room, libc::MSG_TRUNC).unwrap();
        until(&server.into(), open(0, 4));
    }

    #[test]
    fn the_end_of_the_client_is_no_byte() {
        let (mut client, mut server) = pair();
        client.write_all(b"0123456789").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut four = [0; 4];
        server.read_exact(&mut four).unwrap();
        until(&server, open(0, 4));
        let mut rest = Vec::new();
        server.read_to_end(&mut rest).unwrap();
        until(&server, open(0, 10));
        server.write_all(b"abc").unwrap();
        until(&server, open(3, 10));
    }

    #[test]
    fn what_the_peer_does_not_take_was_given_all_the_same() {
        let (_client, mut server) = pair();
        server.set_nonblocking(true).unwrap();
        let mut given = 0;
        while let Ok(count) = server.write(&[0; 5000]) {
            given += count as u32;
        }
        until(&server, open(given, 0));
    }

    #[test]
    fn a_connection_that_somebody_ended_is_over() {
        let (client, server) = pair();
        server.shutdown(Shutdown::Write).unwrap();
        assert_eq!(counters(server.as_fd()).unwrap(), Counters::Over);
        drop(client);
    }

    #[test]
    fn this_system_counts() {
        assert!(do_count().unwrap());
    }

    /// gVisor fills in the state and hardly more.
    #[test]
    fn less_received_than_waits_is_no_count() {
        let zeros = Info { state: ESTABLISHED, acked: 0, received: 0 };
        assert_eq!(zeros.count(0, 0), open(0, 0));
        assert_eq!(zeros.count(1, 0), Counters::None);
        let ended = Info { state: CLOSE_WAIT, ..zeros };
        assert_eq!(ended.count(0, 0), Counters::None);
    }

    #[test]
    fn a_short_answer_is_no_count() {
        let mut bytes = [0; INFO];
        bytes[STATE] = ESTABLISHED;
        bytes[BYTES_RECEIVED] = 7;
        let whole = Info {
            state: ESTABLISHED,
            acked: 0,
            received: u64::from_ne_bytes([7, 0, 0, 0, 0, 0, 0, 0]),
        };
        assert_eq!(understand(&bytes, INFO), Some(whole));
        assert_eq!(understand(&bytes, INFO - 1), None);
        assert_eq!(understand(&bytes, 104), None, "as in Linux 3.x");
    }

    #[test]
    fn before_the_handshake_is_over_nothing_is_counted() {
        let early = Info { state: SYN_RECV, acked: 0, received: 5 };
        assert_eq!(early.count(0, 0), Counters::None);
    }

    #[test]
    fn a_unix_socket_does_not_count() {
        let (a, _b) = crate::sys::unix::pair().unwrap();
        assert_eq!(counters(a.as_fd()).unwrap(), Counters::None);
    }
}
