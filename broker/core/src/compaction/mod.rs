//! What compaction decides: which log is next, up to where, which records of it stay.
//!
//! A round has two passes over whole sealed segments. The first reads what was appended since the last
//! round and remembers the latest offset of each key ([`Mapping`], into a [`KeyMap`] of bounded size);
//! the second goes over everything from the log's start and keeps a record only if no later one has its
//! key ([`Sieve`]). The rules are Kafka's (KIP-58, KIP-98, KIP-354, KIP-534), so that a log that one of
//! the two has compacted is one that the other could have.
//!
//! What always holds: whoever reads the log from its start learns the same last value of each key before
//! and after a round; a record's offset never changes and the log's end never moves; nothing at or above
//! the last stable offset is looked at; the state of each producer that is remembered can still be read
//! from the log; content that can't be read makes the log [`Uncleanable`], and nothing of it is lost.

mod choice;
mod groups;
mod key_map;
mod mapping;
mod sieve;
mod transactions;

use millrace_protocol::records::{Batch, RecordError};

pub use choice::{Cleanable, LogFacts, Policy, SegmentFacts, cleanable, dirtiest};
pub use groups::{GroupLimits, groups};
pub use key_map::{KeyMap, MAP_ENTRY_BYTES, MapLimits};
pub use mapping::{Mapping, Progress};
pub use millrace_protocol::records::Kept;
pub use sieve::{LastOfProducer, Round, Sieve};
pub use transactions::AbortedTransaction;

/// A batch that can't be read: its log stays as it is until somebody has looked at it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the batch at offset {base_offset} can't be compacted: {error}")]
pub struct Uncleanable {
    /// The batch's base offset.
    pub base_offset: i64,
    /// What is wrong with it.
    pub error: RecordError,
}

impl Uncleanable {
    fn at(batch: &Batch) -> impl Fn(RecordError) -> Self + use<> {
        let base_offset = batch.header.base_offset;
        move |error| Self { base_offset, error }
    }
}
