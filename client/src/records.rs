//! Batches to a partition and back, and the offsets and producer ids that this takes.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::ids::{ProducerEpoch, ProducerId};
use millrace_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use millrace_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use millrace_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use millrace_protocol::messages::{
    FetchRequest, InitProducerIdRequest, ListOffsetsRequest, ProduceRequest,
};
use millrace_protocol::responses::fetch::PartitionData;
use millrace_protocol::responses::{Array, Read};

use crate::client::{Pending, refuse};
use crate::topics::milliseconds;
use crate::{Answer, Client, Error, Topic};

/// When a batch counts as produced.
///
/// ```
/// # use millrace_client::{Acks, ProducerOptions};
/// let options = ProducerOptions {
///     acks: Acks::Leader,
///     idempotent: false,
///     ..ProducerOptions::default()
/// };
/// assert_ne!(options.acks, ProducerOptions::default().acks);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acks {
    /// When it was sent: there is no answer.
    None,
    /// When the leader has written it.
    Leader,
    /// When every in-sync replica has it as durable as the topic asks.
    All,
}

impl Acks {
    /// The number on the wire.
    pub const fn wire(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Leader => 1,
            Self::All => -1,
        }
    }
}

/// Where to ask [`Client::list_offset`] for.
///
/// ```
/// # mod world { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/documented/world.rs")); }
/// # use millrace_client::OffsetOf;
/// # world::run(async |cluster| {
/// let client = cluster.any_broker().await?;
/// let topic = client.topic("orders").await?;
/// assert_eq!(client.list_offset(&topic, 0, OffsetOf::End).await?, Some(0));
/// assert_eq!(client.list_offset(&topic, 0, OffsetOf::Time(1)).await?, None);
/// # Ok(()) });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetOf {
    /// The first offset still there.
    Start,
    /// One past the last that a consumer may see.
    End,
    /// The first record of this time (milliseconds since the Unix epoch) or later.
    Time(i64),
}

impl OffsetOf {
    /// The timestamp that asks for it.
    pub(crate) fn timestamp(self) -> i64 {
        match self {
            Self::Start => -2,
            Self::End => -1,
            Self::Time(ms) => ms.max(0),
        }
    }
}

/// Where a batch was stored.
///
/// ```
/// # mod world { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/documented/world.rs")); }
/// # use millrace_client::Acks;
/// # world::run(async |cluster| {
/// use millrace_protocol::records::{BatchBuilder, Options};
///
/// let client = cluster.any_broker().await?;
/// let topic = client.topic("orders").await?;
/// let mut builder = BatchBuilder::new(Options::default());
/// builder.push(0, None, Some(b"two teapots"), &[]).expect("it is small");
/// let produced = client.produce(&topic, 0, Acks::All, builder.build()).await?;
/// assert_eq!(produced.map(|produced| produced.base_offset), Some(0));
/// # Ok(()) });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Produced {
    /// Offset of the batch's first record.
    pub base_offset: i64,
    /// First offset of the partition.
    pub log_start_offset: i64,
}

/// The answer to one produced batch, on its way.
///
/// ```
/// # mod world { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/documented/world.rs")); }
/// # world::run(async |cluster| {
/// use millrace_protocol::records::{BatchBuilder, Options};
///
/// let client = cluster.any_broker().await?;
/// let topic = client.topic("orders").await?;
/// let mut builder = BatchBuilder::new(Options::default());
/// builder.push(0, None, Some(b"two teapots"), &[]).expect("it is small");
/// // The next may be sent before this one is answered.
/// let pending = client.send_batch(&topic, 0, builder.build()).await?;
/// assert_eq!(pending.wait().await?.base_offset, 0);
/// # Ok(()) });
/// ```
#[derive(Debug)]
pub struct PendingProduce {
    pending: Pending<ProduceRequest>,
    client: Client,
    topic: String,
    partition: i32,
}

/// From where a fetch reads one partition.
///
/// ```
/// # mod world { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/documented/world.rs")); }
/// # use millrace_client::{FetchFrom, FetchOptions};
/// # world::run(async |cluster| {
/// use std::time::Duration;
///
/// let client = cluster.any_broker().await?;
/// let topic = client.topic("orders").await?;
/// let options = FetchOptions {
///     max_wait: Duration::ZERO,
///     min_bytes: 1,
///     max_bytes: 1 << 20,
///     partition_max_bytes: 1 << 20,
/// };
/// let from = FetchFrom { partition: 0, offset: 0 };
/// let fetched = client.fetch(&topic, &[from], &options).await?;
/// assert_eq!(fetched[0].partition, 0);
/// # Ok(()) });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchFrom {
    /// The partition.
    pub partition: i32,
    /// The first offset wanted.
    pub offset: i64,
}

