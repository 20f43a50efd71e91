//! A group's hard state: what its records say, and nothing else.
//!
//! What always holds: only [`Hard::replay`] changes it, live and when it is loaded, so that both
//! come to the same.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::record::{Committed, Generation, KeptMember, Record};
use super::request::Text;

/// What is kept of one group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Hard {
    /// The newest generation that was written down.
    pub(super) generation: Option<Arc<Generation>>,
    /// Offsets by topic and partition.
    pub(super) offsets: BTreeMap<Text, BTreeMap<i32, Committed>>,
    /// Offset of the newest record of the group, which may not be committed yet; -1 for none.
    pub(super) last_offset: i64,
}

impl Hard {
    /// Takes in one of its records, which lies at `offset`.
    pub(super) fn replay(&mut self, offset: i64, record: &Record) {
        self.last_offset = offset;
        match record {
            Record::Group(_, generation) => self.generation.clone_from(generation),
            Record::Offset {
                topic,
                partition,
                value: Some(value),
                ..
            } => {
                let partitions = self.offsets.entry(Arc::clone(topic)).or_default();
                partitions.insert(*partition, value.clone());
            }
            Record::Offset {
                topic,
                partition,
                value: None,
                ..
            } => {
                if let Some(partitions) = self.offsets.get_mut(topic) {
                    partitions.remove(partition);
                    if partitions.is_empty() {
                        self.offsets.remove(topic);
                    }
                }
            }
        }
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
