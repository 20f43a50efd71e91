//! Cleaning's second pass: neighbouring segments become one, beside them (`durability.md` K2).
//!
//! What always holds: the log and its files are not touched, only files that end in `.cleaned` are
//! written; what comes out has the base of the first segment and the end of the last, offsets and
//! leader epochs where they stood, and is durable, names included, before it is given out.

use std::io::{self, IoSlice};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use millrace_host::{File, OpenMode};
use millrace_probe::{Branch, Bug, planted, reached};
use millrace_protocol::records::{self, Batch, BatchHeader};

use super::cleaning::{
    Batches, CleanError, Cleaning, Filter, Kept, Pace, cleaned_path, uncleanable,
};
use super::remove::hold_own;
use crate::error::Error;
use crate::mark::{Position, SegmentId};
use crate::segment::tail::{End, PENDING_MAX, Tail};
use crate::segment::time_index::TimeEntry;
use crate::segment::{Segment, names};

/// A segment that was made of others, in files of its own. It takes their place by
/// [`super::PartitionLog::begin_replacement`]; when it is dropped, its files go with the next try or
/// opening.
#[derive(Debug)]
pub struct Cleaned {
    pub(super) old: Vec<Arc<Segment>>,
    pub(super) new: Arc<Segment>,
    pub(super) clean_upto: i64,
    pub(super) cut_count: u32,
}

impl Cleaned {
    /// Bytes of the segments that it was made of.
    pub fn bytes_before(&self) -> u64 {
        self.old.iter().map(|segment| segment.end().bytes).sum()
    }

    /// Its own.
    pub fn bytes(&self) -> u64 {
        self.new.end().bytes
    }

    /// Its place in the log's marks.
    pub(super) fn end(&self) -> Position {
        super::position(self.new.id(), self.new.end())
    }
}

impl Cleaning {
    /// The second pass: makes one segment of those that `range` names of [`Self::segments`].
    /// `clean_upto`: below this offset each key's last record is the only one that is left, here and
    /// in all segments before.
    ///
    /// # Errors
    ///
    /// [`CleanError::Uncleanable`] at a batch that is damaged or that `filter` refuses; the others
    /// may go away by themselves. A failed write or sync takes the directory offline (F1).
    pub async fn clean(
        &self,
        range: Range<usize>,
        clean_upto: i64,
        pace: &dyn Pace,
        filter: &mut dyn Filter,
    ) -> Result<Cleaned, CleanError> {
        let old = self.group(range)?.to_vec();
        let (Some(first), Some(last)) = (old.first(), old.last()) else {
            return Err(CleanError::Changed("the segments are not there"));
        };
        let end = last.end().offset;
        let id = SegmentId {
            base_offset: first.base(),
            generation: first.id().generation + 1,
        };
        let mut output = Output::begin(self, id).await?;
        let mut epoch = -1;
        for segment in &old {
            let begin = End {
                bytes: 0,
                offset: segment.base(),
            };
            let mut batches = Batches::begin(self, segment, begin, epoch)?;
            while let Some(chunk) = batches.next(pace).await? {
                for batch in chunk {
                    let (batch, position) = batch?;
                    let is_last = batch.header.last_offset().saturating_add(1) == end;
                    let taken = output.take(&batch, is_last, filter);
                    taken.map_err(|why| uncleanable(segment, position, why))?;
                }
                output.write_gathered(pace).await?;
            }
            epoch = batches.epoch();
        }
        let new = output.finish(pace).await?;
        if new.end().offset != end {
            return Err(CleanError::Changed("it would not end where it ended"));
        }
        Ok(Cleaned {
            old,
            new: Arc::new(new),
            clean_upto,
            cut_count: self.cut_count,
        })
    }

    /// What a failed write means: a full disk goes away by itself, and so does a want of
    /// descriptors; anything else takes the directory offline (F1).
    fn broken(&self, what: &'static str, path: &Path, error: io::Error) -> CleanError {
        let kind = error.kind();
        let is_full = matches!(
            kind,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
        );
        if is_full {
            return CleanError::NoRoom;
        }
        let is_passing = millrace_host::is_out_of_descriptors(&error);
        let error = Error::io(what, path)(error);
        if self.flush.is_removing() {
            return CleanError::Stopped;
        }
        if !is_passing {
            self.dir.fail(&error.to_string());
        }
        CleanError::Log(error)
    }
}

