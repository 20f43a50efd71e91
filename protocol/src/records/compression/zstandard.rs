//! Writing zstd frames, and reading them through one reused context.
//!
//! A frame names its window, and the context reserves that much address space before the first byte
//! comes out. Windows over 2^27 bytes are refused (so does Java's reader; level 22 needs exactly that).
//! What is reserved is touched only as content comes out, so resident memory follows the content and
//! ends at the cap; a context that grew is dropped after its stream.

use zstd::zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer, ResetDirective, get_error_name};

use super::stream::Inflate;
use super::zstandard_in_rust::{WINDOW_LOG_MAX, WINDOW_TOO_LARGE};
use super::{Codec, CompressionError};

/// A context larger than this (level 19 needs 8 MiB of window) isn't kept.
const KEPT_BYTES_MAX: usize = 16 * 1024 * 1024;
/// `ZSTD_error_frameParameter_windowTooLarge`; zstd returns errors as negated numbers.
const ERROR_WINDOW_TOO_LARGE: usize = 16_usize.wrapping_neg();

/// Kafka's default of `compression.zstd.level`.
const LEVEL: i32 = 3;

/// Appends `input`, compressed, to `out`.
pub(super) fn compress(level: Option<i32>, input: &[u8], out: &mut Vec<u8>) {
    let level = level.unwrap_or(LEVEL).clamp(
        *zstd::compression_level_range().start(),
        zstd::zstd_safe::max_c_level(),
    );
    let start = out.len();
    out.resize(start + zstd::zstd_safe::compress_bound(input.len()), 0);
    let written = zstd::bulk::compress_to_buffer(input, &mut out[start..], level)
        .expect("a target of compress_bound bytes is always large enough");
    out.truncate(start + written);
}

/// A reusable context; `begin` before each stream.
pub(super) struct Context {
    context: Option<DCtx<'static>>,
    frame_open: bool,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context")
            .field("bytes", &self.bytes())
            .finish()
    }
}

impl Context {
    pub(super) fn new() -> Self {
        Self {
            context: None,
            frame_open: true,
        }
    }

    /// Bytes the context has reserved.
    pub(super) fn bytes(&self) -> usize {
        self.context.as_ref().map_or(0, DCtx::sizeof)
    }

    pub(super) fn begin(&mut self) -> Result<(), CompressionError> {
        if self.bytes() > KEPT_BYTES_MAX {
            self.context = None;
        }
        self.frame_open = true;
        if let Some(context) = &mut self.context {
            context.reset(ResetDirective::SessionOnly).map_err(error)?;
            return Ok(());
        }
        let no_memory = CompressionError::Unsupported {
            codec: Codec::Zstd,
            what: "no memory for a context",
        };
        let mut context = DCtx::try_create().ok_or(no_memory)?;
        context
            .set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX))
            .map_err(error)?;
        self.context = Some(context);
        Ok(())
    }
}

impl Inflate for Context {
    fn read(&mut self, rest: &mut &[u8], out: &mut [u8]) -> Result<usize, CompressionError> {
        let Some(context) = &mut self.context else {
            return Err(CompressionError::Truncated(Codec::Zstd));
        };
        loop {
            if rest.is_empty() && !self.frame_open {
                return Ok(0);
            }
            let mut input = InBuffer::around(rest);
            let mut output = OutBuffer::around(&mut *out);
            let missing = context
                .decompress_stream(&mut output, &mut input)
                .map_err(error)?;
            let (taken, given) = (input.pos(), output.pos());
            *rest = rest.get(taken..).unwrap_or_default();
            self.frame_open = missing != 0;
            if given > 0 {
                return Ok(given);
            }
            if taken == 0 && self.frame_open {
                return Err(CompressionError::Truncated(Codec::Zstd));
            }
        }
    }

    fn end(&mut self) {
        if self.bytes() > KEPT_BYTES_MAX {
            self.context = None;
        }
    }
}

fn error(code: usize) -> CompressionError {
    if code == ERROR_WINDOW_TOO_LARGE {
        return WINDOW_TOO_LARGE;
    }
    CompressionError::Malformed {
        codec: Codec::Zstd,
        what: get_error_name(code),
    }
}
