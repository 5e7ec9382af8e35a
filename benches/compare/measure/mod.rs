//! What is measured: servers beside each other under the same load, system
//! calls, memory, and costs as something grows. How a figure is judged or
//! shown is not known here.

pub(crate) mod calls;
pub(crate) mod growth;
pub(crate) mod memory;
pub(crate) mod rounds;
pub(crate) mod sample;
pub(crate) mod scenario;
