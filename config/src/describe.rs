//! Listing a configuration for people and tools: every key with its value, where the value came
//! from, and the keys behind it. Values are shown as they were written.

use crate::BrokerConfig;
use crate::error::{ConfigError, Source};
use crate::key::{Key, Scope, Value};
use crate::table;
use crate::topic::{TopicOverrides, broker_setting, converted};

/// Where a listed value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The topic's own configuration.
    Topic,
    /// The broker's file, environment or options.
    Broker,
    /// The table.
    Default,
}

impl Origin {
    /// Kafka's id of the source in `DescribeConfigs`.
    pub const fn kafka_id(self) -> i8 {
        match self {
            Self::Topic => 1,
            Self::Broker => 4,
            Self::Default => 5,
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
        let mut synonyms = Vec::new();
        if let Some(set) = self.values().setting(key.name) {
            let value = set.text.clone();
            synonyms.push(SynonymValue {
                name: key.name,
                value,
                origin: Origin::Broker,
            });
        }
        push_default(&mut synonyms, key.name, key.default);
        // Changing a running broker's keys is Kafka's "dynamic"; nothing here does that yet.
        described(key, synonyms, true)
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
        let set = broker_setting(key, self.values());
        if let Some((synonym, setting)) = set {
            let value = setting.text.clone();
            synonyms.push(SynonymValue {
                name: synonym.key,
                value,
                origin: Origin::Broker,
            });
        }
        let behind = key.synonyms().iter().find_map(|synonym| {
            let default = table::broker_key(synonym.key)?.default?;
            Some((synonym.key, default))
        });
        let (name, default) = behind.map_or((key.name, key.default), |(n, d)| (n, Some(d)));
        push_default(&mut synonyms, name, default);
        let mut listed = described(key, synonyms, false);
        // The value itself is in the topic key's unit, which may differ from the broker key's.
        listed.value = match (listed.origin, set) {
            (Origin::Topic, _) => listed.value,
            (Origin::Broker | Origin::Default, Some((synonym, setting))) => {
                match converted(&setting.value, synonym.factor) {
                    Value::Number(number) => Some(number.to_string()),
                    Value::Bool(_) | Value::Text(_) | Value::List(_) => listed.value,
                }
            }
            (Origin::Broker | Origin::Default, None) => key.default.map(str::to_owned),
        };
        listed
    }
}

fn push_default(
    synonyms: &mut Vec<SynonymValue>,
    name: &'static str,
    default: Option<&'static str>,
) {
    if let Some(default) = default {
        let value = default.to_owned();
        synonyms.push(SynonymValue {
            name,
            value,
            origin: Origin::Default,
        });
    }
}

fn described(key: &'static Key, synonyms: Vec<SynonymValue>, read_only: bool) -> Described {
    debug_assert!(
        read_only != matches!(key.scope, Scope::Topic(_)),
        "topics' keys change"
    );
    let strongest = synonyms.first();
    Described {
        key,
        value: strongest.map(|synonym| synonym.value.clone()),
        origin: strongest.map_or(Origin::Default, |synonym| synonym.origin),
        read_only,
        synonyms,
    }
}
