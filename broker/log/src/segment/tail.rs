//! What changes of a segment while it grows: its end, its newest batches, index entries not yet in
//! their files.
//!
//! What always holds: `end` names whole batches only; the recent batches are the newest ones without
//! a gap; an index entry is either in its file (counted) or pending, never both; what is not called
//! unproven was written or verified by this process, or its headers were walked.

use std::collections::VecDeque;

use millrace_protocol::records::BatchHeader;

use super::offset_index::{self, OffsetEntry};
use super::time_index::TimeEntry;

/// How many of the newest batches are remembered by position.
const RECENT_MAX: usize = 32;

/// How many index entries gather before they are written to the index file.
pub(crate) const PENDING_MAX: usize = 64;

/// A batch by its place and its offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    /// First offset.
    pub(crate) base_offset: i64,
    /// Last offset.
    pub(crate) last_offset: i64,
    /// First byte in the segment file.
    pub(crate) position: u64,
    /// Bytes.
    pub(crate) size: u64,
}

/// The end of a segment: whole batches up to here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    /// Bytes in the file.
    pub(crate) bytes: u64,
    /// The offset after the last record.
    pub(crate) offset: i64,
}

/// The changing part of a segment.
#[derive(Debug)]
pub(crate) struct Tail {
    pub(crate) end: End,
    /// Largest timestamp of the first batch, once known: what `segment.ms` counts from.
    pub(crate) first_timestamp: Option<i64>,
    /// Largest timestamp, and the last offset of the first batch that holds it.
    pub(crate) largest: Option<TimeEntry>,
    /// Whether `largest` covers every batch, by the batches themselves or the ledger; when not,
    /// retention measures first (`durability.md` A4).
    pub(crate) largest_known: bool,
    /// Entries in the offset index file.
    pub(crate) offsets_written: u64,
    /// Entries in the time index file.
    pub(crate) times_written: u64,
    /// Entries that are in no file yet.
    pub(crate) offsets: Vec<OffsetEntry>,
    /// Entries that are in no file yet.
    pub(crate) times: Vec<TimeEntry>,
    /// While an index is rebuilt from the log, pending entries stay pending.
    pub(crate) rebuilding: bool,
    /// The files of the segment may have lost their names: nothing is written by them.
    pub(crate) retired: bool,
    last_time: Option<TimeEntry>,
    since_entry: u64,
    recent: VecDeque<Span>,
    /// Bytes from here on were written or verified by this process.
    own_from: u64,
    walked: Walked,
}

/// Bytes that were found, and of which the headers were walked since.
#[derive(Debug)]
struct Walked {
    from: u64,
    to: End,
}

impl Tail {
    /// A segment that ends at `end`, about whose content nothing else is known.
    pub(crate) fn new(end: End) -> Self {
        Self {
            end,
            first_timestamp: None,
            largest: None,
            largest_known: end.bytes == 0,
            offsets_written: 0,
            times_written: 0,
            offsets: Vec::new(),
            times: Vec::new(),
            rebuilding: false,
            retired: false,
            last_time: None,
            since_entry: 0,
            recent: VecDeque::new(),
            own_from: end.bytes,
            walked: Walked {
                from: end.bytes,
                to: end,
            },
        }
    }

    /// Of the bytes from the batch `first` up to `upto`: from where on the headers of what was only
    /// found are still to be walked, and up to where; `None` when nothing is left to do.
    pub(crate) fn unproven(&self, first: &Span, upto: u64) -> Option<(End, u64)> {
        let upto = upto.min(self.own_from);
        let walked = &self.walked;
        let from = if (walked.from..walked.to.bytes).contains(&first.position) {
            walked.to
        } else {
            End {
                bytes: first.position,
                offset: first.base_offset,
            }
        };
        (from.bytes < upto).then_some((from, upto))
    }

    /// The headers from `from` to `to` were walked. One stretch is remembered, which grows as
    /// somebody reads on.
    pub(crate) fn walked(&mut self, from: u64, to: End) {
        if from != self.walked.to.bytes {
            self.walked.from = from;
        }
        self.walked.to = to;
    }

    /// Takes in the batch that was written at the end. `interval` is `index.interval.bytes`.
    pub(crate) fn push(&mut self, header: &BatchHeader, base_offset: i64, interval: u64) {
        let size = header.size() as u64;
        let last_offset = base_offset.saturating_add(i64::from(header.last_offset_delta));
        let span = Span {
            base_offset,
            last_offset,
            position: self.end.bytes,
            size,
        };
        if self.recent.len() == RECENT_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(span);
        if self.first_timestamp.is_none() && span.position == 0 {
            self.first_timestamp = Some(header.max_timestamp);
        }
        // Cleaning leaves batches without records: what their headers still say is no record's time.
        if header.record_count > 0
            && self
                .largest
                .is_none_or(|largest| header.max_timestamp > largest.timestamp)
        {
            self.largest = Some(TimeEntry {
                timestamp: header.max_timestamp,
                last_offset,
            });
        }
        if self.since_entry > interval {
            self.offsets.push(OffsetEntry {
                last_offset,
                position: span.position,
            });
            self.index_time();
            self.since_entry = 0;
        }
        self.since_entry += size;
        self.end = End {
            bytes: self.end.bytes + size,
            offset: last_offset.saturating_add(1),
        };
    }

    /// Adds the largest timestamp to the time index unless it is there already: with each entry of
    /// the offset index, and when the segment is sealed.
    pub(crate) fn index_time(&mut self) {
        let Some(largest) = self.largest else { return };
        if largest.timestamp >= 0
            && self
                .last_time
                .is_none_or(|last| largest.timestamp > last.timestamp)
        {
            self.times.push(largest);
            self.last_time = Some(largest);
        }
    }

    /// Goes on behind what the time index file holds: `last` is its last entry, believed only as a
    /// start for look-ups, and `largest` the largest timestamp of all. Where that is not known, batches
    /// behind the entry may have later ones; then nothing is added to the index any more, since an
    /// entry says that no batch before it has, and look-ups scan from `last` on.
    pub(crate) fn resume(&mut self, last: Option<TimeEntry>, largest: Option<TimeEntry>) {
        const NO_MORE: TimeEntry = TimeEntry {
            timestamp: i64::MAX,
            last_offset: i64::MAX,
        };
        self.last_time = last.filter(|_| largest.is_some()).or(Some(NO_MORE));
        if self.largest.is_none() {
            self.largest = largest.or(last);
        }
    }

    /// Entries of the offset index, written or not.
    pub(crate) fn offset_entries(&self) -> u64 {
        self.offsets_written + self.offsets.len() as u64
    }

    /// Entries of the time index, written or not.
    pub(crate) fn time_entries(&self) -> u64 {
        self.times_written + self.times.len() as u64
    }

    /// The remembered batch that holds `offset`, or the first one behind a hole that does.
    pub(crate) fn recent(&self, offset: i64) -> Option<Span> {
        let oldest = self.recent.front()?;
        if offset < oldest.base_offset {
            return None;
        }
        let at = self
            .recent
            .partition_point(|span| span.last_offset < offset);
        self.recent.get(at).copied()
    }

    /// The pending index entry at or below `offset`.
    pub(crate) fn pending(&self, offset: i64) -> Option<OffsetEntry> {
        offset_index::floor(&self.offsets, offset)
    }
}
