//! Random events against a naive model of one partition with three replicas.
//!
//! The model keeps every batch that was ever written and works everything out anew from that list.
//! After each event: the watermark is the largest minimum over the maximal ISR so far; what is in
//! sequence, a duplicate or refused follows from the list; a reply comes exactly once and never
//! before its condition; a fetch is woken at most once, and is woken when there is something to
//! read. The partition's own invariants run after each step besides.

use std::collections::{BTreeMap, BTreeSet};

use millrace_core::Now;
use millrace_core::partition::{
    Acks, Append, AssignedReplica, BatchProducer, Bound, Bounds, Condition, Durability, Effect,
    Event, IsrRefusal, Leadership, Origin, Partition, Plan, ProducerTable, Progress, Recovered,
    Reject, ReplicaFetch, Settings, Token,
};
use millrace_protocol::producer::ProducerEntry;
use proptest::prelude::*;

const MIN_ISR: usize = 2;
const PRODUCERS_MAX: usize = 100;

#[derive(Clone, Debug)]
enum Op {
    /// A batch of a producer: its next sequence, moved by `skew`, or one of its former batches.
    Append {
        pid: i64,
        epoch_step: i16,
        skew: i32,
        repeat: Option<usize>,
        records: i32,
        acks: u8,
    },
    WriteFails {
        pid: i64,
    },
    Flush {
        back: i64,
    },
    Fetched {
        replica: i32,
        back: i64,
        unflushed: i64,
    },
    IsrAnswer {
        answer: u8,
    },
    ShrinkIsr {
        without: i32,
    },
    AwaitFetch {
        token: u64,
        back: i64,
        bound: u8,
    },
    CancelFetch {
        token: u64,
    },
    CancelAck,
    Time {
        ms: u64,
    },
    NewEpoch,
    LogStart {
        back: i64,
    },
}

fn op() -> impl Strategy<Value = Op> {
    let append = (
        0..3_i64,
        prop_oneof![9 => Just(0_i16), 1 => -1..=1_i16],
        prop_oneof![9 => Just(0_i32), 1 => -2..=2_i32],
        prop_oneof![3 => Just(None), 1 => (0..7_usize).prop_map(Some)],
        1..4_i32,
        0..3_u8,
    );
    prop_oneof![
        8 => append.prop_map(|(pid, epoch_step, skew, repeat, records, acks)| Op::Append {
            pid, epoch_step, skew, repeat, records, acks,
        }),
        1 => (0..3_i64).prop_map(|pid| Op::WriteFails { pid }),
        4 => (0..4_i64).prop_map(|back| Op::Flush { back }),
        8 => (2..4_i32, 0..3_i64, 0..3_i64)
            .prop_map(|(replica, back, unflushed)| Op::Fetched { replica, back, unflushed }),
        3 => (0..4_u8).prop_map(|answer| Op::IsrAnswer { answer }),
        1 => (2..4_i32).prop_map(|without| Op::ShrinkIsr { without }),
        4 => (1_000..1_006_u64, 0..4_i64, 0..3_u8)
            .prop_map(|(token, back, bound)| Op::AwaitFetch { token, back, bound }),
        1 => (1_000..1_006_u64).prop_map(|token| Op::CancelFetch { token }),
        1 => Just(Op::CancelAck),
        3 => prop_oneof![1..50_u64, Just(600_u64)].prop_map(|ms| Op::Time { ms }),
        1 => Just(Op::NewEpoch),
        1 => (0..5_i64).prop_map(|back| Op::LogStart { back }),
    ]
}

/// A batch as it was written.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Batch {
    pid: i64,
    producer_epoch: i16,
    first: i64,
    last: i64,
    base_offset: i64,
    last_offset: i64,
}

/// What the model says of a produced batch.
#[derive(Debug, PartialEq)]
enum Expected {
    Write,
    Duplicate(Batch),
    OutOfOrder,
    Fenced,
    TooFewInSync,
}

struct Model {
    partition: Partition,
    durability: Durability,
    now: Now,
    batches: Vec<Batch>,
    log_end: i64,
    flushed: i64,
    high_watermark: i64,
    leader_epoch: i32,
    partition_epoch: i32,
    isr: BTreeSet<i32>,
    proposed: Option<Vec<i32>>,
    followers: BTreeMap<i32, Option<(i64, i64)>>,
    next_token: u64,
    acks: BTreeMap<u64, (Condition, u64)>,
    fetches: BTreeMap<u64, (i64, Bound)>,
}

