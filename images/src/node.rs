//! One process on a log directory, and its open partitions: everything that it does goes into what
//! it promises.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use millrace_host::Host;
use millrace_log::dir::{DirOptions, LogDir};
use millrace_log::mark::{Durability, Incarnation};
use millrace_log::partition::{Append, LogSettings, PartitionLog, PartitionOptions, Partitions};
use millrace_protocol::records::{BatchBuilder, BatchHeader, Options};

use crate::Wrong;
use crate::disk::lock;
use crate::draw::Draw;
use crate::promise::{Acks, PRODUCER, Promise, Promises, Removal, Seen, found, sole_producer};

/// The log directory.
pub(crate) const DIR: &str = "/log";

/// The smallest journal files, so that they are given back soon.
pub(crate) fn options() -> DirOptions {
    DirOptions {
        cluster_id: None,
        node_id: 1,
        flush_lag: Duration::from_millis(2),
        unflushed_bytes_max: 1 << 20,
        reserve_bytes: 0,
        journal_initial_bytes: 64 << 10,
        journal_file_bytes_max: 64 << 10,
        direct_sync_bytes: 2_000,
        unsettled_files_max: 8,
    }
}

/// Short segments, so that few appends roll.
pub(crate) fn settings(durability: Durability) -> LogSettings {
    LogSettings {
        durability,
        segment_bytes: 2_500,
        index_interval_bytes: 200,
        file_delete_delay_ms: 0,
        ..LogSettings::default()
    }
}

/// Topic `t` has index 0, its successors of the same name 9 and 19, others names of their own.
pub(crate) fn topic(index: u8) -> (Incarnation, &'static str) {
    let incarnation = Incarnation {
        topic_id: [index + 1; 16],
        partition: 0,
    };
    let name = match index % 10 {
        0 | 9 => "t",
        1 => "u",
        2 => "v",
        3 => "w",
        4 => "x",
        _ => "y",
    };
    (incarnation, name)
}

/// For `map_err`: what went wrong, as text.
pub(crate) fn text(error: impl std::fmt::Display) -> Wrong {
    error.to_string()
}

/// A process.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) host: Host,
    pub(crate) partitions: Partitions,
    promises: Arc<Mutex<Promises>>,
    draw: Mutex<Draw>,
}

/// One open partition.
pub(crate) struct Part {
    pub(crate) log: PartitionLog,
    acks: Arc<Acks>,
    epoch: i32,
    /// What is appended differs from whatever was appended before at the same place.
    draw: Draw,
    clock: Host,
}

impl Process {
    /// Starts on what is there; nothing of it may be damaged.
    pub(crate) async fn start(
        host: Host,
        options: DirOptions,
        promises: &Arc<Mutex<Promises>>,
        seed: u64,
    ) -> Result<Self, Wrong> {
        let opened = LogDir::open(host.clone(), Path::new(DIR), options).await;
        let (dir, report) = opened.map_err(text)?;
        if !report.damaged.is_empty() {
            return Err(format!("damaged: {:?}", report.damaged));
        }
        {
            let mut promises = lock(promises);
            let (known, found) = (promises.generation, dir.generation());
            if found <= known {
                return Err(format!("generation {found}, {known} was shown before"));
            }
            promises.generation = found;
        }
        // As few open files as can be: what is unsettled stays open all the same (S2).
        let few = PartitionOptions {
            open_segments_max: 2,
            ..PartitionOptions::default()
        };
        let partitions = Partitions::new(dir, host.clone(), few);
        partitions.sweep_deleted().await.map_err(text)?;
        Ok(Self {
            host,
            partitions,
            promises: Arc::clone(promises),
            draw: Mutex::new(Draw::new(seed)),
        })
    }

    pub(crate) fn acks(&self, whose: Incarnation) -> Arc<Acks> {
        let promises = Arc::clone(&self.promises);
        Arc::new(Acks { whose, promises })
    }

