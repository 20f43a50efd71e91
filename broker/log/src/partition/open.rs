//! Opening a partition: never written, clean, or in need of recovery.
//!
//! What always holds: a partition that was never written costs no I/O; a clean one is opened by what
//! the ledger says, without a scan; a dirty one is recovered before anyone sees it (`durability.md`
//! R3, R4); a directory that belongs to another topic is never touched.

use std::path::Path;
use std::sync::Arc;

use millrace_host::DirEntry;
use millrace_probe::{Branch, reached};
use millrace_protocol::producer::ProducerEntry;
use millrace_protocol::records::BatchHeader;

use super::known::{Known, log_start, sealed_segment};
use super::recover::{self, Recovered};
use super::snapshots::{self, Snapshots};
use super::{
    LogReader, LogSettings, PartitionLog, Partitions, Phase, partition_path, position,
    read_identity,
};
use crate::error::Error;
use crate::flusher::FlushHandle;
use crate::ledger::LedgerEntry;
use crate::mark::{Durability, Incarnation, Mark, Position};
use crate::partition_metadata;
use crate::segment::index::{self, Found};
use crate::segment::list::SegmentList;
use crate::segment::offset_index::OffsetEntry;
use crate::segment::tail::{End, Tail};
use crate::segment::time_index::TimeEntry;
use crate::segment::{Kind, Segment, headers, lookup, names};
use crate::sink::DurabilitySink;

/// What the state above the log is rebuilt from, in the order of the calls: once the producers as
/// of some offset (empty when no snapshot is usable), then every batch from there on.
pub trait Replay: Send {
    /// The producers as they stood before the first batch that follows.
    fn producers(&mut self, entries: Vec<ProducerEntry>);
    /// The next batch, in offset order.
    fn batch(&mut self, header: &BatchHeader);
}

/// A partition log as it was opened.
#[derive(Debug)]
pub struct Opened {
    /// The writer half.
    pub log: PartitionLog,
    /// First offset.
    pub log_start: i64,
    /// The offset after the last record.
    pub log_end: i64,
    /// Everything below is durable.
    pub flushed: i64,
    /// The last high watermark that was remembered, inside the log's bounds.
    pub high_watermark: i64,
    /// Leader epochs and their first offsets.
    pub epochs: Vec<(i32, i64)>,
    /// What the bytes are written under.
    pub mode: Durability,
    /// A page-cache log that may have lost bytes: it needs a new leader epoch before its first
    /// append.
    pub may_have_lost: bool,
    /// Damage below the durable end, for people: the log serves what is intact and must not lead.
    pub quarantined: Option<String>,
}

impl Partitions {
    /// Opens the log of one partition; one at a time per incarnation.
    pub async fn open(
        &self,
        incarnation: Incarnation,
        topic: &str,
        settings: LogSettings,
        sink: Arc<dyn DurabilitySink>,
        replay: &mut dyn Replay,
    ) -> Result<Opened, Error> {
        let path: Arc<Path> = partition_path(self.dir.path(), topic, incarnation.partition)?.into();
        let entry = match self.dir.entry(&incarnation) {
            Some(entry) => entry,
            None => match self.take_in(incarnation, topic, &path).await? {
                Some(entry) => entry,
                None => return Ok(self.open_new(incarnation, topic, path, settings, sink)),
            },
        };
        let offline = |reason: &str| Error::PartitionOffline {
            partition: format!("{topic}-{}", incarnation.partition),
            reason: reason.to_owned(),
        };
        if entry.damaged {
            reached(Branch::DamagedStaysOffline);
            return Err(offline(
                "its journal entries are damaged; see millrace check",
            ));
        }
        if entry.deleting {
            return Err(offline("it is being deleted"));
        }
        self.check_identity(&path, incarnation, &entry).await?;
        let known = Known {
            incarnation,
            entry: &entry,
            path: &path,
            settings: &settings,
        };
        let (finished, listed) = self.finish_replacements(&known).await?;
        let clean = self.open_clean(&known, &listed).await?;
        let is_clean = clean.is_some();
        let recovered = match clean {
            Some(recovered) => recovered,
            None => recover::recover(self, &known).await?,
        };
        let (flushed, cut_count) = (recovered.flushed, recovered.cut_count);
        let flush = self.dir.flush_handle(incarnation, flushed, cut_count, sink);
        let flush = Arc::new(flush);
        self.settle_later(&path, &flush, &recovered)?;
        for mark in finished {
            flush.mark(mark);
        }
        if entry.mode != settings.durability {
            flush.mark_now(Mark::Mode(settings.durability)).await?;
        }
        let mut opened = self.assemble(&known, flush, recovered);
        opened.log.closed = is_clean && entry.mode == settings.durability;
        opened.log.replay(replay).await?;
        self.dir.proven().await?;
        Ok(opened)
    }

