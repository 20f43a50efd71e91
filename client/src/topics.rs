//! Topics: making them, and what a broker knows of them.

use std::time::Duration;

use millrace_protocol::ids::TopicId;
use millrace_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use millrace_protocol::messages::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsTopic,
};
use millrace_protocol::messages::metadata_request::MetadataRequestTopic;
use millrace_protocol::messages::{CreateTopicsRequest, DeleteRecordsRequest, MetadataRequest};

use crate::client::refuse;
use crate::{Answer, Client, Error};

/// A topic as a broker described it: what produce and fetch need to name it at any version.
///
/// ```
/// # mod world { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/documented/world.rs")); }
/// # world::run(async |cluster| {
/// let client = cluster.any_broker().await?;
/// let topic = client.topic("orders").await?;
/// assert_eq!((topic.name.as_str(), topic.partitions), ("orders", 3));
/// # Ok(()) });
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// Its id (KIP-516); [`TopicId::ZERO`] from a broker that gives none.
    pub id: TopicId,
    /// How many partitions it has, numbered from 0.
    pub partitions: i32,
}

/// A topic to be made.
///
/// ```
/// # use millrace_client::NewTopic;
/// let table = NewTopic::new("prices", 6).with("cleanup.policy", "compact");
/// assert_eq!(table.replication_factor, -1, "the brokers' default");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// How many partitions; -1 for the broker's default.
    pub partitions: i32,
    /// Replicas of each partition; -1 for the broker's default.
    pub replication_factor: i16,
    /// Kafka's keys and values; the rest as the broker's defaults say.
    pub configs: Vec<(String, String)>,
}

impl NewTopic {
    /// A topic with the broker's defaults but for its number of partitions.
    pub fn new(name: impl Into<String>, partitions: i32) -> Self {
        Self {
            name: name.into(),
            partitions,
            replication_factor: -1,
            configs: Vec::new(),
        }
    }

    /// The same with one configuration more.
    #[must_use]
    pub fn with(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.configs.push((key.into(), value.into()));
        self
    }
}

impl Client {
    /// What the broker knows: of the topics named, or of all of them. Makes no topic.
    pub async fn metadata(
        &self,
        topics: Option<&[&str]>,
    ) -> Result<Answer<MetadataRequest>, Error> {
        let mut request = MetadataRequest::default();
        request.allow_auto_topic_creation = false;
        request.topics = topics.map(|names| {
            let named = |name: &&str| {
                let mut topic = MetadataRequestTopic::default();
                topic.name = Some((*name).into());
                topic
            };
            names.iter().map(named).collect()
        });
        let answer = self.call(&request).await?;
        let code = answer.read()?.error_code;
        refuse(code, || "to describe the cluster".to_owned())?;
        Ok(answer)
    }

    /// One topic; an error when the broker does not have it.
    pub async fn topic(&self, name: &str) -> Result<Topic, Error> {
        let answer = self.metadata(Some(&[name])).await?;
        let mut topics = answer.read()?.topics.into_iter();
        let Some(topic) = topics.find(|topic| topic.name == Some(name)) else {
            return Err(self.malformed(format!("topic {name} is missing in it")));
        };
        refuse(topic.error_code, || format!("to describe topic {name}"))?;
        Ok(Topic {
            name: name.to_owned(),
            id: topic.topic_id,
            partitions: i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX),
        })
    }

    /// Makes a topic and says what the broker made of it. In a cluster the partitions may have no
    /// leader for a moment yet: what is asked of them then fails with a retriable error.
    pub async fn create_topic(&self, topic: &NewTopic) -> Result<Topic, Error> {
        let mut creatable = CreatableTopic::default();
        creatable.name = topic.name.as_str().into();
        creatable.num_partitions = topic.partitions;
        creatable.replication_factor = topic.replication_factor;
        creatable.configs = topic
            .configs
            .iter()
            .map(|(key, value)| config(key, value))
            .collect();
        let mut request = CreateTopicsRequest::default();
        request.topics = vec![creatable];
        request.timeout_ms = self.timeout_ms();
        let answer = self.call(&request).await?;
        let mut topics = answer.read()?.topics.into_iter();
        let Some(made) = topics.find(|made| made.name == topic.name) else {
            return Err(self.malformed(format!("topic {} is missing in it", topic.name)));
        };
        refuse(made.error_code, || {
            let reason = made.error_message.unwrap_or("no reason given");
            format!("to create topic {} ({reason})", topic.name)
        })?;
        let id = made.topic_id;
        if id.is_zero() || made.num_partitions < 1 {
            // Brokers before KIP-525 and KIP-516 do not say.
            return self.topic(&topic.name).await;
        }
        Ok(Topic {
            name: topic.name.clone(),
            id,
            partitions: made.num_partitions,
        })
    }

    /// Deletes the records of a partition that lie before an offset, or before the high watermark
    /// for `None`. Gives the first offset that is left. After [`ErrorCode::RequestTimedOut`] the
    /// deletion may still happen.
    ///
    /// [`ErrorCode::RequestTimedOut`]: millrace_protocol::error_code::ErrorCode::RequestTimedOut
    pub async fn delete_records(
        &self,
        topic: &Topic,
        partition: i32,
        before: Option<i64>,
    ) -> Result<i64, Error> {
        let mut asked = DeleteRecordsPartition::default();
        asked.partition_index = partition;
        asked.offset = before.unwrap_or(-1);
        let mut of_topic = DeleteRecordsTopic::default();
        of_topic.name = topic.name.as_str().into();
        of_topic.partitions = vec![asked];
        let mut request = DeleteRecordsRequest::default();
        request.topics = vec![of_topic];
        request.timeout_ms = self.timeout_ms();
        let answer = self.call(&request).await?;
        let of_topic = self.only(answer.read()?.topics, "topics")?;
        let outcome = self.only(of_topic.partitions, "partitions")?;
        refuse(outcome.error_code, || {
            format!("to delete records of {}-{partition}", topic.name)
        })?;
        Ok(outcome.low_watermark)
    }

    /// How long the broker may take for its part: the request's whole time, in milliseconds.
    pub(crate) fn timeout_ms(&self) -> i32 {
        milliseconds(self.connection().options().request_timeout)
    }

    /// An answer that was decoded but does not say what was asked.
    pub(crate) fn malformed(&self, reason: String) -> Error {
        Error::Malformed {
            address: self.connection().address().to_owned(),
            reason,
        }
    }
}

pub(crate) fn milliseconds(span: Duration) -> i32 {
    i32::try_from(span.as_millis()).unwrap_or(i32::MAX)
}

fn config(key: &str, value: &str) -> CreatableTopicConfig {
    let mut config = CreatableTopicConfig::default();
    config.name = key.into();
    config.value = Some(value.into());
    config
}
