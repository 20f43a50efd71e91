//! The law of compaction over random histories: whoever folds the log learns what the history says,
//! after every round, whole or broken off, with maps of any size.
//!
//! The log is a list of segments in memory. A history appends batches of any codec with and without
//! producers and transactions, rolls segments, lets time pass, moves the stable end, and compacts.

#![expect(clippy::unwrap_used, reason = "a test panics on what must not happen")]

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use millrace_core::compaction::{
    AbortedTransaction, Cleanable, GroupLimits, Kept, KeyMap, LastOfProducer, LogFacts,
    MAP_ENTRY_BYTES, MapLimits, Mapping, Policy, Progress, Round, SegmentFacts, Sieve, cleanable,
    groups,
};
use millrace_probe::Bug;
use millrace_protocol::records::{
    Batch, BatchBuilder, Codec, ControlType, Marker, Options, Scratch, TransactionEnd, prefix,
    record_iter,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};

const INFLATED_BYTES_MAX: usize = 1 << 20;
const PRODUCERS: i64 = 3;

#[derive(Clone, Debug)]
enum Act {
    Append {
        codec: usize,
        producer: Option<i64>,
        transactional: bool,
        /// Key (none: no key) and value (none: a tombstone).
        records: Vec<(Option<u8>, Option<u8>)>,
    },
    /// Ends the open transaction of a producer, with the next epoch or the same.
    End {
        producer: i64,
        commit: bool,
        bump: bool,
    },
    Roll,
    Pass {
        ms: i64,
    },
    Compact(Knobs),
}

#[derive(Clone, Debug)]
struct Knobs {
    map_keys: u64,
    min_lag_ms: u64,
    retention_ms: u64,
    segment_bytes: u64,
    /// The round is broken off behind so many groups.
    groups_max: usize,
    /// The high watermark lies so far behind the end.
    behind: i64,
}

fn act() -> impl Strategy<Value = Act> {
    let record = (
        proptest::option::weighted(0.95, 0_u8..8),
        proptest::option::weighted(0.7, any::<u8>()),
    );
    prop_oneof![
        8 => (0_usize..5, proptest::option::of(0..PRODUCERS), any::<bool>(), vec(record, 1..6)).prop_map(
            |(codec, producer, transactional, records)| Act::Append { codec, producer, transactional, records }),
        3 => (0..PRODUCERS, any::<bool>(), proptest::bool::weighted(0.2))
            .prop_map(|(producer, commit, bump)| Act::End { producer, commit, bump }),
        3 => Just(Act::Roll),
        2 => (0_i64..2_000).prop_map(|ms| Act::Pass { ms }),
        3 => (1_u64..12, prop_oneof![Just(0), 0_u64..500], 0_u64..2_000, 100_u64..5_000, 0_usize..5, 0_i64..10).prop_map(
            |(map_keys, min_lag_ms, retention_ms, segment_bytes, groups_max, behind)| Act::Compact(Knobs {
                map_keys, min_lag_ms, retention_ms, segment_bytes, behind,
                groups_max: if groups_max == 0 { usize::MAX } else { groups_max },
            })),
    ]
}

#[derive(Clone, Debug, Default)]
struct Segment {
    base: i64,
    batches: Vec<Batch>,
}

impl Segment {
    fn end(&self) -> i64 {
        let last = self.batches.last();
        last.map_or(self.base, |batch| batch.header.last_offset() + 1)
    }

    fn facts(&self) -> SegmentFacts {
        let times = self.batches.iter().map(|batch| batch.header.max_timestamp);
        SegmentFacts {
            base_offset: self.base,
            end_offset: self.end(),
            bytes: self
                .batches
                .iter()
                .map(|batch| batch.bytes.len() as u64)
                .sum(),
            index_bytes: 8,
            first_timestamp_ms: times.clone().next(),
            largest_timestamp_ms: Some(times.max().unwrap_or(-1)),
        }
    }
}

/// A producer as a broker remembers it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Producer {
    epoch: i16,
    sequence: i32,
    last_offset: Option<i64>,
    open_since: Option<i64>,
}

