//! The writer half: append and roll, under the partition's lock.
//!
//! What always holds: bytes go to the page cache of the active segment first, as an iovec of the
//! patched prefix and the rest as received; the end moves only after the whole batch was taken; a
//! short write is cut back at once, and when that fails the directory is given up. No call here
//! waits for the device.

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use millrace_host::{Disk, File, OpenMode, Pool};
use millrace_probe::{Bug, planted};
use millrace_protocol::records::{self, BatchHeader};

use super::known::TIMESTAMP_UNKNOWN;
use super::{PartitionLog, Phase, position};
use crate::error::Error;
use crate::flusher::Staged;
use crate::mark::{Durability, Mark, Position, SegmentId};
use crate::partition_metadata;
use crate::segment::tail::{End, Tail};
use crate::segment::{Segment, names, offset_index, time_index};

/// Written bytes after which write-back of the range is asked for, so that syncs stay short. Partitions
/// that are written at one rate ask at one time: what they ask for together stands before the next
/// commit of the journal on the device.
const WRITE_BACK_BYTES: u64 = 64 << 10;

/// How much of a batch the broker rewrites: base offset, length, leader epoch and magic.
const PREFIX_LEN: usize = 16;

/// Why a batch was not appended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// No room; nothing was written. Goes away by itself once there is some.
    #[error("no space left for the batch; delete topics or add room")]
    DiskFull,
    /// The directory of an earlier topic of that name is still there; nothing was written. Goes
    /// away by itself once its removal is done.
    #[error("the data of an earlier topic of that name are still being removed; try again")]
    NameInUse,
    /// The process has as many files open as it may; nothing was written. Goes away by itself.
    #[error("too many files are open; raise the limit on open files (ulimit -n), or try again")]
    TooManyOpenFiles,
    /// The log takes no appends: its directory or the partition is offline, or a cut is under way.
    #[error("{0}")]
    Failed(String),
}

/// One batch to be appended.
#[derive(Clone, Copy, Debug)]
pub struct Append<'a> {
    /// The whole batch as received.
    pub bytes: &'a Bytes,
    /// Its header as received.
    pub header: &'a BatchHeader,
    /// The offset its first record gets.
    pub base_offset: i64,
    /// The leader epoch it is stored with.
    pub leader_epoch: i32,
    /// Whether a reply or a watermark waits for the bytes to be durable; otherwise they are so
    /// after `log.flush.lag.ms` at latest.
    pub urgent: bool,
    /// Wall time, in ms since 1970; decides the age of a segment only where timestamps do not.
    pub now_wall_ms: i64,
}

/// What an append did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The offset after the batch.
    pub next_offset: i64,
    /// A producer snapshot is due: hand the state *before* this batch, which begins at
    /// `base_offset`, to [`PartitionLog::write_snapshot`] (with `base_offset`) before applying it.
    pub snapshot_due: bool,
}

impl PartitionLog {
    /// Appends one batch.
    ///
    /// On an error nothing of it remains and the log is as it was, except that the directory is
    /// offline after a failure of the machine that does not go away by itself (F1).
    pub fn append(&mut self, append: Append<'_>) -> Result<Appended, AppendError> {
        self.writable()?;
        let log_end = self.log_end();
        if append.base_offset < log_end || append.bytes.len() != append.header.size() {
            return Err(AppendError::Failed(format!(
                "batch at offset {} of {} bytes does not continue {} at {log_end}",
                append.base_offset,
                append.bytes.len(),
                self.name(),
            )));
        }
        if !self
            .dir
            .has_room(append.bytes.len() as u64, self.settings.privileged)
        {
            return Err(AppendError::DiskFull);
        }
        let hole = append.base_offset > log_end;
        let (segment, rolled) = match self.reader.list().active() {
            Some(active) if !self.must_roll(active, &append, hole) => (active.clone(), false),
            active => (self.begin_segment(&append, hole)?, active.is_some()),
        };
        self.closed = false;
        let span_start = segment.end().bytes;
        let file = self.active_file(&segment)?;
        self.write(&file, &append, span_start)?;
        self.account(&segment, &append);
        self.stage(&file, &segment, &append, span_start);
        self.write_back(&file, &segment);
        let end = segment.end();
        let snapshot_due = self.snapshot_due(rolled, append.bytes.len() as u64);
        Ok(Appended {
            next_offset: end.offset,
            snapshot_due,
        })
    }

