//! PURE: the scheduler.
