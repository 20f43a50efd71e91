//! Compressing the records of one batch, in the layouts Kafka's own producers write.
//!
//! Output can't fail: the target is memory and every level is brought into its codec's range.

use std::io::Write;

use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};

#[cfg(feature = "zstd")]
use super::zstandard;
#[cfg(not(feature = "zstd"))]
use super::zstandard_in_rust as zstandard;
use super::{Codec, snappy};

/// Kafka's default of `compression.gzip.level` (-1 there means zlib's own default, 6).
const GZIP_LEVEL: i32 = 6;

/// Appends `input`, compressed, to `out`.
///
/// `level` is the codec's own (gzip 0-9, zstd -131072 to 22), brought into range; `None` is Kafka's
/// default. The codec must be one that [this build writes](Codec::is_written). Snappy has no levels and the
/// LZ4 encoder has one, so both ignore it.
pub fn compress(codec: Codec, level: Option<i32>, input: &[u8], out: &mut Vec<u8>) {
    match codec {
        Codec::None => out.extend_from_slice(input),
        Codec::Gzip => gzip(level.unwrap_or(GZIP_LEVEL), input, out),
        Codec::Snappy => snappy::compress(input, out),
        Codec::Lz4 => lz4(input, out),
        Codec::Zstd => zstandard::compress(level, input, out),
    }
}

fn gzip(level: i32, input: &[u8], out: &mut Vec<u8>) {
    let level = level.clamp(0, 9).unsigned_abs();
    let mut encoder = flate2::write::GzEncoder::new(out, flate2::Compression::new(level));
    encoder
        .write_all(input)
        .and_then(|()| encoder.try_finish())
        .expect("writing to memory does not fail");
}

fn lz4(input: &[u8], out: &mut Vec<u8>) {
    // As Kafka's writer: independent blocks of 64 KiB, no checksums but the header's.
    let frame = FrameInfo::new()
        .block_size(BlockSize::Max64KB)
        .block_mode(BlockMode::Independent);
    let mut encoder = FrameEncoder::with_frame_info(frame, out);
    encoder
        .write_all(input)
        .expect("writing to memory does not fail");
    encoder
        .try_finish()
        .expect("writing to memory does not fail");
}
