//! Looking an entry up in an index file: by map when the segment is sealed, by pread while it grows.
//!
//! What always holds: a file whose bytes no writer writes (a negative number, a column that falls on
//! the way of the search) answers [`Found::Damaged`], never a wrong panic-prone position; and what
//! it does answer is only a place to scan from.

use std::io;
use std::sync::Arc;

use millrace_host::{File, FileMap};

use super::offset_index::{self, OffsetEntry};
use super::time_index::{self, TimeEntry};
use super::walk;

/// An entry of either index.
pub(crate) trait Entry: Copy + Send {
    /// Bytes in the file.
    const LEN: usize;
    /// Reads one entry of a segment that starts at `base`.
    fn decode(base: i64, bytes: &[u8]) -> Option<Self>;
    /// The column by which the file is sorted.
    fn key(&self) -> i64;
}

impl Entry for OffsetEntry {
    const LEN: usize = offset_index::ENTRY_LEN;

    fn decode(base: i64, bytes: &[u8]) -> Option<Self> {
        Self::decode(base, bytes)
    }

    fn key(&self) -> i64 {
        self.last_offset
    }
}

impl Entry for TimeEntry {
    const LEN: usize = time_index::ENTRY_LEN;

    fn decode(base: i64, bytes: &[u8]) -> Option<Self> {
        Self::decode(base, bytes)
    }

    fn key(&self) -> i64 {
        self.timestamp
    }
}

/// An index file, opened.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// Of a sealed segment.
    Map(Arc<dyn FileMap>),
    /// Of the segment that still grows.
    File(Arc<dyn File>),
}

/// What an index answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found<E> {
    /// The entry with the greatest key at or below the bound.
    Entry(E),
    /// All entries lie above the bound.
    None,
    /// The file is not what a writer writes.
    Damaged,
}

/// Finds the entry with the greatest key at or below `bound` among the first `count` entries.
pub(crate) async fn floor<E: Entry>(
    source: &Source,
    base: i64,
    count: u64,
    bound: i64,
) -> io::Result<Found<E>> {
    let (_, found) = partition::<E>(source, base, count, |entry| entry.key() <= bound).await?;
    Ok(found)
}

/// How many of the first `count` entries `lies_below` holds for, given that it holds for a front
/// part of them; and the last of these.
pub(crate) async fn partition<E: Entry>(
    source: &Source,
    base: i64,
    count: u64,
    lies_below: impl Fn(&E) -> bool + Send,
) -> io::Result<(u64, Found<E>)> {
    let (mut low, mut high) = (0, count);
    let mut best: Option<E> = None;
    while low < high {
        let middle = low + (high - low) / 2;
        let Some(entry) = entry::<E>(source, base, middle).await? else {
            return Ok((0, Found::Damaged));
        };
        if lies_below(&entry) {
            if best.is_some_and(|best| best.key() > entry.key()) {
                return Ok((0, Found::Damaged));
            }
            best = Some(entry);
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok((low, best.map_or(Found::None, Found::Entry)))
}

async fn entry<E: Entry>(source: &Source, base: i64, at: u64) -> io::Result<Option<E>> {
    let start = at.saturating_mul(E::LEN as u64);
    match source {
        Source::Map(map) => {
            let from = usize::try_from(start).unwrap_or(usize::MAX);
            let bytes = map.bytes().get(from..from.saturating_add(E::LEN));
            Ok(bytes.and_then(|bytes| E::decode(base, bytes)))
        }
        Source::File(file) => Ok(E::decode(base, &walk::read(file, start, E::LEN).await?)),
    }
}
