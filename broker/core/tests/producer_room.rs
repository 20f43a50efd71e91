//! Random producers at a partition with little room, against a naive model.
//!
//! Always: whoever appended within the retry window is recognised when it sends its last batch
//! again, whatever came between: other producers, a crowded broker, restarts without room, jumps of
//! the wall clock. A newcomer has room exactly if there is some or somebody is idle, and takes it
//! from the one idle for longest; otherwise it is told to try again and nothing changes.

use std::collections::BTreeMap;

use millrace_core::Now;
use millrace_core::partition::{
    Acks, Append, AssignedReplica, BatchProducer, Durability, Event, Leadership, Origin, Partition,
    Plan, ProducerTable, RETRY_WINDOW_MS, Recovered, Reject, Settings,
};
use proptest::prelude::*;

const PRODUCERS_MAX: usize = 4;
const MINUTE_MS: u64 = 60_000;

#[derive(Clone, Debug)]
enum Op {
    /// The producer's next batch, or its first.
    Send {
        pid: i64,
        crowded: bool,
    },
    /// The last batch of a producer again.
    Retry {
        pid: i64,
    },
    Time {
        minutes: u64,
    },
    WallJump {
        days: i64,
    },
    /// A clean stop and a start that leaves `room` for the partition.
    Restart {
        room: usize,
    },
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0..8_i64, prop::bool::weighted(0.2)).prop_map(|(pid, crowded)| Op::Send { pid, crowded }),
        3 => (0..8_i64).prop_map(|pid| Op::Retry { pid }),
        3 => (0..12_u64).prop_map(|minutes| Op::Time { minutes }),
        1 => (-40..40_i64).prop_map(|days| Op::WallJump { days }),
        1 => (1..5_usize).prop_map(|room| Op::Restart { room }),
    ]
}

/// What the model remembers of a producer.
#[derive(Clone, Copy, Debug)]
struct Known {
    sequence: i32,
    offset: i64,
    /// Minutes since its last append, counted as the partition counts.
    idle: u64,
}

struct Model {
    partition: Partition,
    now: Now,
    log_end: i64,
    leader_epoch: i32,
    known: BTreeMap<i64, Known>,
}

fn recovered(log_end: i64) -> Recovered {
    Recovered {
        broker_id: 1,
        settings: Settings {
            producers_max: PRODUCERS_MAX,
            ..Settings::default()
        },
        durability: Durability::PageCache,
        log_start: 0,
        log_end,
        flushed: log_end,
        high_watermark: log_end,
        cut_count: 0,
        epochs: Vec::new(),
        may_have_lost: false,
        read_only: false,
    }
}

impl Model {
    fn new() -> Self {
        let mut model = Self {
            partition: Partition::recovered(&recovered(0), ProducerTable::default()),
            now: Now::default(),
            log_end: 0,
            leader_epoch: 0,
            known: BTreeMap::new(),
        };
        model.lead();
        model
    }

    fn step(&mut self, event: Event) {
        self.partition.step(self.now, event, &mut Vec::new());
    }

    fn lead(&mut self) {
        self.leader_epoch += 1;
        self.step(Event::BecomeLeader(Leadership {
            leader_epoch: self.leader_epoch,
            partition_epoch: self.leader_epoch,
            replicas: vec![AssignedReplica {
                broker_id: 1,
                broker_epoch: 1,
                eligible: true,
            }],
            isr: vec![1],
        }));
    }

    fn plan(&self, pid: i64, sequence: i32, crowded: bool) -> Result<Plan, Reject> {
        let append = Append {
            leader_epoch: None,
            acks: Acks::Leader,
            producer: Some(BatchProducer {
                producer_id: pid,
                producer_epoch: 0,
                base_sequence: sequence,
            }),
            last_offset_delta: 0,
            max_timestamp: 0,
            transactional: false,
            control: false,
            origin: Origin::Client,
            crowded,
        };
        self.partition.plan_append(self.now, &append)
    }

    fn remembered(&self) -> Vec<i64> {
        let entries = self.partition.producers_snapshot(self.now);
        entries.iter().map(|entry| entry.producer_id).collect()
    }

