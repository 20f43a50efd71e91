//! Topics: made, removed, described, given more partitions, and rid of their oldest records.

use std::collections::BTreeMap;
use std::sync::Arc;

use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::ids::TopicId;
use millrace_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use millrace_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use millrace_protocol::messages::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsTopic,
};
use millrace_protocol::messages::delete_topics_request::DeleteTopicState;
use millrace_protocol::messages::{
    CreatePartitionsRequest, CreateTopicsRequest, DeleteRecordsRequest, DeleteTopicsRequest,
};

use super::route::{Lost, To};
use super::{Admin, Outcomes, by_topic};
use crate::client::refuse;
use crate::{Error, NewTopic, TopicPartition, TopicPartitions};

/// A topic that was made, or would be.
///
/// ```
/// # mod world { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/documented/world.rs")); }
/// # use millrace_client::{Admin, NewTopic};
/// # world::run(async |cluster| {
/// let created = Admin::new(&cluster).create_topics(&[NewTopic::new("bills", 2)]).await?;
/// let bills = created["bills"].clone()?;
/// assert_eq!((bills.partitions, bills.replication_factor), (Some(2), Some(1)));
/// # Ok(()) });
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreatedTopic {
    /// Its id; [`TopicId::ZERO`] when it was only checked, and from a broker that gives none.
    pub id: TopicId,
    /// Its partitions, if the broker tells (KIP-525).
    pub partitions: Option<i32>,
    /// Replicas of each partition, if the broker tells.
    pub replication_factor: Option<i16>,
}

/// From this version on topics to delete are named in a structure that may hold an id (KIP-516).
const DELETE_BY_ID: i16 = 6;

impl Admin {
    /// Makes topics. In a cluster their partitions may have no leader for a moment yet.
    pub async fn create_topics(
        &self,
        topics: &[NewTopic],
    ) -> Result<Outcomes<String, CreatedTopic>, Error> {
        self.create(topics, false).await
    }

    /// Says what making these topics would give, and makes none.
    pub async fn check_new_topics(
        &self,
        topics: &[NewTopic],
    ) -> Result<Outcomes<String, CreatedTopic>, Error> {
        self.create(topics, true).await
    }

    async fn create(
        &self,
        topics: &[NewTopic],
        validate_only: bool,
    ) -> Result<Outcomes<String, CreatedTopic>, Error> {
        let request = |_| {
            let mut request = CreateTopicsRequest::default();
            request.topics = topics.iter().map(creatable).collect();
            request.timeout_ms = self.timeout_ms();
            request.validate_only = validate_only;
            request
        };
        self.call(To::Controller, Lost::Tell, request, |answer| {
            let mut outcomes = Outcomes::new();
            for made in answer.read()?.topics {
                let outcome = refuse(made.error_code, || {
                    because(format!("to create topic {}", made.name), made.error_message)
                });
                let outcome = outcome.map(|()| CreatedTopic {
                    id: made.topic_id,
                    partitions: (made.num_partitions > 0).then_some(made.num_partitions),
                    replication_factor: (made.replication_factor > 0)
                        .then_some(made.replication_factor),
                });
                outcomes.insert(made.name.to_owned(), outcome);
            }
            not_the_controller(&outcomes)?;
            Ok(outcomes)
        })
        .await
    }

    /// Removes topics with all their records.
    pub async fn delete_topics(&self, names: &[&str]) -> Result<Outcomes<String, ()>, Error> {
        let request = |version| {
            let mut request = DeleteTopicsRequest::default();
            if version >= DELETE_BY_ID {
                let named = |name: &&str| {
                    let mut topic = DeleteTopicState::default();
                    topic.name = Some((*name).into());
                    topic
                };
                request.topics = names.iter().map(named).collect();
            } else {
                request.topic_names = names.iter().map(|name| (*name).into()).collect();
            }
            request.timeout_ms = self.timeout_ms();
            request
        };
        self.call(To::Controller, Lost::Tell, request, |answer| {
            let mut outcomes = Outcomes::new();
            for told in answer.read()?.responses {
                let name = told.name.unwrap_or_default();
                let outcome = refuse(told.error_code, || {
                    because(format!("to delete topic {name}"), told.error_message)
                });
                outcomes.insert(name.to_owned(), outcome);
            }
            not_the_controller(&outcomes)?;
            Ok(outcomes)
        })
        .await
    }

    /// All topics with their partitions, by name.
    pub async fn list_topics(&self) -> Result<Vec<Arc<TopicPartitions>>, Error> {
        let image = self.image(None).await?;
        Ok(image.topics().cloned().collect())
    }

