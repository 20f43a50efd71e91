//! Decompression of hostile streams: the cap holds while bytes come out, buffers follow what is really
//! there, and every malformed stream is an error.

use millrace_host::allocation::{Counting, peak};
use millrace_protocol::records::compression::{Codec, CompressionError, Decompressor, compress};
use proptest::prelude::*;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const MIB: usize = 1 << 20;
const PACKED: [Codec; 4] = [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

fn packed(codec: Codec, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    compress(codec, None, content, &mut out);
    out
}

/// What both readers, the one in C and the one in Rust alone, make of it: the same.
fn unpacked(codec: Codec, input: &[u8], cap: usize) -> Result<Vec<u8>, CompressionError> {
    let read = |mut by: Decompressor| {
        let mut out = Vec::new();
        by.decompress(codec, input, cap, &mut out).map(|()| out)
    };
    let (one, other) = (
        read(Decompressor::new()),
        read(Decompressor::in_rust_alone()),
    );
    assert_eq!(one.is_ok(), other.is_ok(), "{one:?} and {other:?}");
    if let (Ok(one), Ok(other)) = (&one, &other) {
        assert!(one == other, "{codec:?}: the readers don't agree");
    }
    one
}

/// Reads `input` to its end or error and counts what came out.
fn counted(
    decompressor: &mut Decompressor,
    codec: Codec,
    input: &[u8],
    cap: usize,
) -> (usize, bool) {
    let mut bytes = 0;
    let Ok(mut stream) = decompressor.stream(codec, input, cap) else {
        return (0, false);
    };
    loop {
        match stream.next_chunk() {
            Ok([]) => return (bytes, true),
            Ok(chunk) => bytes += chunk.len(),
            Err(_) => return (bytes, false),
        }
    }
}

/// Content that compresses badly, so that frames have many blocks.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 56) as u8
    };
    (0..len).map(|_| next()).collect()
}

#[test]
fn content_comes_back_at_every_level() {
    let content = [noise(300_000), vec![7; 300_000]].concat();
    for codec in Codec::ALL {
        for level in [
            None,
            Some(i32::MIN),
            Some(-1),
            Some(0),
            Some(1),
            Some(9),
            Some(i32::MAX),
        ] {
            let content = &content[..if level == Some(i32::MAX) {
                1000
            } else {
                content.len()
            }];
            let mut out = Vec::new();
            compress(codec, level, content, &mut out);
            assert_eq!(
                unpacked(codec, &out, content.len()).as_deref(),
                Ok(content),
                "{codec:?}"
            );
        }
    }
}

#[test]
fn the_cap_is_exact() {
    for content in [noise(100_001), vec![0; 100_001]] {
        for codec in Codec::ALL {
            let input = packed(codec, &content);
            assert!(unpacked(codec, &input, content.len()).is_ok(), "{codec:?}");
            let cap = content.len() - 1;
            let over = unpacked(codec, &input, cap);
            assert_eq!(
                over,
                Err(CompressionError::TooLarge { codec, cap }),
                "{codec:?}"
            );
        }
    }
}

#[test]
fn a_bomb_ends_at_the_cap_and_is_not_kept() {
    let bomb = vec![0; 64 * MIB];
    for codec in PACKED {
        let input = packed(codec, &bomb);
        assert!(input.len() < bomb.len() / 15, "{codec:?} is no bomb");
        let mut decompressor = Decompressor::new();
        let (bytes, ended) = counted(&mut decompressor, codec, &input, MIB);
        assert!(!ended && bytes <= MIB, "{codec:?} gave {bytes} bytes");
        let kept = decompressor.kept_bytes();
        assert!(kept < 4 * MIB, "{codec:?} keeps {kept} bytes");
        // The contexts are as good as new.
        let good = packed(codec, b"content");
        let mut out = Vec::new();
        decompressor
            .decompress(codec, &good, MIB, &mut out)
            .unwrap();
        assert_eq!(out, b"content");
    }
}

#[test]
fn a_stream_cut_short_anywhere_is_an_error() {
    let content = noise(2000);
    for codec in PACKED {
        let input = packed(codec, &content);
        for len in 0..input.len() {
            let cut = unpacked(codec, &input[..len], MIB);
            // Xerial framing has no end mark: a cut between header and first block reads as empty.
            let empty = codec == Codec::Snappy && len == 16;
            assert_eq!(cut.is_ok(), empty, "{codec:?} cut at {len}: {cut:?}");
        }
    }
}

