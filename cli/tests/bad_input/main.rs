//! What no operator and no client should do to a node, done to the real binary on real files and
//! sockets: what is refused says what, where and what to do; what can be borne is borne, told and
//! counted; nothing that was acknowledged is lost, and everyone else is served.
//!
//! What a message may hold is tried byte by byte in the server's room (`e2e/bad_input.rs`); what the
//! machine does around a start in `environment.rs`.

#![expect(
    clippy::unwrap_used,
    reason = "these are tests: an unwrap that fails is a failed test"
)]

mod clock;
mod configuration;
mod directories;
mod floods;
mod names;
mod stage;
