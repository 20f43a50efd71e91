//! A copy of a partition's log, made in another log directory (`durability.md` M1 to M5).
//!
//! What always holds: it grows under a name ending in `-future`, which nobody serves; what is copied
//! was verified (checksum, chain, leader epoch), so that damage never moves along; it takes the
//! partition's name only when every byte and every file of it is durable and the ledger of its
//! directory says so.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use millrace_host::{DirEntry, EntryKind, File, OpenMode};
use millrace_probe::{Branch, Bug, planted, reached};
use millrace_protocol::producer::ProducerEntry;
use millrace_protocol::records::BatchHeader;

use super::handover::Outline;
use super::open::TIMESTAMP_UNKNOWN;
use super::remove::remove_tree;
use super::snapshots::{Snapshots, write_both};
use super::verify::{Check, Stop, verify_upto};
use super::{PartitionLog, Partitions, aside_name, partition_path, position, retention};
use crate::dir::format::write_file;
use crate::error::Error;
use crate::flusher::FlushHandle;
use crate::flusher::settle::Work;
use crate::mark::{Durability, Incarnation, Mark, SegmentId, SnapshotName};
use crate::segment::list::SegmentList;
use crate::segment::tail::{End, Tail};
use crate::segment::{Segment, names};
use crate::sink::DurabilitySink;
use crate::{epoch_checkpoint, partition_metadata, producer_snapshot};

/// How the names of copies end that are being made, as Kafka's.
const FUTURE: &str = "-future";

/// Bytes that are copied in one step, if batches are not larger.
const STEP: u64 = 1 << 20;

/// Marks that may wait for the ledger of the copy at once.
const MARKS_AT_ONCE: usize = 1000;

/// A copy being made. Dropping it leaves what there is of it to [`Partitions::sweep_copies`];
/// [`LogCopy::discard`] takes it away.
#[derive(Debug)]
pub struct LogCopy {
    partitions: Partitions,
    incarnation: Incarnation,
    topic: Arc<str>,
    /// Where it grows; `None` as long as there is nothing to copy.
    path: Option<Arc<Path>>,
    segments: BTreeMap<i64, Copied>,
    /// The partition's metadata file.
    identity: Option<Arc<dyn File>>,
    /// The directory's ledger may know of it.
    is_marked: bool,
}

/// One segment, copied up to its end.
#[derive(Debug)]
struct Copied {
    segment: Segment,
    /// The descriptor that writes; `None` once all of it is synced.
    file: Option<Arc<dyn File>>,
    /// The leader epoch of its last batch.
    epoch: i32,
}

/// What one step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Bytes that it copied.
    pub copied: u64,
    /// Bytes of the log that are still missing, as it stood then.
    pub left: u64,
}

/// What a copy ends with.
pub struct Ending {
    /// The log, which takes no more records.
    pub outline: Outline,
    /// Its high watermark.
    pub high_watermark: i64,
    /// What is known of its producers, as it stands at its end.
    pub producers: Vec<ProducerEntry>,
    /// Who is told of what becomes durable in the copy.
    pub sink: Arc<dyn DurabilitySink>,
}

impl Partitions {
    /// Begins a copy of a partition that lies in another directory. Nothing is written yet.
    pub fn begin_copy(&self, outline: &Outline) -> LogCopy {
        LogCopy {
            partitions: self.clone(),
            incarnation: outline.incarnation,
            topic: outline.topic.clone(),
            path: None,
            segments: BTreeMap::new(),
            identity: None,
            is_marked: false,
        }
    }

    /// Removes copies that an earlier run did not end: how many there were. To be called once after
    /// a start, before the first copy is begun.
    pub async fn sweep_copies(&self) -> Result<usize, Error> {
        let dir = self.dir.path();
        let disk = self.host.disk.as_ref();
        let left = |entry: &DirEntry| entry.kind == EntryKind::Dir && entry.name.ends_with(FUTURE);
        let mut listed = disk.list(dir).await.map_err(Error::io("list", dir))?;
        listed.retain(left);
        for entry in &listed {
            reached(Branch::CopySwept);
            remove_tree(disk, &dir.join(&entry.name)).await;
        }
        Ok(listed.len())
    }
}