#[derive(Default)]
struct World {
    now_ms: i64,
    /// What was appended, and nothing else ever happened to it.
    history: Vec<Batch>,
    segments: Vec<Segment>,
    end: i64,
    first_dirty: i64,
    producers: BTreeMap<i64, Producer>,
    aborted: Vec<AbortedTransaction>,
    rounds: usize,
    /// From when on a tombstone may be gone, by its offset, once a round has met it.
    horizons: BTreeMap<i64, i64>,
    /// Tombstones that are gone, rightly.
    gone: BTreeSet<i64>,
}

impl World {
    fn new() -> Self {
        Self {
            now_ms: 1_000_000,
            segments: vec![Segment::default()],
            ..Self::default()
        }
    }

    fn write(&mut self, bytes: &Bytes) {
        let mut own = bytes.to_vec();
        let length = i32::from_be_bytes(own[8..12].try_into().unwrap());
        own[..16].copy_from_slice(&prefix(self.end, length, 0));
        let batch = Batch::parse(Bytes::from(own)).unwrap();
        self.end = batch.header.last_offset() + 1;
        self.history.push(batch.clone());
        self.segments.last_mut().unwrap().batches.push(batch);
    }

    fn act(&mut self, act: &Act) {
        match act {
            Act::Append {
                codec,
                producer,
                transactional,
                records,
            } => {
                self.append(Codec::ALL[*codec], *producer, *transactional, records);
            }
            Act::End {
                producer,
                commit,
                bump,
            } => self.end_transaction(*producer, *commit, *bump),
            Act::Roll => {
                if !self.segments.last().unwrap().batches.is_empty() {
                    self.segments.push(Segment {
                        base: self.end,
                        batches: Vec::new(),
                    });
                }
            }
            Act::Pass { ms } => self.now_ms += ms,
            Act::Compact(knobs) => self.compact(knobs),
        }
    }

    fn append(
        &mut self,
        codec: Codec,
        producer: Option<i64>,
        transactional: bool,
        records: &[(Option<u8>, Option<u8>)],
    ) {
        let mut options = Options {
            codec,
            ..Options::default()
        };
        if let Some(id) = producer {
            let state = self.producers.entry(id).or_default();
            options.producer = Some((id, state.epoch, state.sequence));
            // Within a transaction everything belongs to it.
            options.transactional = transactional || state.open_since.is_some();
            state.sequence += records.len() as i32;
            state.last_offset = Some(self.end + records.len() as i64 - 1);
            if options.transactional {
                state.open_since.get_or_insert(self.end);
            }
        }
        let mut builder = BatchBuilder::new(options);
        for (at, (key, value)) in records.iter().enumerate() {
            let key = key.map(|key| vec![key; 3]);
            let value = value.map(|value| vec![value; 5]);
            builder
                .push(
                    self.now_ms + at as i64,
                    key.as_deref(),
                    value.as_deref(),
                    &[],
                )
                .unwrap();
        }
        self.write(&builder.build());
    }

    fn end_transaction(&mut self, id: i64, commit: bool, bump: bool) {
        let Some(state) = self.producers.get_mut(&id) else {
            return;
        };
        let Some(first_offset) = state.open_since.take() else {
            return;
        };
        if bump {
            state.epoch += 1;
            state.sequence = 0;
            state.last_offset = None;
        }
        let epoch = state.epoch;
        if !commit {
            self.aborted.push(AbortedTransaction {
                producer_id: id,
                first_offset,
                last_offset: self.end,
            });
        }
        let end = if commit {
            TransactionEnd::Commit
        } else {
            TransactionEnd::Abort
        };
        let marker = Marker {
            end,
            coordinator_epoch: 1,
        };
        self.write(&marker.batch((id, epoch), self.now_ms));
    }

