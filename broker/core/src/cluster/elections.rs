//! Elections that an operator asks for: Kafka's rules and codes (KIP-460).

use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::ids::TopicId;
use millrace_protocol::metadata::{MetadataRecord, PartitionChangeRecord};

use super::names::TOPIC_NAME_BYTES_MAX;
use super::topic::NO_LEADER;
use super::{Image, Partition, Refusal};

/// `PartitionChangeRecord.LeaderRecoveryState`: the leader was not in sync.
const RECOVERING: i8 = 1;

/// Who may be elected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Election {
    /// The first replica, if it is in sync.
    Preferred,
    /// Where nobody leads any replica that lives, one in sync before others.
    Unclean,
}

/// Some partitions of one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ElectIn<'a> {
    /// The topic's name.
    pub topic: &'a str,
    /// The partitions.
    pub partitions: Vec<i32>,
}

/// What becomes of the elections of one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elected {
    /// The topic's name.
    pub topic: String,
    /// For each partition who leads it now, or why nobody was elected.
    pub partitions: Vec<(i32, Result<i32, Refusal>)>,
}

/// Decides elections, in these partitions or in all; of all, those that need none are left out.
pub fn elect_leaders(
    image: &Image,
    election: Election,
    asked: Option<&[ElectIn<'_>]>,
) -> (Vec<Elected>, Vec<MetadataRecord>) {
    let mut records = Vec::new();
    let mut rows = Vec::new();
    if let Some(asked) = asked {
        for in_topic in asked {
            let elect = |index: &i32| {
                let elected = elect_in(image, election, (in_topic.topic, *index));
                (*index, elected.map(|change| take(change, &mut records)))
            };
            rows.push(Elected {
                topic: in_topic.topic.to_owned(),
                partitions: in_topic.partitions.iter().map(elect).collect(),
            });
        }
        return (rows, records);
    }
    for topic in image.topics_by_name() {
        let mut partitions = Vec::new();
        for (index, partition) in &topic.partitions {
            match elect(image, election, (topic.id, *index), partition) {
                Err(refusal) if refusal.code == ErrorCode::ElectionNotNeeded => {}
                elected => {
                    let elected = elected.map(|change| take(change, &mut records));
                    partitions.push((*index, elected));
                }
            }
        }
        rows.push(Elected {
            topic: topic.name.to_string(),
            partitions,
        });
    }
    (rows, records)
}

/// Keeps the change; gives the leader that it makes.
fn take(change: PartitionChangeRecord, records: &mut Vec<MetadataRecord>) -> i32 {
    let leader = change.leader.unwrap_or(NO_LEADER);
    records.push(MetadataRecord::PartitionChange(change));
    leader
}

fn elect_in(
    image: &Image,
    election: Election,
    (name, index): (&str, i32),
) -> Result<PartitionChangeRecord, Refusal> {
    let unknown = |message: String| Refusal::new(ErrorCode::UnknownTopicOrPartition, message);
    // A name of any length is asked for, and a text of an answer has no room for the longest.
    let shown: String = name.chars().take(TOPIC_NAME_BYTES_MAX).collect();
    let topic = image
        .topic_named(name)
        .ok_or_else(|| unknown(format!("No such topic as {shown}")))?;
    let partition = topic
        .partitions
        .get(&index)
        .ok_or_else(|| unknown(format!("No such partition as {shown}-{index}")))?;
    elect(image, election, (topic.id, index), partition)
}

fn elect(
    image: &Image,
    election: Election,
    (topic_id, partition_id): (TopicId, i32),
    partition: &Partition,
) -> Result<PartitionChangeRecord, Refusal> {
    let preferred = partition.replicas.first().copied().unwrap_or(NO_LEADER);
    let has_leader = match election {
        Election::Preferred => partition.leader == preferred,
        Election::Unclean => partition.leader != NO_LEADER,
    };
    if has_leader {
        let message = "Leader election not needed for topic partition.";
        return Err(Refusal::new(ErrorCode::ElectionNotNeeded, message));
    }
    let offline: Vec<i32> = image.offline_replicas(partition).collect();
    let lives = |id: &i32| !offline.contains(id);
    let in_sync = |id: &i32| partition.isr.contains(id);
    let mut change = PartitionChangeRecord {
        partition_id,
        topic_id,
        ..PartitionChangeRecord::default()
    };
    match election {
        Election::Preferred if lives(&preferred) && in_sync(&preferred) => {
            change.leader = Some(preferred);
            Ok(change)
        }
        Election::Preferred => Err(Refusal::new(
            ErrorCode::PreferredLeaderNotAvailable,
            "The preferred leader was not available.",
        )),
        Election::Unclean => {
            let mut living = partition.replicas.iter().copied().filter(|id| lives(id));
            let mut clean = living.clone().filter(|id| in_sync(id));
            let leader = clean.next().or_else(|| living.next()).ok_or_else(|| {
                Refusal::new(
                    ErrorCode::EligibleLeadersNotAvailable,
                    "Eligible topic partition leaders are not available.",
                )
            })?;
            if !in_sync(&leader) {
                change.isr = Some(vec![leader]);
                change.leader_recovery_state = Some(RECOVERING);
            }
            change.leader = Some(leader);
            Ok(change)
        }
    }
}
