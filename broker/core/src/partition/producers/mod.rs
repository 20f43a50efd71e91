//! What is remembered of each producer: the state behind idempotent produce (KIP-98, KIP-360).
//!
//! Always: at most five batches per producer, all of its one epoch; a producer's epoch never falls;
//! one with an open transaction is never forgotten, and one that appended within [`RETRY_WINDOW_MS`]
//! never to make room: its retry would be taken for something new. Deciding changes nothing;
//! [`ProducerTable`] changes only by what was decided, replayed or loaded.

mod room;

use std::collections::BTreeMap;

use millrace_probe::{Bug, planted};
use millrace_protocol::producer::{
    PRODUCER_BATCHES_MAX, PRODUCER_EPOCH_NONE, ProducerBatch, ProducerEntry,
};

use super::reject::Reject;
use super::settings::Settings;
use super::transactions::Transactions;
use crate::{NS_PER_MS, Now};

pub use room::RETRY_WINDOW_MS;
pub(super) use room::Room;

/// No sequence yet: the next is 0.
const SEQUENCE_NONE: i32 = -1;

/// The part of a batch's header that names its producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchProducer {
    /// Producer id; not negative.
    pub producer_id: i64,
    /// Producer epoch; not negative.
    pub producer_epoch: i16,
    /// Sequence of the first record; not negative but for control batches.
    pub base_sequence: i32,
}

/// A batch that is already in the log, as recovery hands it over. Nothing about it is checked: the
/// leader that wrote it decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplayedBatch {
    /// Who produced it.
    pub producer: BatchProducer,
    /// Offset of the first record.
    pub base_offset: i64,
    /// Offset of the last record.
    pub last_offset: i64,
    /// Largest timestamp, milliseconds since the Unix epoch.
    pub max_timestamp: i64,
    /// Attribute bit 4.
    pub transactional: bool,
    /// Attribute bit 5: a transaction marker.
    pub control: bool,
}

/// How the table changes when an append that was decided has been written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ProducerUpdate {
    pub(super) producer_id: i64,
    pub(super) producer_epoch: i16,
    pub(super) batch: ProducerBatch,
    /// The producer to forget, so that a new one finds room.
    pub(super) forget: Option<i64>,
}

/// What the table says of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// In sequence. `forget` makes room for a producer not known yet.
    Fresh { forget: Option<i64> },
    /// One of the last five, sent again.
    Duplicate(ProducerBatch),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Producer {
    epoch: i16,
    coordinator_epoch: i32,
    open_txn: Option<i64>,
    /// Monotonic time of the last append, as far as it is known; what making room counts. Negative
    /// when it lies before the clock's start.
    last_seen_ns: i64,
    /// Monotonic time of the last append or load; what expiry counts.
    last_append_ns: u64,
    /// Replayed from the log, which doesn't say when: [`Self::last_seen_ns`] is the replay's time.
    replayed: bool,
    /// The last batches, oldest first; only the first `len` mean anything.
    batches: [ProducerBatch; PRODUCER_BATCHES_MAX],
    len: usize,
}

const BATCH_NONE: ProducerBatch = ProducerBatch {
    first_sequence: SEQUENCE_NONE,
    last_sequence: SEQUENCE_NONE,
    last_offset: -1,
    offset_delta: 0,
    timestamp_ms: -1,
};

impl Producer {
    fn new(now: Now) -> Self {
        Self {
            epoch: PRODUCER_EPOCH_NONE,
            coordinator_epoch: -1,
            open_txn: None,
            last_seen_ns: signed_ns(now.mono_ns),
            last_append_ns: now.mono_ns,
            replayed: false,
            batches: [BATCH_NONE; PRODUCER_BATCHES_MAX],
            len: 0,
        }
    }

    fn batches(&self) -> &[ProducerBatch] {
        &self.batches[..self.len]
    }

    fn last_sequence(&self) -> i32 {
        self.batches()
            .last()
            .map_or(SEQUENCE_NONE, |batch| batch.last_sequence)
    }

    /// Takes `epoch`; a new one makes the batches of the old one meaningless.
    fn set_epoch(&mut self, epoch: i16) {
        if epoch != self.epoch {
            self.epoch = epoch;
            self.len = 0;
        }
    }

    fn push(&mut self, batch: ProducerBatch) {
        if self.len == PRODUCER_BATCHES_MAX {
            self.batches.rotate_left(1);
            self.len -= 1;
        }
        self.batches[self.len] = batch;
        self.len += 1;
    }

    fn seen(&mut self, now: Now, replayed: bool) {
        self.last_seen_ns = signed_ns(now.mono_ns);
        self.last_append_ns = now.mono_ns;
        self.replayed = replayed;
    }
}

/// A monotonic time as a number that times before the clock's start can be compared with.
fn signed_ns(mono_ns: u64) -> i64 {
    i64::try_from(mono_ns).unwrap_or(i64::MAX)
}

