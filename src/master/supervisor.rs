//! PURE: the supervisor.
