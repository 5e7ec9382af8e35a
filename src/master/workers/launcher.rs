//! How a worker is started: which program, with what around it.
//!
//! Fork and exec, never fork alone: a reload picks up the program that is
//! there then, and nothing is inherited by accident. A worker on this library
//! is the same program again, with the same words; it finds out from its
//! [environment](crate::environment) that it is a worker, as Node's do.
//!
//! The program and the working directory are kept as *names* and looked up at
//! each start, so that a `current -> releases/43` that was swapped is seen.

use std::env;
use std::ffi::{CString, OsStr, OsString};
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use super::identity;
use super::inspector::Inspector;
use crate::WorkerId;
use crate::config::{User, is_script};
use crate::environment::{
    self, NODE_OPTIONS, WORKER_ID, WORKER_INDEX, WORKER_REGION,
};
use crate::error::Error;
use crate::scoreboard::Scoreboard;
use crate::sys;
use crate::sys::process::{Child, FIRST_DESCRIPTOR};
use crate::sys::spawn::{self, Begun, Bond, Program};

/// Where execvp(3) looks when there is no `PATH`.
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// How long a start may keep the master from its clients: it takes about a
/// millisecond, or longer for a program that is read from a cold disk. Whoever
/// is later still is a worker that is not ready yet, with its boot timeout.
const PATIENCE: Duration = Duration::from_secs(1);

/// The same behind one that was late: a file system that does not answer does
/// so for every worker, and there may be a thousand.
const LITTLE_PATIENCE: Duration = Duration::from_millis(10);

/// Starts workers, one like the other.
#[derive(Debug)]
pub(crate) struct Launcher {
    itself: Program,
    /// What the workers are, if that is another program.
    foreign: Option<Program>,
    /// Node's debugger is to listen in each worker. If it is asked for among
    /// the arguments, they have a word to spare for the port.
    inspector: Option<Inspector>,
    /// Connections survive a worker of ours.
    guarded: bool,
    /// The program that somebody typed does not exist, or cannot be executed.
    mistyped: bool,
    patience: Duration,
}

/// A worker that has just been started.
#[derive(Debug)]
pub(super) struct Started {
    pub(super) child: Child,
    pub(super) begun: Begun,
    /// The master's end.
    pub(super) channel: OwnedFd,
    /// Of a worker that is on this library.
    pub(super) scoreboard: Option<Scoreboard>,
}

impl Launcher {
    /// Workers that are this very program with the same arguments. `guarded`:
    /// their scoreboards have a journal.
    pub(crate) fn this_program(guarded: bool) -> io::Result<Launcher> {
        Ok(Launcher {
            itself: itself()?,
            foreign: None,
            inspector: None,
            guarded,
            mistyped: false,
            patience: PATIENCE,
        })
    }

    /// Workers that are another program, which speaks as Node does.
    pub(crate) fn another(words: &[OsString]) -> io::Result<Launcher> {
        let name = words.first().cloned().unwrap_or_default();
        let mut foreign = program(&candidates(&name), words)?;
        foreign.bond = Bond::Guest;
        let typed: Vec<_> =
            words.iter().map(|w| w.to_string_lossy()).collect();
        let typed: Vec<&str> = typed.iter().map(AsRef::as_ref).collect();
        let options = env::var(NODE_OPTIONS).unwrap_or_default();
        let inspector = Inspector::of(&typed, &options);
        if let Some(at) = inspector.and_then(|inspector| inspector.at) {
            foreign.arguments.insert(at, CString::default());
        }
        let ours = Launcher::this_program(false)?;
        Ok(Launcher { foreign: Some(foreign), inspector, ..ours })
    }

    /// Whether connections survive a worker.
    pub(in crate::master) fn is_guarded(&self) -> bool {
        self.guarded
    }

    /// Whether the last start failed of what somebody typed, and not of the
    /// system: exec(2) says so of a name or a file, and of nothing else.
    pub(crate) fn is_mistyped(&self) -> bool {
        self.mistyped
    }

    /// Whether a debugger may hold a worker for as long as it likes.
    pub(crate) fn is_debugged(&self) -> bool {
        self.inspector.is_some()
    }

    /// Where a worker's debugger listens, if it has one.
    pub(super) fn inspector_port(&self, worker: WorkerId) -> Option<u16> {
        self.inspector.map(|inspector| inspector.port(worker))
    }

