//! What can go wrong, in words for the one who measures.

/// A value, or why there is none.
pub(crate) type Result<T> = std::result::Result<T, String>;