    /// These topics with their partitions. One that isn't there is told so at once.
    pub async fn describe_topics(
        &self,
        names: &[&str],
    ) -> Result<Outcomes<String, Arc<TopicPartitions>>, Error> {
        let image = self.image(Some(names)).await?;
        let described = |name: &&str| {
            let topic = image.topic(name).cloned();
            let topic = topic.map_err(|code| Error::Broker {
                what: format!("to describe topic {name}"),
                code: code.unwrap_or(ErrorCode::UnknownTopicOrPartition),
            });
            ((*name).to_owned(), topic)
        };
        Ok(names.iter().map(described).collect())
    }

    /// Gives topics partitions up to these numbers. Keys go to other partitions from then on.
    pub async fn add_partitions(
        &self,
        counts: &[(&str, i32)],
        validate_only: bool,
    ) -> Result<Outcomes<String, ()>, Error> {
        let request = |_| {
            let topic = |(name, count): &(&str, i32)| {
                let mut topic = CreatePartitionsTopic::default();
                topic.name = (*name).into();
                topic.count = *count;
                // Where they go the broker decides.
                topic.assignments = None;
                topic
            };
            let mut request = CreatePartitionsRequest::default();
            request.topics = counts.iter().map(topic).collect();
            request.timeout_ms = self.timeout_ms();
            request.validate_only = validate_only;
            request
        };
        self.call(To::Controller, Lost::Tell, request, |answer| {
            let mut outcomes = Outcomes::new();
            for told in answer.read()?.results {
                let outcome = refuse(told.error_code, || {
                    let what = format!("to add partitions to topic {}", told.name);
                    because(what, told.error_message)
                });
                outcomes.insert(told.name.to_owned(), outcome);
            }
            not_the_controller(&outcomes)?;
            Ok(outcomes)
        })
        .await
    }

    /// Deletes the records of partitions that lie before an offset, or all that consumers may see now
    /// for `None`. Gives the first offset that is left of each.
    pub async fn delete_records(
        &self,
        before: BTreeMap<TopicPartition, Option<i64>>,
    ) -> Result<Outcomes<TopicPartition, i64>, Error> {
        let request = |_, items: &[TopicPartition]| {
            let topic = |(name, partitions): (&str, Vec<i32>)| {
                let mut topic = DeleteRecordsTopic::default();
                topic.name = name.into();
                let partition = |index: i32| {
                    let asked = TopicPartition::new(name, index);
                    let mut partition = DeleteRecordsPartition::default();
                    partition.partition_index = index;
                    partition.offset = before.get(&asked).copied().flatten().unwrap_or(-1);
                    partition
                };
                topic.partitions = partitions.into_iter().map(partition).collect();
                topic
            };
            let mut request = DeleteRecordsRequest::default();
            request.topics = by_topic(items).into_iter().map(topic).collect();
            request.timeout_ms = self.timeout_ms();
            request
        };
        let items = before.keys().cloned();
        self.spread(items, Lost::AskAgain, request, |answer, outcomes| {
            for topic in answer.read()?.topics {
                for told in topic.partitions {
                    let item = TopicPartition::new(topic.name, told.partition_index);
                    let outcome =
                        refuse(told.error_code, || format!("to delete records of {item}"));
                    outcomes.insert(item, outcome.map(|()| told.low_watermark));
                }
            }
            Ok(())
        })
        .await
    }
}

fn creatable(topic: &NewTopic) -> CreatableTopic {
    let mut creatable = CreatableTopic::default();
    creatable.name = topic.name.as_str().into();
    creatable.num_partitions = topic.partitions;
    creatable.replication_factor = topic.replication_factor;
    let config = |(key, value): &(String, String)| {
        let mut config = CreatableTopicConfig::default();
        config.name = key.as_str().into();
        config.value = Some(value.as_str().into());
        config
    };
    creatable.configs = topic.configs.iter().map(config).collect();
    creatable
}

/// What was asked, with the broker's words if it has any.
pub(super) fn because(what: String, reason: Option<&str>) -> String {
    match reason {
        Some(reason) if !reason.is_empty() => format!("{what} ({reason})"),
        _ => what,
    }
}

/// A broker that is not the controller says so of each item: whoever is has to be asked.
pub(super) fn not_the_controller<K: Ord, V>(outcomes: &Outcomes<K, V>) -> Result<(), Error> {
    for outcome in outcomes.values() {
        if let Err(error @ Error::Broker { code, .. }) = outcome
            && *code == ErrorCode::NotController
        {
            return Err(error.clone());
        }
    }
    Ok(())
}
