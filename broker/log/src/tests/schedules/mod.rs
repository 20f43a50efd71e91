//! Models of what several tasks do to one log at the same time, run by every schedule that is asked
//! for: `cargo xtask schedules`.
//!
//! The code under the models is the product's own, opened as the server opens it, on a machine
//! whose syncs end when the schedule lets them.

mod failing;
mod flushing;
mod node;
mod reading;
mod witness;
