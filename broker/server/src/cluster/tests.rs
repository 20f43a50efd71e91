//! The metadata log on the simulated machine: terms, snapshots, power cuts, lost directories.

use std::path::Path;

use millrace_core::cluster::Loading;
use millrace_log::dir::{DirOptions, LogDir};
use millrace_log::partition::PartitionOptions;
use millrace_protocol::metadata::control::{ControlValue, LeaderChange};
use millrace_protocol::metadata::{PartitionRecord, TopicRecord};
use millrace_protocol::records::{ControlType, Scratch, batches, record_iter};
use millrace_sim::{DiskEffect, DiskFault, DiskOp, FlipAt, Sim, When};

use super::*;

const LOG: &str = "/data/__cluster_metadata-0";

fn options() -> DirOptions {
    DirOptions {
        cluster_id: None,
        node_id: 1,
        flush_lag: Duration::from_millis(5),
        unflushed_bytes_max: 1 << 20,
        reserve_bytes: 0,
        journal_initial_bytes: 256 << 10,
        journal_file_bytes_max: 1 << 20,
        direct_sync_bytes: 64 << 10,
        unsettled_files_max: 64,
    }
}

const QUORUM: Quorum = Quorum {
    node_id: 1,
    snapshot_record_bytes: 1 << 30,
    snapshot_interval: None,
};

/// Takes a snapshot every few dozen entries.
const EAGER: Quorum = Quorum {
    snapshot_record_bytes: 5000,
    ..QUORUM
};

struct Started {
    host: Host,
    dir: Arc<LogDir>,
    cluster: Arc<Cluster>,
}

async fn try_start(sim: &Sim, quorum: Quorum) -> Result<Started, MetadataError> {
    let host = sim.node("n");
    let (dir, _) = LogDir::open(host.clone(), Path::new("/data"), options()).await?;
    let partitions = Partitions::new(Arc::clone(&dir), host.clone(), PartitionOptions::default());
    let cluster = Cluster::open(&partitions, &host, quorum).await?;
    Ok(Started { host, dir, cluster })
}

async fn start(sim: &Sim, quorum: Quorum) -> Started {
    try_start(sim, quorum).await.unwrap()
}

fn id(at: u64) -> TopicId {
    TopicId::from_bytes(u128::from(at + 1000).to_be_bytes())
}

fn directory() -> Directory {
    TopicId::from_bytes([7; 16])
}

/// The records of one topic of one partition: 3 records would tear if entries weren't atomic.
fn topic(at: u64) -> Vec<MetadataRecord> {
    let partition = |partition_id| {
        MetadataRecord::Partition(PartitionRecord {
            partition_id,
            topic_id: id(at),
            replicas: vec![1],
            isr: vec![1],
            removing_replicas: Vec::new(),
            adding_replicas: Vec::new(),
            leader: 1,
            leader_recovery_state: 0,
            leader_epoch: 0,
            partition_epoch: 0,
            directories: vec![directory()],
        })
    };
    let topic = MetadataRecord::Topic(TopicRecord {
        name: format!("topic-{at}"),
        topic_id: id(at),
    });
    vec![topic, partition(0), partition(1)]
}

impl Started {
    async fn create(&self, at: u64) -> Result<(), MetadataError> {
        self.cluster.propose(|_, _| ((), topic(at))).await
    }

    async fn pause(&self, span: Duration) {
        let clock = &self.host.clock;
        clock.sleep_until(clock.now().mono + span).await;
    }

    async fn snapshot_files(&self) -> Vec<(i64, i32)> {
        let listed = self.host.disk.list(Path::new(LOG)).await.unwrap();
        let names = listed.iter().map(|file| file.name.as_str());
        names.filter_map(snapshot::parse_name).collect()
    }

    fn log_start(&self) -> i64 {
        self.dir
            .entry(&log::INCARNATION)
            .map_or(-1, |entry| entry.log_start)
    }

    async fn stop(self) {
        self.cluster.close().await.unwrap();
        self.dir.close().await.unwrap();
    }
}

