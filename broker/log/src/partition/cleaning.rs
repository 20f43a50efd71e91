//! What cleaning sees of a log, and its first pass, which only reads (`durability.md` K1, K4).
//!
//! What always holds: everything here works on the list of segments as it stood when the cleaning
//! began, outside the partition's lock; whatever is handed out was verified (checksum and chain); at
//! most one chunk, or one batch where that is longer, is held at a time.

use std::ops::{ControlFlow, Range};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use millrace_host::{BoxFuture, Host};
use millrace_protocol::records::{self, Batch};

use super::verify::{Check, Proof, Stop};
use super::{LogReader, LogSettings, PartitionLog};
use crate::dir::LogDir;
use crate::error::Error;
use crate::flusher::{Durable, FlushHandle};
use crate::ledger::LedgerEntry;
use crate::mark::{Durability, Incarnation, Mark};
use crate::segment::list::SegmentList;
use crate::segment::tail::End;
use crate::segment::{Segment, headers, lookup, names, offset_index, time_index};

/// Most segments that become one: each is kept open until its last reader has gone.
pub const CLEANED_AT_ONCE_MAX: usize = 100;

/// Bytes that a pass reads or writes at once, unless it is told otherwise; and the fewest.
const CHUNK_BYTES: usize = 1 << 20;
const CHUNK_BYTES_MIN: usize = 4 << 10;

/// Says how fast a pass reads and writes, and whether it goes on.
pub trait Pace: Send + Sync {
    /// Waits until so many bytes more may be read or written; `false` when the work is to end (the
    /// partition is removed or moved, the node stops).
    fn take(&self, bytes: u64) -> BoxFuture<'_, bool>;
}

/// Takes the batches of a first pass.
pub trait Visit: Send {
    /// The next batch, whole and verified. Breaking ends the pass.
    ///
    /// # Errors
    ///
    /// When what is in it can't be read: the partition can't be cleaned.
    fn batch(&mut self, batch: &Batch) -> Result<ControlFlow<()>, Uncleanable>;
}

/// Decides in a second pass what stays of each batch.
pub trait Filter: Send {
    /// The next batch, whole and verified. Of [`Kept::Rewritten`] the one batch that takes its place
    /// has been appended to `out`: with the same base offset, last offset, leader epoch and
    /// producer.
    ///
    /// # Errors
    ///
    /// When what is in it can't be read: the partition can't be cleaned.
    fn batch(&mut self, batch: &Batch, out: &mut Vec<u8>) -> Result<Kept, Uncleanable>;
}

/// What stays of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// All of it, byte by byte.
    Whole,
    /// What was written in its place.
    Rewritten,
    /// Nothing.
    Dropped,
}

/// Why a batch can't be cleaned, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uncleanable(pub String);

