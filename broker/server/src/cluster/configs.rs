//! Changing configurations on this node: core decides, the table of keys is asked here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use millrace_config::{BrokerConfig, ConfigError, Key, Kind, TopicConfig, broker_key, topic_key};
use millrace_core::cluster::{
    AlterConfigs, ConfigRules, Configured, Image, Refusal, alter_configs,
};
use millrace_probe::{Bug, planted};
use millrace_protocol::error_code::ErrorCode;

use super::{Cluster, MetadataError};
use crate::runtime::topic_configs::dynamic;

/// The keys, and the broker that goes by them.
struct Table<'a> {
    image: &'a Image,
    started: &'a BrokerConfig,
    /// The broker's configuration in the image, once it was asked for.
    live: Option<BrokerConfig>,
    /// The broker's configuration after the change of one that was checked last.
    next: Option<BrokerConfig>,
}

fn row(kind: Configured, key: &str) -> Option<&'static Key> {
    match kind {
        Configured::Topic => topic_key(key),
        Configured::Broker => broker_key(key),
    }
}

impl ConfigRules for Table<'_> {
    fn list_default(&self, kind: Configured, key: &str) -> Option<String> {
        let row = row(kind, key).filter(|row| row.kind == Kind::List)?;
        Some(row.default.unwrap_or_default().to_owned())
    }

    fn check(
        &mut self,
        wanted: &AlterConfigs,
        after: &BTreeMap<String, String>,
        _: &BTreeSet<&str>,
    ) -> Result<(), Refusal> {
        let (checked, code) = match wanted.kind {
            Configured::Topic => (self.check_topic(after), ErrorCode::InvalidConfig),
            // Kafka's broker says no before its controller is asked.
            Configured::Broker => (
                self.check_broker(&wanted.name, after),
                ErrorCode::InvalidRequest,
            ),
        };
        checked.map_err(|error| Refusal {
            code,
            message: error.to_string(),
        })
    }
}

impl Table<'_> {
    fn check_topic(&mut self, after: &BTreeMap<String, String>) -> Result<(), ConfigError> {
        let (image, started) = (self.image, self.started);
        let live = self.live.get_or_insert_with(|| {
            let (cluster, own) = dynamic(image, started.node.id);
            // What is left out was told when it came into force.
            started.with_dynamic(&cluster, &own).0
        });
        TopicConfig::check(live, after).map(drop)
    }

    fn check_broker(
        &mut self,
        name: &str,
        after: &BTreeMap<String, String>,
    ) -> Result<(), ConfigError> {
        let (cluster, own) = dynamic(self.image, self.started.node.id);
        let (next, refused) = if name.is_empty() {
            self.started.with_dynamic(after, &own)
        } else {
            self.started.with_dynamic(&cluster, after)
        };
        if let Some(refused) = refused.into_iter().next() {
            return Err(refused);
        }
        let (live, _) = self.started.with_dynamic(&cluster, &own);
        self.started.check_change(&live, &next)?;
        self.next = Some(next);
        Ok(())
    }
}

impl Cluster {
    /// What this broker's configuration would be after one change, as far as it is known now. `None`
    /// when it would be refused.
    pub(crate) fn configured_by(
        &self,
        started: &BrokerConfig,
        request: &AlterConfigs,
    ) -> Option<BrokerConfig> {
        let image = self.image();
        let mut table = Table {
            image: &image,
            started,
            live: None,
            next: None,
        };
        let (outcomes, _) = alter_configs(&image, std::slice::from_ref(request), &mut table);
        outcomes
            .iter()
            .all(Result::is_ok)
            .then_some(table.next)
            .flatten()
    }

    /// Changes configurations; each resource has its own outcome, in the request's order. With
    /// `validate_only` nothing changes and the outcomes say what would be.
    pub(crate) async fn alter_configs(
        &self,
        started: &Arc<BrokerConfig>,
        requests: &[AlterConfigs],
        validate_only: bool,
    ) -> Result<Vec<Result<(), Refusal>>, MetadataError> {
        let decide = |image: &Image, _| {
            let mut table = Table {
                image,
                started,
                live: None,
                next: None,
            };
            let (outcomes, mut records) = alter_configs(image, requests, &mut table);
            if records.len() > 1 && planted(Bug::ConfigChangedInPart) {
                records.truncate(1);
            }
            let drops = validate_only && !planted(Bug::ValidateOnlyApplied);
            (outcomes, if drops { Vec::new() } else { records })
        };
        if planted(Bug::ConfigAckedBeforeCommit) {
            return self.propose_unsafely(decide);
        }
        self.propose(decide).await
    }
}