/// The files of the segment that is made.
struct Output<'a> {
    cleaning: &'a Cleaning,
    id: SegmentId,
    log: Arc<dyn File>,
    offsets: Arc<dyn File>,
    times: Arc<dyn File>,
    tail: Tail,
    /// Whole batches behind what was written, and where they begin.
    gathered: Vec<u8>,
    written: u64,
    /// The latest time that a batch without records tells of.
    emptied: Option<TimeEntry>,
}

impl<'a> Output<'a> {
    /// Makes the files; what an earlier try left in them goes.
    async fn begin(cleaning: &'a Cleaning, id: SegmentId) -> Result<Self, CleanError> {
        let disk = cleaning.host.disk.as_ref();
        let homes = cleaning.dir.homes();
        let own = hold_own((homes, disk), &cleaning.path, cleaning.incarnation).await;
        // Removed since: the name may be another topic's.
        let _home = own.ok_or(CleanError::Stopped)?;
        let open = |kind: &str| {
            let path = cleaned_path(&cleaning.path, id.base_offset, kind);
            let file = disk.open(&path, OpenMode::Create);
            let file = file.and_then(|file| file.set_len(0).map(|()| file));
            file.map_err(|error| cleaning.broken("make", &path, error))
        };
        let begin = End {
            bytes: 0,
            offset: id.base_offset,
        };
        Ok(Self {
            id,
            log: open(names::LOG)?,
            offsets: open(names::INDEX)?,
            times: open(names::TIME_INDEX)?,
            tail: Tail::new(begin),
            gathered: Vec::new(),
            written: 0,
            emptied: None,
            cleaning,
        })
    }

    /// Takes what the filter leaves of a batch. Of the last one at least the header stays: so the
    /// segment ends where the next one begins, and a segment that is missing is missed.
    fn take(
        &mut self,
        batch: &Batch,
        is_last: bool,
        filter: &mut dyn Filter,
    ) -> Result<(), String> {
        let start = self.gathered.len();
        let kept = filter.batch(batch, &mut self.gathered);
        match kept.map_err(|why| why.0)? {
            Kept::Whole => self.gathered.extend_from_slice(&batch.bytes),
            Kept::Rewritten => {}
            Kept::Dropped if is_last => {
                reached(Branch::CleanedToHeader);
                if records::keep_header(batch, true, &mut self.gathered) == records::Kept::Whole {
                    self.gathered.extend_from_slice(&batch.bytes);
                }
            }
            Kept::Dropped => return Ok(()),
        }
        let made = self.gathered.get(start..).unwrap_or_default();
        let header = BatchHeader::parse(made).map_err(|error| error.to_string())?;
        if !(takes_the_place_of(&header, &batch.header)
            && header.size() == made.len()
            && records::verify_crc(made))
        {
            return Err("what was made of the batch does not take its place".to_owned());
        }
        if self.tail.end.bytes > i32::MAX as u64 {
            return Err("the segment would be too long".to_owned());
        }
        if header.record_count == 0
            && self
                .emptied
                .is_none_or(|at| at.timestamp < header.max_timestamp)
        {
            self.emptied = Some(TimeEntry {
                timestamp: header.max_timestamp,
                last_offset: header.last_offset(),
            });
        }
        let interval = self.cleaning.settings.index_interval_bytes;
        self.tail.push(&header, header.base_offset, interval);
        Ok(())
    }

    /// Writes what was gathered, once that is enough.
    async fn write_gathered(&mut self, pace: &dyn Pace) -> Result<(), CleanError> {
        if self.gathered.len() < self.cleaning.chunk_bytes {
            return Ok(());
        }
        self.write(pace).await
    }

