//! Configurations of topics and brokers: read with where each value comes from, and changed key by key
//! (KIP-339).

use std::collections::BTreeMap;
use std::fmt;

use millrace_protocol::messages::describe_configs_request::DescribeConfigsResource;
use millrace_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig,
};
use millrace_protocol::messages::{
    DescribeConfigsRequest, IncrementalAlterConfigsRequest, ListConfigResourcesRequest,
};

use super::route::{Lost, To};
use super::topics::because;
use super::{Admin, Outcomes};
use crate::Error;
use crate::client::refuse;

/// What has a configuration.
///
/// ```
/// # mod world { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/documented/world.rs")); }
/// # use millrace_client::{Admin, ConfigResource};
/// # world::run(async |cluster| {
/// let orders = ConfigResource::Topic("orders".to_owned());
/// let all = Admin::new(&cluster).describe_configs(&[orders.clone()], None, false).await?;
/// for entry in all[&orders].as_ref().map_err(Clone::clone)? {
///     println!("{}={:?}", entry.name, entry.value);
/// }
/// # Ok(()) });
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConfigResource {
    /// A topic.
    Topic(String),
    /// A broker; `None` for what all of them take that have no value of their own.
    Broker(Option<i32>),
    /// The log levels of a broker (KIP-412).
    BrokerLogger(i32),
    /// A group (KIP-848).
    Group(String),
    /// What clients are asked to tell of themselves (KIP-714).
    ClientMetrics(String),
}

impl ConfigResource {
    fn kind(&self) -> i8 {
        match self {
            Self::Topic(_) => 2,
            Self::Broker(_) => 4,
            Self::BrokerLogger(_) => 8,
            Self::ClientMetrics(_) => 16,
            Self::Group(_) => 32,
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Topic(name) | Self::Group(name) | Self::ClientMetrics(name) => name.clone(),
            Self::Broker(Some(id)) | Self::BrokerLogger(id) => id.to_string(),
            Self::Broker(None) => String::new(),
        }
    }

    fn of(kind: i8, name: &str) -> Option<Self> {
        match kind {
            2 => Some(Self::Topic(name.to_owned())),
            4 if name.is_empty() => Some(Self::Broker(None)),
            4 => name.parse().ok().map(|id| Self::Broker(Some(id))),
            8 => name.parse().ok().map(Self::BrokerLogger),
            16 => Some(Self::ClientMetrics(name.to_owned())),
            32 => Some(Self::Group(name.to_owned())),
            _ => None,
        }
    }

    /// A broker answers for itself.
    fn place(&self) -> To {
        match self {
            Self::Broker(Some(id)) | Self::BrokerLogger(id) => To::Broker(*id),
            Self::Broker(None) | Self::Topic(_) | Self::Group(_) | Self::ClientMetrics(_) => {
                To::Any
            }
        }
    }
}

impl fmt::Display for ConfigResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Topic(name) => write!(f, "topic {name}"),
            Self::Broker(Some(id)) => write!(f, "broker {id}"),
            Self::Broker(None) => f.write_str("all brokers"),
            Self::BrokerLogger(id) => write!(f, "the loggers of broker {id}"),
            Self::Group(name) => write!(f, "group {name}"),
            Self::ClientMetrics(name) => write!(f, "client metrics {name}"),
        }
    }
}

/// Where a value comes from, the strongest first.
///
/// ```
/// # mod world { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/documented/world.rs")); }
/// # use millrace_client::{Admin, ConfigResource, ConfigSource};
/// # world::run(async |cluster| {
/// let orders = ConfigResource::Topic("orders".to_owned());
/// let all = Admin::new(&cluster).describe_configs(&[orders.clone()], None, false).await?;
/// let entries = all[&orders].as_ref().map_err(Clone::clone)?;
/// let of_topic = entries.iter().filter(|entry| entry.source == ConfigSource::Topic);
/// assert_eq!(of_topic.count(), 0, "nobody has set anything");
/// # Ok(()) });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConfigSource {
    /// Set for this topic.
    Topic,
    /// Set for this broker while it runs.
    Broker,
    /// Set for all brokers while they run.
    AllBrokers,
    /// The broker's own file or command line.
    File,
    /// Nobody set it.
    Default,
    /// A log level that was set.
    BrokerLogger,
    /// Set for this group.
    Group,
    /// Set for these client metrics.
    ClientMetrics,
    /// A later Kafka's.
    Unknown,
}