/// How much a fetch may bring and how long it may wait for it.
///
/// ```
/// # mod world { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/documented/world.rs")); }
/// # use millrace_client::{FetchFrom, FetchOptions};
/// # world::run(async |cluster| {
/// use std::time::Duration;
///
/// let client = cluster.any_broker().await?;
/// let topic = client.topic("orders").await?;
/// // Answered at once, however little there is.
/// let options = FetchOptions {
///     max_wait: Duration::ZERO,
///     min_bytes: 1,
///     max_bytes: 1 << 20,
///     partition_max_bytes: 1 << 20,
/// };
/// let both = [0, 1].map(|partition| FetchFrom { partition, offset: 0 });
/// assert_eq!(client.fetch(&topic, &both, &options).await?.len(), 2);
/// # Ok(()) });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchOptions {
    /// How long the broker may wait for `min_bytes`; less than the request timeout.
    pub max_wait: Duration,
    /// Answer at once when that many bytes are there; 0 never waits.
    pub min_bytes: i32,
    /// All partitions together, in bytes; one whole batch may be larger.
    pub max_bytes: i32,
    /// Each partition, in bytes; one whole batch may be larger.
    pub partition_max_bytes: i32,
}

impl Default for FetchOptions {
    fn default() -> Self {
        Self {
            max_wait: Duration::from_millis(500),
            min_bytes: 1,
            max_bytes: 50 * 1024 * 1024,
            partition_max_bytes: 1024 * 1024,
        }
    }
}

/// What a fetch brought of one partition.
///
/// ```
/// # mod world { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/documented/world.rs")); }
/// # use millrace_client::{FetchFrom, FetchOptions};
/// # world::run(async |cluster| {
/// use std::time::Duration;
///
/// let client = cluster.any_broker().await?;
/// let topic = client.topic("orders").await?;
/// let options = FetchOptions {
///     max_wait: Duration::ZERO,
///     min_bytes: 1,
///     max_bytes: 1 << 20,
///     partition_max_bytes: 1 << 20,
/// };
/// let from = FetchFrom { partition: 0, offset: 0 };
/// let fetched = &client.fetch(&topic, &[from], &options).await?[0];
/// assert_eq!((fetched.high_watermark, fetched.records.len()), (0, 0));
/// # Ok(()) });
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// The partition.
    pub partition: i32,
    /// Its own outcome; the rest means nothing when this is an error.
    pub error: ErrorCode,
    /// One past the last offset that a consumer may see.
    pub high_watermark: i64,
    /// First offset of the partition.
    pub log_start_offset: i64,
    /// Whole batches, and possibly a cut one at the end. The first batch may begin before the
    /// offset asked for.
    pub records: Bytes,
}

/// Names an idempotent producer.
///
/// ```
/// # mod world { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/documented/world.rs")); }
/// # world::run(async |cluster| {
/// let client = cluster.any_broker().await?;
/// let (one, other) = (client.init_producer_id().await?, client.init_producer_id().await?);
/// assert_ne!(one.id, other.id);
/// # Ok(()) });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerIdentity {
    /// Its id.
    pub id: ProducerId,
    /// Its epoch.
    pub epoch: ProducerEpoch,
}

impl PendingProduce {
    /// Waits for the answer, at most until the request's deadline.
    pub async fn wait(self) -> Result<Produced, Error> {
        let Self {
            pending,
            client,
            topic,
            partition,
        } = self;
        let answer = pending.wait().await?;
        client.produced(&answer, &topic, partition)
    }
}

impl Client {
    /// A produce request for one encoded batch.
    pub fn produce_request(
        &self,
        topic: &Topic,
        partition: i32,
        acks: Acks,
        batch: Bytes,
    ) -> ProduceRequest {
        let mut data = PartitionProduceData::default();
        data.index = partition;
        data.records = Some(batch);
        let mut of_topic = TopicProduceData::default();
        of_topic.name = topic.name.as_str().into();
        of_topic.topic_id = topic.id.into();
        of_topic.partition_data = vec![data];
        let mut request = ProduceRequest::default();
        request.transactional_id = None;
        request.acks = acks.wire();
        request.timeout_ms = self.timeout_ms();
        request.topic_data = vec![of_topic];
        request
    }

    /// Sends one encoded batch. Further batches may be sent before the answer is waited for.
    pub async fn send_batch(
        &self,
        topic: &Topic,
        partition: i32,
        batch: Bytes,
    ) -> Result<PendingProduce, Error> {
        let request = self.produce_request(topic, partition, Acks::All, batch);
        let pending = self.send(&request).await?;
        Ok(PendingProduce {
            pending,
            client: self.clone(),
            topic: topic.name.clone(),
            partition,
        })
    }

    /// Sends one encoded batch and waits until it counts as produced; `None` for [`Acks::None`].
    pub async fn produce(
        &self,
        topic: &Topic,
        partition: i32,
        acks: Acks,
        batch: Bytes,
    ) -> Result<Option<Produced>, Error> {
        let request = self.produce_request(topic, partition, acks, batch);
        if acks == Acks::None {
            let (call, body) = self.encode(&request)?;
            self.connection().send_without_reply(call, body).await?;
            return Ok(None);
        }
        let answer = self.call(&request).await?;
        self.produced(&answer, &topic.name, partition).map(Some)
    }

