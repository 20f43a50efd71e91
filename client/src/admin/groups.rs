//! Groups: which there are, who is in them, and their end.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::messages::{DeleteGroupsRequest, DescribeGroupsRequest, ListGroupsRequest};

use super::route::Lost;
use super::topics::because;
use super::{Admin, Outcomes};
use crate::client::refuse;
use crate::{Error, TopicPartition};

/// A group, as it is listed.
///
/// ```
/// # mod world { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/documented/world.rs")); }
/// # use millrace_client::Admin;
/// # world::run(async |cluster| {
/// for group in Admin::new(&cluster).list_groups().await? {
///     println!("{} is {}", group.group, group.state);
/// }
/// # Ok(()) });
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedGroup {
    /// Its name.
    pub group: String,
    /// What its members speak; `consumer` for consumers, empty for offsets without members.
    pub protocol_type: String,
    /// Its state, such as `Stable`; empty from a broker before Kafka 2.6.
    pub state: String,
    /// Its type, such as `classic`; empty from a broker before Kafka 3.8.
    pub kind: String,
    /// Its coordinator.
    pub coordinator: i32,
}

/// A classic group with its members.
///
/// ```
/// # mod world { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/documented/world.rs")); }
/// # use millrace_client::{Admin, Error};
/// # world::run(async |cluster| {
/// let described = Admin::new(&cluster).describe_groups(&["billing"]).await?;
/// for (group, summary) in described {
///     match summary {
///         Ok(summary) => println!("{group} is {}", summary.state),
///         Err(Error::Broker { code, .. }) => println!("{group}: {code:?}"),
///         Err(error) => return Err(error),
///     }
/// }
/// # Ok(()) });
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupSummary {
    /// Its state, such as `Stable` or `Empty`.
    pub state: String,
    /// What its members speak.
    pub protocol_type: String,
    /// The protocol that they chose: the assignor, for consumers.
    pub protocol: String,
    /// Its members.
    pub members: Vec<GroupMember>,
}

/// A member of a group.
///
/// ```
/// # mod world { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/documented/world.rs")); }
/// # use millrace_client::Admin;
/// # world::run(async |cluster| {
/// let described = Admin::new(&cluster).describe_groups(&["billing"]).await?;
/// for member in described.into_values().flatten().flat_map(|group| group.members) {
///     println!("{} at {} reads {} partitions", member.id, member.host, member.partitions.len());
/// }
/// # Ok(()) });
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMember {
    /// Its id.
    pub id: String,
    /// What a static member calls itself (KIP-345).
    pub instance_id: Option<String>,
    /// Its client's name.
    pub client_id: String,
    /// Its address.
    pub host: String,
    /// What it was assigned, for consumers.
    pub partitions: Vec<TopicPartition>,
    /// The same as it was said, in bytes that the assignor understands.
    pub assignment: Bytes,
}

impl Admin {
    /// The groups of all brokers, by name.
    pub async fn list_groups(&self) -> Result<Vec<ListedGroup>, Error> {
        let told = self.call_brokers(
            |_| ListGroupsRequest::default(),
            |answer| {
                let answer = answer.read()?;
                refuse(answer.error_code, || "to list groups".to_owned())?;
                let groups = answer.groups.into_iter().map(|group| ListedGroup {
                    group: group.group_id.to_owned(),
                    protocol_type: group.protocol_type.to_owned(),
                    state: group.group_state.to_owned(),
                    kind: group.group_type.to_owned(),
                    coordinator: -1,
                });
                Ok(groups.collect::<Vec<_>>())
            },
        );
        let mut groups = BTreeMap::new();
        for (broker, listed) in told.await? {
            for mut group in listed {
                group.coordinator = broker;
                // A group that moves between two answers is in both.
                groups.insert(group.group.clone(), group);
            }
        }
        Ok(groups.into_values().collect())
    }