    /// Opens a partition and holds what is in it against what was promised.
    pub(crate) async fn open(
        &self,
        (whose, name): (Incarnation, &'static str),
        settings: LogSettings,
    ) -> Result<Part, Wrong> {
        let acks = self.acks(whose);
        acks.change(|promise| promise.topic = name);
        let (sink, mut seen) = (acks.clone(), Seen::default());
        let opened = self
            .partitions
            .open(whose, name, settings, sink, &mut seen)
            .await;
        let opened = opened.map_err(text)?;
        if let Some(reason) = opened.quarantined {
            return Err(reason);
        }
        let one = found(&opened.log, &seen).await?;
        if settings.durability == Durability::Fsync && opened.flushed < opened.log_end {
            let (flushed, end) = (opened.flushed, opened.log_end);
            return Err(format!("open up to {end}, but durable up to {flushed}"));
        }
        acks.change(|promise| {
            let batches = promise.check(&one)?;
            promise.resume(&opened, batches);
            Ok::<_, Wrong>(())
        })?;
        let epoch = opened.epochs.last().map_or(0, |epoch| epoch.0);
        Ok(Part {
            log: opened.log,
            acks,
            epoch,
            draw: Draw::new(lock(&self.draw).bits()),
            clock: self.host.clone(),
        })
    }

    /// Whether the directory failed though nothing was done to it.
    pub(crate) fn sound(&self) -> Result<(), Wrong> {
        match &lock(&self.promises).failed {
            None => Ok(()),
            Some(reason) => Err(format!("the directory is offline: {reason}")),
        }
    }

    /// Finishes a removal that was begun.
    pub(crate) async fn remove(&self, whose: Incarnation) -> Result<(), Wrong> {
        let acks = self.acks(whose);
        let known = self.partitions.dir().entry(&whose).is_some();
        if known && acks.change(|promise| promise.removal) == Removal::Done {
            return Err("a removed partition is back".to_owned());
        }
        let removed = self.partitions.remove(whose, Duration::ZERO).await;
        removed.map_err(text)?;
        acks.change(|promise| promise.removal = Removal::Done);
        Ok(())
    }

    /// A clean stop.
    pub(crate) async fn stop(&self, parts: Vec<Part>) -> Result<(), Wrong> {
        for mut part in parts {
            part.log.close().await.map_err(text)?;
        }
        self.partitions.dir().close().await.map_err(text)
    }
}

impl Part {
    /// An empty log that was just opened.
    #[cfg(test)]
    pub(crate) fn of(log: PartitionLog, acks: Arc<Acks>, host: Host) -> Self {
        Self {
            log,
            acks,
            epoch: 0,
            draw: Draw::new(1),
            clock: host,
        }
    }

    /// Changes what is promised of it.
    pub(crate) fn promise<T>(&self, change: impl FnOnce(&mut Promise) -> T) -> T {
        self.acks.change(change)
    }

    /// Appends a batch and goes on.
    pub(crate) fn append(&mut self, payload: usize) -> Result<(), Wrong> {
        let base_offset = self.log.log_end();
        let next = base_offset + 2;
        let mut builder = BatchBuilder::new(Options {
            producer: Some((PRODUCER, 0, base_offset as i32)),
            ..Options::default()
        });
        let nonce = self.draw.bits().to_le_bytes();
        for len in [payload, 1] {
            let value: Vec<u8> = nonce.iter().cycle().take(len.max(1)).copied().collect();
            builder.push(1_000, None, Some(&value), &[]).map_err(text)?;
        }
        let received = builder.build();
        let header = BatchHeader::parse(&received).map_err(text)?;
        let stored = stored(&received, base_offset, self.epoch);
        self.acks.change(|promise| {
            if let Some(before) = &mut promise.before_cleaning {
                before.push((base_offset, next, stored.clone()));
            }
            promise.batches.push((base_offset, next, stored));
        });
        let appended = self.log.append(Append {
            bytes: &received,
            header: &header,
            base_offset,
            leader_epoch: self.epoch,
            urgent: true,
            now_wall_ms: 0,
        });
        if appended.map_err(text)?.snapshot_due {
            let entries = sole_producer(base_offset);
            self.log.write_snapshot(base_offset, &entries);
        }
        Ok(())
    }

