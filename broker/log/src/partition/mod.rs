//! One partition's log: the writer half that lives under the partition's lock, and the shared reader.
//!
//! What always holds: the log is a chain of whole batches from `log_start` to `log_end`; its end
//! moves forward by appends and back only by a cut whose mark is durable; a partition that was never
//! written has no directory, no descriptor and no entry anywhere.

mod clean;
mod cleaning;
mod copy;
mod copy_finish;
mod cut;
mod handover;
mod known;
mod open;
mod prove;
mod reader;
mod recover;
mod recover_effects;
mod remove;
mod replace;
mod retention;
mod settings;
mod size;
mod snapshots;
mod stray;
mod switch;
mod timestamps;
mod unfinished;
pub(crate) mod verify;
mod wished;
mod writer;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use millrace_host::{Host, Rng};
use tokio::sync::OnceCell;

use crate::dir::LogDir;
use crate::error::Error;
use crate::flusher::{Durable, FlushHandle};
use crate::handles::{Handles, UntilRolled};
use crate::mark::{Durability, Incarnation, Mark, Position, SegmentId};
use crate::segment::names;
use crate::segment::tail::{End, Tail};
use crate::sink::DurabilitySink;
use crate::{epoch_checkpoint, partition_metadata};

pub use clean::Cleaned;
pub use cleaning::{
    CLEANED_AT_ONCE_MAX, CleanError, Cleaning, Filter, Kept, Pace, SegmentView, Uncleanable, Visit,
};
pub use copy::{LogCopy, Step};
pub use copy_finish::Ending;
pub use cut::{CutWork, Truncation};
pub use handover::Outline;
pub use open::{Opened, Replay};
pub use reader::{LogReader, Read, ReadRegion, Shape};
pub use replace::{Replaced, Replacement};
pub use retention::{NextLook, Removal, WallGuard};
pub use settings::LogSettings;
pub use switch::Switch;
pub use timestamps::TimestampOffset;

pub use wished::Note;
pub use writer::{Append, AppendError, Appended};

pub(crate) use known::TIMESTAMP_UNKNOWN;
use snapshots::Snapshots;

/// What the partitions of one log directory share. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Partitions {
    dir: Arc<LogDir>,
    host: Host,
    handles: Arc<Handles>,
    options: PartitionOptions,
    /// Names in the log directory when it was first looked at.
    names_at_start: Arc<OnceCell<BTreeSet<String>>>,
}

/// Limits of the partitions of one log directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionOptions {
    /// How many segments may be open at once (each up to two descriptors), unless more hold
    /// unsettled bytes.
    pub open_segments_max: usize,
    /// `log.cut.keep.bytes`: how much of what recovery cuts off is kept aside.
    pub cut_keep_bytes: u64,
}

impl Default for PartitionOptions {
    fn default() -> Self {
        Self {
            open_segments_max: 4096,
            cut_keep_bytes: 64 << 20,
        }
    }
}

impl Partitions {
    /// The partitions of `dir`.
    pub fn new(dir: Arc<LogDir>, host: Host, options: PartitionOptions) -> Self {
        let handles = Arc::new(Handles::new(host.disk.clone(), options.open_segments_max));
        Self {
            dir,
            host,
            handles,
            options,
            names_at_start: Arc::default(),
        }
    }

    /// The open files and their counters.
    pub fn handles(&self) -> &Arc<Handles> {
        &self.handles
    }

    /// The log directory.
    pub fn dir(&self) -> &Arc<LogDir> {
        &self.dir
    }
}

/// Whether the log takes changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// A cut was announced and is not done.
    Cutting,
    /// Something below its durable mark is damaged: it serves what is intact and takes nothing.
    Quarantined,
    /// A write could not be undone.
    Failed,
}

/// The writer half of one partition's log. Every `&mut` call is made under the partition's lock.
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts, each read by itself"
)]
#[derive(Debug)]
pub struct PartitionLog {
    incarnation: Incarnation,
    topic: Arc<str>,
    path: Arc<Path>,
    dir: Arc<LogDir>,
    host: Host,
    flush: Arc<FlushHandle>,
    reader: Arc<LogReader>,
    settings: LogSettings,
    /// What the bytes are written under; follows the settings at an open and by a switch.
    mode: Durability,
    phase: Phase,
    /// A change of durability writes bytes again: the end may not move back under it.
    switching: bool,
    /// Segments are being replaced by a cleaned one.
    replacing: bool,
    /// Whoever copies the log holds it too.
    copies: Arc<()>,
    /// What the ledger says of its clean end is still true: nothing was written since.
    closed: bool,
    has_dir: bool,
    dir_begun: bool,
    epochs: Vec<(i32, i64)>,
    cut_count: u32,
    active_since_ms: i64,
    written_back: u64,
    snapshots: Snapshots,
    /// Of the page cache: the active segment may stay open.
    until_rolled: Option<UntilRolled>,
}

