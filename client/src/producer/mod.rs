//! Producing: records go into batches, batches to the leaders of their partitions, each record's
//! fate to whoever waits for it.
//!
//! What always holds, with the defaults: a record that was delivered is stored once, on every in-sync
//! replica, behind those of its partition that were sent before it; one that was given up says whether
//! it may be stored. Records that wait take at most [`ProducerOptions::buffer_bytes_max`].

mod batch;
mod buffers;
mod core;
mod delivery;
mod lane;
mod options;
mod partitioner;
mod queue;
mod record;
mod reports;
mod request;
mod sender;
mod split;
mod verdict;

use std::sync::Arc;

use millrace_host::Mono;
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::records;
use tokio::sync::{SemaphorePermit, TryAcquireError};

use self::core::{Core, Unplaced};
use crate::cluster::Cluster;
use crate::{Acks, Error};
pub use delivery::{Delivered, Delivery};
use lane::{BATCH_BYTES_MIN, Entry, Rules};
pub use options::ProducerOptions;
use queue::Queue;
pub use record::Record;
pub use reports::{Report, Reports};
use sender::Shared;

/// A producer. Cheap to clone; with the last clone what isn't delivered is given up: flush before.
#[derive(Clone, Debug)]
pub struct Producer(Arc<Handle>);

#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
    request_bytes_max: usize,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.end();
    }
}

impl Producer {
    /// A producer to a cluster. An error when the options contradict each other.
    pub fn new(cluster: &Cluster, options: &ProducerOptions) -> Result<Self, Error> {
        Self::with_reports(cluster, options, None)
    }

    /// A producer whose records' fates come as a stream, for who sends many and waits for none. An
    /// error when the options contradict each other.
    ///
    /// ```
    /// # mod world { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/documented/world.rs")); }
    /// # use millrace_client::{Producer, ProducerOptions, Record};
    /// # world::run(async |cluster| {
    /// let (producer, mut reports) = Producer::reporting(&cluster, &ProducerOptions::default())?;
    /// for number in 0..10 {
    ///     let record = Record::to("orders").partition(0).value("two teapots").tag(number);
    ///     producer.send(&record).await?;
    /// }
    /// for number in 0..10 {
    ///     let report = reports.next().await.expect("the producer lives");
    ///     assert_eq!(report.tag, number);
    ///     assert_eq!(report.result?.offset, Some(number as i64));
    /// }
    /// drop(producer);
    /// assert!(reports.next().await.is_none());
    /// # Ok(()) });
    /// ```
    pub fn reporting(
        cluster: &Cluster,
        options: &ProducerOptions,
    ) -> Result<(Self, Reports), Error> {
        let queue = Arc::new(Queue::default());
        let producer = Self::with_reports(cluster, options, Some(Arc::clone(&queue)))?;
        let reports = Reports::new(queue, &producer.0.shared);
        Ok((producer, reports))
    }

    fn with_reports(
        cluster: &Cluster,
        options: &ProducerOptions,
        reports: Option<Arc<Queue>>,
    ) -> Result<Self, Error> {
        check(options)?;
        let idempotent = options.idempotent;
        let rules = Rules {
            idempotent,
            linger: options.linger,
            batch_bytes: options.batch_bytes,
            request_bytes_max: options.request_bytes_max,
            delivery_timeout: options.delivery_timeout,
            batch: records::Options {
                codec: options.codec,
                level: options.level,
                ..records::Options::default()
            },
        };
        let shared = Shared::new(
            cluster.clone(),
            Core::new(rules, options.buffer_bytes_max, reports),
            options.acks,
            options.delivery_timeout,
            options.buffer_bytes_max,
        );
        shared.start();
        Ok(Self(Arc::new(Handle {
            shared,
            request_bytes_max: options.request_bytes_max,
        })))
    }