    /// Waits until everything appended is acknowledged.
    pub(crate) async fn acked(&self) -> Result<(), Wrong> {
        let end = self.log.log_end();
        if self.log.durability() == Durability::PageCache {
            // Nobody else asks for it.
            self.log.flush_now();
        }
        for _ in 0..20_000 {
            if self.promise(|promise| promise.acked) >= end {
                return Ok(());
            }
            let clock = &self.clock.clock;
            let soon = clock.now().mono + Duration::from_micros(100);
            clock.sleep_until(soon).await;
        }
        Err("an append was never acknowledged".to_owned())
    }

    /// The next batches belong to a new leader epoch.
    pub(crate) fn new_epoch(&mut self) {
        self.epoch += 1;
    }

    /// Cuts the log back to `offset`, as a follower's: what goes was not committed.
    pub(crate) async fn cut(&mut self, offset: i64) -> Result<(), Wrong> {
        let plan = self.log.reader().plan_truncation(offset).await;
        let Some(plan) = plan.map_err(text)? else {
            return Ok(());
        };
        let work = self.log.begin_truncation(plan).map_err(text)?;
        let cut_count = self.log.cut_count();
        self.promise(|promise| {
            promise.cut_count = cut_count;
            promise.before_cut = Some(promise.batches.clone());
            promise.batches.retain(|batch| batch.1 <= offset);
            // Where cleaning left no records up to there, the log ends behind the last that is left.
            let end = promise
                .batches
                .last()
                .map_or(promise.log_start, |last| last.1);
            promise.acked = promise.acked.min(offset).min(end.max(promise.log_start));
        });
        let outcome = work.run().await;
        self.log.finish_truncation(outcome).map_err(text)?;
        self.promise(|promise| promise.before_cut = None);
        // Whoever cuts has heard of a newer leader.
        self.new_epoch();
        Ok(())
    }

    /// Changes the topic's durability while it is open; appends once in between.
    pub(crate) async fn switch(&mut self, to: Durability) -> Result<(), Wrong> {
        self.log.configure(settings(to));
        let switch = self.log.begin_switch().ok_or("no switch begins")?;
        self.append(40)?;
        let outcome = switch.run().await;
        self.append(50)?;
        let done = self.log.finish_switch(outcome).map_err(text)?;
        self.append(60)?;
        done.await.map_err(text)
    }

    /// Retires what retention by time condemns.
    pub(crate) async fn retain(&mut self) -> Result<(), Wrong> {
        let now = millrace_host::Now {
            mono: millrace_host::Mono(0),
            wall_ms: 1_000_000,
        };
        let high_watermark = self.log.flushed();
        let due = self.log.retention_due(now, high_watermark, true);
        self.move_start(due.ok_or("nothing is due")?).await
    }

    /// Moves the log start as [`Self::move_start`] does, up to the marks of what goes.
    pub(crate) async fn begin_move_start(&mut self, to: i64) -> Result<(), Wrong> {
        self.announce_start(to).await?;
        drop(self.log.finish_log_start(to));
        Ok(())
    }

    /// Moves the log start, as retention and `DeleteRecords` do.
    pub(crate) async fn move_start(&mut self, to: i64) -> Result<(), Wrong> {
        self.announce_start(to).await?;
        self.log.finish_log_start(to).run().await.map_err(text)
    }

    async fn announce_start(&mut self, to: i64) -> Result<(), Wrong> {
        let end = self.log.log_end();
        let covered = self.log.cover_start(to, || sole_producer(end));
        covered.await.map_err(text)?;
        self.promise(|promise| promise.announced = to);
        let moved = self.log.advance_log_start(to).map_err(text)?;
        moved.await.map_err(text)?;
        self.promise(|promise| promise.log_start = to);
        Ok(())
    }

    /// Deletes the partition.
    pub(crate) async fn remove(mut self) -> Result<(), Wrong> {
        self.promise(|promise| promise.removal = Removal::Begun);
        self.log.remove().await.map_err(text)?;
        self.promise(|promise| promise.removal = Removal::Done);
        Ok(())
    }
}

/// A batch as it stands in the file: with its offset and leader epoch.
fn stored(received: &[u8], base_offset: i64, epoch: i32) -> Bytes {
    let mut stored = received.to_vec();
    stored[..8].copy_from_slice(&base_offset.to_be_bytes());
    stored[12..16].copy_from_slice(&epoch.to_be_bytes());
    stored.into()
}
