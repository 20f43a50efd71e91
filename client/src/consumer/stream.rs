//! A consumer's records as streams: by what was fetched, or one by one.
//!
//! What always holds: they give what [`Consumer::next`] gives, in its order; nothing is copied out of
//! what was fetched; an item that is dropped unread is lost to the stream as it would be to a caller.
//! A stream asks for more only once all that it had was taken, so in a group nothing counts as done
//! with before.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_core::Stream;
use futures_core::stream::FusedStream;
use millrace_host::BoxFuture;
use millrace_protocol::records::{Batch, RecordError, Scratch, SharedHeader, SharedRecords};

use super::{Consumer, Records};
use crate::Error;

/// What a consumer fetches, as a stream of [`Records`], each of which shares the bytes that were
/// received. It ends when the consumer is closed.
///
/// ```
/// # mod world { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/documented/world.rs")); }
/// # use millrace_client::{Consumer, ConsumerOptions, OffsetOf, OffsetOrFind, Producer,
/// #     ProducerOptions, Record, Records};
/// # world::run(async |cluster| {
/// # let producer = Producer::new(&cluster, &ProducerOptions::default())?;
/// # producer.send(&Record::to("orders").partition(0).value("two teapots")).await?;
/// # producer.flush().await;
/// let consumer = Consumer::new(&cluster, ConsumerOptions::default());
/// consumer.assign([("orders", 0, OffsetOrFind::Find(OffsetOf::Start))]).await?;
/// let mut stream = consumer.stream();
/// while let Some(records) = stream.next().await {
///     let records = records?;
///     records.read_records(&mut Records::scratch(), |record| {
///         assert_eq!(record.value, Some(&b"two teapots"[..]));
///     })?;
///     consumer.close().await?;
/// }
/// # Ok(()) });
/// ```
pub struct RecordsStream {
    consumer: Consumer,
    asking: Option<BoxFuture<'static, Result<Records, Error>>>,
    ended: bool,
}

/// A record with a share of the bytes that it came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumedRecord {
    /// Its topic.
    pub topic: Arc<str>,
    /// Its partition.
    pub partition: i32,
    /// Its offset in the partition. Behind it lies what to commit once it is processed.
    pub offset: i64,
    /// The leader's epoch in which it was written; -1 from a broker that does not say.
    pub leader_epoch: i32,
    /// Its time, in milliseconds since the Unix epoch.
    pub timestamp_ms: i64,
    /// The key, if any.
    pub key: Option<Bytes>,
    /// The value; none deletes its key from a compacted topic.
    pub value: Option<Bytes>,
    /// The headers, in their order; names may repeat.
    pub headers: Vec<SharedHeader>,
}

/// What a consumer fetches, record by record. It ends when the consumer is closed.
///
/// A record keeps all of the batch that it came in in memory for as long as it lives: copy what is kept
/// for long. A batch that can't be read is told once, and the next one follows.
///
/// ```
/// # mod world { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/documented/world.rs")); }
/// # use millrace_client::{Consumer, ConsumerOptions, OffsetOf, OffsetOrFind, Producer,
/// #     ProducerOptions, Record, Records};
/// # world::run(async |cluster| {
/// # let producer = Producer::new(&cluster, &ProducerOptions::default())?;
/// # for value in ["one", "two", "three"] {
/// #     producer.send(&Record::to("orders").partition(0).value(value)).await?;
/// # }
/// # producer.flush().await;
/// let consumer = Consumer::new(&cluster, ConsumerOptions::default());
/// consumer.assign([("orders", 0, OffsetOrFind::Find(OffsetOf::Start))]).await?;
/// let mut records = consumer.record_stream();
/// for offset in 0..3 {
///     let record = records.next().await.expect("it isn't closed")?;
///     assert_eq!(record.offset, offset);
///     println!("{:?}: {:?}", record.key, record.value);
/// }
/// # Ok(()) });
/// ```
pub struct RecordStream {
    source: RecordsStream,
    scratch: Scratch,
    /// What was fetched last, its batches from this one on, and the records of the one before.
    current: Option<(Records, usize)>,
    open: Option<(SharedRecords, i32)>,
}

