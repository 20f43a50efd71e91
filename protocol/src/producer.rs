//! What a partition remembers of each producer: plain data, shared because the broker's core
//! decides it and the log persists it, and the two never see each other. No logic lives here.
//!
//! Always: `batches` holds at most [`PRODUCER_BATCHES_MAX`] batches of one epoch, oldest first,
//! with offsets rising strictly.

/// How many of a producer's last batches are remembered per partition. Clients keep at most five
/// requests in flight because Kafka recognises a retry among exactly so many.
pub const PRODUCER_BATCHES_MAX: usize = 5;

/// The producer epoch that stands for "none known yet".
pub const PRODUCER_EPOCH_NONE: i16 = -1;

/// One appended batch of one producer, enough to recognise its retry and to answer it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerBatch {
    /// Sequence of the first record; 0..=2147483647.
    pub first_sequence: i32,
    /// Sequence of the last record; below `first_sequence` when the range wraps past 2147483647.
    pub last_sequence: i32,
    /// Offset of the last record.
    pub last_offset: i64,
    /// Offset of the last record minus that of the first; never negative.
    pub offset_delta: i32,
    /// Largest timestamp of the batch, milliseconds since the Unix epoch.
    pub timestamp_ms: i64,
}

impl ProducerBatch {
    /// Offset of the first record.
    pub fn base_offset(&self) -> i64 {
        self.last_offset
            .saturating_sub(i64::from(self.offset_delta))
    }
}

/// Everything that one partition remembers of one producer id. This is what a producer snapshot
/// holds; Kafka's own snapshot keeps only the newest of the batches (semantics of its
/// `ProducerSnapshot`: version 1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducerEntry {
    /// Producer id; never negative.
    pub producer_id: i64,
    /// Producer epoch; [`PRODUCER_EPOCH_NONE`] when only a marker of an unknown epoch was seen.
    pub producer_epoch: i16,
    /// Epoch of the transaction coordinator whose marker came last; -1 when none came.
    pub coordinator_epoch: i32,
    /// First offset of the transaction that is open here; `None` when none is.
    pub open_txn_first_offset: Option<i64>,
    /// Wall time of the last append, milliseconds since the Unix epoch. For people and for Kafka's
    /// tools: expiry counts monotonic time since the last append or load and never reads it.
    pub last_seen_ms: i64,
    /// The last batches of this epoch, oldest first, at most [`PRODUCER_BATCHES_MAX`].
    pub batches: Vec<ProducerBatch>,
}
