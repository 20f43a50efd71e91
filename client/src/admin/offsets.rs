//! Offsets: those that partitions have, and those that groups have committed.

use std::collections::BTreeMap;
use std::sync::Arc;

use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use millrace_protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use millrace_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use millrace_protocol::messages::{
    ListOffsetsRequest, OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest,
};

use super::groups::names;
use super::route::Lost;
use super::{Admin, Outcomes, by_topic};
use crate::client::refuse;
use crate::group::offsets;
use crate::{Error, Isolation, OffsetAndMetadata, OffsetOf, TopicPartition};

/// An offset that a partition has.
///
/// ```
/// # mod world { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/documented/world.rs")); }
/// # use millrace_client::{Admin, Isolation, OffsetOf, TopicPartition};
/// # world::run(async |cluster| {
/// let first = TopicPartition::new("orders", 0);
/// let ends = [(first.clone(), OffsetOf::End)];
/// let listed = Admin::new(&cluster).list_offsets(ends, Isolation::ReadUncommitted).await?;
/// assert_eq!(listed[&first].clone()?.offset, Some(0));
/// # Ok(()) });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListedOffset {
    /// The offset; `None` when no record is that late.
    pub offset: Option<i64>,
    /// The record's time in milliseconds since the Unix epoch, where it was found by one.
    pub timestamp_ms: Option<i64>,
    /// The leader epoch of the record, if the broker tells.
    pub leader_epoch: Option<i32>,
}

/// The first version that asks for several groups (KIP-709).
const MANY_GROUPS: i16 = 8;
/// The first version that may ask for the end of what is committed (KIP-98).
const ISOLATED: i16 = 2;
/// The first version in which the broker is told how long it may look into remote storage.
const TIMED: i16 = 10;

impl Admin {
    /// Offsets of partitions, each by its own question; their ends as a reader of this isolation sees
    /// them.
    pub async fn list_offsets(
        &self,
        of: impl IntoIterator<Item = (TopicPartition, OffsetOf)>,
        isolation: Isolation,
    ) -> Result<Outcomes<TopicPartition, ListedOffset>, Error> {
        let of: BTreeMap<TopicPartition, OffsetOf> = of.into_iter().collect();
        let request = |version, items: &[TopicPartition]| {
            let topic = |(name, partitions): (&str, Vec<i32>)| {
                let mut topic = ListOffsetsTopic::default();
                topic.name = name.into();
                let partition = |index: i32| {
                    let mut partition = ListOffsetsPartition::default();
                    partition.partition_index = index;
                    partition.timestamp = match of.get(&TopicPartition::new(name, index)) {
                        Some(OffsetOf::Start) => -2,
                        Some(OffsetOf::Time(ms)) => (*ms).max(0),
                        Some(OffsetOf::End) | None => -1,
                    };
                    partition
                };
                topic.partitions = partitions.into_iter().map(partition).collect();
                topic
            };
            let mut request = ListOffsetsRequest::default();
            request.replica_id = -1;
            if version >= ISOLATED {
                request.isolation_level = i8::from(isolation == Isolation::ReadCommitted);
            }
            request.topics = by_topic(items).into_iter().map(topic).collect();
            if version >= TIMED {
                request.timeout_ms = self.timeout_ms();
            }
            request
        };
        let items = of.keys().cloned();
        self.spread(items, Lost::AskAgain, request, |answer, outcomes| {
            for topic in answer.read()?.topics {
                for told in topic.partitions {
                    let item = TopicPartition::new(topic.name, told.partition_index);
                    let outcome = refuse(told.error_code, || format!("an offset of {item}"));
                    let listed = ListedOffset {
                        offset: (told.offset >= 0).then_some(told.offset),
                        timestamp_ms: (told.timestamp >= 0).then_some(told.timestamp),
                        leader_epoch: (told.leader_epoch >= 0).then_some(told.leader_epoch),
                    };
                    outcomes.insert(item, outcome.map(|()| listed));
                }
            }
            Ok(())
        })
        .await
    }