impl Model {
    fn new(durability: Durability) -> Self {
        let settings = Settings {
            min_insync_replicas: MIN_ISR,
            replica_lag_time_max_ms: 1_000,
            producers_max: PRODUCERS_MAX,
            ..Settings::default()
        };
        let recovered = Recovered {
            broker_id: 1,
            settings,
            durability,
            log_start: 0,
            log_end: 0,
            flushed: 0,
            high_watermark: 0,
            cut_count: 0,
            epochs: Vec::new(),
            may_have_lost: false,
            read_only: false,
        };
        let mut model = Self {
            partition: Partition::recovered(&recovered, ProducerTable::default()),
            durability,
            now: Now::default(),
            batches: Vec::new(),
            log_end: 0,
            flushed: 0,
            high_watermark: 0,
            leader_epoch: 0,
            partition_epoch: 0,
            isr: BTreeSet::from([1, 2, 3]),
            proposed: None,
            followers: BTreeMap::new(),
            next_token: 0,
            acks: BTreeMap::new(),
            fetches: BTreeMap::new(),
        };
        model.new_epoch();
        model
    }

    /// Steps, then checks the watermark and every effect.
    fn step(&mut self, event: Event) {
        let mut effects = Vec::new();
        self.partition.step(self.now, event, &mut effects);
        // What is proposed counts at once.
        for effect in &effects {
            if let Effect::ProposeIsr(proposal) = effect {
                assert_eq!(proposal.partition_epoch, self.partition_epoch);
                assert!(proposal.isr.contains(&1), "the leader stays");
                self.proposed = Some(proposal.isr.clone());
            }
        }
        self.commit();
        let bounds = self.partition.bounds();
        assert_eq!(bounds.high_watermark, self.high_watermark, "the watermark");
        assert_eq!(
            (bounds.log_end, bounds.flushed),
            (self.log_end, self.flushed)
        );
        for effect in &effects {
            self.effect(effect, &bounds);
        }
        // Nobody was forgotten.
        for (condition, _) in self.acks.values() {
            assert!(
                !holds(*condition, &bounds),
                "{condition:?} holds and nobody was told"
            );
        }
        for (from_offset, bound) in self.fetches.values() {
            let readable = bound.of(&bounds) > *from_offset || *from_offset < bounds.log_start;
            assert!(!readable, "{from_offset} can be read and nobody was woken");
        }
        assert_eq!(
            self.partition.waiters_len(),
            (self.acks.len(), self.fetches.len())
        );
    }

    fn effect(&mut self, effect: &Effect, bounds: &Bounds) {
        match *effect {
            Effect::AckReady { token, result } => {
                let (condition, deadline_ns) = self
                    .acks
                    .remove(&token.0)
                    .expect("a reply that waits is told, once");
                match result {
                    Ok(outcome) => {
                        assert!(holds(condition, bounds), "{condition:?} does not hold yet");
                        assert_eq!(outcome.log_start, bounds.log_start);
                    }
                    Err(Reject::TimedOut) => assert!(deadline_ns <= self.now.mono_ns),
                    Err(Reject::NotEnoughReplicasAfterAppend) => {
                        assert!(self.isr.len() < MIN_ISR && !holds(condition, bounds));
                    }
                    Err(other) => panic!("no reason for {other}"),
                }
            }
            Effect::WakeFetch { token } | Effect::FetchRefused { token } => {
                self.fetches
                    .remove(&token.0)
                    .expect("a fetch that waits is woken, once");
            }
            Effect::ProposeIsr(_) => {}
            Effect::FlushNow => assert!(self.flushed < self.log_end, "there is nothing to flush"),
            Effect::EpochStarted {
                leader_epoch,
                start_offset,
            } => {
                assert_eq!(
                    (leader_epoch, start_offset),
                    (self.leader_epoch, self.log_end)
                );
            }
            Effect::NeedsNewEpoch { .. } => panic!("the epoch is new"),
        }
    }

    /// The watermark by definition.
    fn commit(&mut self) {
        if self.isr.len() < MIN_ISR {
            return;
        }
        let mut upto = match self.durability {
            Durability::Fsync => self.flushed,
            Durability::PageCache => self.log_end,
        };
        let added = self.proposed.iter().flatten().copied();
        let members: BTreeSet<i32> = self.isr.iter().copied().chain(added).collect();
        for member in members.into_iter().filter(|member| *member != 1) {
            let Some(Some((log_end, flushed))) = self.followers.get(&member) else {
                return;
            };
            upto = upto.min(match self.durability {
                Durability::Fsync => *flushed,
                Durability::PageCache => *log_end,
            });
        }
        self.high_watermark = self.high_watermark.max(upto);
    }

