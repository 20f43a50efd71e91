//! In which log directory of its broker a replica lies (KIP-858): a move is one record.
//!
//! What always holds: a replica is moved only from the directory that the newest image names, to one
//! that its broker offers.

use millrace_protocol::ids::TopicId;
use millrace_protocol::metadata::{MetadataRecord, PartitionChangeRecord};

use super::{Directory, Image};

/// A replica that is to lie in another directory of its broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The topic.
    pub topic_id: TopicId,
    /// The partition.
    pub partition_id: i32,
    /// The broker.
    pub broker_id: i32,
    /// Where the replica lies.
    pub from: Directory,
    /// Where it is to lie.
    pub to: Directory,
}

/// Why a replica stays where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAssigned {
    /// The topic was removed.
    #[error("its topic was removed")]
    Gone,
    /// Somebody else moved it.
    #[error("it no longer lies where it did")]
    Elsewhere,
    /// A directory that failed, or is none of the broker's.
    #[error("the other directory is not in service")]
    NotOffered,
    /// Nobody can say that the copy has all there is.
    #[error("its broker doesn't lead it")]
    NotLed,
}

/// Decides a move whose copy is made and durable: the record that makes the copy the replica.
pub fn assign_directory(image: &Image, asked: &Assignment) -> Result<MetadataRecord, NotAssigned> {
    let topic = image.topic(asked.topic_id);
    let partition = topic.and_then(|topic| topic.partitions.get(&asked.partition_id));
    let partition = partition.ok_or(NotAssigned::Gone)?;
    if partition.directory_of(asked.broker_id) != Some(asked.from) {
        return Err(NotAssigned::Elsewhere);
    }
    let broker = image.broker(asked.broker_id);
    if !broker.is_some_and(|broker| broker.log_dirs.contains(&asked.to)) {
        return Err(NotAssigned::NotOffered);
    }
    if partition.leader != asked.broker_id {
        return Err(NotAssigned::NotLed);
    }
    let directory = |id: &i32| {
        if *id == asked.broker_id {
            return asked.to;
        }
        partition.directory_of(*id).unwrap_or_default()
    };
    Ok(MetadataRecord::PartitionChange(PartitionChangeRecord {
        partition_id: asked.partition_id,
        topic_id: asked.topic_id,
        directories: Some(partition.replicas.iter().map(directory).collect()),
        ..PartitionChangeRecord::default()
    }))
}

#[cfg(test)]
mod tests {
    use millrace_protocol::metadata::{PartitionRecord, TopicRecord};

    use super::*;
    use crate::cluster::{Registration, register};

    fn id(byte: u8) -> TopicId {
        TopicId::from_bytes([byte; 16])
    }

    /// Topic 9, whose only partition lies in directory 1 of two; directory 3 is another broker's.
    fn image() -> Image {
        let registration = Registration {
            broker_id: 1,
            incarnation_id: id(8),
            end_points: Vec::new(),
            rack: None,
            log_dirs: [(id(1), 1), (id(2), 1)].into(),
        };
        let image = Image::default();
        let mut records = register(&image, registration, 0);
        records.push(MetadataRecord::Topic(TopicRecord {
            name: "t".to_owned(),
            topic_id: id(9),
        }));
        records.push(MetadataRecord::Partition(PartitionRecord {
            partition_id: 0,
            topic_id: id(9),
            replicas: vec![1],
            isr: vec![1],
            removing_replicas: Vec::new(),
            adding_replicas: Vec::new(),
            leader: 1,
            leader_recovery_state: 0,
            leader_epoch: 0,
            partition_epoch: 0,
            directories: vec![id(1)],
        }));
        image.replay_all(0, &records).unwrap()
    }

    fn asked() -> Assignment {
        Assignment {
            topic_id: id(9),
            partition_id: 0,
            broker_id: 1,
            from: id(1),
            to: id(2),
        }
    }

    #[test]
    fn a_record_moves_the_replica_and_no_leader() {
        let image = image();
        let record = assign_directory(&image, &asked()).unwrap();
        let after = image.replay_all(100, &[record]).unwrap();
        let of = |image: &Image| {
            image
                .topic(id(9))
                .unwrap()
                .partitions
                .get(&0)
                .unwrap()
                .clone()
        };
        let (before, after) = (of(&image), of(&after));
        assert_eq!(after.directory_of(1), Some(id(2)));
        assert_eq!(
            (after.leader, after.leader_epoch),
            (before.leader, before.leader_epoch)
        );
    }

    #[test]
    fn what_is_elsewhere_or_gone_or_wished_nowhere_stays() {
        let image = image();
        for (asked, why) in [
            (
                Assignment {
                    topic_id: id(7),
                    ..asked()
                },
                NotAssigned::Gone,
            ),
            (
                Assignment {
                    partition_id: 1,
                    ..asked()
                },
                NotAssigned::Gone,
            ),
            (
                Assignment {
                    from: id(2),
                    to: id(1),
                    ..asked()
                },
                NotAssigned::Elsewhere,
            ),
            (
                Assignment {
                    to: id(3),
                    ..asked()
                },
                NotAssigned::NotOffered,
            ),
        ] {
            assert_eq!(assign_directory(&image, &asked), Err(why));
        }
    }
}
