//! What a deletion answers whose directory ends while it is under way.

use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use millrace_core::partition::{
    AssignedReplica, Durability, Leadership, Partition, ProducerTable, Recovered, Settings,
};
use millrace_host::Host;
use millrace_log::dir::{DirOptions, LogDir};
use millrace_log::mark::Incarnation;
use millrace_log::partition::{LogSettings, PartitionOptions, Partitions, Replay};
use millrace_protocol::producer::ProducerEntry;
use millrace_protocol::records::{BatchBuilder, BatchHeader, Options, Produced};
use millrace_sim::Sim;

use super::*;
use crate::runtime::producer_count::ProducerCount;

const INCARNATION: Incarnation = Incarnation {
    topic_id: [7; 16],
    partition: 0,
};

struct Nothing;

impl Replay for Nothing {
    fn producers(&mut self, _: Vec<ProducerEntry>) {}

    fn batch(&mut self, _: &BatchHeader) {}
}

fn options() -> DirOptions {
    DirOptions {
        cluster_id: None,
        node_id: 1,
        flush_lag: Duration::from_millis(2),
        unflushed_bytes_max: 1 << 20,
        reserve_bytes: 0,
        journal_initial_bytes: 64 << 10,
        journal_file_bytes_max: 1 << 20,
        direct_sync_bytes: 1 << 10,
        unsettled_files_max: 8,
    }
}

/// A partition that leads, as the registry opens it.
async fn lead(host: &Host, dir: &Arc<LogDir>) -> Arc<OpenPartition> {
    let partitions = Partitions::new(dir.clone(), host.clone(), PartitionOptions::default());
    let sink = Arc::new(PartitionSink::default());
    let settings = LogSettings::default();
    let mut nothing = Nothing;
    let opened = partitions.open(INCARNATION, "t", settings, sink.clone(), &mut nothing);
    let opened = opened.await.unwrap();
    let recovered = Recovered {
        broker_id: 1,
        settings: Settings::default(),
        durability: Durability::Fsync,
        log_start: 0,
        log_end: 0,
        flushed: 0,
        high_watermark: 0,
        cut_count: 0,
        epochs: Vec::new(),
        may_have_lost: false,
        read_only: false,
    };
    let open = Arc::new(OpenPartition::new(
        Arc::from("t"),
        host.clock.clone(),
        Partition::recovered(&recovered, ProducerTable::default()),
        (dir.clone(), opened.log),
        (&Arc::new(ProducerCount::new(10)), &Arc::default()),
    ));
    sink.attach(&open);
    let leadership = Leadership {
        leader_epoch: 0,
        partition_epoch: 0,
        replicas: vec![AssignedReplica {
            broker_id: 1,
            broker_epoch: 1,
            eligible: true,
        }],
        isr: vec![1],
    };
    open.step(Event::BecomeLeader(leadership)).unwrap();
    open
}

/// Appends a batch of four records, and waits until they may be seen.
async fn fill(sim: &Sim, partition: &Arc<OpenPartition>) {
    let mut builder = BatchBuilder::new(Options::default());
    for _ in 0..4 {
        builder.push(1, None, Some(b"v"), &[]).unwrap();
    }
    let bytes = builder.build();
    let produced = Produced {
        header: BatchHeader::parse(&bytes).unwrap(),
        stamp: None,
        max_timestamp: 1,
    };
    let acks = millrace_core::partition::Acks::All;
    drop(partition.append(&bytes, &produced, acks).unwrap());
    let shown = || {
        let shown = partition.with(|state, _, _| state.core.bounds().high_watermark);
        shown.unwrap()
    };
    while shown() < 4 {
        sim.pause(Duration::from_millis(1)).await;
    }
}

#[test]
fn a_deletion_whose_directory_ends_behind_its_mark_is_not_acknowledged() {
    let sim = Sim::new(1);
    sim.block_on(async {
        let host = sim.node("n");
        let opened = LogDir::open(host.clone(), Path::new("/data"), options()).await;
        let dir = opened.unwrap().0;
        let partition = lead(&host, &dir).await;
        fill(&sim, &partition).await;
        let turn = partition.start_move().await;
        let mut deleting = Box::pin(turn.delete_records(2));
        let mut poll = || {
            let mut context = Context::from_waker(Waker::noop());
            Pin::as_mut(&mut deleting).poll(&mut context)
        };
        // Nobody looks at the deletion between its mark and the end of the directory.
        let marked = || {
            dir.entry(&INCARNATION)
                .is_some_and(|entry| entry.log_start == 2)
        };
        while !marked() {
            assert!(poll().is_pending());
            sim.pause(Duration::from_millis(1)).await;
        }
        dir.fail("the device is gone");
        sim.pause(Duration::from_millis(1)).await;
        match poll() {
            Poll::Ready(Err(NotDeleted::Reject(_) | NotDeleted::Log(_))) => {}
            Poll::Ready(Err(refused)) => panic!("{refused}"),
            Poll::Ready(Ok(deleted)) => panic!("acknowledged from {}", deleted.low_watermark),
            Poll::Pending => panic!("nobody is told"),
        }
    });
}