    fn expected(&self, producer: (i64, i16, i64), last: i64, acks_all: bool) -> Expected {
        let (pid, producer_epoch, first) = producer;
        if acks_all && self.isr.len() < MIN_ISR {
            return Expected::TooFewInSync;
        }
        let of_pid: Vec<&Batch> = self
            .batches
            .iter()
            .filter(|batch| batch.pid == pid)
            .collect();
        let Some(newest) = of_pid.last() else {
            return Expected::Write;
        };
        let same_epoch = of_pid
            .iter()
            .rev()
            .take_while(|batch| batch.producer_epoch == newest.producer_epoch);
        let mut cached = same_epoch.take(5);
        if newest.producer_epoch == producer_epoch
            && let Some(batch) = cached.find(|batch| batch.first == first && batch.last == last)
        {
            return Expected::Duplicate(**batch);
        }
        if producer_epoch < newest.producer_epoch {
            return Expected::Fenced;
        }
        let next = if producer_epoch > newest.producer_epoch {
            0
        } else {
            (newest.last + 1) % (1 << 31)
        };
        if first == next {
            Expected::Write
        } else {
            Expected::OutOfOrder
        }
    }

    /// Picks producer epoch and sequences for an append.
    fn sequences(&self, op: &Op) -> (i64, i16, i64, i64, i32) {
        let Op::Append {
            pid,
            epoch_step,
            skew,
            repeat,
            records,
            ..
        } = *op
        else {
            unreachable!("only appends have sequences")
        };
        let of_pid: Vec<&Batch> = self
            .batches
            .iter()
            .filter(|batch| batch.pid == pid)
            .collect();
        if let Some(back) = repeat
            && let Some(batch) = of_pid.iter().rev().nth(back)
        {
            let records = i32::try_from(batch.last_offset - batch.base_offset + 1).unwrap_or(1);
            return (pid, batch.producer_epoch, batch.first, batch.last, records);
        }
        let (epoch, next) = of_pid
            .last()
            // Near the end of the sequences, so that they wrap.
            .map_or((0, (1 << 31) - 4), |newest| {
                (newest.producer_epoch, newest.last + 1)
            });
        let producer_epoch = (epoch + epoch_step).max(0);
        let next = if producer_epoch > epoch { 0 } else { next };
        let first = (next + i64::from(skew)).rem_euclid(1 << 31);
        let last = (first + i64::from(records) - 1) % (1 << 31);
        (pid, producer_epoch, first, last, records)
    }

    fn append(&mut self, op: &Op, acks: Acks) {
        let (pid, producer_epoch, first, last, records) = self.sequences(op);
        let append = Append {
            leader_epoch: None,
            acks,
            producer: Some(BatchProducer {
                producer_id: pid,
                producer_epoch,
                base_sequence: i32::try_from(first).expect("a sequence has 31 bits"),
            }),
            last_offset_delta: records - 1,
            max_timestamp: 0,
            transactional: false,
            control: false,
            origin: Origin::Client,
            crowded: false,
        };
        let expected = self.expected((pid, producer_epoch, first), last, acks == Acks::All);
        let before = self.partition.clone();
        let plan = self.partition.plan_append(self.now, &append);
        assert_eq!(before, self.partition, "planning changes nothing");
        match (plan, expected) {
            (Ok(plan @ Plan::Write(write)), Expected::Write) => {
                assert_eq!(write.base_offset, self.log_end);
                let last_offset = self.log_end + i64::from(records) - 1;
                assert_eq!(write.last_offset, last_offset);
                self.batches.push(Batch {
                    pid,
                    producer_epoch,
                    first,
                    last,
                    base_offset: write.base_offset,
                    last_offset,
                });
                self.log_end = last_offset + 1;
                self.step(Event::Written(write));
                self.await_ack(acks, plan.condition(), self.log_end);
            }
            (Ok(plan @ Plan::Duplicate(duplicate)), Expected::Duplicate(batch)) => {
                assert_eq!(duplicate.base_offset, batch.base_offset);
                assert_eq!(duplicate.last_offset, batch.last_offset);
                self.await_ack(acks, plan.condition(), batch.last_offset + 1);
            }
            (Err(Reject::OutOfOrderSequence { .. }), Expected::OutOfOrder)
            | (Err(Reject::InvalidProducerEpoch { .. }), Expected::Fenced)
            | (Err(Reject::NotEnoughReplicas { .. }), Expected::TooFewInSync) => {}
            (plan, expected) => panic!("{plan:?} where {expected:?} was expected"),
        }
    }