#[test]
fn nothing_may_follow_the_stream() {
    for codec in [Codec::Gzip, Codec::Lz4, Codec::Zstd, Codec::Snappy] {
        let mut input = packed(codec, b"content");
        input.extend_from_slice(b"\x01\x02");
        assert!(unpacked(codec, &input, MIB).is_err(), "{codec:?}");
    }
}

#[test]
fn gzip_members_are_read_in_turn_with_their_checks() {
    let two = [packed(Codec::Gzip, b"one "), packed(Codec::Gzip, b"two")].concat();
    assert_eq!(unpacked(Codec::Gzip, &two, MIB).unwrap(), b"one two");
    // Members that together pass the cap.
    let many = packed(Codec::Gzip, &vec![0; 10_000]).repeat(10);
    let over = unpacked(Codec::Gzip, &many, 99_999);
    assert!(matches!(over, Err(CompressionError::TooLarge { .. })));
    // Name, comment, extra field and header checksum are passed over.
    let plain = packed(Codec::Gzip, b"content");
    let mut dressed = plain[..10].to_vec();
    dressed[3] = 0b1_1110;
    dressed.extend_from_slice(b"\x03\0xyzname\0comment\0cc");
    dressed.extend_from_slice(&plain[10..]);
    assert_eq!(unpacked(Codec::Gzip, &dressed, MIB).unwrap(), b"content");
    for at in [plain.len() - 1, plain.len() - 5, 0, 2] {
        let mut broken = plain.clone();
        broken[at] ^= 1;
        assert!(unpacked(Codec::Gzip, &broken, MIB).is_err(), "{at}");
    }
}

#[test]
fn snappy_is_read_in_both_framings() {
    let content = noise(70_000);
    let xerial = packed(Codec::Snappy, &content);
    assert_eq!(xerial[..8], *b"\x82SNAPPY\0");
    assert_eq!(unpacked(Codec::Snappy, &xerial, MIB).unwrap(), content);
    assert_eq!(
        unpacked(Codec::Snappy, &[&xerial[..], &xerial].concat(), MIB)
            .unwrap()
            .len(),
        140_000
    );

    // One raw block: a length (70000 as a varint), then literals of up to 60 bytes.
    let mut raw = vec![0xf0, 0xa2, 0x04];
    for literal in content.chunks(60) {
        raw.push(((literal.len() - 1) << 2) as u8);
        raw.extend_from_slice(literal);
    }
    assert_eq!(unpacked(Codec::Snappy, &raw, MIB).unwrap(), content);
    assert_eq!(unpacked(Codec::Snappy, &[0], MIB).unwrap(), b"");
}

#[test]
fn a_snappy_block_that_claims_too_much_takes_no_memory() {
    // 2^32 - 1 bytes of content in a few bytes.
    let raw = [0xff, 0xff, 0xff, 0xff, 0x0f, 0, b'x'];
    let framed = [&packed(Codec::Snappy, b"")[..], &[0, 0, 0, 7], &raw].concat();
    for input in [&raw[..], &framed] {
        let mut decompressor = Decompressor::new();
        assert_eq!(
            counted(&mut decompressor, Codec::Snappy, input, usize::MAX),
            (0, false)
        );
        assert!(decompressor.kept_bytes() < 1024);
        let over = unpacked(Codec::Snappy, input, MIB);
        assert!(matches!(
            over,
            Err(CompressionError::TooLarge { cap: MIB, .. })
        ));
    }
}

/// An LZ4 frame with these flags and content size, of stored blocks.
fn lz4_frame(flags: u8, block_size: u8, content_size: Option<u64>, blocks: &[&[u8]]) -> Vec<u8> {
    let mut descriptor = vec![flags, block_size];
    descriptor.extend(content_size.iter().flat_map(|size| size.to_le_bytes()));
    let check = (twox_hash::XxHash32::oneshot(0, &descriptor) >> 8) as u8;
    let mut frame = 0x184D_2204_u32.to_le_bytes().to_vec();
    frame.extend(descriptor);
    frame.push(check);
    for block in blocks {
        frame.extend((block.len() as u32 | 1 << 31).to_le_bytes());
        frame.extend(*block);
    }
    frame.extend([0; 4]);
    frame
}

