//! A stage for tests: in the thread that has set one, sockets move what the
//! stage says, and the stage is called at every instant between which a
//! process could die.
//!
//! Real sockets are tried elsewhere. Here it is about what they do once in a
//! million times: a byte a read, a byte a write, a counter that wraps.

use std::cell::RefCell;
use std::rc::Rc;

/// See the [module](self).
pub(crate) trait Stage {
    /// As [`socket::receive`](super::socket::receive).
    fn receive(&self, room: &mut [u8]) -> Option<usize>;

    /// As [`socket::send`](super::socket::send), or, if these are the `last`
    /// bytes, as [`socket::send_last`](super::socket::send_last).
    fn send(&self, bytes: &[u8], last: bool) -> Option<usize>;

    /// As [`socket::shutdown`](super::socket::shutdown).
    fn shutdown(&self);

    /// As [`socket::reset`](super::socket::reset).
    fn reset(&self);

    /// Something is about to be stored for another process, or has just been.
    fn instant(&self);
}

thread_local! {
    static STAGE: RefCell<Option<Rc<dyn Stage>>> = const { RefCell::new(None) };
}

/// Sets the stage of this thread, or takes it away.
pub(crate) fn set(stage: Option<Rc<dyn Stage>>) {
    STAGE.with(|cell| *cell.borrow_mut() = stage);
}

/// Asks the stage, if there is one.
pub(crate) fn ask<R>(what: impl FnOnce(&dyn Stage) -> R) -> Option<R> {
    let stage = STAGE.with(|cell| cell.borrow().clone())?;
    Some(what(&*stage))
}
