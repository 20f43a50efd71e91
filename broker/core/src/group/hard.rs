//! A group's hard state: what its records say, and nothing else.
//!
//! What always holds: only [`Hard::replay`] changes it, live and when it is loaded, so that both
//! come to the same.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::record::{Committed, Generation, KeptMember, Record};
use super::request::Text;

/// What a topic takes beside its offsets: its name, and a map of its own.
const TOPIC_BYTES: usize = 1024;

/// What is kept of one group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Hard {
    /// The newest generation that was written down.
    pub(super) generation: Option<Arc<Generation>>,
    /// Offsets by topic and partition.
    pub(super) offsets: BTreeMap<Text, BTreeMap<i32, Committed>>,
    /// What all that takes, in bytes, about.
    pub(super) held_bytes: usize,
    /// Offset of the newest record of the group, which may not be committed yet; -1 for none.
    pub(super) last_offset: i64,
}

impl Hard {
    /// Takes in one of its records, which lies at `offset`.
    pub(super) fn replay(&mut self, offset: i64, record: &Record) {
        self.last_offset = offset;
        let topics_before = self.offsets.len();
        let (before, after) = match record {
            Record::Group(_, generation) => {
                let before = std::mem::replace(&mut self.generation, generation.clone());
                let bytes = |kept: &Option<Arc<Generation>>| kept.as_deref().map(Generation::bytes);
                (bytes(&before), bytes(generation))
            }
            Record::Offset {
                topic,
                partition,
                value,
                ..
            } => {
                let before = self.set_offset(topic, *partition, value.as_ref());
                let bytes = |kept: &Committed| kept.bytes();
                (before.as_ref().map(bytes), value.as_ref().map(bytes))
            }
        };
        self.held_bytes += after.unwrap_or(0) + TOPIC_BYTES * self.offsets.len();
        let before = before.unwrap_or(0) + TOPIC_BYTES * topics_before;
        self.held_bytes = self.held_bytes.saturating_sub(before);
    }

    /// Gives back what was kept before.
    fn set_offset(
        &mut self,
        topic: &Text,
        partition: i32,
        value: Option<&Committed>,
    ) -> Option<Committed> {
        if let Some(value) = value {
            let partitions = self.offsets.entry(Arc::clone(topic)).or_default();
            return partitions.insert(partition, value.clone());
        }
        let partitions = self.offsets.get_mut(topic)?;
        let before = partitions.remove(&partition);
        if partitions.is_empty() {
            self.offsets.remove(topic);
        }
        before
    }

    /// Whether nothing is kept.
    pub(super) fn is_empty(&self) -> bool {
        self.generation.is_none() && self.offsets.is_empty()
    }

    /// What a member was assigned in the generation that is kept.
    pub(super) fn assignment(&self, member_id: &str) -> Arc<[u8]> {
        let kept = self.generation.as_ref().and_then(|kept| {
            let by_id = |member: &KeptMember| (*member.member_id).cmp(member_id);
            let at = kept.members.binary_search_by(by_id).ok()?;
            kept.members.get(at)
        });
        kept.map_or_else(|| Arc::from([]), |kept| Arc::clone(&kept.assignment))
    }
}
