//! What a fetch brought of one partition, as the application gets it.
//!
//! What always holds: whole batches in order of their offsets; none below the position they were
//! fetched for but in the first batch, whose earlier records aren't shown; no control batch, and for a
//! reader of committed records none of an aborted transaction.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use millrace_protocol::records::{
    Batch, Marker, Record, RecordError, Scratch, TransactionEnd, batches, record_iter,
};

use crate::Error;

/// The most that one batch may hold once it is decompressed.
const INFLATED_BYTES_MAX: usize = 128 * 1024 * 1024;

/// Batches of one partition.
///
/// ```
/// # mod world { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/documented/world.rs")); }
/// # use millrace_client::{Consumer, ConsumerOptions, OffsetOf, OffsetOrFind, Producer, ProducerOptions, Record};
/// # world::run(async |cluster| {
/// let producer = Producer::new(&cluster, &ProducerOptions::default())?;
/// let record = Record::to("orders").partition(0).value("two teapots");
/// producer.send(&record).await?.wait().await?;
/// let consumer = Consumer::new(&cluster, ConsumerOptions::default());
/// let begin = OffsetOrFind::Find(OffsetOf::Start);
/// consumer.assign([("orders", 0, begin)]).await?;
///
/// let records = consumer.next().await?;
/// assert_eq!((records.topic(), records.partition(), records.next_offset()), ("orders", 0, 1));
/// assert_eq!(records.batches()[0].header.record_count, 1);
/// # Ok(()) });
/// ```
#[derive(Clone, Debug)]
pub struct Records {
    pub(super) topic: Arc<str>,
    pub(super) partition: i32,
    pub(super) from: i64,
    next: i64,
    leader_epoch: i32,
    high_watermark: i64,
    bytes: usize,
    batches: Vec<Batch>,
}

/// A transaction that was aborted: its producer, and its first offset in the partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Aborted {
    pub(super) producer_id: i64,
    pub(super) first_offset: i64,
}

/// An answer about one partition, to be read.
#[derive(Debug)]
pub(super) struct Raw {
    pub(super) topic: Arc<str>,
    pub(super) partition: i32,
    /// The offset that was asked for.
    pub(super) from: i64,
    pub(super) high_watermark: i64,
    pub(super) records: Bytes,
    /// For a reader of committed records.
    pub(super) aborted: Option<Vec<Aborted>>,
    pub(super) check_crcs: bool,
}

impl Records {
    /// Reads an answer. `None` when there is no whole batch in it.
    pub(super) fn read(raw: Raw) -> Result<Option<Self>, RecordError> {
        let Raw {
            topic,
            partition,
            from,
            high_watermark,
            records,
            aborted,
            check_crcs,
        } = raw;
        let mut sieve = aborted.map(Sieve::new);
        let mut fetched = Self {
            topic,
            partition,
            from,
            next: from,
            leader_epoch: -1,
            high_watermark,
            bytes: records.len(),
            batches: Vec::new(),
        };
        for batch in batches(records) {
            let batch = match batch {
                Ok(batch) => batch,
                // An answer may end inside a batch.
                Err(RecordError::Truncated { .. }) => break,
                Err(error) => return Err(error),
            };
            if check_crcs {
                batch.verify_crc()?;
            }
            let end = batch.header.last_offset() + 1;
            if end <= fetched.next {
                continue;
            }
            fetched.next = end;
            fetched.leader_epoch = batch.header.partition_leader_epoch;
            let shown = match &mut sieve {
                None => !batch.header.is_control(),
                Some(sieve) => sieve.shows(&batch)?,
            };
            if shown {
                fetched.batches.push(batch);
            }
        }
        Ok((fetched.next > from).then_some(fetched))
    }

    /// The topic.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The partition.
    pub fn partition(&self) -> i32 {
        self.partition
    }

    /// The offset behind all of it: what to commit once it is processed.
    pub fn next_offset(&self) -> i64 {
        self.next
    }

    /// The leader's epoch in which the last of it was written; -1 from a broker that does not say.
    pub fn leader_epoch(&self) -> i32 {
        self.leader_epoch
    }

    /// One past the last offset that a consumer could see when it was fetched.
    pub fn high_watermark(&self) -> i64 {
        self.high_watermark
    }

    /// The batches, each a slice of what was received.
    pub fn batches(&self) -> &[Batch] {
        &self.batches
    }

