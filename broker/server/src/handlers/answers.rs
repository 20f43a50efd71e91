//! How much memory an answer may take, told from its request before anything is built.
//!
//! Elements of a request are small, down to one byte, and the rows that answer them are not. So
//! each API says here what one element may become: its row, what the handler keeps beside it, and
//! the row's bytes on the wire. What always holds: a handler gets its request only together with
//! room for the answer ([`super::read`]); texts for people are told [`TEXTS_MAX`] times in one
//! answer, so that they are no part of a row; names are slices of the request, counted on the wire.

use millrace_core::cluster::{CreateTopic, Removal};
use millrace_protocol::messages::create_topics_response::CreatableTopicResult;
use millrace_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use millrace_protocol::messages::delete_topics_response::DeletableTopicResult;
use millrace_protocol::messages::find_coordinator_response::Coordinator;
use millrace_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use millrace_protocol::messages::metadata_response::{
    MetadataResponsePartition, MetadataResponseTopic,
};
use millrace_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderTopicResult,
};
use millrace_protocol::messages::produce_response::{
    PartitionProduceResponse, TopicProduceResponse,
};
use millrace_protocol::requests::{
    ApiVersionsRequest, CreateTopicsRequest, DeleteRecordsRequest, DeleteTopicsRequest,
    DescribeClusterRequest, FetchRequest, FindCoordinatorRequest, InitProducerIdRequest,
    ListOffsetsRequest, MetadataRequest, OffsetForLeaderEpochRequest, ProduceRequest,
};

use super::{create_topics, fetch, metadata, produce};
use crate::context::RequestContext;

/// Texts for people in one answer; rows after them have their error code alone.
pub(super) const TEXTS_MAX: usize = 1000;
/// One text, in memory and on the wire, as a rule.
const TEXT_BYTES: usize = 256;

/// Most bytes of a row on the wire, but for names and lists.
const WIRE_BYTES: usize = 64;
/// A small allocation, with what the allocator adds.
const SMALL_BYTES: usize = 32;
/// An entry of a tree by a name or number, beside the entry's own size.
const TREE_BYTES: usize = 16;

/// The working memory of a refused or made topic: names, outcome, records.
const TOPIC_BYTES: usize = 1024;
/// What the answer says of the configuration of a topic that was made.
const DESCRIBED_BYTES: usize = 8 * 1024;

/// A request whose answer's memory is known before it is built.
pub(crate) trait Answered {
    /// The most bytes that handling the request and answering it take at once, estimated from its
    /// elements; what a batch of records takes is not in it.
    fn answer_bytes(&self, context: &RequestContext) -> u64;
}

/// `count` rows of type `T`, each with `beside` bytes beside it.
fn rows<T>(count: usize, beside: usize) -> u64 {
    bytes(count, size_of::<T>() + WIRE_BYTES + beside)
}

fn bytes(count: usize, each: usize) -> u64 {
    (count as u64).saturating_mul(each as u64)
}

/// Texts for at most `count` rows.
fn texts(count: usize) -> u64 {
    bytes(count.min(TEXTS_MAX), TEXT_BYTES)
}

/// How many texts an answer may still have.
#[derive(Debug)]
pub(super) struct Texts {
    left: usize,
}

impl Default for Texts {
    fn default() -> Self {
        Self { left: TEXTS_MAX }
    }
}

impl Texts {
    /// Whether one more text may be told; counts it.
    pub(super) fn tell(&mut self) -> bool {
        self.tell_some(1) == 1
    }

    /// How many of `count` more texts may be told; counts them.
    pub(super) fn tell_some(&mut self, count: usize) -> usize {
        let told = count.min(self.left);
        self.left -= told;
        told
    }
}

/// Requests that are answered in a few hundred bytes, whatever they say.
macro_rules! short {
    ($($request:ty)*) => {$(
        impl Answered for $request {
            fn answer_bytes(&self, _: &RequestContext) -> u64 {
                0
            }
        }
    )*};
}

short! { ApiVersionsRequest<'_> DescribeClusterRequest InitProducerIdRequest<'_> }

mod admin;
mod configs;
mod groups;
pub(super) use admin::described_producers_bytes;

impl Answered for FindCoordinatorRequest<'_> {
    fn answer_bytes(&self, _: &RequestContext) -> u64 {
        let keys = self.coordinator_keys;
        let names: usize = keys.into_iter().map(str::len).sum();
        rows::<Coordinator>(keys.len(), 0) + texts(keys.len()) + names as u64
    }
}

impl Answered for ListOffsetsRequest<'_> {
    fn answer_bytes(&self, _: &RequestContext) -> u64 {
        let topics = self.topics.into_iter();
        let (names, partitions) = topics.fold((0, 0), |(names, partitions), topic| {
            (
                names + topic.name.len(),
                partitions + topic.partitions.len(),
            )
        });
        // How often each partition is asked for.
        let times = size_of::<((&str, i32), usize)>() + TREE_BYTES;
        rows::<ListOffsetsTopicResponse>(self.topics.len(), 0)
            + rows::<ListOffsetsPartitionResponse>(partitions, times)
            + names as u64
    }
}

impl Answered for OffsetForLeaderEpochRequest<'_> {
    fn answer_bytes(&self, _: &RequestContext) -> u64 {
        let topics = self.topics.into_iter();
        let (names, partitions) = topics.fold((0, 0), |(names, partitions), topic| {
            (
                names + topic.topic.len(),
                partitions + topic.partitions.len(),
            )
        });
        rows::<OffsetForLeaderTopicResult>(self.topics.len(), 0)
            + rows::<EpochEndOffset>(partitions, 0)
            + names as u64
    }
}

