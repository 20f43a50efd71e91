//! The requests that change something, and those that show what is there.

use std::collections::BTreeMap;

use millrace_client::{Client, Error};
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::ids::TopicId;
use millrace_protocol::messages::{
    AlterConfigsRequest, CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest,
    DescribeConfigsRequest, DescribeTopicPartitionsRequest, IncrementalAlterConfigsRequest,
    alter_configs_request,
    create_partitions_request::CreatePartitionsTopic,
    create_topics_request::{CreatableTopic, CreatableTopicConfig},
    delete_topics_request::DeleteTopicState,
    describe_configs_request::DescribeConfigsResource,
    describe_topic_partitions_request::TopicRequest,
    incremental_alter_configs_request,
};

use super::draws::Kind;
use super::model::{Change, Configs};

/// How long the broker may take for its part.
pub(super) const TIMEOUT_MS: i32 = 10_000;

/// A code other than success.
pub(super) type Refused = Result<(), ErrorCode>;

/// What a code says.
pub(super) fn code(code: i16) -> Refused {
    match ErrorCode::from_code(code) {
        Some(ErrorCode::None) => Ok(()),
        Some(code) => Err(code),
        None => Err(ErrorCode::UnknownServerError),
    }
}

/// An answer without the row that was asked for.
pub(super) fn missing(client: &Client, what: &str) -> Error {
    let address = client.connection().address().to_owned();
    let reason = format!("no row of {what} in it");
    Error::Malformed { address, reason }
}

/// What became of the one thing that was asked for, by the codes of the answer's rows.
fn outcome(
    client: &Client,
    what: &str,
    mut codes: impl Iterator<Item = i16>,
) -> Result<Refused, Error> {
    codes.next().map(code).ok_or_else(|| missing(client, what))
}

/// A code that says nothing of what was asked.
pub(super) fn refused(what: &str, code: ErrorCode) -> Error {
    let what = what.to_owned();
    Error::Broker { what, code }
}

/// Asks for a change of `name`; the error is what came in place of an answer.
pub(super) async fn change(
    client: &Client,
    (kind, name): (Kind, &str),
    wanted: &Change,
    validate_only: bool,
) -> Result<Refused, Error> {
    match wanted {
        Change::Create {
            partitions,
            configs,
        } => create(client, name, (*partitions, configs), validate_only).await,
        Change::Delete => delete(client, name).await,
        Change::Grow { count } => grow(client, name, *count, validate_only).await,
        Change::Alter {
            keys,
            replaces: true,
            ..
        } => replace(client, (kind, name), keys, validate_only).await,
        Change::Alter { keys, .. } => alter(client, (kind, name), keys, validate_only).await,
    }
}

async fn create(
    client: &Client,
    name: &str,
    (partitions, configs): (i32, &Configs),
    validate_only: bool,
) -> Result<Refused, Error> {
    let mut topic = CreatableTopic::default();
    topic.name = name.into();
    topic.num_partitions = partitions;
    topic.replication_factor = -1;
    let configs = configs.iter().map(|(key, value)| {
        let mut config = CreatableTopicConfig::default();
        config.name = key.as_str().into();
        config.value = Some(value.as_str().into());
        config
    });
    topic.configs = configs.collect();
    let mut request = CreateTopicsRequest::default();
    request.topics = vec![topic];
    request.timeout_ms = TIMEOUT_MS;
    request.validate_only = validate_only;
    let answer = client.call(&request).await?;
    let rows = answer.read()?.topics.into_iter();
    outcome(client, name, rows.map(|row| row.error_code))
}

async fn delete(client: &Client, name: &str) -> Result<Refused, Error> {
    let mut topic = DeleteTopicState::default();
    topic.name = Some(name.into());
    let mut request = DeleteTopicsRequest::default();
    request.topics = vec![topic];
    request.timeout_ms = TIMEOUT_MS;
    let answer = client.call(&request).await?;
    let rows = answer.read()?.responses.into_iter();
    outcome(client, name, rows.map(|row| row.error_code))
}

async fn grow(
    client: &Client,
    name: &str,
    count: i32,
    validate_only: bool,
) -> Result<Refused, Error> {
    let mut topic = CreatePartitionsTopic::default();
    topic.name = name.into();
    topic.count = count;
    topic.assignments = None;
    let mut request = CreatePartitionsRequest::default();
    request.topics = vec![topic];
    request.timeout_ms = TIMEOUT_MS;
    request.validate_only = validate_only;
    let answer = client.call(&request).await?;
    let rows = answer.read()?.results.into_iter();
    outcome(client, name, rows.map(|row| row.error_code))
}

