//! Reading zstd frames in Rust alone, for builds without the feature `zstd`; such builds don't write the
//! codec.
//!
//! What always holds: what the feature's own code (`zstandard`) writes is read here; what both read, they
//! read to the same bytes. A frame's decoder keeps as much as the frame's window before it gives anything
//! out, so a window is taken for no larger than the cap: content up to the cap never reaches behind that,
//! and content beyond it comes out and is counted. So at most four times the cap (its buffer grows by
//! doubling) and two blocks are held.

use std::error::Error;
use std::io::{self, ErrorKind, Read};

use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use super::stream::Inflate;
use super::{Codec, CompressionError};

const MAGIC: [u8; 4] = 0xFD2F_B528_u32.to_le_bytes();
/// Most bytes of one block.
const BLOCK_BYTES_MAX: usize = 128 * 1024;
/// In a frame's descriptor: its content is its window, and no window descriptor follows.
const SINGLE_SEGMENT: u8 = 0b0010_0000;
/// Where a frame's window descriptor lies, behind magic and descriptor.
const WINDOW_AT: usize = MAGIC.len() + 1;
/// The least window there is, as a power of two; descriptors count from it, in eighths of a power.
const WINDOW_LOG_MIN: u32 = 10;
/// The greatest that is read, here and by the feature's own code: the default limit of zstd's readers.
pub(super) const WINDOW_LOG_MAX: u32 = 27;

/// Appends `input` as a frame of raw blocks (RFC 8878, section 3.1.1): readable, and no smaller. Producers
/// refuse the codec before it comes to this.
#[cfg(any(test, not(feature = "zstd")))]
pub(super) fn compress(_level: Option<i32>, input: &[u8], out: &mut Vec<u8>) {
    // The content's size in eight bytes.
    const SIZE_OF_CONTENT: u8 = 0b1100_0000;
    out.extend_from_slice(&MAGIC);
    out.push(SINGLE_SEGMENT | SIZE_OF_CONTENT);
    out.extend_from_slice(&(input.len() as u64).to_le_bytes());
    let mut rest = input;
    loop {
        let (block, behind) = rest.split_at(rest.len().min(BLOCK_BYTES_MAX));
        let is_last = u32::from(behind.is_empty());
        let header = (block.len() as u32) << 3 | is_last;
        out.extend_from_slice(&header.to_le_bytes()[..3]);
        out.extend_from_slice(block);
        rest = behind;
        if rest.is_empty() {
            return;
        }
    }
}

/// What reads one stream of frames; `begin` before each.
#[derive(Default)]
pub(super) struct Context {
    frame: Option<FrameDecoder>,
    /// Bytes of the frame's content that were given out.
    given: u64,
    /// No frame of the stream was seen yet: an empty stream is none.
    is_fresh: bool,
    cap: usize,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context")
            .field("cap", &self.cap)
            .finish_non_exhaustive()
    }
}

impl Context {
    /// Begins a stream whose reader allows this many bytes of content.
    pub(super) fn begin(&mut self, cap: usize) {
        *self = Self {
            is_fresh: true,
            cap,
            ..Self::default()
        };
    }
}

impl Inflate for Context {
    fn read(&mut self, rest: &mut &[u8], out: &mut [u8]) -> Result<usize, CompressionError> {
        loop {
            let Some(frame) = &mut self.frame else {
                if rest.is_empty() && !self.is_fresh {
                    return Ok(0);
                }
                self.is_fresh = false;
                self.given = 0;
                self.frame = open(rest, self.cap)?;
                continue;
            };
            let given = frame
                .read(out)
                .map_err(|_| malformed("its content can't be taken"))?;
            if given > 0 {
                self.given += given as u64;
                return Ok(given);
            }
            if !frame.is_finished() {
                let one = BlockDecodingStrategy::UptoBlocks(1);
                frame
                    .decode_blocks(&mut *rest, one)
                    .map_err(|refused| error(&refused))?;
                continue;
            }
            let told = frame.get_checksum_from_data();
            if told.is_some() && told != frame.get_calculated_checksum() {
                return Err(malformed("content that its checksum doesn't fit"));
            }
            // 0 is said of a frame that doesn't tell, too.
            if frame.content_size() != 0 && frame.content_size() != self.given {
                return Err(malformed("content of another size than it says"));
            }
            self.frame = None;
        }
    }