    /// Whether the batch belongs into a new segment (Kafka's roll rules).
    fn must_roll(&self, active: &Segment, append: &Append<'_>, hole: bool) -> bool {
        let settings = &self.settings;
        let size = append.bytes.len() as u64;
        let last_offset = append
            .base_offset
            .saturating_add(i64::from(append.header.last_offset_delta));
        if last_offset.saturating_sub(active.base()) > i64::from(i32::MAX) {
            return true;
        }
        // A batch that does not follow on needs a segment that may have holes; in an empty segment
        // the first batch must begin at its name.
        let follows = if active.end().bytes == 0 {
            append.base_offset == active.base()
        } else {
            !hole || active.holes()
        };
        if !follows {
            return true;
        }
        let index_max = settings.segment_index_bytes;
        active.tail(|tail| {
            if tail.end.bytes == 0 {
                return false;
            }
            // Positions in the index are 31 bits wide.
            let bytes_max = settings.segment_bytes.min(i32::MAX as u64);
            let age_ms = match tail.first_timestamp {
                Some(first) if first >= 0 && append.header.max_timestamp >= 0 => {
                    append.header.max_timestamp.saturating_sub(first)
                }
                _ => append.now_wall_ms.saturating_sub(self.active_since_ms),
            };
            tail.end.bytes.saturating_add(size) > bytes_max
                || u64::try_from(age_ms).is_ok_and(|age_ms| age_ms > settings.segment_ms)
                || tail.offset_entries() >= index_max / offset_index::ENTRY_LEN as u64
                // Kafka keeps the last slot of the time index for the entry made at the roll.
                || tail.time_entries() + 1 >= index_max / time_index::ENTRY_LEN as u64
        })
    }

    /// Makes the segment that the batch begins, and at the first one the directory.
    fn begin_segment(
        &mut self,
        append: &Append<'_>,
        hole: bool,
    ) -> Result<Arc<Segment>, AppendError> {
        let first = self.reader.list().active().is_none();
        let made = self.create_segment(append.base_offset, hole && !first);
        let segment = made.map_err(|error| self.append_error("make a segment of", error))?;
        self.active_since_ms = append.now_wall_ms;
        self.written_back = 0;
        Ok(segment)
    }

    /// Makes a segment's file, says so to the journal, closes the one before, publishes the list.
    pub(super) fn create_segment(&mut self, base: i64, holes: bool) -> io::Result<Arc<Segment>> {
        self.closed = false;
        if self.flush.is_removing() {
            // The name may be another topic's by now.
            return Err(io::Error::other("it is being removed"));
        }
        self.ensure_dir()?;
        let id = SegmentId {
            base_offset: base,
            generation: self.cut_count,
        };
        let disk = self.reader.handles().disk().clone();
        let end = End {
            bytes: 0,
            offset: base,
        };
        let (path, vouched) = (self.path.clone(), self.dir.vouched());
        let segment = Arc::new(Segment::new(path, vouched, id, holes, Tail::new(end)));
        segment.attach(create(disk.as_ref(), &segment.path(names::LOG))?);
        // Existence first (C4): the mark stands before any byte of the file in the same commit.
        let mark = Mark::Segment {
            id,
            topic: self.topic.clone(),
            holes,
        };
        if planted(Bug::ExistenceMarkAfterAck) {
            let flush = self.flush.clone();
            let later = Box::pin(async move { flush.mark(mark) });
            drop(self.host.spawn.spawn(Pool::Data, "segment-mark", later));
        } else {
            self.flush.mark(mark);
        }
        self.flush.new_names(self.name_dirs());
        let list = self.reader.list();
        match list.active() {
            Some(old) => self.seal(old),
            None => self.first_marks(),
        }
        self.reader.change(|list| list.with(segment.clone()));
        self.reader.handles().admit(&segment);
        Ok(segment)
    }

