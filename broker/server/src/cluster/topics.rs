//! Creating, growing and deleting topics on this node: core decides, the world is asked here.

use std::collections::BTreeMap;
use std::sync::Arc;

use millrace_config::{BrokerConfig, TopicConfig, TopicOverrides};
use millrace_core::cluster::{
    CreateTopic, Defaults, Directory, GrowTopic, GrowthOutcome, Refusal, Removal, Subject,
    TopicOutcome, create_partitions, create_topics, delete_topics,
};
use millrace_host::Host;
use millrace_protocol::ids::TopicId;

use super::{Cluster, MetadataError};

/// What a creation asks: random ids, where to put a partition, whether a configuration is good.
struct World<'a> {
    host: &'a Host,
    config: &'a BrokerConfig,
    directories: &'a [Directory],
    placed: usize,
}

impl Subject for World<'_> {
    fn draw_id(&mut self) -> TopicId {
        let mut bytes = [0; 16];
        self.host.rng.fill(&mut bytes);
        TopicId::from_bytes(bytes)
    }

    fn place(&mut self, _broker: i32) -> Directory {
        let directory = self
            .directories
            .get(self.placed % self.directories.len().max(1));
        self.placed += 1;
        directory.copied().unwrap_or_default()
    }

    fn check_configs(&mut self, configs: &BTreeMap<String, String>) -> Result<(), String> {
        let overrides: TopicOverrides = configs.clone();
        TopicConfig::check(self.config, &overrides)
            .map(drop)
            .map_err(|error| error.to_string())
    }
}

impl Cluster {
    /// Creates topics; each has its own outcome, in the request's order. With `validate_only`
    /// nothing is made and the outcomes say what would be.
    pub(crate) async fn create_topics(
        &self,
        host: &Host,
        config: &Arc<BrokerConfig>,
        requests: &[CreateTopic],
        validate_only: bool,
    ) -> Result<Vec<TopicOutcome>, MetadataError> {
        let defaults = Defaults {
            partitions: i32::try_from(config.topics.partitions).unwrap_or(i32::MAX),
            replication_factor: i16::try_from(config.topics.replication_factor).unwrap_or(i16::MAX),
            partitions_max: config.topics.partitions_max as usize,
        };
        self.propose(|image, _| {
            let directories = image
                .broker(config.node.id)
                .map_or_else(Vec::new, |broker| broker.log_dirs.clone());
            let placed = image.topic_count();
            let mut world = World {
                host,
                config,
                directories: &directories,
                placed,
            };
            let (outcomes, records) = create_topics(image, requests, defaults, &mut world);
            (outcomes, if validate_only { Vec::new() } else { records })
        })
        .await
    }

    /// Adds partitions to topics; each has its own outcome, in the request's order. With
    /// `validate_only` nothing is added and the outcomes say what would be.
    pub(crate) async fn create_partitions(
        &self,
        host: &Host,
        config: &Arc<BrokerConfig>,
        requests: &[GrowTopic],
        validate_only: bool,
    ) -> Result<Vec<GrowthOutcome>, MetadataError> {
        let most = config.topics.partitions_max as usize;
        self.propose(|image, _| {
            let directories = image
                .broker(config.node.id)
                .map_or_else(Vec::new, |broker| broker.log_dirs.clone());
            // A topic's partitions go round the directories from where its first one lies.
            let first = requests.first();
            let there = first.and_then(|request| image.topic_named(&request.name));
            let placed = image.topic_count() + there.map_or(0, |topic| topic.partitions.size());
            let mut world = World {
                host,
                config,
                directories: &directories,
                placed,
            };
            let (outcomes, records) = create_partitions(image, requests, most, &mut world);
            (outcomes, if validate_only { Vec::new() } else { records })
        })
        .await
    }

    /// Deletes topics; each has its own outcome, in the request's order.
    pub(crate) async fn delete_topics(
        &self,
        requests: &[Removal],
    ) -> Result<Vec<Result<(TopicId, String), Refusal>>, MetadataError> {
        self.propose(|image, _| delete_topics(image, requests))
            .await
    }
}
