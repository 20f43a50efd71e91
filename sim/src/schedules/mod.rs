//! A machine for models of few tasks whose every schedule is chosen by shuttle, and their runs.
//!
//! What always holds: one thread; whatever waits here ends when shuttle lets it, in any order; no
//! lock of std is held where another task may come in; the same schedule gives the same run. Time
//! is whatever it has to be: a sleep ends when its task's turn comes, for any task may be slow.

mod disk;
mod machine;
mod run;

pub use disk::Memory;
pub use machine::{machine, machine_without_time};
pub use run::{Length, caught, explore};
/// What makes tasks and chooses who goes on.
pub use shuttle;
