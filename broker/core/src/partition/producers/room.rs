//! Who is forgotten for want of room.
//!
//! Always: never one with an open transaction, nor one that may send its last batch again, as far
//! as the times that are remembered tell.

use super::{Producer, ProducerTable, signed_ns};
use crate::partition::reject::Reject;
use crate::partition::settings::Settings;
use crate::{NS_PER_MS, Now};

/// Milliseconds after its last append in which no producer is forgotten for want of room. A client
/// whose acknowledgement was lost sends again until `delivery.timeout.ms`, 2 minutes by default; a
/// producer that isn't known may begin anywhere, so its batch would be in the log twice. 15 minutes
/// are room for clients that are set to wait for longer, and short enough that producers made once
/// per job don't keep later ones out for long.
pub const RETRY_WINDOW_MS: u64 = 15 * 60_000;

/// What decides whether one more producer has room.
#[derive(Clone, Copy, Debug)]
pub(in crate::partition) struct Room<'a> {
    pub(in crate::partition) now: Now,
    pub(in crate::partition) settings: &'a Settings,
    /// All partitions together remember as many as they may.
    pub(in crate::partition) crowded: bool,
}

impl Producer {
    /// Whether its last append is so long ago that nobody sends that again.
    fn is_idle(&self, now: Now) -> bool {
        let window_ns = signed_ns(RETRY_WINDOW_MS * NS_PER_MS);
        self.last_seen_ns.saturating_add(window_ns) <= signed_ns(now.mono_ns)
    }

    /// Ascending from the one idle for longest. Of those replayed or loaded together, the one whose
    /// last batch lies furthest back comes first.
    fn age(&self) -> (i64, i64) {
        let last = self.batches().last();
        (
            self.last_seen_ns,
            last.map_or(-1, |batch| batch.last_offset),
        )
    }
}

impl ProducerTable {
    /// Forgets those idle for longest until at most `keep` are left, but for those with an open
    /// transaction and those that may be sent again (see [`RETRY_WINDOW_MS`]). The log doesn't say
    /// when what was replayed was appended: of it those whose last batch is among the newest
    /// `partition_max` of the partition are kept, because no more were remembered before, and who
    /// had appended lately was among them.
    pub fn keep_newest(&mut self, now: Now, keep: usize, partition_max: usize) {
        let excess = self.producers.len().saturating_sub(keep);
        if excess == 0 {
            return;
        }
        let mut by_offset: Vec<(i64, i64)> = self
            .producers
            .iter()
            .map(|(id, producer)| (producer.age().1, *id))
            .collect();
        by_offset.sort_unstable();
        let old = by_offset.len().saturating_sub(partition_max);
        let mut idle: Vec<((i64, i64), i64)> = by_offset
            .iter()
            .enumerate()
            .filter_map(|(rank, (_, id))| self.producers.get(id).map(|found| (rank, *id, found)))
            .filter(|(rank, _, producer)| {
                let gone = producer.is_idle(now) || producer.replayed && *rank < old;
                producer.open_txn.is_none() && gone
            })
            .map(|(_, id, producer)| (producer.age(), id))
            .collect();
        idle.sort_unstable();
        for (_, id) in idle.into_iter().take(excess) {
            self.producers.remove(&id);
        }
    }

    /// Who has to go before one more producer comes: nobody, or of those that nobody waits for any
    /// more the one idle for longest. The first producer of a partition always has room, however
    /// crowded the broker is.
    pub(super) fn room(&self, room: Room<'_>) -> Result<Option<i64>, Reject> {
        let full = room.crowded && !self.producers.is_empty();
        if self.producers.len() < room.settings.producers_max && !full {
            return Ok(None);
        }
        let idle = self
            .producers
            .iter()
            .filter(|(_, producer)| producer.open_txn.is_none() && producer.is_idle(room.now));
        let longest = idle.min_by_key(|(id, producer)| (producer.age(), **id));
        longest
            .map(|(id, _)| Some(*id))
            .ok_or(Reject::TooManyProducers {
                remembered: self.producers.len(),
            })
    }
}
