//! unix(7): a connected pair, descriptors that travel over it, and who is at
//! the other end.
//!
//! ```text
//!   sendmsg  ── bytes ───────────────▶  recvmsg
//!            ── SCM_RIGHTS: 7 9 12 ──▶  new numbers, same open files
//! ```

use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;

use super::socket::{socket, unix_address};
use super::{Result, syscall, unless_blocked};

/// Most descriptors in one message (`SCM_MAX_FD`, include/net/scm.h).
pub(crate) const MAX_DESCRIPTORS: usize = 253;

/// Room for one control message with [`MAX_DESCRIPTORS`], aligned as
/// `cmsghdr` wants it.
type Control = [u64; CONTROL_WORDS];
const CONTROL_WORDS: usize = (size_of::<libc::cmsghdr>()
    + MAX_DESCRIPTORS * size_of::<RawFd>())
.div_ceil(size_of::<u64>());

/// Two connected stream sockets, non-blocking, close-on-exec. `SOCK_STREAM`,
/// as Node's channel is.
pub(crate) fn pair() -> Result<(OwnedFd, OwnedFd)> {
    let kind = libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    let mut fds = [-1; 2];
    let to = fds.as_mut_ptr();
    // SAFETY: `to` is writable for two descriptors.
    unsafe { syscall!(socketpair(libc::AF_UNIX, kind, 0, to)) }?;
    // SAFETY: the descriptor is new, so nobody else owns it.
    let first = unsafe { OwnedFd::from_raw_fd(fds[0]) };
    // SAFETY: as above.
    let second = unsafe { OwnedFd::from_raw_fd(fds[1]) };
    Ok((first, second))
}

/// Sends bytes, and with the first of them copies of `descriptors` (at most
/// [`MAX_DESCRIPTORS`]). Either all of these go or none. `None`: no room.
/// A short count means that the rest of the *bytes* is still to be sent.
pub(crate) fn send(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> Result<Option<usize>> {
    debug_assert!(!bytes.is_empty(), "descriptors travel with a byte");
    assert!(descriptors.len() <= MAX_DESCRIPTORS);
    let mut control: Control = [0; CONTROL_WORDS];
    let mut part = libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    };
    // SAFETY: `msghdr` is plain data; all zeroes is a value of it.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &mut part;
    message.msg_iovlen = 1;
    if !descriptors.is_empty() {
        let size = size_of_val(descriptors) as u32;
        message.msg_control = control.as_mut_ptr().cast();
        // SAFETY: arithmetic only.
        message.msg_controllen = unsafe { libc::CMSG_SPACE(size) } as usize;
        // SAFETY: the control buffer has room for at least a header.
        let header = unsafe { libc::CMSG_FIRSTHDR(&message) };
        // SAFETY: CMSG_FIRSTHDR points to the start of `control`, which is
        // aligned for a header and nobody else's.
        let header = unsafe { &mut *header };
        header.cmsg_level = libc::SOL_SOCKET;
        header.cmsg_type = libc::SCM_RIGHTS;
        // SAFETY: arithmetic only.
        header.cmsg_len = unsafe { libc::CMSG_LEN(size) } as usize;
        // SAFETY: arithmetic within `control`.
        let data = unsafe { libc::CMSG_DATA(header) };
        // SAFETY: a `BorrowedFd` is a descriptor number (`repr(transparent)`)
        // and `control` has room for all of them behind the header.
        unsafe {
            std::ptr::copy_nonoverlapping(
                descriptors.as_ptr().cast::<u8>(),
                data,
                size_of_val(descriptors),
            );
        }
    }
    let flags = libc::MSG_NOSIGNAL;
    // SAFETY: all that `message` points to lives through the call.
    let result =
        unsafe { syscall!(sendmsg(socket.as_raw_fd(), &message, flags)) };
    unless_blocked(result.map(|count| count as usize))
}

/// What one recvmsg brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Received {
    /// 0 is the end of the stream.
    pub(crate) bytes: usize,
    /// Descriptors were lost on the way: this process has no number left for
    /// them (`MSG_CTRUNC`). Those that fitted were taken.
    pub(crate) truncated: bool,
}

