//! Replicas: who leads, where they are, and who writes to them.

use std::collections::BTreeMap;

use millrace_protocol::messages::alter_partition_reassignments_request::{
    ReassignablePartition, ReassignableTopic,
};
use millrace_protocol::messages::alter_replica_log_dirs_request::{
    AlterReplicaLogDir, AlterReplicaLogDirTopic,
};
use millrace_protocol::messages::describe_producers_request::TopicRequest;
use millrace_protocol::messages::elect_leaders_request::TopicPartitions;
use millrace_protocol::messages::{
    AlterPartitionReassignmentsRequest, AlterReplicaLogDirsRequest, DescribeProducersRequest,
    ElectLeadersRequest, ListPartitionReassignmentsRequest,
};

use super::route::{Lost, To};
use super::topics::because;
use super::{Admin, Outcomes, by_topic};
use crate::client::refuse;
use crate::{Error, TopicPartition};

/// Who may become a leader.
///
/// ```
/// # mod world { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/documented/world.rs")); }
/// # use millrace_client::{Admin, Election, TopicPartition};
/// # world::run(async |cluster| {
/// let first = TopicPartition::new("orders", 0);
/// let elected = Admin::new(&cluster).elect_leaders(Election::Preferred, Some(&[first])).await?;
/// for (partition, outcome) in elected {
///     // Where the preferred replica leads already there is nothing to elect.
///     println!("{partition}: {outcome:?}");
/// }
/// # Ok(()) });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Election {
    /// The first replica, if it is in sync.
    Preferred,
    /// Any replica that lives, also one that lacks acknowledged records.
    Unclean,
}

/// Where a partition's replicas are, while they move.
///
/// ```
/// # mod world { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/documented/world.rs")); }
/// # use millrace_client::Admin;
/// # world::run(async |cluster| {
/// for (partition, moving) in Admin::new(&cluster).list_reassignments().await? {
///     println!("{partition} is added to {:?}, removed from {:?}", moving.adding, moving.removing);
/// }
/// # Ok(()) });
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reassignment {
    /// Brokers with a replica.
    pub replicas: Vec<i32>,
    /// Those of them that come in.
    pub adding: Vec<i32>,
    /// Those of them that go.
    pub removing: Vec<i32>,
}

/// A producer that a partition knows.
///
/// ```
/// # mod world { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/documented/world.rs")); }
/// # use millrace_client::{Admin, Producer, ProducerOptions, Record, TopicPartition};
/// # world::run(async |cluster| {
/// let producer = Producer::new(&cluster, &ProducerOptions::default())?;
/// let record = Record::to("orders").partition(0).value("two teapots");
/// producer.send(&record).await?.wait().await?;
///
/// let first = TopicPartition::new("orders", 0);
/// let known = Admin::new(&cluster).describe_producers([first.clone()]).await?;
/// assert_eq!(known[&first].clone()?[0].last_sequence, 0);
/// # Ok(()) });
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActiveProducer {
    /// Its id.
    pub producer_id: i64,
    /// Its epoch.
    pub producer_epoch: i32,
    /// The sequence number of its last record; -1 for none.
    pub last_sequence: i32,
    /// Milliseconds since the Unix epoch of its last record; -1 for none.
    pub last_timestamp_ms: i64,
    /// Epoch of its transactions' coordinator; -1 for none.
    pub coordinator_epoch: i32,
    /// The first offset of its open transaction, if it has one.
    pub transaction_start_offset: Option<i64>,
}

/// The first version that tells which replicas may be elected (KIP-460).
const KINDS: i16 = 1;

impl Admin {
    /// Elects leaders: of these partitions, or of all of them. [`ErrorCode::ElectionNotNeeded`] says
    /// that who should lead leads already.
    ///
    /// [`ErrorCode::ElectionNotNeeded`]: millrace_protocol::error_code::ErrorCode::ElectionNotNeeded
    pub async fn elect_leaders(
        &self,
        election: Election,
        partitions: Option<&[TopicPartition]>,
    ) -> Result<Outcomes<TopicPartition, ()>, Error> {
        let request = |version| {
            let mut request = ElectLeadersRequest::default();
            if version >= KINDS {
                request.election_type = i8::from(election == Election::Unclean);
            }
            request.timeout_ms = self.timeout_ms();
            let topic = |(name, partitions): (&str, Vec<i32>)| {
                let mut topic = TopicPartitions::default();
                topic.topic = name.into();
                topic.partitions = partitions;
                topic
            };
            request.topic_partitions =
                partitions.map(|all| by_topic(all).into_iter().map(topic).collect());
            request
        };
        self.call(To::Controller, Lost::AskAgain, request, |answer| {
            let answer = answer.read()?;
            refuse(answer.error_code, || "to elect leaders".to_owned())?;
            let mut outcomes = Outcomes::new();
            for topic in answer.replica_election_results {
                for told in topic.partition_result {
                    let item = TopicPartition::new(topic.topic, told.partition_id);
                    let outcome = refuse(told.error_code, || {
                        because(format!("to elect a leader of {item}"), told.error_message)
                    });
                    outcomes.insert(item, outcome);
                }
            }
            Ok(outcomes)
        })
        .await
    }

