//! Each rule about what answers show of a partition, shown to hold and shown to be broken.

use millrace_protocol::records::{Batch, BatchBuilder, Options};

use super::*;

/// Lives that ended so.
fn lives(lossy: &[bool]) -> Lives {
    let mut lives = Lives::default();
    for lossy in lossy {
        lives.end(*lossy);
    }
    lives
}

/// A batch of two records at `base_offset`.
fn header(base_offset: i64, leader_epoch: i32, text: &[u8]) -> BatchHeader {
    let mut builder = BatchBuilder::new(Options {
        base_offset,
        leader_epoch,
        ..Options::default()
    });
    for _ in 0..2 {
        let pushed = builder.push(1000, None, Some(text), &[]);
        pushed.expect("it is small");
    }
    let batch = Batch::parse(builder.build()).expect("it was just built");
    batch.header
}

fn rule(judged: Result<(), Anomaly>) -> Option<&'static str> {
    judged.err().map(|anomaly| anomaly.rule())
}

#[test]
fn an_end_that_was_seen_never_shrinks() {
    let mut seen = Seen::new(0, false);
    let none = lives(&[]);
    assert_eq!(rule(seen.end(seen.floors(&none), (7, 0), &none)), None);
    assert_eq!(seen.floors(&none).end, 7);
    let shrunk = seen.end(seen.floors(&none), (6, 0), &none);
    assert_eq!(rule(shrunk), Some("end moved back"));
    let cut = lives(&[true]);
    let shrunk = seen.end(seen.floors(&cut), (6, 1), &cut);
    assert_eq!(rule(shrunk), Some("end moved back"), "it was durable");
    let asked_before = Floors::default();
    assert_eq!(rule(seen.end(asked_before, (6, 1), &cut)), None);
    assert_eq!(seen.floors(&cut).end, 7);
}

#[test]
fn a_lossy_end_takes_an_end_of_the_page_cache() {
    let mut seen = Seen::new(0, true);
    seen.reached((7, 0), &lives(&[]));
    assert_eq!(seen.floors(&lives(&[false])).end, 7, "a kill takes nothing");
    let cut = lives(&[false, true]);
    assert_eq!(seen.floors(&cut).end, 0);
    assert_eq!(rule(seen.end(seen.floors(&cut), (3, 2), &cut)), None);
    assert_eq!(seen.floors(&cut).end, 3);
    seen.reached((9, 0), &cut);
    assert_eq!(seen.floors(&cut).end, 3, "an answer that came late");
}

#[test]
fn a_log_start_that_was_seen_never_moves_back() {
    let mut seen = Seen::new(0, false);
    let none = lives(&[]);
    assert_eq!(rule(seen.start(seen.floors(&none), 5)), None);
    assert_eq!(rule(seen.start(Floors::default(), 4)), None, "asked before");
    let back = seen.start(seen.floors(&none), 4);
    assert_eq!(rule(back), Some("start moved back"));
    let floors = seen.floors(&none);
    let before = seen.batch(floors, (&header(3, 0, b"a"), 0), &none);
    assert_eq!(rule(before), Some("returned"));
    let across = seen.batch(floors, (&header(4, 0, b"a"), 0), &none);
    assert_eq!(rule(across), None, "its last record is there");
}

#[test]
fn a_batch_keeps_its_bytes() {
    let shown = |page_cache, text, epoch, lossy: &[bool]| {
        let mut seen = Seen::new(0, page_cache);
        let first = seen.batch(Floors::default(), (&header(0, 0, b"a"), 0), &lives(&[]));
        assert_eq!(rule(first), None);
        let then = lives(lossy);
        let batch = header(0, epoch, text);
        rule(seen.batch(Floors::default(), (&batch, lossy.len()), &then))
    };
    assert_eq!(shown(false, b"a", 0, &[true]), None);
    assert_eq!(shown(false, b"b", 0, &[]), Some("other bytes"));
    assert_eq!(shown(false, b"b", 0, &[true]), Some("other bytes"));
    assert_eq!(shown(false, b"a", 1, &[false]), Some("other bytes"));
    assert_eq!(shown(true, b"b", 1, &[true]), None);
    assert_eq!(shown(true, b"b", 1, &[false]), Some("other bytes"));
}

#[test]
fn epochs_do_not_fall_and_answers_about_them_fit() {
    let mut seen = Seen::new(0, false);
    let none = lives(&[]);
    for (base, epoch) in [(0, 1), (2, 1), (4, 3)] {
        let batch = header(base, epoch, b"a");
        assert_eq!(
            rule(seen.batch(Floors::default(), (&batch, 0), &none)),
            None
        );
    }
    let fits = |asked, found| rule(seen.epoch(asked, (0, 6), found, (0, &none))).is_none();
    assert!(fits(1, (1, 4)));
    assert!(fits(3, (3, 9)));
    assert!(fits(2, (1, 4)), "the greatest that is not later");
    assert!(!fits(1, (1, 3)), "offset 3 is of epoch 1");
    assert!(!fits(1, (1, 5)), "offset 4 is not");
    assert!(!fits(3, (1, 4)), "epoch 3 is known");
    let before = seen.epoch(3, (0, 5), (3, 4), (0, &none));
    assert_eq!(rule(before), None, "it was not known to be there");
    let mut later = seen.clone();
    let fallen = later.batch(Floors::default(), (&header(6, 2, b"a"), 0), &none);
    assert_eq!(rule(fallen), Some("epoch"));
}