impl Answered for ProduceRequest<'_> {
    fn answer_bytes(&self, _: &RequestContext) -> u64 {
        let topics = self.topic_data.into_iter();
        let (names, partitions) = topics.fold((0, 0), |(names, partitions), topic| {
            let count = topic.partition_data.len();
            (names + topic.name.len(), partitions + count)
        });
        // The names are copied.
        rows::<TopicProduceResponse>(self.topic_data.len(), SMALL_BYTES)
            + rows::<PartitionProduceResponse>(partitions, produce::WAIT_BYTES)
            + texts(partitions)
            + 2 * names as u64
    }
}

/// What a fetch takes depends on its session too: it asks for room itself.
impl Answered for FetchRequest<'_> {
    fn answer_bytes(&self, _: &RequestContext) -> u64 {
        0
    }
}

/// What a fetch takes that looks at the partitions of its request and at `ready` more.
pub(super) fn fetch_bytes(request: &FetchRequest<'_>, ready: usize) -> u64 {
    let topics = request.topics.into_iter();
    let (names, partitions) = topics.fold((0, ready), |(names, partitions), topic| {
        (
            names + topic.topic.len(),
            partitions + topic.partitions.len(),
        )
    });
    let each = fetch::PARTITION_BYTES + 4 * TREE_BYTES + WIRE_BYTES;
    bytes(partitions, each)
        + bytes(request.topics.len() + ready, fetch::TOPIC_BYTES)
        + 2 * names as u64
}

impl Answered for MetadataRequest<'_> {
    fn answer_bytes(&self, context: &RequestContext) -> u64 {
        let image = context.node.cluster.image();
        // Three lists of brokers, in memory and on the wire.
        let described = |partitions| rows::<MetadataResponsePartition>(partitions, 6 * SMALL_BYTES);
        let Some(asked) = metadata::asked(context.api_version, self) else {
            // Encoded row by row, or long ago: its bytes, with three lists of brokers each. They
            // count though they are shared: clients that are slow to take theirs keep those of
            // before a change, and those of before the next one.
            let there = image.extent();
            return bytes(there.topics, WIRE_BYTES)
                + bytes(there.partitions, WIRE_BYTES + 3 * SMALL_BYTES)
                + there.name_bytes as u64;
        };
        let config = &context.node.config.topics;
        let (mut names, mut there, mut missing) = (0, 0_usize, 0_usize);
        for topic in asked {
            names += topic.name.map_or(0, str::len);
            let found = match topic.name {
                Some(name) if topic.topic_id.is_zero() => image.topic_named(name),
                _ => image.topic(topic.topic_id),
            };
            match found {
                Some(topic) => there += topic.partitions.size(),
                None => missing += 1,
            }
        }
        // A topic that is asked for twice is described once.
        if there > 0 {
            there = there.min(image.extent().partitions);
        }
        let mut made = 0;
        if self.allow_auto_topic_creation && config.auto_create {
            made = missing.saturating_mul(config.partitions as usize);
            made = made.min(config.request_partitions_max as usize);
        }
        // Which names were asked for, which of them are missing.
        let beside = 6 * size_of::<&str>() + TREE_BYTES;
        rows::<MetadataResponseTopic>(asked.len(), beside)
            + described(there.saturating_add(made))
            + bytes(made, TOPIC_BYTES)
            + names as u64
    }
}

impl Answered for CreateTopicsRequest<'_> {
    fn answer_bytes(&self, context: &RequestContext) -> u64 {
        let refused = rows::<CreatableTopicResult>(self.topics.len(), 0) + texts(self.topics.len());
        let config = &context.node.config.topics;
        let names: usize = self.topics.into_iter().map(|topic| topic.name.len()).sum();
        let Ok(partitions) = create_topics::within_one_request(config, self.topics) else {
            return refused + names as u64;
        };
        // Placements and settings are copied as they stand, their texts into messages too.
        let (mut elements, mut text) = (0, names);
        for topic in self.topics {
            let settings = topic.configs.into_iter();
            text += settings
                .map(|config| config.name.len() + config.value.map_or(0, str::len))
                .sum::<usize>();
            let brokers = topic.assignments.into_iter().map(|a| a.broker_ids.len());
            elements += topic.configs.len() + topic.assignments.len() + brokers.sum::<usize>();
        }
        let topics = self.topics.len();
        let partitions = usize::try_from(partitions).unwrap_or(usize::MAX);
        refused
            + bytes(
                topics,
                size_of::<CreateTopic>() + TOPIC_BYTES + DESCRIBED_BYTES,
            )
            + bytes(partitions, TOPIC_BYTES)
            + bytes(elements, 4 * size_of::<(String, Option<String>)>())
            + 4 * text as u64
    }
}

impl Answered for DeleteRecordsRequest<'_> {
    fn answer_bytes(&self, _: &RequestContext) -> u64 {
        let topics = self.topics.into_iter();
        let (names, partitions) = topics.fold((0, 0), |(names, partitions), topic| {
            let count = topic.partitions.len();
            (names + topic.name.len(), partitions + count)
        });
        rows::<DeleteRecordsTopicResult>(self.topics.len(), 0)
            + rows::<DeleteRecordsPartitionResult>(partitions, 0)
            + names as u64
    }
}

impl Answered for DeleteTopicsRequest<'_> {
    fn answer_bytes(&self, _: &RequestContext) -> u64 {
        let count = self.topics.len() + self.topic_names.len();
        let ids = self.topics.into_iter().filter_map(|topic| topic.name);
        let names: usize = ids.chain(self.topic_names).map(str::len).sum();
        // What is asked, and what becomes of it with its words.
        let beside = 2 * size_of::<Removal>() + 8 * SMALL_BYTES;
        rows::<DeletableTopicResult>(count, beside) + texts(count) + 2 * names as u64
    }
}
