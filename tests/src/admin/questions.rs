//! What an administrator asks besides: log directories, producers, elections, moves between brokers,
//! the quorum, what has a configuration. Each answer is held against what must be true of it.

use std::collections::BTreeSet;

use millrace_client::{Client, Error, Topic};
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::messages::{
    AlterPartitionReassignmentsRequest, DescribeLogDirsRequest, DescribeProducersRequest,
    DescribeQuorumRequest, ElectLeadersRequest, ListConfigResourcesRequest,
    ListPartitionReassignmentsRequest,
    alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic},
    describe_producers_request::TopicRequest,
    describe_quorum_request::{PartitionData, TopicData},
    elect_leaders_request::TopicPartitions,
};

use super::calls::{TIMEOUT_MS, code, missing, refused};
use super::draws::Draw;

/// The broker's number, as its configuration has it when it says nothing.
const BROKER: i32 = 1;
/// A broker that nobody has.
const NOBODY: i32 = 77;

/// What was learned of the quorum: it never falls back.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Quorum {
    epoch: i32,
    committed: i64,
}

/// What is wrong with an answer.
pub(super) type Judged = Result<(), String>;

/// One question of several; `topic` is there for certain.
pub(super) async fn ask(
    client: &Client,
    topic: &Topic,
    quorum: &mut Quorum,
    draw: &mut Draw,
) -> Result<Judged, Error> {
    match draw.below(7) {
        0 => log_dirs(client, topic).await,
        1 => producers(client, topic).await,
        2 => election(client, topic).await,
        3 => moves(client).await,
        4 => reassignment(client, topic, draw).await,
        5 => resources(client, topic).await,
        _ => quorum_of(client, quorum).await,
    }
}

/// Every partition of the topic lies in one directory, where all are there.
async fn log_dirs(client: &Client, topic: &Topic) -> Result<Judged, Error> {
    let mut request = DescribeLogDirsRequest::default();
    request.topics = None;
    let answer = client.call(&request).await?;
    let answer = answer.read()?;
    if let Err(code) = code(answer.error_code) {
        return Err(refused("to describe log directories", code));
    }
    let (mut paths, mut seen, mut all_there) = (BTreeSet::new(), Vec::new(), true);
    for directory in answer.results {
        if !paths.insert(directory.log_dir) {
            return Ok(Err(format!("{} is told twice", directory.log_dir)));
        }
        all_there &= code(directory.error_code).is_ok();
        for of_topic in directory.topics {
            for partition in of_topic.partitions {
                if partition.partition_size < 0 || partition.offset_lag < 0 {
                    return Ok(Err(format!("{}: {partition:?}", of_topic.name)));
                }
                if of_topic.name == topic.name && !partition.is_future_key {
                    seen.push(partition.partition_index);
                }
            }
        }
    }
    seen.sort_unstable();
    let wanted: Vec<i32> = (0..topic.partitions).collect();
    let is_whole = seen == wanted || !all_there;
    Ok(is_whole
        .then_some(())
        .ok_or_else(|| format!("of {topic:?} the partitions {seen:?} lie in {paths:?}")))
}

/// Producers of every partition, each once.
async fn producers(client: &Client, topic: &Topic) -> Result<Judged, Error> {
    let mut asked = TopicRequest::default();
    asked.name = topic.name.as_str().into();
    asked.partition_indexes = (0..=topic.partitions).collect();
    let mut request = DescribeProducersRequest::default();
    request.topics = vec![asked];
    let answer = client.call(&request).await?;
    let row = answer.read()?.topics.into_iter().next();
    let row = row.ok_or_else(|| missing(client, &topic.name))?;
    for partition in row.partitions {
        let is_there = partition.partition_index < topic.partitions;
        match code(partition.error_code) {
            Err(ErrorCode::UnknownTopicOrPartition) if !is_there => continue,
            Err(code)
                if code.is_retriable()
                    && is_there
                    && code != ErrorCode::UnknownTopicOrPartition =>
            {
                return Err(refused("to describe producers", code));
            }
            Ok(()) if is_there => {}
            other => return Ok(Err(format!("{topic:?}: {other:?} of {partition:?}"))),
        }
        let mut ids = BTreeSet::new();
        for producer in partition.active_producers {
            if !ids.insert(producer.producer_id)
                || producer.producer_id < 0
                || producer.producer_epoch < 0
                || producer.last_sequence < 0
                || producer.current_txn_start_offset != -1
            {
                return Ok(Err(format!("{topic:?}: {producer:?}")));
            }
        }
    }
    Ok(Ok(()))
}