    fn compact(&mut self, knobs: &Knobs) {
        let facts: Vec<SegmentFacts> = self.segments.iter().map(Segment::facts).collect();
        let Some(todo) = self.due(&facts, knobs) else {
            return;
        };
        let map = self.map(&todo, knobs.map_keys);
        let clean_end = map.end();
        assert!(clean_end > self.first_dirty && clean_end <= todo.upto);
        let mut sieve = Sieve::new(map, self.round(&todo, knobs), INFLATED_BYTES_MAX);
        let count = facts.partition_point(|segment| segment.base_offset < clean_end);
        let limits = GroupLimits {
            segment_bytes: knobs.segment_bytes,
            index_bytes: 1 << 20,
        };
        let groups = groups(&facts[..count], todo.upto, limits);
        let done = groups.len().min(knobs.groups_max);
        let mut cleaned = Vec::new();
        for group in &groups[..done] {
            cleaned.push(clean(&self.segments[group.clone()], &mut sieve));
        }
        let replaced = groups[..done].last().map_or(0, |group| group.end);
        let behind = self.segments.get(replaced);
        let rewritten_end = behind.map_or(0, |segment| segment.base);
        if replaced == count && clean_end == todo.upto {
            let end = cleaned.last().map(Segment::end);
            assert_eq!(end, Some(todo.last_end), "C6: the round's end is lost");
        }
        self.segments.splice(..replaced, cleaned);
        if done == groups.len() {
            self.first_dirty = clean_end;
        }
        self.rounds += 1;
        self.check_tombstones((clean_end, rewritten_end), knobs.retention_ms);
    }

    /// What there is to do, if anything.
    fn due(&self, facts: &[SegmentFacts], knobs: &Knobs) -> Option<Cleanable> {
        let states = self.producers.values();
        let open = states.filter_map(|state| state.open_since).min();
        let stable_end = open.unwrap_or(i64::MAX).min(self.end - knobs.behind);
        let log = LogFacts {
            first_dirty: self.first_dirty,
            stable_end,
            segments: facts,
        };
        let policy = Policy {
            min_dirty_ratio: 0.0,
            min_lag_ms: knobs.min_lag_ms,
            max_lag_ms: u64::MAX,
        };
        let todo = cleanable(&log, &policy, Some(self.now_ms));
        assert!(todo.upto <= facts.last().unwrap().base_offset);
        assert!(todo.upto <= stable_end.max(0), "C3: beyond the stable end");
        todo.is_due(&policy).then_some(todo)
    }

    fn map(&self, todo: &Cleanable, keys: u64) -> KeyMap {
        let limits = MapLimits {
            bytes_max: (keys + 1) * MAP_ENTRY_BYTES,
            load_factor: 1.0,
        };
        let (range, secret) = ((todo.first_dirty, todo.upto), (self.rounds as u64, 7));
        let aborted = self.aborted.clone();
        let mut mapping = Mapping::new(range, limits, secret, aborted, INFLATED_BYTES_MAX);
        for batch in self.segments.iter().flat_map(|segment| &segment.batches) {
            let inside = batch.header.last_offset() >= todo.first_dirty
                && batch.header.base_offset < todo.upto;
            if inside && mapping.batch(batch).unwrap() == Progress::Full {
                break;
            }
        }
        mapping.finish()
    }

    fn round(&self, todo: &Cleanable, knobs: &Knobs) -> Round {
        let last = |state: &Producer| LastOfProducer {
            data_offset: state.last_offset,
            epoch: state.epoch,
        };
        let producers = self.producers.iter();
        Round {
            now_ms: Some(self.now_ms),
            delete_retention_ms: knobs.retention_ms,
            last_end: todo.last_end,
            producers: producers.map(|(id, state)| (*id, last(state))).collect(),
            aborted: self.aborted.clone(),
        }
    }

    /// What always holds, whatever was done to the log.
    fn check(&self) {
        let log: Vec<Batch> = self
            .segments
            .iter()
            .flat_map(|segment| segment.batches.clone())
            .collect();
        assert_eq!(fold(&log), fold(&self.history), "C1, C2, C3, C8");
        let (before, after) = (records(&self.history), records(&log));
        for record in &after {
            assert!(before.contains(record), "C6: {record:?} was never appended");
        }
        let last = |batches: &[Batch]| batches.last().map(|batch| batch.header.last_offset());
        assert_eq!(last(&log), last(&self.history), "C6: the end moved");
        assert!(
            log.is_sorted_by(|one, next| one.header.last_offset() < next.header.base_offset),
            "C8"
        );
        assert_eq!(producers(&log), producers(&self.history), "C5");
        self.check_markers(&log);
    }

