//! What recovery does to the disk: syncs, cuts, sets aside, states (`durability.md` R4 to R6, C5).
//!
//! What always holds: bytes and names change only behind a durable intent; a failed sync takes the
//! directory offline; *recovered* is stated only of a log that is whole.

use std::io;
use std::sync::Arc;

use millrace_host::{File, OpenMode};
use millrace_probe::{Branch, Bug, planted, reached};

use super::known::{TIMESTAMP_UNKNOWN, log_start};
use super::recover::{Recovered, Sweep};
use super::retention::remove_files;
use super::{cut, position, snapshots};
use crate::dir::format::write_file;
use crate::error::Error;
use crate::flusher::settle::Work;
use crate::mark::{Durability, Mark, Position, SegmentId};
use crate::partition_metadata;
use crate::segment::tail::End;
use crate::segment::{Segment, names};

/// Files that are synced side by side, at most.
const SYNCS_MAX: usize = 16;

impl Sweep<'_> {
    /// Moves segment files that are no part of the log out of the way (R6), and removes what
    /// retention left behind.
    pub(super) async fn set_aside(&mut self) -> Result<(), Error> {
        let path = self.known.path.clone();
        let disk = self.partitions.host.disk.clone();
        let first = self
            .entries()
            .first()
            .map_or(0, |entry| entry.id.base_offset);
        let stamp = self.partitions.host.clock.now().wall_ms;
        let mut changed = false;
        for base in self.files.keys().copied() {
            if self.segments.iter().any(|segment| segment.base() == base) {
                continue;
            }
            let log = names::file(&path, base, names::LOG);
            let moved = if base < first && self.known.entry.log_start > base {
                reached(Branch::RetainedFileRemoved);
                disk.remove(&log).await
            } else {
                reached(Branch::SegmentSetAside);
                tracing::warn!(path = %log.display(), "not part of the log by the ledger; set aside");
                disk.rename(
                    &log,
                    &names::file(&path, base, &format!("log.{stamp}.aside")),
                )
                .await
            };
            match moved {
                // Already gone with a cut.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                result => result.map_err(Error::io("set aside", &log))?,
            }
            for kind in [names::INDEX, names::TIME_INDEX] {
                if let Err(error) = disk.remove(&names::file(&path, base, kind)).await {
                    tracing::debug!(base, %error, "no index to remove");
                }
            }
            changed = true;
        }
        if changed {
            let dir = &self.partitions.dir;
            dir.synced(&path, disk.sync_dir(&path).await)?;
        }
        Ok(())
    }

    /// Makes what was proven durable: the files, their names, the directory's name.
    pub(super) async fn sync(&self) -> Result<(), Error> {
        if !self.must_sync() || planted(Bug::RecoveredTailNotSynced) {
            return Ok(());
        }
        let (handles, dir) = (&self.partitions.handles, &self.partitions.dir);
        let files = self.verified.iter().map(|segment| {
            let path = segment.path(names::LOG);
            handles.log(segment).map_err(Error::io("open", &path))
        });
        let mut files = files.collect::<Result<Vec<_>, _>>()?;
        if self.is_taken_in() {
            // Whose it is was read, perhaps from the page cache only.
            files.push(self.write_identity()?);
        }
        let mut dirs = vec![self.known.path.to_path_buf(), dir.path().clone()];
        loop {
            // The names go with the first ones.
            let work = Work {
                files: files.split_off(files.len().saturating_sub(SYNCS_MAX)),
                dirs: std::mem::take(&mut dirs),
            };
            let synced = work.start(self.partitions.host.disk.as_ref()).await;
            synced.inspect_err(|error| dir.fail(&error.to_string()))?;
            if files.is_empty() {
                break;
            }
        }
        for segment in &self.verified {
            segment.pin(false);
        }
        Ok(())
    }

    /// Writes the partition's metadata file again.
    fn write_identity(&self) -> Result<Arc<dyn File>, Error> {
        let disk = self.partitions.host.disk.as_ref();
        let path = self.known.path.join(partition_metadata::FILE_NAME);
        let text = partition_metadata::encode(self.known.incarnation.topic_id);
        write_file(disk, &path, text.as_bytes())
    }

    /// Cuts the log at `to`: intent, bytes kept aside, later segments, the file, done.
    pub(super) async fn cut(&mut self, to: Position, why: &str) -> Result<(), Error> {
        self.cut_count = self.flush.cut(to);
        let intent = Mark::CutIntent {
            to,
            cut_count: self.cut_count,
        };
        self.flush.mark_now(intent).await?;
        tracing::warn!(
            partition = %self.name(), segment = to.segment.base_offset, byte = to.bytes,
            offset = to.offset, why, "the end of the log is cut"
        );
        self.finish_cut(to, self.cut_count).await?;
        self.segments
            .retain(|segment| segment.base() <= to.segment.base_offset);
        self.epochs.retain(|(_, start)| *start < to.offset);
        Ok(())
    }

    /// Does (or does again) the file part of a cut whose intent is durable.
    pub(super) async fn finish_cut(&mut self, to: Position, cut_count: u32) -> Result<(), Error> {
        let path = self.known.path.clone();
        let disk = &self.partitions.host.disk;
        let log = names::file(&path, to.segment.base_offset, names::LOG);
        let file = disk
            .open(&log, OpenMode::Create)
            .map_err(Error::io("open", &log))?;
        let keep = self.partitions.options.cut_keep_bytes;
        let room = self.partitions.dir.has_room(keep, false);
        let limit = if room { keep } else { 0 };
        match cut::keep_aside(disk, &path, to, &file, limit).await {
            Ok(kept) => {
                if kept > 0 {
                    reached(Branch::CutBytesKept);
                }
                tracing::info!(partition = %self.name(), kept, "bytes behind the cut kept");
            }
            Err(error) => {
                reached(Branch::CutBytesNotKept);
                tracing::warn!(partition = %self.name(), %error, "bytes behind the cut not kept");
            }
        }
        // Longer than the cut only: a file is never extended by one.
        let len = file.len().map_err(Error::io("open", &log))?;
        let bytes = to.bytes.min(len);
        let to = Position { bytes, ..to };
        cut::shorten((disk, &self.flush), &path, to, &file).await?;
        self.files.retain(|base, _| *base <= to.segment.base_offset);
        self.files.insert(to.segment.base_offset, bytes);
        self.flush.mark_now(Mark::CutDone { cut_count }).await
    }

    /// States what was recovered, and closes every segment but the last.
    pub(super) async fn finish(&mut self) -> Result<Recovered, Error> {
        let entry = self.known.entry;
        let first = self.segments.first().map_or(0, |segment| segment.base());
        let log_start = log_start(entry).max(first);
        let end = self.expected.map_or(log_start, |end| {
            self.end().map_or(end, |position| position.offset)
        });
        if log_start > end && self.quarantined.is_none() {
            self.restart_empty(log_start).await?;
        }
        let sealed = self.segments.len().saturating_sub(1);
        for segment in &self.segments[..sealed] {
            if segment.is_sealed() {
                continue;
            }
            segment.seal();
            // Of a damaged one the true end isn't known, and the next start has to find that again.
            if !segment.is_quarantined() {
                self.flush.mark(Mark::Sealed {
                    end: position(segment.id(), segment.end()),
                    max_timestamp_ms: segment.largest_timestamp().unwrap_or(TIMESTAMP_UNKNOWN),
                });
            }
        }
        for &(epoch, start_offset) in &self.epochs {
            if !entry.epochs.contains(&(epoch, start_offset)) {
                self.flush.mark(Mark::Epoch {
                    epoch,
                    start_offset,
                });
            }
        }
        if let Some(end) = self
            .end()
            .filter(|_| self.must_sync() && self.quarantined.is_none())
        {
            let recovered = Mark::Recovered(end);
            // Until that mark is durable the bytes count as of the boot before, and a segment that
            // is begun meanwhile would not be adopted after a kill (R6).
            // Of what is taken in, no start would know that it was ever written (C4).
            if self.untold || !self.same_boot {
                self.flush.mark_now(recovered).await?;
            } else {
                // Ahead of everything that is appended from now on. Without it the next start
                // proves the same bytes again.
                self.flush.mark(recovered);
            }
        }
        reached(Branch::PartitionRecovered);
        let disk = self.partitions.host.disk.as_ref();
        snapshots::sweep(disk, self.known.path, &entry.snapshots).await;
        let (flushed, unsettled) = self.proven();
        Ok(Recovered {
            flushed,
            unsettled,
            segments: std::mem::take(&mut self.segments),
            log_start,
            has_dir: true,
            epochs: std::mem::take(&mut self.epochs),
            cut_count: self.cut_count,
            may_have_lost: entry.mode == Durability::PageCache
                && (!self.same_boot || self.after_failure),
            quarantined: self.quarantined.take(),
        })
    }

    /// Up to where the log is durable, and the segments that hold what is not: none, unless the
    /// page cache is believed (A3). Of a damaged log nothing more is claimed.
    fn proven(&mut self) -> (Position, Vec<Arc<Segment>>) {
        let end = self.end().unwrap_or_default();
        if self.must_sync() {
            return (end, Vec::new());
        }
        reached(Branch::PageCacheBelieved);
        let flushed = self.flushed().unwrap_or_default().min(end);
        let mut unsettled = std::mem::take(&mut self.verified);
        unsettled.retain(|one| self.quarantined.is_none() && one.base() <= end.segment.base_offset);
        (flushed, unsettled)
    }

    /// The records up to the log start are gone with the cut: the log restarts empty there (A3).
    async fn restart_empty(&mut self, log_start: i64) -> Result<(), Error> {
        reached(Branch::RestartedEmpty);
        let gone = std::mem::take(&mut self.segments);
        for (at, segment) in gone.iter().enumerate() {
            let mark = Mark::SegmentRemoved(segment.id());
            if at + 1 == gone.len() {
                // Marks of one partition become durable in order: the last one covers all (C5).
                self.flush.mark_now(mark).await?;
            } else {
                self.flush.mark(mark);
            }
        }
        for segment in &gone {
            remove_files(self.partitions.host.disk.as_ref(), segment).await;
        }
        let id = SegmentId {
            base_offset: log_start,
            generation: self.cut_count,
        };
        let topic = self.known.entry.topic.clone();
        self.verify(
            id,
            false,
            End {
                bytes: 0,
                offset: log_start,
            },
        )
        .await?;
        self.flush.mark(Mark::Segment {
            id,
            topic,
            holes: false,
        });
        self.untold = true;
        self.sync().await
    }
}
