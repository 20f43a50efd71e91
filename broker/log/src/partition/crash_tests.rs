//! Crash images: random histories on the simulated disk, cut off at a random moment by a kill or a
//! power cut that keeps any subset of the un-synced sectors and names.
//!
//! The oracle: what was acknowledged as flushed is there; what is there was appended, whole, in
//! order and at its offset; nothing is invented; the producer is known as it was.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use millrace_host::{Host, Pool};
use millrace_sim::{DiskEffect, DiskFault, DiskOp, Sim, When, World};

use super::log_tests::{read_all, try_append};
use super::*;
use crate::fixture::{INCARNATION, Seen, Silent, options};
use crate::testing::{BatchSpec, batch, sole_producer};

/// Who writes every record, with its offset as sequence.
const PRODUCER: i64 = 3;

/// Batches by offset: (base, next, stored bytes).
type Batches = Vec<(i64, i64, Vec<u8>)>;

/// What the processes did, seen from outside the machine.
#[derive(Default)]
struct Model {
    /// The log as it should be.
    batches: Batches,
    /// The log before a truncation that is under way.
    before_cut: Option<Batches>,
    /// Everything below was acknowledged as durable.
    acked: i64,
    cut_count: u32,
    log_start: i64,
    /// A log start that was announced and is not confirmed.
    announced: i64,
}

struct Acks(Arc<Mutex<Model>>);

impl DurabilitySink for Acks {
    fn flushed(&self, upto: i64, cut_count: u32) {
        let mut model = self.0.lock().unwrap();
        if cut_count == model.cut_count {
            model.acked = model.acked.max(upto);
        }
    }

    fn directory_failed(&self, reason: &str) {
        panic!("the disk does not fail here: {reason}");
    }
}

fn settings() -> LogSettings {
    LogSettings {
        segment_bytes: 6_000,
        index_interval_bytes: 200,
        file_delete_delay_ms: 0,
        ..LogSettings::default()
    }
}

async fn open(host: &Host, model: &Arc<Mutex<Model>>) -> (Opened, Seen) {
    let (dir, _) = LogDir::open(host.clone(), Path::new("/log"), options())
        .await
        .unwrap();
    let partitions = Partitions::new(dir, host.clone(), PartitionOptions::default());
    partitions.sweep_deleted().await.unwrap();
    let mut seen = Seen::default();
    let sink = Arc::new(Acks(model.clone()));
    let opened = partitions
        .open(INCARNATION, "t", settings(), sink, &mut seen)
        .await;
    (opened.unwrap(), seen)
}

/// One process: checks what it finds, then works until it is ended.
async fn process(world: World, host: Host, model: Arc<Mutex<Model>>) {
    let (opened, seen) = open(&host, &model).await;
    check(&opened, &seen, &model).await;
    let mut log = opened.log;
    let mut epoch = log.epochs().last().map_or(0, |last| last.0);
    loop {
        match world.draw(100) {
            0..70 => {
                epoch += i32::from(world.draw(20) == 0);
                let spec = BatchSpec {
                    base_offset: log.log_end(),
                    records: 1 + world.draw(4) as i32,
                    payload: world.draw(if world.draw(10) == 0 { 20_000 } else { 300 }) as usize,
                    timestamp: world.draw(1 << 40) as i64,
                    epoch,
                    producer_id: PRODUCER,
                    base_sequence: log.log_end() as i32,
                };
                let appended = try_append(&mut log, spec).unwrap();
                let mut model = model.lock().unwrap();
                model
                    .batches
                    .push((spec.base_offset, appended.next_offset, batch(&spec)));
                drop(model);
                if appended.snapshot_due {
                    let entries = sole_producer(PRODUCER, spec.base_offset);
                    log.write_snapshot(spec.base_offset, &entries);
                }
            }
            70..73 => truncate(&world, &mut log, &model).await,
            73..75 => move_start(&world, &mut log, &model).await,
            75..78 => log.flush_now(),
            78..79 => {
                log.close().await.unwrap();
                drop(log);
                std::future::pending::<()>().await;
                return;
            }
            _ => {
                let span = Duration::from_micros(world.draw(6_000));
                host.clock.sleep_until(host.clock.now().mono + span).await;
            }
        }
    }
}

