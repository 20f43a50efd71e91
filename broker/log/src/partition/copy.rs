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
use millrace_protocol::records::BatchHeader;

use super::handover::Outline;
use super::remove::remove_tree;
use super::verify::{Check, Stop, Verified, verify_upto};
use super::{Partitions, aside_name, partition_path, retention};
use crate::dir::format::write_file;
use crate::error::Error;
use crate::flusher::settle::Work;
use crate::mark::Incarnation;
use crate::partition_metadata;
use crate::segment::tail::{End, Tail};
use crate::segment::{Segment, names};

/// How the names of copies end that are being made, as Kafka's.
const FUTURE: &str = "-future";

/// Bytes that are copied in one step, if batches are not larger.
const STEP: u64 = 1 << 20;

/// A copy being made. Dropping it leaves what there is of it to [`Partitions::sweep_copies`];
/// [`LogCopy::discard`] takes it away.
#[derive(Debug)]
pub struct LogCopy {
    pub(super) partitions: Partitions,
    pub(super) incarnation: Incarnation,
    pub(super) topic: Arc<str>,
    /// Where it grows; `None` as long as there is nothing to copy.
    pub(super) path: Option<Arc<Path>>,
    pub(super) segments: BTreeMap<i64, Copied>,
    /// The partition's metadata file.
    identity: Option<Arc<dyn File>>,
    /// The directory's ledger may know of it.
    pub(super) is_marked: bool,
    /// The log's segments stay what they are.
    _copies: Arc<()>,
}

/// One segment, copied up to its end.
#[derive(Debug)]
pub(super) struct Copied {
    pub(super) segment: Segment,
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
            _copies: outline.copies.clone(),
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

    /// Forgets segments that have left the log since: retention took them, or they were replaced
    /// by a cleaned one, which had begun before the copy.
    async fn drop_retired(&mut self, outline: &Outline) {
        let is_there = |copied: &Copied| {
            let at = outline.list.floor(copied.segment.base());
            at.is_some_and(|at| outline.list.all()[at].id() == copied.segment.id())
        };
        let gone = self.segments.extract_if(.., |_, copied| !is_there(copied));
        let gone: Vec<Copied> = gone.map(|(_, copied)| copied).collect();
        for copied in gone {
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
        let vouched = self.partitions.dir.vouched();
        let segment = Segment::new(path, vouched, source.id(), source.holes(), Tail::new(end));
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
        let Some(copied) = self.segments.get(&source.base()) else {
            return Ok(0);
        };
        let from = copied.segment.end();
        let mut step = STEP;
        let found = loop {
            let upto = end.bytes.min(from.bytes + step);
            let found = self.copy_upto(outline, source, upto).await?;
            match &found.stop {
                Stop::Bad(what) => return Err(self.damaged(source, found.end, what)),
                Stop::Incomplete | Stop::Zeros if upto == end.bytes => {
                    return Err(self.damaged(source, found.end, "it ends there"));
                }
                // The step ends inside a batch.
                Stop::Incomplete | Stop::Zeros if found.end == from => step *= 2,
                Stop::End | Stop::Incomplete | Stop::Zeros => break found,
            }
        };
        let len = found.end.bytes - from.bytes;
        let disk = self.partitions.host.disk.as_ref();
        if let Some(copied) = self.segments.get_mut(&source.base()) {
            copied.epoch = found.epoch;
            if let Err(error) = copied.segment.write_indexes(disk, false) {
                tracing::debug!(%error, "index entries of a copy were left out");
            }
            let begun = copied.file.as_ref();
            let begun = begun.map(|file| file.start_write_back(from.bytes, len));
            if let Some(Err(error)) = begun {
                tracing::debug!(%error, "write-back was not begun");
            }
        }
        Ok(len)
    }

    /// Copies the whole batches of a segment that are missing, up to byte `upto`.
    async fn copy_upto(
        &self,
        outline: &Outline,
        source: &Arc<Segment>,
        upto: u64,
    ) -> Result<Verified, Error> {
        let copied = self.segments.get(&source.base());
        let copied = copied.filter(|copied| copied.segment.id() == source.id());
        let opened = copied.and_then(|copied| Some((copied, copied.file.clone()?)));
        let (copied, into) =
            opened.ok_or_else(|| self.refused("a segment of it was replaced meanwhile"))?;
        let from = copied.segment.end();
        let check = Check {
            base: source.base(),
            holes: source.holes(),
            from,
            epoch: copied.epoch,
            mark: None,
            write_again: false,
        };
        let file = outline.reader.open(source)?;
        let (mut is_unwritten, mut wrong) = (false, None);
        let mut good =
            |bytes: &[u8], at: u64| write(&into, bytes, at).inspect_err(|_| is_unwritten = true);
        let mut seen = |header: &BatchHeader| {
            if let Err(what) = has_its_epoch(&outline.epochs, header) {
                wrong.get_or_insert(what);
            }
            let interval = outline.settings.index_interval_bytes;
            copied
                .segment
                .tail(|tail| tail.push(header, header.base_offset, interval));
        };
        let found = verify_upto(&file, upto, &check, &mut good, &mut seen).await;
        let found = found.map_err(|error| {
            if is_unwritten {
                self.broken(Error::io("write", into.path())(error))
            } else {
                Error::io("read", file.path())(error)
            }
        })?;
        match wrong {
            Some(what) => Err(self.damaged(source, from, &what)),
            None => Ok(found),
        }
    }

    pub(super) fn refused(&self, reason: &str) -> Error {
        Error::PartitionOffline {
            partition: format!("{}-{}", self.topic, self.incarnation.partition),
            reason: reason.to_owned(),
        }
    }

    fn damaged(&self, source: &Segment, at: End, why: &str) -> Error {
        self.refused(&format!(
            "segment {} is damaged at byte {}: {why}; it is not copied",
            source.base(),
            at.bytes
        ))
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
    pub(super) fn broken(&self, error: Error) -> Error {
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
pub(super) fn write_indexes(disk: &dyn millrace_host::Disk, segment: &Segment) {
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
