//! One way to read all codecs: chunk by chunk, counted against a cap, through reused contexts.
//!
//! What holds: a stream never gives more than `cap` bytes; the buffer behind it is at most
//! [`CHUNK_BYTES`] for gzip and zstd, one block for LZ4 (4 MiB) and xerial snappy, and the content
//! (so the cap) for a raw snappy block, which can't be read in parts. Beyond that only the codecs' own
//! windows: 32 KiB for gzip; for zstd see `zstandard`, and `zstandard_in_rust` where that isn't built in.

use std::fmt::Debug;

#[cfg(feature = "zstd")]
use super::zstandard;
use super::{Codec, CompressionError, gzip, lz4, snappy, zstandard_in_rust};

/// Content bytes handed out at a time by gzip and zstd.
const CHUNK_BYTES: usize = 32 * 1024;
/// A buffer that had to grow beyond this for one block is given back at the next stream.
const KEPT_BYTES_MAX: usize = 256 * 1024;

/// Contexts and buffer for reading compressed records, reused from batch to batch.
#[derive(Debug)]
pub struct Decompressor {
    gzip: Option<Box<gzip::Inflater>>,
    /// None if zstd is to be read in Rust alone.
    #[cfg(feature = "zstd")]
    zstd: Option<zstandard::Context>,
    zstd_in_rust: zstandard_in_rust::Context,
    block: Vec<u8>,
}

impl Default for Decompressor {
    fn default() -> Self {
        Self::new()
    }
}

impl Decompressor {
    /// A reader without contexts; each comes with the first stream that needs it.
    pub fn new() -> Self {
        Self {
            #[cfg(feature = "zstd")]
            zstd: Some(zstandard::Context::new()),
            ..Self::in_rust_alone()
        }
    }

    /// As [`new`](Self::new), and zstd is read as in a build without the feature of that name: to the
    /// same bytes, at a fraction of the speed.
    pub fn in_rust_alone() -> Self {
        Self {
            gzip: None,
            #[cfg(feature = "zstd")]
            zstd: None,
            zstd_in_rust: zstandard_in_rust::Context::default(),
            block: Vec::new(),
        }
    }

    /// Bytes held between streams (zstd context and block buffer; the gzip state is about 40 KiB).
    pub fn kept_bytes(&self) -> usize {
        #[cfg(feature = "zstd")]
        let context = self.zstd.as_ref().map_or(0, zstandard::Context::bytes);
        #[cfg(not(feature = "zstd"))]
        let context = 0;
        context + self.block.capacity()
    }

    /// Starts to read `input`, of which at most `cap` bytes of content may come.
    pub fn stream<'a>(
        &'a mut self,
        codec: Codec,
        input: &'a [u8],
        cap: usize,
    ) -> Result<Stream<'a>, CompressionError> {
        self.block.clear();
        if self.block.capacity() > KEPT_BYTES_MAX {
            self.block = Vec::new();
        }
        let kind = match codec {
            Codec::None => Kind::Stored,
            Codec::Gzip => {
                let inflater = self
                    .gzip
                    .get_or_insert_with(|| Box::new(gzip::Inflater::new()));
                inflater.begin();
                Kind::Inflated(&mut **inflater)
            }
            Codec::Snappy => Kind::Snappy(snappy::Framing::Unknown),
            Codec::Lz4 => Kind::Lz4(lz4::Reader::Start),
            #[cfg(feature = "zstd")]
            Codec::Zstd if let Some(context) = &mut self.zstd => {
                context.begin()?;
                Kind::Inflated(context)
            }
            Codec::Zstd => {
                self.zstd_in_rust.begin(cap);
                Kind::Inflated(&mut self.zstd_in_rust)
            }
        };
        Ok(Stream {
            codec,
            kind,
            rest: input,
            block: &mut self.block,
            room: cap,
            cap,
            len: 0,
        })
    }

    /// Appends the whole content of `input` to `out`, at most `cap` bytes of it.
    pub fn decompress(
        &mut self,
        codec: Codec,
        input: &[u8],
        cap: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), CompressionError> {
        let mut stream = self.stream(codec, input, cap)?;
        loop {
            let chunk = stream.next_chunk()?;
            if chunk.is_empty() {
                return Ok(());
            }
            out.extend_from_slice(chunk);
        }
    }
}

#[derive(Debug)]
enum Kind<'a> {
    Stored,
    Inflated(&'a mut (dyn Inflate + Send)),
    Snappy(snappy::Framing),
    Lz4(lz4::Reader),
}

/// What reads a stream in parts of any size.
pub(super) trait Inflate: Debug {
    /// Inflates into `out` (not empty), taking from the front of `rest`; 0 at the end of the stream.
    fn read(&mut self, rest: &mut &[u8], out: &mut [u8]) -> Result<usize, CompressionError>;

    /// Gives back what isn't worth keeping for the next stream.
    fn end(&mut self) {}
}

/// The content of one compressed stream, chunk by chunk.
#[derive(Debug)]
pub struct Stream<'a> {
    codec: Codec,
    kind: Kind<'a>,
    rest: &'a [u8],
    block: &'a mut Vec<u8>,
    /// What is left of the cap.
    room: usize,
    cap: usize,
    /// Length of the current chunk, at the front of `block`.
    len: usize,
}

impl Stream<'_> {
    /// The next bytes of content; empty at the (proper) end of the stream. After an error the stream
    /// is of no further use.
    pub fn next_chunk(&mut self) -> Result<&[u8], CompressionError> {
        self.len = 0;
        let len = self.fill().map_err(|error| match error {
            CompressionError::TooLarge { codec, .. } => CompressionError::TooLarge {
                codec,
                cap: self.cap,
            },
            other @ (CompressionError::Malformed { .. }
            | CompressionError::Truncated(_)
            | CompressionError::Unsupported { .. }) => other,
        })?;
        let Some(room) = self.room.checked_sub(len) else {
            return Err(CompressionError::TooLarge {
                codec: self.codec,
                cap: self.cap,
            });
        };
        self.room = room;
        self.len = len;
        Ok(&self.block[..len])
    }

    /// The bytes the last [`next_chunk`](Self::next_chunk) gave; empty before the first.
    #[inline]
    pub fn chunk(&self) -> &[u8] {
        self.block.get(..self.len).unwrap_or_default()
    }

    /// Puts the next content bytes at the front of `block` and says how many; 0 at the end.
    fn fill(&mut self) -> Result<usize, CompressionError> {
        let chunk = CHUNK_BYTES.min(self.room.saturating_add(1));
        match &mut self.kind {
            Kind::Stored => {
                let (head, rest) = self.rest.split_at(chunk.min(self.rest.len()));
                self.block.clear();
                self.block.extend_from_slice(head);
                self.rest = rest;
                Ok(head.len())
            }
            Kind::Inflated(inflater) => {
                self.block.resize(chunk, 0);
                inflater.read(&mut self.rest, self.block)
            }
            Kind::Snappy(framing) => loop {
                if !framing.next_block(&mut self.rest, self.block, self.room)? {
                    return Ok(0);
                }
                if !self.block.is_empty() {
                    return Ok(self.block.len());
                }
            },
            Kind::Lz4(reader) => {
                if reader.next_block(&mut self.rest, self.block, self.room)? {
                    Ok(self.block.len())
                } else {
                    Ok(0)
                }
            }
        }
    }
}

impl Drop for Stream<'_> {
    fn drop(&mut self) {
        if let Kind::Inflated(inflater) = &mut self.kind {
            inflater.end();
        }
    }
}
