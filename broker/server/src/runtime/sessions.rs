//! Fetch sessions (KIP-227): what a client already asked for, so that it need not say it again.
//!
//! Pure bookkeeping; the fetch handler reads and waits. What always holds: a session's epoch is the
//! one that its next request must carry; partitions keep the order in which they are served, and
//! one that had data moves to its end; a session never mixes topic names and topic ids; the cache
//! holds at most its slots, and a session in use is never evicted by one that is not larger; a
//! session belongs to the principal that made it, and is not there for anyone else.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use millrace_host::Mono;
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::ids::TopicId;
use prometheus::IntGauge;

/// A session idle for longer gives way to any new one, as in Kafka.
const IDLE_EVICTION: Duration = Duration::from_mins(2);

/// The epoch of a full fetch that wants no session, and closes the one that it names.
const NO_SESSION: i32 = -1;
/// The epoch of a full fetch that wants a session.
const NEW_SESSION: i32 = 0;

/// How a session names a topic: by name up to version 12, by id from 13.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TopicKey {
    /// Versions up to 12.
    Name(Arc<str>),
    /// Versions from 13.
    Id(TopicId),
}

/// What a client asks of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ask {
    pub(crate) fetch_offset: i64,
    pub(crate) current_leader_epoch: i32,
    pub(crate) last_fetched_epoch: i32,
    pub(crate) partition_max_bytes: i32,
}

/// What the client was last told of one partition; an incremental answer leaves out what it knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) high_watermark: i64,
    pub(crate) log_start: i64,
}

/// One partition of a session.
#[derive(Clone, Debug)]
pub(crate) struct SessionPartition {
    pub(crate) topic: TopicKey,
    pub(crate) partition: i32,
    pub(crate) ask: Ask,
    pub(crate) told: Option<Told>,
}

/// The partitions of one fetch, in the order in which they are served. Slots are never reused
/// within a session, so that a late wake-up can only name a partition that is gone.
#[derive(Debug, Default)]
pub(crate) struct Partitions {
    by_slot: BTreeMap<u64, SessionPartition>,
    slots: BTreeMap<(TopicKey, i32), u64>,
    next_slot: u64,
}

impl Partitions {
    /// Adds a partition at the end, or replaces what is asked of one already there. Returns its
    /// slot.
    pub(crate) fn put(&mut self, topic: &TopicKey, partition: i32, ask: Ask) -> u64 {
        if let Some(slot) = self.slots.get(&(topic.clone(), partition)) {
            if let Some(known) = self.by_slot.get_mut(slot) {
                known.ask = ask;
            }
            return *slot;
        }
        let slot = self.next_slot;
        self.next_slot += 1;
        self.slots.insert((topic.clone(), partition), slot);
        self.by_slot.insert(
            slot,
            SessionPartition {
                topic: topic.clone(),
                partition,
                ask,
                told: None,
            },
        );
        slot
    }

    /// Removes a partition, and says at which slot it was.
    pub(crate) fn remove(&mut self, topic: &TopicKey, partition: i32) -> Option<u64> {
        let slot = self.slots.remove(&(topic.clone(), partition))?;
        self.by_slot.remove(&slot);
        Some(slot)
    }

    /// Moves a partition behind all others: the next fetch serves the others first. Returns its
    /// new slot.
    pub(crate) fn move_to_end(&mut self, slot: u64) -> u64 {
        let Some(partition) = self.by_slot.remove(&slot) else {
            return slot;
        };
        let moved = self.next_slot;
        self.next_slot += 1;
        self.slots
            .insert((partition.topic.clone(), partition.partition), moved);
        self.by_slot.insert(moved, partition);
        moved
    }

    pub(crate) fn get(&self, slot: u64) -> Option<&SessionPartition> {
        self.by_slot.get(&slot)
    }

    pub(crate) fn get_mut(&mut self, slot: u64) -> Option<&mut SessionPartition> {
        self.by_slot.get_mut(&slot)
    }

    pub(crate) fn len(&self) -> usize {
        self.by_slot.len()
    }
}

/// What a request says of its session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SessionAsk {
    pub(crate) id: i32,
    pub(crate) epoch: i32,
    /// Who asks.
    pub(crate) principal: Arc<str>,
    /// Topics are named by id in this request.
    pub(crate) uses_topic_ids: bool,
}

/// Which way a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// Everything asked for is in the request; nothing is remembered.
    Sessionless,
    /// Everything asked for is in the request; a session is wanted.
    Create,
    /// The request changes what this session remembers.
    Continue(i32),
}

/// One entry of the cache. `T` is what the fetch handler keeps for the session.
#[derive(Debug)]
struct Entry<T> {
    epoch: i32,
    principal: Arc<str>,
    uses_topic_ids: bool,
    partitions: usize,
    created: Mono,
    last_used: Mono,
    session: T,
}

/// All sessions of a broker.
#[derive(Debug)]
pub(crate) struct SessionCache<T> {
    slots: usize,
    /// Shows how many there are, after every change.
    gauge: IntGauge,
    entries: BTreeMap<i32, Entry<T>>,
}