impl PartitionLog {
    /// The shared reader.
    pub fn reader(&self) -> Arc<LogReader> {
        self.reader.clone()
    }

    /// Which partition this is.
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// First offset of the log.
    pub fn log_start(&self) -> i64 {
        self.reader.log_start()
    }

    /// The offset after the last record written.
    pub fn log_end(&self) -> i64 {
        self.reader.log_end()
    }

    /// Bytes in all segments.
    pub fn size_bytes(&self) -> u64 {
        self.reader.list().bytes()
    }

    /// The offset up to which everything is durable.
    pub fn flushed(&self) -> i64 {
        self.flush.flushed().offset.max(self.log_start())
    }

    /// Commits what is staged now, without waiting for lag.
    pub fn flush_now(&self) {
        // Bytes of a page-cache topic are never staged: their file is synced.
        if self.mode == Durability::PageCache
            && let Some(end) = self.position()
            && let Some(active) = self.reader.list().active()
            && let Ok(file) = self.reader.open(active)
        {
            self.flush.sync_later(&file, end);
        }
        self.flush.flush_now();
    }

    /// The leader epochs in the log and their first offsets, ascending.
    pub fn epochs(&self) -> &[(i32, i64)] {
        &self.epochs
    }

    /// Takes other settings; what they say acts on later appends. A change of durability needs
    /// [`Self::begin_switch`] too.
    pub fn configure(&mut self, settings: LogSettings) {
        self.settings = settings;
        self.reader.set_interval(settings.index_interval_bytes);
    }

    /// Says that a leader epoch begins. An epoch at or below the newest is ignored.
    pub fn begin_epoch(&mut self, epoch: i32, start_offset: i64) {
        if self.epochs.last().is_some_and(|last| last.0 >= epoch) {
            return;
        }
        // An epoch that ended without a record leaves no trace: the next one starts where it did.
        while self
            .epochs
            .last()
            .is_some_and(|last| last.1 >= start_offset)
        {
            self.epochs.pop();
        }
        self.epochs.push((epoch, start_offset));
        if self.has_dir {
            self.flush.mark(Mark::Epoch {
                epoch,
                start_offset,
            });
        }
    }

    /// Remembers the high watermark; it reaches the disk in company of something else.
    pub fn set_high_watermark(&mut self, offset: i64) {
        if self.has_dir {
            self.flush.mark(Mark::HighWatermark(offset));
        }
    }

    /// Writes what readers of the directory need (index ends, epochs), syncs everything, and says
    /// that the log was closed. The log takes no more changes after the call; the future needs no
    /// lock. A log that is quarantined or whose directory is offline is left as it is (F2).
    pub fn close(&mut self) -> Durable {
        let is_closed = self.is_closed();
        let phase = std::mem::replace(&mut self.phase, Phase::Failed);
        let list = self.reader.list();
        let Some((active, position)) = list.active().cloned().zip(self.position()) else {
            return Box::pin(std::future::ready(Ok(())));
        };
        if is_closed || phase != Phase::Open || self.dir.offline().is_some() {
            return Box::pin(std::future::ready(Ok(())));
        }
        active.tail(Tail::index_time);
        if let Err(error) = active.write_indexes(self.reader.handles().disk().as_ref(), true) {
            tracing::warn!(partition = %self.name(), %error, "index entries were left out");
        }
        self.write_epoch_checkpoint();
        if self.mode == Durability::PageCache
            && let Ok(file) = self.reader.open(&active)
        {
            self.flush.sync_later(&file, position);
        }
        self.until_rolled = None;
        let settled = self.flush.settle();
        let snapshots = std::mem::take(&mut self.snapshots);
        let flush = self.flush.clone();
        let (disk, path) = (self.host.disk.clone(), self.path.clone());
        Box::pin(async move {
            settled.await?;
            active.pin(false);
            let named = snapshots.name_all(&flush, position.offset).await;
            flush.mark_now(Mark::Close(position)).await?;
            snapshots::sweep(disk.as_ref(), &path, &named).await;
            Ok(())
        })
    }

