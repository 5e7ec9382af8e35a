//! Who the workers are: from `--user` as typed to the numbers that the kernel
//! knows.
//!
//! As chown(1) has it, a name is looked up first, and what is no name but a
//! number is that number, also where the machine knows nobody by it: a
//! container often has no user database.

use std::ffi::CString;

use crate::config::User;
use crate::error::Error;
use crate::sys::user::{self, Credentials};

/// The user, with the groups that initgroups(3) would give it.
pub(super) fn look_up(typed: &User) -> Result<Credentials, Error> {
    if !user::is_root() {
        return Err(Error::System(format!(
            "cannot start workers as {}: only root can",
            typed.user
        )));
    }
    let group = typed.group.as_deref().map(group).transpose()?;
    let name = name(&typed.user)?;
    let number = typed.user.parse::<u32>().ok();
    let known = match (user::by_name(&name)?, number) {
        (None, Some(number)) => user::by_id(number)?,
        (known, _) => known,
    };
    match (known, number, group) {
        (Some(known), _, group) => {
            let group = group.unwrap_or(known.group);
            let groups = user::groups_of(&known, group);
            Ok(Credentials { user: known.id, group, groups })
        }
        (None, Some(user), Some(group)) => {
            Ok(Credentials { user, group, groups: vec![group] })
        }
        (None, Some(user), None) => Err(Error::Usage(format!(
            "user {user} has no group: type --user {user}:GROUP"
        ))),
        (None, None, _) => Err(missing("user", &typed.user)),
    }
}

fn group(typed: &str) -> Result<u32, Error> {
    let known = user::group_by_name(&name(typed)?)?;
    let number = typed.parse().ok();
    known.or(number).ok_or_else(|| missing("group", typed))
}

fn name(typed: &str) -> Result<CString, Error> {
    CString::new(typed).map_err(|_| missing("user", typed))
}

fn missing(kind: &str, name: &str) -> Error {
    Error::Usage(format!("there is no {kind} {name:?} on this machine"))
}