impl LogCopy {
    /// The offset after the last record that was copied; the log's start before the first.
    pub fn end(&self, outline: &Outline) -> i64 {
        let last = self.segments.last_key_value();
        let end = last.map(|(_, copied)| copied.segment.end().offset);
        end.unwrap_or(outline.list.log_start)
    }

    /// Bytes that were copied.
    pub fn bytes(&self) -> u64 {
        let ends = self.segments.values().map(|copied| copied.segment.end());
        ends.map(|end| end.bytes).sum()
    }

    /// Copies a little more of the log, front to back. Nothing is left when it gives 0 for that;
    /// what is appended later can be copied by a newer outline.
    ///
    /// # Errors
    ///
    /// Damage in the log, a full disk, or a failure of the machine. A failed write or sync of the
    /// copy takes its directory offline (F1), a read that failed harms nobody.
    pub async fn step(&mut self, outline: &Outline) -> Result<Step, Error> {
        self.drop_retired(outline).await;
        let next = outline
            .segments()
            .find(|(source, end)| self.missing(source, *end).is_none_or(|bytes| bytes > 0));
        let mut copied = 0;
        if let Some((source, end)) = next {
            self.begin_segment(source)?;
            copied = self.copy_part(outline, source, end).await?;
        }
        self.close_sealed(outline).await?;
        let left = outline.segments().map(|(source, end)| {
            let missing = self.missing(source, end);
            missing.unwrap_or(end.bytes)
        });
        Ok(Step {
            copied,
            left: left.sum(),
        })
    }

    /// Bytes that the copy lacks of a segment that ends there; `None` when it lacks the file.
    fn missing(&self, source: &Segment, end: End) -> Option<u64> {
        let copied = self.segments.get(&source.base())?;
        Some(end.bytes.saturating_sub(copied.segment.end().bytes))
    }

    /// Forgets segments that have left the log since.
    async fn drop_retired(&mut self, outline: &Outline) {
        let first = outline.list.all().first().map_or(0, |first| first.base());
        while let Some(retired) = self.segments.first_entry()
            && *retired.key() < first
        {
            let copied = retired.remove();
            retention::remove_files(self.partitions.host.disk.as_ref(), &copied.segment).await;
        }
    }

    /// Makes the copy's directory with its identity.
    fn home(&mut self) -> Result<Arc<Path>, Error> {
        if let Some(path) = &self.path {
            return Ok(Arc::clone(path));
        }
        let partition = self.incarnation.partition;
        let own = partition_path(self.partitions.dir.path(), &self.topic, partition)?;
        let host = &self.partitions.host;
        let path = own.with_file_name(aside_name(host.rng.as_ref(), &own, FUTURE));
        let made = host.disk.create_dir(&path);
        made.map_err(|error| self.broken(Error::io("make", &path)(error)))?;
        let path: Arc<Path> = path.into();
        self.path = Some(path.clone());
        let text = partition_metadata::encode(self.incarnation.topic_id);
        let file = path.join(partition_metadata::FILE_NAME);
        let written = write_file(host.disk.as_ref(), &file, text.as_bytes());
        self.identity = Some(written.map_err(|error| self.broken(error))?);
        Ok(path)
    }

    fn begin_segment(&mut self, source: &Segment) -> Result<(), Error> {
        if self.segments.contains_key(&source.base()) {
            return Ok(());
        }
        let path = self.home()?;
        let end = End {
            bytes: 0,
            offset: source.base(),
        };
        let segment = Segment::new(path, source.id(), source.holes(), Tail::new(end));
        let log = segment.path(names::LOG);
        let disk = &self.partitions.host.disk;
        let made = disk.open(&log, OpenMode::CreateNew);
        let file = made.map_err(|error| self.broken(Error::io("create", &log)(error)))?;
        let before = self.segments.range(..source.base()).next_back();
        let copied = Copied {
            segment,
            epoch: before.map_or(-1, |(_, copied)| copied.epoch),
            file: Some(file),
        };
        self.segments.insert(source.base(), copied);
        Ok(())
    }

