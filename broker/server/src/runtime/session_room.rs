//! How many partitions all fetch sessions remember together, and the limit.
//!
//! What always holds: a session that remembers partitions holds a share for them, as long as
//! anybody works on it, closed or not; all shares together are at most the limit. A partition whose
//! topic is named counts once more for every [`NAME_BYTES`] of the name, so that memory has a bound
//! whatever the names are.

use millrace_host::sync::Arc;
use millrace_host::sync::atomic::{AtomicU64, Ordering};
use millrace_protocol::ids::TopicId;
use prometheus::IntGauge;

/// No topic's name is as long: only names that no topic can have count for more.
const NAME_BYTES: usize = 256;

/// How a session names a topic: by name up to version 12, by id from 13.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TopicKey {
    /// Versions up to 12.
    Name(Arc<str>),
    /// Versions from 13.
    Id(TopicId),
}

/// What one remembered partition counts for.
pub(super) fn weight(topic: &TopicKey) -> u64 {
    match topic {
        TopicKey::Name(name) => 1 + (name.len() / NAME_BYTES) as u64,
        TopicKey::Id(_) => 1,
    }
}

/// The broker's count (`fetch.session.partitions.max`).
#[derive(Debug)]
pub(super) struct Room {
    max: u64,
    remembered: AtomicU64,
    /// Shows how many there are, after every change.
    gauge: IntGauge,
}

impl Room {
    /// None remembered yet, at most `max`.
    pub(super) fn new(max: u64, gauge: IntGauge) -> Arc<Self> {
        Arc::new(Self {
            max,
            remembered: AtomicU64::new(0),
            gauge,
        })
    }

    fn show(&self, taken: u64, given_back: u64) {
        let signed = |count| i64::try_from(count).unwrap_or(i64::MAX);
        self.gauge.add(signed(taken) - signed(given_back));
    }
}

/// One session's part of it; given back when the session goes.
#[derive(Debug)]
pub(crate) struct Share {
    room: Arc<Room>,
    own: u64,
}

impl Share {
    /// A share of nothing.
    pub(super) fn new(room: Arc<Room>) -> Self {
        Self { room, own: 0 }
    }

    /// The session remembers `own` now. Changes nothing, and says so, when that is past the limit.
    #[must_use]
    pub(super) fn try_set(&mut self, own: u64) -> bool {
        let Room {
            max, remembered, ..
        } = &*self.room;
        if own > self.own {
            let more = own - self.own;
            let grown = |count: u64| count.checked_add(more).filter(|count| count <= max);
            let taken = remembered.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grown);
            if taken.is_err() {
                return false;
            }
        } else {
            remembered.fetch_sub(self.own - own, Ordering::Relaxed);
        }
        self.room.show(own, self.own);
        self.own = own;
        true
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let given_back = self.try_set(0);
        debug_assert!(given_back, "nothing is within every limit");
    }
}

#[cfg(test)]
mod tests {
    use millrace_protocol::ids::TopicId;

    use super::*;

    #[test]
    fn shares_stay_within_the_limit_and_go_with_their_sessions() {
        let gauge = IntGauge::new("partitions", "Partitions.").expect("a plain name");
        let room = Room::new(5, gauge.clone());
        let mut one = Share::new(Arc::clone(&room));
        let mut other = Share::new(room);
        assert!(one.try_set(3));
        assert!(!other.try_set(3));
        assert!(other.try_set(2));
        assert!(!one.try_set(4) && !one.try_set(u64::MAX));
        assert_eq!(gauge.get(), 5);
        assert!(one.try_set(1));
        assert!(other.try_set(4));
        drop(one);
        assert_eq!(gauge.get(), 4);
        assert!(other.try_set(5));
    }

    #[test]
    fn a_name_that_no_topic_can_have_counts_by_its_length() {
        let named = |len: usize| weight(&TopicKey::Name(Arc::from("x".repeat(len))));
        assert_eq!((named(1), named(249), named(32_767)), (1, 1, 128));
        assert_eq!(weight(&TopicKey::Id(TopicId::ZERO)), 1);
    }
}