async fn truncate(world: &World, log: &mut PartitionLog, model: &Arc<Mutex<Model>>) {
    let span = (log.log_end() - log.log_start()).max(1);
    // A follower is never cut below what was confirmed; the tail is what a cut may take.
    let low = model.lock().unwrap().acked.max(log.log_start());
    let offset = low.max(log.log_end() - world.draw(span as u64) as i64);
    let Some(plan) = log.reader().plan_truncation(offset).await.unwrap() else {
        return;
    };
    if model.lock().unwrap().acked > offset {
        return;
    }
    let work = log.begin_truncation(plan).unwrap();
    {
        let mut model = model.lock().unwrap();
        model.cut_count = log.cut_count;
        model.before_cut = Some(model.batches.clone());
        model.batches.retain(|batch| batch.1 <= offset);
    }
    let outcome = work.run().await;
    log.finish_truncation(outcome).unwrap();
    model.lock().unwrap().before_cut = None;
}

async fn move_start(world: &World, log: &mut PartitionLog, model: &Arc<Mutex<Model>>) {
    // Nothing above the high watermark leaves; here that is what was confirmed.
    let acked = model.lock().unwrap().acked;
    let to = log.log_start() + world.draw(20) as i64;
    if to <= log.log_start() || to > acked.min(log.log_end()) {
        return;
    }
    model.lock().unwrap().announced = to;
    let end = log.log_end();
    let covered = log.cover_start(to, || sole_producer(PRODUCER, end));
    covered.await.unwrap();
    log.advance_log_start(to).unwrap().await.unwrap();
    model.lock().unwrap().log_start = to;
    log.finish_log_start(to).run().await.unwrap();
}

/// What a start found against what was promised, and makes the model what was found.
async fn check(opened: &Opened, seen: &Seen, model: &Arc<Mutex<Model>>) {
    assert_eq!(opened.quarantined, None);
    let log_start = opened.log_start;
    let found = read_all(&opened.log.reader(), 5_000).await;
    let mut model = model.lock().unwrap();
    assert!(
        log_start == model.log_start || log_start == model.announced,
        "log start {log_start}, shown {}",
        model.log_start
    );
    assert!(
        opened.log_end >= model.acked,
        "end {} below {}",
        opened.log_end,
        model.acked
    );
    let log_end = opened.log_end;
    let bytes_of = |batches: &Batches| -> Vec<u8> {
        let inside = batches
            .iter()
            .filter(|batch| batch.1 > log_start && batch.1 <= log_end);
        inside.flat_map(|batch| batch.2.iter().copied()).collect()
    };
    let ends =
        |batches: &Batches| log_end == log_start || batches.iter().any(|batch| batch.1 == log_end);
    let timeline = [Some(model.batches.clone()), model.before_cut.take()]
        .into_iter()
        .flatten()
        .find(|batches| ends(batches) && bytes_of(batches) == found);
    let mut batches = timeline.expect("what is there was appended, in order");
    batches.retain(|batch| batch.1 <= log_end);
    let replayed = seen.batches.last().map(|header| header.last_offset() + 1);
    assert!(replayed.is_none_or(|end| end == log_end));
    let written = (log_end > 0).then_some(log_end as i32 - 1);
    assert_eq!(seen.last_sequence(PRODUCER), written, "from {log_start}");
    model.batches = batches;
    model.log_start = log_start;
    model.announced = log_start;
    model.acked = model.acked.max(opened.flushed);
    model.cut_count = opened.log.cut_count;
}

