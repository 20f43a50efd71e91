//! Log directories with a past: what a list of steps leaves that a drawn life takes with its logs, from
//! the first append to a stop, a kill or a power cut in the middle of whatever was under way.
//!
//! What always holds: the same steps leave the same files in every process; every file was written
//! by the log itself.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use millrace_host::{BoxFuture, Host, Pool};
use millrace_log::dir::LogDir;
use millrace_log::mark::{Durability, Incarnation};
use millrace_log::partition::{Append, PartitionLog, PartitionOptions, Partitions};
use millrace_protocol::records::{BatchBuilder, BatchHeader, Codec, Options};
use millrace_sim::{DiskLimits, Sim, SimOptions};

use crate::disk::{self, Files};
use crate::input::Input;
use crate::logs::{self, Partition, ROOT, SAME_BOOT};

/// Steps of one life, at most.
const STEPS_MAX: u8 = 40;

/// The step that removes a partition.
const REMOVE: u8 = 11;

/// What a life leaves: the files, and the partitions that the next start opens.
pub(crate) struct Left {
    pub(crate) files: Files,
    pub(crate) partitions: Vec<Partition>,
}

/// Lives through the steps of `input`: their number, then each with its argument. The node's
/// processes of this life ran under the name [`SAME_BOOT`].
pub(crate) fn live(input: &mut Input<'_>) -> Left {
    let steps = input.byte() % (STEPS_MAX + 1);
    // Syncs and names take time, so that an end can come between two of them.
    let sim = Sim::with_options(SimOptions {
        seed: u64::from(input.byte()),
        disk: DiskLimits {
            sync_us: (50, 400),
            sync_dir_us: (50, 400),
            name_us: (20, 200),
            ..disk::still().disk
        },
        ..disk::still()
    });
    let mut life = Life {
        sim: &sim,
        partitions: logs::partitions(),
        at_ms: logs::TIME_MS,
        process: None,
    };
    life.begin();
    for _ in 0..steps {
        let (step, argument) = (input.byte(), input.byte());
        life.step(step, argument);
    }
    let partitions = life.partitions.clone();
    life.end(input.byte());
    drop(life);
    let host = sim.node(SAME_BOOT);
    let files = sim.block_on(disk::take(&host.disk, Path::new(ROOT)));
    let panics = sim.panics();
    assert!(panics.is_empty(), "{panics:?}");
    Left { files, partitions }
}

/// A process with its directory and logs open.
struct Process {
    host: Host,
    dir: Arc<LogDir>,
    partitions: Partitions,
    /// One that could not be opened, or was removed, is none.
    logs: Vec<Option<PartitionLog>>,
}

struct Life<'a> {
    sim: &'a Sim,
    partitions: Vec<Partition>,
    at_ms: i64,
    process: Option<Process>,
}

impl Life<'_> {
    /// The next process; none where the directory can't be opened any more.
    fn begin(&mut self) {
        let begun = begin(self.sim.node(SAME_BOOT), &self.partitions);
        self.process = self.sim.block_on(begun);
    }

    /// One step, on the partition that the argument's lowest bit says.
    fn step(&mut self, step: u8, argument: u8) {
        if self.process.is_none() {
            self.begin();
        }
        let which = usize::from(argument) % self.partitions.len();
        let amount = argument >> 1;
        self.at_ms += i64::from(amount);
        match step % 20 {
            14 => return self.end(argument),
            15 => return self.rename(which),
            16 => {
                if let Some(process) = &self.process {
                    process.dir.fail("as an input wanted");
                }
                return;
            }
            _ => {}
        }
        let (sim, at_ms) = (self.sim, self.at_ms);
        let Some(process) = &mut self.process else {
            return;
        };
        let Some(log) = &mut process.logs[which] else {
            return;
        };
        let partition = &mut self.partitions[which];
        let host = &process.host;
        sim.block_on(async {
            if step % 20 >= 17 {
                log.flush_now();
                sim.pause(Duration::from_millis(u64::from(amount))).await;
            } else if let Some(work) = act(log, partition, (step % 20, amount), at_ms).await {
                // An end of the process may come while it is under way.
                let _task = host.spawn.spawn(Pool::Data, "life", work);
                let span = Duration::from_micros(u64::from(amount) * 40);
                sim.pause(span).await;
            }
        });
        if step % 20 == REMOVE {
            process.logs[which] = None;
        }
        // The process may end before the work does.
        if matches!(step % 20, 7 | 10) && argument & 0x80 != 0 {
            self.end(1);
        }
    }

    /// The process ends: by closing, by a kill, by a power cut.
    fn end(&mut self, how: u8) {
        let Some(process) = self.process.take() else {
            return;
        };
        match how % 3 {
            0 => {
                self.sim.block_on(async {
                    for mut log in process.logs.into_iter().flatten() {
                        // A log that failed says so.
                        drop(log.close().await);
                    }
                    drop(process.dir.close().await);
                });
                self.sim.kill(SAME_BOOT);
            }
            1 => self.sim.kill(SAME_BOOT),
            _ => self.sim.crash(SAME_BOOT),
        }
    }

    /// From the next open on the topic of that name is another one.
    fn rename(&mut self, which: usize) {
        let Some(process) = &mut self.process else {
            return;
        };
        let partition = &mut self.partitions[which];
        if process.logs[which].is_some() {
            return;
        }
        partition.incarnation = Incarnation {
            topic_id: partition
                .incarnation
                .topic_id
                .map(|byte| byte.wrapping_add(16)),
            partition: partition.incarnation.partition,
        };
        let opened = self
            .sim
            .block_on(logs::open_one(&process.partitions, partition));
        process.logs[which] = opened.ok().map(|opened| opened.log);
    }
}

