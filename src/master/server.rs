//! PURE: the name of one thing that is listened on.
//!
//! `serve` has one server: all its addresses, for every worker. `run` has one
//! for each server of the app, made when the first worker asks for it; a
//! worker serves those that it has asked for.

/// Names a server to the master itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ServerId(pub(super) u32);

impl ServerId {
    /// The one of `serve`.
    pub(super) const OWN: ServerId = ServerId(0);
}
