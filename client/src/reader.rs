//! Reading one partition from its first offset to the end it has now, batch by batch.
//!
//! What always holds: every batch given out is whole and has its right checksum, and its last
//! offset lies past that of the batch before.

use std::time::Duration;

use millrace_protocol::records::{Batch, RecordError, batches};

use crate::client::refuse;
use crate::{Client, Error, FetchFrom, FetchOptions, OffsetOf, Topic};

/// Fetches in a row that may bring nothing though the end is not reached.
const EMPTY_FETCHES_MAX: u32 = 20;

/// Reads a partition up to the end that it had when the reader was made.
///
/// ```
/// # mod world { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/documented/world.rs")); }
/// # use millrace_client::{PartitionReader, Producer, ProducerOptions, Record};
/// # world::run(async |cluster| {
/// let producer = Producer::new(&cluster, &ProducerOptions::default())?;
/// let record = Record::to("orders").partition(0).value("two teapots");
/// producer.send(&record).await?.wait().await?;
///
/// let orders = cluster.topic("orders").await?;
/// let leader = orders.partitions[0].leader.expect("somebody leads it");
/// let client = cluster.broker(leader, millrace_client::Use::Fetch).await?;
/// let topic = client.topic("orders").await?;
/// let mut reader = PartitionReader::new(&client, &topic, 0).await?;
/// assert_eq!((reader.start(), reader.end()), (0, 1));
/// assert_eq!(reader.next().await?.len(), 1);
/// assert!(reader.next().await?.is_empty());
/// # Ok(()) });
/// ```
#[derive(Debug)]
pub struct PartitionReader {
    client: Client,
    topic: Topic,
    partition: i32,
    start: i64,
    next: i64,
    end: i64,
    options: FetchOptions,
}

impl PartitionReader {
    /// A reader of everything that a consumer may see of the partition now.
    pub async fn new(client: &Client, topic: &Topic, partition: i32) -> Result<Self, Error> {
        let none = || client.malformed(format!("{}-{partition} has no bounds", topic.name));
        let start = client
            .list_offset(topic, partition, OffsetOf::Start)
            .await?
            .ok_or_else(none)?;
        let end = client
            .list_offset(topic, partition, OffsetOf::End)
            .await?
            .ok_or_else(none)?;
        let options = FetchOptions {
            max_wait: Duration::from_millis(500),
            min_bytes: 1,
            max_bytes: 8 * 1024 * 1024,
            partition_max_bytes: 8 * 1024 * 1024,
        };
        let topic = topic.clone();
        Ok(Self {
            client: client.clone(),
            topic,
            partition,
            start,
            next: start,
            end,
            options,
        })
    }

    /// The same reader, beginning at a later offset.
    #[must_use]
    pub fn skip_to(mut self, offset: i64) -> Self {
        self.next = self.next.max(offset);
        self
    }

    /// First offset of the partition.
    pub fn start(&self) -> i64 {
        self.start
    }

    /// One past the last offset that will be read.
    pub fn end(&self) -> i64 {
        self.end
    }

    /// The next batches, in order; none at the end.
    pub async fn next(&mut self) -> Result<Vec<Batch>, Error> {
        for _ in 0..EMPTY_FETCHES_MAX {
            if self.next >= self.end {
                return Ok(Vec::new());
            }
            let from = FetchFrom {
                partition: self.partition,
                offset: self.next,
            };
            let fetched = self
                .client
                .fetch(&self.topic, &[from], &self.options)
                .await?;
            let [of_partition] = fetched.as_slice() else {
                return Err(self.broken(&format!("{} partitions", fetched.len())));
            };
            let what = || format!("to fetch {}-{}", self.topic.name, self.partition);
            refuse(of_partition.error.code(), what)?;
            let whole = self.whole(of_partition.records.clone())?;
            if let Some(last) = whole.last() {
                self.next = last.header.last_offset() + 1;
                return Ok(whole);
            }
        }
        Err(self.broken("nothing comes although the end is not reached"))
    }

    fn whole(&self, records: bytes::Bytes) -> Result<Vec<Batch>, Error> {
        let mut whole = Vec::new();
        let mut past = self.next;
        for batch in batches(records) {
            let batch = match batch {
                Ok(batch) => batch,
                // A fetch may end inside a batch.
                Err(RecordError::Truncated { .. }) => break,
                Err(error) => return Err(self.broken(&error.to_string())),
            };
            batch
                .verify_crc()
                .map_err(|error| self.broken(&error.to_string()))?;
            if batch.header.last_offset() < past {
                return Err(self.broken("a batch lies before the one that came earlier"));
            }
            past = batch.header.last_offset() + 1;
            whole.push(batch);
        }
        Ok(whole)
    }

    fn broken(&self, reason: &str) -> Error {
        let Self {
            topic,
            partition,
            next,
            ..
        } = self;
        self.client.malformed(format!(
            "{}-{partition} from offset {next}: {reason}",
            topic.name
        ))
    }
}
