//! Fetch sessions (KIP-227): what a client already asked for, so that it need not say it again.
//!
//! Pure bookkeeping; the fetch handler reads and waits. What always holds: a session's epoch is the
//! one that its next request must carry; partitions keep the order in which they are served, and
//! one that had data moves to its end; a session never mixes topic names and topic ids; the cache
//! holds at most its slots, and all sessions together at most so many partitions; a session in use
//! is never evicted by one that is not larger, nor by one that only needs room for partitions; a
//! session belongs to the principal that made it, and is not there for anyone else.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use millrace_config::FetchConfig;
use millrace_host::Mono;
use millrace_protocol::error_code::ErrorCode;

use super::session_room::{Room, weight};
pub(crate) use super::session_room::{Share, TopicKey};
use crate::metrics::FetchMetrics;

/// A session idle for longer gives way to any new one, as in Kafka.
const IDLE_EVICTION: Duration = Duration::from_mins(2);

/// The epoch of a full fetch that wants no session, and closes the one that it names.
const NO_SESSION: i32 = -1;
/// The epoch of a full fetch that wants a session.
const NEW_SESSION: i32 = 0;

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
    /// What all of them count for in the room of all sessions.
    weight: u64,
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
        self.weight += weight(topic);
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
        self.weight -= weight(topic);
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
    room: Arc<Room>,
    metrics: FetchMetrics,
    entries: BTreeMap<i32, Entry<T>>,
}

impl<T: Clone> SessionCache<T> {
    /// A cache without sessions, within the configuration's limits.
    pub(crate) fn new(config: &FetchConfig, metrics: &FetchMetrics) -> Self {
        let partitions_max = u64::from(config.session_partitions_max);
        Self {
            slots: config.sessions_max as usize,
            room: Room::new(partitions_max, metrics.session_partitions.clone()),
            metrics: metrics.clone(),
            entries: BTreeMap::new(),
        }
    }