    /// What was decided before the first record and is worth remembering from now on.
    fn first_marks(&self) {
        if self.mode == Durability::PageCache {
            self.flush.mark(Mark::Mode(self.mode));
        }
        for &(epoch, start_offset) in &self.epochs {
            self.flush.mark(Mark::Epoch {
                epoch,
                start_offset,
            });
        }
    }

    /// Ends a segment: last index entries written, indexes never touched again.
    fn seal(&self, old: &Arc<Segment>) {
        old.tail(Tail::index_time);
        if let Err(error) = old.write_indexes(self.reader.handles().disk().as_ref(), true) {
            tracing::warn!(partition = %self.name(), %error, "index entries were left out");
        }
        old.seal();
        self.write_epoch_checkpoint();
        let end = position(old.id(), old.end());
        let max_timestamp_ms = old.largest_timestamp().unwrap_or(TIMESTAMP_UNKNOWN);
        self.flush.mark(Mark::Sealed {
            end,
            max_timestamp_ms,
        });
        if self.mode == Durability::PageCache
            && let Ok(file) = self.reader.open(old)
        {
            self.flush.sync_later(&file, end);
            old.pin(false);
        }
    }

    /// Makes the directory and its identity; a directory of that name must not exist yet unless
    /// this call began it before.
    fn ensure_dir(&mut self) -> io::Result<()> {
        if self.has_dir {
            return Ok(());
        }
        self.flush.make_room().map_err(|error| {
            if matches!(error, Error::DiskFull { .. }) {
                return io::ErrorKind::StorageFull.into();
            }
            io::Error::other(error)
        })?;
        // Whoever removes an earlier topic of the name holds it until that is done.
        let Some(mut home) = self.dir.homes().try_hold(&self.path) else {
            return Err(io::ErrorKind::ResourceBusy.into());
        };
        let disk = self.reader.handles().disk().clone();
        match disk.create_dir(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && self.dir_begun => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(io::ErrorKind::ResourceBusy.into());
            }
            result => result?,
        }
        self.dir_begun = true;
        home.set_begun(Some(self.incarnation));
        let text = partition_metadata::encode(self.topic_id());
        let file = disk.open(
            &self.path.join(partition_metadata::FILE_NAME),
            OpenMode::Create,
        )?;
        let written = file.write_vectored_at(&[IoSlice::new(text.as_bytes())], 0)?;
        if written < text.len() {
            file.set_len(0)?;
            return Err(io::ErrorKind::StorageFull.into());
        }
        home.set_begun(None);
        self.flush.new_file(&file);
        self.has_dir = true;
        Ok(())
    }

    /// Writes the batch at `at`; cuts a short write back.
    fn write(
        &mut self,
        file: &Arc<dyn File>,
        append: &Append<'_>,
        at: u64,
    ) -> Result<(), AppendError> {
        let prefix = prefix(append);
        let bufs = [
            IoSlice::new(&prefix),
            IoSlice::new(&append.bytes[PREFIX_LEN..]),
        ];
        let (error, taken) = match file.write_vectored_at(&bufs, at) {
            Ok(taken) if taken == append.bytes.len() => return Ok(()),
            Ok(taken) => (io::Error::from(io::ErrorKind::StorageFull), taken),
            Err(error) => (error, usize::MAX),
        };
        if taken > 0
            && let Err(cut) = file.set_len(at)
        {
            self.phase = Phase::Failed;
            self.dir.fail_under_lock(&format!(
                "a short write to {} was not cut back: {cut}",
                self.name()
            ));
            return Err(AppendError::Failed(format!(
                "{}: {error}; {cut}",
                self.name()
            )));
        }
        Err(self.append_error("write to", error))
    }

    /// Takes the written batch into the segment's tail and the epochs.
    fn account(&mut self, segment: &Arc<Segment>, append: &Append<'_>) {
        let interval = self.settings.index_interval_bytes;
        segment.tail(|tail| tail.push(append.header, append.base_offset, interval));
        if let Err(error) = segment.write_indexes(self.reader.handles().disk().as_ref(), false) {
            tracing::warn!(partition = %self.name(), %error, "index entries were left out");
        }
        if self
            .epochs
            .last()
            .is_none_or(|last| last.0 < append.leader_epoch)
        {
            self.begin_epoch(append.leader_epoch, append.base_offset);
        }
    }

    /// Hands the written bytes to the flusher, as they stand in the file.
    fn stage(
        &mut self,
        file: &Arc<dyn File>,
        segment: &Segment,
        append: &Append<'_>,
        position: u64,
    ) {
        if self.mode == Durability::PageCache {
            if self.until_rolled.is_none() {
                self.until_rolled = self.reader.handles().until_rolled();
            }
            let stays_open = self.until_rolled.is_some();
            segment.pin(stays_open);
            if append.urgent || !stays_open {
                // `flush.messages` is reached, and the reply waits for a sync; or too many wait for
                // theirs with a file open: this one may be closed behind it.
                self.flush
                    .sync_later(file, super::position(segment.id(), segment.end()));
            }
            return;
        }
        let prefix = prefix(append);
        self.flush.stage(&Staged {
            segment: segment.id(),
            position,
            first_offset: append.base_offset,
            next_offset: segment.end().offset,
            bytes: &[
                IoSlice::new(&prefix),
                IoSlice::new(&append.bytes[PREFIX_LEN..]),
            ],
            file,
            urgent: append.urgent,
        });
    }

    /// Asks for write-back in steps; only advice, so errors are left to the sync.
    fn write_back(&mut self, file: &Arc<dyn File>, segment: &Segment) {
        if self.mode == Durability::PageCache {
            // No sync is waited for: the kernel's own write-back is soon enough.
            return;
        }
        let end = segment.end().bytes;
        if end.saturating_sub(self.written_back) >= WRITE_BACK_BYTES {
            let len = end - self.written_back;
            if let Err(error) = file.start_write_back(self.written_back, len) {
                tracing::debug!(partition = %self.name(), %error, "write-back was not begun");
            }
            self.written_back = end;
        }
    }

    fn active_file(&mut self, segment: &Arc<Segment>) -> Result<Arc<dyn File>, AppendError> {
        self.reader.open(segment).map_err(|error| {
            if let Error::Io { source, .. } = error {
                return self.append_error("open a segment of", source);
            }
            AppendError::Failed(error.to_string())
        })
    }

    /// What a failed call means for the append, and for the directory (F1).
    fn append_error(&mut self, doing: &'static str, error: io::Error) -> AppendError {
        let kind = error.kind();
        // The last: a limit on the size of files, which is set from outside and can be lifted.
        if matches!(
            kind,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
        ) {
            return AppendError::DiskFull;
        }
        if kind == io::ErrorKind::ResourceBusy && !self.has_dir {
            return AppendError::NameInUse;
        }
        if millrace_host::is_out_of_descriptors(&error) {
            return AppendError::TooManyOpenFiles;
        }
        let reason = Error::io(doing, &self.path)(error).to_string();
        if self.flush.is_removing() {
            // What a removal takes away is no failure of the machine.
            self.phase = Phase::Failed;
            return AppendError::Failed(reason);
        }
        self.dir.fail_under_lock(&reason);
        AppendError::Failed(reason)
    }

    /// Where the written log ends now.
    pub fn position(&self) -> Option<Position> {
        let list = self.reader.list();
        let active = list.active()?;
        Some(position(active.id(), active.end()))
    }
}

/// Makes a segment's file. An empty one may be there already; one with bytes is never overwritten.
fn create(disk: &dyn Disk, path: &Path) -> io::Result<Arc<dyn File>> {
    match disk.open(path, OpenMode::CreateNew) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let file = disk.open(path, OpenMode::Write)?;
            if file.is_empty()? {
                Ok(file)
            } else {
                Err(error)
            }
        }
        result => result,
    }
}

fn prefix(append: &Append<'_>) -> [u8; PREFIX_LEN] {
    let batch_length = (append.bytes.len() - 12) as i32;
    records::prefix(append.base_offset, batch_length, append.leader_epoch)
}