    /// Copies some batches of one segment.
    async fn copy_part(
        &mut self,
        outline: &Outline,
        source: &Arc<Segment>,
        end: End,
    ) -> Result<u64, Error> {
        let damaged = |at: u64, why: &str| Error::PartitionOffline {
            partition: format!("{}-{}", self.topic, self.incarnation.partition),
            reason: format!(
                "segment {} is damaged at byte {at}: {why}; it is not copied",
                source.base()
            ),
        };
        let Some(copied) = self.segments.get(&source.base()) else {
            return Ok(0);
        };
        let from = copied.segment.end();
        let Some(into) = copied
            .file
            .clone()
            .filter(|_| copied.segment.id() == source.id())
        else {
            return Err(damaged(from.bytes, "it was replaced meanwhile"));
        };
        let check = Check {
            base: source.base(),
            holes: source.holes(),
            from,
            epoch: copied.epoch,
            mark: None,
            write_again: false,
        };
        let file = outline.reader.open(source)?;
        let mut step = STEP;
        let found = loop {
            let upto = end.bytes.min(from.bytes + step);
            let mut unwritten = None;
            let mut good = |bytes: &[u8], at: u64| {
                write(&into, bytes, at).inspect_err(|error| unwritten = Some(error.kind()))
            };
            let mut wrong = None;
            let mut seen = |header: &BatchHeader| {
                if let Err(what) = has_its_epoch(&outline.epochs, header) {
                    wrong.get_or_insert(what);
                }
                let interval = outline.settings.index_interval_bytes;
                let tail = |tail: &mut Tail| tail.push(header, header.base_offset, interval);
                copied.segment.tail(tail);
            };
            let found = verify_upto(&file, upto, &check, &mut good, &mut seen).await;
            let found = match (found, unwritten) {
                (Err(error), Some(_)) => {
                    return Err(self.broken(Error::io("write", into.path())(error)));
                }
                (found, _) => found.map_err(Error::io("read", file.path()))?,
            };
            if let Some(what) = wrong {
                return Err(damaged(from.bytes, &what));
            }
            match &found.stop {
                Stop::Bad(what) => return Err(damaged(found.end.bytes, what)),
                Stop::Incomplete | Stop::Zeros if upto == end.bytes => {
                    return Err(damaged(found.end.bytes, "it ends there"));
                }
                // The step ends inside a batch.
                Stop::Incomplete | Stop::Zeros if found.end == from => step *= 2,
                Stop::End | Stop::Incomplete | Stop::Zeros => break found,
            }
        };
        let disk = self.partitions.host.disk.as_ref();
        if let Err(error) = copied.segment.write_indexes(disk, false) {
            tracing::debug!(%error, "index entries of a copy were left out");
        }
        let len = found.end.bytes - from.bytes;
        if let Err(error) = into.start_write_back(from.bytes, len) {
            tracing::debug!(%error, "write-back was not begun");
        }
        if let Some(copied) = self.segments.get_mut(&source.base()) {
            copied.epoch = found.epoch;
        }
        Ok(len)
    }

    /// Syncs and closes the segments that are whole and grow no more.
    async fn close_sealed(&mut self, outline: &Outline) -> Result<(), Error> {
        let sealed = outline.list.all().len().saturating_sub(1);
        let (disk, dir) = (&self.partitions.host.disk, &self.partitions.dir);
        for (source, end) in outline.segments().take(sealed) {
            let copied = self.segments.get_mut(&source.base());
            let Some(copied) = copied.filter(|copied| copied.segment.end() == end) else {
                return Ok(());
            };
            if let Some(file) = copied.file.take() {
                write_indexes(disk.as_ref(), &copied.segment);
                if !planted(Bug::MoveBeforeCopyIsDurable) {
                    dir.synced(file.path(), file.sync().await)?;
                }
            }
        }
        Ok(())
    }

    /// Syncs what was copied so far, so that little is left for [`Self::finish`].
    pub async fn sync(&self) -> Result<(), Error> {
        if planted(Bug::MoveBeforeCopyIsDurable) {
            return Ok(());
        }
        let open = self.segments.values();
        let mut work = Work {
            files: open.filter_map(|copied| copied.file.clone()).collect(),
            dirs: Vec::new(),
        };
        work.files.extend(self.identity.clone());
        let synced = work.start(self.partitions.host.disk.as_ref()).await;
        synced.inspect_err(|error| self.partitions.dir.fail(&error.to_string()))
    }

