//! How a consumer reads.

use std::time::Duration;

/// What a consumer of transactional records sees.
///
/// ```
/// # use millrace_client::{ConsumerOptions, Isolation};
/// let options = ConsumerOptions {
///     isolation: Isolation::ReadCommitted,
///     ..ConsumerOptions::default()
/// };
/// assert_ne!(options.isolation, ConsumerOptions::default().isolation);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// Everything, also of transactions that are open or were aborted.
    ReadUncommitted,
    /// What was committed, up to the first open transaction.
    ReadCommitted,
}

impl Isolation {
    /// The number on the wire.
    pub(super) fn wire(self) -> i8 {
        i8::from(self == Self::ReadCommitted)
    }
}

/// Where to go on when a position is no longer, or not yet, in the log. Of a log that was truncated, the
/// two that reset go on where it became another one, if that is known (KIP-320).
///
/// ```
/// # use millrace_client::{ConsumerOptions, Reset};
/// let options = ConsumerOptions {
///     reset: Reset::Earliest,
///     ..ConsumerOptions::default()
/// };
/// assert_ne!(options.reset, ConsumerOptions::default().reset);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reset {
    /// At the first record there is.
    Earliest,
    /// At the end.
    Latest,
    /// Nowhere: it is an error.
    Fail,
}

/// What a consumer does.
///
/// ```
/// # use millrace_client::ConsumerOptions;
/// let options = ConsumerOptions {
///     prefetch_bytes_max: 8 * 1024 * 1024,
///     rack: Some("eu-1a".to_owned()),
///     ..ConsumerOptions::default()
/// };
/// assert!(options.check_crcs);
/// ```
#[derive(Clone, Debug)]
pub struct ConsumerOptions {
    /// What it sees of transactions.
    pub isolation: Isolation,
    /// Where it goes on from a position that isn't there.
    pub reset: Reset,
    /// A broker answers at once when it has that many bytes.
    pub fetch_bytes_min: i32,
    /// How long a broker may wait for them; less than the request timeout.
    pub fetch_wait_max: Duration,
    /// The most one answer brings, in bytes; one batch may be larger.
    pub fetch_bytes_max: usize,
    /// The most one answer brings of one partition, in bytes; one batch may be larger.
    pub partition_bytes_max: usize,
    /// Bytes that are fetched ahead of the application, all partitions together.
    pub prefetch_bytes_max: usize,
    /// Whether each batch is held against its checksum.
    pub check_crcs: bool,
    /// The rack that the consumer is in, as the brokers name theirs: a leader that is told to choose
    /// by rack (`replica.selector.class`) sends it to an in-sync replica there (KIP-392).
    pub rack: Option<String>,
}

impl Default for ConsumerOptions {
    fn default() -> Self {
        Self {
            isolation: Isolation::ReadUncommitted,
            reset: Reset::Latest,
            fetch_bytes_min: 1,
            fetch_wait_max: Duration::from_millis(500),
            fetch_bytes_max: 16 * 1024 * 1024,
            partition_bytes_max: 1024 * 1024,
            prefetch_bytes_max: 32 * 1024 * 1024,
            check_crcs: true,
            rack: None,
        }
    }
}