/// Receives bytes into `buffer` and appends the descriptors that came with
/// them to `descriptors`. They are owned from the first instant: whatever the
/// caller does not claim is closed. `None`: nothing there.
pub(crate) fn receive(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    descriptors: &mut Vec<OwnedFd>,
) -> Result<Option<Received>> {
    let mut control: Control = [0; CONTROL_WORDS];
    let mut part = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    // SAFETY: `msghdr` is plain data; all zeroes is a value of it.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of::<Control>();
    let (fd, flags) = (socket.as_raw_fd(), libc::MSG_CMSG_CLOEXEC);
    // SAFETY: all that `message` points to is writable and lives through the
    // call.
    let result = unsafe { syscall!(recvmsg(fd, &mut message, flags)) };
    let Some(bytes) = unless_blocked(result)? else {
        return Ok(None);
    };
    // SAFETY: the kernel has filled the control buffer in.
    let mut header = unsafe { libc::CMSG_FIRSTHDR(&message) };
    while !header.is_null() {
        // SAFETY: a header within `control`, valid until the next call.
        let here = unsafe { &*header };
        if here.cmsg_level == libc::SOL_SOCKET
            && here.cmsg_type == libc::SCM_RIGHTS
        {
            // SAFETY: arithmetic only.
            let empty = unsafe { libc::CMSG_LEN(0) } as usize;
            let count = (here.cmsg_len - empty) / size_of::<RawFd>();
            // SAFETY: arithmetic within `control`.
            let data = unsafe { libc::CMSG_DATA(here) }.cast::<RawFd>();
            for index in 0..count {
                // SAFETY: the header says that `count` numbers follow it.
                let number = unsafe { data.add(index) };
                // SAFETY: as above; no alignment is promised.
                let number = unsafe { number.read_unaligned() };
                // SAFETY: the kernel has just made this descriptor for us.
                descriptors.push(unsafe { OwnedFd::from_raw_fd(number) });
            }
        }
        // SAFETY: `header` is one of this message's.
        header = unsafe { libc::CMSG_NXTHDR(&message, header) };
    }
    let truncated = message.msg_flags & libc::MSG_CTRUNC != 0;
    Ok(Some(Received { bytes: bytes as usize, truncated }))
}

/// Who is at the other end of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    /// 0 if it is in a PID namespace that cannot be seen from here.
    pub(crate) pid: i32,
    /// The effective user.
    pub(crate) uid: u32,
}

/// Who connected, or, for whoever did, who listens: as it was at that moment
/// (`SO_PEERCRED`).
pub(crate) fn peer(socket: BorrowedFd<'_>) -> Result<Peer> {
    let mut credentials = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut length = size_of::<libc::ucred>() as libc::socklen_t;
    let (fd, to) = (socket.as_raw_fd(), (&raw mut credentials).cast());
    let (level, name) = (libc::SOL_SOCKET, libc::SO_PEERCRED);
    // SAFETY: `to` is writable for `length` bytes.
    unsafe { syscall!(getsockopt(fd, level, name, to, &mut length)) }?;
    Ok(Peer { pid: credentials.pid, uid: credentials.uid })
}

/// The effective user of this process.
pub(crate) fn own_uid() -> u32 {
    // SAFETY: geteuid(2) takes nothing and cannot fail.
    unsafe { libc::geteuid() }
}

/// Connects to who listens at a path. Whoever does may take nobody, for ever:
/// `None` is a queue that is full, and nothing is waited for.
pub(crate) fn connect(path: &Path) -> Result<Option<OwnedFd>> {
    let socket = socket(libc::AF_UNIX, libc::SOCK_STREAM)?;
    let address = unix_address(path, "connect")?;
    let length = size_of::<libc::sockaddr_un>() as libc::socklen_t;
    let (fd, pointer) = (socket.as_raw_fd(), (&raw const address).cast());
    // SAFETY: `address` holds `length` bytes of an address.
    let connected = unsafe { syscall!(connect(fd, pointer, length)) };
    Ok(unless_blocked(connected)?.map(|_| socket))
}

