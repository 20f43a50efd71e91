//! The image: what the metadata log says, folded.
//!
//! What always holds: a partition's topic exists; the name index names exactly the topics that are
//! there; the offset never falls. Structures share what didn't change: one record costs O(log n).

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use millrace_probe::{Bug, planted};
use millrace_protocol::ids::TopicId;
use millrace_protocol::metadata::{
    BrokerEndpoint, ConfigRecord, MetadataRecord, PartitionChangeRecord, PartitionRecord,
    RegisterBrokerRecord, RemovedTopicData,
};
use rpds::RedBlackTreeMapSync;

use super::extent::Extent;
use super::names::collision_key;
use super::topic::{Directory, Partition, Topic};

/// The resource types of topics and of brokers in configuration records.
const RESOURCE_TOPIC: i8 = 2;
const RESOURCE_BROKER: i8 = 4;

/// One registered broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// Node id.
    pub id: i32,
    /// Which life of the broker this is.
    pub incarnation_id: TopicId,
    /// Offset of the registration.
    pub epoch: i64,
    /// Listeners, as clients are told.
    pub end_points: Vec<BrokerEndpoint>,
    /// Rack.
    pub rack: Option<String>,
    /// Whether it may not lead or be in sync.
    pub fenced: bool,
    /// Its log directories.
    pub log_dirs: Vec<Directory>,
    /// The last generation of each that it offered, of missing ones too: one that comes with a lower
    /// one is an old copy.
    pub generations: BTreeMap<Directory, u64>,
}

/// A record that doesn't fit the image it is applied to: the log is damaged, or not ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("metadata record at offset {offset}: {reason}")]
pub struct ReplayError {
    /// Where the record stands.
    pub offset: i64,
    /// What doesn't fit.
    pub reason: String,
}

/// Everything the metadata log says up to one offset. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Image {
    offset: i64,
    topics: RedBlackTreeMapSync<TopicId, Topic>,
    ids: RedBlackTreeMapSync<Arc<str>, TopicId>,
    /// How many topics share a name once `.` counts as `_`; at most one, but for foreign logs.
    collisions: RedBlackTreeMapSync<String, Arc<str>>,
    configs: RedBlackTreeMapSync<(i8, String, String), String>,
    /// Offset of the newest record that configured anything; and of the newest that configured
    /// brokers.
    config_offset: i64,
    broker_config_offset: i64,
    /// Offset of the newest record of a topic, a partition or a broker.
    topology_offset: i64,
    extent: Extent,
    brokers: RedBlackTreeMapSync<i32, Arc<Broker>>,
    features: RedBlackTreeMapSync<String, i16>,
    next_producer_id: i64,
    /// Removed topics, and the directories that may still hold their data: never none.
    removed: RedBlackTreeMapSync<TopicId, Vec<Directory>>,
}

impl Default for Image {
    fn default() -> Self {
        Self {
            offset: -1,
            topics: RedBlackTreeMapSync::default(),
            ids: RedBlackTreeMapSync::default(),
            collisions: RedBlackTreeMapSync::default(),
            configs: RedBlackTreeMapSync::default(),
            config_offset: -1,
            broker_config_offset: -1,
            topology_offset: -1,
            extent: Extent::default(),
            brokers: RedBlackTreeMapSync::default(),
            features: RedBlackTreeMapSync::default(),
            next_producer_id: 0,
            removed: RedBlackTreeMapSync::default(),
        }
    }
}

impl Image {
    /// Offset of the last record folded in; -1 for none.
    pub fn offset(&self) -> i64 {
        self.offset
    }

    /// A topic by identity.
    pub fn topic(&self, id: TopicId) -> Option<&Topic> {
        self.topics.get(&id)
    }

    /// A topic by name.
    pub fn topic_named(&self, name: &str) -> Option<&Topic> {
        self.ids.get(name).and_then(|id| self.topics.get(id))
    }

    /// All topics, in order of their names.
    pub fn topics_by_name(&self) -> impl Iterator<Item = &Topic> {
        self.ids.values().filter_map(|id| self.topics.get(id))
    }

