//! Creating and deleting topics: Kafka's rules and codes, in Kafka's order (its
//! `ReplicationControlManager`; KIP-4, KIP-516).

use std::collections::{BTreeMap, BTreeSet};

use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::ids::TopicId;
use millrace_protocol::metadata::{
    ConfigRecord, MetadataRecord, PartitionRecord, RemovedTopicData, TopicRecord,
};

use super::names::{METADATA_TOPIC, check_topic_name};
use super::{Directory, Image};

/// New partitions of one request, at most (Kafka's `MAX_PARTITIONS_PER_BATCH`).
pub(super) const NEW_PARTITIONS_MAX: usize = 10_000;

/// A topic to be made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CreateTopic {
    /// Name.
    pub name: String,
    /// How many partitions; -1 for the default, or with `assignments`.
    pub partitions: i32,
    /// How many replicas of each; -1 for the default, or with `assignments`.
    pub replication_factor: i16,
    /// Brokers of each partition by its index, where the client places them itself.
    pub assignments: Vec<(i32, Vec<i32>)>,
    /// Configuration, in the order of the request; a null value is refused.
    pub configs: Vec<(String, Option<String>)>,
}

/// What -1 stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Defaults {
    /// `num.partitions`.
    pub partitions: i32,
    /// `default.replication.factor`.
    pub replication_factor: i16,
    /// Partitions of the whole cluster, at most.
    pub partitions_max: usize,
}

/// Why one topic of a request was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// Kafka's code.
    pub code: ErrorCode,
    /// For people.
    pub message: String,
}

impl Refusal {
    pub(super) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }
}

/// A topic as it will be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Created {
    /// Identity.
    pub id: TopicId,
    /// How many partitions.
    pub partitions: i32,
    /// How many replicas of each.
    pub replication_factor: i16,
    /// What was configured, by key.
    pub configs: BTreeMap<String, String>,
}

/// What becomes of one topic of a request, in the request's order.
pub type TopicOutcome = Result<Created, Refusal>;

/// What a creation asks of the world; each answer is drawn or looked up by the caller.
pub trait Subject {
    /// A fresh random topic id.
    fn draw_id(&mut self) -> TopicId;
    /// The log directory for one more partition on a broker.
    fn place(&mut self, broker: i32) -> Directory;
    /// Whether a topic may have this configuration; the words say why not.
    fn check_configs(&mut self, configs: &BTreeMap<String, String>) -> Result<(), String>;
}

/// Decides a request to create topics: an outcome for each, and the records that make those that
/// may be made. A request that wants too many partitions is refused as a whole.
pub fn create_topics(
    image: &Image,
    requests: &[CreateTopic],
    defaults: Defaults,
    subject: &mut dyn Subject,
) -> (Vec<TopicOutcome>, Vec<MetadataRecord>) {
    let mut seen = BTreeSet::new();
    let repeated: BTreeSet<&str> = requests
        .iter()
        .map(|r| r.name.as_str())
        .filter(|name| !seen.insert(*name))
        .collect();
    let mut records = Vec::new();
    let mut outcomes = Vec::with_capacity(requests.len());
    let mut new_names: BTreeMap<String, &str> = BTreeMap::new();
    let mut new_partitions = 0;
    for request in requests {
        let outcome = if repeated.contains(request.name.as_str()) {
            Err(Refusal::new(
                ErrorCode::InvalidRequest,
                "Duplicate topic name.",
            ))
        } else {
            create_topic(image, request, defaults, &mut new_names, subject)
        };
        outcomes.push(outcome.map(|(created, mut made)| {
            new_partitions += usize::try_from(created.partitions).unwrap_or(0);
            records.append(&mut made);
            created
        }));
    }
    if let Some(refusal) = too_many(image, new_partitions, defaults.partitions_max) {
        let refused = outcomes
            .into_iter()
            .map(|o| o.and_then(|_| Err(refusal.clone())))
            .collect();
        return (refused, Vec::new());
    }
    (outcomes, records)
}

