//! How much an image holds, kept with every change: answers reserve room by it, limits and metrics
//! go by it, and nobody counts ten thousand topics for that.

use super::topic::{NO_LEADER, Partition, Topic};

/// Sums over all topics of an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// Topics.
    pub topics: usize,
    /// Their partitions.
    pub partitions: usize,
    /// Those of them without a leader.
    pub leaderless: usize,
    /// Bytes of the topics' names.
    pub name_bytes: usize,
}

impl Extent {
    /// One more topic, without partitions.
    pub(super) fn add_topic(&mut self, name: &str) {
        self.topics += 1;
        self.name_bytes += name.len();
    }

    /// A topic goes, with its partitions.
    pub(super) fn remove_topic(&mut self, topic: &Topic) {
        self.topics -= 1;
        self.name_bytes -= topic.name.len();
        self.partitions -= topic.partitions.size();
        let leaderless = topic.partitions.values().filter(|p| is_leaderless(p));
        self.leaderless -= leaderless.count();
    }

    /// A partition goes, or an older state of one.
    pub(super) fn remove_partition(&mut self, partition: &Partition) {
        self.partitions -= 1;
        self.leaderless -= usize::from(is_leaderless(partition));
    }

    /// One more partition, or a newer state of one.
    pub(super) fn add_partition(&mut self, partition: &Partition) {
        self.partitions += 1;
        self.leaderless += usize::from(is_leaderless(partition));
    }
}

fn is_leaderless(partition: &Partition) -> bool {
    partition.leader <= NO_LEADER
}

#[cfg(test)]
mod tests {
    use millrace_protocol::ids::TopicId;
    use millrace_protocol::metadata::{
        BrokerRegistrationChangeRecord, ConfigRecord, MetadataRecord, PartitionChangeRecord,
        PartitionRecord, ProducerIdsRecord, RegisterBrokerRecord, TopicRecord,
    };
    use proptest::prelude::*;

    use super::super::Image;
    use super::*;

    fn id(topic: u8) -> TopicId {
        TopicId::from_bytes([topic + 1; 16])
    }

    fn partition(topic: u8, partition_id: i32, leader: i32) -> MetadataRecord {
        MetadataRecord::Partition(PartitionRecord {
            partition_id,
            topic_id: id(topic),
            replicas: vec![1],
            isr: vec![1],
            removing_replicas: Vec::new(),
            adding_replicas: Vec::new(),
            leader,
            leader_recovery_state: 0,
            leader_epoch: 0,
            partition_epoch: 0,
            directories: vec![id(100)],
        })
    }

    fn change(topic: u8, partition_id: i32, leader: Option<i32>) -> MetadataRecord {
        MetadataRecord::PartitionChange(PartitionChangeRecord {
            partition_id,
            topic_id: id(topic),
            leader,
            isr: Some(vec![1, 2]),
            ..PartitionChangeRecord::default()
        })
    }

    fn registration(epoch: i64) -> MetadataRecord {
        MetadataRecord::RegisterBroker(RegisterBrokerRecord {
            broker_id: 1,
            incarnation_id: id(0),
            broker_epoch: epoch,
            end_points: Vec::new(),
            features: Vec::new(),
            rack: None,
            fenced: false,
            in_controlled_shutdown: false,
            log_dirs: vec![id(100)],
            generations: Vec::new(),
        })
    }

    /// A record of any kind that clients may be told of, or not; many don't fit where they come.
    fn record() -> impl Strategy<Value = MetadataRecord> {
        let (topic, at, leader) = (0..4_u8, 0..3_i32, -1..2_i32);
        let made = topic.clone().prop_map(|topic| {
            MetadataRecord::Topic(TopicRecord {
                // Names of different lengths.
                name: "t".repeat(usize::from(topic) + 1),
                topic_id: id(topic),
            })
        });
        let put = (topic.clone(), at.clone(), leader.clone())
            .prop_map(|(topic, at, leader)| partition(topic, at, leader));
        let changed = (topic.clone(), at, proptest::option::of(leader))
            .prop_map(|(topic, at, leader)| change(topic, at, leader));
        let removed = topic.prop_map(|topic| MetadataRecord::RemoveTopic(id(topic)));
        let registered = (0..9_i64).prop_map(registration);
        let fenced = (-1..=1_i8).prop_map(|fenced| {
            MetadataRecord::BrokerRegistrationChange(BrokerRegistrationChangeRecord {
                broker_id: 1,
                broker_epoch: 0,
                fenced,
                in_controlled_shutdown: 0,
                log_dirs: Vec::new(),
            })
        });
        let configured = Just(MetadataRecord::Config(ConfigRecord {
            resource_type: 2,
            resource_name: "t".to_owned(),
            name: "retention.ms".to_owned(),
            value: Some("1".to_owned()),
        }));
        let ids = Just(MetadataRecord::ProducerIds(ProducerIdsRecord {
            broker_id: 1,
            broker_epoch: 0,
            next_producer_id: 1000,
        }));
        prop_oneof![
            3 => made, 6 => put, 3 => changed, 1 => removed, 1 => registered, 1 => fenced,
            1 => configured, 1 => ids
        ]
    }

    fn counted(image: &Image) -> Extent {
        let mut counted = Extent::default();
        for topic in image.topics_by_name() {
            counted.add_topic(&topic.name);
            topic
                .partitions
                .values()
                .for_each(|partition| counted.add_partition(partition));
        }
        counted
    }

    /// What clients are told comes from these alone.
    fn told(image: &Image) -> String {
        let topics: Vec<_> = image
            .topics_by_name()
            .map(|topic| (&topic.name, topic.id, &topic.partitions))
            .collect();
        let brokers: Vec<_> = image.brokers().collect();
        format!("{topics:?} {brokers:?}")
    }

    proptest! {
        #[test]
        fn what_is_kept_is_what_a_count_gives_and_every_change_that_is_told_moves_its_offset(
            records in proptest::collection::vec(record(), 1..60)
        ) {
            let mut image = Image::default();
            for record in records {
                let offset = image.offset() + 1;
                let Ok(next) = image.replay(offset, &record) else { continue };
                prop_assert_eq!(next.extent(), counted(&next));
                if told(&next) != told(&image) {
                    prop_assert_eq!(next.topology_offset(), offset);
                }
                if matches!(record, MetadataRecord::Config(_) | MetadataRecord::ProducerIds(_)) {
                    prop_assert_eq!(next.topology_offset(), image.topology_offset());
                }
                image = next;
            }
        }
    }
}