/// The term and, of the first entry of a term, the leader, of each entry in the first segment.
async fn entries(host: &Host) -> Vec<(i32, Option<i32>)> {
    let path = Path::new(LOG).join("00000000000000000000.log");
    let file = host
        .disk
        .open(&path, millrace_host::OpenMode::Read)
        .unwrap();
    let bytes = file.read_at(0, 1 << 20).await.unwrap();
    let mut scratch = Scratch::new(0);
    let leader = |batch: &millrace_protocol::records::Batch, scratch: &mut Scratch| {
        let record = record_iter(batch, scratch)
            .unwrap()
            .next()
            .unwrap()
            .unwrap();
        let kind = ControlType::parse_key(record.key.unwrap()).unwrap();
        assert_eq!(kind, ControlType::LeaderChange);
        LeaderChange::decode(record.value.unwrap())
            .unwrap()
            .leader_id
    };
    batches(bytes)
        .map_while(Result::ok)
        .map(|batch| {
            let control = batch.header.is_control();
            let leader = control.then(|| leader(&batch, &mut scratch));
            (batch.header.partition_leader_epoch, leader)
        })
        .collect()
}

#[test]
fn each_start_has_a_term_of_its_own_that_begins_by_saying_who_leads() {
    let sim = Sim::new(1);
    sim.block_on(async {
        let node = start(&sim, QUORUM).await;
        node.create(1).await.unwrap();
        assert_eq!(
            (node.cluster.term(), node.cluster.committed().index),
            (1, 2)
        );
        sim.kill("n");
        let node = start(&sim, QUORUM).await;
        node.create(2).await.unwrap();
        let committed = node.cluster.committed();
        assert_eq!(
            (committed.term, committed.index, committed.end_offset),
            (2, 4, 8)
        );
        // A term without an entry that stayed is used up all the same.
        sim.crash("n");
        let node = start(&sim, QUORUM).await;
        sim.crash("n");
        drop(node);
        let node = start(&sim, QUORUM).await;
        assert_eq!(node.cluster.term(), 4);
        node.create(3).await.unwrap();
        let host = node.host.clone();
        node.stop().await;
        let entries = entries(&host).await;
        assert_eq!(
            entries[..4],
            [(1, Some(1)), (1, None), (2, Some(1)), (2, None)]
        );
        assert_eq!(entries[entries.len() - 2..], [(4, Some(1)), (4, None)]);
    });
}

#[test]
fn a_fresh_start_takes_four_syncs_in_series_to_its_first_entry() {
    let sim = Sim::new(2);
    let slow = |op| DiskFault {
        op,
        path_contains: String::new(),
        when: When::Always,
        effect: DiskEffect::Slow(Duration::from_secs(1)),
    };
    sim.block_on(async {
        let host = sim.node("n");
        sim.inject("n", slow(DiskOp::Sync));
        sim.inject("n", slow(DiskOp::SyncDir));
        let began = host.clock.now().mono;
        let node = start(&sim, QUORUM).await;
        node.create(1).await.unwrap();
        let took = host.clock.now().mono.since(began);
        assert!(took < Duration::from_millis(4900), "{took:?}");
    });
}

#[test]
fn what_was_acknowledged_is_there_after_any_power_cut_whole_and_once() {
    let mut moved_logs = 0;
    for seed in 0..60 {
        let sim = Sim::new(seed);
        let (mut acknowledged, mut next) = (0, 0);
        let mut moved = 0;
        for _ in 0..6 {
            let span = Duration::from_micros(20_000 + sim.draw(400_000));
            sim.block_on(async {
                let work = async {
                    let node = start(&sim, EAGER).await;
                    let image = node.cluster.image();
                    let found = image.topic_count() as u64;
                    assert!(
                        (acknowledged..=next).contains(&found),
                        "seed {seed}: {found}"
                    );
                    for at in 0..found {
                        let topic = image.topic(id(at)).unwrap();
                        assert_eq!(topic.partitions.size(), 2, "seed {seed}: torn");
                    }
                    moved = moved.max(node.log_start());
                    next = found;
                    loop {
                        next += 1;
                        node.create(next - 1).await.unwrap();
                        acknowledged = next;
                    }
                };
                tokio::select! {
                    biased;
                    () = sim.pause(span) => {}
                    () = work => {}
                }
            });
            if sim.draw(3) == 0 {
                sim.kill("n");
            } else {
                sim.crash("n");
            }
        }
        assert!(acknowledged > 20, "seed {seed}: {acknowledged}");
        moved_logs += u32::from(moved > 0);
    }
    assert!(moved_logs > 30, "in {moved_logs} runs the log began later");
}

/// Runs until two snapshots stand in for the beginning of the log.
async fn with_two_snapshots(sim: &Sim) -> Started {
    let node = start(sim, EAGER).await;
    for at in 0..100 {
        node.create(at).await.unwrap();
    }
    node.pause(Duration::from_secs(1)).await;
    assert_eq!(node.snapshot_files().await.len(), 2);
    assert_eq!(node.log_start(), node.snapshot_files().await[0].0);
    node
}