pub(super) fn too_many(
    image: &Image,
    new_partitions: usize,
    partitions_max: usize,
) -> Option<Refusal> {
    if new_partitions > NEW_PARTITIONS_MAX {
        return Some(Refusal::new(
            ErrorCode::PolicyViolation,
            format!(
                "Excessively large number of partitions per request: {new_partitions}, at most \
                 {NEW_PARTITIONS_MAX}."
            ),
        ));
    }
    let there = image.extent().partitions;
    (there + new_partitions > partitions_max && new_partitions > 0).then(|| {
        Refusal::new(
            ErrorCode::PolicyViolation,
            format!("This cluster holds at most {partitions_max} partitions."),
        )
    })
}

fn create_topic<'r>(
    image: &Image,
    request: &'r CreateTopic,
    defaults: Defaults,
    new_names: &mut BTreeMap<String, &'r str>,
    subject: &mut dyn Subject,
) -> Result<(Created, Vec<MetadataRecord>), Refusal> {
    check_new_name(image, &request.name, new_names)?;
    let configs = checked_configs(request, subject)?;
    let assignments = assign(image, request, defaults)?;
    let id = std::iter::repeat_with(|| subject.draw_id())
        .take(64)
        .find(|id| id.is_assignable() && image.topic(*id).is_none() && !image.is_removed(*id))
        .ok_or_else(|| {
            Refusal::new(ErrorCode::UnknownServerError, "No topic id could be drawn.")
        })?;
    let mut records = vec![MetadataRecord::Topic(TopicRecord {
        name: request.name.clone(),
        topic_id: id,
    })];
    for (key, value) in &configs {
        records.push(MetadataRecord::Config(ConfigRecord {
            resource_type: 2,
            resource_name: request.name.clone(),
            name: key.clone(),
            value: Some(value.clone()),
        }));
    }
    let replication_factor = assignments.first().map_or(0, Vec::len);
    let replication_factor = i16::try_from(replication_factor).unwrap_or(i16::MAX);
    let mut partitions = 0;
    for replicas in assignments {
        records.push(new_partition(image, id, partitions, replicas, subject));
        partitions += 1;
    }
    new_names.insert(super::names::collision_key(&request.name), &request.name);
    Ok((
        Created {
            id,
            partitions,
            replication_factor,
            configs,
        },
        records,
    ))
}

fn check_new_name(
    image: &Image,
    name: &str,
    new_names: &BTreeMap<String, &str>,
) -> Result<(), Refusal> {
    check_topic_name(name)
        .map_err(|error| Refusal::new(ErrorCode::InvalidTopicException, error.to_string()))?;
    if name == METADATA_TOPIC {
        let message = format!("Creation of internal topic {name} is prohibited.");
        return Err(Refusal::new(ErrorCode::InvalidRequest, message));
    }
    if image.topic_named(name).is_some() {
        let message = format!("Topic '{name}' already exists.");
        return Err(Refusal::new(ErrorCode::TopicAlreadyExists, message));
    }
    let key = super::names::collision_key(name);
    match image
        .colliding_topic(name)
        .or_else(|| new_names.get(&key).copied())
    {
        Some(other) => Err(Refusal::new(
            ErrorCode::InvalidTopicException,
            format!("Topic '{name}' collides with existing topic: {other}"),
        )),
        None => Ok(()),
    }
}

fn checked_configs(
    request: &CreateTopic,
    subject: &mut dyn Subject,
) -> Result<BTreeMap<String, String>, Refusal> {
    let invalid = |message: String| Refusal::new(ErrorCode::InvalidConfig, message);
    let mut configs = BTreeMap::new();
    for (key, value) in &request.configs {
        let value = value
            .clone()
            .ok_or_else(|| invalid(format!("Null value not supported for topic configs: {key}")))?;
        configs.insert(key.clone(), value);
    }
    subject.check_configs(&configs).map_err(invalid)?;
    Ok(configs)
}

