//! A topic that is a table: records whose keys come again and again, and what must be left of them.
//!
//! What always holds: the record at an offset is a function of the offset alone, so that reading back
//! holds every byte of what is left against what was written.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use millrace_client::{Client, OffsetOf, PartitionReader, Topic};
use millrace_host::Host;
use millrace_protocol::records::{Batch, BatchBuilder, Options, Scratch, record_iter};

use crate::payload::Noise;
use crate::text;

/// Batches without an answer while a table is written.
const WRITES_AT_ONCE: usize = 64;
/// What was written is visible within this.
const VISIBLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Every record's time: fixed, so that runs are the same bytes.
const TIMESTAMP_MS: i64 = 1_700_000_000_000;
/// Bytes of a key.
const KEY_BYTES: usize = 16;
/// Bytes of a batch's header, and of a record beside key and value at the most.
const OVERHEAD_BYTES: u64 = 61 + 20;
/// No compressed batch is written, so nothing is inflated.
const INFLATED_BYTES_MAX: usize = 1 << 20;

/// How many records of how many keys.
#[derive(Clone, Copy, Debug)]
pub(super) struct TableShape {
    records: u64,
    keys: u64,
    record_bytes: usize,
    batch_records: u64,
}

impl TableShape {
    /// So many bytes of values of so many bytes each; of each record this share is a key.
    pub(super) fn new(
        (bytes, record_bytes): (usize, usize),
        batch_bytes: usize,
        live_share: f64,
    ) -> Self {
        let records = (bytes / record_bytes).max(1) as u64;
        Self {
            records,
            keys: ((records as f64 * live_share) as u64).clamp(1, records),
            record_bytes,
            batch_records: (batch_bytes / record_bytes).max(1) as u64,
        }
    }

    /// The key of the record at an offset: any of them, and the same in every run.
    fn key(self, offset: u64) -> u64 {
        mixed(offset) % self.keys
    }

    /// Fills `value` with what the record at an offset holds.
    fn value(self, offset: u64, value: &mut Vec<u8>) {
        value.resize(self.record_bytes, 0);
        Noise(mixed(offset ^ 0x5bf0_3635) | 1).fill(value);
        value[..8].copy_from_slice(&offset.to_be_bytes());
    }
}

