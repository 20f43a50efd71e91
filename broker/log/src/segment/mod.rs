//! One segment of a partition: its files, its end, its indexes.
//!
//! What always holds: the end only moves forward by whole batches while a segment is active, and
//! never again once it is sealed (truncation builds a new end under the partition's lock); its files
//! are exactly Kafka's.

pub(crate) mod headers;
pub(crate) mod index;
pub(crate) mod list;
pub(crate) mod lookup;
pub(crate) mod names;
pub(crate) mod offset_index;
pub(crate) mod rebuild;
pub(crate) mod tail;
pub(crate) mod time_index;
pub(crate) mod walk;

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};

use millrace_host::sync::atomic::{AtomicBool, Ordering};
use millrace_host::sync::{Arc, Mutex, lock};
use millrace_host::{Disk, File, OpenMode, Vouched};

use crate::mark::SegmentId;
use index::Source;
use tail::{End, PENDING_MAX, Tail};

/// One segment. Shared by the writer, the published list and every reader that holds the list.
#[derive(Debug)]
pub(crate) struct Segment {
    id: SegmentId,
    /// Whether offsets may be missing between its batches (`durability.md` R4).
    holes: bool,
    dir: Arc<Path>,
    tail: Mutex<Tail>,
    slots: Mutex<Slots>,
    sealed: AtomicBool,
    pinned: AtomicBool,
    /// The end stands before a batch that recovery found bad: nothing behind it may be read.
    damaged: AtomicBool,
    vouched: Vouched,
}

/// The open log file, a descriptor, and maps of its indexes, kept until the handle cache picks the segment.
#[derive(Debug, Default)]
struct Slots {
    log: Option<Arc<dyn File>>,
    offsets: Option<Source>,
    times: Option<Source>,
    used: bool,
}

/// Which index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Offsets to positions.
    Offsets,
    /// Timestamps to offsets.
    Times,
}

impl Kind {
    /// The suffix of its files.
    pub(crate) fn suffix(self) -> &'static str {
        match self {
            Self::Offsets => names::INDEX,
            Self::Times => names::TIME_INDEX,
        }
    }
}

impl Segment {
    /// A segment in `dir` that is known by its name; `tail` is what is known of its content.
    /// Its log directory says whether that still holds.
    pub(crate) fn new(
        dir: Arc<Path>,
        vouched: &Vouched,
        id: SegmentId,
        holes: bool,
        tail: Tail,
    ) -> Self {
        Self {
            id,
            holes,
            dir,
            tail: Mutex::new(tail),
            slots: Mutex::default(),
            sealed: AtomicBool::new(false),
            pinned: AtomicBool::new(false),
            damaged: AtomicBool::new(false),
            vouched: vouched.clone(),
        }
    }

    /// Name and generation.
    pub(crate) fn id(&self) -> SegmentId {
        self.id
    }

    /// The first offset it may hold.
    pub(crate) fn base(&self) -> i64 {
        self.id.base_offset
    }

    /// Whether offsets may be missing between its batches.
    pub(crate) fn holes(&self) -> bool {
        self.holes
    }

    /// Whether what is read from it is what was written.
    pub(crate) fn vouched(&self) -> &Vouched {
        &self.vouched
    }

    /// Where its whole batches end now.
    pub(crate) fn end(&self) -> End {
        lock(&self.tail).end
    }

    /// The largest timestamp of its records, in ms since 1970 (-1: it has none); `None` while that
    /// is not known for every batch.
    pub(crate) fn largest_timestamp(&self) -> Option<i64> {
        let tail = lock(&self.tail);
        tail.largest_known
            .then(|| tail.largest.map_or(-1, |entry| entry.timestamp))
    }

    /// Looks at or changes the tail. The closure must be quick: readers wait for it.
    pub(crate) fn tail<R>(&self, with: impl FnOnce(&mut Tail) -> R) -> R {
        with(&mut lock(&self.tail))
    }

    /// The path of one of its files.
    pub(crate) fn path(&self, suffix: &str) -> PathBuf {
        names::file(&self.dir, self.base(), suffix)
    }

    /// Says that the segment grows no more.
    pub(crate) fn seal(&self) {
        self.sealed.store(true, Ordering::Release);
        // The indexes may be mapped from now on.
        let mut slots = lock(&self.slots);
        slots.offsets = None;
        slots.times = None;
    }

    /// Whether the segment grows no more.
    pub(crate) fn is_sealed(&self) -> bool {
        self.sealed.load(Ordering::Acquire)
    }

    /// Keeps the file open while its bytes are not settled, or lets go of it.
    pub(crate) fn pin(&self, pinned: bool) {
        self.pinned.store(pinned, Ordering::Release);
    }

    /// Opens all its files and keeps them open for as long as anybody holds the segment: their names
    /// may lead elsewhere from now on, and its indexes are not made anew. `false` while one is.
    pub(crate) fn retire(&self, disk: &dyn Disk) -> io::Result<bool> {
        let is_free = self.tail(|tail| {
            tail.retired |= !tail.rebuilding;
            tail.retired
        });
        if is_free {
            self.pin(true);
            self.log_file(disk)?;
            self.index(disk, Kind::Offsets)?;
            self.index(disk, Kind::Times)?;
        }
        Ok(is_free)
    }

    /// It keeps its names after all.
    pub(crate) fn unretire(&self) {
        self.tail(|tail| tail.retired = false);
        self.pin(false);
    }

    /// Whether its names may lead elsewhere.
    pub(crate) fn is_retired(&self) -> bool {
        self.tail(|tail| tail.retired)
    }