    /// Has what a kill left in the page cache synced beside whatever comes (A3). The sync of a later
    /// roll would else speak of segments before it whose own sync the kill has overtaken.
    fn settle_later(
        &self,
        path: &Path,
        flush: &FlushHandle,
        recovered: &Recovered,
    ) -> Result<(), Error> {
        for segment in &recovered.unsettled {
            let log = segment.path(names::LOG);
            let file = self.handles.log(segment).map_err(Error::io("open", &log))?;
            flush.new_names([path.to_path_buf(), self.dir.path().clone()]);
            flush.sync_later(&file, position(segment.id(), segment.end()));
        }
        Ok(())
    }

    /// A partition that was never written: nothing on disk, nothing done.
    pub(super) fn open_new(
        &self,
        incarnation: Incarnation,
        topic: &str,
        path: Arc<Path>,
        settings: LogSettings,
        sink: Arc<dyn DurabilitySink>,
    ) -> Opened {
        let flush = self
            .dir
            .flush_handle(incarnation, Position::default(), 0, sink);
        let reader = self.reader(SegmentList::default(), settings, Vec::new());
        let log = PartitionLog {
            topic: topic.into(),
            ..self.log(incarnation, path, settings, Arc::new(flush), reader)
        };
        Opened {
            log,
            log_start: 0,
            log_end: 0,
            flushed: 0,
            high_watermark: 0,
            epochs: Vec::new(),
            mode: settings.durability,
            may_have_lost: false,
            quarantined: None,
        }
    }

    pub(super) fn reader(
        &self,
        list: SegmentList,
        settings: LogSettings,
        epochs: Vec<(i32, i64)>,
    ) -> Arc<LogReader> {
        let interval = settings.index_interval_bytes;
        let reader = LogReader::new(list, self.handles.clone(), interval, epochs);
        Arc::new(reader)
    }

    pub(super) fn log(
        &self,
        incarnation: Incarnation,
        path: Arc<Path>,
        settings: LogSettings,
        flush: Arc<FlushHandle>,
        reader: Arc<LogReader>,
    ) -> PartitionLog {
        PartitionLog {
            incarnation,
            topic: "".into(),
            path,
            dir: self.dir.clone(),
            host: self.host.clone(),
            flush,
            reader,
            settings,
            mode: settings.durability,
            phase: Phase::Open,
            switching: false,
            replacing: false,
            copies: Arc::default(),
            closed: false,
            has_dir: false,
            dir_begun: false,
            epochs: Vec::new(),
            cut_count: 0,
            active_since_ms: self.host.clock.now().wall_ms,
            written_back: 0,
            snapshots: Snapshots::default(),
            until_rolled: None,
        }
    }

    fn assemble(&self, known: &Known<'_>, flush: Arc<FlushHandle>, recovered: Recovered) -> Opened {
        let Known {
            incarnation,
            entry,
            path,
            settings,
        } = *known;
        let list = SegmentList::new(recovered.segments, recovered.log_start);
        let reader = self.reader(list, *settings, recovered.epochs.clone());
        let mut log = self.log(incarnation, path.clone(), *settings, flush, reader);
        log.topic = entry.topic.clone();
        log.has_dir = recovered.has_dir;
        log.epochs.clone_from(&recovered.epochs);
        log.cut_count = recovered.cut_count;
        log.written_back = log.position().map_or(0, |end| end.bytes);
        let log_end = log.log_end();
        log.snapshots = Snapshots::new(&entry.snapshots);
        log.snapshots.cut(log_end);
        if recovered.quarantined.is_some() {
            log.phase = Phase::Quarantined;
        }
        let log_start = recovered.log_start;
        let flushed = match settings.durability {
            Durability::Fsync => log_end,
            Durability::PageCache => log.flushed().min(log_end),
        };
        Opened {
            log_start,
            log_end,
            flushed,
            high_watermark: entry.high_watermark.clamp(log_start, log_end),
            epochs: recovered.epochs,
            mode: settings.durability,
            may_have_lost: recovered.may_have_lost,
            quarantined: recovered.quarantined,
            log,
        }
    }