    fn show(&self) {
        let count = self.entries.len();
        self.metrics
            .sessions
            .set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Where a request goes; closes the session that it gives up, checks and steps the epoch of
    /// the one that it continues. An error is the answer's top-level code.
    pub(crate) fn route(&mut self, ask: &SessionAsk, now: Mono) -> Result<Route, ErrorCode> {
        let own = |entry: &Entry<T>| entry.principal == ask.principal;
        if matches!(ask.epoch, NO_SESSION | NEW_SESSION) {
            if self.entries.get(&ask.id).is_some_and(own) {
                self.close(ask.id);
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

    /// Forgets a session.
    pub(crate) fn close(&mut self, id: i32) {
        self.entries.remove(&id);
        self.show();
    }

    /// Takes room for the partitions of a new session; [`SessionCache::create`] comes next. `None`
    /// when there is none, though every idle session gave way.
    pub(crate) fn take_room(&mut self, partitions: &Partitions, now: Mono) -> Option<Share> {
        let mut share = Share::new(Arc::clone(&self.room));
        self.fits(&mut share, partitions, now).then_some(share)
    }

    /// Remembers what partitions a session has now: larger ones stay longer. False, and nothing
    /// remembered, when there is no room for what came to them.
    pub(crate) fn resized(
        &mut self,
        id: i32,
        share: &mut Share,
        partitions: &Partitions,
        now: Mono,
    ) -> bool {
        let fits = self.fits(share, partitions, now);
        if let Some(entry) = self.entries.get_mut(&id).filter(|_| fits) {
            entry.partitions = partitions.len();
        }
        fits
    }

    /// Whether the partitions have room, once enough idle sessions gave way.
    fn fits(&mut self, share: &mut Share, partitions: &Partitions, now: Mono) -> bool {
        while !share.try_set(partitions.weight) {
            let Some(idle) = self.idle(now) else {
                self.metrics.sessions_refused.inc();
                return false;
            };
            self.close(idle);
        }
        true
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
            self.metrics.sessions_refused.inc();
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
        let smaller = || {
            let old = self.entries.iter();
            old.filter(|(_, entry)| now.since(entry.created) > IDLE_EVICTION)
                .min_by_key(|(_, entry)| entry.partitions)
                .filter(|(_, entry)| entry.partitions < newcomer_partitions)
                .map(|(id, _)| *id)
        };
        let victim = self.idle(now).or_else(smaller);
        if let Some(id) = victim {
            self.close(id);
        }
        victim.is_some()
    }

    /// The session idle for longest, if that is long enough.
    fn idle(&self, now: Mono) -> Option<i32> {
        let longest = self.entries.iter().min_by_key(|(_, entry)| entry.last_used);
        longest
            .filter(|(_, entry)| now.since(entry.last_used) > IDLE_EVICTION)
            .map(|(id, _)| *id)
    }
}

/// Epochs run from 1 to the largest and then from 1 again.
fn next_epoch(epoch: i32) -> i32 {
    if epoch == i32::MAX { 1 } else { epoch + 1 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

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

    fn cache(slots: u32) -> SessionCache<&'static str> {
        limited(slots, 1000)
    }

    fn limited(slots: u32, partitions_max: u32) -> SessionCache<&'static str> {
        let config = FetchConfig {
            response_bytes_max: 1,
            sessions_max: slots,
            session_partitions_max: partitions_max,
        };
        SessionCache::new(&config, &Metrics::new().fetch)
    }

    /// So many partitions of one topic.
    fn partitions(count: i32) -> Partitions {
        let mut partitions = Partitions::default();
        let topic = TopicKey::Name(Arc::from("t"));
        for partition in 0..count {
            partitions.put(&topic, partition, ASK);
        }
        partitions
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
        assert_eq!(cache.metrics.sessions.get(), 1);
    }

    #[test]
    fn a_final_epoch_closes_and_a_full_fetch_replaces() {
        let mut cache = cache(1);
        let id = cache
            .create("a", 1, owner(), at(0), || 7)
            .expect("a free slot");
        assert_eq!(cache.route(&ask(id, -1), at(0)), Ok(Route::Sessionless));
        assert_eq!(cache.metrics.sessions.get(), 0);
        let id = cache
            .create("a", 1, owner(), at(0), || 7)
            .expect("a free slot");
        assert_eq!(cache.route(&ask(id, 0), at(0)), Ok(Route::Create));
        assert_eq!(cache.metrics.sessions.get(), 0);
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
    fn partitions_past_the_limit_have_no_room_until_a_session_is_idle() {
        let mut cache = limited(9, 10);
        let mut share = cache.take_room(&partitions(6), at(0)).expect("room");
        let id = cache
            .create("a", 6, owner(), at(0), || 7)
            .expect("a free slot");
        assert!(cache.take_room(&partitions(5), at(100)).is_none());
        assert!(cache.take_room(&partitions(4), at(100)).is_some());
        assert!(cache.resized(id, &mut share, &partitions(10), at(100)));
        assert!(!cache.resized(id, &mut share, &partitions(11), at(100)));
        assert!(cache.resized(id, &mut share, &partitions(2), at(100)));
        assert!(cache.take_room(&partitions(9), at(100)).is_none());
        assert_eq!(cache.metrics.sessions_refused.get(), 3);
        assert_eq!(cache.get(id), Some("a"), "it is in use");
        drop(share);
        assert!(cache.take_room(&partitions(10), at(100)).is_some());
        assert_eq!(cache.get(id), Some("a"), "there was room");
    }

    #[test]
    fn a_partition_counts_once_however_often_it_is_put() {
        let mut partitions = partitions(3);
        let topic = TopicKey::Name(Arc::from("t"));
        let slot = partitions.put(&topic, 0, ASK);
        partitions.move_to_end(slot);
        assert_eq!(partitions.weight, 3);
        partitions.remove(&topic, 0);
        partitions.remove(&topic, 0);
        assert_eq!(partitions.weight, 2);
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