    async fn write(&mut self, pace: &dyn Pace) -> Result<(), CleanError> {
        let len = self.gathered.len() as u64;
        if !self
            .cleaning
            .dir
            .has_room(len, self.cleaning.settings.privileged)
        {
            return Err(CleanError::NoRoom);
        }
        if !pace.take(len).await {
            return Err(CleanError::Stopped);
        }
        self.put(&self.log, &self.gathered, self.written)?;
        if let Err(error) = self.log.start_write_back(self.written, len) {
            tracing::debug!(%error, "write-back was not begun");
        }
        self.written += len;
        self.gathered.clear();
        self.gathered.shrink_to(self.cleaning.chunk_bytes * 2);
        if self.tail.offsets.len().max(self.tail.times.len()) >= PENDING_MAX {
            self.write_indexes()?;
        }
        Ok(())
    }

    fn write_indexes(&mut self) -> Result<(), CleanError> {
        let base = self.id.base_offset;
        let entries = std::mem::take(&mut self.tail.offsets);
        let entries = entries.iter().filter_map(|entry| entry.encode(base));
        let at = self.tail.offsets_written;
        self.tail.offsets_written += self.put_entries(&self.offsets, at, entries)?;
        let entries = std::mem::take(&mut self.tail.times);
        let entries = entries.iter().filter_map(|entry| entry.encode(base));
        let at = self.tail.times_written;
        self.tail.times_written += self.put_entries(&self.times, at, entries)?;
        Ok(())
    }

    /// Writes entries behind the first `at` of an index: how many.
    fn put_entries<const LEN: usize>(
        &self,
        file: &Arc<dyn File>,
        at: u64,
        entries: impl Iterator<Item = [u8; LEN]>,
    ) -> Result<u64, CleanError> {
        let bytes: Vec<u8> = entries.flatten().collect();
        self.put(file, &bytes, at * LEN as u64)?;
        Ok((bytes.len() / LEN) as u64)
    }

    fn put(&self, file: &Arc<dyn File>, bytes: &[u8], at: u64) -> Result<(), CleanError> {
        let written = match bytes {
            [] => Ok(0),
            bytes => file.write_vectored_at(&[IoSlice::new(bytes)], at),
        };
        match written {
            Ok(written) if written == bytes.len() => Ok(()),
            Ok(_) => Err(CleanError::NoRoom),
            Err(error) => Err(self.cleaning.broken("write", file.path(), error)),
        }
    }

    /// Writes what is left and makes all of it durable, names included (K2).
    async fn finish(mut self, pace: &dyn Pace) -> Result<Segment, CleanError> {
        self.write(pace).await?;
        self.tail.index_time();
        self.write_indexes()?;
        let (dir, path) = (&self.cleaning.dir, &self.cleaning.path);
        if !planted(Bug::CleanedNotSynced) {
            // Side by side: all of them are heard of before anything is built on one (F1).
            let syncs =
                [&self.log, &self.offsets, &self.times].map(|file| (file.path(), file.sync()));
            let names = self.cleaning.host.disk.sync_dir(path);
            let mut failed = None;
            for (path, sync) in syncs {
                failed = failed.or(dir.synced(path, sync.await).err());
            }
            failed = failed.or(self.names_synced(names.await).err());
            if let Some(error) = failed {
                return Err(CleanError::Log(error));
            }
        }
        self.cleaning.check_open()?;
        if self.tail.largest.is_none() {
            // For retention: what is kept of a record's batch is as old as the record was.
            self.tail.largest = self.emptied;
        }
        self.tail.largest_known = true;
        let segment = Segment::new(path.clone(), dir.vouched(), self.id, true, self.tail);
        segment.seal();
        Ok(segment)
    }

    /// What came of the sync of the directory, which a removal may take away meanwhile.
    fn names_synced(&self, synced: io::Result<()>) -> Result<(), Error> {
        let Err(error) = synced else { return Ok(()) };
        if self.cleaning.flush.is_removing() {
            return Ok(());
        }
        self.cleaning.dir.synced(&self.cleaning.path, Err(error))
    }
}

/// Whether a batch stands for another one (K1): nothing that its place in the log and its
/// producer's sequence follow from is changed.
fn takes_the_place_of(made: &BatchHeader, of: &BatchHeader) -> bool {
    let place = |header: &BatchHeader| {
        (
            header.base_offset,
            header.last_offset_delta,
            header.partition_leader_epoch,
            header.producer_id,
            header.producer_epoch,
            header.base_sequence,
        )
    };
    place(made) == place(of) && made.record_count <= of.record_count
}