    /// C2 for whoever reads on slowly: a tombstone that nothing later replaces goes only after its time.
    fn check_tombstones(&mut self, (clean_end, rewritten_end): (i64, i64), retention_ms: u64) {
        let all = committed(&self.history);
        let log = self
            .segments
            .iter()
            .flat_map(|segment| segment.batches.clone());
        let left: BTreeSet<i64> = committed(&log.collect::<Vec<_>>()).into_keys().collect();
        for (offset, (key, value)) in &all {
            if value.is_some() || self.gone.contains(offset) {
                continue;
            }
            if left.contains(offset) {
                if *offset < rewritten_end {
                    let horizon = self.now_ms + retention_ms as i64;
                    self.horizons.entry(*offset).or_insert(horizon);
                }
                continue;
            }
            let later = all
                .range(offset + 1..)
                .take_while(|(later, _)| **later < clean_end);
            let is_latest = !later.map(|(_, (later, _))| later).any(|later| later == key);
            let over = self
                .horizons
                .get(offset)
                .is_some_and(|horizon| *horizon <= self.now_ms);
            assert!(
                !is_latest || over,
                "C2: the tombstone at {offset} went too early"
            );
            self.gone.insert(*offset);
        }
    }

    /// C4: every record of a transaction that is left has its marker behind it.
    fn check_markers(&self, log: &[Batch]) {
        let mut scratch = Scratch::new(INFLATED_BYTES_MAX);
        let mut open = BTreeSet::new();
        for batch in log {
            let id = batch.header.producer_id;
            if batch.header.is_control() {
                if let Some(Ok(_)) = record_iter(batch, &mut scratch).unwrap().next() {
                    open.remove(&id);
                }
            } else if batch.header.is_transactional() && batch.header.record_count > 0 {
                open.insert(id);
            }
        }
        for id in open {
            assert!(
                self.producers[&id].open_since.is_some(),
                "C4: the marker of {id} is lost"
            );
        }
    }
}

fn clean(segments: &[Segment], sieve: &mut Sieve) -> Segment {
    let mut cleaned = Segment {
        base: segments[0].base,
        batches: Vec::new(),
    };
    for batch in segments.iter().flat_map(|segment| &segment.batches) {
        let mut out = Vec::new();
        match sieve.batch(batch, &mut out).unwrap() {
            Kept::Whole => cleaned.batches.push(batch.clone()),
            Kept::Rewritten => cleaned
                .batches
                .push(Batch::parse(Bytes::from(out)).unwrap()),
            Kept::Dropped => {}
        }
    }
    cleaned
}

/// Keys and values by offset.
type Entries = BTreeMap<i64, (Vec<u8>, Option<Vec<u8>>)>;

/// Every committed record that has a key.
fn committed(log: &[Batch]) -> Entries {
    let mut scratch = Scratch::new(INFLATED_BYTES_MAX);
    let mut all = Entries::new();
    let mut open: BTreeMap<i64, Entries> = BTreeMap::new();
    for batch in log {
        let id = batch.header.producer_id;
        for record in record_iter(batch, &mut scratch).unwrap() {
            let record = record.unwrap();
            let Some(key) = record.key else { continue };
            if batch.header.is_control() {
                let mut ended = open.remove(&id).unwrap_or_default();
                if ControlType::parse_key(key) == Ok(ControlType::Commit) {
                    all.append(&mut ended);
                }
                continue;
            }
            let entries = if batch.header.is_transactional() {
                open.entry(id).or_default()
            } else {
                &mut all
            };
            entries.insert(
                record.offset,
                (key.to_vec(), record.value.map(<[u8]>::to_vec)),
            );
        }
    }
    all
}

/// The last committed value of each key.
fn fold(log: &[Batch]) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut table = BTreeMap::new();
    for (key, value) in committed(log).into_values() {
        match value {
            Some(value) => table.insert(key, value),
            None => table.remove(&key),
        };
    }
    table
}