#[test]
fn lz4_content_size_is_checked_and_never_believed() {
    let frame = |size| lz4_frame(0b0110_1000, 0x40, Some(size), &[b"con", b"tent"]);
    assert_eq!(unpacked(Codec::Lz4, &frame(7), MIB).unwrap(), b"content");
    for lie in [0, 6, 8, u64::MAX] {
        let mut decompressor = Decompressor::new();
        let (bytes, ended) = counted(&mut decompressor, Codec::Lz4, &frame(lie), MIB);
        assert!(!ended && bytes == 7, "{lie}");
        assert!(decompressor.kept_bytes() < 1024);
    }
}

#[test]
fn lz4_frames_kafka_cannot_read_are_refused() {
    let good = 0b0110_0000;
    assert_eq!(
        unpacked(Codec::Lz4, &lz4_frame(good, 0x40, None, &[b"x"]), MIB).unwrap(),
        b"x"
    );
    for (flags, block_size) in [
        (0b0100_0000, 0x40),
        (good | 1, 0x40),
        (good | 2, 0x40),
        (0b1010_0000, 0x40),
        (good, 0x30),
        (good, 0x41),
        (good, 0xc0),
    ] {
        let frame = lz4_frame(flags, block_size, None, &[b"x"]);
        assert!(
            unpacked(Codec::Lz4, &frame, MIB).is_err(),
            "{flags:#b} {block_size:#x}"
        );
    }
    let mut wrong_check = lz4_frame(good, 0x40, None, &[b"x"]);
    wrong_check[6] ^= 1;
    assert!(unpacked(Codec::Lz4, &wrong_check, MIB).is_err());
    let too_long = lz4_frame(good, 0x40, None, &[&vec![0; 65_537]]);
    assert!(unpacked(Codec::Lz4, &too_long, MIB).is_err());
}

#[test]
fn lz4_checksums_are_verified_where_present() {
    let hash = |bytes: &[u8]| twox_hash::XxHash32::oneshot(0, bytes).to_le_bytes();
    let mut frame = lz4_frame(0b0111_0100, 0x40, None, &[b"content"]);
    frame.truncate(frame.len() - 4);
    frame.extend(hash(b"content"));
    frame.extend([0; 4]);
    frame.extend(hash(b"content"));
    assert_eq!(unpacked(Codec::Lz4, &frame, MIB).unwrap(), b"content");
    for at in [frame.len() - 1, frame.len() - 9, 12] {
        let mut broken = frame.clone();
        broken[at] ^= 1;
        assert!(unpacked(Codec::Lz4, &broken, MIB).is_err(), "{at}");
    }
}

/// A zstd frame of one stored block, with a window of 2^log bytes and no content size.
fn zstd_frame(window_log: u8, content: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0, (window_log - 10) << 3];
    let block = (content.len() << 3 | 1) as u32;
    frame.extend(&block.to_le_bytes()[..3]);
    frame.extend(content);
    frame
}

#[test]
fn zstd_windows_are_limited_before_memory_is_taken() {
    for log in [10, 17, 21, 27] {
        assert_eq!(
            unpacked(Codec::Zstd, &zstd_frame(log, b"content"), MIB).unwrap(),
            b"content"
        );
    }
    for log in [28, 31, 41] {
        for mut decompressor in [Decompressor::new(), Decompressor::in_rust_alone()] {
            let frame = zstd_frame(log, b"content");
            let refused = decompressor.decompress(Codec::Zstd, &frame, MIB, &mut Vec::new());
            assert!(
                matches!(refused, Err(CompressionError::Unsupported { .. })),
                "{log}: {refused:?}"
            );
            assert!(decompressor.kept_bytes() < MIB, "{log}");
        }
    }
    // The greatest window that is read is given back afterwards.
    let mut decompressor = Decompressor::new();
    let frame = zstd_frame(27, b"content");
    decompressor
        .decompress(Codec::Zstd, &frame, MIB, &mut Vec::new())
        .unwrap();
    assert!(decompressor.kept_bytes() < MIB);
}

