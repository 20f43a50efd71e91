//! What has a configuration, and what is checked before one is changed: Kafka's `ConfigAdminManager`.

use std::collections::{BTreeMap, BTreeSet};

use millrace_config::Fixed;
use millrace_core::cluster::{AlterConfigs, ConfigChange, Configured, Image, Refusal};
use millrace_protocol::error_code::ErrorCode;

use super::broker_loggers;
use super::config_kinds::{Change, Kind, check_broker, refusal};
use super::error::metadata_error;
use crate::context::{Operation, RequestContext, Resource};
use crate::net::{Doors, Prepared, Turn};

/// One resource of a request to change configurations.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish<'a, C> {
    /// The kind, as it stands in the request.
    pub(super) resource_type: i8,
    /// The name.
    pub(super) name: &'a str,
    /// Its changes.
    pub(super) changes: C,
}

/// Runs a request to change configurations: an outcome for each resource, in the request's order.
/// What was changed is in effect when it ends.
pub(super) async fn alter<'a, C>(
    context: &RequestContext,
    wishes: impl Iterator<Item = Wish<'a, C>> + Clone,
    (replaces, validate_only): (bool, bool),
) -> Vec<Result<(), Refusal>>
where
    C: Iterator<Item = Change<'a>> + Clone,
{
    let mut times: BTreeMap<(i8, &str), usize> = BTreeMap::new();
    for wish in wishes.clone() {
        *times.entry((wish.resource_type, wish.name)).or_default() += 1;
    }
    let mut outcomes = Vec::new();
    let (mut wanted, mut places) = (Vec::new(), Vec::new());
    for (place, wish) in wishes.enumerate() {
        let checked = if times[&(wish.resource_type, wish.name)] > 1 {
            let words = "Each resource must appear at most once.";
            Err(refusal(ErrorCode::InvalidRequest, words))
        } else if wish.resource_type == Kind::BrokerLogger.kafka_id() && !replaces {
            // This process's own, and not of the metadata.
            outcomes.push(alter_loggers(context, &wish, validate_only));
            continue;
        } else if let Some(fixed) = fixed_rows(wish.resource_type) {
            // Nothing but defaults is taken: there is nothing to keep.
            outcomes.push(alter_fixed(context, &wish, fixed));
            continue;
        } else {
            checked(context, &wish, replaces)
        };
        outcomes.push(checked.map(|checked| {
            wanted.push(checked);
            places.push(place);
        }));
    }
    let node = &context.node;
    let doors = node.doors();
    let mut opening = Opening::default();
    if let (Some(doors), false) = (&doors, validate_only) {
        let mut kept = Vec::new();
        for (place, one) in std::mem::take(&mut places).into_iter().zip(wanted) {
            match opening.prepare(context, doors, &one).await {
                Ok(()) => {
                    places.push(place);
                    kept.push(one);
                }
                Err(refused) => outcomes[place] = Err(refused),
            }
        }
        wanted = kept;
    }
    let before = node.cluster.image();
    let altered = node
        .cluster
        .alter_configs(&node.config, &wanted, validate_only)
        .await;
    let altered = altered.unwrap_or_else(|error| {
        let (code, message) = metadata_error(&error);
        vec![Err(Refusal { code, message }); wanted.len()]
    });
    for ((place, wanted), outcome) in places.into_iter().zip(&wanted).zip(altered) {
        if outcome.is_ok() && !validate_only {
            put_in_effect(context, wanted, &before);
        }
        outcomes[place] = outcome;
    }
    if let Some((turn, prepared)) = opening.0 {
        turn.follow(&node.live_config().network, prepared);
    }
    outcomes
}

/// Whether a change may open or close listeners, or needs the address of a host.
fn concerns_network(wanted: &AlterConfigs) -> bool {
    const KEYS: [&str; 3] = [
        "listeners",
        "listener.security.protocol.map",
        "max.connections.per.ip.overrides",
    ];
    let named = |key: &str| wanted.changes.iter().any(|(name, _)| name == key);
    wanted.kind == Configured::Broker && (wanted.replaces || KEYS.into_iter().any(named))
}

/// What changes of this broker's configuration, and of all brokers', need before they are made:
/// listeners that are bound, addresses that were looked up.
#[derive(Default)]
struct Opening<'a>(Option<(Turn<'a>, Prepared)>);

