//! All partitions that a consumer reads: what to ask which broker, and what the application gets next.
//!
//! What always holds: pure; what it says is done by `fetcher`. What waits for the application and what
//! was asked for stay within the bytes for fetching ahead, but for a batch that is larger than that. Each
//! broker has a share of them, so that none that has nothing to say holds up another. Partitions take turns,
//! with the brokers and with the application.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use millrace_host::Mono;
use millrace_probe::{Bug, planted};
use millrace_protocol::ids::TopicId;

use super::asking::{Asking, Membership};
use super::options::ConsumerOptions;
use super::reading::{Key, OffsetOrFind, Outcome, Position, Reading, Want};
use super::records::Records;
use crate::cluster::Metadata;
use crate::{Error, OffsetOf};

/// The partitions.
#[derive(Debug)]
pub(crate) struct Core {
    readings: BTreeMap<Key, Reading>,
    /// The partition that the application heard of last.
    last: Option<Key>,
    /// Counts the seeks.
    turns: u64,
    /// Where the next request begins, so that no partition always comes last.
    turn: usize,
    /// Bytes that wait for the application.
    ready_bytes: usize,
    /// Bytes that were asked for.
    asked_bytes: usize,
    /// A broker wasn't asked for records, since there was no room for them.
    is_short: bool,
    /// The application.
    pub(crate) asking: Asking,
    /// What the consumer is in its group.
    pub(crate) membership: Option<Membership>,
    /// Nothing is given out while the listener is told of new partitions.
    pub(crate) held: bool,
    /// Why the consumer can't go on.
    pub(crate) ended: Option<Error>,
}

/// A question about one partition.
#[derive(Clone, Debug)]
pub(super) struct Part<W> {
    pub(super) key: Key,
    pub(super) topic_id: TopicId,
    pub(super) leader_epoch: i32,
    pub(super) turn: u64,
    pub(super) want: W,
}

/// Where a partition that the group assigned is begun.
#[derive(Clone, Debug)]
pub(crate) enum Start {
    /// At the group's offset.
    Committed(Position),
    /// It has none: where the reset policy says.
    Find(OffsetOf),
    /// It has none, and the reset policy says that this is an error.
    Nowhere(Error),
}

/// Why a broker isn't asked of a partition now.
enum NotNow {
    /// It may be later, at this time if nothing else happens.
    Until(Option<Mono>),
    /// There is no room for what it may give.
    NoRoom,
    /// Another one is to be asked.
    By(i32),
}

/// What to ask a broker of a partition now.
fn to_ask(reading: &Reading, now: Mono, broker: i32, has_room: bool) -> Result<Want, NotNow> {
    let want = reading.wants(now).map_err(NotNow::Until)?;
    let asked = match want {
        Want::Records(_) => reading.source(now),
        Want::Offset(_) | Want::End(_) => reading.leader().map(|(leader, _)| leader),
    };
    match asked {
        Some(asked) if asked != broker => Err(NotNow::By(asked)),
        None => Err(NotNow::Until(None)),
        Some(_) if matches!(want, Want::Records(_)) && !has_room => Err(NotNow::NoRoom),
        Some(_) => Ok(want),
    }
}

/// What to ask a broker next.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Records from these offsets on.
    pub(super) fetch: Vec<Part<i64>>,
    /// So many bytes of them.
    pub(super) bytes_max: usize,
    /// These offsets.
    pub(super) find: Vec<Part<OffsetOf>>,
    /// The ends of these epochs.
    pub(super) check: Vec<Part<i32>>,
    /// When there may be more, if nothing else happens.
    pub(super) next_at: Option<Mono>,
    /// Brokers that are to be asked in this one's place, so their tasks must look.
    pub(super) wakes: BTreeSet<i32>,
}

impl Plan {
    /// Whether there is nothing to ask.
    pub(super) fn is_empty(&self) -> bool {
        self.fetch.is_empty() && self.find.is_empty() && self.check.is_empty()
    }

    fn ask(&mut self, key: &Key, reading: &Reading, want: Want) {
        let (topic_id, turn) = (reading.topic_id, reading.turn());
        let leader_epoch = reading.leader().map_or(-1, |(_, epoch)| epoch);
        match want {
            Want::Records(want) => self.fetch.push(Part {
                key: key.clone(),
                topic_id,
                leader_epoch,
                turn,
                want,
            }),
            Want::Offset(want) => self.find.push(Part {
                key: key.clone(),
                topic_id,
                leader_epoch,
                turn,
                want,
            }),
            Want::End(want) => self.check.push(Part {
                key: key.clone(),
                topic_id,
                leader_epoch,
                turn,
                want,
            }),
        }
    }
}