fn run(seed: u64, rounds: u32) {
    let sim = Sim::new(seed);
    let world = sim.world();
    let model = Arc::new(Mutex::new(Model::default()));
    for _ in 0..rounds {
        let host = world.node("a");
        let task = Box::pin(process(world.clone(), host.clone(), model.clone()));
        host.spawn.spawn(Pool::Data, "process", task);
        sim.run_for(Duration::from_micros(world.draw(600_000)));
        assert_eq!(world.panics(), Vec::<String>::new(), "seed {seed}");
        if world.draw(3) == 0 {
            world.kill("a");
        } else {
            world.crash("a");
        }
    }
}

#[test]
fn acknowledged_is_there_and_nothing_is_invented() {
    for seed in seeds() {
        run(seed, 12);
    }
}

/// The fixed list, or the range that `MILLRACE_SEEDS` (`from..to`) names.
fn seeds() -> std::ops::Range<u64> {
    let named = std::env::var("MILLRACE_SEEDS").ok();
    let range = named.as_deref().and_then(|range| range.split_once(".."));
    range.map_or(0..60, |(from, to)| {
        from.parse().unwrap()..to.parse().unwrap()
    })
}

/// Asks for the lock that whoever appends holds, as a broker's partition does.
struct Locked {
    partition: Arc<Mutex<()>>,
    told: Arc<AtomicUsize>,
}

impl DurabilitySink for Locked {
    fn flushed(&self, _upto: i64, _cut_count: u32) {}