/// The sequence `steps` records after `sequence`; 2147483647 is followed by 0.
pub(super) fn sequence_after(sequence: i32, steps: i32) -> i32 {
    let sum = i64::from(sequence) + i64::from(steps);
    let wrapped = sum.rem_euclid(i64::from(i32::MAX) + 1);
    i32::try_from(wrapped).expect("the remainder by 2^31 fits 31 bits")
}

/// All producers of one partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProducerTable {
    producers: BTreeMap<i64, Producer>,
    transactions: Transactions,
    /// No producer expires before this time.
    expiry_due_ns: Option<u64>,
}

impl ProducerTable {
    /// From a snapshot. Of an entry only the newest five batches are taken; of a producer named
    /// twice, the later entry. Expiry counts from `now`. As if the newest had appended right now:
    /// how long ago the others did before it is what their times say, and no wall clock is asked.
    pub fn load(now: Now, entries: &[ProducerEntry]) -> Self {
        let mut table = Self::default();
        let newest_ms = entries.iter().map(|entry| entry.last_seen_ms).max();
        for entry in entries {
            let before_ms = newest_ms.unwrap_or(0).saturating_sub(entry.last_seen_ms);
            let before_ns = before_ms.saturating_mul(signed_ns(NS_PER_MS));
            let mut producer = Producer {
                epoch: entry.producer_epoch,
                coordinator_epoch: entry.coordinator_epoch,
                open_txn: entry.open_txn_first_offset,
                last_seen_ns: signed_ns(now.mono_ns).saturating_sub(before_ns),
                ..Producer::new(now)
            };
            for batch in &entry.batches {
                producer.push(*batch);
            }
            table.producers.insert(entry.producer_id, producer);
        }
        for (id, producer) in &table.producers {
            if let Some(first) = producer.open_txn {
                table.transactions.begin(first, *id);
            }
        }
        table
    }

    /// Takes a batch of the log as it is: state is updated, nothing is checked. Of a marker only
    /// what its header says is known; its coordinator epoch comes by snapshot.
    pub fn replay_batch(&mut self, now: Now, batch: &ReplayedBatch) {
        let BatchProducer {
            producer_id,
            producer_epoch,
            base_sequence,
        } = batch.producer;
        if producer_id < 0 {
            return;
        }
        let producer = self
            .producers
            .entry(producer_id)
            .or_insert_with(|| Producer::new(now));
        producer.set_epoch(producer_epoch);
        producer.seen(now, true);
        if batch.control {
            if let Some(first) = producer.open_txn.take() {
                self.transactions.end(first, batch.last_offset);
            }
            return;
        }
        // By offsets, not by the number of records: compaction may have removed some (as in Kafka).
        let span = batch.last_offset.saturating_sub(batch.base_offset).max(0);
        let offset_delta = i32::try_from(span).unwrap_or(i32::MAX);
        if planted(Bug::WindowOfOneAfterRestart) {
            producer.len = 0;
        }
        producer.push(ProducerBatch {
            first_sequence: base_sequence,
            last_sequence: sequence_after(base_sequence, offset_delta),
            last_offset: batch.last_offset,
            offset_delta,
            timestamp_ms: batch.max_timestamp,
        });
        if batch.transactional && producer.open_txn.is_none() {
            producer.open_txn = Some(batch.base_offset);
            self.transactions.begin(batch.base_offset, producer_id);
        }
    }

    /// Everything, for a producer snapshot, by ascending producer id. The times in it are counted
    /// back from `now` by the monotonic clock: a jump of the wall clock moves all of them alike.
    pub fn snapshot(&self, now: Now) -> Vec<ProducerEntry> {
        let entry = |(id, producer): (&i64, &Producer)| {
            let idle_ns = signed_ns(now.mono_ns).saturating_sub(producer.last_seen_ns);
            let idle_ms = idle_ns.max(0) / signed_ns(NS_PER_MS);
            ProducerEntry {
                producer_id: *id,
                producer_epoch: producer.epoch,
                coordinator_epoch: producer.coordinator_epoch,
                open_txn_first_offset: producer.open_txn,
                last_seen_ms: now.wall_ms.saturating_sub(idle_ms),
                batches: producer.batches().to_vec(),
            }
        };
        self.producers.iter().map(entry).collect()
    }

    /// Number of producers remembered.
    pub fn len(&self) -> usize {
        self.producers.len()
    }

    /// Whether anything of that producer is remembered.
    pub(super) fn knows(&self, producer_id: i64) -> bool {
        self.producers.contains_key(&producer_id)
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.producers.is_empty()
    }