    /// Has partitions move to these brokers, the first of which is to lead; `None` stops a move that
    /// is under way (KIP-455).
    pub async fn alter_reassignments(
        &self,
        targets: &BTreeMap<TopicPartition, Option<Vec<i32>>>,
    ) -> Result<Outcomes<TopicPartition, ()>, Error> {
        let request = |_| {
            let topic = |(name, partitions): (&str, Vec<i32>)| {
                let partition = |index: i32| {
                    let target = targets.get(&TopicPartition::new(name, index));
                    let mut partition = ReassignablePartition::default();
                    partition.partition_index = index;
                    partition.replicas = target.cloned().flatten();
                    partition
                };
                let mut topic = ReassignableTopic::default();
                topic.name = name.into();
                topic.partitions = partitions.into_iter().map(partition).collect();
                topic
            };
            let mut request = AlterPartitionReassignmentsRequest::default();
            request.timeout_ms = self.timeout_ms();
            request.topics = by_topic(targets.keys()).into_iter().map(topic).collect();
            request
        };
        self.call(To::Controller, Lost::AskAgain, request, |answer| {
            let answer = answer.read()?;
            refuse(answer.error_code, || {
                because("to move partitions".to_owned(), answer.error_message)
            })?;
            let mut outcomes = Outcomes::new();
            for topic in answer.responses {
                for told in topic.partitions {
                    let item = TopicPartition::new(topic.name, told.partition_index);
                    let outcome = refuse(told.error_code, || {
                        because(format!("to move {item}"), told.error_message)
                    });
                    outcomes.insert(item, outcome);
                }
            }
            Ok(outcomes)
        })
        .await
    }

    /// The partitions that move at the moment.
    pub async fn list_reassignments(
        &self,
    ) -> Result<BTreeMap<TopicPartition, Reassignment>, Error> {
        let request = |_| {
            let mut request = ListPartitionReassignmentsRequest::default();
            request.timeout_ms = self.timeout_ms();
            request.topics = None;
            request
        };
        self.call(To::Controller, Lost::AskAgain, request, |answer| {
            let answer = answer.read()?;
            refuse(answer.error_code, || {
                because(
                    "to list moves of partitions".to_owned(),
                    answer.error_message,
                )
            })?;
            let mut all = BTreeMap::new();
            for topic in answer.topics {
                for told in topic.partitions {
                    let move_ = Reassignment {
                        replicas: told.replicas.into_iter().collect(),
                        adding: told.adding_replicas.into_iter().collect(),
                        removing: told.removing_replicas.into_iter().collect(),
                    };
                    all.insert(TopicPartition::new(topic.name, told.partition_index), move_);
                }
            }
            Ok(all)
        })
        .await
    }

    /// Has the replicas of these partitions on a broker move to other log directories of it.
    pub async fn alter_log_dirs(
        &self,
        broker: i32,
        targets: &BTreeMap<TopicPartition, String>,
    ) -> Result<Outcomes<TopicPartition, ()>, Error> {
        let request = |_| {
            let mut dirs = BTreeMap::<&str, Vec<&TopicPartition>>::new();
            for (item, dir) in targets {
                dirs.entry(dir).or_default().push(item);
            }
            let topic = |(name, partitions): (&str, Vec<i32>)| {
                let mut topic = AlterReplicaLogDirTopic::default();
                topic.name = name.into();
                topic.partitions = partitions;
                topic
            };
            let dir = |(path, items): (&str, Vec<&TopicPartition>)| {
                let mut dir = AlterReplicaLogDir::default();
                dir.path = path.into();
                dir.topics = by_topic(items).into_iter().map(topic).collect();
                dir
            };
            let mut request = AlterReplicaLogDirsRequest::default();
            request.dirs = dirs.into_iter().map(dir).collect();
            request
        };
        self.call(To::Broker(broker), Lost::AskAgain, request, |answer| {
            let mut outcomes = Outcomes::new();
            for topic in answer.read()?.results {
                for told in topic.partitions {
                    let item = TopicPartition::new(topic.topic_name, told.partition_index);
                    let what = || format!("to move {item} on broker {broker}");
                    let outcome = refuse(told.error_code, what);
                    outcomes.insert(item, outcome);
                }
            }
            Ok(outcomes)
        })
        .await
    }

    /// The producers that partitions know: idempotent ones and those with transactions (KIP-664).
    pub async fn describe_producers(
        &self,
        partitions: impl IntoIterator<Item = TopicPartition>,
    ) -> Result<Outcomes<TopicPartition, Vec<ActiveProducer>>, Error> {
        let request = |_, items: &[TopicPartition]| {
            let topic = |(name, partitions): (&str, Vec<i32>)| {
                let mut topic = TopicRequest::default();
                topic.name = name.into();
                topic.partition_indexes = partitions;
                topic
            };
            let mut request = DescribeProducersRequest::default();
            request.topics = by_topic(items).into_iter().map(topic).collect();
            request
        };
        self.spread(partitions, Lost::AskAgain, request, |answer, outcomes| {
            for topic in answer.read()?.topics {
                for told in topic.partitions {
                    let item = TopicPartition::new(topic.name, told.partition_index);
                    let outcome = refuse(told.error_code, || {
                        because(
                            format!("to describe the producers of {item}"),
                            told.error_message,
                        )
                    });
                    let producers = told.active_producers.into_iter().map(|one| ActiveProducer {
                        producer_id: one.producer_id,
                        producer_epoch: one.producer_epoch,
                        last_sequence: one.last_sequence,
                        last_timestamp_ms: one.last_timestamp,
                        coordinator_epoch: one.coordinator_epoch,
                        transaction_start_offset: (one.current_txn_start_offset >= 0)
                            .then_some(one.current_txn_start_offset),
                    });
                    let producers: Vec<_> = producers.collect();
                    outcomes.insert(item, outcome.map(|()| producers));
                }
            }
            Ok(())
        })
        .await
    }
}
