//! Short scripted histories of one log directory, with every operation on the disk recorded.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use millrace_host::Host;
use millrace_sim::Sim;

use super::disk::{Machine, Plant, RecordedDisk};
use super::promise::{Acks, PRODUCER, Promise, Promises, Removal, found};
use super::volume::{Op, Tree};
use crate::dir::{DirOptions, LogDir};
use crate::fixture::Seen;
use crate::mark::{Durability, Incarnation};
use crate::partition::log_tests::try_append;
use crate::partition::{LogSettings, PartitionLog, PartitionOptions, Partitions};
use crate::testing::{BatchSpec, batch, sole_producer};

/// The log directory.
pub(super) const DIR: &str = "/log";

/// The smallest journal files, so that they are given back soon.
pub(super) fn options() -> DirOptions {
    DirOptions {
        journal_initial_bytes: 64 << 10,
        journal_file_bytes_max: 64 << 10,
        direct_sync_bytes: 2_000,
        ..crate::fixture::options()
    }
}

pub(super) fn settings() -> LogSettings {
    LogSettings {
        segment_bytes: 2_500,
        index_interval_bytes: 200,
        file_delete_delay_ms: 0,
        ..LogSettings::default()
    }
}

pub(super) fn settings_of(durability: Durability) -> LogSettings {
    LogSettings {
        durability,
        ..settings()
    }
}

/// What a history left.
pub(super) struct Recorded {
    pub(super) ops: Vec<Op>,
    /// What was promised before each operation, and at the end.
    pub(super) told: Vec<Promises>,
    /// Where [`Stage::begin`] was called.
    pub(super) from: usize,
}

/// A directory on the stage, and the process that has it.
pub(super) struct Stage<'a> {
    pub(super) sim: &'a Sim,
    machine: Arc<Mutex<Machine>>,
    promises: Arc<Mutex<Promises>>,
    plant: Option<Plant>,
    boot: u32,
    from: usize,
    /// How long a sync takes.
    pub(super) sync: Duration,
    pub(super) options: DirOptions,
    running: Option<(Host, Partitions)>,
}

/// One open partition.
pub(super) struct Part {
    pub(super) log: PartitionLog,
    acks: Arc<Acks>,
    epoch: i32,
}

/// Plays a script and records it.
pub(super) fn record(plant: Option<Plant>, script: impl AsyncFnOnce(&mut Stage<'_>)) -> Recorded {
    let sim = Sim::new(3);
    let machine = Machine::new(Tree::default(), true);
    let promises = Arc::new(Mutex::new(Promises::new()));
    machine.lock().unwrap().witness = Some(Arc::clone(&promises));
    let mut stage = Stage {
        sim: &sim,
        machine: Arc::clone(&machine),
        promises,
        plant,
        boot: 0,
        from: 0,
        sync: Duration::from_millis(1),
        options: options(),
        running: None,
    };
    sim.block_on(async {
        stage.start().await;
        script(&mut stage).await;
    });
    let from = stage.from;
    drop(stage);
    assert_eq!(sim.panics(), Vec::<String>::new());
    let mut machine = machine.lock().unwrap();
    machine.tell();
    let (ops, told) = (machine.ops.take(), std::mem::take(&mut machine.told));
    Recorded {
        ops: ops.unwrap(),
        told,
        from,
    }
}

/// Topic `t` has index 0, its successor of the same name 9, others names of their own.
fn topic(index: u8) -> (Incarnation, &'static str) {
    let incarnation = Incarnation {
        topic_id: [index + 1; 16],
        partition: 0,
    };
    let name = match index {
        0 | 9 => "t",
        1 => "u",
        _ => "v",
    };
    (incarnation, name)
}

impl Stage<'_> {
    /// Images before this point are those of other histories.
    pub(super) fn begin(&mut self) {
        self.from = self.machine.lock().unwrap().ops.as_ref().unwrap().len();
    }

    /// Starts a process.
    pub(super) async fn start(&mut self) {
        let node = self.sim.node("n");
        let disk = RecordedDisk {
            slow: Some((self.sync, node.clock.clone())),
            plant: self.plant,
            ..RecordedDisk::on(&self.machine, self.boot)
        };
        let host = Host {
            disk: Arc::new(disk),
            ..node
        };
        let opened = LogDir::open(host.clone(), Path::new(DIR), self.options.clone()).await;
        let dir = opened.expect("a start on what is whole").0;
        let partitions = Partitions::new(dir, host.clone(), PartitionOptions::default());
        partitions.sweep_deleted().await.unwrap();
        self.running = Some((host, partitions));
    }

    /// kill -9.
    pub(super) fn kill(&mut self) {
        let (host, _) = self.running.take().unwrap();
        host.spawn.kill();
        self.sim.kill("n");
    }

    /// Takes the power away; nothing un-synced is left.
    pub(super) fn cut_power(&mut self) {
        self.kill();
        self.machine.lock().unwrap().apply(Op::Lost);
        self.boot += 1;
    }

    fn partitions(&self) -> &Partitions {
        &self.running.as_ref().unwrap().1
    }

    pub(super) async fn open(&self, index: u8) -> Part {
        self.open_with(index, settings()).await
    }

    /// Opens a partition of a page-cache topic; so does whoever judges.
    pub(super) async fn open_page_cache(&self, index: u8) -> Part {
        let durability = Durability::PageCache;
        let part = self.open_with(index, settings_of(durability)).await;
        part.acks.change(|promise| promise.durability = durability);
        part
    }

    pub(super) async fn open_with(&self, index: u8, settings: LogSettings) -> Part {
        let (whose, name) = topic(index);
        let acks = Arc::new(Acks {
            whose,
            promises: Arc::clone(&self.promises),
        });
        acks.change(|promise| promise.topic = name);
        let (sink, mut seen) = (acks.clone(), Seen::default());
        let opened = self
            .partitions()
            .open(whose, name, settings, sink, &mut seen)
            .await;
        let opened = opened.unwrap();
        let one = found(&opened.log, &seen).await;
        acks.change(|promise| {
            let batches = promise.check(&one).unwrap();
            promise.resume(&opened, batches);
        });
        let epoch = opened.epochs.last().map_or(0, |epoch| epoch.0);
        Part {
            log: opened.log,
            acks,
            epoch,
        }
    }

    pub(super) async fn pause(&self, span: Duration) {
        self.sim.pause(span).await;
    }

    /// Waits until everything appended is acknowledged.
    pub(super) async fn acked(&self, part: &Part) {
        let end = part.log.log_end();
        while part.acks.change(|promise| promise.acked) < end {
            self.pause(Duration::from_micros(100)).await;
        }
    }

    pub(super) async fn append(&self, part: &mut Part, payload: usize) {
        part.append(payload);
        self.acked(part).await;
    }

    pub(super) async fn remove(&self, mut part: Part) {
        part.acks.change(|promise| promise.removal = Removal::Begun);
        part.log.remove().await.unwrap();
        part.acks.change(|promise| promise.removal = Removal::Done);
    }

    /// A clean stop.
    pub(super) async fn stop(&mut self, parts: Vec<Part>) {
        for mut part in parts {
            part.log.close().await.unwrap();
        }
        self.partitions().dir().close().await.unwrap();
        self.kill();
    }

    /// Ledgers written so far.
    pub(super) fn ledgers(&self) -> u64 {
        self.partitions().dir().flusher_counts().ledgers
    }
}