    /// Reads the outcome of a request for one batch.
    pub fn produced(
        &self,
        answer: &Answer<ProduceRequest>,
        topic: &str,
        partition: i32,
    ) -> Result<Produced, Error> {
        let of_topic = self.only(answer.read()?.responses, "topics")?;
        let outcome = self.only(of_topic.partition_responses, "partitions")?;
        if outcome.index != partition {
            return Err(self.malformed(format!("partition {} in it", outcome.index)));
        }
        refuse(outcome.error_code, || {
            let reason = outcome.error_message.unwrap_or("no reason given");
            format!("a batch for {topic}-{partition} ({reason})")
        })?;
        Ok(Produced {
            base_offset: outcome.base_offset,
            log_start_offset: outcome.log_start_offset,
        })
    }

    /// Fetches from partitions of one topic, without a fetch session.
    pub async fn fetch(
        &self,
        topic: &Topic,
        from: &[FetchFrom],
        options: &FetchOptions,
    ) -> Result<Vec<Fetched>, Error> {
        let partition = |from: &FetchFrom| {
            let mut partition = FetchPartition::default();
            partition.partition = from.partition;
            partition.current_leader_epoch = -1;
            partition.fetch_offset = from.offset;
            partition.partition_max_bytes = options.partition_max_bytes;
            partition
        };
        let mut of_topic = FetchTopic::default();
        of_topic.topic = topic.name.as_str().into();
        of_topic.topic_id = topic.id.into();
        of_topic.partitions = from.iter().map(partition).collect();
        let mut request = FetchRequest::default();
        request.max_wait_ms = milliseconds(options.max_wait);
        request.min_bytes = options.min_bytes;
        request.max_bytes = options.max_bytes;
        request.session_epoch = NO_SESSION;
        request.topics = vec![of_topic];
        let answer = self.call(&request).await?;
        self.fetched(&answer, topic, from)
    }

    /// What an answer brought: each partition at most once, and only those asked for.
    fn fetched(
        &self,
        answer: &Answer<FetchRequest>,
        topic: &Topic,
        from: &[FetchFrom],
    ) -> Result<Vec<Fetched>, Error> {
        let view = answer.read()?;
        refuse(view.error_code, || {
            format!("a fetch from topic {}", topic.name)
        })?;
        let mut asked: BTreeSet<_> = from.iter().map(|from| from.partition).collect();
        let mut fetched = Vec::with_capacity(from.len());
        let topics = view.responses.into_iter();
        for data in topics.flat_map(|topic| topic.partitions) {
            let partition = data.partition_index;
            if !asked.remove(&partition) {
                return Err(self.malformed(format!("partition {partition} in it")));
            }
            fetched.push(fetched_of(answer, data));
        }
        Ok(fetched)
    }

    /// An offset of one partition; `None` when no record is that late.
    pub async fn list_offset(
        &self,
        topic: &Topic,
        partition: i32,
        of: OffsetOf,
    ) -> Result<Option<i64>, Error> {
        let mut asked = ListOffsetsPartition::default();
        asked.partition_index = partition;
        asked.timestamp = of.timestamp();
        let mut of_topic = ListOffsetsTopic::default();
        of_topic.name = topic.name.as_str().into();
        of_topic.partitions = vec![asked];
        let mut request = ListOffsetsRequest::default();
        request.replica_id = -1;
        request.topics = vec![of_topic];
        if self.call_of::<ListOffsetsRequest>()?.api_version >= 10 {
            request.timeout_ms = self.timeout_ms();
        }
        let answer = self.call(&request).await?;
        let of_topic = self.only(answer.read()?.topics, "topics")?;
        let outcome = self.only(of_topic.partitions, "partitions")?;
        refuse(outcome.error_code, || {
            format!("an offset of {}-{partition}", topic.name)
        })?;
        Ok((outcome.offset >= 0).then_some(outcome.offset))
    }

    /// A new identity for an idempotent producer.
    pub async fn init_producer_id(&self) -> Result<ProducerIdentity, Error> {
        let mut request = InitProducerIdRequest::default();
        request.transactional_id = None;
        request.transaction_timeout_ms = self.timeout_ms();
        let answer = self.call(&request).await?;
        let answer = answer.read()?;
        refuse(answer.error_code, || "a producer id".to_owned())?;
        Ok(ProducerIdentity {
            id: ProducerId(answer.producer_id),
            epoch: ProducerEpoch(answer.producer_epoch),
        })
    }

    /// The one element that an answer about one thing has.
    pub(crate) fn only<'a, T: Read<'a>>(
        &self,
        elements: Array<'a, T>,
        what: &str,
    ) -> Result<T, Error> {
        let only = elements.into_iter().next().filter(|_| elements.len() == 1);
        only.ok_or_else(|| self.malformed(format!("{} {what} in place of 1", elements.len())))
    }
}

/// The session epoch of a fetch that neither has nor wants a session (KIP-227).
const NO_SESSION: i32 = -1;

fn fetched_of(answer: &Answer<FetchRequest>, data: PartitionData<'_>) -> Fetched {
    Fetched {
        partition: data.partition_index,
        error: ErrorCode::from_code(data.error_code).unwrap_or(ErrorCode::UnknownServerError),
        high_watermark: data.high_watermark,
        log_start_offset: data.log_start_offset,
        records: answer.share(data.records.unwrap_or_default()),
    }
}
