//! Reading the metadata back: the newest snapshot that can be read, then the log behind it.
//!
//! What always holds: every record since the beginning is folded, by a snapshot or by itself, or
//! nothing starts: a snapshot that is damaged is passed over only while an earlier one, or the whole
//! log, stands in for it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use millrace_core::cluster::{Image, Loading};
use millrace_host::Disk;
use millrace_log::mark::SnapshotName;
use millrace_log::partition::{LogReader, Read};
use millrace_probe::{Branch, reached};
use millrace_protocol::metadata::MetadataRecord;
use millrace_protocol::records::{Batch, Scratch, batches};

use super::snapshot::{self, Restored, each_value};
use super::{Entry, MetadataError};

/// Bytes read at once while the log is folded.
const LOAD_BYTES: usize = 1 << 20;

/// Our own batches are never compressed; nothing is inflated.
const INFLATED_BYTES_MAX: usize = 0;

/// What was read.
#[derive(Debug)]
pub(super) struct Loaded {
    /// The image as of `last`.
    pub(super) image: Image,
    /// The last entry.
    pub(super) last: Entry,
    /// Bytes of the log behind the snapshot that was used.
    pub(super) bytes: u64,
    /// Snapshots that stand in for the log below them, oldest first.
    pub(super) snapshots: Vec<i64>,
}

/// Where to read.
#[derive(Debug)]
pub(super) struct Source<'a> {
    pub(super) disk: &'a Arc<dyn Disk>,
    /// The partition's directory.
    pub(super) dir: &'a Path,
    pub(super) reader: &'a LogReader,
    /// What marks name, oldest first.
    pub(super) named: &'a [SnapshotName],
    pub(super) log_start: i64,
    pub(super) log_end: i64,
}

impl Source<'_> {
    /// Folds everything.
    pub(super) async fn load(&self) -> Result<Loaded, MetadataError> {
        let (restored, snapshots) = self.newest_snapshot().await?;
        let mut folding = match restored {
            Some(Restored { loading, entry }) => Folding::new(loading, entry),
            None if self.log_start > 0 => {
                reached(Branch::MetadataUnreadable);
                return Err(MetadataError::Damaged(format!(
                    "the log begins at offset {} and no snapshot that reaches it can be read; \
                     restore a file *.checkpoint of {}",
                    self.log_start,
                    self.dir.display()
                )));
            }
            None => Folding::new(Loading::default(), Entry::NONE),
        };
        while folding.last.end_offset < self.log_end {
            self.fold_region(&mut folding).await?;
        }
        Ok(Loaded {
            image: folding.loading.finish(),
            last: folding.last,
            bytes: folding.bytes,
            snapshots,
        })
    }

    /// The newest snapshot that can be read, and the offsets of it and all before it that are kept.
    async fn newest_snapshot(&self) -> Result<(Option<Restored>, Vec<i64>), MetadataError> {
        if self.named.is_empty() {
            return Ok((None, Vec::new()));
        }
        let listed = self.disk.list(self.dir).await.map_err(|error| {
            MetadataError::Damaged(format!("listing {}: {error}", self.dir.display()))
        })?;
        let files: BTreeMap<i64, i32> = listed
            .iter()
            .filter_map(|file| snapshot::parse_name(&file.name))
            .collect();
        let usable = |name: &&SnapshotName| {
            (self.log_start..=self.log_end).contains(&name.offset)
                && files.contains_key(&name.offset)
        };
        let mut usable: Vec<SnapshotName> = self.named.iter().filter(usable).copied().collect();
        while let Some(name) = usable.last() {
            let id = (name.offset, files[&name.offset]);
            let path = snapshot::path(self.dir, id.0, id.1);
            match snapshot::read(self.disk, &path, id, name.crc_kafka).await {
                Ok(restored) => {
                    reached(Branch::MetadataSnapshotLoaded);
                    let offsets = usable.iter().map(|name| name.offset).collect();
                    return Ok((Some(restored), offsets));
                }
                Err(error) => {
                    reached(Branch::MetadataSnapshotDamaged);
                    tracing::error!(
                        %error,
                        "a snapshot of the metadata can't be read; what stands before it is used"
                    );
                }
            }
            usable.pop();
        }
        Ok((None, Vec::new()))
    }

    /// Folds the batches of one read.
    async fn fold_region(&self, folding: &mut Folding) -> Result<(), MetadataError> {
        let from = folding.last.end_offset;
        let region = match self
            .reader
            .read(from, self.log_end, LOAD_BYTES, true)
            .await?
        {
            Read::Region(region) => region,
            Read::Empty | Read::OutOfRange { .. } => {
                return Err(MetadataError::Damaged(format!(
                    "nothing can be read at offset {from}"
                )));
            }
        };
        let slice = region.slice;
        let bytes = slice.read().await.map_err(|error| {
            MetadataError::Damaged(format!("{}: {error}", slice.file.path().display()))
        })?;
        // A region may end inside a batch; the next one begins there.
        for batch in batches(bytes).map_while(Result::ok) {
            folding.entry(&batch)?;
        }
        if folding.last.end_offset == from {
            return Err(MetadataError::Damaged(format!(
                "the batch at offset {from} is broken"
            )));
        }
        Ok(())
    }
}