/// One step of a log; gives the work that goes on beside the next ones.
async fn act(
    log: &mut PartitionLog,
    partition: &mut Partition,
    (step, amount): (u8, u8),
    at_ms: i64,
) -> Option<BoxFuture<'static, ()>> {
    match step {
        6 => {
            let epoch = log.epochs().last().map_or(0, |last| last.0 + 1);
            log.begin_epoch(epoch, log.log_end());
        }
        7 => return truncate(log, amount).await,
        8 => return delete(log, amount).await,
        9 => log.write_snapshot(log.log_end(), &[logs::producer(at_ms)]),
        10 => return switch(log, partition),
        REMOVE => {
            let work = log.remove();
            return Some(Box::pin(async { drop(work.await) }));
        }
        12 => log.set_high_watermark(log.flushed()),
        13 => {
            let behind_a_hole = log.log_end() + i64::from(amount) * 3;
            append(log, behind_a_hole, (step, amount), at_ms);
        }
        _ => append(log, log.log_end(), (step, amount), at_ms),
    }
    None
}

async fn begin(host: Host, partitions: &[Partition]) -> Option<Process> {
    let opened = LogDir::open(host.clone(), Path::new(ROOT), logs::options()).await;
    let (dir, _) = opened.ok()?;
    let open = Partitions::new(Arc::clone(&dir), host.clone(), PartitionOptions::default());
    let mut logs = Vec::new();
    for partition in partitions {
        let opened = logs::open_one(&open, partition).await;
        logs.push(opened.ok().map(|opened| opened.log));
    }
    drop(open.sweep_deleted().await);
    Some(Process {
        host,
        dir,
        partitions: open,
        logs,
    })
}

fn append(log: &mut PartitionLog, base_offset: i64, (kind, amount): (u8, u8), at_ms: i64) {
    let bytes = if kind == 5 {
        logs::marker(at_ms)
    } else {
        batch(kind, amount, at_ms)
    };
    let header = BatchHeader::parse(&bytes).expect("what is built is a batch");
    let appended = log.append(Append {
        bytes: &bytes,
        header: &header,
        base_offset,
        leader_epoch: log.epochs().last().map_or(0, |last| last.0),
        urgent: kind.is_multiple_of(2),
        now_wall_ms: at_ms,
    });
    // A log that failed, or is being cut, takes nothing.
    if appended.is_ok_and(|appended| appended.snapshot_due) {
        log.write_snapshot(log.log_end(), &[logs::producer(at_ms)]);
    }
}

/// One to four records; the third kind is compressed, the fourth longer than one journaled round.
fn batch(kind: u8, amount: u8, at_ms: i64) -> Bytes {
    let mut builder = BatchBuilder::new(Options {
        codec: if kind == 2 { Codec::Zstd } else { Codec::None },
        producer: (kind == 1).then_some((5, 0, i32::from(amount))),
        ..Options::default()
    });
    let len = if kind == 3 && amount > 120 {
        20 << 10
    } else {
        usize::from(amount)
    };
    let value = vec![b'v'; len];
    for record in 0..=i64::from(amount % 4) {
        builder
            .push(at_ms + record, Some(b"key"), Some(&value), &[])
            .expect("it is far below a batch's limits");
    }
    builder.build()
}

async fn truncate(log: &mut PartitionLog, amount: u8) -> Option<BoxFuture<'static, ()>> {
    let to = log.log_end() - i64::from(amount % 16);
    let planned = log.reader().plan_truncation(to).await.ok()??;
    let work = log.begin_truncation(planned).ok()?;
    if amount >= 64 {
        return Some(Box::pin(async { drop(work.run().await) }));
    }
    let outcome = work.run().await;
    drop(log.finish_truncation(outcome));
    None
}

async fn delete(log: &mut PartitionLog, amount: u8) -> Option<BoxFuture<'static, ()>> {
    let to = (log.log_start() + i64::from(amount % 32)).min(log.log_end());
    log.cover_start(to, || vec![logs::producer(to)])
        .await
        .ok()?;
    let to = log.start_within(to)?;
    log.advance_log_start(to).ok()?.await.ok()?;
    let removal = log.finish_log_start(to);
    Some(Box::pin(async { drop(removal.run().await) }))
}

fn switch(log: &mut PartitionLog, partition: &mut Partition) -> Option<BoxFuture<'static, ()>> {
    partition.durability = match log.durability() {
        Durability::Fsync => Durability::PageCache,
        Durability::PageCache => Durability::Fsync,
    };
    log.configure(logs::settings(partition.durability));
    let work = log.begin_switch()?;
    Some(Box::pin(async { drop(work.run().await) }))
}