impl ConfigSource {
    fn of(source: i8) -> Self {
        match source {
            1 => Self::Topic,
            2 => Self::Broker,
            3 => Self::AllBrokers,
            4 => Self::File,
            5 => Self::Default,
            6 => Self::BrokerLogger,
            7 => Self::ClientMetrics,
            8 => Self::Group,
            _ => Self::Unknown,
        }
    }

    /// Kafka's name for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Topic => "DYNAMIC_TOPIC_CONFIG",
            Self::Broker => "DYNAMIC_BROKER_CONFIG",
            Self::AllBrokers => "DYNAMIC_DEFAULT_BROKER_CONFIG",
            Self::File => "STATIC_BROKER_CONFIG",
            Self::Default => "DEFAULT_CONFIG",
            Self::BrokerLogger => "DYNAMIC_BROKER_LOGGER_CONFIG",
            Self::ClientMetrics => "DYNAMIC_CLIENT_METRICS_CONFIG",
            Self::Group => "DYNAMIC_GROUP_CONFIG",
            Self::Unknown => "UNKNOWN",
        }
    }
}

/// One key of a configuration.
///
/// ```
/// # mod world { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/documented/world.rs")); }
/// # use millrace_client::{Admin, ConfigResource};
/// # world::run(async |cluster| {
/// let orders = ConfigResource::Topic("orders".to_owned());
/// let keys: &[&str] = &["cleanup.policy"];
/// let some = Admin::new(&cluster).describe_configs(&[orders.clone()], Some(keys), true).await?;
/// let entry = &some[&orders].as_ref().map_err(Clone::clone)?[0];
/// assert_eq!(entry.value.as_deref(), Some("delete"));
/// println!("{}: {:?}", entry.name, entry.documentation);
/// # Ok(()) });
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigEntry {
    /// Its name.
    pub name: String,
    /// Its value; `None` when there is none, or it is a secret.
    pub value: Option<String>,
    /// Where that comes from.
    pub source: ConfigSource,
    /// Whether it can't be changed while the broker runs.
    pub read_only: bool,
    /// Whether it is a secret.
    pub sensitive: bool,
    /// What it means, where that was asked for and the broker tells (KIP-569).
    pub documentation: Option<String>,
}

/// A change of one key.
///
/// ```
/// # mod world { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/documented/world.rs")); }
/// # use millrace_client::{Admin, ConfigChange, ConfigResource};
/// # world::run(async |cluster| {
/// let orders = ConfigResource::Topic("orders".to_owned());
/// let compacted = ConfigChange::Set("cleanup.policy".to_owned(), "compact".to_owned());
/// let changes = [(orders.clone(), vec![compacted])].into();
/// let changed = Admin::new(&cluster).alter_configs(&changes, false).await?;
/// changed[&orders].clone()?;
/// # Ok(()) });
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigChange {
    /// It has this value.
    Set(String, String),
    /// It has the default again, or what stands below.
    Delete(String),
    /// These, separated by commas, are added to its list.
    Append(String, String),
    /// These are taken off its list.
    Subtract(String, String),
}

impl ConfigChange {
    fn wire(&self) -> AlterableConfig {
        let (name, operation, value) = match self {
            Self::Set(name, value) => (name, 0, Some(value)),
            Self::Delete(name) => (name, 1, None),
            Self::Append(name, value) => (name, 2, Some(value)),
            Self::Subtract(name, value) => (name, 3, Some(value)),
        };
        let mut config = AlterableConfig::default();
        config.name = name.as_str().into();
        config.config_operation = operation;
        config.value = value.map(|value| value.as_str().into());
        config
    }
}

/// From this version on brokers tell what a key means.
const DOCUMENTED: i16 = 3;