    /// Whose directory it is. A directory of ours whose identity was lost with a power cut is given
    /// it again; one of another topic is refused.
    async fn check_identity(
        &self,
        path: &Path,
        incarnation: Incarnation,
        entry: &LedgerEntry,
    ) -> Result<(), Error> {
        if entry.segments.is_empty() {
            return Ok(());
        }
        match read_identity(self.host.disk.as_ref(), path).await {
            Some(id) if id == incarnation.topic_id => Ok(()),
            Some(_) => {
                reached(Branch::DirectoryOfAnother);
                Err(Error::PartitionOffline {
                    partition: path.display().to_string(),
                    reason: "its partition.metadata names another topic; move the directory away"
                        .to_owned(),
                })
            }
            None => {
                reached(Branch::IdentityWrittenAgain);
                let text = partition_metadata::encode(incarnation.topic_id);
                let file = path.join(partition_metadata::FILE_NAME);
                match super::overwrite(self.host.disk.as_ref(), &file, text.as_bytes()) {
                    // No directory: recovery says whether that is a loss.
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
                    result => result.map_err(Error::io("write", &file)),
                }
            }
        }
    }

    /// Opens by what the ledger says, if the partition was closed and its active segment has the
    /// length it had then (R3).
    async fn open_clean(
        &self,
        known: &Known<'_>,
        listed: &[DirEntry],
    ) -> Result<Option<Recovered>, Error> {
        let entry = known.entry;
        let (Some(close), Some((active, sealed))) = (entry.close, entry.segments.split_last())
        else {
            return Ok(None);
        };
        if entry.pending_cut.is_some() || active.id != close.segment {
            return Ok(None);
        }
        let log_path = names::file(known.path, active.id.base_offset, names::LOG);
        let len = self
            .host
            .disk
            .open(&log_path, millrace_host::OpenMode::Read)
            .and_then(|file| file.len());
        if !len.is_ok_and(|len| len == close.bytes) {
            reached(Branch::ClosedOtherLength);
            return Ok(None);
        }
        // Segments begun since, whose marks were still on their way when the process ended; behind a
        // power cut a later one may be there without those before it.
        let named = listed.iter().filter_map(|file| names::parse(&file.name));
        let mut logs = named.filter(|(_, suffix)| *suffix == names::LOG);
        if logs.any(|(base, _)| base > active.id.base_offset) {
            reached(Branch::ClosedThenRolled);
            return Ok(None);
        }
        reached(Branch::OpenedClean);
        let vouched = self.dir.vouched();
        let mut segments = Vec::with_capacity(entry.segments.len());
        for segment in sealed {
            let Some(segment) = sealed_segment(known.path, vouched, segment) else {
                return Ok(None);
            };
            segments.push(Arc::new(segment));
        }
        let end = End {
            bytes: close.bytes,
            offset: close.offset,
        };
        let (path, tail) = (known.path.clone(), Tail::new(end));
        let segment = Segment::new(path, vouched, active.id, active.holes, tail);
        let segment = Arc::new(segment);
        self.revive(&segment, Some(known.settings.index_interval_bytes))
            .await?;
        segments.push(segment);
        Ok(Some(Recovered {
            segments,
            log_start: log_start(entry),
            has_dir: true,
            epochs: entry.epochs.clone(),
            cut_count: entry.cut_count,
            // Appends of a later run may have gone with the page cache, their marks too.
            may_have_lost: entry.mode == Durability::PageCache && !self.dir.same_boot(entry),
            quarantined: None,
            flushed: close,
            unsettled: Vec::new(),
        }))
    }

    /// Learns of a segment that grows on what its first header and its indexes say. An index that
    /// says nothing usable starts anew with the next batches; of times only when the log was closed:
    /// `closed` is `index.interval.bytes` then.
    pub(super) async fn revive(
        &self,
        segment: &Arc<Segment>,
        closed: Option<u64>,
    ) -> Result<(), Error> {
        let end = segment.end();
        if end.bytes == 0 {
            return Ok(());
        }
        let mut walk = headers::walk(&self.handles, segment, 0)?;
        let first = headers::next(&mut walk, segment).await?;
        let offsets = self
            .kept_entries::<OffsetEntry>(segment, Kind::Offsets, end, |entry| entry.last_offset);
        let offsets = offsets.await?;
        let times =
            self.kept_entries::<TimeEntry>(segment, Kind::Times, end, |entry| entry.last_offset);
        let times = times.await?;
        segment.tail(|tail| {
            tail.first_timestamp = first.map(|step| step.header.max_timestamp);
            tail.offsets_written = offsets.0;
            tail.times_written = times.0;
        });
        let largest = match (times.1, closed) {
            (Some(last), Some(interval)) => self.largest_behind(segment, last, interval).await?,
            _ => None,
        };
        segment.tail(|tail| tail.resume(times.1, largest));
        Ok(())
    }