    /// The condition is that of the acks asked for, for duplicates, too; then the reply waits.
    fn await_ack(&mut self, acks: Acks, condition: Condition, next_offset: i64) {
        let promised = match acks {
            Acks::None | Acks::Leader => Condition::Written,
            Acks::All => Condition::HighWatermark(next_offset),
        };
        assert_eq!(condition, promised);
        self.next_token += 1;
        let deadline_ns = self.now.after_ms(500);
        let token = Token(self.next_token);
        self.acks.insert(token.0, (condition, deadline_ns));
        self.step(Event::AwaitAck {
            token,
            condition,
            deadline_ns,
        });
    }

    fn new_epoch(&mut self) {
        self.leader_epoch += 1;
        self.partition_epoch += 1;
        self.proposed = None;
        self.followers = BTreeMap::from([(2, None), (3, None)]);
        let replicas = [1, 2, 3].map(|id| AssignedReplica {
            broker_id: id,
            broker_epoch: 7,
            eligible: true,
        });
        self.step(Event::BecomeLeader(Leadership {
            leader_epoch: self.leader_epoch,
            partition_epoch: self.partition_epoch,
            replicas: replicas.to_vec(),
            isr: self.isr.iter().copied().collect(),
        }));
    }

    fn isr_answer(&mut self, answer: u8) {
        let Some(proposed) = self.proposed.clone() else {
            return;
        };
        match answer {
            0 => {
                self.proposed = None;
                self.step(Event::IsrRefused(IsrRefusal::Revert));
            }
            1 => self.step(Event::IsrRefused(IsrRefusal::Retry)),
            _ => {
                self.proposed = None;
                self.isr = proposed.iter().copied().collect();
                self.partition_epoch += 1;
                let partition_epoch = self.partition_epoch;
                self.step(Event::IsrCommitted {
                    isr: proposed,
                    partition_epoch,
                });
            }
        }
    }

    fn run(&mut self, op: &Op) {
        match *op {
            Op::Append { acks, .. } => {
                self.append(op, [Acks::None, Acks::Leader, Acks::All][usize::from(acks)]);
            }
            Op::WriteFails { pid } => self.write_fails(pid),
            Op::Flush { back } => {
                let upto = (self.log_end - back).max(0);
                self.flushed = self.flushed.max(upto);
                self.step(Event::Flushed { upto, cut_count: 0 });
            }
            Op::Fetched {
                replica,
                back,
                unflushed,
            } => {
                let log_end = (self.log_end - back).max(0);
                let flushed = (log_end - unflushed).max(0);
                self.followers.insert(replica, Some((log_end, flushed)));
                self.step(Event::ReplicaFetched(ReplicaFetch {
                    replica,
                    progress: Progress { log_end, flushed },
                    leader_epoch: self.leader_epoch,
                    broker_epoch: 7,
                }));
            }
            Op::IsrAnswer { answer } => self.isr_answer(answer),
            Op::ShrinkIsr { without } => {
                // The controller does so when a broker is fenced.
                self.isr.remove(&without);
                self.proposed = None;
                self.partition_epoch += 1;
                let isr = self.isr.iter().copied().collect();
                self.step(Event::IsrCommitted {
                    isr,
                    partition_epoch: self.partition_epoch,
                });
            }
            Op::AwaitFetch { token, back, bound } => {
                let bound =
                    [Bound::HighWatermark, Bound::LastStable, Bound::LogEnd][usize::from(bound)];
                let from_offset = (self.log_end - back).max(0);
                self.fetches.insert(token, (from_offset, bound));
                self.step(Event::AwaitFetch {
                    token: Token(token),
                    from_offset,
                    bound,
                });
            }
            Op::CancelFetch { token } => {
                self.fetches.remove(&token);
                self.step(Event::CancelFetch {
                    token: Token(token),
                });
            }
            Op::CancelAck => {
                if let Some((token, _)) = self.acks.pop_first() {
                    self.step(Event::CancelAck {
                        token: Token(token),
                    });
                }
            }
            Op::Time { ms } => self.pass(ms),
            Op::NewEpoch => self.new_epoch(),
            Op::LogStart { back } => {
                let log_start = (self.high_watermark - back).max(0);
                self.step(Event::LogStartAdvanced { log_start });
            }
        }
    }

    fn pass(&mut self, ms: u64) {
        self.now.mono_ns += ms * 1_000_000;
        let late = self.acks.values().any(|(_, due)| *due <= self.now.mono_ns);
        let told = self.partition.next_deadline_ns();
        assert!(!late || told.is_some_and(|due| due <= self.now.mono_ns));
        self.step(Event::Deadline);
        assert!(self.acks.values().all(|(_, due)| *due > self.now.mono_ns));
    }

