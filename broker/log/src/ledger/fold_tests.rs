//! L1, L2, C6 and R3 on the fold.

use super::*;

const P: Incarnation = Incarnation {
    topic_id: [3; 16],
    partition: 0,
};

fn segment(base_offset: i64) -> Mark {
    let id = SegmentId {
        base_offset,
        generation: 0,
    };
    Mark::Segment {
        id,
        topic: "orders".into(),
        holes: false,
    }
}

fn at(base_offset: i64, bytes: u64, offset: i64) -> Position {
    Position {
        segment: SegmentId {
            base_offset,
            generation: 0,
        },
        bytes,
        offset,
    }
}

fn run(generation: u64, boot: &str) -> Run {
    Run {
        generation,
        boot: Some(boot.into()),
        mount: Some("m".into()),
    }
}

fn folded(marks: &[Mark]) -> Ledger {
    let mut ledger = Ledger::default();
    for mark in marks {
        ledger.apply(P, 1, mark);
    }
    ledger
}

fn filled() -> Ledger {
    let mut ledger = folded(&[
        segment(0),
        Mark::Epoch {
            epoch: 1,
            start_offset: 0,
        },
        Mark::Sealed {
            end: at(0, 900, 50),
            max_timestamp_ms: 7,
        },
        segment(50),
        Mark::Epoch {
            epoch: 2,
            start_offset: 60,
        },
        Mark::Snapshot(SnapshotName {
            offset: 70,
            crc_ours: 1,
            crc_kafka: 2,
        }),
    ]);
    ledger.data(P, 1, at(50, 400, 80));
    ledger.apply(P, 1, &Mark::Settled(at(50, 300, 75)));
    ledger.start(run(1, "a"));
    ledger
}

#[test]
fn l2_an_entry_exists_from_the_first_segment_mark_to_the_end_of_deletion() {
    let mut ledger = folded(&[Mark::HighWatermark(3)]);
    assert!(ledger.entries.is_empty());
    ledger.apply(P, 1, &segment(0));
    assert!(ledger.entries.contains_key(&P));
    ledger.apply(P, 1, &Mark::DeleteIntent);
    assert!(ledger.entries[&P].deleting);
    ledger.apply(P, 1, &Mark::DeleteDone);
    assert_eq!((ledger.entries.len(), ledger.entries_len), (0, 0));
}

#[test]
fn c5_a_cut_takes_back_what_lies_above_it() {
    let mut ledger = filled();
    ledger.apply(
        P,
        1,
        &Mark::CutIntent {
            to: at(0, 500, 30),
            cut_count: 1,
        },
    );
    let entry = &ledger.entries[&P];
    assert_eq!(entry.segments.len(), 1);
    assert_eq!(
        (entry.flushed, entry.settled),
        (Some(at(0, 500, 30)), Some(at(0, 500, 30)))
    );
    assert_eq!(entry.epochs, vec![(1, 0)]);
    assert!(entry.snapshots.is_empty() && entry.pending_cut.is_some());
    ledger.apply(P, 1, &Mark::CutDone { cut_count: 1 });
    assert!(ledger.entries[&P].pending_cut.is_none());
}

#[test]
fn j4_folding_the_last_commit_again_changes_nothing() {
    let last = [
        Mark::CutDone { cut_count: 1 },
        segment(40),
        Mark::Epoch {
            epoch: 3,
            start_offset: 40,
        },
        Mark::Settled(at(40, 10, 41)),
    ];
    let mut ledger = filled();
    ledger.apply(
        P,
        1,
        &Mark::CutIntent {
            to: at(0, 800, 40),
            cut_count: 1,
        },
    );
    for mark in &last {
        ledger.apply(P, 1, mark);
    }
    let once = ledger.clone();
    for mark in &last {
        ledger.apply(P, 1, mark);
    }
    assert_eq!(ledger, once);
}

#[test]
fn r3_a_partition_is_clean_only_while_its_close_mark_is_its_last_word() {
    let mut ledger = filled();
    ledger.apply(P, 4, &Mark::Close(at(50, 400, 80)));
    ledger.apply(P, 4, &Mark::HighWatermark(80));
    assert_eq!(ledger.entries[&P].close, Some(at(50, 400, 80)));
    ledger.data(P, 5, at(50, 500, 90));
    assert_eq!(
        (
            ledger.entries[&P].close,
            ledger.entries[&P].since_generation
        ),
        (None, 5)
    );
    ledger.data(P, 6, at(50, 600, 95));
    assert_eq!(
        ledger.entries[&P].since_generation, 5,
        "the oldest write is what is owed"
    );
    ledger.apply(P, 7, &Mark::Recovered(at(50, 600, 95)));
    assert_eq!(ledger.entries[&P].since_generation, 7);
}

#[test]
fn r3_another_or_unknown_boot_breaks_the_chain() {
    let mut ledger = Ledger::default();
    ledger.start(run(1, "a"));
    ledger.start(run(2, "a"));
    assert_eq!(ledger.same_since, 1);
    ledger.start(run(3, "b"));
    ledger.start(run(4, "b"));
    assert_eq!(ledger.same_since, 3);
    ledger.start(Run {
        generation: 5,
        boot: None,
        mount: None,
    });
    ledger.start(Run {
        generation: 6,
        boot: None,
        mount: None,
    });
    assert_eq!(ledger.same_since, 6);
}

#[test]
fn l1_a_ledger_comes_back_whole_or_not_at_all() {
    let ledger = filled();
    let bytes = ledger.encode([1; 16], 9);
    assert!(bytes.len() <= ledger.encoded_len());
    assert_eq!(Ledger::decode([1; 16], &bytes), Some((ledger, 9)));
    assert_eq!(Ledger::decode([2; 16], &bytes), None);
    for at in 0..bytes.len() {
        let mut hurt = bytes.clone();
        hurt[at] ^= 0x10;
        assert_eq!(
            Ledger::decode([1; 16], &hurt),
            None,
            "a flip at {at} passed"
        );
        assert_eq!(Ledger::decode([1; 16], &bytes[..at]), None);
    }
}

#[test]
fn f4_the_room_a_ledger_needs_is_known_before_it_is_written() {
    let mut ledger = filled();
    ledger.apply(P, 1, &Mark::LogStart(65));
    ledger.apply(P, 1, &Mark::SegmentRemoved(SegmentId::default()));
    let sum: usize = ledger.entries.values().map(LedgerEntry::encoded_len).sum();
    assert_eq!(ledger.entries_len, sum);
    assert_eq!(ledger.entries[&P].epochs, vec![(2, 60)]);
}