    /// Groups with their members. A group that isn't there is refused with
    /// [`ErrorCode::GroupIdNotFound`], and so is one of another type than the classic, whose offsets
    /// can be asked for all the same.
    pub async fn describe_groups(
        &self,
        groups: &[&str],
    ) -> Result<Outcomes<Arc<str>, GroupSummary>, Error> {
        let request = |_, groups: &[Arc<str>]| {
            let mut request = DescribeGroupsRequest::default();
            request.groups = groups.iter().map(|group| (&**group).into()).collect();
            request
        };
        self.spread(
            names(groups),
            Lost::AskAgain,
            request,
            |answer, outcomes| {
                for told in answer.read()?.groups {
                    let what = || format!("to describe group {}", told.group_id);
                    let mut outcome =
                        refuse(told.error_code, || because(what(), told.error_message));
                    // Until Kafka 4.0 a group that isn't there was a dead one.
                    if outcome.is_ok() && told.group_state == "Dead" {
                        outcome = refuse(ErrorCode::GroupIdNotFound.code(), what);
                    }
                    let members = told.members.into_iter().map(|member| GroupMember {
                        id: member.member_id.to_owned(),
                        instance_id: member.group_instance_id.map(str::to_owned),
                        client_id: member.client_id.to_owned(),
                        host: member.client_host.to_owned(),
                        partitions: assigned(member.member_assignment).unwrap_or_default(),
                        assignment: answer.share(member.member_assignment),
                    });
                    let summary = outcome.map(|()| GroupSummary {
                        state: told.group_state.to_owned(),
                        protocol_type: told.protocol_type.to_owned(),
                        protocol: told.protocol_data.to_owned(),
                        members: members.collect(),
                    });
                    outcomes.insert(told.group_id.into(), summary);
                }
                Ok(())
            },
        )
        .await
    }

    /// Removes groups with their offsets. One with members is refused.
    pub async fn delete_groups(&self, groups: &[&str]) -> Result<Outcomes<Arc<str>, ()>, Error> {
        let request = |_, groups: &[Arc<str>]| {
            let mut request = DeleteGroupsRequest::default();
            request.groups_names = groups.iter().map(|group| (&**group).into()).collect();
            request
        };
        self.spread(names(groups), Lost::Tell, request, |answer, outcomes| {
            for told in answer.read()?.results {
                let what = || format!("to delete group {}", told.group_id);
                outcomes.insert(told.group_id.into(), refuse(told.error_code, what));
            }
            Ok(())
        })
        .await
    }
}

pub(super) fn names(groups: &[&str]) -> Vec<Arc<str>> {
    groups.iter().map(|group| (*group).into()).collect()
}

/// The partitions of a consumer's assignment (`ConsumerProtocolAssignment`: int16 version, topics with
/// their partitions); `None` when the bytes are something else.
fn assigned(mut said: &[u8]) -> Option<Vec<TopicPartition>> {
    if said.try_get_i16().ok()? < 0 {
        return None;
    }
    let mut partitions = Vec::new();
    for _ in 0..said.try_get_i32().ok()? {
        let length = usize::try_from(said.try_get_i16().ok()?).ok()?;
        let (name, rest) = said.split_at_checked(length)?;
        said = rest;
        let topic: Arc<str> = std::str::from_utf8(name).ok()?.into();
        for _ in 0..said.try_get_i32().ok()? {
            partitions.push(TopicPartition {
                topic: Arc::clone(&topic),
                partition: said.try_get_i32().ok()?,
            });
        }
    }
    Some(partitions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assignment_is_read_and_other_bytes_are_none() {
        // Version 1; topic "ab" with partitions 0 and 2; no user data.
        let bytes = [
            &[0, 1][..],
            &[0, 0, 0, 1],
            &[0, 2, b'a', b'b'],
            &[0, 0, 0, 2],
            &[0, 0, 0, 0],
            &[0, 0, 0, 2],
            &[255, 255, 255, 255],
        ]
        .concat();
        let expected = [TopicPartition::new("ab", 0), TopicPartition::new("ab", 2)];
        assert_eq!(assigned(&bytes).unwrap(), expected);
        for end in 0..bytes.len() - 4 {
            assert_eq!(assigned(&bytes[..end]), None, "{end}");
        }
        // A count that the bytes can't hold is given up at the first topic that isn't there.
        assert_eq!(assigned(&[0, 1, 127, 255, 255, 255]), None);
        assert_eq!(assigned(b""), None);
    }
}