/// Why cleaning ended without a result. The log is as it was.
#[derive(Debug, thiserror::Error)]
pub enum CleanError {
    /// It was told to end.
    #[error("cleaning was ended")]
    Stopped,
    /// A batch is damaged, or what is in it can't be read: it will not be better next time.
    #[error("segment {segment} can't be cleaned, at byte {position}: {what}")]
    Uncleanable {
        /// Base offset of the segment.
        segment: i64,
        /// First byte of the batch in its file.
        position: u64,
        /// What is wrong.
        what: String,
    },
    /// The disk is full: to be tried again when there is room.
    #[error("no space left to clean; delete topics or add room, it is tried again")]
    NoRoom,
    /// The log isn't what it was, or isn't ready: to be tried again.
    #[error("{0}; it is tried again")]
    Changed(&'static str),
    /// A failure of the machine, or the log takes no changes.
    #[error(transparent)]
    Log(#[from] Error),
}

/// One segment, as cleaning sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentView {
    /// Its name.
    pub base_offset: i64,
    /// The offset after its last batch.
    pub end_offset: i64,
    /// Length in bytes.
    pub bytes: u64,
    /// Bytes of the larger of its indexes, at most.
    pub index_bytes: u64,
    /// The largest timestamp of its first batch, in ms since 1970 (-1: none); `None` while not
    /// known: [`LogReader::measure_first`].
    pub first_timestamp_ms: Option<i64>,
    /// The largest of its timestamps, in ms since 1970 (-1: none); `None` while not known:
    /// [`LogReader::measure`].
    pub largest_timestamp_ms: Option<i64>,
}

/// A log as it stood when its cleaning began.
#[derive(Debug)]
pub struct Cleaning {
    pub(super) incarnation: Incarnation,
    pub(super) path: Arc<Path>,
    pub(super) dir: Arc<LogDir>,
    pub(super) host: Host,
    pub(super) flush: Arc<FlushHandle>,
    pub(super) reader: Arc<LogReader>,
    pub(super) settings: LogSettings,
    pub(super) cut_count: u32,
    pub(super) chunk_bytes: usize,
    list: Arc<SegmentList>,
    segments: Vec<SegmentView>,
    log_end: i64,
    first_dirty: i64,
    producers_upto: i64,
}

impl LogReader {
    /// Finds the first timestamps of the segments that end above `from` and of which they are not
    /// known. Not under the partition's lock.
    pub async fn measure_first(&self, from: i64) -> Result<(), Error> {
        for segment in self.list().all() {
            let end = segment.end();
            let is_known = segment.tail(|tail| tail.first_timestamp.is_some());
            if is_known || end.bytes == 0 || end.offset <= from || segment.is_quarantined() {
                continue;
            }
            let mut walk = headers::walk(self.handles(), segment, 0)?;
            if let Some(first) = headers::next(&mut walk, segment).await? {
                segment.tail(|tail| tail.first_timestamp = Some(first.header.max_timestamp));
            }
        }
        Ok(())
    }
}

impl PartitionLog {
    /// Has everything that was written so far settled, and that known: nothing else may be cleaned
    /// (K1). To be awaited outside the lock, before [`Self::begin_cleaning`]. Costs nothing where
    /// it is so already.
    pub fn prepare_cleaning(&mut self) -> Durable {
        let list = self.reader.list();
        let entry = self.dir.entry(&self.incarnation);
        let sealed = list.all().len().checked_sub(2).map(|at| &list.all()[at]);
        let is_ready = sealed.is_none_or(|last| {
            entry.as_ref().is_some_and(|entry| {
                // The mark that ends a replacement may be on its way.
                let replaced = !entry.segments.iter().any(|segment| segment.swapping);
                replaced && is_settled(entry, std::slice::from_ref(last))
            })
        });
        if is_ready || self.writable().is_err() {
            return Box::pin(std::future::ready(Ok(())));
        }
        // What is settled must be told of by a place behind the sealed segments: the file that
        // grows is synced too where nothing of it is owed.
        if let Some((active, end)) = list.active().zip(self.position())
            && (self.mode == Durability::PageCache || end.bytes == 0)
            && let Ok(file) = self.reader.open(active)
        {
            self.flush.sync_later(&file, end);
        }
        let settled = self.settle();
        let flush = self.flush.clone();
        Box::pin(async move {
            settled.await?;
            // Marks become durable in order, and this one says nothing.
            flush.mark_now(Mark::HighWatermark(-1)).await
        })
    }

    /// How the log stands, to be cleaned.
    ///
    /// # Errors
    ///
    /// When it takes no records (damaged, closed, being cut or removed, offline).
    pub fn begin_cleaning(&mut self) -> Result<Cleaning, Error> {
        let refused = |reason: String| Error::PartitionOffline {
            partition: self.name(),
            reason,
        };
        self.writable()
            .map_err(|error| refused(error.to_string()))?;
        self.name_snapshots();
        let list = self.reader.list();
        let entry = self.dir.entry(&self.incarnation);
        let log_start = list.log_start;
        let first_dirty = entry.map_or(log_start, |entry| entry.first_dirty());
        let interval = self.settings.index_interval_bytes;
        Ok(Cleaning {
            incarnation: self.incarnation,
            path: self.path.clone(),
            dir: self.dir.clone(),
            host: self.host.clone(),
            flush: self.flush.clone(),
            reader: self.reader.clone(),
            settings: self.settings,
            cut_count: self.cut_count,
            chunk_bytes: CHUNK_BYTES,
            segments: list
                .all()
                .iter()
                .map(|segment| view(segment, interval))
                .collect(),
            log_end: list.log_end(),
            first_dirty: first_dirty.clamp(log_start, list.log_end()),
            producers_upto: self.snapshots.newest().unwrap_or(log_start),
            list,
        })
    }
}

fn view(segment: &Arc<Segment>, interval: u64) -> SegmentView {
    let end = segment.end();
    let largest_timestamp_ms = segment.largest_timestamp();
    // An entry at most every so many bytes, and at most one for each batch.
    let apart = interval.max(records::HEADER_LEN as u64);
    let entry_len = offset_index::ENTRY_LEN.max(time_index::ENTRY_LEN) as u64;
    SegmentView {
        base_offset: segment.base(),
        end_offset: end.offset,
        bytes: end.bytes,
        index_bytes: (end.bytes / apart + 1) * entry_len,
        first_timestamp_ms: segment.tail(|tail| tail.first_timestamp),
        largest_timestamp_ms,
    }
}

/// Whether each of these segments is settled and known to be whole, and what is settled is told of
/// by a place behind them: a place in one of them would mean nothing once it is replaced (K1).
pub(super) fn is_settled(entry: &LedgerEntry, segments: &[Arc<Segment>]) -> bool {
    segments.iter().all(|segment| {
        let known = entry.segments.iter().find(|one| one.id == segment.id());
        let sealed = known.filter(|one| !one.swapping).and_then(|one| one.sealed);
        let end = segment.end();
        sealed.is_some_and(|sealed| sealed.bytes == end.bytes && sealed.next_offset == end.offset)
            && entry
                .settled
                .is_some_and(|settled| settled.segment.base_offset > segment.base())
    })
}

impl Cleaning {
    /// Has the passes read and write about so many bytes at once; a batch that is larger is read
    /// and written whole.
    pub fn set_chunk_bytes(&mut self, bytes: usize) {
        self.chunk_bytes = bytes.max(CHUNK_BYTES_MIN);
    }