    /// Those that may go, the one idle for longest first.
    fn idle(&self) -> Vec<i64> {
        let window = RETRY_WINDOW_MS / MINUTE_MS;
        let mut idle: Vec<_> = self
            .known
            .iter()
            .filter(|(_, known)| known.idle >= window)
            .map(|(pid, known)| (std::cmp::Reverse(known.idle), known.offset, *pid))
            .collect();
        idle.sort_unstable();
        idle.into_iter().map(|(_, _, pid)| pid).collect()
    }

    fn send(&mut self, pid: i64, crowded: bool) {
        let full = self.known.len() >= PRODUCERS_MAX || crowded && !self.known.is_empty();
        let sequence = self.known.get(&pid).map_or(0, |known| known.sequence + 1);
        let newcomer = !self.known.contains_key(&pid);
        let victim = self.idle().first().copied();
        match self.plan(pid, sequence, crowded) {
            Ok(Plan::Write(write)) => {
                if newcomer && full {
                    let victim = victim.expect("only an idle producer gives way");
                    self.known.remove(&victim);
                }
                self.step(Event::Written(write));
                let known = Known {
                    sequence,
                    offset: self.log_end,
                    idle: 0,
                };
                self.known.insert(pid, known);
                self.log_end += 1;
            }
            Err(Reject::TooManyProducers { .. }) => {
                assert!(newcomer && full && victim.is_none(), "there was room");
                self.step(Event::NoRoom(BatchProducer {
                    producer_id: pid,
                    producer_epoch: 0,
                    base_sequence: sequence,
                }));
                assert!(
                    matches!(
                        self.plan(pid, sequence + 1, false),
                        Err(Reject::OutOfOrderSequence { .. })
                    ),
                    "what comes behind a refused batch overtook it"
                );
            }
            other => panic!("{other:?} for sequence {sequence} of {pid}"),
        }
    }

    fn retry(&self, pid: i64) {
        let Some(known) = self.known.get(&pid) else {
            return;
        };
        match self.plan(pid, known.sequence, true) {
            Ok(Plan::Duplicate(duplicate)) => assert_eq!(duplicate.base_offset, known.offset),
            other => panic!("{other:?} for a retry of {pid}"),
        }
    }

    fn restart(&mut self, room: usize) {
        let entries = self.partition.producers_snapshot(self.now);
        // Another process: its monotonic clock begins anew.
        self.now.mono_ns = 0;
        let newest = self.known.values().map(|known| known.idle).min();
        for known in self.known.values_mut() {
            known.idle -= newest.unwrap_or(0);
        }
        let excess = self.known.len().saturating_sub(room);
        for pid in self.idle().into_iter().take(excess) {
            self.known.remove(&pid);
        }
        let mut table = ProducerTable::load(self.now, &entries);
        table.keep_newest(self.now, room, PRODUCERS_MAX);
        self.partition = Partition::recovered(&recovered(self.log_end), table);
        self.lead();
    }

    fn run(&mut self, op: &Op) {
        match *op {
            Op::Send { pid, crowded } => self.send(pid, crowded),
            Op::Retry { pid } => self.retry(pid),
            Op::Time { minutes } => {
                self.now.mono_ns += minutes * MINUTE_MS * 1_000_000;
                self.now.wall_ms += (minutes * MINUTE_MS).cast_signed();
                for known in self.known.values_mut() {
                    known.idle += minutes;
                }
                self.step(Event::Deadline);
            }
            Op::WallJump { days } => self.now.wall_ms += days * 86_400_000,
            Op::Restart { room } => self.restart(room),
        }
        let expected: Vec<i64> = self.known.keys().copied().collect();
        assert_eq!(self.remembered(), expected, "after {op:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn who_appended_lately_is_never_forgotten(ops in prop::collection::vec(op(), 1..120)) {
        let mut model = Model::new();
        for op in &ops {
            model.run(op);
        }
        for pid in 0..8 {
            model.retry(pid);
        }
    }
}