    /// Ends a copy that has every byte of the log: all of it durable, known to its directory's
    /// ledger, under the partition's name. The log that comes back takes the place of the old one by
    /// [`PartitionLog::hand_over`], once the metadata name its directory.
    ///
    /// # Errors
    ///
    /// As [`Self::step`]; and when the partition's name is taken in the directory. The copy is to be
    /// discarded then.
    pub async fn finish(&mut self, ending: Ending) -> Result<PartitionLog, Error> {
        let outline = &ending.outline;
        let partition = self.incarnation.partition;
        let own = partition_path(self.partitions.dir.path(), &self.topic, partition)?;
        let own: Arc<Path> = own.into();
        if outline.list.all().is_empty() {
            return self.finish_unwritten(ending, own);
        }
        self.check_whole(outline)?;
        let snapshot = self.write_beside(&ending)?;
        self.sync_all(snapshot.1).await?;
        let flush = self.partitions.dir.flush_handle(
            self.incarnation,
            self.position(),
            outline.cut_count,
            Arc::clone(&ending.sink),
        );
        let flush = Arc::new(flush);
        self.mark(&flush, &ending, snapshot.0).await?;
        self.take_name(&own).await?;
        Ok(self.assemble(outline, own, flush, snapshot.0))
    }

    /// There is nothing to copy: the log begins in the other directory.
    fn finish_unwritten(&self, ending: Ending, own: Arc<Path>) -> Result<PartitionLog, Error> {
        let outline = ending.outline;
        let settings = outline.settings;
        let opened =
            self.partitions
                .open_new(self.incarnation, &self.topic, own, settings, ending.sink);
        let mut log = opened.log;
        self.check_not_removing(&log.flush)?;
        log.mode = outline.mode;
        log.epochs = outline.epochs;
        Ok(log)
    }

    /// Of a log in whose place something else stands nothing is said.
    fn check_whole(&self, outline: &Outline) -> Result<(), Error> {
        let of = |id: SegmentId, end: End| (id, end);
        let copied = self.segments.values();
        let copied = copied.map(|one| of(one.segment.id(), one.segment.end()));
        let there = outline.segments();
        if copied.eq(there.map(|(segment, end)| of(segment.id(), end))) {
            return Ok(());
        }
        Err(self.refused("it changed while its end was copied"))
    }

    fn check_not_removing(&self, flush: &FlushHandle) -> Result<(), Error> {
        if flush.is_removing() {
            return Err(self.refused("an earlier copy of it is still being removed there"));
        }
        Ok(())
    }

    fn refused(&self, reason: &str) -> Error {
        Error::PartitionOffline {
            partition: format!("{}-{}", self.topic, self.incarnation.partition),
            reason: reason.to_owned(),
        }
    }

    /// What else belongs to a log: the state of its producers at its end, its leader epochs, the
    /// index entries that were pending. Gives the snapshot's name, and the files to sync.
    fn write_beside(
        &self,
        ending: &Ending,
    ) -> Result<(SnapshotName, Vec<millrace_host::Completion<()>>), Error> {
        let path = self.path.as_deref().unwrap_or(Path::new(""));
        let disk = self.partitions.host.disk.as_ref();
        if let Some((_, active)) = self.segments.last_key_value() {
            write_indexes(disk, &active.segment);
        }
        let epochs = path.join(epoch_checkpoint::FILE_NAME);
        let text = epoch_checkpoint::encode(&ending.outline.epochs);
        if let Err(error) = super::overwrite(disk, &epochs, text.as_bytes()) {
            tracing::warn!(path = %epochs.display(), %error, "the file of epochs was not written");
        }
        let offset = ending.outline.log_end();
        let mut name = SnapshotName {
            offset,
            crc_ours: 0,
            crc_kafka: 0,
        };
        if ending.producers.is_empty() {
            return Ok((name, Vec::new()));
        }
        let ours = producer_snapshot::encode(offset, &ending.producers);
        let kafka = producer_snapshot::encode_kafka(&ending.producers);
        if ours.crc == 0 {
            return Err(self.refused("its producers' state can't be named now; ask again"));
        }
        (name.crc_ours, name.crc_kafka) = (ours.crc, kafka.crc);
        let files = [
            (names::PRODUCERS, ours.bytes.as_slice()),
            (names::SNAPSHOT, kafka.bytes.as_slice()),
        ];
        let written = write_both(disk, path, offset, files);
        let syncs = written.map_err(|error| self.broken(Error::io("write", path)(error)))?;
        Ok((name, Vec::from(syncs)))
    }

