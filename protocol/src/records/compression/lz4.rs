//! Reading the LZ4 frame format, block by block, by the rules of Kafka's `Lz4BlockInputStream`: one
//! frame of version 1 with independent blocks and no dictionary.
//!
//! Stricter than Kafka: a content size or content checksum that is present must be true, and nothing may
//! follow the frame. (librdkafka refuses such frames.) Content size never decides how much is allocated.

use std::hash::Hasher;

use lz4_flex::block::{DecompressError, decompress_into};
use twox_hash::XxHash32;

use super::{Codec, CompressionError};

const MAGIC: [u8; 4] = 0x184D_2204_u32.to_le_bytes();
const FLAG_DICTIONARY: u8 = 1;
const FLAG_RESERVED: u8 = 1 << 1;
const FLAG_CONTENT_CHECKSUM: u8 = 1 << 2;
const FLAG_CONTENT_SIZE: u8 = 1 << 3;
const FLAG_BLOCK_CHECKSUM: u8 = 1 << 4;
const FLAG_INDEPENDENT: u8 = 1 << 5;
const VERSION_BITS: u8 = 0b1100_0000;
const VERSION_1: u8 = 0b0100_0000;
/// The bit of a block's length that says "stored, not compressed".
const STORED: u32 = 1 << 31;
/// No LZ4 sequence gives more than 255 bytes for one.
const RATIO_MAX: usize = 255;

const TRUNCATED: CompressionError = CompressionError::Truncated(Codec::Lz4);

/// What the frame header said, and what has come out so far.
#[derive(Debug)]
struct Frame {
    flags: u8,
    block_bytes_max: usize,
    content_size: Option<u64>,
    produced: u64,
    content_hash: XxHash32,
}

/// The state of one stream.
#[derive(Debug)]
pub(super) enum Reader {
    /// Nothing read yet.
    Start,
    /// Inside the frame.
    Blocks(Box<FrameState>),
    /// The end mark has been read.
    Done,
}

/// See [`Reader::Blocks`].
#[derive(Debug)]
pub(super) struct FrameState(Frame);

impl Reader {
    /// Decodes the next block into `block`; false at the end of the frame. `room` is what is left of
    /// the cap; a block is decoded into at most one byte more, so that passing it shows.
    pub(super) fn next_block(
        &mut self,
        rest: &mut &[u8],
        block: &mut Vec<u8>,
        room: usize,
    ) -> Result<bool, CompressionError> {
        if matches!(self, Self::Start) {
            *self = Self::Blocks(Box::new(FrameState(read_header(rest)?)));
        }
        let Self::Blocks(state) = self else {
            return Ok(false);
        };
        let frame = &mut state.0;
        loop {
            let len = u32::from_le_bytes(take(rest)?);
            if len == 0 {
                frame.end(rest)?;
                *self = Self::Done;
                return Ok(false);
            }
            frame.block(len, rest, block, room)?;
            if !block.is_empty() {
                return Ok(true);
            }
        }
    }
}

impl Frame {
    fn block(
        &mut self,
        len: u32,
        rest: &mut &[u8],
        block: &mut Vec<u8>,
        room: usize,
    ) -> Result<(), CompressionError> {
        let stored = len & STORED != 0;
        let len = (len & !STORED) as usize;
        if len == 0 || len > self.block_bytes_max {
            return Err(malformed("block length outside the frame's bounds"));
        }
        let (raw, after) = rest.split_at_checked(len).ok_or(TRUNCATED)?;
        *rest = after;
        if self.flags & FLAG_BLOCK_CHECKSUM != 0
            && u32::from_le_bytes(take(rest)?) != XxHash32::oneshot(0, raw)
        {
            return Err(malformed("block checksum differs"));
        }
        let too_large = CompressionError::TooLarge {
            codec: Codec::Lz4,
            cap: room,
        };
        if stored {
            if len > room {
                return Err(too_large);
            }
            block.clear();
            block.extend_from_slice(raw);
        } else {
            let fits = self.block_bytes_max.min(len.saturating_mul(RATIO_MAX));
            let space = fits.min(room.saturating_add(1));
            block.resize(space, 0);
            let written = decompress_into(raw, block).map_err(|error| {
                let no_room = matches!(error, DecompressError::OutputTooSmall { .. });
                if no_room && space < fits {
                    too_large
                } else {
                    malformed("broken block")
                }
            })?;
            block.truncate(written);
            if written > room {
                return Err(too_large);
            }
        }
        self.produced += block.len() as u64;
        if self.flags & FLAG_CONTENT_CHECKSUM != 0 {
            self.content_hash.write(block);
        }
        Ok(())
    }

    fn end(&self, rest: &mut &[u8]) -> Result<(), CompressionError> {
        if self.flags & FLAG_CONTENT_CHECKSUM != 0
            && u32::from_le_bytes(take(rest)?) != self.content_hash.finish_32()
        {
            return Err(malformed("content checksum differs"));
        }
        if self.content_size.is_some_and(|size| size != self.produced) {
            return Err(malformed("content size differs from the header's"));
        }
        if !rest.is_empty() {
            return Err(malformed("bytes follow the frame"));
        }
        Ok(())
    }
}

fn malformed(what: &'static str) -> CompressionError {
    CompressionError::Malformed {
        codec: Codec::Lz4,
        what,
    }
}

fn unsupported(what: &'static str) -> CompressionError {
    CompressionError::Unsupported {
        codec: Codec::Lz4,
        what,
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], CompressionError> {
    let (head, after) = rest.split_first_chunk::<N>().ok_or(TRUNCATED)?;
    *rest = after;
    Ok(*head)
}

fn read_header(rest: &mut &[u8]) -> Result<Frame, CompressionError> {
    if take::<4>(rest)? != MAGIC {
        return Err(malformed("no frame where one must begin"));
    }
    let descriptor = *rest;
    let [flags, block_descriptor] = take(rest)?;
    if flags & VERSION_BITS != VERSION_1 || flags & FLAG_RESERVED != 0 {
        return Err(malformed("unknown frame version or flags"));
    }
    if flags & FLAG_DICTIONARY != 0 {
        return Err(unsupported("dictionaries"));
    }
    if flags & FLAG_INDEPENDENT == 0 {
        return Err(unsupported("blocks that depend on each other"));
    }
    let block_bytes_max = match block_descriptor {
        0x40 => 64 * 1024,
        0x50 => 256 * 1024,
        0x60 => 1024 * 1024,
        0x70 => 4 * 1024 * 1024,
        _ => return Err(malformed("unknown block size")),
    };
    let content_size = if flags & FLAG_CONTENT_SIZE == 0 {
        None
    } else {
        Some(u64::from_le_bytes(take(rest)?))
    };
    let hashed = &descriptor[..descriptor.len() - rest.len()];
    let [header_checksum] = take(rest)?;
    if (XxHash32::oneshot(0, hashed) >> 8) as u8 != header_checksum {
        return Err(malformed("header checksum differs"));
    }
    Ok(Frame {
        flags,
        block_bytes_max,
        content_size,
        produced: 0,
        content_hash: XxHash32::with_seed(0),
    })
}