/// Whether somebody listens at a path.
pub(crate) fn is_listened_on(path: &Path) -> Result<bool> {
    match connect(path) {
        Err(error) if error.errno() == libc::ECONNREFUSED => Ok(false),
        result => result.map(|_| true),
    }
}

/// Whether this process has a unix-domain socket by that number, as an
/// environment variable may claim.
pub(crate) fn is_there(number: RawFd) -> bool {
    let mut domain: i32 = 0;
    let mut length = size_of::<i32>() as libc::socklen_t;
    let to = (&raw mut domain).cast();
    let (level, name) = (libc::SOL_SOCKET, libc::SO_DOMAIN);
    // SAFETY: `to` is writable for `length` bytes.
    let asked =
        unsafe { syscall!(getsockopt(number, level, name, to, &mut length)) };
    asked.is_ok() && domain == libc::AF_UNIX
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    fn take(socket: &OwnedFd, fds: &mut Vec<OwnedFd>) -> (Vec<u8>, bool) {
        let mut buffer = vec![0; 4096];
        let got = receive(socket.as_fd(), &mut buffer, fds).unwrap().unwrap();
        buffer.truncate(got.bytes);
        (buffer, got.truncated)
    }

    #[test]
    fn as_many_descriptors_as_the_kernel_allows_travel_at_once() {
        let (a, b) = pair().unwrap();
        let (x, _y) = pair().unwrap();
        let many = vec![x.as_fd(); MAX_DESCRIPTORS];
        assert_eq!(send(a.as_fd(), b"hello", &many).unwrap(), Some(5));
        let mut fds = Vec::new();
        assert_eq!(take(&b, &mut fds), (b"hello".to_vec(), false));
        assert_eq!(fds.len(), MAX_DESCRIPTORS);
    }

    #[test]
    fn plain_bytes_are_glued_before_a_message_with_descriptors_not_behind() {
        let (a, b) = pair().unwrap();
        let (x, _y) = pair().unwrap();
        send(a.as_fd(), b"1", &[]).unwrap();
        send(a.as_fd(), b"2", &[x.as_fd()]).unwrap();
        send(a.as_fd(), b"3", &[]).unwrap();
        let mut fds = Vec::new();
        assert_eq!(take(&b, &mut fds).0, b"12");
        assert_eq!(fds.len(), 1);
        assert_eq!(take(&b, &mut fds).0, b"3");
        assert_eq!(fds.len(), 1);
    }

    #[test]
    fn a_received_descriptor_is_the_same_open_file() {
        let (a, b) = pair().unwrap();
        let (x, y) = pair().unwrap();
        send(a.as_fd(), b".", &[x.as_fd()]).unwrap();
        let mut fds = Vec::new();
        take(&b, &mut fds);
        drop(x);
        send(fds[0].as_fd(), b"through", &[]).unwrap();
        assert_eq!(take(&y, &mut Vec::new()).0, b"through");
    }

    #[test]
    fn a_number_is_a_unix_socket_or_not() {
        let (a, _b) = pair().unwrap();
        let file = std::fs::File::open("/dev/null").unwrap();
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(is_there(a.as_raw_fd()));
        assert!(!is_there(file.as_raw_fd()));
        assert!(!is_there(tcp.as_raw_fd()));
        assert!(!is_there(-1));
    }

    #[test]
    fn a_full_channel_is_a_value() {
        let (a, _b) = pair().unwrap();
        let (x, _y) = pair().unwrap();
        let sent = (0..10_000)
            .take_while(|_| {
                send(a.as_fd(), b"x", &[x.as_fd()]).unwrap().is_some()
            })
            .count();
        assert!((1..10_000).contains(&sent), "{sent}");
    }

    #[test]
    fn a_peer_is_known_by_process_and_user() {
        let (a, _b) = pair().unwrap();
        let pid = std::process::id() as i32;
        let expected = Peer { pid, uid: own_uid() };
        assert_eq!(peer(a.as_fd()), Ok(expected));
    }

    #[test]
    fn the_end_of_the_other_side_is_zero_bytes() {
        let (a, b) = pair().unwrap();
        drop(a);
        assert_eq!(take(&b, &mut Vec::new()), (Vec::new(), false));
    }
}
