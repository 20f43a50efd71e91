//! What a group keeps: the facts that are written to `__consumer_offsets`, as values.
//!
//! What always holds: [`Record::encode`] and [`Record::decode`] are each other's inverse for what
//! the broker writes; a record that isn't understood is no record ([`Record::decode`] says so), and
//! is skipped, so that a newer broker's log can be read.

use std::sync::Arc;

use millrace_protocol::coordinator::{
    GroupMember, GroupMetadata, GroupMetadataValue, Key, OffsetCommitKey, OffsetCommitValue,
    group_metadata_key, group_metadata_value, offset_commit_key, offset_commit_value, read_key,
    read_value,
};
use millrace_protocol::ids::TopicId;

use super::request::Text;

/// One fact about one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// The group and its members; `None` when it is gone.
    Group(Text, Option<Arc<Generation>>),
    /// The offset of a partition; `None` when it is gone.
    Offset {
        /// Whose.
        group: Text,
        /// The topic's name.
        topic: Text,
        /// Number of the partition.
        partition: i32,
        /// What was committed.
        value: Option<Committed>,
    },
}

/// A generation of a group whose assignment is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generation {
    /// What the members speak; empty when none ever joined.
    pub protocol_type: Text,
    /// Its number.
    pub generation: i32,
    /// The protocol that the members agreed on.
    pub protocol: Option<Text>,
    /// The member that assigns.
    pub leader: Option<Text>,
    /// Since when the group is in its state, milliseconds since the Unix epoch; -1 for unknown.
    pub since_ms: i64,
    /// The members, by their ids ascending, each once.
    pub members: Vec<KeptMember>,
}

/// A member as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptMember {
    /// Its id.
    pub member_id: Text,
    /// What it calls itself, if it is static.
    pub group_instance_id: Option<Text>,
    /// The client's id.
    pub client_id: Text,
    /// Its address.
    pub client_host: Text,
    /// How long a rebalance waits for it.
    pub rebalance_timeout_ms: i32,
    /// Without a sign of life for that long it is no member any more.
    pub session_timeout_ms: i32,
    /// What it said in the protocol that was chosen.
    pub subscription: Arc<[u8]>,
    /// What it was assigned.
    pub assignment: Arc<[u8]>,
}

/// An offset that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The offset of the record to be read next.
    pub offset: i64,
    /// Leader epoch of the last record that was read; -1 for none.
    pub leader_epoch: i32,
    /// Whatever the client wrote beside it.
    pub metadata: Text,
    /// When it was committed, milliseconds since the Unix epoch.
    pub committed_at_ms: i64,
    /// When it expires, if the client said so.
    pub expires_at_ms: Option<i64>,
    /// The topic's id; zero where the client named the topic only.
    pub topic_id: TopicId,
}

impl Record {
    /// Whose record it is.
    pub fn group(&self) -> &Text {
        match self {
            Self::Group(group, _) | Self::Offset { group, .. } => group,
        }
    }

    /// Key and value, as they lie in the log.
    pub fn encode(&self) -> (Vec<u8>, Option<Vec<u8>>) {
        match self {
            Self::Group(group, value) => {
                let value = value.as_ref().map(|generation| generation.encode());
                (group_metadata_key(group), value)
            }
            Self::Offset {
                group,
                topic,
                partition,
                value,
            } => {
                let key = offset_commit_key(OffsetCommitKey {
                    group,
                    topic,
                    partition: *partition,
                });
                (key, value.as_ref().map(Committed::encode))
            }
        }
    }

    /// The record that lies in the log; `None` for one of a kind that isn't known here.
    ///
    /// # Errors
    ///
    /// What is wrong with the bytes.
    pub fn decode(key: &[u8], value: Option<&[u8]>) -> Result<Option<Self>, String> {
        let key = read_key(key).map_err(|error| format!("its key can't be read: {error}"))?;
        let record = match key {
            Key::OffsetCommit(key) => Self::Offset {
                group: key.group.into(),
                topic: key.topic.into(),
                partition: key.partition,
                value: value.map(Committed::decode).transpose()?,
            },
            Key::GroupMetadata(key) => {
                let value = value.map(Generation::decode).transpose()?;
                Self::Group(key.group.into(), value.map(Arc::new))
            }
            Key::Unknown(_) => return Ok(None),
        };
        Ok(Some(record))
    }
}