    fn end(&mut self) {
        self.frame = None;
    }
}

/// The decoder of the frame at the front of `rest`; none for a frame that is to be skipped.
fn open(rest: &mut &[u8], cap: usize) -> Result<Option<FrameDecoder>, CompressionError> {
    let mut frame = FrameDecoder::new();
    frame.set_max_window_size(1 << WINDOW_LOG_MAX);
    let mut header = *rest;
    let read = match rest.first_chunk::<{ WINDOW_AT + 1 }>() {
        Some(first) if first.starts_with(&MAGIC) && first[WINDOW_AT - 1] & SINGLE_SEGMENT == 0 => {
            let first = with_window_for(*first, cap)?;
            header = &rest[first.len()..];
            frame.reset(first.as_slice().chain(&mut header))
        }
        Some(_) | None => frame.reset(&mut header),
    };
    if let Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
        length,
        ..
    })) = read
    {
        let behind = header.get(length as usize..);
        *rest = behind.ok_or(CompressionError::Truncated(Codec::Zstd))?;
        return Ok(None);
    }
    read.map_err(|refused| error(&refused))?;
    if frame.content_size() > cap as u64 {
        let codec = Codec::Zstd;
        return Err(CompressionError::TooLarge { codec, cap });
    }
    *rest = header;
    Ok(Some(frame))
}

/// The first bytes of a frame, with a window that is no larger than what content up to the cap takes, and
/// no smaller than a block.
fn with_window_for(
    mut first: [u8; WINDOW_AT + 1],
    cap: usize,
) -> Result<[u8; WINDOW_AT + 1], CompressionError> {
    let descriptor = |log: u32| (log - WINDOW_LOG_MIN) << 3;
    let told = &mut first[WINDOW_AT];
    if u32::from(*told) > descriptor(WINDOW_LOG_MAX) {
        return Err(WINDOW_TOO_LARGE);
    }
    let wanted = cap.clamp(BLOCK_BYTES_MAX, 1 << WINDOW_LOG_MAX);
    let wanted = descriptor(wanted.next_power_of_two().ilog2());
    // Descriptors are in the order of what they describe.
    *told = (*told).min(u8::try_from(wanted).unwrap_or(u8::MAX));
    Ok(first)
}

/// Refuses any greater.
pub(super) const WINDOW_TOO_LARGE: CompressionError = CompressionError::Unsupported {
    codec: Codec::Zstd,
    what: "a window of more than 128 MiB",
};

fn malformed(what: &'static str) -> CompressionError {
    CompressionError::Malformed {
        codec: Codec::Zstd,
        what,
    }
}

fn error(error: &FrameDecoderError) -> CompressionError {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(one) = cause {
        let read = one.downcast_ref::<io::Error>();
        if read.is_some_and(|read| read.kind() == ErrorKind::UnexpectedEof) {
            return CompressionError::Truncated(Codec::Zstd);
        }
        cause = one.source();
    }
    if matches!(error, FrameDecoderError::WindowSizeTooBig { .. }) {
        return WINDOW_TOO_LARGE;
    }
    if matches!(error, FrameDecoderError::DictNotProvided { .. }) {
        return CompressionError::Unsupported {
            codec: Codec::Zstd,
            what: "a dictionary, of which Kafka knows none",
        };
    }
    malformed("no frame or block of zstd")
}

#[cfg(test)]
mod tests {
    use super::super::{Codec, Decompressor};
    use super::*;

    #[test]
    fn a_frame_of_raw_blocks_is_read_as_what_it_was_made_of() {
        for bytes in [
            0,
            1,
            BLOCK_BYTES_MAX,
            BLOCK_BYTES_MAX + 1,
            3 * BLOCK_BYTES_MAX,
        ] {
            let input: Vec<u8> = (0..bytes).map(|at| (at % 253) as u8).collect();
            let mut frame = Vec::new();
            compress(None, &input, &mut frame);
            let mut read = Vec::new();
            Decompressor::new()
                .decompress(Codec::Zstd, &frame, bytes, &mut read)
                .unwrap();
            assert!(read == input, "{bytes} bytes");
        }
    }
}