async fn alter(
    client: &Client,
    (kind, name): (Kind, &str),
    keys: &BTreeMap<String, Option<String>>,
    validate_only: bool,
) -> Result<Refused, Error> {
    let mut resource = incremental_alter_configs_request::AlterConfigsResource::default();
    resource.resource_type = kind.kafka_id();
    resource.resource_name = name.into();
    let configs = keys.iter().map(|(key, value)| {
        let mut config = incremental_alter_configs_request::AlterableConfig::default();
        config.name = key.as_str().into();
        config.config_operation = i8::from(value.is_none());
        config.value = value.as_deref().map(Into::into);
        config
    });
    resource.configs = configs.collect();
    let mut request = IncrementalAlterConfigsRequest::default();
    request.resources = vec![resource];
    request.validate_only = validate_only;
    let answer = client.call(&request).await?;
    let rows = answer.read()?.responses.into_iter();
    outcome(client, name, rows.map(|row| row.error_code))
}

async fn replace(
    client: &Client,
    (kind, name): (Kind, &str),
    keys: &BTreeMap<String, Option<String>>,
    validate_only: bool,
) -> Result<Refused, Error> {
    let mut resource = alter_configs_request::AlterConfigsResource::default();
    resource.resource_type = kind.kafka_id();
    resource.resource_name = name.into();
    let set = keys.iter().filter_map(|(key, value)| {
        let mut config = alter_configs_request::AlterableConfig::default();
        config.name = key.as_str().into();
        config.value = Some(value.as_deref()?.into());
        Some(config)
    });
    resource.configs = set.collect();
    let mut request = AlterConfigsRequest::default();
    request.resources = vec![resource];
    request.validate_only = validate_only;
    let answer = client.call(&request).await?;
    let rows = answer.read()?.responses.into_iter();
    outcome(client, name, rows.map(|row| row.error_code))
}

/// A topic's id and partitions, `None` when there is none of that name: by `Metadata`, or by
/// `DescribeTopicPartitions` in pages of one partition.
pub(super) async fn topic(
    client: &Client,
    name: &str,
    in_pages: bool,
) -> Result<Option<(TopicId, i32)>, Error> {
    if in_pages {
        return topic_in_pages(client, name).await;
    }
    match client.topic(name).await {
        Ok(topic) => Ok(Some((topic.id, topic.partitions))),
        Err(Error::Broker {
            code: ErrorCode::UnknownTopicOrPartition,
            ..
        }) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn topic_in_pages(client: &Client, name: &str) -> Result<Option<(TopicId, i32)>, Error> {
    let mut asked = TopicRequest::default();
    asked.name = name.into();
    let mut request = DescribeTopicPartitionsRequest::default();
    request.topics = vec![asked];
    request.response_partition_limit = 2;
    request.cursor = None;
    let (mut found, mut next) = (None, 0);
    loop {
        let answer = client.call(&request).await?;
        let answer = answer.read()?;
        let row = answer.topics.into_iter().next();
        let row = row.ok_or_else(|| missing(client, name))?;
        match code(row.error_code) {
            Err(ErrorCode::UnknownTopicOrPartition) => return Ok(None),
            Err(code) => return Err(refused("to describe a topic's partitions", code)),
            Ok(()) => {}
        }
        for partition in row.partitions {
            if partition.partition_index == next {
                next += 1;
            }
        }
        // One that was made anew between two pages is looked at another time.
        if found.is_some_and(|id| id != row.topic_id) {
            return Err(refused(
                "to describe one topic",
                ErrorCode::InconsistentTopicId,
            ));
        }
        found = Some(row.topic_id);
        match answer.next_cursor {
            Some(cursor) if cursor.partition_index == next => {
                let mut from =
                    millrace_protocol::messages::describe_topic_partitions_request::Cursor::default(
                    );
                from.topic_name = name.into();
                from.partition_index = next;
                request.cursor = Some(from);
            }
            _ => return Ok(found.map(|id| (id, next))),
        }
    }
}

/// A configuration as it is told.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// What is set on the resource itself.
    pub(super) set: Configs,
    /// Every key that has a value.
    pub(super) all: Configs,
}

/// The configuration of a resource; `None` when there is no such topic.
pub(super) async fn configs(
    client: &Client,
    (kind, name): (Kind, &str),
) -> Result<Option<Told>, Error> {
    let mut resource = DescribeConfigsResource::default();
    resource.resource_type = kind.kafka_id();
    resource.resource_name = name.into();
    resource.configuration_keys = None;
    let mut request = DescribeConfigsRequest::default();
    request.resources = vec![resource];
    let answer = client.call(&request).await?;
    let row = answer.read()?.results.into_iter().next();
    let row = row.ok_or_else(|| missing(client, name))?;
    match code(row.error_code) {
        Err(ErrorCode::UnknownTopicOrPartition) => return Ok(None),
        Err(code) => return Err(refused("to describe a configuration", code)),
        Ok(()) => {}
    }
    let mut told = Told::default();
    for config in row.configs {
        let Some(value) = config.value else { continue };
        let entry = (config.name.to_owned(), value.to_owned());
        if config.config_source == kind.source(name) {
            told.set.extend([entry.clone()]);
        }
        told.all.extend([entry]);
    }
    Ok(Some(told))
}
