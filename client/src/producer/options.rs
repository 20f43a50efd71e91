//! How a producer collects, sends and retries.

use std::time::Duration;

use millrace_protocol::records::Codec;

use crate::Acks;

/// What a producer does. The defaults lose and double nothing.
///
/// ```
/// # use millrace_client::ProducerOptions;
/// use std::time::Duration;
///
/// use millrace_protocol::records::Codec;
///
/// let options = ProducerOptions {
///     codec: Codec::Lz4,
///     linger: Duration::from_millis(20),
///     ..ProducerOptions::default()
/// };
/// assert!(options.idempotent);
/// ```
#[derive(Clone, Debug)]
pub struct ProducerOptions {
    /// When a record counts as delivered.
    pub acks: Acks,
    /// Whether brokers recognise retries (KIP-98); takes [`Acks::All`]. Without it a retry may store
    /// a record twice, and only one request for a partition is under way at a time, to keep the order.
    pub idempotent: bool,
    /// How long a batch waits for more records.
    pub linger: Duration,
    /// A batch is sent once it has that many bytes, before compression. One record may be larger.
    pub batch_bytes: usize,
    /// The largest record, with its batch's header, and the most a request holds, in bytes before
    /// compression. Brokers have a limit of their own (`message.max.bytes`, `max.message.bytes`).
    pub request_bytes_max: usize,
    /// Bytes of records that may wait for their delivery; more wait in [`Producer::send`].
    ///
    /// [`Producer::send`]: crate::Producer::send
    pub buffer_bytes_max: usize,
    /// How batches are compressed.
    pub codec: Codec,
    /// The codec's level; `None` for its default.
    pub level: Option<i32>,
    /// How long a record may take from [`Producer::send`] on; then it is given up, but for the
    /// answer that is on its way.
    ///
    /// [`Producer::send`]: crate::Producer::send
    pub delivery_timeout: Duration,
}

impl Default for ProducerOptions {
    fn default() -> Self {
        Self {
            acks: Acks::All,
            idempotent: true,
            linger: Duration::from_millis(5),
            batch_bytes: 128 * 1024,
            request_bytes_max: 1024 * 1024,
            buffer_bytes_max: 32 * 1024 * 1024,
            codec: Codec::None,
            level: None,
            delivery_timeout: Duration::from_mins(2),
        }
    }
}