    /// The topics from this name on, in order of their names.
    pub fn topics_from(&self, name: &str) -> impl Iterator<Item = &Topic> {
        let from = (Bound::Included(name), Bound::Unbounded);
        let ids = self.ids.range::<str, _>(from);
        ids.filter_map(|(_, id)| self.topics.get(id))
    }

    /// How much there is of everything.
    pub fn extent(&self) -> Extent {
        self.extent
    }

    /// Offset of the newest record that changed a topic, a partition or a broker, -1 for none: as
    /// long as it stays, so does what clients are told of them.
    pub fn topology_offset(&self) -> i64 {
        self.topology_offset
    }

    /// How many topics there are.
    pub fn topic_count(&self) -> usize {
        self.topics.size()
    }

    /// The topic whose name can't be told from `name` once `.` counts as `_`.
    pub fn colliding_topic(&self, name: &str) -> Option<&str> {
        self.collisions.get(&collision_key(name)).map(AsRef::as_ref)
    }

    /// What was configured for one topic, by key.
    pub fn topic_config(&self, name: &str) -> impl Iterator<Item = (&str, &str)> {
        self.resource_config(RESOURCE_TOPIC, name)
    }

    /// What was configured for one broker, by its id, while it ran; with the empty name, for all.
    pub fn broker_config(&self, name: &str) -> impl Iterator<Item = (&str, &str)> {
        self.resource_config(RESOURCE_BROKER, name)
    }

    /// Offset of the newest record that configured anything, -1 for none: as long as it stays, so
    /// does every configuration.
    pub fn config_offset(&self) -> i64 {
        self.config_offset
    }

    /// Offset of the newest record that configured brokers, -1 for none. What is derived from their
    /// configuration is good as long as this stays.
    pub fn broker_config_offset(&self) -> i64 {
        self.broker_config_offset
    }

    pub(super) fn resource_config(
        &self,
        kind: i8,
        name: &str,
    ) -> impl Iterator<Item = (&str, &str)> {
        let first = (kind, name.to_owned(), String::new());
        let name = name.to_owned();
        self.configs
            .range(first..)
            .take_while(move |((k, n, _), _)| *k == kind && *n == name)
            .map(|((_, _, key), value)| (key.as_str(), value.as_str()))
    }

    /// A broker by node id.
    pub fn broker(&self, id: i32) -> Option<&Arc<Broker>> {
        self.brokers.get(&id)
    }

