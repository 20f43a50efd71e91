//! Producers, consumers that wait, consumers that give up and the end of the partition: no wake-up
//! is lost, none comes for nothing, and everyone who waits is told of the end.

use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use millrace_core::partition::{
    Acks, AssignedReplica, Durability, Event, FetchDecision, FetchPosition, Leadership, Partition,
    ProducerTable, Reader, Recovered, Settings,
};
use millrace_host::Host;
use millrace_log::dir::{DirOptions, LogDir};
use millrace_log::mark::Incarnation;
use millrace_log::partition::{LogSettings, PartitionOptions, Partitions, Replay};
use millrace_probe::{Bug, arm};
use millrace_protocol::producer::ProducerEntry;
use millrace_protocol::records::{self, Attributes, BatchHeader, HEADER_LEN, Produced};
use millrace_sim::schedules::shuttle::future::{JoinHandle, block_on, spawn};
use millrace_sim::schedules::{Length, caught, explore, machine, shuttle};

use crate::runtime::fetch_waiter::FetchWaiter;
use crate::runtime::partition::{FetchPlace, OpenPartition, PartitionSink};
use crate::runtime::producer_count::ProducerCount;

/// Records appended by all producers together, one to a batch.
const RECORDS: i64 = 4;
/// The slot of the only partition of every fetch.
const SLOT: u64 = 7;

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
    let incarnation = Incarnation {
        topic_id: [7; 16],
        partition: 0,
    };
    let sink = Arc::new(PartitionSink::default());
    let mut nothing = Nothing;
    let settings = LogSettings::default();
    let opened = partitions.open(incarnation, "t", settings, sink.clone(), &mut nothing);
    let opened = opened.await.expect("a new partition opens");
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
    open.step(Event::BecomeLeader(leadership))
        .expect("a fresh partition is sound");
    open
}

/// One record that nobody will look into.
fn batch() -> (Bytes, Produced) {
    let body = [0; 8];
    let mut header = BatchHeader {
        base_offset: 0,
        batch_length: (HEADER_LEN - 12 + body.len()) as i32,
        partition_leader_epoch: 0,
        magic: 2,
        crc: 0,
        attributes: Attributes(0),
        last_offset_delta: 0,
        base_timestamp: 1,
        max_timestamp: 1,
        producer_id: -1,
        producer_epoch: -1,
        base_sequence: -1,
        record_count: 1,
    };
    let mut bytes = BytesMut::zeroed(HEADER_LEN);
    bytes.put_slice(&body);
    header.write(bytes.first_chunk_mut().expect("the header fits"));
    header.crc = records::checksum(&bytes);
    header.write(bytes.first_chunk_mut().expect("the header fits"));
    let produced = Produced {
        header,
        stamp: None,
        max_timestamp: 1,
    };
    (bytes.freeze(), produced)
}

/// Appends half of the records; of the first one it doesn't await the reply.
async fn produce(partition: Arc<OpenPartition>) {
    let (bytes, produced) = batch();
    for number in 0..RECORDS / 2 {
        let appended = partition.append(&bytes, &produced, Acks::All);
        let appended = appended.expect("the partition leads");
        let Some(mut wait) = appended.wait else {
            continue;
        };
        if number > 0 {
            wait.end().await.expect("the directory is sound");
            let shown = partition.look(|core| core.bounds().high_watermark);
            assert!(shown.expect("it is sound") > appended.base_offset);
        }
    }
}

/// What the partition says to a fetch at `offset`: up to where it may read, or that it has ended.
fn look(
    partition: &Arc<OpenPartition>,
    offset: i64,
    waiter: &Arc<FetchWaiter>,
    place: &mut Option<FetchPlace>,
) -> Option<i64> {
    let position = FetchPosition {
        reader: Reader::Uncommitted,
        current_leader_epoch: -1,
        fetch_offset: offset,
        last_fetched_epoch: -1,
    };
    match partition.check_fetch(&position, waiter, SLOT, place) {
        Ok(FetchDecision::Read { upto, .. }) => Some(upto),
        Ok(diverging) => panic!("nothing was cut: {diverging:?}"),
        Err(_) => None,
    }
}

/// Fetches until the partition ends; how far it got.
async fn consume(partition: Arc<OpenPartition>) -> i64 {
    let waiter = Arc::new(FetchWaiter::default());
    let (mut place, mut offset) = (None, 0);
    let mut was_pushed = false;
    loop {
        let Some(upto) = look(&partition, offset, &waiter, &mut place) else {
            return offset;
        };
        assert!(
            upto > offset || !was_pushed,
            "pushed for nothing at {offset}"
        );
        was_pushed = false;
        if upto > offset {
            offset = upto;
            continue;
        }
        waiter.pushed().await;
        was_pushed = waiter.take().contains(&SLOT);
        assert!(was_pushed, "woken without a push");
    }
}

/// Begins to wait and gives up, again and again.
async fn give_up(partition: Arc<OpenPartition>) {
    for offset in 0..3 {
        let waiter = Arc::new(FetchWaiter::default());
        let mut place = None;
        look(&partition, offset, &waiter, &mut place);
        shuttle::future::yield_now().await;
        drop(place);
    }
}

fn producers_and_consumers() {
    block_on(async {
        let (host, _) = machine();
        let opened = LogDir::open(host.clone(), "/log".as_ref(), options()).await;
        let (dir, _) = opened.expect("an empty directory can be formatted");
        let partition = lead(&host, &dir).await;
        let consumers: Vec<JoinHandle<i64>> =
            (0..2).map(|_| spawn(consume(partition.clone()))).collect();
        let mut others: Vec<JoinHandle<()>> =
            (0..2).map(|_| spawn(produce(partition.clone()))).collect();
        others.push(spawn(give_up(partition.clone())));
        for other in others {
            other.await.expect("no task is ended");
        }
        // The replies that nobody awaited hold for the consumers, too.
        let last = spawn(until(partition.clone(), RECORDS));
        last.await.expect("no task is ended");
        let closing = partition.close().expect("it is sound");
        closing.await.expect("the directory is sound");
        for consumer in consumers {
            let seen = consumer.await.expect("no task is ended");
            assert!(seen <= RECORDS, "{seen} is past the end");
        }
        dir.close().await.expect("the directory is sound");
    });
}

/// Fetches up to `end`, in one fetch after the other.
async fn until(partition: Arc<OpenPartition>, end: i64) {
    let mut offset = 0;
    while offset < end {
        let waiter = Arc::new(FetchWaiter::default());
        let mut place = None;
        let upto = look(&partition, offset, &waiter, &mut place).expect("it has not ended");
        if upto <= offset {
            waiter.pushed().await;
        }
        offset = offset.max(upto);
    }
    assert_eq!(offset, end);
}

#[test]
fn a_waiting_fetch_is_told_once_and_of_the_end() {
    explore("server.fetching", Length::Long, producers_and_consumers);
}

#[test]
fn a_lost_wake_up_is_found() {
    let _armed = arm(Bug::FetchWakeUpLost);
    caught(
        "server.fetching",
        "FetchWakeUpLost",
        producers_and_consumers,
    );
}
