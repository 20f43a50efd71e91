//! Listing a configuration for people and tools: every key with its value, where the value came
//! from, and the keys behind it, in Kafka's order. Values are shown as they were written.

use crate::BrokerConfig;
use crate::error::{ConfigError, Source};
use crate::key::{Key, Value};
use crate::table;
use crate::topic::{Overrides, TopicOverrides, broker_setting, converted};
use crate::values::Setting;

/// Where a listed value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The topic's own configuration.
    Topic,
    /// Set for this broker while it ran.
    Broker,
    /// Set for all brokers of the cluster while they ran.
    Cluster,
    /// The broker's file, environment or options.
    Static,
    /// The table.
    Default,
}

impl Origin {
    /// Kafka's id of the source in `DescribeConfigs`.
    pub const fn kafka_id(self) -> i8 {
        match self {
            Self::Topic => 1,
            Self::Broker => 2,
            Self::Cluster => 3,
            Self::Static => 4,
            Self::Default => 5,
        }
    }

    /// In words, for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Topic => "topic",
            Self::Broker => "broker, while it ran",
            Self::Cluster => "cluster, while it ran",
            Self::Static => "file, environment or option",
            Self::Default => "default",
        }
    }

    fn of(source: &Source) -> Self {
        match source {
            Source::Default => Self::Default,
            Source::File { .. } | Source::Environment(_) | Source::Set => Self::Static,
            Source::Cluster => Self::Cluster,
            Source::Broker => Self::Broker,
            Source::Topic => Self::Topic,
        }
    }
}

/// One of the values that a listed value was chosen from, strongest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SynonymValue {
    /// The key that this value is given by.
    pub name: &'static str,
    /// The value, in that key's unit.
    pub value: String,
    /// Where it comes from.
    pub origin: Origin,
}

/// One listed key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// Its row in the table: name, type, documentation.
    pub key: &'static Key,
    /// Its value; `None` is Kafka's null.
    pub value: Option<String>,
    /// Where the value comes from.
    pub origin: Origin,
    /// Only a start of the broker changes it.
    pub read_only: bool,
    /// All values that were set or stand by default for it, strongest first.
    pub synonyms: Vec<SynonymValue>,
}

impl BrokerConfig {
    /// Every broker key with its value, in the order of the table.
    pub fn describe(&self) -> Vec<Described> {
        table::broker_keys()
            .map(|key| self.describe_broker_key(key))
            .collect()
    }

    /// Every topic key with the value that it has for a topic with these values of its own. An
    /// error if those are not valid.
    pub fn describe_topic(&self, own: &TopicOverrides) -> Result<Vec<Described>, ConfigError> {
        for (name, text) in own {
            table::known_topic_key(name)?.parse(text, &Source::Topic)?;
        }
        Ok(table::topic_keys()
            .map(|key| self.describe_topic_key(key, own))
            .collect())
    }

    fn describe_broker_key(&self, key: &'static Key) -> Described {
        let names = table::broker_synonyms(key.name);
        let synonyms = self.layered(&names);
        let own = self.values().setting(key.name);
        let origin = own.map_or(Origin::Default, |setting| Origin::of(&setting.source));
        let default = key.default.map(str::to_owned);
        Described {
            key,
            value: own.map(|setting| setting.text.clone()).or(default),
            origin,
            read_only: key.is_read_only(),
            synonyms,
        }
    }

    fn describe_topic_key(&self, key: &'static Key, own: &TopicOverrides) -> Described {
        let mut synonyms = Vec::new();
        if let Some(text) = own.get(key.name) {
            let value = text.trim().to_owned();
            synonyms.push(SynonymValue {
                name: key.name,
                value,
                origin: Origin::Topic,
            });
        }
        let names: Vec<_> = key.synonyms().iter().map(|synonym| synonym.key).collect();
        synonyms.extend(self.layered(&names));
        let (value, origin) = if let Some(text) = own.get(key.name) {
            (Some(text.trim().to_owned()), Origin::Topic)
        } else if let Some((synonym, setting)) = broker_setting(key, self.values()) {
            // The value itself is in the topic key's unit, which may differ from the broker key's.
            let value = match converted(&setting.value, synonym.factor) {
                Value::Number(number) => number.to_string(),
                Value::Bool(_) | Value::Double(_) | Value::Text(_) | Value::List(_) => {
                    setting.text.clone()
                }
            };
            (Some(value), Origin::of(&setting.source))
        } else {
            (key.default.map(str::to_owned), Origin::Default)
        };
        Described {
            key,
            value,
            origin,
            read_only: false,
            synonyms,
        }
    }

    /// What was set for several keys for one thing, as Kafka lists it: the broker's values, the
    /// cluster's, those of its file, each in the order of the keys, and the defaults.
    fn layered(&self, names: &[&'static str]) -> Vec<SynonymValue> {
        let mut listed = Vec::new();
        for origin in [Origin::Broker, Origin::Cluster, Origin::Static] {
            for name in names {
                let layers = self.values().layers(name).iter();
                let of_origin = |setting: &&Setting| Origin::of(&setting.source) == origin;
                listed.extend(layers.filter(of_origin).map(|setting| SynonymValue {
                    name,
                    value: setting.text.clone(),
                    origin,
                }));
            }
        }
        for name in names {
            let layers = self.values().layers(name).iter();
            let mut chosen = layers.filter(|setting| setting.source == Source::Default);
            let chosen = chosen.next().map(|setting| setting.text.as_str());
            let default = table::broker_key(name).and_then(|key| key.default);
            listed.extend(chosen.or(default).map(|default| SynonymValue {
                name,
                value: default.to_owned(),
                origin: Origin::Default,
            }));
        }
        listed
    }
}

/// Every key of the cluster's own configuration, as Kafka lists the default of all brokers: those
/// that were set, and nothing behind them.
pub fn describe_cluster(set: &Overrides) -> Vec<Described> {
    let described = |(name, value): (&String, &String)| {
        let key = table::broker_key(name)?;
        let synonym = SynonymValue {
            name: key.name,
            value: value.clone(),
            origin: Origin::Cluster,
        };
        Some(Described {
            key,
            value: Some(value.clone()),
            origin: Origin::Cluster,
            read_only: key.is_read_only(),
            synonyms: vec![synonym],
        })
    };
    set.iter().filter_map(described).collect()
}
