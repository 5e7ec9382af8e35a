//! getpwnam(3), getgrnam(3), getgrouplist(3): who a process is to be.
//!
//! The C library is asked and not /etc/passwd: users may come from LDAP or
//! systemd (nsswitch.conf(5)).

use std::ffi::{CStr, CString};
use std::mem::MaybeUninit;

use super::{Error, Result};

/// What is tried first for the strings of an entry, in bytes; and at most.
const BUFFER: (usize, usize) = (1 << 10, 1 << 20);

/// Who a process is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Credentials {
    pub(crate) user: u32,
    pub(crate) group: u32,
    /// All groups, the supplementary ones among them.
    pub(crate) groups: Vec<u32>,
}

/// An entry of the user database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    name: CString,
    pub(crate) id: u32,
    /// The primary one.
    pub(crate) group: u32,
}

/// Whether this process may become somebody else.
pub(crate) fn is_root() -> bool {
    // SAFETY: no pointers are involved.
    unsafe { libc::geteuid() == 0 }
}

/// The user of that name.
pub(crate) fn by_name(name: &CStr) -> Result<Option<User>> {
    look_up("getpwnam", to_user, |entry, buffer, size, found| {
        // SAFETY: `look_up` hands in what getpwnam_r(3) wants.
        unsafe { libc::getpwnam_r(name.as_ptr(), entry, buffer, size, found) }
    })
}

/// The user with that number.
pub(crate) fn by_id(id: u32) -> Result<Option<User>> {
    look_up("getpwuid", to_user, |entry, buffer, size, found| {
        // SAFETY: `look_up` hands in what getpwuid_r(3) wants.
        unsafe { libc::getpwuid_r(id, entry, buffer, size, found) }
    })
}

fn to_user(entry: &libc::passwd) -> User {
    User {
        // SAFETY: the entry's name is a C string in its buffer.
        name: unsafe { CStr::from_ptr(entry.pw_name) }.to_owned(),
        id: entry.pw_uid,
        group: entry.pw_gid,
    }
}

/// The number of the group of that name.
pub(crate) fn group_by_name(name: &CStr) -> Result<Option<u32>> {
    let to_id = |entry: &libc::group| entry.gr_gid;
    look_up("getgrnam", to_id, |entry, buffer, size, found| {
        // SAFETY: `look_up` hands in what getgrnam_r(3) wants.
        unsafe { libc::getgrnam_r(name.as_ptr(), entry, buffer, size, found) }
    })
}

/// One of the reentrant calls, with as much room as it asks for.
fn look_up<E, T>(
    call: &'static str,
    take: impl Fn(&E) -> T,
    ask: impl Fn(*mut E, *mut libc::c_char, usize, *mut *mut E) -> i32,
) -> Result<Option<T>> {
    let (mut size, most) = BUFFER;
    loop {
        let mut entry = MaybeUninit::<E>::uninit();
        let mut buffer: Vec<libc::c_char> = vec![0; size];
        let mut found = std::ptr::null_mut();
        let (to, room) = (buffer.as_mut_ptr(), buffer.len());
        match ask(entry.as_mut_ptr(), to, room, &mut found) {
            0 if found.is_null() => return Ok(None),
            // SAFETY: it is found, so `found` points to the filled `entry`,
            // whose strings lie in `buffer`.
            0 => return Ok(Some(take(unsafe { &*found }))),
            libc::ERANGE if size < most => size *= 2,
            libc::EINTR => {}
            // What getpwnam(3) lists under "not found" for some systems.
            libc::ENOENT | libc::ESRCH => return Ok(None),
            errno => return Err(Error { call, errno }),
        }
    }
}

/// All groups of a user who is in `group` in any case.
pub(crate) fn groups_of(user: &User, group: u32) -> Vec<u32> {
    let mut count: libc::c_int = 16;
    loop {
        let mut groups: Vec<libc::gid_t> = vec![0; count as usize];
        let (name, to) = (user.name.as_ptr(), groups.as_mut_ptr());
        // SAFETY: `name` is a C string, `to` has room for `count` numbers.
        let result =
            unsafe { libc::getgrouplist(name, group, to, &mut count) };
        if result >= 0 {
            groups.truncate(count as usize);
            return groups;
        }
        // It has said how many there are.
        count = count.max(groups.len() as libc::c_int + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_found_by_name_and_by_number() {
        let root = by_name(c"root").unwrap().unwrap();
        assert_eq!((root.id, root.group), (0, 0));
        assert_eq!(by_id(0).unwrap(), Some(root.clone()));
        assert_eq!(group_by_name(c"root").unwrap(), Some(0));
        assert!(groups_of(&root, 7).contains(&7));
    }

    #[test]
    fn who_does_not_exist_is_a_value() {
        assert_eq!(by_name(c"no such user").unwrap(), None);
        assert_eq!(by_id(4_000_000_001).unwrap(), None);
        assert_eq!(group_by_name(c"no such group").unwrap(), None);
    }
}