/// The brokers of each partition, by index.
fn assign(
    image: &Image,
    request: &CreateTopic,
    defaults: Defaults,
) -> Result<Vec<Vec<i32>>, Refusal> {
    if !request.assignments.is_empty() {
        return manual_assignment(image, request);
    }
    let replication_factor = match request.replication_factor {
        -1 => defaults.replication_factor,
        factor if factor > 0 => factor,
        _ => {
            return Err(Refusal::new(
                ErrorCode::InvalidReplicationFactor,
                "Replication factor must be larger than 0, or -1 to use the default value.",
            ));
        }
    };
    let partitions = match request.partitions {
        -1 => defaults.partitions,
        partitions if partitions > 0 => partitions,
        _ => {
            return Err(Refusal::new(
                ErrorCode::InvalidPartitions,
                "Number of partitions was set to an invalid non-positive value.",
            ));
        }
    };
    let brokers = usable_brokers(image);
    let factor = usize::try_from(replication_factor).unwrap_or(0);
    if factor > brokers.len() {
        return Err(too_few_brokers(factor, brokers.len()));
    }
    // Refused as a whole later; placing them would only take memory.
    let wanted = usize::try_from(partitions).unwrap_or(0);
    let placed = wanted.min(NEW_PARTITIONS_MAX + 1);
    let spread = |partition: usize| {
        (0..factor)
            .map(|replica| brokers[(partition + replica) % brokers.len()])
            .collect()
    };
    Ok((0..placed).map(spread).collect())
}

fn manual_assignment(image: &Image, request: &CreateTopic) -> Result<Vec<Vec<i32>>, Refusal> {
    let refuse = |code, message: String| Err(Refusal::new(code, message));
    for (field, value) in [
        ("replication factor", i32::from(request.replication_factor)),
        ("numPartitions", request.partitions),
    ] {
        if value != -1 {
            return refuse(
                ErrorCode::InvalidRequest,
                format!(
                    "A manual partition assignment was specified, but {field} was not set to -1."
                ),
            );
        }
    }
    let bad = ErrorCode::InvalidReplicaAssignment;
    let mut by_index = BTreeMap::new();
    for (index, replicas) in &request.assignments {
        if by_index.insert(*index, replicas.clone()).is_some() {
            return refuse(
                bad,
                format!("Found multiple manual partition assignments for partition {index}"),
            );
        }
        check_replicas(image, *index, replicas)?;
    }
    if by_index.keys().copied().ne((0..).take(by_index.len())) {
        return refuse(
            bad,
            "partitions should be a consecutive 0-based integer sequence".into(),
        );
    }
    let assignments: Vec<Vec<i32>> = by_index.into_values().collect();
    if assignments
        .windows(2)
        .any(|pair| pair[0].len() != pair[1].len())
    {
        return refuse(
            bad,
            "The manual partition assignments differ in their replica counts.".into(),
        );
    }
    Ok(assignments)
}

/// Whether a client may place a new partition so.
pub(super) fn check_replicas(image: &Image, index: i32, replicas: &[i32]) -> Result<(), Refusal> {
    check_brokers(image, replicas)?;
    let live = replicas
        .iter()
        .any(|id| image.broker(*id).is_some_and(|broker| !broker.fenced));
    if live {
        return Ok(());
    }
    Err(Refusal::new(
        ErrorCode::InvalidReplicaAssignment,
        format!(
            "All brokers specified in the manual partition assignment for partition {index} are \
             fenced or in controlled shutdown."
        ),
    ))
}

/// Whether these are brokers of the cluster, each once.
pub(super) fn check_brokers(image: &Image, replicas: &[i32]) -> Result<(), Refusal> {
    let refuse = |message: String| Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, message));
    if replicas.is_empty() {
        return refuse("The manual partition assignment includes an empty replica list.".into());
    }
    let mut seen = BTreeSet::new();
    for broker in replicas {
        if image.broker(*broker).is_none() {
            return refuse(format!(
                "The manual partition assignment includes broker {broker}, but no such broker is \
                 registered."
            ));
        }
        if !seen.insert(*broker) {
            return refuse(format!(
                "The manual partition assignment includes the broker {broker} more than once."
            ));
        }
    }
    Ok(())
}

