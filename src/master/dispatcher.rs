//! PURE: the dispatcher.
