//! What a node promised: topics that it acknowledged or showed, records in them, its terms.

use std::collections::{BTreeMap, BTreeSet};

use millrace_protocol::ids::TopicId;

use super::terms::Terms;

/// What may be there under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// This topic, with so many partitions.
    There(TopicId, i32),
    /// It was asked for with so many partitions, and never answered.
    Asked(i32),
    /// It was asked to go, and that was never answered.
    Leaving(TopicId, i32),
    /// None: it was acknowledged that it is gone.
    Gone,
}

/// A partition that records were sent to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Records {
    /// Values that may be there.
    pub(super) sent: BTreeSet<u64>,
    /// Values that are there, by their offsets.
    pub(super) kept: BTreeMap<i64, u64>,
    /// The log directory that held it when a record was acknowledged.
    pub(super) home: Option<&'static str>,
}

/// Everything promised.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Promises {
    /// The cluster's id, once a client was told.
    pub(super) cluster: Option<String>,
    pub(super) topics: BTreeMap<String, Known>,
    /// Topics that are gone: their ids never come back.
    pub(super) gone: BTreeSet<TopicId>,
    pub(super) records: BTreeMap<(TopicId, i32), Records>,
    pub(super) terms: Terms,
    /// The second directory knows the last start of the one with the metadata.
    pub(super) is_sighted: bool,
    /// An old copy was taken into use: it stays, and nothing may be missing from it.
    pub(super) copy_is_used: bool,
}

impl Promises {
    /// Holds all topics that a node shows against what may be there; from then on they are there.
    pub(super) fn shown(&mut self, shown: &BTreeMap<String, (TopicId, i32)>) -> Result<(), String> {
        for (name, (id, _)) in shown {
            if !self.topics.contains_key(name) {
                return Err(format!("nobody asked for topic {name}"));
            }
            if self.gone.contains(id) {
                return Err(format!("topic {name} is one that was removed"));
            }
        }
        for (name, known) in &mut self.topics {
            let found = shown.get(name).copied();
            let now = match (*known, found) {
                (Known::There(id, partitions), Some(found)) if found == (id, partitions) => *known,
                (Known::Leaving(id, partitions), Some(found)) if found == (id, partitions) => {
                    Known::There(id, partitions)
                }
                (Known::Asked(partitions), Some((id, found))) if found == partitions => {
                    Known::There(id, partitions)
                }
                (Known::Leaving(id, _), None) => {
                    self.gone.insert(id);
                    Known::Gone
                }
                (Known::Asked(_) | Known::Gone, None) => Known::Gone,
                (known, found) => {
                    return Err(format!("topic {name}: {found:?} is shown, {known:?}"));
                }
            };
            *known = now;
        }
        Ok(())
    }

    /// Topics that are there: name, id, partitions.
    pub(super) fn there(&self) -> Vec<(String, TopicId, i32)> {
        let there = self.topics.iter().filter_map(|(name, known)| match known {
            Known::There(id, partitions) => Some((name.clone(), *id, *partitions)),
            Known::Asked(_) | Known::Leaving(..) | Known::Gone => None,
        });
        there.collect()
    }

    /// Whether a log directory holds records that were acknowledged, of a topic that is there.
    pub(super) fn holds(&self, directory: &str) -> bool {
        let there: BTreeSet<TopicId> = self.there().into_iter().map(|(_, id, _)| id).collect();
        let mut records = self.records.iter();
        records.any(|((id, _), records)| records.home == Some(directory) && there.contains(id))
    }
}
