//! Topics: making and removing them, and what Metadata says of them.

use std::collections::{BTreeMap, BTreeSet};

use millrace_protocol::api::Api;
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use millrace_protocol::messages::delete_topics_request::DeleteTopicState;
use millrace_protocol::messages::metadata_request::MetadataRequestTopic;
use millrace_protocol::messages::metadata_response::MetadataResponseTopic;
use millrace_protocol::messages::{
    CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest, DeleteTopicsResponse,
    MetadataRequest, MetadataResponse, Uuid,
};

use super::{Kind, NAMES, Run, Topic, no_id, text, version};
use crate::input::Input;

/// Configurations that a topic is made with; `None` for the outcome where they are refused.
const CONFIGS: [(&str, Option<&str>, bool); 10] = [
    ("", None, true),
    ("message.timestamp.type", Some("LogAppendTime"), true),
    ("cleanup.policy", Some("compact"), true),
    ("max.message.bytes", Some("300"), true),
    ("segment.ms", Some("100"), true),
    ("flush.messages", Some("1"), true),
    ("compression.type", Some("gzip"), true),
    ("segment.bytes", Some("5"), false),
    ("retention.ms", None, false),
    ("no.such.key", Some("1"), false),
];

const COUNTS: [i32; 8] = [2, 1, 3, -1, 2, 1, 0, -2];
const FACTORS: [i16; 8] = [-1, 1, -1, 1, -1, 1, 2, 0];

fn kind(config: usize) -> Kind {
    Kind {
        log_append_time: config == 1,
        compacted: config == 2,
        batch_bytes_max: (config == 3).then_some(300),
    }
}