/// Spreads neighbours over all numbers (the finaliser of splitmix64).
fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn key_bytes(key: u64) -> [u8; KEY_BYTES] {
    let mut bytes = *b"key-000000000000";
    let mut rest = key;
    for at in (4..KEY_BYTES).rev() {
        bytes[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    bytes
}

/// A table that was written.
pub(super) struct Table {
    pub(super) topic: Topic,
    shape: TableShape,
    /// By key the offset of its last record plus one; 0 for a key that never came.
    last: Vec<u64>,
    live: u64,
    bytes: u64,
}

impl Table {
    /// Writes it, and waits until all of it is visible.
    pub(super) async fn fill(
        host: &Host,
        client: &Client,
        topic: Topic,
        shape: TableShape,
    ) -> Result<Self, String> {
        let keys = usize::try_from(shape.keys).map_err(text)?;
        let mut table = Self {
            topic,
            shape,
            last: vec![0; keys],
            live: 0,
            bytes: 0,
        };
        let mut sent = VecDeque::new();
        let mut next = 0;
        while next < shape.records {
            if sent.len() == WRITES_AT_ONCE
                && let Some(first) = sent.pop_front()
            {
                acknowledged(first).await?;
            }
            let behind = shape.records.min(next + shape.batch_records);
            let batch = table.batch(next, behind)?;
            let pending = client.send_batch(&table.topic, 0, batch).await;
            sent.push_back((next, pending.map_err(text)?));
            next = behind;
        }
        for pending in sent {
            acknowledged(pending).await?;
        }
        table.live = table.last.iter().filter(|last| **last > 0).count() as u64;
        table.until_visible(host, client).await?;
        Ok(table)
    }

    fn batch(&mut self, from: u64, behind: u64) -> Result<Bytes, String> {
        let mut builder = BatchBuilder::new(Options::default());
        let mut value = Vec::new();
        for offset in from..behind {
            let key = self.shape.key(offset);
            self.last[usize::try_from(key).map_err(text)?] = offset + 1;
            self.shape.value(offset, &mut value);
            let key = key_bytes(key);
            let pushed = builder.push(TIMESTAMP_MS, Some(&key), Some(&value), &[]);
            pushed.map_err(text)?;
        }
        let batch = builder.build();
        self.bytes += batch.len() as u64;
        Ok(batch)
    }

    async fn until_visible(&self, host: &Host, client: &Client) -> Result<(), String> {
        let wanted = i64::try_from(self.shape.records).map_err(text)?;
        let deadline = host.clock.now().mono + VISIBLE_TIMEOUT;
        loop {
            let end = client.list_offset(&self.topic, 0, OffsetOf::End).await;
            let end = end.map_err(text)?;
            if end == Some(wanted) {
                return Ok(());
            }
            let now = host.clock.now().mono;
            if now > deadline {
                return Err(format!("the table ends at {end:?} in place of {wanted}"));
            }
            host.clock.sleep_until(now + LOOK_EVERY).await;
        }
    }

    /// Records that were written.
    pub(super) fn records(&self) -> u64 {
        self.shape.records
    }

    /// Keys that came, each of which must stay.
    pub(super) fn live(&self) -> u64 {
        self.live
    }

    /// What a record takes in the log.
    pub(super) fn bytes_per_record(&self) -> u64 {
        self.bytes / self.shape.records
    }

    /// No more than that is left of what was compacted, even if every batch keeps one record.
    pub(super) fn bytes_once_compacted(&self) -> u64 {
        self.live * (self.bytes_per_record() + OVERHEAD_BYTES)
    }

    /// Reads what is left and holds it against what was written; gives the number of records.
    pub(super) async fn read_back(&self, client: &Client) -> Result<u64, String> {
        let reader = PartitionReader::new(client, &self.topic, 0).await;
        let mut reader = reader.map_err(text)?;
        let mut found = Found {
            table: self,
            last: vec![0; self.last.len()],
            records: 0,
            value: Vec::new(),
        };
        let mut scratch = Scratch::new(INFLATED_BYTES_MAX);
        loop {
            let batches = reader.next().await.map_err(text)?;
            if batches.is_empty() {
                break;
            }
            for batch in batches {
                found.batch(&batch, &mut scratch)?;
            }
        }
        let differs = found.last.iter().zip(&self.last).position(|(a, b)| a != b);
        match differs {
            None => Ok(found.records),
            Some(key) => Err(format!(
                "key {key} ends with the record at {} in place of {}",
                found.last[key] as i64 - 1,
                self.last[key] as i64 - 1
            )),
        }
    }
}

/// What was read so far.
struct Found<'a> {
    table: &'a Table,
    last: Vec<u64>,
    records: u64,
    value: Vec<u8>,
}

impl Found<'_> {
    fn batch(&mut self, batch: &Batch, scratch: &mut Scratch) -> Result<(), String> {
        let shape = self.table.shape;
        for record in record_iter(batch, scratch).map_err(text)? {
            let record = record.map_err(text)?;
            let offset = u64::try_from(record.offset).map_err(text)?;
            let key = shape.key(offset);
            shape.value(offset, &mut self.value);
            let is_ours = record.key == Some(&key_bytes(key)[..])
                && record.value == Some(self.value.as_slice());
            if !is_ours || offset >= shape.records {
                return Err(format!("the record at offset {offset} is another one"));
            }
            let last = &mut self.last[usize::try_from(key).map_err(text)?];
            if *last > offset {
                return Err(format!("the record at offset {offset} comes twice or late"));
            }
            *last = offset + 1;
            self.records += 1;
        }
        Ok(())
    }
}

async fn acknowledged(
    (from, pending): (u64, millrace_client::PendingProduce),
) -> Result<(), String> {
    let produced = pending.wait().await.map_err(text)?;
    if u64::try_from(produced.base_offset) == Ok(from) {
        return Ok(());
    }
    let found = produced.base_offset;
    Err(format!("the batch for offset {from} went to {found}"))
}

#[cfg(test)]
mod tests {
    use millrace_protocol::ids::TopicId;

    use super::*;

    fn table(records: u64, keys: u64) -> Table {
        let shape = TableShape {
            records,
            keys,
            record_bytes: 20,
            batch_records: 4,
        };
        let topic = Topic {
            name: "t".to_owned(),
            id: TopicId::ZERO,
            partitions: 1,
        };
        Table {
            topic,
            shape,
            last: vec![0; keys as usize],
            live: 0,
            bytes: 0,
        }
    }

    fn stored(batch: &[u8], base_offset: u64) -> Batch {
        let mut bytes = batch.to_vec();
        bytes[..8].copy_from_slice(&base_offset.to_be_bytes());
        Batch::parse(bytes.into()).unwrap()
    }

    #[test]
    fn every_record_has_the_place_that_it_was_written_to() {
        let mut table = table(40, 7);
        let batch = table.batch(8, 12).unwrap();
        let mut found = Found {
            table: &table,
            last: vec![0; 7],
            records: 0,
            value: Vec::new(),
        };
        let mut scratch = Scratch::new(1 << 20);
        assert_eq!(found.batch(&stored(&batch, 8), &mut scratch), Ok(()));
        assert_eq!((found.records, &found.last), (4, &table.last));
        // The same again, and the same elsewhere.
        assert!(found.batch(&stored(&batch, 8), &mut scratch).is_err());
        assert!(found.batch(&stored(&batch, 12), &mut scratch).is_err());
    }

    #[test]
    fn keys_are_told_by_their_number() {
        assert_eq!(&key_bytes(0), b"key-000000000000");
        assert_eq!(&key_bytes(123_456), b"key-000000123456");
    }
}
