//! What stands for zstd in a build without it: whatever was written with it is refused, with the reason.

#[cfg(not(feature = "zstd"))]
use super::{Codec, CompressionError};

#[cfg(not(feature = "zstd"))]
const LEFT_OUT: CompressionError = CompressionError::Unsupported {
    codec: Codec::Zstd,
    what: "this program was built without the feature zstd",
};

/// Most bytes of one block.
const BLOCK_BYTES_MAX: usize = 128 * 1024;

/// Appends `input` as a frame of raw blocks (RFC 8878, section 3.1.1): readable, and no smaller. Producers
/// refuse the codec before it comes to this.
pub(super) fn compress(_level: Option<i32>, input: &[u8], out: &mut Vec<u8>) {
    const MAGIC: u32 = 0xFD2F_B528;
    // One segment, the content's size in eight bytes.
    const DESCRIPTOR: u8 = 0b1110_0000;
    out.extend_from_slice(&MAGIC.to_le_bytes());
    out.push(DESCRIPTOR);
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

/// No context.
#[cfg(not(feature = "zstd"))]
#[derive(Debug)]
pub(super) struct Context;

#[cfg(not(feature = "zstd"))]
impl Context {
    pub(super) fn new() -> Self {
        Self
    }

    #[expect(clippy::unused_self, reason = "as the context of a build with zstd")]
    pub(super) fn bytes(&self) -> usize {
        0
    }

    #[expect(clippy::unused_self, reason = "as the context of a build with zstd")]
    pub(super) fn begin(&mut self) -> Result<(), CompressionError> {
        Err(LEFT_OUT)
    }

    #[expect(clippy::unused_self, reason = "as the context of a build with zstd")]
    pub(super) fn end(&mut self) {}

    #[expect(clippy::unused_self, reason = "as the context of a build with zstd")]
    pub(super) fn read(
        &mut self,
        _rest: &mut &[u8],
        _out: &mut [u8],
    ) -> Result<usize, CompressionError> {
        Err(LEFT_OUT)
    }
}

#[cfg(feature = "zstd")]
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