impl<'a> Opening<'a> {
    /// Readies what one change needs, or says why it can't be made. What is refused anyway needs
    /// nothing.
    async fn prepare(
        &mut self,
        context: &RequestContext,
        doors: &'a Doors,
        wanted: &AlterConfigs,
    ) -> Result<(), Refusal> {
        if !concerns_network(wanted) {
            return Ok(());
        }
        if self.0.is_none() {
            self.0 = Some((doors.turn().await, Prepared::default()));
        }
        let node = &context.node;
        let next = node.cluster.configured_by(&node.config, wanted);
        let (Some((turn, prepared)), Some(next)) = (&mut self.0, next) else {
            return Ok(());
        };
        let had = turn.prepare(&next.network, prepared).await;
        had.map_err(|error| refusal(ErrorCode::InvalidRequest, &error.to_string()))
    }
}

fn put_in_effect(context: &RequestContext, wanted: &AlterConfigs, before: &Image) {
    let node = &context.node;
    let (kind, name) = (wanted.kind, &wanted.name);
    // MirrorMaker names all the keys of all its topics, again and again.
    let keys = changed_keys(wanted, before, &node.cluster.image());
    if !keys.is_empty() {
        tracing::info!(?kind, name, ?keys, "configuration changed");
    }
    match kind {
        Configured::Broker => node.configure(None),
        Configured::Topic => {
            // One that is gone by now needs nothing.
            if let Some(topic) = node.cluster.image().topic_named(name) {
                node.configure(Some(topic.id));
            }
        }
    }
}

/// The keys of a resource that are set otherwise in one image than in another.
fn changed_keys(wanted: &AlterConfigs, before: &Image, after: &Image) -> BTreeSet<String> {
    let owned = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
    let [before, after]: [BTreeSet<_>; 2] = [before, after].map(|image| match wanted.kind {
        Configured::Topic => image.topic_config(&wanted.name).map(owned).collect(),
        Configured::Broker => image.broker_config(&wanted.name).map(owned).collect(),
    });
    let changed = before.symmetric_difference(&after);
    changed.map(|(key, _)| key.clone()).collect()
}

fn checked<'a, C: Iterator<Item = Change<'a>> + Clone>(
    context: &RequestContext,
    wish: &Wish<'a, C>,
    replaces: bool,
) -> Result<AlterConfigs, Refusal> {
    let kind = Kind::from_kafka(wish.resource_type)?;
    authorized(context, kind, wish.name)?;
    let changes = changes(wish.changes.clone())?;
    let none = |words: &str| Err(refusal(ErrorCode::InvalidRequest, words));
    let kind = match kind {
        Kind::Topic => Configured::Topic,
        Kind::Broker => {
            if !wish.name.is_empty() {
                check_broker(wish.name, context.node.config.node.id)?;
            }
            Configured::Broker
        }
        Kind::BrokerLogger => {
            return none("Unexpected resource type BROKER_LOGGER.");
        }
        Kind::ClientMetrics | Kind::Group => {
            return none("Unexpected resource type.");
        }
    };
    Ok(AlterConfigs {
        kind,
        name: wish.name.to_owned(),
        replaces,
        changes,
    })
}

fn alter_loggers<'a, C: Iterator<Item = Change<'a>> + Clone>(
    context: &RequestContext,
    wish: &Wish<'a, C>,
    validate_only: bool,
) -> Result<(), Refusal> {
    authorized(context, Kind::BrokerLogger, wish.name)?;
    // Each once, and with a value where one is needed.
    changes(wish.changes.clone())?;
    check_broker(wish.name, context.node.config.node.id)?;
    broker_loggers::alter(context, wish.changes.clone(), validate_only)
}

/// Of which kinds nothing but defaults is taken.
fn fixed_rows(resource_type: i8) -> Option<Fixed> {
    match Kind::from_kafka(resource_type).ok()? {
        Kind::ClientMetrics => Some(Fixed::ClientMetrics),
        Kind::Group => Some(Fixed::Group),
        Kind::Topic | Kind::Broker | Kind::BrokerLogger => None,
    }
}