    /// Whether nothing has to be done to close it: it was opened clean, and is as it was.
    pub fn is_closed(&self) -> bool {
        // Of the page cache a close says that it was under this boot, too.
        self.closed && self.phase == Phase::Open && self.mode == Durability::Fsync
    }

    /// How often its end moved back; completions from before a cut count for nothing (C6).
    pub fn cut_count(&self) -> u32 {
        self.cut_count
    }

    /// `topic-partition`, for messages.
    pub fn name(&self) -> String {
        format!("{}-{}", self.topic, self.incarnation.partition)
    }

    fn topic_id(&self) -> [u8; 16] {
        self.incarnation.topic_id
    }

    /// The directories in which a new segment's names stand.
    fn name_dirs(&self) -> [PathBuf; 2] {
        [self.path.to_path_buf(), self.dir.path().clone()]
    }

    /// Refuses changes in every phase but the open one.
    fn writable(&self) -> Result<(), AppendError> {
        let why = match self.phase {
            Phase::Open => match self.dir.offline() {
                None => return Ok(()),
                Some(reason) => format!("the log directory is offline: {reason}"),
            },
            Phase::Cutting => "a truncation is under way".to_owned(),
            Phase::Quarantined => "records below its durable end are damaged".to_owned(),
            Phase::Failed => "it was closed or a write to it could not be undone".to_owned(),
        };
        Err(AppendError::Failed(format!(
            "{} takes no records: {why}",
            self.name()
        )))
    }

    /// Writes Kafka's text file of epochs; derived from the marks and never read by an open log.
    fn write_epoch_checkpoint(&self) {
        if !self.has_dir {
            return;
        }
        let path = self.path.join(epoch_checkpoint::FILE_NAME);
        let text = epoch_checkpoint::encode(&self.epochs);
        if let Err(error) = overwrite(
            self.reader.handles().disk().as_ref(),
            &path,
            text.as_bytes(),
        ) {
            tracing::warn!(path = %path.display(), %error, "the file of epochs was not written");
        }
    }
}

/// Writes a small derived file in place; nothing of ours believes it after a crash.
fn overwrite(disk: &dyn millrace_host::Disk, path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let file = disk.open(path, millrace_host::OpenMode::Create)?;
    let written = file.write_vectored_at(&[std::io::IoSlice::new(bytes)], 0)?;
    file.set_len(written as u64)?;
    if written < bytes.len() {
        return Err(std::io::ErrorKind::StorageFull.into());
    }
    Ok(())
}

/// For work on a partition before anyone waits for its bytes, or after: recovery, deletion.
struct NoSink;

impl DurabilitySink for NoSink {
    fn flushed(&self, _upto: i64, _cut_count: u32) {}

    fn directory_failed(&self, _reason: &str) {}
}

/// The longest file name that every file system takes.
const NAME_MAX: usize = 255;

/// `<topic>-<partition>.<32 hex digits><suffix>`, as Kafka names what it puts aside; the front is
/// shortened where it must be.
fn aside_name(rng: &dyn Rng, path: &Path, suffix: &str) -> String {
    use std::fmt::Write as _;
    let mut id = [0; 16];
    rng.fill(&mut id);
    let mut end = String::from(".");
    for byte in id {
        // Writing to a String cannot fail.
        let _infallible = write!(end, "{byte:02x}");
    }
    end.push_str(suffix);
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    // Names are ASCII: any byte is a boundary.
    format!("{}{end}", &name[..name.len().min(NAME_MAX - end.len())])
}

/// The directory of a partition in a log directory.
fn partition_path(dir: &Path, topic: &str, partition: i32) -> Result<PathBuf, Error> {
    Ok(dir.join(names::partition_dir(topic, partition)?))
}

/// A position at a segment's end.
fn position(segment: SegmentId, end: End) -> Position {
    Position {
        segment,
        bytes: end.bytes,
        offset: end.offset,
    }
}

/// The identity in a partition's directory, if there is one that can be read.
async fn read_identity(disk: &dyn millrace_host::Disk, path: &Path) -> Option<[u8; 16]> {
    let path = path.join(partition_metadata::FILE_NAME);
    let file = disk.open(&path, millrace_host::OpenMode::Read).ok()?;
    let bytes = file.read_at(0, 256).await.ok()?;
    partition_metadata::parse(std::str::from_utf8(&bytes).ok()?).ok()
}

#[cfg(test)]
mod clean_tests;
#[cfg(test)]
mod copy_tests;
#[cfg(test)]
mod crash_tests;
#[cfg(test)]
pub(crate) mod log_tests;
#[cfg(test)]
mod recover_tests;
