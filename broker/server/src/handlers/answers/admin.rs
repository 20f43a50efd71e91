//! Answers to operators: elections, reassignments, partitions, directories, producers, access lists.

use millrace_core::cluster::{ElectIn, FeatureUpdate, GrowTopic, Reassignment, Refusal};
use millrace_protocol::messages::alter_partition_reassignments_response::{
    ReassignablePartitionResponse, ReassignableTopicResponse,
};
use millrace_protocol::messages::alter_replica_log_dirs_response::{
    AlterReplicaLogDirPartitionResult, AlterReplicaLogDirTopicResult,
};
use millrace_protocol::messages::create_acls_response::AclCreationResult;
use millrace_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use millrace_protocol::messages::delete_acls_response::DeleteAclsFilterResult;
use millrace_protocol::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsTopic,
};
use millrace_protocol::messages::describe_producers_response::{
    PartitionResponse, ProducerState, TopicResponse,
};
use millrace_protocol::messages::describe_quorum_response::{PartitionData, TopicData};
use millrace_protocol::messages::describe_topic_partitions_response::{
    DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use millrace_protocol::messages::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use millrace_protocol::messages::update_features_response::UpdatableFeatureResult;
use millrace_protocol::producer::{PRODUCER_BATCHES_MAX, ProducerBatch, ProducerEntry};
use millrace_protocol::requests::{
    AlterPartitionReassignmentsRequest, AlterReplicaLogDirsRequest, CreateAclsRequest,
    CreateDelegationTokenRequest, CreatePartitionsRequest, DeleteAclsRequest, DescribeAclsRequest,
    DescribeDelegationTokenRequest, DescribeLogDirsRequest, DescribeProducersRequest,
    DescribeQuorumRequest, DescribeTopicPartitionsRequest, ElectLeadersRequest,
    ExpireDelegationTokenRequest, ListPartitionReassignmentsRequest, RenewDelegationTokenRequest,
    SaslAuthenticateRequest, SaslHandshakeRequest, UpdateFeaturesRequest,
};

use super::{Answered, SMALL_BYTES, TOPIC_BYTES, TREE_BYTES, bytes, rows, texts};
use crate::context::RequestContext;
use crate::handlers::{create_partitions, create_topics, describe_topic_partitions};

short! {
    DescribeAclsRequest<'_>
    SaslHandshakeRequest<'_>
    SaslAuthenticateRequest<'_>
    CreateDelegationTokenRequest<'_>
    RenewDelegationTokenRequest<'_>
    ExpireDelegationTokenRequest<'_>
    DescribeDelegationTokenRequest<'_>
    ListPartitionReassignmentsRequest<'_>
}

impl Answered for CreateAclsRequest<'_> {
    fn answer_bytes(&self, _: &RequestContext) -> u64 {
        let count = self.creations.len();
        rows::<AclCreationResult>(count, 0) + texts(count)
    }
}

impl Answered for DeleteAclsRequest<'_> {
    fn answer_bytes(&self, _: &RequestContext) -> u64 {
        let count = self.filters.len();
        rows::<DeleteAclsFilterResult>(count, 0) + texts(count)
    }
}

impl Answered for CreatePartitionsRequest<'_> {
    fn answer_bytes(&self, context: &RequestContext) -> u64 {
        let count = self.topics.len();
        let names: usize = self.topics.into_iter().map(|topic| topic.name.len()).sum();
        // How often each is named, what is asked of it, and what becomes of it.
        let beside = TREE_BYTES
            + size_of::<(&str, usize)>()
            + size_of::<GrowTopic>()
            + size_of::<Result<(), Refusal>>()
            + 4 * SMALL_BYTES;
        let assignments = self
            .topics
            .into_iter()
            .filter_map(|topic| topic.assignments);
        let placed: usize = assignments
            .map(|list| {
                let brokers = list.into_iter().map(|a| a.broker_ids.len()).sum::<usize>();
                list.len() + brokers
            })
            .sum();
        let image = context.node.cluster.image();
        let added = create_partitions::added_in_all(&image, self.topics);
        let added = create_topics::within(&context.node.config.topics, added).unwrap_or(0);
        let added = usize::try_from(added).unwrap_or(usize::MAX);
        rows::<CreatePartitionsTopicResult>(count, beside)
            + texts(count)
            + bytes(added, TOPIC_BYTES)
            + bytes(placed, 2 * SMALL_BYTES)
            + 3 * names as u64
    }
}

impl Answered for DescribeTopicPartitionsRequest<'_> {
    fn answer_bytes(&self, context: &RequestContext) -> u64 {
        let page = describe_topic_partitions::page_partitions(self);
        let asked = self.topics.into_iter();
        let (count, names) = asked.fold((0, 0), |(count, names), topic| {
            (count + 1, names + topic.name.len())
        });
        // Of all topics, no more than there are partitions on a page.
        let topics = match count {
            0 => context.node.cluster.image().topic_count().min(page),
            count => count,
        };
        // Five lists of brokers, in memory and on the wire.
        rows::<DescribeTopicPartitionsResponseTopic>(topics, TREE_BYTES + 2 * size_of::<&str>())
            + rows::<DescribeTopicPartitionsResponsePartition>(page, 10 * SMALL_BYTES)
            + bytes(if count == 0 { topics } else { 0 }, 2 * NAME_BYTES_MAX)
            + 2 * names as u64
    }
}

/// The longest name of a topic, with what the allocator adds.
const NAME_BYTES_MAX: usize = 256;

