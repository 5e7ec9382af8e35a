//! Who is measured: each server by name, how it is started, and one that
//! runs. Loads and figures are not known here.

pub(crate) mod command;
pub(crate) mod peer;
pub(crate) mod server;
