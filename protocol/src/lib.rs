//! Kafka's protocol: bytes to types and back, without any input or output of its own.
//!
//! Always: foreign bytes never panic and never take memory out of proportion to what was received
//! ([`messages::decode`] aside, which is for tests and tools); the generated codec behind
//! [`messages`] is named by no other crate.

pub mod api;
mod compact;
pub mod coordinator;
mod each;
pub mod error_code;
pub mod fetch_body;
pub mod frame;
pub mod header;
pub mod ids;
pub mod messages;
pub mod metadata;
pub mod producer;
pub mod records;
pub mod requests;
pub mod responses;
mod view;