impl Admin {
    /// The configurations of these; of each all keys, or those in `keys`.
    pub async fn describe_configs(
        &self,
        resources: &[ConfigResource],
        keys: Option<&[&str]>,
        with_documentation: bool,
    ) -> Result<Outcomes<ConfigResource, Vec<ConfigEntry>>, Error> {
        let mut outcomes = Outcomes::new();
        for (to, batch) in batches(resources) {
            let request = |version| {
                let resource = |resource: &&ConfigResource| {
                    let mut asked = DescribeConfigsResource::default();
                    asked.resource_type = resource.kind();
                    asked.resource_name = resource.name().into();
                    let names = |keys: &[&str]| keys.iter().map(|key| (*key).into()).collect();
                    asked.configuration_keys = keys.map(names);
                    asked
                };
                let mut request = DescribeConfigsRequest::default();
                request.resources = batch.iter().map(resource).collect();
                request.include_documentation = with_documentation && version >= DOCUMENTED;
                request
            };
            let told = self.call(to, Lost::AskAgain, request, |answer| {
                let mut told = Outcomes::new();
                for result in answer.read()?.results {
                    let kind = result.resource_type;
                    let Some(resource) = ConfigResource::of(kind, result.resource_name) else {
                        continue;
                    };
                    let outcome = refuse(result.error_code, || {
                        because(format!("to describe {resource}"), result.error_message)
                    });
                    let entries = result.configs.into_iter().map(|config| ConfigEntry {
                        name: config.name.to_owned(),
                        value: config.value.map(str::to_owned),
                        source: ConfigSource::of(config.config_source),
                        read_only: config.read_only,
                        sensitive: config.is_sensitive,
                        documentation: config
                            .documentation
                            .filter(|text| !text.is_empty())
                            .map(str::to_owned),
                    });
                    let mut entries: Vec<_> = entries.collect();
                    entries.sort_by(|a, b| a.name.cmp(&b.name));
                    told.insert(resource, outcome.map(|()| entries));
                }
                Ok(told)
            });
            outcomes.extend(told.await?);
        }
        Ok(outcomes)
    }

    /// Changes configurations key by key, of each resource all keys or none; with `validate_only`
    /// only says whether it would.
    pub async fn alter_configs(
        &self,
        changes: &BTreeMap<ConfigResource, Vec<ConfigChange>>,
        validate_only: bool,
    ) -> Result<Outcomes<ConfigResource, ()>, Error> {
        let resources: Vec<_> = changes.keys().cloned().collect();
        let mut outcomes = Outcomes::new();
        for (to, batch) in batches(&resources) {
            let request = |_| {
                let resource = |resource: &&ConfigResource| {
                    let mut asked = AlterConfigsResource::default();
                    asked.resource_type = resource.kind();
                    asked.resource_name = resource.name().into();
                    let changes = changes.get(*resource).into_iter().flatten();
                    asked.configs = changes.map(ConfigChange::wire).collect();
                    asked
                };
                let mut request = IncrementalAlterConfigsRequest::default();
                request.resources = batch.iter().map(resource).collect();
                request.validate_only = validate_only;
                request
            };
            // Of a list that is added to twice the second time adds nothing.
            let told = self.call(to, Lost::AskAgain, request, |answer| {
                let mut told = Outcomes::new();
                for result in answer.read()?.responses {
                    let kind = result.resource_type;
                    if let Some(resource) = ConfigResource::of(kind, result.resource_name) {
                        let outcome = refuse(result.error_code, || {
                            because(format!("to configure {resource}"), result.error_message)
                        });
                        told.insert(resource, outcome);
                    }
                }
                super::topics::not_the_controller(&told)?;
                Ok(told)
            });
            outcomes.extend(told.await?);
        }
        Ok(outcomes)
    }

    /// What has a configuration of its own. Brokers before Kafka 4.1 tell of client metrics only.
    pub async fn list_config_resources(&self) -> Result<Vec<ConfigResource>, Error> {
        let request = |_| ListConfigResourcesRequest::default();
        self.call(To::Any, Lost::AskAgain, request, |answer| {
            let answer = answer.read()?;
            refuse(answer.error_code, || "to list configurations".to_owned())?;
            let listed = answer.config_resources.into_iter();
            Ok(listed
                .filter_map(|one| ConfigResource::of(one.resource_type, one.resource_name))
                .collect())
        })
        .await
    }
}

/// What belongs to one broker each, and all else together.
fn batches(resources: &[ConfigResource]) -> Vec<(To, Vec<&ConfigResource>)> {
    let mut any = Vec::new();
    let mut brokers = BTreeMap::<i32, Vec<_>>::new();
    for resource in resources {
        match resource.place() {
            To::Broker(id) => brokers.entry(id).or_default().push(resource),
            To::Any | To::Controller => any.push(resource),
        }
    }
    let own = brokers.into_iter().map(|(id, own)| (To::Broker(id), own));
    let any = (!any.is_empty()).then_some((To::Any, any));
    own.chain(any).collect()
}