    /// The replicas of a partition that nobody can reach: their broker isn't there or is fenced, or
    /// no longer offers the directory they lie in (KIP-858).
    pub fn offline_replicas<'a>(
        &'a self,
        partition: &'a Partition,
    ) -> impl Iterator<Item = i32> + 'a {
        let offline = |id: &i32| {
            let broker = self.broker(*id).filter(|broker| !broker.fenced);
            broker.is_none_or(|broker| {
                let directory = partition.directory_of(*id);
                directory.is_some_and(|directory| !broker.log_dirs.contains(&directory))
            })
        };
        partition.replicas.iter().copied().filter(offline)
    }

    /// Whether a directory of a broker holds a partition, or data of a removed topic.
    pub(super) fn needs(&self, broker_id: i32, directory: Directory) -> bool {
        let holds = |topic: &Topic| {
            let mut partitions = topic.partitions.values();
            partitions.any(|partition| partition.directory_of(broker_id) == Some(directory))
        };
        self.topics.values().any(holds)
            || self.removed.values().any(|dirs| dirs.contains(&directory))
    }

    /// All registered brokers, in order of their ids.
    pub fn brokers(&self) -> impl Iterator<Item = &Arc<Broker>> {
        self.brokers.values()
    }

    /// Finalised feature levels.
    pub fn features(&self) -> impl Iterator<Item = (&str, i16)> {
        self.features
            .iter()
            .map(|(name, level)| (name.as_str(), *level))
    }

    /// The first producer id that was never handed out.
    pub fn next_producer_id(&self) -> i64 {
        self.next_producer_id
    }

    /// Removed topics, and the directories that have not reported yet that the data are gone.
    pub fn removed_topics(&self) -> impl Iterator<Item = (TopicId, &[Directory])> {
        self.removed
            .iter()
            .map(|(id, pending)| (*id, pending.as_slice()))
    }

    /// The directories that may still hold data of a removed topic; none when there are none.
    pub fn removal_pending(&self, id: TopicId) -> &[Directory] {
        self.removed.get(&id).map_or(&[], Vec::as_slice)
    }

    /// Whether the topic was removed and a directory may still hold its data.
    pub fn is_removed(&self, id: TopicId) -> bool {
        self.removed.contains_key(&id)
    }

    /// The image after one more record, which stands at `offset`.
    pub fn replay(&self, offset: i64, record: &MetadataRecord) -> Result<Self, ReplayError> {
        self.replay_all(offset, std::slice::from_ref(record))
    }

    /// The image after an entry of records that stand at `base_offset` and the offsets after it.
    pub fn replay_all(
        &self,
        base_offset: i64,
        records: &[MetadataRecord],
    ) -> Result<Self, ReplayError> {
        let mut loading = Loading {
            image: self.clone(),
        };
        for (offset, record) in (base_offset..).zip(records) {
            loading.replay(offset, record)?;
        }
        Ok(loading.finish())
    }

    fn apply(&mut self, record: &MetadataRecord) -> Result<(), String> {
        match record {
            MetadataRecord::Topic(topic) => self.add_topic(&topic.name, topic.topic_id),
            MetadataRecord::Partition(partition) => self.put_partition(partition),
            MetadataRecord::PartitionChange(change) => self.change_partition(change),
            MetadataRecord::RemoveTopic(id) => self.remove_topic(*id),
            MetadataRecord::RemovedTopicData(data) => self.keep_removed(data),
            MetadataRecord::Config(config) => {
                self.configure(config);
                Ok(())
            }
            MetadataRecord::RegisterBroker(broker) => {
                self.register(broker);
                Ok(())
            }
            MetadataRecord::BrokerRegistrationChange(change) => {
                let broker = self
                    .brokers
                    .get(&change.broker_id)
                    .ok_or_else(|| format!("broker {} isn't registered", change.broker_id))?;
                self.topology_offset = self.offset;
                let mut changed = broker.as_ref().clone();
                match change.fenced {
                    1 => changed.fenced = true,
                    -1 => changed.fenced = false,
                    _ => {}
                }
                if !change.log_dirs.is_empty() {
                    changed.log_dirs.clone_from(&change.log_dirs);
                }
                self.brokers.insert_mut(change.broker_id, Arc::new(changed));
                Ok(())
            }
            MetadataRecord::FeatureLevel(feature) => {
                if feature.feature_level == 0 {
                    self.features.remove_mut(&feature.name);
                } else {
                    self.features
                        .insert_mut(feature.name.clone(), feature.feature_level);
                }
                Ok(())
            }
            MetadataRecord::ProducerIds(ids) => {
                if ids.next_producer_id < self.next_producer_id {
                    return Err(format!(
                        "producer ids fall back to {}",
                        ids.next_producer_id
                    ));
                }
                self.next_producer_id = ids.next_producer_id;
                Ok(())
            }
            MetadataRecord::NoOp => Ok(()),
        }
    }

    fn add_topic(&mut self, name: &str, id: TopicId) -> Result<(), String> {
        if self.ids.contains_key(name) {
            return Err(format!("topic {name} is there already"));
        }
        if self.topics.contains_key(&id) || self.removed.contains_key(&id) {
            return Err(format!("topic id {id} was given before"));
        }
        self.extent.add_topic(name);
        self.topology_offset = self.offset;
        let name: Arc<str> = name.into();
        self.ids.insert_mut(Arc::clone(&name), id);
        self.collisions
            .insert_mut(collision_key(&name), Arc::clone(&name));
        self.topics.insert_mut(
            id,
            Topic {
                name,
                id,
                partitions: RedBlackTreeMapSync::default(),
                config_offset: None,
            },
        );
        Ok(())
    }

    fn put_partition(&mut self, record: &PartitionRecord) -> Result<(), String> {
        let partition = Partition {
            replicas: record.replicas.clone(),
            isr: record.isr.clone(),
            leader: record.leader,
            leader_epoch: record.leader_epoch,
            partition_epoch: record.partition_epoch,
            directories: record.directories.clone(),
        };
        let mut extent = self.extent;
        self.update_topic(record.topic_id, |topic| {
            if let Some(before) = topic.partitions.get(&record.partition_id) {
                extent.remove_partition(before);
            }
            extent.add_partition(&partition);
            topic.partitions.insert_mut(record.partition_id, partition);
            Ok(())
        })?;
        self.extent = extent;
        Ok(())
    }

    fn change_partition(&mut self, change: &PartitionChangeRecord) -> Result<(), String> {
        let mut extent = self.extent;
        self.update_topic(change.topic_id, |topic| {
            let partition = topic
                .partitions
                .get_mut(&change.partition_id)
                .ok_or_else(|| {
                    format!("{} has no partition {}", topic.name, change.partition_id)
                })?;
            extent.remove_partition(partition);
            if let Some(isr) = &change.isr {
                partition.isr.clone_from(isr);
            }
            if let Some(replicas) = &change.replicas {
                partition.replicas.clone_from(replicas);
            }
            if let Some(directories) = &change.directories {
                partition.directories.clone_from(directories);
            }
            let end = || format!("{} has a partition at the end of its epochs", topic.name);
            if let Some(leader) = change.leader {
                partition.leader = leader;
                partition.leader_epoch = partition.leader_epoch.checked_add(1).ok_or_else(end)?;
            }
            partition.partition_epoch = partition.partition_epoch.checked_add(1).ok_or_else(end)?;
            extent.add_partition(partition);
            Ok(())
        })?;
        self.extent = extent;
        Ok(())
    }

    fn update_topic(
        &mut self,
        id: TopicId,
        change: impl FnOnce(&mut Topic) -> Result<(), String>,
    ) -> Result<(), String> {
        let topic = self
            .topics
            .get_mut(&id)
            .ok_or_else(|| format!("topic {id} isn't there"))?;
        change(topic)?;
        self.topology_offset = self.offset;
        Ok(())
    }

    fn remove_topic(&mut self, id: TopicId) -> Result<(), String> {
        let topic = self
            .topics
            .get(&id)
            .cloned()
            .ok_or_else(|| format!("topic {id} isn't there"))?;
        self.extent.remove_topic(&topic);
        self.topology_offset = self.offset;
        self.topics.remove_mut(&id);
        self.ids.remove_mut(&*topic.name);
        self.collisions.remove_mut(&collision_key(&topic.name));
        let keys: Vec<String> = self
            .topic_config(&topic.name)
            .map(|(key, _)| key.to_owned())
            .collect();
        for key in keys.iter().filter(|_| !planted(Bug::ConfigInherited)) {
            let key = key.clone();
            self.configs
                .remove_mut(&(RESOURCE_TOPIC, topic.name.to_string(), key));
        }
        let mut pending: Vec<Directory> = topic
            .partitions
            .values()
            .flat_map(|partition| partition.directories.iter().copied())
            .collect();
        pending.sort_unstable();
        pending.dedup();
        if !pending.is_empty() {
            self.removed.insert_mut(id, pending);
        }
        Ok(())
    }

    /// Which directories still hold data of a removed topic.
    fn keep_removed(&mut self, data: &RemovedTopicData) -> Result<(), String> {
        let id = data.topic_id;
        if self.topics.contains_key(&id) {
            return Err(format!("topic {id} is there, not removed"));
        }
        if data.pending.is_empty() {
            self.removed.remove_mut(&id);
        } else {
            self.removed.insert_mut(id, data.pending.clone());
        }
        Ok(())
    }

    fn configure(&mut self, record: &ConfigRecord) {
        self.config_offset = self.offset;
        if record.resource_type == RESOURCE_BROKER {
            self.broker_config_offset = self.offset;
        }
        if record.resource_type == RESOURCE_TOPIC
            && let Some(id) = self.ids.get(record.resource_name.as_str()).copied()
            && let Some(topic) = self.topics.get_mut(&id)
        {
            topic.config_offset = Some(self.offset);
        }
        let key = (
            record.resource_type,
            record.resource_name.clone(),
            record.name.clone(),
        );
        match &record.value {
            Some(value) => self.configs.insert_mut(key, value.clone()),
            None => {
                self.configs.remove_mut(&key);
            }
        }
    }

    fn register(&mut self, record: &RegisterBrokerRecord) {
        self.topology_offset = self.offset;
        let broker = Broker {
            id: record.broker_id,
            incarnation_id: record.incarnation_id,
            epoch: record.broker_epoch,
            end_points: record.end_points.clone(),
            rack: record.rack.clone(),
            fenced: record.fenced,
            log_dirs: record.log_dirs.clone(),
            generations: record.generations.iter().copied().collect(),
        };
        self.brokers.insert_mut(record.broker_id, Arc::new(broker));
    }

    /// The image as records: folding them gives this image again. What a snapshot holds.
    pub fn to_records(&self) -> Vec<MetadataRecord> {
        let mut records = Vec::new();
        for (name, level) in self.features() {
            records.push(MetadataRecord::FeatureLevel(
                millrace_protocol::metadata::FeatureLevelRecord {
                    name: name.to_owned(),
                    feature_level: level,
                },
            ));
        }
        for broker in self.brokers() {
            records.push(MetadataRecord::RegisterBroker(RegisterBrokerRecord {
                broker_id: broker.id,
                incarnation_id: broker.incarnation_id,
                broker_epoch: broker.epoch,
                end_points: broker.end_points.clone(),
                features: Vec::new(),
                rack: broker.rack.clone(),
                fenced: broker.fenced,
                in_controlled_shutdown: false,
                log_dirs: broker.log_dirs.clone(),
                generations: broker.generations.clone().into_iter().collect(),
            }));
        }
        for (topic_id, pending) in self.removed_topics() {
            records.push(MetadataRecord::RemovedTopicData(RemovedTopicData {
                topic_id,
                pending: pending.to_vec(),
            }));
        }
        for topic in self.topics_by_name() {
            topic_records(topic, &mut records);
        }
        for ((resource_type, resource_name, name), value) in &self.configs {
            records.push(MetadataRecord::Config(ConfigRecord {
                resource_type: *resource_type,
                resource_name: resource_name.clone(),
                name: name.clone(),
                value: Some(value.clone()),
            }));
        }
        records.push(MetadataRecord::ProducerIds(
            millrace_protocol::metadata::ProducerIdsRecord {
                broker_id: -1,
                broker_epoch: -1,
                next_producer_id: self.next_producer_id,
            },
        ));
        records
    }
}