    fn directory_failed(&self, _reason: &str) {
        let _guard = self
            .partition
            .try_lock()
            .expect("called under the partition's lock");
        self.told.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn f1_no_reply_goes_on_with_what_a_failed_sync_left() {
    let mut altered = 0;
    for seed in 0..16 {
        let sim = Sim::new(seed);
        let host = sim.node("n");
        sim.block_on(async {
            let (dir, _) = LogDir::open(host.clone(), Path::new("/data"), options())
                .await
                .unwrap();
            let partitions = Partitions::new(dir.clone(), host, PartitionOptions::default());
            let sink = Arc::new(Silent);
            let mut opened = partitions
                .open(INCARNATION, "t", settings(), sink, &mut Seen::default())
                .await
                .unwrap();
            try_append(&mut opened.log, BatchSpec::default()).unwrap();
            let reader = opened.log.reader();
            let read = reader.read(0, i64::MAX, 1 << 20, true).await.unwrap();
            let Read::Region(ReadRegion { slice, .. }) = read else {
                panic!("{read:?}");
            };
            let written = slice.read().await.unwrap();
            sim.inject(
                "n",
                DiskFault {
                    op: DiskOp::Sync,
                    path_contains: ".log".into(),
                    when: When::Always,
                    effect: DiskEffect::Error,
                },
            );
            opened.log.settle().await.unwrap_err();
            assert!(dir.offline().is_some());
            let left = slice.file.read_at(slice.offset, written.len()).await;
            altered += u32::from(left.unwrap() != written);
            let refused = slice.read().await.unwrap_err();
            assert_eq!(refused.kind(), std::io::ErrorKind::InvalidData);
        });
    }
    assert!(
        altered > 0,
        "a failed sync lost nothing in all these worlds"
    );
}

#[test]
fn a_write_that_cant_be_undone_tells_the_partitions_outside_their_locks() {
    let sim = Sim::new(1);
    let host = sim.node("n");
    sim.block_on(async {
        let (dir, _) = LogDir::open(host.clone(), Path::new("/data"), options())
            .await
            .unwrap();
        let partitions = Partitions::new(dir.clone(), host.clone(), PartitionOptions::default());
        let partition = Arc::new(Mutex::new(()));
        let told = Arc::new(AtomicUsize::new(0));
        let sink = Arc::new(Locked {
            partition: Arc::clone(&partition),
            told: Arc::clone(&told),
        });
        let mut opened = partitions
            .open(INCARNATION, "t", settings(), sink, &mut Seen::default())
            .await
            .unwrap();
        let at = |base_offset| BatchSpec {
            base_offset,
            ..BatchSpec::default()
        };
        let first = try_append(&mut opened.log, at(0)).unwrap();
        for op in [DiskOp::Write, DiskOp::SetLen] {
            sim.inject(
                "n",
                DiskFault {
                    op,
                    path_contains: ".log".into(),
                    when: When::Always,
                    effect: DiskEffect::Error,
                },
            );
        }
        let guard = partition.lock().unwrap();
        let failed = try_append(&mut opened.log, at(first.next_offset));
        assert!(matches!(failed, Err(AppendError::Failed(_))));
        assert!(dir.offline().is_some());
        drop(guard);
        sim.pause(Duration::from_millis(1)).await;
        assert_eq!(told.load(Ordering::Relaxed), 1);
    });
}

#[test]
fn a_log_starts_no_further_than_producers_are_written_down() {
    let sim = Sim::new(1);
    let host = sim.node("n");
    sim.block_on(async {
        let (dir, _) = LogDir::open(host.clone(), Path::new("/log"), options())
            .await
            .unwrap();
        let partitions = Partitions::new(dir, host.clone(), PartitionOptions::default());
        let quiet = Arc::new(Silent);
        let mut seen = Seen::default();
        let opened = partitions.open(INCARNATION, "t", settings(), quiet, &mut seen);
        let mut log = opened.await.unwrap().log;
        for offset in 0..10 {
            let spec = BatchSpec {
                base_offset: offset,
                ..BatchSpec::default()
            };
            try_append(&mut log, spec).unwrap();
        }
        let covered = log.cover_start(4, || sole_producer(PRODUCER, 10));
        covered.await.unwrap();
        assert_eq!(log.start_within(4), Some(4));
        assert_eq!(log.start_within(12), Some(10));
        for offset in 10..15 {
            let spec = BatchSpec {
                base_offset: offset,
                ..BatchSpec::default()
            };
            try_append(&mut log, spec).unwrap();
        }
        // A full disk: what is written down already still lets records go.
        let full = DiskFault {
            op: DiskOp::Write,
            path_contains: ".producers".into(),
            when: When::Always,
            effect: DiskEffect::NoSpace,
        };
        sim.inject("n", full);
        let covered = log.cover_start(15, || sole_producer(PRODUCER, 15));
        covered.await.unwrap();
        assert!(log.advance_log_start(15).is_err());
        assert_eq!(log.start_within(15), Some(10));
        log.advance_log_start(10).unwrap().await.unwrap();
        log.finish_log_start(10).run().await.unwrap();
        assert_eq!(log.start_within(15), None);
    });
}

#[test]
fn a_removal_under_way_never_takes_what_was_made_since() {
    let sim = Sim::new(1);
    let host = sim.node("n");
    sim.block_on(async {
        let (dir, _) = LogDir::open(host.clone(), Path::new("/data"), options())
            .await
            .unwrap();
        let partitions = Partitions::new(dir.clone(), host.clone(), PartitionOptions::default());
        let quiet = || Arc::new(Silent);
        let mut old = partitions
            .open(INCARNATION, "t", settings(), quiet(), &mut Seen::default())
            .await
            .unwrap();
        try_append(&mut old.log, BatchSpec::default()).unwrap();
        sim.pause(Duration::from_millis(200)).await;
        // As after a start: the directory is one that stood there.
        let partitions = Partitions::new(dir.clone(), host.clone(), PartitionOptions::default());
        let other = Incarnation {
            topic_id: [9; 16],
            partition: 0,
        };
        partitions
            .open(other, "other", settings(), quiet(), &mut Seen::default())
            .await
            .unwrap();
        sim.inject(
            "n",
            DiskFault {
                op: DiskOp::Sync,
                path_contains: "t-0/".into(),
                when: When::Always,
                effect: DiskEffect::Slow(Duration::from_millis(200)),
            },
        );
        let removal = old.log.remove();
        let removing = async {
            removal.await.unwrap();
        };
        let new = Incarnation {
            topic_id: [8; 16],
            partition: 0,
        };
        let making = async {
            sim.pause(Duration::from_millis(50)).await;
            let mut made = partitions
                .open(new, "t", settings(), quiet(), &mut Seen::default())
                .await
                .unwrap();
            let appended = try_append(&mut made.log, BatchSpec::default());
            (made, appended)
        };
        let ((), (mut made, refused)) = tokio::join!(removing, making);
        assert_eq!(refused, Err(AppendError::NameInUse));
        try_append(&mut made.log, BatchSpec::default()).unwrap();
        sim.pause(Duration::from_secs(5)).await;
        assert_eq!(made.log.flushed(), 1);
        let path = Path::new("/data/t-0");
        let identity = read_identity(host.disk.as_ref(), path).await;
        assert_eq!(identity, Some(new.topic_id));
    });
}

/// One removal that a start finds unfinished; another caller may have ended it.
async fn finish(partitions: &Partitions, incarnation: Incarnation) {
    partitions
        .remove(incarnation, Duration::ZERO)
        .await
        .unwrap();
}

/// Makes the next topic of the name, as soon as it can be made.
async fn make(sim: &Sim, partitions: &Partitions, incarnation: Incarnation) -> Opened {
    let (quiet, mut seen) = (Arc::new(Silent), Seen::default());
    let opened = partitions.open(incarnation, "t", settings(), quiet, &mut seen);
    let mut opened = opened.await.unwrap();
    while let Err(error) = try_append(&mut opened.log, BatchSpec::default()) {
        assert_eq!(error, AppendError::NameInUse);
        sim.pause(Duration::from_micros(50)).await;
    }
    opened
}

/// A directory that holds the ledger entries of two topics of one name, both announced as removed:
/// the first one's directory has its new name already, its *done* is lost.
async fn two_unfinished(sim: &Sim, host: &Host, [first, second]: [Incarnation; 2]) {
    let (dir, _) = LogDir::open(host.clone(), Path::new("/data"), options())
        .await
        .unwrap();
    let partitions = Partitions::new(dir, host.clone(), PartitionOptions::default());
    let made = make(sim, &partitions, first).await;
    made.log.flush.mark_now(Mark::DeleteIntent).await.unwrap();
    made.log.flush.settle().await.unwrap();
    let aside = Path::new("/data/t-0.0123-delete");
    let renamed = host.disk.rename(Path::new("/data/t-0"), aside);
    renamed.await.unwrap();
    host.disk.sync_dir(Path::new("/data")).await.unwrap();
    let made = make(sim, &partitions, second).await;
    made.log.flush.mark_now(Mark::DeleteIntent).await.unwrap();
}

#[test]
fn removals_of_one_name_left_by_a_crash_never_take_what_is_made_since() {
    let [first, second, third] = [1, 2, 3].map(|id| Incarnation {
        topic_id: [id; 16],
        partition: 0,
    });
    for seed in 0..100 {
        let sim = Sim::new(seed);
        let host = sim.node("n");
        sim.block_on(two_unfinished(&sim, &host, [first, second]));
        sim.crash("n");
        let host = sim.node("n");
        sim.block_on(async {
            let (dir, _) = LogDir::open(host.clone(), Path::new("/data"), options())
                .await
                .unwrap();
            let partitions =
                Partitions::new(dir.clone(), host.clone(), PartitionOptions::default());
            assert_eq!(dir.written(), [first, second], "seed {seed}");
            // As the server does: the removals of a start beside those that openings ask for.
            let ((), (), (), (), made) = tokio::join!(
                finish(&partitions, second),
                finish(&partitions, first),
                finish(&partitions, second),
                finish(&partitions, first),
                make(&sim, &partitions, third),
            );
            sim.pause(Duration::from_secs(1)).await;
            assert_eq!(dir.offline(), None, "seed {seed}");
            assert_eq!(made.log.flushed(), 1, "seed {seed}");
            assert_eq!(dir.written(), [third], "seed {seed}");
            let identity = read_identity(host.disk.as_ref(), Path::new("/data/t-0")).await;
            assert_eq!(identity, Some(third.topic_id), "seed {seed}");
        });
    }
}

/// A directory with its partitions, and the log of a topic named `t`.
async fn running(host: &Host) -> (Arc<LogDir>, Partitions) {
    let (dir, _) = LogDir::open(host.clone(), Path::new("/data"), options())
        .await
        .unwrap();
    let partitions = Partitions::new(dir.clone(), host.clone(), PartitionOptions::default());
    (dir, partitions)
}

const NEXT: Incarnation = Incarnation {
    topic_id: [8; 16],
    partition: 0,
};

/// Files of removed segments go after a delay; the name may be another topic's by then.
#[test]
fn files_that_retention_removes_late_are_never_those_of_the_next_topic() {
    let sim = Sim::new(1);
    let host = sim.node("n");
    sim.block_on(async {
        let (_dir, partitions) = running(&host).await;
        let mut made = make(&sim, &partitions, INCARNATION).await;
        let late = LogSettings {
            file_delete_delay_ms: 60_000,
            segment_bytes: 1,
            ..settings()
        };
        made.log.configure(late);
        for base_offset in 1..3 {
            let at = BatchSpec {
                base_offset,
                ..BatchSpec::default()
            };
            try_append(&mut made.log, at).unwrap();
        }
        made.log.cover_start(2, Vec::new).await.unwrap();
        made.log.advance_log_start(2).unwrap().await.unwrap();
        let retention = made.log.finish_log_start(2);
        assert_eq!(retention.segments(), 2);
        made.log.configure(settings());
        let change = async {
            made.log.remove().await.unwrap();
            make(&sim, &partitions, NEXT).await
        };
        let (retained, _next) = tokio::join!(retention.run(), change);
        retained.unwrap();
        let files = host.disk.list(Path::new("/data/t-0")).await.unwrap();
        let first = files
            .iter()
            .any(|file| file.name == "00000000000000000000.log");
        assert!(first, "{files:?}");
    });
}

#[test]
fn a_removal_leaves_what_it_cant_identify_and_the_next_start_sets_it_aside() {
    let sim = Sim::new(1);
    let host = sim.node("n");
    let metadata = Path::new("/data/t-0/partition.metadata");
    sim.block_on(async {
        let (dir, partitions) = running(&host).await;
        drop(make(&sim, &partitions, INCARNATION).await);
        sim.pause(Duration::from_millis(100)).await;
        host.disk.remove(metadata).await.unwrap();
        finish(&partitions, INCARNATION).await;
        assert_eq!((dir.written(), dir.offline()), (Vec::new(), None));
        assert!(
            !host
                .disk
                .list(Path::new("/data/t-0"))
                .await
                .unwrap()
                .is_empty()
        );
    });
    sim.kill("n");
    let host = sim.node("n");
    sim.block_on(async {
        let (_dir, partitions) = running(&host).await;
        let _made = make(&sim, &partitions, NEXT).await;
        let names = host.disk.list(Path::new("/data")).await.unwrap();
        assert!(
            names.iter().any(|entry| entry.name.ends_with("-stray")),
            "{names:?}"
        );
    });
}

/// It has no identity yet, but this process made it.
#[test]
fn a_directory_begun_on_a_full_disk_goes_with_its_topic() {
    let sim = Sim::new(1);
    let host = sim.node("n");
    sim.block_on(async {
        let (_dir, partitions) = running(&host).await;
        let quiet = || Arc::new(Silent);
        let mut seen = Seen::default();
        let opening = partitions.open(INCARNATION, "t", settings(), quiet(), &mut seen);
        let mut opened = opening.await.unwrap();
        sim.inject(
            "n",
            DiskFault {
                op: DiskOp::Write,
                path_contains: "partition.metadata".into(),
                when: When::Always,
                effect: DiskEffect::Short,
            },
        );
        let refused = try_append(&mut opened.log, BatchSpec::default());
        assert_eq!(refused, Err(AppendError::DiskFull));
        sim.heal_disk("n", None);
        opened.log.remove().await.unwrap();
        let made = make(&sim, &partitions, NEXT).await;
        assert_eq!(made.log.log_end(), 1);
    });
}
