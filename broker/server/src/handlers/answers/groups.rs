//! Memory of the answers about consumer groups, as far as their requests tell it. What a group itself
//! adds, such as what its members said, takes room when it is known.

use millrace_core::group::{CommitPartition, Leaving, Protocol};
use millrace_protocol::messages::delete_groups_response::DeletableGroupResult;
use millrace_protocol::messages::describe_groups_response::DescribedGroup;
use millrace_protocol::messages::leave_group_response::MemberResponse;
use millrace_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use millrace_protocol::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use millrace_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartitions, OffsetFetchResponseTopics,
};
use millrace_protocol::requests::{
    DeleteGroupsRequest, DescribeGroupsRequest, HeartbeatRequest, JoinGroupRequest,
    LeaveGroupRequest, OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest,
    SyncGroupRequest,
};

use super::{Answered, SMALL_BYTES, TREE_BYTES, bytes, rows, texts};
use crate::context::RequestContext;

short! { HeartbeatRequest<'_> }

/// A record on its way to the log, and what is replayed of it.
const RECORD_BYTES: usize = 512;
/// A request to a shard, and whoever waits for it.
const ASKED_BYTES: usize = 256;

impl Answered for JoinGroupRequest<'_> {
    fn answer_bytes(&self, _: &RequestContext) -> u64 {
        let said = self.protocols.into_iter();
        let said: usize = said.map(|one| one.name.len() + one.metadata.len()).sum();
        let each = 2 * size_of::<Protocol>() + 2 * SMALL_BYTES + TREE_BYTES + size_of::<&str>();
        bytes(self.protocols.len(), each) + 2 * said as u64
    }
}

impl Answered for SyncGroupRequest<'_> {
    fn answer_bytes(&self, _: &RequestContext) -> u64 {
        let said = self.assignments.into_iter();
        let said: usize = said
            .map(|one| one.member_id.len() + one.assignment.len())
            .sum();
        bytes(self.assignments.len(), RECORD_BYTES / 2) + 4 * said as u64
    }
}

impl Answered for LeaveGroupRequest<'_> {
    fn answer_bytes(&self, _: &RequestContext) -> u64 {
        let names = self.members.into_iter();
        let names: usize = names
            .map(|one| one.member_id.len() + one.group_instance_id.map_or(0, str::len))
            .sum();
        let beside = 2 * (size_of::<Leaving>() + 2 * SMALL_BYTES);
        rows::<MemberResponse>(self.members.len(), beside) + 4 * names as u64
    }
}

impl Answered for OffsetCommitRequest<'_> {
    fn answer_bytes(&self, context: &RequestContext) -> u64 {
        let image = context.node.cluster.image();
        let (mut text, mut partitions, mut kept) = (0, 0, 0);
        for topic in self.topics {
            partitions += topic.partitions.len();
            text += topic.name.len();
            // What isn't there is refused, and no record is made of it.
            if image.topic_named(topic.name).is_some() || image.topic(topic.topic_id).is_some() {
                let said = topic.partitions.into_iter();
                let said = said.map(|one| one.committed_metadata.map_or(0, str::len));
                text += 4 * said.sum::<usize>();
                kept += topic.partitions.len();
            }
        }
        let beside = size_of::<CommitPartition>() + SMALL_BYTES + RECORD_BYTES;
        rows::<OffsetCommitResponseTopic>(self.topics.len(), SMALL_BYTES)
            + rows::<OffsetCommitResponsePartition>(partitions, 0)
            + bytes(kept, beside)
            + 2 * text as u64
    }
}

impl Answered for OffsetDeleteRequest<'_> {
    fn answer_bytes(&self, _: &RequestContext) -> u64 {
        let topics = self.topics.into_iter();
        let (names, partitions) = topics.fold((0, 0), |(names, partitions), topic| {
            let count = topic.partitions.len();
            (names + topic.name.len() * (1 + count), partitions + count)
        });
        rows::<OffsetDeleteResponseTopic>(self.topics.len(), SMALL_BYTES)
            + rows::<OffsetDeleteResponsePartition>(partitions, RECORD_BYTES)
            + 2 * names as u64
    }
}

impl Answered for OffsetFetchRequest<'_> {
    fn answer_bytes(&self, _: &RequestContext) -> u64 {
        let (mut topics, mut partitions, mut names) = (0, 0, 0);
        for topic in self.topics.into_iter().flatten() {
            topics += 1;
            names += topic.name.len();
            partitions += topic.partition_indexes.len();
        }
        for group in self.groups {
            names += group.group_id.len();
            for topic in group.topics.into_iter().flatten() {
                topics += 1;
                names += topic.name.len();
                partitions += topic.partition_indexes.len();
            }
        }
        // Rows of an early version are made from those of a late one.
        let row = size_of::<OffsetFetchResponsePartitions>() + 2 * size_of::<i32>();
        rows::<OffsetFetchResponseGroup>(self.groups.len(), ASKED_BYTES)
            + rows::<OffsetFetchResponseTopics>(topics, 4 * SMALL_BYTES)
            + rows::<OffsetFetchResponsePartitions>(partitions, row)
            + 4 * names as u64
    }
}

impl Answered for DescribeGroupsRequest<'_> {
    fn answer_bytes(&self, _: &RequestContext) -> u64 {
        let names: usize = self.groups.into_iter().map(str::len).sum();
        rows::<DescribedGroup>(self.groups.len(), 0) + texts(self.groups.len()) + names as u64
    }
}

impl Answered for DeleteGroupsRequest<'_> {
    fn answer_bytes(&self, _: &RequestContext) -> u64 {
        let names: usize = self.groups_names.into_iter().map(str::len).sum();
        rows::<DeletableGroupResult>(self.groups_names.len(), ASKED_BYTES) + 2 * names as u64
    }
}
