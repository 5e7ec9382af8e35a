//! What a client does with its connection, and what it is answered.

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// One request after the other.
    KeepAlive,
    /// Sixteen at once, and again when all are answered.
    Pipelined,
    /// One, with `Connection: close`.
    Close,
}

/// Our own answers, byte for byte: the floor sends the same.
#[derive(Debug, Default)]
pub(crate) struct Replies {
    pub(crate) keep_alive: String,
    pub(crate) close: String,
}

impl Replies {
    pub(crate) fn for_shape(&self, shape: Shape) -> &str {
        match shape {
            Shape::KeepAlive | Shape::Pipelined => &self.keep_alive,
            Shape::Close => &self.close,
        }
    }

    /// Bytes of a reply on a connection that stays, and on one that ends.
    pub(crate) fn lengths(&self) -> (usize, usize) {
        (self.keep_alive.len(), self.close.len())
    }
}