/// Offset, time, key and value.
type Whole = (i64, i64, Option<Vec<u8>>, Option<Vec<u8>>);

/// Every record, whole.
fn records(log: &[Batch]) -> BTreeSet<Whole> {
    let mut scratch = Scratch::new(INFLATED_BYTES_MAX);
    let mut all = BTreeSet::new();
    for batch in log {
        for record in record_iter(batch, &mut scratch).unwrap() {
            let record = record.unwrap();
            let own = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
            all.insert((
                record.offset,
                record.timestamp,
                own(record.key),
                own(record.value),
            ));
        }
    }
    all
}

/// Epoch, last sequence and last offset of each producer, as a broker reads them from a log.
fn producers(log: &[Batch]) -> BTreeMap<i64, (i16, Option<(i32, i64)>)> {
    let mut producers: BTreeMap<i64, (i16, Option<(i32, i64)>)> = BTreeMap::new();
    for batch in log.iter().filter(|batch| batch.header.has_producer_id()) {
        let header = &batch.header;
        let state = producers.entry(header.producer_id).or_default();
        if header.producer_epoch != state.0 {
            *state = (header.producer_epoch, None);
        }
        if !header.is_control() {
            state.1 = Some((header.last_sequence(), header.last_offset()));
        }
    }
    producers
}

fn run(acts: &[Act]) {
    let mut world = World::new();
    for act in acts {
        world.act(act);
        if matches!(act, Act::Compact(_)) {
            world.check();
        }
    }
    world.check();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_fold_of_the_log_is_the_fold_of_its_history(acts in vec(act(), 1..80)) {
        run(&acts);
    }
}

/// What the law is worth: each rule left out is seen by it.
#[test]
fn a_rule_left_out_is_seen_by_the_histories() {
    const HISTORIES: u64 = 400;
    let mut unseen = Vec::new();
    for bug in [
        Bug::LatestRecordDropped,
        Bug::FullMapTakenForWhole,
        Bug::TombstoneDroppedAtOnce,
        Bug::CleanedPastStableEnd,
        Bug::AbortedRecordTakenForLatest,
        Bug::MarkerDroppedBeforeData,
        Bug::LastBatchOfProducerDropped,
        Bug::LastBatchOfRoundDropped,
    ] {
        let seed = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
        let mut runner = TestRunner::new_with_rng(ProptestConfig::default(), seed);
        let _armed = millrace_probe::arm(bug);
        let seen = (0..HISTORIES).any(|_| {
            let acts = vec(act(), 40..80).new_tree(&mut runner).unwrap().current();
            std::panic::catch_unwind(|| run(&acts)).is_err()
        });
        if !seen {
            unseen.push(bug);
        }
    }
    assert_eq!(unseen, []);
}

/// Without limits in the way everything that is not the last of its key goes, and what stays forever
/// is what must.
#[test]
fn two_rounds_apart_leave_one_record_a_key_and_no_tombstone() {
    let mut world = World::new();
    let whole = Act::Compact(Knobs {
        map_keys: 1_000,
        min_lag_ms: 0,
        retention_ms: 100,
        segment_bytes: 1 << 20,
        groups_max: usize::MAX,
        behind: 0,
    });
    for round in 0..40_u8 {
        let records = (0..8)
            .map(|key| (Some(key), (key % 2 == 0).then_some(round)))
            .collect();
        world.append(
            Codec::ALL[usize::from(round % 5)],
            None,
            false,
            &Vec::from_iter::<Vec<_>>(records),
        );
        world.act(&Act::Roll);
    }
    world.act(&whole);
    world.check();
    assert_eq!(world.segments.len(), 2, "all are one");
    assert_eq!(records(&world.segments[0].batches).len(), 8);
    world.act(&Act::Pass { ms: 101 });
    world.append(Codec::None, None, false, &[(Some(0), Some(1))]);
    world.act(&Act::Roll);
    world.act(&whole);
    world.check();
    let left = records(&world.segments[0].batches);
    assert_eq!(left.len(), 4, "{left:?}");
}
