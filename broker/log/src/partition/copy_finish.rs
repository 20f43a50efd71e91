//! How a copy of a log ends: durable, known to its directory's ledger, under the partition's name
//! (`durability.md` M2).
//!
//! What always holds: each step is durable before the next begins, the name comes last; nothing goes
//! on that the ledger does not know.

use std::io;
use std::path::Path;
use std::sync::Arc;

use millrace_host::Completion;
use millrace_probe::{Branch, Bug, planted, reached};
use millrace_protocol::producer::ProducerEntry;

use super::copy::{LogCopy, write_indexes};
use super::handover::Outline;
use super::known::TIMESTAMP_UNKNOWN;
use super::snapshots::{Snapshots, write_both};
use super::{PartitionLog, partition_path, position};
use crate::error::Error;
use crate::flusher::FlushHandle;
use crate::mark::{Durability, Mark, Position, SnapshotName};
use crate::segment::list::SegmentList;
use crate::segment::tail::Tail;
use crate::segment::{Segment, names};
use crate::sink::DurabilitySink;
use crate::{epoch_checkpoint, producer_snapshot};

/// Marks that may wait for the ledger of the copy at once.
const MARKS_AT_ONCE: usize = 1000;

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

impl LogCopy {
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
        let copied = self.segments.values();
        let copied = copied.map(|one| (one.segment.id(), one.segment.end()));
        let there = outline.segments();
        if copied.eq(there.map(|(segment, end)| (segment.id(), end))) {
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

    /// What else belongs to a log: the state of its producers at its end, its leader epochs, the
    /// index entries that were pending. Gives the snapshot's name, and the files to sync.
    fn write_beside(&self, ending: &Ending) -> Result<(SnapshotName, Vec<Completion<()>>), Error> {
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

    async fn sync_all(&self, beside: Vec<Completion<()>>) -> Result<(), Error> {
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

    fn position(&self) -> Position {
        let last = self.segments.last_key_value();
        last.map(|(_, last)| position(last.segment.id(), last.segment.end()))
            .unwrap_or_default()
    }

    /// Tells the directory's ledger all there is to know of the copy, as of one that was
    /// recovered, and looks whether it does.
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
        // Not as one that was closed: of its indexes nobody knows what a power cut leaves.
        flush.mark_now(Mark::Recovered(end)).await?;
        let entry = self.partitions.dir.entry(&self.incarnation);
        let is_known = entry.is_some_and(|entry| {
            let segments = entry.segments.iter().map(|segment| segment.id);
            entry.settled == Some(end)
                && entry.flushed == Some(end)
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
        let entry = outline.dir.entry(&self.incarnation).unwrap_or_default();
        marks.extend(entry.segments.iter().filter_map(|known| {
            Some(Mark::Cleaned {
                segment: known.id,
                upto: known.cleaned?,
            })
        }));
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
                let vouched = self.partitions.dir.vouched();
                Arc::new(Segment::new(own.clone(), vouched, id, holes, tail))
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
}