    /// What the workers are called, if they are another program.
    pub(super) fn name(&self) -> String {
        let program = self.foreign.as_ref().unwrap_or(&self.itself);
        let name = program.arguments.first();
        name.map_or_else(String::new, |name| {
            name.to_string_lossy().into_owned()
        })
    }

    /// What was typed, if the workers are another program.
    pub(super) fn words(&self) -> Option<Vec<String>> {
        let arguments = &self.foreign.as_ref()?.arguments;
        // Without the one to spare.
        let words = arguments.iter().filter(|word| !word.is_empty());
        let words = words.map(|word| word.to_string_lossy().into_owned());
        Some(words.collect())
    }

    /// Why a worker was not started. A program that somebody typed is named,
    /// with the status by which a shell tells the same.
    pub(super) fn explain(&self, error: sys::Error) -> String {
        if ["setgroups", "setgid", "setuid"].iter().any(|c| error.is_of(c)) {
            return format!(
                "{error}: the workers cannot become who --user says; the \
                 master needs CAP_SETGID and CAP_SETUID for that"
            );
        }
        if !self.mistyped {
            return error.to_string();
        }
        let missing = io::Error::from_raw_os_error(error.errno()).kind()
            == io::ErrorKind::NotFound;
        let (words, status) = match missing {
            true => ("there is no such program", 127),
            false => ("it cannot be executed", 126),
        };
        let name = self.name();
        let advice = match is_script(name.as_ref()) {
            true => format!("; type handoff run -- node {name}"),
            false => String::new(),
        };
        format!(
            "{name}: {words}, which a shell tells by {status} ({error})\
             {advice}"
        )
    }

    /// Whoever starts from now on is that user, if it is a worker.
    pub(crate) fn set_user(&mut self, user: &User) -> Result<(), Error> {
        let user = identity::look_up(user)?;
        if let Some(foreign) = &mut self.foreign {
            foreign.user = Some(user);
        } else {
            self.itself.user = Some(user);
        }
        Ok(())
    }

    /// Starts one. Where it has not executed its program when this returns,
    /// it lets us wait.
    pub(super) fn spawn(
        &mut self,
        worker: WorkerId,
        slot: usize,
    ) -> sys::Result<Started> {
        let (channel, theirs) = sys::unix::pair()?;
        if let Some(program) = &mut self.foreign {
            let mut told = workers_variables(worker, slot, None);
            if let Some(inspector) = self.inspector {
                let word = inspector.word(worker);
                match inspector.at {
                    Some(at) => {
                        // No zero byte is in it.
                        let word = CString::new(word).unwrap_or_default();
                        program.arguments[at] = word;
                    }
                    None => {
                        let before =
                            env::var(NODE_OPTIONS).unwrap_or_default();
                        told.push(format!("{NODE_OPTIONS}={before} {word}"));
                    }
                }
            }
            program.environment = environment::for_worker(told);
            let started =
                start(program, &[theirs.as_fd()], &mut self.patience);
            self.mistyped = started
                .as_ref()
                .is_err_and(|error| error.is_of("exec") && error.is_of_name());
            let (child, begun) = started?;
            return Ok(Started { child, begun, channel, scoreboard: None });
        }
        let (scoreboard, region) = Scoreboard::create(self.guarded)?;
        let number = FIRST_DESCRIPTOR + 1;
        self.itself.environment = environment::for_worker(workers_variables(
            worker,
            slot,
            Some(number),
        ));
        self.itself.bond = Bond::Worker;
        let descriptors = [theirs.as_fd(), region.as_fd()];
        let (child, begun) =
            start(&self.itself, &descriptors, &mut self.patience)?;
        let scoreboard = Some(scoreboard);
        Ok(Started { child, begun, channel, scoreboard })
    }

