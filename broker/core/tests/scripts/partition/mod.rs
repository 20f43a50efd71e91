//! The language of the partition scripts: one command a line, `name key=value flag`.
//!
//! Broker 1 is the partition's own; broker n is registered with broker epoch 100 + n.

mod args;
mod show;

use std::fmt::Write as _;

use millrace_core::Now;
use millrace_core::partition::{
    AssignedReplica, Event, FetchPosition, IsrRefusal, Leadership, Partition, ProducerTable,
    Progress, Recovered, Reject, ReplayedBatch, ReplicaFetch, Truncation,
};

use crate::Script;
use crate::args::Args;
use show::{show_effect, show_plan, show_read_reject, show_reject};

/// One partition and the clock it is told.
pub(crate) struct World {
    now: Now,
    partition: Option<Partition>,
    /// What was replayed for the next `open`.
    replayed: ProducerTable,
    recovered: Recovered,
}

impl Script for World {
    const DIRECTORY: &str = "partition";

    fn command(&mut self, line: &str) -> String {
        self.run(line)
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

impl World {
    fn new() -> Self {
        Self {
            now: Now {
                mono_ns: 0,
                wall_ms: 1_000_000,
            },
            partition: None,
            replayed: ProducerTable::default(),
            recovered: Args::parse("open").recovered(),
        }
    }

    fn partition(&self) -> &Partition {
        self.partition
            .as_ref()
            .expect("the script opens the partition first")
    }

    /// Runs one command and gives what it prints.
    fn run(&mut self, line: &str) -> String {
        let args = Args::parse(line);
        let out = match args.name() {
            "open" => self.open(&args),
            "restart" => self.restart(&args),
            "replay" => self.replay(&args),
            "append" => self.append(&args),
            "fetch" => self.fetch(&args),
            "epoch-end" => self.epoch_end(&args),
            "list" => self.list(&args),
            "delete-records" => self.delete_records(&args),
            "time" => {
                self.now.mono_ns += u64::try_from(args.number("ms", 0)).unwrap_or(0) * 1_000_000;
                self.now.wall_ms += args.number("ms", 0) + args.number("wall-jump-ms", 0);
                self.step(Event::Deadline)
            }
            "state" => self.state(),
            "producers" => self.producers(),
            _ => self.event(&args),
        };
        args.assert_all_used();
        out
    }

    /// Commands that are one event.
    fn event(&mut self, args: &Args) -> String {
        let event = match args.name() {
            "lead" => Event::BecomeLeader(leadership(args)),
            "follow" => Event::BecomeFollower {
                leader_epoch: args.int("epoch", 1),
                leader: args.int("leader", -1),
            },
            "flushed" => Event::Flushed {
                upto: args.number("upto", 0),
                cut_count: u32::try_from(args.number("cut", 0)).expect("a cut count"),
            },
            "fetched" => Event::ReplicaFetched(self.replica_fetch(args)),
            "replica" => Event::ReplicaChanged(AssignedReplica {
                broker_id: args.int("id", 2),
                broker_epoch: args.number("broker-epoch", 100 + args.number("id", 2)),
                eligible: !args.flag("fenced"),
            }),
            "isr-committed" => Event::IsrCommitted {
                isr: args.list("isr"),
                partition_epoch: args.int("partition-epoch", 1),
            },
            "isr-refused" => Event::IsrRefused(if args.flag("revert") {
                IsrRefusal::Revert
            } else if args.flag("retry") {
                IsrRefusal::Retry
            } else {
                IsrRefusal::AwaitMetadata
            }),
            "await-ack" => Event::AwaitAck {
                token: args.token(),
                condition: args.condition(),
                deadline_ns: self.deadline(args),
            },
            "cancel-ack" => Event::CancelAck {
                token: args.token(),
            },
            "await-fetch" => Event::AwaitFetch {
                token: args.token(),
                from_offset: args.number("from", 0),
                bound: args.reader().bound(),
            },
            "cancel-fetch" => Event::CancelFetch {
                token: args.token(),
            },
            "log-start" => Event::LogStartAdvanced {
                log_start: args.number("to", 0),
            },
            "truncated" => {
                let to = args.number("to", 0);
                let cut_count = u32::try_from(args.number("cut", 1)).expect("a cut count");
                let producers = std::mem::take(&mut self.replayed);
                Event::Truncated(Box::new(Truncation {
                    log_end: to,
                    flushed: to,
                    cut_count,
                    producers,
                }))
            }
            "settings" => Event::SettingsChanged(args.settings()),
            "directory-failed" => Event::DirectoryFailed,
            "deleted" => Event::Deleted,
            other => panic!("no such command: {other}"),
        };
        self.step(event)
    }

    /// Steps, and prints the effects and where the high watermark went.
    fn step(&mut self, event: Event) -> String {
        let now = self.now;
        let partition = self
            .partition
            .as_mut()
            .expect("the script opens the partition first");
        let before = partition.bounds().high_watermark;
        let mut effects = Vec::new();
        partition.step(now, event, &mut effects);
        let after = partition.bounds().high_watermark;
        let mut out = String::new();
        if before != after {
            writeln!(out, "high watermark {before} -> {after}").expect("a string takes text");
        }
        for effect in &effects {
            out.push_str(&show_effect(effect));
        }
        if out.is_empty() {
            "ok\n".to_owned()
        } else {
            out
        }
    }

    fn deadline(&self, args: &Args) -> u64 {
        let timeout_ms = args.number("timeout-ms", 30_000);
        self.now.after_ms(u64::try_from(timeout_ms).unwrap_or(0))
    }

    fn open(&mut self, args: &Args) -> String {
        self.recovered = args.recovered();
        let mut producers = std::mem::take(&mut self.replayed);
        self.make_room(args, &mut producers);
        self.partition = Some(Partition::recovered(&self.recovered, producers));
        self.state()
    }

    /// Stops cleanly and opens again from what is on disk; `room` is what the broker has left for
    /// the partition's producers.
    fn restart(&mut self, args: &Args) -> String {
        let partition = self.partition();
        let (bounds, epochs) = (partition.bounds(), partition.epochs().to_vec());
        let producers = partition.producers_snapshot(self.now);
        self.recovered.log_start = bounds.log_start;
        self.recovered.log_end = bounds.log_end;
        self.recovered.flushed = bounds.log_end;
        self.recovered.high_watermark = bounds.high_watermark;
        self.recovered.epochs = epochs;
        let mut producers = ProducerTable::load(self.now, &producers);
        self.make_room(args, &mut producers);
        self.partition = Some(Partition::recovered(&self.recovered, producers));
        self.state()
    }

    fn make_room(&self, args: &Args, producers: &mut ProducerTable) {
        if args.flag("room") {
            let room = usize::try_from(args.int("room", 0)).expect("room is not negative");
            producers.keep_newest(self.now, room, self.recovered.settings.producers_max);
        }
    }

    fn replay(&mut self, args: &Args) -> String {
        let base_offset = args.number("base", 0);
        let records = args.int("records", 1);
        let producer = args.producer().expect("a replayed batch has a producer");
        let batch = ReplayedBatch {
            producer,
            base_offset,
            last_offset: base_offset + i64::from(records) - 1,
            max_timestamp: args.number("timestamp", 0),
            transactional: args.flag("transactional"),
            control: args.flag("control"),
        };
        self.replayed.replay_batch(self.now, &batch);
        "ok\n".to_owned()
    }

    /// Plan, write, apply, and wait if there is a token.
    fn append(&mut self, args: &Args) -> String {
        let append = args.append();
        let fails = args.flag("write-fails");
        let token = args.optional("token").map(|_| args.token());
        let deadline_ns = self.deadline(args);
        let plan = match self.partition().plan_append(self.now, &append) {
            Ok(plan) => plan,
            Err(reject) => {
                if let (Reject::TooManyProducers { .. }, Some(producer)) =
                    (&reject, append.producer)
                {
                    self.step(Event::NoRoom(producer));
                }
                return show_reject(&reject);
            }
        };
        let mut out = show_plan(&plan);
        let mut note = |text: String| {
            if text != "ok\n" {
                out.push_str(&text);
            }
        };
        if let millrace_core::partition::Plan::Write(write) = plan {
            let event = if fails {
                Event::WriteFailed(write)
            } else {
                Event::Written(write)
            };
            note(self.step(event));
        }
        if let Some(token) = token {
            let condition = plan.condition();
            note(self.step(Event::AwaitAck {
                token,
                condition,
                deadline_ns,
            }));
        }
        out
    }

    fn replica_fetch(&self, args: &Args) -> ReplicaFetch {
        let replica = args.int("replica", 2);
        let log_end = args.number("end", 0);
        ReplicaFetch {
            replica,
            progress: Progress {
                log_end,
                flushed: args.number("flushed", log_end),
            },
            leader_epoch: args.int("epoch", self.partition().leader_epoch()),
            broker_epoch: args.number("broker-epoch", 100 + i64::from(replica)),
        }
    }

    fn fetch(&self, args: &Args) -> String {
        let position = FetchPosition {
            reader: args.reader(),
            current_leader_epoch: args.int("epoch", -1),
            fetch_offset: args.number("from", 0),
            last_fetched_epoch: args.int("last-epoch", -1),
        };
        show::show_fetch(self.partition().check_fetch(&position))
    }

    fn epoch_end(&self, args: &Args) -> String {
        let answer = self
            .partition()
            .offset_for_leader_epoch(args.int("epoch", -1), args.int("asked", -1));
        match answer {
            Ok(end) => format!("epoch {} ends at {}\n", end.epoch, end.end_offset),
            Err(reject) => show_read_reject(&reject),
        }
    }

    fn list(&self, args: &Args) -> String {
        let found = args.optional("found").map(|_| args.number("found", 0));
        let bounds = match self
            .partition()
            .list_bounds(args.int("epoch", -1), args.reader())
        {
            Ok(bounds) => bounds,
            Err(reject) => return show_read_reject(&reject),
        };
        let (earliest, epoch) = bounds.earliest;
        let mut out = format!("earliest {earliest} of epoch {epoch}\n");
        match bounds.latest() {
            Ok((latest, epoch)) => {
                writeln!(out, "latest {latest} of epoch {epoch}").expect("a string takes text");
            }
            Err(reject) => {
                write!(out, "latest {}", show_read_reject(&reject)).expect("a string takes text");
            }
        }
        if found.is_some() {
            match bounds.found(found) {
                Ok(Some(offset)) => writeln!(out, "found {offset}").expect("a string takes text"),
                Ok(None) => out.push_str("found nothing\n"),
                Err(reject) => {
                    write!(out, "found {}", show_read_reject(&reject))
                        .expect("a string takes text");
                }
            }
        }
        out
    }

    fn delete_records(&mut self, args: &Args) -> String {
        match self
            .partition()
            .plan_delete_records(args.number("before", -1))
        {
            Ok(log_start) => {
                let effects = self.step(Event::LogStartAdvanced { log_start });
                format!("low watermark {log_start}\n{effects}")
            }
            Err(reject) => show_read_reject(&reject),
        }
    }

    fn state(&self) -> String {
        let partition = self.partition();
        let bounds = partition.bounds();
        let role = if partition.is_leader() {
            format!(
                "leads in epoch {}, isr {:?}",
                bounds.leader_epoch,
                partition.isr()
            )
        } else if partition.is_failed() {
            "failed".to_owned()
        } else {
            format!("does not lead, epoch {}", bounds.leader_epoch)
        };
        let (acks, fetches) = partition.waiters_len();
        format!(
            "log start {}, last stable {}, high watermark {}, flushed {}, log end {}\n{role}; waiting: {acks} acks, {fetches} fetches\n",
            bounds.log_start,
            bounds.last_stable,
            bounds.high_watermark,
            bounds.flushed,
            bounds.log_end,
        )
    }

    fn producers(&self) -> String {
        let mut out = String::new();
        for entry in self.partition().producers_snapshot(self.now) {
            write!(out, "{} epoch {}:", entry.producer_id, entry.producer_epoch)
                .expect("a string takes text");
            for batch in &entry.batches {
                write!(
                    out,
                    " {}..{}@{}",
                    batch.first_sequence,
                    batch.last_sequence,
                    batch.base_offset()
                )
                .expect("a string takes text");
            }
            if let Some(first) = entry.open_txn_first_offset {
                write!(out, " open transaction from {first}").expect("a string takes text");
            }
            out.push('\n');
        }
        if out.is_empty() {
            "none\n".to_owned()
        } else {
            out
        }
    }
}

fn leadership(args: &Args) -> Leadership {
    let mut replicas: Vec<i32> = args.list("replicas");
    if replicas.is_empty() {
        replicas.push(1);
    }
    let mut isr: Vec<i32> = args.list("isr");
    if isr.is_empty() {
        isr.clone_from(&replicas);
    }
    let fenced: Vec<i32> = args.list("fenced");
    Leadership {
        leader_epoch: args.int("epoch", 1),
        partition_epoch: args.int("partition-epoch", 0),
        replicas: replicas
            .into_iter()
            .map(|id| AssignedReplica {
                broker_id: id,
                broker_epoch: 100 + i64::from(id),
                eligible: !fenced.contains(&id),
            })
            .collect(),
        isr,
    }
}