/// An image in the making: nobody sees it before it is whole, so it is changed in place.
#[derive(Debug, Default)]
pub struct Loading {
    image: Image,
}

impl Loading {
    /// One record of a snapshot of the log up to and with `offset`.
    pub fn restore(&mut self, offset: i64, record: &MetadataRecord) -> Result<(), ReplayError> {
        self.image.offset = offset;
        self.image
            .apply(record)
            .map_err(|reason| ReplayError { offset, reason })
    }

    /// One record of the log.
    pub fn replay(&mut self, offset: i64, record: &MetadataRecord) -> Result<(), ReplayError> {
        assert!(
            offset > self.image.offset,
            "records are folded in the order of their offsets"
        );
        self.restore(offset, record)
    }

    /// The image.
    pub fn finish(self) -> Image {
        self.image
    }
}

fn topic_records(topic: &Topic, records: &mut Vec<MetadataRecord>) {
    records.push(MetadataRecord::Topic(
        millrace_protocol::metadata::TopicRecord {
            name: topic.name.to_string(),
            topic_id: topic.id,
        },
    ));
    for (index, partition) in &topic.partitions {
        records.push(MetadataRecord::Partition(PartitionRecord {
            partition_id: *index,
            topic_id: topic.id,
            replicas: partition.replicas.clone(),
            isr: partition.isr.clone(),
            removing_replicas: Vec::new(),
            adding_replicas: Vec::new(),
            leader: partition.leader,
            leader_recovery_state: 0,
            leader_epoch: partition.leader_epoch,
            partition_epoch: partition.partition_epoch,
            directories: partition.directories.clone(),
        }));
    }
}