    /// All offsets that these groups have committed. A group that isn't there has none.
    pub async fn committed_offsets(
        &self,
        groups: &[&str],
    ) -> Result<Outcomes<Arc<str>, BTreeMap<TopicPartition, OffsetAndMetadata>>, Error> {
        let mut outcomes = Outcomes::new();
        // Before version 8 a request is about one group.
        for group in groups {
            let request = |version, groups: &[Arc<str>]| {
                let mut request = OffsetFetchRequest::default();
                for group in groups {
                    if version >= MANY_GROUPS {
                        let mut asked = OffsetFetchRequestGroup::default();
                        asked.group_id = (&**group).into();
                        asked.topics = None;
                        request.groups.push(asked);
                    } else {
                        request.group_id = (&**group).into();
                        request.topics = None;
                    }
                }
                request
            };
            let told = self.spread(names(&[group]), Lost::AskAgain, request, |answer, told| {
                let outcome = offsets::read(group, &answer.read()?);
                told.insert((*group).into(), outcome);
                Ok(())
            });
            outcomes.extend(told.await?);
        }
        Ok(outcomes)
    }

    /// Has a group go on at these offsets. Refused while the group has members.
    pub async fn alter_offsets(
        &self,
        group: &str,
        offsets: &BTreeMap<TopicPartition, OffsetAndMetadata>,
    ) -> Result<Outcomes<TopicPartition, ()>, Error> {
        let request = |_, groups: &[Arc<str>]| {
            let mut request = OffsetCommitRequest::default();
            request.group_id = groups
                .first()
                .map(|group| (&**group).into())
                .unwrap_or_default();
            request.generation_id_or_member_epoch = -1;
            request.topics = offsets::rows(offsets);
            request
        };
        let told = self.spread(names(&[group]), Lost::AskAgain, request, |answer, told| {
            let mut outcomes = Outcomes::new();
            for topic in answer.read()?.topics {
                for partition in topic.partitions {
                    let item = TopicPartition::new(topic.name, partition.partition_index);
                    let what = || format!("to set the offset of group {group} in {item}");
                    let outcome = refuse(partition.error_code, what);
                    moved_on(&outcome)?;
                    outcomes.insert(item, outcome);
                }
            }
            told.insert(group.into(), Ok(outcomes));
            Ok(())
        });
        the_only(group, told.await?)
    }

    /// Has a group forget what it committed of these partitions. Refused for topics that its members
    /// have subscribed to.
    pub async fn delete_offsets(
        &self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<Outcomes<TopicPartition, ()>, Error> {
        let request = |_, groups: &[Arc<str>]| {
            let topic = |(name, partitions): (&str, Vec<i32>)| {
                let mut topic = OffsetDeleteRequestTopic::default();
                topic.name = name.into();
                let partition = |index: i32| {
                    let mut partition = OffsetDeleteRequestPartition::default();
                    partition.partition_index = index;
                    partition
                };
                topic.partitions = partitions.into_iter().map(partition).collect();
                topic
            };
            let mut request = OffsetDeleteRequest::default();
            request.group_id = groups
                .first()
                .map(|group| (&**group).into())
                .unwrap_or_default();
            request.topics = by_topic(partitions).into_iter().map(topic).collect();
            request
        };
        let told = self.spread(names(&[group]), Lost::AskAgain, request, |answer, told| {
            let answer = answer.read()?;
            refuse(answer.error_code, || {
                format!("to delete offsets of group {group}")
            })?;
            let mut outcomes = Outcomes::new();
            for topic in answer.topics {
                for partition in topic.partitions {
                    let item = TopicPartition::new(topic.name, partition.partition_index);
                    let what = || format!("to delete the offset of group {group} in {item}");
                    let outcome = refuse(partition.error_code, what);
                    outcomes.insert(item, outcome);
                }
            }
            told.insert(group.into(), Ok(outcomes));
            Ok(())
        });
        the_only(group, told.await?)
    }
}

fn the_only<V>(group: &str, mut told: Outcomes<Arc<str>, V>) -> Result<V, Error> {
    told.remove(group).unwrap_or_else(|| {
        Err(Error::NoBroker {
            reasons: format!("nobody answered for group {group}"),
        })
    })
}

/// A coordinator that is one no more, or not yet, says so of each partition: all is asked again.
fn moved_on(outcome: &Result<(), Error>) -> Result<(), Error> {
    let gone = [
        ErrorCode::NotCoordinator,
        ErrorCode::CoordinatorNotAvailable,
        ErrorCode::CoordinatorLoadInProgress,
    ];
    if let Err(error @ Error::Broker { code, .. }) = outcome
        && gone.contains(code)
    {
        return Err(error.clone());
    }
    Ok(())
}
