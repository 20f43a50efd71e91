//! The first pass of a round: the latest offset of each key in what is not clean yet.
//!
//! Always: the map's end is such that every key of a record that counts, from the first dirty offset
//! up to there, is in it.

use millrace_probe::{Bug, planted};
use millrace_protocol::records::{Batch, Scratch, record_iter};

use super::Uncleanable;
use super::key_map::{KeyMap, MapLimits};
use super::transactions::{AbortedTransaction, Transactions};

/// Whether there is room for more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Go on with the next batch.
    More,
    /// The map is full, or the range is at its end: go on with the second pass.
    Full,
}

/// Reads batches in order and fills a map.
#[derive(Debug)]
pub struct Mapping {
    map: KeyMap,
    from: i64,
    upto: i64,
    transactions: Transactions,
    scratch: Scratch,
    progress: Progress,
}

impl Mapping {
    /// To map the keys of `from..upto`, with a map of these limits under a `secret` of its own. `aborted` are
    /// the range's aborted transactions, `inflated_bytes_max` caps a batch's content.
    pub fn new(
        (from, upto): (i64, i64),
        limits: MapLimits,
        secret: (u64, u64),
        aborted: Vec<AbortedTransaction>,
        inflated_bytes_max: usize,
    ) -> Self {
        let offsets = u64::try_from(upto.saturating_sub(from)).unwrap_or(0);
        let mut map = KeyMap::new(limits, offsets, secret);
        map.set_end(from);
        Self {
            map,
            from,
            upto,
            transactions: Transactions::new(aborted),
            scratch: Scratch::new(inflated_bytes_max),
            progress: Progress::More,
        }
    }

    /// Bytes that its map takes.
    pub fn map_bytes(&self) -> u64 {
        self.map.bytes()
    }

    /// Takes the next batch. What lies outside the range is passed over.
    pub fn batch(&mut self, batch: &Batch) -> Result<Progress, Uncleanable> {
        if batch.header.last_offset() >= self.upto {
            self.progress = Progress::Full;
        }
        if self.progress == Progress::Full {
            return Ok(Progress::Full);
        }
        self.read(batch)?;
        Ok(self.progress)
    }

    /// The map. When not all of the range was read, its end says how far it holds.
    pub fn finish(mut self) -> KeyMap {
        if self.progress == Progress::More || planted(Bug::FullMapTakenForWhole) {
            // Offsets that are missing at the range's end have no keys.
            self.map.set_end(self.upto);
        }
        self.map
    }

    fn read(&mut self, batch: &Batch) -> Result<(), Uncleanable> {
        let broken = Uncleanable::at(batch);
        batch.verify_crc().map_err(&broken)?;
        let counts = if batch.header.is_control() {
            let spent = self.transactions.is_spent(batch, &mut self.scratch);
            spent.map_err(&broken)?;
            false
        } else {
            !self.transactions.is_aborted(batch) || planted(Bug::AbortedRecordTakenForLatest)
        };
        if counts {
            for record in record_iter(batch, &mut self.scratch).map_err(&broken)? {
                let record = record.map_err(&broken)?;
                let Some(key) = record.key.filter(|_| record.offset >= self.from) else {
                    continue;
                };
                if !self.map.put(key, record.offset) {
                    self.map.set_end(record.offset);
                    self.progress = Progress::Full;
                    return Ok(());
                }
            }
        }
        let end = batch.header.last_offset().saturating_add(1);
        self.map.set_end(end.max(self.map.end()));
        Ok(())
    }
}