impl<T: Clone> SessionCache<T> {
    /// A cache of at most `slots` sessions (`max.incremental.fetch.session.cache.slots`).
    pub(crate) fn new(slots: usize, gauge: IntGauge) -> Self {
        Self {
            slots,
            gauge,
            entries: BTreeMap::new(),
        }
    }

    fn show(&self) {
        let count = self.entries.len();
        self.gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Where a request goes; closes the session that it gives up, checks and steps the epoch of
    /// the one that it continues. An error is the answer's top-level code.
    pub(crate) fn route(&mut self, ask: &SessionAsk, now: Mono) -> Result<Route, ErrorCode> {
        let own = |entry: &Entry<T>| entry.principal == ask.principal;
        if matches!(ask.epoch, NO_SESSION | NEW_SESSION) {
            if self.entries.get(&ask.id).is_some_and(own) {
                self.entries.remove(&ask.id);
                self.show();
            }
            return Ok(if ask.epoch == NEW_SESSION {
                Route::Create
            } else {
                Route::Sessionless
            });
        }
        let entry = self
            .entries
            .get_mut(&ask.id)
            .filter(|entry| own(entry))
            .ok_or(ErrorCode::FetchSessionIdNotFound)?;
        if entry.epoch != ask.epoch {
            return Err(ErrorCode::InvalidFetchSessionEpoch);
        }
        if entry.uses_topic_ids != ask.uses_topic_ids {
            return Err(ErrorCode::FetchSessionTopicIdError);
        }
        entry.epoch = next_epoch(entry.epoch);
        entry.last_used = now;
        Ok(Route::Continue(ask.id))
    }

    /// The session that [`Route::Continue`] named.
    pub(crate) fn get(&self, id: i32) -> Option<T> {
        self.entries.get(&id).map(|entry| entry.session.clone())
    }

    /// Remembers how many partitions a session has: larger ones stay longer.
    pub(crate) fn resized(&mut self, id: i32, partitions: usize) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.partitions = partitions;
        }
    }

    /// Takes a slot for a new session. `draw` gives candidate ids. `None` when no slot is free and
    /// no session may be evicted: the client carries on with full fetches.
    pub(crate) fn create(
        &mut self,
        session: T,
        partitions: usize,
        (principal, uses_topic_ids): (Arc<str>, bool),
        now: Mono,
        mut draw: impl FnMut() -> i32,
    ) -> Option<i32> {
        if self.slots == 0 || (self.entries.len() >= self.slots && !self.evict(partitions, now)) {
            return None;
        }
        // Ids are positive and unguessable; a session in use keeps its own.
        let id = std::iter::repeat_with(|| draw() & i32::MAX)
            .take(64)
            .find(|id| *id != 0 && !self.entries.contains_key(id))?;
        let entry = Entry {
            epoch: 1,
            principal,
            uses_topic_ids,
            partitions,
            created: now,
            last_used: now,
            session,
        };
        self.entries.insert(id, entry);
        self.show();
        Some(id)
    }

    /// Makes room as Kafka does: the longest idle session if it is idle for long enough, else the
    /// smallest one that is old enough and smaller than the newcomer.
    fn evict(&mut self, newcomer_partitions: usize, now: Mono) -> bool {
        let idle = self.entries.iter().min_by_key(|(_, entry)| entry.last_used);
        let victim = match idle {
            Some((id, entry)) if now.since(entry.last_used) > IDLE_EVICTION => Some(*id),
            _ => self
                .entries
                .iter()
                .filter(|(_, entry)| now.since(entry.created) > IDLE_EVICTION)
                .min_by_key(|(_, entry)| entry.partitions)
                .filter(|(_, entry)| entry.partitions < newcomer_partitions)
                .map(|(id, _)| *id),
        };
        let evicted = victim.is_some_and(|id| self.entries.remove(&id).is_some());
        self.show();
        evicted
    }
}

