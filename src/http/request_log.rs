//! Who is told of the requests that are in hand.

/// Is told of a request before the handler is, so that somebody knows what
/// was in hand should this process come to an end.
pub trait RequestLog {
    /// The handler is about to see the request that begins so many bytes
    /// behind the last one that was answered for good. `replayable`: it may
    /// be asked again. Said once more when the handler itself says that.
    fn begins(&self, at: usize, replayable: bool);
}