/// The fold on its way.
struct Folding {
    loading: Loading,
    last: Entry,
    bytes: u64,
    scratch: Scratch,
}

impl Folding {
    fn new(loading: Loading, last: Entry) -> Self {
        Self {
            loading,
            last,
            bytes: 0,
            scratch: Scratch::new(INFLATED_BYTES_MAX),
        }
    }

    /// Nothing can follow this batch: no writer ever came so far.
    fn no_end(&self, base_offset: i64) -> MetadataError {
        MetadataError::Damaged(format!(
            "the batch at offset {base_offset}, entry {} of the log, counts past every number",
            self.last.index
        ))
    }

    /// One batch is one entry.
    fn entry(&mut self, batch: &Batch) -> Result<(), MetadataError> {
        batch.verify_crc().map_err(MetadataError::Record)?;
        let header = &batch.header;
        if header.base_offset != self.last.end_offset
            || header.partition_leader_epoch < self.last.term
        {
            return Err(MetadataError::Damaged(format!(
                "the batch at offset {} of term {} doesn't follow offset {} of term {}",
                header.base_offset,
                header.partition_leader_epoch,
                self.last.end_offset,
                self.last.term
            )));
        }
        let after = |at: i64| {
            at.checked_add(1)
                .ok_or_else(|| self.no_end(header.base_offset))
        };
        let (index, end_offset) = (after(self.last.index)?, after(header.last_offset())?);
        if !header.is_control() {
            let mut offset = header.base_offset;
            let loading = &mut self.loading;
            each_value(batch, &mut self.scratch, |value| {
                let record = MetadataRecord::decode(value).map_err(|error| error.to_string())?;
                let replayed = loading.replay(offset, &record);
                offset = offset.saturating_add(1);
                replayed.map_err(|error| error.to_string())
            })
            .map_err(MetadataError::Damaged)?;
        }
        self.bytes += header.size() as u64;
        self.last = Entry {
            index,
            term: header.partition_leader_epoch,
            end_offset,
            timestamp_ms: header.max_timestamp,
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use millrace_protocol::records::{BatchBuilder, Options};

    use super::*;

    fn batch_at(base_offset: i64) -> Batch {
        let mut builder = BatchBuilder::new(Options {
            base_offset,
            leader_epoch: 1,
            ..Options::default()
        });
        let no_op = MetadataRecord::NoOp.encode();
        builder.push(0, None, Some(&no_op), &[]).unwrap();
        batches(builder.build()).next().unwrap().unwrap()
    }

    #[test]
    fn a_log_that_counts_past_every_number_is_damaged() {
        for (index, end_offset, whole) in [(5, 5, true), (i64::MAX, 5, false), (5, i64::MAX, false)]
        {
            let last = Entry {
                index,
                end_offset,
                ..Entry::NONE
            };
            let mut folding = Folding::new(Loading::default(), last);
            let folded = folding.entry(&batch_at(end_offset));
            assert_eq!(folded.is_ok(), whole, "{index} {end_offset}: {folded:?}");
        }
    }
}
