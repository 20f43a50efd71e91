//! Moves of partitions between brokers that an operator asks for (KIP-455). A partition's replicas
//! can be put into another order, which says who is preferred; that others get a copy needs
//! replication, which this broker doesn't have: it is refused, so none is ever under way.

use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::metadata::{MetadataRecord, PartitionChangeRecord};

use super::topics::check_brokers;
use super::{Image, Refusal};

/// Where one partition is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reassignment<'a> {
    /// The topic's name.
    pub topic: &'a str,
    /// The partition.
    pub partition: i32,
    /// The brokers, the preferred leader first; `None` to end the move that is under way.
    pub replicas: Option<Vec<i32>>,
}

/// Decides moves of partitions: what becomes of each, in the request's order, and the records that
/// make them. `may_change_factor`: whether a partition may get more or fewer replicas.
pub fn reassign_partitions(
    image: &Image,
    moves: &[Reassignment<'_>],
    may_change_factor: bool,
) -> (Vec<Result<(), Refusal>>, Vec<MetadataRecord>) {
    let mut records = Vec::new();
    let outcomes = moves
        .iter()
        .map(|asked| {
            let change = reassign(image, asked, may_change_factor)?;
            records.extend(change.map(MetadataRecord::PartitionChange));
            Ok(())
        })
        .collect();
    (outcomes, records)
}

fn reassign(
    image: &Image,
    asked: &Reassignment<'_>,
    may_change_factor: bool,
) -> Result<Option<PartitionChangeRecord>, Refusal> {
    let (name, index) = (asked.topic, asked.partition);
    let unknown = |message: String| Refusal::new(ErrorCode::UnknownTopicOrPartition, message);
    let topic = image
        .topic_named(name)
        .ok_or_else(|| unknown(format!("Unable to find a topic named {name}.")))?;
    let partition = topic
        .partitions
        .get(&index)
        .ok_or_else(|| unknown(format!("Unable to find partition {name}:{index}.")))?;
    let Some(replicas) = &asked.replicas else {
        return Err(Refusal::new(ErrorCode::NoReassignmentInProgress, ""));
    };
    check_brokers(image, replicas)?;
    let before = &partition.replicas;
    if !may_change_factor && replicas.len() != before.len() {
        let message = format!(
            "The replication factor is changed from {} to {}",
            before.len(),
            replicas.len()
        );
        return Err(Refusal::new(ErrorCode::InvalidReplicationFactor, message));
    }
    if replicas == before {
        return Ok(None);
    }
    let same = replicas.len() == before.len() && replicas.iter().all(|id| before.contains(id));
    if !same {
        return Err(Refusal::new(
            ErrorCode::InvalidReplicaAssignment,
            "Partitions can't be moved to other brokers: this broker doesn't replicate.",
        ));
    }
    let directory = |id: &i32| partition.directory_of(*id).unwrap_or_default();
    Ok(Some(PartitionChangeRecord {
        partition_id: index,
        topic_id: topic.id,
        replicas: Some(replicas.clone()),
        directories: Some(replicas.iter().map(directory).collect()),
        ..PartitionChangeRecord::default()
    }))
}
