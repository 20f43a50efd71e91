//! Rules of the gathering commit that take more partitions, or more handles, than usual.

use std::io::IoSlice;
use std::path::Path;
use std::sync::Arc;

use millrace_host::{File, OpenMode};
use millrace_sim::Sim;

use super::*;
use crate::mark::{Durability, SegmentId};
use crate::sink::DurabilitySink;

struct Deaf;

impl DurabilitySink for Deaf {
    fn flushed(&self, _upto: i64, _cut_count: u32) {}

    fn directory_failed(&self, _reason: &str) {}
}

/// Two partitions fill a round of this one.
fn gather() -> Gather {
    Gather::new(2 * PARTITION_SHARE, 1 << 20)
}

fn open(gather: &mut Gather, partition: i32) -> u32 {
    gather.open(Opening {
        incarnation: Incarnation {
            topic_id: [1; 16],
            partition,
        },
        flushed: Position::default(),
        cut_count: 0,
        sink: Arc::new(Deaf),
    })
}

/// Stages one record of one byte at `offset`.
fn stage(gather: &mut Gather, slot: u32, file: &Arc<dyn File>, offset: i64) {
    gather.len_max = 1 << 16;
    gather.stage(
        slot,
        &Staged {
            segment: SegmentId::default(),
            position: offset as u64,
            first_offset: offset,
            next_offset: offset + 1,
            bytes: &[IoSlice::new(b"x")],
            file,
            urgent: true,
        },
    );
    gather.len_max = 2 * PARTITION_SHARE;
}

fn mark(gather: &mut Gather, slot: u32) {
    gather.mark(slot, Mark::Mode(Durability::Fsync));
}

/// Seals the next round and makes it durable: what is flushed of `slot` then.
fn commit(gather: &mut Gather, slot: u32) -> i64 {
    let (mut sealed, mut notices) = (Round::default(), Vec::new());
    gather.seal(&mut sealed);
    gather.round_durable(&mut sealed, &mut notices);
    gather.part(slot).flushed.offset
}

fn with_file(test: impl FnOnce(&mut Gather, &Arc<dyn File>)) {
    let sim = Sim::new(1);
    let host = sim.node("n1");
    let file = host.disk.open(Path::new("/f"), OpenMode::Create).unwrap();
    test(&mut gather(), &file);
}

#[test]
fn c2_bytes_of_a_later_round_are_not_flushed_by_an_earlier_one() {
    with_file(|gather, file| {
        let (p, q, r) = (open(gather, 0), open(gather, 1), open(gather, 2));
        // The first round is full of marks, one of them of P; P's bytes go into the second.
        mark(gather, p);
        mark(gather, q);
        mark(gather, r);
        stage(gather, p, file, 0);
        assert_eq!(
            commit(gather, p),
            0,
            "the round with the bytes is not durable"
        );
        assert_eq!(commit(gather, p), 1);
    });
}

#[test]
fn c2_bytes_do_not_grow_in_a_round_that_is_full() {
    with_file(|gather, file| {
        let (p, q, r) = (open(gather, 0), open(gather, 1), open(gather, 2));
        stage(gather, p, file, 0);
        mark(gather, q);
        mark(gather, r);
        // P joins the second round by a mark: its bytes are in the first all the same.
        mark(gather, p);
        stage(gather, p, file, 1);
        assert!(gather.part(p).direct);
        assert!(commit(gather, p) <= 1, "offset 1 is in no commit");
    });
}

#[test]
fn a_slot_is_kept_until_its_last_handle_is_gone() {
    let mut gather = gather();
    let (first, second) = (open(&mut gather, 0), open(&mut gather, 0));
    assert_eq!(first, second);
    gather.release(first);
    let other = open(&mut gather, 1);
    assert_ne!(other, second, "another partition got a slot that is in use");
    assert_eq!(gather.part(second).incarnation.partition, 0);
    gather.release(second);
    assert_eq!(
        open(&mut gather, 2),
        second,
        "a slot nobody has is used again"
    );
}

#[test]
fn a_sync_asked_for_while_one_runs_follows_it() {
    with_file(|gather, file| {
        let slot = open(gather, 0);
        let upto = |offset| Position {
            offset,
            bytes: offset as u64,
            ..Position::default()
        };
        gather.sync_later(slot, file, upto(1));
        assert_eq!(gather.sync_queue.pop(), Some(slot));
        assert!(gather.begin_sync(slot).is_some());
        // The queue may be looked at before the first one ends.
        gather.sync_later(slot, file, upto(2));
        assert_eq!(gather.sync_queue.pop(), Some(slot));
        assert!(gather.begin_sync(slot).is_none());
        gather.end_sync(slot, &mut Vec::new());
        assert_eq!(gather.part(slot).flushed.offset, 1);
        assert_eq!(gather.sync_queue.pop(), Some(slot));
        assert!(gather.begin_sync(slot).is_some());
        gather.end_sync(slot, &mut Vec::new());
        assert_eq!(gather.part(slot).flushed.offset, 2);
        assert!(gather.sync_queue.is_empty());
    });
}