#[test]
fn snapshots_stand_in_for_the_log_below_them_and_count_its_entries() {
    let sim = Sim::new(3);
    sim.block_on(async {
        let node = with_two_snapshots(&sim).await;
        assert!(node.log_start() > 50);
        let before = (
            node.cluster.committed().index,
            node.cluster.image().to_records(),
        );
        assert_eq!(before.0, 101);
        node.stop().await;
        sim.crash("n");
        let node = start(&sim, EAGER).await;
        node.create(100).await.unwrap();
        assert_eq!(node.cluster.committed().index, 103);
        let mut expected = Loading::default();
        for record in before.1.iter().chain(&topic(100)) {
            expected.restore(0, record).unwrap();
        }
        let expected = expected.finish().to_records();
        assert_eq!(node.cluster.image().to_records(), expected);
    });
}

#[test]
fn a_snapshot_comes_by_time_only_when_something_changed() {
    let sim = Sim::new(4);
    let hourly = Quorum {
        snapshot_interval: Some(Duration::from_hours(1)),
        ..QUORUM
    };
    sim.block_on(async {
        let node = start(&sim, hourly).await;
        node.create(1).await.unwrap();
        node.pause(Duration::from_mins(50)).await;
        assert_eq!(node.snapshot_files().await, []);
        node.pause(Duration::from_mins(20)).await;
        assert_eq!(node.snapshot_files().await, [(4, 1)]);
        node.pause(Duration::from_hours(9)).await;
        assert_eq!(node.snapshot_files().await.len(), 1);
        node.create(2).await.unwrap();
        node.pause(Duration::from_mins(1)).await;
        assert_eq!(node.snapshot_files().await, [(4, 1), (7, 1)]);
    });
}

#[test]
fn a_damaged_snapshot_is_never_taken_for_an_empty_cluster() {
    let sim = Sim::new(5);
    sim.block_on(async {
        let node = with_two_snapshots(&sim).await;
        let files = node.snapshot_files().await;
        let before = node.cluster.image().to_records();
        node.stop().await;
        sim.kill("n");
        let flip = |(offset, term): (i64, i32)| {
            let path = snapshot::path(Path::new(LOG), offset, term);
            assert!(sim.flip_bit("n", &path, 100, 3, FlipAt::Everywhere));
        };
        flip(files[1]);
        let node = start(&sim, QUORUM).await;
        assert_eq!(
            node.cluster.image().to_records(),
            before,
            "the earlier one stands in"
        );
        node.stop().await;
        sim.kill("n");
        flip(files[0]);
        let Err(error) = try_start(&sim, QUORUM).await else {
            panic!("nothing stands in for the log's beginning");
        };
        assert!(error.to_string().contains("no snapshot"), "{error}");
        sim.kill("n");
        flip(files[0]);
        let node = start(&sim, QUORUM).await;
        assert_eq!(
            node.cluster.image().to_records(),
            before,
            "nothing was changed meanwhile"
        );
    });
}

#[test]
fn after_an_unknown_outcome_nothing_is_decided_until_the_next_start() {
    let sim = Sim::new(6);
    sim.block_on(async {
        let node = start(&sim, QUORUM).await;
        node.create(0).await.unwrap();
        let fault = DiskFault {
            op: DiskOp::Sync,
            path_contains: String::new(),
            when: When::Always,
            effect: DiskEffect::Error,
        };
        sim.inject("n", fault);
        let unknown = node.create(1).await;
        assert!(
            matches!(unknown, Err(MetadataError::Unknown(_))),
            "{unknown:?}"
        );
        assert_eq!(node.cluster.image().topic_count(), 1, "it is never shown");
        sim.heal_disk("n", None);
        let refused = node.create(2).await;
        assert!(
            matches!(refused, Err(MetadataError::Refused(_))),
            "{refused:?}"
        );
        let looked = node.cluster.propose(|_, _| ((), Vec::new())).await;
        assert!(
            matches!(looked, Err(MetadataError::Refused(_))),
            "{looked:?}"
        );
        sim.kill("n");
        let node = start(&sim, QUORUM).await;
        assert!((1..=2).contains(&node.cluster.image().topic_count()));
        assert!(node.cluster.image().topic(id(2)).is_none());
        node.create(3).await.unwrap();
    });
}

