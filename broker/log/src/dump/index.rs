//! Indexes, each entry beside what stands in the segment that it points into.

use std::sync::Arc;

use millrace_host::{File, OpenMode};
use millrace_protocol::records::{BatchHeader, HEADER_LEN};

use super::{Dump, Line, length};
use crate::error::Error;
use crate::segment::index::Entry;
use crate::segment::names;
use crate::segment::offset_index::OffsetEntry;
use crate::segment::time_index::TimeEntry;

/// Entries that are read at once.
const ENTRIES_AT_ONCE: u64 = 4096;

impl Dump<'_> {
    pub(super) async fn offset_index(&mut self, file: &Arc<dyn File>) -> Result<(), Error> {
        let segment = self.segment_of(file);
        let mut before: Option<OffsetEntry> = None;
        let (mut at, base) = (0, base_of(file));
        while let Some(entries) = self.entries::<OffsetEntry>(file, base, at).await? {
            for entry in entries {
                let line = Line::new("entry").int("offset", entry.last_offset);
                self.say(&line.unsigned("position", entry.position))?;
                let falls = before.is_some_and(|before| {
                    before.last_offset >= entry.last_offset || before.position >= entry.position
                });
                if falls {
                    self.complain(at, "the columns must rise from entry to entry")?;
                }
                if let Some(segment) = &segment
                    && let Some(what) = wrong(segment, entry).await
                {
                    self.complain(at, what)?;
                }
                before = Some(entry);
                at += OffsetEntry::LEN as u64;
            }
        }
        Ok(())
    }

    pub(super) async fn time_index(&mut self, file: &Arc<dyn File>) -> Result<(), Error> {
        let mut before: Option<TimeEntry> = None;
        let (mut at, base) = (0, base_of(file));
        while let Some(entries) = self.entries::<TimeEntry>(file, base, at).await? {
            for entry in entries {
                let line = Line::new("entry").int("timestamp", entry.timestamp);
                self.say(&line.int("offset", entry.last_offset))?;
                let falls = before.is_some_and(|before| {
                    before.timestamp >= entry.timestamp || before.last_offset >= entry.last_offset
                });
                if falls {
                    self.complain(at, "the columns must rise from entry to entry")?;
                }
                before = Some(entry);
                at += TimeEntry::LEN as u64;
            }
        }
        Ok(())
    }

    /// The next entries, `None` at the end or where something stands that is no entry.
    async fn entries<E: Entry>(
        &mut self,
        file: &Arc<dyn File>,
        base: i64,
        at: u64,
    ) -> Result<Option<Vec<E>>, Error> {
        let left = length(file)?.saturating_sub(at);
        let want = left.min(ENTRIES_AT_ONCE * E::LEN as u64) as usize;
        let read = file.read_at(at, want).await;
        let bytes = read.map_err(Error::io("read", file.path()))?;
        let entries: Vec<E> = bytes
            .chunks_exact(E::LEN)
            .map_while(|entry| E::decode(base, entry))
            .collect();
        let taken = entries.len() * E::LEN;
        if entries.is_empty() {
            if !bytes.is_empty() {
                let what = format!("{left} bytes that are no entries of {} bytes", E::LEN);
                self.complain(at + taken as u64, what)?;
            }
            return Ok(None);
        }
        Ok(Some(entries))
    }

    /// The segment beside an index, if it is there.
    fn segment_of(&self, index: &Arc<dyn File>) -> Option<Arc<dyn File>> {
        let path = names::file(index.path().parent()?, base_of(index), names::LOG);
        self.disk.open(&path, OpenMode::Read).ok()
    }
}

/// The base offset in a file's name.
fn base_of(file: &Arc<dyn File>) -> i64 {
    let name = file.path().file_name().and_then(|name| name.to_str());
    name.and_then(names::parse).map_or(0, |(base, _)| base)
}

/// What is wrong with an entry, by the batch it points to.
async fn wrong(segment: &Arc<dyn File>, entry: OffsetEntry) -> Option<String> {
    let bytes = match segment.read_at(entry.position, HEADER_LEN).await {
        Ok(bytes) => bytes,
        Err(error) => return Some(format!("the segment can't be read there: {error}")),
    };
    match BatchHeader::parse(&bytes) {
        Ok(header) if header.last_offset() == entry.last_offset => None,
        Ok(header) => Some(format!(
            "the batch there ends with offset {}",
            header.last_offset()
        )),
        Err(error) => Some(format!("no batch begins there: {error}")),
    }
}
