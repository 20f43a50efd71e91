//! Changing configurations: what a request makes of what is set (Kafka's
//! `ConfigurationControlManager`; KIP-133, KIP-339).

use std::collections::{BTreeMap, BTreeSet};

use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::metadata::{ConfigRecord, MetadataRecord};

use super::topics::Refusal;
use super::{Image, check_topic_name};

/// Longest value, in bytes (Kafka's records hold no longer ones).
const VALUE_BYTES_MAX: usize = 32_767;

/// What has a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Configured {
    /// A topic, by name.
    Topic,
    /// A broker, by its node id as text; the empty name stands for all of them.
    Broker,
}

impl Configured {
    /// Kafka's number of the kind, in requests and in records.
    pub const fn kafka_id(self) -> i8 {
        match self {
            Self::Topic => 2,
            Self::Broker => 4,
        }
    }
}

/// One change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigChange {
    /// It is this from now on.
    Set(String),
    /// It is not set any more.
    Delete,
    /// These items, between commas, join those that are there.
    Append(String),
    /// These items, between commas, are taken out.
    Subtract(String),
}

/// What a request wants of one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlterConfigs {
    /// What it is.
    pub kind: Configured,
    /// Its name.
    pub name: String,
    /// Whether everything that isn't named here is unset (`AlterConfigs`), or stays as it is.
    pub replaces: bool,
    /// The changes, each key once.
    pub changes: Vec<(String, ConfigChange)>,
}

/// What is known of keys; the caller has the table of them.
pub trait ConfigRules {
    /// The default of a key that is a list; `None` for any other key.
    fn list_default(&self, kind: Configured, key: &str) -> Option<String>;
    /// Whether a resource may have this configuration, in which `set` were set.
    fn check(
        &mut self,
        wanted: &AlterConfigs,
        after: &BTreeMap<String, String>,
        set: &BTreeSet<&str>,
    ) -> Result<(), Refusal>;
}

/// Decides a request to change configurations: an outcome for each resource, and the records of
/// those that may be changed. What stays as it was needs no record.
pub fn alter_configs(
    image: &Image,
    requests: &[AlterConfigs],
    rules: &mut dyn ConfigRules,
) -> (Vec<Result<(), Refusal>>, Vec<MetadataRecord>) {
    let mut records = Vec::new();
    let outcomes = requests
        .iter()
        .map(|request| alter(image, request, rules).map(|mut made| records.append(&mut made)))
        .collect();
    (outcomes, records)
}

fn alter(
    image: &Image,
    request: &AlterConfigs,
    rules: &mut dyn ConfigRules,
) -> Result<Vec<MetadataRecord>, Refusal> {
    let before: BTreeMap<String, String> = image
        .resource_config(request.kind.kafka_id(), &request.name)
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    let mut after = if request.replaces {
        BTreeMap::new()
    } else {
        before.clone()
    };
    let mut set = BTreeSet::new();
    for (key, change) in &request.changes {
        match change {
            ConfigChange::Set(value) => {
                after.insert(key.clone(), value.clone());
            }
            ConfigChange::Delete => {
                after.remove(key);
                continue;
            }
            ConfigChange::Append(items) | ConfigChange::Subtract(items) => {
                let Some(default) = rules.list_default(request.kind, key) else {
                    return Err(not_a_list(key, change));
                };
                let now = after.get(key).cloned().unwrap_or(default);
                let append = matches!(change, ConfigChange::Append(_));
                after.insert(key.clone(), list_changed(&now, items, append));
            }
        }
        set.insert(key.as_str());
    }
    check_there(image, request)?;
    if after.values().any(|value| value.len() > VALUE_BYTES_MAX) {
        let message = format!("A value has at most {VALUE_BYTES_MAX} bytes.");
        return Err(Refusal::new(ErrorCode::InvalidConfig, message));
    }
    rules.check(request, &after, &set)?;
    let record = |name: &String, value: Option<&String>| {
        MetadataRecord::Config(ConfigRecord {
            resource_type: request.kind.kafka_id(),
            resource_name: request.name.clone(),
            name: name.clone(),
            value: value.cloned(),
        })
    };
    let gone = before.keys().filter(|key| !after.contains_key(*key));
    let gone = gone.map(|key| record(key, None));
    let new = after
        .iter()
        .filter(|(key, value)| before.get(*key) != Some(*value))
        .map(|(key, value)| record(key, Some(value)));
    Ok(gone.chain(new).collect())
}

