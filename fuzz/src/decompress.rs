//! Target: the decompressors, each with a cap.
//!
//! Held: no more comes out than the cap; a cap of exactly the content changes nothing, one byte
//! less is refused as too large; reading in chunks gives the same; what was read, and the input
//! itself, come back from being compressed; zstd that is read in C and in Rust alone is
//! read to the same bytes, and what C writes is read in Rust.

use millrace_protocol::records::compression::{Codec, CompressionError, Decompressor, compress};

use crate::allocation::{Bound, within};
use crate::input::Input;
use crate::progress;

const CODECS: [Codec; 4] = [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

/// The reader's chunk (32 KiB), the gzip state (about 40 KiB).
const CONTEXT_BYTES: usize = 128 * 1024;

const ZSTD_IN_RUST_BYTES: usize = 2 << 20;

/// One input: which codec, the cap, the compressed bytes.
pub fn run(bytes: &[u8]) {
    let mut input = Input(bytes);
    let codec = *input.choice(&CODECS);
    let cap = usize::from(input.short());
    let stream = input.0;
    // Content up to the cap, in a vector that doubles as it grows, beside one block of it.
    let bound = Bound::with_fixed(4 * cap + CONTEXT_BYTES);
    let content = within(bound, stream.len(), || open(codec, stream, cap));
    if codec == Codec::Zstd {
        // Two blocks of 128 KiB, and tables, in buffers that double as they grow.
        let bound = Bound::with_fixed(4 * cap + ZSTD_IN_RUST_BYTES);
        let in_rust = within(bound, stream.len(), || open_in_rust(stream, cap));
        // They differ in which broken frames they notice: C lets a compressed block of no bytes pass, Rust
        // a block that doesn't end where its last code does.
        let both = in_rust.zip(content.as_ref());
        assert!(
            both.is_none_or(|(one, other)| one == *other),
            "in Rust as in C"
        );
    }
    if let Some(content) = content {
        progress::past_the_header();
        assert!(content.len() <= cap, "the cap holds");
        caps_are_exact(codec, stream, &content);
        comes_back(codec, &content);
    }
    comes_back(codec, stream);
}

fn open(codec: Codec, stream: &[u8], cap: usize) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    let read = Decompressor::new().decompress(codec, stream, cap, &mut content);
    read.is_ok().then_some(content)
}

fn open_in_rust(stream: &[u8], cap: usize) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    let read = Decompressor::in_rust_alone().decompress(Codec::Zstd, stream, cap, &mut content);
    read.is_ok().then_some(content)
}

fn caps_are_exact(codec: Codec, stream: &[u8], content: &[u8]) {
    let mut decompressor = Decompressor::new();
    let mut again = Vec::new();
    let mut reader = decompressor
        .stream(codec, stream, content.len())
        .expect("it was opened before");
    loop {
        let chunk = reader
            .next_chunk()
            .expect("a cap of the content's length is enough");
        if chunk.is_empty() {
            break;
        }
        again.extend_from_slice(chunk);
    }
    drop(reader);
    assert_eq!(again, content, "in chunks as at once");
    if let Some(cap) = content.len().checked_sub(1) {
        // The same contexts again: what one stream left behind must not show in the next.
        again.clear();
        let refused = decompressor.decompress(codec, stream, cap, &mut again);
        assert_eq!(refused, Err(CompressionError::TooLarge { codec, cap }));
    }
}

fn comes_back(codec: Codec, content: &[u8]) {
    let mut compressed = Vec::new();
    compress(codec, None, content, &mut compressed);
    let opened = open(codec, &compressed, content.len());
    assert_eq!(opened.as_deref(), Some(content), "{codec:?}");
    if codec == Codec::Zstd {
        let opened = open_in_rust(&compressed, content.len());
        assert_eq!(opened.as_deref(), Some(content), "in Rust alone");
    }
}