    /// What it holds of the memory for fetching ahead.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Shows each record where it lies; `scratch` is used again for each compressed batch.
    pub fn read_records(
        &self,
        scratch: &mut Scratch,
        mut each: impl FnMut(&Record<'_>),
    ) -> Result<(), Error> {
        for batch in &self.batches {
            let broken = |error: RecordError| self.broken(batch.header.base_offset, &error);
            for record in record_iter(batch, scratch).map_err(broken)? {
                let record = record.map_err(broken)?;
                if record.offset >= self.from {
                    each(&record);
                }
            }
        }
        Ok(())
    }

    /// What to say of a batch that can't be read.
    pub(super) fn broken(&self, base_offset: i64, error: &RecordError) -> Error {
        Error::Malformed {
            address: format!("{}-{}", self.topic, self.partition),
            reason: format!("batch at offset {base_offset}: {error}"),
        }
    }

    /// Memory for [`Records::read_records`].
    pub fn scratch() -> Scratch {
        Scratch::new(INFLATED_BYTES_MAX)
    }
}

/// Leaves out aborted transactions as their consumers do (KIP-98).
#[derive(Debug)]
struct Sieve {
    /// Those that begin later, the next one last.
    coming: Vec<Aborted>,
    /// Producers whose transaction is aborted up to here.
    aborted: BTreeSet<i64>,
    scratch: Scratch,
}

impl Sieve {
    fn new(mut coming: Vec<Aborted>) -> Self {
        coming.sort_by_key(|aborted| std::cmp::Reverse(aborted.first_offset));
        Self {
            coming,
            aborted: BTreeSet::new(),
            scratch: Scratch::new(INFLATED_BYTES_MAX),
        }
    }

    fn shows(&mut self, batch: &Batch) -> Result<bool, RecordError> {
        let last = batch.header.last_offset();
        while let Some(begins) = self.coming.pop_if(|next| next.first_offset <= last) {
            self.aborted.insert(begins.producer_id);
        }
        let producer_id = batch.header.producer_id;
        if batch.header.is_control() {
            let marker = Marker::of_batch(batch, &mut self.scratch)?;
            if marker.is_some_and(|marker| marker.end == TransactionEnd::Abort) {
                self.aborted.remove(&producer_id);
            }
            return Ok(false);
        }
        Ok(!(batch.header.is_transactional() && self.aborted.contains(&producer_id)))
    }
}

#[cfg(test)]
mod tests {
    use millrace_protocol::records::{BatchBuilder, Options};

    use super::*;

    fn batch(base_offset: i64, values: &[&str], producer: Option<i64>) -> Bytes {
        let mut builder = BatchBuilder::new(Options {
            base_offset,
            producer: producer.map(|id| (id, 0, 0)),
            transactional: producer.is_some(),
            ..Options::default()
        });
        for value in values {
            builder.push(0, None, Some(value.as_bytes()), &[]).unwrap();
        }
        builder.build()
    }

    fn raw(from: i64, records: &[Bytes], aborted: Option<Vec<Aborted>>) -> Raw {
        Raw {
            topic: "t".into(),
            partition: 0,
            from,
            high_watermark: 100,
            records: records.concat().into(),
            aborted,
            check_crcs: true,
        }
    }

    fn shown(fetched: &Records) -> Vec<(i64, String)> {
        let mut shown = Vec::new();
        let mut scratch = Records::scratch();
        let each = |record: &Record<'_>| {
            let value = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
            shown.push((record.offset, value));
        };
        fetched.read_records(&mut scratch, each).unwrap();
        shown
    }

    #[test]
    fn records_below_the_position_are_not_shown_and_a_cut_batch_is_left() {
        let (whole, cut) = (batch(5, &["a", "b", "c"], None), batch(8, &["d"], None));
        let cut = cut.slice(..cut.len() - 1);
        let fetched = Records::read(raw(6, &[whole, cut.clone()], None))
            .unwrap()
            .unwrap();
        assert_eq!(shown(&fetched), [(6, "b".into()), (7, "c".into())]);
        assert_eq!(fetched.next_offset(), 8);
        assert!(Records::read(raw(8, &[cut], None)).unwrap().is_none());
    }

    #[test]
    fn a_wrong_checksum_is_an_error() {
        let mut bytes = batch(0, &["a"], None).to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        let error = Records::read(raw(0, &[bytes.into()], None)).unwrap_err();
        assert!(matches!(error, RecordError::Crc { .. }), "{error}");
    }

    #[test]
    fn a_reader_of_committed_records_sees_no_aborted_transaction() {
        let end = |offset: i64, producer, end| {
            let marker = Marker {
                end,
                coordinator_epoch: 0,
            };
            let mut bytes = marker.batch((producer, 0), 0).to_vec();
            bytes[..8].copy_from_slice(&offset.to_be_bytes());
            Bytes::from(bytes)
        };
        let log = [
            batch(0, &["of 1, aborted"], Some(1)),
            batch(1, &["of nobody"], None),
            batch(2, &["of 2, committed"], Some(2)),
            end(3, 1, TransactionEnd::Abort),
            batch(4, &["of 1, committed"], Some(1)),
            end(5, 1, TransactionEnd::Commit),
            end(6, 2, TransactionEnd::Commit),
        ];
        let aborted = vec![Aborted {
            producer_id: 1,
            first_offset: 0,
        }];
        let committed = Records::read(raw(0, &log, Some(aborted))).unwrap().unwrap();
        let offsets =
            |fetched: &Records| shown(fetched).iter().map(|(at, _)| *at).collect::<Vec<_>>();
        assert_eq!(offsets(&committed), [1, 2, 4]);
        assert_eq!(committed.next_offset(), 7);
        let all = Records::read(raw(0, &log, None)).unwrap().unwrap();
        assert_eq!(offsets(&all), [0, 1, 2, 4]);
    }
}