/// The brokers that may lead, in order of their ids.
pub(super) fn usable_brokers(image: &Image) -> Vec<i32> {
    let usable = image.brokers().filter(|broker| !broker.fenced);
    usable.map(|broker| broker.id).collect()
}

/// Why a partition can't be had as often as that.
pub(super) fn too_few_brokers(factor: usize, brokers: usize) -> Refusal {
    Refusal::new(
        ErrorCode::InvalidReplicationFactor,
        format!(
            "Unable to replicate the partition {factor} time(s): The target replication factor of \
             {factor} cannot be reached because only {brokers} broker(s) are registered."
        ),
    )
}

pub(super) fn new_partition(
    image: &Image,
    topic_id: TopicId,
    partition_id: i32,
    replicas: Vec<i32>,
    subject: &mut dyn Subject,
) -> MetadataRecord {
    let isr: Vec<i32> = replicas
        .iter()
        .copied()
        .filter(|id| image.broker(*id).is_some_and(|broker| !broker.fenced))
        .collect();
    MetadataRecord::Partition(PartitionRecord {
        partition_id,
        topic_id,
        directories: replicas
            .iter()
            .map(|broker| subject.place(*broker))
            .collect(),
        leader: isr.first().copied().unwrap_or(-1),
        isr,
        replicas,
        removing_replicas: Vec::new(),
        adding_replicas: Vec::new(),
        leader_recovery_state: 0,
        leader_epoch: 0,
        partition_epoch: 0,
    })
}

/// A topic to be deleted: by name up to version 5, by name or id from 6.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removal {
    /// By name.
    Name(String),
    /// By identity.
    Id(TopicId),
}

/// Identity and name of a topic to be removed, or why it stays.
pub type RemovalOutcome = Result<(TopicId, String), Refusal>;

/// Decides a request to delete topics: for each, its identity and name or why not, and the records
/// that remove them. The same topic twice is refused both times.
pub fn delete_topics(
    image: &Image,
    requests: &[Removal],
) -> (Vec<RemovalOutcome>, Vec<MetadataRecord>) {
    let find = |request: &Removal| match request {
        Removal::Name(name) => image.topic_named(name).ok_or_else(|| {
            Refusal::new(
                ErrorCode::UnknownTopicOrPartition,
                "This server does not host this topic-partition.",
            )
        }),
        Removal::Id(id) => image.topic(*id).ok_or_else(|| {
            Refusal::new(
                ErrorCode::UnknownTopicId,
                "This server does not host this topic ID.",
            )
        }),
    };
    let found: Vec<_> = requests.iter().map(find).collect();
    let mut times: BTreeMap<TopicId, usize> = BTreeMap::new();
    for topic in found.iter().flatten() {
        *times.entry(topic.id).or_default() += 1;
    }
    let outcomes: Vec<_> = found
        .into_iter()
        .map(|found| {
            let topic = found?;
            if times[&topic.id] > 1 {
                return Err(Refusal::new(ErrorCode::InvalidRequest, "Duplicate topic."));
            }
            Ok((topic.id, topic.name.to_string()))
        })
        .collect();
    let records = outcomes
        .iter()
        .flatten()
        .map(|(id, _)| MetadataRecord::RemoveTopic(*id))
        .collect();
    (outcomes, records)
}

/// Decides a report that `directories` hold no data of some removed topics any more: the records
/// that remember it. What is known already needs none.
pub fn data_removed(
    image: &Image,
    topics: &[TopicId],
    directories: &[Directory],
) -> Vec<MetadataRecord> {
    let mut topics = topics.to_vec();
    topics.sort_unstable();
    topics.dedup();
    let record = |topic_id: TopicId| {
        let before = image.removal_pending(topic_id);
        let pending: Vec<Directory> = before
            .iter()
            .copied()
            .filter(|directory| !directories.contains(directory))
            .collect();
        (pending.len() < before.len()).then_some(MetadataRecord::RemovedTopicData(
            RemovedTopicData { topic_id, pending },
        ))
    };
    topics.into_iter().filter_map(record).collect()
}
