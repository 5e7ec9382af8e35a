//! Other users: who may be them, and programs that they can run.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use super::{Scratch, copy_program, has_tool, skipped};

/// Whether this process may start others in anybody's name. It says so if
/// not.
pub(crate) fn is_root() -> bool {
    let root = fs::metadata("/proc/self").unwrap().uid() == 0;
    if !root {
        skipped("only root can be somebody else");
    }
    root
}

/// The same command in the name of a user without privileges and groups.
/// Any number is one; `None` without the tool for it, which is said.
pub(crate) fn command_of(user: u32, command: &Command) -> Option<Command> {
    if !has_tool("setpriv") {
        return None;
    }
    let mut changed = Command::new("setpriv");
    changed
        .args(["--reuid", &user.to_string()])
        .args(["--regid", &user.to_string()])
        .args(["--clear-groups", "--"])
        .arg(command.get_program())
        .args(command.get_args())
        .current_dir("/");
    Some(changed)
}

/// The same command, of a copy of its program where any user may run it.
pub(crate) fn for_anybody(folder: &Scratch, command: &Command) -> Command {
    let original = Path::new(command.get_program());
    let path = folder.path(original.file_name().unwrap().to_str().unwrap());
    copy_program(original, &path);
    let mut command_here = Command::new(path);
    command_here.args(command.get_args());
    command_here
}
