//! The cluster itself: its brokers, their disks, its quorum, and the features it has agreed on.

use millrace_protocol::ids::TopicId;
use millrace_protocol::messages::describe_quorum_request::{PartitionData, TopicData};
use millrace_protocol::messages::update_features_request::FeatureUpdateKey;
use millrace_protocol::messages::{
    ApiVersionsRequest, DescribeClusterRequest, DescribeLogDirsRequest, DescribeQuorumRequest,
    UpdateFeaturesRequest,
};
use millrace_protocol::responses::Array;
use millrace_protocol::responses::describe_quorum::ReplicaState;

use super::route::{Lost, To};
use super::topics::because;
use super::{Admin, Outcomes};
use crate::client::refuse;
use crate::{Error, TopicPartition};

/// A cluster.
///
/// ```
/// # mod world { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/documented/world.rs")); }
/// # use millrace_client::Admin;
/// # world::run(async |cluster| {
/// let described = Admin::new(&cluster).describe_cluster().await?;
/// assert_eq!(described.brokers.len(), 1);
/// assert!(!described.cluster_id.is_empty());
/// # Ok(()) });
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// Its id.
    pub cluster_id: String,
    /// The controller's broker id, if there is one to be told. Where controllers are processes of
    /// their own a broker names any of the brokers, which pass on what is the controller's.
    pub controller: Option<i32>,
    /// Its brokers, by id.
    pub brokers: Vec<DescribedBroker>,
}

/// A broker.
///
/// ```
/// # mod world { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/documented/world.rs")); }
/// # use millrace_client::Admin;
/// # world::run(async |cluster| {
/// let described = Admin::new(&cluster).describe_cluster().await?;
/// for broker in described.brokers {
///     println!("{} at {}:{}, fenced: {}", broker.id, broker.host, broker.port, broker.fenced);
/// }
/// # Ok(()) });
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedBroker {
    /// Its id.
    pub id: i32,
    /// Where clients reach it.
    pub host: String,
    /// Its port.
    pub port: i32,
    /// Its rack, if it has one.
    pub rack: Option<String>,
    /// Whether it may serve nothing at the moment; never from brokers before Kafka 4.0, which don't
    /// tell of such.
    pub fenced: bool,
}

/// A directory with partitions' data.
///
/// ```
/// # mod world { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/documented/world.rs")); }
/// # use millrace_client::Admin;
/// # world::run(async |cluster| {
/// for dir in Admin::new(&cluster).describe_log_dirs().await? {
///     println!("{} of broker {}: {:?} bytes free", dir.path, dir.broker, dir.usable_bytes);
///     assert!(dir.failed.is_none());
/// }
/// # Ok(()) });
/// ```
#[derive(Clone, Debug)]
pub struct LogDir {
    /// The broker that has it.
    pub broker: i32,
    /// Its path.
    pub path: String,
    /// Why it can't be used, if it can't.
    pub failed: Option<Error>,
    /// Bytes of its volume, if the broker tells (KIP-827).
    pub total_bytes: Option<i64>,
    /// Bytes of its volume that are free, if the broker tells.
    pub usable_bytes: Option<i64>,
    /// The replicas in it.
    pub replicas: Vec<ReplicaSize>,
}

/// A replica in a log directory.
///
/// ```
/// # mod world { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/documented/world.rs")); }
/// # use millrace_client::Admin;
/// # world::run(async |cluster| {
/// for dir in Admin::new(&cluster).describe_log_dirs().await? {
///     for replica in dir.replicas {
///         println!("{} takes {} bytes", replica.partition, replica.bytes);
///     }
/// }
/// # Ok(()) });
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaSize {
    /// Of this partition.
    pub partition: TopicPartition,
    /// Bytes of its segments.
    pub bytes: i64,
    /// How far it is behind.
    pub offset_lag: i64,
    /// Whether it is a copy that will take the place of the one in another directory.
    pub is_future: bool,
}

/// The quorum that holds the metadata.
///
/// ```
/// # mod world { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/documented/world.rs")); }
/// # use millrace_client::Admin;
/// # world::run(async |cluster| {
/// let quorum = Admin::new(&cluster).describe_quorum().await?;
/// assert_eq!(quorum.voters.len(), 1);
/// assert_eq!(quorum.leader, Some(quorum.voters[0].id));
/// # Ok(()) });
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quorum {
    /// Its leader, if there is one.
    pub leader: Option<i32>,
    /// How often it had one.
    pub leader_epoch: i32,
    /// What is committed.
    pub high_watermark: i64,
    /// Who votes.
    pub voters: Vec<QuorumReplica>,
    /// Who only reads.
    pub observers: Vec<QuorumReplica>,
}

