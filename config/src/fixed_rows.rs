//! What groups and client metrics can be configured to by Kafka's tools. This version acts as the
//! defaults say and takes nothing else: groups of Kafka's newer protocols, share groups and streams
//! groups aren't there yet, and no metrics are taken from clients.
//!
//! What always holds: every row takes its default only, so nothing that was asked for is forgotten.

use crate::describe::{Described, Origin, SynonymValue};
use crate::key::{Check, Key, Kind};

/// What has such a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fixed {
    /// A group.
    Group,
    /// A subscription of clients' metrics.
    ClientMetrics,
}

const fn row(name: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Key {
    Key::kafka(name, kind, Some(default), doc)
        .dynamic()
        .default_only()
}

/// A key of groups, and the broker's for the same thing, of whose default it is.
type GroupRow = (Key, Option<&'static str>);

const GROUP: &[GroupRow] = &[
    (
        row(
            "consumer.assignment.interval.ms",
            Kind::Int,
            "1000",
            "Least time between two assignments of a group of the newer consumer protocol.",
        ),
        Some("group.consumer.assignment.interval.ms"),
    ),
    (
        row(
            "consumer.heartbeat.interval.ms",
            Kind::Int,
            "5000",
            "How often members of the newer consumer protocol tell that they live.",
        ),
        Some("group.consumer.heartbeat.interval.ms"),
    ),
    (
        row(
            "consumer.session.timeout.ms",
            Kind::Int,
            "45000",
            "A member of the newer consumer protocol that isn't heard of for this time is out.",
        ),
        Some("group.consumer.session.timeout.ms"),
    ),
    (
        row(
            "share.assignment.interval.ms",
            Kind::Int,
            "1000",
            "Least time between two assignments of a share group.",
        ),
        Some("group.share.assignment.interval.ms"),
    ),
    (
        row(
            "share.auto.offset.reset",
            Kind::Text,
            "latest",
            "Where a share group begins.",
        ),
        None,
    ),
    (
        row(
            "share.delivery.count.limit",
            Kind::Int,
            "5",
            "How often a record is given to members of a share group.",
        ),
        Some("group.share.delivery.count.limit"),
    ),
    (
        row(
            "share.heartbeat.interval.ms",
            Kind::Int,
            "5000",
            "How often members of a share group tell that they live.",
        ),
        Some("group.share.heartbeat.interval.ms"),
    ),
    (
        row(
            "share.isolation.level",
            Kind::Text,
            "read_uncommitted",
            "Whether a share group sees records of open transactions.",
        ),
        None,
    ),
    (
        row(
            "share.partition.max.record.locks",
            Kind::Int,
            "2000",
            "Most records of a partition that members of a share group hold at once.",
        ),
        Some("group.share.partition.max.record.locks"),
    ),
    (
        row(
            "share.record.lock.duration.ms",
            Kind::Int,
            "30000",
            "How long a member of a share group holds a record.",
        ),
        Some("group.share.record.lock.duration.ms"),
    ),
    (
        row(
            "share.renew.acknowledge.enable",
            Kind::Bool,
            "true",
            "Whether members of a share group may hold a record for longer.",
        ),
        None,
    ),
    (
        row(
            "share.session.timeout.ms",
            Kind::Int,
            "45000",
            "A member of a share group that isn't heard of for this time is out.",
        ),
        Some("group.share.session.timeout.ms"),
    ),
    (
        row(
            "streams.assignment.interval.ms",
            Kind::Int,
            "1000",
            "Least time between two assignments of a streams group.",
        ),
        Some("group.streams.assignment.interval.ms"),
    ),
    (
        row(
            "streams.heartbeat.interval.ms",
            Kind::Int,
            "5000",
            "How often members of a streams group tell that they live.",
        ),
        Some("group.streams.heartbeat.interval.ms"),
    ),
    (
        row(
            "streams.initial.rebalance.delay.ms",
            Kind::Int,
            "3000",
            "How long a streams group that begins waits for more members.",
        ),
        Some("group.streams.initial.rebalance.delay.ms"),
    ),
    (
        row(
            "streams.num.standby.replicas",
            Kind::Int,
            "0",
            "Standby replicas of each task of a streams group.",
        ),
        Some("group.streams.num.standby.replicas"),
    ),
    (
        row(
            "streams.session.timeout.ms",
            Kind::Int,
            "45000",
            "A member of a streams group that isn't heard of for this time is out.",
        ),
        Some("group.streams.session.timeout.ms"),
    ),
];

const CLIENT_METRICS: &[Key] = &[
    row(
        "interval.ms",
        Kind::Int,
        "300000",
        "How often clients send their metrics.",
    )
    .check(Check::Between(100, 3_600_000)),
    row("match", Kind::List, "", "Which clients send metrics."),
    row("metrics", Kind::List, "", "Which metrics clients send."),
];

impl Fixed {
    fn keys(self) -> Vec<(&'static Key, Option<&'static str>)> {
        match self {
            Self::Group => GROUP.iter().map(|(key, behind)| (key, *behind)).collect(),
            Self::ClientMetrics => CLIENT_METRICS.iter().map(|key| (key, None)).collect(),
        }
    }

    /// How many keys it has.
    pub const fn count(self) -> usize {
        match self {
            Self::Group => GROUP.len(),
            Self::ClientMetrics => CLIENT_METRICS.len(),
        }
    }

    /// Every key with its value, in the order of their names.
    pub fn describe(self) -> Vec<Described> {
        self.keys()
            .into_iter()
            .map(|(key, behind)| {
                let value = key.default.unwrap_or_default().to_owned();
                let synonym = SynonymValue {
                    name: behind.unwrap_or(key.name),
                    value: value.clone(),
                    origin: Origin::Default,
                };
                // Kafka lists what is behind a group's only.
                let listed = self == Self::Group;
                Described {
                    key,
                    value: Some(value),
                    origin: Origin::Default,
                    read_only: false,
                    synonyms: listed.then_some(synonym).into_iter().collect(),
                }
            })
            .collect()
    }

    /// Whether the key may be set to that, or, with no value, back to its default; else why not, and
    /// whether there is such a key.
    pub fn check(self, name: &str, value: Option<&str>) -> Result<(), (bool, String)> {
        let known = self.keys().into_iter().find(|(key, _)| key.name == name);
        let Some((key, _)) = known else {
            let what = match self {
                Self::Group => "Unknown group config name",
                Self::ClientMetrics => "Unknown client metrics configuration",
            };
            return Err((false, format!("{what}: {}", name.escape_debug())));
        };
        match value {
            Some(value) if !key.takes(value) => {
                let value = value.escape_debug();
                Err((
                    true,
                    format!("{name}={value} is refused: {name} takes {}", key.allowed()),
                ))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::not_in_effect;

    #[test]
    fn nothing_but_the_default_is_taken_of_any_key() {
        for of in [Fixed::Group, Fixed::ClientMetrics] {
            let mut names = Vec::new();
            for described in of.describe() {
                let (key, value) = (described.key, described.value.unwrap());
                of.check(key.name, Some(&value)).unwrap();
                of.check(key.name, None).unwrap();
                for other in ["7", "true7", "x", "-1"] {
                    let (known, words) = of.check(key.name, Some(other)).unwrap_err();
                    assert!(known && words.contains("no effect"), "{words}");
                }
                names.push(key.name);
            }
            assert!(names.is_sorted(), "{names:?}");
            let (known, words) = of.check("nonsense", None).unwrap_err();
            assert!(!known && words.contains("nonsense"), "{words}");
        }
    }

    #[test]
    fn the_brokers_keys_behind_those_of_groups_are_not_in_effect_either() {
        for name in GROUP.iter().filter_map(|(_, behind)| *behind) {
            assert!(not_in_effect::broker(name).is_some(), "{name}");
        }
    }
}