impl Core {
    pub(super) fn new(now: Mono) -> Self {
        Self {
            readings: BTreeMap::new(),
            last: None,
            turns: 0,
            turn: 0,
            ready_bytes: 0,
            asked_bytes: 0,
            is_short: false,
            asking: Asking::new(now),
            membership: None,
            held: false,
            ended: None,
        }
    }

    /// Reads these partitions and no others. One that is read already goes on where it is.
    pub(super) fn assign(
        &mut self,
        wanted: BTreeMap<Key, OffsetOrFind>,
        options: &ConsumerOptions,
    ) {
        self.readings.retain(|key, _| wanted.contains_key(key));
        for (key, start) in wanted {
            self.turns += 1;
            let reading = || Reading::new(start, self.turns, options.reset);
            self.readings.entry(key).or_insert_with(reading);
        }
        self.ready_bytes = self.readings.values().map(Reading::ready_bytes).sum();
    }

    /// Reads this partition too, from where its group or the reset policy says.
    pub(crate) fn adopt(&mut self, key: Key, start: Start, options: &ConsumerOptions) {
        self.turns += 1;
        let before = self.readings.remove(&key);
        self.ready_bytes -= before.as_ref().map_or(0, Reading::ready_bytes);
        let start = match before.and_then(|before| before.fetches_from()) {
            Some(position) if planted(Bug::LostPositionKept) => Start::Committed(position),
            _ => start,
        };
        let begin = match &start {
            Start::Committed(position) => OffsetOrFind::Offset(position.offset),
            Start::Find(of) => OffsetOrFind::Find(*of),
            Start::Nowhere(_) => OffsetOrFind::Find(OffsetOf::End),
        };
        let mut reading = Reading::new(begin, self.turns, options.reset);
        match start {
            Start::Committed(position) => reading.begin_at(position),
            Start::Find(_) => {}
            Start::Nowhere(error) => reading.fail(error),
        }
        self.readings.insert(key, reading);
    }

    /// Reads this partition no more. Gives what is done with and isn't committed.
    pub(crate) fn give_up(&mut self, key: &Key) -> Option<Position> {
        if planted(Bug::LostPositionKept) {
            let reading = self.readings.get_mut(key)?;
            reading.paused = true;
            return reading.uncommitted();
        }
        let reading = self.readings.remove(key)?;
        self.ready_bytes -= reading.ready_bytes();
        reading.uncommitted()
    }

    /// The application asks: it is done with what it got before. Whether somebody waited for that.
    pub(crate) fn begin_asking(&mut self) -> bool {
        self.process_given();
        self.asking.begin()
    }

    /// The application is done with all that it got. Gives a partition of that which isn't read any
    /// more, if there is one.
    pub(crate) fn process_given(&mut self) -> Option<Key> {
        let mut lost = None;
        for key in std::mem::take(&mut self.asking.given) {
            match self.readings.get_mut(&key) {
                Some(reading) => reading.process(),
                None => lost = Some(key),
            }
        }
        lost
    }

    /// Of each partition what is done with and isn't committed.
    pub(crate) fn uncommitted(&self) -> Vec<(Key, Position)> {
        let uncommitted = |(key, reading): (&Key, &Reading)| {
            let position = reading.uncommitted()?;
            Some((key.clone(), position))
        };
        self.readings.iter().filter_map(uncommitted).collect()
    }

    /// This was committed.
    pub(crate) fn committed(&mut self, key: &Key, offset: i64) {
        if let Some(reading) = self.readings.get_mut(key) {
            reading.committed(offset);
        }
    }

    /// Whether the partition is read.
    pub(crate) fn reads(&self, key: &Key) -> bool {
        self.readings.contains_key(key)
    }

