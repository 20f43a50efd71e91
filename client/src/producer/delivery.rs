//! What became of a record.
//!
//! What always holds: every record of a batch has the batch's fate, told once, or that of the half that
//! it went into; whoever waits hears it, before or after it was told. A record costs a count of
//! references, nothing more.

use std::sync::{Arc, OnceLock};

use tokio::sync::Notify;

use crate::Error;

/// Where a record was stored.
///
/// ```
/// # mod world { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/documented/world.rs")); }
/// # use millrace_client::{Producer, ProducerOptions, Record};
/// # world::run(async |cluster| {
/// let producer = Producer::new(&cluster, &ProducerOptions::default())?;
/// let record = Record::to("orders").partition(1).value("two teapots");
/// let delivered = producer.send(&record).await?.wait().await?;
/// assert_eq!((&*delivered.topic, delivered.partition, delivered.offset), ("orders", 1, Some(0)));
/// # Ok(()) });
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// Its topic.
    pub topic: Arc<str>,
    /// Its partition.
    pub partition: i32,
    /// Its offset; `None` when nobody tells: with [`Acks::None`], or when a retry found the record
    /// stored by an attempt that the broker no longer knows the offset of.
    ///
    /// [`Acks::None`]: crate::Acks::None
    pub offset: Option<i64>,
}

/// A record on its way. Dropping it changes nothing for the record.
///
/// ```
/// # mod world { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/documented/world.rs")); }
/// # use millrace_client::{Producer, ProducerOptions, Record};
/// # world::run(async |cluster| {
/// let producer = Producer::new(&cluster, &ProducerOptions::default())?;
/// let mut deliveries = Vec::new();
/// for value in ["two teapots", "a spoon"] {
///     deliveries.push(producer.send(&Record::to("orders").value(value)).await?);
/// }
/// for delivery in deliveries {
///     delivery.wait().await?;
/// }
/// # Ok(()) });
/// ```
#[derive(Debug)]
pub struct Delivery {
    fate: Arc<Fate>,
    index: i64,
}

impl Delivery {
    pub(super) fn new(fate: &Arc<Fate>, index: usize) -> Self {
        Self {
            fate: Arc::clone(fate),
            index: i64::try_from(index).expect("a batch has at most 2^31 records"),
        }
    }

    /// Waits until the record was stored as safely as the producer's acks ask, or was given up.
    pub async fn wait(self) -> Result<Delivered, Error> {
        let (mut fate, mut index) = (self.fate, self.index);
        loop {
            let next = match fate.wait().await {
                End::Told(result) => {
                    let base_offset = result.clone()?;
                    return Ok(Delivered {
                        topic: Arc::clone(&fate.topic),
                        partition: fate.partition,
                        offset: base_offset.map(|base| base + index),
                    });
                }
                End::Split(at, [first, _]) if index < *at => Arc::clone(first),
                End::Split(at, [_, second]) => {
                    index -= at;
                    Arc::clone(second)
                }
            };
            fate = next;
        }
    }
}

/// What becomes of the records of one batch.
#[derive(Debug)]
pub(super) struct Fate {
    pub(super) topic: Arc<str>,
    pub(super) partition: i32,
    end: OnceLock<End>,
    told: Notify,
}

/// How a batch ended.
#[derive(Debug)]
pub(super) enum End {
    /// Its first record's offset, if it is known, or why it was given up.
    Told(Result<Option<i64>, Error>),
    /// It was cut in two behind so many records.
    Split(i64, [Arc<Fate>; 2]),
}

impl Fate {
    pub(super) fn new(topic: &Arc<str>, partition: i32) -> Arc<Self> {
        Arc::new(Self {
            topic: Arc::clone(topic),
            partition,
            end: OnceLock::new(),
            told: Notify::new(),
        })
    }

    /// Waits until it is told.
    async fn wait(&self) -> &End {
        loop {
            // Before the look, so that what is told between the two is heard.
            let told = self.told.notified();
            if let Some(end) = self.end.get() {
                return end;
            }
            told.await;
        }
    }

    /// Waits until all of its records are told of.
    pub(super) async fn settled(self: Arc<Self>) {
        let mut open = vec![self];
        while let Some(fate) = open.pop() {
            if let End::Split(_, halves) = fate.wait().await {
                open.extend(halves.iter().map(Arc::clone));
            }
        }
    }

    /// Cuts it in two behind so many records.
    pub(super) fn split(&self, at: usize) -> [Arc<Self>; 2] {
        let halves = [0, 1].map(|_| Self::new(&self.topic, self.partition));
        let at = i64::try_from(at).expect("a batch has at most 2^31 records");
        self.ends(End::Split(at, halves.clone()));
        halves
    }

    /// Tells it: the first record's offset, if it is known, or why there is none.
    pub(super) fn tell(&self, result: Result<Option<i64>, Error>) {
        self.ends(End::Told(result));
    }

    fn ends(&self, end: End) {
        // A fate ends once; a second end would be of a batch that is no longer known.
        drop(self.end.set(end));
        self.told.notify_waiters();
    }
}