    /// Says that a bad batch stands at the end of what may be read.
    pub(crate) fn quarantine(&self) {
        self.damaged.store(true, Ordering::Release);
    }

    /// Whether a bad batch stands behind the end.
    pub(crate) fn is_quarantined(&self) -> bool {
        self.damaged.load(Ordering::Acquire)
    }

    /// Gives the segment the file that made it, so that the descriptor that writes is the one kept.
    pub(crate) fn attach(&self, file: Arc<dyn File>) {
        let mut slots = lock(&self.slots);
        slots.log = Some(file);
        slots.used = true;
    }

    /// The log file, and whether this call opened it.
    pub(crate) fn log_file(&self, disk: &dyn Disk) -> io::Result<(Arc<dyn File>, bool)> {
        let mut slots = lock(&self.slots);
        slots.used = true;
        if let Some(file) = &slots.log {
            return Ok((file.clone(), false));
        }
        let file = disk.open(&self.path(names::LOG), OpenMode::Write)?;
        slots.log = Some(file.clone());
        Ok((file, true))
    }

    /// An index as it stands on disk, and how many entries it holds; `None` when there is none or
    /// its length is not a whole number of entries.
    pub(crate) fn index(&self, disk: &dyn Disk, kind: Kind) -> io::Result<Option<(Source, u64)>> {
        let entry_len = match kind {
            Kind::Offsets => offset_index::ENTRY_LEN as u64,
            Kind::Times => time_index::ENTRY_LEN as u64,
        };
        let is_kept_open = self.is_retired();
        let mut slots = lock(&self.slots);
        let slot = match kind {
            Kind::Offsets => &mut slots.offsets,
            Kind::Times => &mut slots.times,
        };
        let source = if let Some(source) = slot {
            source.clone()
        } else {
            let file = match disk.open(&self.path(kind.suffix()), OpenMode::Read) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(error),
            };
            // An empty file cannot be mapped.
            let source = if self.is_sealed() && !file.is_empty()? {
                Source::Map(file.map()?)
            } else {
                Source::File(file)
            };
            // A map takes no descriptor; a file would, in each of the partitions that are written.
            if is_kept_open || matches!(source, Source::Map(_)) {
                *slot = Some(source.clone());
            }
            source
        };
        drop(slots);
        let len = match &source {
            Source::Map(map) => map.bytes().len() as u64,
            Source::File(file) => file.len()?,
        };
        Ok(len
            .is_multiple_of(entry_len)
            .then_some((source, len / entry_len)))
    }

    /// Descriptors that it keeps.
    #[cfg(test)]
    pub(crate) fn descriptors(&self) -> usize {
        let slots = lock(&self.slots);
        let indexes = [&slots.offsets, &slots.times];
        let is_file = |source: &&&Option<Source>| matches!(source, Some(Source::File(_)));
        usize::from(slots.log.is_some()) + indexes.iter().filter(is_file).count()
    }

    /// Forgets open index files, after they were written anew.
    pub(crate) fn close_indexes(&self) {
        let mut slots = lock(&self.slots);
        slots.offsets = None;
        slots.times = None;
    }

    /// Closes the files unless they are in use; `false` when they are, or were since the last call.
    pub(crate) fn try_close(&self) -> bool {
        if self.pinned.load(Ordering::Acquire) {
            return false;
        }
        let mut slots = lock(&self.slots);
        if slots.used {
            slots.used = false;
            return false;
        }
        if slots
            .log
            .as_ref()
            .is_some_and(|file| Arc::strong_count(file) > 1)
        {
            return false;
        }
        *slots = Slots::default();
        true
    }

    /// Writes pending index entries to their files when enough have gathered, or when `all`.
    ///
    /// Indexes are only shortcuts: what cannot be written is left out, and look-ups scan longer.
    pub(crate) fn write_indexes(&self, disk: &dyn Disk, all: bool) -> io::Result<()> {
        let mut tail = lock(&self.tail);
        let due = tail.offsets.len().max(tail.times.len());
        if tail.rebuilding || due == 0 || (due < PENDING_MAX && !all) {
            return Ok(());
        }
        let offsets: Vec<u8> = std::mem::take(&mut tail.offsets)
            .into_iter()
            .filter_map(|entry| entry.encode(self.base()))
            .flatten()
            .collect();
        let times: Vec<u8> = std::mem::take(&mut tail.times)
            .into_iter()
            .filter_map(|entry| entry.encode(self.base()))
            .flatten()
            .collect();
        let at = tail.offsets_written * offset_index::ENTRY_LEN as u64;
        tail.offsets_written += self.append_index(disk, Kind::Offsets, at, &offsets)?;
        let at = tail.times_written * time_index::ENTRY_LEN as u64;
        tail.times_written += self.append_index(disk, Kind::Times, at, &times)?;
        Ok(())
    }

    /// Writes entries at byte `at`; the number of entries written.
    fn append_index(&self, disk: &dyn Disk, kind: Kind, at: u64, bytes: &[u8]) -> io::Result<u64> {
        // A first index without entries is made too: Kafka's dump tool opens the offset index of
        // every time index.
        if bytes.is_empty() && at > 0 {
            return Ok(0);
        }
        let file = disk.open(&self.path(kind.suffix()), OpenMode::Create)?;
        let written = file.write_vectored_at(&[IoSlice::new(bytes)], at)?;
        if written < bytes.len() {
            file.set_len(at)?;
            return Ok(0);
        }
        let entry_len = match kind {
            Kind::Offsets => offset_index::ENTRY_LEN,
            Kind::Times => time_index::ENTRY_LEN,
        };
        Ok((bytes.len() / entry_len) as u64)
    }
}
