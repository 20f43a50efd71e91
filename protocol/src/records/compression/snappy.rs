//! Snappy as Kafka has it: the xerial framing (Java's `SnappyOutputStream`), and one raw block without
//! framing, which librdkafka and others send.
//!
//! Framing: magic `82 "SNAPPY" 00`, a version and the oldest compatible version (big-endian ints, both 1),
//! then blocks, each a big-endian length and that many bytes of raw snappy. As in Java, another such
//! header may stand between blocks.

use super::{Codec, CompressionError};

const MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const VERSION: u32 = 1;
/// Magic and the two versions.
const HEADER_LEN: usize = 16;
/// Content bytes per block, as Java's writer has it.
const BLOCK_BYTES: usize = 32 * 1024;
/// No element of raw snappy gives more than 64 bytes for 3: a larger claim is a lie, not worth a buffer.
const RATIO_MAX: usize = 22;

/// Appends `input` in the xerial framing.
pub(super) fn compress(input: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&VERSION.to_be_bytes());
    out.extend_from_slice(&VERSION.to_be_bytes());
    let mut encoder = snap::raw::Encoder::new();
    for block in input.chunks(BLOCK_BYTES) {
        let at = out.len();
        out.resize(at + 4 + snap::raw::max_compress_len(block.len()), 0);
        let len = encoder
            .compress(block, &mut out[at + 4..])
            .expect("a target of max_compress_len bytes is always large enough");
        out[at..at + 4].copy_from_slice(&(len as u32).to_be_bytes());
        out.truncate(at + 4 + len);
    }
}

/// Where a stream stands between two blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// Nothing read yet.
    Unknown,
    /// Xerial blocks.
    Xerial,
    /// The raw block has been read.
    RawDone,
}

impl Framing {
    /// Decodes the next block into `block`; false at the end of the stream. `room` is what is left of
    /// the cap: a block that claims more is `TooLarge` before any memory is taken for it.
    pub(super) fn next_block(
        &mut self,
        rest: &mut &[u8],
        block: &mut Vec<u8>,
        room: usize,
    ) -> Result<bool, CompressionError> {
        if *self == Self::Unknown && !rest.starts_with(&MAGIC) {
            *self = Self::RawDone;
            let raw = std::mem::take(rest);
            decode(raw, block, room)?;
            return Ok(true);
        }
        while rest.starts_with(&MAGIC) {
            *rest = skip_header(rest)?;
            *self = Self::Xerial;
        }
        if rest.is_empty() {
            return Ok(false);
        }
        if *self == Self::RawDone {
            return Err(malformed("bytes follow the raw block"));
        }
        let (len, after) = rest.split_first_chunk::<4>().ok_or(TRUNCATED)?;
        let len = u32::from_be_bytes(*len) as usize;
        let (raw, after) = after.split_at_checked(len).ok_or(TRUNCATED)?;
        *rest = after;
        decode(raw, block, room)?;
        Ok(true)
    }
}

const TRUNCATED: CompressionError = CompressionError::Truncated(Codec::Snappy);

fn malformed(what: &'static str) -> CompressionError {
    CompressionError::Malformed {
        codec: Codec::Snappy,
        what,
    }
}

fn skip_header(bytes: &[u8]) -> Result<&[u8], CompressionError> {
    let (head, rest) = bytes.split_first_chunk::<HEADER_LEN>().ok_or(TRUNCATED)?;
    let [.., c0, c1, c2, c3] = *head;
    if u32::from_be_bytes([c0, c1, c2, c3]) > VERSION {
        return Err(CompressionError::Unsupported {
            codec: Codec::Snappy,
            what: "framing of a newer version",
        });
    }
    Ok(rest)
}

fn decode(raw: &[u8], block: &mut Vec<u8>, room: usize) -> Result<(), CompressionError> {
    let len = snap::raw::decompress_len(raw).map_err(|_| malformed("broken block length"))?;
    if len > room {
        // The caller knows the cap that `room` is the rest of.
        return Err(CompressionError::TooLarge {
            codec: Codec::Snappy,
            cap: room,
        });
    }
    if len > raw.len().saturating_mul(RATIO_MAX) {
        return Err(malformed("block claims more than it can hold"));
    }
    block.resize(len, 0);
    let written = snap::raw::Decoder::new()
        .decompress(raw, block)
        .map_err(|_| malformed("broken block"))?;
    block.truncate(written);
    Ok(())
}