    /// The partitions that are read.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &Key> {
        self.readings.keys()
    }

    /// The partition's reading, if it is read.
    pub(super) fn reading(&mut self, key: &Key) -> Option<&mut Reading> {
        self.readings.get_mut(key)
    }

    /// Goes on elsewhere in a partition; whether it is read.
    pub(super) fn seek(&mut self, key: &Key, to: OffsetOrFind) -> bool {
        let Some(reading) = self.readings.get_mut(key) else {
            return false;
        };
        self.turns += 1;
        self.ready_bytes -= reading.seek(to, self.turns);
        true
    }

    /// Takes in who leads what.
    pub(super) fn learn(&mut self, image: &Metadata) {
        for ((topic, index), reading) in &mut self.readings {
            let Ok(about) = image.topic(topic) else {
                continue;
            };
            reading.topic_id = about.id;
            let partition = about.partition(*index);
            reading.led_by(
                partition.and_then(|partition| Some((partition.leader?, partition.leader_epoch))),
            );
        }
    }

    /// The topics that are read.
    pub(super) fn topics(&self) -> Vec<Arc<str>> {
        let mut topics: Vec<_> = self
            .readings
            .keys()
            .map(|(topic, _)| Arc::clone(topic))
            .collect();
        topics.dedup();
        topics
    }

    /// Whether nobody leads a partition that is read.
    pub(super) fn lacks_leaders(&self) -> bool {
        self.readings
            .values()
            .any(|reading| reading.leader().is_none())
    }

    /// A broker can't be asked: what may be read elsewhere is.
    pub(super) fn not_reached(&mut self, broker: i32) {
        for reading in self.readings.values_mut() {
            reading.not_reached(broker);
        }
    }

    /// Whether there may be something to ask a broker.
    pub(super) fn has_work(&self, broker: i32) -> bool {
        self.readings
            .values()
            .any(|reading| reading.is_asked_of(broker) && !reading.paused)
    }

    /// Bytes that a broker may be asked for now. Its share is there for it whatever others are asked for:
    /// who has nothing new holds its room until a request's wait is over, and then has it again.
    fn room(&self, now: Mono, broker: i32, options: &ConsumerOptions) -> usize {
        let (mut brokers, mut here) = (BTreeSet::from([broker]), 0);
        for reading in self.readings.values() {
            let source = reading.source(now);
            if source == Some(broker) {
                here += reading.ready_bytes();
            }
            brokers.extend(source.filter(|_| !reading.paused));
        }
        let share = (options.prefetch_bytes_max / brokers.len()).max(1);
        let used = self.ready_bytes + self.asked_bytes;
        let left = options.prefetch_bytes_max.saturating_sub(used);
        let room = share.saturating_sub(here).min(left);
        room.min(options.fetch_bytes_max)
    }

    /// What to ask a broker now. All of it counts as asked.
    pub(super) fn plan(&mut self, now: Mono, broker: i32, options: &ConsumerOptions) -> Plan {
        let mut plan = Plan {
            bytes_max: self.room(now, broker, options),
            ..Plan::default()
        };
        for (key, reading) in &mut self.readings {
            if !reading.is_asked_of(broker) {
                continue;
            }
            match to_ask(reading, now, broker, plan.bytes_max > 0) {
                Ok(want) => {
                    reading.asked(broker);
                    plan.ask(key, reading, want);
                }
                Err(NotNow::Until(later)) => {
                    plan.next_at = plan.next_at.into_iter().chain(later).min();
                }
                Err(NotNow::NoRoom) => self.is_short = true,
                Err(NotNow::By(other)) => {
                    plan.wakes.insert(other);
                }
            }
        }
        if plan.fetch.is_empty() {
            plan.bytes_max = 0;
        } else {
            self.turn = self.turn.wrapping_add(1);
            let turn = self.turn % plan.fetch.len();
            plan.fetch.rotate_left(turn);
        }
        self.asked_bytes += plan.bytes_max;
        plan
    }

    /// A request for that many bytes has ended. Whether a broker waits for room.
    pub(super) fn fetch_ended(&mut self, bytes_max: usize) -> bool {
        self.asked_bytes -= bytes_max;
        std::mem::take(&mut self.is_short)
    }

    /// Failed attempts in a row.
    pub(super) fn failures(&self, key: &Key) -> u32 {
        self.readings.get(key).map_or(0, Reading::failures)
    }

    /// Hears what became of a question; whether the application has news by it.
    pub(super) fn answered(
        &mut self,
        key: &Key,
        turn: u64,
        outcome: Outcome,
        retry_at: Mono,
    ) -> bool {
        // One that is no longer read has nobody to tell.
        let Some(reading) = self.readings.get_mut(key) else {
            return false;
        };
        self.ready_bytes += reading.answered(turn, outcome, retry_at);
        reading.has_news()
    }

    /// What the application gets next.
    pub(super) fn take(&mut self) -> Option<Result<Records, Error>> {
        if let Some(error) = &self.ended {
            return Some(Err(error.clone()));
        }
        if self.held {
            return None;
        }
        let (behind, upto) = match self.last.clone() {
            Some(last) => (Bound::Excluded(last.clone()), Bound::Included(last)),
            None => (Bound::Unbounded, Bound::Unbounded),
        };
        let later = self.readings.range((behind, Bound::Unbounded));
        let mut in_turn = later.chain(self.readings.range((Bound::Unbounded, upto)));
        let key = in_turn.find(|(_, reading)| reading.has_news())?.0.clone();
        let reading = self.readings.get_mut(&key)?;
        let taken = reading.take()?;
        if self.membership.is_some() {
            self.asking.given.push(key.clone());
        }
        self.last = Some(key);
        if let Ok(fetched) = &taken {
            self.ready_bytes -= fetched.bytes();
        }
        Some(taken)
    }
}
