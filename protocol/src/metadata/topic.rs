//! Bytes of the records about topics and their partitions.

use super::record::{PartitionChangeRecord, PartitionRecord, TopicRecord};
use super::wire::{
    Broken, Layout, OWN_TAG, Reader, Tags, write_ids, write_int32s, write_no_tags, write_string,
};
use crate::ids::TopicId;

/// `PartitionChangeRecord.Leader`: as it is.
const LEADER_UNCHANGED: i32 = -2;
/// `PartitionChangeRecord.LeaderRecoveryState`: as it is.
const RECOVERY_UNCHANGED: i8 = -1;

impl Layout for TopicRecord {
    const NAME: &'static str = "TopicRecord";
    const KEY: u32 = 2;
    const NEWEST: u32 = 0;
    const WRITTEN: u32 = 0;

    fn write(&self, out: &mut Vec<u8>) {
        write_string(out, &self.name);
        out.extend_from_slice(&self.topic_id.to_bytes());
        write_no_tags(out);
    }

    fn read(bytes: &mut Reader<'_>, _version: u32) -> Result<Self, Broken> {
        let record = Self {
            name: bytes.string()?,
            topic_id: bytes.id()?,
        };
        bytes.no_tags()?;
        Ok(record)
    }
}

/// `RemoveTopicRecord`: the topic's id, and in a field of our own which directories still hold its
/// data, where that is what the record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RemoveTopic {
    pub(super) topic_id: TopicId,
    pub(super) pending: Option<Vec<TopicId>>,
}

impl Layout for RemoveTopic {
    const NAME: &'static str = "RemoveTopicRecord";
    const KEY: u32 = 9;
    const NEWEST: u32 = 0;
    const WRITTEN: u32 = 0;

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.topic_id.to_bytes());
        let mut tags = Tags::default();
        if let Some(pending) = &self.pending {
            tags.add(OWN_TAG, |out| write_ids(out, pending));
        }
        tags.write(out);
    }

    fn read(bytes: &mut Reader<'_>, _version: u32) -> Result<Self, Broken> {
        let mut record = Self {
            topic_id: bytes.id()?,
            pending: None,
        };
        bytes.tags(|tag, field| {
            if tag != OWN_TAG {
                return Ok(false);
            }
            record.pending = Some(field.array(Reader::id)?);
            Ok(true)
        })?;
        Ok(record)
    }
}

impl Layout for PartitionRecord {
    const NAME: &'static str = "PartitionRecord";
    const KEY: u32 = 3;
    const NEWEST: u32 = 2;
    const WRITTEN: u32 = 1;

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.partition_id.to_be_bytes());
        out.extend_from_slice(&self.topic_id.to_bytes());
        write_int32s(out, &self.replicas);
        write_int32s(out, &self.isr);
        write_int32s(out, &self.removing_replicas);
        write_int32s(out, &self.adding_replicas);
        out.extend_from_slice(&self.leader.to_be_bytes());
        out.extend_from_slice(&self.leader_epoch.to_be_bytes());
        out.extend_from_slice(&self.partition_epoch.to_be_bytes());
        write_ids(out, &self.directories);
        let mut tags = Tags::default();
        if self.leader_recovery_state != 0 {
            tags.add(0, |out| {
                out.extend_from_slice(&self.leader_recovery_state.to_be_bytes());
            });
        }
        tags.write(out);
    }

    fn read(bytes: &mut Reader<'_>, version: u32) -> Result<Self, Broken> {
        let mut record = Self {
            partition_id: bytes.int32()?,
            topic_id: bytes.id()?,
            replicas: bytes.array(Reader::int32)?,
            isr: bytes.array(Reader::int32)?,
            removing_replicas: bytes.array(Reader::int32)?,
            adding_replicas: bytes.array(Reader::int32)?,
            leader: bytes.int32()?,
            leader_recovery_state: 0,
            leader_epoch: bytes.int32()?,
            partition_epoch: bytes.int32()?,
            directories: if version >= 1 {
                bytes.array(Reader::id)?
            } else {
                Vec::new()
            },
        };
        bytes.tags(|tag, field| match tag {
            0 => {
                record.leader_recovery_state = field.int8()?;
                Ok(true)
            }
            1 | 2 if version >= 2 => no_eligible_leaders(field),
            _ => Ok(false),
        })?;
        Ok(record)
    }
}

/// Eligible leader replicas (KIP-966) are no part of our values; none or an empty list loses nothing.
fn no_eligible_leaders(field: &mut Reader<'_>) -> Result<bool, Broken> {
    match field.nullable_array(Reader::int32)? {
        Some(replicas) if !replicas.is_empty() => {
            Err(Broken::Unsupported("eligible leader replicas"))
        }
        _ => Ok(true),
    }
}

impl Layout for PartitionChangeRecord {
    const NAME: &'static str = "PartitionChangeRecord";
    const KEY: u32 = 5;
    const NEWEST: u32 = 2;
    const WRITTEN: u32 = 1;

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.partition_id.to_be_bytes());
        out.extend_from_slice(&self.topic_id.to_bytes());
        let mut tags = Tags::default();
        if let Some(isr) = &self.isr {
            tags.add(0, |out| write_int32s(out, isr));
        }
        if let Some(leader) = self.leader {
            tags.add(1, |out| out.extend_from_slice(&leader.to_be_bytes()));
        }
        let lists = [
            &self.replicas,
            &self.removing_replicas,
            &self.adding_replicas,
        ];
        for (tag, list) in (2..).zip(lists) {
            if let Some(list) = list {
                tags.add(tag, |out| write_int32s(out, list));
            }
        }
        if let Some(state) = self.leader_recovery_state {
            tags.add(5, |out| out.extend_from_slice(&state.to_be_bytes()));
        }
        if let Some(directories) = &self.directories {
            tags.add(8, |out| write_ids(out, directories));
        }
        tags.write(out);
    }

    fn read(bytes: &mut Reader<'_>, version: u32) -> Result<Self, Broken> {
        let mut record = Self {
            partition_id: bytes.int32()?,
            topic_id: bytes.id()?,
            ..Self::default()
        };
        bytes.tags(|tag, field| {
            match tag {
                0 => record.isr = field.nullable_array(Reader::int32)?,
                1 => record.leader = Some(field.int32()?).filter(|id| *id != LEADER_UNCHANGED),
                2 => record.replicas = field.nullable_array(Reader::int32)?,
                3 => record.removing_replicas = field.nullable_array(Reader::int32)?,
                4 => record.adding_replicas = field.nullable_array(Reader::int32)?,
                5 => {
                    let state = Some(field.int8()?);
                    record.leader_recovery_state = state.filter(|it| *it != RECOVERY_UNCHANGED);
                }
                6 | 7 if version >= 2 => return no_eligible_leaders(field),
                8 if version >= 1 => record.directories = field.nullable_array(Reader::id)?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(record)
    }
}
