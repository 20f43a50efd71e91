//! The four codecs of record batches: their ids, compressing, and bounded decompressing.
//!
//! Compressed bytes come from clients and disks and are hostile: every output is counted against a
//! cap while it is inflated, buffers grow only with bytes that really came out, and a malformed
//! stream is an error. Java's consumer decides what "readable" means, so a frame it couldn't open
//! (LZ4 with dependent blocks, for one) is refused here too.

mod compress;
mod gzip;
mod lz4;
mod snappy;
mod stream;
#[cfg(feature = "zstd")]
mod zstandard;
mod zstandard_in_rust;

pub use compress::compress;
pub use stream::{Decompressor, Stream};

/// A compression codec, by the ids of attribute bits 0-2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Codec {
    /// 0: records as they are.
    #[default]
    None,
    /// 1: gzip (RFC 1952), one or more members.
    Gzip,
    /// 2: snappy; written in the xerial framing, read in that and as one raw block.
    Snappy,
    /// 3: the LZ4 frame format with independent blocks.
    Lz4,
    /// 4: zstd frames.
    Zstd,
}

impl Codec {
    /// Every codec, by id.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// The codec with this id, if there is one.
    pub fn from_id(id: u8) -> Option<Self> {
        Self::ALL.get(usize::from(id)).copied()
    }

    /// The id in a batch's attributes.
    pub fn id(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Snappy => 2,
            Self::Lz4 => 3,
            Self::Zstd => 4,
        }
    }

    /// Whether this build writes it: zstd only with the feature of that name. Every build reads all.
    pub fn is_written(self) -> bool {
        self != Self::Zstd || cfg!(feature = "zstd")
    }

    /// The name Kafka's `compression.type` has for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    /// The codec of that name, as in Kafka's `compression.type`.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|codec| codec.name() == name)
    }
}

/// Why compressed records can't be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CompressionError {
    /// The stream breaks its format's rules.
    #[error("{} stream is malformed: {what}", codec.name())]
    Malformed {
        /// Whose rules.
        codec: Codec,
        /// Which rule.
        what: &'static str,
    },
    /// The stream ends before its own end mark.
    #[error("{} stream ends too early", .0.name())]
    Truncated(Codec),
    /// The stream is legal but asks for something Kafka's consumers can't do, or for too much memory.
    #[error("{} stream can't be opened: {what}", codec.name())]
    Unsupported {
        /// Whose stream.
        codec: Codec,
        /// What it asks for.
        what: &'static str,
    },
    /// The content is larger than the reader allows.
    #[error("{} content exceeds the limit of {cap} bytes", codec.name())]
    TooLarge {
        /// Whose stream.
        codec: Codec,
        /// The limit, in bytes of content.
        cap: usize,
    },
}