    /// First offset of the log.
    pub fn log_start(&self) -> i64 {
        self.list.log_start
    }

    /// The offset after its last record.
    pub fn log_end(&self) -> i64 {
        self.log_end
    }

    /// The first offset that cleaning has not been over (K4).
    pub fn first_dirty(&self) -> i64 {
        self.first_dirty
    }

    /// What is known of producers is written down up to here: nothing above is cleaned (K5).
    /// [`PartitionLog::cover_start`] moves it.
    pub fn producers_upto(&self) -> i64 {
        self.producers_upto
    }

    /// The segments, in order of their base offsets; the last one still grows.
    pub fn segments(&self) -> &[SegmentView] {
        &self.segments
    }

    /// Segments that are to become one, if they may be cleaned.
    pub(super) fn group(&self, range: Range<usize>) -> Result<&[Arc<Segment>], CleanError> {
        let sealed = self.list.all().len().saturating_sub(1);
        let group = self.list.all().get(range.clone());
        let group = group.filter(|group| !group.is_empty() && range.end <= sealed);
        let group = group.ok_or(CleanError::Changed("the segments are not there"))?;
        if group.len() > CLEANED_AT_ONCE_MAX {
            return Err(CleanError::Changed("too many segments at once"));
        }
        let end = self.segments[range.end - 1].end_offset;
        if end > self.producers_upto {
            return Err(CleanError::Changed(
                "what is known of its producers is not written down",
            ));
        }
        let entry = self.dir.entry(&self.incarnation);
        if !entry.is_some_and(|entry| is_settled(&entry, group)) {
            return Err(CleanError::Changed("not all of it is settled"));
        }
        let span = end.saturating_sub(1).saturating_sub(group[0].base());
        if group.len() > 1 && span > i64::from(i32::MAX) {
            return Err(CleanError::Changed("the offsets are too far apart"));
        }
        Ok(group)
    }