    async fn sync_all(&self, beside: Vec<millrace_host::Completion<()>>) -> Result<(), Error> {
        if planted(Bug::MoveBeforeCopyIsDurable) {
            return Ok(());
        }
        for synced in beside {
            self.partitions
                .dir
                .synced(self.partitions.dir.path(), synced.await)?;
        }
        self.sync().await?;
        let path = self.path.as_deref().unwrap_or(Path::new(""));
        let names = self.partitions.host.disk.sync_dir(path).await;
        self.partitions.dir.synced(path, names)
    }

    fn position(&self) -> crate::mark::Position {
        let last = self.segments.last_key_value();
        last.map(|(_, last)| position(last.segment.id(), last.segment.end()))
            .unwrap_or_default()
    }

    /// Tells the directory's ledger all there is to know of the copy, as of a log that was closed,
    /// and looks whether it does.
    async fn mark(
        &mut self,
        flush: &FlushHandle,
        ending: &Ending,
        snapshot: SnapshotName,
    ) -> Result<(), Error> {
        let outline = &ending.outline;
        self.check_not_removing(flush)?;
        flush.make_room()?;
        self.is_marked = true;
        let end = self.position();
        let marks = self.marks(ending, snapshot);
        for some in marks.chunks(MARKS_AT_ONCE) {
            for mark in some {
                flush.mark(mark.clone());
            }
            flush
                .mark_now(Mark::HighWatermark(ending.high_watermark))
                .await?;
        }
        flush.mark_now(Mark::Close(end)).await?;
        let entry = self.partitions.dir.entry(&self.incarnation);
        let is_known = entry.is_some_and(|entry| {
            let segments = entry.segments.iter().map(|segment| segment.id);
            entry.close == Some(end)
                && segments.eq(self.segments.values().map(|copied| copied.segment.id()))
                && entry.cut_count == outline.cut_count
                && entry.mode == outline.mode
                && !(entry.deleting || entry.damaged)
        });
        if !is_known {
            return Err(self.refused("the ledger of the other directory doesn't know it"));
        }
        Ok(())
    }

    fn marks(&self, ending: &Ending, snapshot: SnapshotName) -> Vec<Mark> {
        let outline = &ending.outline;
        let mut marks = Vec::new();
        for copied in self.segments.values() {
            marks.push(Mark::Segment {
                id: copied.segment.id(),
                topic: self.topic.clone(),
                holes: copied.segment.holes(),
            });
        }
        if outline.mode == Durability::PageCache {
            marks.push(Mark::Mode(outline.mode));
        }
        let cut_count = outline.cut_count;
        if cut_count > 0 {
            // Of cuts only their number is carried over: one at the very end says it.
            let to = self.position();
            marks.push(Mark::CutIntent { to, cut_count });
            marks.push(Mark::CutDone { cut_count });
        }
        let sealed = self.segments.len().saturating_sub(1);
        for copied in self.segments.values().take(sealed) {
            let segment = &copied.segment;
            marks.push(Mark::Sealed {
                end: position(segment.id(), segment.end()),
                max_timestamp_ms: segment.largest_timestamp().unwrap_or(TIMESTAMP_UNKNOWN),
            });
        }
        let epochs = outline.epochs.iter();
        marks.extend(epochs.map(|&(epoch, start_offset)| Mark::Epoch {
            epoch,
            start_offset,
        }));
        marks.push(Mark::LogStart(outline.list.log_start));
        marks.push(Mark::Snapshot(snapshot));
        marks
    }