impl Answered for DescribeLogDirsRequest<'_> {
    fn answer_bytes(&self, context: &RequestContext) -> u64 {
        let image = context.node.cluster.image();
        let dirs = context.node.config.log.dirs.len();
        let (topics, partitions, names, asked) = match self.topics {
            None => (
                image.topic_count(),
                image.extent().partitions,
                image.extent().name_bytes as u64,
                0,
            ),
            Some(topics) => {
                let (mut there, mut names, mut asked) = (0, 0, topics.len());
                for topic in topics {
                    there += topic.partitions.len();
                    names += topic.topic.len() as u64;
                }
                asked += there;
                (topics.len(), there, names, asked)
            }
        };
        // A topic can lie in every directory, as far as it has partitions.
        let rows_of_topics = topics.saturating_mul(dirs).min(partitions);
        let times = u64::try_from(dirs).unwrap_or(u64::MAX);
        rows::<DescribeLogDirsTopic>(rows_of_topics, SMALL_BYTES)
            + rows::<DescribeLogDirsPartition>(partitions, SMALL_BYTES)
            + bytes(asked, TREE_BYTES + 2 * SMALL_BYTES)
            + names.saturating_mul(2 * times)
    }
}

impl Answered for AlterReplicaLogDirsRequest<'_> {
    fn answer_bytes(&self, _: &RequestContext) -> u64 {
        let (mut topics, mut partitions, mut names) = (0, 0, 0);
        for dir in self.dirs {
            for topic in dir.topics {
                topics += 1;
                partitions += topic.partitions.len();
                names += topic.name.len();
            }
        }
        let wished = TREE_BYTES + size_of::<(i32, &str)>();
        rows::<AlterReplicaLogDirTopicResult>(topics, TREE_BYTES + 4 * SMALL_BYTES)
            + rows::<AlterReplicaLogDirPartitionResult>(partitions, wished)
            + names as u64
    }
}

impl Answered for ElectLeadersRequest<'_> {
    fn answer_bytes(&self, context: &RequestContext) -> u64 {
        let image = context.node.cluster.image();
        let (topics, partitions, names) = match self.topic_partitions {
            None => (
                image.topic_count(),
                image.extent().partitions,
                image.extent().name_bytes as u64,
            ),
            Some(asked) => asked
                .into_iter()
                .fold((0, 0, 0), |(topics, there, names), topic| {
                    let name = topic.topic.len() as u64;
                    (topics + 1, there + topic.partitions.len(), names + name)
                }),
        };
        // What is asked, what becomes of it with its words, and the change.
        let beside = size_of::<i32>() + size_of::<(i32, Result<i32, Refusal>)>() + 4 * SMALL_BYTES;
        let of_topic = size_of::<ElectIn<'_>>() + 4 * SMALL_BYTES;
        rows::<ReplicaElectionResult>(topics, of_topic)
            + rows::<PartitionResult>(partitions, beside + 8 * SMALL_BYTES)
            + texts(partitions)
            + 3 * names
    }
}

impl Answered for AlterPartitionReassignmentsRequest<'_> {
    fn answer_bytes(&self, _: &RequestContext) -> u64 {
        let (mut partitions, mut replicas, mut names) = (0, 0, 0);
        for topic in self.topics {
            names += topic.name.len();
            for partition in topic.partitions {
                partitions += 1;
                replicas += partition.replicas.map_or(0, |ids| ids.len());
            }
        }
        // What is asked, what becomes of it with its words, and the change.
        let beside = size_of::<Reassignment<'_>>() + size_of::<Result<(), Refusal>>();
        rows::<ReassignableTopicResponse>(self.topics.len(), 0)
            + rows::<ReassignablePartitionResponse>(partitions, beside + 12 * SMALL_BYTES)
            + bytes(replicas, SMALL_BYTES)
            + texts(partitions)
            + names as u64
    }
}

/// What a request about producers takes depends on how many there are: it asks for room itself.
impl Answered for DescribeProducersRequest<'_> {
    fn answer_bytes(&self, _: &RequestContext) -> u64 {
        0
    }
}

/// What the answer takes that tells so many producers.
pub(in crate::handlers) fn described_producers_bytes(
    request: &DescribeProducersRequest<'_>,
    producers: usize,
) -> u64 {
    let topics = request.topics.into_iter();
    let (names, partitions) = topics.fold((0, 0), |(names, partitions), topic| {
        let count = topic.partition_indexes.len();
        (names + topic.name.len(), partitions + count)
    });
    // The entry that a state is made of stands beside it.
    let entry = size_of::<ProducerEntry>() + PRODUCER_BATCHES_MAX * size_of::<ProducerBatch>();
    rows::<TopicResponse>(request.topics.len(), 0)
        + rows::<PartitionResponse>(partitions, SMALL_BYTES)
        + rows::<ProducerState>(producers, entry)
        + texts(partitions)
        + names as u64
}

impl Answered for DescribeQuorumRequest<'_> {
    fn answer_bytes(&self, _: &RequestContext) -> u64 {
        let topics = self.topics.into_iter();
        let (names, partitions) = topics.fold((0, 0), |(names, partitions), topic| {
            let count = topic.partitions.len();
            (names + topic.topic_name.len(), partitions + count)
        });
        // Each row may have the same words.
        rows::<TopicData>(self.topics.len(), 0)
            + rows::<PartitionData>(partitions, 2 * SMALL_BYTES)
            + names as u64
    }
}

impl Answered for UpdateFeaturesRequest<'_> {
    fn answer_bytes(&self, _: &RequestContext) -> u64 {
        let updates = self.feature_updates.into_iter();
        let names: usize = updates.map(|update| update.feature.len()).sum();
        let beside = 2 * size_of::<FeatureUpdate<'_>>() + TREE_BYTES;
        rows::<UpdatableFeatureResult>(self.feature_updates.len(), beside) + 2 * names as u64
    }
}