#[test]
fn more_proposals_at_once_than_may_wait_for_the_disk_are_made_in_their_turn_in_few_commits() {
    let sim = Sim::new(3);
    sim.block_on(async {
        let node = start(&sim, QUORUM).await;
        let before = node.dir.flusher_counts().commits;
        let count = 2 * WAITING_MAX as u64;
        let proposing = (0..count).map(|at| Box::pin(node.create(at)));
        let mut proposing: Vec<_> = proposing.collect();
        std::future::poll_fn(|cx| {
            proposing.retain_mut(|proposal| match proposal.as_mut().poll(cx) {
                std::task::Poll::Ready(made) => {
                    made.unwrap();
                    false
                }
                std::task::Poll::Pending => true,
            });
            assert!(node.cluster.decided().waiting.len() <= WAITING_MAX);
            if proposing.is_empty() {
                std::task::Poll::Ready(())
            } else {
                std::task::Poll::Pending
            }
        })
        .await;
        drop(proposing);
        assert_eq!(node.cluster.image().topic_count() as u64, count);
        let commits = node.dir.flusher_counts().commits - before;
        assert!(commits < count / 20, "{commits} commits");
        node.stop().await;
    });
}

#[test]
fn what_was_written_takes_its_course_when_the_proposer_goes_away() {
    let sim = Sim::new(7);
    sim.block_on(async {
        let node = start(&sim, QUORUM).await;
        for at in 0..5 {
            let mut proposal = Box::pin(node.create(at));
            let poll = std::future::poll_fn(|context| {
                std::task::Poll::Ready(proposal.as_mut().poll(context))
            });
            assert!(poll.await.is_pending());
        }
        // Decided on what isn't committed yet, and answered only after it is.
        let seen = node
            .cluster
            .propose(|image, _| (image.topic_count(), Vec::new()))
            .await;
        assert_eq!(seen.unwrap(), 5);
        assert_eq!(node.cluster.image().topic_count(), 5);
        assert_eq!(node.cluster.committed().index, 6);
        sim.crash("n");
        let node = start(&sim, QUORUM).await;
        assert_eq!(node.cluster.image().topic_count(), 5);
    });
}

#[test]
fn a_removed_topic_is_remembered_in_snapshots_until_it_is_reported() {
    let sim = Sim::new(8);
    sim.block_on(async {
        let node = with_two_snapshots(&sim).await;
        let remove = [
            MetadataRecord::RemoveTopic(id(1)),
            MetadataRecord::RemoveTopic(id(2)),
        ];
        node.cluster
            .propose(|_, _| ((), remove.to_vec()))
            .await
            .unwrap();
        node.cluster
            .data_removed(&[id(1)], &[directory()])
            .await
            .unwrap();
        for at in 100..200 {
            node.create(at).await.unwrap();
        }
        node.pause(Duration::from_secs(1)).await;
        let removed_at = 1 + 300 + 2;
        assert!(node.log_start() > removed_at, "only snapshots know of it");
        sim.crash("n");
        let node = start(&sim, EAGER).await;
        let image = node.cluster.image();
        let removed: Vec<_> = image.removed_topics().map(|(id, _)| id).collect();
        assert_eq!(removed, [id(2)]);
        assert_eq!(image.removal_pending(id(2)), [directory()]);
        let end = node.cluster.committed().end_offset;
        node.cluster
            .data_removed(&[id(1)], &[directory()])
            .await
            .unwrap();
        node.pause(Duration::from_secs(1)).await;
        let leader_only = node.cluster.committed().end_offset - end;
        assert!(leader_only <= 1, "what is known needs no record");
    });
}

#[test]
fn ten_thousand_partitions_are_one_entry() {
    let sim = Sim::new(9);
    sim.block_on(async {
        let node = start(&sim, QUORUM).await;
        let mut records = topic(0);
        let partition = records.remove(2);
        for at in 1..10_000 {
            let MetadataRecord::Partition(mut partition) = partition.clone() else {
                unreachable!("the third record is a partition");
            };
            partition.partition_id = at;
            records.push(MetadataRecord::Partition(partition));
        }
        node.cluster.propose(|_, _| ((), records)).await.unwrap();
        assert_eq!(node.cluster.committed().index, 2);
        sim.crash("n");
        let node = start(&sim, QUORUM).await;
        let image = node.cluster.image();
        assert_eq!(image.topic(id(0)).unwrap().partitions.size(), 10_000);
    });
}