/// Who should lead leads, or its directory is away.
async fn election(client: &Client, topic: &Topic) -> Result<Judged, Error> {
    let mut asked = TopicPartitions::default();
    asked.topic = topic.name.as_str().into();
    asked.partitions = (0..=topic.partitions).collect();
    let mut request = ElectLeadersRequest::default();
    request.topic_partitions = Some(vec![asked]);
    request.timeout_ms = TIMEOUT_MS;
    let answer = client.call(&request).await?;
    let answer = answer.read()?;
    if let Err(code) = code(answer.error_code) {
        return Err(refused("to elect leaders", code));
    }
    let mut told = 0;
    for row in answer.replica_election_results {
        for partition in row.partition_result {
            told += 1;
            let fits = match code(partition.error_code) {
                Ok(())
                | Err(
                    ErrorCode::ElectionNotNeeded
                    | ErrorCode::PreferredLeaderNotAvailable
                    | ErrorCode::EligibleLeadersNotAvailable,
                ) => partition.partition_id < topic.partitions,
                Err(code) => {
                    code == ErrorCode::UnknownTopicOrPartition
                        && partition.partition_id == topic.partitions
                }
            };
            if !fits {
                return Ok(Err(format!("{topic:?}: {partition:?}")));
            }
        }
    }
    let wanted = topic.partitions + 1;
    Ok((told == wanted)
        .then_some(())
        .ok_or_else(|| format!("{topic:?}: {told} elections of {wanted}")))
}

/// Nothing ever moves between brokers.
async fn moves(client: &Client) -> Result<Judged, Error> {
    let mut request = ListPartitionReassignmentsRequest::default();
    request.topics = None;
    request.timeout_ms = TIMEOUT_MS;
    let answer = client.call(&request).await?;
    let answer = answer.read()?;
    if let Err(code) = code(answer.error_code) {
        return Err(refused("to list moves", code));
    }
    let none = answer.topics.is_empty();
    Ok(none
        .then_some(())
        .ok_or_else(|| "something moves".to_owned()))
}

/// A partition stays where it is, or is refused another place.
async fn reassignment(client: &Client, topic: &Topic, draw: &mut Draw) -> Result<Judged, Error> {
    let (replicas, wanted) = match draw.below(4) {
        0 => (Some(vec![BROKER]), Ok(())),
        1 => (Some(vec![NOBODY]), Err(ErrorCode::InvalidReplicaAssignment)),
        2 => (Some(vec![]), Err(ErrorCode::InvalidReplicaAssignment)),
        _ => (None, Err(ErrorCode::NoReassignmentInProgress)),
    };
    let mut partition = ReassignablePartition::default();
    partition.partition_index = topic.partitions - 1;
    partition.replicas.clone_from(&replicas);
    let mut asked = ReassignableTopic::default();
    asked.name = topic.name.as_str().into();
    asked.partitions = vec![partition];
    let mut request = AlterPartitionReassignmentsRequest::default();
    request.topics = vec![asked];
    request.timeout_ms = TIMEOUT_MS;
    let answer = client.call(&request).await?;
    let answer = answer.read()?;
    if let Err(code) = code(answer.error_code) {
        return Err(refused("to move a partition", code));
    }
    let mut rows = answer.responses.into_iter().flat_map(|row| row.partitions);
    let row = rows.next().ok_or_else(|| missing(client, &topic.name))?;
    let told = code(row.error_code);
    Ok((told == wanted)
        .then_some(())
        .ok_or_else(|| format!("{topic:?} to {replicas:?}: {told:?}")))
}

/// The topic has a configuration, and so has the broker.
async fn resources(client: &Client, topic: &Topic) -> Result<Judged, Error> {
    let mut request = ListConfigResourcesRequest::default();
    request.resource_types = vec![2, 4];
    let answer = client.call(&request).await?;
    let answer = answer.read()?;
    if let Err(code) = code(answer.error_code) {
        return Err(refused("to list what has a configuration", code));
    }
    let all: BTreeSet<(i8, &str)> = answer
        .config_resources
        .into_iter()
        .map(|row| (row.resource_type, row.resource_name))
        .collect();
    let broker = BROKER.to_string();
    let there = all.contains(&(2, topic.name.as_str())) && all.contains(&(4, broker.as_str()));
    Ok(there
        .then_some(())
        .ok_or_else(|| format!("{topic:?} is not among {all:?}")))
}

/// The quorum is of one, and neither its term nor what it has committed falls back.
async fn quorum_of(client: &Client, quorum: &mut Quorum) -> Result<Judged, Error> {
    let mut topic = TopicData::default();
    topic.topic_name = "__cluster_metadata".into();
    topic.partitions = vec![PartitionData::default()];
    let mut request = DescribeQuorumRequest::default();
    request.topics = vec![topic];
    let answer = client.call(&request).await?;
    let answer = answer.read()?;
    if let Err(code) = code(answer.error_code) {
        return Err(refused("to describe the quorum", code));
    }
    let mut rows = answer.topics.into_iter().flat_map(|row| row.partitions);
    let row = rows.next().ok_or_else(|| missing(client, "the quorum"))?;
    let now = Quorum {
        epoch: row.leader_epoch,
        committed: row.high_watermark,
    };
    if row.leader_id != BROKER || now.epoch < quorum.epoch || now.committed < quorum.committed {
        return Ok(Err(format!("the quorum was {quorum:?} and is {row:?}")));
    }
    *quorum = now;
    Ok(Ok(()))
}
