//! The `handoff` command: words to a command, a command to an exit code.

use std::io::{self, Write};
use std::process::ExitCode;

use crate::config::{self, Command};
use crate::control::client;
use crate::{Cluster, app, demo};

/// The whole life of the program.
#[must_use]
pub fn main() -> ExitCode {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    match config::parse(std::env::args_os().skip(1), cpus) {
        Ok(Command::Help(topic)) => print(&config::help(topic)),
        Ok(Command::Version) => print(&format!("{}\n", config::VERSION)),
        Ok(Command::Serve(settings)) => {
            Cluster::from_settings(settings).serve(app::handler)
        }
        Ok(Command::Demo(demo)) => demo::run(demo),
        Ok(Command::Run(settings, program)) => {
            Cluster::from_settings(settings).run(program)
        }
        Ok(Command::Control(command)) => client::run(&command),
        Err(usage) => {
            // Standard error may be closed: the exit code says it as well.
            let _ = writeln!(io::stderr(), "handoff: {usage}");
            ExitCode::from(2)
        }
    }
}

/// What was asked for goes to standard output; `| head -1` is no failure.
fn print(text: &str) -> ExitCode {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            let _ = writeln!(io::stderr(), "handoff: {error}");
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}
