//! tcp(7): options of a connection, and what the kernel has counted of it,
//! whoever moved the bytes.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Duration;

use super::socket::set_option;
use super::{Result, syscall};

/// `TCP_NODELAY`, for a connection whose listener was not ours.
pub(crate) fn set_no_delay(connection: BorrowedFd<'_>) -> Result<()> {
    set_option(connection, libc::IPPROTO_TCP, libc::TCP_NODELAY, 1)
}

/// `TCP_NOTSENT_LOWAT`: takes no more to send from us while so many bytes
/// wait for the client to have room. Without it the kernel takes megabytes.
pub(crate) fn limit_unsent(
    connection: BorrowedFd<'_>,
    bytes: i32,
) -> Result<()> {
    set_option(connection, libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT, bytes)
}

/// `TCP_DEFER_ACCEPT`: a connection is accepted when its first bytes are
/// there, or after about `seconds` without any; 0 turns it off. It halves the
/// price of a hand-off, and is wrong where the server speaks first.
pub(crate) fn set_defer_accept(
    listener: BorrowedFd<'_>,
    seconds: i32,
) -> Result<()> {
    set_option(listener, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, seconds)
}

/// Bytes of `struct tcp_info` (linux/tcp.h) up to the last field that is
/// wanted; the kernel fills in as many as it is asked for.
const INFO: usize = 136;

/// Where its fields stand.
const STATE: usize = 0;
const BYTES_ACKED: usize = 120;
const BYTES_RECEIVED: usize = 128;

/// net/tcp_states.h
const ESTABLISHED: u8 = 1;
const CLOSE_WAIT: u8 = 8;

/// What the kernel has counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counters {
    /// The connection goes on. Bytes that were given and taken, modulo 2³².
    Open { given: u32, taken: u32 },
    /// Somebody has ended it, or our side of it.
    Over,
    /// Nothing: it is no TCP socket, or of a kernel that does not count.
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
        let end = match before[STATE] {
            ESTABLISHED => 0,
            CLOSE_WAIT => 1,
            _ => return Ok(Counters::Over),
        };
        let unread = waiting(socket, libc::FIONREAD)?;
        let unacked = waiting(socket, libc::TIOCOUTQ)?;
        let Some(after) = info(socket)? else {
            return Ok(Counters::None);
        };
        let (acked, received) =
            (long(&after, BYTES_ACKED), long(&after, BYTES_RECEIVED));
        let same = acked == long(&before, BYTES_ACKED)
            && received == long(&before, BYTES_RECEIVED)
            && after[STATE] == before[STATE];
        if !same {
            continue;
        }
        let given = acked.wrapping_add(unacked);
        let taken = received.wrapping_sub(end).wrapping_sub(unread);
        return Ok(Counters::Open {
            given: given as u32,
            taken: taken as u32,
        });
    }
}

/// How long a byte may take from this process to itself.
const LOOPBACK: Duration = Duration::from_millis(500);

/// Whether this kernel counts: gVisor's `tcp_info` has zeros where the bytes
/// stand, that of Linux before 4.1 ends there. Tried with a byte in each
/// direction.
///
/// # Errors
/// It could not be tried: there is no loopback.
pub(crate) fn is_counted() -> io::Result<bool> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let mut client = TcpStream::connect_timeout(&address, LOOPBACK)?;
    let (mut server, _) = listener.accept()?;
    for end in [&client, &server] {
        end.set_read_timeout(Some(LOOPBACK))?;
    }
    client.write_all(b"?")?;
    server.read_exact(&mut [0])?;
    server.write_all(b"!")?;
    client.read_exact(&mut [0])?;
    let expected = Counters::Open { given: 1, taken: 1 };
    Ok(counters(server.as_fd()).is_ok_and(|counted| counted == expected))
}

/// From now on closing the last copy resets the connection: the client is
/// not to take what it has for all there was (SO_LINGER, socket(7)).
pub(crate) fn reset_at_close(socket: BorrowedFd<'_>) -> Result<()> {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    let length = size_of::<libc::linger>() as libc::socklen_t;
    let (fd, pointer) = (socket.as_raw_fd(), (&raw const linger).cast());
    let (level, name) = (libc::SOL_SOCKET, libc::SO_LINGER);
    // SAFETY: `linger` is readable for `length` bytes.
    unsafe { syscall!(setsockopt(fd, level, name, pointer, length)) }?;
    Ok(())
}

/// `None`: it is no TCP socket, or of a kernel that does not count.
fn info(socket: BorrowedFd<'_>) -> Result<Option<[u8; INFO]>> {
    let mut info = [0; INFO];
    let mut length = INFO as libc::socklen_t;
    let fd = socket.as_raw_fd();
    let (level, name) = (libc::IPPROTO_TCP, libc::TCP_INFO);
    // SAFETY: `info` is writable for `length` bytes.
    let result = unsafe {
        syscall!(getsockopt(
            fd,
            level,
            name,
            info.as_mut_ptr().cast(),
            &mut length
        ))
    };
    match result {
        Ok(_) => Ok(whole(info, length)),
        Err(error)
            if [libc::EOPNOTSUPP, libc::ENOPROTOOPT]
                .contains(&error.errno()) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// The kernel says how much it has filled in: one that ends before the bytes
/// does not count them.
fn whole(info: [u8; INFO], length: libc::socklen_t) -> Option<[u8; INFO]> {
    (length as usize == INFO).then_some(info)
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
        let listener = crate::sys::socket::listen_tcp(address, 8, false);
        let listener = TcpListener::from(listener.unwrap());
        crate::sys::socket::keep_urgent_in_line(listener.as_fd()).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let client = socket2::Socket::from(client.unwrap());
        let mut server = listener.accept().unwrap().0;
        client.send_out_of_band(b"x").unwrap();
        client.send(b"yz").unwrap();
        server.read_exact(&mut [0; 3]).unwrap();
        until(&server, open(0, 3));
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
    fn this_kernel_counts() {
        assert!(is_counted().unwrap());
    }

    #[test]
    fn an_answer_that_ends_before_the_bytes_counts_nothing() {
        // Linux 3.15 and 4.1: without them, and with the first of the two.
        for length in [0, 104, 120, 128, 135] {
            assert_eq!(whole([0; INFO], length), None, "{length}");
        }
        assert!(whole([0; INFO], 136).is_some());
    }

    #[test]
    fn a_unix_socket_does_not_count() {
        let (a, _b) = crate::sys::unix::pair().unwrap();
        assert_eq!(counters(a.as_fd()).unwrap(), Counters::None);
    }
}