/// Epochs run from 1 to the largest and then from 1 again.
fn next_epoch(epoch: i32) -> i32 {
    if epoch == i32::MAX { 1 } else { epoch + 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASK: Ask = Ask {
        fetch_offset: 0,
        current_leader_epoch: -1,
        last_fetched_epoch: -1,
        partition_max_bytes: 1,
    };

    fn at(seconds: u64) -> Mono {
        Mono(seconds * 1_000_000_000)
    }

    fn ask(id: i32, epoch: i32) -> SessionAsk {
        SessionAsk {
            id,
            epoch,
            principal: Arc::from("User:a"),
            uses_topic_ids: true,
        }
    }

    /// Who makes the sessions, by topic ids.
    fn owner() -> (Arc<str>, bool) {
        (Arc::from("User:a"), true)
    }

    fn cache(slots: usize) -> SessionCache<&'static str> {
        let gauge = IntGauge::new("sessions", "Sessions.").expect("a plain name");
        SessionCache::new(slots, gauge)
    }

    #[test]
    fn a_session_advances_one_epoch_per_request() {
        let mut cache = cache(2);
        assert_eq!(cache.route(&ask(0, 0), at(0)), Ok(Route::Create));
        let id = cache
            .create("a", 1, owner(), at(0), || 7)
            .expect("a free slot");
        assert_eq!(cache.route(&ask(id, 1), at(0)), Ok(Route::Continue(id)));
        assert_eq!(
            cache.route(&ask(id, 1), at(0)),
            Err(ErrorCode::InvalidFetchSessionEpoch)
        );
        assert_eq!(cache.route(&ask(id, 2), at(0)), Ok(Route::Continue(id)));
        assert_eq!(
            cache.route(&ask(9, 1), at(0)),
            Err(ErrorCode::FetchSessionIdNotFound)
        );
    }

    #[test]
    fn a_session_keeps_to_names_or_ids() {
        let mut cache = cache(1);
        let id = cache
            .create("a", 1, owner(), at(0), || 7)
            .expect("a free slot");
        let by_name = SessionAsk {
            uses_topic_ids: false,
            ..ask(id, 1)
        };
        assert_eq!(
            cache.route(&by_name, at(0)),
            Err(ErrorCode::FetchSessionTopicIdError)
        );
    }

    #[test]
    fn a_session_is_not_there_for_anyone_else() {
        let mut cache = cache(1);
        let id = cache
            .create("a", 1, owner(), at(0), || 7)
            .expect("a free slot");
        let stranger = |epoch| SessionAsk {
            principal: Arc::from("User:b"),
            ..ask(id, epoch)
        };
        let not_found = Err(ErrorCode::FetchSessionIdNotFound);
        assert_eq!(cache.route(&stranger(1), at(0)), not_found);
        assert_eq!(cache.route(&stranger(-1), at(0)), Ok(Route::Sessionless));
        assert_eq!(cache.route(&stranger(0), at(0)), Ok(Route::Create));
        assert_eq!(cache.route(&ask(id, 1), at(0)), Ok(Route::Continue(id)));
    }

    #[test]
    fn an_epoch_that_no_session_can_have_closes_nothing() {
        let mut cache = cache(1);
        let id = cache
            .create("a", 1, owner(), at(0), || 7)
            .expect("a free slot");
        assert_eq!(
            cache.route(&ask(id, -2), at(0)),
            Err(ErrorCode::InvalidFetchSessionEpoch)
        );
        assert_eq!(cache.gauge.get(), 1);
    }

    #[test]
    fn a_final_epoch_closes_and_a_full_fetch_replaces() {
        let mut cache = cache(1);
        let id = cache
            .create("a", 1, owner(), at(0), || 7)
            .expect("a free slot");
        assert_eq!(cache.route(&ask(id, -1), at(0)), Ok(Route::Sessionless));
        assert_eq!(cache.gauge.get(), 0);
        let id = cache
            .create("a", 1, owner(), at(0), || 7)
            .expect("a free slot");
        assert_eq!(cache.route(&ask(id, 0), at(0)), Ok(Route::Create));
        assert_eq!(cache.gauge.get(), 0);
    }

    #[test]
    fn epochs_wrap_to_one() {
        assert_eq!(next_epoch(i32::MAX), 1);
        assert_eq!(next_epoch(1), 2);
    }

    #[test]
    fn a_full_cache_evicts_the_idle_and_the_smaller_only() {
        let mut cache = cache(2);
        let mut next = 0;
        let mut draw = || {
            next += 1;
            next
        };
        let small = cache
            .create("small", 1, owner(), at(0), &mut draw)
            .expect("a free slot");
        cache
            .create("large", 9, owner(), at(0), &mut draw)
            .expect("a free slot");
        assert_eq!(
            cache.create("new", 5, owner(), at(60), &mut draw),
            None,
            "both are young"
        );
        assert!(cache.route(&ask(small, 1), at(100)).is_ok());
        assert!(cache.route(&ask(2, 1), at(100)).is_ok());
        assert_eq!(
            cache.create("new", 1, owner(), at(130), &mut draw),
            None,
            "it isn't larger"
        );
        assert!(
            cache
                .create("new", 5, owner(), at(130), &mut draw)
                .is_some()
        );
        assert_eq!(cache.get(small), None, "the smaller one gave way");
        assert!(
            cache
                .create("newer", 1, owner(), at(500), &mut draw)
                .is_some(),
            "one is idle"
        );
    }

    #[test]
    fn a_partition_with_data_is_served_last_next_time() {
        let mut partitions = Partitions::default();
        let topic = TopicKey::Name(Arc::from("t"));
        let first = partitions.put(&topic, 0, ASK);
        partitions.put(&topic, 1, ASK);
        let moved = partitions.move_to_end(first);
        let order: Vec<i32> = partitions.by_slot.values().map(|p| p.partition).collect();
        assert_eq!(order, [1, 0]);
        assert_eq!(partitions.put(&topic, 0, ASK), moved, "it kept one place");
        assert_eq!(partitions.remove(&topic, 0), Some(moved));
        assert_eq!(partitions.len(), 1);
    }
}