/// What a member or a generation takes beside its texts, with what holds it.
const KEPT_BYTES: usize = 256;
/// What an offset takes beside its metadata, with what holds it.
const OFFSET_BYTES: usize = 192;

/// A text of its own, but for an empty one, which all share: nearly every offset has that beside it.
fn shared_if_empty(said: &str) -> Text {
    if said.is_empty() {
        Text::default()
    } else {
        said.into()
    }
}

impl Generation {
    /// What it takes in memory, about.
    pub(super) fn bytes(&self) -> usize {
        let members = self.members.iter().map(|member| {
            let said = member.subscription.len() + member.assignment.len();
            let name = member.group_instance_id.as_deref().map_or(0, str::len);
            KEPT_BYTES + member.member_id.len() + name + member.client_id.len() + said
        });
        KEPT_BYTES + members.sum::<usize>()
    }

    fn encode(&self) -> Vec<u8> {
        let group = GroupMetadata {
            protocol_type: &self.protocol_type,
            generation: self.generation,
            protocol: self.protocol.as_deref(),
            leader: self.leader.as_deref(),
            current_state_timestamp_ms: self.since_ms,
        };
        let members = self.members.iter().map(|member| GroupMember {
            member_id: &member.member_id,
            group_instance_id: member.group_instance_id.as_deref(),
            client_id: &member.client_id,
            client_host: &member.client_host,
            rebalance_timeout_ms: member.rebalance_timeout_ms,
            session_timeout_ms: member.session_timeout_ms,
            subscription: &member.subscription,
            assignment: &member.assignment,
        });
        group_metadata_value(group, members)
    }

    fn decode(bytes: &[u8]) -> Result<Self, String> {
        let value: GroupMetadataValue<'_> =
            read_value(bytes).map_err(|error| format!("its group can't be read: {error}"))?;
        let members = value.members.into_iter().map(|member| KeptMember {
            member_id: member.member_id.into(),
            group_instance_id: member.group_instance_id.map(Text::from),
            client_id: member.client_id.into(),
            client_host: member.client_host.into(),
            rebalance_timeout_ms: match member.rebalance_timeout_ms {
                // Of version 0, which did not tell the two apart.
                ..0 => member.session_timeout_ms,
                known => known,
            },
            session_timeout_ms: member.session_timeout_ms,
            subscription: member.subscription.into(),
            assignment: member.assignment.into(),
        });
        let mut members: Vec<KeptMember> = members.collect();
        // Kafka writes them in any order.
        members.sort_by(|one, other| one.member_id.cmp(&other.member_id));
        members.dedup_by(|one, other| one.member_id == other.member_id);
        Ok(Self {
            protocol_type: value.protocol_type.into(),
            generation: value.generation,
            protocol: value.protocol.map(Text::from),
            leader: value.leader.map(Text::from),
            since_ms: value.current_state_timestamp_ms,
            members,
        })
    }
}

impl Committed {
    /// What it takes in memory, about.
    pub(super) fn bytes(&self) -> usize {
        OFFSET_BYTES + self.metadata.len()
    }

    fn encode(&self) -> Vec<u8> {
        offset_commit_value(OffsetCommitValue {
            offset: self.offset,
            leader_epoch: self.leader_epoch,
            metadata: &self.metadata,
            commit_timestamp_ms: self.committed_at_ms,
            expire_timestamp_ms: self.expires_at_ms.unwrap_or(-1),
            topic_id: self.topic_id,
        })
    }

    fn decode(bytes: &[u8]) -> Result<Self, String> {
        let value: OffsetCommitValue<'_> =
            read_value(bytes).map_err(|error| format!("its offset can't be read: {error}"))?;
        Ok(Self {
            offset: value.offset,
            leader_epoch: value.leader_epoch,
            metadata: shared_if_empty(value.metadata),
            committed_at_ms: value.commit_timestamp_ms,
            expires_at_ms: Some(value.expire_timestamp_ms).filter(|at| *at >= 0),
            topic_id: value.topic_id,
        })
    }
}
