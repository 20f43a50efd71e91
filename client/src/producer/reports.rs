//! What became of records, as a stream.
//!
//! What always holds: each record that was taken in is told of once, those of a partition in the order
//! in which their fates were known. What wasn't read yet holds the records' room in the producer's
//! buffer, so that what waits here is bounded by it; nothing is held once the stream was dropped.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use futures_core::stream::FusedStream;

use super::Delivered;
use super::queue::{Queue, Told};
use super::sender::Shared;
use crate::Error;

/// What became of one record.
///
/// ```
/// # mod world { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/documented/world.rs")); }
/// # use millrace_client::{Producer, ProducerOptions, Record};
/// # world::run(async |cluster| {
/// let (producer, mut reports) = Producer::reporting(&cluster, &ProducerOptions::default())?;
/// producer.send(&Record::to("orders").value("two teapots").tag(42)).await?;
/// let report = reports.next().await.expect("the producer lives");
/// assert_eq!((report.tag, report.result?.offset), (42, Some(0)));
/// # Ok(()) });
/// ```
#[derive(Clone, Debug)]
pub struct Report {
    /// What the record was [tagged](crate::Record::tag) with.
    pub tag: u64,
    /// Where it was stored, or why it was given up.
    pub result: Result<Delivered, Error>,
}

/// What becomes of a producer's records, as a stream beside the [`Delivery`](crate::Delivery) of each:
/// of [`Producer::reporting`](crate::Producer::reporting). It ends behind the last record once the
/// producer was dropped.
///
/// A record holds its room in the buffer until its report was read, so read them while you send.
/// Dropping the stream gives all of that room back, and nothing is reported any more.
///
/// ```
/// # mod world { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/documented/world.rs")); }
/// # use millrace_client::{Producer, ProducerOptions, Record};
/// # world::run(async |cluster| {
/// let (producer, mut reports) = Producer::reporting(&cluster, &ProducerOptions::default())?;
/// for number in 0..10 {
///     producer.send(&Record::to("orders").partition(0).value("two teapots").tag(number)).await?;
/// }
/// producer.flush().await;
/// drop(producer);
/// while let Some(report) = reports.next().await {
///     report.result?;
/// }
/// # Ok(()) });
/// ```
pub struct Reports {
    queue: Arc<Queue>,
    shared: Weak<Shared>,
    /// The batch that is read, and its next record.
    current: Option<(Told, usize)>,
    ended: bool,
}

impl Reports {
    pub(super) fn new(queue: Arc<Queue>, shared: &Arc<Shared>) -> Self {
        Self {
            queue,
            shared: Arc::downgrade(shared),
            current: None,
            ended: false,
        }
    }

    /// The next report; `None` at the end. Cancel-safe.
    pub async fn next(&mut self) -> Option<Report> {
        std::future::poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }

    fn at_hand(&mut self) -> Option<Report> {
        let (told, at) = self.current.as_mut()?;
        let tag = *told.tags.get(*at)?;
        let index = i64::try_from(*at).expect("a batch has at most 2^31 records");
        let result = told.result.clone().map(|base_offset| Delivered {
            topic: Arc::clone(&told.topic),
            partition: told.partition,
            offset: base_offset.map(|base| base + index),
        });
        *at += 1;
        if *at == told.tags.len() {
            let bytes = told.bytes;
            self.current = None;
            self.give_back(bytes);
        }
        Some(Report { tag, result })
    }

    fn give_back(&self, bytes: usize) {
        if let Some(shared) = self.shared.upgrade() {
            shared.room.add_permits(bytes);
        }
    }
}

impl Stream for Reports {
    type Item = Report;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Report>> {
        loop {
            if let Some(report) = self.at_hand() {
                return Poll::Ready(Some(report));
            }
            let next = ready!(self.queue.poll_next(context));
            if next.is_none() {
                self.ended = true;
                return Poll::Ready(None);
            }
            self.current = next.map(|told| (told, 0));
        }
    }
}

impl FusedStream for Reports {
    fn is_terminated(&self) -> bool {
        self.ended
    }
}

impl Drop for Reports {
    fn drop(&mut self) {
        let left = self.queue.close();
        let current = self.current.take().map(|(told, _)| told);
        let bytes = left.into_iter().chain(current).map(|told| told.bytes);
        self.give_back(bytes.sum());
    }
}

impl fmt::Debug for Reports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reports")
            .field("waiting", &self.queue.len())
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}