    /// Gives the copy the partition's name.
    async fn take_name(&mut self, own: &Arc<Path>) -> Result<(), Error> {
        let (disk, dir) = (&self.partitions.host.disk, &self.partitions.dir);
        let _home = dir.homes().hold(own).await;
        match disk.list(own).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::io("look at", own)(error)),
            Ok(_) => {
                reached(Branch::CopyNameTaken);
                return Err(self.refused(&format!(
                    "{} is there already; move it away, then ask again",
                    own.display()
                )));
            }
        }
        let from = self.path.clone().unwrap_or_else(|| own.clone());
        let renamed = disk.rename(&from, own).await;
        renamed.map_err(Error::io("rename", &from))?;
        self.path = Some(own.clone());
        if planted(Bug::MoveBeforeCopyIsDurable) {
            return Ok(());
        }
        dir.synced(dir.path(), disk.sync_dir(dir.path()).await)
    }

    fn assemble(
        &mut self,
        outline: &Outline,
        own: Arc<Path>,
        flush: Arc<FlushHandle>,
        snapshot: SnapshotName,
    ) -> PartitionLog {
        let copied = std::mem::take(&mut self.segments).into_values();
        let segments: Vec<_> = copied
            .map(|copied| {
                let (id, holes) = (copied.segment.id(), copied.segment.holes());
                let end = copied.segment.end();
                let tail = copied
                    .segment
                    .tail(|tail| std::mem::replace(tail, Tail::new(end)));
                Arc::new(Segment::new(own.clone(), id, holes, tail))
            })
            .collect();
        for segment in &segments[..segments.len().saturating_sub(1)] {
            segment.seal();
        }
        let list = SegmentList::new(segments, outline.list.log_start);
        let partitions = &self.partitions;
        let reader = partitions.reader(list, outline.settings, outline.epochs.clone());
        let mut log = partitions.log(self.incarnation, own, outline.settings, flush, reader);
        log.topic = self.topic.clone();
        log.mode = outline.mode;
        log.has_dir = true;
        log.epochs.clone_from(&outline.epochs);
        log.cut_count = outline.cut_count;
        log.active_since_ms = outline.active_since_ms;
        log.written_back = log.position().map_or(0, |end| end.bytes);
        log.snapshots = Snapshots::new(&[snapshot]);
        log
    }

    /// Takes away what there is of the copy, as far as that goes: the next start does the rest.
    pub async fn discard(self) -> Result<(), Error> {
        if self.partitions.dir.offline().is_some() {
            return Ok(());
        }
        if self.is_marked {
            reached(Branch::CopyDiscardedMarked);
            let removed = self.partitions.remove(self.incarnation, Duration::ZERO);
            removed.await?;
        }
        if let Some(path) = &self.path {
            let is_copy = path.to_str().is_some_and(|path| path.ends_with(FUTURE));
            if is_copy {
                remove_tree(self.partitions.host.disk.as_ref(), path).await;
            }
        }
        Ok(())
    }

    /// What a failed write to the copy means: a full disk goes away by itself, and so does a want of
    /// descriptors; anything else takes the directory offline (F1).
    fn broken(&self, error: Error) -> Error {
        let dir = &self.partitions.dir;
        let error = error.in_directory(dir.path());
        let Error::Io { source, .. } = &error else {
            return error;
        };
        let passing = [
            io::ErrorKind::StorageFull,
            io::ErrorKind::QuotaExceeded,
            io::ErrorKind::FileTooLarge,
        ];
        if !passing.contains(&source.kind()) && !millrace_host::is_out_of_descriptors(source) {
            dir.fail(&error.to_string());
        }
        error
    }
}

/// Writes bytes of a copy.
fn write(file: &Arc<dyn File>, bytes: &[u8], at: u64) -> io::Result<()> {
    let written = file.write_vectored_at(&[IoSlice::new(bytes)], at)?;
    if written < bytes.len() {
        return Err(io::ErrorKind::StorageFull.into());
    }
    Ok(())
}

/// Writes the index entries that are pending, and the last of times: shortcuts, which can be made
/// anew.
fn write_indexes(disk: &dyn millrace_host::Disk, segment: &Segment) {
    segment.tail(Tail::index_time);
    if let Err(error) = segment.write_indexes(disk, true) {
        tracing::warn!(%error, "index entries of a copy were left out");
    }
}

/// Whether a batch has the leader epoch that the log knows for its offset: no checksum covers it
/// (A5).
fn has_its_epoch(epochs: &[(i32, i64)], header: &BatchHeader) -> Result<(), String> {
    let later = epochs.partition_point(|(_, start)| *start <= header.base_offset);
    let known = later.checked_sub(1).map(|at| epochs[at].0);
    match known {
        Some(known) if known != header.partition_leader_epoch => Err(format!(
            "leader epoch {} where {known} is due",
            header.partition_leader_epoch
        )),
        _ => Ok(()),
    }
}
