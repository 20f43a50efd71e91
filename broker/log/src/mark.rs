//! The facts a log directory remembers about its partitions (`docs/durability.md` C8).
//!
//! What always holds: a mark claims only what was durable before the write that carries it began
//! (C3), and the order in which the marks of one partition enter the journal is the order in which
//! they happened, because they are given under that partition's lock (J5).

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use millrace_probe::{Bug, planted};

/// One life of one partition: a recreated topic has another id, so it never meets its past.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation {
    /// The topic's id, as Kafka writes a UUID: 16 bytes, big-endian.
    pub topic_id: [u8; 16],
    /// The partition's index, 0 or greater.
    pub partition: i32,
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.topic_id {
            write!(f, "{byte:02x}")?;
        }
        write!(f, "/{}", self.partition)
    }
}

/// One file of a partition. The generation is raised when the file is replaced by another of the
/// same name (compaction, move), so that positions never point into the wrong one (S4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentId {
    /// The first offset it may hold; its file's name.
    pub base_offset: i64,
    /// 0 for the first file of that name.
    pub generation: u32,
}

/// A point between two batches of a partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// In which file.
    pub segment: SegmentId,
    /// Bytes of that file before the point.
    pub bytes: u64,
    /// The offset after the last record before the point.
    pub offset: i64,
}

impl Position {
    /// The start of a log or of a segment: nothing before it in the file.
    pub fn start_of(segment: SegmentId) -> Self {
        Self {
            segment,
            bytes: 0,
            offset: segment.base_offset,
        }
    }
}

impl PartialOrd for Position {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Position {
    /// By place in the log: the end of a segment comes before the start of the next, though both
    /// have the same offset.
    fn cmp(&self, other: &Self) -> Ordering {
        (
            self.segment.base_offset,
            self.bytes,
            self.offset,
            self.segment.generation,
        )
            .cmp(&(
                other.segment.base_offset,
                other.bytes,
                other.offset,
                other.segment.generation,
            ))
    }
}

/// What a topic's acknowledgement and visibility stand on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// Stable storage (the default).
    #[default]
    Fsync,
    /// The page cache: survives a kill, not a power cut.
    PageCache,
}

/// A producer snapshot that was synced and may be loaded (A2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotName {
    /// State before this offset; in the file's name.
    pub offset: i64,
    /// CRC-32C of our own file.
    pub crc_ours: u32,
    /// CRC-32C of Kafka's file of the same offset; 0 when there is none.
    pub crc_kafka: u32,
}

impl SnapshotName {
    /// Whether it describes a log that ends at `end` (A2): one from above is of records that are
    /// not there, or not for sure.
    pub(crate) fn lies_within(&self, end: i64) -> bool {
        self.offset <= end || planted(Bug::ProducerSnapshotAboveCut)
    }
}

/// One fact about one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mark {
    /// A segment file exists or is about to: durable before the first ack of bytes in it (C4). For
    /// a partition's very first one this is its first write.
    Segment {
        /// Which.
        id: SegmentId,
        /// The topic's name, so that replay can make the directory anew.
        topic: Arc<str>,
        /// Whether offsets may be missing between its batches (R4).
        holes: bool,
    },
    /// A partition's first segment file was found that the ledger doesn't know: written by nobody
    /// knows whom, so that its bytes count as of another boot until they are verified (R3).
    TakenIn {
        /// Which.
        id: SegmentId,
        /// The topic's name.
        topic: Arc<str>,
    },
    /// A segment gets no more appends.
    Sealed {
        /// Its end: segment, length, next offset.
        end: Position,
        /// The largest record timestamp in it, milliseconds since 1970; -1 when it holds none.
        max_timestamp_ms: i64,
    },
    /// Intent: a segment leaves the log (retention). Durable before its files go (C5).
    SegmentRemoved(SegmentId),
    /// Intent: neighbouring segments are replaced by one that was made of them by cleaning, under
    /// the name of the first (S4, K2). Durable before any name changes, and behind the sync of what
    /// replaces them.
    Replaced {
        /// Those in place until now, by base offset.
        old: Arc<[SegmentId]>,
        /// The end of the new one: its base is that of the first, its generation a higher one.
        new: Position,
        /// The largest record timestamp in it, milliseconds since 1970; -1 when it holds none.
        max_timestamp_ms: i64,
        /// Below this offset each key's last record is the only one left of it (K4).
        clean_upto: i64,
    },
    /// The file under the segment's name is a cleaned one: a replacement is done, or what was copied
    /// is one (K2).
    Cleaned {
        /// Which.
        segment: SegmentId,
        /// As in the replacement.
        upto: i64,
    },
    /// Everything before the position is durable, here or in the journal.
    Flushed(Position),
    /// Everything before the position is durable in the segment files by themselves.
    Settled(Position),
    /// Recovery has paid this partition's debt: verified, written again and synced to here (R3, R4).
    Recovered(Position),
    /// The log starts here.
    LogStart(i64),
    /// The high watermark was at least this.
    HighWatermark(i64),
    /// A leader epoch begins.
    Epoch {
        /// The epoch.
        epoch: i32,
        /// Its first offset.
        start_offset: i64,
    },
    /// The topic's durability from here on (A3).
    Mode(Durability),
    /// A producer snapshot counts from now on (A2).
    Snapshot(SnapshotName),
    /// Intent: the log's end moves back. Durable before any byte changes (C5).
    CutIntent {
        /// The new end.
        to: Position,
        /// The partition's cut count after it (C6).
        cut_count: u32,
    },
    /// The cut of that count is done and synced.
    CutDone {
        /// Which.
        cut_count: u32,
    },
    /// Intent: the partition is deleted. Durable before its directory is renamed.
    DeleteIntent,
    /// Its directory is renamed and that is synced: the incarnation may be forgotten.
    DeleteDone,
    /// Everything is settled and nothing follows (R3). Any later data makes it dirty again.
    Close(Position),
    /// Bytes of this partition were found damaged where no recovery may decide (R1): it stays
    /// offline through restarts.
    Damaged,
}
