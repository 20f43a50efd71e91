//! What a broker must know, as plainly as it can be said: topics, the records of each partition, what
//! each producer wrote last, leader epochs.
//!
//! What always holds: nothing here is the broker's own code; a partition's readable end is known as
//! a range, from what was acknowledged or shown up to what was written, and never falls.

use std::collections::{BTreeMap, VecDeque};
use std::ops::RangeInclusive;

use bytes::Bytes;
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::messages::Uuid;

use super::groups::model::Group;

/// Batches of a producer that are known again.
const REMEMBERED: usize = 5;

/// What a topic was made with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) log_append_time: bool,
    pub(super) compacted: bool,
    /// `max.message.bytes`, where it is set.
    pub(super) batch_bytes_max: Option<usize>,
}

/// A topic.
#[derive(Clone, Debug)]
pub(super) struct Topic {
    /// `None` until the broker has told it.
    pub(super) id: Option<Uuid>,
    pub(super) kind: Kind,
    pub(super) logs: Vec<Log>,
}

impl Topic {
    pub(super) fn new(id: Option<Uuid>, kind: Kind, partitions: usize) -> Self {
        Self {
            id,
            kind,
            logs: vec![Log::default(); partitions],
        }
    }

    pub(super) fn log(&mut self, partition: i32) -> Option<&mut Log> {
        self.logs.get_mut(usize::try_from(partition).ok()?)
    }
}

/// All topics by name, and the ids of those that are gone.
#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    pub(super) topics: BTreeMap<String, Topic>,
    pub(super) removed: Vec<Uuid>,
    /// The producer id that was given out last.
    pub(super) producer_id: i64,
    pub(super) session: Option<super::sessions::Session>,
    pub(super) groups: BTreeMap<String, Group>,
}

/// The topic that keeps groups.
pub(super) const GROUPS: &str = "__consumer_offsets";

impl Model {
    /// Whether there is a topic that keeps groups.
    pub(super) fn has_groups(&self) -> bool {
        self.topics.contains_key(GROUPS)
    }

    /// It is made when somebody first looks for their group.
    pub(super) fn makes_groups(&mut self) {
        let kind = Kind {
            compacted: true,
            ..Kind::default()
        };
        let made = || Topic::new(None, kind, super::KEEPING);
        self.topics.entry(GROUPS.to_owned()).or_insert_with(made);
    }

    /// A topic is gone.
    pub(super) fn remove(&mut self, name: &str) {
        let topic = self.topics.remove(name);
        self.removed.extend(topic.and_then(|topic| topic.id));
        for group in self.groups.values_mut() {
            group.lost(name);
        }
    }

    pub(super) fn log(&mut self, topic: &str, partition: i32) -> Option<&mut Log> {
        self.topics.get_mut(topic)?.log(partition)
    }

    /// The name of the topic with that id.
    pub(super) fn name_of(&self, id: Uuid) -> Option<String> {
        let mut topics = self.topics.iter();
        let found = topics.find(|(_, topic)| topic.id == Some(id));
        found.map(|(name, _)| name.clone())
    }
}

/// Who made a batch: id, epoch, first sequence.
pub(super) type Producer = (i64, i16, i32);

/// One record as a reader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) time_ms: i64,
    pub(super) key: Option<Bytes>,
    pub(super) value: Option<Bytes>,
}

/// One batch of a log.
#[derive(Clone, Debug)]
pub(super) struct Batch {
    pub(super) base: i64,
    pub(super) epoch: i32,
    pub(super) producer: Option<Producer>,
    pub(super) records: Vec<Seen>,
}

impl Batch {
    pub(super) fn last(&self) -> i64 {
        self.base + self.records.len() as i64 - 1
    }

    pub(super) fn max_time_ms(&self) -> i64 {
        let times = self.records.iter().map(|record| record.time_ms);
        times.max().unwrap_or(-1)
    }
}

/// A batch that a producer is remembered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Remembered {
    first: i32,
    last: i32,
    base: i64,
    time_ms: i64,
}

#[derive(Clone, Debug, Default)]
struct Known {
    epoch: i16,
    recent: VecDeque<Remembered>,
}

