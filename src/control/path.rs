//! Where a control socket lies, and what it may be called.

use std::env;
use std::ffi::OsStr;
use std::path::PathBuf;

/// The longest path of a control socket. The `sun_path` of unix(7) has 108
/// bytes; the rest is for the suffix under which it is made.
const LONGEST_PATH: usize = 96;

/// Where a control socket lies if nobody has said where: where services keep
/// such things for this user or, else, for the system.
pub(crate) fn folders() -> impl Iterator<Item = PathBuf> {
    let own = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let own = own.filter(|path| path.is_absolute());
    let system = PathBuf::from("/run");
    own.filter(|own| *own != system).into_iter().chain([system])
}

/// Whether a file in one of the [`folders`] is named as a control socket.
pub(crate) fn is_named_so(name: &str) -> bool {
    name.strip_prefix("handoff-")
        .and_then(|rest| rest.strip_suffix(".sock"))
        .is_some_and(|rest| {
            let (pid, nth) = rest.split_once('-').unwrap_or((rest, "2"));
            [pid, nth].iter().all(|number| number.parse::<u32>().is_ok())
        })
}

/// Checks the path of a control socket, or says what is wrong in a text that
/// goes on from it.
pub(crate) fn checked(typed: &OsStr) -> Result<PathBuf, String> {
    match typed.len() {
        0 => Err(" is no path: type one".to_owned()),
        1..=LONGEST_PATH => Ok(typed.into()),
        length => Err(format!(
            " has {length} bytes: the path of a control socket has at most \
             {LONGEST_PATH}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_named_after_a_process_is_looked_at() {
        for (name, is_one) in [
            ("handoff-1.sock", true),
            ("handoff-4194304.sock", true),
            ("handoff-1-2.sock", true),
            ("handoff-1-.sock", false),
            ("handoff-1-2-3.sock", false),
            ("handoff-.sock", false),
            ("handoff-1.sock.77", false),
            ("handoff-app.sock", false),
            ("other-1.sock", false),
        ] {
            assert_eq!(is_named_so(name), is_one, "{name}");
        }
    }
}
