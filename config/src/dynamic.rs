//! Configuration that changes while the broker runs: laid over what it started with, and checked as
//! a whole before it counts.
//!
//! What always holds: it wins over file, environment and options; what can't be taken (of another
//! version, or in conflict with a file that was changed since) is told and left out alone, so that
//! no start fails because of it.

use crate::error::{ConfigError, Source};
use crate::topic::Overrides;
use crate::values::Values;
use crate::{
    BrokerConfig, CleanerConfig, NetworkConfig, ProduceConfig, TopicsConfig, cleaner, listener,
    load,
};

impl BrokerConfig {
    /// This configuration with what was set while brokers ran: for all of a cluster, and for this
    /// one, which wins. The errors say what was left out.
    #[must_use]
    pub fn with_dynamic(&self, cluster: &Overrides, own: &Overrides) -> (Self, Vec<ConfigError>) {
        let mut refused = Vec::new();
        let mut values = self.laid_over((cluster, own), &[], &mut refused);
        // Two keys say together which listeners there are: they count together or not at all.
        if let Err(error) = listener::read(&values) {
            refused.clear();
            values = self.laid_over((cluster, own), &listener::DYNAMIC, &mut refused);
            refused.insert(0, error);
        }
        // What only a start reads stays as it is, also where whoever started the broker narrowed it.
        let mut config = self.clone();
        match (TopicsConfig::read(&values), NetworkConfig::read(&values)) {
            (Ok(topics), Ok(network)) => {
                config.topics = topics;
                config.produce = ProduceConfig::read(&values);
                config.cleaner = CleanerConfig::read(&values);
                config.network.connections_max = self.narrowed(network.connections_max);
                config.network.connections_per_ip_max = network.connections_per_ip_max;
                config.network.connections_per_ip_overrides = network.connections_per_ip_overrides;
                config.network.listeners = network.listeners;
                config.network.connection_creation_rate = network.connection_creation_rate;
                config.network.slow_after = network.slow_after;
                config.log.move_bytes_per_second_max =
                    values.count("replica.alter.log.dirs.io.max.bytes.per.second");
                config.values = values;
            }
            (Err(error), _) | (_, Err(error)) => refused.push(error),
        }
        (config, refused)
    }

    /// The values with those of both layers over them, but for the keys `without`.
    fn laid_over(
        &self,
        (cluster, own): (&Overrides, &Overrides),
        without: &[&str],
        refused: &mut Vec<ConfigError>,
    ) -> Values {
        let mut values = self.values().clone();
        for (overrides, source) in [(cluster, Source::Cluster), (own, Source::Broker)] {
            for (name, text) in overrides {
                if without.contains(&name.as_str()) {
                    continue;
                }
                let mut next = values.clone();
                let set = next.set(name, text, source.clone());
                match set.and_then(|()| load::check_relations(&next)) {
                    Ok(()) => values = next,
                    Err(error) => refused.push(error),
                }
            }
        }
        values
    }

    /// Why a broker that was started with this configuration, and goes by `live`, can't go by `wanted`
    /// before its next start, if so: its listeners, or a leap in the number of cleaner threads.
    pub fn check_change(&self, live: &Self, wanted: &Self) -> Result<(), ConfigError> {
        cleaner::check_change(live.values(), wanted.values())?;
        let (started, live) = (&self.network.listeners, &live.network.listeners);
        listener::check_change(wanted.values(), (started, live), &wanted.network.listeners)
    }

    /// The descriptors that a process has may leave room for fewer connections than were asked for.
    fn narrowed(&self, connections_max: u32) -> u32 {
        let asked = self.values().count32("max.connections");
        if self.network.connections_max < asked {
            connections_max.min(self.network.connections_max)
        } else {
            connections_max
        }
    }
}