fn check_there(image: &Image, request: &AlterConfigs) -> Result<(), Refusal> {
    let name = &request.name;
    match request.kind {
        Configured::Broker => Ok(()),
        Configured::Topic if name.is_empty() => Err(Refusal::new(
            ErrorCode::InvalidRequest,
            "Default topic resources are not allowed.",
        )),
        Configured::Topic => {
            check_topic_name(name).map_err(|error| {
                Refusal::new(ErrorCode::InvalidTopicException, error.to_string())
            })?;
            if image.topic_named(name).is_some() {
                return Ok(());
            }
            let message = format!("The topic '{name}' does not exist.");
            Err(Refusal::new(ErrorCode::UnknownTopicOrPartition, message))
        }
    }
}

fn not_a_list(key: &str, change: &ConfigChange) -> Refusal {
    let operation = match change {
        ConfigChange::Subtract(_) => "SUBTRACT",
        ConfigChange::Append(_) | ConfigChange::Set(_) | ConfigChange::Delete => "APPEND",
    };
    let message = format!("Can't {operation} to key {key} because its type is not LIST.");
    Refusal::new(ErrorCode::InvalidConfig, message)
}

fn list_changed(now: &str, items: &str, append: bool) -> String {
    let split = |text: &str| -> Vec<String> {
        let items = text.split(',').map(|item| item.trim().to_owned());
        items.filter(|item| !item.is_empty()).collect()
    };
    let mut list = split(now);
    for item in split(items) {
        if append && !list.contains(&item) {
            list.push(item);
        } else if !append {
            list.retain(|there| *there != item);
        }
    }
    list.join(",")
}

#[cfg(test)]
mod tests {
    use millrace_protocol::ids::TopicId;
    use millrace_protocol::metadata::TopicRecord;

    use super::*;

    /// Lists begin with `l`; the value `bad` is never good.
    struct Rules;

    impl ConfigRules for Rules {
        fn list_default(&self, _: Configured, key: &str) -> Option<String> {
            key.starts_with('l').then(|| "d".to_owned())
        }

        fn check(
            &mut self,
            _: &AlterConfigs,
            after: &BTreeMap<String, String>,
            set: &BTreeSet<&str>,
        ) -> Result<(), Refusal> {
            assert!(set.iter().all(|key| after.contains_key(*key)));
            let bad = after.values().any(|value| value == "bad");
            let refusal = Refusal::new(ErrorCode::InvalidConfig, "bad");
            if bad { Err(refusal) } else { Ok(()) }
        }
    }

    fn image() -> Image {
        let topic = MetadataRecord::Topic(TopicRecord {
            name: "t".to_owned(),
            topic_id: TopicId::from_bytes([9; 16]),
        });
        Image::default().replay_all(0, &[topic]).unwrap()
    }

    fn wish(name: &str, replaces: bool, changes: &[(&str, ConfigChange)]) -> AlterConfigs {
        let changes = changes.iter();
        AlterConfigs {
            kind: Configured::Topic,
            name: name.to_owned(),
            replaces,
            changes: changes
                .map(|(key, change)| ((*key).to_owned(), change.clone()))
                .collect(),
        }
    }

    fn set(value: &str) -> ConfigChange {
        ConfigChange::Set(value.to_owned())
    }

    fn configured(image: &Image) -> Vec<(&str, &str)> {
        let mut all: Vec<_> = image
            .topic_config("t")
            .map(|(key, value)| (key.to_owned().leak() as &str, value))
            .collect();
        all.sort_unstable();
        all
    }

    fn after(image: &Image, request: AlterConfigs) -> (usize, Image) {
        let (outcomes, records) = alter_configs(image, &[request], &mut Rules);
        assert_eq!(outcomes, [Ok(())]);
        let next = image.replay_all(image.offset() + 1, &records).unwrap();
        (records.len(), next)
    }

