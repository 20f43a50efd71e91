//! What counts as proven, rule by rule (`durability.md` R4, R6).

use std::sync::Arc;

use millrace_host::File;

use super::*;
use crate::testing::{BatchSpec, MemFile, batch};

fn check(base: i64) -> Check {
    Check {
        base,
        holes: false,
        from: End {
            bytes: 0,
            offset: base,
        },
        epoch: -1,
        mark: None,
        write_again: true,
    }
}

fn log(specs: &[BatchSpec]) -> Vec<u8> {
    specs.iter().flat_map(batch).collect()
}

async fn run(bytes: &[u8], check: Check) -> Verified {
    let file: Arc<dyn File> = Arc::new(MemFile::new(bytes));
    verify(&file, &check, &mut |_| {}).await.unwrap()
}

fn three() -> [BatchSpec; 3] {
    [
        BatchSpec {
            base_offset: 10,
            records: 3,
            ..BatchSpec::default()
        },
        BatchSpec {
            base_offset: 13,
            records: 1,
            epoch: 1,
            ..BatchSpec::default()
        },
        BatchSpec {
            base_offset: 14,
            records: 5,
            epoch: 1,
            ..BatchSpec::default()
        },
    ]
}

#[tokio::test]
async fn a_whole_chain_is_proven_to_its_end() {
    let bytes = log(&three());
    let verified = run(&bytes, check(10)).await;
    assert_eq!(verified.stop, Stop::End);
    assert_eq!(
        verified.end,
        End {
            bytes: bytes.len() as u64,
            offset: 19
        }
    );
    assert_eq!(verified.epoch, 1);
}

#[tokio::test]
async fn every_cut_leaves_whole_batches_and_says_incomplete() {
    let bytes = log(&three());
    let ends: Vec<u64> = three()
        .iter()
        .scan(0, |end, spec| {
            *end += batch(spec).len() as u64;
            Some(*end)
        })
        .collect();
    for len in 1..bytes.len() {
        let verified = run(&bytes[..len], check(10)).await;
        let whole = ends
            .iter()
            .copied()
            .filter(|end| *end <= len as u64)
            .max()
            .unwrap_or(0);
        assert_eq!(verified.end.bytes, whole, "cut at {len}");
        let stop = if whole == len as u64 {
            Stop::End
        } else {
            Stop::Incomplete
        };
        // A cut inside the base offset of the second batch may leave only zeros.
        if verified.stop != Stop::Zeros {
            assert_eq!(verified.stop, stop, "cut at {len}");
        }
    }
}

#[tokio::test]
async fn every_flipped_byte_ends_the_proof_at_its_batch() {
    let bytes = log(&three());
    let starts: Vec<usize> = three()
        .iter()
        .scan(0, |end, spec| {
            *end += batch(spec).len();
            Some(*end - batch(spec).len())
        })
        .collect();
    for at in 0..bytes.len() {
        // A raised epoch is outside the checksum and shows only in the batch behind it (A5).
        if starts
            .iter()
            .any(|start| (start + 12..start + 16).contains(&at))
        {
            continue;
        }
        let mut bad = bytes.clone();
        bad[at] ^= 0x40;
        let verified = run(&bad, check(10)).await;
        assert_ne!(verified.stop, Stop::End, "byte {at}");
        assert!(verified.end.bytes <= at as u64, "byte {at}");
    }
}

#[tokio::test]
async fn the_chain_is_part_of_the_proof() {
    let [first, second, third] = three();
    // The name of the segment is the first base offset.
    assert_eq!(run(&log(&three()), check(9)).await.end.bytes, 0);
    // A hole, unless allowed.
    let gap = log(&[first, third]);
    assert!(matches!(run(&gap, check(10)).await.stop, Stop::Bad(_)));
    assert_eq!(
        run(
            &gap,
            Check {
                holes: true,
                ..check(10)
            }
        )
        .await
        .stop,
        Stop::End
    );
    // An offset that goes back.
    let back = log(&[first, second, second]);
    assert!(matches!(
        run(
            &back,
            Check {
                holes: true,
                ..check(10)
            }
        )
        .await
        .stop,
        Stop::Bad(_)
    ));
    // An epoch that falls.
    let fall = log(&[first, second, BatchSpec { epoch: 0, ..third }]);
    assert!(matches!(run(&fall, check(10)).await.stop, Stop::Bad(_)));
}

#[tokio::test]
async fn a_batch_ends_exactly_at_the_mark() {
    let bytes = log(&three());
    let first = batch(&three()[0]).len() as u64;
    let at = Check {
        mark: Some(first),
        ..check(10)
    };
    assert_eq!(run(&bytes, at).await.stop, Stop::End);
    let inside = Check {
        mark: Some(first + 1),
        ..check(10)
    };
    let verified = run(&bytes, inside).await;
    assert!(matches!(verified.stop, Stop::Bad(_)));
    assert_eq!(verified.end.bytes, first);
}

#[tokio::test]
async fn zeros_end_a_log_only_when_they_reach_the_end_of_the_file() {
    let good = log(&three());
    let mut zeros = good.clone();
    zeros.resize(good.len() + 5000, 0);
    let verified = run(&zeros, check(10)).await;
    assert_eq!(
        (verified.stop, verified.end.bytes),
        (Stop::Zeros, good.len() as u64)
    );
    *zeros.last_mut().unwrap() = 1;
    assert!(matches!(run(&zeros, check(10)).await.stop, Stop::Bad(_)));
}

#[tokio::test]
async fn exactly_the_proven_bytes_are_written_again() {
    let good = log(&three());
    let mut bytes = good.clone();
    bytes.extend_from_slice(b"not a batch, and long enough to be taken for a header: no, no, no");
    let file = Arc::new(MemFile::new(&bytes));
    let shared: Arc<dyn File> = file.clone();
    verify(&shared, &check(10), &mut |_| {}).await.unwrap();
    let written: u64 = file.writes().iter().map(|(_, len)| *len as u64).sum();
    assert_eq!(written, good.len() as u64);
    assert_eq!(file.content(), bytes);
}
