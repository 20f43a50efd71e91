//! Producing to and consuming from Millrace or Apache Kafka.
//!
//! Stands on `protocol` and `host` only, so that the same code runs over real sockets and in the
//! simulation. What is here now is the ground floor: a pipelined [`Connection`], version
//! negotiation, and typed calls ([`Client`]). The producer and consumer proper are built on it.

mod answer;
mod client;
#[cfg(test)]
mod client_tests;
mod connection;
mod error;
mod reader;
mod records;
mod topics;

pub use answer::Answer;
pub use client::{Client, ClientOptions, Pending};
pub use connection::{Call, Connection, ConnectionOptions, PendingReply};
pub use error::Error;
pub use reader::PartitionReader;
pub use records::{
    Acks, FetchFrom, FetchOptions, Fetched, OffsetOf, PendingProduce, Produced, ProducerIdentity,
};
pub use topics::{NewTopic, Topic};