impl Consumer {
    /// The same as [`next`](Consumer::next) over and over, as a stream. Several streams and callers of
    /// one consumer share what it fetches. While a stream waits for records, a member of a group asks
    /// for them, also if nobody polls it: drop it when nothing is wanted.
    pub fn stream(&self) -> RecordsStream {
        RecordsStream {
            consumer: self.clone(),
            asking: None,
            ended: false,
        }
    }

    /// The records one by one. What is committed automatically lies behind whole fetches: up to the one
    /// that the stream is at.
    pub fn record_stream(&self) -> RecordStream {
        RecordStream {
            source: self.stream(),
            scratch: Records::scratch(),
            current: None,
            open: None,
        }
    }
}

impl RecordsStream {
    /// The next of them; `None` once the consumer is closed. Cancel-safe.
    pub async fn next(&mut self) -> Option<Result<Records, Error>> {
        std::future::poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }
}

impl Stream for RecordsStream {
    type Item = Result<Records, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let this = &mut *self;
        let asking = this.asking.get_or_insert_with(|| {
            let consumer = this.consumer.clone();
            Box::pin(async move { consumer.next().await })
        });
        let next = ready!(asking.as_mut().poll(context));
        this.asking = None;
        this.ended = matches!(next, Err(Error::Closed));
        Poll::Ready((!this.ended).then_some(next))
    }
}

impl FusedStream for RecordsStream {
    fn is_terminated(&self) -> bool {
        self.ended
    }
}

impl RecordStream {
    /// The next record; `None` once the consumer is closed. Cancel-safe.
    pub async fn next(&mut self) -> Option<Result<ConsumedRecord, Error>> {
        std::future::poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }

    /// The next record of what was fetched already.
    fn at_hand(&mut self) -> Option<Result<ConsumedRecord, Error>> {
        loop {
            let (records, next) = self.current.as_mut()?;
            if let Some((open, leader_epoch)) = &mut self.open {
                match open.next() {
                    Some(Ok(record)) if record.offset < records.from => continue,
                    Some(Ok(record)) => {
                        return Some(Ok(ConsumedRecord {
                            topic: Arc::clone(&records.topic),
                            partition: records.partition,
                            offset: record.offset,
                            leader_epoch: *leader_epoch,
                            timestamp_ms: record.timestamp,
                            key: record.key,
                            value: record.value,
                            headers: record.headers,
                        }));
                    }
                    Some(Err(error)) => return Some(Err(broken(records, *next - 1, &error))),
                    None => self.open = None,
                }
            }
            let Some(batch) = records.batches().get(*next) else {
                self.current = None;
                return None;
            };
            *next += 1;
            match open(batch, &mut self.scratch) {
                Ok(opened) => self.open = Some(opened),
                Err(error) => return Some(Err(broken(records, *next - 1, &error))),
            }
        }
    }
}

fn open(batch: &Batch, scratch: &mut Scratch) -> Result<(SharedRecords, i32), RecordError> {
    let opened = SharedRecords::open(batch, scratch)?;
    Ok((opened, batch.header.partition_leader_epoch))
}

fn broken(records: &Records, batch: usize, error: &RecordError) -> Error {
    let base_offset = records.batches().get(batch).map(|of| of.header.base_offset);
    records.broken(base_offset.unwrap_or(records.from), error)
}

impl Stream for RecordStream {
    type Item = Result<ConsumedRecord, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(record) = self.at_hand() {
                return Poll::Ready(Some(record));
            }
            match ready!(Pin::new(&mut self.source).poll_next(context)) {
                Some(Ok(records)) => self.current = Some((records, 0)),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
    }
}

impl FusedStream for RecordStream {
    fn is_terminated(&self) -> bool {
        self.source.ended && self.current.is_none()
    }
}

impl fmt::Debug for RecordsStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordsStream")
            .field("consumer", &self.consumer)
            .field("asks", &self.asking.is_some())
            .field("ended", &self.ended)
            .finish()
    }
}

impl fmt::Debug for RecordStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordStream")
            .field("source", &self.source)
            .field("current", &self.current)
            .finish_non_exhaustive()
    }
}
