//! Consuming: the partitions assigned are read ahead, and given to the application batch by batch.
//!
//! What always holds: of a partition the application gets every record that it may see, in order, from
//! where it began until it seeks; what was fetched ahead takes at most
//! [`ConsumerOptions::prefetch_bytes_max`] and one batch.

mod asking;
mod core;
mod fetcher;
mod fetching;
mod grouped;
mod locating;
mod options;
mod reading;
mod records;
mod session;
mod stream;

use std::collections::BTreeMap;
use std::sync::Arc;

use millrace_protocol::error_code::ErrorCode;

use crate::Error;
use crate::cluster::{Cluster, Follower};
pub use asking::Membership;
pub(crate) use core::Start;
pub(crate) use fetcher::Shared;
pub use options::{ConsumerOptions, Isolation, Reset};
pub use reading::OffsetOrFind;
use reading::Reading;
pub(crate) use reading::{Key, Position};
pub use records::Records;
pub use stream::{ConsumedRecord, RecordStream, RecordsStream};

/// A consumer, of partitions that it is told or of its share in a group. Cheap to clone; it ends with
/// the last clone, in a group without saying so: [close](Consumer::close) it.
///
/// ```
/// # mod world { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/documented/world.rs")); }
/// # use millrace_client::{Consumer, ConsumerOptions, OffsetOf, OffsetOrFind, Producer, ProducerOptions, Record, Records};
/// # world::run(async |cluster| {
/// let producer = Producer::new(&cluster, &ProducerOptions::default())?;
/// let record = Record::to("orders").partition(0).value("two teapots");
/// producer.send(&record).await?.wait().await?;
///
/// let consumer = Consumer::new(&cluster, ConsumerOptions::default());
/// let begin = OffsetOrFind::Find(OffsetOf::Start);
/// consumer.assign([("orders", 0, begin)]).await?;
/// let records = consumer.next().await?;
/// let mut values = Vec::new();
/// records.read_records(&mut Records::scratch(), |record| {
///     values.push(record.value.map(<[u8]>::to_vec));
/// })?;
/// assert_eq!(values, [Some(b"two teapots".to_vec())]);
/// # Ok(()) });
/// ```
#[derive(Clone, Debug)]
pub struct Consumer(Arc<Handle>);

#[derive(Debug)]
struct Handle(Arc<Shared>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl Consumer {
    /// A consumer of a cluster that is no member of a group, with nothing assigned.
    pub fn new(cluster: &Cluster, options: ConsumerOptions) -> Self {
        Self(Arc::new(Handle(Shared::start(
            cluster.clone(),
            options,
            None,
        ))))
    }

    /// Reads these partitions and no others from now on. One that is read already goes on where it is.
    /// An error when one of them isn't there; then nothing changes.
    pub async fn assign<'a>(
        &self,
        partitions: impl IntoIterator<Item = (&'a str, i32, OffsetOrFind)>,
    ) -> Result<(), Error> {
        let shared = &self.0.0;
        if shared.group.is_some() {
            return Err(Error::Options {
                reason:
                    "a member of a group reads what the group assigns: make a consumer of its own"
                        .to_owned(),
            });
        }
        let mut wanted = BTreeMap::new();
        for (topic, partition, start) in partitions {
            let about = shared.cluster.topic(topic).await?;
            if about.partition(partition).is_none() {
                return Err(Error::Broker {
                    what: format!(
                        "to assign {topic}-{partition}: the topic has {} partitions",
                        about.partitions.len()
                    ),
                    code: ErrorCode::UnknownTopicOrPartition,
                });
            }
            wanted.insert((Arc::clone(&about.name), partition), start);
        }
        shared.core().assign(wanted, &shared.options);
        shared.lead(&shared.cluster.metadata());
        Ok(())
    }

    /// Waits for records, or for why a partition can't be read on; that is told once, the others go on.
    /// Cancel-safe.
    ///
    /// In a group, asking says that what was given before is done with, by all clones: it may be
    /// committed, and its partition may be given to another member. One that isn't asked for longer
    /// than [`poll_interval_max`](crate::GroupOptions::poll_interval_max) leaves the group. What ends
    /// the membership for good (another member under the same name, no authorisation) is told each
    /// time.
    pub async fn next(&self) -> Result<Records, Error> {
        let shared = &self.0.0;
        let _asking = grouped::Asks::begin(shared);
        loop {
            // Before the look, so that what comes between the two is heard.
            let news = shared.news.notified();
            let taken = shared.core().take();
            if let Some(taken) = taken {
                shared.wake();
                // Another clone may wait for what is left.
                shared.news.notify_one();
                return taken;
            }
            news.await;
        }
    }

    /// Goes on elsewhere in a partition; what was fetched ahead of it is thrown away. An error when it
    /// is not assigned.
    pub fn seek(&self, topic: &str, partition: i32, to: OffsetOrFind) -> Result<(), Error> {
        let shared = &self.0.0;
        if !shared.core().seek(&key(topic, partition), to) {
            return Err(not_assigned(topic, partition));
        }
        shared.wake();
        Ok(())
    }

    /// Gives out nothing of a partition until it is resumed. An error when it is not assigned.
    pub fn pause(&self, topic: &str, partition: i32) -> Result<(), Error> {
        self.with(topic, partition, |reading| reading.paused = true)
    }

    /// Goes on with a partition that was paused. An error when it is not assigned.
    pub fn resume(&self, topic: &str, partition: i32) -> Result<(), Error> {
        self.with(topic, partition, |reading| reading.paused = false)?;
        self.0.0.wake();
        self.0.0.news.notify_one();
        Ok(())
    }

    /// The offset of what comes next of a partition; `None` while it isn't known yet. An error when it
    /// is not assigned.
    pub fn position(&self, topic: &str, partition: i32) -> Result<Option<i64>, Error> {
        self.with(topic, partition, |reading| reading.position())
    }

    fn with<T>(
        &self,
        topic: &str,
        partition: i32,
        change: impl FnOnce(&mut Reading) -> T,
    ) -> Result<T, Error> {
        let mut core = self.0.0.core();
        let reading = core.reading(&key(topic, partition));
        reading
            .map(change)
            .ok_or_else(|| not_assigned(topic, partition))
    }
}

fn key(topic: &str, partition: i32) -> Key {
    (topic.into(), partition)
}

fn not_assigned(topic: &str, partition: i32) -> Error {
    Error::Options {
        reason: format!("{topic}-{partition} is not assigned: assign it first"),
    }
}