/// A replica of the metadata.
///
/// ```
/// # mod world { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/documented/world.rs")); }
/// # use millrace_client::Admin;
/// # world::run(async |cluster| {
/// let quorum = Admin::new(&cluster).describe_quorum().await?;
/// for voter in quorum.voters {
///     println!("{} has the metadata up to {:?}", voter.id, voter.log_end_offset);
/// }
/// # Ok(()) });
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuorumReplica {
    /// Its node.
    pub id: i32,
    /// The directory that holds it, if the leader tells (KIP-853).
    pub directory: TopicId,
    /// The end of its log; `None` when the leader doesn't know.
    pub log_end_offset: Option<i64>,
}

/// A feature with its levels.
///
/// ```
/// # mod world { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/documented/world.rs")); }
/// # use millrace_client::Admin;
/// # world::run(async |cluster| {
/// let features = Admin::new(&cluster).describe_features().await?;
/// let metadata = features.iter().find(|feature| feature.name == "metadata.version");
/// println!("{metadata:?}");
/// # Ok(()) });
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feature {
    /// Its name.
    pub name: String,
    /// What the broker that was asked supports, from and to.
    pub supported: (i16, i16),
    /// What the cluster has agreed on, if anything.
    pub finalized: Option<i16>,
}

/// A feature to be changed.
///
/// ```
/// # mod world { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/documented/world.rs")); }
/// # use millrace_client::{Admin, FeatureUpdate};
/// # world::run(async |cluster| {
/// let admin = Admin::new(&cluster);
/// for feature in admin.describe_features().await? {
///     // As it is: nothing to change, asked without doing it.
///     let Some(level) = feature.finalized else { continue };
///     let update = FeatureUpdate { name: feature.name, level, downgrade: false };
///     admin.update_features(&[update], true).await?;
/// }
/// # Ok(()) });
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeatureUpdate {
    /// Its name.
    pub name: String,
    /// Its new level; 0 turns it off.
    pub level: i16,
    /// Whether it may go down without loss of anything known.
    pub downgrade: bool,
}

/// The first version that tells of fenced brokers (KIP-1073).
const FENCED: i16 = 2;
/// The first version in which a change names its kind (KIP-778).
const KINDS: i16 = 1;

impl Admin {
    /// The cluster and its brokers.
    pub async fn describe_cluster(&self) -> Result<Described, Error> {
        let request = |version| {
            let mut request = DescribeClusterRequest::default();
            request.include_fenced_brokers = version >= FENCED;
            request
        };
        self.call(To::Any, Lost::AskAgain, request, |answer| {
            let answer = answer.read()?;
            refuse(answer.error_code, || {
                because("to describe the cluster".to_owned(), answer.error_message)
            })?;
            let brokers = answer.brokers.into_iter().map(|broker| DescribedBroker {
                id: broker.broker_id,
                host: broker.host.to_owned(),
                port: broker.port,
                rack: broker.rack.map(str::to_owned),
                fenced: broker.is_fenced,
            });
            let mut brokers: Vec<_> = brokers.collect();
            brokers.sort_by_key(|broker| broker.id);
            Ok(Described {
                cluster_id: answer.cluster_id.to_owned(),
                controller: (answer.controller_id >= 0).then_some(answer.controller_id),
                brokers,
            })
        })
        .await
    }

    /// The log directories of all brokers.
    pub async fn describe_log_dirs(&self) -> Result<Vec<LogDir>, Error> {
        let request = |_| {
            let mut request = DescribeLogDirsRequest::default();
            request.topics = None;
            request
        };
        let told = self.call_brokers(request, |answer| {
            let answer = answer.read()?;
            refuse(answer.error_code, || "to describe log directories".to_owned())?;
            let mut dirs = Vec::with_capacity(answer.results.len());
            for dir in answer.results {
                let failed = refuse(dir.error_code, || format!("to describe {}", dir.log_dir));
                let mut replicas = Vec::new();
                for topic in dir.topics {
                    let size = |p: millrace_protocol::responses::describe_log_dirs::DescribeLogDirsPartition| ReplicaSize {
                        partition: TopicPartition::new(topic.name, p.partition_index),
                        bytes: p.partition_size,
                        offset_lag: p.offset_lag,
                        is_future: p.is_future_key,
                    };
                    replicas.extend(topic.partitions.into_iter().map(size));
                }
                replicas.sort_by(|a, b| a.partition.cmp(&b.partition));
                dirs.push(LogDir {
                    broker: -1,
                    path: dir.log_dir.to_owned(),
                    failed: failed.err(),
                    total_bytes: (dir.total_bytes >= 0).then_some(dir.total_bytes),
                    usable_bytes: (dir.usable_bytes >= 0).then_some(dir.usable_bytes),
                    replicas,
                });
            }
            Ok(dirs)
        });
        let mut all = Vec::new();
        for (broker, dirs) in told.await? {
            all.extend(dirs.into_iter().map(|dir| LogDir { broker, ..dir }));
        }
        Ok(all)
    }

