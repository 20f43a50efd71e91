//! Walking records one by one without keeping them: from plain bytes or from a stream being
//! decompressed, in a buffer the size of one chunk.
//!
//! Layout of a record, all integers zig-zag varints: length of what follows, attributes (one byte,
//! unused), timestamp delta, offset delta, key length (-1 null) and key, value length (-1 null) and
//! value, header count, and per header key length and key, value length (-1 null) and value.

use super::compression::{CompressionError, Stream};
use super::error::RecordError;
use super::varint::{read_varint, read_varlong};

/// Where records are read from. A source that fails says "no more bytes" and keeps its error, so that
/// the way of a single byte carries none.
pub(super) trait Source {
    /// The next byte; `None` at the end.
    fn byte(&mut self) -> Option<u8>;
    /// Passes over `count` bytes; false when they end earlier.
    fn skip(&mut self, count: usize) -> bool;
    /// Bytes read or passed over so far.
    fn consumed(&self) -> usize;
    /// Why there are no more bytes, if not because this is the end.
    fn failure(&self) -> Option<CompressionError>;
}

/// Plain bytes.
#[derive(Debug)]
pub(super) struct Plain<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Plain<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }
}

impl Source for Plain<'_> {
    #[inline]
    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    #[inline]
    fn skip(&mut self, count: usize) -> bool {
        let there = self.bytes.len() - self.at >= count;
        self.at = if there {
            self.at + count
        } else {
            self.bytes.len()
        };
        there
    }

    #[inline]
    fn consumed(&self) -> usize {
        self.at
    }

    fn failure(&self) -> Option<CompressionError> {
        None
    }
}

/// The content of a compressed stream, of which one chunk is there at a time.
#[derive(Debug)]
pub(super) struct Inflating<'a> {
    stream: Stream<'a>,
    /// Where in the stream's current chunk the reader stands.
    at: usize,
    /// Content bytes before the current chunk.
    before: usize,
    failure: Option<CompressionError>,
}

impl<'a> Inflating<'a> {
    pub(super) fn new(stream: Stream<'a>) -> Self {
        Self {
            stream,
            at: 0,
            before: 0,
            failure: None,
        }
    }

    /// Goes to the next chunk once all of the current one is read; false at the end of the stream.
    #[cold]
    fn refill(&mut self) -> bool {
        self.before += self.at;
        self.at = 0;
        if self.failure.is_some() {
            return false;
        }
        match self.stream.next_chunk() {
            Ok(chunk) => !chunk.is_empty(),
            Err(error) => {
                self.failure = Some(error);
                false
            }
        }
    }
}

impl Source for Inflating<'_> {
    #[inline]
    fn byte(&mut self) -> Option<u8> {
        if self.at >= self.stream.chunk().len() && !self.refill() {
            return None;
        }
        let byte = *self.stream.chunk().get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    #[inline]
    fn skip(&mut self, mut count: usize) -> bool {
        loop {
            let step = count.min(self.stream.chunk().len() - self.at);
            self.at += step;
            count -= step;
            if count == 0 {
                return true;
            }
            if !self.refill() {
                return false;
            }
        }
    }

    #[inline]
    fn consumed(&self) -> usize {
        self.before + self.at
    }

    fn failure(&self) -> Option<CompressionError> {
        self.failure
    }
}

/// What a walk keeps of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Outline {
    pub(super) timestamp_delta: i64,
    pub(super) offset_delta: i32,
    pub(super) has_key: bool,
}

/// Reads records in turn and counts them, so that errors can say which one is broken.
#[derive(Debug)]
pub(super) struct Walk<S> {
    source: S,
    index: usize,
    /// Where in the source the current record must end.
    end: usize,
}

impl<S: Source> Walk<S> {
    pub(super) fn new(source: S) -> Self {
        Self {
            source,
            index: 0,
            end: 0,
        }
    }

    /// Reads the next record to its exact end.
    pub(super) fn record(&mut self) -> Result<Outline, RecordError> {
        self.end = usize::MAX;
        let len = self.int("length")?;
        let len = usize::try_from(len).map_err(|_| self.broken("negative length"))?;
        self.end = self.source.consumed().saturating_add(len);
        if self.byte().is_none() {
            return Err(self.broken("no attributes"));
        }
        let timestamp_delta = self.long("timestamp delta")?;
        let offset_delta = self.int("offset delta")?;
        let has_key = self.field("key runs past the record")?;
        self.field("value runs past the record")?;
        self.headers()?;
        if self.source.consumed() != self.end {
            return Err(self.broken("length differs from its fields'"));
        }
        self.index += 1;
        Ok(Outline {
            timestamp_delta,
            offset_delta,
            has_key,
        })
    }

    /// After the last record: anything left is an error. Reads a compressed stream to its end mark,
    /// so that checksums behind the content are verified too.
    pub(super) fn finish(mut self) -> Result<(), RecordError> {
        self.end = usize::MAX;
        if self.byte().is_some() || self.source.failure().is_some() {
            return Err(self.broken("more bytes than the records counted in the header"));
        }
        Ok(())
    }

    fn headers(&mut self) -> Result<(), RecordError> {
        let count = self.int("header count")?;
        let left = self.end.saturating_sub(self.source.consumed());
        // A header takes at least two bytes; a greater count is a lie not worth looping for.
        if usize::try_from(count).map_or(true, |count| count > left / 2) {
            return Err(self.broken("impossible header count"));
        }
        for _ in 0..count {
            if !self.field("header key runs past the record")? {
                return Err(self.broken("header key is null"));
            }
            self.field("header value runs past the record")?;
        }
        Ok(())
    }

    /// Passes over a length and that many bytes; false for null (-1).
    fn field(&mut self, what: &'static str) -> Result<bool, RecordError> {
        let len = self.int(what)?;
        if len == -1 {
            return Ok(false);
        }
        let left = self.end.saturating_sub(self.source.consumed());
        match usize::try_from(len) {
            Ok(len) if len <= left && self.source.skip(len) => Ok(true),
            _ => Err(self.broken(what)),
        }
    }

    /// The next byte of the current record.
    #[inline]
    fn byte(&mut self) -> Option<u8> {
        if self.source.consumed() >= self.end {
            return None;
        }
        self.source.byte()
    }

    #[inline]
    fn int(&mut self, what: &'static str) -> Result<i32, RecordError> {
        match read_varint(|| self.byte()) {
            Some(value) => Ok(value),
            None => Err(self.broken(what)),
        }
    }

    #[inline]
    fn long(&mut self, what: &'static str) -> Result<i64, RecordError> {
        match read_varlong(|| self.byte()) {
            Some(value) => Ok(value),
            None => Err(self.broken(what)),
        }
    }

    /// The error for what was met, or the stream's own where that is why bytes are missing.
    #[cold]
    fn broken(&self, what: &'static str) -> RecordError {
        match self.source.failure() {
            Some(error) => error.into(),
            None => RecordError::Record {
                index: self.index,
                what,
            },
        }
    }
}