    /// The largest timestamp of a closed segment: that of the last entry of its time index, or of a
    /// batch behind that. An index to which nothing could be added any more, because a start before
    /// did not know either, was closed without an entry for it. `None` where too much lies behind.
    async fn largest_behind(
        &self,
        segment: &Arc<Segment>,
        last: TimeEntry,
        interval: u64,
    ) -> Result<Option<TimeEntry>, Error> {
        let behind = last.last_offset.saturating_add(1);
        let end = segment.end();
        if behind >= end.offset {
            return Ok(Some(last));
        }
        let Some(span) = lookup::find(&self.handles, segment, behind, interval).await? else {
            return Ok(None);
        };
        if end.bytes.saturating_sub(span.position) > WALKED_FOR_TIMES_MAX {
            return Ok(None);
        }
        let mut largest = last;
        let mut walk = headers::walk(&self.handles, segment, span.position)?;
        while let Some(step) = headers::next(&mut walk, segment).await? {
            if step.header.record_count > 0 && step.header.max_timestamp > largest.timestamp {
                largest = TimeEntry {
                    timestamp: step.header.max_timestamp,
                    last_offset: step.header.last_offset(),
                };
            }
        }
        Ok(Some(largest))
    }

    /// Cuts an index file back to the entries of batches below `end`: how many, and the last one.
    async fn kept_entries<E: index::Entry + Sync>(
        &self,
        segment: &Segment,
        kind: Kind,
        end: End,
        offset: impl Fn(&E) -> i64 + Send + Sync,
    ) -> Result<(u64, Option<E>), Error> {
        let path = segment.path(kind.suffix());
        let io = Error::io("read", &path);
        let disk = self.host.disk.as_ref();
        let Some((source, count)) = segment
            .index(disk, kind)
            .map_err(Error::io("open", &path))?
        else {
            return Ok((0, None));
        };
        let below = |entry: &E| offset(entry) < end.offset;
        let (kept, found) = index::partition::<E>(&source, segment.base(), count, below)
            .await
            .map_err(io)?;
        segment.close_indexes();
        let (kept, last) = match found {
            Found::Entry(entry) => (kept, Some(entry)),
            Found::None | Found::Damaged => (0, None),
        };
        if kept < count {
            let cut = disk
                .open(&path, millrace_host::OpenMode::Write)
                .and_then(|file| file.set_len(kept * E::LEN as u64));
            cut.map_err(Error::io("shorten", &path))?;
        }
        Ok((kept, last))
    }
}

/// Bytes of batches whose headers a start walks to learn a segment's largest timestamp; where more lie
/// behind the last entry of its time index, that gets no more entries.
const WALKED_FOR_TIMES_MAX: u64 = 1 << 20;

impl PartitionLog {
    /// Gives out the newest usable snapshot and every batch behind it.
    async fn replay(&mut self, replay: &mut dyn Replay) -> Result<(), Error> {
        let list = self.reader.list();
        let handles = self.reader.handles();
        let log_end = list.log_end();
        let named = &mut self.snapshots.named;
        let loaded = snapshots::load(handles.disk(), &self.path, named, log_end).await;
        let (from, producers) = loaded.unwrap_or((list.log_start, Vec::new()));
        replay.producers(producers);
        let first = list.floor(from).unwrap_or(0);
        for segment in list.all().get(first..).unwrap_or_default() {
            let target = from.max(segment.base());
            let found = lookup::find(handles, segment, target, self.reader.interval()).await?;
            let Some(span) = found else { continue };
            let mut walk = headers::walk(handles, segment, span.position)?;
            while let Some(step) = headers::next(&mut walk, segment).await? {
                if step.header.base_offset >= from {
                    replay.batch(&step.header);
                }
            }
        }
        Ok(())
    }
}
