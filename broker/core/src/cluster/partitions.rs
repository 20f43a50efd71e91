//! More partitions for topics that are there: Kafka's rules and codes, in Kafka's order (its
//! `ReplicationControlManager`; KIP-195).

use std::collections::BTreeSet;

use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::metadata::MetadataRecord;

use super::topics::{
    NEW_PARTITIONS_MAX, check_brokers, check_replicas, new_partition, too_few_brokers, too_many,
    usable_brokers,
};
use super::{Image, Refusal, Subject, Topic};

/// What one topic is to have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GrowTopic {
    /// Name.
    pub name: String,
    /// How many partitions it is to have in all.
    pub count: i32,
    /// Brokers of each new partition, where the client places them itself.
    pub assignments: Option<Vec<Vec<i32>>>,
}

/// What becomes of one topic: success, or why nothing was added.
pub type GrowthOutcome = Result<(), Refusal>;

/// Decides a request for more partitions: an outcome for each topic, in the request's order, and the
/// records that add them. A topic that is named twice is refused each time; a request that wants too
/// many partitions is refused as a whole. The cluster has at most `partitions_max`.
pub fn create_partitions(
    image: &Image,
    requests: &[GrowTopic],
    partitions_max: usize,
    subject: &mut dyn Subject,
) -> (Vec<GrowthOutcome>, Vec<MetadataRecord>) {
    let mut seen = BTreeSet::new();
    let repeated: BTreeSet<&str> = requests
        .iter()
        .map(|request| request.name.as_str())
        .filter(|name| !seen.insert(*name))
        .collect();
    let mut records = Vec::new();
    let mut outcomes = Vec::with_capacity(requests.len());
    for request in requests {
        if repeated.contains(request.name.as_str()) {
            let refusal = Refusal::new(ErrorCode::InvalidRequest, "Duplicate topic name.");
            outcomes.push(Err(refusal));
            continue;
        }
        let left = NEW_PARTITIONS_MAX.saturating_sub(records.len());
        let grown = grow(image, request, left, subject);
        outcomes.push(grown.map(|mut added| records.append(&mut added)));
    }
    if let Some(refusal) = too_many(image, records.len(), partitions_max) {
        let refused = outcomes.into_iter();
        let refused = refused.map(|outcome| outcome.and(Err(refusal.clone())));
        return (refused.collect(), Vec::new());
    }
    (outcomes, records)
}

/// The records of one topic's new partitions, `left` at most.
fn grow(
    image: &Image,
    request: &GrowTopic,
    left: usize,
    subject: &mut dyn Subject,
) -> Result<Vec<MetadataRecord>, Refusal> {
    let topic = image
        .topic_named(&request.name)
        .ok_or_else(|| Refusal::new(ErrorCode::UnknownTopicOrPartition, ""))?;
    let first = i32::try_from(topic.partitions.size()).unwrap_or(i32::MAX);
    let added = added(&request.name, first, request.count)?;
    let assignments = match &request.assignments {
        Some(assignments) => {
            let assigned = assignments.len();
            if assigned != added {
                let message = format!(
                    "Attempted to add {added} additional partition(s), but only {assigned} \
                     assignment(s) were specified."
                );
                return Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, message));
            }
            check_assignments(image, first, factor(topic), assignments)?;
            assignments.clone()
        }
        None if added > left => {
            let message = format!(
                "Excessively large number of partitions per request: {added}, at most \
                 {NEW_PARTITIONS_MAX}."
            );
            return Err(Refusal::new(ErrorCode::PolicyViolation, message));
        }
        None => spread(image, first, factor(topic), added)?,
    };
    let new = (first..).zip(assignments);
    Ok(new
        .map(|(index, replicas)| new_partition(image, topic.id, index, replicas, subject))
        .collect())
}

/// How many partitions are to be added.
fn added(name: &str, there: i32, count: i32) -> Result<usize, Refusal> {
    let message = if count == there {
        format!("Topic already has {there} partition(s).")
    } else {
        format!(
            "The topic {name} currently has {there} partition(s); {count} would not be an increase."
        )
    };
    usize::try_from(i64::from(count) - i64::from(there))
        .ok()
        .filter(|added| *added > 0)
        .ok_or_else(|| Refusal::new(ErrorCode::InvalidPartitions, message))
}

/// How often each partition of a topic is had: as often as its first one.
fn factor(topic: &Topic) -> usize {
    let first = topic.partitions.get(&0);
    first.map_or(1, |partition| partition.replicas.len())
}

fn check_assignments(
    image: &Image,
    first: i32,
    factor: usize,
    assignments: &[Vec<i32>],
) -> Result<(), Refusal> {
    for (index, replicas) in (first..).zip(assignments) {
        check_brokers(image, replicas)?;
        if replicas.len() != factor {
            let message = format!(
                "The manual partition assignment includes a partition with {} replica(s), but this \
                 is not consistent with previous partitions, which have {factor} replica(s).",
                replicas.len()
            );
            return Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, message));
        }
        check_replicas(image, index, replicas)?;
    }
    Ok(())
}

/// Brokers for each new partition, going round where the ones before it stopped.
fn spread(
    image: &Image,
    first: i32,
    factor: usize,
    added: usize,
) -> Result<Vec<Vec<i32>>, Refusal> {
    let brokers = usable_brokers(image);
    if factor > brokers.len() {
        return Err(too_few_brokers(factor, brokers.len()));
    }
    let first = usize::try_from(first).unwrap_or(0);
    let place = |partition: usize| {
        (0..factor)
            .map(|replica| brokers[(partition + replica) % brokers.len()])
            .collect()
    };
    Ok((first..first + added).map(place).collect())
}
