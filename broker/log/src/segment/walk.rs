//! Walks the batch headers of a segment file without reading the records.
//!
//! Bytes that are resident are read in place, others through the cold path. What always holds: a
//! header is given out only if its batch lies wholly inside the bounds and its base offset is not
//! below the end of the batch before; anything else ends the walk with [`WalkError::Bad`].

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use millrace_host::File;
use millrace_protocol::records::{self, BatchHeader};

/// How much is read at once: an index interval and a header.
const CHUNK: usize = 4096 + 128;

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
    chunk: Bytes,
    chunk_at: u64,
}

impl Walk {
    /// Starts at `position`, where a batch begins, and stays below `end`. No batch may begin below
    /// `min_offset`.
    pub(crate) fn new(file: Arc<dyn File>, position: u64, end: u64, min_offset: i64) -> Self {
        Self {
            file,
            position,
            end,
            next_offset: min_offset,
            chunk: Bytes::new(),
            chunk_at: 0,
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
        if step.header.base_offset < self.next_offset {
            return Err(bad(format!(
                "base offset {} below {}",
                step.header.base_offset, self.next_offset
            )));
        }
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
        if let Some(at) = inside.filter(|at| at + want <= self.chunk.len()) {
            return Ok(self.chunk.slice(at..at + want));
        }
        self.chunk = read(&self.file, self.position, left.min(CHUNK)).await?;
        self.chunk_at = self.position;
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
