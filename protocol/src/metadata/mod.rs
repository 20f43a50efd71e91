//! The metadata log's records: values here, their bytes beside them.
//!
//! Bytes are Kafka's own (`MetadataRecordSerde`): unsigned varints for frame version (1), record type
//! and version, then the record as a flexible message. Control records of Raft logs have no frame;
//! they are in [`control`].

mod broker;
mod codec;
pub mod control;
mod error;
mod record;
mod settings;
mod topic;
mod wire;

pub use error::MetadataError;
pub use record::*;