    /// Takes a record in. Waits while the buffer is full, and the first time for what is known of the
    /// topic. Records sent one after the other to one partition are stored in that order.
    pub async fn send(&self, record: &Record<'_>) -> Result<Delivery, Error> {
        let shared = &self.0.shared;
        let now = shared.cluster.host().clock.now();
        let (mut mono, entry) = (now.mono, record.entry(now.wall_ms));
        let bytes = entry.bytes_max();
        let limit = self.0.request_bytes_max;
        if bytes + BATCH_BYTES_MIN > limit {
            return Err(Error::TooLarge {
                what: format!("a record for topic {}", record.topic),
                bytes: bytes + BATCH_BYTES_MIN,
                limit,
            });
        }
        let room = match shared.room.try_acquire_many(permits(bytes)) {
            Ok(room) => room,
            Err(TryAcquireError::Closed) => return Err(Error::Closed),
            Err(TryAcquireError::NoPermits) => {
                let room = self.wait_for_room(record.topic, bytes).await?;
                mono = self.now();
                room
            }
        };
        let delivery = match self.place(mono, record, &entry) {
            Err(Unplaced::UnknownTopic | Unplaced::NoPartition(_)) => {
                self.learn(record.topic).await?;
                self.place(self.now(), record, &entry)
            }
            placed => placed,
        };
        let delivery = delivery.map_err(|unplaced| match unplaced {
            Unplaced::Closed => Error::Closed,
            Unplaced::UnknownTopic => no_partition(record, 0),
            Unplaced::NoPartition(partitions) => no_partition(record, partitions),
        })?;
        // Given back when the record was told of.
        room.forget();
        Ok(delivery)
    }

    /// Sends all that waits without waiting for more, and returns once each of those records was
    /// delivered or given up. Their fates are for those who hold their deliveries.
    pub async fn flush(&self) {
        let shared = &self.0.shared;
        let (fates, leaders) = {
            let mut core = shared.core();
            (core.flush(), core.leaders())
        };
        shared.serve(leaders.into_iter());
        for fate in fates {
            fate.settled().await;
        }
    }

    fn now(&self) -> Mono {
        self.0.shared.cluster.host().clock.now().mono
    }

    /// `now` was read by whoever calls: reading clocks is a good part of what a small record takes.
    fn place(
        &self,
        now: Mono,
        record: &Record<'_>,
        entry: &Entry<'_>,
    ) -> Result<Delivery, Unplaced> {
        let shared = &self.0.shared;
        let rng = &*shared.cluster.host().rng;
        let mut core = shared.core();
        let placed = core.place(now, record.topic, record.partition, entry, rng)?;
        drop(core);
        if let Some(broker) = placed.wakes {
            shared.wake(broker);
        }
        Ok(placed.delivery)
    }

    /// Asks what is known of a topic.
    async fn learn(&self, topic: &str) -> Result<(), Error> {
        let shared = &self.0.shared;
        let known = shared.core().knows(topic);
        if known {
            // It has fewer partitions than the record asks for, as far as we know.
            let generation = shared.cluster.metadata().generation;
            shared.cluster.refresh(generation).await?;
        }
        let about = shared
            .cluster
            .topic_within(topic, shared.delivery_timeout)
            .await?;
        let image = shared.cluster.metadata();
        shared.core().learn(&image, Some(&about));
        shared.serve(image.brokers.keys().copied());
        Ok(())
    }

    async fn wait_for_room(&self, topic: &str, bytes: usize) -> Result<SemaphorePermit<'_>, Error> {
        let shared = &self.0.shared;
        let clock = &shared.cluster.host().clock;
        let deadline = clock.now().mono + shared.delivery_timeout;
        tokio::select! {
            biased;
            room = shared.room.acquire_many(permits(bytes)) => room.map_err(|_| Error::Closed),
            () = clock.sleep_until(deadline) => Err(Error::Undelivered {
                partition: topic.to_owned(),
                may_be_stored: false,
                reason: format!("the producer's buffer stayed full for {:?}", shared.delivery_timeout),
            }),
        }
    }
}

fn permits(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

fn no_partition(record: &Record<'_>, partitions: usize) -> Error {
    Error::Broker {
        what: format!(
            "a record for {}-{}: the topic has {partitions} partitions",
            record.topic,
            record.partition.unwrap_or(0)
        ),
        code: ErrorCode::UnknownTopicOrPartition,
    }
}

/// Options that can't be followed together.
fn check(options: &ProducerOptions) -> Result<(), Error> {
    let refuse = |reason: &str| {
        Err(Error::Options {
            reason: reason.to_owned(),
        })
    };
    if options.idempotent && options.acks != Acks::All {
        return refuse("an idempotent producer takes acks=all: choose it, or idempotent: false");
    }
    if options.request_bytes_max <= BATCH_BYTES_MIN {
        return refuse("request_bytes_max leaves no room for a record");
    }
    if options.request_bytes_max > options.buffer_bytes_max {
        return refuse("buffer_bytes_max can't hold one record of request_bytes_max");
    }
    if !options.codec.is_written() {
        return refuse("this program was built without the feature zstd: choose another codec");
    }
    // A semaphore's permits are taken by 32-bit numbers.
    if options.request_bytes_max > 1 << 30 {
        return refuse("request_bytes_max is above 1 GiB, the most that a batch can say");
    }
    Ok(())
}
