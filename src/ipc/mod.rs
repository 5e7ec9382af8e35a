//! PURE: the wire between master and worker.