#[test]
fn zstd_frames_may_follow_each_other_and_omit_their_size() {
    let two = [zstd_frame(20, b"one "), packed(Codec::Zstd, b"two")].concat();
    assert_eq!(unpacked(Codec::Zstd, &two, MIB).unwrap(), b"one two");
    let bombs = packed(Codec::Zstd, &vec![0; 10_000]).repeat(10);
    let over = unpacked(Codec::Zstd, &bombs, 99_999);
    assert!(matches!(over, Err(CompressionError::TooLarge { .. })));
    assert_eq!(
        unpacked(Codec::Zstd, &bombs, 100_000).unwrap(),
        vec![0; 100_000]
    );
    // A frame that is to be skipped gives nothing, wherever it lies.
    let skipped = [&[0x5f, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"any"].concat();
    let between = [&skipped[..], &two, &skipped].concat();
    assert_eq!(unpacked(Codec::Zstd, &between, MIB).unwrap(), b"one two");
    let cut = between[..between.len() - 1].to_vec();
    for broken in [cut, Vec::new(), b"no frame at all".to_vec()] {
        assert!(unpacked(Codec::Zstd, &broken, MIB).is_err(), "{broken:?}");
    }
}

/// What refers far back is read under a cap that is far below the frame's window, and as far as the cap.
#[test]
fn zstd_is_read_in_rust_alone_with_a_window_of_the_cap() {
    let far = noise(700_000);
    let content = [&far[..], &far].concat();
    for level in [1, 3, 9, 19] {
        let mut one = Vec::new();
        let mut encoder = zstd::stream::write::Encoder::new(&mut one, level).unwrap();
        encoder.include_checksum(true).unwrap();
        std::io::Write::write_all(&mut encoder, &content).unwrap();
        encoder.finish().unwrap();
        let read = unpacked(Codec::Zstd, &one, content.len()).unwrap();
        assert!(read == content, "level {level}");
        let over = unpacked(Codec::Zstd, &one, content.len() - 1);
        assert!(matches!(over, Err(CompressionError::TooLarge { .. })));
        let checksum = one.len() - 1;
        one[checksum] ^= 1;
        assert!(unpacked(Codec::Zstd, &one, MIB * 2).is_err());
    }
}

#[test]
fn zstd_is_read_in_rust_alone_in_memory_that_follows_the_cap() {
    let bomb = packed(Codec::Zstd, &vec![0; 64 * MIB]);
    // The window as it would be streamed, then the size in the header.
    let mut streamed = Vec::new();
    let mut encoder = zstd::stream::write::Encoder::new(&mut streamed, 19).unwrap();
    std::io::Write::write_all(&mut encoder, &vec![0; 64 * MIB]).unwrap();
    encoder.finish().unwrap();
    for bomb in [bomb, streamed] {
        let ((bytes, whole), held) =
            peak(|| counted(&mut Decompressor::in_rust_alone(), Codec::Zstd, &bomb, MIB));
        assert!(bytes <= MIB && !whole);
        // A buffer that doubles is there twice while it does.
        assert!(held < 4 * MIB, "{held} bytes");
    }
}

proptest! {
    #[test]
    fn damaged_streams_never_panic_nor_pass_the_cap(
        content in proptest::collection::vec(0_u8..4, 0..3000),
        codec in 1_usize..5,
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let codec = Codec::ALL[codec];
        let mut input = packed(codec, &content);
        for (at, byte) in damage {
            let at = at.index(input.len());
            input[at] = byte;
        }
        let cap = content.len() / 2;
        for mut by in [Decompressor::new(), Decompressor::in_rust_alone()] {
            let (bytes, _) = counted(&mut by, codec, &input, cap);
            prop_assert!(bytes <= cap);
        }
    }

    #[test]
    fn garbage_never_panics(
        input in proptest::collection::vec(any::<u8>(), 0..300),
        codec in 1_usize..5,
    ) {
        for mut by in [Decompressor::new(), Decompressor::in_rust_alone()] {
            let (bytes, _) = counted(&mut by, Codec::ALL[codec], &input, 1000);
            prop_assert!(bytes <= 1000);
        }
    }
}