    /// Whether a batch of `producer` that ends with `last_sequence` is in sequence, a duplicate, or
    /// refused. `client`: batches that the broker itself makes skip the sequence rules, as in Kafka.
    pub(super) fn judge(
        &self,
        producer: BatchProducer,
        last_sequence: i32,
        client: bool,
        room: Room<'_>,
    ) -> Result<Verdict, Reject> {
        let BatchProducer {
            producer_id,
            producer_epoch,
            base_sequence,
        } = producer;
        let Some(known) = self.producers.get(&producer_id) else {
            return self.room(room).map(|forget| Verdict::Fresh { forget });
        };
        if client
            && known.epoch == producer_epoch
            && let Some(batch) = known.batches().iter().find(|batch| {
                batch.first_sequence == base_sequence && batch.last_sequence == last_sequence
            })
        {
            return Ok(Verdict::Duplicate(*batch));
        }
        if producer_epoch < known.epoch {
            return Err(Reject::InvalidProducerEpoch {
                producer_id,
                producer_epoch,
                current: known.epoch,
            });
        }
        let expected = if producer_epoch == known.epoch {
            sequence_after(known.last_sequence(), 1)
        } else {
            0
        };
        // After a marker of an unknown epoch nothing is known of the sequences: any is taken.
        if client && known.epoch != PRODUCER_EPOCH_NONE && base_sequence != expected {
            return Err(Reject::OutOfOrderSequence {
                producer_id,
                producer_epoch,
                sequence: base_sequence,
                expected,
            });
        }
        if known.open_txn.is_some() {
            return Err(Reject::InvalidTxnState { producer_id });
        }
        Ok(Verdict::Fresh { forget: None })
    }

    /// A batch that was judged fresh is in the log.
    pub(super) fn apply(&mut self, now: Now, update: &ProducerUpdate, settings: &Settings) {
        if let Some(id) = update.forget {
            self.producers.remove(&id);
        }
        let producer = self
            .producers
            .entry(update.producer_id)
            .or_insert_with(|| Producer::new(now));
        assert!(
            update.producer_epoch >= producer.epoch,
            "producer {} falls from epoch {} to {}",
            update.producer_id,
            producer.epoch,
            update.producer_epoch
        );
        producer.set_epoch(update.producer_epoch);
        producer.seen(now, false);
        producer.push(update.batch);
        self.expiry_due_ns
            .get_or_insert(now.after_ms(settings.producer_id_expiration_ms));
    }

    /// Forgets producers that have appended nothing for the expiration time and have no open
    /// transaction. Costs a look at all of them, at most once per expiration time.
    pub(super) fn expire(&mut self, now: Now, settings: &Settings) {
        if self.expiry_due_ns.is_none_or(|due| due > now.mono_ns) {
            return;
        }
        let life_ns = settings.producer_id_expiration_ms.saturating_mul(NS_PER_MS);
        self.producers.retain(|_, producer| {
            producer.open_txn.is_some()
                || producer.last_append_ns.saturating_add(life_ns) > now.mono_ns
        });
        self.plan_expiry(settings);
    }

    /// Works out when the next producer can expire: at start, and when the setting changes.
    pub(super) fn plan_expiry(&mut self, settings: &Settings) {
        let life_ns = settings.producer_id_expiration_ms.saturating_mul(NS_PER_MS);
        let idle = self
            .producers
            .values()
            .filter(|producer| producer.open_txn.is_none());
        self.expiry_due_ns = idle
            .map(|producer| producer.last_append_ns.saturating_add(life_ns))
            .min();
    }

    pub(super) fn expiry_due_ns(&self) -> Option<u64> {
        self.expiry_due_ns
    }

    /// Markers below `high_watermark` are committed.
    pub(super) fn committed(&mut self, high_watermark: i64) {
        self.transactions.committed(high_watermark);
    }

    pub(super) fn first_unstable(&self) -> Option<i64> {
        self.transactions.first_unstable()
    }

    /// Panics when a producer breaks the rules at the top of this file; `log_end` bounds all
    /// offsets. Looks at every producer.
    pub(super) fn assert_invariants(&self, log_end: i64) {
        let mut open = 0;
        for (id, producer) in &self.producers {
            assert!(*id >= 0, "producer id {id} is negative");
            assert!(producer.len <= PRODUCER_BATCHES_MAX);
            open += usize::from(producer.open_txn.is_some());
            let batches = producer.batches();
            for batch in batches {
                assert!(
                    batch.last_offset < log_end && batch.base_offset() <= batch.last_offset,
                    "producer {id}: {batch:?} lies outside a log that ends at {log_end}"
                );
            }
            for pair in batches.windows(2) {
                assert!(
                    pair[0].last_offset < pair[1].base_offset(),
                    "producer {id}: offsets do not rise from {:?} to {:?}",
                    pair[0],
                    pair[1]
                );
            }
        }
        assert_eq!(
            open,
            self.transactions.open_len(),
            "open transactions are not those of the producers"
        );
    }
}