    /// Starts the master that is to follow this one (`upgrade`), with what
    /// it is to be told and to have.
    pub(super) fn spawn_successor(
        &mut self,
        contract: Vec<OsString>,
        descriptors: &[BorrowedFd<'_>],
    ) -> sys::Result<(Child, Begun)> {
        self.itself.environment = environment::for_next_master(contract);
        self.itself.bond = Bond::Successor;
        start(&self.itself, descriptors, &mut self.patience)
    }
}

/// Waits for the start of a program for as long as the one before it makes
/// seem worth it: whoever is in time has the next one waited for in full.
fn start(
    program: &Program,
    descriptors: &[BorrowedFd<'_>],
    patience: &mut Duration,
) -> sys::Result<(Child, Begun)> {
    let (child, begun) = spawn::spawn(program, descriptors, *patience)?;
    *patience = match begun {
        Begun::Executed => PATIENCE,
        Begun::Late => LITTLE_PATIENCE,
    };
    Ok((child, begun))
}

/// This program, by the name that it was started by.
fn itself() -> io::Result<Program> {
    let words: Vec<OsString> = env::args_os().collect();
    let running = fs::metadata("/proc/self/exe").map_err(|error| {
        about("/proc/self/exe cannot be read, is /proc mounted?", &error)
    })?;
    let mut paths = candidates(words.first().map_or("".as_ref(), |w| w));
    // The first word may be anything (`exec -a`). A name that does not lead
    // here now is not trusted to lead here later.
    let leads_here = paths
        .iter()
        .filter_map(|path| fs::metadata(path).ok())
        .find(fs::Metadata::is_file)
        .is_some_and(|found| same_file(&found, &running));
    if !leads_here {
        paths = vec![env::current_exe()?];
    }
    program(&paths, &words)
}

fn program(paths: &[PathBuf], words: &[OsString]) -> io::Result<Program> {
    let paths = paths.iter().map(|path| c_string(path.as_os_str()));
    let words = words.iter().map(|word| c_string(word));
    let directory = working_directory().map_err(|error| {
        about("the working directory has no name any more", &error)
    })?;
    Ok(Program {
        candidates: paths.collect::<io::Result<_>>()?,
        arguments: words.collect::<io::Result<_>>()?,
        environment: Vec::new(),
        directory: Some(c_string(directory.as_os_str())?),
        bond: Bond::Worker,
        user: None,
    })
}

/// The paths that a program's name stands for, as in execvp(3).
fn candidates(name: &OsStr) -> Vec<PathBuf> {
    if name.as_bytes().contains(&b'/') {
        return vec![PathBuf::from(name)];
    }
    let path = env::var_os("PATH").unwrap_or_else(|| DEFAULT_PATH.into());
    env::split_paths(&path).map(|folder| folder.join(name)).collect()
}

/// The directory by the name that it was entered by, if `PWD` still tells.
fn working_directory() -> io::Result<PathBuf> {
    let current = fs::metadata(".")?;
    match env::var_os("PWD").map(PathBuf::from) {
        Some(name)
            if name.is_absolute()
                && fs::metadata(&name)
                    .is_ok_and(|named| same_file(&named, &current)) =>
        {
            Ok(name)
        }
        _ => env::current_dir(),
    }
}

fn same_file(a: &fs::Metadata, b: &fs::Metadata) -> bool {
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}

/// `region` is the scoreboard's number, for a worker of ours.
fn workers_variables(
    worker: WorkerId,
    slot: usize,
    region: Option<RawFd>,
) -> Vec<String> {
    let mut told = environment::of_channel(FIRST_DESCRIPTOR);
    told.push(format!("{WORKER_ID}={worker}"));
    told.push(format!("{WORKER_INDEX}={slot}"));
    told.extend(region.map(|fd| format!("{WORKER_REGION}={fd}")));
    told
}

/// The system's words, and before them what they are about.
fn about(what: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}

fn c_string(text: &OsStr) -> io::Result<CString> {
    Ok(CString::new(text.as_bytes())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn a_name_with_a_slash_is_a_path_and_any_other_is_looked_up() {
        let path = candidates(OsStr::new("./bin/app"));
        assert_eq!(path, [Path::new("./bin/app")]);
        let found = candidates(OsStr::new("sh"));
        assert!(found.contains(&PathBuf::from("/bin/sh")), "{found:?}");
    }

    #[test]
    fn a_worker_is_told_what_it_is() {
        let told = workers_variables(WorkerId(7), 2, Some(4));
        let has = |pair: &str| told.iter().any(|text| text == pair);
        assert!(has("NODE_CHANNEL_FD=3"));
        assert!(has("NODE_CHANNEL_SERIALIZATION_MODE=json"));
        assert!(has("NODE_UNIQUE_ID=7"));
        assert!(has("HANDOFF_WORKER_INDEX=2"));
        assert!(has("HANDOFF_WORKER_REGION=4"));
    }

    #[test]
    fn the_working_directory_is_an_absolute_name_of_this_one() {
        let name = working_directory().unwrap();
        assert!(name.is_absolute());
        let (a, b) = (fs::metadata(name), fs::metadata("."));
        assert!(same_file(&a.unwrap(), &b.unwrap()));
    }
}