    /// The first pass: hands out the batches that end at or above `from` and begin below `upto`, in
    /// order, until `visit` has enough.
    ///
    /// # Errors
    ///
    /// [`CleanError::Uncleanable`] at a batch that is damaged or that `visit` refuses,
    /// [`CleanError::Stopped`] when `pace` ends it.
    pub async fn read(
        &self,
        from: i64,
        upto: i64,
        pace: &dyn Pace,
        visit: &mut dyn Visit,
    ) -> Result<(), CleanError> {
        let sealed = self.list.all().len().saturating_sub(1);
        for segment in &self.list.all()[..sealed] {
            let end = segment.end();
            if end.offset <= from || end.bytes == 0 {
                continue;
            }
            if segment.base() >= upto {
                break;
            }
            let target = from.max(segment.base());
            let interval = self.reader.interval();
            let span = lookup::find(self.reader.handles(), segment, target, interval).await?;
            let Some(span) = span else { continue };
            let begin = End {
                bytes: span.position,
                offset: span.base_offset,
            };
            let mut batches = Batches::begin(self, segment, begin, -1)?;
            while let Some(chunk) = batches.next(pace).await? {
                for batch in chunk {
                    let (batch, position) = batch?;
                    if batch.header.base_offset >= upto {
                        return Ok(());
                    }
                    let visited = visit.batch(&batch);
                    let visited = visited.map_err(|why| uncleanable(segment, position, why.0))?;
                    if visited.is_break() {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether there is any sense in going on.
    pub(super) fn check_open(&self) -> Result<(), CleanError> {
        if self.flush.is_removing() || self.dir.offline().is_some() {
            return Err(CleanError::Stopped);
        }
        Ok(())
    }
}

pub(super) fn uncleanable(segment: &Segment, position: u64, what: String) -> CleanError {
    CleanError::Uncleanable {
        segment: segment.base(),
        position,
        what,
    }
}

/// The verified batches of one segment, some at a time.
pub(super) struct Batches<'a> {
    cleaning: &'a Cleaning,
    segment: &'a Segment,
    file: Arc<dyn millrace_host::File>,
    check: Check,
    end: u64,
    is_done: bool,
}

impl<'a> Batches<'a> {
    /// From the batch that begins at `from`; `epoch` is the leader epoch of the one before, -1 where
    /// it isn't known.
    pub(super) fn begin(
        cleaning: &'a Cleaning,
        segment: &'a Arc<Segment>,
        from: End,
        epoch: i32,
    ) -> Result<Self, CleanError> {
        Ok(Self {
            cleaning,
            file: cleaning.reader.open(segment)?,
            check: Check {
                base: segment.base(),
                holes: segment.holes(),
                from,
                epoch,
                mark: None,
                write_again: false,
            },
            end: segment.end().bytes,
            segment,
            is_done: false,
        })
    }

    /// The leader epoch of the last batch that was given out.
    pub(super) fn epoch(&self) -> i32 {
        self.check.epoch
    }

    /// The next ones, each with its first byte in the file; `None` behind the last.
    pub(super) async fn next(&mut self, pace: &dyn Pace) -> Result<Option<Chunk>, CleanError> {
        if self.is_done {
            return Ok(None);
        }
        self.cleaning.check_open()?;
        let chunk_bytes = self.cleaning.chunk_bytes as u64;
        let mut proof = Proof::new(&self.file, self.end, &self.check).in_chunks(chunk_bytes);
        let path = self.file.path();
        let step = proof.step(&mut |_| {}).await;
        let (bytes, stop) = step.map_err(Error::io("read", path))?;
        let (end, epoch) = (proof.end(), proof.epoch());
        match stop {
            None => {}
            Some(Stop::End) => self.is_done = true,
            Some(Stop::Bad(what)) => return Err(uncleanable(self.segment, end.bytes, what)),
            Some(Stop::Incomplete | Stop::Zeros) => {
                let what = "the file ends inside a batch".to_owned();
                return Err(uncleanable(self.segment, end.bytes, what));
            }
        }
        let chunk = Chunk {
            segment: self.segment.base(),
            position: self.check.from.bytes,
            bytes,
        };
        (self.check.from, self.check.epoch) = (end, epoch);
        if !pace.take(chunk.bytes.len() as u64).await {
            return Err(CleanError::Stopped);
        }
        Ok(Some(chunk))
    }
}

/// Whole batches, one after another.
pub(super) struct Chunk {
    segment: i64,
    position: u64,
    bytes: Bytes,
}

impl Iterator for Chunk {
    type Item = Result<(Batch, u64), CleanError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.bytes.is_empty() {
            return None;
        }
        let position = self.position;
        let size = records::BatchHeader::parse(&self.bytes).map(|header| header.size());
        let batch = size.and_then(|size| {
            let size = size.min(self.bytes.len());
            self.position += size as u64;
            Batch::parse(self.bytes.split_to(size))
        });
        Some(batch.map(|batch| (batch, position)).map_err(|error| {
            self.bytes = Bytes::new();
            CleanError::Uncleanable {
                segment: self.segment,
                position,
                what: error.to_string(),
            }
        }))
    }
}

/// Where a segment's files stand while they are made.
pub(super) fn cleaned_path(dir: &Path, base: i64, kind: &str) -> std::path::PathBuf {
    names::file(dir, base, &format!("{kind}{}", names::CLEANED))
}