    fn write_fails(&mut self, pid: i64) {
        let append = Append {
            leader_epoch: None,
            acks: Acks::Leader,
            producer: Some(BatchProducer {
                producer_id: 50 + pid,
                producer_epoch: 0,
                base_sequence: 0,
            }),
            last_offset_delta: 0,
            max_timestamp: 0,
            transactional: false,
            control: false,
            origin: Origin::Client,
            crowded: false,
        };
        let before = (
            self.partition.bounds(),
            self.partition.producers_snapshot(self.now),
        );
        let Ok(Plan::Write(write)) = self.partition.plan_append(self.now, &append) else {
            panic!("an unknown producer may begin");
        };
        self.step(Event::WriteFailed(write));
        let after = (
            self.partition.bounds(),
            self.partition.producers_snapshot(self.now),
        );
        assert_eq!(
            before, after,
            "a write that failed leaves nothing in the log"
        );
        let behind = Append {
            producer: append.producer.map(|producer| BatchProducer {
                base_sequence: 1,
                ..producer
            }),
            ..append
        };
        assert!(
            self.partition.plan_append(self.now, &behind).is_err(),
            "what comes behind a refused batch overtook it"
        );
        assert!(
            self.partition.plan_append(self.now, &append).is_ok(),
            "the refused batch itself is welcome"
        );
    }
}

fn holds(condition: Condition, bounds: &Bounds) -> bool {
    match condition {
        Condition::Written => true,
        Condition::Flushed(offset) => bounds.flushed >= offset,
        Condition::HighWatermark(offset) => bounds.high_watermark >= offset,
        Condition::FlushedHighWatermark(offset) => {
            bounds.high_watermark >= offset && bounds.flushed >= offset
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_partition_does_what_the_model_says(
        page_cache in any::<bool>(),
        ops in proptest::collection::vec(op(), 1..120),
    ) {
        let durability = if page_cache { Durability::PageCache } else { Durability::Fsync };
        let mut model = Model::new(durability);
        for op in &ops {
            model.run(op);
        }
        // Whoever still waits hears of the end, once.
        let mut effects = Vec::new();
        model.partition.step(model.now, Event::DirectoryFailed, &mut effects);
        let mut told = 0;
        for effect in effects {
            match effect {
                Effect::AckReady { token, .. } => {
                    told += 1;
                    prop_assert!(model.acks.remove(&token.0).is_some());
                }
                Effect::WakeFetch { token } | Effect::FetchRefused { token } => {
                    told += 1;
                    prop_assert!(model.fetches.remove(&token.0).is_some());
                }
                Effect::FlushNow
                | Effect::ProposeIsr(_)
                | Effect::EpochStarted { .. }
                | Effect::NeedsNewEpoch { .. } => prop_assert!(false, "{effect:?} after the end"),
            }
        }
        prop_assert!(model.acks.is_empty() && model.fetches.is_empty(), "{told} told");
    }

    #[test]
    fn a_snapshot_loads_to_what_replay_makes(
        ops in proptest::collection::vec(op(), 1..80),
        split in 0.0..1.0_f64,
    ) {
        use millrace_core::partition::ReplayedBatch;
        let mut model = Model::new(Durability::Fsync);
        for op in &ops {
            model.run(op);
        }
        let replayed = |batch: &Batch| ReplayedBatch {
            producer: BatchProducer {
                producer_id: batch.pid,
                producer_epoch: batch.producer_epoch,
                base_sequence: i32::try_from(batch.first).expect("a sequence has 31 bits"),
            },
            base_offset: batch.base_offset,
            last_offset: batch.last_offset,
            max_timestamp: 0,
            transactional: false,
            control: false,
        };
        // Part by snapshot, the rest by replay, as recovery does it.
        #[expect(clippy::cast_sign_loss, reason = "split lies between 0 and 1")]
        let middle = (model.batches.len() as f64 * split) as usize;
        let mut before = ProducerTable::default();
        for batch in &model.batches[..middle] {
            before.replay_batch(model.now, &replayed(batch));
        }
        let mut table = ProducerTable::load(model.now, &before.snapshot(model.now));
        for batch in &model.batches[middle..] {
            table.replay_batch(model.now, &replayed(batch));
        }
        // When it was appended is not in the log.
        let timeless = |mut entries: Vec<ProducerEntry>| {
            for entry in &mut entries {
                entry.last_seen_ms = 0;
            }
            entries
        };
        prop_assert_eq!(
            timeless(table.snapshot(model.now)),
            timeless(model.partition.producers_snapshot(model.now))
        );
    }
}