    /// The quorum that holds the metadata.
    pub async fn describe_quorum(&self) -> Result<Quorum, Error> {
        let request = |_| {
            let mut topic = TopicData::default();
            topic.topic_name = METADATA_TOPIC.into();
            topic.partitions = vec![PartitionData::default()];
            let mut request = DescribeQuorumRequest::default();
            request.topics = vec![topic];
            request
        };
        self.call(To::Any, Lost::AskAgain, request, |answer| {
            let view = answer.read()?;
            let what = || "to describe the quorum".to_owned();
            refuse(view.error_code, || because(what(), view.error_message))?;
            let mut partitions = view.topics.into_iter().flat_map(|topic| topic.partitions);
            let told = partitions.next().ok_or_else(|| Error::Malformed {
                address: answer.address().to_owned(),
                reason: format!("{METADATA_TOPIC} is missing in it"),
            })?;
            refuse(told.error_code, || because(what(), told.error_message))?;
            Ok(Quorum {
                leader: (told.leader_id >= 0).then_some(told.leader_id),
                leader_epoch: told.leader_epoch,
                high_watermark: told.high_watermark,
                voters: replicas(told.current_voters),
                observers: replicas(told.observers),
            })
        })
        .await
    }

    /// The features that a broker supports, with the levels that the cluster has agreed on.
    pub async fn describe_features(&self) -> Result<Vec<Feature>, Error> {
        let request = |version| {
            let mut request = ApiVersionsRequest::default();
            if version >= 3 {
                request.client_software_name = "millrace".into();
                request.client_software_version = env!("CARGO_PKG_VERSION").into();
            }
            request
        };
        self.call(To::Any, Lost::AskAgain, request, |answer| {
            let answer = answer.read()?;
            refuse(answer.error_code, || "to describe features".to_owned())?;
            let finalized = |name: &str| {
                let mut all = answer.finalized_features.into_iter();
                let one = all.find(|feature| feature.name == name);
                one.map(|feature| feature.max_version_level)
            };
            let features = answer
                .supported_features
                .into_iter()
                .map(|feature| Feature {
                    name: feature.name.to_owned(),
                    supported: (feature.min_version, feature.max_version),
                    finalized: finalized(feature.name),
                });
            let mut features: Vec<_> = features.collect();
            features.sort_by(|a, b| a.name.cmp(&b.name));
            Ok(features)
        })
        .await
    }

    /// Changes the levels of features, all or none (KIP-584); with `validate_only` only says whether
    /// it would.
    pub async fn update_features(
        &self,
        updates: &[FeatureUpdate],
        validate_only: bool,
    ) -> Result<Outcomes<String, ()>, Error> {
        let request = |version| {
            let mut request = UpdateFeaturesRequest::default();
            request.timeout_ms = self.timeout_ms();
            let update = |update: &FeatureUpdate| {
                let mut key = FeatureUpdateKey::default();
                key.feature = update.name.as_str().into();
                key.max_version_level = update.level;
                if version >= KINDS {
                    key.upgrade_type = if update.downgrade { 2 } else { 1 };
                } else {
                    key.allow_downgrade = update.downgrade;
                }
                key
            };
            request.feature_updates = updates.iter().map(update).collect();
            request.validate_only = validate_only && version >= KINDS;
            request
        };
        self.call(To::Controller, Lost::AskAgain, request, |answer| {
            let answer = answer.read()?;
            let what = || "to update features".to_owned();
            refuse(answer.error_code, || because(what(), answer.error_message))?;
            // From version 2 on the outcome of all is the outcome of each (KIP-1022).
            let mut outcomes: Outcomes<String, ()> = updates
                .iter()
                .map(|update| (update.name.clone(), Ok(())))
                .collect();
            for told in answer.results {
                let outcome = refuse(told.error_code, || {
                    because(
                        format!("to update feature {}", told.feature),
                        told.error_message,
                    )
                });
                outcomes.insert(told.feature.to_owned(), outcome);
            }
            Ok(outcomes)
        })
        .await
    }
}

/// The topic of the metadata, which is one partition.
const METADATA_TOPIC: &str = "__cluster_metadata";

fn replicas(states: Array<'_, ReplicaState>) -> Vec<QuorumReplica> {
    let replicas = states.into_iter().map(|state| QuorumReplica {
        id: state.replica_id,
        directory: TopicId::from_bytes(state.replica_directory_id),
        log_end_offset: (state.log_end_offset >= 0).then_some(state.log_end_offset),
    });
    replicas.collect()
}
