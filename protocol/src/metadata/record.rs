//! The records of the metadata log, as values: Kafka's names and fields (`metadata/src/main/
//! resources/common/metadata/*.json`, Apache Kafka 4.3), those that this broker writes or reads.
//!
//! What always holds: a record is complete by itself; folding the same records in the same order
//! gives the same image on every node.

use crate::ids::TopicId;

/// A broker as it registers (`RegisterBrokerRecord`, key 0).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisterBrokerRecord {
    /// Node id.
    pub broker_id: i32,
    /// Drawn at each start of the process; tells one life of a broker from the next.
    pub incarnation_id: TopicId,
    /// The metadata log offset of the registration.
    pub broker_epoch: i64,
    /// Where it can be reached, by listener name.
    pub end_points: Vec<BrokerEndpoint>,
    /// What feature levels it can work with.
    pub features: Vec<BrokerFeature>,
    /// Rack, when configured.
    pub rack: Option<String>,
    /// Whether it may not lead or be in sync yet.
    pub fenced: bool,
    /// Whether it is shutting down in an orderly way.
    pub in_controlled_shutdown: bool,
    /// Ids of its log directories.
    pub log_dirs: Vec<TopicId>,
    /// The last generation of each log directory that it ever offered, as far as it matters still.
    /// A tagged field of our own, which Kafka's tools skip.
    pub generations: Vec<(TopicId, u64)>,
}

/// One listener of a broker, as clients are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerEndpoint {
    /// Listener name.
    pub name: String,
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// 0 `PLAINTEXT`, 1 `SSL`, 2 `SASL_PLAINTEXT`, 3 `SASL_SSL`.
    pub security_protocol: i16,
}

/// The levels of one feature that a broker supports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerFeature {
    /// Feature name.
    pub name: String,
    /// Lowest level.
    pub min_supported_version: i16,
    /// Highest level.
    pub max_supported_version: i16,
}

/// A new topic (`TopicRecord`, key 2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicRecord {
    /// Name.
    pub name: String,
    /// Identity.
    pub topic_id: TopicId,
}

/// A new partition, or all of an existing one (`PartitionRecord`, key 3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionRecord {
    /// Index within the topic.
    pub partition_id: i32,
    /// Topic.
    pub topic_id: TopicId,
    /// Brokers that hold it, the preferred leader first.
    pub replicas: Vec<i32>,
    /// Replicas in sync.
    pub isr: Vec<i32>,
    /// Replicas on their way out.
    pub removing_replicas: Vec<i32>,
    /// Replicas on their way in.
    pub adding_replicas: Vec<i32>,
    /// Leader, -1 for none.
    pub leader: i32,
    /// 0 recovered, 1 recovering from an unclean election.
    pub leader_recovery_state: i8,
    /// Grows with each election.
    pub leader_epoch: i32,
    /// Grows with each change.
    pub partition_epoch: i32,
    /// Log directory of each replica, in the order of `replicas` (version 1 and later).
    pub directories: Vec<TopicId>,
}

/// A change to a partition; `None` leaves a field as it is (`PartitionChangeRecord`, key 5).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartitionChangeRecord {
    /// Index within the topic.
    pub partition_id: i32,
    /// Topic.
    pub topic_id: TopicId,
    /// Replicas in sync.
    pub isr: Option<Vec<i32>>,
    /// Leader; setting it raises the leader epoch.
    pub leader: Option<i32>,
    /// Brokers that hold it.
    pub replicas: Option<Vec<i32>>,
    /// Replicas on their way out.
    pub removing_replicas: Option<Vec<i32>>,
    /// Replicas on their way in.
    pub adding_replicas: Option<Vec<i32>>,
    /// 0 recovered, 1 recovering.
    pub leader_recovery_state: Option<i8>,
    /// Log directory of each replica.
    pub directories: Option<Vec<TopicId>>,
}

/// One key of one resource's configuration (`ConfigRecord`, key 4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigRecord {
    /// 2 topic, 4 broker, 32 group.
    pub resource_type: i8,
    /// Topic name, broker id; empty for the default of all brokers.
    pub resource_name: String,
    /// Key.
    pub name: String,
    /// Value; `None` removes the key.
    pub value: Option<String>,
}

/// The level of a feature that all must speak (`FeatureLevelRecord`, key 12).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeatureLevelRecord {
    /// Feature name.
    pub name: String,
    /// Level.
    pub feature_level: i16,
}

/// Producer ids below `next_producer_id` were handed out (`ProducerIdsRecord`, key 15).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducerIdsRecord {
    /// The broker that took the newest block.
    pub broker_id: i32,
    /// Its epoch then.
    pub broker_epoch: i64,
    /// The first id of the next block.
    pub next_producer_id: i64,
}

/// A change to a broker's registration (`BrokerRegistrationChangeRecord`, key 17).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BrokerRegistrationChangeRecord {
    /// Node id.
    pub broker_id: i32,
    /// The registration that is changed.
    pub broker_epoch: i64,
    /// 0 as it is, 1 fenced, -1 unfenced.
    pub fenced: i8,
    /// 0 as it is, 1 shutting down.
    pub in_controlled_shutdown: i8,
    /// Ids of its log directories; empty leaves them as they are.
    pub log_dirs: Vec<TopicId>,
}

/// Which directories still hold data of a removed topic. Kafka has no such record: it is written as
/// a `RemoveTopicRecord` (key 9) with a tagged field of our own, which Kafka's tools skip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemovedTopicData {
    /// The topic that was removed.
    pub topic_id: TopicId,
    /// The directories, all of them; none once the last one has removed its data.
    pub pending: Vec<TopicId>,
}

/// One record of the metadata log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetadataRecord {
    /// Key 0.
    RegisterBroker(RegisterBrokerRecord),
    /// Key 17.
    BrokerRegistrationChange(BrokerRegistrationChangeRecord),
    /// Key 2.
    Topic(TopicRecord),
    /// Key 3.
    Partition(PartitionRecord),
    /// Key 5.
    PartitionChange(PartitionChangeRecord),
    /// Key 9 (`RemoveTopicRecord`): the topic's id.
    RemoveTopic(TopicId),
    /// Key 9 with a field of our own.
    RemovedTopicData(RemovedTopicData),
    /// Key 4.
    Config(ConfigRecord),
    /// Key 12.
    FeatureLevel(FeatureLevelRecord),
    /// Key 15.
    ProducerIds(ProducerIdsRecord),
    /// Key 20: moves the offset and nothing else.
    NoOp,
}