    #[test]
    fn single_keys_change_and_the_rest_stays() {
        let (_, one) = after(
            &image(),
            wish("t", false, &[("a", set("1")), ("b", set("2"))]),
        );
        let changes = [
            ("a", set("1")),
            ("b", ConfigChange::Delete),
            ("c", set("3")),
        ];
        let (records, two) = after(&one, wish("t", false, &changes));
        assert_eq!(records, 2, "what stays as it was needs no record");
        assert_eq!(configured(&two), [("a", "1"), ("c", "3")]);
        let gone = ConfigChange::Delete;
        let (records, same) = after(&two, wish("t", false, &[("never.set", gone)]));
        assert_eq!((records, configured(&same)), (0, configured(&two)));
    }

    #[test]
    fn a_replacement_unsets_what_it_does_not_name() {
        let (_, one) = after(
            &image(),
            wish("t", false, &[("a", set("1")), ("b", set("2"))]),
        );
        let (_, two) = after(&one, wish("t", true, &[("b", set("3"))]));
        assert_eq!(configured(&two), [("b", "3")]);
    }

    #[test]
    fn lists_grow_and_shrink_from_their_default_and_others_do_not() {
        let append = |items: &str| ConfigChange::Append(items.to_owned());
        let subtract = |items: &str| ConfigChange::Subtract(items.to_owned());
        let (_, one) = after(&image(), wish("t", false, &[("l", append("e, f,e"))]));
        assert_eq!(configured(&one), [("l", "d,e,f")]);
        let (records, _) = after(&one, wish("t", false, &[("l", append("e"))]));
        assert_eq!(records, 0);
        let (_, two) = after(&one, wish("t", false, &[("l", subtract("d,e,x"))]));
        assert_eq!(configured(&two), [("l", "f")]);
        let (_, none) = after(&two, wish("t", false, &[("l", subtract("f"))]));
        assert_eq!(configured(&none), [("l", "")]);
        let request = wish("t", false, &[("a", subtract("x"))]);
        let (outcomes, records) = alter_configs(&two, &[request], &mut Rules);
        let refusal = outcomes[0].clone().unwrap_err();
        assert_eq!(refusal.code, ErrorCode::InvalidConfig);
        assert!(refusal.message.contains("Can't SUBTRACT to key a"));
        assert_eq!(records, []);
    }

    #[test]
    fn each_resource_has_its_own_outcome() {
        let long = "1".repeat(VALUE_BYTES_MAX + 1);
        let requests = [
            wish("t", false, &[("a", set(&long))]),
            wish("nope", false, &[("a", set("1"))]),
            wish("t", false, &[("a", set("bad"))]),
            wish("", false, &[("a", set("1"))]),
            wish("no pe", false, &[("a", set("1"))]),
            wish("t", false, &[("a", set("1"))]),
        ];
        let (outcomes, records) = alter_configs(&image(), &requests, &mut Rules);
        let codes: Vec<_> = outcomes
            .iter()
            .map(|outcome| outcome.as_ref().err())
            .collect();
        let codes: Vec<_> = codes.into_iter().map(|r| r.map(|r| r.code)).collect();
        let expected = [
            Some(ErrorCode::InvalidConfig),
            Some(ErrorCode::UnknownTopicOrPartition),
            Some(ErrorCode::InvalidConfig),
            Some(ErrorCode::InvalidRequest),
            Some(ErrorCode::InvalidTopicException),
            None,
        ];
        assert_eq!(codes, expected);
        assert_eq!(records.len(), 1);
    }

    #[test]
    fn brokers_configurations_come_back_from_a_snapshot_and_are_counted_by_offset() {
        let request = AlterConfigs {
            kind: Configured::Broker,
            ..wish("", false, &[("a", set("1"))])
        };
        let (_, one) = after(&image(), request);
        assert_eq!(image().broker_config_offset(), -1);
        assert_eq!(one.broker_config_offset(), one.offset());
        let again = Image::default().replay_all(0, &one.to_records()).unwrap();
        assert_eq!(again.broker_config("").collect::<Vec<_>>(), [("a", "1")]);
        assert!(again.broker_config_offset() >= 0);
    }
}