/// What becomes of a batch whose form is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judged {
    /// It is appended at this offset.
    Fresh(i64),
    /// It was appended before: there, with that time.
    Again(i64, i64),
    /// It is refused.
    Refused(ErrorCode),
}

/// One partition.
#[derive(Clone, Debug, Default)]
pub(super) struct Log {
    pub(super) start: i64,
    pub(super) end: i64,
    /// Everything below may be read: acknowledged by all, or shown to somebody.
    readable: i64,
    pub(super) epoch: i32,
    epochs: Vec<(i32, i64)>,
    pub(super) batches: Vec<Batch>,
    producers: BTreeMap<i64, Known>,
    /// Producers of which a restart may or may not know: their batches were deleted.
    unsure: Vec<i64>,
}

/// The sequence `steps` after `sequence`; the greatest is followed by 0.
pub(super) fn sequence_after(sequence: i32, steps: usize) -> i32 {
    ((i64::from(sequence) + steps as i64) % (1 << 31)) as i32
}

impl Log {
    /// Where the high watermark may stand.
    pub(super) fn high_watermark(&self) -> RangeInclusive<i64> {
        self.readable.max(self.start)..=self.end
    }

    /// The broker said, or promised by an answer, that all below is readable.
    pub(super) fn shown(&mut self, high_watermark: i64) {
        assert!(
            self.high_watermark().contains(&high_watermark),
            "the high watermark is {high_watermark}, it can be {:?}",
            self.high_watermark()
        );
        self.readable = high_watermark;
    }

    /// Nothing is under way any more.
    pub(super) fn settled(&mut self) {
        self.readable = self.end;
    }

    /// What becomes of a batch of `count` records.
    pub(super) fn judge(&self, producer: Option<Producer>, count: usize) -> Judged {
        let Some((id, epoch, sequence)) = producer else {
            return Judged::Fresh(self.end);
        };
        let Some(known) = self.producers.get(&id) else {
            return Judged::Fresh(self.end);
        };
        let last = sequence_after(sequence, count - 1);
        let again = |sent: &&Remembered| sent.first == sequence && sent.last == last;
        if epoch == known.epoch
            && let Some(sent) = known.recent.iter().find(again)
        {
            return Judged::Again(sent.base, sent.time_ms);
        }
        if epoch < known.epoch {
            return Judged::Refused(ErrorCode::InvalidProducerEpoch);
        }
        let expected = self.next_sequence(id, epoch);
        if expected.is_some_and(|expected| expected != sequence) {
            return Judged::Refused(ErrorCode::OutOfOrderSequenceNumber);
        }
        Judged::Fresh(self.end)
    }

    /// The sequence that follows; `None` when any is taken.
    pub(super) fn next_sequence(&self, id: i64, epoch: i16) -> Option<i32> {
        let known = self.producers.get(&id)?;
        let newest = known.recent.back().filter(|_| known.epoch == epoch);
        Some(newest.map_or(0, |sent| sequence_after(sent.last, 1)))
    }

    /// The epoch of a producer, and the batches it is remembered by: first sequence and count.
    pub(super) fn remembered(&self, id: i64) -> Option<(i16, Vec<(i32, usize)>)> {
        let known = self.producers.get(&id)?;
        let count = |sent: &Remembered| {
            let span = (i64::from(sent.last) - i64::from(sent.first)).rem_euclid(1 << 31);
            (sent.first, span as usize + 1)
        };
        Some((known.epoch, known.recent.iter().map(count).collect()))
    }

    /// Whether nobody can say what the broker still knows of that producer.
    pub(super) fn is_unsure_of(&self, id: i64) -> bool {
        self.unsure.contains(&id)
    }

    /// Takes a batch that was judged fresh.
    pub(super) fn append(&mut self, producer: Option<Producer>, records: Vec<Seen>) {
        let batch = Batch {
            base: self.end,
            epoch: self.epoch,
            producer,
            records,
        };
        self.end = batch.last() + 1;
        self.remember(&batch);
        if self.epochs.last().is_none_or(|last| last.0 < self.epoch) {
            self.epochs.push((self.epoch, batch.base));
        }
        self.batches.push(batch);
    }

