//! Readers beside the writer: appends, rolls, a cut and a new log start, with a handle cache of one.
//! What a reader is given below the flushed end is what was written there.

use std::sync::Arc;

use bytes::Bytes;
use millrace_protocol::records::{BatchHeader, HEADER_LEN};
use millrace_sim::schedules::shuttle::future::{JoinHandle, block_on, spawn};
use millrace_sim::schedules::shuttle::rand::Rng as _;
use millrace_sim::schedules::{Length, caught, explore, shuttle};

use super::node::{Node, Partition};
use crate::partition::Read;

/// Two batches to a segment.
const SEGMENT_BYTES: u64 = 250;
/// Reads of one reader.
const READS: usize = 3;

/// What readers take for the end of what they may read.
#[derive(Clone, Copy)]
enum Bound {
    Flushed,
    /// Wrong: a cut may take it back under them.
    LogEnd,
}

impl Bound {
    fn of(self, partition: &Partition) -> i64 {
        match self {
            Self::Flushed => partition.witness.flushed(),
            Self::LogEnd => partition.reader.log_end(),
        }
    }
}

fn readers_beside_the_writer(bound: Bound) {
    block_on(async move {
        let node = Node::start().await;
        let partition = node.open(0, SEGMENT_BYTES).await;
        for mark in 1..=3 {
            partition.append(mark, 10).expect("the directory is sound");
        }
        let writer = {
            let partition = partition.clone();
            spawn(async move {
                partition.append(4, 10).expect("the directory is sound");
                partition.append(5, 10).expect("the directory is sound");
                partition.cut().await.expect("the directory is sound");
                for mark in 6..=8 {
                    partition.append(mark, 12).expect("the cut is done");
                }
            })
        };
        let retention = {
            let (partition, clock) = (partition.clone(), node.host.clock.clone());
            spawn(async move { retain(&partition, clock.now()).await })
        };
        let mut tasks: Vec<JoinHandle<()>> = vec![writer, retention];
        for _ in 0..2 {
            let partition = partition.clone();
            tasks.push(spawn(async move {
                for _ in 0..READS {
                    read(&partition, bound).await;
                }
            }));
        }
        for task in tasks {
            task.await.expect("no task is ended");
        }
        assert!(partition.witness.all_flushed().await);
        read(&partition, bound).await;
        node.stop().await.expect("the directory is sound");
    });
}

/// A pass of retention, as the server makes it.
async fn retain(partition: &Arc<Partition>, now: millrace_host::Now) {
    let covered = {
        let mut log = partition.lock();
        let flushed = partition.witness.flushed();
        let due = log.retention_due(now, flushed, false);
        due.map(|due| (due, log.cover_start(due, Vec::new)))
    };
    let Some((due, covered)) = covered else {
        return;
    };
    covered.await.expect("the directory is sound");
    let announced = {
        let mut log = partition.lock();
        let to = log.start_within(due);
        // Refused while a cut is under way.
        to.and_then(|to| Some((to, log.advance_log_start(to).ok()?)))
    };
    let Some((to, durable)) = announced else {
        return;
    };
    durable.await.expect("the directory is sound");
    let removal = partition.lock().finish_log_start(to);
    removal.run().await.expect("the directory is sound");
}

/// Reads from an offset between the log start and what is flushed.
async fn read(partition: &Partition, bound: Bound) {
    let start = partition.reader.log_start();
    let upto = bound.of(partition);
    if start >= upto {
        return;
    }
    let from = shuttle::rand::thread_rng().gen_range(start..upto);
    let read = partition.reader.read(from, upto, 1 << 20, true).await;
    let region = match read.expect("a sound log can be read") {
        Read::Region(region) => region,
        Read::OutOfRange { log_start, .. } => {
            assert!(from < log_start, "{from} is not below {log_start}");
            return;
        }
        Read::Empty => panic!("nothing at {from}, below {upto}"),
    };
    let slice = region.slice;
    assert!(region.first_offset <= from);
    let bytes = slice.file.read_at(slice.offset, slice.len as usize).await;
    check(partition, (from, upto), &bytes.expect("memory can be read"));
}

/// All of it is whole batches as they were written, from the one that holds the first offset.
fn check(partition: &Partition, (from, upto): (i64, i64), bytes: &Bytes) {
    let mut at = 0;
    let mut next = from;
    while at < bytes.len() {
        let found = &bytes[at..];
        let header = BatchHeader::parse(found).expect("a region is whole batches");
        let base = header.base_offset;
        assert!(base <= next && next <= header.last_offset() && base < upto);
        let written = partition.witness.batch(base);
        let written = written.unwrap_or_else(|| panic!("no batch was written at {base}"));
        assert!(found.len() >= header.size() && header.size() > HEADER_LEN);
        assert!(
            found[16..header.size()] == written[16..],
            "the batch at {base} is another one"
        );
        next = header.last_offset() + 1;
        at += header.size();
    }
    assert!(at > 0, "a region is not empty");
}

#[test]
fn readers_are_given_what_was_written() {
    explore("log.reading", Length::Long, || {
        readers_beside_the_writer(Bound::Flushed);
    });
}

#[test]
fn readers_past_the_flushed_end_are_found() {
    caught("log.reading", "a read past what is flushed", || {
        readers_beside_the_writer(Bound::LogEnd);
    });
}