fn alter_fixed<'a, C: Iterator<Item = Change<'a>> + Clone>(
    context: &RequestContext,
    wish: &Wish<'a, C>,
    fixed: Fixed,
) -> Result<(), Refusal> {
    let (kind, nobody, unknown) = match fixed {
        Fixed::Group => (
            Kind::Group,
            "Default group resources are not allowed.",
            ErrorCode::InvalidConfig,
        ),
        Fixed::ClientMetrics => (
            Kind::ClientMetrics,
            "Subscription name can't be empty",
            ErrorCode::InvalidRequest,
        ),
    };
    authorized(context, kind, wish.name)?;
    if wish.name.is_empty() {
        return Err(refusal(ErrorCode::InvalidRequest, nobody));
    }
    for (key, change) in changes(wish.changes.clone())? {
        let value = match &change {
            ConfigChange::Delete => None,
            // A list with something taken out of its default, which is empty, stays that.
            ConfigChange::Subtract(_) => Some(""),
            ConfigChange::Set(value) | ConfigChange::Append(value) => Some(value.as_str()),
        };
        fixed.check(&key, value).map_err(|(is_known, words)| {
            let code = if is_known {
                ErrorCode::InvalidConfig
            } else {
                unknown
            };
            refusal(code, &words)
        })?;
    }
    Ok(())
}

fn authorized(context: &RequestContext, kind: Kind, name: &str) -> Result<(), Refusal> {
    let (resource, code, words) = match kind {
        Kind::Topic => (
            Resource::Topic(name),
            ErrorCode::TopicAuthorizationFailed,
            "Topic authorization failed.",
        ),
        Kind::Broker | Kind::BrokerLogger | Kind::ClientMetrics | Kind::Group => (
            Resource::Cluster,
            ErrorCode::ClusterAuthorizationFailed,
            "Cluster authorization failed.",
        ),
    };
    if context.authorize(Operation::AlterConfigs, resource) {
        Ok(())
    } else {
        Err(refusal(code, words))
    }
}

/// The changes, each key once and with a value where one is needed.
fn changes<'a>(
    asked: impl Iterator<Item = Change<'a>>,
) -> Result<Vec<(String, ConfigChange)>, Refusal> {
    let invalid = |words: &str| refusal(ErrorCode::InvalidRequest, words);
    let mut seen = BTreeSet::new();
    let mut changes = Vec::new();
    for (key, operation, value) in asked {
        if !seen.insert(key) {
            return Err(invalid("Error due to duplicate config keys"));
        }
        let given = || {
            let words = || invalid(&format!("Null value not supported for : {key}"));
            value.map(str::to_owned).ok_or_else(words)
        };
        let change = match operation {
            0 => ConfigChange::Set(given()?),
            1 => ConfigChange::Delete,
            2 => ConfigChange::Append(given()?),
            3 => ConfigChange::Subtract(given()?),
            other => return Err(invalid(&format!("Unknown operation type id {other}."))),
        };
        changes.push((key.to_owned(), change));
    }
    Ok(changes)
}

#[cfg(test)]
mod tests {
    use millrace_protocol::metadata::{ConfigRecord, MetadataRecord};

    use super::*;

    #[test]
    fn only_keys_that_are_set_otherwise_count_as_changed() {
        let image = |records: &[(&str, Option<&str>)], from: &Image| {
            let records = records.iter().map(|(key, value)| {
                MetadataRecord::Config(ConfigRecord {
                    resource_type: Kind::Broker.kafka_id(),
                    resource_name: "1".to_owned(),
                    name: (*key).to_owned(),
                    value: value.map(str::to_owned),
                })
            });
            from.replay_all(from.offset() + 1, &records.collect::<Vec<_>>())
                .unwrap()
        };
        let set = [
            ("kept", Some("1")),
            ("other", Some("1")),
            ("gone", Some("1")),
        ];
        let before = image(&set, &Image::default());
        let change = [("other", Some("2")), ("gone", None), ("new", Some("1"))];
        let after = image(&change, &before);
        let wanted = AlterConfigs {
            kind: Configured::Broker,
            name: "1".to_owned(),
            replaces: false,
            changes: Vec::new(),
        };
        let changed = changed_keys(&wanted, &before, &after);
        assert_eq!(Vec::from_iter(changed), ["gone", "new", "other"]);
        assert!(changed_keys(&wanted, &after, &after).is_empty());
    }
}
