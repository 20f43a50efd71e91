//! Every knob of Millrace: one table of keys with Kafka's names, types, defaults, scopes and
//! checks, where values come from, and the typed structs that the rest of the broker reads.
//!
//! What always holds: a [`BrokerConfig`] was checked whole; no key was swallowed (unknown keys and
//! keys of Kafka that have no effect here yet are refused); every number was parsed once, here.
//! The only I/O is reading the configuration file.

mod annotated;
mod cleaner;
mod describe;
mod dynamic;
mod error;
mod fetch;
mod fixed_rows;
mod groups;
mod key;
mod listener;
mod load;
mod log;
mod memory;
mod metadata;
mod nearest;
mod network;
mod node;
mod not_in_effect;
mod produce;
mod properties;
mod table;
mod toml_file;
mod topic;
mod topic_default_rows;
mod topic_rows;
mod topics;
mod values;

#[cfg(test)]
mod dynamic_tests;
#[cfg(test)]
mod load_tests;
#[cfg(test)]
mod topic_tests;

pub use annotated::annotated_properties;
pub use cleaner::CleanerConfig;
pub use describe::{Described, Origin, SynonymValue, describe_cluster};
pub use error::{ConfigError, Source};
pub use fetch::FetchConfig;
pub use fixed_rows::Fixed;
pub use groups::GroupConfig;
pub use key::{Check, Effect, Key, Kind, Maker, Scope, Synonym};
pub use listener::{Advertised, Listener};
pub use load::{FILE_BYTES_MAX, Sources};
pub use log::LogConfig;
pub use memory::Lowered;
pub use metadata::MetadataConfig;
pub use network::{AdminListener, NetworkConfig};
pub use node::{LoggerFormat, NodeConfig};
pub use not_in_effect::{AbsentKey, absent_keys};
pub use produce::ProduceConfig;
pub use table::{broker_key, broker_keys, topic_key, topic_keys};
pub use topic::{
    CleanupPolicy, CompactionConfig, Compression, Durability, RecordValidation, TimestampType,
};
pub use topic::{Overrides, TopicConfig, TopicOverrides};
pub use topics::TopicsConfig;

use values::Values;

/// The whole configuration of one node, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct BrokerConfig {
    /// Who this node is.
    pub node: NodeConfig,
    /// Where clients reach it, and the limits on connections and requests.
    pub network: NetworkConfig,
    /// Where and how logs are stored.
    pub log: LogConfig,
    /// How logs are compacted.
    pub cleaner: CleanerConfig,
    /// Limits of the produce path and of producer state.
    pub produce: ProduceConfig,
    /// Limits of the fetch path.
    pub fetch: FetchConfig,
    /// How topics are created, and what they get when they say nothing themselves.
    pub topics: TopicsConfig,
    /// The cluster metadata log.
    pub metadata: MetadataConfig,
    /// Consumer groups.
    pub groups: GroupConfig,
    /// What was set, as text, with its source.
    values: Values,
}

impl BrokerConfig {
    /// Reads all sources, strongest first: `--set`, environment, file, default.
    pub fn load(sources: &Sources) -> Result<Self, ConfigError> {
        Self::from_values(load::gather(sources)?)
    }

    /// A configuration from pairs that count as `--set` options. For embedding and for tests.
    pub fn from_pairs<'a>(
        pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, ConfigError> {
        let mut values = Values::default();
        for (key, value) in pairs {
            values.set(key, value, Source::Set)?;
        }
        Self::from_values(values)
    }

    fn from_values(values: Values) -> Result<Self, ConfigError> {
        load::check_relations(&values)?;
        Ok(Self {
            node: NodeConfig::read(&values),
            network: NetworkConfig::read(&values)?,
            log: LogConfig::read(&values)?,
            cleaner: CleanerConfig::read(&values),
            produce: ProduceConfig::read(&values),
            fetch: FetchConfig::read(&values),
            topics: TopicsConfig::read(&values)?,
            metadata: MetadataConfig::read(&values),
            groups: GroupConfig::read(&values),
            values,
        })
    }

    pub(crate) fn values(&self) -> &Values {
        &self.values
    }
}

impl Default for BrokerConfig {
    fn default() -> Self {
        Self::from_values(Values::default()).expect("a test holds that the defaults are valid")
    }
}