    fn remember(&mut self, batch: &Batch) {
        let Some((id, epoch, first)) = batch.producer else {
            return;
        };
        let known = self.producers.entry(id).or_default();
        if known.epoch != epoch {
            *known = Known {
                epoch,
                recent: VecDeque::new(),
            };
        }
        if known.recent.len() == REMEMBERED {
            known.recent.pop_front();
        }
        known.recent.push_back(Remembered {
            first,
            last: sequence_after(first, batch.records.len() - 1),
            base: batch.base,
            time_ms: batch.max_time_ms(),
        });
    }

    /// Records below `to` are deleted.
    pub(super) fn delete_below(&mut self, to: i64) {
        self.start = self.start.max(to);
        self.readable = self.readable.max(self.start);
        self.batches.retain(|batch| batch.last() >= to);
        // As in Kafka: the newest epoch that began at or below the start begins there.
        let below = self.epochs.iter().filter(|(_, at)| *at <= self.start);
        let below = below.count();
        if below > 0 {
            self.epochs.drain(..below - 1);
            self.epochs[0].1 = self.start;
        }
    }

    /// The broker came back with a log that ends at `end`, in leader epoch `epoch`.
    pub(super) fn restarted(&mut self, end: i64, epoch: i32) {
        assert!(
            self.high_watermark().contains(&end),
            "a restart left records up to {end}, of {:?}",
            self.high_watermark()
        );
        assert!(epoch >= self.epoch, "leader epoch {epoch} < {}", self.epoch);
        self.batches.retain(|batch| batch.last() < end);
        let whole = self.batches.last().map_or(self.start, |b| b.last() + 1);
        assert!(
            end == whole || self.start == end,
            "a batch was torn at {end}"
        );
        self.epochs.retain(|(_, at)| *at < end);
        (self.end, self.readable, self.epoch) = (end, end, epoch);
        let named = |id: &i64| {
            self.batches
                .iter()
                .any(|b| b.producer.is_some_and(|p| p.0 == *id))
        };
        let deleted = |known: &Known| known.recent.iter().any(|sent| sent.base < self.start);
        let lost: Vec<i64> = self
            .producers
            .iter()
            .filter(|(id, known)| deleted(known) || !named(id))
            .map(|(id, _)| *id)
            .collect();
        self.producers.clear();
        for batch in self.batches.clone() {
            self.remember(&batch);
        }
        // One whose batches all went with the end is unknown; one whose first went may be known.
        self.unsure.extend(lost);
    }

    /// Where the epoch that is asked for ended; (-1, -1) when nobody knows.
    pub(super) fn epoch_end(&self, asked: i32) -> (i32, i64) {
        if asked < 0 {
            return (-1, -1);
        }
        // The leader's own epoch is known from its beginning.
        let mut epochs = self.epochs.clone();
        if epochs.last().is_none_or(|last| last.0 < self.epoch) {
            epochs.retain(|(_, at)| *at < self.end);
            epochs.push((self.epoch, self.end));
        }
        if epochs.last().is_some_and(|last| last.0 == asked) {
            return (asked, self.end);
        }
        let Some(next) = epochs.iter().position(|(epoch, _)| *epoch > asked) else {
            return (-1, -1);
        };
        let own = next.checked_sub(1).map_or(asked, |at| epochs[at].0);
        (own, epochs[next].1)
    }

    /// The batches that a reader from `offset` on sees.
    pub(super) fn from(&self, offset: i64) -> &[Batch] {
        let at = self.batches.partition_point(|batch| batch.last() < offset);
        &self.batches[at..]
    }

    /// How a leader answers to the leader epoch that a client names.
    pub(super) fn check_epoch(&self, asked: i32) -> Result<(), ErrorCode> {
        match asked {
            ..0 => Ok(()),
            _ if asked < self.epoch => Err(ErrorCode::FencedLeaderEpoch),
            _ if asked > self.epoch => Err(ErrorCode::UnknownLeaderEpoch),
            _ => Ok(()),
        }
    }
}

impl Model {
    /// Everything below is readable in the partition that an ask names.
    pub(super) fn readable(&mut self, asked: (i16, &super::fetch::Ask)) -> i64 {
        let log = self.log_of(asked);
        log.map_or(0, |log| *log.high_watermark().start())
    }
}
