//! Walks the batch headers of a segment file without reading the records.
//!
//! Bytes that are resident are read in place, others through the cold path. What always holds: a
//! header is given out only if its batch lies wholly inside the bounds and its base offset follows the
//! batch before, which no checksum covers; anything else ends the walk with [`WalkError::Bad`].

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use millrace_host::File;
use millrace_probe::{Bug, planted};
use millrace_protocol::records::{self, BatchHeader};

use super::tail::End;

/// How much is read at once: an index interval and a header.
const CHUNK: usize = 4096 + 128;
/// The same where batches are small and many are walked over.
const LARGE_CHUNK: usize = 64 << 10;
/// So many headers in one chunk are many.
const MANY: u32 = 4;

/// Whether a batch with that base offset may stand where `next` is due; `holes` says whether offsets
/// may be missing before it.
pub(crate) fn follows(base: i64, next: i64, holes: bool) -> bool {
    base == next || (holes && base > next) || planted(Bug::BaseOffsetFlipAccepted)
}

/// Why a walk cannot go on.
#[derive(Debug)]
pub(crate) enum WalkError {
    /// The file could not be read.
    Io(io::Error),
    /// No sound batch header stands at `position`.
    Bad {
        /// Byte in the segment file.
        position: u64,
        /// What is wrong, for people.
        what: String,
    },
}

impl From<io::Error> for WalkError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// One batch as its header tells it.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    /// First byte in the segment file.
    pub(crate) position: u64,
    /// The header.
    pub(crate) header: BatchHeader,
}

impl Step {
    /// The byte behind the batch.
    pub(crate) fn end(&self) -> u64 {
        self.position + self.header.size() as u64
    }
}

/// A walk over one file, from one batch to the next.
#[derive(Debug)]
pub(crate) struct Walk {
    file: Arc<dyn File>,
    position: u64,
    end: u64,
    next_offset: i64,
    /// Offsets may be missing before the next batch.
    skips: bool,
    /// The same for those behind it.
    holes: bool,
    chunk: Bytes,
    chunk_at: u64,
    /// Headers taken from the chunk.
    taken: u32,
}

impl Walk {
    /// Starts where the segment begins (`from` is then its name), or at any batch, of which the
    /// offset is not known better than `from`, and stays below `end`.
    pub(crate) fn new(file: Arc<dyn File>, from: End, end: u64, holes: bool) -> Self {
        Self {
            skips: from.bytes > 0 || holes,
            ..Self::behind(file, from, end, holes)
        }
    }

    /// Starts where a batch ends, at the offset behind it.
    pub(crate) fn behind(file: Arc<dyn File>, from: End, end: u64, holes: bool) -> Self {
        Self {
            file,
            position: from.bytes,
            end,
            next_offset: from.offset,
            skips: holes,
            holes,
            chunk: Bytes::new(),
            chunk_at: 0,
            taken: 0,
        }
    }

    /// The next batch; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Step>, WalkError> {
        if self.position >= self.end {
            return Ok(None);
        }
        let position = self.position;
        let bad = |what: String| WalkError::Bad { position, what };
        let header = self.header_bytes().await?;
        let header = BatchHeader::parse(&header).map_err(|error| bad(error.to_string()))?;
        let step = Step { position, header };
        if step.end() > self.end {
            return Err(bad("the batch ends past the end of the segment".to_owned()));
        }
        if !follows(step.header.base_offset, self.next_offset, self.skips) {
            return Err(bad(format!(
                "base offset {} where {} is due",
                step.header.base_offset, self.next_offset
            )));
        }
        self.skips = self.holes;
        self.next_offset = step.header.last_offset().saturating_add(1);
        self.position = step.end();
        Ok(Some(step))
    }

    /// At least the bytes of one header at the present position, fewer only at the end.
    async fn header_bytes(&mut self) -> io::Result<Bytes> {
        let left = usize::try_from(self.end - self.position).unwrap_or(usize::MAX);
        let want = left.min(records::HEADER_LEN);
        let inside = self
            .position
            .checked_sub(self.chunk_at)
            .map(|at| at as usize);
        self.taken += 1;
        if let Some(at) = inside.filter(|at| at + want <= self.chunk.len()) {
            return Ok(self.chunk.slice(at..at + want));
        }
        let len = if self.taken > MANY {
            LARGE_CHUNK
        } else {
            CHUNK
        };
        self.chunk = read(&self.file, self.position, left.min(len)).await?;
        self.chunk_at = self.position;
        self.taken = 0;
        Ok(self.chunk.slice(..want.min(self.chunk.len())))
    }
}

/// Reads `len` bytes at `position`, from the page cache when they are there; fewer only at the end
/// of the file.
pub(crate) async fn read(file: &Arc<dyn File>, position: u64, len: usize) -> io::Result<Bytes> {
    let mut buf = vec![0; len];
    let mut got = 0;
    while got < len {
        match file.read_resident_at(&mut buf[got..], position + got as u64)? {
            Some(0) => break,
            Some(count) => got += count,
            None => return file.read_at(position, len).await,
        }
    }
    buf.truncate(got);
    Ok(Bytes::from(buf))
}