impl Part {
    /// Appends a batch and goes on.
    pub(super) fn append(&mut self, payload: usize) {
        let spec = BatchSpec {
            base_offset: self.log.log_end(),
            records: 2,
            payload,
            epoch: self.epoch,
            producer_id: PRODUCER,
            base_sequence: self.log.log_end() as i32,
            ..BatchSpec::default()
        };
        let next = spec.base_offset + 2;
        let stored = batch(&spec).into();
        self.acks
            .change(|promise| promise.batches.push((spec.base_offset, next, stored)));
        let appended = try_append(&mut self.log, spec).unwrap();
        if appended.snapshot_due {
            let entries = sole_producer(PRODUCER, spec.base_offset);
            self.log.write_snapshot(spec.base_offset, &entries);
        }
    }

    /// The next batches belong to a new leader epoch.
    pub(super) fn new_epoch(&mut self) {
        self.epoch += 1;
    }

    /// Cuts the log back to `offset`.
    pub(super) async fn cut(&mut self, offset: i64) {
        let plan = self.log.reader().plan_truncation(offset).await.unwrap();
        let work = self.log.begin_truncation(plan.unwrap()).unwrap();
        let cut_count = self.log.cut_count();
        self.acks.change(|promise: &mut Promise| {
            promise.cut_count = cut_count;
            promise.before_cut = Some(promise.batches.clone());
            promise.batches.retain(|batch| batch.1 <= offset);
            // A follower's records that were not committed: they may go.
            promise.acked = promise.acked.min(offset);
        });
        let outcome = work.run().await;
        self.log.finish_truncation(outcome).unwrap();
        self.acks.change(|promise| promise.before_cut = None);
    }

    /// Changes the topic's durability while it is open; appends once in between.
    pub(super) async fn switch(&mut self, to: Durability) {
        self.log.configure(settings_of(to));
        let switch = self.log.begin_switch().unwrap();
        self.append(40);
        let outcome = switch.run().await;
        self.append(50);
        let done = self.log.finish_switch(outcome).unwrap();
        self.append(60);
        done.await.unwrap();
    }

    /// Retires what retention by time condemns.
    pub(super) async fn retain(&mut self) {
        let now = millrace_host::Now {
            mono: millrace_host::Mono(0),
            wall_ms: 1_000_000,
        };
        let high_watermark = self.log.flushed();
        let to = self.log.retention_due(now, high_watermark, true).unwrap();
        self.move_start(to).await;
    }

    /// Moves the log start as [`Self::move_start`] does, up to the marks of what goes.
    pub(super) async fn begin_move_start(&mut self, to: i64) {
        self.announce_start(to).await;
        drop(self.log.finish_log_start(to));
    }

    /// Moves the log start, as retention does.
    pub(super) async fn move_start(&mut self, to: i64) {
        self.announce_start(to).await;
        self.log.finish_log_start(to).run().await.unwrap();
    }

    async fn announce_start(&mut self, to: i64) {
        let end = self.log.log_end();
        let covered = self.log.cover_start(to, || sole_producer(PRODUCER, end));
        covered.await.unwrap();
        self.acks.change(|promise| promise.announced = to);
        self.log.advance_log_start(to).unwrap().await.unwrap();
        self.acks.change(|promise| promise.log_start = to);
    }
}
