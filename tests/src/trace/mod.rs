//! What `strace` saw of a running broker, and what follows from it: for every acknowledged request
//! with acks=all that its bytes were durable before its reply left.
//!
//! What always holds: only the trace is believed, nothing that the broker or a client says of
//! itself. The order of its lines is the order of events: the tracer sees a call return before the
//! thread goes on, and a call begin before the kernel does it.

mod calls;
mod files;
mod journal;
mod prove;
#[cfg(test)]
mod prove_tests;
mod wire;

pub use calls::{CALLS, TraceError};
pub use prove::{Proof, Proven, Way, prove};
