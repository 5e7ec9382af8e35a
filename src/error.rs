//! Why a master or a worker cannot go on.
//!
//! What a client or a worker did wrong is not here: the one costs a
//! connection, the other a worker, and neither is an error of the whole.

use std::fmt;
use std::io;

use crate::config::AddressError;
use crate::ipc::{codec, message};
use crate::sys;

/// Ends the process.
#[derive(Debug)]
pub(crate) enum Error {
    /// Whoever wrote the program or typed the command is to change something.
    Usage(String),
    /// The system refused something.
    System(String),
    /// Worker: the environment does not say what a master of ours says.
    Contract(String),
    /// The other end of the channel does not speak our language.
    Protocol(String),
    /// Worker: the channel ended without a word.
    MasterGone,
}

impl Error {
    pub(crate) fn protocol(what: &str) -> Error {
        Error::Protocol(what.to_owned())
    }

    pub(crate) fn contract(what: &str) -> Error {
        Error::Contract(what.to_owned())
    }

    /// 2 for what was typed wrong, 1 for anything else.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Error::Usage(_) => 2,
            Error::System(_)
            | Error::Contract(_)
            | Error::Protocol(_)
            | Error::MasterGone => 1,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Usage(line) | Error::System(line) => f.write_str(line),
            Error::Contract(what) => write!(
                f,
                "started as a worker, but not by a master that fits: {what}"
            ),
            Error::Protocol(what) => {
                write!(f, "the channel is not understood: {what}")
            }
            Error::MasterGone => f.write_str("the master is gone"),
        }
    }
}

impl std::error::Error for Error {}

impl From<sys::Error> for Error {
    fn from(error: sys::Error) -> Error {
        Error::System(error.to_string())
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Error {
        Error::System(error.to_string())
    }
}

impl From<AddressError> for Error {
    fn from(error: AddressError) -> Error {
        Error::Usage(error.to_string())
    }
}

impl From<codec::Fault> for Error {
    fn from(fault: codec::Fault) -> Error {
        Error::Protocol(fault.to_string())
    }
}

impl From<message::Malformed> for Error {
    fn from(malformed: message::Malformed) -> Error {
        Error::Protocol(malformed.to_string())
    }
}