impl Run<'_> {
    /// One or two topics in one request.
    pub(super) async fn create(&mut self, input: &mut Input<'_>) {
        let api = (Api::CreateTopics, version(Api::CreateTopics, input));
        let flags = input.byte();
        let mut request = CreateTopicsRequest::default();
        request.timeout_ms = 10_000;
        request.validate_only = flags & 0x40 != 0;
        let mut asked = Vec::new();
        for _ in 0..=(flags >> 7) {
            let (name, config) = (NAMES[usize::from(flags % 8)], input.byte());
            let name = if asked.is_empty() {
                name
            } else {
                *input.choice(&NAMES)
            };
            let shape = input.byte();
            let config = usize::from(config) % CONFIGS.len();
            let (partitions, factor) = (
                COUNTS[usize::from(shape.wrapping_sub(1) % 8)],
                FACTORS[usize::from(shape / 8 % 8)],
            );
            let mut topic = CreatableTopic::default();
            topic.name = text(name);
            topic.num_partitions = partitions;
            topic.replication_factor = factor;
            let (key, value, _) = CONFIGS[config];
            if !key.is_empty() {
                let mut row = CreatableTopicConfig::default();
                row.name = text(key);
                row.value = value.map(text);
                topic.configs.push(row);
            }
            request.topics.push(topic);
            asked.push((name, config, partitions, factor));
        }
        let answer: Option<CreateTopicsResponse> = self.wire.ask(api, &request).await;
        let answer = answer.expect("it is answered");
        assert_eq!(answer.topics.len(), asked.len());
        let mut made = BTreeMap::new();
        for (row, (name, config, partitions, factor)) in answer.topics.iter().zip(&asked) {
            assert_eq!(&*row.name, *name);
            let twice = asked.iter().filter(|other| other.0 == *name).count() > 1;
            let code = if twice {
                ErrorCode::InvalidRequest
            } else {
                self.creation(name, (*config, *partitions, *factor), &made)
            };
            assert_eq!(row.error_code, code.code(), "making {name:?}: {row:?}");
            if code.is_none() {
                let count = if *partitions == -1 { 1 } else { *partitions };
                let id = (api.1 >= 7).then_some(row.topic_id);
                if api.1 >= 5 {
                    assert_eq!(row.num_partitions, count);
                }
                let topic = Topic::new(id, kind(*config), count as usize);
                made.insert((*name).to_owned(), topic);
            }
        }
        if !request.validate_only {
            self.model.topics.append(&mut made);
        }
        self.all_topics().await;
    }

    /// What becomes of a wish for a topic, in Kafka's order.
    fn creation(
        &self,
        name: &str,
        (config, partitions, factor): (usize, i32, i16),
        made: &BTreeMap<String, Topic>,
    ) -> ErrorCode {
        let code = self.naming(name, made);
        if !code.is_none() {
            code
        } else if !CONFIGS[config].2 {
            ErrorCode::InvalidConfig
        } else if factor != -1 && factor < 1 {
            ErrorCode::InvalidReplicationFactor
        } else if partitions != -1 && partitions < 1 {
            ErrorCode::InvalidPartitions
        } else if factor > 1 {
            ErrorCode::InvalidReplicationFactor
        } else {
            ErrorCode::None
        }
    }

    fn naming(&self, name: &str, made: &BTreeMap<String, Topic>) -> ErrorCode {
        let like = |other: &String| other.replace('.', "_") == name.replace('.', "_");
        if name.contains(' ') {
            ErrorCode::InvalidTopicException
        } else if self.model.topics.contains_key(name) {
            ErrorCode::TopicAlreadyExists
        } else if self.model.topics.keys().any(like) || made.keys().any(like) {
            ErrorCode::InvalidTopicException
        } else {
            ErrorCode::None
        }
    }

    /// One or two topics, by name or id.
    pub(super) async fn delete_topics(&mut self, input: &mut Input<'_>) {
        let api = (Api::DeleteTopics, version(Api::DeleteTopics, input));
        let flags = input.byte();
        let mut request = DeleteTopicsRequest::default();
        request.timeout_ms = 10_000;
        let mut asked: Vec<(Option<&str>, Uuid)> = Vec::new();
        for _ in 0..=(flags >> 7) {
            let name = if asked.is_empty() {
                NAMES[usize::from(flags % 8)]
            } else {
                *input.choice(&NAMES)
            };
            let (by_name, by_id) = match (flags / 8) % 8 {
                _ if api.1 < 6 => (true, false),
                0..=2 => (true, false),
                3..=5 => (false, true),
                6 => (true, true),
                _ => (false, false),
            };
            let id = if by_id { self.id_of(name) } else { no_id() };
            asked.push((by_name.then_some(name), id));
            if api.1 < 6 {
                request.topic_names.push(text(name));
            } else {
                let mut topic = DeleteTopicState::default();
                topic.name = by_name.then(|| text(name));
                topic.topic_id = id;
                request.topics.push(topic);
            }
        }
        let answer: Option<DeleteTopicsResponse> = self.wire.ask(api, &request).await;
        let answer = answer.expect("it is answered");
        let found = |(name, id): &(Option<&str>, Uuid)| match name {
            Some(name) if *id == no_id() => {
                let there = self.model.topics.contains_key(*name);
                there.then(|| (*name).to_owned())
            }
            None if *id != no_id() => self.model.name_of(*id),
            _ => None,
        };
        let topics: Vec<Option<String>> = asked.iter().map(found).collect();
        let mut gone = BTreeSet::new();
        // What is named twice in one way has one row.
        let is_twice = |one: &_| asked.iter().filter(|other| *other == one).count() > 1;
        let mut rows: Vec<_> = asked.iter().zip(&topics).collect();
        rows.dedup_by(|(next, _), (asked, _)| next == asked);
        assert_eq!(answer.responses.len(), rows.len());
        for (row, (asked, topic)) in answer.responses.iter().zip(rows) {
            let code = match (asked, topic) {
                ((Some(_), id), _) if *id != no_id() => ErrorCode::InvalidRequest,
                ((None, id), _) if *id == no_id() => ErrorCode::InvalidRequest,
                _ if is_twice(asked) => ErrorCode::InvalidRequest,
                ((Some(_), _), None) => ErrorCode::UnknownTopicOrPartition,
                ((None, _), None) => ErrorCode::UnknownTopicId,
                (_, Some(_)) if topics.iter().filter(|other| *other == topic).count() > 1 => {
                    ErrorCode::InvalidRequest
                }
                (_, Some(name)) => {
                    gone.insert(name.clone());
                    ErrorCode::None
                }
            };
            assert_eq!(row.error_code, code.code(), "removing {asked:?}: {row:?}");
        }
        for name in gone {
            self.model.remove(&name);
        }
        self.all_topics().await;
    }

    /// Some topics, or all; what is missing is made where the client lets it.
    pub(super) async fn metadata(&mut self, input: &mut Input<'_>) {
        let api = (Api::Metadata, version(Api::Metadata, input));
        let flags = input.byte();
        let mut request = MetadataRequest::default();
        let all = flags & 1 == 0;
        let may_make = api.1 < 4 || flags & 2 != 0;
        request.allow_auto_topic_creation = may_make;
        request.topics = if all && api.1 > 0 {
            None
        } else {
            Some(Vec::new())
        };
        let by_id = api.1 >= 12 && flags & 4 != 0;
        let names = [
            NAMES[usize::from(flags / 8 % 8)],
            NAMES[usize::from(input.byte() % 8)],
        ];
        if !all {
            let topics = names.iter().map(|name| {
                let mut topic = MetadataRequestTopic::default();
                topic.topic_id = if by_id { self.id_of(name) } else { no_id() };
                topic.name = (!by_id).then(|| text(name));
                topic
            });
            request.topics = Some(topics.collect());
        }
        let asked: BTreeSet<Uuid> = names.iter().map(|name| self.id_of(name)).collect();
        let answer: Option<MetadataResponse> = self.wire.ask(api, &request).await;
        let answer = answer.expect("it is answered");
        assert_eq!(answer.brokers.len(), 1);
        if all {
            return self.are_all(&answer);
        }
        if by_id {
            assert_eq!(answer.topics.len(), asked.len());
            for row in &answer.topics {
                match self.model.name_of(row.topic_id) {
                    Some(name) => self.is_described(&name, row),
                    None => assert_eq!(row.error_code, ErrorCode::UnknownTopicId.code()),
                }
            }
            return;
        }
        let names: BTreeSet<&str> = names.into_iter().collect();
        assert_eq!(answer.topics.len(), names.len());
        for row in &answer.topics {
            let name = row.name.as_deref().expect("it was asked by name");
            assert!(names.contains(name), "{name:?} was not asked for");
            self.is_there_or_made(name, row, may_make);
        }
        self.all_topics().await;
    }

    fn is_there_or_made(&mut self, name: &str, row: &MetadataResponseTopic, may_make: bool) {
        if self.model.topics.contains_key(name) {
            return self.is_described(name, row);
        }
        let naming = self.naming(name, &BTreeMap::new());
        let code = if naming.is_none() && may_make {
            ErrorCode::None
        } else if name.contains(' ') {
            naming
        } else {
            ErrorCode::UnknownTopicOrPartition
        };
        assert_eq!(row.error_code, code.code(), "asking for {name:?}: {row:?}");
        if code.is_none() {
            let topic = Topic::new(None, Kind::default(), 1);
            self.model.topics.insert(name.to_owned(), topic);
        }
    }

    fn is_described(&self, name: &str, row: &MetadataResponseTopic) {
        let topic = &self.model.topics[name];
        assert_eq!(row.error_code, 0, "{name} is there");
        assert_eq!(row.name.as_deref(), Some(name));
        assert_eq!(row.partitions.len(), topic.logs.len(), "{name}");
        for (at, partition) in (0..).zip(&row.partitions) {
            assert_eq!((partition.partition_index, partition.error_code), (at, 0));
        }
    }

    fn are_all(&self, answer: &MetadataResponse) {
        assert_eq!(answer.topics.len(), self.model.topics.len(), "{answer:?}");
        for row in &answer.topics {
            let name = row.name.as_deref().expect("all have names");
            assert!(self.model.topics.contains_key(name), "nobody made {name}");
            self.is_described(name, row);
        }
    }

    /// All topics are there and no others; learns the ids of new ones.
    pub(super) async fn all_topics(&mut self) {
        let mut request = MetadataRequest::default();
        request.topics = None;
        let api = (Api::Metadata, 13);
        let answer: Option<MetadataResponse> = self.wire.ask(api, &request).await;
        let answer = answer.expect("it is answered");
        self.are_all(&answer);
        for row in answer.topics {
            let name = row.name.as_deref().expect("all have names");
            let topic = self.topic(name).expect("all are there");
            assert_eq!(
                *topic.id.get_or_insert(row.topic_id),
                row.topic_id,
                "{name}"
            );
        }
    }
}
