//! Models of what several requests do to one partition, one opening, one cache of sessions, at the
//! same time, run by every schedule that is asked for: `cargo xtask schedules`.

mod fetching;
mod opening;
mod remembering;
